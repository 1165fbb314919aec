/* header.h - is a plugin header acceptable? Plain data in, a reason out. */
#ifndef RZ_HEADER_H
#define RZ_HEADER_H

#include <rz/plugin.h>
#include <stdbool.h>

/* True if this host can load a plugin with this header on a CPU with the features `isa`. Otherwise says in
 * why what is wrong. *foreign (may be NULL): the file is good, but for another machine. */
bool rz_header_check(const struct rz_plugin_header *h, uint64_t isa, char *why, size_t cap, bool *foreign);
/* True if `provides` has an entry of this kind: "kernels" matches "kernels:avx2", and "command:chat"
 * matches only itself. */
bool rz_header_provides(const struct rz_plugin_header *h, const char *kind);
/* "kernels", "format tokenizer", ... Returns buf. */
const char *rz_header_kinds(const struct rz_plugin_header *h, char *buf, size_t cap);

#endif

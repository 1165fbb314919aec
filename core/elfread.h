/* elfread.h - a plugin's header, read out of the file without running any of it.
 *
 * The bytes are hostile: every address, count and chain is checked against the file before it is used.
 */
#ifndef RZ_ELFREAD_H
#define RZ_ELFREAD_H

#include <rz/plugin.h>
#include <stdbool.h>

/* Reads the first 256 bytes of the symbol `rz_plugin_v1` from the shared object open as fd. On failure
 * returns false and says in why what is wrong with the file. The content of *out is not judged. */
bool rz_elf_header(int fd, struct rz_plugin_header *out, char *why, size_t cap);

#endif

/* spell.h - GPT-2's table: each byte spelled as one printable character. No state. */
#ifndef RZ_BPE_SPELL_H
#define RZ_BPE_SPELL_H

#include <rz/types.h>
#include <stddef.h>

/* The bytes that a token stands for; one with other characters stands for itself. Returns their number: if it
 * is above cap, nothing was written. */
size_t rz_spelled_bytes(struct rz_str s, char *out, size_t cap);
/* The first or the last of them; -1: the token is empty or has other characters there. */
int rz_spelled_first(struct rz_str s);
int rz_spelled_last(struct rz_str s);
/* The spelling of bytes[0..n) to out (room for 2n); its length. */
size_t rz_spell(const char *bytes, size_t n, char *out);

#endif

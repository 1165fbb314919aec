/* chars.h - characters whose bytes become one token whatever stands around them.
 *
 * Merging works on bytes, so a Chinese character takes two merges before the merges that matter. If no merge
 * with a neighbour can come before those two, the character may as well begin as its token: the result is the
 * same. Which characters these are follows from the merges; the others begin as bytes. Read-only once made.
 */
#ifndef RZ_BPE_CHARS_H
#define RZ_BPE_CHARS_H

#include "merge.h"

/* The lowest ranks of merges of one token, UINT32_MAX: none. */
struct rz_reach {
    uint32_t next; /* with a right side that begins a character             */
    uint32_t prev; /* with a left side that ends in a byte from 0x80 on     */
    uint32_t any;  /* with anything                                         */
};

struct rz_chars {
    uint32_t *token;        /* by code point below U+10000: its token and 1; 0: begin with bytes */
    struct rz_reach *reach; /* by token, while merges are loaded */
    const int32_t *byte_id;
};

/* For n tokens; byte_id: the tokens of the 256 bytes. False: no memory. */
bool rz_chars_init(struct rz_chars *c, uint32_t n, const int32_t *byte_id);
void rz_chars_free(struct rz_chars *c);
/* Of each merge: the tokens and their spellings in the file. */
void rz_chars_note(struct rz_chars *c, uint32_t left, struct rz_str left_text, uint32_t right,
                   struct rz_str right_text, uint32_t rank);
/* When all merges are known: token id and its spelling. */
void rz_chars_token(struct rz_chars *c, const struct rz_merges *m, uint32_t id, struct rz_str spelled);
/* That was all; what only the making needed is freed. */
void rz_chars_done(struct rz_chars *c);
/* The symbols with which a word begins: bytes, and characters that may; the number of ids. */
size_t rz_chars_begin(const struct rz_chars *c, const char *bytes, size_t n, int32_t *ids);

#endif

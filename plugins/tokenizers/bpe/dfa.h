/* dfa.h - an expression compiled to a table: one step a character, no limit, nothing to fall back from.
 *
 * The table gives what a backtracking engine gives: the alternative that comes first wins, not the longest.
 * Read-only once compiled: any thread may use it. A byte that is no part of a UTF-8 character counts as
 * U+FFFD.
 */
#ifndef RZ_BPE_DFA_H
#define RZ_BPE_DFA_H

#include <rz/types.h>
#include <stdbool.h>
#include <stddef.h>

#define RZ_DFA_BLOCK 128u /* code points of one block of classes */

struct rz_dfa {
    uint32_t *next;  /* row + class of the next character (or end) -> row << 1 | "a match ends before it" */
    uint32_t start;  /* a row; row 0 is dead */
    uint32_t end;    /* the class of the end of a text */
    uint16_t *block; /* code point / RZ_DFA_BLOCK -> place in classes */
    uint8_t *classes;
    uint32_t n_states, n_classes;
};

/* Errors name the expression. Scratch memory is freed before it returns. */
int32_t rz_dfa_compile(struct rz_dfa *d, const char *regex, struct rz_err *err);
void rz_dfa_free(struct rz_dfa *d);
/* Bytes of the match that begins at text[at]; 0: none. */
size_t rz_dfa_match(const struct rz_dfa *d, const char *text, size_t at, size_t n);

#endif

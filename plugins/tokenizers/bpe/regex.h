/* regex.h - the expressions that cut texts, as data: parsed into sets of code points and a small program.
 *
 * What there is: literals, \r \n \t \x{HEX}, \s \S \d \p{CLASS} (a general category, one of its groups, or
 * Han), sets with ranges, ^ and &&[...], (?:...), (?i:...) over ASCII letters, |, ? * + {n} {n,m} (greedy),
 * (?!SET) and $. Matching is leftmost-first, as backtracking engines do it. Everything lives in one arena.
 */
#ifndef RZ_BPE_REGEX_H
#define RZ_BPE_REGEX_H

#include "arena.h"

#include <rz/types.h>
#include <stdbool.h>

#define RZ_RE_SETS_MAX 64u

/* Sorted, disjoint, inclusive ranges. */
struct rz_re_set {
    uint32_t (*range)[2];
    uint32_t n;
};

enum rz_re_op {
    RZ_RE_SET,   /* one character of set x, then on to a */
    RZ_RE_NOT,   /* what comes next is the end or none of set x: on to a */
    RZ_RE_SPLIT, /* to a, else to b */
    RZ_RE_MATCH
};

struct rz_re_inst {
    uint8_t op, x;
    uint16_t a, b;
};

struct rz_re {
    struct rz_arena *arena;
    struct rz_re_set sets[RZ_RE_SETS_MAX];
    uint32_t n_sets, n_insts, start;
    struct rz_re_inst *insts;
};

/* RZ_ELIMIT: too large; RZ_EFORMAT: not in the language above; RZ_ENOMEM. */
int32_t rz_re_parse(struct rz_re *re, struct rz_arena *arena, const char *text);

#endif

/* sets.h - sets of code points: built from ranges and Unicode classes, negated, intersected. A set whose
 * memory could not be had is empty and the builder's finish says false. */
#ifndef RZ_BPE_SETS_H
#define RZ_BPE_SETS_H

#include "regex.h"

struct rz_set_builder {
    struct rz_arena *arena;
    uint32_t (*range)[2]; /* in any order, overlapping */
    uint32_t n;
    size_t cap;
    bool bad;
};

void rz_set_add(struct rz_set_builder *b, uint32_t lo, uint32_t hi);
/* White space as Unicode has it. */
void rz_set_add_spaces(struct rz_set_builder *b);
/* "L", "Lu", "Han" ...; false: no such class. */
bool rz_set_add_class(struct rz_set_builder *b, const char *name, size_t n);
/* Everything that is not in other. */
void rz_set_add_other(struct rz_set_builder *b, struct rz_set_builder *other);
bool rz_set_finish(struct rz_set_builder *b, struct rz_re_set *out);

struct rz_re_set rz_set_not(struct rz_arena *arena, const struct rz_re_set *set);
struct rz_re_set rz_set_and(struct rz_arena *arena, const struct rz_re_set *a, const struct rz_re_set *b);
bool rz_set_equal(const struct rz_re_set *a, const struct rz_re_set *b);

#endif

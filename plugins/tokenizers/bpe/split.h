/* split.h - cuts a text into the words inside which BPE merges.
 *
 * A rule is a list of steps (rules.h); the expressions are compiled to tables (dfa.h), so a text costs
 * time in proportion to its length whatever it holds. Read-only once made: any thread may use it.
 */
#ifndef RZ_BPE_SPLIT_H
#define RZ_BPE_SPLIT_H

#include "dfa.h"
#include "rules.h"

struct rz_splitter {
    const struct rz_split_rule *rule;
    uint32_t n_steps;
    struct rz_dfa dfa[RZ_SPLIT_STEPS_MAX]; /* of the steps that are expressions */
};

int32_t rz_splitter_init(struct rz_splitter *s, const struct rz_split_rule *rule, struct rz_err *err);
void rz_splitter_free(struct rz_splitter *s);

typedef int32_t rz_split_word(void *arg, const char *bytes, size_t n);

/* Calls word for each word of text[0..n) in order; stops at its first negative status and returns it. */
int32_t rz_split(const struct rz_splitter *s, const char *text, size_t n, rz_split_word *word, void *arg);

#endif

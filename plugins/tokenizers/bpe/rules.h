/* rules.h - the known ways to cut a text into words, by their names in `tokenizer.ggml.pre`. Data only. */
#ifndef RZ_BPE_RULES_H
#define RZ_BPE_RULES_H

#include <rz/types.h>
#include <stdbool.h>
#include <stddef.h>

#define RZ_SPLIT_STEPS_MAX 7u

/* Each step cuts the pieces of the step before it: where an expression matches, and between. These steps
 * are no expressions, as those would look at the rest of a run again and again: */
#define RZ_STEP_TAIL "@tail"     /* the white space at the end: \s+$ */
#define RZ_STEP_GROUPS "@groups" /* numbers in groups of three from the right */
#define RZ_STEP_ENDING "@ending" /* the same for digits that no letter follows */
#define RZ_STEP_CUTS "@cuts"     /* a cut before each group of three digits, none at the ends of a run */
#define RZ_STEP_POWERS "@powers" /* blanks without a line end in pieces of 512, 256 ... 4, 2, 1 */

struct rz_split_rule {
    const char *names; /* values of tokenizer.ggml.pre, each between spaces */
    const char *steps[RZ_SPLIT_STEPS_MAX + 1];
    bool whole_words; /* a word that is a token is taken before any merge */
    bool add_bos;     /* unless the metadata says otherwise               */
};

/* NULL: there is no rule of that name. */
const struct rz_split_rule *rz_split_find(struct rz_str name);
/* All rules, for tests. */
const struct rz_split_rule *rz_split_rules(size_t *n);

#endif

/* mixed_plan.h - what mixed.c and mixed_step.c share: a plan of several devices. */
#ifndef RZ_MIXED_PLAN_H
#define RZ_MIXED_PLAN_H

#include "batch_check.h"
#include "mixed.h"

struct rz_mixed {
    struct rz_mixed_setup setup;
    struct rz_device table;
    struct rz_cut cut;
    struct rz_wide wide; /* its program is what is cut, if is_wide */
    bool is_wide;
    const char *_Atomic failed; /* device; NULL: none */
};

/* What a part is given in place of the batch, and what it gave. */
struct rz_seat {
    struct rz_plan *plan;
    struct rz_batch_seq *seqs;   /* [max_seqs]                 */
    const int32_t **pages;       /* [max_seqs][its KV groups]  */
    struct rz_page_copy *copies; /* [max_seqs][its KV groups]  */
    struct rz_result result;
    uint32_t begun, wave; /* stages of this step, and when the last was begun */
    bool entered;         /* packed weights are kept for it */
};

struct rz_mixed_plan {
    struct rz_mixed *m;
    struct rz_plan_limits limits;
    struct rz_batch_bounds bounds;
    struct rz_seat seats[RZ_MIXED_MAX];
    struct rz_batch_row *rows; /* [max_rows], for parts without logits */
    bool together;             /* all parts are of one plugin, whose stages wait for each other without us */
    float *values;             /* those that cross */
    float *shared[RZ_MIXED_MAX]; /* together: those that a part makes, in its device's memory */
    uint64_t value_bytes;
    float **ends;  /* of all runs, in their order: in, then out */
    float *logits; /* of all parts side by side; NULL: one has them all */
    struct rz_plan_part *parts;
    uint32_t n_parts, max_copies;
};

/* mixed_values.c */
/* Are all parts of one plugin, which can begin stages of one that await those of another? */
bool rz_mixed_together(const struct rz_cut *cut);
/* Places of all ends of runs. */
int32_t rz_mixed_take_values(struct rz_mixed_plan *p, struct rz_err *err);
/* mixed_step.c */
int32_t rz_mixed_execute(struct rz_plan *plan, const struct rz_batch *b, struct rz_result *out,
                         struct rz_err *err);
int64_t rz_mixed_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                       struct rz_err *err);
int32_t rz_mixed_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                       struct rz_err *err);

#endif

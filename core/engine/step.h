/* step.h - puts an rz_batch together.
 *
 * Owns the arrays of a batch, sized once. Who gets rows is decided elsewhere (sched.c, eval.c).
 */
#ifndef RZ_ENGINE_STEP_H
#define RZ_ENGINE_STEP_H

#include "kv.h"

#include <rz/device.h>

struct rz_step {
    struct rz_batch batch; /* what the device gets */
    struct rz_batch_row *rows;
    struct rz_batch_seq *seqs;
    struct rz_page_copy *copies;
    struct rz_state_copy *state_copies; /* [max_seqs] */
    int32_t *clears;                    /* [max_seqs] */
    uint32_t max_rows, max_seqs, max_wanted, max_copies;
    uint32_t n_wanted;
    uint32_t mask; /* of every sequence */
};

/* Which rows of a sequence go into the step: tokens[from .. from + n); those at position want_from and
 * behind it want a result of kind want. */
struct rz_step_rows {
    const int32_t *tokens;
    uint32_t from, n;
    uint32_t want_from, want;
    uint32_t k; /* k and gap: of RZ_WANT_TOP_K */
    float gap;
    uint32_t rope_variant;
};

int32_t rz_step_init(struct rz_step *step, const struct rz_plan_limits *limits, uint32_t n_groups,
                     struct rz_err *err);
void rz_step_deinit(struct rz_step *step);
void rz_step_clear(struct rz_step *step);
/* Makes position pos of the sequence writable (grown to and not shared); false: no page is free. The
 * sequence must have n_groups free places for copies. */
bool rz_step_reserve(struct rz_step *step, struct rz_kv *kv, struct rz_kv_seq *seq, uint32_t pos);
/* An empty sequence becomes a second one with the first `tokens` positions of another, which has computed
 * exactly these: it shares their pages, and gets a copy of the state in this step. false: rz_kv_share's
 * reasons. If the step fails, both are undefined. */
bool rz_step_fork(struct rz_step *step, struct rz_kv *kv, struct rz_kv_seq *seq, const struct rz_kv_seq *from,
                  uint32_t tokens);
/* Adds a sequence, whose pages cover the rows; with its first row the state begins from zero. Returns the
 * index of its first result, or -1 when it wants none. The caller keeps within the limits. */
int32_t rz_step_add(struct rz_step *step, const struct rz_kv_seq *seq, const struct rz_step_rows *rows);

#endif

/* step.c - the arrays of a batch. */
#include "step.h"

#include "err.h"

#include <stdlib.h>

int32_t rz_step_init(struct rz_step *step, const struct rz_plan_limits *limits, uint32_t n_groups,
                     struct rz_err *err)
{
    *step = (struct rz_step){.max_rows = limits->max_rows,
                             .max_seqs = limits->max_seqs,
                             .max_wanted = limits->max_wanted,
                             .max_copies = limits->max_seqs * n_groups};
    step->rows = calloc(step->max_rows, sizeof(*step->rows));
    step->seqs = calloc(step->max_seqs, sizeof(*step->seqs));
    step->copies = calloc((uint64_t)step->max_copies + 1, sizeof(*step->copies)); /* there may be no groups */
    step->state_copies = calloc(step->max_seqs, sizeof(*step->state_copies));
    step->clears = calloc(step->max_seqs, sizeof(*step->clears));
    if (!step->rows || !step->seqs || !step->copies || !step->state_copies || !step->clears) {
        rz_step_deinit(step);
        return rz_fail(err, RZ_ENOMEM, "engine", "no memory for a batch of %u rows", limits->max_rows);
    }
    rz_step_clear(step);
    return RZ_OK;
}

void rz_step_deinit(struct rz_step *step)
{
    free(step->rows);
    free(step->seqs);
    free(step->copies);
    free(step->state_copies);
    free(step->clears);
    *step = (struct rz_step){0};
}

void rz_step_clear(struct rz_step *step)
{
    step->n_wanted = 0;
    step->batch = (struct rz_batch){.size = sizeof(step->batch),
                                    .rows = step->rows,
                                    .seqs = step->seqs,
                                    .copies = step->copies,
                                    .state_copies = step->state_copies,
                                    .clears = step->clears};
}

bool rz_step_reserve(struct rz_step *step, struct rz_kv *kv, struct rz_kv_seq *seq, uint32_t pos)
{
    uint32_t n = 0;
    if (!rz_kv_grow(kv, seq, (uint64_t)pos + 1))
        return false;
    if (!rz_kv_own(kv, seq, pos, step->copies + step->batch.n_copies, &n))
        return false;
    step->batch.n_copies += n;
    return true;
}

bool rz_step_fork(struct rz_step *step, struct rz_kv *kv, struct rz_kv_seq *seq, const struct rz_kv_seq *from,
                  uint32_t tokens)
{
    if (step->batch.n_state_copies == step->max_seqs || !rz_kv_share(kv, seq, from, tokens))
        return false;
    if (from->slot >= 0)
        step->state_copies[step->batch.n_state_copies++] =
            (struct rz_state_copy){.from = from->slot, .to = seq->slot};
    return true;
}

int32_t rz_step_add(struct rz_step *step, const struct rz_kv_seq *seq, const struct rz_step_rows *rows)
{
    uint32_t index = step->batch.n_seqs++;
    int32_t result = -1;
    step->seqs[index] = (struct rz_batch_seq){.length = rows->from + rows->n,
                                              .mask = step->mask,
                                              .state_slot = seq->slot,
                                              .rope_variant = rows->rope_variant,
                                              .adapter = -1,
                                              .pages = seq->groups};
    if (seq->slot >= 0 && !rows->from)
        step->clears[step->batch.n_clears++] = seq->slot;
    for (uint32_t i = 0; i < rows->n; i++) {
        uint32_t pos = rows->from + i, want = pos >= rows->want_from ? rows->want : RZ_WANT_NONE;
        int32_t p = (int32_t)pos;
        bool few = want == RZ_WANT_TOP_K;
        step->rows[step->batch.n_rows++] = (struct rz_batch_row){.token = rows->tokens[pos],
                                                                 .seq = index,
                                                                 .pos = {p, p, p, p},
                                                                 .want = want,
                                                                 .k = few ? rows->k : 0,
                                                                 .gap = few ? rows->gap : 0};
        if (want == RZ_WANT_NONE)
            continue;
        if (result < 0)
            result = (int32_t)step->n_wanted;
        step->n_wanted++;
    }
    return result;
}

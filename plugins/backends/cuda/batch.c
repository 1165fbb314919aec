/* batch.c - a batch is checked before anything is touched, so that kernels can trust ids, positions, pages
 * and slots.
 */
#include "cuda.h"

#include "err.h"

static int32_t check_row(const struct rz_plan *plan, const struct rz_batch *b, uint32_t i, struct rz_err *err)
{
    const struct rz_batch_row *r = &b->rows[i];
    if (r->seq >= b->n_seqs)
        return rz_fail(err, RZ_EINVAL, "batch", "row %u: sequence %u of %u", i, r->seq, b->n_seqs);
    const struct rz_batch_seq *s = &b->seqs[r->seq];
    if (r->token < 0 || (uint64_t)r->token >= plan->n_tokens)
        return rz_fail(err, RZ_EINVAL, "batch", "row %u: token %d is not in the vocabulary of %llu", i,
                       r->token, (unsigned long long)plan->n_tokens);
    if (r->pos[0] < 0 || (uint32_t)r->pos[0] >= s->length || s->length > plan->limits.max_context)
        return rz_fail(err, RZ_EINVAL, "batch", "row %u: position %d in a sequence of %u (limit %u)", i,
                       r->pos[0], s->length, plan->limits.max_context);
    if ((uint64_t)r->pos[0] >= plan->n_positions)
        return rz_fail(err, RZ_ELIMIT, "batch", "row %u: position %d: the model has %llu learned positions", i,
                       r->pos[0], (unsigned long long)plan->n_positions);
    if (r->want > RZ_WANT_TOP_K || (r->want >= RZ_WANT_LOGITS && plan->program->logits < 0) ||
        (r->want == RZ_WANT_TOP_K && !r->k))
        return rz_fail(err, RZ_EUNSUPPORTED, "batch", "row %u: this plan does not give result kind %u", i,
                       r->want);
    return RZ_OK;
}

static bool slot_fits(const struct rz_plan *plan, int32_t slot)
{
    return slot >= 0 && (uint32_t)slot < plan->limits.n_slots;
}

static uint32_t rows_of(const struct rz_batch *b, uint32_t seq)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_rows; i++)
        n += b->rows[i].seq == seq;
    return n;
}

static int32_t check_seq(const struct rz_plan *plan, const struct rz_batch *b, uint32_t i, struct rz_err *err)
{
    const struct rz_batch_seq *s = &b->seqs[i];
    uint32_t pages = (s->length + plan->limits.page_tokens - 1) / plan->limits.page_tokens;
    bool all = s->mask == RZ_MASK_ALL && plan->both;
    if ((s->mask != RZ_MASK_CAUSAL && !all) || s->adapter >= 0 || s->rope_variant >= plan->n_variants)
        return rz_fail(err, RZ_EUNSUPPORTED, "batch", "sequence %u: mask %u, adapter %d, rope variant %u", i,
                       s->mask, s->adapter, s->rope_variant);
    if (s->length > plan->limits.max_context)
        return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: %u positions (limit %u)", i, s->length,
                       plan->limits.max_context);
    if (all && rows_of(b, i) != s->length)
        return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: %u of %u rows that see each other", i,
                       rows_of(b, i), s->length);
    if (plan->program->n_states && !slot_fits(plan, s->state_slot))
        return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: state slot %d of %u", i, s->state_slot,
                       plan->limits.n_slots);
    for (uint32_t g = 0; g < plan->program->n_kv_groups; g++)
        for (uint32_t p = 0; p < pages; p++)
            if (s->pages[g][p] < 0 || (uint32_t)s->pages[g][p] >= plan->limits.n_pages)
                return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: page %d of %u", i, s->pages[g][p],
                               plan->limits.n_pages);
    return RZ_OK;
}

static int32_t check_moves(const struct rz_plan *plan, const struct rz_batch *b, struct rz_err *err)
{
    for (uint32_t i = 0; i < b->n_copies; i++) {
        const struct rz_page_copy *c = &b->copies[i];
        if (c->group >= plan->program->n_kv_groups || c->from < 0 || c->to < 0 ||
            (uint32_t)c->from >= plan->limits.n_pages || (uint32_t)c->to >= plan->limits.n_pages)
            return rz_fail(err, RZ_EINVAL, "batch", "page copy %u: %d to %d of group %u", i, c->from, c->to,
                           c->group);
    }
    for (uint32_t i = 0; i < b->n_state_copies; i++)
        if (!slot_fits(plan, b->state_copies[i].from) || !slot_fits(plan, b->state_copies[i].to))
            return rz_fail(err, RZ_EINVAL, "batch", "state copy %u: slot %d to %d of %u", i,
                           b->state_copies[i].from, b->state_copies[i].to, plan->limits.n_slots);
    for (uint32_t i = 0; i < b->n_clears; i++)
        if (!slot_fits(plan, b->clears[i]))
            return rz_fail(err, RZ_EINVAL, "batch", "clear %u: slot %d of %u", i, b->clears[i],
                           plan->limits.n_slots);
    return RZ_OK;
}

int32_t cu_batch_check(const struct rz_plan *plan, const struct rz_batch *b, struct rz_err *err)
{
    int32_t status = RZ_OK;
    if (!b->n_rows || b->n_rows > plan->limits.max_rows || b->n_seqs > plan->limits.max_seqs)
        return rz_fail(err, RZ_EINVAL, "batch", "%u rows of %u sequences, at most %u of %u", b->n_rows,
                       b->n_seqs, plan->limits.max_rows, plan->limits.max_seqs);
    for (uint32_t i = 0; i < b->n_seqs && !status; i++)
        status = check_seq(plan, b, i, err);
    for (uint32_t i = 0; i < b->n_rows && !status; i++)
        status = check_row(plan, b, i, err);
    return status ? status : check_moves(plan, b, err);
}

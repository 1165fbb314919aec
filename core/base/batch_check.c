/* batch_check.c - a batch against the bounds of a plan, so that kernels can trust token ids, positions, pages
 * and slots. The caller's arrays are read once, in order, and nothing is kept. */
#include "batch_check.h"

#include "access.h"
#include "err.h"

#include <rz/kernels.h>

static int32_t check_row(const struct rz_batch_bounds *bounds, const struct rz_batch *b, uint32_t i,
                         struct rz_err *err)
{
    const struct rz_batch_row *r = &b->rows[i];
    if (r->seq >= b->n_seqs)
        return rz_fail(err, RZ_EINVAL, "batch", "row %u: sequence %u of %u", i, r->seq, b->n_seqs);
    const struct rz_batch_seq *s = &b->seqs[r->seq];
    if (r->token < 0 || (uint64_t)r->token >= bounds->n_tokens)
        return rz_fail(err, RZ_EINVAL, "batch", "row %u: token %d is not in the vocabulary of %llu", i,
                       r->token, (unsigned long long)bounds->n_tokens);
    if (r->pos[0] >= 0 && (uint64_t)r->pos[0] >= bounds->n_positions)
        return rz_fail(err, RZ_ELIMIT, "batch", "row %u: position %d: the model has %llu learned positions",
                       i, r->pos[0], (unsigned long long)bounds->n_positions);
    if (r->pos[0] < 0 || (uint32_t)r->pos[0] >= s->length || s->length > bounds->limits.max_context)
        return rz_fail(err, RZ_EINVAL, "batch", "row %u: position %d in a sequence of %u (limit %u)", i,
                       r->pos[0], s->length, bounds->limits.max_context);
    if (r->want > RZ_WANT_TOP_K || (r->want >= RZ_WANT_LOGITS && bounds->program->logits < 0) ||
        (r->want == RZ_WANT_TOP_K && !r->k))
        return rz_fail(err, RZ_EUNSUPPORTED, "batch", "row %u: this plan does not give result kind %u", i,
                       r->want);
    return RZ_OK;
}

static bool slot_fits(const struct rz_batch_bounds *bounds, int32_t slot)
{
    return slot >= 0 && (uint32_t)slot < bounds->limits.n_slots;
}

static uint32_t rows_of(const struct rz_batch *b, uint32_t seq)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_rows; i++)
        n += b->rows[i].seq == seq;
    return n;
}

/* Pages and slots that are copied or cleared before the step. */
static int32_t check_moves(const struct rz_batch_bounds *bounds, const struct rz_batch *b, struct rz_err *err)
{
    for (uint32_t i = 0; i < b->n_copies; i++) {
        const struct rz_page_copy *c = &b->copies[i];
        if (c->group >= bounds->program->n_kv_groups || c->from < 0 || c->to < 0 ||
            (uint32_t)c->from >= bounds->limits.n_pages || (uint32_t)c->to >= bounds->limits.n_pages)
            return rz_fail(err, RZ_EINVAL, "batch", "page copy %u: %d to %d of group %u", i, c->from, c->to,
                           c->group);
    }
    for (uint32_t i = 0; i < b->n_state_copies; i++) {
        const struct rz_state_copy *c = &b->state_copies[i];
        if (!slot_fits(bounds, c->from) || !slot_fits(bounds, c->to))
            return rz_fail(err, RZ_EINVAL, "batch", "state copy %u: slot %d to %d of %u", i, c->from, c->to,
                           bounds->limits.n_slots);
    }
    for (uint32_t i = 0; i < b->n_clears; i++)
        if (!slot_fits(bounds, b->clears[i]))
            return rz_fail(err, RZ_EINVAL, "batch", "clear %u: slot %d of %u", i, b->clears[i],
                           bounds->limits.n_slots);
    return RZ_OK;
}

static int32_t check_seq(const struct rz_batch_bounds *bounds, const struct rz_batch *b, uint32_t i,
                         struct rz_err *err)
{
    const struct rz_batch_seq *s = &b->seqs[i];
    uint32_t pages = (s->length + bounds->limits.page_tokens - 1) / bounds->limits.page_tokens;
    bool all = s->mask == RZ_MASK_ALL && bounds->both;
    if ((s->mask != RZ_MASK_CAUSAL && !all) || s->adapter >= 0 || s->rope_variant >= bounds->n_rope_variants)
        return rz_fail(err, RZ_EUNSUPPORTED, "batch", "sequence %u: mask %u, adapter %d, rope variant %u", i,
                       s->mask, s->adapter, s->rope_variant);
    if (all && rows_of(b, i) != s->length)
        return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: %u of %u rows that see each other", i,
                       rows_of(b, i), s->length);
    if (bounds->program->n_states && !slot_fits(bounds, s->state_slot))
        return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: state slot %d of %u", i, s->state_slot,
                       bounds->limits.n_slots);
    for (uint32_t g = 0; g < bounds->program->n_kv_groups; g++)
        for (uint32_t p = 0; p < pages; p++)
            if (s->pages[g][p] < 0 || (uint32_t)s->pages[g][p] >= bounds->limits.n_pages)
                return rz_fail(err, RZ_EINVAL, "batch", "sequence %u: page %d of %u", i, s->pages[g][p],
                               bounds->limits.n_pages);
    return RZ_OK;
}

int32_t rz_batch_check(const struct rz_batch_bounds *bounds, const struct rz_batch *b, struct rz_err *err)
{
    int32_t status = RZ_OK;
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < b->n_rows && i < bounds->limits.max_rows; i++)
        wanted += b->rows[i].want != RZ_WANT_NONE;
    const struct rz_program *p = bounds->program;
    if (b->stage >= (p->n_stages ? p->n_stages : 1))
        return rz_fail(err, RZ_EINVAL, "batch", "stage %u of %u", b->stage, p->n_stages);
    if (!b->n_rows || b->n_rows > bounds->limits.max_rows || b->n_seqs > bounds->limits.max_seqs)
        return rz_fail(err, RZ_EINVAL, "batch", "%u rows of %u sequences, at most %u of %u", b->n_rows,
                       b->n_seqs, bounds->limits.max_rows, bounds->limits.max_seqs);
    if (wanted > bounds->limits.max_wanted)
        return rz_fail(err, RZ_EINVAL, "batch", "%u rows want a result, at most %u", wanted,
                       bounds->limits.max_wanted);
    for (uint32_t i = 0; i < b->n_seqs && !status; i++)
        status = check_seq(bounds, b, i, err);
    for (uint32_t i = 0; i < b->n_rows && !status; i++)
        status = check_row(bounds, b, i, err);
    return status ? status : check_moves(bounds, b, err);
}

static void find_bounds(struct rz_batch_bounds *b)
{
    const struct rz_program *p = b->program;
    b->both = true;
    b->n_tokens = UINT64_MAX; /* a part of a program may never look at them */
    b->n_rope_variants = UINT32_MAX;
    b->n_positions = UINT64_MAX;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(p, i);
        uint64_t rows = n->n_weights && p->refs[n->first_weight] >= 0
                            ? rz_weight_at(p, (uint32_t)p->refs[n->first_weight])->rows
                            : 0;
        if (n->op == RZ_OP_GET_ROWS)
            b->n_tokens = rows;
        if (n->op == RZ_OP_ADD_POS && rows < b->n_positions)
            b->n_positions = rows;
        if (n->op == RZ_OP_ATTENTION && !(n->attr_mask & RZ_ATTR(RZ_A_BOTH)))
            b->both = false;
        uint32_t variants =
            n->attr_mask & RZ_ATTR(RZ_A_ROPE_VARIANTS) ? (uint32_t)n->attrs[RZ_A_ROPE_VARIANTS].i : 1;
        if (n->op == RZ_OP_ROPE && variants < b->n_rope_variants)
            b->n_rope_variants = variants;
    }
}

int32_t rz_batch_bounds_init(const struct rz_program *program, const struct rz_plan_limits *l,
                             struct rz_batch_bounds *out, struct rz_err *err)
{
    if (!l->max_rows || !l->max_wanted || l->max_wanted > l->max_rows || !l->max_seqs || !l->max_context ||
        !l->page_tokens || l->page_tokens % 8 || RZ_ATTENTION_SPLIT % l->page_tokens)
        return rz_fail(err, RZ_EINVAL, "plan",
                       "limits do not fit: %u rows, %u wanted, %u sequences, pages of %u", l->max_rows,
                       l->max_wanted, l->max_seqs, l->page_tokens);
    if (program->n_states && !l->n_slots)
        return rz_fail(err, RZ_EINVAL, "plan", "no slots for the recurrent state of %u blocks",
                       program->n_states);
    if (program->n_kv_groups > 8 || program->n_ropes > 8)
        return rz_fail(err, RZ_EUNSUPPORTED, "plan", "%u KV groups and %u ropes, at most 8 of each",
                       program->n_kv_groups, program->n_ropes);
    *out = (struct rz_batch_bounds){.program = program, .limits = *l};
    find_bounds(out);
    return RZ_OK;
}

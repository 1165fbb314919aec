/* spec.c - guesses ahead in the steps of the loop: which request guesses, and the books on it.
 *
 * Owns struct rz_spec of a request and loop->spec. Guesses lie in the request's tokens behind those that are
 * known, so that the rows of a step and the sampler read on without a break; whoever adds a token writes over
 * them. Where guesses come from: spec_lookup.c and spec_draft.c; how many: spec_pace.c.
 */
#include "spec.h"

#include "err.h"
#include "loop.h"

#include <stdlib.h>

/* What is expected of a guess before any was made: after a short, a longer and a long ending that was found
 * again, or of a draft model. */
static const double lookup_priors[RZ_SPEC_KINDS] = {0.35, 0.55, 0.8};
#define DRAFT_PRIOR 0.7
#define LONGER 4u
#define LONG 8u

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* --- the loop --- */

int32_t rz_spec_possible(const struct rz_loop *loop, const char *who, struct rz_err *err)
{
    const struct rz_engine_setup *setup = &loop->setup;
    if (setup->limits.n_slots)
        return rz_fail(err, RZ_EUNSUPPORTED, "speculate",
                       "%s has layers with a recurrent state, from which wrong guesses cannot be taken back",
                       who);
    if (setup->mask != RZ_MASK_CAUSAL)
        return rz_fail(err, RZ_EUNSUPPORTED, "speculate", "%s is an encoder: it says no next token", who);
    return RZ_OK;
}

int32_t rz_spec_open(struct rz_loop *loop, const struct rz_spec_pool *pool, struct rz_err *err)
{
    int32_t rc = rz_spec_possible(loop, "this model", err);
    if (!rc && pool->draft)
        rc = rz_spec_possible(pool->draft, "the draft model", err);
    if (rc)
        return rc;
    if (!pool->max_guesses || pool->max_guesses > RZ_GUESSES_MAX)
        return rz_fail(err, RZ_EINVAL, "draft_tokens", "%u: must be 1 to %d", pool->max_guesses,
                       RZ_GUESSES_MAX);
    if (pool->mode == RZ_SPECULATE_DRAFT && !pool->draft)
        return rz_fail(err, RZ_ECONFIG, "speculate", "draft needs a draft_model");
    struct rz_req **lanes = calloc(loop->sched.max_running, sizeof(struct rz_req *));
    if (!lanes)
        return rz_fail(err, RZ_ENOMEM, "speculate", "no memory");
    if (pool->draft && (rc = rz_loop_claim(pool->draft, err))) {
        free(lanes);
        return rc;
    }
    loop->spec = *pool;
    loop->spec.lanes = lanes;
    return RZ_OK;
}

void rz_spec_close(struct rz_loop *loop)
{
    if (loop->spec.draft)
        rz_loop_yield(loop->spec.draft);
    free(loop->spec.lanes);
    loop->spec = (struct rz_spec_pool){0};
}

/* --- a request --- */

static int32_t choose_mode(const struct rz_loop *loop, const struct rz_request *q, uint32_t *mode,
                           struct rz_err *err)
{
    const struct rz_spec_pool *pool = &loop->spec;
    *mode = RZ_SPECULATE_OFF;
    if (q->speculate > RZ_SPECULATE_DRAFT)
        return rz_fail(err, RZ_EINVAL, "speculate", "%u is not known", q->speculate);
    if (q->speculate == RZ_SPECULATE_OFF || q->flags & RZ_REQUEST_EMBED)
        return RZ_OK;
    if (q->speculate == RZ_SPECULATE_MODEL) {
        *mode = pool->mode ? pool->mode : RZ_SPECULATE_OFF;
        return RZ_OK;
    }
    int32_t rc = rz_spec_possible(loop, "this model", err);
    if (rc)
        return rc;
    if (!pool->lanes)
        return rz_fail(err, RZ_EUNSUPPORTED, "speculate", "this engine was opened without it");
    if (q->speculate == RZ_SPECULATE_DRAFT && !pool->draft)
        return rz_fail(err, RZ_EUNSUPPORTED, "speculate", "no draft model is configured");
    *mode = q->speculate;
    return RZ_OK;
}

int32_t rz_spec_init(const struct rz_loop *loop, const struct rz_request *q, struct rz_req *r,
                     struct rz_err *err)
{
    struct rz_spec *s = &r->spec;
    int32_t rc = choose_mode(loop, q, &s->mode, err);
    if (rc || s->mode == RZ_SPECULATE_OFF)
        return rc;
    for (uint32_t i = 0; i < RZ_SPEC_KINDS; i++)
        rz_odds_init(&s->odds[i], s->mode == RZ_SPECULATE_DRAFT ? DRAFT_PRIOR : lookup_priors[i]);
    struct rz_sample *samples = realloc(r->samples, (1 + loop->spec.max_guesses) * sizeof(*samples));
    if (!samples)
        return rz_fail(err, RZ_ENOMEM, "speculate", "no memory");
    r->samples = samples;
    if (s->mode != RZ_SPECULATE_DRAFT)
        return RZ_OK;
    if (!rz_kv_seq_init(&loop->spec.draft->kv, &s->draft, r->context))
        return rz_fail(err, RZ_ENOMEM, "speculate", "no memory for a context of %u tokens", r->context);
    s->pool = &loop->spec.draft->kv;
    return RZ_OK;
}

void rz_spec_deinit(struct rz_spec *s)
{
    if (s->pool)
        rz_kv_seq_deinit(s->pool, &s->draft);
    s->pool = NULL;
}

/* --- before a step --- */

/* Guesses that could become tokens and events. */
static uint32_t most_guesses(const struct rz_loop *loop, const struct rz_req *r)
{
    uint32_t n = min_u32(loop->spec.max_guesses, r->context - r->seq.n_tokens - 1);
    return min_u32(n, RZ_RING - 1 - r->ring_n);
}

static uint32_t bet(struct rz_loop *loop, struct rz_req *r, struct rz_bet *total, uint32_t n, double extra)
{
    if (loop->spec.always)
        return n;
    return rz_odds_bet(&r->spec.odds[r->spec.kind], &loop->spec.pace, total, n, extra);
}

static void look_up(struct rz_loop *loop, struct rz_req *r, struct rz_bet *total)
{
    uint32_t most = most_guesses(loop, r), found = most ? rz_lookup(r->tokens, r->seq.n_tokens, most) : 0;
    uint32_t n = 0;
    while (found && n < most && !(n && rz_loop_ends(loop, r, r->tokens[r->seq.n_tokens + n - 1])))
        n++;
    r->spec.kind = found >= LONG ? 2 : found >= LONGER ? 1 : 0;
    r->seq.n_guesses = bet(loop, r, total, n, 0);
}

void rz_spec_guess(struct rz_loop *loop)
{
    struct rz_bet total = {0, 0};
    uint32_t n_lanes = 0;
    if (!loop->spec.lanes)
        return;
    for (uint32_t i = 0; i < loop->sched.n_running; i++)
        total.rows += rz_seq_decodes(loop->sched.running[i]);
    total.tokens = total.rows;
    for (uint32_t i = 0; i < loop->sched.n_running; i++) {
        struct rz_req *r = (struct rz_req *)loop->sched.running[i];
        if (!rz_seq_decodes(&r->seq) || r->cancelled)
            continue;
        if (r->spec.mode == RZ_SPECULATE_LOOKUP) {
            look_up(loop, r, &total);
        } else if (r->spec.mode == RZ_SPECULATE_DRAFT && !r->spec.mute && !loop->spec.failed) {
            r->seq.n_guesses = bet(loop, r, &total, most_guesses(loop, r), loop->spec.pace.draft);
            if (r->seq.n_guesses)
                loop->spec.lanes[n_lanes++] = r;
        }
    }
    if (n_lanes)
        rz_draft_guess(loop, n_lanes);
}

/* --- after it --- */

void rz_spec_judge(struct rz_loop *loop, struct rz_req *r, uint32_t i, int32_t token)
{
    struct rz_spec *s = &r->spec;
    if (!i) {
        s->n_right = 0;
        s->n_drafted += r->seq.n_guesses;
        loop->spec.n_drafted += r->seq.n_guesses;
    }
    if (i >= r->seq.n_guesses || r->tokens[r->seq.n_tokens] != token)
        return;
    s->n_right++;
    s->n_accepted++;
    loop->spec.n_accepted++;
}

void rz_spec_settle(struct rz_req *r)
{
    struct rz_spec *s = &r->spec;
    rz_odds_count(&s->odds[s->kind], r->seq.n_guesses, s->n_right);
    /* Behind its last right guess the draft model has computed another text. */
    if (s->draft_done >= r->seq.n_tokens)
        s->draft_done = r->seq.n_tokens - 1;
}

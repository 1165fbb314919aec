/* spec_draft.c - guesses by a draft model: a second, smaller model that runs ahead of the request's own.
 *
 * Uses the plan and the pages of another loop, which takes no requests meanwhile. A request draws from the
 * draft model's logits as it would from its own: the same chain of samplers and the same random number for a
 * position, so that sampled texts are guessed as well. In a round each lane gets one guess more.
 *
 * Invariant: of a request's tokens, guesses included, the first draft_done are in its pages.
 */
#include "err.h"
#include "loop.h"
#include "spec.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void rz_draft_drop(struct rz_spec *s)
{
    if (s->pool)
        rz_kv_drop(s->pool, &s->draft);
    s->draft_done = 0;
}

/* What the draft model has to compute for the next guess; `got` are there. */
static uint32_t rows_due(const struct rz_req *r, uint32_t got)
{
    return r->seq.n_tokens + got - r->spec.draft_done;
}

/* A token that it has no row for: a padded vocabulary may be the larger one. */
static bool knows(const struct rz_engine_setup *draft, const struct rz_req *r, uint32_t n)
{
    const int32_t *tokens = r->tokens + r->spec.draft_done;
    for (uint32_t i = 0; i < n; i++)
        if ((uint32_t)tokens[i] >= draft->n_vocab)
            return false;
    return true;
}

/* Adds the rows of a lane, as many as fit; returns them. *result: where its guess will stand; -1: the text is
 * longer than what fits, or than the draft model's context, so there will be none. */
static uint32_t add_lane(struct rz_loop *draft, struct rz_req *r, uint32_t got, uint32_t left,
                         int32_t *result)
{
    struct rz_spec *s = &r->spec;
    uint32_t due = rows_due(r, got), n = min_u32(due, left), end = s->draft_done + n;
    *result = -1;
    if (!n || end > draft->setup.limits.max_context)
        return 0;
    if (!knows(&draft->setup, r, n)) {
        s->mute = true;
        return 0;
    }
    rz_kv_trim(&draft->kv, &s->draft, min_u32(s->draft_done, r->seq.n_tokens - 1));
    if (!rz_kv_grow(&draft->kv, &s->draft, end)) {
        rz_draft_drop(s);
        return 0;
    }
    struct rz_step_rows rows = {.tokens = r->tokens,
                                .from = s->draft_done,
                                .n = n,
                                .want_from = r->seq.n_tokens + got - 1,
                                .want = draft->wants & 1u << RZ_WANT_TOP_K ? r->seq.want : RZ_WANT_LOGITS,
                                .k = r->seq.k,
                                .gap = r->seq.gap,
                                .rope_variant =
                                    draft->setup.rope_switch && r->context > draft->setup.rope_switch};
    *result = rz_step_add(&draft->sched.step, &s->draft, &rows);
    return n;
}

/* One guess drawn from the logits of a row; false: none. */
static bool draw(struct rz_loop *loop, struct rz_req *r, uint32_t got, int32_t result)
{
    struct rz_loop *draft = loop->spec.draft;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_sample sample;
    uint32_t n_biases = r->n_biases;
    for (uint32_t i = 0; i < n_biases; i++)
        if ((uint32_t)r->biases[i].token >= draft->setup.n_vocab)
            n_biases = 0;
    struct rz_sample_job job = {.sampling = &r->sampling,
                                .biases = r->biases,
                                .n_biases = n_biases,
                                .logits =
                                    draft->result.logits + (uint64_t)result * draft->result.logits_stride,
                                .tokens = r->tokens,
                                .n_tokens = r->seq.n_tokens + got,
                                .draw = r->n_new + got};
    if (rz_sample_run(&draft->scratch[0], &job, &sample, &err) ||
        (uint32_t)sample.token >= loop->setup.n_vocab)
        return false;
    r->tokens[r->seq.n_tokens + got] = sample.token;
    return true;
}

/* One guess more for each of the first n lanes; those that got none leave their place to the last. */
static int32_t round_of(struct rz_loop *loop, uint32_t *n, uint32_t got, struct rz_err *err)
{
    struct rz_loop *draft = loop->spec.draft;
    struct rz_req **lanes = loop->spec.lanes;
    uint32_t left = draft->setup.max_batch_tokens, n_lanes = min_u32(*n, draft->sched.max_running);
    int32_t rc = draft->setup.check ? draft->setup.check(draft->setup.check_ctx, err) : RZ_OK;
    uint64_t begin = rz_clock_ns();
    rz_step_clear(&draft->sched.step);
    for (uint32_t i = 0; i < n_lanes; i++) {
        struct rz_spec *s = &lanes[i]->spec;
        s->draft_rows = add_lane(draft, lanes[i], got, left, &s->draft_result);
        left -= s->draft_rows;
    }
    if (!rc && draft->sched.step.batch.n_rows)
        rc = rz_loop_execute(draft, &draft->sched.step, draft->sched.step.n_wanted ? 1u << RZ_WANT_LOGITS : 0,
                             err);
    if (rc < 0)
        return rc;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n_lanes; i++) {
        struct rz_req *r = lanes[i];
        r->spec.draft_done += r->spec.draft_rows;
        if (r->spec.draft_result < 0 || !draw(loop, r, got, r->spec.draft_result))
            continue;
        r->seq.n_guesses = got + 1;
        if (got + 1 < r->spec.draft_most && !rz_loop_ends(loop, r, r->tokens[r->seq.n_tokens + got]))
            lanes[kept++] = r;
    }
    if (draft->sched.step.n_wanted && draft->sched.step.n_wanted == draft->sched.step.batch.n_rows)
        rz_pace_draft(&loop->spec.pace, draft->sched.step.n_wanted, (double)(rz_clock_ns() - begin) * 1e-9);
    *n = kept;
    return RZ_OK;
}

void rz_draft_guess(struct rz_loop *loop, uint32_t n)
{
    struct rz_err err = RZ_ERR_INIT;
    int32_t rc = RZ_OK;
    for (uint32_t i = 0; i < n; i++) {
        struct rz_req *r = loop->spec.lanes[i];
        r->spec.draft_most = r->seq.n_guesses;
        r->seq.n_guesses = 0;
    }
    pthread_mutex_unlock(&loop->mutex);
    for (uint32_t got = 0; n && !rc; got++)
        rc = round_of(loop, &n, got, &err);
    pthread_mutex_lock(&loop->mutex);
    if (!rc)
        return;
    /* Requests go on without it. */
    loop->spec.failed = true;
    if (loop->spec.warn)
        loop->spec.warn(loop->spec.warn_ctx, err.message);
}

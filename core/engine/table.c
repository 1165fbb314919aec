/* table.c - rz.engine/1 over a loop: submit, poll, cancel, release, step, stats; and the loop's life.
 *
 * A ticket is a slot and the generation of that slot, which grows with each release: an old ticket finds
 * nothing. Slots outnumber active requests two to one, so that finished ones whose reader is slow do
 * not keep others out.
 */
#include "session.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000u
/* The oldest deadline is served first. Who has none, or a far one, is due this long after it came: so nobody
 * is passed for ever by requests in a hurry. */
#define PATIENCE_MS 10000u

/* --- tickets --- */

static struct rz_req *find(const struct rz_loop *loop, uint64_t ticket)
{
    uint32_t slot = (uint32_t)ticket - 1;
    if (slot >= loop->n_slots || !loop->reqs[slot] || loop->generations[slot] != ticket >> 32)
        return NULL;
    return loop->reqs[slot];
}

static int32_t room(struct rz_loop *loop, uint32_t *slot, struct rz_err *err)
{
    if (loop->refusal.code) {
        loop->refused++;
        if (err)
            *err = loop->refusal;
        return loop->refusal.code;
    }
    if (loop->closing)
        return rz_fail(err, RZ_EBUSY, "engine", "it is being stopped and takes no new requests");
    if (loop->n_active >= loop->setup.max_queue) {
        loop->refused++;
        return rz_fail(err, RZ_EBUSY, "engine", "the queue is full: %u of %u requests", loop->n_active,
                       loop->setup.max_queue);
    }
    for (*slot = 0; *slot < loop->n_slots; (*slot)++)
        if (!loop->reqs[*slot])
            return RZ_OK;
    loop->refused++;
    return rz_fail(err, RZ_EBUSY, "engine", "%u tickets were not given back", loop->n_slots);
}

/* --- rz.engine/1 --- */

/* Whose prompt the request has as well, so that their pages may be shared. */
static int32_t find_like(const struct rz_loop *loop, struct rz_req *r, uint64_t ticket, struct rz_err *err)
{
    struct rz_req *like = ticket ? find(loop, ticket) : NULL;
    if (!ticket)
        return RZ_OK;
    if (!like)
        return rz_fail(err, RZ_ENOTFOUND, "like", "there is no ticket %llu (any more)",
                       (unsigned long long)ticket);
    if (like->n_prompt != r->n_prompt || memcmp(like->tokens, r->tokens, r->n_prompt * sizeof(*r->tokens)))
        return rz_fail(err, RZ_EINVAL, "like", "the prompts differ");
    /* Another rope makes other keys. */
    if (!like->finished && !like->pooled && like->seq.rope_variant == r->seq.rope_variant)
        r->seq.like = &like->seq;
    return RZ_OK;
}

/* When it has to be done, and before whom. */
static void set_times(const struct rz_loop *loop, struct rz_req *r, uint64_t timeout_ms)
{
    uint64_t most_ms = loop->setup.max_ms, span;
    if (most_ms && (!timeout_ms || most_ms < timeout_ms))
        timeout_ms = most_ms;
    r->submit_ns = rz_clock_ns();
    if (timeout_ms && !__builtin_mul_overflow(timeout_ms, (uint64_t)NS_PER_MS, &span) &&
        span < UINT64_MAX - r->submit_ns)
        r->deadline_ns = r->submit_ns + span;
    r->seq.due = r->submit_ns + (uint64_t)PATIENCE_MS * NS_PER_MS;
    if (r->deadline_ns && r->deadline_ns < r->seq.due)
        r->seq.due = r->deadline_ns;
}

static int32_t enter(struct rz_loop *loop, struct rz_req *r, const struct rz_request *q, uint64_t *ticket,
                     struct rz_err *err)
{
    uint32_t slot = 0;
    int32_t rc = room(loop, &slot, err);
    if (rc || (rc = find_like(loop, r, q->like, err)))
        return rc;
    if (!rz_failure_fits(loop, r, err))
        return RZ_ELIMIT;
    set_times(loop, r, q->timeout_ms);
    /* The scheduler forgets a request when it finishes, so active requests are all that it knows. */
    if (!rz_sched_add(&loop->sched, &r->seq))
        return rz_fail(err, RZ_EBUSY, "engine", "the queue is full: %u requests", loop->setup.max_queue);
    r->ticket = (uint64_t)loop->generations[slot] << 32 | (slot + 1);
    *ticket = r->ticket;
    loop->reqs[slot] = r;
    loop->n_active++;
    loop->requests++;
    rz_loop_kick(loop);
    return RZ_OK;
}

/* Does the model give what the request is about? */
static int32_t check_kind(const struct rz_loop *loop, const struct rz_request *q, struct rz_err *err)
{
    bool embed = q && q->flags & RZ_REQUEST_EMBED;
    uint32_t want = embed ? RZ_WANT_HIDDEN : RZ_WANT_LOGITS;
    if (loop->wants & 1u << want)
        return RZ_OK;
    return rz_fail(err, RZ_EUNSUPPORTED, "request",
                   embed
                       ? "this model gives no hidden states, so no embedding"
                       : "this model is an encoder: it says no next token (rz embed makes vectors with it)");
}

static int32_t engine_submit(void *ctx, const struct rz_request *request, uint64_t *ticket,
                             struct rz_err *err)
{
    struct rz_loop *loop = ctx;
    struct rz_req *r = NULL;
    uint32_t slot;
    if (!ticket)
        return rz_fail(err, RZ_EINVAL, "request", "no place for the ticket");
    *ticket = 0;
    /* A full queue answers before anything is copied. */
    pthread_mutex_lock(&loop->mutex);
    int32_t rc = room(loop, &slot, err);
    rc = rc ? rc : check_kind(loop, request, err);
    pthread_mutex_unlock(&loop->mutex);
    if (rc || (rc = rz_req_new(&loop->setup, &loop->kv, request, &r, err)))
        return rc;
    rc = rz_constraint_init(loop->constraints, request, &r->constraint, err);
    if (!rc)
        rc = rz_spec_init(loop, request, r, err);
    pthread_mutex_lock(&loop->mutex);
    rc = rc ? rc : enter(loop, r, request, ticket, err);
    if (rc)
        rz_req_free(&loop->kv, r);
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

/* RZ_OK: took an event; RZ_AGAIN: none now. */
static int32_t take(struct rz_loop *loop, uint64_t ticket, struct rz_event *out)
{
    struct rz_req *r = find(loop, ticket);
    if (!r)
        return RZ_ENOTFOUND;
    if (!rz_req_take(r, out))
        return r->closed ? RZ_END : RZ_AGAIN;
    if (!r->finished && r->seq.paused && !rz_req_slow(r))
        rz_loop_kick(loop);
    return RZ_OK;
}

static int32_t engine_poll(void *ctx, uint64_t ticket, struct rz_event *out, uint32_t timeout_ms)
{
    struct rz_loop *loop = ctx;
    if (!out || out->size < sizeof(*out))
        return RZ_EINVAL;
    pthread_mutex_lock(&loop->mutex);
    uint64_t deadline = rz_clock_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    int32_t rc = take(loop, ticket, out);
    /* Without a loop thread at least one step is tried, so that polling with no timeout gets on. */
    for (bool first = true; rc == RZ_AGAIN && (first || rz_clock_ns() < deadline); first = false) {
        if (loop->threaded || rz_loop_step(loop) != RZ_OK) {
            uint64_t until = loop->threaded ? UINT64_MAX : rz_loop_deadline(loop);
            rz_loop_wait(loop, &loop->changed, until < deadline ? until : deadline);
        }
        rc = take(loop, ticket, out);
    }
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

static int32_t engine_cancel(void *ctx, uint64_t ticket)
{
    struct rz_loop *loop = ctx;
    pthread_mutex_lock(&loop->mutex);
    struct rz_req *r = find(loop, ticket);
    if (r) {
        r->cancelled = true;
        rz_loop_kick(loop);
    }
    pthread_mutex_unlock(&loop->mutex);
    return r ? RZ_OK : RZ_ENOTFOUND;
}

static void engine_release(void *ctx, uint64_t ticket)
{
    struct rz_loop *loop = ctx;
    pthread_mutex_lock(&loop->mutex);
    struct rz_req *r = find(loop, ticket);
    if (r) {
        uint32_t slot = (uint32_t)ticket - 1;
        loop->reqs[slot] = NULL;
        loop->generations[slot]++;
        rz_loop_bury(loop, r);
        rz_loop_kick(loop);
        /* The caller may free what wake uses once we return. */
        while (loop->waking == r && !pthread_equal(loop->stepper, pthread_self()))
            rz_loop_wait(loop, &loop->changed, UINT64_MAX);
    }
    pthread_mutex_unlock(&loop->mutex);
}

static int32_t engine_step(void *ctx, struct rz_err *err)
{
    struct rz_loop *loop = ctx;
    pthread_mutex_lock(&loop->mutex);
    int32_t rc = loop->threaded
                     ? rz_fail(err, RZ_EINVAL, "engine", "the steps are done by the loop's own thread")
                     : rz_loop_step(loop);
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

/* In the group that has the most. */
static uint32_t pages_cached(const struct rz_kv *kv)
{
    uint32_t n = 0;
    for (uint32_t g = 0; g < kv->n_groups; g++)
        n = kv->n_idle[g] > n ? kv->n_idle[g] : n;
    return n;
}

static int32_t engine_stats(void *ctx, struct rz_engine_stats *out)
{
    struct rz_loop *loop = ctx;
    if (!out || out->size < sizeof(*out))
        return RZ_EINVAL;
    uint32_t size = out->size;
    pthread_mutex_lock(&loop->mutex);
    *out = (struct rz_engine_stats){.size = size,
                                    .running = loop->sched.n_running,
                                    .waiting = loop->sched.n_waiting,
                                    .pages_total = loop->kv.n_pages - loop->kv.n_out,
                                    .pages_free = rz_kv_available(&loop->kv),
                                    .steps = loop->steps,
                                    .prompt_tokens = loop->prompt_tokens,
                                    .new_tokens = loop->new_tokens,
                                    .requests = loop->requests,
                                    .cancelled = loop->cancelled,
                                    .failed = loop->failed,
                                    .preempted = loop->sched.preempted,
                                    .drafted = loop->spec.n_drafted,
                                    .accepted = loop->spec.n_accepted,
                                    .pages_cached = pages_cached(&loop->kv),
                                    .cache_queries = loop->prefix.queries,
                                    .cache_hits = loop->prefix.hits,
                                    .cache_evictions = loop->prefix.evictions,
                                    .timeouts = loop->timeouts,
                                    .refused = loop->refused,
                                    .max_running = loop->sched.max_running,
                                    .max_queue = loop->setup.max_queue};
    pthread_mutex_unlock(&loop->mutex);
    return RZ_OK;
}

static int32_t engine_embedding(void *ctx, uint64_t ticket, float *out, uint32_t n)
{
    struct rz_loop *loop = ctx;
    int32_t rc = RZ_ENOTFOUND;
    pthread_mutex_lock(&loop->mutex);
    const struct rz_req *r = find(loop, ticket);
    if (r && r->pooled && r->finished && r->last.finish == RZ_FINISH_STOP) {
        for (uint32_t i = 0; i < n && i < r->n_embd; i++)
            out[i] = (float)r->pooled[i];
        rc = (int32_t)r->n_embd;
    }
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

static int32_t engine_score(void *ctx, uint64_t ticket, uint32_t i, float *logprob, struct rz_logprob *top)
{
    struct rz_loop *loop = ctx;
    pthread_mutex_lock(&loop->mutex);
    const struct rz_req *r = find(loop, ticket);
    int32_t rc = r && r->first_ns ? rz_score_get(r, i, logprob, top) : RZ_ENOTFOUND;
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

static int64_t engine_save(void *ctx, const int32_t *tokens, uint32_t n, const char *path, struct rz_err *err)
{
    return rz_session_save(ctx, tokens, n, path, err);
}

static int64_t engine_restore(void *ctx, const char *path, struct rz_err *err)
{
    return rz_session_restore(ctx, path, err);
}

static int32_t engine_device(void *ctx, uint32_t i, struct rz_engine_device *out)
{
    struct rz_loop *loop = ctx;
    pthread_mutex_lock(&loop->mutex);
    int32_t rc = rz_failure_device(loop, i, out);
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

const struct rz_engine *rz_loop_table(struct rz_loop *loop)
{
    return &loop->table;
}

/* --- life --- */

static int32_t check_setup(const struct rz_engine_setup *setup, struct rz_err *err)
{
    if (!setup->device || !setup->plan || !setup->n_vocab || !setup->max_queue ||
        setup->max_queue > UINT32_MAX / 4)
        return rz_fail(err, RZ_EINVAL, "engine", "no device, no plan, no vocabulary or no queue");
    if (!setup->limits.max_context || setup->limits.max_context > INT32_MAX)
        return rz_fail(err, RZ_EINVAL, "engine", "a context of %u tokens is not possible",
                       setup->limits.max_context);
    return RZ_OK;
}

static int32_t make_tables(struct rz_loop *loop, struct rz_err *err)
{
    loop->n_slots = 2 * loop->setup.max_queue;
    loop->n_scratch = loop->sched.max_running;
    loop->reqs = calloc(loop->n_slots, sizeof(struct rz_req *));
    loop->wakes = calloc(loop->n_slots, sizeof(struct rz_req *));
    loop->generations = calloc(loop->n_slots, sizeof(*loop->generations));
    loop->tasks = calloc(loop->n_scratch, sizeof(struct rz_req *));
    loop->scratch = calloc(loop->n_scratch, sizeof(*loop->scratch));
    if (!loop->reqs || !loop->wakes || !loop->generations || !loop->tasks || !loop->scratch)
        return rz_fail(err, RZ_ENOMEM, "engine", "no memory for %u requests", loop->n_slots);
    for (uint32_t i = 0; i < loop->n_slots; i++)
        loop->generations[i] = 1;
    for (uint32_t i = 0; i < loop->n_scratch; i++) {
        int32_t rc = rz_sample_scratch_init(&loop->scratch[i], loop->setup.n_vocab, err);
        if (rc)
            return rc;
    }
    return RZ_OK;
}

static void init_locks(struct rz_loop *loop)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&loop->mutex, NULL);
    pthread_cond_init(&loop->work, &attr);
    pthread_cond_init(&loop->changed, &attr);
    pthread_condattr_destroy(&attr);
}

int32_t rz_loop_new(const struct rz_engine_setup *setup, struct rz_loop **out, struct rz_err *err)
{
    *out = NULL;
    int32_t rc = check_setup(setup, err);
    if (rc)
        return rc;
    struct rz_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return rz_fail(err, RZ_ENOMEM, "engine", "no memory");
    loop->setup = *setup;
    init_locks(loop);
    rz_failure_begin(loop);
    loop->info.size = sizeof(loop->info);
    if (setup->tokenizer && (rc = setup->tokenizer->info(setup->tok, &loop->info)) < 0) {
        rz_fail(err, rc, "tokenizer", "it does not say which tokens end a text");
        goto fail;
    }
    if (loop->info.n_end > sizeof(loop->info.end) / sizeof(*loop->info.end)) {
        rc = rz_fail(err, RZ_EINVAL, "tokenizer", "it names %u end tokens: at most 31", loop->info.n_end);
        goto fail;
    }
    const struct rz_plan_limits *limits = &loop->setup.limits;
    struct rz_kv_sizes sizes = {.n_groups = setup->n_kv_groups,
                                .n_pages = limits->n_pages,
                                .page_tokens = limits->page_tokens,
                                .n_slots = limits->n_slots};
    if ((rc = rz_kv_init(&loop->kv, &sizes, err)) ||
        (rc = rz_sched_init(&loop->sched, &loop->kv, limits, setup->max_batch_tokens, setup->max_queue,
                            err)) ||
        (rc = make_tables(loop, err)) || (rc = rz_constraints_new(setup, &loop->constraints, err)))
        goto fail;
    memcpy(loop->kv.windows, setup->kv_windows, sizeof(loop->kv.windows));
    if (setup->prefix_cache && setup->mask == RZ_MASK_CAUSAL) {
        if ((rc = rz_prefix_init(&loop->prefix, &loop->kv, err)))
            goto fail;
        loop->sched.prefix = &loop->prefix;
    }
    loop->sched.step.mask = setup->mask;
    loop->table = (struct rz_engine){.size = sizeof(loop->table),
                                     .ctx = loop,
                                     .submit = engine_submit,
                                     .poll = engine_poll,
                                     .cancel = engine_cancel,
                                     .release = engine_release,
                                     .step = engine_step,
                                     .stats = engine_stats,
                                     .embedding = engine_embedding,
                                     .score = engine_score,
                                     .save = engine_save,
                                     .restore = engine_restore,
                                     .device = engine_device};
    *out = loop;
    return RZ_OK;
fail:
    rz_loop_free(loop);
    return rc;
}

void rz_loop_free(struct rz_loop *loop)
{
    if (!loop)
        return;
    rz_loop_stop(loop, 0);
    for (uint32_t i = 0; i < loop->n_slots && loop->reqs; i++)
        rz_req_free(&loop->kv, loop->reqs[i]);
    for (uint32_t i = 0; i < loop->n_scratch && loop->scratch; i++)
        rz_sample_scratch_deinit(&loop->scratch[i]);
    rz_spec_close(loop);
    free(loop->reqs);
    free(loop->wakes);
    free(loop->generations);
    free(loop->tasks);
    free(loop->scratch);
    rz_constraints_free(loop->constraints);
    rz_sched_deinit(&loop->sched);
    rz_prefix_deinit(&loop->prefix);
    rz_kv_deinit(&loop->kv);
    pthread_cond_destroy(&loop->changed);
    pthread_cond_destroy(&loop->work);
    pthread_mutex_destroy(&loop->mutex);
    free(loop);
}

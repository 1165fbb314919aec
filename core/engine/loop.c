/* loop.c - the engine's steps: batch, execute, sample, events; and the thread that does them.
 *
 * A step holds the mutex while it builds the batch and while it hands results out, not while the device
 * computes and rows are sampled. Wakes are called without the mutex, so a frontend may hold a lock of
 * its own while it polls.
 */
#define _GNU_SOURCE /* pthread_attr_setsigmask_np */
#include "loop.h"

#include "err.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000u
#define NS_PER_MS 1000000u
#define CHUNK_LEAST 32 /* rows of prompts in a step, however slow */

uint64_t rz_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* --- waiting --- */

void rz_loop_wait(struct rz_loop *loop, pthread_cond_t *cond, uint64_t deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        pthread_cond_wait(cond, &loop->mutex);
        return;
    }
    struct timespec t = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                         .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    pthread_cond_timedwait(cond, &loop->mutex, &t);
}

void rz_loop_kick(struct rz_loop *loop)
{
    loop->kick = true;
    pthread_cond_signal(&loop->work);
}

uint64_t rz_loop_deadline(const struct rz_loop *loop)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < loop->n_slots; i++) {
        const struct rz_req *r = loop->reqs[i];
        if (r && !r->finished && r->deadline_ns && r->deadline_ns < first)
            first = r->deadline_ns;
    }
    return first;
}

/* --- the end of a request --- */

void rz_loop_end(struct rz_loop *loop, struct rz_req *r, uint32_t reason, const struct rz_err *error)
{
    rz_sched_remove(&loop->sched, &r->seq);
    rz_draft_drop(&r->spec);
    if (r->finished)
        return;
    rz_req_finish(r, reason, error, rz_clock_ns());
    loop->n_active--;
    loop->cancelled += reason == RZ_FINISH_CANCELLED;
    loop->failed += reason == RZ_FINISH_ERROR;
    loop->timeouts += reason == RZ_FINISH_TIMEOUT;
}

static void bury_now(struct rz_loop *loop, struct rz_req *r)
{
    rz_loop_end(loop, r, RZ_FINISH_CANCELLED, NULL);
    rz_req_free(&loop->kv, r);
}

void rz_loop_bury(struct rz_loop *loop, struct rz_req *r)
{
    r->released = true;
    if (!loop->busy) {
        bury_now(loop, r);
        return;
    }
    r->next_grave = loop->graves;
    loop->graves = r;
}

/* Nobody computes any more: what was released meanwhile goes, and whoever waits looks again. */
static void end_busy(struct rz_loop *loop)
{
    loop->busy = false;
    while (loop->graves) {
        struct rz_req *r = loop->graves;
        loop->graves = r->next_grave;
        bury_now(loop, r);
    }
    pthread_cond_broadcast(&loop->changed);
}

/* --- a step --- */

/* What happened to requests since the last step: cancels, deadlines, readers that caught up. */
static bool look_round(struct rz_loop *loop)
{
    bool did = false;
    uint64_t now = rz_clock_ns();
    for (uint32_t i = 0; i < loop->n_slots; i++) {
        struct rz_req *r = loop->reqs[i];
        if (!r || r->finished)
            continue;
        bool late = r->deadline_ns && now >= r->deadline_ns,
             full = !r->pooled && r->seq.n_tokens >= r->context;
        if (r->cancelled || late || full) {
            rz_loop_end(loop, r,
                        r->cancelled ? RZ_FINISH_CANCELLED
                        : late       ? RZ_FINISH_TIMEOUT
                                     : RZ_FINISH_LENGTH,
                        NULL);
            did = true;
        }
        r->seq.paused = rz_req_slow(r);
    }
    return did;
}

/* The running requests whose rows this step samples; those that are new get their admission time. */
static uint32_t collect_tasks(struct rz_loop *loop)
{
    uint32_t n = 0;
    uint64_t now = rz_clock_ns();
    loop->needs = 0;
    for (uint32_t i = 0; i < loop->sched.n_running; i++) {
        struct rz_req *r = (struct rz_req *)loop->sched.running[i];
        if (r->seq.result >= 0)
            loop->needs |= 1u << (r->pooled ? RZ_WANT_HIDDEN : RZ_WANT_LOGITS);
        if (r->seq.n_rows && !r->admit_ns)
            r->admit_ns = now;
        if (r->seq.result >= 0)
            loop->tasks[n++] = r;
    }
    return n;
}

/* One row after the other, as long as each gives the token that was guessed behind it: what later rows have
 * read is then what they should have. */
static void sample_text(struct rz_loop *loop, struct rz_req *r, struct rz_sample_scratch *scratch)
{
    const struct rz_result *result = &loop->result;
    /* Behind rows that are only scored. */
    uint32_t first = r->seq.want_all ? r->seq.n_rows - 1 - r->seq.n_guesses : 0;
    struct rz_constraint at = r->constraint; /* runs ahead over the guesses */
    for (bool more = true; more;) {
        uint32_t i = r->n_samples;
        uint64_t row = (uint64_t)r->seq.result + first + i;
        struct rz_sample_job job = {.sampling = &r->sampling,
                                    .biases = r->biases,
                                    .n_biases = r->n_biases,
                                    .logits = result->logits + row * result->logits_stride,
                                    .tokens = r->tokens,
                                    .n_tokens = r->seq.n_tokens + i,
                                    .draw = r->n_new + i,
                                    .n_logprobs = r->n_logprobs};
        if (at.grammar) {
            job.mask = scratch->mask;
            r->rc = rz_constraint_mask(&at, r->tokens + r->n_prompt, r->n_new + i,
                                       !(r->flags & RZ_REQUEST_IGNORE_EOS), scratch->mask, &r->error);
        }
        if (!r->rc)
            r->rc = rz_sample_run(scratch, &job, &r->samples[i], &r->error);
        if (r->rc)
            return;
        r->n_samples++;
        more = i < r->seq.n_guesses && r->samples[i].token == r->tokens[r->seq.n_tokens + i];
    }
}

/* A part of a prompt may be scored; what follows its end is sampled. */
static void read_logits(struct rz_loop *loop, struct rz_req *r, struct rz_sample_scratch *scratch)
{
    r->error = (struct rz_err)RZ_ERR_INIT;
    r->n_samples = 0;
    r->rc = r->scores && !r->first_ns ? rz_score_rows(r, &loop->result, scratch) : RZ_OK;
    if (!r->rc && r->seq.n_done + r->seq.n_rows >= r->seq.n_tokens)
        sample_text(loop, r, scratch);
}

static void sample_task(void *arg, uint32_t i)
{
    struct rz_loop *loop = arg;
    struct rz_req *r = loop->tasks[i];
    const struct rz_result *result = &loop->result;
    if (r->pooled)
        rz_req_hidden(r, result->hidden + (uint64_t)r->seq.result * result->hidden_stride,
                      result->hidden_stride, r->seq.want_all ? r->seq.n_rows : 1);
    else
        read_logits(loop, r, &loop->scratch[i]);
}

static void sample_rows(struct rz_loop *loop, uint32_t n)
{
    const struct rz_engine_setup *setup = &loop->setup;
    if (n > 1 && setup->parallel_for) {
        setup->parallel_for(setup->parallel_ctx, n, sample_task, loop);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        sample_task(loop, i);
}

int32_t rz_loop_execute(struct rz_loop *loop, const struct rz_step *step, uint32_t needs, struct rz_err *err)
{
    struct rz_result *result = &loop->result;
    *result = (struct rz_result){.size = sizeof(*result)};
    int32_t rc = loop->setup.device->execute(loop->setup.plan, &step->batch, result, err);
    if (rc < 0)
        return rc;
    bool some = (!(needs & 1u << RZ_WANT_HIDDEN) || result->hidden) &&
                (!(needs & 1u << RZ_WANT_LOGITS) || result->logits);
    if (result->n != step->n_wanted || (result->n && !some))
        return rz_fail(err, RZ_EDEVICE, loop->setup.device->name, "%u results came for %u wanted rows",
                       result->n, step->n_wanted);
    return RZ_OK;
}

bool rz_loop_ends(const struct rz_loop *loop, const struct rz_req *r, int32_t token)
{
    for (uint32_t i = 0; i < loop->info.n_end && !(r->flags & RZ_REQUEST_IGNORE_EOS); i++)
        if (loop->info.end[i] == token)
            return true;
    return false;
}

/* The bytes that the token adds; negative: an error, in r->error. */
static int64_t decode(const struct rz_loop *loop, struct rz_req *r, int32_t token, char *piece)
{
    const struct rz_engine_setup *setup = &loop->setup;
    uint32_t flags = r->flags & RZ_REQUEST_SPECIAL_TEXT ? RZ_DECODE_SPECIAL : 0;
    if (!setup->tokenizer)
        return 0;
    int64_t n = setup->tokenizer->decode(setup->tok, &r->decode, token, flags, piece, RZ_PIECE_MAX);
    if (n > RZ_PIECE_MAX)
        return rz_fail(&r->error, RZ_ELIMIT, "tokenizer", "token %d is %lld bytes of text: at most %d", token,
                       (long long)n, RZ_PIECE_MAX);
    if (n < 0)
        return rz_fail(&r->error, (int32_t)n, "tokenizer", "token %d has no text", token);
    return n;
}

/* The rows of a text are pooled; after the last its request is done. */
static void deliver_hidden(struct rz_loop *loop, struct rz_req *r)
{
    if (r->seq.n_done < r->seq.n_tokens)
        return;
    bool good = rz_req_pool(r) == RZ_OK;
    rz_loop_end(loop, r, good ? RZ_FINISH_STOP : RZ_FINISH_ERROR, good ? NULL : &r->error);
}

/* A sampled token becomes an event, or the end of its request. */
static void deliver_token(struct rz_loop *loop, struct rz_req *r, const struct rz_sample *sample)
{
    char piece[RZ_PIECE_MAX];
    int64_t n = 0;
    if (rz_loop_ends(loop, r, sample->token)) {
        rz_loop_end(loop, r, RZ_FINISH_STOP, NULL);
        return;
    }
    if ((n = decode(loop, r, sample->token, piece)) < 0) {
        rz_loop_end(loop, r, RZ_FINISH_ERROR, &r->error);
        return;
    }
    r->tokens[r->seq.n_tokens++] = sample->token;
    loop->new_tokens++;
    bool stop = rz_req_token(r, sample, piece, (size_t)n) ||
                rz_constraint_over(&r->constraint, r->tokens + r->n_prompt, r->n_new);
    if (stop || r->seq.n_tokens >= r->context)
        rz_loop_end(loop, r, stop ? RZ_FINISH_STOP : RZ_FINISH_LENGTH, NULL);
    else
        rz_req_flush(r);
}

/* What a step gave a request. Samples that its ring has no room for are drawn again in the next step, which
 * makes them the same tokens. */
static void deliver(struct rz_loop *loop, struct rz_req *r, uint64_t now)
{
    bool part = r->scores && r->seq.n_done < r->seq.n_tokens; /* of its prompt */
    if (!r->first_ns && !part) {
        r->first_ns = now;
        loop->prompt_tokens += r->n_prompt;
    }
    if (r->pooled) {
        deliver_hidden(loop, r);
        return;
    }
    uint32_t i = 0;
    for (; i < r->n_samples && !r->finished && !rz_req_full(r); i++) {
        rz_spec_judge(loop, r, i, r->samples[i].token);
        deliver_token(loop, r, &r->samples[i]);
    }
    if (r->finished)
        return;
    if (r->rc && i == r->n_samples) {
        rz_loop_end(loop, r, RZ_FINISH_ERROR, &r->error);
        return;
    }
    if (part)
        return;
    rz_spec_settle(r);
    rz_sched_keep(&loop->sched, &r->seq);
}

/* Who decodes waits for the rows of prompts in a step: as many as fit into the time that a step may take. What
 * a row costs is learnt from steps with some of them, later ones counting more. */
static void learn_chunk(struct rz_loop *loop, uint64_t ns)
{
    uint32_t n = loop->sched.step.batch.n_rows, least = CHUNK_LEAST;
    if (!loop->setup.step_ms || n < CHUNK_LEAST)
        return;
    double row_ns = (double)ns / n, all = (double)loop->setup.step_ms * NS_PER_MS;
    loop->row_ns = loop->row_ns > 0 ? 0.5 * (loop->row_ns + row_ns) : row_ns;
    double fit = all / loop->row_ns;
    loop->sched.chunk = fit > loop->sched.max_rows ? loop->sched.max_rows
                        : fit > least              ? (uint32_t)fit
                                                   : least;
}

/* Computes the batch, without the mutex, and hands its results out. */
static void compute(struct rz_loop *loop)
{
    struct rz_err error = RZ_ERR_INIT;
    uint32_t n = collect_tasks(loop);
    pthread_mutex_unlock(&loop->mutex);
    int32_t rc = loop->setup.check ? loop->setup.check(loop->setup.check_ctx, &error) : RZ_OK;
    bool gone = rc < 0;
    uint64_t begin = rz_clock_ns();
    if (!gone)
        rc = rz_loop_execute(loop, &loop->sched.step, loop->needs, &error);
    if (rc >= 0)
        sample_rows(loop, n);
    pthread_mutex_lock(&loop->mutex);
    loop->steps++;
    if (rc < 0) {
        error.code = rc;
        rz_failure_step(loop, gone, &error);
        return;
    }
    loop->failed_in_row = 0;
    rz_sched_done(&loop->sched);
    uint64_t now = rz_clock_ns();
    learn_chunk(loop, now - begin);
    if (loop->sched.step.n_wanted == loop->sched.step.batch.n_rows)
        rz_pace_step(&loop->spec.pace, loop->sched.step.n_wanted, (double)(now - begin) * 1e-9);
    for (uint32_t i = 0; i < n; i++)
        if (!loop->tasks[i]->released)
            deliver(loop, loop->tasks[i], now);
}

/* Calls the wake of every request with new events. A release waits for the call that runs (see
 * table.c) and prevents later ones. */
static void call_wakes(struct rz_loop *loop)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < loop->n_slots; i++) {
        struct rz_req *r = loop->reqs[i];
        if (r && r->fresh && r->wake)
            loop->wakes[n++] = r;
        if (r)
            r->fresh = false;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct rz_req *r = loop->wakes[i];
        if (r->released)
            continue;
        loop->waking = r;
        pthread_mutex_unlock(&loop->mutex);
        r->wake(r->wake_arg);
        pthread_mutex_lock(&loop->mutex);
        loop->waking = NULL;
        pthread_cond_broadcast(&loop->changed);
    }
}

int32_t rz_loop_step(struct rz_loop *loop)
{
    if (loop->busy)
        return RZ_AGAIN;
    loop->busy = true;
    loop->stepper = pthread_self();
    bool did = false;
    /* Whom the step took with it has been told. Without a thread it is done only for somebody. */
    if (loop->lost && (loop->threaded || loop->n_active)) {
        rz_failure_replace(loop);
        did = true;
    }
    did |= look_round(loop);
    rz_spec_guess(loop);
    if (rz_sched_build(&loop->sched)) {
        compute(loop);
        did = true;
    }
    if (did) {
        /* Readers may take their events while wakes are called. */
        pthread_cond_broadcast(&loop->changed);
        call_wakes(loop);
    }
    end_busy(loop);
    return did ? RZ_OK : RZ_AGAIN;
}

/* --- the caller's own steps --- */

/* Requests that are neither finished nor released. */
static uint32_t n_alive(const struct rz_loop *loop)
{
    uint32_t n = loop->n_active;
    for (const struct rz_req *r = loop->graves; r; r = r->next_grave)
        n -= !r->finished;
    return n;
}

int32_t rz_loop_claim(struct rz_loop *loop, struct rz_err *err)
{
    int32_t rc = RZ_OK;
    pthread_mutex_lock(&loop->mutex);
    /* The end of the last step, and another evaluation, are waited for. */
    while (loop->busy && !n_alive(loop))
        rz_loop_wait(loop, &loop->changed, UINT64_MAX);
    if (loop->refusal.code) {
        if (err)
            *err = loop->refusal;
        rc = loop->refusal.code;
    } else if (n_alive(loop)) {
        rc = rz_fail(err, RZ_EBUSY, "engine", "%u requests are running", n_alive(loop));
    } else {
        loop->busy = true;
        loop->stepper = pthread_self();
    }
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

int32_t rz_loop_visit(struct rz_loop *loop, struct rz_err *err)
{
    pthread_mutex_lock(&loop->mutex);
    loop->n_visitors++;
    while (loop->busy)
        rz_loop_wait(loop, &loop->changed, UINT64_MAX);
    loop->n_visitors--;
    int32_t rc = loop->refusal.code;
    if (rc && err)
        *err = loop->refusal;
    if (rc) {
        rz_loop_kick(loop);
    } else {
        loop->busy = true;
        loop->stepper = pthread_self();
    }
    pthread_mutex_unlock(&loop->mutex);
    return rc;
}

void rz_loop_yield(struct rz_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    end_busy(loop);
    rz_loop_kick(loop);
    pthread_mutex_unlock(&loop->mutex);
}

/* --- the thread --- */

static void *loop_main(void *arg)
{
    struct rz_loop *loop = arg;
    pthread_mutex_lock(&loop->mutex);
    while (!loop->quit) {
        loop->kick = false;
        if (loop->busy || loop->n_visitors)
            rz_loop_wait(loop, &loop->changed, UINT64_MAX);
        else if (rz_loop_step(loop) != RZ_OK && !loop->kick && !loop->quit)
            rz_loop_wait(loop, &loop->work, rz_loop_deadline(loop));
    }
    pthread_mutex_unlock(&loop->mutex);
    return NULL;
}

int32_t rz_loop_start(struct rz_loop *loop, struct rz_err *err)
{
    pthread_attr_t attr;
    sigset_t all;
    int rc = pthread_attr_init(&attr);
    if (rc)
        return rz_fail(err, RZ_ENOMEM, "engine", "cannot start the loop thread: %s", strerror(rc));
    /* Signals are the program's business: none is delivered here. */
    sigfillset(&all);
    pthread_attr_setsigmask_np(&attr, &all);
    pthread_mutex_lock(&loop->mutex);
    if (loop->threaded) {
        rc = EALREADY;
    } else {
        loop->quit = loop->closing = false;
        rc = pthread_create(&loop->thread, &attr, loop_main, loop);
        loop->threaded = rc == 0;
    }
    pthread_mutex_unlock(&loop->mutex);
    pthread_attr_destroy(&attr);
    return rc ? rz_fail(err, RZ_ENOMEM, "engine", "cannot start the loop thread: %s", strerror(rc)) : RZ_OK;
}

/* Until no request is active or the time is over; does the steps itself if no thread does. */
static void drain(struct rz_loop *loop, uint64_t deadline)
{
    while (loop->n_active && rz_clock_ns() < deadline)
        if (loop->threaded || rz_loop_step(loop) != RZ_OK)
            rz_loop_wait(loop, &loop->changed, deadline);
}

void rz_loop_stop(struct rz_loop *loop, uint32_t drain_ms)
{
    pthread_mutex_lock(&loop->mutex);
    loop->closing = true;
    drain(loop, rz_clock_ns() + (uint64_t)drain_ms * NS_PER_MS);
    for (uint32_t i = 0; i < loop->n_slots && loop->reqs; i++)
        if (loop->reqs[i])
            loop->reqs[i]->cancelled = true;
    rz_loop_kick(loop);
    drain(loop, UINT64_MAX);
    if (loop->threaded) {
        loop->quit = true;
        rz_loop_kick(loop);
        pthread_cond_broadcast(&loop->changed);
        pthread_mutex_unlock(&loop->mutex);
        pthread_join(loop->thread, NULL);
        pthread_mutex_lock(&loop->mutex);
        loop->threaded = false;
    }
    while (loop->busy)
        rz_loop_wait(loop, &loop->changed, UINT64_MAX);
    pthread_mutex_unlock(&loop->mutex);
}

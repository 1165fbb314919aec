/* failure.c - a step that failed: which requests it takes with it, whether the device is lost, and what
 * follows.
 *
 * A device is lost when it says so (RZ_EDEVICE), or fails step after step. Then setup.replace is asked for
 * another: all requests that the step did not carry are computed anew there. Where none is to be had, every
 * request ends with an error, and those that come are refused in the same words.
 *
 * Invariant: a token is handed out only if the step that it comes from was whole.
 */
#include "err.h"
#include "loop.h"

#include <stdio.h>
#include <string.h>

#define FAILURES_MAX 3 /* in a row, and whatever the device calls them: it is lost */

static struct rz_engine_device *in_use(struct rz_loop *loop)
{
    return &loop->used[loop->n_used - 1];
}

void rz_failure_begin(struct rz_loop *loop)
{
    struct rz_plan_info info = {.size = sizeof(info)};
    const struct rz_device *d = loop->setup.device;
    loop->wants = d->info(loop->setup.plan, &info) < 0 ? 0 : info.wants;
    loop->failed_in_row = 0;
    loop->n_used += loop->n_used < RZ_USED_MAX;
    *in_use(loop) = (struct rz_engine_device){.size = sizeof(*loop->used), .state = RZ_DEVICE_IN_USE};
    snprintf(in_use(loop)->name, sizeof(in_use(loop)->name), "%s", d->name ? d->name : "unnamed");
}

int32_t rz_failure_device(struct rz_loop *loop, uint32_t i, struct rz_engine_device *out)
{
    if (!out || out->size < sizeof(*out))
        return RZ_EINVAL;
    if (i >= loop->n_used)
        return RZ_END;
    uint32_t size = out->size;
    *out = loop->used[i];
    out->size = size;
    return RZ_OK;
}

/* --- requests --- */

bool rz_failure_fits(struct rz_loop *loop, struct rz_req *r, struct rz_err *err)
{
    uint64_t pool = rz_kv_tokens(&loop->kv);
    if (r->seq.want == RZ_WANT_TOP_K && !(loop->wants & 1u << RZ_WANT_TOP_K))
        r->seq.want = RZ_WANT_LOGITS;
    if (r->context > pool && loop->kv.n_groups)
        r->context = (uint32_t)pool;
    if (r->seq.n_tokens <= r->context)
        return true;
    rz_fail(err, RZ_ELIMIT, "prompt", "%u tokens do not fit a KV cache of %u", r->seq.n_tokens, r->context);
    return false;
}

static void end_all(struct rz_loop *loop, const struct rz_err *error)
{
    for (uint32_t i = 0; i < loop->n_slots; i++)
        if (loop->reqs[i] && !loop->reqs[i]->finished)
            rz_loop_end(loop, loop->reqs[i], RZ_FINISH_ERROR, error);
}

static void end_carried(struct rz_loop *loop, const struct rz_err *error)
{
    for (uint32_t i = 0; i < loop->n_slots; i++) {
        struct rz_req *r = loop->reqs[i];
        if (r && !r->finished && r->seq.n_rows)
            rz_loop_end(loop, r, RZ_FINISH_ERROR, error);
    }
}

/* --- a step --- */

/* Device, step and reason, for those whom it takes with it. */
static void name(struct rz_loop *loop, const struct rz_err *error, struct rz_err *out)
{
    struct rz_engine_device *d = in_use(loop);
    bool known = !error->where[0] || !strcmp(error->where, d->name);
    rz_fail(out, error->code, d->name, "step %llu failed: %.200s%s%.500s", (unsigned long long)loop->steps,
            known ? "" : error->where, known ? "" : ": ", error->message);
    snprintf(d->why, sizeof(d->why), "%s", out->message);
    d->failures++;
}

void rz_failure_step(struct rz_loop *loop, bool model, const struct rz_err *error)
{
    struct rz_err named = RZ_ERR_INIT;
    rz_sched_failed(&loop->sched);
    if (model) {
        end_all(loop, error);
        return;
    }
    name(loop, error, &named);
    end_carried(loop, &named);
    loop->failed_in_row++;
    loop->lost = loop->setup.replace && (error->code == RZ_EDEVICE || loop->failed_in_row >= FAILURES_MAX);
    if (loop->lost)
        in_use(loop)->state = RZ_DEVICE_LOST;
}

/* --- another device --- */

/* What requests are told from now on. */
static void refuse(struct rz_loop *loop, const struct rz_err *why)
{
    struct rz_err error = *why;
    loop->refusal = *why;
    loop->refusal.code = RZ_EDEVICE;
    error.code = RZ_EBUSY; /* nobody began to compute them */
    end_all(loop, &error);
}

/* Of the setup only what others do not read without the mutex changes. */
static void adopt(struct rz_loop *loop, const struct rz_engine_setup *next)
{
    loop->setup.device = next->device;
    loop->setup.plan = next->plan;
    loop->setup.replace = next->replace;
    loop->setup.limits.kv_type = next->limits.kv_type;
    loop->setup.limits.n_pages = next->limits.n_pages;
    rz_failure_begin(loop);
    rz_kv_limit(&loop->kv, next->limits.n_pages);
    for (uint32_t i = 0; i < loop->n_slots; i++) {
        struct rz_err error = RZ_ERR_INIT;
        struct rz_req *r = loop->reqs[i];
        if (r && !r->finished && !rz_failure_fits(loop, r, &error))
            rz_loop_end(loop, r, RZ_FINISH_ERROR, &error);
    }
}

void rz_failure_replace(struct rz_loop *loop)
{
    struct rz_err why = RZ_ERR_INIT, error = RZ_ERR_INIT;
    struct rz_engine_setup next = loop->setup;
    struct rz_engine_device *d = in_use(loop);
    loop->lost = false;
    rz_fail(&why, RZ_EDEVICE, d->name, "%s", d->why);
    rz_sched_restart(&loop->sched);
    pthread_mutex_unlock(&loop->mutex);
    int32_t rc = next.replace(next.replace_ctx, &why, &next, &error);
    pthread_mutex_lock(&loop->mutex);
    d->state = RZ_DEVICE_OUT;
    if (rc < 0)
        refuse(loop, &error);
    else
        adopt(loop, &next);
}

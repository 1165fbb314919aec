/* request.c - a request for an answer from its whole body to its last byte, whatever the answer looks like.
 *
 * The engine's loop thread only sets a flag and resumes the connection (rz_http_wake); events are polled in
 * libmicrohttpd's threads, one thread a connection. A connection is suspended only while nothing is
 * pending, decided under the request's lock, so no wake is lost and nobody waits in a loop. The shape
 * (completion.c, chat.c) makes JSON of the events.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "fields.h"

#define SSE_FULL ((size_t)64 << 10) /* no more events are taken while so much waits to be sent */
#define SSE_BLOCK ((size_t)8 << 10)

/* Under the request's lock. */
static void rouse(struct rz_http_request *r)
{
    r->pending = true;
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
    }
}

void rz_http_wake(void *arg)
{
    struct rz_http_run *run = arg;
    struct rz_http_request *r = run->owner;
    pthread_mutex_lock(&r->lock);
    rz_http_measure_wake(run);
    rouse(r);
    pthread_mutex_unlock(&r->lock);
}

void rz_http_rouse(struct rz_http_request *r)
{
    pthread_mutex_lock(&r->lock);
    rouse(r);
    pthread_mutex_unlock(&r->lock);
}

/* The server closes, or the connection was given up: nothing may wait any longer. */
static bool given_up(const struct rz_http_request *r)
{
    return atomic_load(&r->http->closing) || atomic_load(&r->conn->dropped);
}

bool rz_http_suspend_if_idle(struct rz_http_request *r)
{
    pthread_mutex_lock(&r->lock);
    bool idle = !r->pending && !given_up(r);
    if (idle) {
        r->suspended = true;
        MHD_suspend_connection(r->connection);
    }
    pthread_mutex_unlock(&r->lock);
    return idle;
}

const char *rz_http_finish_name(const struct rz_http_run *run)
{
    return run->finish == RZ_FINISH_LENGTH ? "length" : "stop";
}

/* Why a request that ended without a result ended. */
static bool failed(const struct rz_http_request *r, struct rz_http_error *e)
{
    const struct rz_event *ev = &r->last;
    *e = (struct rz_http_error){
        .status = 500, .code = "engine_failed", .message = "the engine failed", .plain = r->route->plain};
    if (ev->kind == RZ_EVENT_ERROR) {
        e->message = ev->text;      /* n_text is below the array's size: see fail_with */
        if (ev->code == RZ_EBUSY) { /* it was not begun, and will not be */
            e->status = 503;
            e->code = "device_failed";
        }
    } else if (ev->finish == RZ_FINISH_CANCELLED) {
        e->status = 503;
        e->code = "cancelled";
        e->message = "the server ended the request";
    } else if (ev->finish == RZ_FINISH_TIMEOUT) {
        e->status = 504;
        e->code = "timeout";
        e->message = "the request took too long";
    } else {
        return ev->finish == RZ_FINISH_ERROR;
    }
    return true;
}

void rz_http_sse(struct rz_http_request *r, const char *name, json_t *data)
{
    char *text = data ? json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(data);
    if (text && name)
        rz_buf_printf(&r->out, "event: %s\n", name);
    if (text)
        rz_buf_printf(&r->out, "data: %s\n\n", text);
    free(text);
}

/* All has been said; a broken stream does not end with [DONE]. */
static void end_stream(struct rz_http_request *r)
{
    struct rz_http_error e;
    r->ended = true;
    if (r->phase != PHASE_SSE)
        return;
    if (!failed(r, &e)) {
        r->shape->finish(r);
        rz_buf_str(&r->out, r->shape->done ? r->shape->done : "data: [DONE]\n\n");
    } else if (r->shape->fail) {
        r->shape->fail(r, &e);
    } else {
        rz_http_sse(r, NULL, rz_http_error_json(&e));
    }
}

/* One run failed, and with it all. */
static void fail_with(struct rz_http_request *r, const struct rz_event *ev)
{
    r->last = *ev;
    r->last.n_text = ev->n_text < sizeof(ev->text) ? ev->n_text : sizeof(ev->text) - 1;
    r->last.text[r->last.n_text] = 0;
    rz_http_measure_end(r, ev);
    end_stream(r);
}

static void end_run(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    bool good = ev->kind == RZ_EVENT_DONE && (ev->finish == RZ_FINISH_STOP || ev->finish == RZ_FINISH_LENGTH);
    if (!good && !(run->cut && ev->finish == RZ_FINISH_CANCELLED)) {
        fail_with(r, ev);
        return;
    }
    r->last = *ev;
    r->last.finish = run->finish = run->cut ? RZ_FINISH_STOP : ev->finish;
    r->last.n_new = run->n_new = run->cut ? run->n_new : ev->n_new;
    run->n_cached = ev->n_cached;
    rz_http_measure_end(r, &r->last);
    r->shape->end(r, run, ev);
    rz_http_run_ended(r, run);
    if (r->n_ended < r->n_runs)
        return;
    r->last.n_new = (uint32_t)rz_http_counts(r).fresh; /* for the log */
    end_stream(r);
}

/* Takes one event of a run; false: there is none. */
static bool take_one(struct rz_http_request *r, struct rz_http_run *run)
{
    const struct rz_engine *e = r->model->engine;
    struct rz_event ev = {.size = sizeof(ev)};
    int32_t got = e->poll(e->ctx, run->ticket, &ev, 0);
    if (got == RZ_AGAIN)
        return false;
    if (got != RZ_OK)
        ev = (struct rz_event){.size = sizeof(ev), .kind = RZ_EVENT_DONE, .finish = RZ_FINISH_ERROR};
    if (ev.kind != RZ_EVENT_TOKEN) {
        end_run(r, run, &ev);
    } else if (!run->cut) {
        rz_http_measure_first(r);
        r->shape->take(r, run, &ev);
    }
    return true;
}

/* One event of each run, so that choices go on side by side; false: there was none. */
static bool take_round(struct rz_http_request *r)
{
    struct rz_err err = RZ_ERR_INIT;
    bool any = false;
    for (uint32_t i = 0; i < r->n_submitted && !r->ended; i++)
        if (!r->runs[i].ended)
            any |= take_one(r, &r->runs[i]);
    if (r->ended || r->n_submitted == r->n_runs)
        return any;
    uint32_t before = r->n_submitted;
    int32_t code = rz_http_runs_fill(r, &err);
    if (code) {
        struct rz_event ev = {.size = sizeof(ev), .kind = RZ_EVENT_ERROR, .code = code};
        ev.n_text = (uint32_t)snprintf(ev.text, sizeof(ev.text), "%.200s: %.700s", err.where, err.message);
        fail_with(r, &ev);
    }
    return any || r->n_submitted > before;
}

void rz_http_keep_alive(struct rz_http *h)
{
    uint64_t now = rz_http_now_ns(), most = (uint64_t)h->keep_alive_s * 1000000000u;
    pthread_mutex_lock(&h->lock);
    for (uint32_t i = 0; i < h->n_slots; i++) {
        struct rz_http_request *r = &h->slots[i];
        uint64_t said = atomic_load(&r->said_ns);
        if (!said || now < said || now - said < most)
            continue;
        atomic_store(&r->said_ns, now);
        atomic_store(&r->comment, true);
        rz_http_rouse(r);
    }
    pthread_mutex_unlock(&h->lock);
}

/* Takes the events that wait; false: the connection was suspended because there were none. */
static bool pump(struct rz_http_request *r)
{
    bool here;
    do {
        pthread_mutex_lock(&r->lock);
        r->pending = false;
        pthread_mutex_unlock(&r->lock);
        while (!r->ended && (r->phase != PHASE_SSE || r->out.len < SSE_FULL) && take_round(r))
            ;
        r->commented = atomic_exchange(&r->comment, false) && !r->out.len && !r->ended;
        if (r->commented)
            rz_buf_str(&r->out, ": \n\n");
        here = r->ended || (r->phase == PHASE_SSE && r->out.len) || given_up(r);
        r->no_memory |= rz_http_json_failed();
    } while (!here && !rz_http_suspend_if_idle(r));
    return here;
}

/* libmicrohttpd asks for the next bytes of a stream: those before have been sent. */
static ssize_t read_stream(void *cls, uint64_t pos, char *to, size_t max)
{
    struct rz_http_request *r = cls;
    (void)pos;
    rz_http_json_failed();
    if (!r->out.len && !r->ended) {
        if (!r->commented) /* a sign of life of ours is none of the engine */
            rz_http_wait_for(r->conn, RZ_HTTP_WAIT_ENGINE, r->http->give_up_s);
        if (!pump(r))
            return 0;
    }
    if (!rz_buf_ok(&r->out) || r->no_memory)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!r->out.len)
        return r->ended ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = r->out.len < max ? r->out.len : max;
    memcpy(to, r->out.data, n);
    rz_buf_drop(&r->out, n);
    atomic_store(&r->said_ns, rz_http_now_ns());
    if (!r->commented)
        rz_http_wait_for(r->conn, RZ_HTTP_WAIT_READER, r->http->write_timeout_s);
    return (ssize_t)n;
}

static enum MHD_Result start_stream(struct rz_http_request *r)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, SSE_BLOCK, read_stream, r, NULL);
    if (!response)
        return MHD_NO;
    atomic_store(&r->said_ns, rz_http_now_ns());
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx would collect events */
    if (r->ask.ignored.len)
        MHD_add_response_header(response, "X-Rz-Ignored", r->ask.ignored.data);
    enum MHD_Result result = rz_http_queue(r->connection, MHD_HTTP_OK, response, 0);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result rz_http_continue(struct rz_http_request *r)
{
    struct rz_http_error e;
    if (!pump(r))
        return MHD_YES;
    if (!r->ended)
        return MHD_NO; /* the server closes */
    if (r->no_memory)
        return rz_http_reply_no_memory(r->connection);
    if (failed(r, &e))
        return rz_http_reply_error(r->connection, &e);
    for (uint32_t i = 0; i < r->n_runs; i++) {
        if (rz_buf_ok(&r->runs[i].text) && rz_buf_ok(&r->runs[i].reasoning) && rz_buf_ok(&r->runs[i].ids))
            continue;
        e = (struct rz_http_error){
            .status = 500, .message = "the answer is too long", .plain = r->route->plain};
        return rz_http_reply_error(r->connection, &e);
    }
    return rz_http_reply_json(r->connection, MHD_HTTP_OK, r->shape->whole(r),
                              r->ask.ignored.len ? r->ask.ignored.data : NULL);
}

/* The field that an error is about: what we or the engine call it; NULL: none. */
static const char *field_of(const struct rz_http_request *r, int32_t code, const struct rz_err *err)
{
    const char *engine[][2] = {{"prompt", r->shape->prompt}, {"bias", "logit_bias"}, {"score", "echo"}};
    if (rz_http_field_find(err->where, r->shape->fields))
        return err->where;
    for (size_t i = 0; i < sizeof(engine) / sizeof(engine[0]); i++)
        if (!strcmp(err->where, engine[i][0]))
            return engine[i][1];
    return err->where[0] && code == RZ_EINVAL ? err->where : NULL;
}

enum MHD_Result rz_http_refuse(struct rz_http_request *r, int32_t code, const struct rz_err *err)
{
    char message[1100];
    struct rz_http_error e = {.status = 500, .message = message, .plain = r->route->plain};
    snprintf(message, sizeof(message), "%s%s%s", err->where, err->where[0] ? ": " : "", err->message);
    if (code == RZ_EBUSY) {
        e.status = 503;
        e.type = "overloaded_error";
        e.code = "queue_full";
        e.header = "Retry-After: 1";
    } else if (code == RZ_EDEVICE) {
        e.status = 503;
        e.code = "device_failed";
    } else if (code == RZ_ELIMIT) {
        e.status = 400;
        e.code = "context_length_exceeded";
        e.param = r->shape->prompt;
    } else if (code == RZ_EINVAL || code == RZ_EFORMAT || code == RZ_EUNSUPPORTED) {
        e.status = 400;
        e.param = field_of(r, code, err);
        e.code = code == RZ_EFORMAT ? "invalid_json" : NULL;
    }
    return rz_http_reply_error(r->connection, &e);
}

static void name_request(struct rz_http_request *r)
{
    uint8_t random[12] = {0};
    if (getrandom(random, sizeof(random), 0) < 0)
        memcpy(random, &r->generation, sizeof(r->generation));
    size_t at = (size_t)snprintf(r->id, sizeof(r->id), "%s", r->shape->id);
    for (size_t i = 0; i < sizeof(random); i++)
        at += (size_t)snprintf(r->id + at, sizeof(r->id) - at, "%02x", random[i]);
    r->created = (int64_t)time(NULL);
}

/* What the model's own defaults are, before the fields are read. */
static void set_defaults(struct rz_http_ask *ask, const struct rz_sampling *s,
                         const struct rz_http_shape *shape)
{
    *ask = (struct rz_http_ask){.max_tokens = shape->max_tokens, .top_k = s->top_k, .n = 1};
    ask->temperature = (double)s->temperature;
    ask->top_p = (double)s->top_p;
    ask->min_p = (double)s->min_p;
    ask->typical_p = (double)s->typical_p;
    ask->repeat_penalty = (double)s->repeat_penalty;
    ask->presence_penalty = (double)s->presence_penalty;
    ask->frequency_penalty = (double)s->frequency_penalty;
    if (shape->defaults)
        shape->defaults(ask);
}

/* The model decides the defaults and a field names the model: read again if it is not the first one. */
static int32_t read_ask(struct rz_http_request *r, struct rz_err *err)
{
    r->model = rz_http_model_named(r->http, NULL);
    for (int pass = 0; r->model; pass++) {
        set_defaults(&r->ask, &r->model->sampling, r->shape);
        int32_t code = rz_http_ask_read(&r->ask, r->body.data ? r->body.data : "", r->body.len,
                                        r->shape->fields, r->http->strict, err);
        const struct rz_http_model *named = code ? r->model : rz_http_model_named(r->http, r->ask.model);
        if (code || named == r->model || pass)
            return code;
        r->model = named;
        if (named)
            rz_http_ask_free(&r->ask);
    }
    return rz_fail(err, RZ_ENOTFOUND, "model", "the server has no such model");
}

enum MHD_Result rz_http_start(struct rz_http_request *r, const struct rz_http_shape *shape)
{
    struct rz_err err = RZ_ERR_INIT;
    r->shape = shape;
    int32_t code = read_ask(r, &err);
    if (code == RZ_ENOTFOUND && !r->model) {
        struct rz_http_error e = {
            .status = 404, .param = "model", .code = "model_not_found", .plain = r->route->plain};
        e.message = err.message;
        return rz_http_reply_error(r->connection, &e);
    }
    rz_http_body_drop(r);
    return code ? rz_http_refuse(r, code, &err) : rz_http_model_take(r);
}

enum MHD_Result rz_http_begin(struct rz_http_request *r)
{
    struct rz_err err = RZ_ERR_INIT;
    const struct rz_http_shape *shape = r->shape;
    if (shape->answer)
        return shape->answer(r);
    bool stream = r->ask.stream || shape->always_stream;
    r->phase = stream ? PHASE_SSE : PHASE_WHOLE;
    rz_buf_init(&r->out, RZ_HTTP_TEXT_MAX);
    name_request(r);
    int32_t code = shape->prepare(r, &err);
    if (!code)
        code = rz_http_runs_fill(r, &err);
    if (code)
        return rz_http_refuse(r, code, &err);
    if (stream && shape->begin)
        shape->begin(r);
    return stream ? start_stream(r) : rz_http_continue(r);
}

/* models.c - the models that can be asked for, and how a request gets its own: at once, or suspended until
 * the host has loaded it.
 *
 * A request has its model from before the first look at the tokenizer until everything that was made with it
 * is gone. While it waits, its client is watched like that of one that runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

int32_t rz_http_models_find(struct rz_http *h, struct rz_err *err)
{
    h->models_api = h->host->query(h->host->ctx, RZ_HOST_MODEL_1, 0);
    if (!h->models_api)
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_MODEL_1, "the host does not offer it");
    h->chats = h->host->query(h->host->ctx, RZ_CHAT_1, 0);
    h->serve = h->models_api->serve(h->models_api->ctx);
    h->n_models = 0;
    for (uint32_t i = 0; h->serve && i < h->serve->n && i < RZ_HTTP_MODELS_MAX; i++) {
        struct rz_http_model *m = &h->models[i];
        struct rz_served_info info = {.size = sizeof(info)};
        m->sampling.size = sizeof(m->sampling);
        if (h->serve->info(h->serve->ctx, i, &info) || h->serve->sampling(h->serve->ctx, i, &m->sampling))
            return rz_fail(err, RZ_EINTERNAL, "http", "model %u cannot be served", i);
        m->name = info.name;
        m->index = i;
        if (!m->metrics && !(m->metrics = calloc(1, sizeof(*m->metrics))))
            return rz_fail(err, RZ_ENOMEM, m->name, "no memory");
        h->n_models++;
    }
    return h->n_models ? RZ_OK : rz_fail(err, RZ_ENOTFOUND, "http", "no model is served");
}

const struct rz_http_model *rz_http_model_named(const struct rz_http *h, const char *name)
{
    uint32_t i;
    return h->serve->find(h->serve->ctx, name, &i) == RZ_OK && i < h->n_models ? &h->models[i] : NULL;
}

bool rz_http_model_facts(const struct rz_http *h, uint32_t i, struct rz_http_model *out)
{
    *out = h->models[i];
    out->info.size = sizeof(out->info);
    out->vocab.size = sizeof(out->vocab);
    return h->serve->facts(h->serve->ctx, i, &out->info, &out->vocab) == RZ_OK;
}

/* --- a request's own --- */

static void wake(void *arg)
{
    rz_http_rouse(arg);
}

/* What the request needs of the model that it has taken. */
static int32_t look_at(struct rz_http_request *r, struct rz_model *model, struct rz_err *err)
{
    const struct rz_host_model *api = r->http->models_api;
    struct rz_http_model *t = &r->taken;
    bool known = rz_http_model_facts(r->http, r->model->index, t);
    r->model = t;
    r->has_model = true;
    r->waited_ns = r->phase == PHASE_MODEL ? rz_http_now_ns() - r->begun_ns : 0;
    r->phase = PHASE_BODY;
    t->model = model;
    t->engine = api->engine(model);
    t->tokenizer = api->tokenizer(model, &t->tok);
    if (!known || !t->engine || !t->tokenizer)
        return rz_fail(err, RZ_EINTERNAL, t->name, "the model cannot be served");
    return RZ_OK;
}

/* Under http.lock. */
static void begin_wait(struct rz_http_request *r, uint64_t ticket)
{
    r->wait_ticket = ticket;
    r->waits = true;
    rz_http_watch_add(r);
}

static void end_wait(struct rz_http_request *r)
{
    pthread_mutex_lock(&r->http->lock);
    if (r->waits)
        rz_http_watch_remove(r);
    r->waits = false;
    pthread_mutex_unlock(&r->http->lock);
}

static int32_t ask_first(struct rz_http_request *r, struct rz_model **model, struct rz_err *err)
{
    const struct rz_host_serve *s = r->http->serve;
    uint64_t ticket = 0;
    int32_t code = s->take(s->ctx, r->model->index, wake, r, model, &ticket, err);
    if (code != RZ_AGAIN)
        return code;
    r->phase = PHASE_MODEL;
    pthread_mutex_lock(&r->http->lock);
    begin_wait(r, ticket);
    pthread_mutex_unlock(&r->http->lock);
    return code;
}

/* RZ_AGAIN: suspended. Else the wait is over. */
static int32_t wait_for(struct rz_http_request *r, struct rz_model **model, struct rz_err *err)
{
    const struct rz_host_serve *s = r->http->serve;
    int32_t code;
    bool over;
    do {
        pthread_mutex_lock(&r->lock);
        r->pending = false;
        pthread_mutex_unlock(&r->lock);
        over = atomic_load(&r->give_up) || atomic_load(&r->http->closing) || atomic_load(&r->conn->dropped);
        code = s->claim(s->ctx, r->wait_ticket, model, err);
    } while (code == RZ_AGAIN && !over && !rz_http_suspend_if_idle(r));
    if (code == RZ_AGAIN && !over)
        return code;
    if (code == RZ_AGAIN) {
        s->leave(s->ctx, r->wait_ticket);
        code = rz_fail(err, RZ_ECANCELLED, r->model->name, "the request waits no longer");
    }
    end_wait(r);
    return code;
}

/* The model cannot be had. */
static enum MHD_Result refuse(struct rz_http_request *r, int32_t code, const struct rz_err *err)
{
    char message[1100];
    struct rz_http_error e = {.status = 503, .code = "model_load_failed", .message = message};
    int why = atomic_load(&r->give_up);
    e.plain = r->route->plain;
    if (code == RZ_EBUSY)
        return rz_http_refuse(r, code, err);
    snprintf(message, sizeof(message), "the model %s cannot be loaded: %s", r->model->name, err->message);
    if (why == RZ_HTTP_GIVE_UP_GONE || (code == RZ_ECANCELLED && !why))
        return MHD_NO; /* nobody is there to be told */
    if (why == RZ_HTTP_GIVE_UP_LATE) {
        e.status = 504;
        e.code = "timeout";
        e.message = "the model was not loaded in time";
    } else if (why) {
        e.code = "cancelled";
        e.message = "the server ended the request";
    }
    return rz_http_reply_error(r->connection, &e);
}

enum MHD_Result rz_http_model_take(struct rz_http_request *r)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_model *model = NULL;
    int32_t code = r->waits ? RZ_AGAIN : ask_first(r, &model, &err);
    if (code == RZ_AGAIN)
        code = wait_for(r, &model, &err);
    if (code == RZ_AGAIN)
        return MHD_YES;
    if (code)
        return refuse(r, code, &err);
    code = look_at(r, model, &err);
    return code ? rz_http_refuse(r, code, &err) : rz_http_begin(r);
}

void rz_http_model_done(struct rz_http_request *r)
{
    const struct rz_http *h = r->http; /* h->serve is not there before the models are */
    if (r->waits) {                    /* the connection ended first */
        end_wait(r);
        h->serve->leave(h->serve->ctx, r->wait_ticket);
    }
    if (r->has_model)
        h->serve->give_back(h->serve->ctx, r->model->index);
    r->has_model = false;
}

void rz_http_model_give_up(struct rz_http_request *r, int why)
{
    if (!r->waits)
        return;
    atomic_store(&r->give_up, why);
    rz_http_rouse(r);
}

void rz_http_models_look(struct rz_http *h)
{
    uint64_t now = rz_http_now_ns(), most = (uint64_t)h->request_timeout_s * 1000000000u;
    pthread_mutex_lock(&h->lock);
    for (uint32_t i = 0; most && i < h->n_slots; i++) {
        struct rz_http_request *r = &h->slots[i];
        if (r->used && r->waits && now > r->begun_ns && now - r->begun_ns >= most)
            rz_http_model_give_up(r, RZ_HTTP_GIVE_UP_LATE);
    }
    pthread_mutex_unlock(&h->lock);
}

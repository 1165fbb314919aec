/* serve.c - from a connection to the code that answers: routes, slots, bodies. Who is refused: admit.c.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http.h"

static enum MHD_Result health(struct rz_http_request *r)
{
    bool draining = atomic_load(&r->http->draining);
    return rz_http_reply_json(r->connection, draining ? 503 : 200,
                              json_pack("{s:s}", "status", draining ? "draining" : "ok"), NULL);
}

static enum MHD_Result models(struct rz_http_request *r)
{
    json_t *data = json_array();
    for (uint32_t i = 0; i < r->http->n_models; i++) {
        const struct rz_http_model *m = &r->http->models[i];
        json_array_append_new(data,
                              json_pack("{s:o,s:s,s:I,s:s,s:I}", "id", rz_http_text(m->name, strlen(m->name)),
                                        "object", "model", "created", (json_int_t)r->created, "owned_by",
                                        "rz", "context_length", (json_int_t)m->info.n_ctx));
    }
    return rz_http_reply_json(r->connection, 200, json_pack("{s:s,s:o}", "object", "list", "data", data),
                              NULL);
}

static const struct rz_http_route routes[] = {
    {"/health", "GET", "Allow: GET, HEAD", RZ_HTTP_OPEN | RZ_HTTP_ALWAYS, health},
    {"/ready", "GET", "Allow: GET, HEAD", RZ_HTTP_OPEN | RZ_HTTP_ALWAYS, rz_http_ready},
    {"/metrics", "GET", "Allow: GET, HEAD", RZ_HTTP_ALWAYS, rz_http_metrics},
    {"/v1/models", "GET", "Allow: GET, HEAD", 0, models},
    {"/v1/completions", "POST", "Allow: POST", 0, rz_http_completion_start},
    {"/v1/chat/completions", "POST", "Allow: POST", 0, rz_http_chat_start},
};

static const struct rz_http_route *find_route(const char *url)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (!strcmp(routes[i].path, url))
            return &routes[i];
    return NULL;
}

static struct rz_http_request *take_slot(struct rz_http *h, struct MHD_Connection *c,
                                         struct rz_http_conn *conn, const struct rz_http_route *route)
{
    pthread_mutex_lock(&h->lock);
    struct rz_http_request *r = h->free_slots;
    if (r) {
        h->free_slots = r->next_free;
        h->n_active++;
        r->used = true;
        r->connection = c;
        r->route = route;
        r->phase = PHASE_BODY;
        r->body_too_long = r->has_ticket = r->ended = r->has_run = r->measured = false;
        r->conn = conn;
        r->begun_ns = conn->x.begun_ns;
        r->first_ns = r->woken_ns = 0;
        r->pending = r->suspended = false;
        r->model = NULL;
        r->logprobs = NULL;
        r->characters = 0;
        r->n_calls = r->n_reasoning = 0;
        r->begun = false;
        r->created = (int64_t)time(NULL);
        rz_buf_init(&r->body, h->max_body);
        rz_buf_init(&r->out, 0);
        rz_buf_init(&r->reasoning, 0);
        r->ask = (struct rz_http_ask){0};
        atomic_store(&conn->request, r);
    }
    pthread_mutex_unlock(&h->lock);
    return r;
}

void rz_http_body_drop(struct rz_http_request *r)
{
    rz_buf_free(&r->body);
    atomic_fetch_sub(&r->http->body_bytes, r->n_body);
    r->n_body = 0;
}

/* The connection is ready for another request, or about to be closed. */
static void end_exchange(struct rz_http_conn *conn, struct rz_http_request *r, bool whole)
{
    rz_http_count(conn->http, conn->x.route, conn->x.status);
    rz_http_access(conn, r, whole);
    conn->x = (struct rz_http_exchange){0};
    atomic_store(&conn->request, NULL);
    rz_http_wait_for(conn, RZ_HTTP_WAIT_HEADER, conn->http->timeout_s + conn->http->header_timeout_s);
}

void rz_http_completed(void *http, struct MHD_Connection *c, void **request,
                       enum MHD_RequestTerminationCode why)
{
    struct rz_http *h = http;
    struct rz_http_request *r = *request;
    struct rz_http_conn *conn = rz_http_conn_of(c);
    *request = NULL;
    if (r == (void *)&rz_http_bad_target) /* refused by libmicrohttpd itself */
        r = NULL;
    if (conn && conn->x.begun)
        end_exchange(conn, r, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (!r)
        return;
    pthread_mutex_lock(&h->lock);
    bool had_ticket = r->has_ticket;
    if (had_ticket)
        rz_http_watch_remove(r);
    r->has_ticket = false;
    pthread_mutex_unlock(&h->lock);
    if (had_ticket)
        r->model->engine->release(r->model->engine->ctx, r->ticket);
    rz_http_ask_free(&r->ask);
    json_decref(r->logprobs);
    rz_http_chat_free(r);
    rz_http_body_drop(r);
    rz_buf_free(&r->out);
    pthread_mutex_lock(&h->lock);
    r->used = false;
    r->generation++;
    r->next_free = h->free_slots;
    h->free_slots = r;
    h->n_active--;
    pthread_cond_broadcast(&h->idle);
    pthread_mutex_unlock(&h->lock);
}

/* A body without a length can grow past the limit: it is read a little further, then cut off. */
static enum MHD_Result take_body(struct rz_http_request *r, const char *upload, size_t *n)
{
    if (!r->body_too_long && !rz_buf_add(&r->body, upload, *n)) {
        r->body_too_long = true;
        rz_http_body_drop(r);
    } else if (!r->body_too_long) {
        atomic_fetch_add(&r->http->body_bytes, *n);
        r->n_body += *n;
    }
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result begin(struct rz_http *h, struct MHD_Connection *c, struct rz_http_asked *a,
                             struct rz_http_request **request)
{
    struct rz_http_error e;
    struct rz_http_conn *conn = rz_http_conn_of(c);
    if (!conn)
        return MHD_NO;
    rz_http_exchange_begin(conn, c, a->method, a->url, a->route ? a->route->path : NULL);
    if (rz_http_refused(h, c, a, conn, &e))
        return rz_http_reply_error(c, &e);
    if (rz_http_is_preflight(conn, c, a->method))
        return rz_http_preflight(c);
    *request = take_slot(h, c, conn, a->route);
    rz_http_wait_for(conn, RZ_HTTP_WAIT_BODY, h->body_timeout_s);
    return *request ? MHD_YES : MHD_NO;
}

enum MHD_Result rz_http_serve(void *http, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **request)
{
    struct rz_http_request *r = *request;
    if (!r || *request == &rz_http_bad_target) {
        struct rz_http_asked a = {url, method, version, find_route(url), r != NULL};
        r = NULL;
        enum MHD_Result result = begin(http, c, &a, &r);
        *request = r;
        return result;
    }
    if (r->phase == PHASE_WHOLE)
        return rz_http_continue(r);
    if (*n_upload)
        return take_body(r, upload, n_upload);
    if (r->body_too_long) {
        struct rz_http_error e = {
            .status = 413, .code = "body_too_large", .close = true, .message = "the body is too large"};
        return rz_http_reply_error(c, &e);
    }
    rz_http_log_body(r);
    rz_http_wait_for(r->conn, RZ_HTTP_WAIT_ENGINE, r->http->give_up_s);
    return r->route->answer(r);
}

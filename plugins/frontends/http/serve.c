/* serve.c - from a connection to the code that answers: routes, slots, bodies. Who is refused: admit.c.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http.h"

static struct rz_http_request *take_slot(struct rz_http *h, struct MHD_Connection *c,
                                         struct rz_http_conn *conn, const struct rz_http_asked *a)
{
    pthread_mutex_lock(&h->lock);
    struct rz_http_request *r = h->free_slots;
    if (r) {
        h->free_slots = r->next_free;
        h->n_active++;
        r->used = true;
        r->connection = c;
        r->route = a->route;
        r->rest = a->rest;
        r->phase = PHASE_BODY;
        r->body_too_long = r->has_ticket = r->ended = r->has_run = r->measured = r->no_memory = false;
        r->conn = conn;
        r->begun_ns = conn->x.begun_ns;
        r->first_ns = 0;
        r->pending = r->suspended = false;
        r->commented = false;
        r->model = NULL;
        r->has_model = r->waits = false;
        atomic_store(&r->give_up, RZ_HTTP_GIVE_UP_NO);
        r->flags = 0;
        r->last.kind = r->last.finish = 0;
        r->created = (int64_t)time(NULL);
        rz_buf_init(&r->body, h->max_body);
        rz_buf_init(&r->out, 0);
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
    if (r && r->has_run)
        rz_http_measure_abort(r);
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
    atomic_store(&r->said_ns, 0);
    atomic_store(&r->comment, false);
    if (r->has_ticket)
        rz_http_watch_remove(r);
    r->has_ticket = false;
    pthread_mutex_unlock(&h->lock);
    rz_http_runs_free(r);
    rz_http_items_free(r);
    rz_http_ask_free(&r->ask);
    rz_http_body_drop(r);
    rz_buf_free(&r->out);
    rz_http_model_done(r);
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
    if (!r->body_too_long && !r->no_memory && !rz_buf_add(&r->body, upload, *n)) {
        r->body_too_long = *n > r->body.max - r->n_body;
        r->no_memory = !r->body_too_long;
        rz_http_body_drop(r);
    } else if (!r->body_too_long && !r->no_memory) {
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
    *request = take_slot(h, c, conn, a);
    rz_http_wait_for(conn, RZ_HTTP_WAIT_BODY, h->body_timeout_s);
    return *request ? MHD_YES : MHD_NO;
}

enum MHD_Result rz_http_serve(void *http, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **request)
{
    struct rz_http_request *r = *request;
    rz_http_json_failed();
    if (!r || *request == &rz_http_bad_target) {
        struct rz_http_asked a = {.url = url, .method = method, .version = version, .bad_target = r != NULL};
        a.route = rz_http_route_find(url, &a.rest);
        r = NULL;
        enum MHD_Result result = begin(http, c, &a, &r);
        *request = r;
        return result;
    }
    if (r->phase == PHASE_WHOLE)
        return rz_http_continue(r);
    if (r->phase == PHASE_MODEL) {
        enum MHD_Result result = rz_http_model_take(r);
        r->no_memory |= rz_http_json_failed();
        return result;
    }
    if (*n_upload)
        return take_body(r, upload, n_upload);
    if (r->body_too_long) {
        struct rz_http_error e = {
            .status = 413, .code = "body_too_large", .close = true, .message = "the body is too large"};
        e.plain = r->route->plain;
        return rz_http_reply_error(c, &e);
    }
    if (r->no_memory)
        return rz_http_reply_no_memory(c);
    rz_http_log_body(r);
    rz_http_wait_for(r->conn, RZ_HTTP_WAIT_ENGINE, r->http->give_up_s);
    enum MHD_Result result = r->route->answer(r);
    r->no_memory |= rz_http_json_failed();
    return result;
}

/* serve.c - from a connection to the code that answers: refusals, keys, routes, bodies.
 *
 * The order is fixed: malformed requests, keys, then the route, so that nothing can be asked about
 * routes or models without a key. Every route but /health needs one.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "http.h"

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t n = sizeof(json) - 1;
    return type && !strncasecmp(type, json, n) && (!type[n] || type[n] == ';' || type[n] == ' ');
}

/* What the first lines of a request say. */
struct asked {
    const char *url, *method, *version;
    const struct rz_http_route *route; /* NULL: none */
    const char *rest;                  /* of the path */
    bool bad_target;
};

static bool fits(const struct rz_http_route *route, const char *method)
{
    return !strcmp(method, route->method) || (route->method[0] == 'G' && !strcmp(method, "HEAD"));
}

/* Why this request is not taken, if it is not. Every such answer closes the connection, since a body may
 * follow that nobody reads. */
static bool refusal(struct rz_http *h, struct MHD_Connection *c, const struct asked *a,
                    struct rz_http_error *e)
{
    const struct rz_http_route *route = a->route;
    const char *why = rz_http_malformed(c, a->url, a->method, a->version, a->bad_target),
               *length = header(c, "Content-Length");
    *e = (struct rz_http_error){.close = true, .status = 400, .code = "malformed_request", .message = why};
    if (why)
        return true;
    if (!(route && route->open) && !rz_http_keys_allow(h, header(c, "Authorization")))
        *e = (struct rz_http_error){.status = 401,
                                    .type = "authentication_error",
                                    .code = "invalid_api_key",
                                    .header = "WWW-Authenticate: Bearer",
                                    .message = "no valid API key was given"};
    else if (!route)
        *e = (struct rz_http_error){.status = 404, .code = "not_found", .message = "no such path"};
    else if (!fits(route, a->method))
        *e = (struct rz_http_error){.status = 405,
                                    .code = "method_not_allowed",
                                    .header = route->allowed,
                                    .message = "the path does not have this method"};
    else if (route->method[0] != 'P')
        return false;
    else if (!is_json(header(c, "Content-Type")))
        *e = (struct rz_http_error){
            .status = 415, .code = "unsupported_media_type", .message = "the body must be application/json"};
    else if (length && strtoull(length, NULL, 10) > h->max_body)
        *e = (struct rz_http_error){
            .status = 413, .code = "body_too_large", .message = "the body is too large"};
    else if (atomic_load(&h->draining))
        *e = (struct rz_http_error){.status = 503,
                                    .type = "overloaded_error",
                                    .code = "shutting_down",
                                    .header = "Retry-After: 5",
                                    .message = "the server is shutting down"};
    else
        return false;
    e->close = true;
    e->plain = route && route->plain;
    return true;
}

static struct rz_http_request *take_slot(struct rz_http *h, struct MHD_Connection *c, const struct asked *a)
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
        r->body_too_long = r->has_ticket = r->ended = false;
        r->model = NULL;
        r->flags = 0;
        r->last.kind = r->last.finish = 0;
        r->created = (int64_t)time(NULL);
        rz_buf_init(&r->body, h->max_body);
        rz_buf_init(&r->out, 0);
        r->ask = (struct rz_http_ask){0};
    }
    pthread_mutex_unlock(&h->lock);
    return r;
}

void rz_http_completed(void *http, struct MHD_Connection *c, void **request,
                       enum MHD_RequestTerminationCode why)
{
    struct rz_http *h = http;
    struct rz_http_request *r = *request;
    (void)c;
    (void)why;
    if (!r)
        return;
    *request = NULL;
    pthread_mutex_lock(&h->lock);
    if (r->has_ticket)
        rz_http_watch_remove(r);
    r->has_ticket = false;
    pthread_mutex_unlock(&h->lock);
    rz_http_runs_free(r);
    rz_http_items_free(r);
    rz_http_ask_free(&r->ask);
    rz_buf_free(&r->body);
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
        rz_buf_free(&r->body);
        *n = 0;
        return MHD_YES;
    }
    *n = 0;
    return MHD_YES;
}

enum MHD_Result rz_http_serve(void *http, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **request)
{
    struct rz_http *h = http;
    struct rz_http_request *r = *request;
    struct rz_http_error e;
    if (!r || *request == &rz_http_bad_target) {
        struct asked a = {.url = url, .method = method, .version = version, .bad_target = r != NULL};
        a.route = rz_http_route_find(url, &a.rest);
        *request = NULL;
        if (refusal(h, c, &a, &e))
            return rz_http_reply_error(c, &e);
        *request = r = take_slot(h, c, &a);
        return r ? MHD_YES : MHD_NO;
    }
    if (r->phase == PHASE_WHOLE)
        return rz_http_continue(r);
    if (*n_upload)
        return take_body(r, upload, n_upload);
    if (r->body_too_long) {
        e = (struct rz_http_error){
            .status = 413, .code = "body_too_large", .close = true, .message = "the body is too large"};
        e.plain = r->route->plain;
        return rz_http_reply_error(c, &e);
    }
    return r->route->answer(r);
}

/* access.c - lines of the log: one for each exchange, and what else happens.
 *
 * A line has a text for people and, for logs in JSON, the same as members. Neither prompts nor keys are in
 * it; log_prompts adds the bodies.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define BODY_SHOWN 1200

static void write_line(const struct rz_http *h, int32_t level, const char *text, size_t n, json_t *members)
{
    const struct rz_host *host = h->host;
    char *json = members && RZ_HAS(host, log_members) ? json_dumps(members, JSON_COMPACT) : NULL;
    size_t len = json ? strlen(json) : 0;
    if (len > 2) /* without its braces */
        host->log_members(host->ctx, level, text, n, json + 1, len - 2);
    else
        host->log(host->ctx, level, text, n);
    free(json);
    json_decref(members);
}

void rz_http_log(const struct rz_http *h, int32_t level, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n > 0)
        write_line(h, level, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, NULL);
}

void rz_http_log_body(const struct rz_http_request *r)
{
    char shown[BODY_SHOWN + 4];
    const struct rz_http_conn *conn = rz_http_conn_of(r->connection);
    if (!r->http->log_prompts || !conn)
        return;
    rz_show(shown, sizeof(shown), r->body.data ? r->body.data : "", r->body.len);
    struct rz_buf text;
    rz_buf_init(&text, sizeof(shown) + 256);
    rz_buf_printf(&text, "http: %s body: %s", conn->x.id, shown);
    if (rz_buf_ok(&text))
        write_line(r->http, RZ_LOG_INFO, text.data, text.len,
                   json_pack("{s:s,s:s}", "request_id", conn->x.id, "body", shown));
    rz_buf_free(&text);
}

/* What the engine said of the request. */
static void add_run(struct rz_buf *text, json_t *members, struct rz_http_request *r)
{
    const struct rz_event *ev = &r->last;
    const char *finish = r->ended ? rz_http_outcome(ev) : "abort";
    pthread_mutex_lock(&r->lock);
    double first = r->first_ns ? (double)(r->first_ns - r->begun_ns) * 1e-9 : 0;
    pthread_mutex_unlock(&r->lock);
    rz_buf_printf(text, " model=%s finish=%s", r->model->name, finish);
    json_object_set_new(members, "model", rz_http_text(r->model->name, strlen(r->model->name)));
    json_object_set_new(members, "finish_reason", json_string(finish));
    if (!r->ended)
        return;
    rz_buf_printf(text, " prompt=%u cached=%u new=%u queue=%.3f first=%.3f", ev->n_prompt, ev->n_cached,
                  ev->n_new, ev->t_queue, first);
    json_object_set_new(members, "prompt_tokens", json_integer(ev->n_prompt));
    json_object_set_new(members, "cached_tokens", json_integer(ev->n_cached));
    json_object_set_new(members, "completion_tokens", json_integer(ev->n_new));
    json_object_set_new(members, "queue_seconds", json_real(ev->t_queue));
    json_object_set_new(members, "first_token_seconds", json_real(first));
}

void rz_http_access(struct rz_http_conn *conn, struct rz_http_request *r, bool whole)
{
    const struct rz_http_exchange *x = &conn->x;
    struct rz_buf text;
    double seconds = (double)(rz_http_now_ns() - x->begun_ns) * 1e-9;
    if (!conn->http->access_log)
        return;
    const char *end = whole ? "" : atomic_load(&conn->dropped) ? " dropped" : " aborted";
    json_t *members = json_pack("{s:s,s:s,s:s,s:o,s:i,s:f,s:b}", "request_id", x->id, "client", conn->peer,
                                "method", x->method, "path", rz_http_text(x->target, strlen(x->target)),
                                "status", (int)x->status, "seconds", seconds, "whole", (int)whole);
    rz_buf_init(&text, 4096);
    rz_buf_printf(&text, "http: %s %s \"%s %s\" %u%s %.3f s", x->id, conn->peer, x->method, x->target,
                  x->status, end, seconds);
    if (r && r->model && r->has_run)
        add_run(&text, members, r);
    if (rz_buf_ok(&text))
        write_line(conn->http, RZ_LOG_INFO, text.data, text.len, members);
    else
        json_decref(members);
    rz_buf_free(&text);
}

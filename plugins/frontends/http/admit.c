/* admit.c - which requests are taken: well formed, from a page that may ask, with a key, for a route that
 * there is, while there is room.
 *
 * The order is fixed, so that without a key nothing can be learnt about routes or models. Routes that are
 * marked open need none.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"

const char *rz_http_header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t n = sizeof(json) - 1;
    return type && !strncasecmp(type, json, n) && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static bool fits(const struct rz_http_route *route, const char *method)
{
    return !strcmp(method, route->method) || (route->method[0] == 'G' && !strcmp(method, "HEAD"));
}

/* --- pages: a browser says which one asks, and which name it looked up --- */

/* Is the text one of the words of a list with commas? */
static bool listed(const char *list, const char *text, size_t n)
{
    while (list && *list) {
        size_t len = strcspn(list, ",");
        if (len == n && !strncasecmp(list, text, n))
            return true;
        list += len + (list[len] == ',');
    }
    return false;
}

/* The length of the name in "name:port" or "[v6]:port". */
static size_t name_length(const char *host)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    return end ? (size_t)(end + 1 - host) : strcspn(host, ": \t");
}

/* Whoever listens only locally is asked by a local name: a page of another name that was made to point
 * here (DNS rebinding) is not. */
static bool host_allowed(const struct rz_http *h, const char *host)
{
    static const char suffix[] = ".localhost";
    size_t n = host ? name_length(host) : 0, s = sizeof(suffix) - 1;
    if (!h->check_host || !host) /* HTTP/1.0 has none */
        return true;
    return listed("localhost,[::1]", host, n) || listed(h->hosts, host, n) ||
           (n > 4 && !strncmp(host, "127.", 4) && strspn(host, "0123456789.") == n) ||
           (n > s && !strncasecmp(host + n - s, suffix, s));
}

/* Pages of this server itself, and those of cors_origins; the rest of the world is told nothing. */
static bool origin_allowed(const struct rz_http *h, const char *origin, const char *host)
{
    const char *at = strstr(origin, "://");
    size_t n = host ? strcspn(host, " \t") : 0;
    if (strlen(origin) > RZ_HTTP_ORIGIN_MAX)
        return false;
    return listed(h->origins, "*", 1) || listed(h->origins, origin, strlen(origin)) ||
           (at && n && strlen(at + 3) == n && !strncasecmp(at + 3, host, n));
}

/* Checks both and notes the origin for the answer's headers. */
static const char *foreign(const struct rz_http *h, struct MHD_Connection *c, struct rz_http_conn *conn)
{
    const char *host = rz_http_header(c, "Host"), *origin = rz_http_header(c, "Origin");
    if (!host_allowed(h, host))
        return "the server does not go by this Host (allowed_hosts)";
    if (!origin)
        return NULL;
    if (!origin_allowed(h, origin, host))
        return "pages of this Origin may not ask (cors_origins)";
    if (h->origins)
        memcpy(conn->x.origin, origin, strlen(origin) + 1);
    return NULL;
}

enum MHD_Result rz_http_preflight(struct MHD_Connection *c)
{
    static char none[1];
    struct MHD_Response *r = MHD_create_response_from_buffer(0, none, MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE");
    MHD_add_response_header(r, "Access-Control-Allow-Headers", "*, Authorization");
    MHD_add_response_header(r, "Access-Control-Max-Age", "600");
    enum MHD_Result result = rz_http_queue(c, MHD_HTTP_NO_CONTENT, r, 1);
    MHD_destroy_response(r);
    return result;
}

bool rz_http_is_preflight(const struct rz_http_conn *conn, struct MHD_Connection *c, const char *method)
{
    return conn->x.origin[0] && !strcmp(method, "OPTIONS") &&
           rz_http_header(c, "Access-Control-Request-Method");
}

/* --- room --- */

static bool no_room(struct rz_http *h, const struct rz_http_conn *conn, const struct rz_http_route *route,
                    struct rz_http_error *e)
{
    *e = (struct rz_http_error){.status = 503, .type = "overloaded_error", .header = "Retry-After: 5"};
    if (route->flags & RZ_HTTP_ALWAYS)
        return false;
    if (!atomic_load(&h->ready)) {
        e->code = "loading";
        e->message = "the models are loading";
    } else if (route->method[0] == 'P' && atomic_load(&h->draining)) {
        e->code = "shutting_down";
        e->message = "the server is shutting down";
    } else if (conn->over || atomic_load(&h->body_bytes) > h->max_bodies) {
        e->code = "too_many_connections";
        e->header = "Retry-After: 1";
        e->message = conn->over ? "too many connections are open" : "too many bodies are being read";
    }
    return e->code != NULL;
}

static bool bad_body(const struct rz_http *h, struct MHD_Connection *c, struct rz_http_error *e)
{
    const char *length = rz_http_header(c, "Content-Length");
    *e = (struct rz_http_error){.status = 413, .code = "body_too_large", .message = "the body is too large"};
    if (!is_json(rz_http_header(c, "Content-Type")))
        *e = (struct rz_http_error){
            .status = 415, .code = "unsupported_media_type", .message = "the body must be application/json"};
    else if (!length && !h->chunked)
        *e = (struct rz_http_error){
            .status = 411, .code = "length_required", .message = "the body must have a Content-Length"};
    else if (!length || strtoull(length, NULL, 10) <= h->max_body)
        return false;
    return true;
}

/* --- the rest --- */

static bool refused(struct rz_http *h, struct MHD_Connection *c, const struct rz_http_asked *a,
                    struct rz_http_conn *conn, struct rz_http_error *e)
{
    const struct rz_http_route *route = a->route;
    const char *why = rz_http_malformed(c, a->url, a->method, a->version, a->bad_target);
    *e = (struct rz_http_error){.status = 400, .code = "malformed_request", .message = why};
    if (why)
        return true;
    *e = (struct rz_http_error){.status = 403, .type = "permission_error", .code = "foreign"};
    if ((e->message = foreign(h, c, conn)))
        return true;
    if (rz_http_is_preflight(conn, c, a->method))
        return false;
    if (!(route && route->flags & RZ_HTTP_OPEN) &&
        !rz_http_keys_allow(h, rz_http_header(c, "Authorization"), rz_http_header(c, "X-Api-Key")))
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
    else
        return no_room(h, conn, route, e) || (route->method[0] == 'P' && bad_body(h, c, e));
    return true;
}

bool rz_http_refused(struct rz_http *h, struct MHD_Connection *c, const struct rz_http_asked *a,
                     struct rz_http_conn *conn, struct rz_http_error *e)
{
    bool no = refused(h, c, a, conn, e);
    e->close = no; /* a body may follow that nobody reads */
    e->plain = a->route && a->route->plain;
    return no;
}

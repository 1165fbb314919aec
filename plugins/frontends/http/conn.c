/* conn.c - the connections: their list, their patience, and the headers of all answers.
 *
 * libmicrohttpd only knows how long a connection was silent, so a client that sends or reads a byte now and
 * then could stay for ever. Here each phase has a deadline; the watcher shuts the socket of who misses
 * it, and libmicrohttpd sees that as the end of the connection.
 */
#include "conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "http.h"

#define NS_PER_S 1000000000u
#define READER_BYTES_S 1024 /* who reads an answer more slowly is dropped */

uint64_t rz_http_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* --- coming and going --- */

static void name_peer(struct MHD_Connection *c, char *peer, size_t cap)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info ? info->client_addr : NULL;
    char text[INET6_ADDRSTRLEN] = "local";
    if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text, sizeof(text));
    else if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, text, sizeof(text));
    snprintf(peer, cap, "%s", text);
}

static struct rz_http_conn *come(struct rz_http *h, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct rz_http_conn *conn = calloc(1, sizeof(*conn));
    if (!conn || !info) {
        free(conn);
        return NULL;
    }
    conn->http = h;
    conn->fd = info->connect_fd;
    name_peer(c, conn->peer, sizeof(conn->peer));
    rz_http_wait_for(conn, RZ_HTTP_WAIT_HEADER, h->header_timeout_s);
    pthread_mutex_lock(&h->conns_lock);
    bool first = !h->conns;
    conn->over = atomic_fetch_add(&h->n_conns, 1) >= h->max_connections;
    conn->next = h->conns;
    if (h->conns)
        h->conns->prev = conn;
    h->conns = conn;
    pthread_mutex_unlock(&h->conns_lock);
    if (first)
        rz_http_watch_kick(h);
    return conn;
}

/* The socket is still open here, and what the watcher does under the lock cannot meet another one. */
static void go(struct rz_http *h, struct rz_http_conn *conn)
{
    pthread_mutex_lock(&h->conns_lock);
    atomic_fetch_sub(&h->n_conns, 1);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        h->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    pthread_mutex_unlock(&h->conns_lock);
    free(conn);
}

void rz_http_connection(void *http, struct MHD_Connection *c, void **context,
                        enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *context = come(http, c);
    else if (*context)
        go(http, *context);
}

struct rz_http_conn *rz_http_conn_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* --- an exchange --- */

/* Short, and nothing in it can break a header or a line of a log. */
static bool good_id(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    return n && n <= RZ_HTTP_ID_MAX &&
           strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:") == n;
}

static void make_id(char id[RZ_HTTP_ID_MAX + 1])
{
    static atomic_uint_fast64_t count;
    uint8_t random[12] = {0};
    uint64_t own = atomic_fetch_add(&count, 1);
    if (getrandom(random, sizeof(random), 0) < 0)
        memcpy(random, &own, sizeof(own));
    size_t at = (size_t)snprintf(id, RZ_HTTP_ID_MAX + 1, "req_");
    for (size_t i = 0; i < sizeof(random); i++)
        at += (size_t)snprintf(id + at, RZ_HTTP_ID_MAX + 1 - at, "%02x", random[i]);
}

void rz_http_exchange_begin(struct rz_http_conn *conn, struct MHD_Connection *c, const char *method,
                            const char *url, const char *route)
{
    struct rz_http_exchange *x = &conn->x;
    const char *given = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "X-Request-Id");
    *x = (struct rz_http_exchange){.begun = true, .begun_ns = rz_http_now_ns(), .route = route};
    rz_show(x->method, sizeof(x->method), method, strlen(method));
    rz_show(x->target, sizeof(x->target), url, strlen(url));
    if (good_id(given))
        memcpy(x->id, given, strlen(given) + 1);
    else
        make_id(x->id);
}

void rz_http_wait_for(struct rz_http_conn *conn, int what, uint64_t seconds)
{
    atomic_store(&conn->waits, what);
    atomic_store(&conn->late_ns, seconds ? rz_http_now_ns() + seconds * NS_PER_S : 0);
}

static void allow_origin(struct MHD_Response *response, const char *origin)
{
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "X-Request-Id, X-Rz-Ignored, Retry-After");
    MHD_add_response_header(response, "Vary", "Origin");
}

enum MHD_Result rz_http_queue(struct MHD_Connection *c, unsigned status, struct MHD_Response *response,
                              uint64_t n)
{
    struct rz_http_conn *conn = rz_http_conn_of(c);
    if (!conn)
        return MHD_NO;
    conn->x.status = status;
    MHD_add_response_header(response, "X-Request-Id", conn->x.id);
    if (conn->x.origin[0])
        allow_origin(response, conn->x.origin);
    if (n)
        rz_http_wait_for(conn, RZ_HTTP_WAIT_READER, conn->http->write_timeout_s + n / READER_BYTES_S);
    return MHD_queue_response(c, status, response);
}

/* --- the end of patience --- */

static void drop(struct rz_http *h, struct rz_http_conn *conn)
{
    static const char *const why[] = {
        [RZ_HTTP_WAIT_HEADER] = "the header of a request did not come in time",
        [RZ_HTTP_WAIT_BODY] = "the body did not come in time",
        [RZ_HTTP_WAIT_ENGINE] = "the engine does not end the request",
        [RZ_HTTP_WAIT_READER] = "the client reads too slowly",
    };
    int what = atomic_load(&conn->waits);
    struct rz_http_request *r = atomic_load(&conn->request);
    atomic_store(&conn->late_ns, 0);
    atomic_store(&conn->dropped, true);
    atomic_fetch_add(&h->n_dropped[what], 1);
    /* Most clients that say nothing are just idle. */
    rz_http_log(h, what == RZ_HTTP_WAIT_HEADER ? RZ_LOG_DEBUG : RZ_LOG_WARN, "http: %s: %s: dropped",
                conn->peer, why[what]);
    shutdown(conn->fd, SHUT_RDWR);
    if (r)
        rz_http_rouse(r); /* a connection that is suspended does not see its socket */
}

void rz_http_drop_late(struct rz_http *h)
{
    uint64_t now = rz_http_now_ns();
    pthread_mutex_lock(&h->conns_lock);
    for (struct rz_http_conn *conn = h->conns; conn; conn = conn->next) {
        uint64_t late = atomic_load(&conn->late_ns);
        if (late && now >= late)
            drop(h, conn);
    }
    pthread_mutex_unlock(&h->conns_lock);
}

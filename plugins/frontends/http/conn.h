/* conn.h - a connection: who it is, what it is waited for and until when, and the exchange that goes on.
 *
 * Made when libmicrohttpd accepts it, freed when it is closed; the watcher looks at all of them. What
 * stands in `x` belongs to libmicrohttpd's thread of the connection.
 */
#ifndef RZ_HTTP_CONN_H
#define RZ_HTTP_CONN_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RZ_HTTP_ID_MAX 64
#define RZ_HTTP_ORIGIN_MAX 255

struct rz_http;
struct rz_http_request;

/* Whom a connection waits for. */
#define RZ_HTTP_WAIT_HEADER 0
#define RZ_HTTP_WAIT_BODY 1
#define RZ_HTTP_WAIT_ENGINE 2
#define RZ_HTTP_WAIT_READER 3

/* One request and its answer. */
struct rz_http_exchange {
    bool begun;
    uint64_t begun_ns;
    unsigned status;   /* of the answer; 0: none yet */
    const char *route; /* its path as the table of routes has it; NULL: none */
    char method[16], target[128];
    char id[RZ_HTTP_ID_MAX + 1];         /* the client's, or one of ours */
    char origin[RZ_HTTP_ORIGIN_MAX + 1]; /* the page that may read the answer; "": none */
};

struct rz_http_conn {
    struct rz_http *http;
    int fd;
    bool over; /* one more than may be open: it is told so */
    char peer[64];
    struct rz_http_conn *prev, *next; /* under http.conns_lock */
    _Atomic(struct rz_http_request *) request;
    atomic_int waits;             /* RZ_HTTP_WAIT_* */
    atomic_uint_fast64_t late_ns; /* when the wait is over; 0: never */
    atomic_bool dropped;
    struct rz_http_exchange x;
};

uint64_t rz_http_now_ns(void);

/* libmicrohttpd's callback for a connection that comes or goes. */
void rz_http_connection(void *http, struct MHD_Connection *c, void **context,
                        enum MHD_ConnectionNotificationCode what);
/* NULL: there was no memory for it. */
struct rz_http_conn *rz_http_conn_of(struct MHD_Connection *c);

/* Begins an exchange: its id is that of the header X-Request-Id if that is a good one. */
void rz_http_exchange_begin(struct rz_http_conn *conn, struct MHD_Connection *c, const char *method,
                            const char *url, const char *route);
/* From now on the connection waits for this, for at most so long; 0: as long as it takes. */
void rz_http_wait_for(struct rz_http_conn *conn, int what, uint64_t seconds);
/* Queues an answer of n bytes (0: a stream) with the headers that every answer has. Does not take it. */
enum MHD_Result rz_http_queue(struct MHD_Connection *c, unsigned status, struct MHD_Response *response,
                              uint64_t n);
/* Ends the connections that were waited for too long. The watcher's thread. */
void rz_http_drop_late(struct rz_http *h);

#endif

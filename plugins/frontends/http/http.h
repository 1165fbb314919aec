/* http.h - what the files of the HTTP frontend share.
 *
 * libmicrohttpd's threads parse and answer; the engine's loop thread only calls rz_http_wake; one watcher
 * thread sees clients that went away. A request lives in a slot of a pool that is never freed while the
 * engine may still call it: a wake that comes late finds a slot, perhaps of another request, and does
 * no harm. Locks, outer first: http.lock, the engine's own, rz_http_request.lock, libmicrohttpd's own.
 */
#ifndef RZ_HTTP_H
#define RZ_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <rz/frontend.h>
#include <rz/host.h>
#include <rz/plugin.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "buf.h"
#include "err.h"

#define RZ_HTTP_MODELS_MAX 64
#define RZ_HTTP_STOPS_MAX 16
#define RZ_HTTP_STOP_BYTES_MAX 256
#define RZ_HTTP_BIASES_MAX 1024
#define RZ_HTTP_DEPTH_MAX 64
#define RZ_HTTP_TEXT_MAX ((size_t)64 << 20) /* of one answer */
#define RZ_HTTP_KEY_HASH 32

/* A model that is served; constant after start. */
struct rz_http_model {
    const char *name;
    const struct rz_engine *engine;
    const struct rz_tokenizer *tokenizer;
    void *tok;
    struct rz_tokenizer_info vocab;
    struct rz_model_info info;
    struct rz_sampling sampling;
};

/* What a body of /v1/completions asks for. Borrowed texts belong to `root`. */
struct rz_http_ask {
    json_t *root, *prompt;
    const char *model;
    bool stream, include_usage, ignore_eos;
    bool has_seed, has_logprobs, has_stream_options;
    int64_t max_tokens, seed, logprobs, top_k;
    double temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
    struct rz_str stops[RZ_HTTP_STOPS_MAX];
    uint32_t n_stops, n_biases;
    struct rz_bias *biases;
    struct rz_buf ignored; /* names of unknown fields, ", " between them */
};

#define PHASE_BODY 0  /* the body comes in             */
#define PHASE_WHOLE 1 /* runs; answered in one piece   */
#define PHASE_SSE 2   /* runs; answered event by event */

struct rz_http_route;

struct rz_http_request {
    struct rz_http *http;
    struct rz_http_request *next_free;
    uint32_t index, generation; /* under http.lock */
    bool used;                  /* under http.lock */
    struct MHD_Connection *connection;
    const struct rz_http_route *route;
    int phase;
    struct rz_buf body;
    bool body_too_long;
    struct rz_http_ask ask;
    /* the run */
    const struct rz_http_model *model;
    uint64_t ticket; /* under http.lock while has_ticket changes */
    bool has_ticket, ended;
    struct rz_event last;
    struct rz_buf out; /* PHASE_SSE: bytes to send; PHASE_WHOLE: the text so far */
    char id[40];
    int64_t created;
    struct rz_decode_state decode; /* of the texts in logprobs */
    json_t *logprobs;              /* of the text not yet answered; NULL: none */
    uint64_t characters;           /* so far, for text_offset */
    /* between the loop thread and libmicrohttpd's */
    pthread_mutex_t lock;
    bool pending, suspended;
};

struct rz_http {
    const struct rz_host *host;
    const struct rz_host_model *models_api;
    struct rz_http_model models[RZ_HTTP_MODELS_MAX];
    uint32_t n_models;
    /* options */
    const char *listen_text, *keys_text;
    uint64_t max_body;
    uint32_t max_connections, timeout_s, request_timeout_s, n_threads;
    bool strict;
    uint8_t (*keys)[RZ_HTTP_KEY_HASH];
    uint32_t n_keys;
    /* while it listens */
    struct MHD_Daemon *daemon;
    int fd;
    char address[128];
    struct rz_http_request *slots; /* [max_connections] */
    struct rz_http_request *free_slots;
    uint32_t n_active;
    atomic_bool draining; /* no new requests                  */
    atomic_bool closing;  /* nothing may be suspended any more */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* n_active changed */
    /* watch.c */
    int epoll_fd, wake_fd;
    pthread_t watcher;
    bool watching;
};

/* --- listen.c --- */

/* Opens the listening socket for "host:port" or "[v6]:port" and says what it got. */
int32_t rz_http_listen(const char *text, int *fd, char *address, size_t cap, bool *loopback,
                       struct rz_err *err);

/* --- keys.c --- */

/* Hashes the keys, one a line; empty lines and lines that begin with # do not count. */
int32_t rz_http_keys_read(struct rz_http *h, struct rz_err *err);
/* True if no keys are configured or the value of Authorization carries one of them. */
bool rz_http_keys_allow(const struct rz_http *h, const char *authorization);

/* --- malformed.c --- */

/* NULL, or why this request must not be interpreted. */
const char *rz_http_malformed(struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, bool bad_target);
/* libmicrohttpd's callback for the whole target: becomes the first value of a request's pointer. Returns
 * &rz_http_bad_target for a target that holds NUL, else NULL. */
void *rz_http_target(void *http, const char *target, struct MHD_Connection *c);
extern char rz_http_bad_target;

/* --- reply.c --- */

/* Each queues one answer; MHD_NO: the connection must be closed. */
enum MHD_Result rz_http_reply_json(struct MHD_Connection *c, unsigned status, json_t *body,
                                   const char *ignored);
/* The error shape of the API. type, param and code may be NULL. `header`: one more, "Name: value". */
struct rz_http_error {
    unsigned status;
    const char *type, *param, *code, *header, *message;
    bool close;
};
enum MHD_Result rz_http_reply_error(struct MHD_Connection *c, const struct rz_http_error *e);
json_t *rz_http_error_json(const struct rz_http_error *e);
/* A JSON string; what is not UTF-8 becomes U+FFFD. */
json_t *rz_http_text(const char *bytes, size_t n);

/* --- fields.c --- */

/* Reads a body; errors have the field in err->where. rz_http_ask_free also after an error. */
int32_t rz_http_ask_read(struct rz_http_ask *ask, const char *body, size_t n, bool strict,
                         struct rz_err *err);
void rz_http_ask_free(struct rz_http_ask *ask);

/* --- serve.c: routing --- */

enum MHD_Result rz_http_serve(void *http, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **request);
void rz_http_completed(void *http, struct MHD_Connection *c, void **request,
                       enum MHD_RequestTerminationCode why);

/* --- completion.c: /v1/completions after its body is read --- */

enum MHD_Result rz_http_completion_start(struct rz_http_request *r);
/* Goes on with a request that is answered in one piece. */
enum MHD_Result rz_http_completion_continue(struct rz_http_request *r);
/* Wakes what waits, from any thread. */
void rz_http_wake(void *request);

/* --- chunks.c: the JSON of answers --- */

json_t *rz_http_usage(const struct rz_http_request *r);
/* One choice's envelope; takes logprobs, which may be NULL. finish: NULL while it goes on. */
json_t *rz_http_completion_json(const struct rz_http_request *r, const char *text, size_t n, json_t *logprobs,
                                const char *finish);
/* Adds one token to r->logprobs. */
void rz_http_logprobs_add(struct rz_http_request *r, const struct rz_event *ev);

/* --- watch.c --- */

int32_t rz_http_watch_start(struct rz_http *h, struct rz_err *err);
void rz_http_watch_stop(struct rz_http *h);
/* From now on the request is cancelled when its client goes away. Under http.lock. */
void rz_http_watch_add(struct rz_http_request *r);
void rz_http_watch_remove(struct rz_http_request *r);

#endif

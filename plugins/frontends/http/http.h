/* http.h - what the files of the HTTP frontend share.
 *
 * libmicrohttpd's threads parse and answer; the engine's loop thread only calls http_wake; one watcher
 * thread sees clients that went away. A request lives in a slot of a pool that is never freed while the
 * engine may still call it: a wake that comes late finds a slot, perhaps of another request, and does
 * no harm. Locks, outer first: http.lock, the engine's own, http_request.lock, libmicrohttpd's own.
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

#define HTTP_MODELS_MAX 64
#define HTTP_STOPS_MAX 16
#define HTTP_STOP_BYTES_MAX 256
#define HTTP_BIASES_MAX 1024
#define HTTP_DEPTH_MAX 64
#define HTTP_TEXT_MAX ((size_t)64 << 20) /* of one answer */
#define HTTP_KEY_HASH 32

/* A model that is served; constant after start. */
struct http_model {
    const char *name;
    const struct rz_engine *engine;
    const struct rz_tokenizer *tokenizer;
    void *tok;
    struct rz_tokenizer_info vocab;
    struct rz_model_info info;
    struct rz_sampling sampling;
};

/* What a body of /v1/completions asks for. Borrowed texts belong to `root`. */
struct http_ask {
    json_t *root, *prompt;
    const char *model;
    bool stream, include_usage, ignore_eos;
    bool has_seed, has_logprobs, has_stream_options;
    int64_t max_tokens, seed, logprobs, top_k;
    double temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
    struct rz_str stops[HTTP_STOPS_MAX];
    uint32_t n_stops, n_biases;
    struct rz_bias *biases;
    struct rz_buf ignored; /* names of unknown fields, ", " between them */
};

#define PHASE_BODY 0  /* the body comes in             */
#define PHASE_WHOLE 1 /* runs; answered in one piece   */
#define PHASE_SSE 2   /* runs; answered event by event */

struct http_route;

struct http_request {
    struct http *http;
    struct http_request *next_free;
    uint32_t index, generation; /* under http.lock */
    bool used;                  /* under http.lock */
    struct MHD_Connection *connection;
    const struct http_route *route;
    int phase;
    struct rz_buf body;
    bool body_too_long;
    struct http_ask ask;
    /* the run */
    const struct http_model *model;
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

struct http {
    const struct rz_host *host;
    const struct rz_host_model *models_api;
    struct http_model models[HTTP_MODELS_MAX];
    uint32_t n_models;
    /* options */
    const char *listen_text, *keys_text;
    uint64_t max_body;
    uint32_t max_connections, timeout_s, request_timeout_s, n_threads;
    bool strict;
    uint8_t (*keys)[HTTP_KEY_HASH];
    uint32_t n_keys;
    /* while it listens */
    struct MHD_Daemon *daemon;
    int fd;
    char address[128];
    struct http_request *slots; /* [max_connections] */
    struct http_request *free_slots;
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
int32_t http_listen(const char *text, int *fd, char *address, size_t cap, bool *loopback, struct rz_err *err);

/* --- keys.c --- */

/* Hashes the keys, one a line; empty lines and lines that begin with # do not count. */
int32_t http_keys_read(struct http *h, struct rz_err *err);
/* True if no keys are configured or the value of Authorization carries one of them. */
bool http_keys_allow(const struct http *h, const char *authorization);

/* --- malformed.c --- */

/* NULL, or why this request must not be interpreted. */
const char *http_malformed(struct MHD_Connection *c, const char *url, const char *method);

/* --- reply.c --- */

/* Each queues one answer; MHD_NO: the connection must be closed. */
enum MHD_Result http_reply_json(struct MHD_Connection *c, unsigned status, json_t *body, const char *ignored);
/* The error shape of the API. type, param and code may be NULL. `header`: one more, "Name: value". */
struct http_error {
    unsigned status;
    const char *type, *param, *code, *header, *message;
    bool close;
};
enum MHD_Result http_reply_error(struct MHD_Connection *c, const struct http_error *e);
json_t *http_error_json(const struct http_error *e);
/* A JSON string; what is not UTF-8 becomes U+FFFD. */
json_t *http_text(const char *bytes, size_t n);

/* --- fields.c --- */

/* Reads a body; errors have the field in err->where. http_ask_free also after an error. */
int32_t http_ask_read(struct http_ask *ask, const char *body, size_t n, bool strict, struct rz_err *err);
void http_ask_free(struct http_ask *ask);

/* --- serve.c: routing --- */

enum MHD_Result http_serve(void *http, struct MHD_Connection *c, const char *url, const char *method,
                           const char *version, const char *upload, size_t *n_upload, void **request);
void http_completed(void *http, struct MHD_Connection *c, void **request,
                    enum MHD_RequestTerminationCode why);

/* --- completion.c: /v1/completions after its body is read --- */

enum MHD_Result http_completion_start(struct http_request *r);
/* Goes on with a request that is answered in one piece. */
enum MHD_Result http_completion_continue(struct http_request *r);
/* Wakes what waits, from any thread. */
void http_wake(void *request);

/* --- chunks.c: the JSON of answers --- */

json_t *http_usage(const struct http_request *r);
/* One choice's envelope; takes logprobs, which may be NULL. finish: NULL while it goes on. */
json_t *http_completion_json(const struct http_request *r, const char *text, size_t n, json_t *logprobs,
                             const char *finish);
/* Adds one token to r->logprobs. */
void http_logprobs_add(struct http_request *r, const struct rz_event *ev);

/* --- watch.c --- */

int32_t http_watch_start(struct http *h, struct rz_err *err);
void http_watch_stop(struct http *h);
/* From now on the request is cancelled when its client goes away. Under http.lock. */
void http_watch_add(struct http_request *r);
void http_watch_remove(struct http_request *r);

#endif

/* http.h - what the files of the HTTP frontend share.
 *
 * libmicrohttpd's threads parse and answer; the engine's loop thread only calls rz_http_wake; one watcher
 * thread sees clients that went away or take too long. A request lives in a slot of a pool that is never
 * freed: who looks at one from outside finds a slot, perhaps of another request, and does no harm. A run
 * is freed after its ticket was released, when no wake comes any more. Locks, outer first: http.lock or
 * http.conns_lock, the engine's own, rz_http_request.lock, libmicrohttpd's own.
 */
#ifndef RZ_HTTP_H
#define RZ_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <rz/chat.h>
#include <rz/frontend.h>
#include <rz/host.h>
#include <rz/plugin.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "buf.h"
#include "conn.h"
#include "err.h"
#include "metrics.h"

#define RZ_HTTP_MODELS_MAX 64
#define RZ_HTTP_STOPS_MAX 16
#define RZ_HTTP_STOP_MAX 256 /* characters */
#define RZ_HTTP_PROMPTS_MAX 2048
#define RZ_HTTP_BIASES_MAX 1024
#define RZ_HTTP_DEPTH_MAX 64
#define RZ_HTTP_TEXT_MAX ((size_t)64 << 20) /* of one answer */
#define RZ_HTTP_KEY_HASH 32
#define RZ_HTTP_LISTENERS_MAX 8

/* A model that is served. Those of struct rz_http have a name, sampling and metrics, constant after start;
 * the rest is that of a request which has taken the model (models.c). */
struct rz_http_model {
    const char *name;
    uint32_t index; /* of rz_host_serve */
    struct rz_sampling sampling;
    struct rz_http_model_metrics *metrics;
    struct rz_model *model;
    const struct rz_engine *engine;
    const struct rz_tokenizer *tokenizer;
    void *tok;
    struct rz_tokenizer_info vocab;
    struct rz_model_info info;
};

/* The error shape of the API. type, param and code may be NULL. `header`: one more, "Name: value". */
struct rz_http_error {
    unsigned status;
    const char *type, *param, *code, *header, *message;
    bool close;
    bool plain; /* {"error": "text"}, the shape of the routes outside of /v1 */
};

/* What the text of an answer must be (format.c). */
struct rz_http_format {
    uint32_t kind;          /* RZ_GRAMMAR_*                                        */
    struct rz_str text;     /* of the grammar; of a schema made of the body        */
    char *made;             /* owns text, or NULL                                  */
    const char *param;      /* the field that asked for it                         */
    bool force;             /* tool_choice: a call must come                       */
    const char *force_name; /* of this function; NULL: of any                      */
    const json_t *allowed;  /* tool_choice: of these alone; NULL: of all           */
    bool strict;            /* calls of some functions must fit their parameters   */
};

/* What a body asks for. Borrowed texts and values belong to `root` or `made`. */
struct rz_http_ask {
    json_t *root;
    json_t *made;   /* what was made of its fields; NULL: nothing                       */
    json_t *prompt; /* a text, ids, or a list of these: prompt, input, texts or prompts */
    json_t *messages, *tools, *kwargs, *documents; /* of a conversation; NULL: not given */
    const char *effort, *instructions, *strategy;
    uint32_t speculate;                          /* RZ_SPECULATE_* */
    json_t *given_tools;                         /* as the response repeats them; NULL: none  */
    bool no_tools, one_call;                     /* tool_choice = "none"; parallel_tool_calls = false */
    bool want_logprobs, has_top, has_completion; /* chat: logprobs; top_logprobs, max_completion_tokens */
    int64_t completion_tokens;
    const char *model;
    bool stream, include_usage, ignore_eos, echo, base64;
    bool only_prompt; /* completion.c: nothing is generated */
    bool has_seed, has_logprobs, has_stream_options;
    int64_t max_tokens, seed, logprobs, top_k, n, best_of, dimensions;
    double temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
    struct rz_http_format format;
    struct rz_str stops[RZ_HTTP_STOPS_MAX];
    uint32_t n_stops, n_biases;
    struct rz_bias *biases;
    const char *field;     /* that is being read */
    struct rz_buf ignored; /* names of unknown fields, ", " between them */
};

#define PHASE_BODY 0  /* the body comes in             */
#define PHASE_WHOLE 1 /* runs; answered in one piece   */
#define PHASE_SSE 2   /* runs; answered event by event */
#define PHASE_MODEL 3 /* waits for its model           */

/* Why a request does not wait for its model any longer. */
#define RZ_HTTP_GIVE_UP_NO 0
#define RZ_HTTP_GIVE_UP_GONE 1 /* its client went away */
#define RZ_HTTP_GIVE_UP_LATE 2
#define RZ_HTTP_GIVE_UP_ENDS 3 /* the server ends */

struct rz_http_route;
struct rz_http_request;
struct rz_http_run;

/* What the first lines of a request say. */
struct rz_http_asked {
    const char *url, *method, *version;
    const struct rz_http_route *route; /* NULL: none */
    const char *rest;                  /* of the path */
    bool bad_target;
};

/* What a body is of: a bit each, so that a field can belong to several. */
#define RZ_HTTP_COMPLETION 1u
#define RZ_HTTP_CHAT 2u
#define RZ_HTTP_EMBED 4u
#define RZ_HTTP_RESPONSE 8u
#define RZ_HTTP_TOKENIZE 16u
#define RZ_HTTP_GENERATE 32u
#define RZ_HTTP_TOKENIZE_ALL 64u
#define RZ_HTTP_GENERATE_ALL 128u

/* How the answers of a route look, and where its prompts come from. Functions are called in
 * libmicrohttpd's threads, one at a time for a request. */
struct rz_http_shape {
    const char *id;                            /* ids of answers begin with it         */
    const char *prompt;                        /* the field that holds the prompt      */
    uint32_t fields;                           /* one of RZ_HTTP_*                     */
    uint32_t flags;                            /* RZ_REQUEST_*                         */
    int64_t max_tokens;                        /* unless the body says; 0: no limit    */
    void (*defaults)(struct rz_http_ask *ask); /* in place of the model's; NULL: those */
    const char *done;                          /* what ends a stream; NULL: [DONE]     */
    bool always_stream;
    /* Answers at once from the model; then nothing below is needed. */
    enum MHD_Result (*answer)(struct rz_http_request *r);
    /* Makes the request's prompts (rz_http_prompts). */
    int32_t (*prepare)(struct rz_http_request *r, struct rz_err *err);
    /* A token; the last event of a run that succeeded. */
    void (*take)(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev);
    void (*end)(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev);
    json_t *(*whole)(struct rz_http_request *r); /* the answer in one piece                      */
    void (*begin)(struct rz_http_request *r);    /* the stream begins; NULL: nothing to say      */
    void (*finish)(struct rz_http_request *r);   /* all runs of a stream succeeded               */
    /* The stream ends with an error; NULL: as OpenAI's do. */
    void (*fail)(struct rz_http_request *r, const struct rz_http_error *e);
};

struct rz_http_prompt {
    int32_t *ids;
    uint32_t n;
};

/* What the engine does for one choice of an answer, or one text to embed. */
struct rz_http_run {
    uint64_t ticket; /* 0: not submitted yet, or given back; under http.lock */
    struct rz_http_request *owner;
    uint64_t woken_ns; /* under the owner's lock; 0: not yet */
    uint32_t index;
    bool ended;
    bool cut; /* ended by us: what the engine still says is not part of the answer */
    uint32_t finish, n_new, n_cached;
    struct rz_buf text;            /* PHASE_WHOLE: so far */
    struct rz_decode_state decode; /* of the texts in logprobs */
    json_t *logprobs;              /* of the text not yet answered; NULL: none */
    uint64_t characters;           /* so far, for text_offset */
    double sum;                    /* completion.c: of the log probabilities of its tokens, with best_of */
    bool begun;                    /* the first chunk is out */
    /* chat.c, responses.c */
    struct rz_chat *chat;
    struct rz_buf reasoning; /* PHASE_WHOLE: so far */
    json_t *calls;           /* PHASE_WHOLE: so far; NULL: none */
    struct rz_buf arguments; /* PHASE_WHOLE: of the last of them, so far */
    uint32_t n_calls, n_reasoning;
    struct rz_buf ids; /* native.c: the tokens so far */
    float *vector;     /* embeddings.c: once ended */
};

struct rz_http_request {
    struct rz_http *http;
    struct rz_http_request *next_free;
    uint32_t index, generation; /* under http.lock */
    bool used;                  /* under http.lock */
    struct MHD_Connection *connection;
    struct rz_http_conn *conn;
    const struct rz_http_route *route;
    const char *rest; /* of the path, behind the route's own */
    const struct rz_http_shape *shape;
    int phase;
    struct rz_buf body;
    bool body_too_long;
    uint64_t n_body; /* of http.body_bytes */
    struct rz_http_ask ask;
    /* the runs (runs.c) */
    const struct rz_http_model *model; /* `taken` once the model is there */
    struct rz_http_model taken;
    bool has_model;       /* it is to be given back                                     */
    bool waits;           /* for the model, with this ticket; written under http.lock   */
    uint64_t wait_ticket; /* of rz_host_serve */
    uint64_t waited_ns;   /* for the model */
    atomic_int give_up;   /* RZ_HTTP_GIVE_UP_*: the wait is over                        */
    struct rz_http_prompt *prompts;
    struct rz_http_run *runs; /* ask.n for each prompt, in order */
    uint32_t n_prompts, n_runs, n_submitted, n_ended, flags;
    bool has_ticket; /* something was submitted; under http.lock */
    bool ended;
    bool has_run;   /* the engine took it */
    bool measured;  /* its first token is */
    bool no_memory; /* JSON of the request or of the answer lacks a part */
    uint64_t begun_ns;
    uint64_t first_ns;            /* under lock; 0: not yet */
    struct rz_event last;         /* of a run that failed, or else the last that ended */
    struct rz_buf out;            /* PHASE_SSE: bytes to send */
    atomic_uint_fast64_t said_ns; /* PHASE_SSE: when bytes were last sent; else 0 */
    atomic_bool comment;          /* it is time for a sign of life               */
    bool commented;               /* and that is all that was sent               */
    char id[40];
    int64_t created;
    struct rz_http_items *items; /* responses.c */
    /* between the loop thread and libmicrohttpd's */
    pthread_mutex_t lock;
    bool pending, suspended;
};

struct rz_http_listener {
    int fd;
    bool inherited; /* whoever gave it to us goes on using it */
    bool loopback;  /* nobody else can reach it, or only by the file system */
    char path[108]; /* of a Unix socket of ours; "": none */
    char address[128];
    struct MHD_Daemon *daemon;
};

struct rz_http {
    const struct rz_host *host;
    const struct rz_host_model *models_api;
    const struct rz_chat_api *chats; /* NULL: the host has none */
    const struct rz_host_serve *serve;
    struct rz_http_model models[RZ_HTTP_MODELS_MAX];
    uint32_t n_models;
    /* options */
    const char *listen_text, *keys_text, *hosts, *origins, *tls_cert, *tls_key;
    uint64_t max_body, max_header, max_bodies;
    uint32_t max_connections, max_connections_ip, max_prompt, n_threads;
    uint32_t timeout_s, header_timeout_s, body_timeout_s, write_timeout_s, request_timeout_s, keep_alive_s;
    uint32_t give_up_s; /* when the engine is not waited for any longer; 0: never */
    bool strict, chunked, access_log, log_prompts, metrics_rz, insecure, page;
    bool check_host; /* only local names are answered */
    uint8_t (*keys)[RZ_HTTP_KEY_HASH];
    uint32_t n_keys;
    char page_tag[40], page_policy[512];
    /* while it listens */
    struct rz_http_listener listeners[RZ_HTTP_LISTENERS_MAX];
    uint32_t n_listeners;
    char address[RZ_HTTP_LISTENERS_MAX * 132];
    struct rz_http_request *slots; /* [n_slots] */
    uint32_t n_slots;
    struct rz_http_request *free_slots;
    uint32_t n_active;
    int64_t started;
    atomic_bool ready;    /* the models are there             */
    atomic_bool draining; /* no new requests                  */
    atomic_bool closing;  /* nothing may be suspended any more */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* n_active changed */
    /* conn.c; conns_lock is outside of a request's lock and beside http.lock */
    pthread_mutex_t conns_lock;
    struct rz_http_conn *conns;
    atomic_uint n_conns;
    atomic_uint_fast64_t body_bytes;   /* of all bodies that are held */
    atomic_uint_fast64_t n_dropped[4]; /* by RZ_HTTP_WAIT_*           */
    struct rz_http_route_metrics routes[RZ_HTTP_ROUTES_MAX];
    /* watch.c */
    int epoll_fd, wake_fd;
    pthread_t watcher;
    bool watching;
    atomic_bool watch_ends;
};

/* --- options.c --- */

#define RZ_HTTP_N_OPTIONS 26
extern const struct rz_option rz_http_options[RZ_HTTP_N_OPTIONS];
int32_t rz_http_options_read(struct rz_http *h, const struct rz_config *config, struct rz_err *err);

/* --- listen.c --- */

/* Opens all sockets of the option `listen`; after an error too they are closed by rz_http_listen_close. */
int32_t rz_http_listen(struct rz_http *h, struct rz_err *err);
/* Accepts no more connections. For the thread that stops the daemons. */
void rz_http_quiet(struct rz_http *h, struct MHD_Daemon *daemon);
/* Nobody can connect any more. */
void rz_http_listen_refuse(struct rz_http *h);
void rz_http_listen_close(struct rz_http *h);

/* --- tls.c --- */

/* The texts of the certificate and the key; both NULL without TLS. The caller frees them with
 * rz_http_tls_free. */
int32_t rz_http_tls_read(const struct rz_http *h, char **cert, char **key, struct rz_err *err);
void rz_http_tls_free(char *cert, char *key);

/* --- page.c --- */

/* Makes page_tag and page_policy. */
int32_t rz_http_page_prepare(struct rz_http *h, struct rz_err *err);
enum MHD_Result rz_http_page(struct rz_http_request *r);

/* --- models.c --- */

/* Makes `models` of what the host serves. */
int32_t rz_http_models_find(struct rz_http *h, struct rz_err *err);
/* The model of a name; a NULL name: the default one. NULL: there is none. */
const struct rz_http_model *rz_http_model_named(const struct rz_http *h, const char *name);
/* What its file says, as far as it was read: vocab and info of out. False: nobody has read it. */
bool rz_http_model_facts(const struct rz_http *h, uint32_t i, struct rz_http_model *out);
/* Takes the model of a request whose body is read, waiting for it where needed, and goes on with
 * rz_http_begin; also when the wait may be over. */
enum MHD_Result rz_http_model_take(struct rz_http_request *r);
/* Gives it back; what was made with it is gone. */
void rz_http_model_done(struct rz_http_request *r);
/* The request shall wait no longer, if it does. Under http.lock. */
void rz_http_model_give_up(struct rz_http_request *r, int why);
/* Ends waits that took too long. The watcher's thread. */
void rz_http_models_look(struct rz_http *h);

/* --- json_memory.c --- */

/* From now on failed allocations of JSON are seen. Before there are threads. */
void rz_http_json_watch(void);
/* Has one failed in this thread since it was asked last? */
bool rz_http_json_failed(void);
/* As if one had. */
void rz_http_json_lacks(void);

/* --- access.c --- */

void rz_http_log(const struct rz_http *h, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The line of an exchange that is over. r: NULL if it was refused. whole: all of the answer was sent. */
void rz_http_access(struct rz_http_conn *conn, struct rz_http_request *r, bool whole);
/* Logs the body if log_prompts asks for it. */
void rz_http_log_body(const struct rz_http_request *r);

/* --- admit.c --- */

const char *rz_http_header(struct MHD_Connection *c, const char *name);
/* True if the request is not taken; e says why. */
bool rz_http_refused(struct rz_http *h, struct MHD_Connection *c, const struct rz_http_asked *a,
                     struct rz_http_conn *conn, struct rz_http_error *e);
/* Does a page of an allowed origin ask whether it may ask? */
bool rz_http_is_preflight(const struct rz_http_conn *conn, struct MHD_Connection *c, const char *method);
enum MHD_Result rz_http_preflight(struct MHD_Connection *c);

/* --- metrics_text.c: the routes /metrics and /ready --- */

enum MHD_Result rz_http_metrics(struct rz_http_request *r);
enum MHD_Result rz_http_ready(struct rz_http_request *r);

/* --- keys.c --- */

/* Hashes the keys, one a line; empty lines and lines that begin with # do not count. */
int32_t rz_http_keys_read(struct rz_http *h, struct rz_err *err);
/* True if no keys are configured, or the value of Authorization or of X-Api-Key carries one of them. */
bool rz_http_keys_allow(const struct rz_http *h, const char *authorization, const char *api_key);

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
enum MHD_Result rz_http_reply_error(struct MHD_Connection *c, const struct rz_http_error *e);
/* The one that needs none, or nearly. */
enum MHD_Result rz_http_reply_no_memory(struct MHD_Connection *c);
json_t *rz_http_error_json(const struct rz_http_error *e);
/* True if v is a number without a fraction that fits. */
bool rz_http_whole_number(const json_t *v, json_int_t *out);
/* A JSON string; what is not UTF-8 becomes U+FFFD. */
json_t *rz_http_text(const char *bytes, size_t n);
/* The same of a buffer; one that turned bad counts as JSON that lacks a part. */
json_t *rz_http_buf_text(const struct rz_buf *b);

/* --- fields.c --- */

/* Reads a body of the kind RZ_HTTP_*; errors have the field in err->where. rz_http_ask_free also after an
 * error. */
int32_t rz_http_ask_read(struct rz_http_ask *ask, const char *body, size_t n, uint32_t kind, bool strict,
                         struct rz_err *err);
void rz_http_ask_free(struct rz_http_ask *ask);
/* Takes a value that is needed as long as the body; NULL: no memory. */
json_t *rz_http_ask_keep(struct rz_http_ask *ask, json_t *value);

/* --- messages.c: the parts of a conversation --- */

int32_t rz_http_messages_check(const json_t *messages, struct rz_err *err);
int32_t rz_http_tools_check(const json_t *tools, struct rz_err *err);

/* --- serve.c: routing --- */

enum MHD_Result rz_http_serve(void *http, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *upload, size_t *n_upload, void **request);
void rz_http_completed(void *http, struct MHD_Connection *c, void **request,
                       enum MHD_RequestTerminationCode why);

/* Frees the body. */
void rz_http_body_drop(struct rz_http_request *r);

/* --- routes.c: what paths there are --- */

struct rz_http_route {
    const char *path;
    const char *method;  /* GET (and so HEAD) or POST           */
    const char *allowed; /* the header for a 405                */
    unsigned flags;      /* RZ_HTTP_OPEN, RZ_HTTP_ALWAYS        */
    bool plain;          /* errors are {"error": "text"}        */
    bool more;           /* the path goes on: `rest` of a request */
    enum MHD_Result (*answer)(struct rz_http_request *r);
    /* for /openapi.json */
    uint32_t fields;            /* RZ_HTTP_* of its body; 0: none           */
    const char *summary, *good; /* and the name of the schema of an answer  */
    const char *event;          /* of an event of its stream; NULL: none    */
    const char *type;           /* of an answer; NULL: JSON                 */
};
#define RZ_HTTP_OPEN 1u   /* needs no key */
#define RZ_HTTP_ALWAYS 2u /* answers while models load too, and when there is no room */

/* NULL: none. *rest is what follows a route's path. */
const struct rz_http_route *rz_http_route_find(const char *url, const char **rest);
/* All, one after the other; NULL behind the last. */
const struct rz_http_route *rz_http_route_at(size_t i);

/* --- the answers of routes, called when the body is there --- */

const char *rz_http_version_text(void); /* about.c */
enum MHD_Result rz_http_health(struct rz_http_request *r);
/* How many models have a device in this state, RZ_DEVICE_OUT or RZ_DEVICE_LOST; why: that of the first. No
 * model is named: everybody may ask. */
uint32_t rz_http_failed(const struct rz_http *h, uint32_t state, char *why, size_t cap);
enum MHD_Result rz_http_version(struct rz_http_request *r);
enum MHD_Result rz_http_models(struct rz_http_request *r);
enum MHD_Result rz_http_v1_models(struct rz_http_request *r);
enum MHD_Result rz_http_v1_model(struct rz_http_request *r);
enum MHD_Result rz_http_openapi(struct rz_http_request *r);          /* openapi.c */
enum MHD_Result rz_http_completion_start(struct rz_http_request *r); /* completion.c */
enum MHD_Result rz_http_chat_start(struct rz_http_request *r);       /* chat.c */
enum MHD_Result rz_http_response_start(struct rz_http_request *r);   /* responses.c */
enum MHD_Result rz_http_embeddings_start(struct rz_http_request *r); /* embeddings.c */
enum MHD_Result rz_http_tokenize(struct rz_http_request *r);         /* native.c */
enum MHD_Result rz_http_tokenize_all(struct rz_http_request *r);
enum MHD_Result rz_http_generate_start(struct rz_http_request *r);
enum MHD_Result rz_http_generate_stream(struct rz_http_request *r);
enum MHD_Result rz_http_generate_all(struct rz_http_request *r);

/* --- chat.c --- */

/* Renders ask.messages for each choice, and makes them the prompts. */
int32_t rz_http_chat_prepare(struct rz_http_request *r, struct rz_err *err);
/* Gives the text of an event to the reader of answers, which calls emit with r and run as a pair. */
struct rz_http_choice {
    struct rz_http_request *r;
    struct rz_http_run *run;
};
void rz_http_chat_feed(struct rz_http_choice *choice, const struct rz_event *ev, bool last,
                       rz_chat_emit *emit);
/* The id of a call: the model's, or one that is made. */
json_t *rz_http_call_id(const struct rz_http_choice *choice, const struct rz_chat_piece *piece);
/* Frees what responses.c keeps. */
void rz_http_items_free(struct rz_http_request *r);

/* --- request.c: from the body to the last byte --- */

enum MHD_Result rz_http_start(struct rz_http_request *r, const struct rz_http_shape *shape);
/* The second half of it, once the model is there. */
enum MHD_Result rz_http_begin(struct rz_http_request *r);
/* True: suspended until the next wake. */
bool rz_http_suspend_if_idle(struct rz_http_request *r);
/* Answers an error of a submit or of a body. */
enum MHD_Result rz_http_refuse(struct rz_http_request *r, int32_t code, const struct rz_err *err);
/* Streams that said nothing for a while say that they live. The watcher's thread. */
void rz_http_keep_alive(struct rz_http *h);
/* Goes on with a request that is answered in one piece. */
enum MHD_Result rz_http_continue(struct rz_http_request *r);
/* Adds an event to the stream; takes data. name: of the event, or NULL. */
void rz_http_sse(struct rz_http_request *r, const char *name, json_t *data);
const char *rz_http_finish_name(const struct rz_http_run *run);
/* The engine's call when there are events; its loop thread. */
void rz_http_wake(void *run);
/* Has a connection that waits look again, from any thread. */
void rz_http_rouse(struct rz_http_request *r);

/* --- runs.c: the prompts of a request, and what the engine makes of them --- */

/* Makes room for n prompts, and ask.n runs for each. */
int32_t rz_http_prompts(struct rz_http_request *r, size_t n, struct rz_err *err);
/* Gives prompt i its ids, which are taken. */
int32_t rz_http_prompt_set(struct rz_http_request *r, size_t i, int32_t *ids, uint64_t n, struct rz_err *err);
/* Encodes a text or copies a list of ids as prompt i; extra: RZ_ENCODE_* beside BOS. */
int32_t rz_http_prompt_read(struct rz_http_request *r, size_t i, const json_t *value, uint32_t extra,
                            struct rz_err *err);
/* Makes the prompts of ask.prompt: one text, one list of ids, or a list of these. */
int32_t rz_http_prompts_read(struct rz_http_request *r, uint32_t extra, struct rz_err *err);
/* Adds the text of ids; flags: RZ_DECODE_*. */
void rz_http_decode(const struct rz_http_model *m, struct rz_decode_state *state, const int32_t *ids,
                    uint64_t n, uint32_t flags, struct rz_buf *out);
/* ids of a text; *ids is freed by the caller, also after an error. */
int32_t rz_http_encode(const struct rz_http_model *m, const json_t *text, uint32_t extra, int32_t **ids,
                       uint64_t *n, struct rz_err *err);
/* Submits what fits into the request's share of the engine's queue; RZ_EBUSY only if nothing of it runs. */
int32_t rz_http_runs_fill(struct rz_http_request *r, struct rz_err *err);
/* A run has ended: its ticket is given back unless others wait for its prompt. */
void rz_http_run_ended(struct rz_http_request *r, struct rz_http_run *run);
/* Cancels what runs. Under http.lock. */
void rz_http_runs_cancel(struct rz_http_request *r);
/* Gives all tickets back, and frees prompts and runs. */
void rz_http_runs_free(struct rz_http_request *r);
struct rz_http_prompt *rz_http_prompt_of(const struct rz_http_request *r, const struct rz_http_run *run);

/* --- chunks.c: the JSON of answers --- */

json_t *rz_http_usage(struct rz_http_request *r);
/* Tokens of all prompts, of all answers, and of the prompts that were there already. */
struct rz_http_counts {
    json_int_t prompt, fresh, cached, reasoning;
};
struct rz_http_counts rz_http_counts(const struct rz_http_request *r);
/* Adds the tokens of the prompt to run->logprobs, in the shape of completions. */
void rz_http_logprobs_prompt(struct rz_http_request *r, struct rz_http_run *run);
/* Adds one token to run->logprobs, in the shape of completions or of chat. */
void rz_http_logprobs_add(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev);
void rz_http_chat_logprobs_add(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev);

/* --- watch.c --- */

int32_t rz_http_watch_start(struct rz_http *h, struct rz_err *err);
void rz_http_watch_stop(struct rz_http *h);
/* There is a connection again whose deadlines are to be looked at. */
void rz_http_watch_kick(struct rz_http *h);
/* From now on the request is cancelled when its client goes away. Under http.lock. */
void rz_http_watch_add(struct rz_http_request *r);
void rz_http_watch_remove(struct rz_http_request *r);

/* --- format.c: response_format, tool_choice and grammars --- */

int32_t rz_http_format_read(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);
int32_t rz_http_format_schema(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);
int32_t rz_http_format_grammar(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);
int32_t rz_http_format_regex(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);
int32_t rz_http_format_choice(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);
/* The tools of the request are known: leaves those that may be called. */
int32_t rz_http_format_tools(struct rz_http_ask *ask, struct rz_err *err);
/* Puts what the body demands into a request. */
int32_t rz_http_format_apply(struct rz_http_request *r, struct rz_http_run *run, struct rz_request *q,
                             struct rz_err *err);
/* An error of submit that is about the grammar names the field that asked for it. */
int32_t rz_http_format_error(const struct rz_http_request *r, int32_t code, struct rz_err *err);

#endif

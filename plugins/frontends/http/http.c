/* http.c - the HTTP frontend as a plugin: options, start and stop of the daemon.
 *
 * An OpenAI-shaped API over libmicrohttpd with its own polling threads. The pool of request slots is
 * made at start and freed by fini, when no engine can call any more.
 */
#include "http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES ((size_t)32 << 10) /* libmicrohttpd's memory for one connection */
#define CANCEL_MS 2000                  /* how long cancelled requests may take to send their last event */
#define CLOSE_MS 1000

/* The order of the table below. */
#define OPTION_LISTEN 0
#define OPTION_KEYS 1
#define OPTION_BODY 2
#define OPTION_CONNECTIONS 3
#define OPTION_TIMEOUT 4
#define OPTION_REQUEST 5
#define OPTION_THREADS 6
#define OPTION_STRICT 7
#define N_OPTIONS 8

#define OPTION(name_, type_, def_, min_, max_, help_) \
    { \
        .size = sizeof(struct rz_option), .type = type_, .name = name_, .def = def_, .min = min_, \
        .max = max_, .help = help_ \
    }

static const struct rz_option options[N_OPTIONS] = {
    [OPTION_LISTEN] = OPTION("listen", RZ_OPT_STRING, "127.0.0.1:8080", 0, 0,
                             "HOST:PORT or [IPV6]:PORT; port 0: any free one"),
    [OPTION_KEYS] = {.size = sizeof(struct rz_option),
                     .type = RZ_OPT_STRING,
                     .flags = RZ_OPT_SECRET,
                     .name = "api_keys",
                     .help = "keys that clients must send, one a line (use @file:)"},
    [OPTION_BODY] = OPTION("max_body", RZ_OPT_SIZE, "8M", 1024, 1073741824, "largest request body"),
    [OPTION_CONNECTIONS] = OPTION("max_connections", RZ_OPT_INT, "512", 1, 65536, "open connections"),
    [OPTION_TIMEOUT] = OPTION("timeout_s", RZ_OPT_INT, "60", 1, 86400,
                              "seconds without a byte after which a connection is closed"),
    [OPTION_REQUEST] = OPTION("request_timeout_s", RZ_OPT_INT, "600", 0, 86400,
                              "seconds that a generation may take; 0: any"),
    [OPTION_THREADS] = OPTION("threads", RZ_OPT_INT, "2", 1, 64, "threads that serve connections"),
    [OPTION_STRICT] = OPTION("strict", RZ_OPT_BOOL, "0", 0, 0, "refuse unknown fields of a request"),
};

static void log_line(const struct rz_http *h, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void log_line(const struct rz_http *h, int32_t level, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n > 0)
        h->host->log(h->host->ctx, level, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* libmicrohttpd's messages; they may quote what a client sent. */
__attribute__((format(printf, 2, 0))) static void daemon_log(void *http, const char *format, va_list args)
{
    const struct rz_http *h = http;
    char text[400], shown[400];
    int n = vsnprintf(text, sizeof(text), format, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    while (len && text[len - 1] == '\n')
        len--;
    log_line(h, RZ_LOG_DEBUG, "http: %s", rz_show(shown, sizeof(shown), text, len));
}

/* The target is matched as it was sent: no escapes are undone, so there is one spelling of each path. */
static size_t keep_escapes(void *cls, struct MHD_Connection *c, char *s)
{
    (void)cls;
    (void)c;
    return strlen(s);
}

static int32_t find_models(struct rz_http *h, struct rz_err *err)
{
    h->models_api = h->host->query(h->host->ctx, RZ_HOST_MODEL_1, 0);
    if (!h->models_api)
        return rz_fail(err, RZ_EUNSUPPORTED, RZ_HOST_MODEL_1, "the host does not offer it");
    h->chats = h->host->query(h->host->ctx, RZ_CHAT_1, 0);
    h->n_models = 0;
    for (uint32_t i = 0; i < RZ_HTTP_MODELS_MAX; i++) {
        struct rz_http_model *m = &h->models[i];
        *m = (struct rz_http_model){.vocab.size = sizeof(m->vocab), .info.size = sizeof(m->info)};
        m->sampling.size = sizeof(m->sampling);
        struct rz_model *model = h->models_api->served(h->models_api->ctx, i, &m->name);
        if (!model)
            break;
        m->model = model;
        m->engine = h->models_api->engine(model);
        m->tokenizer = h->models_api->tokenizer(model, &m->tok);
        if (!m->engine || !m->tokenizer || m->tokenizer->info(m->tok, &m->vocab) ||
            h->models_api->info(model, &m->info) || h->models_api->sampling(model, &m->sampling))
            return rz_fail(err, RZ_EINTERNAL, m->name, "the model cannot be served");
        h->n_models++;
    }
    return h->n_models ? RZ_OK : rz_fail(err, RZ_ENOTFOUND, "http", "no model is served");
}

static int32_t make_slots(struct rz_http *h, struct rz_err *err)
{
    h->slots = calloc(h->max_connections, sizeof(*h->slots));
    if (!h->slots)
        return rz_fail(err, RZ_ENOMEM, "http", "no memory for %u connections", h->max_connections);
    for (uint32_t i = h->max_connections; i-- > 0;) {
        struct rz_http_request *r = &h->slots[i];
        r->http = h;
        r->index = i;
        pthread_mutex_init(&r->lock, NULL);
        r->next_free = h->free_slots;
        h->free_slots = r;
    }
    return RZ_OK;
}

static int32_t start_daemon(struct rz_http *h, struct rz_err *err)
{
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    unsigned threads = h->n_threads <= h->max_connections ? h->n_threads : h->max_connections;
    struct MHD_OptionItem pool[] = {{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    if (threads > 1)
        pool[0] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL};
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, rz_http_serve, h, MHD_OPTION_EXTERNAL_LOGGER, daemon_log, h,
        MHD_OPTION_LISTEN_SOCKET, h->fd, MHD_OPTION_NOTIFY_COMPLETED, rz_http_completed, h,
        MHD_OPTION_CONNECTION_LIMIT, h->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, h->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, rz_http_target, h, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
    if (!h->daemon)
        return rz_fail(err, RZ_EIO, h->address, "the HTTP daemon does not start: %s", strerror(errno));
    return RZ_OK;
}

static int32_t start(void *self, struct rz_err *err)
{
    struct rz_http *h = self;
    bool loopback = true;
    h->started = (int64_t)time(NULL);
    int32_t code = find_models(h, err);
    if (!code)
        code = make_slots(h, err);
    if (!code)
        code = rz_http_listen(h->listen_text, &h->fd, h->address, sizeof(h->address), &loopback, err);
    if (!code && !loopback && !h->n_keys)
        log_line(h, RZ_LOG_WARN, "http: %s can be reached by others, and no api_keys are set", h->address);
    if (!code)
        code = rz_http_watch_start(h, err);
    if (!code)
        code = start_daemon(h, err);
    if (!code)
        return RZ_OK;
    rz_http_watch_stop(h);
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    return code;
}

/* Waits until no request runs; false: the time is over. Under h->lock. */
static bool wait_idle(struct rz_http *h, uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (h->n_active)
        if (pthread_cond_timedwait(&h->idle, &h->lock, &until))
            break;
    return !h->n_active;
}

static void cancel_all(struct rz_http *h)
{
    for (uint32_t i = 0; i < h->max_connections; i++) {
        struct rz_http_request *r = &h->slots[i];
        if (r->used && r->has_ticket)
            rz_http_runs_cancel(r);
    }
}

/* libmicrohttpd must not be stopped while a connection is suspended. */
static void resume_all(struct rz_http *h)
{
    atomic_store(&h->closing, true);
    for (uint32_t i = 0; i < h->max_connections; i++)
        rz_http_wake(&h->slots[i]);
}

static void stop(void *self, uint32_t drain_ms)
{
    struct rz_http *h = self;
    if (!h->daemon)
        return;
    atomic_store(&h->draining, true);
    MHD_quiesce_daemon(h->daemon);
    pthread_mutex_lock(&h->lock);
    if (!wait_idle(h, drain_ms)) {
        cancel_all(h);
        wait_idle(h, CANCEL_MS);
    }
    pthread_mutex_unlock(&h->lock);
    resume_all(h);
    pthread_mutex_lock(&h->lock);
    wait_idle(h, CLOSE_MS);
    pthread_mutex_unlock(&h->lock);
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
    rz_http_watch_stop(h);
    close(h->fd);
    h->fd = -1;
}

static const char *address(void *self)
{
    return ((struct rz_http *)self)->address;
}

static const struct rz_frontend frontend = {
    .size = sizeof(frontend), .name = "http", .start = start, .stop = stop, .address = address};

static void fini(void *self)
{
    struct rz_http *h = self;
    stop(h, 0);
    for (uint32_t i = 0; h->slots && i < h->max_connections; i++)
        pthread_mutex_destroy(&h->slots[i].lock);
    free(h->slots);
    free(h->keys);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->idle);
    free(h);
}

static void read_options(struct rz_http *h, const struct rz_config *config)
{
    const struct rz_option_value *v = config->values;
    h->listen_text = v[OPTION_LISTEN].text;
    h->keys_text = v[OPTION_KEYS].text;
    h->max_body = (uint64_t)v[OPTION_BODY].i;
    h->max_connections = (uint32_t)v[OPTION_CONNECTIONS].i;
    h->timeout_s = (uint32_t)v[OPTION_TIMEOUT].i;
    h->request_timeout_s = (uint32_t)v[OPTION_REQUEST].i;
    h->n_threads = (uint32_t)v[OPTION_THREADS].i;
    h->strict = v[OPTION_STRICT].i != 0;
}

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    pthread_condattr_t monotonic;
    if (config->n_values < N_OPTIONS)
        return rz_fail(err, RZ_EINVAL, "http", "%u options, not %d", config->n_values, N_OPTIONS);
    struct rz_http *h = calloc(1, sizeof(*h));
    if (!h)
        return rz_fail(err, RZ_ENOMEM, "http", "no memory");
    h->host = host;
    h->fd = h->epoll_fd = h->wake_fd = -1;
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&h->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    read_options(h, config);
    json_object_seed(0); /* before there are threads */
    int32_t code = rz_http_keys_read(h, err);
    if (code)
        fini(h);
    else
        *self = h;
    return code;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return !strcmp(id, RZ_FRONTEND_1) && minor_need == 0 ? &frontend : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER_COMMON, .kinds = RZ_KIND_FRONTEND, .name = "http", .version = "0.1.0",
               .vendor = "rz", .licence = "MIT", .provides = "frontend:http"},
    .options = options,
    .n_options = N_OPTIONS,
    .option_stride = sizeof(options[0]),
    .init = init,
    .fini = fini,
    .query = query,
};

/* http.c - the HTTP frontend as a plugin: start and stop of the daemons.
 *
 * An OpenAI-shaped API over libmicrohttpd with its own polling threads. The pool of request slots is
 * made at start and freed by fini, when no engine can call any more.
 */
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CANCEL_MS 2000 /* how long cancelled requests may take to send their last event */
#define CLOSE_MS 1000
#define RESERVE 128u /* connections beyond max_connections, to tell them so */
#define TLS_VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* libmicrohttpd's messages; they may quote what a client sent. */
__attribute__((format(printf, 2, 0))) static void daemon_log(void *http, const char *format, va_list args)
{
    const struct rz_http *h = http;
    char text[400], shown[400];
    int n = vsnprintf(text, sizeof(text), format, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    while (len && text[len - 1] == '\n')
        len--;
    rz_http_log(h, RZ_LOG_DEBUG, "http: %s", rz_show(shown, sizeof(shown), text, len));
}

/* The target is matched as it was sent: no escapes are undone, so there is one spelling of each path. */
static size_t keep_escapes(void *cls, struct MHD_Connection *c, char *s)
{
    (void)cls;
    (void)c;
    return strlen(s);
}

/* One for each connection that can be: a request always finds one. */
static int32_t make_slots(struct rz_http *h, struct rz_err *err)
{
    h->n_slots = (h->max_connections + RESERVE) * h->n_listeners;
    h->slots = calloc(h->n_slots, sizeof(*h->slots));
    if (!h->slots)
        return rz_fail(err, RZ_ENOMEM, "http", "no memory for %u connections", h->n_slots);
    for (uint32_t i = 0; i < h->n_slots; i++) {
        struct rz_http_request *r = &h->slots[i];
        r->http = h;
        r->index = i;
        pthread_mutex_init(&r->lock, NULL);
        r->next_free = h->free_slots;
        h->free_slots = r;
    }
    return RZ_OK;
}

static int32_t start_daemon(struct rz_http *h, struct rz_http_listener *l, const char *cert, const char *key,
                            struct rz_err *err)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG | (cert ? MHD_USE_TLS : 0);
    unsigned threads = h->n_threads <= h->max_connections ? h->n_threads : h->max_connections, n = 0;
    struct MHD_OptionItem more[8];
    if (threads > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL};
    if (h->max_connections_ip)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                            (intptr_t)h->max_connections_ip, NULL};
    if (cert) {
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key};
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_VERSIONS};
    }
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    l->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, rz_http_serve, h, MHD_OPTION_EXTERNAL_LOGGER, daemon_log, h,
        MHD_OPTION_LISTEN_SOCKET, l->fd, MHD_OPTION_NOTIFY_COMPLETED, rz_http_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, rz_http_connection, h, MHD_OPTION_CONNECTION_LIMIT,
        h->max_connections + RESERVE, MHD_OPTION_CONNECTION_TIMEOUT, h->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)h->max_header, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, rz_http_target, h, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    if (!l->daemon)
        return rz_fail(err, cert ? RZ_ECONFIG : RZ_EIO, l->address, "the HTTP daemon does not start%s",
                       cert ? ": are tls_cert and tls_key a certificate and its key?" : "");
    return RZ_OK;
}

static int32_t start_daemons(struct rz_http *h, struct rz_err *err)
{
    char *cert, *key;
    int32_t code = rz_http_tls_read(h, &cert, &key, err);
    for (uint32_t i = 0; !code && i < h->n_listeners; i++)
        code = start_daemon(h, &h->listeners[i], cert, key, err);
    rz_http_tls_free(cert, key);
    return code;
}

static int32_t check_open(const struct rz_http *h, struct rz_err *err)
{
    for (uint32_t i = 0; i < h->n_listeners; i++) {
        const struct rz_http_listener *l = &h->listeners[i];
        if (l->loopback || h->n_keys)
            continue;
        if (!h->insecure)
            return rz_fail(err, RZ_ECONFIG, "[plugin.http] listen",
                           "%s can be reached by others, and there are no api_keys (insecure = 1 allows it)",
                           l->address);
        rz_http_log(h, RZ_LOG_WARN, "http: %s can be reached by others, and no api_keys are set", l->address);
    }
    return RZ_OK;
}

static void stop_daemons(struct rz_http *h)
{
    for (uint32_t i = 0; i < h->n_listeners; i++)
        if (h->listeners[i].daemon)
            MHD_stop_daemon(h->listeners[i].daemon);
    rz_http_watch_stop(h);
    rz_http_listen_close(h);
}

static int32_t start(void *self, struct rz_err *err)
{
    struct rz_http *h = self;
    int32_t code = rz_http_listen(h, err);
    if (!code)
        code = check_open(h, err);
    if (!code)
        code = make_slots(h, err);
    if (!code)
        code = rz_http_watch_start(h, err);
    if (!code)
        code = start_daemons(h, err);
    if (code)
        stop_daemons(h);
    else
        rz_http_log(h, RZ_LOG_INFO, "http: %s: listening; models are not loaded yet", h->address);
    return code;
}

static int32_t ready(void *self, struct rz_err *err)
{
    struct rz_http *h = self;
    int32_t code = rz_http_models_find(h, err);
    atomic_store(&h->ready, code == RZ_OK);
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
    for (uint32_t i = 0; i < h->n_slots; i++) {
        struct rz_http_request *r = &h->slots[i];
        if (r->used && r->has_ticket)
            rz_http_runs_cancel(r);
        else if (r->used)
            rz_http_model_give_up(r, RZ_HTTP_GIVE_UP_ENDS);
    }
}

/* libmicrohttpd must not be stopped while a connection is suspended. */
static void resume_all(struct rz_http *h)
{
    atomic_store(&h->closing, true);
    for (uint32_t i = 0; i < h->n_slots; i++)
        rz_http_rouse(&h->slots[i]);
}

static void stop(void *self, uint32_t drain_ms)
{
    struct rz_http *h = self;
    if (!h->n_listeners)
        return;
    atomic_store(&h->draining, true);
    for (uint32_t i = 0; i < h->n_listeners; i++)
        rz_http_quiet(h, h->listeners[i].daemon);
    rz_http_listen_refuse(h);
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
    stop_daemons(h);
}

static const char *address(void *self)
{
    return ((struct rz_http *)self)->address;
}

static const struct rz_frontend frontend = {.size = sizeof(frontend),
                                            .name = "http",
                                            .start = start,
                                            .stop = stop,
                                            .address = address,
                                            .ready = ready};

static void fini(void *self)
{
    struct rz_http *h = self;
    stop(h, 0);
    for (uint32_t i = 0; h->slots && i < h->n_slots; i++)
        pthread_mutex_destroy(&h->slots[i].lock);
    for (uint32_t i = 0; i < RZ_HTTP_MODELS_MAX; i++)
        free(h->models[i].metrics);
    free(h->slots);
    free(h->keys);
    pthread_mutex_destroy(&h->conns_lock);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->idle);
    free(h);
}

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    pthread_condattr_t monotonic;
    struct rz_http *h = calloc(1, sizeof(*h));
    if (!h)
        return rz_fail(err, RZ_ENOMEM, "http", "no memory");
    h->host = host;
    h->epoll_fd = h->wake_fd = -1;
    h->started = (int64_t)time(NULL);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->conns_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&h->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    json_object_seed(0); /* before there are threads */
    rz_http_json_watch();
    int32_t code = rz_http_options_read(h, config, err);
    if (!code)
        code = rz_http_keys_read(h, err);
    if (!code)
        code = rz_http_page_prepare(h, err);
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
    .header = {RZ_HEADER(RZ_KIND_FRONTEND), .name = "http", .version = "0.1.0", .vendor = "rz",
               .licence = "MIT", .provides = "frontend:http"},
    .options = rz_http_options,
    .n_options = RZ_HTTP_N_OPTIONS,
    .option_stride = sizeof(struct rz_option),
    .init = init,
    .fini = fini,
    .query = query,
};

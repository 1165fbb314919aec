/* serve.c - `rz serve`: models, loop threads and frontends come up, then the main thread waits for a signal.
 *
 * Order down is the reverse of up: frontends take no new work and finish, then the loops end, then the
 * plugins. A thread waits for signals: the first one begins the way down, the second ends the process. A
 * service manager that asked for it is told of each stage.
 */
#define _GNU_SOURCE /* sem_clockwait */
#include "config.h"
#include "main.h"

#include "err.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRONTENDS_MAX 16
#define HTTP_SECTION "plugin.http"
#define DOWN_S 15 /* the way down may take so long beyond drain_ms */

struct running {
    const struct rz_frontend *table;
    void *self;
    bool started;
};

struct serving {
    const char *model, *host, *port, *key_file;
    struct running frontends[FRONTENDS_MAX];
    uint32_t n;
};

/* --- signals --- */

/* A thread of its own takes them all with sigwait, so no handler ever interrupts anybody. */
struct watch {
    pthread_t thread;
    sigset_t set;
    sem_t ended;
    _Atomic bool is_up, over;
    _Atomic int first; /* the signal that ends the service */
    _Atomic uint32_t drain_ms;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The signal that came, or -1. A process that is stopped and goes on has waited meanwhile. */
static int wait_until(const sigset_t *set, int64_t end_ms)
{
    int sig = -1;
    for (int64_t left; sig < 0 && (left = end_ms - now_ms()) > 0;) {
        struct timespec most = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
        sig = sigtimedwait(set, NULL, &most);
        if (sig < 0 && errno != EINTR)
            break;
    }
    return sig;
}

static void *watch_signals(void *arg)
{
    struct watch *w = arg;
    int sig;
    if (sigwait(&w->set, &sig) || atomic_load(&w->over))
        return NULL;
    if (!atomic_load(&w->is_up)) /* still loading */
        _exit(128 + sig);
    atomic_store(&w->first, sig);
    sem_post(&w->ended);
    /* Whoever hangs on the way down, a backend or a plugin, does not keep the process. */
    uint32_t ms = atomic_load(&w->drain_ms);
    sig = wait_until(&w->set, now_ms() + ms + DOWN_S * 1000);
    if (atomic_load(&w->over))
        return NULL;
    if (sig > 0)
        _exit(128 + sig);
    rz_log(RZ_LOG_ERROR, "it did not end in %u ms and %d s: something hangs", ms, DOWN_S);
    _exit(RZ_EXIT_FAILED);
}

/* Before any other thread exists: they inherit the mask. */
static bool watch_start(struct watch *w)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL); /* a client that went away is an error of write */
    sigemptyset(&w->set);
    sigaddset(&w->set, SIGTERM);
    sigaddset(&w->set, SIGINT);
    return !sem_init(&w->ended, 0, 0) && !pthread_sigmask(SIG_BLOCK, &w->set, NULL) &&
           !pthread_create(&w->thread, NULL, watch_signals, w);
}

static int watch_wait(struct watch *w)
{
    uint64_t every_ms = rz_notify_watchdog_ms();
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (every_ms ? sem_clockwait(&w->ended, CLOCK_MONOTONIC, &next) : sem_wait(&w->ended)) {
        if (errno != ETIMEDOUT)
            continue;
        rz_notify("WATCHDOG=1");
        next.tv_sec += (time_t)(every_ms / 1000);
        next.tv_nsec += (long)(every_ms % 1000) * 1000000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
    }
    return atomic_load(&w->first);
}

static void watch_stop(struct watch *w)
{
    atomic_store(&w->over, true);
    pthread_kill(w->thread, SIGTERM); /* it waits for one */
    pthread_join(w->thread, NULL);
    sem_destroy(&w->ended);
}

/* --- arguments --- */

static int32_t parse(const struct rz_arguments *a, struct serving *s, struct rz_err *err)
{
    for (int32_t i = 1; i < a->argc; i++) {
        const char *word = a->argv[i], **value = NULL;
        if (!strcmp(word, "-m") || !strcmp(word, "--model"))
            value = &s->model;
        else if (!strcmp(word, "--host"))
            value = &s->host;
        else if (!strcmp(word, "--port"))
            value = &s->port;
        else if (!strcmp(word, "--api-key-file"))
            value = &s->key_file;
        if (!value)
            return rz_fail(err, RZ_ECONFIG, "serve", "%.80s: no such option (see rz serve --help)", word);
        if (i + 1 == a->argc)
            return rz_fail(err, RZ_ECONFIG, word, "needs a value");
        *value = a->argv[++i];
    }
    if (!s->port)
        return RZ_OK;
    char *end;
    long port = strtol(s->port, &end, 10);
    if (!*s->port || *end || port < 0 || port > 65535)
        return rz_fail(err, RZ_ECONFIG, "--port", "%.32s is not a port (0..65535)", s->port);
    return RZ_OK;
}

/* --host and --port change one half of `listen` if that is one address; else they take its place. */
static int32_t set_listen(struct rz_settings *settings, const struct serving *s, struct rz_err *err)
{
    char listen[320], old[256], host[260];
    const char *raw = rz_config_raw(settings, HTTP_SECTION, "listen");
    bool plain = raw && strchr(raw, ':') && !strchr(raw, ',') && strncmp(raw, "unix:", 5) != 0;
    snprintf(old, sizeof(old), "%s", plain ? raw : "127.0.0.1:8080");
    char *colon = strrchr(old, ':');
    const char *port = s->port ? s->port : colon + 1;
    bool bare_v6 = s->host && strchr(s->host, ':') && s->host[0] != '[';
    *colon = 0;
    snprintf(host, sizeof(host), bare_v6 ? "[%.250s]" : "%.250s", s->host ? s->host : old);
    snprintf(listen, sizeof(listen), "%s:%s", host, port);
    return rz_config_flag(settings, HTTP_SECTION, "listen", listen, s->host ? "--host" : "--port", err);
}

static int32_t set_flags(struct rz_settings *settings, const struct serving *s, struct rz_err *err)
{
    char keys[4096];
    int32_t status = s->host || s->port ? set_listen(settings, s, err) : RZ_OK;
    if (status || !s->key_file)
        return status;
    snprintf(keys, sizeof(keys), "@file:%s", s->key_file);
    return rz_config_flag(settings, HTTP_SECTION, "api_keys", keys, "--api-key-file", err);
}

/* --- frontends --- */

static int32_t find_one(struct rz_main *p, struct serving *s, const char *name, struct rz_err *err)
{
    char kind[64];
    uint32_t at = 0;
    struct running *f = &s->frontends[s->n];
    snprintf(kind, sizeof(kind), "frontend:%.40s", name);
    f->table = rz_registry_next(p->registry, kind, RZ_FRONTEND_1, &at, &f->self, NULL, err);
    if (!f->table && err->code)
        return err->code;
    if (!f->table)
        return rz_fail(err, RZ_ECONFIG, rz_settings_get(p->settings, "rz", "frontends")->from,
                       "[rz] frontends: no plugin provides %s", kind);
    if (!f->table->start)
        return rz_fail(err, RZ_ECONFIG, name, "this frontend serves nothing");
    s->n++;
    return RZ_OK;
}

static int32_t find_all(struct rz_main *p, struct serving *s, struct rz_err *err)
{
    const char *list = rz_settings_get(p->settings, "rz", "frontends")->text;
    char *names = strdup(list ? list : ""), *rest = names;
    int32_t status = names ? RZ_OK : rz_fail(err, RZ_ENOMEM, "serve", "no memory");
    for (char *name; !status && (name = strsep(&rest, ","));) {
        if (!name[0] || s->n == FRONTENDS_MAX)
            status = rz_fail(err, RZ_ECONFIG, "[rz] frontends", "between 1 and %d names", FRONTENDS_MAX);
        else
            status = find_one(p, s, name, err);
    }
    free(names);
    return status;
}

/* Those that can tell clients to wait are started before the models are opened, the others after. */
static int32_t start_all(struct serving *s, bool loaded, struct rz_err *err)
{
    int32_t status = RZ_OK;
    for (uint32_t i = 0; !status && i < s->n; i++) {
        struct running *f = &s->frontends[i];
        bool early = f->table->ready;
        if (early != loaded)
            status = f->table->start(f->self, err);
        f->started = f->started || (early != loaded && !status);
        if (!status && early && loaded)
            status = f->table->ready(f->self, err);
    }
    return status;
}

static void stop_all(struct rz_main *p, struct serving *s, uint32_t drain_ms)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->frontends[i].started)
            s->frontends[i].table->stop(s->frontends[i].self, drain_ms);
    clock_gettime(CLOCK_MONOTONIC, &b);
    int64_t spent = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
    rz_models_stop(p->models, spent < drain_ms ? (uint32_t)(drain_ms - spent) : 0);
}

static void say_ready(const struct serving *s)
{
    fprintf(stderr, "rz: ready:");
    for (uint32_t i = 0; i < s->n; i++)
        fprintf(stderr, " %s", s->frontends[i].table->address(s->frontends[i].self));
    fprintf(stderr, "\n");
}

/* --- the verb --- */

static int32_t bring_up(struct rz_main *p, struct serving *s, struct rz_err *err)
{
    int32_t status = parse(&p->args, s, err);
    if (!status)
        status = rz_settings_load(&p->args.cmd, &p->settings, err);
    if (!status)
        status = set_flags(p->settings, s, err);
    if (!status)
        status = rz_main_open(p, true, err);
    if (!status)
        status = rz_main_models(p, err);
    if (!status)
        status = find_all(p, s, err);
    return status;
}

/* Up, until a signal, and down again. *sig: the signal. */
static int32_t serve(struct rz_main *p, struct watch *w, int *sig, struct rz_err *err)
{
    struct serving s = {0};
    int32_t status = bring_up(p, &s, err);
    if (status)
        return status;
    rz_notify("STATUS=loading");
    status = start_all(&s, false, err);
    if (!status)
        status = rz_models_serve(p->models, s.model, err);
    if (!status)
        status = start_all(&s, true, err);
    uint32_t drain_ms = (uint32_t)rz_settings_get(p->settings, "rz", "drain_ms")->i;
    if (!status) {
        atomic_store(&w->drain_ms, drain_ms);
        atomic_store(&w->is_up, true); /* before the line that invites signals */
        say_ready(&s);
        rz_notify("READY=1\nSTATUS=serving");
        *sig = watch_wait(w);
        rz_notify("STOPPING=1\nSTATUS=running requests end");
        rz_log(RZ_LOG_INFO, "ending: running requests have %u ms", drain_ms);
    }
    stop_all(p, &s, status ? 0 : drain_ms);
    return status;
}

int rz_verb_serve(struct rz_main *p, struct rz_err *err)
{
    struct watch w = {0};
    int sig = 0;
    if (!watch_start(&w)) {
        rz_fail(err, RZ_EIO, "serve", "cannot watch for signals: %s", strerror(errno));
        return RZ_EXIT_FAILED;
    }
    int32_t status = serve(p, &w, &sig, err);
    watch_stop(&w);
    if (status)
        return status == RZ_ECONFIG ? RZ_EXIT_USAGE : RZ_EXIT_FAILED;
    return sig == SIGINT ? RZ_EXIT_INTERRUPTED : RZ_EXIT_OK;
}

/* keeper.c - the thread that loads and unloads the models that are served. While they are, it is the control
 * thread of rz.host.model/1.
 *
 * One load at a time, in the order in which models were asked for; all who want the same model wait for the
 * same load. A load that needs the room of models in use waits until they are given back, and after a while
 * these take no new users, so that it comes to an end. A load goes on when nobody waits any more, but then
 * waits for no room.
 */
#include "served.h"

#include "err.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000u
#define PATIENCE_NS ((uint64_t)2 * NS_PER_S) /* models in use keep their place so long while others wait */
#define MIB(bytes) ((double)(bytes) / 1048576)

uint64_t rz_keeper_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Until something changes or the clock reaches this; UINT64_MAX: for ever. */
static void wait_until(struct rz_served *s, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    if (ns == UINT64_MAX)
        pthread_cond_wait(&s->changed, &s->mutex);
    else
        pthread_cond_timedwait(&s->changed, &s->mutex, &t);
}

/* --- what is known of a model --- */

static const char *keep_text(struct rz_served *s, const char *old, const char *text)
{
    if (old && text && !strcmp(old, text))
        return old;
    const char *copy = text ? rz_arena_strdup(&s->arena, text) : NULL;
    return copy ? copy : "";
}

/* Texts that did not change stay where they are: readers may look at the old ones at any time. */
static void learn(struct rz_served *s, uint32_t i, struct rz_model *model)
{
    struct rz_entry *e = &s->entries[i];
    struct rz_model_info info = {.size = sizeof(info)};
    struct rz_tokenizer_info vocab = {.size = sizeof(vocab)};
    if (rz_model_info(model, &info) || model->tokenizer->info(model->tok, &vocab))
        return;
    info.arch = keep_text(s, e->info.arch, info.arch);
    info.name = keep_text(s, e->info.name, info.name);
    info.path = keep_text(s, e->info.path, info.path);
    e->info = info;
    e->vocab = vocab;
    e->known = true;
}

static int32_t prepare(struct rz_served *s, uint32_t i, struct rz_model *base, struct rz_model **out,
                       struct rz_err *err)
{
    struct rz_model_options options = {.size = sizeof(options), .level = RZ_MODEL_RUN};
    struct rz_model_guessing guessing = {.base = base};
    return rz_model_prepare(s->models, &s->entries[i].found, &options, &guessing, out, err);
}

/* base: of the entry's draft model, prepared only for this if it is not loaded. */
static int32_t survey_with(struct rz_served *s, uint32_t i, struct rz_model *base, struct rz_err *err)
{
    struct rz_model *model = NULL;
    int32_t rc = prepare(s, i, base, &model, err);
    if (rc)
        return rc;
    s->books[i].bytes = rz_model_bytes(model);
    learn(s, i, model);
    rz_model_close(model);
    return RZ_OK;
}

int32_t rz_keeper_survey(struct rz_served *s, uint32_t i, struct rz_err *err)
{
    int32_t d = s->entries[i].draft;
    struct rz_model *base = NULL;
    struct rz_model_options options = {.size = sizeof(options), .level = RZ_MODEL_RUN};
    if (d < 0)
        return survey_with(s, i, NULL, err);
    int32_t rc = rz_model_prepare(s->models, &s->entries[d].found, &options, NULL, &base, err);
    if (rc)
        return rz_err_wrap(err, "draft_model");
    rc = survey_with(s, i, base, err);
    rz_model_close(base);
    return rc;
}

/* --- unloading --- */

static void unload(struct rz_served *s, uint32_t i, const char *why)
{
    struct rz_entry *e = &s->entries[i];
    struct rz_model *model = e->model;
    const struct rz_engine *engine = rz_loop_table(model->loop);
    struct rz_engine_stats stats = {.size = sizeof(stats)};
    engine->stats(engine->ctx, &stats);
    rz_served_count(&e->past, &stats);
    e->model = NULL;
    e->leaving = false;
    e->unloading = true;
    pthread_mutex_unlock(&s->mutex);
    rz_loop_stop(model->loop, 0);
    rz_model_close(model);
    rz_log(RZ_LOG_INFO, "model %s: unloaded: %s", e->name, why);
    pthread_mutex_lock(&s->mutex);
    e->unloading = false;
    e->unloads++;
    s->books[i].in = false;
    if (e->draft >= 0)
        s->books[e->draft].users--;
}

/* --- room --- */

static int32_t too_large(const struct rz_served *s, uint32_t i, uint64_t need, struct rz_err *err)
{
    return rz_fail(err, RZ_ELIMIT, "engine.memory", "%s takes %.1f MiB, and all models may take %.1f MiB",
                   s->entries[i].name, MIB(need), MIB(s->budget));
}

static int32_t no_room(const struct rz_served *s, uint32_t i, uint64_t need, struct rz_err *err)
{
    return rz_fail(err, RZ_ELIMIT, "engine.memory",
                   "%s takes %.1f MiB; models in use take %.1f MiB, and all may take %.1f MiB",
                   s->entries[i].name, MIB(need), MIB(rz_shelf_bytes(s->books, s->n)), MIB(s->budget));
}

static int32_t unused(const struct rz_served *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->books[i].in && !s->books[i].users)
            return (int32_t)i;
    return -1;
}

/* These, and the models that guess with them, take no new users until there was room. */
static void send_away(struct rz_served *s, const uint32_t *victims, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < s->n; i++)
            if (s->entries[i].model && (i == victims[k] || s->entries[i].draft == (int32_t)victims[k]))
                s->entries[i].leaving = true;
}

/* Nobody has to go any more: whoever was held up goes on. */
static void let_stay(struct rz_served *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->entries[i].leaving && s->entries[i].model) {
            s->entries[i].leaving = false;
            rz_served_answer(s, i, NULL);
        }
    }
}

/* The draft models that it needs stay in any case: they count as a part of it. */
static int ask_shelf(const struct rz_served *s, uint32_t i, uint64_t need, uint32_t victims[RZ_SHELF_MAX],
                     uint32_t *n)
{
    struct rz_book books[RZ_SHELF_MAX];
    memcpy(books, s->books, sizeof(books));
    for (int32_t d = s->entries[i].draft; d >= 0; d = s->entries[d].draft) {
        books[d].in = false;
        need += books[d].bytes;
    }
    return rz_shelf_room(books, s->n, s->budget, need, victims, n);
}

static int32_t find_room(struct rz_served *s, uint32_t i, uint64_t need, struct rz_err *err)
{
    uint64_t begin = rz_keeper_now();
    uint32_t victims[RZ_SHELF_MAX], n;
    for (;;) {
        int room = ask_shelf(s, i, need, victims, &n);
        if (room == RZ_SHELF_FITS && !n)
            return RZ_OK;
        if (room == RZ_SHELF_NEVER)
            return too_large(s, i, need, err);
        int32_t out = room == RZ_SHELF_FITS ? (int32_t)victims[0] : s->threaded ? unused(s) : -1;
        if (out >= 0) {
            unload(s, (uint32_t)out, "others need its room");
            continue;
        }
        if (!s->threaded)
            return no_room(s, i, need, err);
        if (s->quit || !s->entries[s->wanted].waiting)
            return rz_fail(err, RZ_ECANCELLED, s->entries[i].name, "nobody waits for it any more");
        if (rz_keeper_now() - begin >= PATIENCE_NS)
            send_away(s, victims, n);
        wait_until(s, begin + PATIENCE_NS > rz_keeper_now() ? begin + PATIENCE_NS : UINT64_MAX);
    }
}

/* --- loading --- */

/* The model is prepared: makes room and takes it. */
static int32_t take_memory(struct rz_served *s, uint32_t i, struct rz_model *model, struct rz_err *err)
{
    uint64_t bytes = rz_model_bytes(model);
    pthread_mutex_lock(&s->mutex);
    int32_t rc = find_room(s, i, bytes, err);
    let_stay(s);
    s->books[i].bytes = bytes;
    s->books[i].in = !rc;
    pthread_mutex_unlock(&s->mutex);
    if (!rc)
        rc = rz_model_finish(model, err);
    if (!rc)
        rc = rz_loop_start(model->loop, err);
    return rc;
}

static void loaded(struct rz_served *s, uint32_t i, struct rz_model *model, double seconds)
{
    struct rz_entry *e = &s->entries[i];
    e->model = model;
    e->failed = false;
    e->loads++;
    s->books[i].bytes = rz_model_bytes(model);
    s->books[i].used_ns = rz_keeper_now();
    learn(s, i, model);
    rz_log(RZ_LOG_INFO, "model %s: loaded in %.2f s: %.1f MiB; all models take %.1f MiB%s", e->name, seconds,
           MIB(s->books[i].bytes), MIB(rz_shelf_bytes(s->books, s->n)), s->budget ? "" : ", without a limit");
    rz_served_answer(s, i, NULL);
}

static void not_loaded(struct rz_served *s, uint32_t i, const struct rz_err *err)
{
    struct rz_entry *e = &s->entries[i];
    s->books[i].in = false;
    if (err->code != RZ_ECANCELLED) {
        e->failed = true;
        e->failures++;
        rz_log(RZ_LOG_WARN, "model %s: cannot be loaded: %s: %s", e->name, err->where, err->message);
    }
    rz_served_answer(s, i, err);
}

/* Its draft model stays as long as it does. */
static int32_t load_draft(struct rz_served *s, uint32_t i, struct rz_model **base, struct rz_err *err)
{
    int32_t d = s->entries[i].draft;
    *base = NULL;
    if (d < 0)
        return RZ_OK;
    int32_t rc = s->entries[d].model ? RZ_OK : rz_keeper_load(s, (uint32_t)d, err);
    if (rc)
        return rz_err_wrap(err, "draft_model");
    s->books[d].users++;
    *base = s->entries[d].model;
    return RZ_OK;
}

int32_t rz_keeper_load(struct rz_served *s, uint32_t i, struct rz_err *err)
{
    struct rz_entry *e = &s->entries[i];
    struct rz_model *model = NULL, *base;
    uint64_t begin = rz_keeper_now();
    e->loading = true;
    int32_t rc = load_draft(s, i, &base, err);
    bool holds = !rc && base;
    s->books[i].users++; /* ours: what is half loaded does not leave */
    pthread_mutex_unlock(&s->mutex);
    if (!rc)
        rc = prepare(s, i, base, &model, err);
    if (!rc)
        rc = take_memory(s, i, model, err);
    if (rc)
        rz_model_close(model);
    pthread_mutex_lock(&s->mutex);
    s->books[i].users--;
    e->loading = false;
    if (rc && holds)
        s->books[e->draft].users--;
    if (rc)
        not_loaded(s, i, err);
    else
        loaded(s, i, model, (double)(rz_keeper_now() - begin) * 1e-9);
    return rc;
}

/* --- the thread --- */

/* The first model that somebody waits for; -1: none. */
static int32_t wanted(const struct rz_served *s)
{
    for (const struct rz_wait *w = s->waits; w; w = w->next)
        if (w->state == RZ_WAIT_YET)
            return (int32_t)w->entry;
    return -1;
}

static void load_wanted(struct rz_served *s, uint32_t i)
{
    struct rz_err err = RZ_ERR_INIT;
    s->wanted = i;
    rz_keeper_load(s, i, &err);
}

static void *keeper_main(void *arg)
{
    struct rz_served *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (!s->quit) {
        uint64_t next;
        int32_t load = wanted(s), out = rz_shelf_expired(s->books, s->n, rz_keeper_now(), &next);
        if (load >= 0 && s->entries[load].model)
            rz_served_answer(s, (uint32_t)load, NULL);
        else if (load >= 0)
            load_wanted(s, (uint32_t)load);
        else if (out >= 0)
            unload(s, (uint32_t)out, "nobody used it");
        else
            wait_until(s, next);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

int32_t rz_keeper_start(struct rz_served *s, struct rz_err *err)
{
    int rc = pthread_create(&s->thread, NULL, keeper_main, s);
    s->threaded = !rc;
    return rc ? rz_fail(err, RZ_ENOMEM, "serve", "cannot start the thread that loads models: %s",
                        strerror(rc))
              : RZ_OK;
}

/* served.c - rz_host_serve: what frontends ask about the models that are served, and how they take one.
 *
 * Everything here may be called from any thread. Whoever takes a model that is not there gets a ticket and is
 * woken by the keeper's thread, under the mutex: so after `leave` no wake can come.
 */
#include "served.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

static int32_t serve_find(void *ctx, const char *name, uint32_t *i)
{
    const struct rz_served *s = ctx;
    int32_t any = -1;
    *i = 0;
    if (!name)
        return s->n ? RZ_OK : RZ_ENOTFOUND;
    for (; *i < s->n; ++*i)
        if (!strcmp(name, s->entries[*i].name))
            return RZ_OK;
    for (*i = 0; *i < s->n; ++*i)
        for (uint32_t k = 0; k < s->entries[*i].n_aliases; k++) {
            if (!strcmp(name, s->entries[*i].aliases[k]))
                return RZ_OK;
            if (!strcmp("*", s->entries[*i].aliases[k]))
                any = (int32_t)*i;
        }
    *i = any < 0 ? 0 : (uint32_t)any;
    return any < 0 ? RZ_ENOTFOUND : RZ_OK;
}

static uint32_t state_of(const struct rz_entry *e)
{
    if (e->loading)
        return RZ_SERVED_LOADING;
    if (e->unloading || e->leaving)
        return RZ_SERVED_LEAVING;
    return e->model ? RZ_SERVED_IN : e->waiting ? RZ_SERVED_LOADING : RZ_SERVED_OUT;
}

static int32_t serve_info(void *ctx, uint32_t i, struct rz_served_info *out)
{
    struct rz_served *s = ctx;
    if (i >= s->n || !out || out->size < sizeof(*out))
        return RZ_EINVAL;
    const struct rz_entry *e = &s->entries[i];
    uint32_t size = out->size;
    pthread_mutex_lock(&s->mutex);
    *out = (struct rz_served_info){.size = size,
                                   .state = state_of(e),
                                   .users = s->books[i].users,
                                   .waiting = e->waiting,
                                   .n_aliases = e->n_aliases,
                                   .failed = e->failed,
                                   .name = e->name,
                                   .aliases = e->aliases,
                                   .bytes = s->books[i].bytes,
                                   .loads = e->loads,
                                   .unloads = e->unloads,
                                   .failures = e->failures};
    pthread_mutex_unlock(&s->mutex);
    return RZ_OK;
}

static int32_t serve_facts(void *ctx, uint32_t i, struct rz_model_info *model,
                           struct rz_tokenizer_info *vocab)
{
    struct rz_served *s = ctx;
    if (i >= s->n || model->size < sizeof(*model) || vocab->size < sizeof(*vocab))
        return RZ_EINVAL;
    const struct rz_entry *e = &s->entries[i];
    uint32_t sizes[] = {model->size, vocab->size};
    pthread_mutex_lock(&s->mutex);
    bool known = e->known;
    *model = e->info;
    *vocab = e->vocab;
    pthread_mutex_unlock(&s->mutex);
    model->size = sizes[0];
    vocab->size = sizes[1];
    return known ? RZ_OK : RZ_ENOTFOUND;
}

static int32_t serve_sampling(void *ctx, uint32_t i, struct rz_sampling *out)
{
    const struct rz_served *s = ctx;
    if (i >= s->n)
        return RZ_EINVAL;
    rz_models_sampling(s->models, out);
    return RZ_OK;
}

/* --- numbers --- */

void rz_served_count(struct rz_engine_stats *sum, const struct rz_engine_stats *add)
{
    sum->steps += add->steps;
    sum->prompt_tokens += add->prompt_tokens;
    sum->new_tokens += add->new_tokens;
    sum->requests += add->requests;
    sum->cancelled += add->cancelled;
    sum->failed += add->failed;
    sum->preempted += add->preempted;
    sum->drafted += add->drafted;
    sum->accepted += add->accepted;
    sum->cache_queries += add->cache_queries;
    sum->cache_hits += add->cache_hits;
    sum->cache_evictions += add->cache_evictions;
    sum->timeouts += add->timeouts;
    sum->refused += add->refused;
}

static int32_t serve_stats(void *ctx, uint32_t i, struct rz_engine_stats *out)
{
    struct rz_served *s = ctx;
    if (i >= s->n || !out || out->size < sizeof(*out))
        return RZ_EINVAL;
    uint32_t size = out->size;
    *out = (struct rz_engine_stats){.size = size};
    pthread_mutex_lock(&s->mutex);
    const struct rz_entry *e = &s->entries[i];
    const struct rz_engine *engine = e->model ? rz_loop_table(e->model->loop) : NULL;
    int32_t rc = engine ? engine->stats(engine->ctx, out) : RZ_OK;
    rz_served_count(out, &e->past);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int32_t serve_device(void *ctx, uint32_t i, uint32_t k, struct rz_engine_device *out)
{
    struct rz_served *s = ctx;
    if (i >= s->n)
        return RZ_EINVAL;
    pthread_mutex_lock(&s->mutex);
    const struct rz_model *model = s->entries[i].model;
    const struct rz_engine *engine = model ? rz_loop_table(model->loop) : NULL;
    int32_t rc = engine ? engine->device(engine->ctx, k, out) : RZ_END;
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* --- taking a model --- */

static void use(struct rz_served *s, uint32_t i)
{
    s->books[i].users++;
    s->books[i].used_ns = rz_keeper_now();
}

static int32_t queue_up(struct rz_served *s, uint32_t i, void (*wake)(void *arg), void *arg, uint64_t *ticket,
                        struct rz_err *err)
{
    struct rz_entry *e = &s->entries[i];
    if (s->quit)
        return rz_fail(err, RZ_EBUSY, e->name, "the server ends and loads no models");
    if (e->waiting >= s->max_waiting)
        return rz_fail(err, RZ_EBUSY, e->name, "%u requests wait for the model already", e->waiting);
    struct rz_wait *w = calloc(1, sizeof(*w)), **at = &s->waits;
    if (!w)
        return rz_fail(err, RZ_ENOMEM, e->name, "no memory");
    *w = (struct rz_wait){
        .ticket = ++s->last_ticket, .entry = i, .wake = wake, .arg = arg, .err = RZ_ERR_INIT};
    while (*at)
        at = &(*at)->next;
    *at = w;
    e->waiting++;
    *ticket = w->ticket;
    pthread_cond_broadcast(&s->changed);
    return RZ_AGAIN;
}

static int32_t serve_take(void *ctx, uint32_t i, void (*wake)(void *arg), void *arg, struct rz_model **out,
                          uint64_t *ticket, struct rz_err *err)
{
    struct rz_served *s = ctx;
    *out = NULL;
    *ticket = 0;
    if (i >= s->n)
        return rz_fail(err, RZ_EINVAL, "model", "there is no model %u", i);
    int32_t rc = RZ_OK;
    pthread_mutex_lock(&s->mutex);
    struct rz_entry *e = &s->entries[i];
    if (e->model && !e->leaving) {
        use(s, i);
        *out = e->model;
    } else {
        rc = queue_up(s, i, wake, arg, ticket, err);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

void rz_served_answer(struct rz_served *s, uint32_t i, const struct rz_err *failure)
{
    for (struct rz_wait *w = s->waits; w; w = w->next) {
        if (w->entry != i || w->state != RZ_WAIT_YET)
            continue;
        w->state = failure ? RZ_WAIT_FAILED : RZ_WAIT_GRANTED;
        if (failure)
            w->err = *failure;
        else
            use(s, i);
        s->entries[i].waiting--;
        w->wake(w->arg);
    }
}

static struct rz_wait **find_wait(struct rz_served *s, uint64_t ticket)
{
    struct rz_wait **at = &s->waits;
    while (*at && (*at)->ticket != ticket)
        at = &(*at)->next;
    return at;
}

static void forget_wait(struct rz_wait **at)
{
    struct rz_wait *w = *at;
    *at = w->next;
    free(w);
}

static int32_t serve_claim(void *ctx, uint64_t ticket, struct rz_model **out, struct rz_err *err)
{
    struct rz_served *s = ctx;
    int32_t rc = RZ_AGAIN;
    *out = NULL;
    pthread_mutex_lock(&s->mutex);
    struct rz_wait **at = find_wait(s, ticket), *w = *at;
    if (!w) {
        rc = rz_fail(err, RZ_ENOTFOUND, "model", "nobody waits with ticket %llu", (unsigned long long)ticket);
    } else if (w->state == RZ_WAIT_GRANTED) {
        *out = s->entries[w->entry].model;
        rc = RZ_OK;
    } else if (w->state == RZ_WAIT_FAILED) {
        rc = w->err.code;
        if (err)
            *err = w->err;
    }
    if (w && rc != RZ_AGAIN)
        forget_wait(at);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

/* The caller holds the mutex. */
static void stop_using(struct rz_served *s, uint32_t i)
{
    if (s->books[i].users)
        s->books[i].users--;
    s->books[i].used_ns = rz_keeper_now();
    pthread_cond_broadcast(&s->changed);
}

static void serve_leave(void *ctx, uint64_t ticket)
{
    struct rz_served *s = ctx;
    pthread_mutex_lock(&s->mutex);
    struct rz_wait **at = find_wait(s, ticket), *w = *at;
    if (w && w->state == RZ_WAIT_GRANTED)
        stop_using(s, w->entry);
    else if (w && w->state == RZ_WAIT_YET)
        s->entries[w->entry].waiting--;
    if (w)
        forget_wait(at);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static void serve_give_back(void *ctx, uint32_t i)
{
    struct rz_served *s = ctx;
    if (i >= s->n)
        return;
    pthread_mutex_lock(&s->mutex);
    stop_using(s, i);
    pthread_mutex_unlock(&s->mutex);
}

const struct rz_host_serve *rz_served_table(struct rz_served *s)
{
    return &s->table;
}

void rz_served_fill(struct rz_served *s)
{
    s->table = (struct rz_host_serve){.size = sizeof(s->table),
                                      .ctx = s,
                                      .n = s->n,
                                      .memory = s->budget,
                                      .find = serve_find,
                                      .info = serve_info,
                                      .facts = serve_facts,
                                      .sampling = serve_sampling,
                                      .stats = serve_stats,
                                      .take = serve_take,
                                      .claim = serve_claim,
                                      .leave = serve_leave,
                                      .give_back = serve_give_back,
                                      .device = serve_device};
}

/* served_open.c - which models `rz serve` has: from the configuration to a list whose first ones are loaded.
 *
 * What cannot work is an error here: two models of one name, draft models that need each other, models that
 * never fit into the memory. A model that is only loaded on use may be out of order now: that is a warning.
 */
#include "served.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S ((int64_t)1000000000)
#define MIB(bytes) ((double)(bytes) / 1048576)

/* --- the list --- */

static int32_t add_aliases(struct rz_served *s, struct rz_entry *e, const char *list, struct rz_err *err)
{
    char *rest = list ? rz_arena_strdup(&s->arena, list) : NULL;
    if (!rest)
        return list ? rz_fail(err, RZ_ENOMEM, e->name, "no memory") : RZ_OK;
    e->aliases = rz_arena_array(&s->arena, strlen(list) + 1, sizeof(*e->aliases));
    if (!e->aliases)
        return rz_fail(err, RZ_ENOMEM, e->name, "no memory");
    for (char *word; (word = strsep(&rest, ","));)
        if (word[0])
            e->aliases[e->n_aliases++] = word;
    return RZ_OK;
}

static int64_t keep_ns(const struct rz_models *m, const char *section)
{
    const struct rz_option_value *v = section ? rz_settings_get(m->settings, section, "keep_alive") : NULL;
    if (!v || !v->text)
        v = rz_settings_get(m->settings, "engine", "keep_alive");
    return v->i < 0 ? -1 : v->i * NS_PER_S;
}

static int32_t add(struct rz_served *s, const char *name, struct rz_err *err)
{
    struct rz_entry *e = &s->entries[s->n];
    const struct rz_models *m = s->models;
    if (s->n == RZ_SHELF_MAX)
        return rz_fail(err, RZ_ELIMIT, "serve", "more than %d models", RZ_SHELF_MAX);
    int32_t rc = rz_models_find(m, name, &e->found, err);
    if (rc)
        return rc;
    const char *section = e->found.section;
    /* What was found points into itself or into the caller's text. */
    e->found.section = section ? e->found.text : NULL;
    e->found.name = section ? e->found.text + strlen("model.") : e->found.text;
    e->found.path = rz_arena_strdup(&s->arena, e->found.path);
    e->name = e->found.name;
    e->at_start = !section || strcmp(rz_settings_get(m->settings, section, "load")->text, "use") != 0;
    e->draft = -1;
    s->books[s->n] = (struct rz_book){.keep_ns = keep_ns(m, section)};
    s->n++;
    if (!e->found.path)
        return rz_fail(err, RZ_ENOMEM, name, "no memory");
    return section ? add_aliases(s, e, rz_settings_get(m->settings, section, "aliases")->text, err) : RZ_OK;
}

static int32_t add_all(struct rz_served *s, const char *name, struct rz_err *err)
{
    const char *section;
    int32_t rc = RZ_OK;
    if (name)
        return add(s, name, err);
    for (uint32_t i = 0; !rc && (section = rz_settings_section(s->models->settings, "model.", i)); i++)
        rc = add(s, section + strlen("model."), err);
    if (!rc && !s->n)
        rc =
            rz_fail(err, RZ_ECONFIG, "serve", "no model: use -m FILE, or a section [model.NAME] with a path");
    return rc;
}

static bool has_name(const struct rz_entry *e, const char *name)
{
    bool has = !strcmp(e->name, name);
    for (uint32_t k = 0; k < e->n_aliases; k++)
        has |= !strcmp(e->aliases[k], name);
    return has;
}

static int32_t check_names(const struct rz_served *s, struct rz_err *err)
{
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = 0; k < s->entries[i].n_aliases; k++)
            for (uint32_t o = 0; o < s->n; o++)
                if (o != i && has_name(&s->entries[o], s->entries[i].aliases[k]))
                    return rz_fail(err, RZ_ECONFIG, s->entries[i].found.section,
                                   "aliases: %.80s is a name of the model %s as well",
                                   s->entries[i].aliases[k], s->entries[o].name);
    return RZ_OK;
}

/* --- draft models that are served as well --- */

static int32_t link_drafts(struct rz_served *s, struct rz_err *err)
{
    struct rz_model_name draft;
    for (uint32_t i = 0; i < s->n; i++) {
        struct rz_entry *e = &s->entries[i];
        const char *section = rz_model_draft_section(s->models, e->found.section, &draft);
        for (uint32_t d = 0; section && d < s->n; d++)
            if (d != i && s->entries[d].found.section && !strcmp(s->entries[d].found.section, section))
                e->draft = (int32_t)d;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t steps = 0;
        for (int32_t d = s->entries[i].draft; d >= 0 && steps <= s->n; d = s->entries[d].draft)
            steps++;
        if (steps > s->n)
            return rz_fail(err, RZ_ECONFIG, s->entries[i].found.section,
                           "draft_model: these models guess for each other, so none can be loaded first");
    }
    return RZ_OK;
}

/* --- sizes --- */

static uint64_t bytes_with_drafts(const struct rz_served *s, uint32_t i)
{
    uint64_t bytes = s->books[i].bytes;
    for (int32_t d = s->entries[i].draft; d >= 0; d = s->entries[d].draft)
        bytes += s->books[d].bytes;
    return bytes;
}

static int32_t survey_all(struct rz_served *s, struct rz_err *err)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct rz_err why = RZ_ERR_INIT;
        struct rz_entry *e = &s->entries[i];
        if (!s->budget && e->at_start) /* it is about to be loaded, whatever it takes */
            continue;
        int32_t rc = rz_keeper_survey(s, i, &why);
        if (rc && (e->at_start || rc == RZ_ECONFIG)) {
            *err = why;
            return rc;
        }
        e->failed = rc != RZ_OK;
        if (rc)
            rz_log(RZ_LOG_WARN, "model %s: cannot be loaded as it is now: %s: %s", e->name, why.where,
                   why.message);
        else
            rz_log(RZ_LOG_INFO, "model %s: takes %.1f MiB%s", e->name, MIB(s->books[i].bytes),
                   e->at_start ? "" : " once it is used");
    }
    return RZ_OK;
}

static int32_t check_budget(const struct rz_served *s, struct rz_err *err)
{
    const struct rz_option_value *v = rz_settings_get(s->models->settings, "engine", "memory");
    uint64_t sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; s->budget && i < s->n; i++) {
        uint64_t bytes = bytes_with_drafts(s, i);
        sum += s->entries[i].at_start ? s->books[i].bytes : 0;
        n += s->entries[i].at_start;
        if (bytes > s->budget)
            return rz_fail(
                err, RZ_ECONFIG, v->from,
                "memory: the model %s%s takes %.1f MiB, and all may take %.1f MiB (a smaller context, "
                "max_seqs or kv_pages in [engine] makes it smaller)",
                s->entries[i].name, s->entries[i].draft < 0 ? "" : " with its draft model", MIB(bytes),
                MIB(s->budget));
    }
    if (sum > s->budget && s->budget)
        return rz_fail(
            err, RZ_ECONFIG, v->from,
            "memory: the %u models that are loaded at the start take %.1f MiB, and all may take %.1f MiB "
            "(load = use loads a model when it is asked for)",
            n, MIB(sum), MIB(s->budget));
    return RZ_OK;
}

/* --- life --- */

static int32_t load_first(struct rz_served *s, struct rz_err *err)
{
    int32_t rc = RZ_OK;
    pthread_mutex_lock(&s->mutex);
    for (uint32_t i = 0; i < s->n && !rc; i++)
        if (s->entries[i].at_start && !s->entries[i].model)
            rc = rz_keeper_load(s, i, err);
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int32_t open_all(struct rz_served *s, const char *name, struct rz_err *err)
{
    int32_t rc = add_all(s, name, err);
    if (!rc)
        rc = check_names(s, err);
    if (!rc)
        rc = link_drafts(s, err);
    if (!rc)
        rc = survey_all(s, err);
    if (!rc)
        rc = check_budget(s, err);
    if (!rc)
        rc = load_first(s, err);
    rz_served_fill(s);
    return rc ? rc : rz_keeper_start(s, err);
}

int32_t rz_served_open(struct rz_models *m, const char *name, struct rz_served **out, struct rz_err *err)
{
    pthread_condattr_t monotonic;
    struct rz_served *s = calloc(1, sizeof(*s));
    if (!s)
        return rz_fail(err, RZ_ENOMEM, "serve", "no memory");
    s->models = m;
    s->budget = (uint64_t)rz_settings_get(m->settings, "engine", "memory")->i;
    s->max_waiting = (uint32_t)rz_settings_get(m->settings, "engine", "max_queue")->i;
    rz_arena_init(&s->arena, 0);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int32_t rc = open_all(s, name, err);
    if (rc)
        rz_served_free(s);
    else
        *out = s;
    return rc;
}

void rz_served_stop(struct rz_served *s, uint32_t drain_ms)
{
    struct rz_err why = RZ_ERR_INIT;
    pthread_mutex_lock(&s->mutex);
    s->quit = true;
    s->models->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    if (s->threaded)
        pthread_join(s->thread, NULL);
    s->threaded = false;
    rz_fail(&why, RZ_ECANCELLED, "serve", "the server ends");
    pthread_mutex_lock(&s->mutex);
    for (uint32_t i = 0; i < s->n; i++)
        rz_served_answer(s, i, &why);
    pthread_mutex_unlock(&s->mutex);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->entries[i].model)
            rz_loop_stop(s->entries[i].model->loop, drain_ms);
}

/* Does another loaded model guess with this one? */
static bool needed(const struct rz_served *s, uint32_t i)
{
    for (uint32_t o = 0; o < s->n; o++)
        if (s->entries[o].model && s->entries[o].draft == (int32_t)i)
            return true;
    return false;
}

void rz_served_free(struct rz_served *s)
{
    if (!s)
        return;
    rz_served_stop(s, 0);
    for (uint32_t round = 0; round < s->n; round++)
        for (uint32_t i = 0; i < s->n; i++)
            if (s->entries[i].model && !needed(s, i)) {
                rz_model_close(s->entries[i].model);
                s->entries[i].model = NULL;
            }
    for (struct rz_wait *w; (w = s->waits);) {
        s->waits = w->next;
        free(w);
    }
    rz_arena_free(&s->arena);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

/* devices.c - what models compute on: the thread pool and merged kernel tables that all share, and which
 * device runs a model. A device comes from a plugin or is the CPU; nothing after this file asks which.
 */
#include "models.h"

#include "access.h"
#include "err.h"
#include "header.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- the pool and the kernel tables --- */

static bool was_named(const struct rz_registry *r, const char *name)
{
    for (uint32_t i = 0; i < rz_registry_count(r); i++)
        if (!strcmp(rz_registry_at(r, i)->header.name, name))
            return rz_registry_at(r, i)->explicit_;
    return false;
}

/* The plugin's file (the program itself for what is linked in), so that another build is another text. */
static char *build_of(const struct rz_registry *r, const char *name)
{
    const char *path = "/proc/self/exe", *version = "";
    struct rz_buf text;
    struct stat st;
    for (uint32_t i = 0; i < rz_registry_count(r); i++)
        if (!strcmp(rz_registry_at(r, i)->header.name, name)) {
            path = rz_registry_at(r, i)->path ? rz_registry_at(r, i)->path : path;
            version = rz_registry_at(r, i)->header.version;
            break;
        }
    if (stat(path, &st))
        return NULL;
    rz_buf_init(&text, 1024);
    rz_buf_printf(&text, "%s %s (%llu:%llu, %lld bytes, %lld.%09ld)", name, version,
                  (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
                  (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return rz_buf_take(&text);
}

int32_t rz_models_team(struct rz_models *m, struct rz_err *err)
{
    if (m->pool)
        return RZ_OK;
    int32_t status = rz_pool_new(m->n_threads, &m->pool, err);
    if (!status)
        rz_host_provide(RZ_HOST_THREADS_1, rz_pool_table(m->pool));
    return status;
}

int32_t rz_models_compute(struct rz_models *m, struct rz_err *err)
{
    uint32_t at = 0;
    void *self;
    const char *name;
    const struct rz_kernels *k;
    if (m->tables)
        return rz_models_team(m, err);
    m->n_tables = 0;
    m->tables = calloc(rz_registry_count(m->registry) + 1, sizeof(*m->tables));
    if (!m->tables)
        return rz_fail(err, RZ_ENOMEM, "kernels", "no memory");
    while ((k = rz_registry_next(m->registry, "kernels", RZ_KERNELS_1, &at, &self, &name, err)))
        m->tables[m->n_tables++] = (struct rz_cpu_table){.kernels = k,
                                                         .name = name,
                                                         .named = was_named(m->registry, name),
                                                         .build = build_of(m->registry, name)};
    if (!err->code && !m->n_tables)
        rz_fail(err, RZ_ECONFIG, "kernels", "no kernel plugin is loaded");
    if (err->code) {
        rz_models_forget_tables(m);
        return err->code;
    }
    return rz_models_team(m, err);
}

void rz_models_forget_tables(struct rz_models *m)
{
    for (uint32_t i = 0; i < m->n_tables && m->tables; i++)
        free((char *)(uintptr_t)m->tables[i].build);
    free(m->tables);
    m->tables = NULL;
    m->n_tables = 0;
}

/* --- the CPU --- */

static void forget_weight(void *ctx, const void *from, uint64_t bytes)
{
    rz_source_forget(&((struct rz_model *)ctx)->set, from, bytes);
}

/* The cache's part of the setup; *source lives as long as the device. */
static int32_t choose_cache(struct rz_models *m, struct rz_model *model, struct rz_cache_setup *out,
                            struct rz_err *err)
{
    const struct rz_option_value *dir = rz_settings_get(m->settings, "engine", "repack_cache");
    if (!strcmp(dir->text, "off"))
        return RZ_OK;
    struct rz_buf source;
    rz_buf_init(&source, 1 << 20);
    rz_source_identity(&model->set, &source);
    model->identity = rz_buf_take(&source);
    if (!model->identity)
        return rz_fail(err, RZ_ENOMEM, model->path, "no memory");
    *out = (struct rz_cache_setup){
        .dir = dir->text,
        .max_bytes = (uint64_t)rz_settings_get(m->settings, "engine", "repack_cache_size")->i,
        .verify = rz_settings_get(m->settings, "engine", "repack_verify")->i,
        .source = model->identity};
    return RZ_OK;
}

static void show_input(void *ctx, const struct rz_str *weight, const struct rz_view *x)
{
    const struct rz_eval *e = ((struct rz_model *)ctx)->observer;
    if (e && e->input)
        e->input(e->arg, weight, x->data, x->stride, x->rows, x->width);
}

/* The program ends while a model is loaded. */
static bool must_stop(void *ctx)
{
    return atomic_load(&((struct rz_model *)ctx)->owner->stop);
}

static void warn_user(void *ctx, const char *text)
{
    (void)ctx;
    rz_log(RZ_LOG_WARN, "%s", text);
}

static int32_t open_cpu(struct rz_models *m, struct rz_model *model, const struct rz_model_options *o,
                        const struct rz_device **out, struct rz_err *err)
{
    int32_t status = model->cpu ? RZ_OK : rz_models_compute(m, err);
    if (status)
        return status;
    if (model->cpu) {
        *out = rz_cpu_device(model->cpu);
        return RZ_OK;
    }
    struct rz_cpu_setup setup = {.tables = m->tables,
                                 .n_tables = m->n_tables,
                                 .fallback = (int32_t)rz_settings_get(m->settings, "rz", "fallback")->i,
                                 .pool = m->pool,
                                 .forget = forget_weight,
                                 .warn = warn_user,
                                 .stop = must_stop,
                                 .observe = o->observe ? show_input : NULL,
                                 .ctx = model};
    status = choose_cache(m, model, &setup.cache, err);
    if (!status)
        status = rz_cpu_new(&setup, &model->cpu, err);
    if (!status)
        *out = rz_cpu_device(model->cpu);
    return status;
}

/* --- devices of plugins --- */

/* What follows "device:" in a header; false: it provides none. */
static bool device_of(const struct rz_plugin_header *h, char *out, size_t cap)
{
    const char *at = rz_header_provides(h, "device") ? strstr(h->provides, "device:") : NULL;
    if (!at)
        return false;
    at += strlen("device:");
    size_t n = strcspn(at, " ");
    if (n >= cap)
        return false;
    memcpy(out, at, n);
    out[n] = 0;
    return true;
}

static bool is_out(const struct rz_models *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_out; i++)
        if (!strcmp(m->out[i], name))
            return true;
    return false;
}

void rz_models_take_out(struct rz_models *m, const char *name)
{
    if (!is_out(m, name) && m->n_out < RZ_DEVICES_OUT_MAX)
        snprintf(m->out[m->n_out++], sizeof(m->out[0]), "%s", name);
}

/* --plugin names it, or the model's section, or [engine]; behind them all comes the CPU. Returns who says so.
 * failed: devices that failed count as well. */
static const char *wanted_device(const struct rz_models *m, const char *section, bool failed, char *out,
                                 size_t cap)
{
    for (uint32_t i = 0; i < rz_registry_count(m->registry); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(m->registry, i);
        if (e->flagged && device_of(&e->header, out, cap) && (failed || !is_out(m, out)))
            return "--plugin";
    }
    const struct rz_option_value *said[] = {
        section ? rz_settings_get(m->settings, section, "device") : NULL,
        rz_settings_get(m->settings, "engine", "device"),
    };
    for (uint32_t i = 0; i < 2; i++)
        if (said[i] && said[i]->text && (failed || !is_out(m, said[i]->text))) {
            snprintf(out, cap, "%s", said[i]->text);
            return said[i]->from;
        }
    snprintf(out, cap, "cpu");
    return "rz.fallback";
}

static int32_t open_plugin_device(struct rz_models *m, const char *name, const char *from,
                                  const struct rz_model_options *o, const struct rz_device **out,
                                  struct rz_err *err)
{
    char kind[96], where[256], *plugin = kind + strlen("device:"), *number;
    uint32_t at = 0, known;
    void *self;
    snprintf(where, sizeof(where), "%.240s: device", from);
    snprintf(kind, sizeof(kind), "device:%s", name);
    number = strchr(plugin, ':');
    if (number)
        *number++ = 0;
    const struct rz_device *d = rz_registry_next(m->registry, kind, RZ_DEVICE_1, &at, &self, NULL, err);
    if (!d && !err->code && !rz_registry_find(m->registry, plugin, where, &known, err))
        rz_fail(err, RZ_ECONFIG, where, "the plugin \"%s\" has no device, or was refused (rz plugin list)",
                plugin);
    if (!d)
        return err->code;
    if (rz_models_numbered(m, d, name, number, &d, err))
        return err->code;
    if (o->observe)
        return rz_fail(err, RZ_EUNSUPPORTED, name,
                       "does not show the inputs of its matrices: use the CPU here");
    int32_t status = d->open(d->ctx, err);
    *out = d;
    return status ? status : rz_models_team(m, err);
}

static int32_t open_device(struct rz_models *m, struct rz_model *model, const char *name, const char *from,
                           const struct rz_model_options *o, const struct rz_device **out, struct rz_err *err)
{
    if (!strcmp(name, "cpu"))
        return open_cpu(m, model, o, out, err);
    return open_plugin_device(m, name, from, o, out, err);
}

/* --- several devices --- */

static void drop_mixed(struct rz_model *model)
{
    rz_mixed_free(model->mixed);
    free(model->placed);
    model->mixed = NULL;
    model->placed = NULL;
}

/* What was asked for failed, and `name` takes its place: is that allowed? Says so. */
static int32_t check_out(const struct rz_models *m, const struct rz_model *model, const char *first,
                         const char *name, struct rz_err *err)
{
    if (!strcmp(first, name))
        return RZ_OK;
    if (rz_settings_get(m->settings, "rz", "fallback")->i == RZ_FALLBACK_DENY)
        return rz_fail(err, RZ_EDEVICE, first, "failed earlier, and is out (rz.fallback = deny)");
    if (!model->loop)
        rz_log(RZ_LOG_WARN, "%s: %s failed earlier, and is out: it runs on %s", model->name, first, name);
    return RZ_OK;
}

/* Layers of devices that failed go to those that had them together with it; where there are none, to the next
 * one that was asked for, or the CPU. */
static int32_t replace_out(const struct rz_models *m, const struct rz_model *model,
                           struct rz_placement *place, const char *next, struct rz_err *err)
{
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < place->n_names && !status; i++) {
        const char *names = place->names[i];
        char name[64], left[64] = "";
        bool out = false;
        while (rz_placement_member(&names, name)) {
            out |= is_out(m, name);
            if (!is_out(m, name))
                snprintf(left, sizeof(left), "%s", name);
        }
        if (out && *left)
            status = check_out(m, model, place->names[i], left, err);
        if (!out || *left)
            continue;
        status = check_out(m, model, place->names[i], next, err);
        if (!status && !rz_placement_replace(place, &model->graph->program, i, next))
            status = rz_fail(err, RZ_ECONFIG, place->names[i], "failed, and there are too many devices");
    }
    return status;
}

/* That of the model's own section; that of [engine] unless the model names a device of its own. */
static const char *said(const struct rz_models *m, const char *section, const char *key, const char **from)
{
    const struct rz_option_value *v = section ? rz_settings_get(m->settings, section, key) : NULL;
    const struct rz_option_value *own = section ? rz_settings_get(m->settings, section, "device") : NULL;
    if ((!v || !v->text) && (!own || !own->text))
        v = rz_settings_get(m->settings, "engine", key);
    if (!v || !v->text || !*v->text)
        return NULL;
    *from = v->from ? v->from : key;
    return v->text;
}

/* A device that --plugin names must be among those that the settings name. */
static int32_t check_flagged(const struct rz_models *m, const struct rz_placement *place,
                             const struct rz_placement_text *text, struct rz_err *err)
{
    char name[64];
    for (uint32_t i = 0; i < rz_registry_count(m->registry); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(m->registry, i);
        bool found = !e->flagged || !device_of(&e->header, name, sizeof(name));
        for (uint32_t k = 0; k < place->n_names && !found; k++) {
            const char *names = place->names[k];
            char one[64];
            while (!found && rz_placement_member(&names, one))
                found = !strncmp(one, name, strlen(name)) && (!one[strlen(name)] || one[strlen(name)] == ':');
        }
        if (!found)
            return rz_fail(err, RZ_ECONFIG, text->layers ? text->from_layers : text->from_experts,
                           "nothing runs on %s, which --plugin names", name);
    }
    return RZ_OK;
}

/* Devices to choose from: those of --plugin and the CPU; without --plugin all that there are. One that does
 * not open is left out, and said. */
static int32_t open_candidates(struct rz_models *m, struct rz_model *model, struct rz_placement *place,
                               const struct rz_model_options *o, const struct rz_device **devices,
                               struct rz_buf *lines, struct rz_err *err)
{
    uint32_t flagged = 0;
    char name[64];
    for (uint32_t i = 0; i < rz_registry_count(m->registry); i++)
        flagged += rz_registry_at(m->registry, i)->flagged &&
                   device_of(&rz_registry_at(m->registry, i)->header, name, sizeof(name));
    for (uint32_t i = 0; i < rz_registry_count(m->registry); i++) {
        const struct rz_plugin_entry *e = rz_registry_at(m->registry, i);
        const struct rz_device *d;
        if ((flagged && !e->flagged) || e->state == RZ_PLUGIN_REFUSED ||
            !device_of(&e->header, name, sizeof(name)) || is_out(m, name))
            continue;
        if (!open_plugin_device(m, name, "layers", o, &d, err)) {
            int32_t at = rz_placement_name(place, name, strlen(name));
            if (at >= 0)
                devices[at] = d;
            continue;
        }
        if (e->flagged)
            return err->code;
        rz_buf_printf(lines, "auto: %s: not used: %.300s\n", name, err->message);
        *err = (struct rz_err)RZ_ERR_INIT;
    }
    int32_t at = rz_placement_name(place, "cpu", 3);
    return at < 0 ? RZ_OK : open_cpu(m, model, o, &devices[at], err);
}

static int32_t place_auto(struct rz_models *m, struct rz_model *model, struct rz_placement *place,
                          const struct rz_model_options *o, const struct rz_device **devices,
                          struct rz_err *err)
{
    struct rz_buf lines;
    rz_buf_init(&lines, 1 << 16);
    int32_t status = open_candidates(m, model, place, o, devices, &lines, err);
    struct rz_auto_setup setup = {
        .program = &model->graph->program, .devices = devices, .limits = model->limits};
    if (setup.limits.kv_type == RZ_TYPE_NONE)
        setup.limits.kv_type = RZ_TYPE_F16;
    if (!status)
        status = rz_placement_choose(&setup, place, &lines, err);
    model->placed = rz_buf_take(&lines);
    return status;
}

/* The open devices of all places. */
struct members {
    const struct rz_device *devices[RZ_MIXED_MAX];
    char names[RZ_MIXED_MAX][64];
    uint16_t places[RZ_MIXED_MAX]; /* masks of them */
    uint32_t n;
};

static int32_t open_member(struct rz_models *m, struct rz_model *model, const char *name, const char *from,
                           const struct rz_model_options *o, struct members *to, uint32_t *at,
                           struct rz_err *err)
{
    for (*at = 0; *at < to->n; ++*at)
        if (!strcmp(to->names[*at], name))
            return RZ_OK;
    if (to->n == RZ_MIXED_MAX)
        return rz_fail(err, RZ_ECONFIG, from, "more than %d devices", RZ_MIXED_MAX);
    snprintf(to->names[to->n], sizeof(to->names[0]), "%s", name);
    snprintf(model->device_name, sizeof(model->device_name), "%s", name);
    return open_device(m, model, name, from, o, &to->devices[to->n++], err);
}

/* The devices of a place, those that failed left out. */
static int32_t open_place(struct rz_models *m, struct rz_model *model, const char *names, const char *from,
                          const struct rz_model_options *o, struct members *to, uint16_t *mask,
                          struct rz_err *err)
{
    char name[64];
    const char *rest = names;
    uint32_t at;
    while (rz_placement_member(&rest, name)) {
        if (is_out(m, name))
            continue;
        if (open_member(m, model, name, from, o, to, &at, err))
            return err->code;
        for (uint32_t k = 0; k < to->n; k++)
            if (*mask >> k & 1 && to->devices[k]->ctx == to->devices[at]->ctx)
                return rz_fail(err, RZ_ECONFIG, from, "%s: %s is the same device as %s", names, name,
                               to->names[k]);
        *mask |= (uint16_t)(1u << at);
    }
    return RZ_OK;
}

/* The device of all layers, or one made of several. */
static int32_t join(struct rz_model *model, const struct rz_placement *place, const struct members *from,
                    struct rz_err *err)
{
    const struct rz_program *p = &model->graph->program;
    const struct rz_device *devices[RZ_MIXED_MAX] = {NULL};
    bool one = true, wide = false;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        uint16_t mask = from->places[place->of[i]];
        one &= place->of[i] == place->of[0];
        wide |= mask & (mask - 1);
    }
    for (uint32_t i = 0; i < place->n_names; i++)
        if (from->places[i])
            devices[i] = from->devices[__builtin_ctz(from->places[i])];
    if (one && !wide) {
        model->device = devices[place->of[0]];
        snprintf(model->device_name, sizeof(model->device_name), "%s",
                 from->names[__builtin_ctz(from->places[place->of[0]])]);
        return RZ_OK;
    }
    struct rz_mixed_setup setup = {.program = p,
                                   .devices = wide ? from->devices : devices,
                                   .of = place->of,
                                   .places = wide ? from->places : NULL,
                                   .forget = forget_weight,
                                   .ctx = model};
    int32_t status = rz_mixed_new(&setup, &model->mixed, err);
    if (status)
        return status;
    model->device = rz_mixed_device(model->mixed);
    const char *told = rz_mixed_told(model->mixed);
    if (told && !model->placed)
        model->placed = strdup(told);
    return RZ_OK;
}

static bool is_joined(const struct rz_placement *place)
{
    for (uint32_t i = 0; i < place->n_names; i++)
        if (strchr(place->names[i], '+'))
            return true;
    return false;
}

/* What auto chose among: each place is a device. */
static int32_t choose(struct rz_models *m, struct rz_model *model, struct rz_placement *place,
                      const struct rz_model_options *o, const char *from, struct members *all,
                      struct rz_err *err)
{
    if (is_joined(place))
        return rz_fail(err, RZ_ECONFIG, from, "auto: devices joined by + have no place beside it");
    int32_t status = place_auto(m, model, place, o, all->devices, err);
    for (uint32_t i = 0; i < place->n_names; i++) {
        all->places[i] = (uint16_t)(1u << i);
        snprintf(all->names[i], sizeof(all->names[0]), "%s", place->names[i]);
    }
    return status;
}

static int32_t open_several(struct rz_models *m, struct rz_model *model, const char *fallback,
                            const struct rz_placement_text *text, const struct rz_model_options *o,
                            struct rz_err *err)
{
    struct members all = {.n = 0};
    struct rz_placement_text fixed = *text;
    struct rz_placement place;
    const char *from = text->layers ? text->from_layers : text->from_experts;
    bool chosen = text->layers && !strcmp(text->layers, "auto");
    char next[sizeof(model->device_name)];
    snprintf(next, sizeof(next), "%s", model->device_name);
    if (chosen)
        fixed.layers = NULL;
    int32_t status = rz_placement_read(&fixed, chosen ? NULL : fallback, &model->graph->program, &place, err);
    if (status)
        return status;
    if (!chosen)
        status = check_flagged(m, &place, text, err);
    if (!status)
        status = replace_out(m, model, &place, next, err);
    for (uint32_t i = 0; i < place.n_names && !status; i++)
        status = open_place(m, model, place.names[i], from, o, &all, &all.places[i], err);
    if (!status && chosen)
        status = choose(m, model, &place, o, from, &all, err);
    if (!status)
        status = join(model, &place, &all, err);
    rz_placement_free(&place);
    return status;
}

int32_t rz_model_device(struct rz_models *m, struct rz_model *model, const char *section,
                        const struct rz_model_options *o, struct rz_err *err)
{
    char first[sizeof(model->device_name)], *name = model->device_name;
    struct rz_placement_text text = {0};
    const char *from = wanted_device(m, section, true, first, sizeof(first));
    from = wanted_device(m, section, false, name, sizeof(model->device_name));
    drop_mixed(model);
    text.layers = said(m, section, "layers", &text.from_layers);
    text.experts = said(m, section, "experts", &text.from_experts);
    if (text.layers || text.experts) {
        int32_t status = open_several(m, model, first, &text, o, err);
        if (status)
            rz_err_wrap(err, text.layers ? "layers" : "experts");
        return status;
    }
    int32_t status = check_out(m, model, first, name, err);
    return status ? status : open_device(m, model, name, from, o, &model->device, err);
}

void rz_model_forget_weights(struct rz_model *model)
{
    struct rz_plan_info info = {.size = sizeof(info)};
    const struct rz_program *p = &model->graph->program;
    if (model->device->info(model->plan, &info) || !(info.flags & RZ_PLAN_OWNS_WEIGHTS))
        return;
    for (uint32_t i = 0; i < p->n_weights; i++)
        rz_source_forget(&model->set, rz_weight_at(p, i)->data, rz_weight_at(p, i)->bytes);
}

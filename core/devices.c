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
                        struct rz_err *err)
{
    int32_t status = rz_models_compute(m, err);
    if (status || model->cpu)
        return status;
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
        model->device = rz_cpu_device(model->cpu);
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

/* Reads a device's name; false: it failed, and those are not wanted. */
static bool take_name(const struct rz_models *m, const char *name, bool failed, char *out, size_t cap)
{
    snprintf(out, cap, "%s", name);
    return failed || !is_out(m, name);
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
    const struct rz_option_value *v = section ? rz_settings_get(m->settings, section, "device") : NULL;
    if (v && v->text && take_name(m, v->text, failed, out, cap))
        return v->from;
    v = rz_settings_get(m->settings, "engine", "device");
    if (take_name(m, v->text, failed, out, cap))
        return v->from;
    take_name(m, "cpu", failed, out, cap);
    return "rz.fallback";
}

static int32_t open_plugin_device(struct rz_models *m, struct rz_model *model, const char *name,
                                  const char *from, const struct rz_model_options *o, struct rz_err *err)
{
    char kind[96];
    uint32_t at = 0, known;
    void *self;
    snprintf(kind, sizeof(kind), "device:%s", name);
    model->device = rz_registry_next(m->registry, kind, RZ_DEVICE_1, &at, &self, NULL, err);
    if (!model->device && !err->code && !rz_registry_find(m->registry, name, &known, err))
        rz_fail(err, RZ_ECONFIG, from, "the plugin \"%s\" has no device, or was refused (rz plugin list)",
                name);
    if (!model->device)
        return rz_err_wrap(err, "device");
    if (o->observe)
        return rz_fail(err, RZ_EUNSUPPORTED, name,
                       "does not show the inputs of its matrices: use the CPU here");
    int32_t status = model->device->open(model->device->ctx, err);
    return status ? status : rz_models_team(m, err);
}

int32_t rz_model_device(struct rz_models *m, struct rz_model *model, const char *section,
                        const struct rz_model_options *o, struct rz_err *err)
{
    char first[sizeof(model->device_name)], *name = model->device_name;
    const char *from = wanted_device(m, section, true, first, sizeof(first));
    from = wanted_device(m, section, false, name, sizeof(model->device_name));
    if (strcmp(first, name) != 0 && rz_settings_get(m->settings, "rz", "fallback")->i == RZ_FALLBACK_DENY)
        return rz_fail(err, RZ_EDEVICE, first, "failed earlier, and is out (rz.fallback = deny)");
    if (strcmp(first, name) != 0 && !model->loop)
        rz_log(RZ_LOG_WARN, "%s: %s failed earlier, and is out: it runs on %s", model->name, first, name);
    if (!strcmp(name, "cpu"))
        return open_cpu(m, model, o, err);
    return open_plugin_device(m, model, name, from, o, err);
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

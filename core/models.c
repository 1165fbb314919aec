/* models.c - rz.host.model/1: names to models, and what frontends may ask of one.
 *
 * Owns the thread pool and the merged kernel tables. Everything is called from the control thread, which is
 * the main thread, and while models are served the one of keeper.c; loop threads touch only their engine.
 */
#include "models.h"
#include "served.h"

#include "err.h"
#include "nearest.h"
#include "numeric.h"
#include "transform.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* What a model without a section is called: its file's name without the ending; clients see it. */
static void name_of_file(const char *path, char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash && slash[1] ? slash + 1 : path;
    size_t n = strlen(base);
    if (n > 5 && !strcmp(base + n - 5, ".gguf"))
        n -= 5;
    rz_show(out, cap, base, n);
}

/* What is neither a configured name nor a file, and looks like a name, where there are names. */
static bool no_such_model(const struct rz_models *m, const char *name, struct rz_err *err)
{
    struct rz_nearest near;
    char hint[96];
    const char *section = rz_settings_section(m->settings, "model.", 0);
    if (!section || strchr(name, '/') || !access(name, F_OK))
        return false;
    rz_nearest_init(&near, name);
    for (uint32_t i = 0; (section = rz_settings_section(m->settings, "model.", i)); i++)
        rz_nearest_try(&near, section + strlen("model."));
    rz_fail(err, RZ_ENOTFOUND, name, "no such file, and no [model.%.64s] in the settings%s", name,
            rz_nearest_hint(&near, hint, sizeof(hint)));
    return true;
}

int32_t rz_models_find(const struct rz_models *m, const char *name, struct rz_model_name *out,
                       struct rz_err *err)
{
    const char *found = NULL;
    *out = (struct rz_model_name){.path = name};
    if (!name) {
        found = rz_settings_section(m->settings, "model.", 0);
        if (!found || rz_settings_section(m->settings, "model.", 1))
            return rz_fail(err, RZ_ECONFIG, "model",
                           found ? "several are configured: name one with -m" : "none is named: use -m FILE");
    } else {
        for (uint32_t i = 0; (found = rz_settings_section(m->settings, "model.", i)); i++)
            if (!strcmp(found + strlen("model."), name))
                break;
    }
    if (!found && no_such_model(m, name, err))
        return RZ_ENOTFOUND;
    if (!found) {
        name_of_file(name, out->text, sizeof(out->text));
        out->name = out->text;
        return RZ_OK;
    }
    if (strlen(found) >= sizeof(out->text))
        return rz_fail(err, RZ_ECONFIG, found, "the name is too long");
    memcpy(out->text, found, strlen(found) + 1);
    const struct rz_option_value *v = rz_settings_get(m->settings, out->text, "path");
    if (!v || !v->text)
        return rz_fail(err, RZ_ECONFIG, out->text, "has no path (the model's file)");
    out->path = v->text;
    out->section = out->text;
    out->name = out->text + strlen("model.");
    return RZ_OK;
}

static int32_t host_open(void *ctx, const char *name, const struct rz_model_options *options,
                         struct rz_model **out, struct rz_err *err)
{
    struct rz_models *m = ctx;
    struct rz_err own = RZ_ERR_INIT;
    struct rz_model_name found;
    err = err ? err : &own;
    *err = (struct rz_err)RZ_ERR_INIT;
    struct rz_model_guessing guessing = {0};
    *out = NULL;
    int32_t rc = rz_models_find(m, name, &found, err);
    if (!rc)
        rc = rz_model_prepare(m, &found, options, options->observe ? NULL : &guessing, out, err);
    if (!rc && (rc = rz_model_finish(*out, err))) {
        rz_model_close(*out);
        *out = NULL;
    }
    return rc;
}

static void host_close(struct rz_model *model)
{
    rz_model_close(model);
}

static uint64_t count_parameters(const struct rz_format_model *t, uint64_t *bytes)
{
    uint64_t n = 0;
    *bytes = 0;
    for (uint64_t i = 0; i < t->n_tensors; i++) {
        const struct rz_tensor *x = (const void *)((const char *)t->tensors + i * t->tensor_stride);
        n += x->dims[0] * x->dims[1] * x->dims[2] * x->dims[3];
        *bytes += x->bytes;
    }
    return n;
}

int32_t rz_models_kv_type(const struct rz_models *m)
{
    static const int32_t types[] = {RZ_TYPE_F32, RZ_TYPE_F16, RZ_TYPE_BF16, RZ_TYPE_Q8_0};
    const struct rz_option_value *v = rz_settings_get(m->settings, "engine", "kv_type");
    if (v && v->text && !strcasecmp(v->text, "fp8"))
        return RZ_TYPE_F8_E4M3;
    for (size_t i = 0; v && v->text && i < sizeof(types) / sizeof(types[0]); i++)
        if (!strcasecmp(v->text, rz_type_info(types[i])->name))
            return types[i];
    return RZ_TYPE_NONE;
}

/* auto is f16 until a plan says otherwise; both have the same size. */
static int32_t shown_kv_type(const struct rz_model *model)
{
    int32_t type = model->plan ? model->limits.kv_type : rz_models_kv_type(model->owner);
    return type == RZ_TYPE_NONE ? RZ_TYPE_F16 : type;
}

int32_t rz_model_info(struct rz_model *model, struct rz_model_info *out)
{
    const struct rz_hparams *h = &model->h;
    struct rz_model_info info = {.size = sizeof(info),
                                 .n_layer = h->n_layer,
                                 .n_embd = h->n_embd,
                                 .n_ff = h->n_ff,
                                 .n_head = h->n_head,
                                 .n_kv_head = h->n_kv_head,
                                 .head_dim = h->head_dim,
                                 .n_vocab = h->n_vocab,
                                 .n_ctx_train = h->n_ctx_train,
                                 .n_ctx = model->limits.max_context,
                                 .has_template =
                                     rz_meta_find(model->tables, "tokenizer.chat_template") != NULL,
                                 .kv_type = shown_kv_type(model),
                                 .arch = model->shown_arch,
                                 .name = model->shown_name,
                                 .path = model->path,
                                 .load_seconds = model->load_seconds};
    uint32_t size = out->size;
    info.n_params = count_parameters(model->tables, &info.weight_bytes);
    for (uint32_t i = 0; i < model->set.n; i++)
        info.file_bytes += model->set.sources[i].bytes;
    for (uint32_t i = 0; i < h->n_layer; i++)
        if (rz_layer_in(h->attends, i))
            info.kv_bytes_token += 2ull * h->n_kv_head * rz_kv_row_bytes(info.kv_type, h->head_dim);
    memcpy(out, &info, size < sizeof(info) ? size : sizeof(info));
    out->size = size;
    return RZ_OK;
}

static const struct rz_format_model *host_tables(struct rz_model *model)
{
    return model->tables;
}

static const struct rz_tokenizer *host_tokenizer(struct rz_model *model, void **tok)
{
    *tok = model->tok;
    return model->tok ? model->tokenizer : NULL;
}

static const struct rz_engine *host_engine(struct rz_model *model)
{
    return model->loop ? rz_loop_table(model->loop) : NULL;
}

static int32_t not_running(const struct rz_model *model, struct rz_err *err)
{
    return rz_fail(err, RZ_EINVAL, model->path, "was not opened to run");
}

static int32_t host_eval(struct rz_model *model, const struct rz_eval *eval, struct rz_err *err)
{
    if (!model->loop)
        return not_running(model, err);
    model->observer = RZ_HAS(eval, input) ? eval : NULL;
    int32_t status = rz_loop_eval(model->loop, eval, err);
    model->observer = NULL;
    return status;
}

static int32_t host_speed(struct rz_model *model, struct rz_speed *speed, struct rz_err *err)
{
    if (!model->loop)
        return not_running(model, err);
    bool known = speed && RZ_HAS(speed, bytes_token);
    int32_t status = rz_loop_speed(model->loop, speed, err);
    if (!status && !known) /* what nodes read, not what is loaded */
        speed->bytes_token = rz_model_bytes_token(model);
    return status;
}

static int32_t host_explain(struct rz_model *model, void (*line)(void *arg, const char *text), void *arg,
                            struct rz_err *err)
{
    if (!model->plan)
        return not_running(model, err);
    return rz_model_explain(model, line, arg) ? rz_fail(err, RZ_ENOMEM, model->path, "no memory") : RZ_OK;
}

static const struct rz_host_serve *host_serve(void *ctx)
{
    const struct rz_models *m = ctx;
    return m->served ? rz_served_table(m->served) : NULL;
}

static float number(const struct rz_models *m, const char *key)
{
    return (float)rz_settings_get(m->settings, "sampling", key)->f;
}

void rz_models_sampling(const struct rz_models *m, struct rz_sampling *out)
{
    const struct rz_option_value *seed = rz_settings_get(m->settings, "sampling", "seed");
    *out = (struct rz_sampling){.size = sizeof(*out),
                                .top_k = (int32_t)rz_settings_get(m->settings, "sampling", "top_k")->i,
                                .temperature = number(m, "temp"),
                                .top_p = number(m, "top_p"),
                                .min_p = number(m, "min_p"),
                                .typical_p = number(m, "typical_p"),
                                .repeat_penalty = number(m, "repeat_penalty"),
                                .presence_penalty = number(m, "presence_penalty"),
                                .frequency_penalty = number(m, "frequency_penalty"),
                                .penalty_last_n =
                                    (int32_t)rz_settings_get(m->settings, "sampling", "penalty_last_n")->i,
                                .seed = seed->text ? (uint64_t)seed->i : 0};
}

static int32_t host_sampling(struct rz_model *model, struct rz_sampling *out)
{
    rz_models_sampling(model->owner, out);
    return RZ_OK;
}

static const void *host_tensor_data(struct rz_model *model, const struct rz_tensor *t)
{
    return rz_tensor_data(t, model->set.sources, model->set.n);
}

static int32_t host_check(struct rz_model *model, struct rz_err *err)
{
    return rz_source_check(&model->set, err);
}

static const struct rz_host_threads *host_threads(void *ctx, struct rz_err *err)
{
    struct rz_models *m = ctx;
    return rz_models_team(m, err) ? NULL : rz_pool_table(m->pool);
}

int32_t rz_models_open(struct rz_settings *settings, struct rz_registry *registry, uint32_t n_threads,
                       struct rz_models **out, struct rz_err *err)
{
    struct rz_models *m = calloc(1, sizeof(*m));
    if (!m)
        return rz_fail(err, RZ_ENOMEM, "models", "no memory");
    *m = (struct rz_models){.settings = settings,
                            .registry = registry,
                            .n_threads = n_threads,
                            .build = PTHREAD_MUTEX_INITIALIZER};
    m->table = (struct rz_host_model){.size = sizeof(m->table),
                                      .ctx = m,
                                      .open = host_open,
                                      .close = host_close,
                                      .info = rz_model_info,
                                      .tables = host_tables,
                                      .tokenizer = host_tokenizer,
                                      .engine = host_engine,
                                      .eval = host_eval,
                                      .speed = host_speed,
                                      .explain = host_explain,
                                      .serve = host_serve,
                                      .sampling = host_sampling,
                                      .tensor_data = host_tensor_data,
                                      .check = host_check,
                                      .threads = host_threads,
                                      .render = rz_model_render,
                                      .describe = rz_model_describe};
    *out = m;
    return RZ_OK;
}

void rz_models_close(struct rz_models *m)
{
    if (!m)
        return;
    rz_served_free(m->served);
    rz_pool_free(m->pool);
    rz_models_forget_tables(m);
    rz_numbered_free(m);
    free(m);
}

const struct rz_host_model *rz_models_table(struct rz_models *m)
{
    return &m->table;
}

int32_t rz_models_serve(struct rz_models *m, const char *name, struct rz_err *err)
{
    return rz_served_open(m, name, &m->served, err);
}

void rz_models_stop(struct rz_models *m, uint32_t drain_ms)
{
    if (m->served)
        rz_served_stop(m->served, drain_ms);
}

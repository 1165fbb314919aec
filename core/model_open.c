/* model_open.c - from a path to a model that runs: map, read tables, tokenizer, program, plan, engine.
 *
 * Each step gets what the one before made; a model is opened only as far as its user needs. What will take
 * much memory comes last and is measured before, so that somebody may make room between the two.
 */
#include "models.h"

#include "access.h"
#include "checked.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_CONTEXT 4096u
#define CHECK_SECONDS 1e-3
#define KV_SHARE \
    2 /* an automatic KV pool takes at most 1 / KV_SHARE of the device's memory, and of the budget */

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

static uint64_t setting(const struct rz_models *m, const char *section, const char *key)
{
    const struct rz_option_value *v = rz_settings_get(m->settings, section, key);
    return v && v->i > 0 ? (uint64_t)v->i : 0;
}

/* --- tables --- */

/* What the first file looks like: a plugin that says in its header that it provides this is asked first,
 * so that those for other forms need not be loaded. */
static const char *likely_format(const struct rz_source *first)
{
    const char *name = strrchr(first->path, '/');
    name = name ? name + 1 : first->path;
    if (first->bytes >= 4 && !memcmp(first->data, "GGUF", 4))
        return "format:gguf";
    if (!strcmp(name, "config.json") || (first->bytes > 8 && first->data[8] == '{'))
        return "format:safetensors";
    return "format";
}

static void ask_formats(struct rz_models *m, struct rz_model *model, const char *kind, struct rz_err *err)
{
    uint32_t at = 0;
    int32_t best = 0;
    void *self;
    const struct rz_format *f;
    while ((f = rz_registry_next(m->registry, kind, RZ_FORMAT_1, &at, &self, NULL, err))) {
        int32_t sure = f->probe(self, &model->set.sources[0]);
        if (sure <= best)
            continue;
        best = sure;
        model->format = f;
        model->format_self = self;
    }
}

static int32_t find_format(struct rz_models *m, struct rz_model *model, struct rz_err *err)
{
    ask_formats(m, model, likely_format(&model->set.sources[0]), err);
    if (!model->format && !err->code)
        ask_formats(m, model, "format", err);
    if (err->code)
        return err->code;
    if (!model->format)
        return rz_fail(err, RZ_EFORMAT, model->path,
                       "no loaded format plugin knows this file (is it a model in GGUF form, a .safetensors "
                       "file, or a Hugging Face folder?)");
    return RZ_OK;
}

static void show_str(const struct rz_format_model *tables, const char *key, const char *fallback, char *out,
                     size_t cap)
{
    struct rz_str s = {fallback, strlen(fallback)};
    rz_meta_str(tables, key, &s, NULL);
    rz_show(out, cap, s.data, s.len);
}

static int32_t open_tables(struct rz_models *m, struct rz_model *model, const char *section,
                           struct rz_err *err)
{
    struct rz_format_limits limits = {.size = sizeof(limits),
                                      .max_tensors = setting(m, "limits", "max_tensors"),
                                      .max_metadata = setting(m, "limits", "max_metadata"),
                                      .max_string_bytes = setting(m, "limits", "max_string_bytes"),
                                      .max_array = setting(m, "limits", "max_array")};
    int32_t status = rz_source_open(model->path, &model->set, err);
    if (status)
        return status;
    status = find_format(m, model, err);
    if (!status) {
        status = model->format->open(model->format_self, model->set.sources, model->set.n,
                                     sizeof(struct rz_source), &limits, &model->file_tables, err);
        if (status)
            rz_err_wrap(err, model->path);
    }
    if (status)
        return status;
    show_str(model->file_tables, "general.architecture", "unknown", model->shown_arch,
             sizeof(model->shown_arch));
    status = rz_model_override(model, section, err);
    if (status)
        return status;
    model->has_hparams = rz_hparams_read(model->tables, &model->h, NULL) == RZ_OK;
    show_str(model->tables, "general.name", "", model->shown_name, sizeof(model->shown_name));
    return RZ_OK;
}

/* --- tokenizer --- */

static int32_t open_tokenizer(struct rz_models *m, struct rz_model *model, struct rz_err *err)
{
    if (!model->tables->n_meta)
        return rz_fail(err, RZ_EFORMAT, model->path,
                       "holds tensors and nothing that says what model they are: name the folder with its "
                       "config.json");
    struct rz_str given;
    int32_t status = rz_meta_str(model->tables, "tokenizer.ggml.model", &given, err);
    if (status && status != RZ_ENOTFOUND)
        return rz_err_wrap(err, model->path);
    const struct rz_option_value *pre = rz_settings_get(m->settings, "tokenizer", "pre");
    uint32_t at = 0;
    int32_t best = 0;
    void *self, *chosen_self = NULL;
    const struct rz_tokenizer *t;
    while ((t = rz_registry_next(m->registry, "tokenizer", RZ_TOKENIZER_1, &at, &self, NULL, err))) {
        int32_t sure = t->probe(self, model->tables);
        if (sure <= best)
            continue;
        best = sure;
        model->tokenizer = t;
        chosen_self = self;
    }
    if (err->code)
        return err->code;
    char kind[64];
    show_str(model->tables, "tokenizer.ggml.model", "none", kind, sizeof(kind));
    if (!model->tokenizer)
        return rz_fail(err, RZ_EUNSUPPORTED, model->path,
                       "no loaded tokenizer plugin has the kind \"%s\" (tokenizer.ggml.model)", kind);
    status = model->tokenizer->create(chosen_self, model->tables, pre ? pre->text : NULL, &model->tok, err);
    return status ? rz_err_wrap(err, model->path) : RZ_OK;
}

/* --- plan --- */

static int32_t choose_context(struct rz_models *m, const struct rz_model *model, const char *section,
                              const struct rz_model_options *o, uint32_t *out, struct rz_err *err)
{
    uint64_t trained = model->h.n_ctx_train, context = o->context;
    if (!context && section)
        context = setting(m, section, "context");
    if (!context)
        context = setting(m, "engine", "context");
    if (!context)
        context = trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
    if (context > trained && !o->exact_context)
        rz_log(RZ_LOG_WARN, "%s: a context of %llu is more than the %llu that the model was trained for",
               model->path, (unsigned long long)context, (unsigned long long)trained);
    if (context > (1u << 24))
        return rz_fail(err, RZ_ELIMIT, "engine.context", "%llu: at most %u", (unsigned long long)context,
                       1u << 24);
    *out = context ? (uint32_t)context : 1;
    return RZ_OK;
}

static uint64_t kv_bytes_token(const struct rz_program *p, int32_t kv_type)
{
    uint64_t bytes = 0;
    for (uint32_t g = 0; g < p->n_kv_groups; g++) {
        const struct rz_kv_group *k = rz_kv_group_at(p, g);
        uint64_t v_dim = k->kind == RZ_KV_LATENT ? 0 : k->v_dim;
        bytes += (uint64_t)k->n_layers * k->n_heads *
                 (rz_kv_row_bytes(kv_type, k->k_dim) + rz_kv_row_bytes(kv_type, v_dim));
    }
    return bytes;
}

/* Pages for every sequence at full length, as far as the device's memory goes; at least one. */
static uint32_t automatic_pages(const struct rz_model *model, const struct rz_plan_limits *l, uint64_t memory)
{
    uint64_t per_seq = (l->max_context + l->page_tokens - 1) / l->page_tokens;
    uint64_t page_bytes = kv_bytes_token(&model->graph->program, l->kv_type) * l->page_tokens;
    uint64_t pages = per_seq * l->max_seqs, fit = page_bytes ? memory / page_bytes : pages;
    if (pages > fit)
        pages = fit > per_seq ? fit : per_seq;
    return pages > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)pages;
}

/* What an automatic pool may take: a share of what there is, and one allocation a group. */
static uint64_t kv_memory(const struct rz_model *model, const struct rz_device_memory *memory)
{
    uint64_t budget = setting(model->owner, "engine", "memory"), groups = model->graph->program.n_kv_groups;
    uint64_t total = budget && budget < memory->total ? budget : memory->total, most = total / KV_SHARE;
    if (memory->largest && most > memory->largest * (groups ? groups : 1))
        most = memory->largest * (groups ? groups : 1);
    return most;
}

/* All but what depends on the device. */
static int32_t choose_limits(struct rz_models *m, struct rz_model *model, uint32_t context,
                             const struct rz_model_options *o, struct rz_err *err)
{
    struct rz_plan_limits *l = &model->limits;
    *l = (struct rz_plan_limits){.size = sizeof(*l),
                                 .max_rows = (uint32_t)setting(m, "engine", "max_batch_tokens"),
                                 .max_seqs =
                                     o->max_seqs ? o->max_seqs : (uint32_t)setting(m, "engine", "max_seqs"),
                                 .page_tokens = (uint32_t)setting(m, "engine", "page_tokens"),
                                 .kv_type = rz_models_kv_type(m)};
    if (l->page_tokens % 8 || RZ_ATTENTION_SPLIT % l->page_tokens)
        return rz_fail(err, RZ_ECONFIG, "engine.page_tokens", "%u: must be 8, 16, 32, 64, 128 or 256",
                       l->page_tokens);
    l->max_context = context;
    /* What sees a text as a whole gets it as a whole. */
    if (model->graph->mask == RZ_MASK_ALL && l->max_rows < l->max_context)
        l->max_rows = l->max_context;
    l->max_wanted = l->max_rows;
    const struct rz_program *p = &model->graph->program;
    bool cached = setting(m, "engine", "prefix_cache");
    l->n_slots =
        p->n_states ? l->max_seqs + (cached ? (uint32_t)setting(m, "engine", "prefix_states") : 0) : 0;
    l->n_pages = (uint32_t)setting(m, "engine", "kv_pages");
    return RZ_OK;
}

static int32_t fit_device(struct rz_model *model, struct rz_err *err)
{
    struct rz_plan_limits *l = &model->limits;
    const struct rz_device *d = model->device;
    const struct rz_program *p = &model->graph->program;
    if (l->kv_type == RZ_TYPE_NONE)
        l->kv_type = RZ_HAS(d, kv_type) && d->kv_type ? d->kv_type(d->ctx, p, l->page_tokens) : RZ_TYPE_F16;
    if (l->kv_type == RZ_TYPE_NONE) /* the device is content with any */
        l->kv_type = RZ_TYPE_F16;
    struct rz_device_memory memory = {.size = sizeof(memory)};
    int32_t status = d->memory(d->ctx, &memory, err);
    if (!status && (!l->n_pages || !p->n_kv_groups)) /* nothing lies in pages of no group */
        l->n_pages = automatic_pages(model, l, kv_memory(model, &memory));
    return status;
}

static uint64_t plan_bytes(const struct rz_plan_info *i)
{
    return i->prepared_bytes + i->mapped_bytes + i->kv_bytes + i->state_bytes + i->scratch_bytes;
}

/* Where the device cannot tell: weights, keys and values, and states, which are nearly all. */
static uint64_t guess_bytes(const struct rz_model *model)
{
    const struct rz_program *p = &model->graph->program;
    const struct rz_plan_limits *l = &model->limits;
    uint64_t bytes = kv_bytes_token(p, l->kv_type) * l->page_tokens * l->n_pages;
    for (uint32_t i = 0; i < p->n_weights; i++)
        bytes += rz_weight_at(p, i)->bytes;
    for (uint32_t i = 0; i < p->n_states; i++)
        bytes += rz_state_at(p, i)->floats * sizeof(float) * l->n_slots;
    return bytes;
}

/* model->bytes: what the plan will take; weights that an earlier plan of the model has count there. */
static int32_t measure(struct rz_model *model, struct rz_err *err)
{
    const struct rz_device *d = model->device;
    struct rz_plan_info info = {.size = sizeof(info)};
    if (!RZ_HAS(d, measure)) {
        model->bytes = guess_bytes(model);
        return RZ_OK;
    }
    int32_t status =
        d->measure(d->ctx, &model->graph->program, model->nodes, model->n_nodes, &model->limits, &info, err);
    if (model->base && info.flags & RZ_PLAN_SHARES_WEIGHTS)
        info.prepared_bytes = info.mapped_bytes = 0;
    model->bytes = plan_bytes(&info);
    return status;
}

static int32_t plan_ahead(struct rz_models *m, struct rz_model *model, uint32_t context,
                          const struct rz_model_options *o, struct rz_err *err)
{
    const struct rz_program *p = &model->graph->program;
    int32_t status = choose_limits(m, model, context, o, err);
    if (!status && !model->base)
        status = rz_model_device(m, model, model->section, o, err);
    if (!status)
        status = fit_device(model, err);
    if (status)
        return status;
    free(model->nodes);
    model->n_nodes = 0;
    model->nodes = calloc(p->n_nodes + 1, sizeof(*model->nodes));
    if (!model->nodes)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
    status = rz_claim_nodes(model->device, p, &model->limits, model->nodes, &model->n_nodes, err);
    if (!status)
        status = measure(model, err);
    return status ? rz_err_wrap(err, model->path) : RZ_OK;
}

static int32_t take_plan(struct rz_model *model, struct rz_err *err)
{
    const struct rz_device *d = model->device;
    struct rz_plan_info info = {.size = sizeof(info)};
    int32_t status = d->compile(d->ctx, &model->graph->program, model->nodes, model->n_nodes, &model->limits,
                                &model->plan, err);
    if (status)
        return rz_err_wrap(err, model->path);
    rz_model_forget_weights(model);
    if (!RZ_HAS(d, measure) && !d->info(model->plan, &info))
        model->bytes = plan_bytes(&info);
    return RZ_OK;
}

static int32_t build(struct rz_model *model, uint32_t context, const struct rz_model_options *ahead,
                     bool take, struct rz_err *err)
{
    struct rz_models *m = model->owner;
    pthread_mutex_lock(&m->build);
    int32_t status = ahead ? plan_ahead(m, model, context, ahead, err) : RZ_OK;
    if (!status && take)
        status = take_plan(model, err);
    pthread_mutex_unlock(&m->build);
    return status;
}

int32_t rz_model_plan(struct rz_model *model, uint32_t context, const struct rz_model_options *o,
                      struct rz_err *err)
{
    return build(model, context, o, true, err);
}

/* Steps of a few microseconds do not ask the file system each time. */
static int32_t check_files(void *ctx, struct rz_err *err)
{
    struct rz_model *model = ctx;
    double t = seconds_of(CLOCK_MONOTONIC_COARSE);
    if (t - model->checked < CHECK_SECONDS)
        return rz_source_readable(&model->set, err);
    model->checked = t;
    return rz_source_check(&model->set, err);
}

static int32_t identify(void *ctx, uint64_t out[2], struct rz_err *err)
{
    return rz_model_identity(ctx, out, err);
}

static int32_t open_engine(struct rz_models *m, struct rz_model *model, struct rz_err *err)
{
    const struct rz_host_threads *threads = rz_pool_table(m->pool);
    struct rz_engine_setup setup = {
        .device = model->device,
        .plan = model->plan,
        .tokenizer = model->tokenizer,
        .tok = model->tok,
        .n_vocab = model->graph->h.n_vocab,
        .n_embd = model->graph->h.n_embd,
        .n_kv_groups = model->graph->program.n_kv_groups,
        .mask = model->graph->mask,
        .pooling = model->graph->h.pooling,
        .rope_switch = model->graph->rope_switch,
        .limits = model->limits,
        .max_batch_tokens = model->limits.max_rows,
        .max_queue = (uint32_t)setting(m, "engine", "max_queue"),
        .max_ms = (uint64_t)setting(m, "engine", "timeout_ms"),
        .step_ms = (uint32_t)setting(m, "engine", "step_ms"),
        .prefix_cache = setting(m, "engine", "prefix_cache"),
        .top_k = !strcmp(rz_settings_get(m->settings, "engine", "head")->text, "screened"),
        .parallel_for = threads->parallel_for,
        .parallel_ctx = threads->ctx,
        .check = check_files,
        .check_ctx = model,
        .replace = (model->cpu && !model->mixed) || model->base ? NULL : rz_model_replace,
        .replace_ctx = model,
        .identity = identify,
        .identity_ctx = model};
    for (uint32_t g = 0; g < setup.n_kv_groups; g++)
        setup.kv_windows[g] = rz_kv_group_at(&model->graph->program, g)->window;
    return rz_loop_new(&setup, &model->loop, err);
}

/* The configured chat template, if any. */
static const char *template_setting(const struct rz_models *m, const char *section)
{
    const struct rz_option_value *v = section ? rz_settings_get(m->settings, section, "chat_template") : NULL;
    if (!v || !v->text)
        v = rz_settings_get(m->settings, "model", "chat_template");
    return v ? v->text : NULL;
}

/* The tokenizer and the embedding must speak of the same ids. */
static int32_t check_vocabulary(const struct rz_model *model, struct rz_err *err)
{
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    int32_t status = model->tokenizer->info(model->tok, &info);
    if (status)
        return rz_fail(err, status, model->path, "the tokenizer does not describe itself");
    if (info.n_vocab > model->graph->h.n_vocab)
        return rz_fail(err, RZ_EFORMAT, model->path, "%u tokens in the vocabulary, %u rows in the embedding",
                       info.n_vocab, model->graph->h.n_vocab);
    return RZ_OK;
}

/* Of RZ_MODEL_RUN, what takes little memory. */
static int32_t prepare_run(struct rz_models *m, struct rz_model *model, const char *section,
                           const struct rz_model_options *o, struct rz_err *err)
{
    uint32_t context = 0;
    int32_t status = choose_context(m, model, section, o, &context, err);
    if (!status)
        status = rz_graph_build(model->tables, model->set.sources, model->set.n, context, &model->graph, err);
    if (status)
        return rz_err_wrap(err, model->path);
    status = check_vocabulary(model, err);
    return status ? status : build(model, context, o, false, err);
}

static int32_t prepare(struct rz_models *m, struct rz_model *model, const char *section,
                       const struct rz_model_options *o, const struct rz_model_guessing *guessing,
                       struct rz_err *err)
{
    int32_t status = open_tables(m, model, section, err);
    if (!status && o->level >= RZ_MODEL_TOKENIZER)
        status = open_tokenizer(m, model, err);
    if (!status && o->level >= RZ_MODEL_RUN)
        status = prepare_run(m, model, section, o, err);
    if (!status && o->level >= RZ_MODEL_RUN && guessing)
        status = rz_model_draft(model, section, guessing, err);
    return status;
}

int32_t rz_model_prepare(struct rz_models *m, const struct rz_model_name *found,
                         const struct rz_model_options *o, const struct rz_model_guessing *guessing,
                         struct rz_model **out, struct rz_err *err)
{
    double begin = now();
    struct rz_model *model = calloc(1, sizeof(*model));
    if (!model)
        return rz_fail(err, RZ_ENOMEM, found->path, "no memory");
    model->owner = m;
    model->level = o->level;
    model->name = strdup(found->name);
    model->path = strdup(found->path);
    model->section = found->section ? strdup(found->section) : NULL;
    model->chat_template = template_setting(m, found->section);
    int32_t status = model->name && model->path && (model->section || !found->section)
                         ? prepare(m, model, found->section, o, guessing, err)
                         : rz_fail(err, RZ_ENOMEM, found->path, "no memory");
    if (status) {
        rz_model_close(model);
        return status;
    }
    model->load_seconds = now() - begin;
    *out = model;
    return RZ_OK;
}

int32_t rz_model_prepare_beside(struct rz_model *base, const struct rz_model_options *o,
                                struct rz_model **out, struct rz_err *err)
{
    struct rz_model *model = calloc(1, sizeof(*model));
    if (!model)
        return rz_fail(err, RZ_ENOMEM, base->path, "no memory");
    *model = *base;
    model->base = base;
    model->loop = NULL;
    model->plan = NULL;
    model->draft = NULL;
    model->nodes = NULL;
    model->n_nodes = 0;
    int32_t status = build(model, base->limits.max_context, o, false, err);
    if (status)
        rz_model_close(model);
    else
        *out = model;
    return status;
}

int32_t rz_model_finish(struct rz_model *model, struct rz_err *err)
{
    double begin = now();
    if (model->level < RZ_MODEL_RUN)
        return RZ_OK;
    int32_t status = build(model, 0, NULL, true, err);
    if (!status)
        status = rz_source_check(&model->set, err);
    if (!status)
        status = open_engine(model->owner, model, err);
    if (!status && model->draft)
        status = rz_model_finish(model->draft, err);
    if (!status && model->guesses)
        status = rz_model_speculate(model, err);
    model->load_seconds += now() - begin;
    return status;
}

uint64_t rz_model_bytes(const struct rz_model *model)
{
    return model->bytes + (model->draft ? model->draft->bytes : 0);
}

void rz_model_close(struct rz_model *model)
{
    if (!model)
        return;
    rz_loop_free(model->loop);
    rz_model_close(model->draft);
    if (model->plan)
        model->device->destroy(model->plan);
    free(model->nodes);
    if (model->base) { /* the rest is its own */
        free(model);
        return;
    }
    rz_mixed_free(model->mixed);
    rz_cpu_free(model->cpu);
    rz_graph_free(model->graph);
    if (model->tok)
        model->tokenizer->destroy(model->tok);
    if (model->file_tables)
        model->format->close(model->format_self, model->file_tables);
    rz_overrides_free(model->overrides);
    rz_source_close(&model->set);
    free(model->placed);
    free(model->identity);
    free(model->name);
    free(model->section);
    free(model->path);
    free(model);
}

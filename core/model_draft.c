/* model_draft.c - sets a model's engine up to guess ahead: the settings, and the draft model if one is named.
 *
 * A draft model is opened for one model alone and closed with it; where it is served as well, it has only an
 * engine and pages of its own, beside those of requests. The two must read and write the same tokens; that is
 * compared here, spelling by spelling.
 */
#include "models.h"

#include "err.h"

#include <string.h>

/* That of the model's own section, else that of [engine]. */
static const struct rz_option_value *choose(const struct rz_models *m, const char *section, const char *key)
{
    const struct rz_option_value *v = section ? rz_settings_get(m->settings, section, key) : NULL;
    return v && v->text ? v : rz_settings_get(m->settings, "engine", key);
}

static uint32_t mode_of(const struct rz_option_value *v)
{
    static const char *const names[] = {"off", "lookup", "draft"};
    static const uint32_t modes[] = {RZ_SPECULATE_OFF, RZ_SPECULATE_LOOKUP, RZ_SPECULATE_DRAFT};
    for (uint32_t i = 0; v && v->text && i < sizeof(modes) / sizeof(*modes); i++)
        if (!strcmp(v->text, names[i]))
            return modes[i];
    return RZ_SPECULATE_OFF;
}

static void spell(const struct rz_model *model, int32_t id, char *out, size_t cap)
{
    char piece[512];
    int64_t n = model->tokenizer->piece(model->tok, id, piece, sizeof(piece));
    rz_show(out, cap, piece, n < 0 || n > (int64_t)sizeof(piece) ? 0 : (size_t)n);
}

static int32_t check_token(const struct rz_model *model, const struct rz_model *draft, int32_t id,
                           struct rz_err *err)
{
    char a[512], b[512], mine[80], its[80];
    int64_t n = model->tokenizer->piece(model->tok, id, a, sizeof(a));
    int64_t n_draft = draft->tokenizer->piece(draft->tok, id, b, sizeof(b));
    if (n == n_draft && (n <= 0 || n > (int64_t)sizeof(a) || !memcmp(a, b, (size_t)n)))
        return RZ_OK;
    spell(model, id, mine, sizeof(mine));
    spell(draft, id, its, sizeof(its));
    return rz_fail(
        err, RZ_ECONFIG, "draft_model",
        "%s has another vocabulary than %s: token %d is \"%s\" there and \"%s\" here; a draft model "
        "needs the same one",
        draft->path, model->path, id, its, mine);
}

static int32_t check_vocabularies(const struct rz_model *model, const struct rz_model *draft,
                                  struct rz_err *err)
{
    struct rz_tokenizer_info mine = {.size = sizeof(mine)}, its = {.size = sizeof(its)};
    int32_t rc = model->tokenizer->info(model->tok, &mine);
    if (rc < 0 || (rc = draft->tokenizer->info(draft->tok, &its)) < 0)
        return rz_fail(err, rc, "draft_model", "a tokenizer does not describe itself");
    if (mine.n_vocab != its.n_vocab)
        return rz_fail(
            err, RZ_ECONFIG, "draft_model",
            "%s has another vocabulary than %s: %u tokens there and %u here; a draft model needs the "
            "same one",
            draft->path, model->path, its.n_vocab, mine.n_vocab);
    for (uint32_t i = 0; i < mine.n_vocab; i++)
        if ((rc = check_token(model, draft, (int32_t)i, err)))
            return rc;
    return RZ_OK;
}

/* The model that is to guess: out->path is NULL if there is none, or it is the model itself. */
static int32_t find_draft(const struct rz_models *m, const char *section, struct rz_model_name *out,
                          struct rz_err *err)
{
    const struct rz_option_value *name = choose(m, section, "draft_model");
    *out = (struct rz_model_name){0};
    if (!name || !name->text || !name->text[0])
        return RZ_OK;
    int32_t rc = rz_models_find(m, name->text, out, err);
    if (rc)
        return rz_err_wrap(err, "draft_model");
    if (section && out->section && !strcmp(section, out->section))
        out->path = NULL;
    return RZ_OK;
}

const char *rz_model_draft_section(const struct rz_models *m, const char *section, struct rz_model_name *out)
{
    return find_draft(m, section, out, NULL) || !out->path ? NULL : out->section;
}

static int32_t prepare_draft(struct rz_model *model, const struct rz_model_name *found, struct rz_model *base,
                             struct rz_err *err)
{
    struct rz_model_options options = {.size = sizeof(options),
                                       .level = RZ_MODEL_RUN,
                                       .context = model->limits.max_context,
                                       .max_seqs = model->limits.max_seqs};
    int32_t rc = base ? rz_model_prepare_beside(base, &options, &model->draft, err)
                      : rz_model_prepare(model->owner, found, &options, NULL, &model->draft, err);
    return rc ? rz_err_wrap(err, "draft_model") : check_vocabularies(model, model->draft, err);
}

/* Whether rows can be taken back is rz_spec_possible's to say, once there is an engine. */
int32_t rz_model_draft(struct rz_model *model, const char *section, const struct rz_model_guessing *guessing,
                       struct rz_err *err)
{
    struct rz_models *m = model->owner;
    struct rz_model_name found;
    int32_t rc = find_draft(m, section, &found, err);
    if (rc)
        return rc;
    model->guesses = true;
    model->speculate = mode_of(choose(m, section, "speculate"));
    if (found.section && !found.path && model->speculate == RZ_SPECULATE_DRAFT)
        model->speculate = RZ_SPECULATE_OFF; /* it is the draft model of the others */
    if (!found.path || model->limits.n_slots || model->graph->mask != RZ_MASK_CAUSAL)
        return RZ_OK;
    return prepare_draft(model, &found, guessing->base, err);
}

static void warn(void *ctx, const char *text)
{
    rz_log(RZ_LOG_WARN, "%s: the draft model failed and is not used any more: %s",
           ((const struct rz_model *)ctx)->path, text);
}

int32_t rz_model_speculate(struct rz_model *model, struct rz_err *err)
{
    struct rz_spec_pool pool = {
        .mode = model->speculate,
        .max_guesses = (uint32_t)rz_settings_get(model->owner->settings, "engine", "draft_tokens")->i,
        .draft = model->draft ? model->draft->loop : NULL,
        .warn = warn,
        .warn_ctx = model};
    struct rz_err why = RZ_ERR_INIT;
    if (!rz_spec_possible(model->loop, "this model", &why))
        return rz_spec_open(model->loop, &pool, err);
    if (pool.mode != RZ_SPECULATE_OFF)
        rz_log(RZ_LOG_WARN, "%s: %s: %s; it is off", model->path, why.where, why.message);
    return RZ_OK;
}

/* model_draft.c - sets an open model's engine up to guess ahead: the settings, and the draft model if one
 * is named.
 *
 * A draft model is opened for one model alone and closed with it. The two must read and write the same
 * tokens; that is compared here, spelling by spelling.
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

static int32_t open_draft(struct rz_model *model, const char *name, struct rz_err *err)
{
    struct rz_models *m = model->owner;
    struct rz_model_name found;
    struct rz_model_options options = {.size = sizeof(options),
                                       .level = RZ_MODEL_RUN,
                                       .context = model->limits.max_context,
                                       .max_seqs = model->limits.max_seqs};
    int32_t rc = rz_models_find(m, name, &found, err);
    if (!rc)
        rc = rz_model_open(m, found.name, found.path, found.section, &options, &model->draft, err);
    if (rc)
        return rz_err_wrap(err, "draft_model");
    return check_vocabularies(model, model->draft, err);
}

static void warn(void *ctx, const char *text)
{
    rz_log(RZ_LOG_WARN, "%s: the draft model failed and is not used any more: %s",
           ((const struct rz_model *)ctx)->path, text);
}

int32_t rz_model_speculate(struct rz_model *model, const char *section, struct rz_err *err)
{
    struct rz_models *m = model->owner;
    const struct rz_option_value *name = choose(m, section, "draft_model");
    struct rz_spec_pool pool = {.mode = mode_of(choose(m, section, "speculate")),
                                .max_guesses =
                                    (uint32_t)rz_settings_get(m->settings, "engine", "draft_tokens")->i,
                                .warn = warn,
                                .warn_ctx = model};
    struct rz_err why = RZ_ERR_INIT;
    if (rz_spec_possible(model->loop, "this model", &why)) {
        if (pool.mode != RZ_SPECULATE_OFF)
            rz_log(RZ_LOG_WARN, "%s: %s: %s; it is off", model->path, why.where, why.message);
        return RZ_OK;
    }
    int32_t rc = name && name->text && name->text[0] ? open_draft(model, name->text, err) : RZ_OK;
    pool.draft = model->draft ? model->draft->loop : NULL;
    return rc ? rc : rz_spec_open(model->loop, &pool, err);
}

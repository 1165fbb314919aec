/* model_replace.c - a model whose device failed in a step goes on on the next one, or takes no requests any
 * more: as [rz] fallback says.
 *
 * A device that failed is out for the whole process: no model is given to it any more. The next one is the
 * next of those that the user named, and the CPU behind them all.
 */
#include "models.h"

#include "err.h"

#include <string.h>

static bool denied(const struct rz_models *m)
{
    return rz_settings_get(m->settings, "rz", "fallback")->i == RZ_FALLBACK_DENY;
}

static void take_out(struct rz_model *model)
{
    pthread_mutex_lock(&model->owner->build);
    rz_models_take_out(model->owner, model->device_name);
    pthread_mutex_unlock(&model->owner->build);
}

static void drop_plan(struct rz_model *model)
{
    if (model->plan)
        model->device->destroy(model->plan);
    model->plan = NULL;
}

/* On the first device that can, with no more pages than before. */
static int32_t plan_anew(struct rz_model *model, struct rz_err *err)
{
    struct rz_plan_limits before = model->limits;
    struct rz_model_options o = {.size = sizeof(o), .level = RZ_MODEL_RUN, .max_seqs = before.max_seqs};
    int32_t status;
    while ((status = rz_model_plan(model, before.max_context, &o, err)) &&
           strcmp(model->device_name, "cpu") != 0) {
        rz_log(RZ_LOG_WARN, "%s: %s cannot take its place: %s: %s", model->name, model->device_name,
               err->where, err->message);
        drop_plan(model);
        take_out(model);
        *err = (struct rz_err)RZ_ERR_INIT;
    }
    if (!status && model->limits.n_pages > before.n_pages)
        model->limits.n_pages = before.n_pages;
    return status;
}

static int32_t stop(const struct rz_model *model, const struct rz_err *why, const char *reason,
                    struct rz_err *err)
{
    rz_log(RZ_LOG_ERROR, "%s takes no requests any more: %s: %s; %s", model->name, why->where, why->message,
           reason);
    return rz_fail(err, RZ_EDEVICE, model->name, "it takes no requests any more: %s: %.300s; %.300s",
                   why->where, why->message, reason);
}

int32_t rz_model_replace(void *ctx, const struct rz_err *why, struct rz_engine_setup *setup,
                         struct rz_err *err)
{
    struct rz_model *model = ctx;
    struct rz_err failed = RZ_ERR_INIT;
    take_out(model);
    if (denied(model->owner))
        return stop(model, why, "fallback = deny", err);
    drop_plan(model);
    if (plan_anew(model, &failed)) {
        drop_plan(model);
        return stop(model, why, failed.message, err);
    }
    rz_log(RZ_LOG_WARN, "%s: %s: %s; it is out, and the model runs on %s from now on", model->name,
           why->where, why->message, model->device_name);
    setup->device = model->device;
    setup->plan = model->plan;
    setup->limits = model->limits;
    setup->replace = strcmp(model->device_name, "cpu") ? rz_model_replace : NULL;
    return RZ_OK;
}

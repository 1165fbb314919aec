/* plan.c - claims and plans: the primitives of a program become launches, one each, in order.
 *
 * Macros are refused, so that the host offers their parts: every family then runs on the same few kernels.
 * All arguments are set here; a step only says how many rows there are.
 */
#include "opencl.h"

#include "access.h"
#include "batch_check.h"
#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t plan_claim(void *ctx, const struct rz_program *program, uint32_t node,
                   const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err)
{
    (void)ctx, (void)err;
    const char *why = node_refused(program, node, limits);
    out->taken = !why;
    out->runner = "opencl";
    out->why = why ? why : "a kernel";
    out->bytes_token = why ? 0 : rz_node_bytes_token(program, node);
    return RZ_OK;
}

static int32_t nobody(const struct rz_program *p, uint32_t node, const char *why, struct rz_err *err)
{
    const struct rz_node *n = rz_node_at(p, node);
    return rz_fail(err, RZ_EUNSUPPORTED, "opencl", "layer %d: %s does not run here: %s (attributes %llx)",
                   n->layer, rz_op_name(n->op), why, (unsigned long long)n->attr_mask);
}

static int32_t lower_all(struct plan *p, const uint32_t *nodes, uint32_t n, struct rz_err *err)
{
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < n && !status; i++)
        status = lower_node(p, nodes[i], err);
    cl_int finished = status ? CL_SUCCESS : p->cl->lib.Finish(p->cl->queue);
    if (finished)
        status = rz_fail(err, RZ_EDEVICE, p->cl->device_name, "weights cannot be uploaded: %s",
                         cl_error_name(finished));
    return status;
}

int32_t plan_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                     const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    struct opencl *cl = ctx;
    for (uint32_t i = 0; i < n; i++) {
        const char *why = node_refused(program, nodes[i], limits);
        if (why)
            return nobody(program, nodes[i], why, err);
    }
    struct plan *p = calloc(1, sizeof(*p));
    if (!p)
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory");
    *p = (struct plan){.cl = cl, .program = program, .limits = *limits};
    p->bounds = calloc(1, sizeof(struct rz_batch_bounds));
    p->launches = calloc(n + 1, sizeof(*p->launches));
    p->places = calloc(program->n_values + 1, sizeof(*p->places));
    p->weights = calloc(2ull * program->n_weights + 1, sizeof(*p->weights));
    p->state_at = calloc(program->n_states + 1, sizeof(*p->state_at));
    int32_t status = RZ_OK;
    if (!p->bounds || !p->launches || !p->places || !p->weights || !p->state_at)
        status = rz_fail(err, RZ_ENOMEM, "opencl", "no memory for %u nodes", n);
    if (!status)
        status = rz_batch_bounds_init(program, limits, p->bounds, err);
    if (!status)
        status = plan_memory(p, nodes, n, err);
    if (!status)
        status = lower_all(p, nodes, n, err);
    if (status) {
        plan_destroy((struct rz_plan *)p);
        return status;
    }
    pthread_mutex_lock(&cl->lock);
    p->next = cl->plans;
    cl->plans = p;
    pthread_mutex_unlock(&cl->lock);
    *out = (struct rz_plan *)p;
    return RZ_OK;
}

int32_t plan_info(struct rz_plan *plan, struct rz_plan_info *out)
{
    const struct plan *p = (const struct plan *)plan;
    out->wants = 1u << RZ_WANT_NONE;
    out->wants |= p->program->hidden >= 0 ? 1u << RZ_WANT_HIDDEN : 0;
    out->wants |= p->program->logits >= 0 ? 1u << RZ_WANT_LOGITS | 1u << RZ_WANT_TOP_K : 0;
    out->weight_bytes = 0;
    for (uint32_t i = 0; i < p->program->n_weights; i++)
        out->weight_bytes += rz_weight_at(p->program, i)->bytes;
    out->prepared_bytes = p->weight_bytes;
    out->kv_bytes = p->kv_bytes;
    out->state_bytes = p->state_bytes;
    out->scratch_bytes = p->value_bytes + p->rope_bytes;
    out->flags = RZ_PLAN_OWNS_WEIGHTS | RZ_PLAN_INVARIANT | RZ_PLAN_SHARES_WEIGHTS;
    return RZ_OK;
}

int32_t plan_part(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out)
{
    const struct plan *p = (const struct plan *)plan;
    if (i >= p->n_launches)
        return RZ_END;
    out->node = p->launches[i].node;
    out->bytes_token = rz_node_bytes_token(p->program, out->node);
    snprintf(out->runner, sizeof(out->runner), "%s", p->launches[i].name);
    snprintf(out->why, sizeof(out->why), "%s kernels for %.60s", p->cl->wide ? "wide" : "narrow",
             p->cl->device_name);
    return RZ_OK;
}

static void release(struct plan *p, cl_mem mem)
{
    if (mem)
        p->cl->lib.ReleaseMemObject(mem);
}

/* From now on its weights are given to no other. */
static void leave(struct plan *p)
{
    pthread_mutex_lock(&p->cl->lock);
    struct plan **at = &p->cl->plans;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    pthread_mutex_unlock(&p->cl->lock);
}

void plan_destroy(struct rz_plan *plan)
{
    struct plan *p = (struct plan *)plan;
    if (!p)
        return;
    leave(p);
    if (p->cl->queue)
        p->cl->lib.Finish(p->cl->queue);
    for (uint32_t i = 0; i < p->n_launches; i++)
        p->cl->lib.ReleaseKernel(p->launches[i].kernel);
    for (uint32_t i = 0; i < p->n_programs; i++)
        if (p->programs[i].program)
            p->cl->lib.ReleaseProgram(p->programs[i].program);
    for (uint32_t i = 0; i < p->n_weights; i++)
        release(p, p->weights[i].mem);
    for (uint32_t g = 0; g < 8; g++)
        release(p, p->groups[g].mem);
    release(p, p->values);
    release(p, p->batch);
    release(p, p->state);
    release(p, p->ropes);
    free(p->bounds);
    free(p->launches);
    free(p->places);
    free(p->weights);
    free(p->state_at);
    free(p->ints);
    free(p->logits);
    free(p->hidden);
    free(p);
}

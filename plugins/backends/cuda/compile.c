/* compile.c - from nodes to a plan: primitives in their order, their kernels, all memory, the weights. */
#include "cuda.h"

#include "err.h"

#include <stdio.h>
#include <stdlib.h>

/* --- claims: a node is run if all primitives below it are --- */

static bool can_run(const struct rz_program *p, uint32_t node, const char **why)
{
    const struct rz_node *n = rz_node_at(p, node);
    if (n->end == node + 1)
        return cu_runs(p, n, why);
    for (uint32_t i = node + 1; i < n->end; i = rz_node_at(p, i)->end)
        if (!can_run(p, i, why))
            return false;
    return true;
}

int32_t cu_claim(void *ctx, const struct rz_program *program, uint32_t node,
                 const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err)
{
    const char *why = "kernels for all of its parts";
    (void)ctx, (void)limits, (void)err;
    out->bytes_token = rz_node_bytes_token(program, node);
    out->taken = can_run(program, node, &why);
    out->runner = "cuda";
    out->why = out->taken ? "kernels for all of its parts" : why;
    return RZ_OK;
}

/* --- compile --- */

static int32_t check_limits(const struct rz_plan_limits *l, struct rz_err *err)
{
    if (l->max_rows > 65535)
        return rz_fail(err, RZ_ELIMIT, "engine.max_batch_tokens", "%u: cuda takes at most 65535",
                       l->max_rows);
    if (l->kv_type != RZ_TYPE_F32 && l->kv_type != RZ_TYPE_F16 && l->kv_type != RZ_TYPE_BF16 &&
        l->kv_type != RZ_TYPE_Q8_0 && l->kv_type != RZ_TYPE_F8_E4M3)
        return rz_fail(err, RZ_EUNSUPPORTED, "engine.kv_type",
                       "cuda keeps the KV as f32, f16, bf16, q8_0 or fp8");
    return RZ_OK;
}

static void add_op(struct rz_plan *plan, uint32_t node)
{
    const struct rz_program *p = plan->program;
    const struct rz_node *n = rz_node_at(p, node);
    struct cu_op *op = &plan->ops[plan->n_ops];
    *op = (struct cu_op){.node = node,
                         .n = n,
                         .norm = -1,
                         .add = -1,
                         .gate = -1,
                         .up = -1,
                         .beside = {-1, -1},
                         .last = plan->n_ops};
    for (uint32_t i = 0; i < CU_OPERANDS; i++) {
        op->in[i] = i < n->n_in ? p->refs[n->first_in + i] : -1;
        op->out[i] = i < n->n_out ? p->refs[n->first_out + i] : -1;
    }
    for (uint32_t i = 0; i < CU_WEIGHTS; i++)
        op->weight[i] = i < n->n_weights ? p->refs[n->first_weight + i] : -1;
    op->rows = rz_value_at(p, (uint32_t)(n->n_out ? op->out[0] : op->in[0]))->rows;
    op->only_logits = n->n_out == 1 && op->out[0] == p->logits;
    op->bytes = cu_product_bytes(plan, op);
    plan->n_ops++;
}

static int32_t add_ops(struct rz_plan *plan, uint32_t node, struct rz_err *err)
{
    const struct rz_node *n = rz_node_at(plan->program, node);
    const char *why;
    if (n->end == node + 1) {
        if (!cu_runs(plan->program, n, &why))
            return rz_fail(err, RZ_EUNSUPPORTED, "plan", "layer %d: %s: %s", n->layer, rz_op_name(n->op),
                           why);
        add_op(plan, node);
        return RZ_OK;
    }
    for (uint32_t i = node + 1; i < n->end; i = rz_node_at(plan->program, i)->end) {
        int32_t status = add_ops(plan, i, err);
        if (status)
            return status;
    }
    return RZ_OK;
}

/* What the plan does; nothing of the GPU is taken. */
static int32_t build(struct rz_plan *plan, const uint32_t *nodes, uint32_t n, struct rz_err *err)
{
    int32_t status = RZ_OK;
    plan->ops = calloc(plan->program->n_nodes + 1, sizeof(*plan->ops));
    if (!plan->ops)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u nodes", plan->program->n_nodes);
    for (uint32_t i = 0; i < n && !status; i++)
        status = add_ops(plan, nodes[i], err);
    if (status)
        return status;
    cu_fuse(plan);
    status = cu_weights_plan(plan, err);
    if (!status)
        cu_weights_share(plan);
    return status ? status : cu_lt_open(plan, err);
}

static int32_t take(struct rz_plan *plan, struct rz_err *err)
{
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < plan->n_ops && !status; i++)
        status = cu_op_kernels(plan, &plan->ops[i], err);
    if (!status)
        status = cu_check(cudaStreamCreateWithFlags(&plan->stream, cudaStreamNonBlocking), "a stream", err);
    if (!status)
        status = cu_check(cudaEventCreateWithFlags(&plan->uploaded, cudaEventDisableTiming), "an event", err);
    for (uint32_t i = 0; i < CU_DONE && !status; i++)
        status = cu_check(cudaEventCreateWithFlags(&plan->done[i], cudaEventDisableTiming), "an event", err);
    if (!status)
        status = cu_memory_take(plan, err);
    return status ? status : cu_weights_upload(plan, err);
}

static int32_t make(struct cu_device *d, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                    const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    struct rz_batch_bounds bounds;
    int32_t status = rz_batch_bounds_init(program, limits, &bounds, err);
    if (!status)
        status = check_limits(limits, err);
    if (!status)
        status = cu_check(cudaSetDevice(d->index), "choosing the device", err);
    if (status)
        return status;
    struct rz_plan *plan = calloc(1, sizeof(*plan));
    if (!plan)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
    plan->device = d;
    plan->program = program;
    plan->limits = *limits;
    plan->bounds = bounds;
    status = build(plan, nodes, n, err);
    if (status) {
        cu_destroy(plan);
        return status;
    }
    *out = plan;
    return RZ_OK;
}

int32_t cu_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                   const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    struct rz_plan *plan;
    int32_t status = make(ctx, program, nodes, n, limits, &plan, err);
    if (status)
        return status;
    status = take(plan, err);
    if (status) {
        cu_destroy(plan);
        return status;
    }
    cu_weights_offer(plan);
    *out = plan;
    return RZ_OK;
}

int32_t cu_measure(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                   const struct rz_plan_limits *limits, struct rz_plan_info *out, struct rz_err *err)
{
    struct rz_plan *plan;
    int32_t status = make(ctx, program, nodes, n, limits, &plan, err);
    if (status)
        return status;
    status = cu_memory_plan(plan, err);
    if (!status)
        status = cu_info(plan, out);
    cu_destroy(plan);
    return status;
}

/* Whose launch an op is a part of in steps of few rows; -1: it has its own. */
static int32_t part_of(const struct rz_plan *plan, uint32_t i)
{
    for (uint32_t k = 0; k < plan->n_ops; k++) {
        const struct cu_op *o = &plan->ops[k];
        if (o->norm == (int32_t)i || o->add == (int32_t)i || o->gate == (int32_t)i || o->up == (int32_t)i ||
            o->beside[0] == (int32_t)i || o->beside[1] == (int32_t)i)
            return (int32_t)k;
    }
    return -1;
}

int32_t cu_part_info(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out)
{
    if (i >= plan->n_ops)
        return RZ_END;
    const struct cu_op *op = &plan->ops[i];
    const char *type = op->weight[0] >= 0 && plan->mats[op->weight[0]].type != RZ_TYPE_NONE
                           ? cu_type_name(plan->mats[op->weight[0]].type)
                           : "";
    int32_t other = part_of(plan, i);
    out->node = op->node;
    out->bytes_token = rz_node_bytes_token(plan->program, op->node);
    snprintf(out->runner, sizeof(out->runner), CU_NAME " %s%s%s", rz_op_name(op->n->op), *type ? " " : "",
             type);
    const char *rows = cu_product_bytes(plan, op) ? "; rows as int8" : "";
    if (other >= 0)
        snprintf(out->why, sizeof(out->why), "within a launch of %s%s%s", rz_op_name(plan->ops[other].n->op),
                 rows, cu_lt_note(plan, op));
    else
        snprintf(out->why, sizeof(out->why), "a launch of its own%s%s", rows, cu_lt_note(plan, op));
    return RZ_OK;
}

void cu_destroy(struct rz_plan *plan)
{
    if (!plan)
        return;
    cudaSetDevice(plan->device->index);
    if (plan->stream) /* a step that failed may have left work behind */
        cudaStreamSynchronize(plan->stream);
    for (uint32_t i = 0; i < CU_GRAPHS; i++)
        if (plan->graphs[i].exec)
            cudaGraphExecDestroy(plan->graphs[i].exec);
    cu_memory_free(plan);
    cu_lt_close(plan->lt);
    if (plan->uploaded)
        cudaEventDestroy(plan->uploaded);
    for (uint32_t i = 0; i < CU_DONE; i++)
        if (plan->done[i])
            cudaEventDestroy(plan->done[i]);
    if (plan->stream)
        cudaStreamDestroy(plan->stream);
    free(plan->ops);
    free(plan);
}

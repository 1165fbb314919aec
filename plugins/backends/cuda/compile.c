/* compile.c - from nodes to a plan: primitives in their order, their kernels, all memory, the weights. */
#include "cuda.h"

#include "err.h"

#include <stdlib.h>

/* --- claims: a node is run if all primitives below it are --- */

static bool can_run(const struct rz_program *p, uint32_t node, const char **why)
{
    const struct rz_node *n = cu_node_at(p, node);
    if (n->end == node + 1)
        return cu_runs(p, n, why);
    for (uint32_t i = node + 1; i < n->end; i = cu_node_at(p, i)->end)
        if (!can_run(p, i, why))
            return false;
    return true;
}

int32_t cu_claim(void *ctx, const struct rz_program *program, uint32_t node, struct rz_claim *out,
                 struct rz_err *err)
{
    const char *why = "kernels for all of its parts";
    (void)ctx, (void)err;
    out->taken = can_run(program, node, &why);
    out->runner = "cuda";
    out->why = out->taken ? "kernels for all of its parts" : why;
    return RZ_OK;
}

/* --- compile --- */

static int32_t check_limits(const struct rz_program *program, const struct rz_plan_limits *l,
                            struct rz_err *err)
{
    if (!l->max_rows || !l->max_wanted || l->max_wanted > l->max_rows || !l->max_seqs || !l->max_context ||
        !l->page_tokens || l->page_tokens % 8 || CU_SPLIT % l->page_tokens || l->max_rows > 65535)
        return rz_fail(err, RZ_EINVAL, "plan",
                       "limits do not fit: %u rows (at most 65535), %u wanted, %u sequences, pages of %u",
                       l->max_rows, l->max_wanted, l->max_seqs, l->page_tokens);
    if (l->kv_type != RZ_TYPE_F32 && l->kv_type != RZ_TYPE_F16 && l->kv_type != RZ_TYPE_BF16)
        return rz_fail(err, RZ_EUNSUPPORTED, "engine.kv_type", "cuda keeps the KV as f32, f16 or bf16");
    if (program->n_states && !l->n_slots)
        return rz_fail(err, RZ_EINVAL, "plan", "no slots for the recurrent state of %u blocks",
                       program->n_states);
    if (program->n_kv_groups > CU_GROUPS || program->n_ropes > CU_GROUPS)
        return rz_fail(err, RZ_EUNSUPPORTED, "plan", "%u KV groups and %u ropes, at most %d of each",
                       program->n_kv_groups, program->n_ropes, CU_GROUPS);
    return RZ_OK;
}

static void add_op(struct rz_plan *plan, uint32_t node)
{
    const struct rz_program *p = plan->program;
    const struct rz_node *n = cu_node_at(p, node);
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
    op->rows = cu_value_at(p, (uint32_t)(n->n_out ? op->out[0] : op->in[0]))->rows;
    op->only_logits = n->n_out == 1 && op->out[0] == p->logits;
    plan->n_ops++;
}

static int32_t add_ops(struct rz_plan *plan, uint32_t node, struct rz_err *err)
{
    const struct rz_node *n = cu_node_at(plan->program, node);
    const char *why;
    if (n->end == node + 1) {
        if (!cu_runs(plan->program, n, &why))
            return rz_fail(err, RZ_EUNSUPPORTED, "plan", "layer %d: op %x: %s", n->layer, n->op, why);
        add_op(plan, node);
        return RZ_OK;
    }
    for (uint32_t i = node + 1; i < n->end; i = cu_node_at(plan->program, i)->end) {
        int32_t status = add_ops(plan, i, err);
        if (status)
            return status;
    }
    return RZ_OK;
}

/* What the program's nodes allow a batch to say. */
static void find_bounds(struct rz_plan *plan)
{
    const struct rz_program *p = plan->program;
    plan->both = true;
    plan->n_variants = UINT32_MAX;
    plan->n_positions = UINT64_MAX;
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        const struct cu_op *op = &plan->ops[i];
        uint64_t rows = op->weight[0] >= 0 ? cu_weight_at(p, (uint32_t)op->weight[0])->rows : 0;
        if (op->n->op == RZ_OP_GET_ROWS && (!plan->n_tokens || rows < plan->n_tokens))
            plan->n_tokens = rows;
        if (op->n->op == RZ_OP_ADD_POS && rows < plan->n_positions)
            plan->n_positions = rows;
        if (op->n->op == RZ_OP_ATTENTION && !cu_has(op, RZ_A_BOTH))
            plan->both = false;
        uint32_t variants = cu_has(op, RZ_A_ROPE_VARIANTS) ? (uint32_t)cu_int(op, RZ_A_ROPE_VARIANTS) : 1;
        if (op->n->op == RZ_OP_ROPE && variants < plan->n_variants)
            plan->n_variants = variants;
    }
}

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
    find_bounds(plan);
    cu_fuse(plan);
    for (uint32_t i = 0; i < plan->n_ops && !status; i++)
        status = cu_op_kernels(plan, &plan->ops[i], err);
    if (!status)
        status = cu_check(cudaStreamCreateWithFlags(&plan->stream, cudaStreamNonBlocking), "a stream", err);
    if (!status)
        status = cu_check(cudaEventCreateWithFlags(&plan->uploaded, cudaEventDisableTiming), "an event", err);
    if (!status)
        status = cu_weights_plan(plan, err);
    if (!status)
        status = cu_memory_take(plan, err);
    return status ? status : cu_weights_upload(plan, err);
}

int32_t cu_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                   const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    struct cu_device *d = ctx;
    int32_t status = check_limits(program, limits, err);
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
    status = build(plan, nodes, n, err);
    if (status) {
        cu_destroy(plan);
        return status;
    }
    *out = plan;
    return RZ_OK;
}

void cu_destroy(struct rz_plan *plan)
{
    if (!plan)
        return;
    cudaSetDevice(plan->device->index);
    for (uint32_t i = 0; i < CU_GRAPHS; i++)
        if (plan->graphs[i].exec)
            cudaGraphExecDestroy(plan->graphs[i].exec);
    cu_memory_free(plan);
    if (plan->uploaded)
        cudaEventDestroy(plan->uploaded);
    if (plan->stream)
        cudaStreamDestroy(plan->stream);
    free(plan->ops);
    free(plan);
}

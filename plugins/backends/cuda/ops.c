/* ops.c - launches of the ops that go along rows, and which file launches the others. */
#include "cuda.h"

#include "err.h"

#include <string.h>

void cu_launch(struct rz_plan *plan, cudaKernel_t kernel, dim3 grid, uint32_t threads, uint64_t shared,
               const void *params)
{
    /* A kernel may start while the one before it ends: cu_begin waits for what that one wrote. */
    cudaLaunchAttribute attribute = {.id = cudaLaunchAttributeProgrammaticStreamSerialization,
                                     .val = {.programmaticStreamSerializationAllowed = 1}};
    cudaLaunchConfig_t config = {.gridDim = grid,
                                 .blockDim = {threads, 1, 1},
                                 .dynamicSmemBytes = shared,
                                 .stream = plan->stream,
                                 .attrs = &attribute,
                                 .numAttrs = plan->device->capability >= 90 ? 1 : 0};
    void *args[] = {(void *)(uintptr_t)params};
    if (!plan->status)
        plan->status =
            cu_check(cudaLaunchKernelExC(&config, (const void *)kernel, args), "a launch", plan->err);
}

uint32_t cu_rows(const struct rz_plan *plan, const struct cu_op *op)
{
    return op->rows == RZ_ROWS_WANTED ? plan->n_wanted : plan->n_rows;
}

bool cu_few(const struct rz_plan *plan, const struct cu_op *op)
{
    return (plan->device->invariant && !op->bytes) || cu_rows(plan, op) <= CU_FEW;
}

struct cu_act cu_act_of(const struct cu_op *op)
{
    struct cu_act a = {.kind = CU_ACT_SILU};
    if (cu_has(op, RZ_A_GELU))
        a.kind = CU_ACT_GELU;
    else if (cu_has(op, RZ_A_GELU_TANH))
        a.kind = CU_ACT_GELU_TANH;
    else if (cu_has(op, RZ_A_RELU2))
        a.kind = CU_ACT_RELU2;
    if (cu_has(op, RZ_A_SWIGLU))
        a = (struct cu_act){.kind = CU_ACT_SWIGLU, .p = (float)cu_real(op, RZ_A_SWIGLU)};
    if (cu_has(op, RZ_A_XIELU_P))
        a = (struct cu_act){.kind = CU_ACT_XIELU,
                            .p = (float)cu_real(op, RZ_A_XIELU_P),
                            .n = (float)cu_real(op, RZ_A_XIELU_N),
                            .beta = (float)cu_real(op, RZ_A_XIELU_BETA),
                            .eps = (float)cu_real(op, RZ_A_EPS)};
    return a;
}

/* A thread an element of each row. */
static dim3 along(uint64_t width, uint32_t rows)
{
    return (dim3){(unsigned)((width + CU_THREADS - 1) / CU_THREADS), rows, 1};
}

static const float *vector(const struct rz_plan *plan, const struct cu_op *op, uint32_t i)
{
    return op->weight[i] >= 0 ? plan->vectors[op->weight[i]] : NULL;
}

static uint32_t vector_cols(const struct rz_plan *plan, const struct cu_op *op, uint32_t i)
{
    return op->weight[i] >= 0 ? (uint32_t)rz_weight_at(plan->program, (uint32_t)op->weight[i])->cols : 1;
}

/* --- lookups --- */

static void run_lookup(struct rz_plan *plan, const struct cu_op *op)
{
    uint16_t kind = op->n->op;
    struct cu_lookup p = {.step = plan->step,
                          .table = plan->mats[op->weight[0]],
                          .y = plan->views[op->out[0]],
                          .n = cu_rows(plan, op),
                          .by = kind == RZ_OP_GET_ROWS  ? CU_BY_TOKEN
                                : kind == RZ_OP_ADD_POS ? CU_BY_POS
                                                        : CU_BY_ROW,
                          .row = (uint32_t)cu_int(op, RZ_A_ROW)};
    if (kind != RZ_OP_GET_ROWS)
        p.x = plan->views[op->in[0]];
    cu_launch(plan, op->kernel[0], along(p.table.cols, p.n), CU_THREADS, 0, &p);
}

/* --- norms --- */

static void run_norm(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_norm p = {.x = plan->views[op->in[0]],
                        .y = plan->views[op->out[0]],
                        .w = vector(plan, op, 0),
                        .bias = vector(plan, op, 1),
                        .w_cols = vector_cols(plan, op, 0),
                        .bias_cols = vector_cols(plan, op, 1),
                        .n = cu_rows(plan, op),
                        .width = (uint32_t)cu_in_width(plan, op, 0),
                        .parts = cu_has(op, RZ_A_PARTS) ? (uint32_t)cu_int(op, RZ_A_PARTS) : 1,
                        .centred = op->n->op == RZ_OP_LAYERNORM,
                        .eps = cu_real(op, RZ_A_EPS)};
    cu_launch(plan, op->kernel[0], (dim3){p.parts, p.n, 1}, CU_THREADS, CU_THREADS / CU_WARP * 4, &p);
}

/* --- elements --- */

static void run_elements(struct rz_plan *plan, const struct cu_op *op)
{
    uint16_t kind = op->n->op;
    struct cu_two p = {.a = plan->views[op->in[0]],
                       .y = plan->views[op->out[0]],
                       .n = cu_rows(plan, op),
                       .width = (uint32_t)cu_out_width(plan, op, 0),
                       .op = kind == RZ_OP_ADD       ? CU_ADD
                             : kind == RZ_OP_MUL     ? CU_MUL
                             : kind == RZ_OP_GATE    ? CU_GATE
                             : kind == RZ_OP_ACT_MUL ? CU_ACT_MUL
                                                     : CU_ACT_ONE,
                       .one = kind == RZ_OP_GATE && cu_in_width(plan, op, 0) == 1,
                       .act = cu_act_of(op)};
    if (op->in[1] >= 0)
        p.b = plan->views[op->in[1]];
    cu_launch(plan, op->kernel[0], along(p.width, p.n), CU_THREADS, 0, &p);
}

static void run_map(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_map p = {.step = plan->step,
                       .x = plan->views[op->in[0]],
                       .y = plan->views[op->out[0]],
                       .n = cu_rows(plan, op),
                       .width = (uint32_t)cu_out_width(plan, op, 0),
                       .factor = (float)cu_real(op, RZ_A_FACTOR),
                       .softcap = (float)cu_real(op, RZ_A_SOFTCAP),
                       .clamp = (float)cu_real(op, RZ_A_CLAMP),
                       .grow = (float)cu_real(op, RZ_A_TEMPERATURE),
                       .every = (uint32_t)cu_int(op, RZ_A_TEMPERATURE)};
    p.has = (cu_has(op, RZ_A_FACTOR) ? CU_HAS_FACTOR : 0) | (cu_has(op, RZ_A_SOFTCAP) ? CU_HAS_SOFTCAP : 0) |
            (cu_has(op, RZ_A_CLAMP) ? CU_HAS_CLAMP : 0) |
            (cu_has(op, RZ_A_TEMPERATURE) ? CU_HAS_TEMPERATURE : 0);
    cu_launch(plan, op->kernel[0], along(p.width, p.n), CU_THREADS, 0, &p);
}

static void run_copy(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_copy p = {.step = plan->step,
                        .x = plan->views[op->in[0]],
                        .y = plan->views[op->out[0]],
                        .n = cu_rows(plan, op),
                        .width = (uint32_t)cu_out_width(plan, op, 0),
                        .column = (uint32_t)cu_int(op, RZ_A_COLUMN),
                        .wanted = op->n->op == RZ_OP_SELECT_ROWS};
    cu_launch(plan, op->kernel[0], along(p.width, p.n), CU_THREADS, 0, &p);
}

/* --- mixtures --- */

static void run_sum(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_sum p = {.x = plan->views[op->in[0]],
                       .y = plan->views[op->out[0]],
                       .n = cu_rows(plan, op),
                       .width = (uint32_t)cu_out_width(plan, op, 0)};
    p.used = (uint32_t)(cu_in_width(plan, op, 0) / p.width);
    if (op->in[1] >= 0)
        p.weights = plan->views[op->in[1]];
    cu_launch(plan, op->kernel[0], along(p.width, p.n), CU_THREADS, 0, &p);
}

static void run_scale(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_scale p = {.x = plan->views[op->in[0]],
                         .weights = plan->views[op->in[1]],
                         .y = plan->views[op->out[0]],
                         .n = cu_rows(plan, op),
                         .width = (uint32_t)cu_in_width(plan, op, 0),
                         .used = (uint32_t)cu_in_width(plan, op, 1)};
    cu_launch(plan, op->kernel[0], along((uint64_t)p.width * p.used, p.n), CU_THREADS, 0, &p);
}

static void run_route(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_route p = {.logits = plan->views[op->in[0]],
                         .ids = plan->views[op->out[0]],
                         .weights = plan->views[op->out[1]],
                         .bias = cu_has(op, RZ_A_BIAS) ? vector(plan, op, 0) : NULL,
                         .n = cu_rows(plan, op),
                         .experts = (uint32_t)cu_in_width(plan, op, 0),
                         .used = (uint32_t)cu_out_width(plan, op, 0),
                         .rule = (uint32_t)cu_int(op, RZ_A_ROUTE),
                         .groups = (uint32_t)cu_int(op, RZ_A_EXPERT_GROUPS),
                         .keep = (uint32_t)cu_real(op, RZ_A_EXPERT_GROUPS),
                         .rank = (uint32_t)cu_int(op, RZ_A_GROUP_RANK),
                         .renorm = cu_has(op, RZ_A_RENORM),
                         .near = cu_real(op, RZ_A_ROUTE),
                         .add = cu_real(op, RZ_A_RENORM),
                         .factor = cu_has(op, RZ_A_FACTOR) ? cu_real(op, RZ_A_FACTOR) : 1};
    uint64_t shared = (2ull * p.experts + p.used + p.groups) * sizeof(float);
    cu_launch(plan, op->kernel[0], (dim3){p.n, 1, 1}, CU_WARP, shared, &p);
}

/* --- who launches an op --- */

static const struct {
    uint16_t op;
    const char *kernel; /* NULL: see find */
    int32_t (*find)(struct rz_plan *plan, struct cu_op *op, struct rz_err *err);
    void (*run)(struct rz_plan *plan, const struct cu_op *op);
} launchers[] = {
    {RZ_OP_GET_ROWS, "lookup", NULL, run_lookup},
    {RZ_OP_ADD_POS, "lookup", NULL, run_lookup},
    {RZ_OP_ADD_ROW, "lookup", NULL, run_lookup},
    {RZ_OP_RMSNORM, "norms", NULL, run_norm},
    {RZ_OP_LAYERNORM, "norms", NULL, run_norm},
    {RZ_OP_ADD, "elements", NULL, run_elements},
    {RZ_OP_MUL, "elements", NULL, run_elements},
    {RZ_OP_GATE, "elements", NULL, run_elements},
    {RZ_OP_ACT_MUL, "elements", NULL, run_elements},
    {RZ_OP_ACT, "elements", NULL, run_elements},
    {RZ_OP_MAP, "maps", NULL, run_map},
    {RZ_OP_COLUMNS, "copies", NULL, run_copy},
    {RZ_OP_SELECT_ROWS, "copies", NULL, run_copy},
    {RZ_OP_SUM_ID, "sums", NULL, run_sum},
    {RZ_OP_SCALE_ID, "scale_parts", NULL, run_scale},
    {RZ_OP_ROUTE, "routes", NULL, run_route},
    {RZ_OP_MATMUL, NULL, cu_product_kernels, cu_product_run},
    {RZ_OP_MATMUL_ID, NULL, cu_product_kernels, cu_product_run},
    {RZ_OP_MATMUL_HEADS, NULL, cu_product_kernels, cu_product_run},
    {RZ_OP_ROPE, NULL, cu_sequence_kernels, cu_sequence_run},
    {RZ_OP_KV_STORE, NULL, cu_sequence_kernels, cu_sequence_run},
    {RZ_OP_ATTENTION, NULL, cu_sequence_kernels, cu_sequence_run},
    {RZ_OP_CONV, NULL, cu_sequence_kernels, cu_sequence_run},
    {RZ_OP_SCAN, NULL, cu_sequence_kernels, cu_sequence_run},
    {RZ_OP_DELTA, NULL, cu_sequence_kernels, cu_sequence_run},
};

#define LAUNCHERS (sizeof(launchers) / sizeof(launchers[0]))

int32_t cu_op_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err)
{
    for (size_t i = 0; i < LAUNCHERS; i++) {
        if (launchers[i].op != op->n->op)
            continue;
        if (!launchers[i].kernel)
            return launchers[i].find(plan, op, err);
        if (strcmp(launchers[i].kernel, "lookup"))
            return cu_kernel(plan->device, &op->kernel[0], 0, err, "%s", launchers[i].kernel);
        return cu_kernel(plan->device, &op->kernel[0], 0, err, "lookup_%s",
                         cu_type_name(plan->mats[op->weight[0]].type));
    }
    return rz_fail(err, RZ_EINTERNAL, "plan", "op %x has no launches", op->n->op);
}

void cu_op_run(struct rz_plan *plan, const struct cu_op *op)
{
    for (size_t i = 0; i < LAUNCHERS; i++)
        if (launchers[i].op == op->n->op) {
            if (op->gate >= 0 && cu_few(plan, op))
                cu_product_run(plan, op);
            else
                launchers[i].run(plan, op);
            return;
        }
}

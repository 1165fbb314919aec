/* sequence.c - launches of the ops that know sequences: rope, KV, attention, and the recurrent ones. */
#include "cuda.h"

#include "err.h"
#include "numeric.h"

#define THREADS (CU_ATTEND_WARPS * CU_WARP)

static const uint32_t queries[] = {1, 4, 8, 16};

enum {
    MERGE = 4,
    FLASH
};

static const char *kv_name(int32_t type)
{
    return type == RZ_TYPE_F8_E4M3 ? "F8" : cu_type_name(type);
}

/* As attend.cu lays it out: queries, scores, the largest and the sum of each, what was before. */
uint64_t cu_attend_shared(uint32_t n, uint32_t k_dim)
{
    return n * (((uint64_t)k_dim + 7) / 8 * 8 + CU_SPLIT + 2 + 4) * sizeof(float);
}

/* Columns of values and keys of a block of flash.cu. */
static uint32_t flash_columns(uint32_t v_dim)
{
    return v_dim <= 64 ? 64 : v_dim <= 128 ? 128 : 256;
}

/* As flash.cu lays it out: queries, keys, values, a factor a query. */
static uint64_t flash_shared(const struct cu_kv *kv)
{
    uint64_t wide = ((uint64_t)kv->k_dim + 15) / 16 * 16 + 8, columns = flash_columns(kv->v_dim);
    uint64_t keys = columns > 128 ? 32 : 64;
    return ((CU_FLASH_TILE + keys) * wide + keys * (columns + 8)) * sizeof(uint16_t) +
           CU_FLASH_TILE * sizeof(float);
}

/* The tensor cores attend for prompts where products may use them and a tile has room. */
static int32_t flash_kernel(struct rz_plan *plan, struct cu_op *op, struct rz_err *err)
{
    const struct rz_kv_group *g = rz_kv_group_at(plan->program, (uint32_t)cu_int(op, RZ_A_KV_GROUP));
    struct cu_kv kv = {.k_dim = g->k_dim, .v_dim = g->v_dim};
    int32_t type = plan->limits.kv_type, oldest = type == RZ_TYPE_BF16 ? 80 : 75;
    uint64_t shared = 0;
    for (uint32_t i = 0; i < plan->program->n_kv_groups; i++) { /* one limit holds for all groups */
        const struct rz_kv_group *other = rz_kv_group_at(plan->program, i);
        uint64_t need = flash_shared(&(struct cu_kv){.k_dim = other->k_dim, .v_dim = other->v_dim});
        shared = need <= plan->device->shared && need > shared ? need : shared;
    }
    if (plan->device->invariant || type == RZ_TYPE_F32 || plan->device->capability < oldest ||
        flash_shared(&kv) > plan->device->shared)
        return RZ_OK;
    return cu_kernel(plan->device, &op->kernel[FLASH], shared, err, "flash_%s_%u", kv_name(type),
                     flash_columns(kv.v_dim));
}

static int32_t attend_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err)
{
    int32_t status = RZ_OK;
    uint32_t widest = 0; /* one limit of shared memory holds for all groups */
    for (uint32_t g = 0; g < plan->program->n_kv_groups; g++)
        if (rz_kv_group_at(plan->program, g)->k_dim > widest)
            widest = rz_kv_group_at(plan->program, g)->k_dim;
    for (uint32_t i = 0; i < 4 && !status; i++)
        status = cu_kernel(plan->device, &op->kernel[i], cu_attend_shared(queries[i], widest), err,
                           "attend_%s_%u", kv_name(plan->limits.kv_type), queries[i]);
    if (!status)
        status = flash_kernel(plan, op, err);
    return status ? status : cu_kernel(plan->device, &op->kernel[MERGE], 0, err, "attend_merge");
}

int32_t cu_sequence_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err)
{
    switch (op->n->op) {
    case RZ_OP_ROPE:
        return cu_kernel(plan->device, &op->kernel[0], 0, err, "ropes");
    case RZ_OP_KV_STORE:
        return cu_kernel(plan->device, &op->kernel[0], 0, err,
                         plan->limits.kv_type == RZ_TYPE_Q8_0      ? "kv_store_q8"
                         : plan->limits.kv_type == RZ_TYPE_F8_E4M3 ? "kv_store_f8"
                                                                   : "kv_store");
    case RZ_OP_CONV:
        return cu_kernel(plan->device, &op->kernel[0], 0, err, "convs");
    case RZ_OP_SCAN:
        return cu_kernel(plan->device, &op->kernel[0], 0, err, "scans");
    case RZ_OP_DELTA:
        return cu_kernel(plan->device, &op->kernel[0], 0, err, "deltas");
    default:
        return attend_kernels(plan, op, err);
    }
}

static unsigned blocks(uint64_t n)
{
    return (unsigned)((n + CU_THREADS - 1) / CU_THREADS);
}

static const float *vector(const struct rz_plan *plan, const struct cu_op *op, uint32_t i)
{
    return op->weight[i] >= 0 ? plan->vectors[op->weight[i]] : NULL;
}

/* --- positions --- */

static void run_rope(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_rope p = {.step = plan->step,
                        .x = plan->views[op->in[0]],
                        .y = plan->views[op->out[0]],
                        .n = cu_rows(plan, op),
                        .width = (uint32_t)cu_in_width(plan, op, 0),
                        .heads = (uint32_t)cu_int(op, RZ_A_N_HEAD),
                        .dim = (uint32_t)cu_int(op, RZ_A_HEAD_DIM),
                        .offset = (uint32_t)cu_int(op, RZ_A_ROPE_OFFSET),
                        .neox = cu_has(op, RZ_A_ROPE_NEOX)};
    uint32_t first = (uint32_t)cu_int(op, RZ_A_ROPE);
    uint32_t variants = cu_has(op, RZ_A_ROPE_VARIANTS) ? (uint32_t)cu_int(op, RZ_A_ROPE_VARIANTS) : 1;
    for (uint32_t v = 0; v < CU_GROUPS; v++) /* where the op has no variants, every sequence has the first */
        p.table[v] = plan->rope_views[v < variants && first + v < CU_GROUPS ? first + v : first];
    cu_launch(plan, op->kernel[0], (dim3){blocks(p.width), p.n, 1}, CU_THREADS, 0, &p);
}

static struct cu_kv kv_of(const struct rz_plan *plan, const struct cu_op *op)
{
    int64_t group = cu_int(op, RZ_A_KV_GROUP);
    struct cu_kv kv = plan->kv_views[group];
    kv.base = plan->kv_base[group] + (uint64_t)cu_int(op, RZ_A_KV_LAYER) * plan->kv_layer[group];
    return kv;
}

static void run_store(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_store p = {.step = plan->step,
                         .k = plan->views[op->in[0]],
                         .v = plan->views[op->in[1]],
                         .kv = kv_of(plan, op),
                         .n = cu_rows(plan, op),
                         .latent = cu_has(op, RZ_A_LATENT)};
    uint64_t each = p.latent ? p.kv.k_dim : (uint64_t)p.kv.n_heads * (p.kv.k_dim + p.kv.v_dim);
    if (plan->limits.kv_type == RZ_TYPE_F8_E4M3) /* a warp a row of a head */
        each = (uint64_t)CU_WARP * p.kv.n_heads * (p.latent ? 1 : 2);
    cu_launch(plan, op->kernel[0], (dim3){blocks(each), p.n, 1}, CU_THREADS, 0, &p);
}

static void run_flash(struct rz_plan *plan, const struct cu_op *op, const struct cu_attend *p)
{
    uint32_t group = p->heads / p->kv.n_heads, each = group < CU_FLASH_TILE ? group : CU_FLASH_TILE;
    uint32_t rows = CU_FLASH_TILE / each, columns = flash_columns(p->kv.v_dim);
    dim3 grid = {p->kv.n_heads * ((group + each - 1) / each), (p->n + rows - 1) / rows,
                 (p->kv.v_dim + columns - 1) / columns};
    cu_launch(plan, op->kernel[FLASH], grid, THREADS, flash_shared(&p->kv), p);
}

static void run_attend(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_attend p = {.step = plan->step,
                          .q = plan->views[op->in[0]],
                          .y = plan->views[op->out[0]],
                          .kv = kv_of(plan, op),
                          .n = cu_rows(plan, op),
                          .heads = (uint32_t)cu_int(op, RZ_A_N_HEAD),
                          .splits = plan->splits,
                          .window = (uint32_t)cu_int(op, RZ_A_WINDOW),
                          .chunk = (uint32_t)cu_int(op, RZ_A_CHUNK),
                          .both = cu_has(op, RZ_A_BOTH),
                          .scale = (float)cu_real(op, RZ_A_SCALE),
                          .softcap = (float)cu_real(op, RZ_A_SOFTCAP),
                          .alibi = (float)cu_real(op, RZ_A_ALIBI),
                          .serial = plan->splits == 1 || plan->n_rows > CU_APART_ROWS,
                          .sinks = cu_has(op, RZ_A_SINKS) ? vector(plan, op, 0) : NULL,
                          .part = plan->parts};
    uint32_t group = p.heads / p.kv.n_heads, i = 0;
    if (op->kernel[FLASH] && plan->prompts) {
        p.run = CU_FLASH_RUN;
        run_flash(plan, op, &p);
        if (!plan->singles)
            return;
    }
    while (i < 3 && queries[i] < (plan->runs ? 16 : group))
        i++;
    uint32_t each = group < queries[i] ? group : queries[i], rows = queries[i] / each;
    dim3 grid = {p.kv.n_heads * ((group + each - 1) / each), (p.n + rows - 1) / rows,
                 p.serial ? 1 : p.splits};
    cu_launch(plan, op->kernel[i], grid, THREADS, cu_attend_shared(queries[i], p.kv.k_dim), &p);
    if (!p.serial)
        cu_launch(plan, op->kernel[MERGE], (dim3){p.heads, p.n, 1}, THREADS, 0, &p);
}

/* --- state --- */

static struct cu_state state_of(const struct rz_plan *plan, const struct cu_op *op)
{
    return plan->state_views[cu_int(op, RZ_A_STATE)];
}

static void run_conv(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_conv p = {.step = plan->step,
                        .x = plan->views[op->in[0]],
                        .y = plan->views[op->out[0]],
                        .state = state_of(plan, op),
                        .w = vector(plan, op, 0),
                        .bias = cu_has(op, RZ_A_BIAS) ? vector(plan, op, 1) : NULL,
                        .n = cu_rows(plan, op),
                        .width = (uint32_t)cu_out_width(plan, op, 0),
                        .taps = (uint32_t)rz_weight_at(plan->program, (uint32_t)op->weight[0])->cols,
                        .silu = cu_has(op, RZ_A_SILU)};
    cu_launch(plan, op->kernel[0], (dim3){blocks(p.width), 1, 1}, CU_THREADS, 0, &p);
}

static void run_scan(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_scan p = {.step = plan->step,
                        .x = plan->views[op->in[0]],
                        .dt = plan->views[op->in[1]],
                        .y = plan->views[op->out[0]],
                        .state = state_of(plan, op),
                        .a = vector(plan, op, 0),
                        .d = vector(plan, op, 1),
                        .bias = vector(plan, op, 2),
                        .n = cu_rows(plan, op),
                        .heads = (uint32_t)cu_int(op, RZ_A_N_HEAD),
                        .groups = (uint32_t)cu_int(op, RZ_A_STATE_GROUPS),
                        .a_cols = (uint32_t)rz_weight_at(plan->program, (uint32_t)op->weight[0])->cols};
    uint64_t inner = cu_out_width(plan, op, 0);
    bool apart = op->n->n_in == 4;
    uint64_t wide = apart ? cu_in_width(plan, op, 2) : (cu_in_width(plan, op, 0) - inner) / 2;
    p.p_dim = (uint32_t)(inner / p.heads);
    p.n_dim = (uint32_t)(wide / p.groups);
    p.b = apart ? plan->views[op->in[2]] : (struct cu_view){p.x.data + inner, p.x.stride};
    p.c = apart ? plan->views[op->in[3]] : (struct cu_view){p.x.data + inner + wide, p.x.stride};
    cu_launch(plan, op->kernel[0], (dim3){p.heads, p.p_dim, 1}, CU_WARP, 0, &p);
}

static void run_delta(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_delta p = {.step = plan->step,
                         .x = plan->views[op->in[0]],
                         .dt = plan->views[op->in[1]],
                         .b = plan->views[op->in[2]],
                         .y = plan->views[op->out[0]],
                         .state = state_of(plan, op),
                         .a = vector(plan, op, 0),
                         .bias = vector(plan, op, 1),
                         .n = cu_rows(plan, op),
                         .heads = (uint32_t)cu_int(op, RZ_A_N_HEAD),
                         .keys = (uint32_t)cu_int(op, RZ_A_STATE_GROUPS),
                         .striped = cu_has(op, RZ_A_STRIPED),
                         .eps = cu_real(op, RZ_A_EPS)};
    uint64_t inner = cu_out_width(plan, op, 0);
    p.v_dim = (uint32_t)(inner / p.heads);
    p.k_dim = (uint32_t)((cu_in_width(plan, op, 0) - inner) / (2ull * p.keys));
    uint32_t threads = (p.v_dim + CU_WARP - 1) / CU_WARP * CU_WARP;
    threads = threads < CU_THREADS ? threads : CU_THREADS;
    cu_launch(plan, op->kernel[0], (dim3){p.heads, 1, 1}, threads,
              (2ull * p.k_dim + CU_THREADS / CU_WARP) * sizeof(float), &p);
}

void cu_sequence_run(struct rz_plan *plan, const struct cu_op *op)
{
    switch (op->n->op) {
    case RZ_OP_ROPE:
        run_rope(plan, op);
        return;
    case RZ_OP_KV_STORE:
        run_store(plan, op);
        return;
    case RZ_OP_CONV:
        run_conv(plan, op);
        return;
    case RZ_OP_SCAN:
        run_scan(plan, op);
        return;
    case RZ_OP_DELTA:
        run_delta(plan, op);
        return;
    default:
        run_attend(plan, op);
    }
}

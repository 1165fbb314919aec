/* products.c - launches of matrix products: matrix-vector kernels for few rows, tiles for many.
 *
 * kernel[0..2]: the matrix-vector kernels of 1, 4 and 8 rows, of floats or of integers; [3]: the tiles; [4]:
 * sorting of pairs; [5]: scales of rows, where the tiles are of f16; CU_KERNEL_ROUNDS: rows as integers.
 */
#include "cuda.h"

#include "err.h"

#include <string.h>

enum {
    GEMV_1,
    GEMV_4,
    GEMV_8,
    TILE,
    GROUPS,
    SCALES
};

static bool in_tiles_alone(const struct rz_plan *plan, const struct cu_op *op);

bool cu_product_bytes(const struct rz_plan *plan, const struct cu_op *op)
{
    static const int32_t types[] = {RZ_TYPE_Q4_0, RZ_TYPE_Q4_1, RZ_TYPE_Q5_0, RZ_TYPE_Q5_1,
                                    RZ_TYPE_Q8_0, RZ_TYPE_Q4_K, RZ_TYPE_Q5_K, RZ_TYPE_Q6_K};
    bool known = false;
    if ((op->n->op != RZ_OP_MATMUL && op->n->op != RZ_OP_MATMUL_ID) ||
        plan->device->products == CU_PRODUCTS_FLOAT)
        return false;
    const struct rz_weight *w = rz_weight_at(plan->program, (uint32_t)op->weight[0]);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        known |= w->type == types[i];
    return known && (plan->device->products == CU_PRODUCTS_INT8 || w->cols * w->rows >= CU_MANY_WEIGHTS);
}

/* How tiles of a type are multiplied; see tile.h and tile_bytes.cu. */
static const char *tile_kind(const struct rz_plan *plan, const struct cu_op *op, int32_t type)
{
    if (op->bytes)
        return "bytes";
    if (type == RZ_TYPE_F32 || in_tiles_alone(plan, op))
        return "plain";
    if (type != RZ_TYPE_BF16)
        return "half";
    return plan->device->capability >= 80 ? "brain" : "plain";
}

static uint32_t heads_of(const struct cu_op *op)
{
    return op->n->op == RZ_OP_MATMUL_HEADS ? (uint32_t)cu_int(op, RZ_A_PARTS) : 0;
}

/* Rows of x begin at multiples of four floats, but parts of them may not. */
static bool is_aligned(const struct rz_plan *plan, const struct cu_op *op)
{
    uint32_t heads = heads_of(op);
    uint64_t cols = plan->mats[op->weight[0]].cols;
    if (heads)
        return cu_in_width(plan, op, 0) / heads % 4 == 0;
    return op->n->op != RZ_OP_MATMUL_ID || cols % 4 == 0;
}

/* Quantised weights want aligned rows in the matrix-vector kernels, but for rows of integers, which are. */
static bool in_tiles_alone(const struct rz_plan *plan, const struct cu_op *op)
{
    int32_t type = plan->mats[op->weight[0]].type;
    bool loose = type == RZ_TYPE_F32 || type == RZ_TYPE_F16 || type == RZ_TYPE_BF16;
    return !loose && !op->bytes && !is_aligned(plan, op);
}

static uint32_t cols_of_tile(int32_t type, bool plain)
{
    uint32_t span = type == RZ_TYPE_Q6_K || type == RZ_TYPE_Q2_K || type == RZ_TYPE_Q3_K ? 128
                    : type == RZ_TYPE_Q4_K || type == RZ_TYPE_Q5_K                       ? 64
                                                                                         : 32;
    return plain || span > 64 ? span : 64;
}

static uint32_t side_of(const struct cu_op *op, const struct rz_plan *plan)
{
    return strcmp(tile_kind(plan, op, plan->mats[op->weight[0]].type), "plain") ? 64 : 32;
}

/* As tile.h and tile_bytes.cu lay the tile out. */
static uint64_t tile_shared(const struct cu_op *op, int32_t type, bool plain)
{
    if (op->bytes) /* of both sides 64 rows of 4 groups; scales and leasts; parts of scales */
        return 64 * (2 * (4 * 32 + 16) + 2 * 4 * 2 * sizeof(float) + 4 * sizeof(int));
    uint64_t cols = cols_of_tile(type, plain);
    return plain ? 2 * cols * 36 * sizeof(float) : 2 * 64 * (cols + 8) * sizeof(uint16_t);
}

int32_t cu_product_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err)
{
    static const uint32_t rows[] = {1, 4, 8};
    int32_t type = plan->mats[op->weight[0]].type, status = RZ_OK;
    const char *name = cu_type_name(type), *kind = tile_kind(plan, op, type);
    for (uint32_t i = 0; i < 3 && !status; i++)
        status = cu_kernel(plan->device, &op->kernel[i], 0, err, op->bytes ? "bytes_%s_%u" : "gemv_%s_%u",
                           name, rows[i]);
    if (!status)
        status = cu_kernel(plan->device, &op->kernel[TILE], 0, err, "tile_%s_%s", name, kind);
    if (!status)
        status = cu_kernel(plan->device, &op->kernel[GROUPS], 0, err, "groups");
    if (!status && (!strcmp(kind, "half") || (op->bytes && plan->lt)))
        status = cu_kernel(plan->device, &op->kernel[SCALES], 0, err, "scales");
    if (!status && op->bytes)
        status = cu_kernel(plan->device, &op->kernel[CU_KERNEL_ROUNDS], 0, err, "rounds");
    return status ? status : cu_lt_kernels(plan, op, err);
}

/* --- parameters --- */

static struct cu_part part_of(const struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_part part = {.w = plan->mats[op->weight[0]], .y = plan->views[op->out[0]]};
    if (cu_has(op, RZ_A_BIAS) && op->weight[1] >= 0)
        part.bias = plan->vectors[op->weight[1]];
    part.rows = part.w.rows;
    if (op->add >= 0) {
        const struct cu_op *add = &plan->ops[op->add];
        part.y = plan->views[add->out[0]];
        part.add = plan->views[add->in[add->in[0] == op->out[0] ? 1 : 0]];
    }
    return part;
}

static void set_norm(const struct rz_plan *plan, const struct cu_op *op, struct cu_product *p)
{
    const struct cu_op *norm = op->norm >= 0 ? &plan->ops[op->norm] : NULL;
    if (!norm)
        return;
    p->x = plan->views[norm->in[0]];
    p->norm = norm->weight[0] >= 0 ? plan->vectors[norm->weight[0]] : NULL;
    p->normed = 1;
    p->eps = (float)cu_real(norm, RZ_A_EPS);
}

/* Sorts the pairs into tiles of at most `tile`; how many there may be. */
static uint32_t sort_pairs(struct rz_plan *plan, const struct cu_op *op, struct cu_product *p, uint32_t tile)
{
    uint32_t used = (uint32_t)cu_in_width(plan, op, 1), pairs = p->n * used;
    uint32_t experts = (uint32_t)(p->part[0].w.rows / (cu_out_width(plan, op, 0) / used));
    struct cu_group g = {.ids = plan->views[op->in[1]],
                         .order = plan->pair_order,
                         .tiles = plan->pair_tiles,
                         .n_tiles = plan->pair_count,
                         .n = p->n,
                         .used = used,
                         .experts = experts,
                         .tile = tile};
    p->part[0].rows = (uint32_t)(cu_out_width(plan, op, 0) / used);
    p->pairs = (struct cu_pairs){.order = plan->pair_order,
                                 .tiles = plan->pair_tiles,
                                 .n_tiles = plan->pair_count,
                                 .used = used,
                                 .each = cu_in_width(plan, op, 0) != p->part[0].w.cols};
    cu_launch(plan, op->kernel[GROUPS], (dim3){1, 1, 1}, CU_THREADS, (2ull * experts + 1) * 4, &g);
    uint32_t most = pairs / tile + experts;
    return most < pairs ? most : pairs;
}

/* --- launches --- */

/* The rows, or pairs, of the product in tiles: blocks along y. */
static uint32_t tiles_of(struct rz_plan *plan, const struct cu_op *op, struct cu_product *p, uint32_t tile)
{
    uint32_t heads = heads_of(op);
    if (op->n->op == RZ_OP_MATMUL_ID)
        return sort_pairs(plan, op, p, tile);
    if (heads) {
        p->heads = heads;
        p->part[0].rows = p->part[0].w.rows / heads;
        p->in_head = (uint32_t)(cu_in_width(plan, op, 0) / heads);
        p->out_head = (uint32_t)(cu_out_width(plan, op, 0) / heads);
    }
    return (p->n + tile - 1) / tile;
}

static struct cu_product product_of(const struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_product p = {
        .x = plan->views[op->in[0]], .n = cu_rows(plan, op), .n_parts = 1, .aligned = is_aligned(plan, op)};
    p.part[0] = part_of(plan, op);
    return p;
}

/* Its rows as integers, where they are not there from the product before. */
static void round_rows(struct rz_plan *plan, const struct cu_op *op, const struct cu_op *norm,
                       struct cu_product *p)
{
    uint32_t each =
        op->n->op == RZ_OP_MATMUL_ID ? (uint32_t)(cu_in_width(plan, op, 0) / p->part[0].w.cols) : 1;
    struct cu_round r = {.x = plan->views[norm ? norm->in[0] : op->in[0]],
                         .bytes = plan->bytes,
                         .scales = plan->byte_scales,
                         .width = p->part[0].w.cols,
                         .normed = norm != NULL};
    p->bytes = r.bytes;
    p->byte_scales = r.scales;
    if (norm) {
        r.norm = norm->weight[0] >= 0 ? plan->vectors[norm->weight[0]] : NULL;
        r.eps = cu_real(norm, RZ_A_EPS);
    }
    if (plan->bytes_of == op->in[0])
        return;
    plan->bytes_of = op->in[0];
    cu_launch(plan, op->kernel[CU_KERNEL_ROUNDS], (dim3){p->n, each, 1}, CU_THREADS,
              CU_THREADS / CU_WARP * sizeof(float), &r);
}

/* act: the op whose gate and up this is, or NULL. */
static void run_few(struct rz_plan *plan, const struct cu_op *op, const struct cu_op *act)
{
    struct cu_product p = product_of(plan, op);
    uint32_t which = p.n == 1 ? GEMV_1 : p.n <= 4 ? GEMV_4 : GEMV_8, tile = which == GEMV_1 ? 1 : 4 * which;
    if (op->bytes)
        round_rows(plan, op, op->norm >= 0 ? &plan->ops[op->norm] : NULL, &p);
    else
        set_norm(plan, op, &p);
    for (uint32_t k = 0; k + 1 < CU_PARTS && op->beside[k] >= 0; k++)
        p.part[p.n_parts++] = part_of(plan, &plan->ops[op->beside[k]]);
    if (act) {
        p.gated = 1;
        p.act = cu_act_of(act);
        p.part[p.n_parts++] = part_of(plan, &plan->ops[act->up]);
        p.part[0].y = plan->views[act->out[0]];
    }
    uint32_t y = tiles_of(plan, op, &p, tile);
    uint64_t outputs = p.part[0].rows;
    for (uint32_t k = 1; k < p.n_parts && !act; k++)
        outputs += p.part[k].rows;
    dim3 grid = {(unsigned)((outputs + CU_GEMV_WARPS - 1) / CU_GEMV_WARPS), y, p.heads ? p.heads : 1};
    uint64_t shared = op->bytes ? CU_GEMV_WARPS * tile * (CU_WARP + 1) * sizeof(float) : CU_GEMV_WARPS * 4;
    cu_launch(plan, op->kernel[which], grid, CU_GEMV_WARPS * CU_WARP, shared, &p);
}

static void run_tiles(struct rz_plan *plan, const struct cu_op *op)
{
    struct cu_product p = product_of(plan, op);
    uint32_t side = side_of(op, plan), y = tiles_of(plan, op, &p, side);
    int32_t type = p.part[0].w.type;
    bool plain = side == 32;
    if (op->kernel[SCALES] && (!op->bytes || cu_lt_wants(plan, op, p.n))) {
        uint32_t each = p.heads ? p.heads : p.pairs.each ? p.pairs.used : 1;
        struct cu_scales s = {.x = p.x,
                              .scale = plan->row_scales,
                              .n = p.n,
                              .width = (uint32_t)(cu_in_width(plan, op, 0) / each)};
        cu_launch(plan, op->kernel[SCALES], (dim3){p.n, each, 1}, CU_WARP, 0, &s);
        p.scale = plan->row_scales;
    }
    if (cu_lt_run(plan, op, &p))
        return;
    if (op->bytes)
        round_rows(plan, op, NULL, &p);
    dim3 grid = {(p.part[0].rows + side - 1) / side, y, p.heads ? p.heads : 1};
    cu_launch(plan, op->kernel[TILE], grid, plain ? 64 : 128, tile_shared(op, type, plain), &p);
}

void cu_product_run(struct rz_plan *plan, const struct cu_op *op)
{
    const struct cu_op *act = op->gate >= 0 ? op : NULL, *product = act ? &plan->ops[act->gate] : op;
    if (cu_few(plan, op) && !in_tiles_alone(plan, product))
        run_few(plan, product, act);
    else
        run_tiles(plan, product);
}

/* avx512.c - the kernel table for x86-64 with AVX-512 and VNNI: regions run whole, weights in the X16
 * layout, activations as 8-bit blocks of 32 or 16-bit rows for quantised weights (option activations) and
 * float32 for the others. What it has no row for is left to the next table.
 *
 * This file holds the table only and is built for the baseline CPU; whatever needs the instruction set
 * is in kernels_*.c, which the host calls only after the header's isa bits were found on this machine.
 */
#include "avx512.h"

#include "../common/planes_pack.h"
#include "numeric.h"

#include <string.h>

/* Is weight w of this node a matrix that the tiles read? */
static bool is_matrix(const struct rz_kernel_node *n, uint32_t w)
{
    switch (n->op) {
    case RZ_OP_NORM_QKV:
        return w >= 1 && w <= 3;
    case RZ_OP_NORM_GLU:
        return w == 1 || w == 2;
    case RZ_OP_PROJ_ADD:
    case RZ_OP_MATMUL:
        return w == 0;
    default:
        return false;
    }
}

static uint32_t layout(const struct rz_kernel_node *n, uint32_t w)
{
    return is_matrix(n, w) ? LAYOUT_X16 : 0;
}

/* Matrices of known types, vectors in float32. */
static int32_t accept_weights(const struct rz_kernel_node *n)
{
    for (uint32_t w = 0; w < n->n_weights; w++) {
        if (n->weights[w].type == RZ_TYPE_NONE && n->op == RZ_OP_RMSNORM)
            return 0;
        if (n->weights[w].type == RZ_TYPE_NONE)
            continue;
        if (is_matrix(n, w) ? !x_type(n->weights[w].type)->block : n->weights[w].type != RZ_TYPE_F32)
            return 0;
    }
    return 1;
}

/* Rows are read as they lie in the file. */
static int32_t accept_rows(const struct rz_kernel_node *n)
{
    return rz_type_info(n->weights[0].type)->block != 0;
}

/* Weights norm, w, bias: rows of Q8_0, which screening was made for. */
static int32_t accept_head(const struct rz_kernel_node *n)
{
    return n->weights[0].type == RZ_TYPE_F32 && n->weights[1].type == RZ_TYPE_Q8_0 &&
           n->weights[2].type == RZ_TYPE_NONE && n->weights[1].cols / RZ_QK <= SCREEN_BLOCKS_MAX;
}

static uint32_t head_layout(const struct rz_kernel_node *n, uint32_t w)
{
    (void)n;
    return w == 1 ? LAYOUT_PLANES : 0;
}

static uint32_t tiles_by_row(const struct rz_kernel_call *c)
{
    return c->n_rows;
}

static float *out_row(const struct rz_kernel_call *c)
{
    return c->out[0].data + c->tile * c->out[0].stride;
}

static const float *in_row(const struct rz_kernel_call *c, uint32_t i)
{
    return c->in[i].data + c->tile * c->in[i].stride;
}

static int32_t get_rows(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_weight_view *w = &c->node->weights[0];
    const uint8_t *rows = w->data;
    rz_type_info(w->type)->decode(rows + w->bytes / w->rows * (uint64_t)c->step->rows[c->tile].token,
                                  out_row(c), w->cols);
    return RZ_OK;
}

static int32_t rmsnorm(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_rmsnorm(in_row(c, 0), c->node->weights[0].data, c->node->attr[RZ_A_EPS].f, out_row(c),
                c->in[0].width);
    return RZ_OK;
}

static int32_t rope(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    memcpy(out_row(c), in_row(c, 0), c->in[0].width * sizeof(float));
    rope_row(c, c->tile, out_row(c), (uint64_t)c->node->attr[RZ_A_N_HEAD].i);
    return RZ_OK;
}

static int32_t kv_store(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    kv_store_row(c, c->tile, in_row(c, 0), in_row(c, 1));
    return RZ_OK;
}

static int32_t act_mul(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_silu_mul(in_row(c, 0), in_row(c, 1), out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t add(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_add(in_row(c, 0), in_row(c, 1), out_row(c), c->out[0].width);
    return RZ_OK;
}

#define TEAM (RZ_ROW_TEAM | RZ_ROW_INVARIANT)
#define TILED (RZ_ROW_TILED | RZ_ROW_INVARIANT)
#define KV .kv_types = 1u << RZ_TYPE_F16 | 1u << RZ_TYPE_F32, .kv_layout = RZ_KV_LAYOUT_T8

/* clang-format off */
#define ROWS(numerics) { \
    RZ_KERNEL_ROW(.op = RZ_OP_HEAD, .flags = TEAM, .weight = RZ_TYPE_ANY, .name = "head planes " #numerics, \
                  .attrs = RZ_ATTR_EPS, .accept = accept_head, .layout = head_layout, \
                  .scratch = head_scratch, .run = head_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_NORM_QKV, .flags = TEAM, .weight = RZ_TYPE_ANY, KV, \
                  .name = "norm_qkv x16 " #numerics, \
                  .attrs = RZ_ATTRS_ROPE | RZ_ATTRS_KV | RZ_ATTR_EPS | RZ_ATTR_BIAS, \
                  .accept = accept_weights, .layout = layout, .scratch = norm_qkv_scratch, \
                  .run = norm_qkv_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_PROJ_ADD, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "proj_add x16 " #numerics, .attrs = RZ_ATTR_BIAS, .accept = accept_weights, \
                  .layout = layout, .scratch = product_scratch, .run = proj_add_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_NORM_GLU, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "norm_glu x16 " #numerics, \
                  .attrs = RZ_ATTR_EPS | RZ_ATTR_SILU | RZ_ATTR_BIAS, .accept = accept_weights, \
                  .layout = layout, .scratch = product_scratch, .run = norm_glu_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "matmul x16 " #numerics, .attrs = RZ_ATTR_BIAS, .accept = accept_weights, \
                  .layout = layout, .scratch = product_scratch, .run = matmul_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_GET_ROWS, .flags = TILED, .weight = RZ_TYPE_ANY, .accept = accept_rows, \
                  .tiles = tiles_by_row, .run = get_rows), \
    RZ_KERNEL_ROW(.op = RZ_OP_RMSNORM, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTR_EPS, \
                  .accept = accept_weights, .tiles = tiles_by_row, .run = rmsnorm), \
    RZ_KERNEL_ROW(.op = RZ_OP_ROPE, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTRS_ROPE, \
                  .tiles = tiles_by_row, .run = rope), \
    RZ_KERNEL_ROW(.op = RZ_OP_KV_STORE, .flags = TILED, .weight = RZ_TYPE_NONE, KV, \
                  .attrs = RZ_ATTRS_KV, .tiles = tiles_by_row, .run = kv_store), \
    RZ_KERNEL_ROW(.op = RZ_OP_ACT_MUL, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTR_SILU, \
                  .tiles = tiles_by_row, .run = act_mul), \
    RZ_KERNEL_ROW(.op = RZ_OP_ADD, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = add), \
}
static const struct rz_kernel_row rows_int8[] = ROWS(int8), rows_wide[] = ROWS(wide);

#define X16(TYPE) {.size = sizeof(struct rz_layout), .id = LAYOUT_X16, .type = TYPE, .row_group = GROUP, \
                   .name = "x16", .bytes = x_bytes, .prep = x_prep}
static const struct rz_layout layouts[] = {
    {.size = sizeof(struct rz_layout), .id = LAYOUT_PLANES, .type = RZ_TYPE_Q8_0, .row_group = GROUP,
     .name = "planes", .bytes = planes_bytes, .prep = planes_prep},
    X16(RZ_TYPE_F32), X16(RZ_TYPE_F16), X16(RZ_TYPE_BF16), X16(RZ_TYPE_Q4_0), X16(RZ_TYPE_Q4_1),
    X16(RZ_TYPE_Q5_0), X16(RZ_TYPE_Q5_1), X16(RZ_TYPE_Q8_0), X16(RZ_TYPE_Q4_K), X16(RZ_TYPE_Q5_K),
    X16(RZ_TYPE_Q6_K), X16(RZ_TYPE_Q2_K), X16(RZ_TYPE_Q3_K), X16(RZ_TYPE_IQ1_S), X16(RZ_TYPE_IQ1_M),
    X16(RZ_TYPE_IQ2_XXS), X16(RZ_TYPE_IQ2_XS), X16(RZ_TYPE_IQ2_S), X16(RZ_TYPE_IQ3_XXS),
    X16(RZ_TYPE_IQ3_S), X16(RZ_TYPE_IQ4_NL), X16(RZ_TYPE_IQ4_XS), X16(RZ_TYPE_TQ1_0), X16(RZ_TYPE_TQ2_0),
    X16(RZ_TYPE_MXFP4), X16(RZ_TYPE_NVFP4), X16(RZ_TYPE_Q1_0), X16(RZ_TYPE_Q2_0), X16(RZ_TYPE_F64),
    X16(RZ_TYPE_I8), X16(RZ_TYPE_I16), X16(RZ_TYPE_I32), X16(RZ_TYPE_I64),
};
/* clang-format on */

#define TABLE(numerics) \
    { \
        .size = sizeof(struct rz_kernels), .name = "avx512", .rows = rows_##numerics, \
        .n_rows = sizeof(rows_##numerics) / sizeof(rows_##numerics[0]), \
        .row_stride = sizeof(rows_##numerics[0]), .layouts = layouts, \
        .n_layouts = sizeof(layouts) / sizeof(layouts[0]), .layout_stride = sizeof(layouts[0]), \
    }
static const struct rz_kernels tables[] = {TABLE(int8), TABLE(wide)};

/* clang-format off */
static const struct rz_option options[] = {
    {.size = sizeof(struct rz_option), .type = RZ_OPT_CHOICE, .name = "activations", .def = "int8",
     .choices = "int8|int16",
     .help = "what activations are rounded to: int8, a scale for each 32 elements; int16, a scale a row"},
};
/* clang-format on */

/* self is the table of the numerics that were asked for. */
static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)err;
    *self = (void *)&tables[config && config->n_values && config->values[0].i == 1];
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    return !strcmp(id, RZ_KERNELS_1) && minor_need == 0 ? (self ? self : (void *)&tables[0]) : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER_COMMON, .kinds = RZ_KIND_KERNELS,
               .isa = {RZ_ISA_AVX | RZ_ISA_AVX2 | RZ_ISA_FMA | RZ_ISA_F16C | RZ_ISA_AVX512F |
                       RZ_ISA_AVX512BW | RZ_ISA_AVX512VL | RZ_ISA_AVX512DQ | RZ_ISA_AVX512VNNI},
               .name = "avx512", .version = "0.1.0", .vendor = "rz", .licence = "MIT",
               .provides = "kernels:avx512"},
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .option_stride = sizeof(options[0]),
    .init = init,
    .query = query,
};

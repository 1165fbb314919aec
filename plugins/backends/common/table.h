/* table.h - the table of an x86-64 plugin: which rows there are, and those that work on one row of
 * activations at a time. The .c file that includes this has LAYOUT (its id) and LAYOUT_NAME before it. No
 * ISA here: what needs the instruction set is in kernels_*.c, which the host calls only after the header's
 * isa bits were found on this machine.
 */
#ifndef RZ_X86_TABLE_H
#define RZ_X86_TABLE_H

#include "err.h"
#include "numeric.h"
#include "x86.h"

#include <math.h>
#include <string.h>

/* Is weight w of this node a matrix that the tiles read? */
static bool is_matrix(const struct rz_kernel_node *n, uint32_t w)
{
    switch (n->op) {
    case RZ_OP_NORM_QKV:
        return w >= 1 && w <= 3;
    case RZ_OP_NORM_GLU:
        return w == 1 || w == 2;
    case RZ_OP_GLU_ID:
        return w <= 1;
    case RZ_OP_PROJ_ADD:
    case RZ_OP_MATMUL:
    case RZ_OP_MATMUL_ID:
    case RZ_OP_MATMUL_HEADS:
        return w == 0;
    default:
        return false;
    }
}

static uint32_t layout(const struct rz_kernel_node *n, uint32_t w)
{
    return is_matrix(n, w) ? LAYOUT : 0;
}

/* Matrices of known types, vectors in float32. */
static int32_t accept_weights(const struct rz_kernel_node *n)
{
    for (uint32_t w = 0; w < n->n_weights; w++) {
        if (n->weights[w].type == RZ_TYPE_NONE)
            continue;
        if (is_matrix(n, w) ? !x_type(n->weights[w].type)->block : n->weights[w].type != RZ_TYPE_F32)
            return 0;
    }
    return 1;
}

static int32_t accept_qkv(const struct rz_kernel_node *n)
{
    return accept_weights(n) && attention_accept(n);
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

/* Both norms: what they differ in is in the op. */
static int32_t norm(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_kernel_node *n = c->node;
    const struct norm how = {.w = node_vector(n, 0),
                             .b = node_vector(n, 1),
                             .cols = n->weights[0].type != RZ_TYPE_NONE ? n->weights[0].cols : 1,
                             .parts = node_has(n, RZ_A_PARTS) ? (uint64_t)n->attr[RZ_A_PARTS].i : 1,
                             .eps = n->attr[RZ_A_EPS].f,
                             .layer = n->op == RZ_OP_LAYERNORM};
    act_norm(&how, in_row(c, 0), out_row(c), c->in[0].width);
    return RZ_OK;
}

static int32_t rope(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    uint64_t offset = node_has(c->node, RZ_A_ROPE_OFFSET) ? (uint64_t)a[RZ_A_ROPE_OFFSET].i : 0;
    memcpy(out_row(c), in_row(c, 0), c->in[0].width * sizeof(float));
    rope_row(c, c->tile, out_row(c) + offset, (uint64_t)a[RZ_A_N_HEAD].i);
    return RZ_OK;
}

static int32_t kv_store(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    attention_store_row(c, c->tile, in_row(c, 0), in_row(c, 1));
    return RZ_OK;
}

static int32_t act_mul(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_pair(c->node, in_row(c, 0), in_row(c, 1), out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t act(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_apply(node_act(c->node), in_row(c, 0), NULL, out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t xielu(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    const struct act_xielu how = {.p = (float)a[RZ_A_XIELU_P].f,
                                  .n = (float)a[RZ_A_XIELU_N].f,
                                  .beta = (float)a[RZ_A_XIELU_BETA].f,
                                  .eps = (float)a[RZ_A_EPS].f};
    act_xielu(&how, in_row(c, 0), out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t is_xielu(const struct rz_kernel_node *n)
{
    return node_has(n, RZ_A_XIELU_P);
}

static int32_t columns(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    memcpy(out_row(c), in_row(c, 0) + c->node->attr[RZ_A_COLUMN].i, c->out[0].width * sizeof(float));
    return RZ_OK;
}

static int32_t map(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    double grown = 1;
    if (node_has(c->node, RZ_A_TEMPERATURE))
        grown += a[RZ_A_TEMPERATURE].f *
                 log1p(floor((c->step->rows[c->tile].pos[0] + 1.0) / (double)a[RZ_A_TEMPERATURE].i));
    const struct act_map how = {
        .factor = (float)(node_has(c->node, RZ_A_FACTOR) ? a[RZ_A_FACTOR].f * grown : grown),
        .softcap = node_has(c->node, RZ_A_SOFTCAP) ? (float)a[RZ_A_SOFTCAP].f : 0,
        .clamp = node_has(c->node, RZ_A_CLAMP) ? (float)a[RZ_A_CLAMP].f : 0,
    };
    act_map(&how, in_row(c, 0), out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t mul(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_product(in_row(c, 0), in_row(c, 1), out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t add(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_add(in_row(c, 0), in_row(c, 1), out_row(c), c->out[0].width);
    return RZ_OK;
}

static int32_t sum_id(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n = c->out[0].width;
    act_sum_parts(in_row(c, 0), c->node->n_in > 1 ? in_row(c, 1) : NULL, c->in[0].width / n, out_row(c), n);
    return RZ_OK;
}

static int32_t scale_id(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n = c->in[0].width;
    for (uint64_t k = 0; k < c->in[1].width; k++)
        act_map(&(struct act_map){.factor = in_row(c, 1)[k]}, in_row(c, 0), out_row(c) + k * n, n);
    return RZ_OK;
}

static int32_t gate(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    act_gate(in_row(c, 0), c->in[0].width, in_row(c, 1), out_row(c), c->out[0].width);
    return RZ_OK;
}

/* --- rows of a matrix by number, read as they lie in the file --- */

static int32_t accept_rows(const struct rz_kernel_node *n)
{
    return rz_type_info(n->weights[0].type)->block != 0;
}

static void decode_row(const struct rz_weight_view *w, uint64_t row, float *out)
{
    const uint8_t *rows = w->data;
    rz_type_info(w->type)->decode(rows + w->bytes / w->rows * row, out, w->cols);
}

static int32_t get_rows(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    decode_row(&c->node->weights[0], (uint64_t)c->step->rows[c->tile].token, out_row(c));
    return RZ_OK;
}

static int32_t add_pos(const struct rz_kernel_call *c, struct rz_err *err)
{
    const struct rz_weight_view *w = &c->node->weights[0];
    uint64_t pos = (uint64_t)c->step->rows[c->tile].pos[0];
    if (pos >= w->rows)
        return rz_fail(err, RZ_ELIMIT, "add_pos", "position %llu: the model has %llu learned positions",
                       (unsigned long long)pos, (unsigned long long)w->rows);
    decode_row(w, pos, out_row(c));
    act_add(in_row(c, 0), out_row(c), out_row(c), w->cols);
    return RZ_OK;
}

static int32_t add_row(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_weight_view *w = &c->node->weights[0];
    decode_row(w, (uint64_t)c->node->attr[RZ_A_ROW].i, out_row(c));
    act_add(in_row(c, 0), out_row(c), out_row(c), w->cols);
    return RZ_OK;
}

static int32_t select_rows(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    memcpy(out_row(c), c->in[0].data + c->step->wanted[c->tile] * c->in[0].stride,
           c->out[0].width * sizeof(float));
    return RZ_OK;
}

/* The regions in one numerics. */
#define RUN(name, numerics, wide) \
    static int32_t name##_##numerics(const struct rz_kernel_call *c, struct rz_err *err) \
    { \
        (void)err; \
        return name(c, wide); \
    }
#define RUNS(numerics, wide, coarse) \
    RUN(attention, numerics, coarse) \
    RUN(norm_qkv, numerics, wide) \
    RUN(norm_glu, numerics, wide) \
    RUN(proj_add, numerics, wide) \
    RUN(matmul, numerics, wide)

#define TEAM (RZ_ROW_TEAM | RZ_ROW_INVARIANT)
#define TILED (RZ_ROW_TILED | RZ_ROW_INVARIANT)
#define KV_TYPES (1u << RZ_TYPE_F16 | 1u << RZ_TYPE_BF16 | 1u << RZ_TYPE_F32 | 1u << RZ_TYPE_Q8_0)
#define KV .kv_types = KV_TYPES, .kv_layout = RZ_KV_LAYOUT_T8

#define ROPE RZ_ATTRS_ROPE | RZ_ATTR(RZ_A_ROPE_VARIANTS)
#define ATTENTION \
    RZ_ATTRS_ATTENTION | RZ_ATTRS_MASK | RZ_ATTR(RZ_A_BOTH) | RZ_ATTR(RZ_A_CHUNK) | RZ_ATTR(RZ_A_SINKS)

/* clang-format off */
/* The rows that read or store KV of one layout. fits, fits_qkv: what accepts a node. */
#define KV_ROWS(numerics, label, kv, KV, fits, fits_qkv) \
    RZ_KERNEL_ROW(.op = RZ_OP_NORM_QKV, .flags = TEAM, .weight = RZ_TYPE_ANY, KV, \
                  .name = "norm_qkv " LAYOUT_NAME label, \
                  .attrs = ROPE | RZ_ATTRS_KV | RZ_ATTRS_NORM | RZ_ATTRS_QK | RZ_ATTR_BIAS, \
                  .accept = fits_qkv, .layout = layout, .scratch = norm_qkv_scratch, \
                  .run = norm_qkv_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_ATTEND, .flags = TEAM, .weight = RZ_TYPE_NONE, KV, .name = "attend " kv, \
                  .attrs = ATTENTION, .accept = fits, \
                  .scratch = attention_scratch, .run = attention_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_ATTENTION, .flags = TEAM, .weight = RZ_TYPE_NONE, KV, \
                  .name = "attention " kv, .attrs = ATTENTION, .accept = fits, \
                  .scratch = attention_scratch, .run = attention_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_KV_STORE, .flags = TILED, .weight = RZ_TYPE_NONE, KV, .attrs = RZ_ATTRS_KV, \
                  .accept = fits, .tiles = tiles_by_row, .run = kv_store)

#define ROWS(numerics, label) \
    KV_ROWS(numerics, label, "t8", KV, attention_accept, accept_qkv), \
    RZ_KERNEL_ROW(.op = RZ_OP_PROJ_ADD, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "proj_add " LAYOUT_NAME label, \
                  .attrs = RZ_ATTR_BIAS | RZ_ATTR_EPS | RZ_ATTR(RZ_A_POST_NORM) | RZ_ATTR(RZ_A_FACTOR), \
                  .accept = accept_weights, .layout = layout, .scratch = product_scratch, \
                  .run = proj_add_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_NORM_GLU, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "norm_glu " LAYOUT_NAME label, \
                  .attrs = RZ_ATTRS_NORM | RZ_ATTRS_ACT | RZ_ATTR_BIAS | RZ_ATTR(RZ_A_NO_GATE), \
                  .accept = accept_weights, .layout = layout, .scratch = product_scratch, \
                  .run = norm_glu_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "matmul " LAYOUT_NAME label, \
                  .attrs = RZ_ATTR_BIAS, .accept = accept_weights, .layout = layout, \
                  .scratch = product_scratch, .run = matmul_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_RMSNORM, .flags = TILED, .weight = RZ_TYPE_NONE, \
                  .attrs = RZ_ATTR_EPS | RZ_ATTR(RZ_A_PARTS), .accept = accept_weights, \
                  .tiles = tiles_by_row, .run = norm), \
    RZ_KERNEL_ROW(.op = RZ_OP_LAYERNORM, .flags = TILED, .weight = RZ_TYPE_NONE, \
                  .attrs = RZ_ATTR_EPS | RZ_ATTR(RZ_A_PARTS), .accept = accept_weights, \
                  .tiles = tiles_by_row, .run = norm), \
    RZ_KERNEL_ROW(.op = RZ_OP_ROPE, .flags = TILED, .weight = RZ_TYPE_NONE, \
                  .attrs = ROPE | RZ_ATTR(RZ_A_ROPE_OFFSET), .tiles = tiles_by_row, .run = rope), \
    RZ_KERNEL_ROW(.op = RZ_OP_ACT_MUL, .flags = TILED, .weight = RZ_TYPE_NONE, \
                  .attrs = RZ_ATTRS_ACT | RZ_ATTR(RZ_A_SWIGLU), .tiles = tiles_by_row, .run = act_mul), \
    RZ_KERNEL_ROW(.op = RZ_OP_ACT, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTRS_ACT, \
                  .tiles = tiles_by_row, .run = act), \
    RZ_KERNEL_ROW(.op = RZ_OP_ACT, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTRS_XIELU, \
                  .accept = is_xielu, .tiles = tiles_by_row, .run = xielu), \
    RZ_KERNEL_ROW(.op = RZ_OP_COLUMNS, .flags = TILED, .weight = RZ_TYPE_NONE, \
                  .attrs = RZ_ATTR(RZ_A_COLUMN), .tiles = tiles_by_row, .run = columns), \
    RZ_KERNEL_ROW(.op = RZ_OP_MAP, .flags = TILED, .weight = RZ_TYPE_NONE, \
                  .attrs = RZ_ATTR(RZ_A_FACTOR) | RZ_ATTR(RZ_A_SOFTCAP) | RZ_ATTR(RZ_A_CLAMP) | \
                           RZ_ATTR(RZ_A_TEMPERATURE), \
                  .tiles = tiles_by_row, .run = map), \
    RZ_KERNEL_ROW(.op = RZ_OP_SUM_ID, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = sum_id), \
    RZ_KERNEL_ROW(.op = RZ_OP_SCALE_ID, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = scale_id), \
    RZ_KERNEL_ROW(.op = RZ_OP_GATE, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = gate), \
    RZ_KERNEL_ROW(.op = RZ_OP_MUL, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = mul), \
    RZ_KERNEL_ROW(.op = RZ_OP_ADD, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = add), \
    RZ_KERNEL_ROW(.op = RZ_OP_GET_ROWS, .flags = TILED, .weight = RZ_TYPE_ANY, .accept = accept_rows, \
                  .tiles = tiles_by_row, .run = get_rows), \
    RZ_KERNEL_ROW(.op = RZ_OP_ADD_POS, .flags = TILED, .weight = RZ_TYPE_ANY, .accept = accept_rows, \
                  .tiles = tiles_by_row, .run = add_pos), \
    RZ_KERNEL_ROW(.op = RZ_OP_ADD_ROW, .flags = TILED, .weight = RZ_TYPE_ANY, .accept = accept_rows, \
                  .attrs = RZ_ATTR(RZ_A_ROW), .tiles = tiles_by_row, .run = add_row), \
    RZ_KERNEL_ROW(.op = RZ_OP_SELECT_ROWS, .flags = TILED, .weight = RZ_TYPE_NONE, .tiles = tiles_by_row, \
                  .run = select_rows)

#define AS(TYPE) {.size = sizeof(struct rz_layout), .id = LAYOUT, .type = TYPE, .row_group = GROUP, \
                  .name = LAYOUT_NAME, .bytes = x_bytes, .prep = x_prep}
static const struct rz_layout layouts[] = {
    MORE_LAYOUTS
    AS(RZ_TYPE_F32), AS(RZ_TYPE_F16), AS(RZ_TYPE_BF16), AS(RZ_TYPE_Q4_0), AS(RZ_TYPE_Q4_1),
    AS(RZ_TYPE_Q5_0), AS(RZ_TYPE_Q5_1), AS(RZ_TYPE_Q8_0), AS(RZ_TYPE_Q4_K), AS(RZ_TYPE_Q5_K),
    AS(RZ_TYPE_Q6_K), AS(RZ_TYPE_Q2_K), AS(RZ_TYPE_Q3_K), AS(RZ_TYPE_IQ1_S), AS(RZ_TYPE_IQ1_M),
    AS(RZ_TYPE_IQ2_XXS), AS(RZ_TYPE_IQ2_XS), AS(RZ_TYPE_IQ2_S), AS(RZ_TYPE_IQ3_XXS), AS(RZ_TYPE_IQ3_S),
    AS(RZ_TYPE_IQ4_NL), AS(RZ_TYPE_IQ4_XS), AS(RZ_TYPE_TQ1_0), AS(RZ_TYPE_TQ2_0), AS(RZ_TYPE_MXFP4),
    AS(RZ_TYPE_NVFP4), AS(RZ_TYPE_Q1_0), AS(RZ_TYPE_Q2_0), AS(RZ_TYPE_F64), AS(RZ_TYPE_I8), AS(RZ_TYPE_I16),
    AS(RZ_TYPE_I32), AS(RZ_TYPE_I64),
};
/* clang-format on */

#define TABLE(NAME, ROWS) \
    { \
        .size = sizeof(struct rz_kernels), .name = NAME, .rows = ROWS, \
        .n_rows = sizeof(ROWS) / sizeof(ROWS[0]), .row_stride = sizeof(ROWS[0]), .layouts = layouts, \
        .n_layouts = sizeof(layouts) / sizeof(layouts[0]), .layout_stride = sizeof(layouts[0]), \
    }

#endif

/* avx2.c - the kernel table for x86-64 with AVX2, FMA and F16C: regions run whole, weights in the X8
 * layout, activations as 8-bit blocks of 32 for quantised weights and float32 for the others.
 */
#include "avx2.h"

#define LAYOUT LAYOUT_X8
#define LAYOUT_NAME "x8"
#define MORE_LAYOUTS
#include "../common/route.h"
#include "../common/table.h"

RUNS(int8, 0, 0)

static int32_t get_rows(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    x_decode_row(&c->node->weights[0], (uint64_t)c->step->rows[c->tile].token, out_row(c));
    return RZ_OK;
}

static int32_t add_pos(const struct rz_kernel_call *c, struct rz_err *err)
{
    const struct rz_weight_view *w = &c->node->weights[0];
    uint64_t pos = (uint64_t)c->step->rows[c->tile].pos[0];
    if (pos >= w->rows)
        return rz_fail(err, RZ_ELIMIT, "add_pos", "position %llu: the model has %llu learned positions",
                       (unsigned long long)pos, (unsigned long long)w->rows);
    x_decode_row(w, pos, out_row(c));
    act_add(in_row(c, 0), out_row(c), out_row(c), w->cols);
    return RZ_OK;
}

static int32_t add_row(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_weight_view *w = &c->node->weights[0];
    x_decode_row(w, (uint64_t)c->node->attr[RZ_A_ROW].i, out_row(c));
    act_add(in_row(c, 0), out_row(c), out_row(c), w->cols);
    return RZ_OK;
}

#define LATENT .kv_types = KV_TYPES, .kv_layout = RZ_KV_LAYOUT_ROWS

/* clang-format off */
static const struct rz_kernel_row rows[] = {
    ROWS(int8, ""),
    RZ_KERNEL_ROW(.op = RZ_OP_GET_ROWS, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .name = "get_rows " LAYOUT_NAME,
                  .accept = accept_weights, .layout = layout, .tiles = tiles_by_row, .run = get_rows),
    RZ_KERNEL_ROW(.op = RZ_OP_ADD_POS, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .name = "add_pos " LAYOUT_NAME,
                  .accept = accept_weights, .layout = layout, .tiles = tiles_by_row, .run = add_pos),
    RZ_KERNEL_ROW(.op = RZ_OP_ADD_ROW, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .name = "add_row " LAYOUT_NAME,
                  .attrs = RZ_ATTR(RZ_A_ROW), .accept = accept_weights, .layout = layout,
                  .tiles = tiles_by_row, .run = add_row),
    RZ_KERNEL_ROW(.op = RZ_OP_GLU_ID, .flags = TEAM, .weight = RZ_TYPE_ANY, .name = "glu_id x8",
                  .attrs = RZ_ATTRS_ACT | RZ_ATTR(RZ_A_SWIGLU) | RZ_ATTR_BIAS, .accept = accept_weights,
                  .layout = layout, .scratch = experts_scratch, .run = experts_glu_run),
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL_ID, .flags = TEAM, .weight = RZ_TYPE_ANY, .name = "matmul_id x8",
                  .attrs = RZ_ATTR_BIAS, .accept = accept_weights, .layout = layout,
                  .scratch = experts_scratch, .run = experts_product_run),
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL_HEADS, .flags = TEAM, .weight = RZ_TYPE_ANY, .name = "matmul_heads x8",
                  .attrs = RZ_ATTR(RZ_A_PARTS), .accept = accept_weights, .layout = layout,
                  .scratch = experts_scratch, .run = experts_product_run),
    RZ_KERNEL_ROW(.op = RZ_OP_ROUTE, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTRS_ROUTE,
                  .accept = route_accept, .tiles = tiles_by_row, .run = route),
    RZ_KERNEL_ROW(.op = RZ_OP_KV_STORE, .flags = TILED, .weight = RZ_TYPE_NONE, LATENT,
                  .attrs = RZ_ATTRS_KV | RZ_ATTR(RZ_A_LATENT), .accept = latent_accept,
                  .tiles = tiles_by_row, .run = latent_store),
    RZ_KERNEL_ROW(.op = RZ_OP_ATTENTION, .flags = TILED, .weight = RZ_TYPE_NONE, LATENT,
                  .name = "attention latent", .attrs = RZ_ATTRS_ATTENTION | RZ_ATTR(RZ_A_LATENT),
                  .accept = latent_accept, .tiles = latent_tiles, .run = latent_attention),
    RZ_KERNEL_ROW(.op = RZ_OP_CONV, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .attrs = RZ_ATTR(RZ_A_STATE) | RZ_ATTR_SILU | RZ_ATTR_BIAS, .accept = recurrent_accept,
                  .tiles = conv_tiles, .run = conv_run),
    RZ_KERNEL_ROW(.op = RZ_OP_SCAN, .flags = TILED, .weight = RZ_TYPE_ANY, .attrs = RZ_ATTRS_SCAN,
                  .accept = recurrent_accept, .tiles = scan_tiles, .run = scan_run),
    RZ_KERNEL_ROW(.op = RZ_OP_DELTA, .flags = TILED, .weight = RZ_TYPE_ANY,
                  .attrs = RZ_ATTRS_SCAN | RZ_ATTR_EPS | RZ_ATTR(RZ_A_STRIPED), .accept = recurrent_accept,
                  .tiles = delta_tiles, .run = delta_run),
};
/* clang-format on */
static const struct rz_kernels kernels = TABLE("avx2", rows);

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)config, (void)err;
    *self = NULL;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return !strcmp(id, RZ_KERNELS_1) && minor_need == 0 ? &kernels : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER_COMMON, .kinds = RZ_KIND_KERNELS,
               .isa = {RZ_ISA_AVX | RZ_ISA_AVX2 | RZ_ISA_FMA | RZ_ISA_F16C}, .name = "avx2",
               .version = "0.1.0", .vendor = "rz", .licence = "MIT", .provides = "kernels:avx2"},
    .init = init,
    .query = query,
};

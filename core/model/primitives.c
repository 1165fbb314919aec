/* primitives.c - one node each: norms, products, rope, the KV write, attention, elementwise ops.
 *
 * What an attribute means is said in rz/program.h; an attribute is set only where it changes something,
 * so that a model without a speciality runs on tables that do not know it.
 */
#include "builder.h"

#include "err.h"
#include "numeric.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SWIGLU_LIMIT 7.0 /* of gpt-oss: no file says it */

void rz_build_flag(struct rz_builder *b, uint32_t node, uint32_t id, bool on)
{
    if (on)
        rz_build_attr(b, node, id, 1, 1);
}

void rz_build_double(struct rz_builder *b, uint32_t node, uint32_t id, double f)
{
    if (f != 0)
        rz_build_attr(b, node, id, 0, f);
}

int32_t rz_build_like(struct rz_builder *b, const char *name, int32_t x)
{
    if (b->status)
        return -1;
    struct rz_value v = b->values[x];
    return rz_build_value(b, name, v.rows, v.width);
}

/* --- norms --- */

double rz_build_eps(const struct rz_builder *b, uint32_t norm)
{
    return norm == RZ_NORM_RMS ? b->graph->h.norm_eps : b->graph->h.layer_norm_eps;
}

int32_t rz_prim_norm(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, const struct rz_norm *n)
{
    bool rms = n->kind == RZ_NORM_RMS;
    if (n->kind == RZ_NORM_NONE)
        return x;
    if (y < 0)
        y = rz_build_like(b, "normed", x);
    uint32_t node = rz_build_begin(b, rms ? RZ_OP_RMSNORM : RZ_OP_LAYERNORM, layer,
                                   &(struct rz_operands){.n_in = 1,
                                                         .in = {x},
                                                         .n_out = 1,
                                                         .out = {y},
                                                         .n_weights = rms ? 1 : 2,
                                                         .weights = {n->w, n->bias}});
    rz_build_attr(b, node, RZ_A_EPS, 0, n->eps != 0 ? n->eps : rz_build_eps(b, n->kind));
    if (n->parts)
        rz_build_attr(b, node, RZ_A_PARTS, n->parts, 0);
    rz_build_end(b, node);
    return y;
}

static int32_t norm_weight(struct rz_builder *b, int32_t layer, bool required, const char *name,
                           const char *what)
{
    uint64_t n = b->graph->h.n_embd;
    /* llama.cpp's converter forgets the suffix of one norm of Falcon-H1. */
    if (required && rz_build_has(b, "blk.%d.%s", layer, name))
        return rz_build_weight(b, true, n, 1, "blk.%d.%s", layer, name);
    return layer < 0 ? rz_build_weight(b, required, n, 1, "%s.%s", name, what)
                     : rz_build_weight(b, required, n, 1, "blk.%d.%s.%s", layer, name, what);
}

struct rz_norm rz_bind_norm(struct rz_builder *b, int32_t layer, uint32_t kind, const char *name)
{
    struct rz_norm n = {.kind = kind, .w = -1, .bias = -1};
    if (kind != RZ_NORM_PLAIN && kind != RZ_NORM_NONE)
        n.w = norm_weight(b, layer, true, name, "weight");
    if (kind == RZ_NORM_LAYER)
        n.bias = norm_weight(b, layer, false, name, "bias");
    return n;
}

int32_t rz_build_norm(struct rz_builder *b, int32_t layer, int32_t x, uint32_t kind, const char *name)
{
    struct rz_norm n = rz_bind_norm(b, layer, kind, name);
    return rz_prim_norm(b, layer, x, -1, &n);
}

/* --- products --- */

int32_t rz_prim_matmul(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t w, int32_t bias)
{
    uint32_t node = rz_build_begin(
        b, RZ_OP_MATMUL, layer,
        &(struct rz_operands){
            .n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 2, .weights = {w, bias}});
    rz_build_flag(b, node, RZ_A_BIAS, bias >= 0);
    rz_build_end(b, node);
    return y;
}

/* --- attention --- */

void rz_attrs_rope(struct rz_builder *b, uint32_t node, uint32_t n_head, const struct rz_attn_options *o)
{
    rz_build_attr(b, node, RZ_A_N_HEAD, n_head, 0);
    rz_build_attr(b, node, RZ_A_HEAD_DIM, o->head_dim, 0);
    rz_build_attr(b, node, RZ_A_ROPE, o->rope, 0);
    rz_build_flag(b, node, RZ_A_ROPE_NEOX, o->neox);
    if (o->rope >= 0 && b->rope_pairs >> o->rope & 1)
        rz_build_attr(b, node, RZ_A_ROPE_VARIANTS, 2, 0);
}

int32_t rz_prim_rope(struct rz_builder *b, int32_t layer, int32_t x, uint32_t n_head,
                     const struct rz_attn_options *o)
{
    int32_t y = rz_build_like(b, "roped", x);
    uint32_t node = rz_build_begin(b, RZ_OP_ROPE, layer,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}});
    rz_attrs_rope(b, node, n_head, o);
    rz_build_end(b, node);
    return y;
}

void rz_attrs_kv(struct rz_builder *b, uint32_t node, const struct rz_attn_options *o)
{
    rz_build_attr(b, node, RZ_A_N_KV_HEAD, o->n_kv_head, 0);
    rz_build_attr(b, node, RZ_A_HEAD_DIM, o->head_dim, 0);
    rz_build_attr(b, node, RZ_A_KV_GROUP, o->kv_group, 0);
    rz_build_attr(b, node, RZ_A_KV_LAYER, o->kv_layer, 0);
}

void rz_prim_kv_store(struct rz_builder *b, uint32_t layer, int32_t k, int32_t v,
                      const struct rz_attn_options *o)
{
    uint32_t node =
        rz_build_begin(b, RZ_OP_KV_STORE, (int32_t)layer, &(struct rz_operands){.n_in = 2, .in = {k, v}});
    rz_attrs_kv(b, node, o);
    rz_build_end(b, node);
}

void rz_attrs_attention(struct rz_builder *b, uint32_t node, const struct rz_attn_options *o)
{
    rz_attrs_kv(b, node, o);
    rz_build_attr(b, node, RZ_A_N_HEAD, o->n_head, 0);
    rz_build_attr(b, node, RZ_A_SCALE, 0, o->scale != 0 ? o->scale : 1 / sqrt(o->head_dim));
    if (o->window)
        rz_build_attr(b, node, RZ_A_WINDOW, o->window, 0);
    rz_build_double(b, node, RZ_A_SOFTCAP, o->softcap);
    rz_build_double(b, node, RZ_A_ALIBI, o->alibi);
    if (o->chunk)
        rz_build_attr(b, node, RZ_A_CHUNK, o->chunk, 0);
    rz_build_flag(b, node, RZ_A_SINKS, o->sinks);
    rz_build_flag(b, node, RZ_A_BOTH, o->both);
}

int32_t rz_prim_attention(struct rz_builder *b, uint32_t layer, int32_t q, int32_t y, int32_t sinks,
                          const struct rz_attn_options *o)
{
    uint32_t node = rz_build_begin(
        b, RZ_OP_ATTENTION, (int32_t)layer,
        &(struct rz_operands){
            .n_in = 1, .in = {q}, .n_out = 1, .out = {y}, .n_weights = o->sinks, .weights = {sinks}});
    rz_attrs_attention(b, node, o);
    rz_build_end(b, node);
    return y;
}

/* --- elementwise --- */

int32_t rz_prim_two(struct rz_builder *b, uint16_t op, int32_t layer, int32_t x, int32_t other, int32_t y)
{
    uint32_t node = rz_build_begin(
        b, op, layer,
        &(struct rz_operands){.n_in = other < 0 ? 1 : 2, .in = {x, other}, .n_out = 1, .out = {y}});
    rz_build_end(b, node);
    return y;
}

int32_t rz_prim_add(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t sum)
{
    return rz_prim_two(b, RZ_OP_ADD, layer, x, y, sum);
}

int32_t rz_build_add(struct rz_builder *b, int32_t layer, int32_t x, int32_t y)
{
    return rz_prim_add(b, layer, x, y, rz_build_like(b, "x", x));
}

void rz_attrs_act(struct rz_builder *b, uint32_t node, uint32_t act)
{
    static const uint32_t ids[] = {RZ_A_SILU, RZ_A_GELU, RZ_A_GELU_TANH,
                                   RZ_A_RELU2, [RZ_ACT_SWIGLU] = RZ_A_SWIGLU};
    rz_build_attr(b, node, ids[act], 1, act == RZ_ACT_SWIGLU ? SWIGLU_LIMIT : 1);
}

int32_t rz_prim_act(struct rz_builder *b, int32_t layer, int32_t gate, int32_t up, int32_t y, uint32_t act)
{
    uint32_t node = rz_build_begin(
        b, up < 0 ? RZ_OP_ACT : RZ_OP_ACT_MUL, layer,
        &(struct rz_operands){.n_in = up < 0 ? 1 : 2, .in = {gate, up}, .n_out = 1, .out = {y}});
    rz_attrs_act(b, node, act);
    rz_build_end(b, node);
    return y;
}

static double softplus(double x)
{
    return x > 30 ? x : log1p(exp(x));
}

int32_t rz_prim_xielu(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, const struct rz_xielu *p)
{
    uint32_t node = rz_build_begin(b, RZ_OP_ACT, layer,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}});
    rz_build_attr(b, node, RZ_A_XIELU_P, 0, softplus(p->alpha_p));
    rz_build_attr(b, node, RZ_A_XIELU_N, 0, p->beta + softplus(p->alpha_n));
    rz_build_attr(b, node, RZ_A_XIELU_BETA, 0, p->beta);
    rz_build_attr(b, node, RZ_A_EPS, 0, p->eps);
    rz_build_end(b, node);
    return y;
}

int32_t rz_build_columns(struct rz_builder *b, int32_t layer, int32_t x, uint64_t first, uint64_t n)
{
    int32_t y = rz_build_value(b, "columns", RZ_ROWS_ALL, n);
    uint32_t node = rz_build_begin(b, RZ_OP_COLUMNS, layer,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}});
    rz_build_attr(b, node, RZ_A_COLUMN, (int64_t)first, 0);
    rz_build_end(b, node);
    return y;
}

int32_t rz_build_map(struct rz_builder *b, int32_t layer, int32_t x, const struct rz_map_options *o)
{
    if ((o->factor == 0 || o->factor == 1) && o->softcap == 0 && o->clamp == 0 && !o->temperature_step)
        return x;
    int32_t y = rz_build_like(b, "mapped", x);
    uint32_t node = rz_build_begin(b, RZ_OP_MAP, layer,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}});
    rz_build_double(b, node, RZ_A_FACTOR, o->factor);
    rz_build_double(b, node, RZ_A_SOFTCAP, o->softcap);
    rz_build_double(b, node, RZ_A_CLAMP, o->clamp);
    if (o->temperature_step)
        rz_build_attr(b, node, RZ_A_TEMPERATURE, o->temperature_step, o->temperature_scale);
    rz_build_end(b, node);
    return y;
}

/* --- what single families are made of --- */

int32_t rz_build_product(struct rz_builder *b, int32_t layer, int32_t x, uint64_t n, const char *name)
{
    uint64_t width = b->status ? 0 : b->values[x].width;
    int32_t w = layer < 0 ? rz_build_weight(b, true, width, n, "%s.weight", name)
                          : rz_build_weight(b, true, width, n, "blk.%d.%s.weight", layer, name);
    return rz_prim_matmul(b, layer, x, rz_build_value(b, "product", RZ_ROWS_ALL, n), w, -1);
}

int32_t rz_build_gated(struct rz_builder *b, int32_t layer, int32_t gate, int32_t up, uint32_t act)
{
    return rz_prim_act(b, layer, gate, up, rz_build_like(b, "gated", gate), act);
}

int32_t rz_build_norm_parts(struct rz_builder *b, int32_t layer, int32_t x, uint32_t parts, const char *name)
{
    uint64_t width = b->status ? 0 : b->values[x].width / parts;
    struct rz_norm n = {.bias = -1, .parts = parts};
    n.w = layer < 0 ? rz_build_weight(b, true, width, 1, "%s.weight", name)
                    : rz_build_weight(b, true, width, 1, "blk.%d.%s.weight", layer, name);
    return rz_prim_norm(b, layer, x, -1, &n);
}

double rz_build_scalar(struct rz_builder *b, double fallback, const char *format, ...)
{
    char name[96];
    float f;
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    int32_t w = rz_build_weight(b, false, 1, 1, "%s", name);
    if (w < 0)
        return fallback;
    if (b->weights[w].type != RZ_TYPE_F32) {
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, name, "has type %s, expected F32",
                            rz_type_info(b->weights[w].type)->name);
        return fallback;
    }
    memcpy(&f, b->weights[w].data, sizeof(f));
    return (double)f;
}

/* --- what the first layer reads --- */

int32_t rz_build_lookup(struct rz_builder *b, uint64_t n, const char *name)
{
    int32_t table = rz_build_weight(b, true, n, b->graph->h.n_vocab, "%s.weight", name);
    int32_t x = rz_build_value(b, "looked up", RZ_ROWS_ALL, n);
    uint32_t node =
        rz_build_begin(b, RZ_OP_GET_ROWS, -1,
                       &(struct rz_operands){.n_out = 1, .out = {x}, .n_weights = 1, .weights = {table}});
    rz_build_end(b, node);
    return x;
}

int32_t rz_build_embed(struct rz_builder *b)
{
    return rz_build_lookup(b, b->graph->h.n_embd, "token_embd");
}

int32_t rz_build_token_type(struct rz_builder *b, int32_t x)
{
    uint64_t kinds = rz_build_has(b, "token_types.weight");
    if (!kinds)
        return x;
    int32_t table = rz_build_weight(b, true, b->graph->h.n_embd, kinds, "token_types.weight");
    int32_t y = rz_build_like(b, "typed", x);
    uint32_t node =
        rz_build_begin(b, RZ_OP_ADD_ROW, -1,
                       &(struct rz_operands){
                           .n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 1, .weights = {table}});
    rz_build_attr(b, node, RZ_A_ROW, 0, 0);
    rz_build_end(b, node);
    return y;
}

int32_t rz_build_positions(struct rz_builder *b, int32_t x)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t table = rz_build_weight(b, true, h->n_embd, h->n_ctx_train, "position_embd.weight");
    int32_t y = rz_build_like(b, "placed", x);
    uint32_t node =
        rz_build_begin(b, RZ_OP_ADD_POS, -1,
                       &(struct rz_operands){
                           .n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 1, .weights = {table}});
    rz_build_end(b, node);
    return y;
}

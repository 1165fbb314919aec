/* macros.c - the macro ops and their decompositions into primitives: what families are written in.
 *
 * Invariant: a macro node and its children compute the same from the same inputs, so that any runner
 * may take the node whole or leave it to its parts.
 */
#include "builder.h"

#include <math.h>

int32_t rz_build_kv_group(struct rz_builder *b)
{
    if (b->status || b->n_kv_groups == RZ_BUILD_GROUPS_MAX)
        return -1;
    const struct rz_hparams *h = &b->graph->h;
    b->kv_groups[b->n_kv_groups] = (struct rz_kv_group){.size = sizeof(struct rz_kv_group),
                                                        .kind = RZ_KV_FULL,
                                                        .n_layers = h->n_layer,
                                                        .n_heads = h->n_kv_head,
                                                        .k_dim = h->head_dim,
                                                        .v_dim = h->head_dim};
    return (int32_t)b->n_kv_groups++;
}

int32_t rz_build_embed(struct rz_builder *b)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t table = rz_build_weight(b, true, h->n_embd, h->n_vocab, "token_embd.weight");
    int32_t x = rz_build_value(b, "embedding", RZ_ROWS_ALL, h->n_embd);
    uint32_t node =
        rz_build_begin(b, RZ_OP_GET_ROWS, -1,
                       &(struct rz_operands){.n_out = 1, .out = {x}, .n_weights = 1, .weights = {table}});
    rz_build_end(b, node);
    return x;
}

/* --- primitives --- */

static void set_flag(struct rz_builder *b, uint32_t node, uint32_t id, bool on)
{
    if (on)
        rz_build_attr(b, node, id, 1, 1);
}

static int32_t rmsnorm(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t norm)
{
    uint32_t node =
        rz_build_begin(b, RZ_OP_RMSNORM, layer,
                       &(struct rz_operands){
                           .n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 1, .weights = {norm}});
    rz_build_attr(b, node, RZ_A_EPS, 0, b->graph->h.norm_eps);
    rz_build_end(b, node);
    return y;
}

static int32_t matmul(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t w, int32_t bias)
{
    uint32_t node = rz_build_begin(
        b, RZ_OP_MATMUL, layer,
        &(struct rz_operands){
            .n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 2, .weights = {w, bias}});
    set_flag(b, node, RZ_A_BIAS, bias >= 0);
    rz_build_end(b, node);
    return y;
}

static void rope_attrs(struct rz_builder *b, uint32_t node, uint32_t n_head, const struct rz_attn_options *o)
{
    rz_build_attr(b, node, RZ_A_N_HEAD, n_head, 0);
    rz_build_attr(b, node, RZ_A_HEAD_DIM, b->graph->h.head_dim, 0);
    rz_build_attr(b, node, RZ_A_ROPE, o->rope, 0);
    set_flag(b, node, RZ_A_ROPE_NEOX, o->neox);
}

static int32_t rope(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, uint32_t n_head,
                    const struct rz_attn_options *o)
{
    uint32_t node = rz_build_begin(b, RZ_OP_ROPE, layer,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}});
    rope_attrs(b, node, n_head, o);
    rz_build_end(b, node);
    return y;
}

static void kv_attrs(struct rz_builder *b, uint32_t node, uint32_t layer, const struct rz_attn_options *o)
{
    rz_build_attr(b, node, RZ_A_N_KV_HEAD, b->graph->h.n_kv_head, 0);
    rz_build_attr(b, node, RZ_A_HEAD_DIM, b->graph->h.head_dim, 0);
    rz_build_attr(b, node, RZ_A_KV_GROUP, o->kv_group, 0);
    rz_build_attr(b, node, RZ_A_KV_LAYER, layer, 0);
}

static void attention_attrs(struct rz_builder *b, uint32_t node, uint32_t layer,
                            const struct rz_attn_options *o)
{
    kv_attrs(b, node, layer, o);
    rz_build_attr(b, node, RZ_A_N_HEAD, b->graph->h.n_head, 0);
    rz_build_attr(b, node, RZ_A_SCALE, 0, 1 / sqrt(b->graph->h.head_dim));
}

static int32_t add(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t sum)
{
    uint32_t node = rz_build_begin(b, RZ_OP_ADD, layer,
                                   &(struct rz_operands){.n_in = 2, .in = {x, y}, .n_out = 1, .out = {sum}});
    rz_build_end(b, node);
    return sum;
}

/* --- regions --- */

/* Weights of one attention half. */
struct attn_weights {
    int32_t norm, q, k, v, bq, bk, bv, out, bo;
};

static int32_t norm_qkv(struct rz_builder *b, uint32_t layer, int32_t x, const struct attn_weights *w,
                        const struct rz_attn_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t q_width = (uint64_t)h->n_head * h->head_dim, kv_width = (uint64_t)h->n_kv_head * h->head_dim;
    int32_t l = (int32_t)layer, q = rz_build_value(b, "q", RZ_ROWS_ALL, q_width);
    uint32_t node =
        rz_build_begin(b, RZ_OP_NORM_QKV, l,
                       &(struct rz_operands){.n_in = 1,
                                             .in = {x},
                                             .n_out = 1,
                                             .out = {q},
                                             .n_weights = 7,
                                             .weights = {w->norm, w->q, w->k, w->v, w->bq, w->bk, w->bv}});
    rz_build_attr(b, node, RZ_A_EPS, 0, h->norm_eps);
    kv_attrs(b, node, layer, o);
    rope_attrs(b, node, h->n_head, o);
    set_flag(b, node, RZ_A_BIAS, w->bq >= 0 || w->bk >= 0 || w->bv >= 0);

    int32_t n = rmsnorm(b, l, x, rz_build_value(b, "normed", RZ_ROWS_ALL, h->n_embd), w->norm);
    int32_t q0 = matmul(b, l, n, rz_build_value(b, "q0", RZ_ROWS_ALL, q_width), w->q, w->bq);
    int32_t k0 = matmul(b, l, n, rz_build_value(b, "k0", RZ_ROWS_ALL, kv_width), w->k, w->bk);
    int32_t v = matmul(b, l, n, rz_build_value(b, "v", RZ_ROWS_ALL, kv_width), w->v, w->bv);
    rope(b, l, q0, q, h->n_head, o);
    int32_t k = rope(b, l, k0, rz_build_value(b, "k", RZ_ROWS_ALL, kv_width), h->n_kv_head, o);
    uint32_t store = rz_build_begin(b, RZ_OP_KV_STORE, l, &(struct rz_operands){.n_in = 2, .in = {k, v}});
    kv_attrs(b, store, layer, o);
    rz_build_end(b, store);
    rz_build_end(b, node);
    return q;
}

static int32_t attend(struct rz_builder *b, uint32_t layer, int32_t q, const struct rz_attn_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t y = rz_build_value(b, "attended", RZ_ROWS_ALL, (uint64_t)h->n_head * h->head_dim);
    struct rz_operands operands = {.n_in = 1, .in = {q}, .n_out = 1, .out = {y}};
    uint32_t region = rz_build_begin(b, RZ_OP_ATTEND, (int32_t)layer, &operands);
    attention_attrs(b, region, layer, o);
    uint32_t node = rz_build_begin(b, RZ_OP_ATTENTION, (int32_t)layer, &operands);
    attention_attrs(b, node, layer, o);
    rz_build_end(b, node);
    rz_build_end(b, region);
    return y;
}

static int32_t proj_add(struct rz_builder *b, uint32_t layer, int32_t y, int32_t x, int32_t w, int32_t bias)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t l = (int32_t)layer, sum = rz_build_value(b, "x", RZ_ROWS_ALL, h->n_embd);
    uint32_t node = rz_build_begin(
        b, RZ_OP_PROJ_ADD, l,
        &(struct rz_operands){
            .n_in = 2, .in = {y, x}, .n_out = 1, .out = {sum}, .n_weights = 2, .weights = {w, bias}});
    set_flag(b, node, RZ_A_BIAS, bias >= 0);
    int32_t p = matmul(b, l, y, rz_build_value(b, "projected", RZ_ROWS_ALL, h->n_embd), w, bias);
    add(b, l, p, x, sum);
    rz_build_end(b, node);
    return sum;
}

static int32_t norm_glu(struct rz_builder *b, uint32_t layer, int32_t x, const int32_t *w)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t l = (int32_t)layer, y = rz_build_value(b, "h", RZ_ROWS_ALL, h->n_ff);
    uint32_t node = rz_build_begin(b, RZ_OP_NORM_GLU, l,
                                   &(struct rz_operands){.n_in = 1,
                                                         .in = {x},
                                                         .n_out = 1,
                                                         .out = {y},
                                                         .n_weights = 5,
                                                         .weights = {w[0], w[1], w[2], w[3], w[4]}});
    rz_build_attr(b, node, RZ_A_EPS, 0, h->norm_eps);
    set_flag(b, node, RZ_A_SILU, true);
    set_flag(b, node, RZ_A_BIAS, w[3] >= 0 || w[4] >= 0);
    int32_t n = rmsnorm(b, l, x, rz_build_value(b, "normed", RZ_ROWS_ALL, h->n_embd), w[0]);
    int32_t gate = matmul(b, l, n, rz_build_value(b, "gate", RZ_ROWS_ALL, h->n_ff), w[1], w[3]);
    int32_t up = matmul(b, l, n, rz_build_value(b, "up", RZ_ROWS_ALL, h->n_ff), w[2], w[4]);
    uint32_t act = rz_build_begin(b, RZ_OP_ACT_MUL, l,
                                  &(struct rz_operands){.n_in = 2, .in = {gate, up}, .n_out = 1, .out = {y}});
    set_flag(b, act, RZ_A_SILU, true);
    rz_build_end(b, act);
    rz_build_end(b, node);
    return y;
}

/* --- blocks --- */

/* The value that the last node of an ended region writes has to be known before the block begins, so a
 * block's output is bound after its regions are built. */
static void bind_output(struct rz_builder *b, uint32_t node, uint32_t i, int32_t value)
{
    if (!b->status)
        b->refs[b->nodes[node].first_out + i] = value;
}

int32_t rz_build_attn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_attn_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t q_width = (uint64_t)h->n_head * h->head_dim, kv_width = (uint64_t)h->n_kv_head * h->head_dim;
    bool need = o->qkv_bias, want = o->qkv_bias || o->optional_bias;
    struct attn_weights w = {
        .norm = rz_build_weight(b, true, h->n_embd, 1, "blk.%u.attn_norm.weight", layer),
        .q = rz_build_weight(b, true, h->n_embd, q_width, "blk.%u.attn_q.weight", layer),
        .k = rz_build_weight(b, true, h->n_embd, kv_width, "blk.%u.attn_k.weight", layer),
        .v = rz_build_weight(b, true, h->n_embd, kv_width, "blk.%u.attn_v.weight", layer),
        .bq = want ? rz_build_weight(b, need, q_width, 1, "blk.%u.attn_q.bias", layer) : -1,
        .bk = want ? rz_build_weight(b, need, kv_width, 1, "blk.%u.attn_k.bias", layer) : -1,
        .bv = want ? rz_build_weight(b, need, kv_width, 1, "blk.%u.attn_v.bias", layer) : -1,
        .out = rz_build_weight(b, true, q_width, h->n_embd, "blk.%u.attn_output.weight", layer),
        .bo =
            o->optional_bias ? rz_build_weight(b, false, h->n_embd, 1, "blk.%u.attn_output.bias", layer) : -1,
    };
    uint32_t node = rz_build_begin(
        b, RZ_OP_ATTN, (int32_t)layer,
        &(struct rz_operands){.n_in = 1,
                              .in = {x},
                              .n_out = 1,
                              .out = {-1},
                              .n_weights = 9,
                              .weights = {w.norm, w.q, w.k, w.v, w.bq, w.bk, w.bv, w.out, w.bo}});
    rz_build_attr(b, node, RZ_A_EPS, 0, h->norm_eps);
    rope_attrs(b, node, h->n_head, o);
    attention_attrs(b, node, layer, o);
    set_flag(b, node, RZ_A_BIAS, w.bq >= 0 || w.bk >= 0 || w.bv >= 0 || w.bo >= 0);
    int32_t q = norm_qkv(b, layer, x, &w, o);
    int32_t y = attend(b, layer, q, o);
    int32_t sum = proj_add(b, layer, y, x, w.out, w.bo);
    bind_output(b, node, 0, sum);
    rz_build_end(b, node);
    return sum;
}

int32_t rz_build_ffn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ffn_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    bool want = o->optional_bias;
    int32_t w[7] = {
        rz_build_weight(b, true, h->n_embd, 1, "blk.%u.ffn_norm.weight", layer),
        rz_build_weight(b, true, h->n_embd, h->n_ff, "blk.%u.ffn_gate.weight", layer),
        rz_build_weight(b, true, h->n_embd, h->n_ff, "blk.%u.ffn_up.weight", layer),
        want ? rz_build_weight(b, false, h->n_ff, 1, "blk.%u.ffn_gate.bias", layer) : -1,
        want ? rz_build_weight(b, false, h->n_ff, 1, "blk.%u.ffn_up.bias", layer) : -1,
        rz_build_weight(b, true, h->n_ff, h->n_embd, "blk.%u.ffn_down.weight", layer),
        want ? rz_build_weight(b, false, h->n_embd, 1, "blk.%u.ffn_down.bias", layer) : -1,
    };
    struct rz_operands operands = {.n_in = 1, .in = {x}, .n_out = 1, .out = {-1}, .n_weights = 7};
    for (uint32_t i = 0; i < 7; i++)
        operands.weights[i] = w[i];
    uint32_t node = rz_build_begin(b, RZ_OP_FFN, (int32_t)layer, &operands);
    rz_build_attr(b, node, RZ_A_EPS, 0, h->norm_eps);
    set_flag(b, node, RZ_A_SILU, true);
    set_flag(b, node, RZ_A_BIAS, w[3] >= 0 || w[4] >= 0 || w[6] >= 0);
    int32_t y = norm_glu(b, layer, x, w);
    int32_t sum = proj_add(b, layer, y, x, w[5], w[6]);
    bind_output(b, node, 0, sum);
    rz_build_end(b, node);
    return sum;
}

void rz_build_head(struct rz_builder *b, int32_t x)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t norm = rz_build_weight(b, true, h->n_embd, 1, "output_norm.weight");
    int32_t w = rz_build_weight(b, false, h->n_embd, h->n_vocab, "output.weight");
    if (w < 0) /* tied */
        w = rz_build_weight(b, true, h->n_embd, h->n_vocab, "token_embd.weight");
    int32_t wanted = rz_build_value(b, "wanted", RZ_ROWS_WANTED, h->n_embd);
    uint32_t select = rz_build_begin(
        b, RZ_OP_SELECT_ROWS, -1, &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {wanted}});
    rz_build_end(b, select);
    b->hidden = rz_build_value(b, "hidden", RZ_ROWS_WANTED, h->n_embd);
    b->logits = rz_build_value(b, "logits", RZ_ROWS_WANTED, h->n_vocab);
    uint32_t node = rz_build_begin(b, RZ_OP_HEAD, -1,
                                   &(struct rz_operands){.n_in = 1,
                                                         .in = {wanted},
                                                         .n_out = 2,
                                                         .out = {b->hidden, b->logits},
                                                         .n_weights = 3,
                                                         .weights = {norm, w, -1}});
    rz_build_attr(b, node, RZ_A_EPS, 0, h->norm_eps);
    rmsnorm(b, -1, wanted, b->hidden, norm);
    matmul(b, -1, b->hidden, b->logits, w, -1);
    rz_build_end(b, node);
}

/* experts.c - the feed-forward half as a mixture of experts: the moe block, its regions and its parts.
 *
 * Owns which experts a row chooses (attributes of ROUTE, from the file and the family) and how the tensors of
 * all experts are bound: as one, as gate and up in one, or as one a matrix. Invariant: as in macros.c, a
 * macro and its children compute the same.
 */
#include "builder.h"

#include "numeric.h"

#include <stdio.h>
#include <string.h>

struct moe_weights {
    struct rz_norm norm;
    int32_t router, b_router, b_choice, gate, up, down, b_gate, b_up, b_down;
    int32_t s_switch, s_gate, s_up, s_down; /* the shared expert */
};

/* --- weights --- */

/* One tensor an expert, as in older files: they become one weight, which takes a copy. */
static int32_t stacked(struct rz_builder *b, uint32_t layer, const char *name, uint64_t cols, uint64_t rows)
{
    struct rz_weight one, first;
    struct rz_part p = {.cols = cols, .rows = rows};
    uint8_t *to = NULL;
    int32_t all = -1;
    char full[96];
    for (uint32_t e = 0; e < b->graph->h.n_expert; e++) {
        snprintf(full, sizeof(full), "blk.%u.%s.%u.weight", layer, name, e);
        if (!rz_build_locate(b, &p, full, &one))
            return -1;
        if (e == 0) {
            first = one;
            all = rz_build_own(b, &one, one.type, cols, rows * b->graph->h.n_expert, &to);
            if (all < 0)
                return -1;
        }
        if (one.type != first.type) {
            b->status = rz_fail(b->err, RZ_EUNSUPPORTED, full, "is of type %s, that of expert 0 of type %s",
                                rz_type_info(one.type)->name, rz_type_info(first.type)->name);
            return -1;
        }
        memcpy(to + e * one.bytes, one.data, one.bytes);
    }
    return all;
}

/* `half`: which half of a tensor of gate and up this one is. */
static int32_t experts(struct rz_builder *b, uint32_t layer, const char *name, uint64_t cols, uint64_t rows,
                       uint32_t half)
{
    struct rz_part p = {.cols = cols, .rows = rows, .depth = b->graph->h.n_expert};
    bool own = rz_build_has(b, "blk.%u.%s_exps.weight", layer, name);
    if (!own && rz_build_has(b, "blk.%u.%s.0.weight", layer, name))
        return stacked(b, layer, name, cols, rows);
    if (own || half > 1 || !rz_build_has(b, "blk.%u.ffn_gate_up_exps.weight", layer))
        return rz_build_part(b, &p, "blk.%u.%s_exps.weight", layer, name);
    p.rows = 2 * rows;
    p.first = half * rows;
    p.n = rows;
    return rz_build_part(b, &p, "blk.%u.ffn_gate_up_exps.weight", layer);
}

static int32_t expert_bias(struct rz_builder *b, uint32_t layer, const char *name, uint64_t n)
{
    struct rz_part p = {.cols = n, .rows = b->graph->h.n_expert, .flat = true, .optional = true};
    return rz_build_part(b, &p, "blk.%u.%s_exps.bias", layer, name);
}

static uint64_t expert_ff(const struct rz_hparams *h)
{
    return h->n_ff_exp ? h->n_ff_exp : h->n_ff;
}

static void bind_shared(struct rz_builder *b, uint32_t layer, struct moe_weights *w)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t n = h->n_embd, ff = expert_ff(h) * (h->n_expert_shared ? h->n_expert_shared : 1);
    if (h->n_ff_shexp)
        ff = h->n_ff_shexp;
    if (!rz_build_has(b, "blk.%u.ffn_up_shexp.weight", layer))
        return;
    w->s_gate = rz_build_weight(b, true, n, ff, "blk.%u.ffn_gate_shexp.weight", layer);
    w->s_up = rz_build_weight(b, true, n, ff, "blk.%u.ffn_up_shexp.weight", layer);
    w->s_down = rz_build_weight(b, true, ff, n, "blk.%u.ffn_down_shexp.weight", layer);
    w->s_switch = rz_build_weight(b, false, n, 1, "blk.%u.ffn_gate_inp_shexp.weight", layer);
}

static void bind_moe(struct rz_builder *b, uint32_t layer, const struct rz_moe_options *o,
                     struct moe_weights *w)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t n = h->n_embd, ff = expert_ff(h);
    *w = (struct moe_weights){.s_switch = -1, .s_gate = -1, .s_up = -1, .s_down = -1};
    w->norm = rz_bind_norm(b, (int32_t)layer, o->half.norm, o->half.pre ? o->half.pre : "ffn_norm");
    w->router = rz_build_weight(b, true, n, h->n_expert, "blk.%u.ffn_gate_inp.weight", layer);
    w->b_router = rz_build_weight(b, false, h->n_expert, 1, "blk.%u.ffn_gate_inp.bias", layer);
    w->b_choice = rz_build_weight(b, false, h->n_expert, 1, "blk.%u.exp_probs_b.bias", layer);
    w->gate = experts(b, layer, "ffn_gate", n, ff, 0);
    w->up = experts(b, layer, "ffn_up", n, ff, 1);
    w->down = experts(b, layer, "ffn_down", ff, n, 2);
    w->b_gate = expert_bias(b, layer, "ffn_gate", ff);
    w->b_up = expert_bias(b, layer, "ffn_up", ff);
    w->b_down = expert_bias(b, layer, "ffn_down", n);
    bind_shared(b, layer, w);
}

/* --- routing --- */

/* GGUF's numbers of gating functions. */
static uint32_t route_rule(struct rz_builder *b, const struct rz_moe_options *o)
{
    static const uint32_t rules[] = {0, RZ_ROUTE_SOFTMAX, RZ_ROUTE_SIGMOID, RZ_ROUTE_SOFTMAX_CHOSEN};
    uint32_t gating = b->graph->h.gating;
    if (gating < sizeof(rules) / sizeof(rules[0]))
        return gating ? rules[gating] : o->route;
    if (!b->status)
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, "expert_gating_func",
                            "is %u: this rz has 1 (softmax), 2 (sigmoid), 3 (softmax of the chosen)", gating);
    return 0;
}

/* Groups rank by their best expert with softmax (DeepSeek V2), by the best two with sigmoid (V3). */
static void attrs_route(struct rz_builder *b, uint32_t node, const struct moe_weights *w,
                        const struct rz_moe_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    uint32_t rule = route_rule(b, o);
    rz_build_attr(b, node, RZ_A_ROUTE, rule, rule == RZ_ROUTE_SPARSE_MIXER ? o->near : 0);
    if (h->set & RZ_H_EXPERT_NORM ? h->expert_norm : o->renorm)
        rz_build_attr(b, node, RZ_A_RENORM, 0, o->renorm_plus);
    if (h->expert_scale != 1)
        rz_build_attr(b, node, RZ_A_FACTOR, 0, h->expert_scale);
    rz_build_flag(b, node, RZ_A_BIAS, w->b_choice >= 0);
    if (h->n_group > 1 && h->n_group_used < h->n_group) {
        rz_build_attr(b, node, RZ_A_EXPERT_GROUPS, h->n_group, h->n_group_used);
        rz_build_attr(b, node, RZ_A_GROUP_RANK, rule == RZ_ROUTE_SIGMOID ? 2 : 1, 0);
    }
}

struct chosen {
    int32_t ids, weights;
};

static struct chosen route(struct rz_builder *b, int32_t l, int32_t n, const struct moe_weights *w,
                           const struct rz_moe_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t logits = rz_build_value(b, "router", RZ_ROWS_ALL, h->n_expert);
    struct chosen c = {rz_build_value(b, "experts", RZ_ROWS_ALL, h->n_expert_used),
                       rz_build_value(b, "shares", RZ_ROWS_ALL, h->n_expert_used)};
    rz_prim_matmul(b, l, n, logits, w->router, w->b_router);
    uint32_t node = rz_build_begin(b, RZ_OP_ROUTE, l,
                                   &(struct rz_operands){.n_in = 1,
                                                         .in = {logits},
                                                         .n_out = 2,
                                                         .out = {c.ids, c.weights},
                                                         .n_weights = 1,
                                                         .weights = {w->b_choice}});
    attrs_route(b, node, w, o);
    rz_build_end(b, node);
    return c;
}

/* --- experts --- */

static int32_t prim_id(struct rz_builder *b, int32_t l, int32_t x, int32_t ids, int32_t y, int32_t w,
                       int32_t bias)
{
    uint32_t node = rz_build_begin(
        b, RZ_OP_MATMUL_ID, l,
        &(struct rz_operands){
            .n_in = 2, .in = {x, ids}, .n_out = 1, .out = {y}, .n_weights = 2, .weights = {w, bias}});
    rz_build_flag(b, node, RZ_A_BIAS, bias >= 0);
    rz_build_end(b, node);
    return y;
}

static int32_t glu_id(struct rz_builder *b, int32_t l, int32_t x, int32_t ids, const struct moe_weights *w,
                      uint32_t act)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t y = rz_build_value(b, "h", RZ_ROWS_ALL, expert_ff(h) * h->n_expert_used);
    uint32_t node = rz_build_begin(b, RZ_OP_GLU_ID, l,
                                   &(struct rz_operands){.n_in = 2,
                                                         .in = {x, ids},
                                                         .n_out = 1,
                                                         .out = {y},
                                                         .n_weights = 4,
                                                         .weights = {w->gate, w->up, w->b_gate, w->b_up}});
    rz_attrs_act(b, node, act);
    rz_build_flag(b, node, RZ_A_BIAS, w->b_gate >= 0 || w->b_up >= 0);
    int32_t gate = prim_id(b, l, x, ids, rz_build_like(b, "gate", y), w->gate, w->b_gate);
    int32_t up = prim_id(b, l, x, ids, rz_build_like(b, "up", y), w->up, w->b_up);
    rz_prim_act(b, l, gate, up, y, act);
    rz_build_end(b, node);
    return y;
}

/* weights -1: the results are added as they are. */
static int32_t proj_id(struct rz_builder *b, int32_t l, int32_t x, int32_t ids, int32_t weights,
                       const struct moe_weights *w)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t y = rz_build_value(b, "mixed", RZ_ROWS_ALL, h->n_embd);
    int32_t parts = rz_build_value(b, "projected", RZ_ROWS_ALL, (uint64_t)h->n_embd * h->n_expert_used);
    uint32_t node = rz_build_begin(b, RZ_OP_PROJ_ID, l,
                                   &(struct rz_operands){.n_in = weights < 0 ? 2 : 3,
                                                         .in = {x, ids, weights},
                                                         .n_out = 1,
                                                         .out = {y},
                                                         .n_weights = 2,
                                                         .weights = {w->down, w->b_down}});
    rz_build_flag(b, node, RZ_A_BIAS, w->b_down >= 0);
    prim_id(b, l, x, ids, parts, w->down, w->b_down);
    rz_prim_two(b, RZ_OP_SUM_ID, l, parts, weights, y);
    rz_build_end(b, node);
    return y;
}

/* y plus what the expert that all rows share makes of n. */
static int32_t add_shared(struct rz_builder *b, int32_t l, int32_t n, int32_t y, const struct moe_weights *w,
                          uint32_t act)
{
    if (w->s_up < 0 || b->status)
        return y;
    int32_t up = rz_build_value(b, "up", RZ_ROWS_ALL, b->weights[w->s_up].rows);
    int32_t gate = rz_prim_matmul(b, l, n, rz_build_like(b, "gate", up), w->s_gate, -1);
    rz_prim_matmul(b, l, n, up, w->s_up, -1);
    int32_t h = rz_prim_act(b, l, gate, up, rz_build_like(b, "h", up), act);
    int32_t shared = rz_prim_matmul(b, l, h, rz_build_like(b, "shared", y), w->s_down, -1);
    if (w->s_switch >= 0) {
        int32_t on = rz_build_value(b, "switch", RZ_ROWS_ALL, 1);
        rz_prim_matmul(b, l, n, on, w->s_switch, -1);
        shared = rz_prim_two(b, RZ_OP_GATE, l, on, shared, rz_build_like(b, "gated", y));
    }
    return rz_build_add(b, l, y, shared);
}

/* --- the block --- */

static uint32_t begin_block(struct rz_builder *b, uint32_t layer, int32_t x, const struct moe_weights *w,
                            const struct rz_moe_options *o)
{
    uint32_t node = rz_build_begin(
        b, RZ_OP_MOE, (int32_t)layer,
        &(struct rz_operands){.n_in = 1,
                              .in = {x},
                              .n_out = 1,
                              .out = {-1},
                              .n_weights = 14,
                              .weights = {w->norm.w, w->router, w->b_router, w->b_choice, w->gate, w->up,
                                          w->down, w->b_gate, w->b_up, w->b_down, w->s_switch, w->s_gate,
                                          w->s_up, w->s_down}});
    rz_build_attr(b, node, RZ_A_EPS, 0, b->graph->h.norm_eps);
    rz_build_attr(b, node, RZ_A_PARTS, b->graph->h.n_expert_used, 0);
    rz_attrs_act(b, node, o->half.act);
    attrs_route(b, node, w, o);
    rz_build_flag(b, node, RZ_A_BIAS,
                  w->b_router >= 0 || w->b_choice >= 0 || w->b_gate >= 0 || w->b_up >= 0 || w->b_down >= 0);
    return node;
}

int32_t rz_build_moe(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_moe_options *o)
{
    struct moe_weights w;
    int32_t l = (int32_t)layer;
    uint32_t node = 0;
    if (!rz_build_has(b, "blk.%u.ffn_gate_inp.weight", layer))
        return rz_build_ffn(b, layer, x, &o->half);
    bind_moe(b, layer, o, &w);
    struct rz_close c = {-1, -1, o->half.branch, rz_bind_post(b, layer, o->half.post), o->half.residual};
    bool block = o->half.norm == RZ_NORM_RMS && rz_close_is_plain(&c) && !o->scale_input;
    if (block)
        node = begin_block(b, layer, x, &w, o);
    int32_t n = rz_prim_norm(b, l, x, -1, &w.norm);
    struct chosen to = route(b, l, n, &w, o);
    int32_t in = n;
    if (o->scale_input)
        in = rz_prim_two(b, RZ_OP_SCALE_ID, l, n, to.weights,
                         rz_build_value(b, "scaled", RZ_ROWS_ALL,
                                        (uint64_t)b->graph->h.n_embd * b->graph->h.n_expert_used));
    int32_t y = glu_id(b, l, in, to.ids, &w, o->half.act);
    y = proj_id(b, l, y, to.ids, o->scale_input ? -1 : to.weights, &w);
    y = add_shared(b, l, n, y, &w, o->half.act);
    int32_t sum = rz_close_half(b, layer, y, x, &c);
    if (block) {
        rz_bind_output(b, node, sum);
        rz_build_end(b, node);
    }
    return sum;
}

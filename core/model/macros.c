/* macros.c - the macro ops and their decompositions into primitives: what families are written in.
 *
 * Invariant: a macro node and its children compute the same from the same inputs, so that any runner
 * may take the node whole or leave it to its parts. What a region does besides the plain arithmetic, or
 * leaves out, is an attribute of it, so that a runner that does not know it never gets the node. A block is
 * there only around plain regions.
 */
#include "builder.h"

int32_t rz_build_place(struct rz_builder *b, struct rz_kv_group want, int32_t *layer)
{
    uint32_t i = 0;
    want.size = sizeof(want);
    for (; i < b->n_kv_groups; i++) {
        const struct rz_kv_group *g = &b->kv_groups[i];
        if (g->kind == want.kind && g->window == want.window && g->n_heads == want.n_heads &&
            g->k_dim == want.k_dim && g->v_dim == want.v_dim)
            break;
    }
    if (!b->status && i == RZ_BUILD_GROUPS_MAX)
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, "program",
                            "layers of more than %d kinds of windows and heads", RZ_BUILD_GROUPS_MAX);
    if (b->status)
        return -1;
    if (i == b->n_kv_groups)
        b->kv_groups[b->n_kv_groups++] = want;
    *layer = (int32_t)b->kv_groups[i].n_layers++;
    return (int32_t)i;
}

/* The options with what they leave to the hyperparameters, and a place for the layer's KV. */
static struct rz_attn_options complete(struct rz_builder *b, const struct rz_attn_options *given)
{
    const struct rz_hparams *h = &b->graph->h;
    struct rz_attn_options o = *given;
    o.n_head = o.n_head ? o.n_head : h->n_head;
    o.n_kv_head = o.n_kv_head ? o.n_kv_head : h->n_kv_head;
    o.head_dim = o.head_dim ? o.head_dim : h->head_dim;
    uint32_t window = o.window ? o.window : o.chunk; /* no chunk reaches back further */
    struct rz_kv_group want = {.kind = window ? RZ_KV_WINDOW : RZ_KV_FULL,
                               .n_heads = o.n_kv_head,
                               .k_dim = o.head_dim,
                               .v_dim = o.head_dim,
                               .window = window};
    o.kv_group = rz_build_place(b, want, &o.kv_layer);
    return o;
}

void rz_bind_output(struct rz_builder *b, uint32_t node, int32_t value)
{
    if (!b->status)
        b->refs[b->nodes[node].first_out] = value;
}

/* --- weights of one attention half --- */

struct attn_weights {
    struct rz_norm norm;
    int32_t q, k, v, bq, bk, bv, out, bo, q_norm, k_norm, sinks, gate;
};

/* Rows first..first+n-1 of blk.LAYER.NAME, that is of a tensor of its own or of the fused one, which has
 * `fused` rows. */
static int32_t qkv_part(struct rz_builder *b, uint32_t layer, uint64_t fused, bool bias, bool optional,
                        const char *name, uint64_t first, uint64_t n)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t rows = fused ? fused : n;
    struct rz_part p = {.optional = optional, .first = fused ? first : 0, .n = fused ? n : 0};
    p.cols = bias ? rows : h->n_embd;
    p.rows = bias ? 1 : rows;
    return rz_build_part(b, &p, "blk.%u.%s.%s", layer, fused ? "attn_qkv" : name, bias ? "bias" : "weight");
}

static int32_t qk_norm_weight(struct rz_builder *b, uint32_t layer, const char *name, uint32_t n_head,
                              const struct rz_attn_options *o)
{
    uint64_t dim = o->head_dim;
    struct rz_part p = {.cols = o->qk_norm == RZ_QK_ROW ? n_head * dim : dim,
                        .rows = o->qk_norm == RZ_QK_LAYER ? n_head : 1,
                        .flat = true};
    bool has = o->qk_norm && o->qk_norm != RZ_QK_PLAIN;
    return has ? rz_build_part(b, &p, "blk.%u.%s.weight", layer, name) : -1;
}

/* attn_q has each head's rows twice: for the query, then for the gate of its result. */
static void bind_gated(struct rz_builder *b, uint32_t layer, const struct rz_attn_options *o,
                       struct attn_weights *w)
{
    struct rz_part p = {.cols = b->graph->h.n_embd, .rows = 2 * (uint64_t)o->head_dim, .depth = o->n_head};
    p.n = o->head_dim;
    w->q = rz_build_part(b, &p, "blk.%u.attn_q.weight", layer);
    p.first = o->head_dim;
    w->gate = rz_build_part(b, &p, "blk.%u.attn_q.weight", layer);
}

static void bind_attn(struct rz_builder *b, uint32_t layer, const struct rz_attn_options *o,
                      struct attn_weights *w)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t q = (uint64_t)o->n_head * o->head_dim, kv = (uint64_t)o->n_kv_head * o->head_dim;
    uint64_t fused = rz_build_has(b, "blk.%u.attn_qkv.weight", layer) ? q + 2 * kv : 0;
    *w = (struct attn_weights){.bq = -1, .bk = -1, .bv = -1, .bo = -1, .sinks = -1, .gate = -1};
    w->norm = rz_bind_norm(b, (int32_t)layer, o->norm, o->pre ? o->pre : "attn_norm");
    if (o->gated)
        bind_gated(b, layer, o, w);
    else
        w->q = qkv_part(b, layer, fused, false, false, "attn_q", 0, q);
    w->k = qkv_part(b, layer, fused, false, false, "attn_k", q, kv);
    w->v = o->v_may_be_k && !fused && !rz_build_has(b, "blk.%u.attn_v.weight", layer)
               ? w->k
               : qkv_part(b, layer, fused, false, false, "attn_v", q + kv, kv);
    if (o->qkv_bias || o->optional_bias) {
        w->bq = qkv_part(b, layer, fused, true, !o->qkv_bias, "attn_q", 0, q);
        w->bk = qkv_part(b, layer, fused, true, !o->qkv_bias, "attn_k", q, kv);
        w->bv = qkv_part(b, layer, fused, true, !o->qkv_bias, "attn_v", q + kv, kv);
    }
    w->out = rz_build_weight(b, true, q, h->n_embd, "blk.%u.attn_output.weight", layer);
    if (o->optional_bias)
        w->bo = rz_build_weight(b, false, h->n_embd, 1, "blk.%u.attn_output.bias", layer);
    w->q_norm = qk_norm_weight(b, layer, "attn_q_norm", o->n_head, o);
    w->k_norm = qk_norm_weight(b, layer, "attn_k_norm", o->n_kv_head, o);
    if (o->sinks)
        w->sinks = rz_build_weight(b, true, o->n_head, 1, "blk.%u.attn_sinks.weight", layer);
}

/* --- q, k and v --- */

static int32_t qk_norm(struct rz_builder *b, int32_t layer, int32_t x, int32_t w, uint32_t n_head,
                       const struct rz_attn_options *o)
{
    struct rz_norm n = {.kind = o->qk_norm == RZ_QK_LAYER ? RZ_NORM_LAYER : RZ_NORM_RMS,
                        .w = w,
                        .bias = -1,
                        .parts = o->qk_norm == RZ_QK_ROW ? 0 : n_head};
    return o->qk_norm ? rz_prim_norm(b, layer, x, -1, &n) : x;
}

/* One of q and k from its product: clamp, norm, rope. */
static int32_t shape_heads(struct rz_builder *b, int32_t layer, int32_t x, int32_t norm, uint32_t n_head,
                           const struct rz_attn_options *o)
{
    x = rz_build_map(b, layer, x, &(struct rz_map_options){.clamp = o->clamp});
    if (!o->qk_norm_late)
        x = qk_norm(b, layer, x, norm, n_head, o);
    if (o->rope >= 0)
        x = rz_prim_rope(b, layer, x, n_head, o);
    return o->qk_norm_late ? qk_norm(b, layer, x, norm, n_head, o) : x;
}

static int32_t store_qkv(struct rz_builder *b, uint32_t layer, int32_t n, const struct attn_weights *w,
                         const struct rz_attn_options *o)
{
    uint64_t q_width = (uint64_t)o->n_head * o->head_dim, kv_width = (uint64_t)o->n_kv_head * o->head_dim;
    int32_t l = (int32_t)layer;
    int32_t q = rz_prim_matmul(b, l, n, rz_build_value(b, "q", RZ_ROWS_ALL, q_width), w->q, w->bq);
    int32_t k = rz_prim_matmul(b, l, n, rz_build_value(b, "k", RZ_ROWS_ALL, kv_width), w->k, w->bk);
    int32_t v = rz_prim_matmul(b, l, n, rz_build_value(b, "v", RZ_ROWS_ALL, kv_width), w->v, w->bv);
    q = shape_heads(b, l, q, w->q_norm, o->n_head, o);
    k = shape_heads(b, l, k, w->k_norm, o->n_kv_head, o);
    v = rz_build_map(b, l, v, &(struct rz_map_options){.clamp = o->clamp});
    if (o->v_norm)
        v = rz_prim_norm(b, l, v, -1, &(struct rz_norm){.w = -1, .bias = -1, .parts = o->n_kv_head});
    q = rz_build_map(b, l, q,
                     &(struct rz_map_options){.temperature_step = o->temperature_step,
                                              .temperature_scale = o->temperature_scale});
    rz_prim_kv_store(b, layer, k, v, o);
    return q;
}

/* The attributes of the norm that a region begins with. */
static void attrs_norm(struct rz_builder *b, uint32_t node, const struct rz_norm *n)
{
    rz_build_double(b, node, RZ_A_EPS, n->kind == RZ_NORM_NONE ? 0 : rz_build_eps(b, n->kind));
    rz_build_flag(b, node, RZ_A_LAYER_NORM, n->kind == RZ_NORM_LAYER || n->kind == RZ_NORM_PLAIN);
    rz_build_flag(b, node, RZ_A_NO_NORM, n->kind == RZ_NORM_NONE);
}

static double qk_norm_eps(const struct rz_builder *b, const struct rz_attn_options *o)
{
    return rz_build_eps(b, o->qk_norm == RZ_QK_LAYER ? RZ_NORM_LAYER : RZ_NORM_RMS);
}

/* A region has one eps, no norm of v, and norms with weights. */
static bool qkv_is_region(const struct rz_builder *b, const struct rz_attn_options *o)
{
    if (o->v_norm || o->qk_norm == RZ_QK_PLAIN || o->temperature_step)
        return false;
    return !o->qk_norm || o->norm == RZ_NORM_NONE || rz_build_eps(b, o->norm) == qk_norm_eps(b, o);
}

static bool qkv_is_plain(const struct rz_attn_options *o)
{
    return o->norm == RZ_NORM_RMS && !o->qk_norm && !o->v_norm && o->clamp == 0 && o->rope >= 0 &&
           !o->temperature_step;
}

static void attrs_qkv(struct rz_builder *b, uint32_t node, const struct attn_weights *w,
                      const struct rz_attn_options *o)
{
    attrs_norm(b, node, &w->norm);
    rz_attrs_kv(b, node, o);
    if (o->rope >= 0)
        rz_attrs_rope(b, node, o->n_head, o);
    else
        rz_build_attr(b, node, RZ_A_N_HEAD, o->n_head, 0);
    rz_build_flag(b, node, RZ_A_NO_ROPE, o->rope < 0);
    if (o->qk_norm) {
        rz_build_double(b, node, RZ_A_EPS, qk_norm_eps(b, o));
        rz_build_attr(b, node, RZ_A_QK_NORM, o->qk_norm, 0);
        rz_build_flag(b, node, RZ_A_QK_NORM_LATE, o->qk_norm_late);
    }
    rz_build_double(b, node, RZ_A_CLAMP, o->clamp);
    rz_build_flag(b, node, RZ_A_BIAS, w->bq >= 0 || w->bk >= 0 || w->bv >= 0);
}

static int32_t norm_qkv(struct rz_builder *b, uint32_t layer, int32_t x, const struct attn_weights *w,
                        const struct rz_attn_options *o)
{
    int32_t l = (int32_t)layer;
    if (!qkv_is_region(b, o))
        return store_qkv(b, layer, rz_prim_norm(b, l, x, -1, &w->norm), w, o);
    uint32_t node =
        rz_build_begin(b, RZ_OP_NORM_QKV, l,
                       &(struct rz_operands){.n_in = 1,
                                             .in = {x},
                                             .n_out = 1,
                                             .out = {-1},
                                             .n_weights = 10,
                                             .weights = {w->norm.w, w->q, w->k, w->v, w->bq, w->bk, w->bv,
                                                         w->norm.bias, w->q_norm, w->k_norm}});
    attrs_qkv(b, node, w, o);
    int32_t q = store_qkv(b, layer, rz_prim_norm(b, l, x, -1, &w->norm), w, o);
    rz_bind_output(b, node, q);
    rz_build_end(b, node);
    return q;
}

static int32_t attend(struct rz_builder *b, uint32_t layer, int32_t q, int32_t sinks,
                      const struct rz_attn_options *o)
{
    int32_t y = rz_build_like(b, "attended", q);
    if (o->sinks)
        return rz_prim_attention(b, layer, q, y, sinks, o);
    uint32_t region = rz_build_begin(b, RZ_OP_ATTEND, (int32_t)layer,
                                     &(struct rz_operands){.n_in = 1, .in = {q}, .n_out = 1, .out = {y}});
    rz_attrs_attention(b, region, o);
    rz_prim_attention(b, layer, q, y, -1, o);
    rz_build_end(b, region);
    return y;
}

/* --- the end of a half: projection, norm, residual --- */

struct rz_norm rz_bind_post(struct rz_builder *b, uint32_t layer, const char *name)
{
    return rz_bind_norm(b, (int32_t)layer, name ? RZ_NORM_RMS : RZ_NORM_NONE, name);
}

bool rz_close_is_plain(const struct rz_close *c)
{
    return !c->branch && c->post.kind == RZ_NORM_NONE && (c->residual == 0 || c->residual == 1);
}

/* The projection, if there is one, with its norm and factor. */
static int32_t project(struct rz_builder *b, int32_t l, int32_t p, const struct rz_close *c)
{
    if (c->w >= 0)
        p = rz_prim_matmul(b, l, p, rz_build_value(b, "projected", RZ_ROWS_ALL, b->graph->h.n_embd), c->w,
                           c->bias);
    p = rz_prim_norm(b, l, p, -1, &c->post);
    return rz_build_map(b, l, p, &(struct rz_map_options){.factor = c->residual});
}

int32_t rz_close_half(struct rz_builder *b, uint32_t layer, int32_t y, int32_t x, const struct rz_close *c)
{
    int32_t l = (int32_t)layer;
    if (c->branch)
        return project(b, l, y, c);
    if (c->w < 0)
        return rz_build_add(b, l, project(b, l, y, c), x);
    int32_t sum = rz_build_value(b, "x", RZ_ROWS_ALL, b->graph->h.n_embd);
    uint32_t node = rz_build_begin(b, RZ_OP_PROJ_ADD, l,
                                   &(struct rz_operands){.n_in = 2,
                                                         .in = {y, x},
                                                         .n_out = 1,
                                                         .out = {sum},
                                                         .n_weights = 3,
                                                         .weights = {c->w, c->bias, c->post.w}});
    rz_build_flag(b, node, RZ_A_BIAS, c->bias >= 0);
    if (c->post.kind != RZ_NORM_NONE) {
        rz_build_double(b, node, RZ_A_EPS, rz_build_eps(b, c->post.kind));
        rz_build_flag(b, node, RZ_A_POST_NORM, true);
    }
    rz_build_double(b, node, RZ_A_FACTOR, c->residual == 1 ? 0 : c->residual);
    rz_prim_add(b, l, project(b, l, y, c), x, sum);
    rz_build_end(b, node);
    return sum;
}

/* --- blocks --- */

int32_t rz_build_attn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_attn_options *given)
{
    struct rz_attn_options own = complete(b, given), *o = &own;
    struct attn_weights w;
    int32_t l = (int32_t)layer, n = x;
    if (o->gated) { /* two read what the norm makes */
        n = rz_build_norm(b, l, x, o->norm, o->pre ? o->pre : "attn_norm");
        o->norm = RZ_NORM_NONE;
    }
    bind_attn(b, layer, o, &w);
    struct rz_close c = {w.out, w.bo, o->branch, rz_bind_post(b, layer, o->post), o->residual};
    bool block = qkv_is_plain(o) && rz_close_is_plain(&c) && !o->sinks;
    uint32_t node = 0;
    if (block) {
        node = rz_build_begin(
            b, RZ_OP_ATTN, (int32_t)layer,
            &(struct rz_operands){.n_in = 1,
                                  .in = {x},
                                  .n_out = 1,
                                  .out = {-1},
                                  .n_weights = 9,
                                  .weights = {w.norm.w, w.q, w.k, w.v, w.bq, w.bk, w.bv, w.out, w.bo}});
        rz_build_attr(b, node, RZ_A_EPS, 0, b->graph->h.norm_eps);
        rz_attrs_rope(b, node, o->n_head, o);
        rz_attrs_attention(b, node, o);
        rz_build_flag(b, node, RZ_A_BIAS, w.bq >= 0 || w.bk >= 0 || w.bv >= 0 || w.bo >= 0);
    }
    int32_t y = attend(b, layer, norm_qkv(b, layer, n, &w, o), w.sinks, o);
    if (o->gated) {
        int32_t gate = rz_prim_matmul(b, l, n, rz_build_like(b, "gate", y), w.gate, -1);
        y = rz_prim_two(b, RZ_OP_GATE, l, gate, y, rz_build_like(b, "gated", y));
    }
    int32_t sum = rz_close_half(b, layer, y, x, &c);
    if (block) {
        rz_bind_output(b, node, sum);
        rz_build_end(b, node);
    }
    return sum;
}

/* Weights of one feed-forward half. */
struct ffn_weights {
    struct rz_norm norm;
    int32_t gate, up, b_gate, b_up, down, b_down;
};

/* Without a tensor of its own the gate is the first half of an ffn_up of twice the rows. */
static void bind_ffn(struct rz_builder *b, uint32_t layer, const struct rz_ffn_options *o,
                     struct ffn_weights *w)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t ff = h->n_ff;
    bool want = o->optional_bias, gate = !o->no_gate;
    bool fused = gate && !rz_build_has(b, "blk.%u.ffn_gate.weight", layer) &&
                 rz_build_has(b, "blk.%u.ffn_up.weight", layer) == 2 * ff;
    *w = (struct ffn_weights){.b_gate = -1, .b_up = -1, .b_down = -1};
    w->norm = rz_bind_norm(b, (int32_t)layer, o->norm, o->pre ? o->pre : "ffn_norm");
    if (fused) {
        struct rz_part p = {.cols = h->n_embd, .rows = 2 * ff, .n = ff};
        w->gate = rz_build_part(b, &p, "blk.%u.ffn_up.weight", layer);
        p.first = ff;
        w->up = rz_build_part(b, &p, "blk.%u.ffn_up.weight", layer);
    } else {
        w->gate = gate ? rz_build_weight(b, true, h->n_embd, ff, "blk.%u.ffn_gate.weight", layer) : -1;
        w->up = rz_build_weight(b, true, h->n_embd, ff, "blk.%u.ffn_up.weight", layer);
    }
    if (want && gate && !fused)
        w->b_gate = rz_build_weight(b, false, ff, 1, "blk.%u.ffn_gate.bias", layer);
    if (want && !fused)
        w->b_up = rz_build_weight(b, false, ff, 1, "blk.%u.ffn_up.bias", layer);
    w->down = rz_build_weight(b, true, ff, h->n_embd, "blk.%u.ffn_down.weight", layer);
    if (want)
        w->b_down = rz_build_weight(b, false, h->n_embd, 1, "blk.%u.ffn_down.bias", layer);
}

static int32_t glu(struct rz_builder *b, int32_t l, int32_t n, int32_t y, const struct ffn_weights *w,
                   const struct rz_ffn_options *o)
{
    int32_t gate = -1, up = rz_build_value(b, "up", RZ_ROWS_ALL, b->graph->h.n_ff);
    if (!o->no_gate)
        gate = rz_prim_matmul(b, l, n, rz_build_like(b, "gate", up), w->gate, w->b_gate);
    rz_prim_matmul(b, l, n, up, w->up, w->b_up);
    if (o->act == RZ_ACT_XIELU)
        return rz_prim_xielu(b, l, up, y, &o->xielu);
    return o->no_gate ? rz_prim_act(b, l, up, -1, y, o->act) : rz_prim_act(b, l, gate, up, y, o->act);
}

static bool glu_is_plain(const struct rz_ffn_options *o)
{
    return o->norm == RZ_NORM_RMS && !o->no_gate;
}

static int32_t norm_glu(struct rz_builder *b, uint32_t layer, int32_t x, const struct ffn_weights *w,
                        const struct rz_ffn_options *o)
{
    int32_t l = (int32_t)layer, y = rz_build_value(b, "h", RZ_ROWS_ALL, b->graph->h.n_ff);
    if (o->act == RZ_ACT_XIELU) /* has an eps of its own, so no region can say it */
        return glu(b, l, rz_prim_norm(b, l, x, -1, &w->norm), y, w, o);
    uint32_t node = rz_build_begin(
        b, RZ_OP_NORM_GLU, l,
        &(struct rz_operands){.n_in = 1,
                              .in = {x},
                              .n_out = 1,
                              .out = {y},
                              .n_weights = 6,
                              .weights = {w->norm.w, w->gate, w->up, w->b_gate, w->b_up, w->norm.bias}});
    attrs_norm(b, node, &w->norm);
    rz_attrs_act(b, node, o->act);
    rz_build_flag(b, node, RZ_A_NO_GATE, o->no_gate);
    rz_build_flag(b, node, RZ_A_BIAS, w->b_gate >= 0 || w->b_up >= 0);
    glu(b, l, rz_prim_norm(b, l, x, -1, &w->norm), y, w, o);
    rz_build_end(b, node);
    return y;
}

int32_t rz_build_ffn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ffn_options *o)
{
    struct ffn_weights w;
    bind_ffn(b, layer, o, &w);
    struct rz_close c = {w.down, w.b_down, o->branch, rz_bind_post(b, layer, o->post), o->residual};
    bool block = glu_is_plain(o) && rz_close_is_plain(&c);
    uint32_t node = 0;
    if (block) {
        node = rz_build_begin(
            b, RZ_OP_FFN, (int32_t)layer,
            &(struct rz_operands){.n_in = 1,
                                  .in = {x},
                                  .n_out = 1,
                                  .out = {-1},
                                  .n_weights = 7,
                                  .weights = {w.norm.w, w.gate, w.up, w.b_gate, w.b_up, w.down, w.b_down}});
        rz_build_attr(b, node, RZ_A_EPS, 0, b->graph->h.norm_eps);
        rz_attrs_act(b, node, o->act);
        rz_build_flag(b, node, RZ_A_BIAS, w.b_gate >= 0 || w.b_up >= 0 || w.b_down >= 0);
    }
    int32_t sum = rz_close_half(b, layer, norm_glu(b, layer, x, &w, o), x, &c);
    if (block) {
        rz_bind_output(b, node, sum);
        rz_build_end(b, node);
    }
    return sum;
}

int32_t rz_build_parallel(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_attn_options *attn,
                          const struct rz_ffn_options *ffn)
{
    struct rz_attn_options one = *attn;
    struct rz_ffn_options two = *ffn;
    int32_t l = (int32_t)layer;
    int32_t n = rz_build_norm(b, l, x, attn->norm, attn->pre ? attn->pre : "attn_norm");
    int32_t m = ffn->pre ? rz_build_norm(b, l, x, attn->norm, ffn->pre) : n;
    one.norm = two.norm = RZ_NORM_NONE;
    one.branch = two.branch = true;
    int32_t a = rz_build_attn(b, layer, n, &one), f = rz_build_ffn(b, layer, m, &two);
    return rz_build_add(b, l, x, rz_build_add(b, l, a, f));
}

/* --- the end --- */

static int32_t select_wanted(struct rz_builder *b, int32_t x)
{
    int32_t wanted = rz_build_value(b, "wanted", RZ_ROWS_WANTED, b->graph->h.n_embd);
    uint32_t node = rz_build_begin(b, RZ_OP_SELECT_ROWS, -1,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {wanted}});
    rz_build_end(b, node);
    return wanted;
}

void rz_build_hidden(struct rz_builder *b, int32_t x, uint32_t norm)
{
    b->hidden = rz_build_norm(b, -1, select_wanted(b, x), norm, "output_norm");
    b->graph->mask = RZ_MASK_ALL;
}

void rz_build_head(struct rz_builder *b, int32_t x, const struct rz_head_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    bool macro = o->norm == RZ_NORM_RMS && (o->factor == 0 || o->factor == 1) && o->softcap == 0;
    struct rz_norm norm = rz_bind_norm(b, -1, o->norm, o->name ? o->name : "output_norm");
    int32_t w = rz_build_weight(b, false, h->n_embd, h->n_vocab, "output.weight");
    if (w < 0) /* tied */
        w = rz_build_weight(b, true, h->n_embd, h->n_vocab, "token_embd.weight");
    int32_t bias = rz_build_weight(b, false, h->n_vocab, 1, "output.bias");
    int32_t wanted = select_wanted(b, x);
    uint32_t node = 0;
    b->hidden = rz_build_value(b, "hidden", RZ_ROWS_WANTED, h->n_embd);
    b->logits = rz_build_value(b, "logits", RZ_ROWS_WANTED, h->n_vocab);
    if (macro) {
        node = rz_build_begin(b, RZ_OP_HEAD, -1,
                              &(struct rz_operands){.n_in = 1,
                                                    .in = {wanted},
                                                    .n_out = 2,
                                                    .out = {b->hidden, b->logits},
                                                    .n_weights = 3,
                                                    .weights = {norm.w, w, bias}});
        rz_build_attr(b, node, RZ_A_EPS, 0, h->norm_eps);
        rz_build_flag(b, node, RZ_A_BIAS, bias >= 0);
    }
    rz_prim_norm(b, -1, wanted, b->hidden, &norm);
    rz_prim_matmul(b, -1, b->hidden, b->logits, w, bias);
    if (macro)
        rz_build_end(b, node);
    b->logits =
        rz_build_map(b, -1, b->logits, &(struct rz_map_options){.factor = o->factor, .softcap = o->softcap});
}

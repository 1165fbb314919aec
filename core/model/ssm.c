/* ssm.c - recurrent halves: Mamba, Mamba-2, gated delta nets and short convolutions, as primitives that carry
 * state from token to token.
 *
 * The arithmetic of the primitives, and what each keeps in its state, is said in rz/program.h. A half is one
 * RZ_OP_SSM node around its parts. Projections that lie side by side in one tensor are taken as parts of it,
 * so that nothing has to be copied out of a product.
 */
#include "builder.h"

#define DELTA_EPS 1e-6 /* of the norm of q and k, whatever the other norms add */

/* A size that the file gives and that fits: n is a multiple of unit, and not 0. */
static void need(struct rz_builder *b, const char *key, uint64_t n, uint64_t unit, const char *of)
{
    if (b->status)
        return;
    if (!n)
        b->status = rz_fail(b->err, RZ_EFORMAT, key, "is missing from the model's metadata");
    else if (n % unit)
        b->status = rz_fail(b->err, RZ_EFORMAT, key, "is %llu: must be a multiple of %s, %llu",
                            (unsigned long long)n, of, (unsigned long long)unit);
}

static bool sizes_fit(struct rz_builder *b, bool heads)
{
    const struct rz_hparams *h = &b->graph->h;
    need(b, "ssm.state_size", h->ssm.state, 1, "");
    need(b, "ssm.time_step_rank", h->ssm.rank, heads ? h->ssm.groups : 1, "ssm.group_count");
    need(b, "ssm.inner_size", h->ssm.inner, heads ? h->ssm.rank : 1, "ssm.time_step_rank");
    return !b->status;
}

/* What recurrent ops read besides their inputs is small, and float32 in every file. */
static int32_t small(struct rz_builder *b, const struct rz_part *p, int32_t l, const char *name)
{
    int32_t w = rz_build_part(b, p, "blk.%d.%s", l, name);
    if (w >= 0 && b->weights[w].type != RZ_TYPE_F32)
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, name, "of layer %d is not float32", l);
    return w;
}

static int32_t vector(struct rz_builder *b, int32_t l, uint64_t n, const char *name)
{
    return small(b, &(struct rz_part){.cols = n, .rows = 1}, l, name);
}

/* --- primitives --- */

/* y [width] of some rows of a matrix blk.LAYER.NAME: all, or n from first on. */
static int32_t product(struct rz_builder *b, int32_t l, int32_t x, const struct rz_part *p, const char *name)
{
    int32_t w = rz_build_part(b, p, "blk.%d.%s.weight", l, name);
    uint64_t width = (p->n ? p->n : p->rows) * (p->depth ? p->depth : 1);
    return rz_prim_matmul(b, l, x, rz_build_value(b, name, RZ_ROWS_ALL, width), w, -1);
}

/* key: where the file says over how many tokens it goes; bias NULL: has none */
struct conv {
    const char *key, *name, *bias;
    uint32_t taps;
    bool silu;
};

static int32_t conv(struct rz_builder *b, int32_t l, int32_t x, const struct conv *c)
{
    uint64_t width = b->status ? 0 : b->values[x].width;
    need(b, c->key, c->taps, 1, "");
    if (!b->status && c->taps < 2)
        b->status = rz_fail(b->err, RZ_EFORMAT, c->key, "is 1: a convolution takes at least two tokens");
    struct rz_part part = {.cols = c->taps, .rows = width},
                   vector = {.optional = true, .cols = width, .rows = 1};
    int32_t w = small(b, &part, l, c->name), bias = c->bias ? small(b, &vector, l, c->bias) : -1;
    int32_t y = rz_build_like(b, "convolved", x);
    uint32_t node = rz_build_begin(
        b, RZ_OP_CONV, l,
        &(struct rz_operands){
            .n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 2, .weights = {w, bias}});
    rz_build_attr(b, node, RZ_A_STATE, rz_build_state(b, l, (c->taps - 1) * width), 0);
    rz_build_flag(b, node, RZ_A_SILU, c->silu);
    rz_build_flag(b, node, RZ_A_BIAS, bias >= 0);
    rz_build_end(b, node);
    return y;
}

static int32_t ssm_conv(struct rz_builder *b, int32_t l, int32_t x)
{
    return conv(b, l, x,
                &(struct conv){.key = "ssm.conv_kernel",
                               .name = "ssm_conv1d.weight",
                               .bias = "ssm_conv1d.bias",
                               .taps = b->graph->h.ssm.taps,
                               .silu = true});
}

/* What a scan reads. xs: x, or x, B and C side by side, and then b and c are -1. */
struct scan {
    int32_t xs, dt, b, c, a, d, bias;
    uint64_t inner, n_head, groups, n_state;
};

static int32_t scan(struct rz_builder *b, int32_t l, const struct scan *s)
{
    int32_t y = rz_build_value(b, "scanned", RZ_ROWS_ALL, s->inner);
    uint32_t node = rz_build_begin(b, RZ_OP_SCAN, l,
                                   &(struct rz_operands){.n_in = s->b < 0 ? 2 : 4,
                                                         .in = {s->xs, s->dt, s->b, s->c},
                                                         .n_out = 1,
                                                         .out = {y},
                                                         .n_weights = 3,
                                                         .weights = {s->a, s->d, s->bias}});
    rz_build_attr(b, node, RZ_A_STATE, rz_build_state(b, l, s->inner * s->n_state), 0);
    rz_build_attr(b, node, RZ_A_N_HEAD, (int64_t)s->n_head, 0);
    rz_build_attr(b, node, RZ_A_STATE_GROUPS, (int64_t)s->groups, 0);
    rz_build_end(b, node);
    return y;
}

static int32_t multiply(struct rz_builder *b, int32_t l, int32_t x, int32_t y)
{
    return rz_prim_two(b, RZ_OP_MUL, l, x, y, rz_build_like(b, "multiplied", x));
}

/* --- the frame of a half --- */

struct half {
    uint32_t node;
    int32_t x, normed;
};

static struct half begin_half(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o)
{
    struct half s = {.x = x};
    s.node = rz_build_begin(b, RZ_OP_SSM, (int32_t)layer,
                            &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {-1}});
    s.normed = rz_build_norm(b, (int32_t)layer, x, o->norm, "attn_norm");
    return s;
}

static int32_t end_half(struct rz_builder *b, uint32_t layer, const struct half *s, int32_t y, int32_t w,
                        const struct rz_ssm_options *o)
{
    struct rz_close c = {.w = w,
                         .bias = -1,
                         .branch = o->branch,
                         .post = {.kind = RZ_NORM_NONE, .w = -1, .bias = -1},
                         .residual = o->residual};
    y = rz_close_half(b, layer, y, s->x, &c);
    rz_bind_output(b, s->node, y);
    rz_build_end(b, s->node);
    return y;
}

/* --- Mamba --- */

/* One of dt, B and C: rows of ssm_x, with an RMS norm of its own where the model has that. */
static int32_t selected(struct rz_builder *b, int32_t l, int32_t x, const struct rz_part *p, const char *name)
{
    bool norms = rz_build_has(b, "blk.%d.%s.weight", l, name);
    int32_t y = product(b, l, x, p, "ssm_x");
    struct rz_norm n = {.kind = RZ_NORM_RMS, .w = -1, .bias = -1, .eps = b->graph->h.ssm.norms_eps};
    if (norms)
        n.w = rz_build_weight(b, true, p->n, 1, "blk.%d.%s.weight", l, name);
    return norms || b->graph->h.ssm.norms ? rz_prim_norm(b, l, y, -1, &n) : y;
}

int32_t rz_build_mamba(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t inner = h->ssm.inner, rank = h->ssm.rank, n = h->ssm.state;
    int32_t l = (int32_t)layer;
    if (!sizes_fit(b, false))
        return -1;
    struct half half = begin_half(b, layer, x, o);
    struct rz_part in = {.cols = h->n_embd, .rows = 2 * inner, .n = inner};
    struct rz_part dbc = {.cols = inner, .rows = rank + 2 * n, .n = rank};
    int32_t u = product(b, l, half.normed, &in, "ssm_in");
    in.first = inner;
    int32_t z = product(b, l, half.normed, &in, "ssm_in");
    u = ssm_conv(b, l, u);
    int32_t dt = selected(b, l, u, &dbc, "ssm_dt_norm");
    dbc.first = rank;
    dbc.n = n;
    int32_t bs = selected(b, l, u, &dbc, "ssm_b_norm");
    dbc.first = rank + n;
    int32_t cs = selected(b, l, u, &dbc, "ssm_c_norm");
    struct scan s = {.xs = u, .b = bs, .c = cs, .inner = inner, .n_head = inner, .groups = 1, .n_state = n};
    s.dt = product(b, l, dt, &(struct rz_part){.cols = rank, .rows = inner}, "ssm_dt");
    s.a = small(b, &(struct rz_part){.cols = n, .rows = inner}, l, "ssm_a");
    s.d = vector(b, l, inner, "ssm_d");
    s.bias = vector(b, l, inner, "ssm_dt.bias");
    int32_t y = scan(b, l, &s);
    y = rz_prim_act(b, l, z, y, rz_build_like(b, "gated", y), RZ_ACT_SILU);
    int32_t out = rz_build_weight(b, true, inner, h->n_embd, "blk.%u.ssm_out.weight", layer);
    return end_half(b, layer, &half, y, out, o);
}

/* --- Mamba-2 --- */

/* act(z) y, and the norm of each group if the model has one. */
static int32_t gate_groups(struct rz_builder *b, int32_t l, int32_t z, int32_t y)
{
    uint64_t inner = b->graph->h.ssm.inner, groups = b->graph->h.ssm.groups;
    struct rz_part p = {.optional = true, .flat = true, .cols = inner / groups, .rows = groups};
    struct rz_norm n = {.kind = RZ_NORM_RMS, .bias = -1, .parts = (uint32_t)groups};
    y = rz_prim_act(b, l, z, y, rz_build_like(b, "gated", y), RZ_ACT_SILU);
    n.w = rz_build_part(b, &p, "blk.%d.ssm_norm.weight", l);
    return n.w < 0 ? y : rz_prim_norm(b, l, y, -1, &n);
}

int32_t rz_build_mamba2(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    uint64_t inner = h->ssm.inner, heads = h->ssm.rank, groups = h->ssm.groups, n = h->ssm.state;
    uint64_t mixed = inner + 2 * groups * n;
    int32_t l = (int32_t)layer;
    if (!sizes_fit(b, true))
        return -1;
    struct half half = begin_half(b, layer, x, o);
    struct rz_part in = {.cols = h->n_embd, .rows = inner + mixed + heads, .n = inner};
    int32_t z = product(b, l, half.normed, &in, "ssm_in");
    in.first = inner;
    in.n = mixed;
    int32_t u = product(b, l, half.normed, &in, "ssm_in");
    in.first = inner + mixed;
    in.n = heads;
    struct scan s = {.b = -1, .c = -1, .inner = inner, .n_head = heads, .groups = groups, .n_state = n};
    s.dt = product(b, l, half.normed, &in, "ssm_in");
    s.xs = ssm_conv(b, l, u);
    s.a = small(b, &(struct rz_part){.cols = 1, .rows = heads}, l, "ssm_a");
    s.d = small(b, &(struct rz_part){.cols = 1, .rows = heads, .flat = true}, l, "ssm_d");
    s.bias = vector(b, l, heads, "ssm_dt.bias");
    int32_t y = gate_groups(b, l, z, scan(b, l, &s));
    int32_t out = rz_build_weight(b, true, inner, h->n_embd, "blk.%u.ssm_out.weight", layer);
    return end_half(b, layer, &half, y, out, o);
}

/* --- short convolution --- */

int32_t rz_build_short_conv(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t l = (int32_t)layer;
    struct half half = begin_half(b, layer, x, o);
    struct rz_part in = {.cols = h->n_embd, .rows = 3 * (uint64_t)h->n_embd, .n = h->n_embd};
    int32_t bs = product(b, l, half.normed, &in, "shortconv.in_proj");
    in.first = h->n_embd;
    int32_t cs = product(b, l, half.normed, &in, "shortconv.in_proj");
    in.first = 2 * (uint64_t)h->n_embd;
    int32_t xs = product(b, l, half.normed, &in, "shortconv.in_proj");
    struct conv how = {
        .key = "shortconv.l_cache", .name = "shortconv.conv.weight", .taps = h->ssm.short_taps};
    int32_t y = conv(b, l, multiply(b, l, bs, xs), &how);
    int32_t out = rz_build_weight(b, true, h->n_embd, h->n_embd, "blk.%u.shortconv.out_proj.weight", layer);
    return end_half(b, layer, &half, multiply(b, l, cs, y), out, o);
}

/* --- gated delta net --- */

struct delta {
    uint64_t inner, heads, key_heads, k_dim;
    int32_t qkv, dt, beta;
};

static int32_t delta_rule(struct rz_builder *b, int32_t l, const struct delta *d, bool striped)
{
    int32_t y = rz_build_value(b, "remembered", RZ_ROWS_ALL, d->inner);
    int32_t a = vector(b, l, d->heads, "ssm_a"), bias = vector(b, l, d->heads, "ssm_dt.bias");
    uint32_t node = rz_build_begin(b, RZ_OP_DELTA, l,
                                   &(struct rz_operands){.n_in = 3,
                                                         .in = {d->qkv, d->dt, d->beta},
                                                         .n_out = 1,
                                                         .out = {y},
                                                         .n_weights = 2,
                                                         .weights = {a, bias}});
    rz_build_attr(b, node, RZ_A_STATE, rz_build_state(b, l, d->inner * d->k_dim), 0);
    rz_build_attr(b, node, RZ_A_N_HEAD, (int64_t)d->heads, 0);
    rz_build_attr(b, node, RZ_A_STATE_GROUPS, (int64_t)d->key_heads, 0);
    rz_build_attr(b, node, RZ_A_EPS, 0, DELTA_EPS);
    rz_build_flag(b, node, RZ_A_STRIPED, striped);
    rz_build_end(b, node);
    return y;
}

/* beta and the step of each head: tensors of their own, or side by side for each key head. */
static void delta_gates(struct rz_builder *b, int32_t l, int32_t x, struct delta *d)
{
    uint64_t each = d->heads / d->key_heads, embd = b->graph->h.n_embd;
    struct rz_part p = {.cols = embd, .rows = d->heads};
    bool both = rz_build_has(b, "blk.%d.ssm_ba.weight", l);
    if (both)
        p = (struct rz_part){.cols = embd, .rows = 2 * each, .depth = d->key_heads, .n = each};
    d->beta = product(b, l, x, &p, both ? "ssm_ba" : "ssm_beta");
    p.first = both ? each : 0;
    d->dt = product(b, l, x, &p, both ? "ssm_ba" : "ssm_alpha");
}

int32_t rz_build_delta(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o)
{
    const struct rz_hparams *h = &b->graph->h;
    struct delta d = {
        .inner = h->ssm.inner, .heads = h->ssm.rank, .key_heads = h->ssm.groups, .k_dim = h->ssm.state};
    int32_t l = (int32_t)layer;
    if (!sizes_fit(b, true))
        return -1;
    struct half half = begin_half(b, layer, x, o);
    struct rz_part qkv = {.cols = h->n_embd, .rows = 2 * d.key_heads * d.k_dim + d.inner};
    struct rz_norm norm = {.kind = RZ_NORM_RMS, .bias = -1, .parts = (uint32_t)d.heads};
    d.qkv = product(b, l, half.normed, &qkv, "attn_qkv");
    int32_t z =
        product(b, l, half.normed, &(struct rz_part){.cols = h->n_embd, .rows = d.inner}, "attn_gate");
    delta_gates(b, l, half.normed, &d);
    d.qkv = ssm_conv(b, l, d.qkv);
    int32_t y = delta_rule(b, l, &d, o->striped);
    norm.w = rz_build_weight(b, true, d.inner / d.heads, 1, "blk.%u.ssm_norm.weight", layer);
    y = rz_prim_norm(b, l, y, -1, &norm);
    y = rz_prim_act(b, l, z, y, rz_build_like(b, "gated", y), RZ_ACT_SILU);
    int32_t out = rz_build_weight(b, true, d.inner, h->n_embd, "blk.%u.ssm_out.weight", layer);
    return end_half(b, layer, &half, y, out, o);
}

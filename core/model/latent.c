/* latent.c - attention over a latent KV: multi-head latent attention. DeepSeek-AI 2024, arXiv:2405.04434.
 *
 * A position keeps one vector for all heads: a latent of keys and values (normed), and a rotated part of the
 * key behind it. The matrix that would make a head's key of the latent is moved to the query, the one that
 * would make its value to the result; this one form serves prompts and single tokens alike.
 */
#include "builder.h"

#include "numeric.h"

#include <math.h>
#include <stdio.h>

#define LATENT_EPS 1e-6 /* of the norms of latents, whatever the file says of the others */

/* Widths of one head: nope and rope of a query, v of a value; of the latents. */
struct widths {
    uint64_t heads, nope, rope, v, latent, q_latent;
    int32_t group, layer; /* where the KV lies */
};

static bool widths_of(struct rz_builder *b, struct widths *w)
{
    const struct rz_hparams *h = &b->graph->h;
    uint32_t k = h->k_mla ? h->k_mla : h->head_dim;
    if (!b->status && (!h->kv_latent || k <= h->rope_dim))
        b->status = rz_fail(b->err, RZ_EFORMAT, "attention.kv_lora_rank",
                            "%u, with keys of %u of which %u are rotated: must be above 0, and some key not "
                            "rotated",
                            h->kv_latent, k, h->rope_dim);
    *w = (struct widths){.heads = h->n_head,
                         .nope = k - h->rope_dim,
                         .rope = h->rope_dim,
                         .v = h->v_mla ? h->v_mla : h->v_dim,
                         .latent = h->kv_latent,
                         .q_latent = h->q_latent};
    struct rz_kv_group want = {.kind = RZ_KV_LATENT,
                               .n_heads = 1,
                               .k_dim = (uint32_t)(w->latent + w->rope),
                               .v_dim = (uint32_t)w->latent};
    w->group = rz_build_place(b, want, &w->layer);
    return !b->status;
}

/* --- weights --- */

/* The keys' half of a fused tensor, [heads][nope + v, latent], as the queries need it: [heads][latent, nope],
 * in float32. */
static int32_t transposed(struct rz_builder *b, const struct widths *w, const struct rz_part *fused,
                          const char *name)
{
    struct rz_weight all;
    uint8_t *to = NULL;
    if (!rz_build_locate(b, fused, name, &all))
        return -1;
    int32_t own = rz_build_own(b, &all, RZ_TYPE_F32, w->nope, w->heads * w->latent, &to);
    float *row = own < 0 ? NULL : rz_arena_array(&b->graph->arena, w->latent, sizeof(*row));
    if (!row) {
        if (!b->status)
            b->status = rz_fail(b->err, RZ_ENOMEM, name, "no memory for a row");
        return -1;
    }
    for (uint64_t h = 0; h < w->heads; h++)
        for (uint64_t i = 0; i < w->nope; i++) {
            uint64_t from = (h * (w->nope + w->v) + i) * (all.bytes / all.rows);
            rz_type_info(all.type)->decode((const uint8_t *)all.data + from, row, w->latent);
            for (uint64_t j = 0; j < w->latent; j++)
                ((float *)(void *)to)[(h * w->latent + j) * w->nope + i] = row[j];
        }
    return own;
}

static void bind_heads(struct rz_builder *b, uint32_t layer, const struct widths *w, int32_t *k, int32_t *v)
{
    char name[96];
    struct rz_part part = {.cols = w->latent, .rows = w->nope + w->v, .depth = w->heads};
    if (rz_build_has(b, "blk.%u.attn_k_b.weight", layer)) {
        *k = rz_build_part(b, &(struct rz_part){.cols = w->nope, .rows = w->latent, .depth = w->heads},
                           "blk.%u.attn_k_b.weight", layer);
        *v = rz_build_part(b, &(struct rz_part){.cols = w->latent, .rows = w->v, .depth = w->heads},
                           "blk.%u.attn_v_b.weight", layer);
        return;
    }
    snprintf(name, sizeof(name), "blk.%u.attn_kv_b.weight", layer);
    *k = transposed(b, w, &part, name);
    part.first = w->nope;
    part.n = w->v;
    *v = rz_build_part(b, &part, "%s", name);
}

/* --- parts --- */

static int32_t latent_norm(struct rz_builder *b, uint32_t layer, int32_t x, uint64_t width, const char *name)
{
    struct rz_norm n = {.bias = -1, .eps = LATENT_EPS};
    n.w = rz_build_weight(b, true, width, 1, "blk.%u.%s.weight", layer, name);
    return rz_prim_norm(b, (int32_t)layer, x, -1, &n);
}

/* Rotates the last `rope` elements of each head. */
static int32_t rotate(struct rz_builder *b, uint32_t layer, int32_t x, uint64_t heads, uint64_t offset,
                      int32_t rope, uint64_t dim)
{
    int32_t y = rz_build_like(b, "roped", x);
    uint32_t node = rz_build_begin(b, RZ_OP_ROPE, (int32_t)layer,
                                   &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}});
    rz_build_attr(b, node, RZ_A_N_HEAD, (int64_t)heads, 0);
    rz_build_attr(b, node, RZ_A_HEAD_DIM, (int64_t)(offset + dim), 0);
    rz_build_attr(b, node, RZ_A_ROPE, rope, 0);
    if (offset)
        rz_build_attr(b, node, RZ_A_ROPE_OFFSET, (int64_t)offset, 0);
    rz_build_end(b, node);
    return y;
}

/* A matrix of each head: from its part of x to `part` elements. */
static int32_t heads_times(struct rz_builder *b, uint32_t layer, int32_t x, uint64_t heads, uint64_t part,
                           int32_t w)
{
    int32_t y = rz_build_value(b, "heads", RZ_ROWS_ALL, heads * part);
    uint32_t node = rz_build_begin(
        b, RZ_OP_MATMUL_HEADS, (int32_t)layer,
        &(struct rz_operands){.n_in = 1, .in = {x}, .n_out = 1, .out = {y}, .n_weights = 1, .weights = {w}});
    rz_build_attr(b, node, RZ_A_PARTS, (int64_t)heads, 0);
    rz_build_end(b, node);
    return y;
}

static void attrs_kv(struct rz_builder *b, uint32_t node, const struct widths *w)
{
    rz_build_attr(b, node, RZ_A_N_KV_HEAD, 1, 0);
    rz_build_attr(b, node, RZ_A_HEAD_DIM, (int64_t)(w->latent + w->rope), 0);
    rz_build_attr(b, node, RZ_A_KV_GROUP, w->group, 0);
    rz_build_attr(b, node, RZ_A_KV_LAYER, w->layer, 0);
    rz_build_attr(b, node, RZ_A_LATENT, (int64_t)w->latent, 0);
}

static int32_t query(struct rz_builder *b, uint32_t layer, int32_t n, int32_t rope, int32_t w_k,
                     const struct widths *w)
{
    int32_t l = (int32_t)layer, q = rz_build_value(b, "q", RZ_ROWS_ALL, w->heads * (w->nope + w->rope));
    uint64_t cols = w->q_latent ? w->q_latent : b->graph->h.n_embd;
    if (w->q_latent) {
        int32_t a = rz_build_weight(b, true, b->graph->h.n_embd, cols, "blk.%u.attn_q_a.weight", layer);
        n = rz_prim_matmul(b, l, n, rz_build_value(b, "q_latent", RZ_ROWS_ALL, cols), a, -1);
        n = latent_norm(b, layer, n, cols, "attn_q_a_norm");
    }
    int32_t wq = rz_build_weight(b, true, cols, w->heads * (w->nope + w->rope), "blk.%u.%s.weight", layer,
                                 w->q_latent ? "attn_q_b" : "attn_q");
    rz_prim_matmul(b, l, n, q, wq, -1);
    q = rotate(b, layer, q, w->heads, w->nope, rope, w->rope);
    return heads_times(b, layer, q, w->heads, w->latent + w->rope, w_k);
}

static void store(struct rz_builder *b, uint32_t layer, int32_t n, int32_t rope, const struct widths *w)
{
    struct rz_part p = {.cols = b->graph->h.n_embd, .rows = w->latent + w->rope, .n = w->latent};
    int32_t l = (int32_t)layer, a = rz_build_part(b, &p, "blk.%u.attn_kv_a_mqa.weight", layer);
    p.first = w->latent;
    p.n = w->rope;
    int32_t r = rz_build_part(b, &p, "blk.%u.attn_kv_a_mqa.weight", layer);
    int32_t latent = rz_prim_matmul(b, l, n, rz_build_value(b, "latent", RZ_ROWS_ALL, w->latent), a, -1);
    latent = latent_norm(b, layer, latent, w->latent, "attn_kv_a_norm");
    int32_t k = rz_prim_matmul(b, l, n, rz_build_value(b, "k", RZ_ROWS_ALL, w->rope), r, -1);
    k = rotate(b, layer, k, 1, 0, rope, w->rope);
    uint32_t node = rz_build_begin(b, RZ_OP_KV_STORE, l, &(struct rz_operands){.n_in = 2, .in = {latent, k}});
    attrs_kv(b, node, w);
    rz_build_end(b, node);
}

static int32_t attend(struct rz_builder *b, uint32_t layer, int32_t q, const struct widths *w)
{
    const struct rz_hparams *h = &b->graph->h;
    int32_t y = rz_build_value(b, "attended", RZ_ROWS_ALL, w->heads * w->latent);
    double stretch = h->scaling == RZ_SCALING_YARN ? 1 + h->yarn_log_mul * log(h->scaling_factor) : 1;
    uint32_t node = rz_build_begin(b, RZ_OP_ATTENTION, (int32_t)layer,
                                   &(struct rz_operands){.n_in = 1, .in = {q}, .n_out = 1, .out = {y}});
    attrs_kv(b, node, w);
    rz_build_attr(b, node, RZ_A_N_HEAD, (int64_t)w->heads, 0);
    rz_build_attr(b, node, RZ_A_SCALE, 0, stretch * stretch / sqrt((double)(w->nope + w->rope)));
    rz_build_end(b, node);
    return y;
}

int32_t rz_build_latent_attn(struct rz_builder *b, uint32_t layer, int32_t x, int32_t rope)
{
    struct widths w;
    int32_t k = -1, v = -1;
    if (!widths_of(b, &w))
        return -1;
    bind_heads(b, layer, &w, &k, &v);
    int32_t n = rz_build_norm(b, (int32_t)layer, x, RZ_NORM_RMS, "attn_norm");
    int32_t q = query(b, layer, n, rope, k, &w);
    store(b, layer, n, rope, &w);
    int32_t y = heads_times(b, layer, attend(b, layer, q, &w), w.heads, w.v, v);
    struct rz_close c = {.bias = -1, .post = {.kind = RZ_NORM_NONE}};
    c.w = rz_build_weight(b, true, w.heads * w.v, b->graph->h.n_embd, "blk.%u.attn_output.weight", layer);
    return rz_close_half(b, layer, y, x, &c);
}

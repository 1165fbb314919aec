/* latent.h - attention over a latent KV: all query heads read one vector a position, whose first
 * elements are its value as well (RZ_KV_LAYOUT_ROWS, no V).
 *
 * A tile is one row and up to HEADS of its heads, which share each read of a position. A score adds up in
 * eight lanes over ascending elements; positions add up in ascending order inside splits of 256 absolute
 * positions, which are merged in order. So nothing depends on tiles, threads or company.
 */
#ifndef RZ_BACKENDS_LATENT_H
#define RZ_BACKENDS_LATENT_H

#include "blocks.h"
#include "kv.h"

#include <math.h>
#include <string.h>

#define SPLIT RZ_ATTENTION_SPLIT
#define HEADS 8
#define K_MAX 1024

/* The queries of a tile, and their sums so far, relative to max. */
struct tile {
    const struct rz_kv_view *kv;
    const int32_t *pages;
    uint64_t layer, k_dim, v_dim, length;
    int n;
    float q[HEADS][K_MAX]; /* scaled */
    float max[HEADS], sum[HEADS], y[HEADS][K_MAX], w[HEADS][SPLIT];
};

int32_t latent_accept(const struct rz_kernel_node *n)
{
    return node_has(n, RZ_A_LATENT) && n->attr[RZ_A_HEAD_DIM].i <= K_MAX;
}

static const uint8_t *position(const struct tile *t, uint64_t pos)
{
    uint64_t page = (uint64_t)t->pages[pos / t->kv->page_tokens], slot = pos % t->kv->page_tokens;
    return t->kv->base + page * t->kv->page_bytes + t->layer * t->kv->layer_bytes +
           slot * rz_kv_row_bytes(t->kv->type, t->k_dim);
}

/* Scores of all heads for one position, four heads at a time; absent heads are computed and not used. */
INLINE void scores(struct tile *t, const uint8_t *k, uint64_t at, const int type)
{
    for (int h = 0; h < t->n; h += 4) {
        __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        uint64_t d = 0;
        for (; d + 8 <= t->k_dim; d += 8) {
            __m256 v = kv_row_eight(k, d, type);
            UNROLL
            for (int i = 0; i < 4; i++)
                acc[i] = _mm256_fmadd_ps(v, _mm256_loadu_ps(t->q[h + i] + d), acc[i]);
        }
        for (int i = 0; i < 4; i++) {
            float s = vec_sum(acc[i]);
            for (uint64_t e = d; e < t->k_dim; e++)
                s = fmaf(kv_row_one(k, e, type), t->q[h + i][e], s);
            t->w[h + i][at] = s;
        }
    }
}

/* Scores of n positions become weights relative to the largest so far, and what was added is made to fit. */
static void weigh(struct tile *t, int h, uint64_t n)
{
    float *w = t->w[h];
    uint64_t whole = (n + 7) / 8 * 8;
    for (uint64_t i = n; i < whole; i++)
        w[i] = -INFINITY;
    __m256 top = _mm256_loadu_ps(w), total = _mm256_setzero_ps();
    for (uint64_t i = 8; i < whole; i += 8)
        top = _mm256_max_ps(top, _mm256_loadu_ps(w + i));
    float max = fmaxf(t->max[h], vec_max(top)), keep = expf(t->max[h] - max);
    for (uint64_t i = 0; i < whole; i += 8) {
        __m256 e = vec_exp(_mm256_sub_ps(_mm256_loadu_ps(w + i), _mm256_set1_ps(max)));
        _mm256_storeu_ps(w + i, e);
        total = _mm256_add_ps(total, e);
    }
    t->max[h] = max;
    t->sum[h] = t->sum[h] * keep + vec_sum(total);
    for (uint64_t d = 0; d < t->v_dim; d++)
        t->y[h][d] *= keep;
}

/* y += weight * value over the positions begin .. begin + n - 1, for four heads and eight elements. */
INLINE void values(struct tile *t, int h, uint64_t begin, uint64_t n, uint64_t d, const int type)
{
    __m256 acc[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        acc[i] = _mm256_loadu_ps(t->y[h + i] + d);
    for (uint64_t p = 0; p < n; p++) {
        __m256 v = kv_row_eight(position(t, begin + p), d, type);
        UNROLL
        for (int i = 0; i < 4; i++)
            acc[i] = _mm256_fmadd_ps(_mm256_set1_ps(t->w[h + i][p]), v, acc[i]);
    }
    UNROLL
    for (int i = 0; i < 4; i++)
        _mm256_storeu_ps(t->y[h + i] + d, acc[i]);
}

INLINE void values_tail(struct tile *t, int h, uint64_t begin, uint64_t n, uint64_t d, const int type)
{
    for (uint64_t p = 0; p < n; p++)
        t->y[h][d] = fmaf(t->w[h][p], kv_row_one(position(t, begin + p), d, type), t->y[h][d]);
}

INLINE void split(struct tile *t, uint64_t begin, const int type)
{
    uint64_t n = t->length - begin < SPLIT ? t->length - begin : SPLIT;
    for (uint64_t p = 0; p < n; p++)
        scores(t, position(t, begin + p), p, type);
    for (int h = 0; h < t->n; h++)
        weigh(t, h, n);
    for (int h = 0; h < t->n; h += 4) {
        uint64_t d = 0;
        for (; d + 8 <= t->v_dim; d += 8)
            values(t, h, begin, n, d, type);
        for (; d < t->v_dim; d++)
            for (int i = h; i < h + 4; i++)
                values_tail(t, i, begin, n, d, type);
    }
}

uint32_t latent_tiles(const struct rz_kernel_call *c)
{
    return c->n_rows * (((uint32_t)c->node->attr[RZ_A_N_HEAD].i + HEADS - 1) / HEADS);
}

int32_t latent_attention(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    uint32_t n_head = (uint32_t)a[RZ_A_N_HEAD].i, blocks = (n_head + HEADS - 1) / HEADS;
    uint32_t row = c->tile / blocks, first = c->tile % blocks * HEADS;
    const struct rz_batch_row *r = &c->step->rows[row];
    struct tile t = {.kv = &c->step->kv[a[RZ_A_KV_GROUP].i],
                     .pages = c->step->seqs[r->seq].pages[a[RZ_A_KV_GROUP].i],
                     .layer = (uint64_t)a[RZ_A_KV_LAYER].i,
                     .k_dim = (uint64_t)a[RZ_A_HEAD_DIM].i,
                     .v_dim = (uint64_t)a[RZ_A_LATENT].i,
                     .length = (uint64_t)r->pos[0] + 1,
                     .n = n_head - first < HEADS ? (int)(n_head - first) : HEADS};
    const float *q = c->in[0].data + row * c->in[0].stride + first * t.k_dim;
    for (int h = 0; h < t.n; h++) {
        t.max[h] = -INFINITY;
        for (uint64_t d = 0; d < t.k_dim; d++)
            t.q[h][d] = q[(uint64_t)h * t.k_dim + d] * (float)a[RZ_A_SCALE].f;
    }
    for (uint64_t begin = 0; begin < t.length; begin += SPLIT) {
#define CALL_SPLIT(TYPE) split(&t, begin, TYPE)
        KV_TYPE(CALL_SPLIT, t.kv->type)
    }
    float *out = c->out[0].data + row * c->out[0].stride + first * t.v_dim;
    for (int h = 0; h < t.n; h++)
        for (uint64_t d = 0; d < t.v_dim; d++)
            out[(uint64_t)h * t.v_dim + d] = t.y[h][d] / t.sum[h];
    return RZ_OK;
}

int32_t latent_store(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    const struct rz_batch_row *r = &c->step->rows[c->tile];
    uint64_t pos = (uint64_t)r->pos[0];
    int32_t page = c->step->seqs[r->seq].pages[a[RZ_A_KV_GROUP].i][pos / kv->page_tokens];
    const float *latent = c->in[0].data + c->tile * c->in[0].stride;
    const float *rest = c->in[1].data + c->tile * c->in[1].stride;
    uint8_t *at = kv->base + (uint64_t)page * kv->page_bytes +
                  (uint64_t)a[RZ_A_KV_LAYER].i * kv->layer_bytes +
                  pos % kv->page_tokens * rz_kv_row_bytes(kv->type, kv->k_dim);
    float both[K_MAX];
    memcpy(both, latent, kv->v_dim * sizeof(float));
    memcpy(both + kv->v_dim, rest, (kv->k_dim - kv->v_dim) * sizeof(float));
    kv_row_store(at, both, kv->k_dim, kv->type);
    return RZ_OK;
}

#endif

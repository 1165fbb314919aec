/* recurrent.h - ops that carry state from row to row: convolution, scan, delta rule; eight channels
 * or state elements side by side.
 *
 * A tile is a range of channels or heads, for all rows of the step in their order. The state is float32
 * after every row, and all sums go over a row's own elements in an order that its width gives: a token gets
 * the same bits alone, in a chunk, and in any company.
 */
#ifndef RZ_BACKENDS_RECURRENT_H
#define RZ_BACKENDS_RECURRENT_H

#include "blocks.h"
#include "vec_math.h"

#include <math.h>

#define CHANNELS 64 /* a tile, about */
#define TAPS_MAX 8
#define SIDE 4 /* chains of additions that go on beside each other */

int32_t recurrent_accept(const struct rz_kernel_node *n)
{
    for (uint32_t i = 0; i < n->n_weights; i++)
        if (n->weights[i].type != RZ_TYPE_NONE && n->weights[i].type != RZ_TYPE_F32)
            return 0;
    return n->op != RZ_OP_CONV || n->weights[0].cols <= TAPS_MAX;
}

static float *state_of(const struct rz_kernel_call *c, uint32_t row)
{
    const struct rz_state_view *v = &c->step->states[c->node->attr[RZ_A_STATE].i];
    return v->base + (uint64_t)c->step->seqs[c->step->rows[row].seq].state_slot * v->stride;
}

static const float *weight(const struct rz_kernel_call *c, uint32_t i)
{
    return c->node->weights[i].data;
}

static const float *in_row(const struct rz_kernel_call *c, uint32_t i, uint32_t row)
{
    return c->in[i].data + row * c->in[i].stride;
}

static uint64_t attr(const struct rz_kernel_call *c, uint32_t id)
{
    return (uint64_t)c->node->attr[id].i;
}

/* --- up to eight elements: n is how many there are from p on --- */

INLINE __m256i mask_of(uint64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n < 8 ? n : 8)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE __m256 load(const float *p, uint64_t n)
{
    return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask_of(n));
}

INLINE void store(float *p, __m256 v, uint64_t n)
{
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, mask_of(n), v);
}

/* --- convolution --- */

uint32_t conv_tiles(const struct rz_kernel_call *c)
{
    return (uint32_t)((c->out[0].width + CHANNELS - 1) / CHANNELS);
}

/* Eight channels of a row; w: the taps of each, side by side. */
INLINE void conv_eight(const struct rz_kernel_call *c, uint32_t row, uint64_t at, uint64_t n,
                       const float (*w)[CHANNELS], __m256 bias)
{
    uint64_t width = c->in[0].width, taps = c->node->weights[0].cols, lane = at % CHANNELS;
    float *past = state_of(c, row) + at;
    __m256 x = load(in_row(c, 0, row) + at, n), sum = bias, next = load(past, n);
    for (uint64_t k = 0; k + 1 < taps; k++) {
        sum = _mm256_fmadd_ps(_mm256_loadu_ps(w[k] + lane), next, sum);
        next = k + 2 < taps ? load(past + (k + 1) * width, n) : x;
        store(past + k * width, next, n);
    }
    sum = _mm256_fmadd_ps(_mm256_loadu_ps(w[taps - 1] + lane), x, sum);
    if (c->node->attr_mask & RZ_ATTR_SILU)
        sum = vec_silu(sum);
    store(c->out[0].data + row * c->out[0].stride + at, sum, n);
}

int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    float w[TAPS_MAX][CHANNELS] = {{0}};
    uint64_t width = c->out[0].width, taps = c->node->weights[0].cols, first = (uint64_t)c->tile * CHANNELS;
    uint64_t end = first + CHANNELS < width ? first + CHANNELS : width;
    const float *bias = c->node->attr_mask & RZ_ATTR_BIAS ? weight(c, 1) : NULL;
    (void)err;
    for (uint64_t i = first; i < end; i++)
        for (uint64_t k = 0; k < taps; k++)
            w[k][i - first] = weight(c, 0)[i * taps + k];
    for (uint32_t row = 0; row < c->n_rows; row++)
        for (uint64_t i = first; i < end; i += 8)
            conv_eight(c, row, i, end - i, w, bias ? load(bias + i, end - i) : _mm256_setzero_ps());
    return RZ_OK;
}

/* --- scan --- */

/* Its sizes and operands for one head group of one row. */
struct scan {
    uint64_t p_dim, n_dim, a_cols;
    const float *b, *c;
};

static uint64_t scan_heads(const struct rz_kernel_call *c)
{
    uint64_t p = c->out[0].width / attr(c, RZ_A_N_HEAD);
    return p < CHANNELS ? CHANNELS / p : 1;
}

uint32_t scan_tiles(const struct rz_kernel_call *c)
{
    uint64_t heads = attr(c, RZ_A_N_HEAD), each = scan_heads(c);
    return (uint32_t)((heads + each - 1) / each);
}

static struct scan scan_operands(const struct rz_kernel_call *c, uint32_t row, uint64_t head)
{
    uint64_t inner = c->out[0].width, heads = attr(c, RZ_A_N_HEAD), groups = attr(c, RZ_A_STATE_GROUPS);
    bool apart = c->node->n_in == 4;
    uint64_t all = apart ? c->in[2].width : (c->in[0].width - inner) / 2;
    const float *b = apart ? in_row(c, 2, row) : in_row(c, 0, row) + inner;
    const float *cs = apart ? in_row(c, 3, row) : b + all;
    uint64_t n = all / groups, at = head / (heads / groups) * n;
    return (struct scan){
        .p_dim = inner / heads, .n_dim = n, .a_cols = c->node->weights[0].cols, .b = b + at, .c = cs + at};
}

/* y of some channels of one head: their states decay, take x up, and are read. a NULL: all decay alike. */
INLINE void scan_channels(const struct scan *s, float *state, const float *a, __m256 d, __m256 decay,
                          const float *x, float *y, int channels)
{
    __m256 dx[SIDE], sum[SIDE];
    UNROLL
    for (int i = 0; i < channels; i++) {
        dx[i] = _mm256_mul_ps(d, _mm256_set1_ps(x[i]));
        sum[i] = _mm256_setzero_ps();
    }
    for (uint64_t n = 0; n < s->n_dim; n += 8) {
        uint64_t left = s->n_dim - n;
        __m256 b = load(s->b + n, left), c = load(s->c + n, left);
        if (a)
            decay = vec_exp(_mm256_mul_ps(d, load(a + n, left)));
        UNROLL
        for (int i = 0; i < channels; i++) {
            float *at = state + (uint64_t)i * s->n_dim + n;
            __m256 next = _mm256_fmadd_ps(dx[i], b, _mm256_mul_ps(load(at, left), decay));
            store(at, next, left);
            sum[i] = _mm256_fmadd_ps(next, c, sum[i]);
        }
    }
    UNROLL
    for (int i = 0; i < channels; i++)
        y[i] = vec_sum(sum[i]);
}

static void scan_head(const struct rz_kernel_call *c, uint32_t row, uint64_t head, float step)
{
    struct scan s = scan_operands(c, row, head);
    const float *x = in_row(c, 0, row) + head * s.p_dim, *a = weight(c, 0) + head * s.a_cols;
    float *state = state_of(c, row) + head * s.p_dim * s.n_dim, skip = weight(c, 1)[head];
    float *y = c->out[0].data + row * c->out[0].stride + head * s.p_dim;
    __m256 d = _mm256_set1_ps(step), decay = vec_exp(_mm256_mul_ps(d, _mm256_set1_ps(a[0])));
    uint64_t p = 0;
    for (; p + SIDE <= s.p_dim && s.a_cols == 1; p += SIDE)
        scan_channels(&s, state + p * s.n_dim, NULL, d, decay, x + p, y + p, SIDE);
    for (; p < s.p_dim; p++)
        scan_channels(&s, state + p * s.n_dim, s.a_cols > 1 ? a : NULL, d, decay, x + p, y + p, 1);
    for (p = 0; p < s.p_dim; p++)
        y[p] += skip * x[p];
}

int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    uint64_t heads = attr(c, RZ_A_N_HEAD), each = scan_heads(c), first = c->tile * each;
    uint64_t end = first + each < heads ? first + each : heads;
    bool biased = c->node->weights[2].type != RZ_TYPE_NONE;
    float steps[8];
    (void)err;
    for (uint32_t row = 0; row < c->n_rows; row++)
        for (uint64_t head = first; head < end; head++) {
            if ((head - first) % 8 == 0) {
                __m256 d = load(in_row(c, 1, row) + head, end - head);
                if (biased)
                    d = _mm256_add_ps(d, load(weight(c, 2) + head, end - head));
                _mm256_storeu_ps(steps, vec_softplus(d));
            }
            scan_head(c, row, head, steps[(head - first) % 8]);
        }
    return RZ_OK;
}

/* --- the delta rule --- */

struct delta {
    uint64_t k_dim, v_dim;
    const float *q, *k, *v;
    float q_factor, k_factor, decay, beta;
};

uint32_t delta_tiles(const struct rz_kernel_call *c)
{
    return (uint32_t)attr(c, RZ_A_N_HEAD);
}

static float norm_factor(const float *x, uint64_t n, double eps)
{
    __m256 sum = _mm256_setzero_ps();
    for (uint64_t i = 0; i < n; i += 8) {
        __m256 v = load(x + i, n - i);
        sum = _mm256_fmadd_ps(v, v, sum);
    }
    return (float)(1 / sqrt((double)vec_sum(sum) + eps));
}

static struct delta delta_operands(const struct rz_kernel_call *c, uint32_t row, uint64_t head)
{
    uint64_t heads = attr(c, RZ_A_N_HEAD), keys = attr(c, RZ_A_STATE_GROUPS), v = c->out[0].width / heads;
    uint64_t k = (c->in[0].width - c->out[0].width) / (2 * keys);
    uint64_t mine = node_has(c->node, RZ_A_STRIPED) ? head % keys : head / (heads / keys);
    const float *x = in_row(c, 0, row);
    double dt = (double)in_row(c, 1, row)[head] + (double)weight(c, 1)[head];
    double step = dt > 30 ? dt : log1p(exp(dt)), eps = c->node->attr[RZ_A_EPS].f;
    struct delta d = {.k_dim = k, .v_dim = v, .q = x + mine * k, .v = x + 2 * keys * k + head * v};
    d.k = d.q + keys * k;
    d.decay = (float)exp(step * (double)weight(c, 0)[head]);
    d.beta = (float)(1 / (1 + exp(-(double)in_row(c, 2, row)[head])));
    d.q_factor = (float)((double)norm_factor(d.q, k, eps) / sqrt((double)k));
    d.k_factor = norm_factor(d.k, k, eps);
    return d;
}

/* Columns of the state, eight to a vector; the last vector may have less than that. */
INLINE void delta_columns(const struct delta *d, float *state, uint64_t at, float *y, int vectors)
{
    __m256 decay = _mm256_set1_ps(d->decay), beta = _mm256_set1_ps(d->beta), known[SIDE], sum[SIDE];
    uint64_t left = vectors > 1 ? 8 : d->v_dim - at;
    UNROLL
    for (int v = 0; v < vectors; v++)
        known[v] = sum[v] = _mm256_setzero_ps();
    for (uint64_t i = 0; i < d->k_dim; i++) {
        __m256 k = _mm256_set1_ps(d->k[i] * d->k_factor);
        const float *s = state + i * d->v_dim + at;
        UNROLL
        for (int v = 0; v < vectors; v++)
            known[v] = _mm256_fmadd_ps(k, _mm256_mul_ps(load(s + 8 * v, left), decay), known[v]);
    }
    UNROLL
    for (int v = 0; v < vectors; v++)
        known[v] = _mm256_mul_ps(beta, _mm256_sub_ps(load(d->v + at + 8 * v, left), known[v]));
    for (uint64_t i = 0; i < d->k_dim; i++) {
        __m256 k = _mm256_set1_ps(d->k[i] * d->k_factor), q = _mm256_set1_ps(d->q[i] * d->q_factor);
        float *s = state + i * d->v_dim + at;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            __m256 next = _mm256_fmadd_ps(k, known[v], _mm256_mul_ps(load(s + 8 * v, left), decay));
            store(s + 8 * v, next, left);
            sum[v] = _mm256_fmadd_ps(q, next, sum[v]);
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++)
        store(y + at + 8 * v, sum[v], left);
}

int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    uint64_t head = c->tile;
    (void)err;
    for (uint32_t row = 0; row < c->n_rows; row++) {
        struct delta d = delta_operands(c, row, head);
        float *y = c->out[0].data + row * c->out[0].stride + head * d.v_dim;
        float *state = state_of(c, row) + head * d.k_dim * d.v_dim;
        uint64_t at = 0;
        for (; at + 8 * SIDE <= d.v_dim; at += 8 * SIDE)
            delta_columns(&d, state, at, y, SIDE);
        for (; at < d.v_dim; at += 8)
            delta_columns(&d, state, at, y, 1);
    }
    return RZ_OK;
}

#endif

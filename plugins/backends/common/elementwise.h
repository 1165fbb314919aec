/* elementwise.h - one row of activations at a time: norms, activation functions, sums. All lanes and tails
 * add in an order that depends on the width only.
 */
#ifndef RZ_X86_ELEMENTWISE_H
#define RZ_X86_ELEMENTWISE_H

#include "vec_math.h"
#include "x86.h"

#include <math.h>
#include <string.h>

/* --- norms: sums in double precision --- */

/* Of a pair of four: neighbours first. */
INLINE double sum_lanes(__m256d lo, __m256d hi)
{
    double lanes[4];
    _mm256_storeu_pd(lanes, _mm256_add_pd(lo, hi));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

static double mean_of(const float *x, uint64_t n)
{
    __m256d lo = _mm256_setzero_pd(), hi = _mm256_setzero_pd();
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        lo = _mm256_add_pd(lo, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
        hi = _mm256_add_pd(hi, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
    }
    double sum = sum_lanes(lo, hi);
    for (; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

/* The sum of (x - mean)^2; the mean counts if there is one. */
INLINE double squares(const float *x, uint64_t n, double mean, const bool centre)
{
    __m256d lo = _mm256_setzero_pd(), hi = _mm256_setzero_pd(), m = _mm256_set1_pd(mean);
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256d a = _mm256_cvtps_pd(_mm_loadu_ps(x + i)), b = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));
        if (centre) {
            a = _mm256_sub_pd(a, m);
            b = _mm256_sub_pd(b, m);
        }
        lo = _mm256_fmadd_pd(a, a, lo);
        hi = _mm256_fmadd_pd(b, b, hi);
    }
    double sum = sum_lanes(lo, hi);
    for (; i < n; i++)
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    return sum;
}

/* (x - mean) * scale of eight: the difference is rounded once, so a large mean costs nothing. */
static __m256 centred(__m256 x, double mean, double scale)
{
    __m256d m = _mm256_set1_pd(mean), s = _mm256_set1_pd(scale);
    __m256d a = _mm256_mul_pd(_mm256_sub_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x)), m), s),
            b = _mm256_mul_pd(_mm256_sub_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)), m), s);
    return _mm256_set_m128(_mm256_cvtpd_ps(b), _mm256_cvtpd_ps(a));
}

/* Part of a row that is normed alone; w and b belong to it. */
INLINE void norm_part(const struct norm *norm, const float *x, const float *w, const float *b, float *out,
                      uint64_t n, const bool layer)
{
    double mean = layer ? mean_of(x, n) : 0;
    double scale = 1 / sqrt(squares(x, n, mean, layer) / (double)n + norm->eps);
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        v = layer ? centred(v, mean, scale) : _mm256_mul_ps(v, _mm256_set1_ps((float)scale));
        if (w)
            v = _mm256_mul_ps(v, _mm256_loadu_ps(w + i));
        if (b)
            v = _mm256_add_ps(v, _mm256_loadu_ps(b + i));
        _mm256_storeu_ps(out + i, v);
    }
    for (; i < n; i++) {
        float v = layer ? (float)(((double)x[i] - mean) * scale) : x[i] * (float)scale;
        if (w)
            v *= w[i];
        if (b)
            v += b[i];
        out[i] = v;
    }
}

static void layer_norm(const struct norm *norm, const float *x, const float *w, const float *b, float *out,
                       uint64_t n)
{
    norm_part(norm, x, w, b, out, n, true);
}

static void rms_norm(const struct norm *norm, const float *x, const float *w, const float *b, float *out,
                     uint64_t n)
{
    if (w && !b)
        norm_part(norm, x, w, NULL, out, n, false);
    else
        norm_part(norm, x, w, b, out, n, false);
}

void act_norm(const struct norm *norm, const float *x, float *out, uint64_t n)
{
    void (*part_norm)(const struct norm *, const float *, const float *, const float *, float *, uint64_t) =
        norm->layer ? layer_norm : rms_norm;
    if (norm->parts == 1) {
        part_norm(norm, x, norm->w, norm->b, out, n);
        return;
    }
    uint64_t part = n / norm->parts;
    for (uint64_t at = 0; at < n; at += part)
        part_norm(norm, x + at, norm->w ? norm->w + at % norm->cols : NULL,
                  norm->b ? norm->b + at % norm->cols : NULL, out + at, part);
}

/* --- elementwise: the tail goes through a full vector, so it has the same arithmetic --- */

INLINE __m256 load_some(const float *x, uint64_t n)
{
    float v[8] = {0};
    for (uint64_t i = 0; i < n; i++)
        v[i] = x[i];
    return _mm256_loadu_ps(v);
}

INLINE void store_some(float *out, __m256 x, uint64_t n)
{
    float v[8];
    _mm256_storeu_ps(v, x);
    for (uint64_t i = 0; i < n; i++)
        out[i] = v[i];
}

INLINE __m256 activate(__m256 x, const uint32_t act)
{
    switch (act) {
    case RZ_A_GELU:
        return vec_gelu(x);
    case RZ_A_GELU_TANH:
        return vec_gelu_tanh(x);
    case RZ_A_RELU2:
        return vec_relu2(x);
    default:
        return vec_silu(x);
    }
}

INLINE void activate_row(const float *gate, const float *up, float *h, uint64_t n, const uint32_t act)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = activate(_mm256_loadu_ps(gate + i), act);
        _mm256_storeu_ps(h + i, up ? _mm256_mul_ps(v, _mm256_loadu_ps(up + i)) : v);
    }
    if (i < n) {
        __m256 v = activate(load_some(gate + i, n - i), act);
        store_some(h + i, up ? _mm256_mul_ps(v, load_some(up + i, n - i)) : v, n - i);
    }
}

void act_apply(uint32_t act, const float *gate, const float *up, float *h, uint64_t n)
{
    switch (act) {
    case RZ_A_GELU:
        activate_row(gate, up, h, n, RZ_A_GELU);
        break;
    case RZ_A_GELU_TANH:
        activate_row(gate, up, h, n, RZ_A_GELU_TANH);
        break;
    case RZ_A_RELU2:
        activate_row(gate, up, h, n, RZ_A_RELU2);
        break;
    default:
        activate_row(gate, up, h, n, RZ_A_SILU);
        break;
    }
}

static __m256 map_eight(const struct act_map *m, __m256 v)
{
    v = _mm256_mul_ps(v, _mm256_set1_ps(m->factor));
    if (m->softcap != 0)
        v = vec_softcap(v, m->softcap);
    if (m->clamp != 0) /* the second operands are kept when v is NaN */
        v = _mm256_min_ps(_mm256_set1_ps(m->clamp), _mm256_max_ps(_mm256_set1_ps(-m->clamp), v));
    return v;
}

void act_map(const struct act_map *m, const float *x, float *out, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, map_eight(m, _mm256_loadu_ps(x + i)));
    if (i < n)
        store_some(out + i, map_eight(m, load_some(x + i, n - i)), n - i);
}

static __m256 xielu_eight(const struct act_xielu *f, __m256 x)
{
    __m256 low = _mm256_min_ps(_mm256_set1_ps(f->eps), x); /* the second operand is kept when x is NaN */
    __m256 above = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(f->p), x), x);
    __m256 below = _mm256_mul_ps(_mm256_sub_ps(vec_expm1_negative(low), x), _mm256_set1_ps(f->n));
    __m256 curve = _mm256_blendv_ps(below, above, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
    return _mm256_fmadd_ps(_mm256_set1_ps(f->beta), x, curve);
}

void act_xielu(const struct act_xielu *f, const float *x, float *out, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, xielu_eight(f, _mm256_loadu_ps(x + i)));
    if (i < n)
        store_some(out + i, xielu_eight(f, load_some(x + i, n - i)), n - i);
}

void act_product(const float *a, const float *b, float *product, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(product + i, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++)
        product[i] = a[i] * b[i];
}

void act_add(const float *a, const float *b, float *sum, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(sum + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++)
        sum[i] = a[i] + b[i];
}

/* --- what mixtures of experts need --- */

/* gate sigmoid(1.702 gate) (up + 1) is silu(1.702 gate) / 1.702 (up + 1) */
static void swiglu(float limit, const float *gate, const float *up, float *h, uint64_t n)
{
    float g[8], u[8];
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t k = n - i < 8 ? n - i : 8;
        for (uint64_t j = 0; j < 8; j++) {
            float x = j < k ? gate[i + j] : 0, y = j < k ? up[i + j] : 0;
            g[j] = 1.702f * (x < limit ? x : limit);
            u[j] = (y < -limit ? -limit : y > limit ? limit : y) + 1;
        }
        __m256 v = _mm256_mul_ps(vec_silu(_mm256_loadu_ps(g)), _mm256_loadu_ps(u));
        _mm256_storeu_ps(g, _mm256_div_ps(v, _mm256_set1_ps(1.702f)));
        memcpy(h + i, g, k * sizeof(float));
    }
}

void act_pair(const struct rz_kernel_node *n, const float *gate, const float *up, float *h, uint64_t count)
{
    if (node_has(n, RZ_A_SWIGLU))
        swiglu((float)n->attr[RZ_A_SWIGLU].f, gate, up, h, count);
    else
        act_apply(node_act(n), gate, up, h, count);
}

/* weights NULL: the parts are added as they are. */
void act_sum_parts(const float *parts, const float *weights, uint64_t used, float *y, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        float sum = weights ? parts[i] * weights[0] : parts[i];
        for (uint64_t k = 1; k < used; k++)
            sum += weights ? parts[k * n + i] * weights[k] : parts[k * n + i];
        y[i] = sum;
    }
}

/* y = sigmoid(gate) x; gate has as many elements as x, or one. */
void act_gate(const float *gate, uint64_t n_gate, const float *x, float *y, uint64_t n)
{
    float g[8], v[8];
    for (uint64_t i = 0; i < n; i += 8) {
        uint64_t k = n - i < 8 ? n - i : 8;
        for (uint64_t j = 0; j < 8; j++) {
            g[j] = n_gate == 1 ? gate[0] : j < k ? gate[i + j] : 0;
            v[j] = j < k ? x[i + j] : 0;
        }
        __m256 e = vec_exp(_mm256_sub_ps(_mm256_setzero_ps(), _mm256_loadu_ps(g)));
        _mm256_storeu_ps(v, _mm256_div_ps(_mm256_loadu_ps(v), _mm256_add_ps(_mm256_set1_ps(1), e)));
        memcpy(y + i, v, k * sizeof(float));
    }
}

#endif

/* kernels_act.c - activations: norm, quantisation, activation functions. All lanes and tails add in an
 * order that depends on the width only.
 */
#include "avx2.h"
#include "vec.h"

#include <math.h>

void act_quantise(const float *x, struct act_block *out, uint64_t n)
{
    const __m256 abs_mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* undoes the packs' lane order */
    for (uint64_t b = 0; b < n / 32; b++, x += 32, out++) {
        __m256 v[4], top = _mm256_setzero_ps();
        for (int i = 0; i < 4; i++) {
            v[i] = _mm256_loadu_ps(x + 8 * i);
            top = _mm256_max_ps(top, _mm256_and_ps(v[i], abs_mask));
        }
        float amax = vec_max(top);
        float inverse = amax > 0 ? 127.0f / amax : 0.0f;
        __m256i q[4];
        for (int i = 0; i < 4; i++)
            q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)));
        __m256i lo = _mm256_packs_epi32(q[0], q[1]), hi = _mm256_packs_epi32(q[2], q[3]);
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(lo, hi), order);
        _mm256_storeu_si256((__m256i *)out->q, bytes);
        int h0 = vec_sum_i32(_mm256_add_epi32(q[0], q[1])), h1 = vec_sum_i32(_mm256_add_epi32(q[2], q[3]));
        out->d = amax / 127.0f;
        out->s = out->d * (float)(h0 + h1);
        out->h[0] = (int16_t)h0;
        out->h[1] = (int16_t)h1;
        out->zero = 0;
    }
}

void act_rmsnorm(const float *x, const float *w, double eps, float *out, uint64_t n)
{
    __m256d lo = _mm256_setzero_pd(), hi = _mm256_setzero_pd();
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
        lo = _mm256_fmadd_pd(a, a, lo);
        hi = _mm256_fmadd_pd(b, b, hi);
    }
    double lanes[4], sum;
    _mm256_storeu_pd(lanes, _mm256_add_pd(lo, hi));
    sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    for (uint64_t j = i; j < n; j++)
        sum += (double)x[j] * (double)x[j];
    float scale = (float)(1 / sqrt(sum / (double)n + eps));
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

/* x * sigmoid(x) */
static __m256 silu(__m256 x)
{
    __m256 e = vec_exp(_mm256_sub_ps(_mm256_setzero_ps(), x));
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1), e));
}

void act_silu_mul(const float *gate, const float *up, float *h, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(h + i, _mm256_mul_ps(silu(_mm256_loadu_ps(gate + i)), _mm256_loadu_ps(up + i)));
    if (i < n) { /* the same arithmetic for the tail, on a full vector */
        float g[8] = {0}, u[8] = {0}, out[8];
        for (uint64_t j = i; j < n; j++) {
            g[j - i] = gate[j];
            u[j - i] = up[j];
        }
        _mm256_storeu_ps(out, _mm256_mul_ps(silu(_mm256_loadu_ps(g)), _mm256_loadu_ps(u)));
        for (uint64_t j = i; j < n; j++)
            h[j] = out[j - i];
    }
}

void act_add(const float *a, const float *b, float *sum, uint64_t n)
{
    uint64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(sum + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++)
        sum[i] = a[i] + b[i];
}

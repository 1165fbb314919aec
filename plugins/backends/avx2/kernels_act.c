/* kernels_act.c - activations: quantisation, and what elementwise.h has. */
#include "avx2.h"

#include "../common/elementwise.h"

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

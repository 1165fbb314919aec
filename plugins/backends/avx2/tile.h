/* tile.h - what the files with tile kernels share; for kernel files only. */
#ifndef RZ_AVX2_TILE_H
#define RZ_AVX2_TILE_H

#include "../common/vec.h"
#include "avx2.h"

#define ONES _mm256_set1_epi16(1)

/* Elements 4i .. 4i + 3 of a block of activations, for all eight rows. */
INLINE __m256i four(const struct act_block *x, int i)
{
    int32_t v;
    __builtin_memcpy(&v, x->q + 4 * i, 4);
    return _mm256_set1_epi32(v);
}

INLINE __m256 halves(const uint16_t *h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

/* acc += d * x.d * sum */
INLINE __m256 add_scaled(__m256 acc, __m256i sum, __m256 d, const struct act_block *x)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(d, _mm256_set1_ps(x->d)), acc);
}

INLINE void store_all(const __m256 *acc, int n, float out[TILE_ROWS][GROUP])
{
    UNROLL
    for (int t = 0; t < n; t++)
        _mm256_storeu_ps(out[t], acc[t]);
}

INLINE void clear_all(__m256 *acc, int n)
{
    UNROLL
    for (int t = 0; t < n; t++)
        acc[t] = _mm256_setzero_ps();
}

/* One function a type and number of rows, so that n is a constant in each. */
#define TILE_N(call, n_rows) \
    switch (n_rows) { \
    case 1: \
        call(1); \
        break; \
    case 2: \
        call(2); \
        break; \
    case 3: \
        call(3); \
        break; \
    default: \
        call(4); \
        break; \
    }
#define TILE_OF(name) \
    static void name##_n(const void *group, uint64_t cols, const union tile_x *x, int n, \
                         float out[TILE_ROWS][GROUP]) \
    { \
        TILE_N(CALL_##name, n) \
    }

/* kernels_small.c: the tiles of q2_k, and of all types in the form x_i8 */
void tile_q2_k_n(const void *group, uint64_t cols, const union tile_x *x, int n, float out[TILE_ROWS][GROUP]);
void tile_i8_n(const void *group, uint64_t cols, const union tile_x *x, int n, float out[TILE_ROWS][GROUP]);

#endif

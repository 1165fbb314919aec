/* vec.h - small helpers on 256-bit vectors, on aarch64 pairs of 128 (vec_neon.h); for kernel files only. */
#ifndef RZ_X86_VEC_H
#define RZ_X86_VEC_H

#if defined(__aarch64__)
#include "vec_neon.h"
#else
#include <immintrin.h>
#endif
#include <stdint.h>

/* Loops whose arrays must live in registers have constant bounds and are unrolled by this. */
#if defined(RZ_DEBUG) || defined(RZ_TSAN) /* checks in unrolled bodies take compilers minutes */
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Has the second-level cache get a line. Reads, and prefetches into the first level, wait for memory a third
 * as many at a time; and many of these in a row do no better: they belong between products. */
INLINE void fetch(const void *line)
{
    __builtin_prefetch(line, 0, 2);
}

/* A fixed tree: lanes 0..3 with 4..7, then halves, then neighbours. */
INLINE float vec_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE float vec_max(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

INLINE int32_t vec_sum_i32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* e^x by range reduction to |r| <= ln2 / 2 and a polynomial of degree 6 (Taylor coefficients refined by
 * Remez; as in Cephes' expf); within 2 ulp. exp(0) is 1; below -87.33 the result is 0, above 88.37 it is
 * limited to exp(88.37). NaN in, NaN out. */
INLINE __m256 vec_exp(__m256 x)
{
    const __m256 low = _mm256_set1_ps(-87.33654f), high = _mm256_set1_ps(88.37626f);
    __m256 tiny = _mm256_cmp_ps(x, low, _CMP_LT_OQ);
    __m256 c = _mm256_min_ps(high, x); /* the second operand is kept when x is NaN */
    __m256 n = _mm256_round_ps(_mm256_mul_ps(c, _mm256_set1_ps(1.44269504f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), c);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r), _mm256_set1_ps(1));
    __m256i e = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(tiny, _mm256_mul_ps(p, _mm256_castsi256_ps(e)));
}

#endif

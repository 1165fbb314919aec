/* kernels_act.c - activations: quantisation into tiles, and what elementwise.h has. */
#include "avx512.h"
#include "vec512.h"

#include "../common/elementwise.h"

#include <string.h>

INLINE __m512 abs_max(__m512 top, __m512 v)
{
    return _mm512_max_ps(top, _mm512_abs_ps(v));
}

/* Puts the 16 bytes of a half block at words first .. first + 3. */
INLINE void put_bytes(int32_t *block, uint32_t n, uint32_t t, uint32_t first, __m128i bytes)
{
    int32_t words[4];
    _mm_storeu_si128((__m128i *)words, bytes);
    for (uint32_t i = 0; i < 4; i++)
        block[(first + i) * n + t] = words[i];
}

static void put_float(int32_t *at, float v)
{
    memcpy(at, &v, 4);
}

/* The words after the bytes; h: sums of both halves. Sums are at most 16 * 32639, so integers are exact. */
static void put_aux(int32_t *aux, uint32_t n, uint32_t t, int32_t h0, int32_t h1, float d, float sum_scale)
{
    aux[ACT_C * n + t] = -128 * (h0 + h1);
    aux[ACT_C0 * n + t] = -128 * h0;
    aux[ACT_C1 * n + t] = -128 * h1;
    put_float(&aux[ACT_D * n + t], d);
    put_float(&aux[ACT_S * n + t], sum_scale * (float)(h0 + h1));
    put_float(&aux[ACT_S0 * n + t], sum_scale * (float)h0);
    put_float(&aux[ACT_S1 * n + t], sum_scale * (float)h1);
}

/* x * inverse, rounded to nearest; what is no number becomes -limit. */
INLINE __m512i to_integers(__m512 x, float inverse, int32_t limit)
{
    __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));
    return _mm512_max_epi32(q, _mm512_set1_epi32(-limit));
}

void act_put_int8(const float *x, uint64_t cols, int32_t *tile, uint32_t n, uint32_t t)
{
    for (uint64_t b = 0; b < cols / 32; b++, x += 32, tile += ACT_WORDS(n, 0)) {
        __m512 v0 = _mm512_loadu_ps(x), v1 = _mm512_loadu_ps(x + 16);
        float amax = _mm512_reduce_max_ps(abs_max(_mm512_abs_ps(v0), v1));
        float inverse = amax > 0 ? 127.0f / amax : 0.0f, d = amax / 127.0f;
        __m512i q0 = to_integers(v0, inverse, 127), q1 = to_integers(v1, inverse, 127);
        put_bytes(tile, n, t, 0, _mm512_cvtepi32_epi8(q0));
        put_bytes(tile, n, t, 4, _mm512_cvtepi32_epi8(q1));
        put_aux(tile + 8 * n, n, t, _mm512_reduce_add_epi32(q0), _mm512_reduce_add_epi32(q1), d, d);
    }
}

/* x = 256 high + low with low in -128 .. 127 */
INLINE void put_planes(int32_t *block, uint32_t n, uint32_t t, uint32_t first, __m512i q)
{
    __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
    put_bytes(block, n, t, first, _mm512_cvtepi32_epi8(high));
    put_bytes(block, n, t, first + 8, _mm512_cvtepi32_epi8(q)); /* the low bytes as they are */
}

void act_put_wide(const float *x, uint64_t cols, int32_t *tile, uint32_t n, uint32_t t)
{
    const int32_t limit = 127 * 256 + 127;
    __m512 top = _mm512_setzero_ps();
    for (uint64_t i = 0; i < cols; i += 16)
        top = abs_max(top, _mm512_loadu_ps(x + i));
    float amax = _mm512_reduce_max_ps(top);
    float inverse = amax > 0 ? (float)limit / amax : 0.0f, d = amax / (float)limit;
    for (uint64_t b = 0; b < cols / 32; b++, x += 32, tile += ACT_WORDS(n, 1)) {
        __m512i q0 = to_integers(_mm512_loadu_ps(x), inverse, limit);
        __m512i q1 = to_integers(_mm512_loadu_ps(x + 16), inverse, limit);
        put_planes(tile, n, t, 0, q0);
        put_planes(tile, n, t, 4, q1);
        put_aux(tile + 16 * n, n, t, _mm512_reduce_add_epi32(q0), _mm512_reduce_add_epi32(q1), d, 1);
    }
}

void act_put_float(const float *x, uint64_t cols, float *tile, uint32_t n, uint32_t t)
{
    for (uint64_t k = 0; k < cols; k++)
        tile[k * n + t] = x[k];
}

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
INLINE __m512i high_of(__m512i q)
{
    return _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
}

INLINE void put_planes(int32_t *block, uint32_t n, uint32_t t, uint32_t first, __m512i q)
{
    put_bytes(block, n, t, first, _mm512_cvtepi32_epi8(high_of(q)));
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

/* --- a whole tile: eight rows at once. The same integers and scales as row by row. --- */

#define SIGNED_SUM(sum, bytes) _mm256_dpbusd_epi32(sum, _mm256_set1_epi8(1), bytes)

/* top[t]: the largest of the sixteen of v[t]. */
INLINE __m256 largest_of_each(const __m512 *v)
{
    __m256 half[8], two[4], four[2];
    UNROLL
    for (int t = 0; t < 8; t++)
        half[t] = _mm256_max_ps(_mm512_castps512_ps256(v[t]), _mm512_extractf32x8_ps(v[t], 1));
    UNROLL
    for (int t = 0; t < 4; t++)
        two[t] = _mm256_max_ps(_mm256_unpacklo_ps(half[2 * t], half[2 * t + 1]),
                               _mm256_unpackhi_ps(half[2 * t], half[2 * t + 1]));
    UNROLL
    for (int t = 0; t < 2; t++)
        four[t] = _mm256_max_ps(_mm256_shuffle_ps(two[2 * t], two[2 * t + 1], 0x44),
                                _mm256_shuffle_ps(two[2 * t], two[2 * t + 1], 0xee));
    return _mm256_max_ps(_mm256_permute2f128_ps(four[0], four[1], 0x20),
                         _mm256_permute2f128_ps(four[0], four[1], 0x31));
}

/* Eight rows of eight words become eight columns. */
INLINE void turn(const __m256i *rows, __m256i *columns)
{
    __m256i two[8], four[8];
    UNROLL
    for (int t = 0; t < 8; t += 2) {
        two[t] = _mm256_unpacklo_epi32(rows[t], rows[t + 1]);
        two[t + 1] = _mm256_unpackhi_epi32(rows[t], rows[t + 1]);
    }
    UNROLL
    for (int t = 0; t < 8; t += 4) {
        four[t] = _mm256_unpacklo_epi64(two[t], two[t + 2]);
        four[t + 1] = _mm256_unpackhi_epi64(two[t], two[t + 2]);
        four[t + 2] = _mm256_unpacklo_epi64(two[t + 1], two[t + 3]);
        four[t + 3] = _mm256_unpackhi_epi64(two[t + 1], two[t + 3]);
    }
    UNROLL
    for (int t = 0; t < 4; t++) {
        columns[t] = _mm256_permute2x128_si256(four[t], four[t + 4], 0x20);
        columns[t + 4] = _mm256_permute2x128_si256(four[t], four[t + 4], 0x31);
    }
}

INLINE __m256i low_bytes(__m512i q0, __m512i q1)
{
    return _mm256_set_m128i(_mm512_cvtepi32_epi8(q1), _mm512_cvtepi32_epi8(q0));
}

/* Puts a plane of bytes, and adds up the bytes of both halves of each row. */
INLINE void put_plane(const __m256i *rows, int32_t *words, __m256i *h0, __m256i *h1)
{
    __m256i columns[8];
    turn(rows, columns);
    *h0 = *h1 = _mm256_setzero_si256();
    UNROLL
    for (int i = 0; i < 8; i++) {
        _mm256_storeu_si256((__m256i *)(words + 8 * i), columns[i]);
        if (i < 4)
            *h0 = SIGNED_SUM(*h0, columns[i]);
        else
            *h1 = SIGNED_SUM(*h1, columns[i]);
    }
}

/* As put_aux, of all eight rows. */
INLINE void put_aux_eight(int32_t *aux, __m256i h0, __m256i h1, __m256 d, __m256 sum_scale)
{
    __m256i sum = _mm256_add_epi32(h0, h1), zero = _mm256_setzero_si256();
#define PUT_INTEGERS(which, v) \
    _mm256_storeu_si256((__m256i *)(aux + 8 * (which)), _mm256_sub_epi32(zero, _mm256_slli_epi32(v, 7)))
#define PUT_SUMS(which, v) \
    _mm256_storeu_ps((float *)(aux + 8 * (which)), _mm256_mul_ps(sum_scale, _mm256_cvtepi32_ps(v)))
    PUT_INTEGERS(ACT_C, sum);
    PUT_INTEGERS(ACT_C0, h0);
    PUT_INTEGERS(ACT_C1, h1);
    _mm256_storeu_ps((float *)(aux + 8 * ACT_D), d);
    PUT_SUMS(ACT_S, sum);
    PUT_SUMS(ACT_S0, h0);
    PUT_SUMS(ACT_S1, h1);
}

/* limit / top, 0 where top is 0 or no number. */
INLINE void inverses(__m256 top, float limit, float *out)
{
    __m256 some = _mm256_cmp_ps(top, _mm256_setzero_ps(), _CMP_GT_OQ);
    _mm256_storeu_ps(out, _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(limit), top), some));
}

void act_put_int8_eight(const float *const *rows, uint64_t cols, int32_t *tile)
{
    for (uint64_t k = 0; k < cols; k += 32, tile += ACT_WORDS(8, 0)) {
        __m512 v[8];
        __m256i bytes[8], h0, h1;
        float inverse[8];
        UNROLL
        for (int t = 0; t < 8; t++) {
            const float *row = rows[t] + k;
            v[t] = abs_max(_mm512_abs_ps(_mm512_loadu_ps(row)), _mm512_loadu_ps(row + 16));
        }
        __m256 top = largest_of_each(v);
        inverses(top, 127.0f, inverse);
        UNROLL
        for (int t = 0; t < 8; t++) {
            const float *row = rows[t] + k;
            bytes[t] = low_bytes(to_integers(_mm512_loadu_ps(row), inverse[t], 127),
                                 to_integers(_mm512_loadu_ps(row + 16), inverse[t], 127));
        }
        __m256 d = _mm256_div_ps(top, _mm256_set1_ps(127.0f));
        put_plane(bytes, tile, &h0, &h1);
        put_aux_eight(tile + 8 * 8, h0, h1, d, d);
    }
}

void act_put_wide_eight(const float *const *rows, uint64_t cols, int32_t *tile)
{
    const int32_t limit = 127 * 256 + 127;
    __m512 v[8];
    float inverse[8];
    UNROLL
    for (int t = 0; t < 8; t++)
        v[t] = _mm512_setzero_ps();
    for (uint64_t i = 0; i < cols; i += 16) {
        UNROLL
        for (int t = 0; t < 8; t++)
            v[t] = abs_max(v[t], _mm512_loadu_ps(rows[t] + i));
    }
    __m256 top = largest_of_each(v), d = _mm256_div_ps(top, _mm256_set1_ps((float)limit));
    inverses(top, (float)limit, inverse);
    for (uint64_t k = 0; k < cols; k += 32, tile += ACT_WORDS(8, 1)) {
        __m256i high[8], low[8], h0, h1, l0, l1;
        UNROLL
        for (int t = 0; t < 8; t++) {
            const float *row = rows[t] + k;
            __m512i q0 = to_integers(_mm512_loadu_ps(row), inverse[t], limit);
            __m512i q1 = to_integers(_mm512_loadu_ps(row + 16), inverse[t], limit);
            high[t] = low_bytes(high_of(q0), high_of(q1));
            low[t] = low_bytes(q0, q1);
        }
        put_plane(high, tile, &h0, &h1);
        put_plane(low, tile + 8 * 8, &l0, &l1);
        h0 = _mm256_add_epi32(_mm256_slli_epi32(h0, 8), l0);
        h1 = _mm256_add_epi32(_mm256_slli_epi32(h1, 8), l1);
        put_aux_eight(tile + 16 * 8, h0, h1, d, _mm256_set1_ps(1));
    }
}

void act_put_float(const float *x, uint64_t cols, float *tile, uint32_t n, uint32_t t)
{
    for (uint64_t k = 0; k < cols; k++)
        tile[k * n + t] = x[k];
}

/* many.h - tiles of eight activation rows over weights that were unpacked once for all rows of a call; for
 * kernel files only.
 *
 * A run of blocks is unpacked into vectors of unsigned bytes, with all that depends on the weights alone, and
 * stays in the L1 cache while tile after tile of rows meets it. The sums are the exact integers of tile.h,
 * and the same additions in float32 follow: the same bits.
 *
 * Signed weights q are |q| here, times the activation under q's sign. vpsignb is as dear as a product; the
 * complement is not, but gives -x - 1 where q < 0, so that |q| too much comes off for each such element. That
 * is what a row of zeros gives, for all rows alike: sums start from its opposite. A pair is at most
 * 2 * 128 * 128 = 32768, and reaches that only below zero.
 */
#ifndef RZ_AVX2_MANY_H
#define RZ_AVX2_MANY_H

#include "tile.h"

#include <string.h>

#define READY_BLOCKS 16

/* Sums of signed weights lie in the mantissa of this float, so that one subtraction makes them floats:
 * |sum| <= 32 * 128 * 127 < 2^22. */
#define SUM_ZERO 12582912.0f /* 1.5 * 2^23 */
#define SUM_ZERO_BITS 0x4b400000

struct ready {
    __m256i w[8], sign[8]; /* vector i: elements 4i .. 4i + 3; sign: -1 where the weight is less than 0 */
    __m256i start[2];      /* of the sums of each half, likewise for signed weights */
    __m256 d[2];
    struct scales s; /* of the others */
};

INLINE void split_signs(struct ready *r, const int vector, __m256i q, __m256i *zeros)
{
    __m256i size = _mm256_abs_epi8(q), sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), q);
    r->w[vector] = size;
    r->sign[vector] = sign;
    *zeros = _mm256_add_epi16(*zeros, _mm256_maddubs_epi16(size, sign)); /* >= -8 * 2 * 128 */
}

/* sum + the products of one part. */
INLINE __m256i add_ready(__m256i sum, const struct ready *r, const struct act_block *x, const enum form form,
                         const int half, const int part)
{
    const int v = vector_of(form, half, part, 0);
    if (is_signed(form)) {
        __m256i turned = _mm256_xor_si256(four(x, v), r->sign[v]);
        return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(r->w[v], turned), ONES));
    }
    const __m256i w[4] = {r->w[v], r->w[vector_of(form, half, part, 1)], r->w[vector_of(form, half, part, 2)],
                          r->w[vector_of(form, half, part, 3)]};
    return add_part(sum, w, &r->s, x, form, half, part);
}

INLINE __m256 add_ready_sum(__m256 acc, __m256i sum, const struct ready *r, const struct act_block *x,
                            const enum form form, const int half)
{
    if (!is_signed(form))
        return add_block(acc, sum, &r->s, x, form);
    return add_scaled(acc, _mm256_sub_ps(_mm256_castsi256_ps(sum), _mm256_set1_ps(SUM_ZERO)), r->d[half], x);
}

/* Of a form: out += blocks first .. first + n - 1, eight rows. The accumulators find no place in registers
 * beside the sums. */
#define MANY_BODY(form) \
    static void many_##form(const struct ready *r, uint64_t first, uint64_t n, const union tile_x *x, \
                            float out[][GROUP]) \
    { \
        for (uint64_t k = first; k < first + n; k++, r++) { \
            UNROLL \
            for (int half = 0; half < halves_of(form); half++) { \
                __m256i sum[MANY_ROWS]; \
                UNROLL \
                for (int t = 0; t < MANY_ROWS; t++) \
                    sum[t] = is_signed(form) ? r->start[half] : _mm256_setzero_si256(); \
                UNROLL \
                for (int part = 0; part < parts_of(form); part++) { \
                    UNROLL \
                    for (int t = 0; t < MANY_ROWS; t++) \
                        sum[t] = add_ready(sum[t], r, &x[t].q[k], form, half, part); \
                } \
                UNROLL \
                for (int t = 0; t < MANY_ROWS; t++) { \
                    __m256 acc = _mm256_loadu_ps(out[t]); \
                    _mm256_storeu_ps(out[t], add_ready_sum(acc, sum[t], r, &x[t].q[k], form, half)); \
                } \
            } \
        } \
    }

/* One block. */
#define UNPACK(name, form, pairs) \
    INLINE void unpack_##name(const void *group, uint64_t k, struct ready *r) \
    { \
        pairs(group, k, &r->s); \
        UNROLL \
        for (int half = 0; half < halves_of(form); half++) { \
            __m256i zeros = _mm256_setzero_si256(); \
            UNROLL \
            for (int part = 0; part < parts_of(form); part++) { \
                __m256i w[4]; \
                part_##name(group, k, half *parts_of(form) + part, w); \
                if (is_signed(form)) { \
                    split_signs(r, vector_of(form, half, part, 0), w[0], &zeros); \
                    continue; \
                } \
                UNROLL \
                for (int i = 0; i < 4; i++) \
                    r->w[vector_of(form, half, part, i)] = w[i]; \
            } \
            scales_##name(group, k, half, &r->s); \
            r->d[half] = r->s.d; \
            zeros = _mm256_madd_epi16(zeros, ONES); \
            r->start[half] = _mm256_sub_epi32(_mm256_set1_epi32(SUM_ZERO_BITS), zeros); \
        } \
    }

/* Eights of rows; n is a multiple of them. bytes: of a block, all rows of the group. */
#define MANY(name, form, pairs) \
    UNPACK(name, form, pairs) \
    static void many_##name(const void *group, uint64_t cols, uint64_t bytes, const union tile_x *x, int n, \
                            float out[][GROUP]) \
    { \
        struct ready ready[READY_BLOCKS]; \
        memset(out, 0, (size_t)n * sizeof(out[0])); \
        for (uint64_t first = 0, blocks; first < cols / 32; first += blocks) { \
            blocks = cols / 32 - first < READY_BLOCKS ? cols / 32 - first : READY_BLOCKS; \
            for (uint64_t k = 0; k < blocks; k++) \
                unpack_##name(group, first + k, &ready[k]); \
            /* there is nothing else to be read while rows meet what is unpacked */ \
            fetch_ahead((const uint8_t *)group + (first + blocks) * bytes, READY_BLOCKS * bytes); \
            for (int t = 0; t < n; t += MANY_ROWS) \
                many_##form(ready, first, blocks, x + t, out + t); \
        } \
    }

#endif

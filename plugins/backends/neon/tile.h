/* tile.h - the one body of all tiles of quantised weights; for kernel files only.
 *
 * The file that includes this has before it ROWS, how many activation rows it does at once, and struct
 * sums with clear_sums, add_half and read_sums: how the products of half a block of 32 are summed,
 * exactly, in integers. Here sums become floats: by one rounded multiply-add a block (or half, where
 * halves have scales of their own in float), and one for its minimum. Error: that of the quantised
 * activations (half a step of amax / 127 each), plus the roundings. n is how many rows there are, a
 * constant.
 */
#ifndef RZ_NEON_TILE_H
#define RZ_NEON_TILE_H

#include "types.h"

/* acc + d x.d sum */
INLINE __m256 add_scaled(__m256 acc, __m256i sum, __m256 d, const struct act_block *x)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), times(d, x->d), acc);
}

/* sum + a b */
INLINE __m256i add_product(__m256i sum, __m256i a, __m256i b)
{
    return (__m256i){vmlaq_s32(sum.lo, a.lo, b.lo), vmlaq_s32(sum.hi, a.hi, b.hi)};
}

INLINE __m256 add_minimum(__m256 acc, const struct scales *s, const struct act_block *x, const int type)
{
    if (form_of(type) != SCALED)
        return _mm256_fmadd_ps(s->m, _mm256_set1_ps(x->s), acc);
    __m256i sum = add_product(_mm256_set1_epi32(0), s->mn[0], _mm256_set1_epi32(x->h[0]));
    return add_scaled(acc, add_product(sum, s->mn[1], _mm256_set1_epi32(x->h[1])), s->m, x);
}

INLINE void sum_halves(const int type, const void *group, uint64_t k, const union tile_x *x, const int first,
                       const int end, __m256i *sum, const int n)
{
    struct sums parts;
    clear_sums(&parts, n);
    UNROLL
    for (int half = first; half < end; half++)
        add_half(&parts, type, group, k, half, x, n);
    read_sums(&parts, sum, n);
}

/* acc += block k, for types whose halves have their own scales. */
INLINE void add_halves(const int type, const void *group, uint64_t k, const union tile_x *x,
                       const struct scales *s, __m256 *acc, const int n)
{
    __m256i sum[ROWS], total[ROWS];
    UNROLL
    for (int half = 0; half < 2; half++) {
        sum_halves(type, group, k, x, half, half + 1, sum, n);
        UNROLL
        for (int t = 0; t < n; t++) {
            if (form_of(type) == HALVES)
                acc[t] = add_scaled(acc[t], sum[t], s->d[half], &x[t].q[k]);
            else
                total[t] = add_product(half ? total[t] : _mm256_set1_epi32(0), sum[t], s->sc[half]);
        }
    }
    UNROLL
    for (int t = 0; t < n; t++) {
        if (form_of(type) == SCALED)
            acc[t] = add_scaled(acc[t], total[t], s->d[0], &x[t].q[k]);
    }
}

/* acc += block k, for types that have one scale for it. */
INLINE void add_whole(const int type, const void *group, uint64_t k, const union tile_x *x,
                      const struct scales *s, __m256 *acc, const int n)
{
    __m256i sum[ROWS];
    sum_halves(type, group, k, x, 0, 2, sum, n);
    UNROLL
    for (int t = 0; t < n; t++)
        acc[t] = add_scaled(acc[t], sum[t], s->d[0], &x[t].q[k]);
}

INLINE void tile_rows_n(const int type, const void *group, uint64_t cols, const union tile_x *x, const int n,
                        float (*out)[GROUP])
{
    __m256 acc[ROWS];
    UNROLL
    for (int t = 0; t < n; t++)
        acc[t] = _mm256_setzero_ps();
    for (uint64_t k = 0; k < cols / 32; k++) {
        struct scales s;
        scales_of(type, group, k, &s);
        if (form_of(type) == WHOLE)
            add_whole(type, group, k, x, &s, acc, n);
        else
            add_halves(type, group, k, x, &s, acc, n);
        UNROLL
        for (int t = 0; t < n; t++) {
            if (has_minimum(type))
                acc[t] = add_minimum(acc[t], &s, &x[t].q[k], type);
        }
    }
    UNROLL
    for (int t = 0; t < n; t++)
        _mm256_storeu_ps(out[t], acc[t]);
}

typedef void rows_fn(const void *group, uint64_t cols, const union tile_x *x, float (*out)[GROUP]);

#define TILE(name, type, n) \
    static void name##_##n(const void *group, uint64_t cols, const union tile_x *x, float(*out)[GROUP]) \
    { \
        tile_rows_n(type, group, cols, x, n, out); \
    }

/* The level's EACH_N(f, name, type) is f for each number of rows that it has, which are N_STEP apart. */
#define TYPES(CALL) \
    CALL(q4_0, RZ_TYPE_Q4_0) \
    CALL(q4_1, RZ_TYPE_Q4_1) \
    CALL(q5_0, RZ_TYPE_Q5_0) \
    CALL(q5_1, RZ_TYPE_Q5_1) \
    CALL(q8_0, RZ_TYPE_Q8_0) \
    CALL(q4_k, RZ_TYPE_Q4_K) \
    CALL(q5_k, RZ_TYPE_Q5_K) \
    CALL(q6_k, RZ_TYPE_Q6_K) \
    CALL(q2_k, RZ_TYPE_Q2_K) \
    CALL(q3_k, RZ_TYPE_Q3_K) \
    CALL(iq4_nl, RZ_TYPE_IQ4_NL) \
    CALL(iq4_xs, RZ_TYPE_IQ4_XS) \
    CALL(mxfp4, RZ_TYPE_MXFP4) \
    CALL(i8, OTHERS)
#define DEFINE(name, type) EACH_N(TILE, name, type)
#define PLACE(name, type, n) [((n)-1) / N_STEP] = name##_##n,
#define PLACES(name, type) [type] = {EACH_N(PLACE, name, type)},
TYPES(DEFINE)

/* By the form that a type's layout has; those that are not named are kept as int8. */
static rows_fn *rows_of(int32_t type, int n)
{
    static rows_fn *const tiles[RZ_TYPE_MXFP4 + 1][ROWS / N_STEP] = {TYPES(PLACES)};
    bool named = type <= RZ_TYPE_MXFP4 && tiles[type][0];
    return tiles[named ? type : OTHERS][(n - 1) / N_STEP];
}

#endif

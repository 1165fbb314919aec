/* split_eight.h - attention over one split with vectors of eight; for kernel files only. */
#ifndef RZ_BACKENDS_SPLIT_EIGHT_H
#define RZ_BACKENDS_SPLIT_EIGHT_H

#define VEC __m256
#define LANES 8
#define V(op) _mm256_##op
#define VEC_EXP vec_exp
#define VEC_MAX vec_max
#define VEC_SUM vec_sum
#define QUERIES_AT_ONCE 4
#define VECTORS_AT_ONCE 2
#include "split.h"

INLINE __m256 load_keys(const struct keys *k, uint64_t d, __m256 scale, const int type)
{
    return kv_eight(k->at[0], 8 * d, scale, type);
}

INLINE __m256 load_values(const uint8_t *row, uint64_t d, const int type)
{
    return kv_row_eight(row, d, type);
}

INLINE __m256 only_lanes(__m256 v, uint64_t first, uint64_t end)
{
    const __m256 lanes = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), none = _mm256_set1_ps(-INFINITY);
    v = _mm256_blendv_ps(v, none, _mm256_cmp_ps(lanes, _mm256_set1_ps((float)first), _CMP_LT_OQ));
    return _mm256_blendv_ps(v, none, _mm256_cmp_ps(lanes, _mm256_set1_ps((float)end - 1), _CMP_GT_OQ));
}

static bool coarse_begin(struct job *j)
{
    (void)j;
    return false;
}

static void split_coarse(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT],
                         struct partial *p)
{
    (void)j, (void)begin, (void)end, (void)w, (void)p;
}

#endif

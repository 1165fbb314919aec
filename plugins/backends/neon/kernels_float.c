/* kernels_float.c - tiles of float weights: eight weight rows times activations of float32, on every level.
 *
 * Four activation rows at once: sixteen accumulators, one register of each row's activations and two of
 * weights. Each output has two chains, even and odd k, added at the end.
 */
#include "../common/vec.h"
#include "neon.h"

#define AT_ONCE 4

/* Element k of eight rows as float32. */
INLINE __m256 load_float(const void *group, uint64_t k, const int type)
{
    if (type == RZ_TYPE_F32)
        return _mm256_loadu_ps((const float *)group + GROUP * k);
    uint16x8_t h = vld1q_u16((const uint16_t *)group + GROUP * k);
    if (type == RZ_TYPE_F16)
        return _mm256_cvtph_ps(vreinterpretq_s32_u16(h));
    return (__m256){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
                    vreinterpretq_f32_u32(vshll_high_n_u16(h, 16))};
}

/* sum[t] += w times one element of each row, which is lane `lane` of x[t] */
#define ADD(sum, w, lane) \
    UNROLL \
    for (int t = 0; t < n; t++) { \
        sum[t].lo = vfmaq_laneq_f32(sum[t].lo, (w).lo, v[t], lane); \
        sum[t].hi = vfmaq_laneq_f32(sum[t].hi, (w).hi, v[t], lane); \
    }

INLINE void floats(const int type, const void *group, uint64_t cols, const union tile_x *x, const int n,
                   float (*out)[GROUP])
{
    __m256 even[AT_ONCE], odd[AT_ONCE];
    float32x4_t v[AT_ONCE];
    uint64_t k = 0;
    UNROLL
    for (int t = 0; t < n; t++)
        even[t] = odd[t] = _mm256_setzero_ps();
    for (; k + 4 <= cols; k += 4) {
        UNROLL
        for (int t = 0; t < n; t++)
            v[t] = vld1q_f32(x[t].f + k);
        __m256 w = load_float(group, k, type);
        ADD(even, w, 0)
        w = load_float(group, k + 1, type);
        ADD(odd, w, 1)
        w = load_float(group, k + 2, type);
        ADD(even, w, 2)
        w = load_float(group, k + 3, type);
        ADD(odd, w, 3)
    }
    for (; k < cols; k++) {
        __m256 w = load_float(group, k, type), *sum = k % 2 ? odd : even;
        for (int t = 0; t < n; t++)
            sum[t] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[t].f[k]), sum[t]);
    }
    UNROLL
    for (int t = 0; t < n; t++)
        _mm256_storeu_ps(out[t], _mm256_add_ps(even[t], odd[t]));
}

#define FLOATS(name, type, n) \
    static void name##_##n(const void *group, uint64_t cols, const union tile_x *x, float(*out)[GROUP]) \
    { \
        floats(type, group, cols, x, n, out); \
    }
#define FLOATS_ALL(name, type) \
    FLOATS(name, type, 1) FLOATS(name, type, 2) FLOATS(name, type, 3) FLOATS(name, type, 4)
#define NAMES(name) \
    { \
        name##_1, name##_2, name##_3, name##_4 \
    }
FLOATS_ALL(f32, RZ_TYPE_F32)
FLOATS_ALL(f16, RZ_TYPE_F16)
FLOATS_ALL(bf16, RZ_TYPE_BF16)

typedef void floats_fn(const void *group, uint64_t cols, const union tile_x *x, float (*out)[GROUP]);

/* Types that are not named here are widened to float32 in their layout. */
void tile_float(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
                float (*out)[GROUP])
{
    static floats_fn *const of[3][AT_ONCE] = {NAMES(f32), NAMES(f16), NAMES(bf16)};
    int form = type == RZ_TYPE_F16 ? 1 : type == RZ_TYPE_BF16 ? 2 : 0;
    for (int t = 0; t < n; t += AT_ONCE)
        of[form][(n - t < AT_ONCE ? n - t : AT_ONCE) - 1](group, cols, x + t, out + t);
}

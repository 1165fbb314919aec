/* vec_neon.h - eight floats on aarch64: two registers of four, under the names that the shared kernels use
 * for vectors of 256 bits; for kernel files only, through vec.h.
 *
 * Each function computes lane by lane what Intel's of the same name does, fused multiply-adds, minima with
 * a NaN and rounding included, so that one source of norms, activations and attention serves both, with
 * the same order of additions. Only what these use is here. The tiles of matrices are written for NEON
 * itself (plugins/backends/neon).
 */
#ifndef RZ_BACKENDS_VEC_NEON_H
#define RZ_BACKENDS_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define NEON static inline __attribute__((always_inline))

struct neon_f32x8 {
    float32x4_t lo, hi;
};
struct neon_s32x8 {
    int32x4_t lo, hi;
};
struct neon_f64x4 {
    float64x2_t lo, hi;
};
#define __m256 struct neon_f32x8
#define __m256i struct neon_s32x8
#define __m256d struct neon_f64x4
#define __m128 float32x4_t
#define __m128i int32x4_t

/* --- both halves alike --- */

#define NEON_EACH_1(name, f, in, out) \
    NEON out name(in a) \
    { \
        return (out){f(a.lo), f(a.hi)}; \
    }
#define NEON_EACH_2(name, f, type) \
    NEON type name(type a, type b) \
    { \
        return (type){f(a.lo, b.lo), f(a.hi, b.hi)}; \
    }
#define NEON_EACH_3(name, f, type) \
    NEON type name(type a, type b, type c) \
    { \
        return (type){f(a.lo, b.lo, c.lo), f(a.hi, b.hi, c.hi)}; \
    }

#define NEON_BITS(name, f) \
    NEON float32x4_t name(float32x4_t a, float32x4_t b) \
    { \
        return vreinterpretq_f32_u32(f(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b))); \
    }
NEON_BITS(neon_and, vandq_u32)
NEON_BITS(neon_or, vorrq_u32)

/* ~a & b */
NEON uint32x4_t neon_clear(uint32x4_t a, uint32x4_t b)
{
    return vbicq_u32(b, a);
}
NEON_BITS(neon_andnot, neon_clear)

/* The second operand where one of them is NaN or both are zero. */
NEON float32x4_t neon_min(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

NEON float32x4_t neon_max(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

/* a b + c, c - a b, a b - c */
NEON float32x4_t neon_fmadd(float32x4_t a, float32x4_t b, float32x4_t c)
{
    return vfmaq_f32(c, a, b);
}

NEON float32x4_t neon_fnmadd(float32x4_t a, float32x4_t b, float32x4_t c)
{
    return vfmsq_f32(c, a, b);
}

NEON float32x4_t neon_fmsub(float32x4_t a, float32x4_t b, float32x4_t c)
{
    return vfmaq_f32(vnegq_f32(c), a, b);
}

NEON float64x2_t neon_fmadd_pd(float64x2_t a, float64x2_t b, float64x2_t c)
{
    return vfmaq_f64(c, a, b);
}

/* b where the sign of the mask is set. */
NEON float32x4_t neon_blend(float32x4_t a, float32x4_t b, float32x4_t mask)
{
    return vbslq_f32(vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(mask), 31)), b, a);
}

NEON int32x4_t neon_greater(int32x4_t a, int32x4_t b)
{
    return vreinterpretq_s32_u32(vcgtq_s32(a, b));
}

NEON_EACH_2(_mm256_add_ps, vaddq_f32, __m256)
NEON_EACH_2(_mm256_sub_ps, vsubq_f32, __m256)
NEON_EACH_2(_mm256_mul_ps, vmulq_f32, __m256)
NEON_EACH_2(_mm256_div_ps, vdivq_f32, __m256)
NEON_EACH_2(_mm256_min_ps, neon_min, __m256)
NEON_EACH_2(_mm256_max_ps, neon_max, __m256)
NEON_EACH_2(_mm256_and_ps, neon_and, __m256)
NEON_EACH_2(_mm256_or_ps, neon_or, __m256)
NEON_EACH_2(_mm256_andnot_ps, neon_andnot, __m256)
NEON_EACH_3(_mm256_fmadd_ps, neon_fmadd, __m256)
NEON_EACH_3(_mm256_fnmadd_ps, neon_fnmadd, __m256)
NEON_EACH_3(_mm256_fmsub_ps, neon_fmsub, __m256)
NEON_EACH_3(_mm256_blendv_ps, neon_blend, __m256)
NEON_EACH_2(_mm256_add_pd, vaddq_f64, __m256d)
NEON_EACH_2(_mm256_sub_pd, vsubq_f64, __m256d)
NEON_EACH_2(_mm256_mul_pd, vmulq_f64, __m256d)
NEON_EACH_3(_mm256_fmadd_pd, neon_fmadd_pd, __m256d)
NEON_EACH_2(_mm256_add_epi32, vaddq_s32, __m256i)
NEON_EACH_2(_mm256_cmpgt_epi32, neon_greater, __m256i)
NEON_EACH_1(_mm256_cvtepi32_ps, vcvtq_f32_s32, __m256i, __m256)
NEON_EACH_1(_mm256_cvtps_epi32, vcvtnq_s32_f32, __m256, __m256i)
NEON_EACH_1(_mm256_castsi256_ps, vreinterpretq_f32_s32, __m256i, __m256)

#define _CMP_LT_OQ 0x11
#define _CMP_GT_OQ 0x1e
#define _mm256_cmp_ps(a, b, relation) \
    ((relation) == _CMP_LT_OQ ? neon_compare_lt(a, b) : neon_compare_lt(b, a))
NEON __m256 neon_compare_lt(__m256 a, __m256 b)
{
    return (__m256){vreinterpretq_f32_u32(vcltq_f32(a.lo, b.lo)),
                    vreinterpretq_f32_u32(vcltq_f32(a.hi, b.hi))};
}

/* To nearest, ties to even; the one rounding that is used. */
#define _MM_FROUND_TO_NEAREST_INT 0
#define _MM_FROUND_NO_EXC 8
#define _mm256_round_ps(x, how) neon_round(x)
NEON_EACH_1(neon_round, vrndnq_f32, __m256, __m256)

NEON __m256i _mm256_slli_epi32(__m256i a, int bits)
{
    int32x4_t by = vdupq_n_s32(bits);
    return (__m256i){vshlq_s32(a.lo, by), vshlq_s32(a.hi, by)};
}

/* --- memory and constants --- */

NEON __m256 _mm256_loadu_ps(const float *p)
{
    return (__m256){vld1q_f32(p), vld1q_f32(p + 4)};
}

NEON void _mm256_storeu_ps(float *p, __m256 v)
{
    vst1q_f32(p, v.lo);
    vst1q_f32(p + 4, v.hi);
}

NEON void _mm256_storeu_pd(double *p, __m256d v)
{
    vst1q_f64(p, v.lo);
    vst1q_f64(p + 2, v.hi);
}

NEON __m128 _mm_loadu_ps(const float *p)
{
    return vld1q_f32(p);
}

NEON __m128i _mm_loadu_si128(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}

/* Eight bytes, and zeros. */
NEON __m128i _mm_loadl_epi64(const void *p)
{
    return vreinterpretq_s32_u8(vcombine_u8(vld1_u8(p), vdup_n_u8(0)));
}

NEON void _mm_storeu_si128(void *p, __m128i v)
{
    vst1q_u8(p, vreinterpretq_u8_s32(v));
}

/* Lanes whose mask is not negative are neither read nor written. */
NEON __m256 _mm256_maskload_ps(const float *p, __m256i mask)
{
    int32_t use[8];
    float v[8] = {0};
    vst1q_s32(use, mask.lo);
    vst1q_s32(use + 4, mask.hi);
    for (int i = 0; i < 8; i++)
        if (use[i] < 0)
            v[i] = p[i];
    return _mm256_loadu_ps(v);
}

NEON void _mm256_maskstore_ps(float *p, __m256i mask, __m256 x)
{
    int32_t use[8];
    float v[8];
    vst1q_s32(use, mask.lo);
    vst1q_s32(use + 4, mask.hi);
    _mm256_storeu_ps(v, x);
    for (int i = 0; i < 8; i++)
        if (use[i] < 0)
            p[i] = v[i];
}

NEON __m256 _mm256_set1_ps(float x)
{
    return (__m256){vdupq_n_f32(x), vdupq_n_f32(x)};
}

NEON __m256 _mm256_setzero_ps(void)
{
    return _mm256_set1_ps(0);
}

NEON __m256 _mm256_setr_ps(float a, float b, float c, float d, float e, float f, float g, float h)
{
    const float v[8] = {a, b, c, d, e, f, g, h};
    return _mm256_loadu_ps(v);
}

NEON __m256i _mm256_set1_epi32(int32_t x)
{
    return (__m256i){vdupq_n_s32(x), vdupq_n_s32(x)};
}

NEON __m256i _mm256_setr_epi32(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f, int32_t g,
                               int32_t h)
{
    const int32_t v[8] = {a, b, c, d, e, f, g, h};
    return (__m256i){vld1q_s32(v), vld1q_s32(v + 4)};
}

NEON __m256d _mm256_set1_pd(double x)
{
    return (__m256d){vdupq_n_f64(x), vdupq_n_f64(x)};
}

NEON __m256d _mm256_setzero_pd(void)
{
    return _mm256_set1_pd(0);
}

/* x, 0, 0, 0 */
NEON __m128i _mm_cvtsi32_si128(int32_t x)
{
    return vsetq_lane_s32(x, vdupq_n_s32(0), 0);
}

/* --- halves and widths --- */

#define _mm256_extractf128_ps(v, half) ((half) ? (v).hi : (v).lo)
#define _mm256_extracti128_si256(v, half) ((half) ? (v).hi : (v).lo)

NEON __m128 _mm256_castps256_ps128(__m256 v)
{
    return v.lo;
}

NEON __m256 _mm256_castps128_ps256(__m128 v)
{
    return (__m256){v, v};
}

NEON __m128i _mm256_castsi256_si128(__m256i v)
{
    return v.lo;
}

NEON __m256 _mm256_set_m128(__m128 hi, __m128 lo)
{
    return (__m256){lo, hi};
}

NEON __m256 _mm256_broadcastss_ps(__m128 v)
{
    return (__m256){vdupq_laneq_f32(v, 0), vdupq_laneq_f32(v, 0)};
}

NEON __m256d _mm256_cvtps_pd(__m128 v)
{
    return (__m256d){vcvt_f64_f32(vget_low_f32(v)), vcvt_high_f64_f32(v)};
}

NEON __m128 _mm256_cvtpd_ps(__m256d v)
{
    return vcvt_high_f32_f64(vcvt_f32_f64(v.lo), v.hi);
}

/* Half precision, rounded to nearest. */
NEON __m256 _mm256_cvtph_ps(__m128i v)
{
    float16x8_t h = vreinterpretq_f16_s32(v);
    return (__m256){vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}

NEON __m128 _mm_cvtph_ps(__m128i v)
{
    return vcvt_f32_f16(vget_low_f16(vreinterpretq_f16_s32(v)));
}

#define _mm256_cvtps_ph(v, how) neon_to_halves(v)
NEON __m128i neon_to_halves(__m256 v)
{
    return vreinterpretq_s32_f16(vcvt_high_f16_f32(vcvt_f16_f32(v.lo), v.hi));
}

NEON __m256i _mm256_cvtepi8_epi32(__m128i v)
{
    int16x8_t w = vmovl_s8(vget_low_s8(vreinterpretq_s8_s32(v)));
    return (__m256i){vmovl_s16(vget_low_s16(w)), vmovl_high_s16(w)};
}

NEON __m256i _mm256_cvtepu16_epi32(__m128i v)
{
    uint16x8_t w = vreinterpretq_u16_s32(v);
    return (__m256i){vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(w))),
                     vreinterpretq_s32_u32(vmovl_high_u16(w))};
}

/* --- lanes change places --- */

/* Neighbours change places: the one order, 0xb1, that is used. */
#define _mm256_permute_ps(v, order) neon_swap(v)
NEON_EACH_1(neon_swap, vrev64q_f32, __m256, __m256)

/* Lane i becomes lane at[i] % 8. */
NEON __m256 _mm256_permutevar8x32_ps(__m256 v, __m256i at)
{
    const uint8x16x2_t from = {{vreinterpretq_u8_f32(v.lo), vreinterpretq_u8_f32(v.hi)}};
    const int32x4_t bytes = vdupq_n_s32(0x03020100), lane = vdupq_n_s32(7), four = vdupq_n_s32(0x04040404);
    int32x4_t lo = vmlaq_s32(bytes, vandq_s32(at.lo, lane), four);
    int32x4_t hi = vmlaq_s32(bytes, vandq_s32(at.hi, lane), four);
    return (__m256){vreinterpretq_f32_u8(vqtbl2q_u8(from, vreinterpretq_u8_s32(lo))),
                    vreinterpretq_f32_u8(vqtbl2q_u8(from, vreinterpretq_u8_s32(hi)))};
}

/* a - b in even lanes, a + b in odd ones */
NEON __m256 _mm256_addsub_ps(__m256 a, __m256 b)
{
    const __m256 even = _mm256_setr_ps(-1, 1, -1, 1, -1, 1, -1, 1);
    return _mm256_add_ps(a, _mm256_mul_ps(b, even));
}

/* --- four lanes: what the sums over a vector are made of --- */

NEON __m128 _mm_add_ps(__m128 a, __m128 b)
{
    return vaddq_f32(a, b);
}

NEON __m128 _mm_max_ps(__m128 a, __m128 b)
{
    return neon_max(a, b);
}

/* _ss: lane 0, and the other lanes of a. */
NEON __m128 _mm_add_ss(__m128 a, __m128 b)
{
    return vsetq_lane_f32(vgetq_lane_f32(a, 0) + vgetq_lane_f32(b, 0), a, 0);
}

NEON __m128 _mm_max_ss(__m128 a, __m128 b)
{
    return vsetq_lane_f32(vgetq_lane_f32(neon_max(a, b), 0), a, 0);
}

/* The upper half of b, then that of a. */
NEON __m128 _mm_movehl_ps(__m128 a, __m128 b)
{
    return vcombine_f32(vget_high_f32(b), vget_high_f32(a));
}

/* Lanes 1, 1, 3, 3 */
NEON __m128 _mm_movehdup_ps(__m128 a)
{
    return vtrn2q_f32(a, a);
}

NEON float _mm_cvtss_f32(__m128 v)
{
    return vgetq_lane_f32(v, 0);
}

NEON __m128i _mm_add_epi32(__m128i a, __m128i b)
{
    return vaddq_s32(a, b);
}

/* The two orders that are used: 0x4e, halves change places; 0xb1, neighbours do. */
#define _mm_shuffle_epi32(v, order) ((order) == 0x4e ? vextq_s32(v, v, 2) : vrev64q_s32(v))

NEON int32_t _mm_cvtsi128_si32(__m128i v)
{
    return vgetq_lane_s32(v, 0);
}

#endif

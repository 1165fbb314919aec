/* types.h - what quantised types are made of, as the tiles of every level take them: vectors of signed
 * bytes, and the scales that their sums are multiplied with; for kernel files only.
 */
#ifndef RZ_NEON_TYPES_H
#define RZ_NEON_TYPES_H

#include "../common/vec.h"
#include "neon.h"
#include "numeric.h"

#define OTHERS RZ_TYPE_IQ2_S /* stands for all types whose layout is x_i8 */

enum form {
    WHOLE,  /* d sum + m, both halves in one sum                          */
    HALVES, /* d[half] sum[half]                                          */
    SCALED  /* d (sc[0] sum[0] + sc[1] sum[1]) + m (mn[0] h[0] + mn[1] h[1]) */
};

INLINE enum form form_of(const int type)
{
    return type == RZ_TYPE_Q6_K || type == RZ_TYPE_Q2_K || type == RZ_TYPE_Q3_K ? SCALED
           : type == OTHERS                                                     ? HALVES
                                                                                : WHOLE;
}

/* Nibbles that are places in a table. */
INLINE bool has_table(const int type)
{
    return type == RZ_TYPE_IQ4_NL || type == RZ_TYPE_IQ4_XS || type == RZ_TYPE_MXFP4;
}

INLINE bool has_minimum(const int type)
{
    return type != RZ_TYPE_Q8_0 && type != RZ_TYPE_Q6_K && type != RZ_TYPE_Q3_K && type != OTHERS &&
           !has_table(type);
}

/* Four elements of rows 0..3, and of rows 4..7. */
struct four {
    int8x16_t lo, hi;
};
/* By row: floats, integers. */
struct scales {
    __m256 d[2], m;
    __m256i sc[2], mn[2];
};

/* --- what types are made of --- */

INLINE uint8x16_t shifted(uint8x16_t v, const int up)
{
    switch (up) {
    case 4:
        return vshlq_n_u8(v, 4);
    case 3:
        return vshlq_n_u8(v, 3);
    case 2:
        return vshlq_n_u8(v, 2);
    case 1:
        return vshlq_n_u8(v, 1);
    case -1:
        return vshrq_n_u8(v, 1);
    case -2:
        return vshrq_n_u8(v, 2);
    case -3:
        return vshrq_n_u8(v, 3);
    case -4:
        return vshrq_n_u8(v, 4);
    case -5:
        return vshrq_n_u8(v, 5);
    case -6:
        return vshrq_n_u8(v, 6);
    default:
        return v;
    }
}

/* The bits of mask, `up` places higher than they stand in the 32 bytes behind p. */
struct bits {
    uint8x16_t lo, hi;
};
INLINE struct bits bits_of(const void *p, const int up, const int mask)
{
    const uint8x16_t m = vdupq_n_u8((uint8_t)mask);
    return (struct bits){vandq_u8(shifted(vld1q_u8(p), up), m),
                         vandq_u8(shifted(vld1q_u8((const uint8_t *)p + 16), up), m)};
}

INLINE struct four signed_of(struct bits b)
{
    return (struct four){vreinterpretq_s8_u8(b.lo), vreinterpretq_s8_u8(b.hi)};
}

/* Vector q of 4-bit weights, and the same with more bits at places of `top`. */
INLINE struct bits nibbles(const uint8_t (*qs)[GROUP][4], const int q)
{
    return bits_of(qs[q % 4], q < 4 ? 0 : -4, 15);
}

INLINE struct bits with_top(struct bits b, struct bits top)
{
    return (struct bits){vorrq_u8(b.lo, top.lo), vorrq_u8(b.hi, top.hi)};
}

INLINE struct four load_four(const void *p)
{
    return (struct four){vld1q_s8(p), vld1q_s8((const int8_t *)p + 16)};
}

INLINE struct four minus(struct four w, int n)
{
    const int8x16_t v = vdupq_n_s8((int8_t)n);
    return (struct four){vsubq_s8(w.lo, v), vsubq_s8(w.hi, v)};
}

INLINE struct four looked_up(const int8_t *values, struct bits places)
{
    const int8x16_t table = vld1q_s8(values);
    return (struct four){vqtbl1q_s8(table, places.lo), vqtbl1q_s8(table, places.hi)};
}

/* Elements 4q .. 4q + 3 of all rows in 32-block k. */
INLINE struct four weights(const int type, const void *group, uint64_t k, const int q)
{
#define BLOCK(name, k) ((const struct x_##name *)group + (k))
    switch (type) {
    case RZ_TYPE_Q4_0:
        return signed_of(nibbles(BLOCK(q4_0, k)->qs, q));
    case RZ_TYPE_Q4_1:
        return signed_of(nibbles(BLOCK(q4_1, k)->qs, q));
    case RZ_TYPE_Q4_K:
        return signed_of(nibbles(BLOCK(q4_k, k / 8)->qs[k % 8], q));
    case RZ_TYPE_Q5_0:
        return signed_of(with_top(nibbles(BLOCK(q5_0, k)->qs, q), bits_of(BLOCK(q5_0, k)->qh, 4 - q, 16)));
    case RZ_TYPE_Q5_1:
        return signed_of(with_top(nibbles(BLOCK(q5_1, k)->qs, q), bits_of(BLOCK(q5_1, k)->qh, 4 - q, 16)));
    case RZ_TYPE_Q5_K:
        return signed_of(with_top(nibbles(BLOCK(q5_k, k / 8)->b[k % 8].qs, q),
                                  bits_of(BLOCK(q5_k, k / 8)->b[k % 8].qh, 4 - q, 16)));
    case RZ_TYPE_Q2_K:
        return signed_of(bits_of(BLOCK(q2_k, k / 8)->qs[k % 8][q / 4], -2 * (q % 4), 3));
    case RZ_TYPE_Q3_K:
        return minus(signed_of(with_top(bits_of(BLOCK(q3_k, k / 8)->b[k % 8].qs[q / 4], -2 * (q % 4), 3),
                                        bits_of(BLOCK(q3_k, k / 8)->b[k % 8].qh, 2 - q, 4))),
                     4);
    case RZ_TYPE_Q6_K:
        return minus(
            signed_of(with_top(nibbles(BLOCK(q6_k, k / 8)->b[k % 8].qs, q),
                               bits_of(BLOCK(q6_k, k / 8)->b[k % 8].qh[q / 4], 4 - 2 * (q % 4), 0x30))),
            32);
    case RZ_TYPE_IQ4_NL:
        return looked_up(rz_values_iq4, nibbles(BLOCK(q4_0, k)->qs, q));
    case RZ_TYPE_IQ4_XS:
        return looked_up(rz_values_iq4, nibbles(BLOCK(iq4_xs, k / 8)->qs[k % 8], q));
    case RZ_TYPE_MXFP4:
        return looked_up(rz_values_fp4, nibbles(BLOCK(mxfp4, k)->qs, q));
    case RZ_TYPE_Q8_0:
        return load_four(BLOCK(q8_0, k)->qs[q]);
    default:
        return load_four(BLOCK(i8, k)->qs[q]);
    }
}

INLINE __m256 halves(const uint16_t *h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(h));
}

INLINE __m256i wide_of(int16x8_t v)
{
    return (__m256i){vmovl_s16(vget_low_s16(v)), vmovl_high_s16(v)};
}

INLINE __m256 small_bytes(const uint8_t *b)
{
    return _mm256_cvtepi32_ps(wide_of(vreinterpretq_s16_u16(vmovl_u8(vld1_u8(b)))));
}

INLINE __m256 times(__m256 v, float f)
{
    return _mm256_mul_ps(v, _mm256_set1_ps(f));
}

/* Scales and minima of a K block's group: d sc and -dmin mn. */
INLINE void scales_k(const uint16_t *d, const uint16_t *dmin, const uint8_t *sc, const uint8_t *mn,
                     struct scales *s)
{
    s->d[0] = _mm256_mul_ps(halves(d), small_bytes(sc));
    s->m = times(_mm256_mul_ps(halves(dmin), small_bytes(mn)), -1);
}

INLINE void scales_q2_k(const struct x_q2_k *b, uint64_t g, struct scales *s)
{
    uint8x16_t v = vld1q_u8(b->sc[g][0]), low = vandq_u8(v, vdupq_n_u8(15)), high = vshrq_n_u8(v, 4);
    s->d[0] = halves(b->d);
    s->m = times(halves(b->dmin), -1);
    for (int half = 0; half < 2; half++) {
        uint8x16_t sc = half ? vuzp2q_u8(low, low) : vuzp1q_u8(low, low);
        uint8x16_t mn = half ? vuzp2q_u8(high, high) : vuzp1q_u8(high, high);
        s->sc[half] = wide_of(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(sc))));
        s->mn[half] = wide_of(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(mn))));
    }
}

/* Signed scales of both halves. */
INLINE void scales_halves(const uint16_t *d, const int8_t (*sc)[2], struct scales *s)
{
    int8x16_t v = vld1q_s8(sc[0]);
    s->d[0] = halves(d);
    s->sc[0] = wide_of(vmovl_s8(vget_low_s8(vuzp1q_s8(v, v))));
    s->sc[1] = wide_of(vmovl_s8(vget_low_s8(vuzp2q_s8(v, v))));
}

/* Only what the type has is written. */
INLINE void scales_of(const int type, const void *group, uint64_t k, struct scales *s)
{
    switch (type) {
    case RZ_TYPE_Q4_0: /* d (q - 8): the 8 comes off as 8 d times the sum of the activations */
        s->d[0] = halves(BLOCK(q4_0, k)->d);
        s->m = times(s->d[0], -8);
        break;
    case RZ_TYPE_Q4_1:
        s->d[0] = halves(BLOCK(q4_1, k)->d);
        s->m = halves(BLOCK(q4_1, k)->m);
        break;
    case RZ_TYPE_Q5_0:
        s->d[0] = halves(BLOCK(q5_0, k)->d);
        s->m = times(s->d[0], -16);
        break;
    case RZ_TYPE_Q5_1:
        s->d[0] = halves(BLOCK(q5_1, k)->d);
        s->m = halves(BLOCK(q5_1, k)->m);
        break;
    case RZ_TYPE_Q4_K:
        scales_k(BLOCK(q4_k, k / 8)->d, BLOCK(q4_k, k / 8)->dmin, BLOCK(q4_k, k / 8)->sc[k % 8],
                 BLOCK(q4_k, k / 8)->mn[k % 8], s);
        break;
    case RZ_TYPE_Q5_K:
        scales_k(BLOCK(q5_k, k / 8)->d, BLOCK(q5_k, k / 8)->dmin, BLOCK(q5_k, k / 8)->sc[k % 8],
                 BLOCK(q5_k, k / 8)->mn[k % 8], s);
        break;
    case RZ_TYPE_Q2_K:
        scales_q2_k(BLOCK(q2_k, k / 8), k % 8, s);
        break;
    case RZ_TYPE_Q6_K:
        scales_halves(BLOCK(q6_k, k / 8)->d, BLOCK(q6_k, k / 8)->sc[k % 8], s);
        break;
    case RZ_TYPE_Q3_K:
        scales_halves(BLOCK(q3_k, k / 8)->d, BLOCK(q3_k, k / 8)->sc[k % 8], s);
        break;
    case RZ_TYPE_IQ4_NL:
        s->d[0] = halves(BLOCK(q4_0, k)->d);
        break;
    case RZ_TYPE_IQ4_XS: {
        int16x8_t sc = vmovl_s8(vld1_s8(BLOCK(iq4_xs, k / 8)->sc[k % 8]));
        s->d[0] = _mm256_mul_ps(halves(BLOCK(iq4_xs, k / 8)->d), _mm256_cvtepi32_ps(wide_of(sc)));
        break;
    }
    case RZ_TYPE_MXFP4: {
        uint16x8_t d = vld1q_u16(BLOCK(mxfp4, k)->d);
        s->d[0] = (__m256){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(d), 16)),
                           vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(d), 16))};
        break;
    }
    case RZ_TYPE_Q8_0:
        s->d[0] = halves(BLOCK(q8_0, k)->d);
        break;
    default:
        s->d[0] = _mm256_loadu_ps(BLOCK(i8, k)->d[0]);
        s->d[1] = _mm256_loadu_ps(BLOCK(i8, k)->d[1]);
    }
#undef BLOCK
}

#endif

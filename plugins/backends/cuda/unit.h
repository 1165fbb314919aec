/* unit.h - weights as kernels read them: a unit is what a thread decodes from 16 bytes of a plane.
 *
 * Owns the meaning of the planes that weights.c lays out. A unit has CU_UNIT elements: one run of
 * neighbours, or two of half as many each, CU_GAP apart. Invariant: the units of CU_SPAN neighbouring
 * elements are neighbours, too. Values are those of core/base/decode*.c, but for one rounding where a
 * product and a sum are one.
 */
#ifndef RZ_CUDA_UNIT_H
#define RZ_CUDA_UNIT_H

#include "cu.h"

enum {
#define CU_ENUM(name, number) CU_##name = number,
    CU_TYPES(CU_ENUM)
#undef CU_ENUM
};

/* Elements of a unit. */
static __device__ constexpr int cu_unit(int t)
{
    return t == CU_F32 ? 4 : t == CU_F16 || t == CU_BF16 ? 8 : t == CU_Q8_0 ? 16 : 32;
}

/* From the first element of a unit's first run to that of its second; its size where there is one run. */
static __device__ constexpr int cu_gap(int t)
{
    return cu_unit(t) < 32                                                ? cu_unit(t) / 2
           : t == CU_Q6_K                                                 ? 64
           : t == CU_Q4_K || t == CU_Q5_K || t == CU_Q2_K || t == CU_Q3_K ? 32
                                                                          : 16;
}

/* Elements that whole units cover. */
static __device__ constexpr int cu_span(int t)
{
    return t == CU_Q6_K || t == CU_Q2_K || t == CU_Q3_K ? 128 : t == CU_Q4_K || t == CU_Q5_K ? 64 : 32;
}

/* The first element of unit u of a row. */
template <int T> static __device__ inline uint32_t cu_first(uint32_t u)
{
    uint32_t j = u % 8;
    if (T == CU_Q4_K || T == CU_Q5_K)
        return u / 8 * 256 + j / 2 * 64 + j % 2 * 16;
    if (T == CU_Q6_K)
        return u / 8 * 256 + j / 4 * 128 + j % 4 / 2 * 32 + j % 2 * 16;
    if (T == CU_Q2_K || T == CU_Q3_K)
        return u / 8 * 256 + j / 4 * 128 + j % 4 / 2 * 64 + j % 2 * 16;
    return u * cu_unit(T);
}

/* Where element i of a unit lies behind its first one. */
template <int T> static __device__ constexpr int cu_place(int i)
{
    return i < cu_unit(T) / 2 ? i : i - cu_unit(T) / 2 + cu_gap(T);
}

static __device__ inline uint4 cu_load16(const uint8_t *p)
{
    return __ldg((const uint4 *)p);
}

static __device__ inline uint32_t cu_word(const uint4 &q, int i)
{
    return i == 0 ? q.x : i == 1 ? q.y : i == 2 ? q.z : q.w;
}

/* Byte i of 16. */
static __device__ inline uint32_t cu_byte(const uint4 &q, int i)
{
    return cu_word(q, i / 4) >> (8 * (i % 4)) & 255;
}

static __device__ inline float cu_load_half(const uint8_t *p)
{
    return cu_half(__ldg((const uint16_t *)p));
}

/* The 16 values of IQ4_NL and IQ4_XS, and of MXFP4, as bytes of two words. */
static __device__ inline float cu_value_iq4(uint32_t i)
{
    uint64_t low = 0xf6eaddcfbfad9881ull, high = 0x7159453526190d01ull;
    return (float)(int8_t)((i & 8 ? high : low) >> (8 * (i & 7)));
}

static __device__ inline float cu_value_fp4(uint32_t i)
{
    uint64_t low = 0x0c08060403020100ull;
    float v = (float)(int8_t)(low >> (8 * (i & 7)));
    return i & 8 ? -v : v;
}

/* --- floats --- */

static __device__ inline void cu_unit_f32(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    uint4 q = cu_load16(m.a + row * m.a_pitch + u * 16ull);
    for (int i = 0; i < 4; i++)
        w[i] = __uint_as_float(cu_word(q, i));
}

template <int T>
static __device__ inline void cu_unit_short(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    uint4 q = cu_load16(m.a + row * m.a_pitch + u * 16ull);
    for (int i = 0; i < 8; i++) {
        uint16_t h = (uint16_t)(cu_word(q, i / 2) >> (16 * (i % 2)));
        w[i] = T == CU_BF16 ? cu_bf16(h) : cu_half(h);
    }
}

/* --- blocks of 32 --- */

static __device__ inline void cu_unit_q8(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    uint4 q = cu_load16(m.a + row * m.a_pitch + u * 16ull);
    float d = cu_load_half(m.b + row * m.b_pitch + u / 2 * 2ull);
    for (int i = 0; i < 16; i++)
        w[i] = (float)(int8_t)cu_byte(q, i) * d;
}

template <int T>
static __device__ inline void cu_unit_four(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    uint4 q = cu_load16(m.a + row * m.a_pitch + u * 16ull);
    const uint8_t *b = m.b + row * m.b_pitch;
    float d = 0, least = 0;
    if (T == CU_MXFP4) {
        uint32_t e = b[u];
        d = __uint_as_float(e < 2 ? 0x200000u << e : (e - 1) << 23);
    } else {
        d = cu_load_half(b + u * (T == CU_Q4_1 ? 4ull : 2ull));
    }
    if (T == CU_Q4_1)
        least = cu_load_half(b + u * 4ull + 2);
    for (int i = 0; i < 32; i++) {
        uint32_t v = i < 16 ? cu_byte(q, i) & 15 : cu_byte(q, i - 16) >> 4;
        w[i] = T == CU_MXFP4    ? d * cu_value_fp4(v)
               : T == CU_IQ4_NL ? d * cu_value_iq4(v)
               : T == CU_Q4_1   ? fmaf((float)v, d, least)
                                : (float)((int)v - 8) * d;
    }
}

template <int T>
static __device__ inline void cu_unit_five(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    uint4 q = cu_load16(m.a + row * m.a_pitch + u * 16ull);
    uint2 b = __ldg((const uint2 *)(m.b + row * m.b_pitch + u * 8ull));
    float d = cu_half((uint16_t)b.y), least = cu_half((uint16_t)(b.y >> 16));
    for (int i = 0; i < 32; i++) {
        uint32_t v = (i < 16 ? cu_byte(q, i) & 15 : cu_byte(q, i - 16) >> 4) | (b.x >> i & 1) << 4;
        w[i] = T == CU_Q5_1 ? fmaf((float)v, d, least) : (float)((int)v - 16) * d;
    }
}

/* --- blocks of 256 --- */

/* Scale and minimum of group g of eight, from the 12 bytes that begin in word 1. */
static __device__ inline void cu_scale_min(const uint4 &h, uint32_t g, float *scale, float *least)
{
    uint32_t s, n, low = g % 4 * 8;
    if (g < 4) {
        s = h.y >> low & 63;
        n = h.z >> low & 63;
    } else {
        s = (h.w >> low & 15) | (h.y >> low >> 6 & 3) << 4;
        n = (h.w >> low >> 4 & 15) | (h.z >> low >> 6 & 3) << 4;
    }
    *scale = cu_half((uint16_t)h.x) * (float)s;
    *least = cu_half((uint16_t)(h.x >> 16)) * (float)n;
}

template <int T>
static __device__ inline void cu_unit_k45(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    const uint8_t *block = m.a + row * m.a_pitch + u / 8 * (T == CU_Q5_K ? 176ull : 144ull);
    uint32_t j = u % 8, g = j / 2 * 2;
    uint4 head = cu_load16(block), high = {0, 0, 0, 0};
    uint4 q = cu_load16(block + (T == CU_Q5_K ? 48 : 16) + 16 * j);
    float d[2], least[2];
    if (T == CU_Q5_K)
        high = cu_load16(block + 16 + j % 2 * 16);
    cu_scale_min(head, g, &d[0], &least[0]);
    cu_scale_min(head, g + 1, &d[1], &least[1]);
    for (int i = 0; i < 32; i++) {
        int k = i / 16;
        uint32_t v = cu_byte(q, i % 16) >> (4 * k) & 15;
        if (T == CU_Q5_K)
            v |= (cu_byte(high, i % 16) >> (g + k) & 1) << 4;
        w[i] = fmaf(d[k], (float)v, -least[k]);
    }
}

static __device__ inline void cu_unit_k6(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    const uint8_t *block = m.a + row * m.a_pitch + u / 8 * 208ull;
    uint32_t j = u % 8, half = j / 4, part = j % 4 / 2, l = j % 2;
    uint4 low = cu_load16(block + 16 * j), high = cu_load16(block + 128 + 32 * half + 16 * l);
    const int8_t *scales = (const int8_t *)(block + 192) + 8 * half + 2 * part + l;
    float d = cu_load_half(m.b + row * m.b_pitch + u / 8 * 2ull);
    float ds[2] = {d * (float)scales[0], d * (float)scales[4]};
    for (int i = 0; i < 32; i++) {
        int k = i / 16;
        uint32_t v =
            (cu_byte(low, i % 16) >> (4 * k) & 15) | (cu_byte(high, i % 16) >> (2 * part + 4 * k) & 3) << 4;
        w[i] = ds[k] * (float)((int)v - 32);
    }
}

static __device__ inline void cu_unit_k2(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    const uint8_t *block = m.a + row * m.a_pitch + u / 8 * 80ull;
    uint32_t j = u % 8, half = j / 4, pair = j % 4 / 2, l = j % 2;
    uint4 q = cu_load16(block + 16 + 32 * half + 16 * l);
    const uint8_t *scales = block + 8 * half + 4 * pair + l, *b = m.b + row * m.b_pitch + u / 8 * 4ull;
    float d = cu_load_half(b), least = cu_load_half(b + 2);
    for (int i = 0; i < 32; i++) {
        int k = i / 16;
        uint32_t s = scales[2 * k], v = cu_byte(q, i % 16) >> (4 * pair + 2 * k) & 3;
        w[i] = fmaf(d * (float)(s & 15), (float)v, -(least * (float)(s >> 4)));
    }
}

static __device__ inline void cu_unit_k3(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    const uint8_t *block = m.a + row * m.a_pitch + u / 8 * 96ull;
    const uint8_t *b = m.b + row * m.b_pitch + u / 8 * 16ull;
    uint32_t j = u % 8, half = j / 4, pair = j % 4 / 2, l = j % 2;
    uint4 q = cu_load16(block + 32 + 32 * half + 16 * l), mask = cu_load16(block + 16 * l);
    float d = cu_load_half(b + 12);
    for (int i = 0; i < 32; i++) {
        int k = i / 16;
        uint32_t g = 8 * half + 4 * pair + 2 * k + l;
        int s = (int)((g < 8 ? b[g] & 15 : b[g - 8] >> 4) | (b[8 + g % 4] >> (2 * (g / 4)) & 3) << 4) - 32;
        uint32_t v = (cu_byte(q, i % 16) >> (4 * pair + 2 * k) & 3) |
                     (cu_byte(mask, i % 16) >> (4 * half + 2 * pair + k) & 1) << 2;
        w[i] = d * (float)s * (float)((int)v - 4);
    }
}

static __device__ inline void cu_unit_iq4_xs(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    uint4 q = cu_load16(m.a + row * m.a_pitch + u * 16ull);
    uint2 b = __ldg((const uint2 *)(m.b + row * m.b_pitch + u / 8 * 8ull));
    uint32_t g = u % 8;
    int s = (int)((b.y >> (4 * g) & 15) | (b.x >> 16 >> (2 * g) & 3) << 4) - 32;
    float d = cu_half((uint16_t)b.x) * (float)s;
    for (int i = 0; i < 32; i++)
        w[i] = d * cu_value_iq4(cu_byte(q, i % 16) >> (4 * (i / 16)) & 15);
}

/* Unit u of a row, as cu_unit(T) floats. */
template <int T>
static __device__ inline void cu_decode(const struct cu_mat &m, uint64_t row, uint32_t u, float *w)
{
    if (T == CU_F32)
        cu_unit_f32(m, row, u, w);
    else if (T == CU_F16 || T == CU_BF16)
        cu_unit_short<T>(m, row, u, w);
    else if (T == CU_Q8_0)
        cu_unit_q8(m, row, u, w);
    else if (T == CU_Q5_0 || T == CU_Q5_1)
        cu_unit_five<T>(m, row, u, w);
    else if (T == CU_Q4_K || T == CU_Q5_K)
        cu_unit_k45<T>(m, row, u, w);
    else if (T == CU_Q6_K)
        cu_unit_k6(m, row, u, w);
    else if (T == CU_Q2_K)
        cu_unit_k2(m, row, u, w);
    else if (T == CU_Q3_K)
        cu_unit_k3(m, row, u, w);
    else if (T == CU_IQ4_XS)
        cu_unit_iq4_xs(m, row, u, w);
    else
        cu_unit_four<T>(m, row, u, w);
}

static __device__ inline uint32_t cu_units(const struct cu_mat &m, int unit)
{
    return (m.cols + unit - 1) / unit;
}

#endif

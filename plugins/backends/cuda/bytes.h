/* bytes.h - weights as integers of 8 bits, for products with rows that were rounded to such: groups of 32.
 *
 * A group's sum of products is exact. What it adds to a result, and in which order, is one text for few rows
 * and for many: 32 chains of groups, each 32 groups from the next one of its chain, then the chains in order.
 * So a result has the same bits whoever makes it.
 */
#ifndef RZ_CUDA_BYTES_H
#define RZ_CUDA_BYTES_H

#include "product.h"

#define CU_GROUP 32
#define CU_CHAINS 32

/* 32 neighbours of a row of weights: scale * integer + least. */
struct cu_bytes {
    uint32_t w[8]; /* four integers each */
    float scale, least;
    int part[2]; /* of Q6_K: what the sums of the first and the last 16 are multiplied by */
};

static __device__ constexpr bool cu_has_least(int t)
{
    return t != CU_Q8_0 && t != CU_Q6_K;
}

/* Bits 0 to 3 as the lowest bits of four bytes. */
static __device__ inline uint32_t cu_spread(uint32_t bits)
{
    return (bits & 15) * 0x00204081u & 0x01010101u;
}

template <int T>
static __device__ inline void cu_bytes_blocks(const struct cu_mat &m, uint64_t row, uint32_t g,
                                              struct cu_bytes *b)
{
    const uint8_t *scales = m.b + row * m.b_pitch;
    uint4 q = cu_load16(m.a + row * m.a_pitch + g * 16ull);
    uint32_t fifth = 0;
    for (int i = 0; i < 4; i++) {
        b->w[i] = cu_word(q, i) & 0x0f0f0f0fu;
        b->w[i + 4] = cu_word(q, i) >> 4 & 0x0f0f0f0fu;
    }
    if (T == CU_Q4_0 || T == CU_Q4_1) {
        b->scale = cu_load_half(scales + g * (T == CU_Q4_1 ? 4ull : 2ull));
        b->least = T == CU_Q4_1 ? cu_load_half(scales + g * 4ull + 2) : -8 * b->scale;
        return;
    }
    uint2 s = __ldg((const uint2 *)(scales + g * 8ull));
    fifth = s.x;
    for (int i = 0; i < 8; i++)
        b->w[i] |= cu_spread(fifth >> (4 * i)) << 4;
    b->scale = cu_half((uint16_t)s.y);
    b->least = T == CU_Q5_1 ? cu_half((uint16_t)(s.y >> 16)) : -16 * b->scale;
}

static __device__ inline void cu_bytes_q8(const struct cu_mat &m, uint64_t row, uint32_t g,
                                          struct cu_bytes *b)
{
    const uint8_t *at = m.a + row * m.a_pitch + g * 32ull;
    uint4 low = cu_load16(at), high = cu_load16(at + 16);
    for (int i = 0; i < 4; i++) {
        b->w[i] = cu_word(low, i);
        b->w[i + 4] = cu_word(high, i);
    }
    b->scale = cu_load_half(m.b + row * m.b_pitch + g * 2ull);
}

template <int T>
static __device__ inline void cu_bytes_k45(const struct cu_mat &m, uint64_t row, uint32_t group,
                                           struct cu_bytes *b)
{
    const uint8_t *block = m.a + row * m.a_pitch + group / 8 * (T == CU_Q5_K ? 176ull : 144ull);
    uint32_t g = group % 8;
    const uint8_t *at = block + (T == CU_Q5_K ? 48 : 16) + g / 2 * 32;
    uint4 q[2] = {cu_load16(at), cu_load16(at + 16)};
    for (int i = 0; i < 8; i++)
        b->w[i] = cu_word(q[i / 4], i % 4) >> (4 * (g % 2)) & 0x0f0f0f0fu;
    if (T == CU_Q5_K) {
        uint4 high[2] = {cu_load16(block + 16), cu_load16(block + 32)};
        for (int i = 0; i < 8; i++)
            b->w[i] |= (cu_word(high[i / 4], i % 4) >> g & 0x01010101u) << 4;
    }
    float least;
    cu_scale_min(cu_load16(block), g, &b->scale, &least);
    b->least = -least;
}

static __device__ inline void cu_bytes_k6(const struct cu_mat &m, uint64_t row, uint32_t group,
                                          struct cu_bytes *b)
{
    const uint8_t *block = m.a + row * m.a_pitch + group / 8 * 208ull;
    uint32_t g = group % 8, half = g / 4, part = g % 2, upper = g % 4 / 2;
    const uint8_t *low = block + 64 * half + 32 * part, *high = block + 128 + 32 * half;
    const int8_t *scales = (const int8_t *)(block + 192) + 8 * half + 4 * upper + 2 * part;
    uint4 q[2] = {cu_load16(low), cu_load16(low + 16)}, h[2] = {cu_load16(high), cu_load16(high + 16)};
    for (int i = 0; i < 8; i++) {
        uint32_t v = (cu_word(q[i / 4], i % 4) >> (4 * upper) & 0x0f0f0f0fu) |
                     (cu_word(h[i / 4], i % 4) >> (4 * upper + 2 * part) & 0x03030303u) << 4;
        b->w[i] = ((v | 0x80808080u) - 0x20202020u) ^ 0x80808080u; /* of each byte: v - 32 */
    }
    b->part[0] = scales[0];
    b->part[1] = scales[1];
    b->scale = cu_load_half(m.b + row * m.b_pitch + group / 8 * 2ull);
}

/* Group g of a row. */
template <int T>
static __device__ inline void cu_bytes_of(const struct cu_mat &m, uint64_t row, uint32_t g,
                                          struct cu_bytes *b)
{
    b->least = 0;
    if (T == CU_Q8_0)
        cu_bytes_q8(m, row, g, b);
    else if (T == CU_Q4_K || T == CU_Q5_K)
        cu_bytes_k45<T>(m, row, g, b);
    else if (T == CU_Q6_K)
        cu_bytes_k6(m, row, g, b);
    else
        cu_bytes_blocks<T>(m, row, g, b);
}

/* sum += what a group is worth: its sum of products, scale and least, and of the rows' side the scale and the
 * sum of its elements. */
template <int T>
static __device__ inline float cu_bytes_add(float sum, int products, float scale, float least, float2 x)
{
    sum = fmaf((float)products, scale * x.x, sum);
    return cu_has_least(T) ? fmaf(least, x.y, sum) : sum;
}

/* Row r of the meeting among the rows of bytes. */
static __device__ inline uint64_t cu_bytes_row(const struct cu_product &p, const struct cu_meeting &m,
                                               uint32_t r)
{
    uint32_t pair = cu_pair(p, m, r);
    return p.pairs.used && !p.pairs.each ? pair / p.pairs.used : pair;
}

static __device__ inline const float2 *cu_bytes_scales(const struct cu_product &p, uint64_t row)
{
    return (const float2 *)p.byte_scales + row * (p.part[0].w.cols / CU_GROUP);
}

static __device__ inline const int8_t *cu_bytes_at(const struct cu_product &p, uint64_t row)
{
    return p.bytes + row * p.part[0].w.cols;
}

#define CU_BYTE_TYPES(X) X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q4_K) X(Q5_K) X(Q6_K)

#endif

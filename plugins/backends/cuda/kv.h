/* kv.h - where keys and values lie in pages, and their types: rows; those of bytes have scales behind all
 * rows of the page: of q8_0 an f16 for each 32 elements, of fp8 a power of two for each row.
 */
#ifndef RZ_CUDA_KV_H
#define RZ_CUDA_KV_H

#include "unit.h"

static __device__ inline uint8_t *cu_kv_head(const struct cu_kv &kv, const struct cu_step *step,
                                             const struct cu_seq *s, uint32_t pos, uint32_t head)
{
    int32_t page = step->pages[s->pages[kv.group] + pos / kv.page_tokens];
    return kv.base + (uint64_t)page * kv.page_bytes + head * kv.head_bytes;
}

#define CU_F8 256 /* RZ_TYPE_F8_E4M3: of the KV alone */

static __device__ constexpr bool cu_kv_is_bytes(int k)
{
    return k == CU_Q8_0 || k == CU_F8;
}

/* Bytes of a row of bytes. */
template <int K> static __device__ inline uint32_t cu_kv_wide(uint32_t dim)
{
    constexpr uint32_t whole = K == CU_F8 ? 8 : 32;
    return (dim + whole - 1) / whole * whole;
}

/* Where the scale of element d of a row lies. */
template <int K>
static __device__ inline uint64_t cu_kv_scale_at(const struct cu_kv &kv, uint64_t row, uint32_t dim,
                                                 uint32_t d)
{
    uint64_t wide = cu_kv_wide<K>(dim);
    if (K == CU_F8)
        return kv.page_tokens * wide + row;
    return kv.page_tokens * wide + (row * (wide / 32) + d / 32) * 2;
}

template <int K>
static __device__ inline float cu_kv_scale(const struct cu_kv &kv, const uint8_t *at, uint64_t row,
                                           uint32_t dim, uint32_t d)
{
    const uint8_t *scale = at + cu_kv_scale_at<K>(kv, row, dim, d);
    if (K == CU_F8)
        return __uint_as_float((uint32_t)*scale << 23);
    return cu_half(*(const uint16_t *)scale);
}

/* What a byte is times its scale. The bits of E4M3 are those of a 256th as f16. */
template <int K> static __device__ inline float cu_kv_byte(uint32_t b)
{
    if (K == CU_F8)
        return cu_half((uint16_t)((b & 0x80) << 8 | (b & 0x7f) << 7)) * 256;
    return (float)(int8_t)b;
}

/* The nearest E4M3 of a number of at most 448; of two equally near ones the even one. */
static __device__ inline uint8_t cu_to_e4m3(float x)
{
    float a = fminf(fabsf(x), 448);
    uint32_t bits = __float_as_uint(a), sign = x < 0 ? 0x80 : 0;
    if (a < 0x1p-6f)
        return (uint8_t)(sign | (uint32_t)rintf(a * 512));
    bits += 0x7ffff + (bits >> 20 & 1);
    return (uint8_t)(sign | ((bits >> 20) - 120 * 8));
}

/* The exponent of the smallest power of two by which a row of fp8 is stored; most: its largest element. */
static __device__ inline uint32_t cu_e4m3_scale(float most)
{
    int power = 0;
    float part = frexpf(most, &power);
    power += 127 - (part <= 0.875f ? 9 : 8);
    return (uint32_t)(most > 0 && power > 1 ? (power < 253 ? power : 253) : 1);
}

static __device__ inline void cu_kv_put(const struct cu_kv &kv, uint8_t *at, uint64_t i, float x)
{
    if (kv.type == CU_F32)
        ((float *)at)[i] = x;
    else
        ((uint16_t *)at)[i] = kv.type == CU_BF16 ? cu_to_bf16(x) : cu_to_half(x);
}

/* Eight neighbours of a row of bytes, of one scale. */
template <int K>
static __device__ inline void cu_kv_eight(const struct cu_kv &kv, const uint8_t *at, uint64_t row,
                                          uint32_t dim, uint32_t d, float *x)
{
    uint2 q = *(const uint2 *)(at + row * cu_kv_wide<K>(dim) + d);
    float scale = cu_kv_scale<K>(kv, at, row, dim, d);
    for (int i = 0; i < 8; i++)
        x[i] = scale * cu_kv_byte<K>((i < 4 ? q.x : q.y) >> (8 * (i % 4)) & 255);
}

/* Element d of a row. */
template <int K>
static __device__ inline float cu_kv_get(const struct cu_kv &kv, const uint8_t *at, uint64_t row,
                                         uint32_t dim, uint32_t d)
{
    if (cu_kv_is_bytes(K))
        return cu_kv_scale<K>(kv, at, row, dim, d) * cu_kv_byte<K>(at[row * cu_kv_wide<K>(dim) + d]);
    if (K == CU_F32)
        return ((const float *)at)[row * dim + d];
    uint16_t h = ((const uint16_t *)at)[row * dim + d];
    return K == CU_BF16 ? cu_bf16(h) : cu_half(h);
}

#endif

/* kv.h - where keys and values lie in pages, and their types: rows; those of q8_0 have scales behind. */
#ifndef RZ_CUDA_KV_H
#define RZ_CUDA_KV_H

#include "unit.h"

static __device__ inline uint8_t *cu_kv_head(const struct cu_kv &kv, const struct cu_step *step,
                                             const struct cu_seq *s, uint32_t pos, uint32_t head)
{
    int32_t page = step->pages[s->pages[kv.group] + pos / kv.page_tokens];
    return kv.base + (uint64_t)page * kv.page_bytes + head * kv.head_bytes;
}

/* Bytes of a row of q8_0; its scales, one for each 32, lie behind all rows of the page. */
static __device__ inline uint32_t cu_kv_wide(uint32_t dim)
{
    return (dim + 31) / 32 * 32;
}

static __device__ inline uint64_t cu_kv_scale_at(const struct cu_kv &kv, uint64_t row, uint32_t dim,
                                                 uint32_t d)
{
    uint64_t wide = cu_kv_wide(dim);
    return kv.page_tokens * wide + (row * (wide / 32) + d / 32) * 2;
}

static __device__ inline void cu_kv_put(const struct cu_kv &kv, uint8_t *at, uint64_t i, float x)
{
    if (kv.type == CU_F32)
        ((float *)at)[i] = x;
    else
        ((uint16_t *)at)[i] = kv.type == CU_BF16 ? cu_to_bf16(x) : cu_to_half(x);
}

/* Eight neighbours of q8_0, of one scale. */
static __device__ inline void cu_kv_eight(const struct cu_kv &kv, const uint8_t *at, uint64_t row,
                                          uint32_t dim, uint32_t d, float *x)
{
    uint2 q = *(const uint2 *)(at + row * cu_kv_wide(dim) + d);
    float scale = cu_half(*(const uint16_t *)(at + cu_kv_scale_at(kv, row, dim, d)));
    for (int i = 0; i < 8; i++)
        x[i] = scale * (float)(int8_t)((i < 4 ? q.x : q.y) >> (8 * (i % 4)));
}

/* Element d of a row. */
template <int K>
static __device__ inline float cu_kv_get(const struct cu_kv &kv, const uint8_t *at, uint64_t row,
                                         uint32_t dim, uint32_t d)
{
    if (K == CU_Q8_0)
        return cu_half(*(const uint16_t *)(at + cu_kv_scale_at(kv, row, dim, d))) *
               (float)(int8_t)at[row * cu_kv_wide(dim) + d];
    if (K == CU_F32)
        return ((const float *)at)[row * dim + d];
    uint16_t h = ((const uint16_t *)at)[row * dim + d];
    return K == CU_BF16 ? cu_bf16(h) : cu_half(h);
}

#endif

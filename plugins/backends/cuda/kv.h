/* kv.h - where keys and values lie in pages, and their types. As RZ_KV_LAYOUT_ROWS. */
#ifndef RZ_CUDA_KV_H
#define RZ_CUDA_KV_H

#include "unit.h"

static __device__ inline uint8_t *cu_kv_head(const struct cu_kv &kv, const struct cu_step *step,
                                             const struct cu_seq *s, uint32_t pos, uint32_t head)
{
    int32_t page = step->pages[s->pages[kv.group] + pos / kv.page_tokens];
    return kv.base + (uint64_t)page * kv.page_bytes + head * kv.head_bytes;
}

static __device__ inline void cu_kv_put(const struct cu_kv &kv, uint8_t *at, uint64_t i, float x)
{
    if (kv.type == CU_F32)
        ((float *)at)[i] = x;
    else
        ((uint16_t *)at)[i] = kv.type == CU_BF16 ? cu_to_bf16(x) : cu_to_half(x);
}

template <int K> static __device__ inline float cu_kv_get(const uint8_t *at, uint64_t i)
{
    if (K == CU_F32)
        return ((const float *)at)[i];
    uint16_t h = ((const uint16_t *)at)[i];
    return K == CU_BF16 ? cu_bf16(h) : cu_half(h);
}

#endif

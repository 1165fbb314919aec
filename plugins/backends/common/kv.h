/* kv.h - elements of KV pages as eight floats, for every type of KV; for kernel files only.
 *
 * The types are those of rz_kv_row_bytes. A dequantised Q8_0 element is exact in float32, so an element is
 * the same number wherever it is read.
 */
#ifndef RZ_X86_KV_H
#define RZ_X86_KV_H

#include "vec.h"
#include "x86.h"

#define KV_BLOCK RZ_KV_BLOCK

/* Calls CALL(type) with the type of KV as a constant. */
#define KV_TYPE(CALL, type) \
    switch (type) { \
    case RZ_TYPE_F32: \
        CALL(RZ_TYPE_F32); \
        break; \
    case RZ_TYPE_BF16: \
        CALL(RZ_TYPE_BF16); \
        break; \
    case RZ_TYPE_Q8_0: \
        CALL(RZ_TYPE_Q8_0); \
        break; \
    default: \
        CALL(RZ_TYPE_F16); \
        break; \
    }

/* Bytes between two elements that lie side by side. */
INLINE uint64_t kv_element(const int type)
{
    return type == RZ_TYPE_F32 ? 4 : type == RZ_TYPE_Q8_0 ? 1 : 2;
}

/* Elements i .. i + 7 behind p; for Q8_0 times scale. */
INLINE __m256 kv_eight(const uint8_t *p, uint64_t i, __m256 scale, const int type)
{
    p += i * kv_element(type);
    if (type == RZ_TYPE_F32)
        return _mm256_loadu_ps((const float *)(const void *)p);
    if (type == RZ_TYPE_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
    if (type == RZ_TYPE_BF16) {
        __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
    }
    __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(q), scale);
}

/* Elements d .. d + 7 of a row of blocks; they do not cross a block. */
INLINE __m256 kv_row_eight(const uint8_t *row, uint64_t d, const int type)
{
    if (type != RZ_TYPE_Q8_0)
        return kv_eight(row, d, _mm256_setzero_ps(), type);
    const uint8_t *block = row + d / KV_BLOCK * (KV_BLOCK + 2);
    uint16_t h;
    __builtin_memcpy(&h, block, 2);
    __m256 scale = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
    return kv_eight(block + 2, d % KV_BLOCK, scale, type);
}

/* kv_store.h: one element of a row; and rows of dim elements as they are stored. */
float kv_row_one(const uint8_t *row, uint64_t d, int type);
void kv_row_store(uint8_t *row, const float *x, uint64_t dim, int type);

#endif

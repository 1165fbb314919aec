/* kernels_attention.c - attention: its jobs, and what is stored in KV pages. */
#include "avx512.h"
#include "vec512.h"

#define ROWS_AT_ONCE 32 /* rows of a sequence that share their reads */
#define STORE_PAIRS
#include "../common/attention_jobs.h"
#include "../common/kv_store.h"

int32_t pairs_accept(const struct rz_kernel_node *n)
{
    return attention_accept(n) && quantised_program(n) && n->attr[RZ_A_HEAD_DIM].i % 16 == 0;
}

/* Sixteen elements as bfloat16 in 32-bit lanes, rounded to nearest even as rz_f32_to_bf16 does it. */
INLINE __m512i bf16_lanes(const float *x)
{
    __m512i bits = _mm512_loadu_si512(x), odd = _mm512_srli_epi32(bits, 16);
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)bits, (__m512)bits, _CMP_UNORD_Q);
    __m512i up = _mm512_add_epi32(_mm512_and_si512(odd, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
    return _mm512_mask_or_epi32(rounded, nan, odd, _mm512_set1_epi32(0x40));
}

/* Keys: words of two elements, 64 bytes from one to the next. Values: the half of each word that is the
 * position's. */
static void store_pairs(uint8_t *keys, uint8_t *values, uint64_t slot, const float *k, const float *v,
                        uint64_t dim)
{
    const __mmask32 half = slot % 2 ? 0xaaaaaaaa : 0x55555555;
    uint32_t pairs[16]; /* every other one */
    keys += slot / 16 * 16 * 2 * dim + slot % 16 * 4;
    values += slot / 2 * 2 * 2 * dim;
    for (uint64_t d = 0; d < dim; d += 16) {
        __m512i key = bf16_lanes(k + d), value = bf16_lanes(v + d);
        _mm512_storeu_si512(pairs, _mm512_or_si512(key, _mm512_srli_epi64(key, 16)));
        for (uint64_t e = 0; e < 16; e += 2)
            memcpy(keys + (d + e) / 2 * 64, &pairs[e], 4);
        _mm512_mask_storeu_epi16(values + 4 * d, half, slot % 2 ? _mm512_slli_epi32(value, 16) : value);
    }
}

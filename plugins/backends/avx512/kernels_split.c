/* kernels_split.c - attention over one split with vectors of sixteen. */
#include "avx512.h"
#include "vec512.h"

#define VEC __m512
#define LANES 16
#define V(op) _mm512_##op
#define VEC_EXP vec512_exp
#define VEC_MAX _mm512_reduce_max_ps
#define VEC_SUM _mm512_reduce_add_ps
#define QUERIES_AT_ONCE 6
#define VECTORS_AT_ONCE 4
#include "../common/split.h"

INLINE __m512 load_values(const uint8_t *p, uint64_t index, const int f32)
{
    if (f32)
        return _mm512_loadu_ps((const float *)p + index);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)p + index)));
}

/* Two blocks of eight positions. */
INLINE __m512 load_keys(const struct keys *k, uint64_t d, const int f32)
{
    if (f32) {
        __m512 low = _mm512_castps256_ps512(_mm256_loadu_ps((const float *)k->at[0] + 8 * d));
        return _mm512_insertf32x8(low, _mm256_loadu_ps((const float *)k->at[1] + 8 * d), 1);
    }
    __m128i low = _mm_loadu_si128((const __m128i *)((const uint16_t *)k->at[0] + 8 * d));
    __m128i high = _mm_loadu_si128((const __m128i *)((const uint16_t *)k->at[1] + 8 * d));
    return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
}

/* kernels_float.c - the tiles of float weights: float32 products in two chains, even and odd k, added at
 * the end. Both numerics use the same tiles: activations stay as they are.
 */
#include "avx512.h"
#include "vec512.h"

/* Element k of sixteen rows as float32. */
INLINE __m512 load_float(const void *group, uint64_t k, const int type)
{
    if (type == RZ_TYPE_F32)
        return _mm512_loadu_ps((const float *)group + GROUP * k);
    __m256i h = _mm256_loadu_si256((const __m256i *)((const uint16_t *)group + GROUP * k));
    if (type == RZ_TYPE_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE void tile_float(const void *group, uint64_t cols, const float *x, float out[][GROUP], const int n,
                       const int type)
{
    __m512 even[TILE_ROWS], odd[TILE_ROWS];
    uint64_t k = 0;
    UNROLL
    for (int t = 0; t < n; t++)
        even[t] = odd[t] = _mm512_setzero_ps();
    for (; k + 2 <= cols; k += 2, x += 2 * n) {
        __m512 w0 = load_float(group, k, type), w1 = load_float(group, k + 1, type);
        UNROLL
        for (int t = 0; t < n; t++) {
            even[t] = _mm512_fmadd_ps(w0, _mm512_set1_ps(x[t]), even[t]);
            odd[t] = _mm512_fmadd_ps(w1, _mm512_set1_ps(x[n + t]), odd[t]);
        }
    }
    if (k < cols) {
        __m512 w0 = load_float(group, k, type);
        UNROLL
        for (int t = 0; t < n; t++)
            even[t] = _mm512_fmadd_ps(w0, _mm512_set1_ps(x[t]), even[t]);
    }
    UNROLL
    for (int t = 0; t < n; t++)
        _mm512_storeu_ps(out[t], _mm512_add_ps(even[t], odd[t]));
}

#define TILE(name, type, n) \
    static void tile_##name##_##n(const void *group, uint64_t cols, const void *tile, float out[][GROUP]) \
    { \
        tile_float(group, cols, tile, out, n, type); \
    }
#define TILES(name, type) \
    TILE(name, type, 1) \
    TILE(name, type, 2) \
    TILE(name, type, 4) \
    TILE(name, type, 8) \
    const struct tiles tiles_##name = { \
        {{tile_##name##_1, tile_##name##_2, tile_##name##_4, tile_##name##_8}, \
         {tile_##name##_1, tile_##name##_2, tile_##name##_4, tile_##name##_8}}};
TILES(f32, RZ_TYPE_F32)
TILES(f16, RZ_TYPE_F16)
TILES(bf16, RZ_TYPE_BF16)

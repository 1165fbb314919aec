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

/* Elements k .. k + count - 1 of the row with two groups, which lie `bytes` apart. */
INLINE void strip_part(const uint8_t *group, uint64_t bytes, const float *x, uint64_t k, const int count,
                       __m512 (*acc)[2], const int type)
{
    UNROLL
    for (int i = 0; i < count; i++) {
        __m512 v = _mm512_set1_ps(x[k + (uint64_t)i]);
        UNROLL
        for (int g = 0; g < 2; g++)
            acc[i % 2][g] = _mm512_fmadd_ps(load_float(group + (uint64_t)g * bytes, k + (uint64_t)i, type), v,
                                            acc[i % 2][g]);
    }
}

/* Groups with one row: two at a time, so that an element of it is read once for both. */
INLINE void strip_float(const uint8_t *group, uint64_t n, uint64_t cols, const float *x, float out[][GROUP],
                        const int type)
{
    const uint64_t bytes = (type == RZ_TYPE_F32 ? 4 : 2) * GROUP * cols;
    for (; n >= 2; n -= 2, group += 2 * bytes, out += 2) {
        __m512 acc[2][2]; /* even and odd k, of each group */
        uint64_t k = 0;
        UNROLL
        for (int i = 0; i < 4; i++)
            acc[i / 2][i % 2] = _mm512_setzero_ps();
        for (; k + 4 <= cols; k += 4)
            strip_part(group, bytes, x, k, 4, acc, type);
        for (; k + 2 <= cols; k += 2)
            strip_part(group, bytes, x, k, 2, acc, type);
        if (k < cols)
            strip_part(group, bytes, x, k, 1, acc, type);
        UNROLL
        for (int g = 0; g < 2; g++)
            _mm512_storeu_ps(out[g], _mm512_add_ps(acc[0][g], acc[1][g]));
    }
    if (n)
        tile_float(group, cols, x, out, 1, type);
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
    static void strip_##name(const void *groups, uint64_t n, uint64_t cols, const void *tile, \
                             float out[][GROUP]) \
    { \
        strip_float(groups, n, cols, tile, out, type); \
    } \
    const struct tiles tiles_##name = { \
        .strip = strip_##name, \
        .fn = {{tile_##name##_1, tile_##name##_2, tile_##name##_4, tile_##name##_8}, \
               {tile_##name##_1, tile_##name##_2, tile_##name##_4, tile_##name##_8}}};
TILES(f32, RZ_TYPE_F32)
TILES(f16, RZ_TYPE_F16)
TILES(bf16, RZ_TYPE_BF16)

/* acts.h - rows of activations in tiles: how many rows a tile has, how large it is, and how it is filled; for
 * kernel files only. The rows of a step (of a matrix, where rows chose one) are cut into tiles of eight, and
 * the rest into 4, 2 and 1. A tile takes as many bytes as its rows would one by one.
 */
#ifndef RZ_AVX512_ACTS_H
#define RZ_AVX512_ACTS_H

#include "avx512.h"
#include "checked.h"

#define ROW_ALIGN 64u
#define CACHED_BYTES (512 << 10)

static inline uint64_t quantised_row_bytes(uint64_t cols, int wide)
{
    return rz_round_up(cols / 32 * ACT_WORDS(1, wide) * sizeof(int32_t), ROW_ALIGN);
}

static inline uint64_t float_row_bytes(uint64_t cols)
{
    return rz_round_up(cols * sizeof(float), ROW_ALIGN);
}

/* Logarithm of the rows of the next tile, when `left` are left. */
static inline uint32_t tile_index(uint32_t left)
{
    return left >= 8 ? 3 : left >= 4 ? 2 : left >= 2 ? 1 : 0;
}

/* Rows of so many bytes that stay in the L2 cache: whole tiles. */
static inline uint32_t cached_rows(uint64_t row_bytes)
{
    uint64_t rows = CACHED_BYTES / row_bytes / TILE_ROWS * TILE_ROWS;
    return rows < TILE_ROWS ? TILE_ROWS : rows > 1024 ? 1024 : (uint32_t)rows;
}

/* Quantises n rows, one tile. */
static inline void quantise_tile(const float *const *rows, uint32_t n, uint64_t cols, int wide, int32_t *tile)
{
    if (n == TILE_ROWS) {
        if (wide)
            act_put_wide_eight(rows, cols, tile);
        else
            act_put_int8_eight(rows, cols, tile);
        return;
    }
    for (uint32_t t = 0; t < n; t++) {
        if (wide)
            act_put_wide(rows[t], cols, tile, n, t);
        else
            act_put_int8(rows[t], cols, tile, n, t);
    }
}

#endif

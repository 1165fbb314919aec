/* head.h - what the region of the LM head needs of its kernels. */
#ifndef RZ_AVX512_HEAD_H
#define RZ_AVX512_HEAD_H

#include "avx512.h"

#include "../common/planes.h"
#include "../common/screen.h"

/* Over struct x_planes as the group. */
extern const struct tiles tiles_planes;

/* What the screening needs to know of a tile of n rows of x: [cols / 32][n]. */
void screen_prepare(const int32_t *tile, uint64_t cols, uint32_t n, int wide, struct screen_x *out);
/* Bit r of lanes[t]: the product of row r of the group and row t of the tile may be least[t] or more. */
void screen_group(const struct x_plane_a *a, uint64_t cols, const int32_t *x, const struct screen_x *s,
                  uint32_t n, int wide, const float *least, uint32_t *lanes);

#endif

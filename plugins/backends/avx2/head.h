/* head.h - what the region of the LM head needs of its kernels. */
#ifndef RZ_AVX2_HEAD_H
#define RZ_AVX2_HEAD_H

#include "avx2.h"

#include "../common/planes.h"
#include "../common/screen.h"

/* tile_run for a group of a matrix in planes. */
void planes_run(const struct rz_weight_view *w, uint64_t group, const union tile_x *x, int n,
                float (*out)[GROUP]);
/* What the screening needs to know of one row of x: [cols / 32]. */
void screen_prepare(const struct act_block *x, uint64_t cols, struct screen_x *out);
/* Bit r of lanes[t]: the product of row r of the group and x[t] may be least[t] or more, for t < n (1..4).
 * s: that of row t begins at t * cols / 32. */
void screen_group(const struct x_plane_a *a, uint64_t cols, const union tile_x *x, const struct screen_x *s,
                  uint32_t n, const float *least, uint32_t *lanes);

#endif

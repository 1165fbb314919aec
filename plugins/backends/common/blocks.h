/* blocks.h - what the tables with tiles of rows share: activations as 8-bit blocks of 32 that lie row by row,
 * and all that is built on them (region_rows.h, experts_rows.h) or beside them (latent.h, recurrent.h). The
 * file that includes this has defined GROUP and TILE_ROWS, the activation rows of one tile.
 */
#ifndef RZ_BACKENDS_BLOCKS_H
#define RZ_BACKENDS_BLOCKS_H

#include "x86.h"

/* 32 activations: x = d * q, rounded to nearest; s = d * sum(q); h: the sums of both halves. */
struct act_block {
    int8_t q[32];
    float d, s;
    int16_t h[2];
    int32_t zero;
};
_Static_assert(sizeof(struct act_block) == 48, "act_block");

/* The plugin's part. */
void act_quantise(const float *x, struct act_block *out, uint64_t n);

/* The activations of one row, for a tile. */
union tile_x {
    const struct act_block *q;
    const float *f;
};

/* The plugin's part: out[t][r] = product of group row r with x[t], for t < n (1..TILE_ROWS). level: which of
 * the plugin's instruction sets, for those that have several. */
void tile_run(int level, int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float (*out)[GROUP]);

/* latent.h: attention over a latent KV (RZ_A_LATENT). */
int32_t latent_accept(const struct rz_kernel_node *n);
uint32_t latent_tiles(const struct rz_kernel_call *c);
int32_t latent_store(const struct rz_kernel_call *c, struct rz_err *err);
int32_t latent_attention(const struct rz_kernel_call *c, struct rz_err *err);

/* recurrent.h */
int32_t recurrent_accept(const struct rz_kernel_node *n);
uint32_t conv_tiles(const struct rz_kernel_call *c);
int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t scan_tiles(const struct rz_kernel_call *c);
int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t delta_tiles(const struct rz_kernel_call *c);
int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err);

#endif

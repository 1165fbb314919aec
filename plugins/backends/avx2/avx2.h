/* avx2.h - what the files of the avx2 kernel table share: the weight layout, quantised activations,
 * and the tile kernels.
 *
 * Layout X8 (id 1): eight rows of a weight side by side, in the forms of interleave.h.
 *
 * Invariant: every output is a chain of additions over blocks in ascending order, the same chain in
 * every tile shape. So results do not depend on how many rows a step has.
 */
#ifndef RZ_AVX2_H
#define RZ_AVX2_H

#define GROUP 8 /* rows side by side */
#include "../common/x86.h"

#define LAYOUT_X8 1u

/* 32 activations: x = d * q, rounded to nearest; s = d * sum(q); h: the sums of both halves. */
struct act_block {
    int8_t q[32];
    float d, s;
    int16_t h[2];
    int32_t zero;
};
_Static_assert(sizeof(struct act_block) == 48, "act_block");

/* kernels_act.c */
void act_quantise(const float *x, struct act_block *out, uint64_t n);

/* The activations of one row, for a tile. */
union tile_x {
    const struct act_block *q;
    const float *f;
};

#define TILE_ROWS 4 /* activation rows of one tile */

/* kernels_matmul.c: out[t][r] = product of group row r with x[t], for t < n (1..TILE_ROWS). */
void tile_run(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float out[TILE_ROWS][GROUP]);

/* kernels_latent.c: attention over a latent KV (RZ_A_LATENT). */
int32_t latent_accept(const struct rz_kernel_node *n);
uint32_t latent_tiles(const struct rz_kernel_call *c);
int32_t latent_store(const struct rz_kernel_call *c, struct rz_err *err);
int32_t latent_attention(const struct rz_kernel_call *c, struct rz_err *err);

/* kernels_experts.c: RZ_OP_MATMUL_ID and RZ_OP_MATMUL_HEADS, and RZ_OP_GLU_ID. */
uint64_t experts_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t experts_product_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t experts_glu_run(const struct rz_kernel_call *c, struct rz_err *err);

/* kernels_recurrent.c */
int32_t recurrent_accept(const struct rz_kernel_node *n);
uint32_t conv_tiles(const struct rz_kernel_call *c);
int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t scan_tiles(const struct rz_kernel_call *c);
int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t delta_tiles(const struct rz_kernel_call *c);
int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err);

#endif

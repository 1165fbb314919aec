/* avx512.h - what the files of the avx512 kernel table share: the weight layout, activations as tiles want
 * them, the tile kernels, and the regions.
 *
 * Layout X16 (id 2): sixteen rows of a weight side by side, in the forms of interleave.h.
 *
 * Activations of n rows (1, 2, 4 or 8: one tile) lie side by side too, so that a tile reads them with one
 * pointer. For quantised weights a block of 32 elements is ACT_WORDS(n, wide) words: word i * n + t has
 * elements 4i .. 4i + 3 of row t as bytes, then come the words of enum act_aux, n of each. For float weights
 * word k * n + t is element k of row t.
 *
 * Two numerics: int8 has a scale a block; int16 ("wide") one a row, in two planes of bytes, the high ones
 * and the low ones: x = 256 high + low, both signed.
 *
 * Invariant: every output is a chain of additions over blocks in ascending order, the same chain in
 * every tile shape. So results do not depend on how many rows a step has.
 */
#ifndef RZ_AVX512_H
#define RZ_AVX512_H

#define GROUP 16 /* rows side by side */
#include "../common/x86.h"

#define LAYOUT_X16 2u
#define LAYOUT_PLANES 16u
#define TILE_ROWS 8
#define QUERIES 96 /* of one job of attention */

/* Words of a block that follow its bytes, [n] each. Sums are over the quantised integers q. */
enum act_aux {
    ACT_C,  /* -128 * sum: what a tile starts from when its weights are stored 128 too large */
    ACT_C0, /* the same of each half */
    ACT_C1,
    ACT_D,  /* float: scale of the block (int8) or of the row (wide)           */
    ACT_S,  /* float: sum of the block, scaled for int8 and not scaled if wide */
    ACT_S0, /* the same of each half */
    ACT_S1,
    ACT_AUX
};
#define ACT_BYTES_WORDS(wide) ((wide) ? 16 : 8)
#define ACT_WORDS(n, wide) ((n) * (ACT_BYTES_WORDS(wide) + ACT_AUX))

/* kernels_act.c. Puts one row into slot t of a tile of n rows. */
void act_put_int8(const float *x, uint64_t cols, int32_t *tile, uint32_t n, uint32_t t);
void act_put_wide(const float *x, uint64_t cols, int32_t *tile, uint32_t n, uint32_t t);
/* The same of rows that fill a tile of eight. */
void act_put_int8_eight(const float *const *rows, uint64_t cols, int32_t *tile);
void act_put_wide_eight(const float *const *rows, uint64_t cols, int32_t *tile);
void act_put_float(const float *x, uint64_t cols, float *tile, uint32_t n, uint32_t t);

/* out[t][r] = product of group row r with activation row t of a tile. */
typedef void tile_fn(const void *group, uint64_t cols, const void *tile, float out[][GROUP]);
/* The same of n groups that follow each other, with a tile of one row. */
typedef void strip_fn(const void *groups, uint64_t n, uint64_t cols, const void *tile, float out[][GROUP]);
/* [wide][rows]: rows 0..3 are tiles of 1, 2, 4 and 8. strip: NULL where a lone row waits for memory. */
struct tiles {
    tile_fn *fn[2][4];
    strip_fn *strip;
};
/* The tiles of a type. kernels_plain.c, kernels_k.c, kernels_float.c: those of their forms. */
const struct tiles *tiles_of(int32_t type);
extern const struct tiles tiles_q4_0, tiles_q4_1, tiles_q5_0, tiles_q5_1, tiles_q8_0, tiles_iq4_nl,
    tiles_mxfp4;
extern const struct tiles tiles_q2_k, tiles_q3_k, tiles_q4_k, tiles_q5_k, tiles_q6_k, tiles_iq4_xs, tiles_i8;
extern const struct tiles tiles_f32, tiles_f16, tiles_bf16;

/* kernels_attention.c: can the node's KV lie in pairs of bfloat16 (RZ_KV_LAYOUT_PAIRS)? */
int32_t pairs_accept(const struct rz_kernel_node *n);

#endif

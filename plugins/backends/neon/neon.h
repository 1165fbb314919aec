/* neon.h - what the files of the neon kernel table share: its weight layout, the shape of its tiles, and the
 * levels of the instruction set.
 *
 * Layout X8 (id 1): eight rows of a weight side by side, in the forms of interleave.h; a register holds four
 * elements of each of four rows, which is what the dot product instructions take.
 *
 * Invariant: the products of a block are summed exactly, in integers, and every output is a chain of
 * floating-point additions over blocks in ascending order. So results depend neither on how many rows a step
 * has nor on the level.
 */
#ifndef RZ_NEON_H
#define RZ_NEON_H

#define GROUP 8     /* rows side by side            */
#define TILE_ROWS 8 /* activation rows of one tile */
#include "../common/blocks.h"

#define LAYOUT_X8 1u

/* What the CPU has beside the NEON that every aarch64 has. */
enum level {
    LEVEL_BASE,
    LEVEL_DOT, /* FEAT_DotProd: sdot                 */
    LEVEL_MM   /* and FEAT_I8MM: smmla, 2 x 2 of them */
};

/* As tile_run. Each level has its own for quantised types (kernels_base.c, kernels_dot.c, kernels_mm.c);
 * float types have one for all (kernels_float.c). */
typedef void tile_fn(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
                     float (*out)[GROUP]);
tile_fn tile_base, tile_dot, tile_mm, tile_float;

#endif

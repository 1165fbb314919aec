/* avx2.h - what the files of the avx2 kernel table share: its weight layout and the shape of its tiles.
 *
 * Layout X8 (id 1): eight rows of a weight side by side, in the forms of interleave.h.
 *
 * Invariant: every output is a chain of additions over blocks in ascending order, the same chain in
 * every tile shape. So results do not depend on how many rows a step has.
 */
#ifndef RZ_AVX2_H
#define RZ_AVX2_H

#define GROUP 8      /* rows side by side                                 */
#define TILE_ROWS 64 /* activation rows that unpacked weights are shared by */
#include "../common/blocks.h"

#define LAYOUT_X8 1u
#define LAYOUT_PLANES 17u

#endif

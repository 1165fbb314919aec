/* types_x8.h - the X8 blobs of weights: which type has which form. One .c file of a plugin includes this,
 * after it has defined GROUP. No ISA here.
 */
#ifndef RZ_BACKENDS_TYPES_X8_H
#define RZ_BACKENDS_TYPES_X8_H

#include "interleave_i8.h"
#include "interleave_pack.h"

/* clang-format off */
static const struct x_type types[] = {
    ROWS_PLAIN,
    ROWS_SMALL,
    ROW_I8(Q3_K, q3_k, 256),
    ROW_I8(IQ4_NL, iq4_nl, 32),
    ROW_I8(IQ4_XS, iq4_xs, 256),
    ROW_I8(MXFP4, mxfp4, 32),
};
/* clang-format on */

const struct x_type *x_type(int32_t type)
{
    static const struct x_type none = {0};
    return type < 0 || (size_t)type >= sizeof(types) / sizeof(types[0]) ? &none : &types[type];
}

#endif

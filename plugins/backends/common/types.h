/* types.h - which type has which form of interleaved blob. One .c file of a plugin includes this, after it
 * has defined GROUP. No ISA here.
 */
#ifndef RZ_BACKENDS_TYPES_H
#define RZ_BACKENDS_TYPES_H

#include "interleave_i8.h"

const struct x_type *x_type(int32_t type)
{
    static const struct x_type types[] = {ROWS_PLAIN, ROWS_FEW, ROWS_I8}, none = {0};
    return type < 0 || (size_t)type >= sizeof(types) / sizeof(types[0]) ? &none : &types[type];
}

#endif

/* table_experts.h - the rows of products by choice and of the choice itself, for tables that have
 * experts.h. Included like table.h. No ISA here.
 */
#ifndef RZ_BACKENDS_TABLE_EXPERTS_H
#define RZ_BACKENDS_TABLE_EXPERTS_H

#include "route.h"
#include "table.h"

#define RUNS_EXPERTS(numerics, how) \
    RUN(experts_product, numerics, how) \
    RUN(experts_glu, numerics, how)

/* clang-format off */
#define ROWS_EXPERTS(numerics, label) \
    RZ_KERNEL_ROW(.op = RZ_OP_GLU_ID, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "glu_id " LAYOUT_NAME label, \
                  .attrs = RZ_ATTRS_ACT | RZ_ATTR(RZ_A_SWIGLU) | RZ_ATTR_BIAS, .accept = accept_weights, \
                  .layout = layout, .scratch = experts_scratch, .run = experts_glu_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL_ID, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "matmul_id " LAYOUT_NAME label, \
                  .attrs = RZ_ATTR_BIAS, .accept = accept_weights, .layout = layout, \
                  .scratch = experts_scratch, .run = experts_product_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_MATMUL_HEADS, .flags = TEAM, .weight = RZ_TYPE_ANY, \
                  .name = "matmul_heads " LAYOUT_NAME label, \
                  .attrs = RZ_ATTR(RZ_A_PARTS), .accept = accept_weights, .layout = layout, \
                  .scratch = experts_scratch, .run = experts_product_##numerics), \
    RZ_KERNEL_ROW(.op = RZ_OP_ROUTE, .flags = TILED, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTRS_ROUTE, \
                  .accept = route_accept, .tiles = tiles_by_row, .run = route)
/* clang-format on */

#endif

/* table_all.h - the rows beside those of table.h, for a table that has one for every op: experts, latent KV,
 * recurrent state. Included like table.h. No ISA here.
 */
#ifndef RZ_BACKENDS_TABLE_ALL_H
#define RZ_BACKENDS_TABLE_ALL_H

#include "blocks.h"
#include "table_experts.h"

#define LATENT .kv_types = KV_TYPES, .kv_layout = RZ_KV_LAYOUT_ROWS

/* The regions and experts on one level of the instruction set. */
#define RUNS_ALL(name, level) \
    RUNS(name, level, 0) \
    RUNS_EXPERTS(name, level)

/* clang-format off */
#define ROWS_ALL(numerics, label) \
    ROWS(numerics, label), \
    ROWS_EXPERTS(numerics, label), \
    RZ_KERNEL_ROW(.op = RZ_OP_KV_STORE, .flags = TILED, .weight = RZ_TYPE_NONE, LATENT, \
                  .attrs = RZ_ATTRS_KV | RZ_ATTR(RZ_A_LATENT), .accept = latent_accept, \
                  .tiles = tiles_by_row, .run = latent_store), \
    RZ_KERNEL_ROW(.op = RZ_OP_ATTENTION, .flags = TILED, .weight = RZ_TYPE_NONE, LATENT, \
                  .name = "attention latent", .attrs = RZ_ATTRS_ATTENTION | RZ_ATTR(RZ_A_LATENT), \
                  .accept = latent_accept, .tiles = latent_tiles, .run = latent_attention), \
    RZ_KERNEL_ROW(.op = RZ_OP_CONV, .flags = TILED, .weight = RZ_TYPE_ANY, \
                  .attrs = RZ_ATTR(RZ_A_STATE) | RZ_ATTR_SILU | RZ_ATTR_BIAS, .accept = recurrent_accept, \
                  .tiles = conv_tiles, .run = conv_run), \
    RZ_KERNEL_ROW(.op = RZ_OP_SCAN, .flags = TILED, .weight = RZ_TYPE_ANY, .attrs = RZ_ATTRS_SCAN, \
                  .accept = recurrent_accept, .tiles = scan_tiles, .run = scan_run), \
    RZ_KERNEL_ROW(.op = RZ_OP_DELTA, .flags = TILED, .weight = RZ_TYPE_ANY, \
                  .attrs = RZ_ATTRS_SCAN | RZ_ATTR_EPS | RZ_ATTR(RZ_A_STRIPED), .accept = recurrent_accept, \
                  .tiles = delta_tiles, .run = delta_run)
/* clang-format on */

#endif

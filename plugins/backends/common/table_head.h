/* table_head.h - the row of the LM head over planes, and the layout that it reads. Included like table.h and
 * in front of it, by tables that have an id for planes and PLANES_LAYOUT among their layouts. No ISA here.
 */
#ifndef RZ_BACKENDS_TABLE_HEAD_H
#define RZ_BACKENDS_TABLE_HEAD_H

#include "planes_pack.h"

/* clang-format off */
#define PLANES_LAYOUT \
    {.size = sizeof(struct rz_layout), .id = LAYOUT_PLANES, .type = RZ_TYPE_Q8_0, .row_group = GROUP, \
     .name = "planes", .bytes = planes_bytes, .prep = planes_prep},
/* clang-format on */

#include "table.h"

/* Weights norm, w, bias: rows of Q8_0, which screening was made for. */
static int32_t accept_head(const struct rz_kernel_node *n)
{
    return n->weights[0].type == RZ_TYPE_F32 && n->weights[1].type == RZ_TYPE_Q8_0 &&
           n->weights[2].type == RZ_TYPE_NONE && n->weights[1].cols / RZ_QK <= SCREEN_BLOCKS_MAX;
}

static uint32_t head_layout(const struct rz_kernel_node *n, uint32_t w)
{
    (void)n;
    return w == 1 ? LAYOUT_PLANES : 0;
}

/* clang-format off */
#define HEAD_ROW(numerics, label) \
    RZ_KERNEL_ROW(.op = RZ_OP_HEAD, .flags = TEAM, .weight = RZ_TYPE_ANY, .name = "head planes" label, \
                  .attrs = RZ_ATTR_EPS, .accept = accept_head, .layout = head_layout, \
                  .scratch = head_scratch, .run = head_##numerics)
/* clang-format on */

#endif

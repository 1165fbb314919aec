/* planes.h - the layout PLANES of a Q8_0 matrix (see screen.h), GROUP rows side by side as in interleave.h:
 * first plane A of all groups, then plane B of all. Each table has an id of its own for it, LAYOUT_PLANES.
 * No ISA here.
 */
#ifndef RZ_PLANES_H
#define RZ_PLANES_H

#include "interleave.h"

/* Of u = w + 128: bits 3..6 in the nibbles, bit 7 in qh, as in x_q5_0; norm: see SCREEN_NORM_STEPS. */
struct x_plane_a {
    uint16_t d[GROUP];
    uint8_t norm[GROUP];
    uint8_t qh[GROUP][4];
    uint8_t qs[4][GROUP][4];
};
/* Bits 1 and 2: bits 2(q % 4) of two[q / 4][r][j] are those of element 4q + j. Bit 0: bit q of one[r][j]. */
struct x_plane_b {
    uint8_t two[2][GROUP][4];
    uint8_t one[GROUP][4];
};
_Static_assert(sizeof(struct x_plane_a) == GROUP * 23 && sizeof(struct x_plane_b) == GROUP * 12, "padding");

/* Where a group lies in both. */
struct x_planes {
    const struct x_plane_a *a;
    const struct x_plane_b *b;
};

static inline uint64_t planes_groups(const struct rz_weight_view *w)
{
    return (w->rows + GROUP - 1) / GROUP;
}

static inline struct x_planes planes_at(const struct rz_weight_view *w, uint64_t group)
{
    uint64_t blocks = w->cols / RZ_QK;
    const struct x_plane_a *a = w->data;
    const void *b = a + planes_groups(w) * blocks;
    return (struct x_planes){a + group * blocks, (const struct x_plane_b *)b + group * blocks};
}

uint64_t planes_bytes(const struct rz_weight_view *file);
void planes_prep(const struct rz_weight_view *file, void *dst, uint64_t first, uint64_t n);

#endif

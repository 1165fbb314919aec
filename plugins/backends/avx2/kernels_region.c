/* kernels_region.c - the regions over this table's tiles. */
#include "head.h"

#include "../common/region_rows.h"

/* --- head --- */

static void screen_rows(const struct acts *a, uint32_t row, uint32_t n, struct screen_x *out)
{
    union tile_x x[SCREEN_ROWS_MAX] = {{0}};
    tile_inputs(a, true, row, n, x);
    for (uint32_t t = 0; t < n; t++)
        screen_prepare(x[t].q, a->cols, out + t * (a->cols / 32));
}

static void screen_lanes(const struct x_plane_a *at, const struct acts *a, uint32_t row, uint32_t n,
                         const struct screen_x *s, const float *least, uint32_t *lanes)
{
    union tile_x x[SCREEN_ROWS_MAX] = {{0}};
    tile_inputs(a, true, row, n, x);
    screen_group(at, a->cols, x, s, n, least, lanes);
}

#include "../common/head_region.h"

/* grids.c - the tables of grids.h: constants only. */
#include "grids.h"

#include "grids.inc"

#define GRID(NAME, DIMS, BITS, ...) \
    const struct rz_grid rz_grid_##NAME = {NAME##_points, sizeof(NAME##_points) / sizeof(NAME##_points[0]), \
                                           DIMS, BITS, __VA_ARGS__}

GRID(iq2_xxs, 8, 2, {8, 25, 43});
GRID(iq2_xs, 8, 2, {8, 25, 43});
GRID(iq2_s, 8, 2, {8, 25, 43});
GRID(iq1, 8, 2, {-1, 0, 1});
GRID(iq3_xxs, 4, 3, {4, 12, 20, 28, 36, 44, 52, 62});
GRID(iq3_s, 4, 3, {1, 3, 5, 7, 9, 11, 13, 15});

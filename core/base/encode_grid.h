/* encode_grid.h - the search for types whose elements are points of a grid. Nothing here knows a layout. */
#ifndef RZ_BASE_ENCODE_GRID_H
#define RZ_BASE_ENCODE_GRID_H

#include "grids.h"

enum rz_grid_signs {
    RZ_SIGNS_NONE,  /* the points are signed themselves           */
    RZ_SIGNS_FREE,  /* points are sizes, any signs                */
    RZ_SIGNS_PARITY /* an even number of minus signs in each eight */
};
enum rz_grid_shift {
    RZ_SHIFT_NONE,
    RZ_SHIFT_GROUP, /* each group adds 1/8 to its points, or takes 1/8 off */
    RZ_SHIFT_POINT  /* each point does                                     */
};

/* x = d * (2 scale + 1) * unit * (point + shift) * signs */
struct rz_grid_kind {
    const struct rz_grid *grid;
    int group; /* elements with a common scale: 16 or 32 */
    int top;   /* largest scale                          */
    float unit;
    enum rz_grid_signs signs;
    enum rz_grid_shift shift;
};

/* One block of 256. point: RZ_GRID_SHIFTED is set in those whose shift is negative. */
#define RZ_GRID_SHIFTED 0x8000u
struct rz_grid_block {
    uint16_t d;
    uint16_t points[64];
    uint8_t scales[16];
    uint8_t signs[32]; /* bit j of signs[i] is the sign of element 8 i + j */
};

void rz_grid_fit(const struct rz_grid_kind *kind, const float *x, const float *imatrix,
                 struct rz_grid_block *out);

#endif

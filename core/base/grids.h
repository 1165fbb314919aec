/* grids.h - the fixed points of the IQ types, and what their bits stand for.
 *
 * A point of 8 elements has a digit of 2 bits an element, a point of 4 a digit of 3 bits, element 0 in the
 * lowest bits. Nothing here changes: tables of constants.
 */
#ifndef RZ_BASE_GRIDS_H
#define RZ_BASE_GRIDS_H

#include <stdint.h>

struct rz_grid {
    const uint16_t *points;
    uint16_t n;      /* points                    */
    uint8_t dims;    /* elements of a point       */
    uint8_t bits;    /* of a digit                */
    float levels[8]; /* what each digit stands for */
};

extern const struct rz_grid rz_grid_iq2_xxs, rz_grid_iq2_xs, rz_grid_iq2_s, rz_grid_iq1, rz_grid_iq3_xxs,
    rz_grid_iq3_s;

/* All 8 signs from 7: the last one makes the number of minus signs even. */
static inline uint8_t rz_signs_of(uint32_t seven)
{
    return (uint8_t)(seven | (uint32_t)__builtin_parity(seven) << 7);
}

#endif

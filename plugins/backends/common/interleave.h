/* interleave.h - weights with GROUP rows side by side, for kernels whose lanes are rows. The file that
 * includes this defines GROUP: 8 for 256-bit vectors, 16 for 512-bit ones.
 *
 * A group of rows is a run of blocks along k; in each block, byte [r][j] of a vector belongs to row r, so
 * that the lanes of an accumulator are rows and no horizontal sum is ever needed. One broadcast of four
 * activation bytes meets all rows of the group. Rows past the last are zero blocks.
 */
#ifndef RZ_INTERLEAVE_H
#define RZ_INTERLEAVE_H

#include <rz/kernels.h>
#include <rz/quant.h>
#include <stdbool.h>

/* Vector q of a block holds elements 4q .. 4q + 3 of each row: byte [r][j] is element 4q + j of row r.
 * Nibbles: the low ones are vector q, the high ones vector q + 4. */
struct x_q4_0 {
    uint16_t d[GROUP];
    uint8_t qs[4][GROUP][4];
};
struct x_q4_1 {
    uint16_t d[GROUP], m[GROUP];
    uint8_t qs[4][GROUP][4];
};
/* Bit q of qh[r][j] is the fifth bit of element 4q + j. */
struct x_q5_0 {
    uint16_t d[GROUP];
    uint8_t qh[GROUP][4];
    uint8_t qs[4][GROUP][4];
};
struct x_q5_1 {
    uint16_t d[GROUP], m[GROUP];
    uint8_t qh[GROUP][4];
    uint8_t qs[4][GROUP][4];
};
struct x_q8_0 {
    uint16_t d[GROUP];
    int8_t qs[8][GROUP][4];
};
/* The bits of a 32-group lie in one piece: a CPU fetches ahead of a single run of addresses, not of several
 * in the same page. sc[g], mn[g]: 6-bit scale and minimum of 32-group g */
struct x_q4_k {
    uint16_t d[GROUP], dmin[GROUP];
    uint8_t sc[8][GROUP], mn[8][GROUP];
    uint8_t qs[8][4][GROUP][4];
};
struct x_q5_k {
    uint16_t d[GROUP], dmin[GROUP];
    uint8_t sc[8][GROUP], mn[8][GROUP];
    struct {
        uint8_t qh[GROUP][4];
        uint8_t qs[4][GROUP][4];
    } b[8];
};
/* sc[g][r]: scales of the two 16-groups of 32-group g. Bits 2(q % 4) of b[g].qh[q / 4][r][j] are the upper
 * two bits of element 4q + j. */
struct x_q6_k {
    uint16_t d[GROUP];
    int8_t sc[8][GROUP][2];
    struct {
        uint8_t qh[2][GROUP][4];
        uint8_t qs[4][GROUP][4];
    } b[8];
};
/* sc[g][r]: scale (low nibble) and minimum of the two 16-groups of 32-group g. Bits 2(q % 4) of
 * qs[g][q / 4][r][j] are element 4q + j. */
struct x_q2_k {
    uint16_t d[GROUP], dmin[GROUP];
    uint8_t sc[8][GROUP][2];
    uint8_t qs[8][2][GROUP][4];
};
/* Codes as in x_q2_k; bit q of qh[r][j] is the third bit of element 4q + j. */
struct x_q3_k {
    uint16_t d[GROUP];
    int8_t sc[8][GROUP][2];
    struct {
        uint8_t qh[GROUP][4];
        uint8_t qs[2][GROUP][4];
    } b[8];
};
/* Nibbles that are places in a table; iq4_nl has the form of q4_0. */
struct x_iq4_xs {
    uint16_t d[GROUP];
    int8_t sc[8][GROUP];
    uint8_t qs[8][4][GROUP][4];
};
struct x_mxfp4 {
    uint16_t d[GROUP]; /* bfloat16: exact, as it is a power of two */
    uint8_t qs[4][GROUP][4];
};
/* 32 elements of any type whose 16-groups are integers of -127..127 times a scale: exact. d: by 16-group. */
struct x_i8 {
    float d[2][GROUP];
    int8_t qs[8][GROUP][4];
};
_Static_assert(sizeof(struct x_q4_0) == GROUP * sizeof(struct rz_block_q4_0), "padding");
_Static_assert(sizeof(struct x_q4_1) == GROUP * sizeof(struct rz_block_q4_1), "padding");
_Static_assert(sizeof(struct x_q5_0) == GROUP * sizeof(struct rz_block_q5_0), "padding");
_Static_assert(sizeof(struct x_q5_1) == GROUP * sizeof(struct rz_block_q5_1), "padding");
_Static_assert(sizeof(struct x_q8_0) == GROUP * sizeof(struct rz_block_q8_0), "padding");
_Static_assert(sizeof(struct x_q2_k) == GROUP * sizeof(struct rz_block_q2_k), "padding");
_Static_assert(sizeof(struct x_q6_k) == GROUP * sizeof(struct rz_block_q6_k), "padding");
_Static_assert(sizeof(struct x_q4_k) == GROUP * 148 && sizeof(struct x_q5_k) == GROUP * 180, "padding");
_Static_assert(sizeof(struct x_q3_k) == GROUP * 114 && sizeof(struct x_iq4_xs) == GROUP * 138, "padding");
_Static_assert(sizeof(struct x_mxfp4) == GROUP * 18, "padding");
_Static_assert(sizeof(struct x_i8) == GROUP * 40, "padding");

/* What a type's layout looks like; block = 0: the table does not have the type. */
struct x_type {
    uint32_t block, bytes; /* elements of one row, and bytes of all rows, in one block */
    bool quantised;        /* multiplied with quantised activations                    */
    /* Moves one block of one row into lane r of a group's block. */
    void (*pack)(void *group, int r, const void *block);
};
/* types.h */
const struct x_type *x_type(int32_t type);
/* Bytes of a group of that many columns. */
static inline uint64_t x_group_bytes(const struct x_type *t, uint64_t cols)
{
    return cols / t->block * t->bytes;
}
uint64_t x_bytes(const struct rz_weight_view *file);
void x_prep(const struct rz_weight_view *file, void *dst, uint64_t first, uint64_t n);

#endif

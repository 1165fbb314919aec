/* interleave_pack.h - makes blobs of interleaved weights. One .c file of a plugin includes this, after it has
 * defined GROUP, and has the table of types. No ISA here.
 */
#ifndef RZ_INTERLEAVE_PACK_H
#define RZ_INTERLEAVE_PACK_H

#include "interleave.h"
#include "numeric.h"

#include <string.h>

/* --- plain types: [k][8] --- */

static inline void pack_4(void *group, int r, const void *block)
{
    memcpy((uint8_t *)group + 4 * r, block, 4);
}

static inline void pack_2(void *group, int r, const void *block)
{
    memcpy((uint8_t *)group + 2 * r, block, 2);
}

/* --- nibbles and fifth bits, the same in all 4- and 5-bit types --- */

static inline void put_nibbles(uint8_t qs[4][GROUP][4], int r, const uint8_t *bytes)
{
    for (int q = 0; q < 4; q++)
        memcpy(qs[q][r], bytes + 4 * q, 4);
}

/* bits: one a element, element i in bit i */
static inline void put_fifth(uint8_t qh[GROUP][4], int r, uint32_t bits)
{
    for (int j = 0; j < 4; j++) {
        qh[r][j] = 0;
        for (int q = 0; q < 8; q++)
            qh[r][j] |= (uint8_t)((bits >> (4 * q + j) & 1) << q);
    }
}

static inline void pack_q4_0(void *group, int r, const void *block)
{
    struct x_q4_0 *g = group;
    const struct rz_block_q4_0 *b = block;
    g->d[r] = b->d;
    put_nibbles(g->qs, r, b->qs);
}

static inline void pack_q4_1(void *group, int r, const void *block)
{
    struct x_q4_1 *g = group;
    const struct rz_block_q4_1 *b = block;
    g->d[r] = b->d;
    g->m[r] = b->m;
    put_nibbles(g->qs, r, b->qs);
}

static inline void pack_q5_0(void *group, int r, const void *block)
{
    struct x_q5_0 *g = group;
    const struct rz_block_q5_0 *b = block;
    uint32_t bits;
    memcpy(&bits, b->qh, 4);
    g->d[r] = b->d;
    put_fifth(g->qh, r, bits);
    put_nibbles(g->qs, r, b->qs);
}

static inline void pack_q5_1(void *group, int r, const void *block)
{
    struct x_q5_1 *g = group;
    const struct rz_block_q5_1 *b = block;
    uint32_t bits;
    memcpy(&bits, b->qh, 4);
    g->d[r] = b->d;
    g->m[r] = b->m;
    put_fifth(g->qh, r, bits);
    put_nibbles(g->qs, r, b->qs);
}

static inline void pack_q8_0(void *group, int r, const void *block)
{
    struct x_q8_0 *g = group;
    const struct rz_block_q8_0 *b = block;
    g->d[r] = b->d;
    for (int q = 0; q < 8; q++)
        memcpy(g->qs[q][r], b->qs + 4 * q, 4);
}

/* --- K types. A 64-group keeps its halves in the low and high nibbles of the same 32 bytes; X8 has
 * each 32-group by itself. --- */

static inline void split_nibbles(const uint8_t *qs, int g, uint8_t *bytes)
{
    const uint8_t *q = qs + (g / 2) * 32;
    for (int i = 0; i < 16; i++) {
        uint8_t lo = g & 1 ? q[i] >> 4 : q[i] & 15, hi = g & 1 ? q[i + 16] >> 4 : q[i + 16] & 15;
        bytes[i] = (uint8_t)(lo | hi << 4);
    }
}

static inline void pack_q4_k(void *group, int r, const void *block)
{
    struct x_q4_k *x = group;
    const struct rz_block_q4_k *b = block;
    x->d[r] = b->d;
    x->dmin[r] = b->dmin;
    for (int g = 0; g < 8; g++) {
        uint8_t bytes[16];
        rz_k4_scale_min(b->scales, g, &x->sc[g][r], &x->mn[g][r]);
        split_nibbles(b->qs, g, bytes);
        put_nibbles(x->qs[g], r, bytes);
    }
}

static inline void pack_q5_k(void *group, int r, const void *block)
{
    struct x_q5_k *x = group;
    const struct rz_block_q5_k *b = block;
    x->d[r] = b->d;
    x->dmin[r] = b->dmin;
    for (int g = 0; g < 8; g++) {
        uint8_t bytes[16];
        uint32_t bits = 0;
        rz_k4_scale_min(b->scales, g, &x->sc[g][r], &x->mn[g][r]);
        for (int i = 0; i < 32; i++)
            bits |= (uint32_t)(b->qh[i] >> g & 1) << i;
        put_fifth(x->b[g].qh, r, bits);
        split_nibbles(b->qs, g, bytes);
        put_nibbles(x->b[g].qs, r, bytes);
    }
}

/* The place of element i (0..255) of a q6_k block: its nibble and its two upper bits. */
static inline void q6_place(int i, int *byte, int *high_nibble, int *top_byte, int *shift)
{
    int half = i / 128, part = i % 128 / 32, l = i % 32;
    *byte = 64 * half + l + 32 * (part & 1);
    *high_nibble = part >= 2;
    *top_byte = 32 * half + l;
    *shift = 2 * part;
}

static inline void pack_q6_k(void *group, int r, const void *block)
{
    struct x_q6_k *x = group;
    const struct rz_block_q6_k *b = block;
    x->d[r] = b->d;
    for (int g = 0; g < 8; g++) {
        memcpy(x->sc[g][r], b->scales + 2 * g, 2);
        for (int q = 0; q < 4; q++)
            memset(x->b[g].qs[q][r], 0, 4);
        memset(x->b[g].qh[0][r], 0, 4);
        memset(x->b[g].qh[1][r], 0, 4);
        for (int i = 0; i < 32; i++) {
            int byte, high, top, shift, q = i / 4, j = i % 4;
            q6_place(32 * g + i, &byte, &high, &top, &shift);
            uint8_t low = high ? b->ql[byte] >> 4 : b->ql[byte] & 15;
            uint8_t up = b->qh[top] >> shift & 3;
            x->b[g].qs[q % 4][r][j] |= (uint8_t)(q < 4 ? low : low << 4);
            x->b[g].qh[q / 4][r][j] |= (uint8_t)(up << 2 * (q % 4));
        }
    }
}

/* Rows of a table of types, for all plugins alike. */
#define ROW(NAME, name, n) [RZ_TYPE_##NAME] = {n, sizeof(struct x_##name), true, pack_##name}
#define ROWS_PLAIN \
    [RZ_TYPE_F32] = {1, 4 * GROUP, false, pack_4}, [RZ_TYPE_F16] = {1, 2 * GROUP, false, pack_2}, \
    [RZ_TYPE_BF16] = {1, 2 * GROUP, false, pack_2}, ROW(Q4_0, q4_0, RZ_QK), ROW(Q4_1, q4_1, RZ_QK), \
    ROW(Q5_0, q5_0, RZ_QK), ROW(Q5_1, q5_1, RZ_QK), ROW(Q8_0, q8_0, RZ_QK), ROW(Q4_K, q4_k, RZ_QKK), \
    ROW(Q5_K, q5_k, RZ_QKK), ROW(Q6_K, q6_k, RZ_QKK)

uint64_t x_bytes(const struct rz_weight_view *file)
{
    return (file->rows + GROUP - 1) / GROUP * x_group_bytes(x_type(file->type), file->cols);
}

void x_prep(const struct rz_weight_view *file, void *dst, uint64_t first, uint64_t n)
{
    const struct x_type *x = x_type(file->type);
    uint64_t row_bytes = file->bytes / file->rows, block_bytes = rz_type_info(file->type)->bytes;
    uint64_t group_bytes = x_group_bytes(x, file->cols);
    for (uint64_t g = first; g < first + n; g++) {
        uint8_t *out = (uint8_t *)dst + g * group_bytes;
        if ((g + 1) * GROUP > file->rows)
            memset(out, 0, group_bytes);
        for (int r = 0; r < GROUP && g * GROUP + (uint64_t)r < file->rows; r++) {
            const uint8_t *in = (const uint8_t *)file->data + (g * GROUP + (uint64_t)r) * row_bytes;
            for (uint64_t b = 0; b < file->cols / x->block; b++)
                x->pack(out + b * x->bytes, r, in + b * block_bytes);
        }
    }
}

#endif

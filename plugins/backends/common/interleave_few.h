/* interleave_few.h - interleaved blobs of the types of two and three bits, and of those whose nibbles are
 * places in a table: permutations of their own bits. Included like interleave_pack.h. No ISA here.
 */
#ifndef RZ_INTERLEAVE_FEW_H
#define RZ_INTERLEAVE_FEW_H

#include "interleave_pack.h"

static inline int nibble(const uint8_t *bytes, int i)
{
    return bytes[i / 2] >> 4 * (i % 2) & 15;
}

/* --- q2_k: a permutation of its own bits --- */

static inline void pack_q2_k(void *group, int r, const void *block)
{
    struct x_q2_k *x = group;
    const struct rz_block_q2_k *b = block;
    x->d[r] = b->d;
    x->dmin[r] = b->dmin;
    for (int g = 0; g < 8; g++) {
        memcpy(x->sc[g][r], b->scales + 2 * g, 2);
        memset(x->qs[g][0][r], 0, 4);
        memset(x->qs[g][1][r], 0, 4);
        for (int i = 0; i < 32; i++) {
            int code = b->qs[g / 4 * 32 + i] >> 2 * (g % 4) & 3, q = i / 4;
            x->qs[g][q / 4][r][i % 4] |= (uint8_t)(code << 2 * (q % 4));
        }
    }
}

/* --- q3_k --- */

static inline int third_bit(const struct rz_block_q3_k *b, int i)
{
    return b->hmask[i % 32] >> i / 32 & 1;
}

static inline void pack_q3_k(void *group, int r, const void *block)
{
    struct x_q3_k *x = group;
    const struct rz_block_q3_k *b = block;
    x->d[r] = b->d;
    for (int g = 0; g < 8; g++) {
        uint32_t bits = 0;
        x->sc[g][r][0] = (int8_t)rz_q3_scale(b->scales, 2 * g);
        x->sc[g][r][1] = (int8_t)rz_q3_scale(b->scales, 2 * g + 1);
        memset(x->b[g].qs[0][r], 0, 4);
        memset(x->b[g].qs[1][r], 0, 4);
        for (int i = 0; i < 32; i++) {
            int code = b->qs[g / 4 * 32 + i] >> 2 * (g % 4) & 3, q = i / 4;
            x->b[g].qs[q / 4][r][i % 4] |= (uint8_t)(code << 2 * (q % 4));
            bits |= (uint32_t)third_bit(b, 32 * g + i) << i;
        }
        put_fifth(x->b[g].qh, r, bits);
    }
}

/* --- iq4_nl: the form of q4_0 with another meaning --- */

static inline void pack_iq4_nl(void *group, int r, const void *block)
{
    struct x_q4_0 *x = group;
    const struct rz_block_iq4_nl *b = block;
    x->d[r] = b->d;
    put_nibbles(x->qs, r, b->qs);
}

static inline void pack_iq4_xs(void *group, int r, const void *block)
{
    struct x_iq4_xs *x = group;
    const struct rz_block_iq4_xs *b = block;
    x->d[r] = b->d;
    for (int g = 0; g < 8; g++) {
        x->sc[g][r] = (int8_t)((nibble(b->scales_l, g) | (b->scales_h >> 2 * g & 3) << 4) - 32);
        put_nibbles(x->qs[g], r, b->qs + 16 * g);
    }
}

/* --- mxfp4: its scale, a power of two, as bfloat16 --- */

static inline void pack_mxfp4(void *group, int r, const void *block)
{
    struct x_mxfp4 *x = group;
    const struct rz_block_mxfp4 *b = block;
    float d = rz_e8m0_half(b->e);
    uint32_t bits;
    memcpy(&bits, &d, 4);
    x->d[r] = (uint16_t)(bits >> 16);
    put_nibbles(x->qs, r, b->qs);
}

/* Rows of a table of types. */
#define ROWS_FEW \
    [RZ_TYPE_Q2_K] = {RZ_QKK, sizeof(struct x_q2_k), true, pack_q2_k}, \
    [RZ_TYPE_Q3_K] = {RZ_QKK, sizeof(struct x_q3_k), true, pack_q3_k}, \
    [RZ_TYPE_IQ4_NL] = {RZ_QK, sizeof(struct x_q4_0), true, pack_iq4_nl}, \
    [RZ_TYPE_IQ4_XS] = {RZ_QKK, sizeof(struct x_iq4_xs), true, pack_iq4_xs}, \
    [RZ_TYPE_MXFP4] = {RZ_QK, sizeof(struct x_mxfp4), true, pack_mxfp4}

#endif

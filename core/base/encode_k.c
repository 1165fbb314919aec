/* encode_k.c - encoders of the K types and of the types with a table of 16 values: the searches of
 * encode_fit.h, packed. */
#include "encode_types.h"

#include "encode_fit.h"
#include "numeric.h"

/* Bits 2 of each code, as all K types with 2-bit codes keep them. */
static void put_two_bits(uint8_t *qs, const uint8_t *codes)
{
    memset(qs, 0, 64);
    for (int i = 0; i < RZ_QKK; i++)
        qs[i / 128 * 32 + i % 32] |= (uint8_t)((codes[i] & 3) << (2 * (i % 128 / 32)));
}

RZ_ENCODER(q2_k)
{
    struct rz_block_q2_k *b = block;
    struct rz_fit_line_block fit;
    float w[RZ_QKK];
    rz_fit_weights(x, imatrix, RZ_QKK, w);
    rz_fit_line_block(x, w, 16, 3, 15, &fit);
    b->d = fit.d;
    b->dmin = fit.dmin;
    for (int g = 0; g < 16; g++)
        b->scales[g] = (uint8_t)(fit.scales[g] | fit.mins[g] << 4);
    put_two_bits(b->qs, fit.codes);
}

RZ_ENCODER(q3_k)
{
    static const struct rz_levels levels = {-4, 3, NULL};
    struct rz_block_q3_k *b = block;
    struct rz_fit_block fit;
    float w[RZ_QKK];
    rz_fit_weights(x, imatrix, RZ_QKK, w);
    rz_fit_block(&levels, x, w, 16, -32, 31, &fit);
    memset(b, 0, sizeof(*b));
    b->d = fit.d;
    put_two_bits(b->qs, fit.codes);
    for (int i = 0; i < RZ_QKK; i++)
        b->hmask[i % 32] |= (uint8_t)((fit.codes[i] >> 2 & 1) << (i / 32));
    for (int g = 0; g < 16; g++) {
        int scale = fit.scales[g] + 32;
        b->scales[g % 8] |= (uint8_t)((scale & 15) << 4 * (g / 8));
        b->scales[8 + g % 4] |= (uint8_t)(scale >> 4 << 2 * (g / 4));
    }
}

/* The inverse of rz_k4_scale_min for all groups. */
static void put_scales(uint8_t *s, const struct rz_fit_line_block *fit)
{
    for (int g = 0; g < 4; g++) {
        s[g] = (uint8_t)(fit->scales[g] | (fit->scales[g + 4] >> 4) << 6);
        s[g + 4] = (uint8_t)(fit->mins[g] | (fit->mins[g + 4] >> 4) << 6);
        s[g + 8] = (uint8_t)((fit->scales[g + 4] & 15) | (fit->mins[g + 4] & 15) << 4);
    }
}

/* Nibbles: the halves of a 64-group in the low and high ones of 32 bytes. */
static void put_halves(uint8_t *qs, const uint8_t *codes)
{
    for (int i = 0; i < 128; i++) {
        const uint8_t *c = codes + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((c[0] & 15) | (c[32] & 15) << 4);
    }
}

RZ_ENCODER(q4_k)
{
    struct rz_block_q4_k *b = block;
    struct rz_fit_line_block fit;
    float w[RZ_QKK];
    rz_fit_weights(x, imatrix, RZ_QKK, w);
    rz_fit_line_block(x, w, 32, 15, 63, &fit);
    b->d = fit.d;
    b->dmin = fit.dmin;
    put_scales(b->scales, &fit);
    put_halves(b->qs, fit.codes);
}

RZ_ENCODER(q5_k)
{
    struct rz_block_q5_k *b = block;
    struct rz_fit_line_block fit;
    float w[RZ_QKK];
    rz_fit_weights(x, imatrix, RZ_QKK, w);
    rz_fit_line_block(x, w, 32, 31, 63, &fit);
    b->d = fit.d;
    b->dmin = fit.dmin;
    put_scales(b->scales, &fit);
    put_halves(b->qs, fit.codes);
    memset(b->qh, 0, sizeof(b->qh));
    for (int i = 0; i < RZ_QKK; i++)
        b->qh[i % 32] |= (uint8_t)(fit.codes[i] >> 4 << (i / 32));
}

RZ_ENCODER(q6_k)
{
    static const struct rz_levels levels = {-32, 31, NULL};
    struct rz_block_q6_k *b = block;
    struct rz_fit_block fit;
    float w[RZ_QKK];
    rz_fit_weights(x, imatrix, RZ_QKK, w);
    rz_fit_block(&levels, x, w, 16, -128, 127, &fit);
    memset(b, 0, sizeof(*b));
    b->d = fit.d;
    memcpy(b->scales, fit.scales, 16);
    for (int i = 0; i < RZ_QKK; i++) {
        int half = i / 128, part = i % 128 / 32, l = i % 32, code = fit.codes[i];
        b->ql[64 * half + l + 32 * (part & 1)] |= (uint8_t)((code & 15) << 4 * (part / 2));
        b->qh[32 * half + l] |= (uint8_t)(code >> 4 << 2 * part);
    }
}

static const struct rz_levels iq4 = {-127, 113, rz_values_iq4};

static void put_nibbles(uint8_t *qs, const uint8_t *codes)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
}

RZ_ENCODER(iq4_nl)
{
    struct rz_block_iq4_nl *b = block;
    float w[RZ_QK];
    uint8_t codes[RZ_QK];
    rz_fit_weights(x, imatrix, RZ_QK, w);
    b->d = rz_f32_to_f16(rz_fit_scale(&iq4, x, w, RZ_QK));
    rz_fit_codes(&iq4, x, w, RZ_QK, rz_f16_to_f32(b->d), codes, NULL);
    put_nibbles(b->qs, codes);
}

RZ_ENCODER(iq4_xs)
{
    struct rz_block_iq4_xs *b = block;
    struct rz_fit_block fit;
    float w[RZ_QKK];
    rz_fit_weights(x, imatrix, RZ_QKK, w);
    rz_fit_block(&iq4, x, w, 32, -32, 31, &fit);
    memset(b, 0, sizeof(*b));
    b->d = fit.d;
    for (int g = 0; g < 8; g++) {
        int scale = fit.scales[g] + 32;
        b->scales_l[g / 2] |= (uint8_t)((scale & 15) << 4 * (g % 2));
        b->scales_h |= (uint16_t)(scale >> 4 << 2 * g);
        put_nibbles(b->qs + 16 * g, fit.codes + 32 * g);
    }
}

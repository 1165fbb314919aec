/* encode_iq.c - encoders of the types whose elements are points of a grid: the search of encode_grid.h,
 * packed. */
#include "encode_types.h"

#include "encode_grid.h"
#include "numeric.h"

RZ_ENCODER(iq2_xxs)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq2_xxs, 32,           15, 1.0f / 8,
                                             RZ_SIGNS_PARITY,  RZ_SHIFT_NONE};
    struct rz_block_iq2_xxs *b = block;
    struct rz_grid_block fit;
    rz_grid_fit(&kind, x, imatrix, &fit);
    b->d = fit.d;
    for (int g = 0; g < 8; g++) {
        uint8_t points[4];
        uint32_t word = (uint32_t)fit.scales[g] << 28;
        for (int p = 0; p < 4; p++) {
            points[p] = (uint8_t)fit.points[4 * g + p];
            word |= (uint32_t)(fit.signs[4 * g + p] & 127) << 7 * p;
        }
        memcpy(b->qs + 4 * g, points, 4);
        memcpy(b->qs + 4 * g + 2, &word, 4);
    }
}

static void put_scales(uint8_t *out, const uint8_t *scales, int n)
{
    for (int i = 0; i < n; i += 2)
        out[i / 2] = (uint8_t)(scales[i] | scales[i + 1] << 4);
}

RZ_ENCODER(iq2_xs)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq2_xs, 16,           15, 1.0f / 8,
                                             RZ_SIGNS_PARITY, RZ_SHIFT_NONE};
    struct rz_block_iq2_xs *b = block;
    struct rz_grid_block fit;
    rz_grid_fit(&kind, x, imatrix, &fit);
    b->d = fit.d;
    for (int p = 0; p < 32; p++)
        b->qs[p] = (uint16_t)(fit.points[p] | (fit.signs[p] & 127) << 9);
    put_scales(b->scales, fit.scales, 16);
}

RZ_ENCODER(iq2_s)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq2_s, 16, 15, 1.0f / 8, RZ_SIGNS_FREE, RZ_SHIFT_NONE};
    struct rz_block_iq2_s *b = block;
    struct rz_grid_block fit;
    rz_grid_fit(&kind, x, imatrix, &fit);
    memset(b, 0, sizeof(*b));
    b->d = fit.d;
    for (int p = 0; p < 32; p++) {
        b->qs[p] = (uint8_t)fit.points[p];
        b->qh[p / 4] |= (uint8_t)(fit.points[p] >> 8 << 2 * (p % 4));
    }
    memcpy(b->signs, fit.signs, 32);
    put_scales(b->scales, fit.scales, 16);
}

RZ_ENCODER(iq3_xxs)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq3_xxs, 32,           15, 1.0f / 4,
                                             RZ_SIGNS_PARITY,  RZ_SHIFT_NONE};
    struct rz_block_iq3_xxs *b = block;
    struct rz_grid_block fit;
    rz_grid_fit(&kind, x, imatrix, &fit);
    b->d = fit.d;
    for (int p = 0; p < 64; p++)
        b->qs[p] = (uint8_t)fit.points[p];
    for (int g = 0; g < 8; g++) {
        uint32_t word = (uint32_t)fit.scales[g] << 28;
        for (int i = 0; i < 4; i++)
            word |= (uint32_t)(fit.signs[4 * g + i] & 127) << 7 * i;
        memcpy(b->words + 4 * g, &word, 4);
    }
}

RZ_ENCODER(iq3_s)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq3_s, 32, 15, 1, RZ_SIGNS_FREE, RZ_SHIFT_NONE};
    struct rz_block_iq3_s *b = block;
    struct rz_grid_block fit;
    rz_grid_fit(&kind, x, imatrix, &fit);
    memset(b, 0, sizeof(*b));
    b->d = fit.d;
    for (int p = 0; p < 64; p++) {
        b->qs[p] = (uint8_t)fit.points[p];
        b->qh[p / 8] |= (uint8_t)(fit.points[p] >> 8 << (p % 8));
    }
    memcpy(b->signs, fit.signs, 32);
    put_scales(b->scales, fit.scales, 8);
}

RZ_ENCODER(iq1_s)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq1, 32, 7, 1, RZ_SIGNS_NONE, RZ_SHIFT_GROUP};
    struct rz_block_iq1_s *b = block;
    struct rz_grid_block fit;
    rz_grid_fit(&kind, x, imatrix, &fit);
    b->d = fit.d;
    for (int g = 0; g < 8; g++) {
        uint32_t word = (uint32_t)fit.scales[g] << 12 | (fit.points[4 * g] & RZ_GRID_SHIFTED);
        for (int p = 0; p < 4; p++) {
            b->qs[4 * g + p] = (uint8_t)fit.points[4 * g + p];
            word |= (uint32_t)(fit.points[4 * g + p] >> 8 & 7) << 3 * p;
        }
        b->qh[g] = (uint16_t)word;
    }
}

RZ_ENCODER(iq1_m)
{
    static const struct rz_grid_kind kind = {&rz_grid_iq1, 16, 7, 1, RZ_SIGNS_NONE, RZ_SHIFT_POINT};
    struct rz_block_iq1_m *b = block;
    struct rz_grid_block fit;
    uint16_t words[4];
    rz_grid_fit(&kind, x, imatrix, &fit);
    memset(b, 0, sizeof(*b));
    for (int p = 0; p < 32; p++) {
        uint32_t high = (fit.points[p] >> 8 & 7) | (fit.points[p] & RZ_GRID_SHIFTED ? 8 : 0);
        b->qs[p] = (uint8_t)fit.points[p];
        b->qh[p / 2] |= (uint8_t)(high << 4 * (p % 2));
    }
    for (int i = 0; i < 4; i++) {
        words[i] = (uint16_t)((fit.d >> 4 * i & 15) << 12);
        for (int j = 0; j < 4; j++)
            words[i] |= (uint16_t)(fit.scales[4 * i + j] << 3 * j);
    }
    memcpy(b->scales, words, 8);
}

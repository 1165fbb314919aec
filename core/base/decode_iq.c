/* decode_iq.c - decoders of the types whose elements are points of a grid.
 *
 * The order of the multiplications in float32 is part of the format: results are equal to the bit.
 */
#include "decode.h"

#include "grids.h"
#include "numeric.h"

/* dst[j] = scale * element j of the point, with the signs in the bits of signs */
static float *put_point(float *dst, const struct rz_grid *g, uint32_t point, float scale, uint32_t signs)
{
    uint32_t code = g->points[point], mask = (1u << g->bits) - 1;
    for (int j = 0; j < g->dims; j++, code >>= g->bits) {
        float x = scale * g->levels[code & mask];
        dst[j] = signs >> j & 1 ? -x : x;
    }
    return dst + g->dims;
}

/* dst[j] = scale * (element j of the point + shift) */
static float *put_shifted(float *dst, uint32_t point, float scale, float shift)
{
    uint32_t code = rz_grid_iq1.points[point];
    for (int j = 0; j < 8; j++, code >>= 2)
        dst[j] = scale * (rz_grid_iq1.levels[code & 3] + shift);
    return dst + 8;
}

RZ_DECODER(iq2_xxs)
{
    const struct rz_block_iq2_xxs *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            uint8_t points[4];
            uint32_t word;
            memcpy(points, b->qs + 4 * g, 4);
            memcpy(&word, b->qs + 4 * g + 2, 4);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
            for (int p = 0; p < 4; p++)
                dst = put_point(dst, &rz_grid_iq2_xxs, points[p], scale, rz_signs_of(word >> 7 * p & 127));
        }
    }
}

/* The scale of 16-group g of iq2_xs and iq2_s. */
static float iq2_scale(float d, const uint8_t *scales, int g)
{
    return d * (0.5f + (float)(scales[g / 2] >> 4 * (g % 2) & 15)) * 0.25f;
}

RZ_DECODER(iq2_xs)
{
    const struct rz_block_iq2_xs *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int p = 0; p < 32; p++)
            dst = put_point(dst, &rz_grid_iq2_xs, b->qs[p] & 511, iq2_scale(d, b->scales, p / 2),
                            rz_signs_of(b->qs[p] >> 9));
    }
}

RZ_DECODER(iq2_s)
{
    const struct rz_block_iq2_s *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int p = 0; p < 32; p++) {
            uint32_t point = b->qs[p] | (uint32_t)(b->qh[p / 4] >> 2 * (p % 4) & 3) << 8;
            dst = put_point(dst, &rz_grid_iq2_s, point, iq2_scale(d, b->scales, p / 2), b->signs[p]);
        }
    }
}

RZ_DECODER(iq3_xxs)
{
    const struct rz_block_iq3_xxs *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            uint32_t word;
            memcpy(&word, b->words + 4 * g, 4);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            for (int p = 0; p < 8; p++) {
                uint32_t signs = rz_signs_of(word >> 7 * (p / 2) & 127) >> 4 * (p % 2);
                dst = put_point(dst, &rz_grid_iq3_xxs, b->qs[8 * g + p], scale, signs);
            }
        }
    }
}

RZ_DECODER(iq3_s)
{
    const struct rz_block_iq3_s *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int p = 0; p < 64; p++) {
            uint32_t point = b->qs[p] | (uint32_t)(b->qh[p / 8] >> (p % 8) & 1) << 8;
            float scale = d * (float)(1 + 2 * (b->scales[p / 16] >> 4 * (p / 8 % 2) & 15));
            dst = put_point(dst, &rz_grid_iq3_s, point, scale, (uint32_t)b->signs[p / 2] >> 4 * (p % 2));
        }
    }
}

RZ_DECODER(iq1_s)
{
    const struct rz_block_iq1_s *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int p = 0; p < 32; p++) {
            uint32_t word = b->qh[p / 4], point = b->qs[p] | (word >> 3 * (p % 4) & 7) << 8;
            float scale = d * (float)(2 * (word >> 12 & 7) + 1);
            dst = put_shifted(dst, point, scale, word & 0x8000 ? -0.125f : 0.125f);
        }
    }
}

RZ_DECODER(iq1_m)
{
    const struct rz_block_iq1_m *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        uint16_t words[4];
        memcpy(words, b->scales, 8);
        float d = rz_f16_to_f32((uint16_t)(words[0] >> 12 | (words[1] >> 8 & 0xf0) | (words[2] >> 4 & 0xf00) |
                                           (words[3] & 0xf000)));
        for (int p = 0; p < 32; p++) {
            uint32_t high = b->qh[p / 2] >> 4 * (p % 2), point = b->qs[p] | (high & 7) << 8;
            float scale = d * (float)(2 * (words[p / 8] >> 3 * (p / 2 % 4) & 7) + 1);
            dst = put_shifted(dst, point, scale, high & 8 ? -0.125f : 0.125f);
        }
    }
}

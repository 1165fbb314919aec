/* decode_small.c - decoders of the types with a table of 16 values, and of one and two bits. */
#include "decode.h"

#include "numeric.h"

const int8_t rz_values_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t rz_values_fp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* half bytes: the elements of their low nibbles, then those of the high ones */
static float *put_nibbles(float *dst, const uint8_t *qs, int half, const int8_t *values, float scale)
{
    for (int j = 0; j < half; j++) {
        dst[j] = scale * (float)values[qs[j] & 15];
        dst[j + half] = scale * (float)values[qs[j] >> 4];
    }
    return dst + 2 * half;
}

RZ_DECODER(iq4_nl)
{
    const struct rz_block_iq4_nl *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++)
        dst = put_nibbles(dst, b->qs, 16, rz_values_iq4, rz_f16_to_f32(b->d));
}

RZ_DECODER(iq4_xs)
{
    const struct rz_block_iq4_xs *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            int low = b->scales_l[g / 2] >> 4 * (g % 2) & 15, high = b->scales_h >> 2 * g & 3;
            dst = put_nibbles(dst, b->qs + 16 * g, 16, rz_values_iq4, d * (float)((low | high << 4) - 32));
        }
    }
}

RZ_DECODER(mxfp4)
{
    const struct rz_block_mxfp4 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++)
        dst = put_nibbles(dst, b->qs, 16, rz_values_fp4, rz_e8m0_half(b->e));
}

RZ_DECODER(nvfp4)
{
    const struct rz_block_nvfp4 *b = src;
    for (uint64_t i = 0; i < n / 64; i++, b++)
        for (int g = 0; g < 4; g++)
            dst = put_nibbles(dst, b->qs + 8 * g, 8, rz_values_fp4, rz_ue4m3_half(b->scales[g]));
}

/* digits elements of each of count bytes; digit i of the base-3 fraction byte / 256 */
static float *put_ternary(float *dst, const uint8_t *bytes, int count, int digits, float d)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    for (int i = 0; i < digits; i++)
        for (int l = 0; l < count; l++) {
            uint8_t rest = (uint8_t)(bytes[l] * powers[i]);
            *dst++ = d * (float)((rest * 3 >> 8) - 1);
        }
    return dst;
}

RZ_DECODER(tq1_0)
{
    const struct rz_block_tq1_0 *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        dst = put_ternary(dst, b->qs, 32, 5, d);
        dst = put_ternary(dst, b->qs + 32, 16, 5, d);
        dst = put_ternary(dst, b->qh, 4, 4, d);
    }
}

RZ_DECODER(tq2_0)
{
    const struct rz_block_tq2_0 *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int j = 0; j < RZ_QKK; j++)
            *dst++ = d * (float)((b->qs[j / 128 * 32 + j % 32] >> (2 * (j % 128 / 32)) & 3) - 1);
    }
}

RZ_DECODER(q1_0)
{
    const struct rz_block_q1_0 *b = src;
    for (uint64_t i = 0; i < n / 128; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int j = 0; j < 128; j++)
            *dst++ = b->qs[j / 8] >> (j % 8) & 1 ? d : -d;
    }
}

RZ_DECODER(q2_0)
{
    const struct rz_block_q2_0 *b = src;
    for (uint64_t i = 0; i < n / 64; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int j = 0; j < 64; j++)
            *dst++ = d * (float)((b->qs[j / 4] >> 2 * (j % 4) & 3) - 1);
    }
}

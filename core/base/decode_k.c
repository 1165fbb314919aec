/* decode_k.c - decoders of the K types: blocks of 256 whose groups have small integer scales.
 *
 * The order of the multiplications in float32 is part of the format: results are equal to the bit.
 */
#include "decode.h"

#include "numeric.h"

/* Two bits of element i of 256: each 128 elements share 32 bytes. */
static int two_bits(const uint8_t *qs, int i)
{
    return qs[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32)) & 3;
}

RZ_DECODER(q2_k)
{
    const struct rz_block_q2_k *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d), dmin = rz_f16_to_f32(b->dmin);
        for (int g = 0; g < 16; g++, dst += 16) {
            float dg = d * (float)(b->scales[g] & 15), mg = dmin * (float)(b->scales[g] >> 4);
            for (int j = 0; j < 16; j++)
                dst[j] = dg * (float)two_bits(b->qs, 16 * g + j) - mg;
        }
    }
}

RZ_DECODER(q3_k)
{
    const struct rz_block_q3_k *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int g = 0; g < 16; g++, dst += 16) {
            float dg = d * (float)rz_q3_scale(b->scales, g);
            for (int j = 0; j < 16; j++) {
                int at = 16 * g + j, low = two_bits(b->qs, at), high = b->hmask[at % 32] >> (at / 32) & 1;
                dst[j] = dg * (float)(low + 4 * high - 4);
            }
        }
    }
}

RZ_DECODER(q4_k)
{
    const struct rz_block_q4_k *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d), dmin = rz_f16_to_f32(b->dmin);
        for (int g = 0; g < 8; g++, dst += 32) {
            uint8_t scale, min;
            rz_k4_scale_min(b->scales, g, &scale, &min);
            float dg = d * scale, mg = dmin * min;
            const uint8_t *q = b->qs + (g / 2) * 32;
            for (int j = 0; j < 32; j++)
                dst[j] = dg * (float)(g & 1 ? q[j] >> 4 : q[j] & 15) - mg;
        }
    }
}

RZ_DECODER(q5_k)
{
    const struct rz_block_q5_k *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d), dmin = rz_f16_to_f32(b->dmin);
        for (int g = 0; g < 8; g++, dst += 32) {
            uint8_t scale, min;
            rz_k4_scale_min(b->scales, g, &scale, &min);
            float dg = d * scale, mg = dmin * min;
            const uint8_t *q = b->qs + (g / 2) * 32;
            for (int j = 0; j < 32; j++) {
                int v = (g & 1 ? q[j] >> 4 : q[j] & 15) | (b->qh[j] >> g & 1) << 4;
                dst[j] = dg * (float)v - mg;
            }
        }
    }
}

RZ_DECODER(q6_k)
{
    const struct rz_block_q6_k *b = src;
    for (uint64_t i = 0; i < n / RZ_QKK; i++, b++) {
        float d = rz_f16_to_f32(b->d);
        for (int half = 0; half < 2; half++, dst += 128) {
            const uint8_t *ql = b->ql + 64 * half, *qh = b->qh + 32 * half;
            const int8_t *sc = b->scales + 8 * half;
            for (int j = 0; j < 128; j++) {
                int l = j & 31, part = j >> 5; /* 32-groups 0..3 */
                int low = part < 2 ? ql[l + 32 * part] & 15 : ql[l + 32 * (part - 2)] >> 4;
                int v = (low | (qh[l] >> (2 * part) & 3) << 4) - 32;
                dst[j] = d * sc[j / 16] * (float)v;
            }
        }
    }
}

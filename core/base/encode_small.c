/* encode_small.c - encoders of the types of at most two bits with one scale, and of 4-bit floats.
 *
 * No search: the bytes are those of the format's reference encoder.
 */
#include "encode_types.h"

#include "numeric.h"

#include <math.h>

static float size_of(const float *x, int n)
{
    float size = 0;
    for (int i = 0; i < n; i++)
        size = fabsf(x[i]) > size ? fabsf(x[i]) : size;
    return size;
}

/* 0 for a d so small that its inverse is no float; what it multiplies is then as good as 0. */
static float inverse(float d)
{
    return fabsf(d) > 3e-39f ? 1.0f / d : 0.0f;
}

/* 0, 1, 2 for -d, 0, d */
static uint8_t ternary(float x, float id)
{
    return (uint8_t)((int)roundf(x * id) + 1);
}

/* digits elements, stride apart, as a fraction of 256 that is cut up digit by digit */
static uint8_t ternary_byte(const float *x, int stride, int digits, float id)
{
    int sum = 0;
    for (int i = 0; i < 5; i++)
        sum = 3 * sum + (i < digits ? ternary(x[i * stride], id) : 0);
    return (uint8_t)((sum * 256 + 242) / 243);
}

RZ_ENCODER(tq1_0)
{
    (void)imatrix;
    struct rz_block_tq1_0 *b = block;
    float d = size_of(x, RZ_QKK), id = inverse(d);
    for (int l = 0; l < 32; l++)
        b->qs[l] = ternary_byte(x + l, 32, 5, id);
    for (int l = 0; l < 16; l++)
        b->qs[32 + l] = ternary_byte(x + 160 + l, 16, 5, id);
    for (int l = 0; l < 4; l++)
        b->qh[l] = ternary_byte(x + 240 + l, 4, 4, id);
    b->d = rz_f32_to_f16(d);
}

RZ_ENCODER(tq2_0)
{
    (void)imatrix;
    struct rz_block_tq2_0 *b = block;
    float d = size_of(x, RZ_QKK), id = inverse(d);
    memset(b->qs, 0, sizeof(b->qs));
    for (int j = 0; j < RZ_QKK; j++)
        b->qs[j / 128 * 32 + j % 32] |= (uint8_t)(ternary(x[j], id) << (2 * (j % 128 / 32)));
    b->d = rz_f32_to_f16(d);
}

RZ_ENCODER(q1_0)
{
    (void)imatrix;
    struct rz_block_q1_0 *b = block;
    float sum = 0;
    memset(b->qs, 0, sizeof(b->qs));
    for (int j = 0; j < 128; j++) {
        sum += fabsf(x[j]);
        b->qs[j / 8] |= (uint8_t)((x[j] >= 0) << (j % 8));
    }
    b->d = rz_f32_to_f16(sum / 128);
}

RZ_ENCODER(q2_0)
{
    (void)imatrix;
    struct rz_block_q2_0 *b = block;
    float d = size_of(x, 64), id = inverse(d);
    memset(b->qs, 0, sizeof(b->qs));
    for (int j = 0; j < 64; j++)
        b->qs[j / 4] |= (uint8_t)(ternary(x[j], id) << (2 * (j % 4)));
    b->d = rz_f32_to_f16(d);
}

/* --- 4-bit floats --- */

/* The first of the nearest values. */
static uint8_t nearest_fp4(float x, float scale)
{
    uint8_t best = 0;
    float least = fabsf(scale * (float)rz_values_fp4[0] - x);
    for (uint8_t i = 1; i < 16; i++) {
        float off = fabsf(scale * (float)rz_values_fp4[i] - x);
        if (off < least) {
            least = off;
            best = i;
        }
    }
    return best;
}

/* half bytes: their low nibbles, then their high ones */
static void put_fp4(uint8_t *qs, const float *x, int half, float scale)
{
    for (int j = 0; j < half; j++)
        qs[j] = (uint8_t)(nearest_fp4(x[j], scale) | nearest_fp4(x[j + half], scale) << 4);
}

RZ_ENCODER(mxfp4)
{
    (void)imatrix;
    struct rz_block_mxfp4 *b = block;
    float size = size_of(x, RZ_QK);
    int e = size > 0 ? (int)floorf(log2f(size)) - 2 + 127 : 0;
    b->e = (uint8_t)(e < 0 ? 0 : e);
    put_fp4(b->qs, x, 16, rz_e8m0_half(b->e));
}

/* Unsigned E4M3, ties away from zero; at most 448. */
static uint8_t ue4m3(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    int exp = (int)(bits >> 23 & 255) - 127 + 7;
    if (!(x > 0))
        return 0;
    if (exp <= 0) {
        int man = (int)(x * 512 + 0.5f);
        return (uint8_t)(man > 7 ? 7 : man);
    }
    uint32_t rounded = (uint32_t)exp << 3 | (bits >> 20 & 7);
    rounded += bits >> 19 & 1;
    return (uint8_t)(rounded > 0x7e || exp >= 15 ? 0x7e : rounded);
}

RZ_ENCODER(nvfp4)
{
    (void)imatrix;
    struct rz_block_nvfp4 *b = block;
    for (int g = 0; g < 4; g++) {
        b->scales[g] = ue4m3(size_of(x + 16 * g, 16) / 6.0f);
        put_fp4(b->qs + 8 * g, x + 16 * g, 8, rz_ue4m3_half(b->scales[g]));
    }
}

/* encode_plain.c - encoders of the floats and of the blocks of 32 with one scale.
 *
 * Without an imatrix there is no search, and every step of the arithmetic (float32, truncation after adding
 * a half) is that of the format's reference encoder, so that the bytes are equal.
 */
#include "encode_types.h"

#include "encode_fit.h"
#include "numeric.h"

#include <math.h>

RZ_ENCODER(f32)
{
    (void)imatrix;
    memcpy(block, x, sizeof(*x));
}

RZ_ENCODER(f64)
{
    (void)imatrix;
    double wide = (double)*x;
    memcpy(block, &wide, sizeof(wide));
}

RZ_ENCODER(f16)
{
    (void)imatrix;
    uint16_t h = rz_f32_to_f16(*x);
    memcpy(block, &h, 2);
}

RZ_ENCODER(bf16)
{
    (void)imatrix;
    uint16_t h = rz_f32_to_bf16(*x);
    memcpy(block, &h, 2);
}

static void put_nibbles(uint8_t *qs, const uint8_t *codes)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

static void put_fifth(uint8_t *qh, const uint8_t *codes)
{
    uint32_t bits = 0;
    for (int j = 0; j < 32; j++)
        bits |= (uint32_t)(codes[j] >> 4 & 1) << j;
    memcpy(qh, &bits, 4);
}

/* The element of the largest size, with its sign. */
static float largest(const float *x, int n)
{
    float size = 0, at = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > size) {
            size = fabsf(x[i]);
            at = x[i];
        }
    return at;
}

/* 0 for a d so small that its inverse is no float; what it multiplies is then as good as 0. */
static float inverse(float d)
{
    return fabsf(d) > 3e-39f ? 1.0f / d : 0.0f;
}

/* Codes -half .. half - 1, moved up by half. */
static uint16_t encode_signed(const float *x, const float *imatrix, int half, uint8_t *codes)
{
    if (imatrix) {
        const struct rz_levels levels = {-half, half - 1, NULL};
        float w[RZ_QK];
        rz_fit_weights(x, imatrix, RZ_QK, w);
        uint16_t d = rz_f32_to_f16(rz_fit_scale(&levels, x, w, RZ_QK));
        rz_fit_codes(&levels, x, w, RZ_QK, rz_f16_to_f32(d), codes, NULL);
        return d;
    }
    float d = largest(x, RZ_QK) / (float)-half, id = inverse(d);
    for (int j = 0; j < RZ_QK; j++) {
        int code = (int8_t)(x[j] * id + ((float)half + 0.5f));
        codes[j] = (uint8_t)(code > 2 * half - 1 ? 2 * half - 1 : code);
    }
    return rz_f32_to_f16(d);
}

/* Codes 0 .. top above a minimum. */
static uint16_t encode_line(const float *x, const float *imatrix, int top, uint8_t *codes, uint16_t *m)
{
    if (imatrix) {
        float w[RZ_QK];
        rz_fit_weights(x, imatrix, RZ_QK, w);
        struct rz_line line = rz_fit_line(x, w, RZ_QK, top, false);
        uint16_t d = rz_f32_to_f16(line.scale);
        *m = rz_f32_to_f16(line.min);
        rz_fit_line_codes(x, w, RZ_QK, top, (struct rz_line){rz_f16_to_f32(d), rz_f16_to_f32(*m)}, codes);
        return d;
    }
    float lo = x[0], hi = x[0];
    for (int j = 1; j < RZ_QK; j++) {
        lo = x[j] < lo ? x[j] : lo;
        hi = x[j] > hi ? x[j] : hi;
    }
    float d = (hi - lo) / (float)top, id = inverse(d);
    for (int j = 0; j < RZ_QK; j++) {
        int code = (int)((x[j] - lo) * id + 0.5f);
        codes[j] = (uint8_t)(code > top ? top : code);
    }
    *m = rz_f32_to_f16(lo);
    return rz_f32_to_f16(d);
}

RZ_ENCODER(q4_0)
{
    struct rz_block_q4_0 *b = block;
    uint8_t codes[RZ_QK];
    b->d = encode_signed(x, imatrix, 8, codes);
    put_nibbles(b->qs, codes);
}

RZ_ENCODER(q4_1)
{
    struct rz_block_q4_1 *b = block;
    uint8_t codes[RZ_QK];
    b->d = encode_line(x, imatrix, 15, codes, &b->m);
    put_nibbles(b->qs, codes);
}

RZ_ENCODER(q5_0)
{
    struct rz_block_q5_0 *b = block;
    uint8_t codes[RZ_QK];
    b->d = encode_signed(x, imatrix, 16, codes);
    put_fifth(b->qh, codes);
    put_nibbles(b->qs, codes);
}

RZ_ENCODER(q5_1)
{
    struct rz_block_q5_1 *b = block;
    uint8_t codes[RZ_QK];
    b->d = encode_line(x, imatrix, 31, codes, &b->m);
    put_fifth(b->qh, codes);
    put_nibbles(b->qs, codes);
}

RZ_ENCODER(q8_0)
{
    (void)imatrix;
    struct rz_block_q8_0 *b = block;
    float d = fabsf(largest(x, RZ_QK)) / 127.0f, id = inverse(d);
    b->d = rz_f32_to_f16(d);
    for (int j = 0; j < RZ_QK; j++)
        b->qs[j] = (int8_t)roundf(x[j] * id);
}

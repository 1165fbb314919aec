/* decode_plain.c - decoders of the plain types: floats, integers, and the 4-, 5- and 8-bit blocks of 32.
 *
 * A decoder multiplies in float32 in the order that the format's definition states, so that decoded
 * values are equal to the bit to those of other correct readers.
 */
#include "decode.h"

#include "numeric.h"

RZ_DECODER(f32)
{
    memcpy(dst, src, n * sizeof(float));
}

/* Elements of a file are not aligned: each is copied out. */
#define CONVERT(name, from) \
    RZ_DECODER(name) \
    { \
        const uint8_t *p = src; \
        for (uint64_t i = 0; i < n; i++) { \
            from x; \
            memcpy(&x, p + sizeof(x) * i, sizeof(x)); \
            dst[i] = (float)x; \
        } \
    }
CONVERT(f64, double)
CONVERT(i8, int8_t)
CONVERT(i16, int16_t)
CONVERT(i32, int32_t)
CONVERT(i64, int64_t)

RZ_DECODER(f16)
{
    const uint8_t *p = src;
    for (uint64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = rz_f16_to_f32(h);
    }
}

RZ_DECODER(bf16)
{
    const uint8_t *p = src;
    for (uint64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = rz_bf16_to_f32(h);
    }
}

RZ_DECODER(q4_0)
{
    const struct rz_block_q4_0 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++, dst += RZ_QK) {
        float d = rz_f16_to_f32(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((b->qs[j] & 15) - 8) * d;
            dst[j + 16] = (float)((b->qs[j] >> 4) - 8) * d;
        }
    }
}

RZ_DECODER(q4_1)
{
    const struct rz_block_q4_1 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++, dst += RZ_QK) {
        float d = rz_f16_to_f32(b->d), m = rz_f16_to_f32(b->m);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(b->qs[j] & 15) * d + m;
            dst[j + 16] = (float)(b->qs[j] >> 4) * d + m;
        }
    }
}

RZ_DECODER(q5_0)
{
    const struct rz_block_q5_0 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++, dst += RZ_QK) {
        float d = rz_f16_to_f32(b->d);
        uint32_t high;
        memcpy(&high, b->qh, 4);
        for (int j = 0; j < 16; j++) {
            int lo = (b->qs[j] & 15) | (int)(high >> j & 1) << 4;
            int hi = (b->qs[j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            dst[j] = (float)(lo - 16) * d;
            dst[j + 16] = (float)(hi - 16) * d;
        }
    }
}

RZ_DECODER(q5_1)
{
    const struct rz_block_q5_1 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++, dst += RZ_QK) {
        float d = rz_f16_to_f32(b->d), m = rz_f16_to_f32(b->m);
        uint32_t high;
        memcpy(&high, b->qh, 4);
        for (int j = 0; j < 16; j++) {
            int lo = (b->qs[j] & 15) | (int)(high >> j & 1) << 4;
            int hi = (b->qs[j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            dst[j] = (float)lo * d + m;
            dst[j + 16] = (float)hi * d + m;
        }
    }
}

RZ_DECODER(q8_0)
{
    const struct rz_block_q8_0 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++, dst += RZ_QK) {
        float d = rz_f16_to_f32(b->d);
        for (int j = 0; j < RZ_QK; j++)
            dst[j] = (float)b->qs[j] * d;
    }
}

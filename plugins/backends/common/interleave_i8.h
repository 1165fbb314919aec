/* interleave_i8.h - interleaved blobs of the types that become int8 with a scale a 16-group, and of those
 * that become float32. Included like interleave_pack.h. No ISA here.
 *
 * In each of the int8 types an element is a small integer (after moving the eighths of the IQ1 shifts into
 * the scale) times a float that its group shares. So the form x_i8 holds exactly what the type's decoder
 * gives; it takes 10 bits an element.
 */
#ifndef RZ_INTERLEAVE_I8_H
#define RZ_INTERLEAVE_I8_H

#include "interleave_few.h"

#include <math.h>

/* --- int8 --- */

/* Row r of n 32-blocks: the integers are found again from the decoded values y and the scales. */
static inline void put_i8(struct x_i8 *x, int r, int n, const float *y, const float *scales)
{
    for (int i = 0; i < 32 * n; i++) {
        float scale = scales[i / 16], q = scale != 0 ? y[i] / scale : 0;
        q = q > 127 ? 127 : q < -127 ? -127 : q == q ? q : 0; /* only where y is infinite or no number */
        x[i / 32].d[i / 16 % 2][r] = scale;
        x[i / 32].qs[i % 32 / 4][r][i % 4] = (int8_t)lrintf(q);
    }
}

/* The scales of all 16-groups of one block; `block` and `s` are theirs. */
#define SCALES(name, n) static inline void scales_##name(const struct rz_block_##name *b, float s[(n) / 16])

static inline void same_scale(float *s, int n, float scale)
{
    for (int g = 0; g < n; g++)
        s[g] = scale;
}

SCALES(iq1_s, 256)
{
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(b->d) * (float)(2 * (b->qh[g / 2] >> 12 & 7) + 1) / 8;
}

SCALES(iq1_m, 256)
{
    uint16_t words[4], d = 0;
    memcpy(words, b->scales, 8);
    for (int i = 0; i < 4; i++)
        d |= (uint16_t)(words[i] >> 12 << 4 * i);
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(d) * (float)(2 * (words[g / 4] >> 3 * (g % 4) & 7) + 1) / 8;
}

SCALES(iq2_xxs, 256)
{
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(b->d) * (0.5f + (float)(b->qs[g / 2 * 4 + 3] >> 12)) * 0.25f;
}

SCALES(iq2_xs, 256)
{
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(b->d) * (0.5f + (float)nibble(b->scales, g)) * 0.25f;
}

SCALES(iq2_s, 256)
{
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(b->d) * (0.5f + (float)nibble(b->scales, g)) * 0.25f;
}

SCALES(iq3_xxs, 256)
{
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(b->d) * (0.5f + (float)(b->words[g / 2 * 4 + 3] >> 4)) * 0.5f;
}

SCALES(iq3_s, 256)
{
    for (int g = 0; g < 16; g++)
        s[g] = rz_f16_to_f32(b->d) * (float)(1 + 2 * nibble(b->scales, g / 2));
}

SCALES(tq1_0, 256)
{
    same_scale(s, 16, rz_f16_to_f32(b->d));
}

SCALES(tq2_0, 256)
{
    same_scale(s, 16, rz_f16_to_f32(b->d));
}

SCALES(nvfp4, 64)
{
    for (int g = 0; g < 4; g++)
        s[g] = rz_ue4m3_half(b->scales[g]);
}

SCALES(q1_0, 128)
{
    same_scale(s, 8, rz_f16_to_f32(b->d));
}

SCALES(q2_0, 64)
{
    same_scale(s, 4, rz_f16_to_f32(b->d));
}

#define I8(NAME, name, n) \
    static inline void pack_##name(void *group, int r, const void *block) \
    { \
        float y[n], scales[(n) / 16]; \
        rz_type_info(RZ_TYPE_##NAME)->decode(block, y, n); \
        scales_##name(block, scales); \
        put_i8(group, r, (n) / 32, y, scales); \
    }
I8(IQ1_S, iq1_s, 256)
I8(IQ1_M, iq1_m, 256)
I8(IQ2_XXS, iq2_xxs, 256)
I8(IQ2_XS, iq2_xs, 256)
I8(IQ2_S, iq2_s, 256)
I8(IQ3_XXS, iq3_xxs, 256)
I8(IQ3_S, iq3_s, 256)
I8(TQ1_0, tq1_0, 256)
I8(TQ2_0, tq2_0, 256)
I8(NVFP4, nvfp4, 64)
I8(Q1_0, q1_0, 128)
I8(Q2_0, q2_0, 64)

/* --- float32, [k][8] --- */

#define AS_F32(NAME) \
    static inline void pack_##NAME(void *group, int r, const void *block) \
    { \
        rz_type_info(RZ_TYPE_##NAME)->decode(block, (float *)group + r, 1); \
    }
AS_F32(F64)
AS_F32(I8)
AS_F32(I16)
AS_F32(I32)
AS_F32(I64)

/* Rows of a table of types. */
#define ROW_I8(NAME, name, n) [RZ_TYPE_##NAME] = {n, (n) / 32 * sizeof(struct x_i8), true, pack_##name}
#define ROW_F32(NAME) [RZ_TYPE_##NAME] = {1, 4 * GROUP, false, pack_##NAME}
#define ROWS_I8 \
    ROW_I8(IQ1_S, iq1_s, 256), ROW_I8(IQ1_M, iq1_m, 256), ROW_I8(IQ2_XXS, iq2_xxs, 256), \
        ROW_I8(IQ2_XS, iq2_xs, 256), ROW_I8(IQ2_S, iq2_s, 256), ROW_I8(IQ3_XXS, iq3_xxs, 256), \
        ROW_I8(IQ3_S, iq3_s, 256), ROW_I8(TQ1_0, tq1_0, 256), ROW_I8(TQ2_0, tq2_0, 256), \
        ROW_I8(NVFP4, nvfp4, 64), ROW_I8(Q1_0, q1_0, 128), ROW_I8(Q2_0, q2_0, 64), ROW_F32(F64), \
        ROW_F32(I8), ROW_F32(I16), ROW_F32(I32), ROW_F32(I64)

#endif

/* layout.c - the X16 blobs of weights: which type has which form, and the forms that only this table has.
 * No ISA here.
 */
#include "avx512.h"

#include "../common/interleave_i8.h"
#include "../common/interleave_pack.h"
#include "numeric.h"

/* --- iq4_nl: the form of q4_0 with another meaning --- */

static void pack_nl(void *group, int r, const void *block)
{
    struct x_q4_0 *x = group;
    const struct rz_block_iq4_nl *b = block;
    x->d[r] = b->d;
    put_nibbles(x->qs, r, b->qs);
}

/* Values of 32 nibbles, times a scale. */
static void read_table(const uint8_t qs[4][GROUP][4], int r, const int8_t *values, float scale, float *out)
{
    for (int i = 0; i < 32; i++) {
        uint8_t v = qs[i / 4 % 4][r][i % 4];
        out[i] = scale * (float)values[i < 16 ? v & 15 : v >> 4];
    }
}

static void read_nl(const void *group, int r, float *out)
{
    const struct x_q4_0 *x = group;
    read_table(x->qs, r, rz_values_iq4, rz_f16_to_f32(x->d[r]), out);
}

static void pack_xs(void *group, int r, const void *block)
{
    struct x_iq4_xs *x = group;
    const struct rz_block_iq4_xs *b = block;
    x->d[r] = b->d;
    for (int g = 0; g < 8; g++) {
        x->sc[g][r] = (int8_t)((nibble(b->scales_l, g) | (b->scales_h >> 2 * g & 3) << 4) - 32);
        put_nibbles(x->qs[g], r, b->qs + 16 * g);
    }
}

static void read_xs(const void *group, int r, float *out)
{
    const struct x_iq4_xs *x = group;
    for (int g = 0; g < 8; g++)
        read_table(x->qs[g], r, rz_values_iq4, rz_f16_to_f32(x->d[r]) * (float)x->sc[g][r], out + 32 * g);
}

/* --- mxfp4: its scale, a power of two, as bfloat16 --- */

static void pack_fp4(void *group, int r, const void *block)
{
    struct x_mxfp4 *x = group;
    const struct rz_block_mxfp4 *b = block;
    float d = rz_e8m0_half(b->e);
    uint32_t bits;
    memcpy(&bits, &d, 4);
    x->d[r] = (uint16_t)(bits >> 16);
    put_nibbles(x->qs, r, b->qs);
}

static void read_fp4(const void *group, int r, float *out)
{
    const struct x_mxfp4 *x = group;
    uint32_t bits = (uint32_t)x->d[r] << 16;
    float d;
    memcpy(&d, &bits, 4);
    read_table(x->qs, r, rz_values_fp4, d, out);
}

/* --- q3_k --- */

static int third_bit(const struct rz_block_q3_k *b, int i)
{
    return b->hmask[i % 32] >> i / 32 & 1;
}

static void pack_three(void *group, int r, const void *block)
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

static void read_three(const void *group, int r, float *out)
{
    const struct x_q3_k *x = group;
    for (int g = 0; g < 8; g++) {
        uint32_t bits = get_fifth(x->b[g].qh, r);
        for (int i = 0; i < 32; i++) {
            int q = i / 4, code = x->b[g].qs[q / 4][r][i % 4] >> 2 * (q % 4) & 3;
            float scale = rz_f16_to_f32(x->d[r]) * (float)x->sc[g][r][i / 16];
            out[32 * g + i] = scale * (float)((code | (int)(bits >> i & 1) << 2) - 4);
        }
    }
}

/* clang-format off */
static const struct x_type types[] = {
    ROWS_PLAIN,
    ROWS_SMALL,
    [RZ_TYPE_Q3_K] = {RZ_QKK, sizeof(struct x_q3_k), true, pack_three, NULL, read_three},
    [RZ_TYPE_IQ4_NL] = {RZ_QK, sizeof(struct x_q4_0), true, pack_nl, NULL, read_nl},
    [RZ_TYPE_IQ4_XS] = {RZ_QKK, sizeof(struct x_iq4_xs), true, pack_xs, NULL, read_xs},
    [RZ_TYPE_MXFP4] = {RZ_QK, sizeof(struct x_mxfp4), true, pack_fp4, NULL, read_fp4},
};
/* clang-format on */

const struct x_type *x_type(int32_t type)
{
    static const struct x_type none = {0};
    return type < 0 || (size_t)type >= sizeof(types) / sizeof(types[0]) ? &none : &types[type];
}

const struct tiles *tiles_of(int32_t type)
{
    static const struct tiles *const all[] = {
        [RZ_TYPE_F32] = &tiles_f32,       [RZ_TYPE_F16] = &tiles_f16,       [RZ_TYPE_BF16] = &tiles_bf16,
        [RZ_TYPE_F64] = &tiles_f32,       [RZ_TYPE_I8] = &tiles_f32,        [RZ_TYPE_I16] = &tiles_f32,
        [RZ_TYPE_I32] = &tiles_f32,       [RZ_TYPE_I64] = &tiles_f32,       [RZ_TYPE_Q4_0] = &tiles_q4_0,
        [RZ_TYPE_Q4_1] = &tiles_q4_1,     [RZ_TYPE_Q5_0] = &tiles_q5_0,     [RZ_TYPE_Q5_1] = &tiles_q5_1,
        [RZ_TYPE_Q8_0] = &tiles_q8_0,     [RZ_TYPE_Q2_K] = &tiles_q2_k,     [RZ_TYPE_Q3_K] = &tiles_q3_k,
        [RZ_TYPE_Q4_K] = &tiles_q4_k,     [RZ_TYPE_Q5_K] = &tiles_q5_k,     [RZ_TYPE_Q6_K] = &tiles_q6_k,
        [RZ_TYPE_IQ4_NL] = &tiles_iq4_nl, [RZ_TYPE_IQ4_XS] = &tiles_iq4_xs, [RZ_TYPE_MXFP4] = &tiles_mxfp4,
    };
    bool own = (size_t)type < sizeof(all) / sizeof(all[0]) && all[type];
    return own ? all[type] : &tiles_i8;
}

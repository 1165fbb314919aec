/* forms.c - weights in the forms that kernels read: strips of 16 rows side by side.
 *
 * Every type is decoded by its reference decoder. Types whose values are scale * integer + minimum in
 * groups keep their integers, found again by division; the others become the narrowest float that holds
 * them well. Rows that fill up the last strip are zero.
 */
#include "opencl.h"

#include "numeric.h"

#include <math.h>
#include <string.h>

#define GROUP_STEP 16 /* scales are asked for by groups of 16 elements */

static const struct form f32 = {"f32", 0, 0, 0, 0}, f16 = {"f16", 1, 0, 0, 0}, bf16 = {"bf16", 2, 0, 0, 0},
                         q4_half = {"q4", 3, 1, 1, 32}, q4_float = {"q4 f32 scales", 3, 0, 1, 32},
                         q8_half = {"q8", 4, 1, 0, 32}, q8_float = {"q8 f32 scales", 4, 0, 0, 16},
                         q8_minima = {"q8 f32 scales, minima", 4, 0, 1, 16};

const struct form *form_of(int32_t type)
{
    switch (type) {
    case RZ_TYPE_F16:
        return &f16;
    case RZ_TYPE_BF16:
        return &bf16;
    case RZ_TYPE_Q4_0:
    case RZ_TYPE_Q4_1:
        return &q4_half;
    case RZ_TYPE_Q4_K:
        return &q4_float;
    case RZ_TYPE_Q8_0:
        return &q8_half;
    case RZ_TYPE_Q5_0:
    case RZ_TYPE_Q3_K:
    case RZ_TYPE_Q6_K:
    case RZ_TYPE_IQ4_NL:
    case RZ_TYPE_IQ4_XS:
    case RZ_TYPE_MXFP4:
    case RZ_TYPE_NVFP4:
    case RZ_TYPE_TQ1_0:
    case RZ_TYPE_TQ2_0:
    case RZ_TYPE_Q1_0:
    case RZ_TYPE_Q2_0:
        return &q8_float;
    case RZ_TYPE_Q5_1:
    case RZ_TYPE_Q2_K:
    case RZ_TYPE_Q5_K:
        return &q8_minima;
    case RZ_TYPE_F32:
    case RZ_TYPE_F64:
    case RZ_TYPE_I8:
    case RZ_TYPE_I16:
    case RZ_TYPE_I32:
    case RZ_TYPE_I64:
        return &f32;
    default:
        return rz_type_info(type)->decode ? &f16 : NULL;
    }
}

static uint64_t param_bytes(const struct form *f)
{
    return f->half ? 32 : 64;
}

static uint64_t group_bytes(const struct form *f)
{
    return (1 + f->minima) * param_bytes(f) + (f->kind == 3 ? f->group * 8 : f->group * 16);
}

uint64_t strip_bytes(const struct form *f, uint64_t cols)
{
    switch (f->kind) {
    case 0:
        return cols * 64;
    case 1:
    case 2:
        return cols * 32;
    default:
        return cols / f->group * group_bytes(f);
    }
}

/* --- scale and minimum of a group --- */

static float half_at(const void *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return rz_f16_to_f32(h);
}

static void k_scale(int32_t type, const uint8_t *block, uint32_t g, float *d, float *m)
{
    const struct rz_block_q2_k *q2 = (const void *)block;
    const struct rz_block_q3_k *q3 = (const void *)block;
    const struct rz_block_q4_k *q4 = (const void *)block; /* q5_k begins alike */
    const struct rz_block_q6_k *q6 = (const void *)block;
    uint8_t scale, min;
    switch (type) {
    case RZ_TYPE_Q2_K:
        *d = half_at(&q2->d) * (float)(q2->scales[g] & 15);
        *m = -half_at(&q2->dmin) * (float)(q2->scales[g] >> 4);
        break;
    case RZ_TYPE_Q3_K:
        *d = half_at(&q3->d) * (float)rz_q3_scale(q3->scales, (int)g);
        break;
    case RZ_TYPE_Q6_K:
        *d = half_at(&q6->d) * (float)q6->scales[g];
        break;
    default:
        rz_k4_scale_min(q4->scales, (int)g / 2, &scale, &min);
        *d = half_at(&q4->d) * scale;
        *m = -half_at(&q4->dmin) * min;
    }
}

/* Of group g of 16 elements of a block. */
static void group_scale(int32_t type, const uint8_t *block, uint32_t g, float *d, float *m)
{
    const struct rz_block_iq4_xs *xs = (const void *)block;
    *m = 0;
    switch (type) {
    case RZ_TYPE_Q2_K:
    case RZ_TYPE_Q3_K:
    case RZ_TYPE_Q4_K:
    case RZ_TYPE_Q5_K:
    case RZ_TYPE_Q6_K:
        k_scale(type, block, g, d, m);
        break;
    case RZ_TYPE_Q4_0:
        *d = half_at(block);
        *m = -8 * *d;
        break;
    case RZ_TYPE_Q4_1:
    case RZ_TYPE_Q5_1:
        *d = half_at(block);
        *m = half_at(block + 2);
        break;
    case RZ_TYPE_IQ4_XS:
        *d = half_at(&xs->d) * (float)(((xs->scales_l[g / 4] >> 4 * (g / 2 % 2) & 15) |
                                        (xs->scales_h >> 2 * (g / 2) & 3) << 4) -
                                       32);
        break;
    case RZ_TYPE_MXFP4:
        *d = rz_e8m0_half(block[0]);
        break;
    case RZ_TYPE_NVFP4:
        *d = rz_ue4m3_half(block[g]);
        break;
    case RZ_TYPE_TQ1_0:
        *d = half_at(&((const struct rz_block_tq1_0 *)(const void *)block)->d);
        break;
    case RZ_TYPE_TQ2_0:
        *d = half_at(&((const struct rz_block_tq2_0 *)(const void *)block)->d);
        break;
    default: /* the scale comes first */
        *d = half_at(block);
    }
}

/* --- packing --- */

static void put_param(const struct form *f, uint8_t *params, uint32_t lane, float x)
{
    uint16_t h = rz_f32_to_f16(x);
    if (f->half)
        memcpy(params + 2 * lane, &h, 2);
    else
        memcpy(params + 4 * lane, &x, 4);
}

/* The integer of which value is scale * integer + m. */
static int integer_of(float value, float scale, float m)
{
    float q = scale != 0 ? rintf((value - m) / scale) : 0;
    return q >= -128 && q <= 127 ? (int)q : 0;
}

static void pack_group(const struct packing *p, const uint8_t *block, uint32_t g, const float *x,
                       uint32_t lane, uint8_t *to)
{
    const struct form *f = p->form;
    uint8_t *q = to + (1 + f->minima) * param_bytes(f);
    float scale, m;
    group_scale(p->weight->type, block, g, &scale, &m);
    put_param(f, to, lane, scale);
    if (f->minima)
        put_param(f, to + param_bytes(f), lane, m);
    for (uint32_t i = 0; i < f->group; i++) {
        int v = integer_of(x[i], scale, m);
        if (f->kind == 3)
            q[i / 2 * 16 + lane] |= (uint8_t)((v & 15) << 4 * (i & 1));
        else
            q[i * 16 + lane] = (uint8_t)(int8_t)v;
    }
}

/* Row `lane` of a strip. */
static void pack_row(const struct packing *p, const uint8_t *row, const float *x, uint32_t lane, uint8_t *to)
{
    const struct rz_type_info *type = rz_type_info(p->weight->type);
    const struct form *f = p->form;
    uint64_t cols = p->weight->cols;
    for (uint64_t c = 0; c < cols && f->kind < 3; c++) {
        uint16_t h = f->kind == 1 ? rz_f32_to_f16(x[c]) : rz_f32_to_bf16(x[c]);
        if (f->kind == 0)
            memcpy(to + (c * STRIP + lane) * 4, x + c, 4);
        else
            memcpy(to + (c * STRIP + lane) * 2, &h, 2);
    }
    for (uint64_t c = 0; c < cols && f->kind >= 3; c += f->group)
        pack_group(p, row + c / type->block * type->bytes, (uint32_t)(c % type->block / GROUP_STEP), x + c,
                   lane, to + c / f->group * group_bytes(f));
}

void pack_strips(const struct packing *p, uint64_t first, uint64_t n, float *decoded)
{
    const struct rz_weight *w = p->weight;
    uint64_t row_bytes = w->bytes / w->rows;
    for (uint64_t s = first; s < first + n; s++) {
        uint64_t part = s / p->strips, row = s % p->strips * STRIP;
        uint8_t *to = p->to + s * p->strip_bytes;
        memset(to, 0, p->strip_bytes);
        for (uint32_t lane = 0; lane < STRIP && row + lane < p->part_rows; lane++) {
            const uint8_t *from = (const uint8_t *)w->data + (part * p->part_rows + row + lane) * row_bytes;
            rz_type_info(w->type)->decode(from, decoded, w->cols);
            pack_row(p, from, decoded, lane, to);
        }
    }
}

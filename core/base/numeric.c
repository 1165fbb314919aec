/* numeric.c - the table of element types and their reference decoders.
 *
 * A decoder multiplies in float32 in the order that the format's definition states, so that decoded
 * values are equal to the bit to those of other correct readers.
 */
#include "numeric.h"

#include "checked.h"

static void decode_f32(const void *src, float *dst, uint64_t n)
{
    memcpy(dst, src, n * sizeof(float));
}

static void decode_f16(const void *src, float *dst, uint64_t n)
{
    const uint8_t *p = src;
    for (uint64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = rz_f16_to_f32(h);
    }
}

static void decode_bf16(const void *src, float *dst, uint64_t n)
{
    const uint8_t *p = src;
    for (uint64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = rz_bf16_to_f32(h);
    }
}

static void decode_q4_0(const void *src, float *dst, uint64_t n)
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

static void decode_q4_1(const void *src, float *dst, uint64_t n)
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

static void decode_q5_0(const void *src, float *dst, uint64_t n)
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

static void decode_q5_1(const void *src, float *dst, uint64_t n)
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

static void decode_q8_0(const void *src, float *dst, uint64_t n)
{
    const struct rz_block_q8_0 *b = src;
    for (uint64_t i = 0; i < n / RZ_QK; i++, b++, dst += RZ_QK) {
        float d = rz_f16_to_f32(b->d);
        for (int j = 0; j < RZ_QK; j++)
            dst[j] = (float)b->qs[j] * d;
    }
}

static void decode_q4_k(const void *src, float *dst, uint64_t n)
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

static void decode_q5_k(const void *src, float *dst, uint64_t n)
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

static void decode_q6_k(const void *src, float *dst, uint64_t n)
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

/* clang-format off */
static const struct rz_type_info types[] = {
    [RZ_TYPE_F32] = {"F32", 1, 4, decode_f32},
    [RZ_TYPE_F16] = {"F16", 1, 2, decode_f16},
    [RZ_TYPE_BF16] = {"BF16", 1, 2, decode_bf16},
    [RZ_TYPE_Q4_0] = {"Q4_0", RZ_QK, sizeof(struct rz_block_q4_0), decode_q4_0},
    [RZ_TYPE_Q4_1] = {"Q4_1", RZ_QK, sizeof(struct rz_block_q4_1), decode_q4_1},
    [RZ_TYPE_Q5_0] = {"Q5_0", RZ_QK, sizeof(struct rz_block_q5_0), decode_q5_0},
    [RZ_TYPE_Q5_1] = {"Q5_1", RZ_QK, sizeof(struct rz_block_q5_1), decode_q5_1},
    [RZ_TYPE_Q8_0] = {"Q8_0", RZ_QK, sizeof(struct rz_block_q8_0), decode_q8_0},
    [RZ_TYPE_Q4_K] = {"Q4_K", RZ_QKK, sizeof(struct rz_block_q4_k), decode_q4_k},
    [RZ_TYPE_Q5_K] = {"Q5_K", RZ_QKK, sizeof(struct rz_block_q5_k), decode_q5_k},
    [RZ_TYPE_Q6_K] = {"Q6_K", RZ_QKK, sizeof(struct rz_block_q6_k), decode_q6_k},
};
/* clang-format on */

/* Types that are stored and listed, never run. */
static const struct rz_type_info *stored_only(int32_t type)
{
    static const struct {
        int32_t type;
        struct rz_type_info info;
    } stored[] = {
        {RZ_TYPE_F64, {"F64", 1, 8, NULL}},         {RZ_TYPE_I8, {"I8", 1, 1, NULL}},
        {RZ_TYPE_I16, {"I16", 1, 2, NULL}},         {RZ_TYPE_I32, {"I32", 1, 4, NULL}},
        {RZ_TYPE_I64, {"I64", 1, 8, NULL}},         {RZ_TYPE_U8, {"U8", 1, 1, NULL}},
        {RZ_TYPE_U16, {"U16", 1, 2, NULL}},         {RZ_TYPE_U32, {"U32", 1, 4, NULL}},
        {RZ_TYPE_U64, {"U64", 1, 8, NULL}},         {RZ_TYPE_F8_E4M3, {"F8_E4M3", 1, 1, NULL}},
        {RZ_TYPE_F8_E5M2, {"F8_E5M2", 1, 1, NULL}}, {RZ_TYPE_BOOL, {"BOOL", 1, 1, NULL}},
    };
    for (size_t i = 0; i < sizeof(stored) / sizeof(stored[0]); i++)
        if (stored[i].type == type)
            return &stored[i].info;
    return NULL;
}

const struct rz_type_info *rz_type_info(int32_t type)
{
    static const struct rz_type_info unknown = {"unknown", 0, 0, NULL};
    const struct rz_type_info *stored = stored_only(type);
    if (stored)
        return stored;
    if (type < 0 || (size_t)type >= sizeof(types) / sizeof(types[0]) || !types[type].block)
        return &unknown;
    return &types[type];
}

bool rz_type_bytes(int32_t type, uint64_t n, uint64_t *bytes)
{
    const struct rz_type_info *t = rz_type_info(type);
    if (!t->block || n % t->block)
        return false;
    return rz_mul_u64(n / t->block, t->bytes, bytes);
}

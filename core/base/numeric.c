/* numeric.c - the table of element types. The decoders are in decode_*.c, a family a file. */
#include "numeric.h"

#include "checked.h"
#include "decode.h"

#define BLOCKS(NAME, name, elements) \
    [RZ_TYPE_##NAME] = {#NAME, elements, sizeof(struct rz_block_##name), rz_decode_##name}

/* clang-format off */
static const struct rz_type_info types[] = {
    [RZ_TYPE_F32] = {"F32", 1, 4, rz_decode_f32},
    [RZ_TYPE_F16] = {"F16", 1, 2, rz_decode_f16},
    BLOCKS(Q4_0, q4_0, RZ_QK),
    BLOCKS(Q4_1, q4_1, RZ_QK),
    BLOCKS(Q5_0, q5_0, RZ_QK),
    BLOCKS(Q5_1, q5_1, RZ_QK),
    BLOCKS(Q8_0, q8_0, RZ_QK),
    BLOCKS(Q2_K, q2_k, RZ_QKK),
    BLOCKS(Q3_K, q3_k, RZ_QKK),
    BLOCKS(Q4_K, q4_k, RZ_QKK),
    BLOCKS(Q5_K, q5_k, RZ_QKK),
    BLOCKS(Q6_K, q6_k, RZ_QKK),
    BLOCKS(IQ2_XXS, iq2_xxs, RZ_QKK),
    BLOCKS(IQ2_XS, iq2_xs, RZ_QKK),
    BLOCKS(IQ3_XXS, iq3_xxs, RZ_QKK),
    BLOCKS(IQ1_S, iq1_s, RZ_QKK),
    BLOCKS(IQ4_NL, iq4_nl, RZ_QK),
    BLOCKS(IQ3_S, iq3_s, RZ_QKK),
    BLOCKS(IQ2_S, iq2_s, RZ_QKK),
    BLOCKS(IQ4_XS, iq4_xs, RZ_QKK),
    [RZ_TYPE_I8] = {"I8", 1, 1, rz_decode_i8},
    [RZ_TYPE_I16] = {"I16", 1, 2, rz_decode_i16},
    [RZ_TYPE_I32] = {"I32", 1, 4, rz_decode_i32},
    [RZ_TYPE_I64] = {"I64", 1, 8, rz_decode_i64},
    [RZ_TYPE_F64] = {"F64", 1, 8, rz_decode_f64},
    BLOCKS(IQ1_M, iq1_m, RZ_QKK),
    [RZ_TYPE_BF16] = {"BF16", 1, 2, rz_decode_bf16},
    BLOCKS(TQ1_0, tq1_0, RZ_QKK),
    BLOCKS(TQ2_0, tq2_0, RZ_QKK),
    BLOCKS(MXFP4, mxfp4, RZ_QK),
    BLOCKS(NVFP4, nvfp4, 64),
    BLOCKS(Q1_0, q1_0, 128),
    BLOCKS(Q2_0, q2_0, 64),
};
/* clang-format on */

/* Types of other formats: stored and listed, never run. */
#define FIRST_OTHER RZ_TYPE_F8_E4M3
static const struct rz_type_info others[] = {
    [RZ_TYPE_F8_E4M3 - FIRST_OTHER] = {"F8_E4M3", 1, 1, NULL},
    [RZ_TYPE_F8_E5M2 - FIRST_OTHER] = {"F8_E5M2", 1, 1, NULL},
    [RZ_TYPE_U8 - FIRST_OTHER] = {"U8", 1, 1, NULL},
    [RZ_TYPE_U16 - FIRST_OTHER] = {"U16", 1, 2, NULL},
    [RZ_TYPE_U32 - FIRST_OTHER] = {"U32", 1, 4, NULL},
    [RZ_TYPE_U64 - FIRST_OTHER] = {"U64", 1, 8, NULL},
    [RZ_TYPE_BOOL - FIRST_OTHER] = {"BOOL", 1, 1, NULL},
};

const struct rz_type_info *rz_type_info(int32_t type)
{
    static const struct rz_type_info unknown = {"unknown", 0, 0, NULL};
    if (type >= FIRST_OTHER && (size_t)(type - FIRST_OTHER) < sizeof(others) / sizeof(others[0]))
        return &others[type - FIRST_OTHER];
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

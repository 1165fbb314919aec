/* layout.c - the X16 blobs of weights, and the tiles that read them. No ISA here. */
#include "avx512.h"

#include "../common/types.h"

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

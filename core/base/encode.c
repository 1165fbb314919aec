/* encode.c - which types can be encoded, what an input must be, and the loop over blocks. */
#include "encode.h"

#include "encode_types.h"
#include "err.h"
#include "numeric.h"

#include <float.h>
#include <math.h>

struct encoder {
    void (*block)(const float *x, const float *imatrix, void *block);
    float largest; /* |x| beyond this does not fit */
    bool needs_imatrix;
};

#define HALF 65504.0f
#define ANY FLT_MAX

/* clang-format off */
static const struct encoder encoders[] = {
    [RZ_TYPE_F32] = {rz_encode_f32, ANY, false},
    [RZ_TYPE_F64] = {rz_encode_f64, ANY, false},
    [RZ_TYPE_F16] = {rz_encode_f16, HALF, false},
    [RZ_TYPE_BF16] = {rz_encode_bf16, 3.3895314e38f, false},
    [RZ_TYPE_Q4_0] = {rz_encode_q4_0, HALF, false},
    [RZ_TYPE_Q4_1] = {rz_encode_q4_1, HALF, false},
    [RZ_TYPE_Q5_0] = {rz_encode_q5_0, HALF, false},
    [RZ_TYPE_Q5_1] = {rz_encode_q5_1, HALF, false},
    [RZ_TYPE_Q8_0] = {rz_encode_q8_0, HALF, false},
    [RZ_TYPE_Q2_K] = {rz_encode_q2_k, HALF, false},
    [RZ_TYPE_Q3_K] = {rz_encode_q3_k, HALF, false},
    [RZ_TYPE_Q4_K] = {rz_encode_q4_k, HALF, false},
    [RZ_TYPE_Q5_K] = {rz_encode_q5_k, HALF, false},
    [RZ_TYPE_Q6_K] = {rz_encode_q6_k, HALF, false},
    [RZ_TYPE_IQ1_S] = {rz_encode_iq1_s, HALF, true},
    [RZ_TYPE_IQ1_M] = {rz_encode_iq1_m, HALF, false},
    [RZ_TYPE_IQ2_XXS] = {rz_encode_iq2_xxs, HALF, true},
    [RZ_TYPE_IQ2_XS] = {rz_encode_iq2_xs, HALF, true},
    [RZ_TYPE_IQ2_S] = {rz_encode_iq2_s, HALF, false},
    [RZ_TYPE_IQ3_XXS] = {rz_encode_iq3_xxs, HALF, false},
    [RZ_TYPE_IQ3_S] = {rz_encode_iq3_s, HALF, false},
    [RZ_TYPE_IQ4_NL] = {rz_encode_iq4_nl, HALF, false},
    [RZ_TYPE_IQ4_XS] = {rz_encode_iq4_xs, HALF, false},
    [RZ_TYPE_TQ1_0] = {rz_encode_tq1_0, HALF, false},
    [RZ_TYPE_TQ2_0] = {rz_encode_tq2_0, HALF, false},
    [RZ_TYPE_MXFP4] = {rz_encode_mxfp4, 1e38f, false},
    [RZ_TYPE_NVFP4] = {rz_encode_nvfp4, 2688, false}, /* 448 * 6 */
    [RZ_TYPE_Q1_0] = {rz_encode_q1_0, HALF, false},
    [RZ_TYPE_Q2_0] = {rz_encode_q2_0, HALF, false},
};
/* clang-format on */

static const struct encoder *encoder_of(int32_t type)
{
    static const struct encoder none = {NULL, 0, false};
    return type < 0 || (size_t)type >= sizeof(encoders) / sizeof(encoders[0]) ? &none : &encoders[type];
}

bool rz_encode_knows(int32_t type)
{
    return encoder_of(type)->block != NULL;
}

bool rz_encode_needs_imatrix(int32_t type)
{
    return encoder_of(type)->needs_imatrix;
}

static int32_t check_row(const char *name, float largest, const float *x, uint64_t row, uint64_t cols,
                         struct rz_err *err)
{
    for (uint64_t i = 0; i < cols; i++) {
        if (fabsf(x[i]) <= largest)
            continue;
        if (isfinite(x[i]))
            return rz_fail(err, RZ_EINVAL, name,
                           "row %llu, column %llu: %g is beyond what the type holds (%g)",
                           (unsigned long long)row, (unsigned long long)i, (double)x[i], (double)largest);
        return rz_fail(err, RZ_EINVAL, name, "row %llu, column %llu: the value is %s, not a finite number",
                       (unsigned long long)row, (unsigned long long)i, isnan(x[i]) ? "NaN" : "infinite");
    }
    return RZ_OK;
}

static int32_t check_imatrix(const char *name, const float *imatrix, uint64_t cols, struct rz_err *err)
{
    for (uint64_t i = 0; i < cols; i++)
        if (!(imatrix[i] >= 0 && imatrix[i] < 1e30f))
            return rz_fail(err, RZ_EINVAL, name,
                           "importance matrix, column %llu: %g is no weight (0 to 1e30)",
                           (unsigned long long)i, (double)imatrix[i]);
    return RZ_OK;
}

int32_t rz_encode(int32_t type, const float *src, uint64_t rows, uint64_t cols, const float *imatrix,
                  void *dst, struct rz_err *err)
{
    const struct rz_type_info *info = rz_type_info(type);
    const struct encoder *e = encoder_of(type);
    uint8_t *out = dst;
    if (!e->block)
        return rz_fail(err, RZ_EUNSUPPORTED, info->name, "nothing is encoded to type %d", (int)type);
    if (cols % info->block)
        return rz_fail(err, RZ_EINVAL, info->name, "rows of %llu elements are no whole number of blocks (%u)",
                       (unsigned long long)cols, info->block);
    if (e->needs_imatrix && !imatrix)
        return rz_fail(err, RZ_EINVAL, info->name, "the type needs an importance matrix and there is none");
    int32_t status = imatrix ? check_imatrix(info->name, imatrix, cols, err) : RZ_OK;
    for (uint64_t row = 0; !status && row < rows; row++, src += cols) {
        status = check_row(info->name, e->largest, src, row, cols, err);
        for (uint64_t i = 0; !status && i < cols; i += info->block, out += info->bytes)
            e->block(src + i, imatrix ? imatrix + i : NULL, out);
    }
    return status;
}

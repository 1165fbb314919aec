/* cublas.cc - what the plugin asks of cublasLt, done by the host: products of 16 bits, summed in double.
 *
 * It is as strict as the library: layouts must fit each other, and what it was not asked about before it
 * refuses. RZ_SHIM_LT=none: there is no such library; =never: it knows no algorithm; =fail: products fail.
 */
#include "shim.h"
#undef gridDim
#undef blockDim
#include "cublasLt.h"

#include <stdlib.h>

#define PROOF 0x6c7421u

struct layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};

struct desc {
    cublasOperation_t turned;
};

struct product {
    const uint16_t *a, *b;
    float *d;
    struct layout la, lb, ld;
};

static bool is(const char *what)
{
    const char *set = getenv("RZ_SHIM_LT");
    return set && !strcmp(set, what);
}

template <class T> static cublasStatus_t make(void **out, const T &t)
{
    T *p = (T *)malloc(sizeof(T));
    if (p)
        *p = t;
    *out = p;
    return p ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

static cublasStatus_t drop(void *p)
{
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    return make(out, 0);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    return drop(h);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType scale)
{
    return compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F ? make(out, desc{0})
                                                                : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    return drop(d);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t what,
                                              const void *from, size_t bytes)
{
    if (what != CUBLASLT_MATMUL_DESC_TRANSA || bytes != sizeof(cublasOperation_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&((struct desc *)d)->turned, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    return make(out, (size_t)0);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    return drop(p);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *from, size_t bytes)
{
    if (what != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || bytes != sizeof(size_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(p, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    return make(out, layout{type, rows, cols, ld});
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    return drop(l);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout_,
                                                cublasLtMatrixLayoutAttribute_t what, const void *from,
                                                size_t bytes)
{
    struct layout *l = (struct layout *)layout_;
    void *to = what == CUBLASLT_MATRIX_LAYOUT_TYPE   ? (void *)&l->type
               : what == CUBLASLT_MATRIX_LAYOUT_ROWS ? (void *)&l->rows
               : what == CUBLASLT_MATRIX_LAYOUT_COLS ? (void *)&l->cols
               : what == CUBLASLT_MATRIX_LAYOUT_LD   ? (void *)&l->ld
                                                     : nullptr;
    if (!to || bytes != (what == CUBLASLT_MATRIX_LAYOUT_TYPE ? 4 : 8))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* a: [k, m] turned; b: [k, n]; d: [m, n]. */
static bool fits(const struct desc *t, const struct layout *a, const struct layout *b, const struct layout *d)
{
    return t->turned == CUBLAS_OP_T && a->type == b->type && a->type != CUDA_R_32F && d->type == CUDA_R_32F &&
           a->rows == b->rows && a->cols == d->rows && b->cols == d->cols && a->ld >= (int64_t)a->rows &&
           b->ld >= (int64_t)b->rows && d->ld >= (int64_t)d->rows;
}

static uint64_t proof_of(const struct layout *a, const struct layout *b, const struct layout *d)
{
    return PROOF + a->rows * 31 + a->cols * 37 + b->cols * 41 + (uint64_t)d->ld * 43 + (uint64_t)a->type;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t *out, int *n)
{
    *n = 0;
    if (wanted < 1 || !fits((struct desc *)desc, (struct layout *)a, (struct layout *)b, (struct layout *)d))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (is("never"))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *out = {};
    out->algo.data[0] = proof_of((struct layout *)a, (struct layout *)b, (struct layout *)d);
    *n = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static void multiply(const void *params)
{
    const struct product *p = (const struct product *)params;
    auto value = p->la.type == CUDA_R_16BF ? rz_bf16_to_f32 : rz_f16_to_f32;
    for (uint64_t n = 0; n < p->ld.cols; n++)
        for (uint64_t m = 0; m < p->ld.rows; m++) {
            const uint16_t *a = p->a + m * (uint64_t)p->la.ld, *b = p->b + n * (uint64_t)p->lb.ld;
            double sum = 0;
            for (uint64_t k = 0; k < p->la.rows; k++)
                sum += (double)value(a[k]) * (double)value(b[k]);
            p->d[n * (uint64_t)p->ld.ld + m] = (float)sum;
        }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *,
                              size_t, cudaStream_t)
{
    struct product p = {(const uint16_t *)a,        (const uint16_t *)b,        (float *)d,
                        *(struct layout *)a_layout, *(struct layout *)b_layout, *(struct layout *)d_layout};
    bool known = algo && algo->data[0] == proof_of(&p.la, &p.lb, &p.ld);
    if (!fits((struct desc *)desc, &p.la, &p.lb, &p.ld) || !known || c != d || *(const float *)alpha != 1 ||
        *(const float *)beta != 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (is("fail"))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    return shim_take(multiply, &p, sizeof(p)) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

/* --- instead of a file --- */

void *shim_lt_open(void)
{
    static int file;
    return is("none") ? nullptr : &file;
}

void *shim_lt_find(void *, const char *name)
{
#define NAMED(f) \
    if (!strcmp(name, #f)) \
        return (void *)f;
    NAMED(cublasLtCreate)
    NAMED(cublasLtDestroy)
    NAMED(cublasLtMatmul)
    NAMED(cublasLtMatmulAlgoGetHeuristic)
    NAMED(cublasLtMatmulDescCreate)
    NAMED(cublasLtMatmulDescDestroy)
    NAMED(cublasLtMatmulDescSetAttribute)
    NAMED(cublasLtMatmulPreferenceCreate)
    NAMED(cublasLtMatmulPreferenceDestroy)
    NAMED(cublasLtMatmulPreferenceSetAttribute)
    NAMED(cublasLtMatrixLayoutCreate)
    NAMED(cublasLtMatrixLayoutDestroy)
    NAMED(cublasLtMatrixLayoutSetAttribute)
#undef NAMED
    return nullptr;
}

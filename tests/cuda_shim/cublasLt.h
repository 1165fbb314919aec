/* cublasLt.h - the part of cublasLt that the plugin uses, over the memory of the host. Names and values as in
 * NVIDIA's documentation.
 */
#ifndef RZ_CUDA_SHIM_CUBLASLT_H
#define RZ_CUDA_SHIM_CUBLASLT_H

#include "cuda_runtime_api.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int cublasStatus_t, cublasComputeType_t, cublasOperation_t, cudaDataType;
#define CUBLAS_STATUS_SUCCESS 0
#define CUBLAS_STATUS_INVALID_VALUE 7
#define CUBLAS_STATUS_EXECUTION_FAILED 13
#define CUBLAS_STATUS_NOT_SUPPORTED 15
#define CUBLAS_OP_T 1
#define CUBLAS_COMPUTE_32F 68
#define CUDA_R_32F 0
#define CUDA_R_16F 2
#define CUDA_R_16BF 14

typedef void *cublasLtHandle_t, *cublasLtMatmulDesc_t, *cublasLtMatrixLayout_t, *cublasLtMatmulPreference_t;
typedef int cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t,
    cublasLtMatmulPreferenceAttributes_t;
#define CUBLASLT_MATMUL_DESC_TRANSA 3
#define CUBLASLT_MATRIX_LAYOUT_TYPE 0
#define CUBLASLT_MATRIX_LAYOUT_ROWS 2
#define CUBLASLT_MATRIX_LAYOUT_COLS 3
#define CUBLASLT_MATRIX_LAYOUT_LD 4
#define CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES 1

struct cublas_algo {
    uint64_t data[8];
};
#define cublasLtMatmulAlgo_t struct cublas_algo

struct cublas_heuristic {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
};
#define cublasLtMatmulHeuristicResult_t struct cublas_heuristic

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h);
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType scale);
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc);
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what,
                                              const void *from, size_t bytes);
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out);
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p);
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *from, size_t bytes);
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld);
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l);
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t what, const void *from,
                                                size_t bytes);
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t p, int wanted,
                                              cublasLtMatmulHeuristicResult_t *out, int *n);
cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *work,
                              size_t work_bytes, cudaStream_t stream);

/* Instead of dlopen and dlsym. RZ_SHIM_LT=none: there is no library. */
void *shim_lt_open(void);
void *shim_lt_find(void *file, const char *name);
#define CU_LT_OPEN shim_lt_open
#define CU_LT_FIND shim_lt_find

#ifdef __cplusplus
}
#endif
#endif

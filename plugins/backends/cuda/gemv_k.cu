/* gemv_k.cu - matrix-vector products of the K types. */
#include "gemv.h"

CU_GEMVS(Q2_K)
CU_GEMVS(Q3_K)
CU_GEMVS(Q4_K)
CU_GEMVS(Q5_K)
CU_GEMVS(Q6_K)

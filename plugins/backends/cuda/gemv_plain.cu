/* gemv_plain.cu - matrix-vector products of the plain types. */
#include "gemv.h"

CU_GEMVS(F32)
CU_GEMVS(F16)
CU_GEMVS(BF16)
CU_GEMVS(Q8_0)
CU_GEMVS(Q4_0)
CU_GEMVS(Q4_1)

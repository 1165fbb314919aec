/* gemv_blocks.cu - matrix-vector products of other blocks of 32, and IQ4_XS. */
#include "gemv.h"

CU_GEMVS(Q5_0)
CU_GEMVS(Q5_1)
CU_GEMVS(IQ4_NL)
CU_GEMVS(IQ4_XS)
CU_GEMVS(MXFP4)

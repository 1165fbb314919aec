/* kernels_experts.c - products in which each row meets a matrix of its own choice. */
#include "avx2.h"

#include "../common/experts_rows.h"

/* kernels_experts.c - products in which each row meets a matrix of its own choice. */
#include "neon.h"

#include "../common/experts_rows.h"

/* kernels_recurrent.c - ops that carry state from row to row. */
#include "avx2.h"

#include "../common/recurrent.h"

/* kernels_recurrent.c - ops that carry state from row to row. */
#include "neon.h"

#include "../common/recurrent.h"

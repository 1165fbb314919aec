/* kernels_split.c - attention over one split. */
#include "avx2.h"

#include "../common/split_eight.h"

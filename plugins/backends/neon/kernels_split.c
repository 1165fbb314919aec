/* kernels_split.c - attention over one split. */
#include "neon.h"

#include "../common/split_eight.h"

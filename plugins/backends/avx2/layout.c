/* layout.c - the X8 blobs of weights. */
#include "avx2.h"

#include "../common/types.h"

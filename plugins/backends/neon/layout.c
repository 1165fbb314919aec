/* layout.c - the X8 blobs of weights. */
#include "neon.h"

#include "../common/types.h"

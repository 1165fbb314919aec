/* kernels_region.c - the regions over this table's tiles. */
#include "avx2.h"

#include "../common/region_rows.h"

/* kernels_region.c - the regions over this table's tiles. */
#include "neon.h"

#include "../common/region_rows.h"

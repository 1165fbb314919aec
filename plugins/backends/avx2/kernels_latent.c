/* kernels_latent.c - attention over a latent KV. */
#include "avx2.h"

#include "../common/latent.h"

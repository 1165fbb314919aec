/* kernels_latent.c - attention over a latent KV. */
#include "neon.h"

#include "../common/latent.h"

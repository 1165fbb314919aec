/* shim.h - between the fibers and the runtime of the shim. */
#ifndef RZ_SHIM_H
#define RZ_SHIM_H

#include "cuda_shim.h"

#include <stddef.h>

/* Runs all blocks of a launch, one after another. */
void shim_run(const struct shim_kernel *k, const struct shim_dim *grid, const struct shim_dim *block,
              size_t shared_bytes, const void *params);
void shim_free_stacks(void);
/* Calls call(params) now, or whenever the graph runs that is being captured. False: no memory. */
bool shim_take(void (*call)(const void *params), const void *params, size_t bytes);

#endif

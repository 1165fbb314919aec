/* cuda_cases.h - how a program of a rig is judged on the cuda plugin: beside the reference, in bits beside
 * itself. For the tests of the plugin.
 */
#ifndef RZ_CUDA_CASES_H
#define RZ_CUDA_CASES_H

#include "device_rig.h"

/* The plugin's device with numerics = invariant, = fast without a library, or with it; and with rows as
 * integers, invariant or fast. All others leave rows as floats. */
enum cuda_products {
    CUDA_FAST,
    CUDA_EXACT,
    CUDA_LIBRARY,
    CUDA_BYTES,
    CUDA_FAST_BYTES,
    CUDA_PRODUCTS
};
const struct rz_device *cuda_device(enum cuda_products products);
/* Steps of 1 to 9 rows, and of 33 and 70: fast and exact beside the reference, exact also row by row. */
void compare_rows(const struct rig *r, const char *what);
/* The same for these steps and options: in `rows` the bits of single steps are compared, too. */
void compare_steps(const struct rig *r, const struct device_step *steps, uint32_t n,
                   const struct device_options *o, const char *what);
/* Steps of 1 to 9 rows, 17, 64 and 70 with rows as integers beside the reference; single rows have the
 * same bits. */
void compare_bytes(const struct rig *r, double slack, const char *what);
/* Steps of 9, 40 and 130 rows with the library for products beside the reference. */
void compare_library(const struct rig *r, const char *what);
/* top has the k best of all, or all of them, and -inf else. */
void check_top(const float *all, const float *top, uint32_t width, uint32_t k);

#endif

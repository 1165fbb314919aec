/* neon.c - the kernel table for aarch64: regions run whole, weights in the X8 layout, activations as 8-bit
 * blocks of 32 for quantised weights and float32 for the others. The products of quantised weights are
 * done with the best instructions that the CPU has; what comes out is the same on all levels.
 */
#include "neon.h"

#include <sys/auxv.h>

#define LAYOUT LAYOUT_X8
#define LAYOUT_NAME "x8"
#define MORE_LAYOUTS
#include "../common/table_all.h"

/* Linux' bits of AT_HWCAP and AT_HWCAP2, which <asm/hwcap.h> has under names that change between versions. */
#define CAP_DOTPROD (1ul << 20)
#define CAP2_I8MM (1ul << 13)

RUNS_ALL(base, LEVEL_BASE)
RUNS_ALL(dot, LEVEL_DOT)
RUNS_ALL(mm, LEVEL_MM)

void tile_run(int level, int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float (*out)[GROUP])
{
    if (!x_type(type)->quantised)
        tile_float(type, group, cols, x, n, out);
    else if (level == LEVEL_MM)
        tile_mm(type, group, cols, x, n, out);
    else if (level == LEVEL_DOT)
        tile_dot(type, group, cols, x, n, out);
    else
        tile_base(type, group, cols, x, n, out);
}

static const struct rz_kernel_row rows_base[] = {ROWS_ALL(base, "")},
                                  rows_dot[] = {ROWS_ALL(dot, " dotprod")},
                                  rows_mm[] = {ROWS_ALL(mm, " i8mm")};
static const struct rz_kernels base = TABLE("neon", rows_base), dot = TABLE("neon", rows_dot),
                               mm = TABLE("neon", rows_mm);

/* self is the table of the best level that this CPU has. */
static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)config, (void)err;
    bool has_dot = getauxval(AT_HWCAP) & CAP_DOTPROD, has_mm = getauxval(AT_HWCAP2) & CAP2_I8MM;
    *self = (void *)(has_dot && has_mm ? &mm : has_dot ? &dot : &base);
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    return !strcmp(id, RZ_KERNELS_1) && minor_need == 0 ? self : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_KERNELS), .name = "neon", .version = "0.1.0", .vendor = "rz",
               .licence = "MIT", .provides = "kernels:neon"},
    .init = init,
    .query = query,
};

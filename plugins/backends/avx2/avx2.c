/* avx2.c - the kernel table for x86-64 with AVX2, FMA and F16C: regions run whole, weights in the X8
 * layout, activations as 8-bit blocks of 32 for quantised weights and float32 for the others.
 */
#include "avx2.h"

#define LAYOUT LAYOUT_X8
#define LAYOUT_NAME "x8"
#define MORE_LAYOUTS PLANES_LAYOUT
#include "../common/table_head.h"

#include "../common/table_all.h"

RUNS_ALL(int8, 0)
RUN(head, int8, 0)

static const struct rz_kernel_row rows[] = {ROWS_ALL(int8, ""), HEAD_ROW(int8, "")};
static const struct rz_kernels kernels = TABLE("avx2", rows);

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)config, (void)err;
    *self = NULL;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return !strcmp(id, RZ_KERNELS_1) && minor_need == 0 ? &kernels : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_KERNELS), .isa = {RZ_ISA_AVX | RZ_ISA_AVX2 | RZ_ISA_FMA | RZ_ISA_F16C},
               .name = "avx2", .version = "0.1.0", .vendor = "rz", .licence = "MIT",
               .provides = "kernels:avx2"},
    .init = init,
    .query = query,
};

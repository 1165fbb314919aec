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

static const struct rz_kernel_row plain_rows[] = {ROWS_ALL(int8, "")},
                                  head_rows[] = {ROWS_ALL(int8, ""), HEAD_ROW(int8, "")};
static const struct rz_kernels plain = TABLE("avx2", plain_rows), planes = TABLE("avx2", head_rows);

/* clang-format off */
static const struct rz_option options[] = {
    {.size = sizeof(struct rz_option), .type = RZ_OPT_CHOICE, .name = "head", .def = "x8",
     .choices = "x8|planes",
     .help = "how an LM head of Q8_0 lies; planes: it can be screened, and reading all of it takes longer"},
};
/* clang-format on */

/* self is the table with the head that was asked for. */
static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)err;
    bool screened = config && config->n_values && config->values[0].i == 1;
    *self = (void *)(screened ? &planes : &plain);
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    return !strcmp(id, RZ_KERNELS_1) && minor_need == 0 ? self : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_KERNELS), .isa = {RZ_ISA_AVX | RZ_ISA_AVX2 | RZ_ISA_FMA | RZ_ISA_F16C},
               .name = "avx2", .version = "0.1.0", .vendor = "rz", .licence = "MIT",
               .provides = "kernels:avx2"},
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .option_stride = sizeof(options[0]),
    .init = init,
    .query = query,
};

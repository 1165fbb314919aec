/* avx512.c - the kernel table for x86-64 with AVX-512 and VNNI: regions run whole, weights in the X16
 * layout, activations as 8-bit blocks of 32 or 16-bit rows for quantised weights (option activations) and
 * float32 for the others.
 */
#include "avx512.h"

#define LAYOUT LAYOUT_X16
#define LAYOUT_NAME "x16"
#define MORE_LAYOUTS PLANES_LAYOUT
#include "../common/table_head.h"

#include "../common/table_experts.h"

RUNS(int8, 0, 0)
RUNS(coarse, 0, 1)
RUNS(wide, 1, 0)
RUNS_EXPERTS(int8, 0)
RUNS_EXPERTS(coarse, 0)
RUNS_EXPERTS(wide, 1)
RUN(head, int8, 0)
RUN(head, coarse, 0)
RUN(head, wide, 1)

static int32_t accept_qkv_pairs(const struct rz_kernel_node *n)
{
    return accept_weights(n) && pairs_accept(n);
}

/* clang-format off */
#define PAIRS .kv_types = 1u << RZ_TYPE_BF16, .kv_layout = RZ_KV_LAYOUT_PAIRS
#define PAIRS_ROWS KV_ROWS(coarse, "", "pairs", PAIRS, pairs_accept, accept_qkv_pairs),
#define ALL_ROWS(numerics, label, first) { \
    first \
    ROWS(numerics, label), \
    ROWS_EXPERTS(numerics, label), \
    HEAD_ROW(numerics, label), \
}
/* clang-format on */
static const struct rz_kernel_row rows_coarse[] = ALL_ROWS(coarse, "", PAIRS_ROWS),
                                  rows_int8[] = ALL_ROWS(int8, "", ),
                                  rows_wide[] = ALL_ROWS(wide, " int16", );
static const struct rz_kernels coarse = TABLE("avx512", rows_coarse), int8 = TABLE("avx512", rows_int8),
                               wide = TABLE("avx512", rows_wide);

/* clang-format off */
static const struct rz_option options[] = {
    {.size = sizeof(struct rz_option), .type = RZ_OPT_CHOICE, .name = "activations", .def = "int8",
     .choices = "int8|int16",
     .help = "what activations are rounded to: int8, a scale for each 32 elements; int16, a scale a row"},
};
/* clang-format on */

/* self is the table of the numerics that were asked for. 8-bit activations are so coarse that bfloat16 in
 * attention adds nothing to their error; there it is used where the CPU has it. */
static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)err;
    bool int16 = config && config->n_values && config->values[0].i == 1;
    *self = (void *)(int16 ? &wide : __builtin_cpu_supports("avx512bf16") ? &coarse : &int8);
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    return !strcmp(id, RZ_KERNELS_1) && minor_need == 0 ? self : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_KERNELS),
               .isa = {RZ_ISA_AVX | RZ_ISA_AVX2 | RZ_ISA_FMA | RZ_ISA_F16C | RZ_ISA_AVX512F |
                       RZ_ISA_AVX512BW | RZ_ISA_AVX512VL | RZ_ISA_AVX512DQ | RZ_ISA_AVX512VNNI},
               .name = "avx512", .version = "0.1.0", .vendor = "rz", .licence = "MIT",
               .provides = "kernels:avx512"},
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .option_stride = sizeof(options[0]),
    .init = init,
    .query = query,
};

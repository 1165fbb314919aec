/* kernel_rig.h - runs one row of a kernel table outside any plan: weights laid out, threads, a step.
 *
 * For tests. Values are dense matrices of floats; nothing is owned but what kernel_open made.
 */
#ifndef RZ_KERNEL_RIG_H
#define RZ_KERNEL_RIG_H

#include <rz/kernels.h>
#include <stdbool.h>

#define KERNEL_WEIGHTS 10

/* The tables under test: the machine's own, and the widest one where there are two; rz_no_table: there is
 * none, and its tests are skipped. */
extern const struct rz_plugin rz_builtin_scalar;
#if defined(__x86_64__)
extern const struct rz_plugin rz_builtin_avx2, rz_builtin_avx512;
#define FAST rz_builtin_avx2
#define WIDEST rz_builtin_avx512
#else
extern const struct rz_plugin rz_builtin_neon, rz_no_table;
#define FAST rz_builtin_neon
#define WIDEST rz_no_table
#endif

/* The table of a plugin that is linked in, with this choice for its first option if it has options, or NULL
 * where this CPU cannot run it. */
const struct rz_kernels *kernel_table(const struct rz_plugin *plugin, int64_t choice);
/* The same with the first choice; the test is skipped where this CPU cannot run it. */
const struct rz_kernels *kernel_table_or_skip(const struct rz_plugin *plugin);

/* A node, its row in a table, and its weights in the layouts that the row wants. */
struct kernel_case {
    const struct rz_kernels *table;
    const struct rz_kernel_row *row;
    struct rz_kernel_node node;
    struct rz_attr attrs[RZ_A_COUNT];
    struct rz_weight_view weights[KERNEL_WEIGHTS];
    void *blobs[KERNEL_WEIGHTS];
};

/* Begins a node; attributes and weights follow, then kernel_open. */
void kernel_begin(struct kernel_case *n, const struct rz_kernels *table, uint16_t op);
void kernel_attr(struct kernel_case *n, uint32_t id, int64_t i, double f);
/* Weight [rows, cols] in its file layout; borrowed. rows 1: a vector. */
void kernel_weight(struct kernel_case *n, int32_t type, uint64_t cols, uint64_t rows, const void *data);
/* An absent operand. */
void kernel_no_weight(struct kernel_case *n);
/* Finds the row for these operand widths and KV type (-1: no KV) and lays the weights out. False: the
 * table has no row for the node. */
bool kernel_open(struct kernel_case *n, const uint64_t *in_width, uint32_t n_in, const uint64_t *out_width,
                 uint32_t n_out, uint32_t max_rows, int32_t kv_type);
void kernel_close(struct kernel_case *n);

/* Runs the node over n_rows rows on n_threads threads; in and out are dense. step may be NULL. */
void kernel_run(const struct kernel_case *n, uint32_t n_rows, uint32_t n_threads, float *const *in,
                float *const *out, const struct rz_step *step);

#endif

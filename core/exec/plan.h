/* plan.h - a compiled plan of the CPU device: constant tables, and the memory that steps use. */
#ifndef RZ_EXEC_PLAN_H
#define RZ_EXEC_PLAN_H

#include "arena.h"
#include "batch_check.h"
#include "select.h"

#include <stdatomic.h>

#define RZ_OPERANDS_MAX 4

struct rz_cpu {
    struct rz_cpu_setup setup;
    struct rz_device device;
    struct rz_plan *plans; /* all that are compiled, so that they share prepared weights */
};

/* One node to run. */
struct rz_plan_step {
    uint32_t node;
    uint32_t rows; /* RZ_ROWS_*: how many rows it has in a step */
    struct rz_choice choice;
    struct rz_kernel_node kernel[RZ_CHOICES_MAX]; /* for choice.rows[i]; weights in its layouts */
    int32_t in[RZ_OPERANDS_MAX], out[RZ_OPERANDS_MAX];
    bool only_logits; /* nobody needs it unless some row wants logits */
};

/* A node as a step with some numbers of rows runs it: all but the member and its tile. */
struct rz_plan_run {
    const struct rz_kernel_row *row;
    uint32_t at; /* of steps */
    bool shown;  /* its input to setup.observe */
    struct rz_kernel_call call;
    struct rz_view in[RZ_OPERANDS_MAX], out[RZ_OPERANDS_MAX];
};

/* What the runs depend on. */
struct rz_plan_shape {
    uint32_t n_rows, n_wanted, stage;
    bool wants_logits;
};

/* A weight in the layout of some row. */
struct rz_blob {
    int32_t weight;
    uint32_t layout;
    const struct rz_layout *maker;
    uint32_t table;         /* of the maker */
    uint64_t offset, bytes; /* in plan.blobs */
};

struct rz_plan {
    struct rz_cpu *cpu;
    const struct rz_program *program;
    struct rz_plan_limits limits;
    struct rz_select select;
    struct rz_arena arena; /* tables below */

    struct rz_plan_step *steps;
    uint32_t n_steps, cap_steps;
    struct rz_view *views; /* [n_values] */

    struct rz_blob *prepared;
    uint32_t n_prepared;

    bool measured; /* only its sizes are wanted: no memory is taken */
    /* memory, each mapped once */
    uint8_t *values, *scratch, *kv, *blobs, *state;
    struct rz_plan *next; /* of cpu->plans */
    uint32_t *blob_refs;  /* plans that share the blobs */
    uint64_t value_bytes, scratch_bytes, kv_bytes, blob_bytes;
    uint64_t slot_bytes; /* of the recurrent state of one sequence, in all layers */
    float *rope_memory;
    uint64_t rope_bytes;

    struct rz_batch_bounds bounds;
    bool variant; /* a row without the invariant flag is in use */
    struct rz_kv_view kv_views[8];
    struct rz_rope_view rope_views[8];
    struct rz_state_view *state_views; /* [n_states] */

    /* the step that runs */
    struct rz_step step;
    uint32_t *wanted;         /* [max_rows] */
    struct rz_plan_run *runs; /* [n_steps], the first n_runs of them for a step of this shape */
    uint32_t n_runs;
    struct rz_plan_shape shape; /* n_rows 0: of none yet */
    _Atomic int32_t status;
    _Atomic uint32_t failed_at; /* step; UINT32_MAX: none */
    struct rz_err error;
};

/* Anonymous zero pages, committed when touched; huge: ask for large pages. NULL: none left. */
void *rz_map_memory(uint64_t bytes, bool huge);
void rz_unmap_memory(void *p, uint64_t bytes);

/* prep.c: makes the blobs that the chosen rows ask for and points the kernel nodes at them. */
int32_t rz_plan_prepare(struct rz_plan *plan, struct rz_err *err);
void rz_plan_unprepare(struct rz_plan *plan);
/* Bytes of weights that no blob takes the place of. */
uint64_t rz_plan_mapped_bytes(const struct rz_plan *plan);
/* buffers.c: memory of values, scratch, KV, recurrent state and rope tables. */
int32_t rz_plan_buffers(struct rz_plan *plan, struct rz_err *err);
static inline uint64_t rz_plan_state_bytes(const struct rz_plan *plan)
{
    return plan->slot_bytes * plan->limits.n_slots;
}

/* store.c */
int64_t rz_plan_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                      struct rz_err *err);
int32_t rz_plan_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                      struct rz_err *err);

/* walk.c */
int32_t rz_plan_execute(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                        struct rz_err *err);

#endif

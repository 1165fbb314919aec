/* batch_check.h - is a batch one that a plan can run? For every device: nothing is touched before. */
#ifndef RZ_BASE_BATCH_CHECK_H
#define RZ_BASE_BATCH_CHECK_H

#include <rz/device.h>
#include <stdbool.h>

/* What the program's nodes and the limits of the plan allow a batch to say. */
struct rz_batch_bounds {
    const struct rz_program *program;
    struct rz_plan_limits limits;
    uint64_t n_tokens;        /* rows of the embedding                */
    uint64_t n_positions;     /* that all tables of positions have    */
    uint32_t n_rope_variants; /* tables that each rope has            */
    bool both;                /* every attention honours RZ_MASK_ALL  */
};

/* Refuses limits that contradict themselves or the program. */
int32_t rz_batch_bounds_init(const struct rz_program *program, const struct rz_plan_limits *limits,
                             struct rz_batch_bounds *out, struct rz_err *err);
/* RZ_OK: tokens, positions, pages, slots and wants are within bounds. The program outlives the bounds. */
int32_t rz_batch_check(const struct rz_batch_bounds *bounds, const struct rz_batch *batch,
                       struct rz_err *err);

#endif

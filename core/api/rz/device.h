/* device.h - rz.device/1: whoever executes programs: the CPU of the host, a GPU, a remote machine.
 *
 * A device is offered the nodes of a program once, top-down; it claims what it can run, compiles the
 * claimed run to a plan, and then executes steps. It owns its copies of weights, its KV and state
 * storage and whatever it captured. Policy (which page and which slot belongs to whom) is the engine's.
 */
#ifndef RZ_DEVICE_H
#define RZ_DEVICE_H

#include <rz/batch.h>
#include <rz/program.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_DEVICE_1 "rz.device/1"

/* What a plan is compiled for. */
struct rz_plan_limits {
    uint32_t size;
    uint32_t max_rows;    /* rows in one step                       */
    uint32_t max_wanted;  /* rows of one step that want results     */
    uint32_t max_seqs;    /* sequences in one step                  */
    uint32_t max_context; /* positions of one sequence              */
    uint32_t page_tokens;
    uint32_t n_pages; /* of each KV group */
    int32_t kv_type;  /* RZ_TYPE_F16, BF16, F32, Q8_0 */
    uint32_t n_slots; /* of recurrent state; 0 only for programs without */
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_plan_limits, 40, zero);

struct rz_claim {
    uint32_t size;
    uint32_t taken;       /* 0: no, offer its children; 1: yes            */
    uint64_t bytes_token; /* weight bytes read for one token              */
    const char *runner;   /* who: "avx2 matmul q4_1 x8"                   */
    const char *why;      /* why this one, or why not                     */
};
RZ_ABI_SIZE(struct rz_claim, 32, why);

struct rz_plan_info {
    uint32_t size;
    uint32_t wants; /* mask of 1 << RZ_WANT_* */
    uint64_t weight_bytes, prepared_bytes, kv_bytes, scratch_bytes, state_bytes;
};
RZ_ABI_SIZE(struct rz_plan_info, 48, state_bytes);

struct rz_plan;

struct rz_device {
    uint32_t size, minor;
    const char *name;
    void *ctx;
    /* Would the device run this node as a whole? Control thread. */
    int32_t (*claim)(void *ctx, const struct rz_program *program, uint32_t node, struct rz_claim *out,
                     struct rz_err *err);
    /* Compiles nodes[0..n) of the program (indices, ascending, none inside another), prepares weights,
     * takes all memory that it will ever need. The program outlives the plan. Control thread. */
    int32_t (*compile)(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                       const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err);
    int32_t (*info)(struct rz_plan *plan, struct rz_plan_info *out);
    /* Runs one step to its end. On error the KV of the batch's rows, and the states that it
     * names, are undefined. One call at a time. */
    int32_t (*execute)(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                       struct rz_err *err);
    void (*destroy)(struct rz_plan *plan);
};
RZ_ABI_SIZE(struct rz_device, 64, destroy);

#ifdef __cplusplus
}
#endif
#endif

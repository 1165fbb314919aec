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
    int32_t kv_type;  /* RZ_TYPE_F16, BF16, F32, Q8_0, F8_E4M3; compile refuses what it lacks */
    uint32_t n_slots; /* of recurrent state; 0 only for programs without */
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_plan_limits, 40, zero);

/* A node that the device would run whole, or why it would not. Text lives as long as the device. */
struct rz_claim {
    uint32_t size;
    uint32_t taken;       /* 0: no, offer its children; 1: yes            */
    uint64_t bytes_token; /* weight bytes read for one token              */
    const char *runner;   /* who: "avx2 matmul q4_1 x8"                   */
    const char *why;      /* why this one, or why not                     */
};
RZ_ABI_SIZE(struct rz_claim, 32, why);

/* flags of a plan */
#define RZ_PLAN_OWNS_WEIGHTS 1u   /* it reads no weight of the program any more: the host drops their pages */
#define RZ_PLAN_INVARIANT 2u      /* results do not depend on which rows share a step                       */
#define RZ_PLAN_SHARES_WEIGHTS 4u /* another plan of the same program and nodes takes none of its own    */

struct rz_plan_info {
    uint32_t size;
    uint32_t wants; /* mask of 1 << RZ_WANT_* */
    /* prepared_bytes: weights in memory of the plan, without those that it has from another plan */
    uint64_t weight_bytes, prepared_bytes, kv_bytes, scratch_bytes, state_bytes;
    uint64_t flags; /* RZ_PLAN_* */
    uint64_t
        mapped_bytes; /* of weights that steps read where the program has them, not from memory of the plan */
};
RZ_ABI_SIZE(struct rz_plan_info, 64, mapped_bytes);

/* One thing that a plan does in a step: a node, or the first of several that run as one. */
struct rz_plan_part {
    uint32_t size;
    uint32_t node;        /* of the program; parts come in the order of their nodes   */
    uint64_t bytes_token; /* weight bytes read for one token                          */
    char runner[64];      /* who: "avx2 matmul q4_1"                                  */
    char why[96];
    const char *device; /* its name, where a plan lies on several; else left alone    */
};
RZ_ABI_SIZE(struct rz_plan_part, 184, device);

struct rz_device_memory {
    uint32_t size;
    uint32_t zero;
    uint64_t total, free; /* bytes for weights, KV and the rest; free 0: not known */
    uint64_t largest;     /* one allocation; 0: no limit of its own                */
};
RZ_ABI_SIZE(struct rz_device_memory, 32, largest);

struct rz_plan;

/* A stage that another plan has begun. */
struct rz_awaited {
    struct rz_plan *plan;
    uint32_t stage, zero;
};
RZ_ABI_SIZE(struct rz_awaited, 16, zero);

/* The life of a device: open, then any number of plans, each compiled and in the end destroyed, then the
 * fini of its plugin. Only execute is called from other threads than the control thread: while one plan
 * executes, others may be compiled, measured and destroyed. */
struct rz_device {
    uint32_t size, minor;
    const char *name;
    void *ctx;
    /* Finds the hardware and makes it ready; before anything else, and again before each model. A plugin's
     * init leaves this to open, so that listing plugins wakes no GPU. RZ_EDEVICE: there is none, and why. */
    int32_t (*open)(void *ctx, struct rz_err *err);
    int32_t (*memory)(void *ctx, struct rz_device_memory *out, struct rz_err *err);
    /* Would the device run this node as a whole, in a plan with these limits? */
    int32_t (*claim)(void *ctx, const struct rz_program *program, uint32_t node,
                     const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err);
    /* Compiles nodes[0..n) of the program (indices, ascending, none inside another), prepares weights,
     * takes all memory that it will ever need. The program outlives the plan. A node that was not claimed
     * may be among them: then this says why nobody runs it. */
    int32_t (*compile)(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                       const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err);
    int32_t (*info)(struct rz_plan *plan, struct rz_plan_info *out);
    /* Part i of the plan; RZ_END after the last. */
    int32_t (*part)(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out);
    /* Runs one step to its end, or the batch's stage of it. On error the KV of the batch's rows, and the
     * pages and states that it names as targets, are undefined. One call at a time. RZ_EDEVICE: the device
     * is lost, and so is the plan: it is destroyed, which waits for what the step has left behind. */
    int32_t (*execute)(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                       struct rz_err *err);
    void (*destroy)(struct rz_plan *plan);
    /* The type of KV that suits this program best where the user leaves it open; RZ_TYPE_NONE: any suits.
     * NULL: RZ_TYPE_F16. */
    int32_t (*kv_type)(void *ctx, const struct rz_program *program, uint32_t page_tokens);
    /* The bytes of a KV page, or of a slot of recurrent state (group = the program's n_kv_groups), between
     * steps: fetch copies all n of them to out and returns their number (out NULL: returns it only), store
     * copies them back, perhaps into another page, another plan of the same program and limits. From the
     * thread of execute. NULL: the device cannot. */
    int64_t (*fetch)(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                     struct rz_err *err);
    int32_t (*store)(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                     struct rz_err *err);
    /* What compile would take, as info of the plan that it would make; nothing is taken. NULL: the device
     * cannot tell. */
    int32_t (*measure)(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                       const struct rz_plan_limits *limits, struct rz_plan_info *out, struct rz_err *err);
    /* For a plugin that drives several devices of its kind: *out becomes the ctx of device number index, as
     * its driver counts, with which everything else of this table works. It lives as long as the plugin.
     * NULL: there is one. From the control thread; whether there is such a device is for open to say. */
    int32_t (*numbered)(void *ctx, uint32_t index, void **out, struct rz_err *err);
    /* execute in two halves, so that devices work at the same time: begin may return before the stage has
     * run, and more stages may be begun behind it; finish returns when all of them have, with the results of
     * the last. The batch and its tables are read before begin returns; the values that its inputs and
     * outputs name are read and written until finish does. The stage touches neither before the n awaited
     * ones are over: each is of a plan of the same plugin, and is the last that it has begun, or the one
     * before. After an error, finish ends what is left. NULL, both of them: execute is all there is. */
    int32_t (*begin)(struct rz_plan *plan, const struct rz_batch *batch, const struct rz_awaited *awaited,
                     uint32_t n, struct rz_err *err);
    int32_t (*finish)(struct rz_plan *plan, struct rz_result *out, struct rz_err *err);
    /* Memory for outputs of this device's plans that are inputs of plans of the n peers, other ctx of the
     * same plugin: on the device where those can read it there, else where copies need not wait. Only for
     * inputs and outputs: the host does not look into it. NULL: they lie in plain memory of the host. */
    int32_t (*share)(void *ctx, void *const *peers, uint32_t n, uint64_t bytes, void **out,
                     struct rz_err *err);
    void (*unshare)(void *ctx, void *memory);
};
RZ_ABI_SIZE(struct rz_device, 160, unshare);

#ifdef __cplusplus
}
#endif
#endif

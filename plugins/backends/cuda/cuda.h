/* cuda.h - the host part of the plugin: a device, its plans, and who does what of them.
 *
 * cuda.c has the plugin, compile.c makes plans, weights.c lays weights out, memory.c plans and takes memory,
 * ops.c, products.c and sequence.c turn nodes into launches, step.c runs a step. Only the runtime of CUDA
 * is linked; it finds the driver, or not, when the first function is called.
 */
#ifndef RZ_CUDA_H
#define RZ_CUDA_H

#include "params.h"

#include "access.h"
#include "batch_check.h"

#include <cuda_runtime_api.h>
#include <pthread.h>
#include <rz/device.h>
#include <rz/host.h>
#include <rz/plugin.h>
#include <stdbool.h>

/* The tests build this plugin over their shim, under another name. */
#ifndef CU_NAME
#define CU_NAME "cuda"
#endif

#define CU_GRAPHS 96
#define CU_DONE 2       /* stages of a plan that others may await */
#define CU_TOP_ROWS 256 /* wanted rows of a step whose best logits the device picks out */
#define CU_LIBRARIES 24
#define CU_FEW 8          /* rows of a step that the matrix-vector kernels take */
#define CU_GRAPH_ROWS 128 /* rows of a step that may be captured                */
#define CU_GRAPH_STAGES 8 /* of a program whose steps are captured             */
#define CU_APART_ROWS 64  /* rows of a step whose parts of the keys go to blocks of their own */
#define CU_OPERANDS 4
#define CU_WEIGHTS 10

/* Rows that meet weights of blocks become integers: where there are CU_MANY_WEIGHTS, always, or never. */
enum {
    CU_PRODUCTS_AUTO,
    CU_PRODUCTS_INT8,
    CU_PRODUCTS_FLOAT
};
#define CU_MANY_WEIGHTS (1u << 20)

struct cu_device {
    struct rz_device table;
    struct cu_device *next; /* another GPU of the plugin */
    const struct rz_host *host;
    int index;
    int products; /* CU_PRODUCTS_* */
    bool invariant, use_graphs, use_lt;
    uint64_t reserve;
    cudaLibrary_t library[CU_LIBRARIES];
    uint32_t n_libraries;
    bool ready;
    char name[128];
    struct cu_shared *shares;
    pthread_mutex_t lock;
    struct rz_plan *plans; /* those that are whole; under lock */
    int capability;        /* 90 for 9.0 */
    uint64_t shared;       /* bytes of shared memory that a block may have */
};

/* Kernels of an op: what each file calls its own, and those of lt.c. */
enum {
    CU_KERNEL_SHORTEN = 6,
    CU_KERNEL_UNPACK,
    CU_KERNEL_SETTLE,
    CU_KERNEL_ROUNDS,
    CU_KERNELS
};

/* How an op is run. */
#define CU_RUN_ALWAYS 0
#define CU_RUN_MANY 1  /* not in a step of few rows: another op does it then      */
#define CU_RUN_NEVER 2 /* another op does it                                      */

/* A primitive of the program. */
struct cu_op {
    uint32_t node;
    const struct rz_node *n;
    uint32_t rows; /* RZ_ROWS_* */
    uint32_t run;  /* CU_RUN_*  */
    int32_t in[CU_OPERANDS], out[CU_OPERANDS];
    int32_t weight[CU_WEIGHTS]; /* of the program; -1 */
    bool only_logits;
    bool bytes; /* of products, and of what is within their launches: rows meet weights as integers */
    /* what it does for others; indices of ops, -1: nothing */
    int32_t norm; /* before, in steps of few rows                */
    int32_t add;  /* behind                                      */
    int32_t gate; /* ACT_MUL whose gate and up this is: with up  */
    int32_t up;   /* the op that makes up                        */
    int32_t beside[CU_PARTS - 1];
    uint32_t last; /* the op that its group ends with: values of the group live until then */
    cudaKernel_t kernel[CU_KERNELS];
};

struct cu_graph {
    uint64_t key;
    cudaGraphExec_t exec;
    uint32_t uses;
    uint64_t used; /* when, by the plan's clock */
};

struct rz_plan {
    struct cu_device *device;
    const struct rz_program *program;
    struct rz_plan_limits limits;
    struct cu_op *ops;
    uint32_t n_ops;
    cudaStream_t stream;
    cudaEvent_t uploaded;
    cudaEvent_t done[CU_DONE]; /* the last stages that were begun */

    struct rz_plan *next;  /* of the device                                      */
    uint32_t *weight_refs; /* plans with these weights; under the device's lock */
    bool shares;           /* they were another plan's                           */

    /* device memory */
    uint8_t *weights, *values, *kv, *states, *scratch, *ropes;
    struct cu_mat *mats;   /* [n_weights]; type RZ_TYPE_NONE: not needed as a matrix */
    const float **vectors; /* [n_weights] */
    struct cu_view *views; /* [n_values]  */
    struct cu_kv kv_views[CU_GROUPS];
    uint64_t kv_page[CU_GROUPS], kv_layer[CU_GROUPS];
    uint8_t *kv_base[CU_GROUPS];
    struct cu_state *state_views;
    struct cu_table rope_views[CU_GROUPS];
    uint64_t weight_bytes, value_bytes, kv_bytes, state_bytes, slot_bytes, scratch_bytes, rope_bytes;
    /* parts of scratch */
    struct cu_step *step;
    float *parts, *row_scales, *byte_scales, *top_values[2];
    int8_t *bytes;
    uint32_t *pair_order, *pair_tiles, *pair_count, *top_ids[2];
    uint64_t step_bytes;
    struct cu_lt *lt; /* NULL: no library makes products */
    uint8_t *lt_work;
    uint16_t *lt_x, *lt_weights;

    /* host memory */
    uint8_t *staged;   /* pinned: what a step uploads      */
    float *few_logits; /* pinned: results of few rows      */
    float *many_logits, *hidden;
    uint32_t *few_ids; /* pinned: results of top-k         */
    float *few_values;
    float *top_logits; /* -inf but for what is shown; rows behind blank_rows are not yet */
    uint64_t *shown;   /* what top_logits shows            */
    uint32_t shown_n, blank_rows, few, top_rows;
    uint64_t many_bytes, hidden_bytes, top_bytes;

    /* the step that runs */
    const struct rz_batch *batch;
    uint32_t n_rows, n_wanted, splits;
    uint32_t from_op, to_op; /* of the stage */
    bool last;               /* stage of the step */
    bool runs, wants_logits;
    bool prompts, singles; /* are there rows of runs that the tensor cores attend for, and others? */
    uint32_t top_k;        /* 0: all logits are wanted */
    int32_t bytes_of;      /* the value whose rows plan->bytes has; -1 */
    int32_t status;
    struct rz_err *err;
    struct cu_graph graphs[CU_GRAPHS];
    uint64_t clock;

    struct rz_batch_bounds bounds;
};

/* --- ops --- */
static inline bool cu_has(const struct cu_op *op, uint32_t attribute)
{
    return op->n->attr_mask & RZ_ATTR(attribute);
}

static inline int64_t cu_int(const struct cu_op *op, uint32_t attribute)
{
    return cu_has(op, attribute) ? op->n->attrs[attribute].i : 0;
}

static inline double cu_real(const struct cu_op *op, uint32_t attribute)
{
    return cu_has(op, attribute) ? op->n->attrs[attribute].f : 0;
}

static inline uint64_t cu_in_width(const struct rz_plan *p, const struct cu_op *op, uint32_t i)
{
    return rz_value_at(p->program, (uint32_t)op->in[i])->width;
}

static inline uint64_t cu_out_width(const struct rz_plan *p, const struct cu_op *op, uint32_t i)
{
    return rz_value_at(p->program, (uint32_t)op->out[i])->width;
}

/* Rows of a value in this step. */
static inline uint32_t cu_value_rows(const struct rz_plan *p, int32_t value)
{
    return rz_value_at(p->program, (uint32_t)value)->rows == RZ_ROWS_WANTED ? p->n_wanted : p->n_rows;
}

/* --- cuda.c --- */
/* RZ_OK, or an error that says what the runtime said. */
int32_t cu_check(cudaError_t e, const char *what, struct rz_err *err);
/* Finds a kernel by its name; shared: bytes of shared memory that its launches take at most. */
int32_t cu_kernel(const struct cu_device *d, cudaKernel_t *out, uint64_t shared, struct rz_err *err,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* fn(arg, i) for i in 0..n-1, on the host's team where there is one. */
void cu_parallel(const struct cu_device *d, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg);

int32_t cu_info(struct rz_plan *plan, struct rz_plan_info *out);

/* --- claim.c --- */
/* Can the device run this primitive? why: if not. */
bool cu_runs(const struct rz_program *p, const struct rz_node *n, const char **why);
/* --- compile.c --- */
int32_t cu_claim(void *ctx, const struct rz_program *program, uint32_t node,
                 const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err);
int32_t cu_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                   const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err);
int32_t cu_measure(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                   const struct rz_plan_limits *limits, struct rz_plan_info *out, struct rz_err *err);
int32_t cu_part_info(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out);
void cu_destroy(struct rz_plan *plan);
/* --- fuse.c --- */
/* Lets ops do what others do, where that gives the same result. */
void cu_fuse(struct rz_plan *plan);

/* --- weights.c --- */
/* Sizes and places of all weights that ops need, from offset 0. */
int32_t cu_weights_plan(struct rz_plan *plan, struct rz_err *err);
/* Takes those of another plan of the program, if it has them at the same places. */
void cu_weights_share(struct rz_plan *plan);
/* The plan is whole: others may share its weights. */
void cu_weights_offer(struct rz_plan *plan);
void cu_weights_free(struct rz_plan *plan);
/* Lays them out and brings them to plan->weights, unless they are there. */
int32_t cu_weights_upload(struct rz_plan *plan, struct rz_err *err);
/* The name of a type that kernels know; NULL: decoded on load. */
const char *cu_type_name(int32_t type);

/* --- memory.c --- */
int32_t cu_memory_plan(struct rz_plan *plan, struct rz_err *err);
int32_t cu_memory_take(struct rz_plan *plan, struct rz_err *err);
void cu_memory_free(struct rz_plan *plan);

/* --- pages.c --- */
int64_t cu_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                 struct rz_err *err);
int32_t cu_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                 struct rz_err *err);

/* --- launches: these note the first error in plan->status --- */
void cu_launch(struct rz_plan *plan, cudaKernel_t kernel, dim3 grid, uint32_t threads, uint64_t shared,
               const void *params);
/* Finds the kernels of an op. */
int32_t cu_op_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err);
/* ops.c: rows of the op in this step. */
uint32_t cu_rows(const struct rz_plan *plan, const struct cu_op *op);
bool cu_few(const struct rz_plan *plan, const struct cu_op *op);
void cu_op_run(struct rz_plan *plan, const struct cu_op *op);
struct cu_act cu_act_of(const struct cu_op *op);
/* products.c */
int32_t cu_product_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err);
void cu_product_run(struct rz_plan *plan, const struct cu_op *op);
/* Is it a product whose rows become integers? */
bool cu_product_bytes(const struct rz_plan *plan, const struct cu_op *op);
/* lt.c: plan->lt stays NULL where there is nothing to do or no library. */
int32_t cu_lt_open(struct rz_plan *plan, struct rz_err *err);
void cu_lt_close(struct cu_lt *lt);
int32_t cu_lt_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err);
/* Bytes of scratch for the library itself, for rows of x, and for weights. */
uint64_t cu_lt_bytes(const struct rz_plan *plan, uint64_t *x_bytes, uint64_t *w_bytes);
/* Shall the library make this product of n rows? */
bool cu_lt_wants(const struct rz_plan *plan, const struct cu_op *op, uint32_t n);
/* False: the tile kernels shall do it. */
bool cu_lt_run(struct rz_plan *plan, const struct cu_op *op, const struct cu_product *p);
const char *cu_lt_note(const struct rz_plan *plan, const struct cu_op *op);
/* sequence.c */
int32_t cu_sequence_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err);
void cu_sequence_run(struct rz_plan *plan, const struct cu_op *op);
uint64_t cu_attend_shared(uint32_t queries, uint32_t k_dim);

/* --- step.c --- */
int32_t cu_begin(struct rz_plan *plan, const struct rz_batch *batch, const struct rz_awaited *awaited,
                 uint32_t n, struct rz_err *err);
int32_t cu_finish(struct rz_plan *plan, struct rz_result *out, struct rz_err *err);
int32_t cu_execute(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                   struct rz_err *err);
/* --- results.c --- */
void cu_top_run(struct rz_plan *plan);
/* Queues the copies of what the stage hands on, and of the results; then, when they are there, shows them. */
int32_t cu_results_fetch(struct rz_plan *plan);
void cu_results(struct rz_plan *plan, struct rz_result *out);
/* --- share.c --- */
int32_t cu_share(void *ctx, void *const *peers, uint32_t n, uint64_t bytes, void **out, struct rz_err *err);
void cu_unshare(void *ctx, void *memory);
#endif

/* opencl.h - what the files of the plugin share: the library, the device, forms of weights, programs,
 * plans. */
#ifndef RZ_OPENCL_H
#define RZ_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <pthread.h>
#include <rz/device.h>
#include <rz/plugin.h>
#include <stdbool.h>

/* --- load.c: libOpenCL, found when a device is opened --- */

#define CL_FUNCTIONS(X) \
    X(GetPlatformIDs) \
    X(GetPlatformInfo) \
    X(GetDeviceIDs) \
    X(GetDeviceInfo) \
    X(CreateContext) \
    X(ReleaseContext) \
    X(CreateCommandQueue) \
    X(ReleaseCommandQueue) \
    X(CreateBuffer) \
    X(RetainMemObject) \
    X(ReleaseMemObject) \
    X(CreateProgramWithSource) \
    X(CreateProgramWithBinary) \
    X(BuildProgram) \
    X(GetProgramBuildInfo) \
    X(GetProgramInfo) \
    X(ReleaseProgram) \
    X(CreateKernel) \
    X(ReleaseKernel) \
    X(SetKernelArg) \
    X(EnqueueNDRangeKernel) \
    X(EnqueueReadBuffer) \
    X(EnqueueWriteBuffer) \
    X(EnqueueCopyBuffer) \
    X(EnqueueFillBuffer) \
    X(EnqueueMapBuffer) \
    X(EnqueueUnmapMemObject) \
    X(Finish)

struct cl_library {
    void *handle;
#define CL_POINTER(name) __typeof__(cl##name) *name;
    CL_FUNCTIONS(CL_POINTER)
#undef CL_POINTER
};

/* Once; RZ_EDEVICE if there is no ICD loader, or one that lacks a function. */
int32_t library_load(struct cl_library *lib, struct rz_err *err);
/* "CL_OUT_OF_RESOURCES" */
const char *cl_error_name(cl_int code);

/* --- device.c --- */

struct opencl {
    const struct rz_host *host;
    struct rz_device table;
    /* options; NULL: any */
    const char *want_platform, *want_device, *want_kernels, *cache;
    /* once opened */
    struct cl_library lib;
    bool opened, wide; /* wide: kernels for GPUs, work-groups with local memory */
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    char platform_name[96], device_name[128], driver[96], version[96];
    uint64_t memory, largest;
    pthread_mutex_t lock;
    struct plan *plans; /* those that are whole; under lock */
};

int32_t device_open(void *ctx, struct rz_err *err);
int32_t device_memory(void *ctx, struct rz_device_memory *out, struct rz_err *err);
void device_close(struct opencl *cl);

/* --- forms.c: how matrices lie on the device, in strips of 16 rows side by side --- */

#define STRIP 16

struct form {
    const char *name;
    uint32_t kind, half, minima, group; /* FORM, HALF, MINIMA, GROUP of matmul.cl */
};

/* NULL: no type that can be decoded. */
const struct form *form_of(int32_t type);
uint64_t strip_bytes(const struct form *f, uint64_t cols);
/* A matrix on its way to the device. */
struct packing {
    const struct form *form;
    const struct rz_weight *weight;
    uint64_t part_rows, strips; /* rows and strips of each part of the matrix */
    uint64_t strip_bytes;
    uint8_t *to;
};
/* Writes strips first..first+n-1; decoded: room for a row. Any thread, disjoint strips. */
void pack_strips(const struct packing *p, uint64_t first, uint64_t n, float *decoded);

/* --- source.c --- */

/* A program: base.cl, then one or two files. */
struct source {
    const char *name, *first, *second; /* second may be "" */
};
extern const char source_base[];
extern const struct source source_matmul, source_elementwise, source_kv, source_recurrent, source_route,
    source_wide, source_wide_matmul, source_wide_kv;

/* --- build.c: programs, from the cache of binaries or built --- */

/* base.cl and the source, with options such as "-DFORM=3". */
int32_t program_build(struct opencl *cl, const struct source *source, const char *options, cl_program *out,
                      struct rz_err *err);

/* --- cache.c --- */

struct blob {
    uint8_t *data;
    size_t n;
};
/* The binary kept under this key, or data NULL; the caller frees. */
struct blob binary_load(const struct opencl *cl, const char *key);
void binary_store(const struct opencl *cl, const char *key, const struct blob *binary);

/* --- plan.c --- */

#define PROGRAMS_MAX 48
#define OPERANDS_MAX 4
#define ROWS_AT 16 /* as in base.cl */

/* Where a value lies in the buffer of values, in floats. */
struct place {
    uint32_t at, stride;
};

struct dev_weight {
    int32_t weight;
    uint32_t parts; /* 0: a plain vector of float32 */
    const struct form *form;
    cl_mem mem;
    uint64_t strips, strip_bytes, bytes;
};

/* A kernel with its arguments; only the number of rows varies from step to step. */
struct launch {
    cl_kernel kernel;
    uint32_t node;
    bool wanted, only_logits;
    size_t global[3], local[3];
    uint32_t row_dim, rows_each; /* that dimension is ceil(rows / rows_each); 3: none */
    char name[64];
};

struct kv_group {
    cl_mem mem;
    uint64_t page_bytes, layer_bytes, head_bytes, value_at;
    uint32_t k_dim, v_dim, n_heads;
    bool latent;
};

struct plan {
    struct opencl *cl;
    struct plan *next; /* of the device */
    const struct rz_program *program;
    struct rz_plan_limits limits;
    void *bounds; /* struct rz_batch_bounds */
    struct {
        const struct source *source;
        char options[128];
        cl_program program;
    } programs[PROGRAMS_MAX];
    uint32_t n_programs;
    struct launch *launches;
    uint32_t n_launches;
    struct place *places;
    struct dev_weight *weights;
    uint32_t n_weights;
    struct kv_group groups[8];
    cl_mem values, batch, state, ropes;
    uint32_t rope_at[8];
    uint64_t *state_at; /* floats in a slot */
    uint64_t slot_floats, value_bytes, kv_bytes, weight_bytes, state_bytes, rope_bytes;
    int32_t *ints; /* the batch as kernels read it */
    uint64_t n_ints;
    uint32_t table_stride; /* pages of one sequence and group, at most */
    float *logits, *hidden;
    uint64_t logits_stride, hidden_stride;
    bool lost;
};

int32_t plan_claim(void *ctx, const struct rz_program *program, uint32_t node,
                   const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err);
int32_t plan_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                     const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err);
int32_t plan_info(struct rz_plan *plan, struct rz_plan_info *out);
int32_t plan_part(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out);
int32_t plan_execute(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                     struct rz_err *err);
void plan_destroy(struct rz_plan *plan);

/* --- pages.c --- */

int64_t plan_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                   struct rz_err *err);
int32_t plan_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                   struct rz_err *err);

/* --- memory.c --- */

int32_t plan_memory(struct plan *p, const uint32_t *nodes, uint32_t n, struct rz_err *err);
int32_t new_buffer(struct plan *p, const char *what, uint64_t bytes, cl_mem *out, struct rz_err *err);
/* The weight on the device, uploaded when first asked for, unless another plan of the program has it there.
 * parts 0: as a vector. */
int32_t plan_weight(struct plan *p, int32_t weight, uint32_t parts, const struct dev_weight **out,
                    struct rz_err *err);

/* --- lower.c --- */

/* NULL, or why the device does not run the node. */
const char *node_refused(const struct rz_program *p, uint32_t node, const struct rz_plan_limits *limits);
/* Adds the launch of a primitive. */
int32_t lower_node(struct plan *p, uint32_t node, struct rz_err *err);

#endif

/* lt.c - products of many rows by cublasLt, where its file is found and products may be fast.
 *
 * The library is loaded when a plan is made and never linked. 16-bit weights go in as they are; those of
 * blocks are unpacked to f16, a slab of outputs after another, where there are rows enough to pay for it.
 * What the library has no algorithm for is left to the tile kernels. Results of a row may depend on how many
 * rows a step has.
 */
#include "cuda.h"

#include "checked.h"
#include "err.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define WORK (32u << 20) /* bytes that the library may use */
#define SLAB (64u << 20) /* bytes of unpacked weights      */
#define ROWS_OF_SLAB 32768u
#define UNPACK_ROWS 128 /* rows of a step from which on weights of blocks are unpacked */
#define KNOWN 256

/* The shim of the tests has its own. */
#ifndef CU_LT_OPEN
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define CU_LT_OPEN() open_file("libcublasLt.so." TEXT(CUBLAS_VER_MAJOR))
#define CU_LT_FIND dlsym

/* The loader's places, then where the toolkit installs it. */
static void *open_file(const char *name)
{
    char path[128];
    void *file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    snprintf(path, sizeof(path), "/usr/local/cuda/lib64/%s", name);
    return file ? file : dlopen(path, RTLD_NOW | RTLD_LOCAL);
}
#endif

#define FUNCTIONS(X) \
    X(cublasLtCreate) \
    X(cublasLtDestroy) \
    X(cublasLtMatmul) \
    X(cublasLtMatmulAlgoGetHeuristic) \
    X(cublasLtMatmulDescCreate) \
    X(cublasLtMatmulDescDestroy) \
    X(cublasLtMatmulDescSetAttribute) \
    X(cublasLtMatmulPreferenceCreate) \
    X(cublasLtMatmulPreferenceDestroy) \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatrixLayoutCreate) \
    X(cublasLtMatrixLayoutDestroy) \
    X(cublasLtMatrixLayoutSetAttribute)

/* What the library chose for a shape. */
struct known {
    uint64_t outputs, cols, rows, add_pitch;
    int32_t type, found; /* found: 1 an algorithm, -1 none */
    cublasLtMatmulAlgo_t algo;
};

struct cu_lt {
#define POINTER(name) __typeof__(name) *name;
    FUNCTIONS(POINTER)
#undef POINTER
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatmulPreference_t preference;
    cublasLtMatrixLayout_t w, x, y;
    struct known known[KNOWN];
};

/* --- which products --- */

static bool is_short(int32_t type)
{
    return type == RZ_TYPE_F16 || type == RZ_TYPE_BF16;
}

static bool is_eligible(const struct rz_plan *plan, const struct cu_op *op)
{
    int32_t type = op->weight[0] >= 0 ? plan->mats[op->weight[0]].type : RZ_TYPE_F32;
    return op->n->op == RZ_OP_MATMUL && type != RZ_TYPE_F32 &&
           (type != RZ_TYPE_BF16 || plan->device->capability >= 80);
}

const char *cu_lt_note(const struct rz_plan *plan, const struct cu_op *op)
{
    if (!plan->lt || !is_eligible(plan, op))
        return "";
    return is_short(plan->mats[op->weight[0]].type) ? "; by cublasLt in longer steps"
                                                    : "; by cublasLt in steps of 128 rows and more";
}

/* --- opening --- */

static bool find_functions(struct cu_lt *lt, void *file)
{
#define FIND(name) \
    if (!(*(void **)(uintptr_t)&lt->name = CU_LT_FIND(file, #name))) \
        return false;
    FUNCTIONS(FIND)
#undef FIND
    return true;
}

static bool make_parts(struct cu_lt *lt)
{
    cublasOperation_t turned = CUBLAS_OP_T;
    size_t work = WORK;
    return !lt->cublasLtCreate(&lt->handle) &&
           !lt->cublasLtMatmulDescCreate(&lt->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) &&
           !lt->cublasLtMatmulDescSetAttribute(lt->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turned,
                                               sizeof(turned)) &&
           !lt->cublasLtMatmulPreferenceCreate(&lt->preference) &&
           !lt->cublasLtMatmulPreferenceSetAttribute(lt->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                     &work, sizeof(work)) &&
           !lt->cublasLtMatrixLayoutCreate(&lt->w, CUDA_R_16F, 16, 16, 16) &&
           !lt->cublasLtMatrixLayoutCreate(&lt->x, CUDA_R_16F, 16, 16, 16) &&
           !lt->cublasLtMatrixLayoutCreate(&lt->y, CUDA_R_32F, 16, 16, 16);
}

void cu_lt_close(struct cu_lt *lt)
{
    if (!lt)
        return;
    if (lt->w)
        lt->cublasLtMatrixLayoutDestroy(lt->w);
    if (lt->x)
        lt->cublasLtMatrixLayoutDestroy(lt->x);
    if (lt->y)
        lt->cublasLtMatrixLayoutDestroy(lt->y);
    if (lt->preference)
        lt->cublasLtMatmulPreferenceDestroy(lt->preference);
    if (lt->desc)
        lt->cublasLtMatmulDescDestroy(lt->desc);
    if (lt->handle)
        lt->cublasLtDestroy(lt->handle);
    free(lt);
}

int32_t cu_lt_open(struct rz_plan *plan, struct rz_err *err)
{
    bool wanted = false;
    for (uint32_t i = 0; i < plan->n_ops; i++)
        wanted |= is_eligible(plan, &plan->ops[i]);
    void *file = wanted && !plan->device->invariant && plan->device->use_lt ? CU_LT_OPEN() : NULL;
    if (!file)
        return RZ_OK;
    struct cu_lt *lt = calloc(1, sizeof(*lt));
    if (!lt)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for cublasLt");
    if (find_functions(lt, file) && make_parts(lt))
        plan->lt = lt;
    else
        cu_lt_close(lt);
    return RZ_OK;
}

int32_t cu_lt_kernels(struct rz_plan *plan, struct cu_op *op, struct rz_err *err)
{
    int32_t status = RZ_OK, type = plan->mats[op->weight[0]].type;
    if (!plan->lt || !is_eligible(plan, op))
        return RZ_OK;
    status = cu_kernel(plan->device, &op->kernel[CU_KERNEL_SHORTEN], 0, err, "shorten");
    if (!status)
        status = cu_kernel(plan->device, &op->kernel[CU_KERNEL_SETTLE], 0, err, "settle");
    if (!status && !is_short(type))
        status =
            cu_kernel(plan->device, &op->kernel[CU_KERNEL_UNPACK], 0, err, "unpack_%s", cu_type_name(type));
    return status;
}

/* --- memory --- */

static uint64_t slab_rows(const struct cu_mat *m)
{
    uint64_t rows = SLAB / 2 / m->cols;
    rows = rows < m->rows ? rows : m->rows;
    return rows < 1 ? 1 : rows < ROWS_OF_SLAB ? rows : ROWS_OF_SLAB;
}

static uint64_t x_pitch(const struct cu_mat *m)
{
    return rz_round_up(m->cols, 8);
}

uint64_t cu_lt_bytes(const struct rz_plan *plan, uint64_t *x_bytes, uint64_t *w_bytes)
{
    *x_bytes = *w_bytes = 0;
    for (uint32_t i = 0; i < plan->n_ops && plan->lt; i++) {
        if (!is_eligible(plan, &plan->ops[i]))
            continue;
        const struct cu_mat *m = &plan->mats[plan->ops[i].weight[0]];
        uint64_t x = 2 * x_pitch(m) * plan->limits.max_rows;
        uint64_t w = is_short(m->type) ? 0 : 2 * m->cols * slab_rows(m);
        *x_bytes = x > *x_bytes ? x : *x_bytes;
        *w_bytes = w > *w_bytes ? w : *w_bytes;
    }
    return plan->lt ? WORK : 0;
}

/* --- products --- */

/* One call: y[rows][outputs] = x w^T, as the library sees it: columns first. */
struct call {
    const void *w, *x;
    float *y;
    uint64_t w_pitch, x_pitch, y_pitch, outputs, cols, rows;
    int32_t type;
};

static void set_layout(struct cu_lt *lt, cublasLtMatrixLayout_t l, cudaDataType type, uint64_t rows,
                       uint64_t cols, uint64_t pitch)
{
    uint32_t t = (uint32_t)type;
    int64_t ld = (int64_t)pitch;
    lt->cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_TYPE, &t, sizeof(t));
    lt->cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof(rows));
    lt->cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_COLS, &cols, sizeof(cols));
    lt->cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof(ld));
}

static void set_layouts(struct cu_lt *lt, const struct call *c)
{
    cudaDataType type = c->type == RZ_TYPE_BF16 ? CUDA_R_16BF : CUDA_R_16F;
    set_layout(lt, lt->w, type, c->cols, c->outputs, c->w_pitch);
    set_layout(lt, lt->x, type, c->cols, c->rows, c->x_pitch);
    set_layout(lt, lt->y, CUDA_R_32F, c->outputs, c->rows, c->y_pitch);
}

/* What the library chooses for a shape is kept: a choice costs more than a small product. */
static struct known *choose(struct cu_lt *lt, const struct call *c)
{
    uint64_t hash = (c->outputs * 31 + c->cols) * 31 + c->rows * 7 + c->y_pitch + (uint32_t)c->type;
    struct known *k = &lt->known[hash * 0x9e3779b97f4a7c15ull >> 56];
    cublasLtMatmulHeuristicResult_t result;
    int n = 0;
    if (k->found && k->outputs == c->outputs && k->cols == c->cols && k->rows == c->rows &&
        k->add_pitch == c->y_pitch && k->type == c->type)
        return k;
    int status = lt->cublasLtMatmulAlgoGetHeuristic(lt->handle, lt->desc, lt->w, lt->x, lt->y, lt->y,
                                                    lt->preference, 1, &result, &n);
    *k = (struct known){.outputs = c->outputs,
                        .cols = c->cols,
                        .rows = c->rows,
                        .add_pitch = c->y_pitch,
                        .type = c->type,
                        .found = status || !n ? -1 : 1,
                        .algo = result.algo};
    return k;
}

static bool call(struct rz_plan *plan, const struct call *c)
{
    struct cu_lt *lt = plan->lt;
    float one = 1, zero = 0;
    set_layouts(lt, c);
    struct known *k = choose(lt, c);
    if (k->found < 0)
        return false;
    int status = lt->cublasLtMatmul(lt->handle, lt->desc, &one, c->w, lt->w, c->x, lt->x, &zero, c->y, lt->y,
                                    c->y, lt->y, &k->algo, plan->lt_work, WORK, plan->stream);
    if (status && !plan->status)
        plan->status =
            rz_fail(plan->err, RZ_EDEVICE, plan->device->name, "cublasLt ends with status %d", status);
    return true;
}

static dim3 along(uint64_t width, uint32_t rows)
{
    return (dim3){(unsigned)((width + CU_THREADS - 1) / CU_THREADS), rows, 1};
}

/* Slab after slab of outputs: unpacked, multiplied. False, before anything is done: the library cannot. */
static bool unpacked(struct rz_plan *plan, const struct cu_op *op, const struct cu_product *p, struct call c)
{
    const struct cu_part *part = &p->part[0];
    uint64_t each = slab_rows(&part->w);
    uint32_t unit = part->w.type == RZ_TYPE_Q8_0 ? 16 : 32;
    for (uint64_t first = 0; first < part->rows && !plan->status; first += each) {
        struct cu_unpack u = {
            .w = part->w, .to = plan->lt_weights, .pitch = part->w.cols, .first = (uint32_t)first};
        c.outputs = part->rows - first < each ? part->rows - first : each;
        c.y = part->y.data + first;
        c.w = plan->lt_weights;
        set_layouts(plan->lt, &c);
        if (choose(plan->lt, &c)->found < 0)
            return false;
        cu_launch(plan, op->kernel[CU_KERNEL_UNPACK], along(part->w.cols / unit, (uint32_t)c.outputs),
                  CU_THREADS, 0, &u);
        call(plan, &c);
    }
    return true;
}

bool cu_lt_wants(const struct rz_plan *plan, const struct cu_op *op, uint32_t n)
{
    return plan->lt && is_eligible(plan, op) &&
           n >= (is_short(plan->mats[op->weight[0]].type) ? CU_FEW + 1 : UNPACK_ROWS);
}

bool cu_lt_run(struct rz_plan *plan, const struct cu_op *op, const struct cu_product *p)
{
    const struct cu_part *part = &p->part[0];
    bool brief = is_short(part->w.type), brain = part->w.type == RZ_TYPE_BF16;
    if (!cu_lt_wants(plan, op, p->n))
        return false;
    struct cu_shorten s = {.x = p->x,
                           .to = plan->lt_x,
                           .pitch = x_pitch(&part->w),
                           .scale = brain ? NULL : p->scale,
                           .width = part->w.cols};
    struct call c = {.w = part->w.a,
                     .x = plan->lt_x,
                     .y = part->y.data,
                     .w_pitch = brief ? part->w.a_pitch / 2 : part->w.cols,
                     .x_pitch = s.pitch,
                     .y_pitch = part->y.stride,
                     .outputs = part->rows,
                     .cols = part->w.cols,
                     .rows = p->n,
                     .type = part->w.type};
    struct cu_settle e = {
        .y = part->y, .add = part->add, .scale = s.scale, .bias = part->bias, .width = part->rows};
    cu_launch(plan, op->kernel[CU_KERNEL_SHORTEN], along(s.width, p->n), CU_THREADS, 0, &s);
    if (!(brief ? call(plan, &c) : unpacked(plan, op, p, c)))
        return false;
    if (e.scale || e.bias || e.add.data)
        cu_launch(plan, op->kernel[CU_KERNEL_SETTLE], along(e.width, p->n), CU_THREADS, 0, &e);
    return true;
}

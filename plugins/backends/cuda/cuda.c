/* cuda.c - the plugin: one device, its options, its code, and what the runtime says when something fails.
 *
 * Without a driver or a device open fails with the reason; init touches no GPU.
 */
#include "cuda.h"

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The code of all kernels, an image a file; NULL ends them. The Makefile makes it. */
extern const uint8_t *const cu_code[] __attribute__((visibility("hidden")));

int32_t cu_check(cudaError_t e, const char *what, struct rz_err *err)
{
    if (e == cudaSuccess)
        return RZ_OK;
    cudaGetLastError();
    return rz_fail(err, e == cudaErrorMemoryAllocation ? RZ_ENOMEM : RZ_EDEVICE, "cuda", "%s: %s", what,
                   cudaGetErrorString(e));
}

int32_t cu_kernel(const struct cu_device *d, cudaKernel_t *out, uint64_t shared, struct rz_err *err,
                  const char *format, ...)
{
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof(name), format, args);
    va_end(args);
    cudaError_t e = cudaErrorInvalidValue;
    for (uint32_t i = 0; i < d->n_libraries && e != cudaSuccess; i++)
        e = cudaLibraryGetKernel(out, d->library[i], name);
    if (e == cudaSuccess && shared > 48 << 10)
        e = cudaFuncSetAttribute((const void *)*out, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 (int)shared);
    return cu_check(e, name, err);
}

void cu_parallel(const struct cu_device *d, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg)
{
    const struct rz_host_threads *t = d->host ? d->host->query(d->host->ctx, RZ_HOST_THREADS_1, 0) : NULL;
    if (t) {
        t->parallel_for(t->ctx, n, fn, arg);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        fn(arg, i);
}

/* --- the device --- */

int32_t cu_info(struct rz_plan *plan, struct rz_plan_info *out)
{
    const struct rz_program *p = plan->program;
    out->wants = 1u << RZ_WANT_NONE;
    out->wants |= p->hidden >= 0 ? 1u << RZ_WANT_HIDDEN : 0;
    out->wants |= p->logits >= 0 ? 1u << RZ_WANT_LOGITS | 1u << RZ_WANT_TOP_K : 0;
    out->weight_bytes = 0;
    for (uint32_t i = 0; i < p->n_weights; i++)
        out->weight_bytes += rz_weight_at(p, i)->bytes;
    out->prepared_bytes = plan->shares ? 0 : plan->weight_bytes;
    out->kv_bytes = plan->kv_bytes;
    out->state_bytes = plan->state_bytes;
    out->scratch_bytes = plan->scratch_bytes + plan->value_bytes + plan->rope_bytes;
    out->flags =
        RZ_PLAN_OWNS_WEIGHTS | RZ_PLAN_SHARES_WEIGHTS | (plan->device->invariant ? RZ_PLAN_INVARIANT : 0);
    return RZ_OK;
}

/* --- the plugin --- */

enum {
    OPT_DEVICE,
    OPT_NUMERICS,
    OPT_GRAPHS,
    OPT_RESERVE,
    OPT_CUBLAS,
    OPT_PRODUCTS
};

#define OPTION(...) \
    { \
        .size = sizeof(struct rz_option), __VA_ARGS__ \
    }

/* clang-format off */
static const struct rz_option options[] = {
    OPTION(.type = RZ_OPT_INT, .name = "device", .def = "0", .max = 255,
           .help = "number of the GPU, as CUDA counts them"),
    OPTION(.type = RZ_OPT_CHOICE, .name = "numerics", .def = "invariant", .choices = "invariant|fast",
           .help = "invariant: the same bits in any company; fast: what is fastest for the rows of a step"),
    OPTION(.type = RZ_OPT_BOOL, .name = "graphs", .def = "on",
           .help = "capture steps of few rows, and replay them"),
    OPTION(.type = RZ_OPT_SIZE, .name = "reserve", .def = "256M", .max = 1e15,
           .help = "memory of the GPU that is left to others"),
    OPTION(.type = RZ_OPT_CHOICE, .name = "cublas", .def = "auto", .choices = "auto|off",
           .help = "with numerics = fast, let libcublasLt multiply where it is found and rows are many"),
    OPTION(.type = RZ_OPT_CHOICE, .name = "products", .def = "auto", .choices = "auto|int8|float",
           .help = "round rows that meet weights of blocks to int8: of large matrices, always, or never"),
};
/* clang-format on */

static int32_t find_device(struct cu_device *d, struct rz_err *err)
{
    struct cudaDeviceProp prop;
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || !n) {
        cudaGetLastError();
        return rz_fail(err, RZ_EDEVICE, "cuda", "no GPU can be used: %s",
                       e == cudaSuccess ? "the driver lists none" : cudaGetErrorString(e));
    }
    if (d->index >= n)
        return rz_fail(err, RZ_ECONFIG, "cuda", "GPU %d: there are %d, counted from 0", d->index, n);
    int32_t status = cu_check(cudaGetDeviceProperties(&prop, d->index), "properties", err);
    if (status)
        return status;
    snprintf(d->name, sizeof(d->name), "%.*s", (int)sizeof(d->name) - 1, prop.name);
    d->capability = 10 * prop.major + prop.minor;
    d->shared = prop.sharedMemPerBlockOptin;
    if (d->capability < 75)
        return rz_fail(err, RZ_EUNSUPPORTED, "cuda",
                       "%s has compute capability %d.%d, at least 7.5 is needed", d->name, prop.major,
                       prop.minor);
    return cu_check(cudaSetDevice(d->index), "choosing the device", err);
}

static int32_t load_code(struct cu_device *d, struct rz_err *err)
{
    int32_t status = RZ_OK;
    for (; cu_code[d->n_libraries] && !status; d->n_libraries++) {
        if (d->n_libraries == CU_LIBRARIES)
            return rz_fail(err, RZ_EINTERNAL, "cuda", "more than %d images of code", CU_LIBRARIES);
        status = cu_check(cudaLibraryLoadData(&d->library[d->n_libraries], cu_code[d->n_libraries], NULL,
                                              NULL, 0, NULL, NULL, 0),
                          "the plugin's code does not fit this GPU", err);
        if (status)
            return status;
    }
    return status;
}

static int32_t open_device(void *ctx, struct rz_err *err)
{
    struct cu_device *d = ctx;
    int32_t status = d->ready ? RZ_OK : find_device(d, err);
    if (!status && !d->ready)
        status = load_code(d, err);
    d->ready = !status;
    return status;
}

static int32_t memory(void *ctx, struct rz_device_memory *out, struct rz_err *err)
{
    struct cu_device *d = ctx;
    size_t available = 0, total = 0;
    int32_t status = cu_check(cudaSetDevice(d->index), "choosing the device", err);
    if (!status)
        status = cu_check(cudaMemGetInfo(&available, &total), "asking for free memory", err);
    out->total = total;
    out->free = available > d->reserve ? available - d->reserve : 1;
    out->largest = 0;
    return status;
}

/* The device with this number: one that the plugin has, or a new one with the same options. */
static int32_t numbered(void *ctx, uint32_t index, void **out, struct rz_err *err)
{
    struct cu_device *first = ctx, *d = first;
    while (d && d->index != (int)index)
        d = d->next;
    if (!d) {
        d = calloc(1, sizeof(*d));
        if (!d)
            return rz_fail(err, RZ_ENOMEM, "cuda", "no memory");
        *d = (struct cu_device){.table = first->table,
                                .next = first->next,
                                .host = first->host,
                                .index = (int)index,
                                .products = first->products,
                                .invariant = first->invariant,
                                .use_graphs = first->use_graphs,
                                .use_lt = first->use_lt,
                                .reserve = first->reserve};
        d->table.ctx = d;
        pthread_mutex_init(&d->lock, NULL);
        first->next = d;
    }
    *out = d;
    return RZ_OK;
}

static void fini(void *self)
{
    struct cu_device *next;
    for (struct cu_device *d = self; d; d = next) {
        next = d->next;
        for (uint32_t i = 0; i < d->n_libraries; i++)
            cudaLibraryUnload(d->library[i]);
        pthread_mutex_destroy(&d->lock);
        free(d);
    }
}

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    struct cu_device *d = calloc(1, sizeof(*d));
    if (!d)
        return rz_fail(err, RZ_ENOMEM, "cuda", "no memory");
    d->host = host;
    pthread_mutex_init(&d->lock, NULL);
    d->index = (int)config->values[OPT_DEVICE].i;
    d->invariant = config->values[OPT_NUMERICS].i == 0;
    d->products = (int)config->values[OPT_PRODUCTS].i;
    d->use_graphs = config->values[OPT_GRAPHS].i;
    d->use_lt = config->values[OPT_CUBLAS].i == 0;
    d->reserve = (uint64_t)config->values[OPT_RESERVE].i;
    d->table = (struct rz_device){.size = sizeof(d->table),
                                  .name = CU_NAME,
                                  .ctx = d,
                                  .open = open_device,
                                  .memory = memory,
                                  .claim = cu_claim,
                                  .compile = cu_compile,
                                  .info = cu_info,
                                  .part = cu_part_info,
                                  .execute = cu_execute,
                                  .destroy = cu_destroy,
                                  .fetch = cu_fetch,
                                  .store = cu_store,
                                  .measure = cu_measure,
                                  .numbered = numbered,
                                  .begin = cu_begin,
                                  .finish = cu_finish,
                                  .share = cu_share,
                                  .unshare = cu_unshare};
    *self = d;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    struct cu_device *d = self;
    return minor_need == 0 && !strcmp(id, RZ_DEVICE_1) ? &d->table : NULL;
}

RZ_PLUGIN_DEFINE = {.header = {RZ_HEADER(RZ_KIND_DEVICE), .name = CU_NAME, .version = "0.1.0", .vendor = "rz",
                               .licence = "MIT", .provides = "device:" CU_NAME},
                    .options = options,
                    .n_options = sizeof(options) / sizeof(options[0]),
                    .option_stride = sizeof(options[0]),
                    .init = init,
                    .fini = fini,
                    .query = query};

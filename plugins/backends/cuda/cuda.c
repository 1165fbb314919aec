/* cuda.c - the plugin: one device, its options, its code, and what the runtime says when something fails.
 *
 * Without a driver or a device init fails with the reason, and the host goes on without this plugin.
 */
#include "cuda.h"

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The code of all kernels: code.S. Over the shim of the tests it is one byte that nobody reads. */
extern const uint8_t cu_code[];

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
    cudaError_t e = cudaLibraryGetKernel(out, d->library, name);
    if (e == cudaSuccess && shared > 48 << 10)
        e = cudaFuncSetAttribute((const void *)*out, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
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

static int32_t info(struct rz_plan *plan, struct rz_plan_info *out)
{
    const struct rz_program *p = plan->program;
    out->wants = 1u << RZ_WANT_NONE;
    out->wants |= p->hidden >= 0 ? 1u << RZ_WANT_HIDDEN : 0;
    out->wants |= p->logits >= 0 ? 1u << RZ_WANT_LOGITS | 1u << RZ_WANT_TOP_K : 0;
    out->weight_bytes = 0;
    for (uint32_t i = 0; i < p->n_weights; i++)
        out->weight_bytes += cu_weight_at(p, i)->bytes;
    out->prepared_bytes = plan->weight_bytes;
    out->kv_bytes = plan->kv_bytes;
    out->state_bytes = plan->state_bytes;
    out->scratch_bytes = plan->scratch_bytes + plan->value_bytes + plan->rope_bytes;
    return RZ_OK;
}

/* --- the plugin --- */

enum { OPT_DEVICE, OPT_PRODUCTS, OPT_GRAPHS, OPT_RESERVE };

#define OPTION(...) {.size = sizeof(struct rz_option), __VA_ARGS__}

/* clang-format off */
static const struct rz_option options[] = {
    OPTION(.type = RZ_OPT_INT, .name = "device", .def = "0", .max = 255,
           .help = "number of the GPU, as CUDA counts them"),
    OPTION(.type = RZ_OPT_CHOICE, .name = "products", .def = "fast", .choices = "fast|exact",
           .help = "exact: a row has the same bits in any company; fast: tensor cores in steps of more than 8 rows"),
    OPTION(.type = RZ_OPT_BOOL, .name = "graphs", .def = "on",
           .help = "capture steps of few rows, and replay them"),
    OPTION(.type = RZ_OPT_SIZE, .name = "reserve", .def = "256M", .max = 1e15,
           .help = "memory of the GPU that is left to others"),
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
        return rz_fail(err, RZ_ECONFIG, "plugin.cuda.device", "%d: there are %d, counted from 0", d->index, n);
    int32_t status = cu_check(cudaGetDeviceProperties(&prop, d->index), "properties", err);
    if (status)
        return status;
    snprintf(d->name, sizeof(d->name), "%.*s", (int)sizeof(d->name) - 1, prop.name);
    d->capability = 10 * prop.major + prop.minor;
    if (d->capability < 75)
        return rz_fail(err, RZ_EUNSUPPORTED, "cuda", "%s has compute capability %d.%d, at least 7.5 is needed",
                       d->name, prop.major, prop.minor);
    return cu_check(cudaSetDevice(d->index), "choosing the device", err);
}

static void fini(void *self)
{
    struct cu_device *d = self;
    if (d && d->loaded)
        cudaLibraryUnload(d->library);
    free(d);
}

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    struct cu_device *d = calloc(1, sizeof(*d));
    if (!d)
        return rz_fail(err, RZ_ENOMEM, "cuda", "no memory");
    d->host = host;
    d->index = (int)config->values[OPT_DEVICE].i;
    d->exact = config->values[OPT_PRODUCTS].i == 1;
    d->use_graphs = config->values[OPT_GRAPHS].i;
    d->reserve = (uint64_t)config->values[OPT_RESERVE].i;
    d->table = (struct rz_device){.size = sizeof(d->table),
                                  .name = "cuda",
                                  .ctx = d,
                                  .claim = cu_claim,
                                  .compile = cu_compile,
                                  .info = info,
                                  .execute = cu_execute,
                                  .destroy = cu_destroy};
    int32_t status = find_device(d, err);
    if (!status)
        status = cu_check(cudaLibraryLoadData(&d->library, cu_code, NULL, NULL, 0, NULL, NULL, 0),
                          "the plugin's code does not fit this GPU", err);
    d->loaded = !status;
    if (status) {
        fini(d);
        return status;
    }
    *self = d;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    struct cu_device *d = self;
    return minor_need == 0 && !strcmp(id, RZ_DEVICE_1) ? &d->table : NULL;
}

RZ_PLUGIN_DEFINE = {.header = {RZ_HEADER_COMMON,
                               .kinds = RZ_KIND_DEVICE,
                               .name = "cuda",
                               .version = "0.1.0",
                               .vendor = "rz",
                               .licence = "MIT",
                               .provides = "device:cuda"},
                    .options = options,
                    .n_options = sizeof(options) / sizeof(options[0]),
                    .option_stride = sizeof(options[0]),
                    .init = init,
                    .fini = fini,
                    .query = query};

/* runtime.cc - CUDA's runtime as far as the plugin uses it, over the memory and the thread of the host.
 *
 * Everything is done when it is asked for; a capture keeps launches and copies, and a graph does them
 * again. RZ_SHIM_LATE=1: nothing is done before somebody waits for it, and of other streams only what events
 * order before it. RZ_SHIM_DEVICES: how many there are; RZ_SHIM_MEMORY: bytes of all of them;
 * RZ_SHIM_PEERS=0: none reads the memory of another. RZ_SHIM_FAIL=CALL:N: the Nth call of that name fails,
 * and, but for memory, all after it, as after a lost device.
 */
#include "shim.h"
#undef gridDim
#undef blockDim
#include "cuda_runtime_api.h"

#include <stdio.h>
#include <stdlib.h>

#define LAUNCH_BYTES 1024 /* parameters of a kernel at most */
#define NAMES_MAX 16

/* The plugin's list of images: one, that nobody reads, for the kernels are part of this program. */
static const uint8_t image = 0;
extern "C" const uint8_t *const cu_code[];
const uint8_t *const cu_code[] = {&image, nullptr};

static struct shim_kernel *kernels;
static size_t taken;

/* What a capture keeps. */
struct item {
    const struct shim_kernel *kernel;
    void (*call)(const void *params);
    struct shim_dim grid, block;
    size_t shared;
    alignas(16) uint8_t params[LAUNCH_BYTES];
    void *to;
    const void *from;
    size_t bytes;
    int value; /* of a memset */
    struct event *record, *wait;
    uint64_t moment; /* of the event that is recorded, or awaited */
    struct item *next;
};

/* What is still to be done, in order. */
struct stream {
    struct item *first, **last;
};

/* Recorded so many times, and so many of them are over; of the last, where. */
struct event {
    struct stream *stream;
    uint64_t recorded, over;
};

struct graph {
    struct item *first, **last;
};
static struct graph *capture;

void shim_add(struct shim_kernel *kernel)
{
    kernel->next = kernels;
    kernels = kernel;
}

/* --- failures on purpose --- */

static bool fails(const char *name)
{
    static const char *names[NAMES_MAX];
    static unsigned long counts[NAMES_MAX];
    const char *wanted = getenv("RZ_SHIM_FAIL"), *colon = wanted ? strchr(wanted, ':') : nullptr;
    int i = 0;
    if (!colon || strlen(name) != (size_t)(colon - wanted) || strncmp(wanted, name, strlen(name)))
        return false;
    while (i < NAMES_MAX - 1 && names[i] && strcmp(names[i], name))
        i++;
    names[i] = name;
    return ++counts[i] >= strtoul(colon + 1, nullptr, 10);
}

static size_t memory(void)
{
    const char *text = getenv("RZ_SHIM_MEMORY");
    return text ? strtoull(text, nullptr, 10) : (size_t)8 << 30;
}

/* --- device and memory; each allocation knows its size --- */

static int devices(void)
{
    const char *text = getenv("RZ_SHIM_DEVICES");
    return text ? (int)strtol(text, nullptr, 10) : 1;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = devices();
    return fails("count") ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device >= devices() ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int)
{
    const char *cc = getenv("RZ_SHIM_CC");
    *out = {};
    snprintf(out->name, sizeof(out->name), "fibers of the host");
    out->totalGlobalMem = memory();
    out->sharedMemPerBlockOptin = 227 << 10;
    out->major = cc ? (int)strtol(cc, nullptr, 10) / 10 : 9;
    out->minor = cc ? (int)strtol(cc, nullptr, 10) % 10 : 0;
    out->multiProcessorCount = 1;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    *total = memory();
    *available = *total > taken ? *total - taken : 0;
    return cudaSuccess;
}

/* 256 bytes before what is handed out: the size, and nothing that anybody may touch. */
cudaError_t cudaMalloc(void **out, size_t bytes)
{
    if (fails("malloc") || taken + bytes > memory())
        return cudaErrorMemoryAllocation;
    uint8_t *p = (uint8_t *)aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
    if (!p)
        return cudaErrorMemoryAllocation;
    memset(p, 0xff, (bytes + 255) / 256 * 256 + 256);
    memcpy(p, &bytes, sizeof(bytes));
    taken += bytes;
    *out = p + 256;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    size_t bytes;
    if (!p)
        return cudaSuccess;
    memcpy(&bytes, (uint8_t *)p - 256, sizeof(bytes));
    taken -= bytes;
    free((uint8_t *)p - 256);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = fails("host") ? nullptr : malloc(bytes ? bytes : 1);
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    return cudaMallocHost(out, bytes);
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    const char *text = getenv("RZ_SHIM_PEERS");
    *can = device != peer && (!text || strcmp(text, "0"));
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned)
{
    static bool enabled[16];
    bool before = enabled[peer & 15];
    enabled[peer & 15] = true;
    return before ? cudaErrorPeerAccessAlreadyEnabled : cudaSuccess;
}

/* --- what a stream does, or a capture keeps --- */

static void do_until(struct stream *s, const struct event *e, uint64_t moment);

static void do_item(const struct item *i)
{
    if (i->record)
        i->record->over = i->moment;
    else if (i->wait)
        do_until(i->wait->stream, i->wait, i->moment);
    else if (i->kernel)
        shim_run(i->kernel, &i->grid, &i->block, i->shared, i->params);
    else if (i->call)
        i->call(i->params);
    else if (i->from)
        memmove(i->to, i->from, i->bytes);
    else
        memset(i->to, i->value, i->bytes);
}

/* Does what the stream has been given, all of it or until the event is over. */
static void do_until(struct stream *s, const struct event *e, uint64_t moment)
{
    while (s && s->first && (!e || e->over < moment)) {
        struct item *i = s->first;
        s->first = i->next;
        if (!i->next)
            s->last = &s->first;
        do_item(i);
        free(i);
    }
}

static bool is_late(void)
{
    const char *text = getenv("RZ_SHIM_LATE");
    return text && !strcmp(text, "1");
}

static cudaError_t keep(const struct item *i, struct item ***last)
{
    struct item *kept = (struct item *)aligned_alloc(alignof(struct item), sizeof(*kept));
    if (!kept)
        return cudaErrorMemoryAllocation;
    *kept = *i;
    kept->next = nullptr;
    **last = kept;
    *last = &kept->next;
    return cudaSuccess;
}

static cudaError_t give(const struct item *i, cudaStream_t stream)
{
    if (capture)
        return keep(i, &capture->last);
    if (stream && is_late())
        return keep(i, &((struct stream *)stream)->last);
    do_item(i);
    return cudaSuccess;
}

static thread_local cudaStream_t given; /* of the call that runs */

static cudaError_t take(const struct item *i)
{
    return give(i, given);
}

bool shim_take(void (*call)(const void *params), const void *params, size_t bytes)
{
    struct item i = {};
    i.call = call;
    memcpy(i.params, params, bytes);
    return take(&i) == cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream)
{
    given = stream;
    struct item i = {};
    i.to = to;
    i.from = from;
    i.bytes = bytes;
    return fails("copy") ? cudaErrorLaunchFailure : bytes ? take(&i) : cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    given = stream;
    struct item i = {};
    i.to = to;
    i.value = value;
    i.bytes = bytes;
    return take(&i);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *kernel, void **params)
{
    const struct shim_kernel *k = (const struct shim_kernel *)kernel;
    struct item i = {};
    given = c->stream;
    if (fails("launch"))
        return cudaErrorLaunchFailure;
    if (!c->gridDim.x || !c->gridDim.y || !c->gridDim.z || c->gridDim.y > 65535 || c->gridDim.z > 65535)
        return cudaErrorInvalidValue;
    i.kernel = k;
    i.grid = {c->gridDim.x, c->gridDim.y, c->gridDim.z};
    i.block = {c->blockDim.x, c->blockDim.y, c->blockDim.z};
    i.shared = c->dynamicSmemBytes;
    memcpy(i.params, params[0], k->bytes);
    return take(&i);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    struct stream *s = (struct stream *)calloc(1, sizeof(*s));
    if (!s)
        return cudaErrorMemoryAllocation;
    s->last = &s->first;
    *out = s;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    do_until((struct stream *)stream, nullptr, 0);
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    do_until((struct stream *)stream, nullptr, 0);
    return fails("synchronize") ? cudaErrorLaunchFailure : cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = calloc(1, sizeof(struct event));
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    free(e);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct event *e = (struct event *)event;
    struct item i = {};
    e->stream = (struct stream *)stream;
    i.record = e;
    i.moment = ++e->recorded;
    return give(&i, stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    struct item i = {};
    i.wait = (struct event *)event;
    i.moment = i.wait->recorded;
    return give(&i, stream);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    struct event *e = (struct event *)event;
    do_until(e->stream, e, e->recorded);
    return cudaSuccess;
}

/* --- code --- */

cudaError_t cudaLibraryLoadData(cudaLibrary_t *out, const void *, void *, void **, unsigned, void *, void **,
                                unsigned)
{
    *out = nullptr;
    return fails("load") ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t cudaLibraryUnload(cudaLibrary_t)
{
    shim_free_stacks();
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *out, cudaLibrary_t, const char *name)
{
    for (struct shim_kernel *k = kernels; k; k = k->next)
        if (!strcmp(k->name, name)) {
            *out = k;
            return cudaSuccess;
        }
    return cudaErrorInvalidValue;
}

cudaError_t cudaFuncSetAttribute(const void *, int, int)
{
    return cudaSuccess;
}

/* --- graphs --- */

cudaError_t cudaStreamBeginCapture(cudaStream_t, int)
{
    if (fails("capture"))
        return cudaErrorLaunchFailure;
    capture = (struct graph *)calloc(1, sizeof(*capture));
    if (!capture)
        return cudaErrorMemoryAllocation;
    capture->last = &capture->first;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *out)
{
    *out = capture;
    capture = nullptr;
    return *out ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    cudaError_t e = cudaSuccess;
    if (fails("graph"))
        return cudaErrorLaunchFailure;
    for (struct item *i = ((struct graph *)graph)->first; i && e == cudaSuccess; i = i->next)
        e = give(i, stream);
    return e;
}

/* The instance is the graph: it goes with the instance. */
cudaError_t cudaGraphDestroy(cudaGraph_t)
{
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    struct graph *g = (struct graph *)graph;
    while (g && g->first) {
        struct item *next = g->first->next;
        free(g->first);
        g->first = next;
    }
    free(g);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "invalid argument";
    }
}

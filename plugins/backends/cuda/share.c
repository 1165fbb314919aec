/* share.c - memory for values that other GPUs of the host come for: on the GPU that makes them where all of
 * those can read it there (then copies go from GPU to GPU), else pinned memory of the host.
 */
#include "cuda.h"

#include "err.h"

#include <stdlib.h>

struct cu_shared {
    struct cu_shared *next;
    void *memory;
    bool pinned;
};

static bool reads(const struct cu_device *peer, const struct cu_device *d)
{
    int can = 0;
    if (cudaDeviceCanAccessPeer(&can, peer->index, d->index) != cudaSuccess || !can ||
        cudaSetDevice(peer->index) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    cudaError_t e = cudaDeviceEnablePeerAccess(d->index, 0);
    if (e != cudaSuccess)
        cudaGetLastError();
    return e == cudaSuccess || e == cudaErrorPeerAccessAlreadyEnabled;
}

int32_t cu_share(void *ctx, void *const *peers, uint32_t n, uint64_t bytes, void **out, struct rz_err *err)
{
    struct cu_device *d = ctx;
    struct cu_shared *s = calloc(1, sizeof(*s));
    bool direct = true;
    if (!s)
        return rz_fail(err, RZ_ENOMEM, d->table.name, "no memory");
    for (uint32_t i = 0; i < n && direct; i++)
        direct = reads(peers[i], d);
    int32_t status = cu_check(cudaSetDevice(d->index), "choosing the device", err);
    if (!status)
        status = cu_check(direct ? cudaMalloc(&s->memory, bytes)
                                 : cudaHostAlloc(&s->memory, bytes, cudaHostAllocPortable),
                          "memory for values of several GPUs", err);
    if (status) {
        free(s);
        return status;
    }
    s->pinned = !direct;
    s->next = d->shares;
    d->shares = s;
    *out = s->memory;
    return RZ_OK;
}

void cu_unshare(void *ctx, void *memory)
{
    struct cu_device *d = ctx;
    struct cu_shared **at = &d->shares;
    while (*at && (*at)->memory != memory)
        at = &(*at)->next;
    struct cu_shared *s = *at;
    if (!s)
        return;
    *at = s->next;
    cudaSetDevice(d->index);
    if (s->pinned)
        cudaFreeHost(memory);
    else
        cudaFree(memory);
    free(s);
}

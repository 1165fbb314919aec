/* pages.c - the bytes of KV pages and of slots of recurrent state, from the device and to it, between steps.
 */
#include "cuda.h"

#include "err.h"

/* Where they lie; NULL: there is no such page or slot. */
static uint8_t *find(const struct rz_plan *plan, uint32_t group, int32_t index, uint64_t *bytes)
{
    bool state = group == plan->program->n_kv_groups;
    uint32_t n = state ? plan->limits.n_slots : plan->limits.n_pages;
    if (group > plan->program->n_kv_groups || index < 0 || (uint32_t)index >= n)
        return NULL;
    *bytes = state ? plan->slot_bytes : plan->kv_page[group];
    return (state ? plan->states : plan->kv_base[group]) + (uint32_t)index * *bytes;
}

static int32_t refuse(uint32_t group, int32_t index, uint64_t n, struct rz_err *err)
{
    return rz_fail(err, RZ_EINVAL, "plan", "page %d of group %u does not have %llu bytes", index, group,
                   (unsigned long long)n);
}

/* Behind everything that the stream still does; waits for its end. */
static int32_t copy(struct rz_plan *plan, void *to, const void *from, uint64_t bytes, bool out,
                    struct rz_err *err)
{
    int32_t status = cu_check(cudaSetDevice(plan->device->index), "choosing the device", err);
    if (!status)
        status =
            cu_check(cudaMemcpyAsync(to, from, bytes, out ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice,
                                     plan->stream),
                     "copying a page", err);
    return status ? status : cu_check(cudaStreamSynchronize(plan->stream), "copying a page", err);
}

int64_t cu_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                 struct rz_err *err)
{
    uint64_t bytes = 0;
    const uint8_t *from = find(plan, group, index, &bytes);
    if (!from || (out && n != bytes))
        return refuse(group, index, n, err);
    int32_t status = out ? copy(plan, out, from, n, true, err) : RZ_OK;
    return status ? status : (int64_t)bytes;
}

int32_t cu_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                 struct rz_err *err)
{
    uint64_t bytes = 0;
    uint8_t *to = find(plan, group, index, &bytes);
    if (!to || n != bytes)
        return refuse(group, index, n, err);
    return copy(plan, to, in, n, false, err);
}

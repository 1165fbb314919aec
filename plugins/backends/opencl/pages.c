/* pages.c - the bytes of KV pages and of slots of recurrent state, from the device and to it, between steps.
 */
#include "opencl.h"

#include "err.h"

struct span {
    cl_mem mem;
    size_t at, bytes;
};

/* Where they lie; false: there is no such page or slot, or it does not have n bytes. */
static bool find(const struct plan *p, uint32_t group, int32_t index, struct span *out)
{
    bool state = group == p->program->n_kv_groups;
    uint32_t n = state ? p->limits.n_slots : p->limits.n_pages;
    if (group > p->program->n_kv_groups || index < 0 || (uint32_t)index >= n)
        return false;
    out->mem = state ? p->state : p->groups[group].mem;
    out->bytes = state ? p->slot_floats * sizeof(float) : p->groups[group].page_bytes;
    out->at = (uint32_t)index * out->bytes;
    return true;
}

static int32_t refuse(uint32_t group, int32_t index, uint64_t n, struct rz_err *err)
{
    return rz_fail(err, RZ_EINVAL, "opencl", "page %d of group %u does not have %llu bytes", index, group,
                   (unsigned long long)n);
}

/* The end of a copy that waited for everything before it. */
static int32_t copied(struct plan *p, cl_int status, struct rz_err *err)
{
    if (!status)
        return RZ_OK;
    p->lost = true;
    return rz_fail(err, RZ_EDEVICE, p->cl->device_name, "a page cannot be copied: %s", cl_error_name(status));
}

static int32_t lost(const struct plan *p, struct rz_err *err)
{
    return rz_fail(err, RZ_EDEVICE, p->cl->device_name, "the device was lost in an earlier step");
}

int64_t plan_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                   struct rz_err *err)
{
    struct plan *p = (struct plan *)plan;
    struct span s;
    if (!find(p, group, index, &s) || (out && n != s.bytes))
        return refuse(group, index, n, err);
    if (!out || !s.bytes)
        return (int64_t)s.bytes;
    if (p->lost)
        return lost(p, err);
    int32_t code = copied(
        p, p->cl->lib.EnqueueReadBuffer(p->cl->queue, s.mem, CL_TRUE, s.at, s.bytes, out, 0, NULL, NULL),
        err);
    return code ? code : (int64_t)s.bytes;
}

int32_t plan_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                   struct rz_err *err)
{
    struct plan *p = (struct plan *)plan;
    struct span s;
    if (!find(p, group, index, &s) || n != s.bytes)
        return refuse(group, index, n, err);
    if (p->lost)
        return lost(p, err);
    return !n ? RZ_OK
              : copied(p,
                       p->cl->lib.EnqueueWriteBuffer(p->cl->queue, s.mem, CL_TRUE, s.at, s.bytes, in, 0, NULL,
                                                     NULL),
                       err);
}

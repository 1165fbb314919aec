/* store.c - the bytes of KV pages and of recurrent states, out of a plan and into it, between steps. */
#include "plan.h"

#include "err.h"

#include <string.h>

/* Where they lie; NULL: there is no such page or slot. */
static uint8_t *find(const struct rz_plan *plan, uint32_t group, int32_t index, uint64_t *bytes)
{
    bool state = group == plan->program->n_kv_groups;
    uint32_t n = state ? plan->limits.n_slots : plan->limits.n_pages;
    if (group > plan->program->n_kv_groups || index < 0 || (uint32_t)index >= n)
        return NULL;
    const struct rz_kv_view *v = &plan->kv_views[state ? 0 : group];
    *bytes = state ? plan->slot_bytes : v->page_bytes;
    return (state ? plan->state : v->base) + (uint32_t)index * *bytes;
}

static int32_t refuse(uint32_t group, int32_t index, uint64_t n, struct rz_err *err)
{
    return rz_fail(err, RZ_EINVAL, "plan", "page %d of group %u does not have %llu bytes", index, group,
                   (unsigned long long)n);
}

int64_t rz_plan_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                      struct rz_err *err)
{
    uint64_t bytes = 0;
    const uint8_t *p = find(plan, group, index, &bytes);
    if (!p || (out && n != bytes))
        return refuse(group, index, n, err);
    if (out)
        memcpy(out, p, n);
    return (int64_t)bytes;
}

int32_t rz_plan_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                      struct rz_err *err)
{
    uint64_t bytes = 0;
    uint8_t *p = find(plan, group, index, &bytes);
    if (!p || n != bytes)
        return refuse(group, index, n, err);
    memcpy(p, in, n);
    return RZ_OK;
}

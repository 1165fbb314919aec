/* lower_cache.c - launches of ops that remember: keys and values in pages, recurrent states. */
#include "lower.h"

#include "access.h"

#include <stdio.h>

/* --- keys and values --- */

static const struct kv_group *group_of(const struct lowering *l)
{
    return &l->plan->groups[l->node->attrs[RZ_A_KV_GROUP].i];
}

static int32_t begin_kv(struct lowering *l, bool wide, const char *kernel, struct rz_err *err)
{
    const struct kv_group *g = group_of(l);
    char options[128];
    snprintf(options, sizeof(options), "-DKV=%d -DK_DIM=%u -DV_DIM=%u -DT=%u -DLATENT=%d%s",
             l->plan->limits.kv_type, g->k_dim, g->v_dim, l->plan->limits.page_tokens, g->latent,
             wide ? " -DWIDE" : "");
    int32_t status = lowering_begin(l, wide ? &source_wide_kv : &source_kv, options, kernel, err);
    if (status)
        return status;
    arg_mem(l, l->plan->values);
    arg_mem(l, l->plan->batch);
    arg_mem(l, g->mem);
    arg_ulong(l, g->page_bytes);
    arg_ulong(l, (uint64_t)l->node->attrs[RZ_A_KV_LAYER].i * g->layer_bytes);
    arg_ulong(l, g->head_bytes);
    arg_ulong(l, g->value_at);
    arg_uint(l, (uint64_t)l->node->attrs[RZ_A_KV_GROUP].i);
    return RZ_OK;
}

int32_t lower_kv_store(struct lowering *l, struct rz_err *err)
{
    int32_t status = begin_kv(l, false, "kv_store", err);
    if (status)
        return status;
    l->launch->global[0] = group_of(l)->latent ? 1 : group_of(l)->n_heads;
    arg_in(l, 0);
    arg_in(l, 1);
    return lowering_end(l, err);
}

int32_t lower_attention(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    bool wide = l->plan->cl->wide;
    cl_mem sinks = NULL;
    int32_t status = has(l, RZ_A_SINKS) ? vector_of(l, 0, &sinks, err) : RZ_OK;
    if (!status)
        status = begin_kv(l, wide, wide ? "attention_wide" : "attention", err);
    if (status)
        return status;
    l->launch->local[0] = wide ? WIDE_LANES : 1;
    l->launch->global[0] = (uint64_t)a[RZ_A_N_HEAD].i * l->launch->local[0];
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, (uint64_t)a[RZ_A_N_HEAD].i);
    arg_uint(l, (uint64_t)a[RZ_A_N_KV_HEAD].i);
    arg_float(l, a[RZ_A_SCALE].f);
    arg_float(l, has(l, RZ_A_SOFTCAP) ? a[RZ_A_SOFTCAP].f : 0);
    arg_float(l, has(l, RZ_A_ALIBI) ? a[RZ_A_ALIBI].f : 0);
    arg_uint(l, has(l, RZ_A_WINDOW) ? (uint64_t)a[RZ_A_WINDOW].i : 0);
    arg_uint(l, has(l, RZ_A_CHUNK) ? (uint64_t)a[RZ_A_CHUNK].i : 0);
    arg_uint(l, has(l, RZ_A_BOTH));
    arg_mem(l, sinks);
    return lowering_end(l, err);
}

/* --- recurrent states --- */

static int32_t begin_state(struct lowering *l, const char *kernel, struct rz_err *err)
{
    int32_t status = lowering_begin(l, &source_recurrent, "", kernel, err);
    if (status)
        return status;
    l->launch->row_dim = 3; /* an item walks all rows */
    arg_mem(l, l->plan->values);
    arg_mem(l, l->plan->batch);
    arg_mem(l, l->plan->state);
    arg_ulong(l, l->plan->slot_floats);
    arg_uint(l, l->plan->state_at[l->node->attrs[RZ_A_STATE].i]);
    return RZ_OK;
}

static uint64_t columns_of(const struct lowering *l, uint32_t i)
{
    return rz_weight_at(l->plan->program, (uint32_t)weight_ref(l, i))->cols;
}

int32_t lower_conv(struct lowering *l, struct rz_err *err)
{
    cl_mem w, bias;
    int32_t status = vector_of(l, 0, &w, err);
    if (!status)
        status = vector_of(l, 1, &bias, err);
    if (!status)
        status = begin_state(l, "conv", err);
    if (status)
        return status;
    l->launch->global[0] = out_width(l, 0);
    arg_mem(l, w);
    arg_mem(l, has(l, RZ_A_BIAS) ? bias : NULL);
    arg_in(l, 0);
    arg_out(l, 0);
    arg_uint(l, out_width(l, 0));
    arg_uint(l, columns_of(l, 0));
    arg_uint(l, has(l, RZ_A_SILU));
    return lowering_end(l, err);
}

int32_t lower_scan(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    const struct place *x = &l->plan->places[l->plan->program->refs[l->node->first_in]];
    uint64_t heads = (uint64_t)a[RZ_A_N_HEAD].i, groups = (uint64_t)a[RZ_A_STATE_GROUPS].i;
    uint64_t inner = out_width(l, 0), apart = l->node->n_in == 4;
    uint64_t n_dim = (apart ? in_width(l, 2) : (in_width(l, 0) - inner) / 2) / groups;
    cl_mem w[3];
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < 3 && !status; i++)
        status = vector_of(l, i, &w[i], err);
    if (!status)
        status = begin_state(l, "scan", err);
    if (status)
        return status;
    l->launch->global[0] = inner / heads;
    l->launch->global[1] = heads;
    for (uint32_t i = 0; i < 3; i++)
        arg_mem(l, w[i]);
    arg_in(l, 0);
    arg_in(l, 1);
    for (uint32_t i = 0; i < 2; i++) {
        if (apart) {
            arg_in(l, 2 + i);
            continue;
        }
        arg_uint(l, x->at + inner + i * groups * n_dim);
        arg_uint(l, x->stride);
    }
    arg_out(l, 0);
    arg_uint(l, inner / heads);
    arg_uint(l, n_dim);
    arg_uint(l, heads / groups);
    arg_uint(l, columns_of(l, 0));
    return lowering_end(l, err);
}

int32_t lower_delta(struct lowering *l, struct rz_err *err)
{
    const struct rz_attr *a = l->node->attrs;
    uint64_t heads = (uint64_t)a[RZ_A_N_HEAD].i, keys = (uint64_t)a[RZ_A_STATE_GROUPS].i;
    uint64_t v_dim = out_width(l, 0) / heads, k_dim = (in_width(l, 0) - out_width(l, 0)) / (2 * keys);
    cl_mem w[2];
    int32_t status = vector_of(l, 0, &w[0], err);
    if (!status)
        status = vector_of(l, 1, &w[1], err);
    if (!status)
        status = begin_state(l, "delta", err);
    if (status)
        return status;
    l->launch->global[0] = (v_dim + 15) / 16;
    l->launch->global[1] = heads;
    arg_mem(l, w[0]);
    arg_mem(l, w[1]);
    for (uint32_t i = 0; i < 3; i++)
        arg_in(l, i);
    arg_out(l, 0);
    arg_uint(l, keys);
    arg_uint(l, k_dim);
    arg_uint(l, v_dim);
    arg_uint(l, heads);
    arg_uint(l, has(l, RZ_A_STRIPED));
    arg_float(l, a[RZ_A_EPS].f);
    return lowering_end(l, err);
}

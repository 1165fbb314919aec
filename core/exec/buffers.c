/* buffers.c - the memory of a plan: values, scratch, KV pages, state slots, rope tables. Planned once,
 * checked, and only then taken; pages are committed by the system when they are first touched.
 */
#include "plan.h"

#include "checked.h"
#include "err.h"

#include <stdlib.h>

#define ALIGN 64u
#define NEVER UINT32_MAX

/* The steps between which a value must keep its memory. */
struct life {
    uint32_t first, last;
    uint64_t bytes, offset;
};

static uint64_t value_stride(const struct rz_value *v)
{
    return rz_round_up(v->width, ALIGN / sizeof(float));
}

static void find_lives(const struct rz_plan *plan, struct life *lives)
{
    const struct rz_program *p = plan->program;
    for (uint32_t v = 0; v < p->n_values; v++)
        lives[v] = (struct life){.first = NEVER};
    for (uint32_t s = 0; s < plan->n_steps; s++) {
        const struct rz_node *n = rz_node_at(p, plan->steps[s].node);
        for (uint32_t i = 0; i < n->n_out; i++) {
            struct life *l = &lives[plan->steps[s].out[i]];
            if (l->first == NEVER)
                l->first = s;
            l->last = s;
        }
        for (uint32_t i = 0; i < n->n_in; i++)
            lives[plan->steps[s].in[i]].last = s;
    }
    if (p->hidden >= 0)
        lives[p->hidden].last = NEVER - 1;
    if (p->logits >= 0)
        lives[p->logits].last = NEVER - 1;
}

/* Puts each value at the lowest place where no value that lives at the same time lies. */
static int32_t place_values(struct rz_plan *plan, struct life *lives, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    for (uint32_t v = 0; v < p->n_values; v++) {
        const struct rz_value *value = rz_value_at(p, v);
        uint64_t rows = value->rows == RZ_ROWS_WANTED ? plan->limits.max_wanted : plan->limits.max_rows;
        if (lives[v].first == NEVER)
            continue;
        if (!rz_mul_u64(value_stride(value) * sizeof(float), rows, &lives[v].bytes))
            return rz_fail(err, RZ_ELIMIT, "plan", "value %s is too large", value->name);
        lives[v].bytes = rz_round_up(lives[v].bytes, 4096);
        uint64_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (uint32_t o = 0; o < v; o++) {
                bool together = lives[o].first != NEVER && lives[o].first <= lives[v].last &&
                                lives[v].first <= lives[o].last;
                if (together && at < lives[o].offset + lives[o].bytes &&
                    lives[o].offset < at + lives[v].bytes) {
                    at = lives[o].offset + lives[o].bytes;
                    moved = true;
                }
            }
        }
        lives[v].offset = at;
        if (at + lives[v].bytes > plan->value_bytes)
            plan->value_bytes = at + lives[v].bytes;
    }
    return RZ_OK;
}

static int32_t take_values(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    struct life *lives = calloc(p->n_values + 1, sizeof(*lives));
    if (!lives)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u values", p->n_values);
    find_lives(plan, lives);
    int32_t status = place_values(plan, lives, err);
    if (!status && !plan->measured && !(plan->values = rz_map_memory(plan->value_bytes, false)))
        status = rz_fail(err, RZ_ENOMEM, "plan", "no memory for %llu bytes of values",
                         (unsigned long long)plan->value_bytes);
    for (uint32_t v = 0; v < p->n_values && !status && !plan->measured; v++)
        if (lives[v].first != NEVER)
            plan->views[v] = (struct rz_view){.data = (float *)(plan->values + lives[v].offset),
                                              .stride = value_stride(rz_value_at(p, v)),
                                              .width = rz_value_at(p, v)->width};
    free(lives);
    return status;
}

static int32_t take_scratch(struct rz_plan *plan, struct rz_err *err)
{
    for (uint32_t s = 0; s < plan->n_steps; s++) {
        const struct rz_plan_step *step = &plan->steps[s];
        for (uint32_t c = 0; c < step->choice.n; c++) {
            const struct rz_kernel_row *r = step->choice.rows[c];
            uint64_t bytes = r->scratch ? r->scratch(&step->kernel[c], step->kernel[c].max_rows,
                                                     rz_pool_size(plan->cpu->setup.pool))
                                        : 0;
            if (bytes > plan->scratch_bytes)
                plan->scratch_bytes = bytes;
        }
    }
    if (plan->measured)
        return RZ_OK;
    plan->scratch = rz_map_memory(plan->scratch_bytes, false);
    if (!plan->scratch)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %llu bytes of scratch",
                       (unsigned long long)plan->scratch_bytes);
    return RZ_OK;
}

static int32_t take_kv(struct rz_plan *plan, struct rz_err *err)
{
    int32_t type = plan->limits.kv_type;
    uint64_t tokens = plan->limits.page_tokens, offset[8];
    for (uint32_t g = 0; g < plan->program->n_kv_groups; g++) {
        const struct rz_kv_group *group = rz_kv_group_at(plan->program, g);
        struct rz_kv_view *v = &plan->kv_views[g];
        uint64_t total;
        *v = (struct rz_kv_view){.size = sizeof(*v),
                                 .type = type,
                                 .layout = plan->select.kv_layouts[g],
                                 .page_tokens = plan->limits.page_tokens,
                                 .n_heads = group->n_heads,
                                 .k_dim = group->k_dim,
                                 .v_dim = group->v_dim};
        uint64_t k_bytes = rz_round_up(tokens * rz_kv_row_bytes(type, group->k_dim), ALIGN);
        v->v_offset = group->kind == RZ_KV_LATENT ? 0 : k_bytes;
        v->head_bytes = k_bytes;
        if (v->v_offset)
            v->head_bytes += rz_round_up(tokens * rz_kv_row_bytes(type, group->v_dim), ALIGN);
        v->layer_bytes = v->head_bytes * group->n_heads;
        v->page_bytes = v->layer_bytes * group->n_layers;
        offset[g] = plan->kv_bytes;
        if (!rz_mul_u64(v->page_bytes, plan->limits.n_pages, &total) ||
            !rz_add_u64(plan->kv_bytes, total, &plan->kv_bytes))
            return rz_fail(err, RZ_ELIMIT, "plan", "%u KV pages of %llu bytes are too many",
                           plan->limits.n_pages, (unsigned long long)v->page_bytes);
    }
    if (plan->measured)
        return RZ_OK;
    plan->kv = rz_map_memory(plan->kv_bytes, false);
    if (!plan->kv)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %llu bytes of KV",
                       (unsigned long long)plan->kv_bytes);
    for (uint32_t g = 0; g < plan->program->n_kv_groups; g++)
        plan->kv_views[g].base = plan->kv + offset[g];
    return RZ_OK;
}

/* A slot holds all state blocks of one sequence, so that it is cleared and copied in one go. */
static int32_t take_states(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    uint64_t bytes, total;
    for (uint32_t i = 0; i < p->n_states; i++) {
        const struct rz_state *s = rz_state_at(p, i);
        if (!rz_mul_u64(s->floats, sizeof(float), &bytes) || !rz_align_u64(bytes, ALIGN, &bytes) ||
            !rz_add_u64(plan->slot_bytes, bytes, &plan->slot_bytes))
            return rz_fail(err, RZ_ELIMIT, "plan", "the recurrent state of layer %d is too large", s->layer);
    }
    bool fits = rz_mul_u64(plan->slot_bytes, plan->limits.n_slots, &total);
    if (fits && plan->measured)
        return RZ_OK;
    if (!fits || !(plan->state = rz_map_memory(total, false)))
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u slots of %llu bytes of recurrent state",
                       plan->limits.n_slots, (unsigned long long)plan->slot_bytes);
    float *at = (float *)plan->state;
    for (uint32_t i = 0; i < p->n_states; i++) {
        uint64_t floats = rz_state_at(p, i)->floats;
        plan->state_views[i] =
            (struct rz_state_view){.base = at, .stride = plan->slot_bytes / sizeof(float), .floats = floats};
        at += rz_round_up(floats, ALIGN / sizeof(float));
    }
    return RZ_OK;
}

static int32_t take_ropes(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    uint64_t positions = plan->limits.max_context;
    for (uint32_t i = 0; i < p->n_ropes; i++)
        plan->rope_bytes += positions * rz_rope_at(p, i)->dim * sizeof(float);
    if (plan->measured)
        return RZ_OK;
    plan->rope_memory = rz_map_memory(plan->rope_bytes, false);
    if (!plan->rope_memory)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for %llu bytes of rope tables",
                       (unsigned long long)plan->rope_bytes);
    float *at = plan->rope_memory;
    for (uint32_t i = 0; i < p->n_ropes; i++) {
        const struct rz_rope *r = rz_rope_at(p, i);
        uint64_t plane = positions * (r->dim / 2);
        rz_rope_fill(r, positions, at, at + plane);
        plan->rope_views[i] = (struct rz_rope_view){.size = sizeof(struct rz_rope_view),
                                                    .dim = r->dim,
                                                    .n_positions = positions,
                                                    .cos = at,
                                                    .sin = at + plane};
        at += 2 * plane;
    }
    return RZ_OK;
}

int32_t rz_plan_buffers(struct rz_plan *plan, struct rz_err *err)
{
    int32_t status = take_values(plan, err);
    if (!status)
        status = take_scratch(plan, err);
    if (!status)
        status = take_kv(plan, err);
    if (!status)
        status = take_states(plan, err);
    if (!status)
        status = take_ropes(plan, err);
    return status;
}

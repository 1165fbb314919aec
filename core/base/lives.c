/* lives.c - between which steps values live, and a place for each: the lowest where nothing lies that lives
 * at the same time. */
#include "lives.h"

#include "access.h"
#include "checked.h"
#include "err.h"

#include <stdbool.h>

void rz_life_touch(struct rz_life *lives, int32_t value, uint32_t at)
{
    if (value < 0)
        return;
    struct rz_life *l = &lives[value];
    if (l->first == RZ_LIFE_NEVER) {
        l->first = l->last = at;
        return;
    }
    l->first = at < l->first ? at : l->first;
    l->last = at > l->last ? at : l->last;
}

void rz_lives_outside(const struct rz_program *p, const uint32_t *nodes, uint32_t n, struct rz_life *lives)
{
    for (uint32_t s = 0; s < p->n_stages; s++) {
        const struct rz_stage *stage = rz_stage_at(p, s);
        uint32_t from = rz_find_node(nodes, n, sizeof(*nodes), stage->first);
        uint32_t to = rz_find_node(nodes, n, sizeof(*nodes), stage->end);
        for (uint32_t i = 0; i < stage->n_in; i++)
            rz_life_touch(lives, rz_stage_in(p, stage, i), from);
        for (uint32_t i = 0; i < stage->n_out; i++)
            rz_life_touch(lives, rz_stage_out(p, stage, i), to > from ? to - 1 : from);
    }
    int32_t results[] = {p->hidden, p->logits};
    for (uint32_t i = 0; i < 2; i++)
        if (results[i] >= 0 && lives[results[i]].first != RZ_LIFE_NEVER)
            lives[results[i]].last = RZ_LIFE_NEVER - 1;
}

void rz_lives_find(const struct rz_program *p, const uint32_t *nodes, uint32_t n, struct rz_life *lives)
{
    for (uint32_t v = 0; v < p->n_values; v++)
        lives[v] = (struct rz_life){.first = RZ_LIFE_NEVER};
    for (uint32_t s = 0; s < n; s++) {
        const struct rz_node *node = rz_node_at(p, nodes[s]);
        for (uint32_t i = 0; i < node->n_out; i++)
            rz_life_touch(lives, p->refs[node->first_out + i], s);
        for (uint32_t i = 0; i < node->n_in; i++)
            rz_life_touch(lives, p->refs[node->first_in + i], s);
    }
    rz_lives_outside(p, nodes, n, lives);
}

static void find_place(struct rz_life *lives, uint32_t v)
{
    struct rz_life *l = &lives[v];
    l->offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < v; i++) {
            const struct rz_life *o = &lives[i];
            bool together = o->first != RZ_LIFE_NEVER && o->first <= l->last && l->first <= o->last;
            if (together && l->offset < o->offset + o->bytes && o->offset < l->offset + l->bytes) {
                l->offset = o->offset + o->bytes;
                moved = true;
            }
        }
    }
}

int32_t rz_lives_place(const struct rz_program *p, const struct rz_plan_limits *limits, uint64_t align,
                       struct rz_life *lives, uint64_t *total, struct rz_err *err)
{
    *total = 0;
    for (uint32_t v = 0; v < p->n_values; v++) {
        const struct rz_value *value = rz_value_at(p, v);
        uint64_t rows = value->rows == RZ_ROWS_WANTED ? limits->max_wanted : limits->max_rows;
        if (lives[v].first == RZ_LIFE_NEVER)
            continue;
        if (!rz_mul_u64(RZ_VALUE_STRIDE(value->width) * sizeof(float), rows, &lives[v].bytes))
            return rz_fail(err, RZ_ELIMIT, "plan", "value %s is too large", value->name);
        lives[v].bytes = rz_round_up(lives[v].bytes, align);
        find_place(lives, v);
        uint64_t end = lives[v].offset + lives[v].bytes;
        *total = end > *total ? end : *total;
    }
    return RZ_OK;
}

uint32_t rz_find_node(const uint32_t *first, uint32_t n, size_t stride, uint32_t node)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (*(const uint32_t *)((const char *)first + middle * stride) < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void rz_find_stage(const struct rz_program *p, const struct rz_batch *b, const uint32_t *first, uint32_t n,
                   size_t stride, uint32_t *from, uint32_t *to)
{
    *from = 0;
    *to = n;
    if (!p->n_stages)
        return;
    const struct rz_stage *stage = rz_stage_at(p, b->stage);
    *from = rz_find_node(first, n, stride, stage->first);
    *to = rz_find_node(first, n, stride, stage->end);
}

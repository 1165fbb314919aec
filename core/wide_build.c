/* wide_build.c - the tables of a wide program while it grows, and how a device comes by a value: whole, as a
 * piece, or as the sum of partial results.
 */
#include "wide_build.h"

#include "err.h"
#include "grow.h"

#include <string.h>

/* Devices that have something of the value in this table. */
uint16_t rz_widen_having(const int32_t *table, int32_t v)
{
    uint16_t mask = 0;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++)
        if (table[(uint64_t)v * RZ_WIDE_MAX + d] >= 0)
            mask |= (uint16_t)(1u << d);
    return mask;
}

static void *check_memory(struct rz_widening *w, void *memory)
{
    if (!memory && !w->status)
        w->status =
            rz_fail(w->err, RZ_ENOMEM, "layers", "no memory to divide a program of %u nodes", w->p->n_nodes);
    return memory;
}

void *rz_widen_room(struct rz_widening *w, uint64_t n, size_t each)
{
    return check_memory(w, rz_arena_array(&w->wide->arena, n + 1, each));
}

/* --- the new program's tables --- */

static void *more(struct rz_widening *w, void *table, uint32_t n, size_t *cap, size_t each)
{
    if (w->status)
        return table;
    void *to = check_memory(w, rz_arena_grow(&w->wide->arena, table, n, cap, each, 1024));
    return to ? to : table;
}

int32_t rz_widen_value(struct rz_widening *w, int32_t like, uint64_t columns)
{
    size_t cap = w->cap_values;
    w->values = more(w, w->values, w->n_values, &cap, sizeof(*w->values));
    w->maker = more(w, w->maker, w->n_values, &w->cap_values, sizeof(*w->maker));
    if (w->status)
        return 0;
    w->values[w->n_values] = *rz_value_at(w->p, (uint32_t)like);
    w->values[w->n_values].size = sizeof(*w->values);
    w->values[w->n_values].width = columns;
    return (int32_t)w->n_values++;
}

static uint32_t put_refs(struct rz_widening *w, const int32_t *from, uint32_t n)
{
    uint32_t first = w->n_refs;
    for (uint32_t i = 0; i < n; i++) {
        w->refs = more(w, w->refs, w->n_refs, &w->cap_refs, sizeof(*w->refs));
        if (!w->status)
            w->refs[w->n_refs++] = from[i];
    }
    return first;
}

void rz_widen_put(struct rz_widening *w, uint16_t op, const struct rz_wide_copy *c)
{
    w->nodes = more(w, w->nodes, w->n_nodes, &w->cap_nodes, sizeof(*w->nodes));
    struct rz_node n = {.size = sizeof(n),
                        .op = op,
                        .level = RZ_LEVEL_PRIMITIVE,
                        .layer = leaf_of(w)->layer,
                        .parent = -1,
                        .n_in = c->n_in,
                        .n_out = c->n_out,
                        .n_weights = c->n_weights,
                        .attr_mask = c->attr_mask,
                        .attrs = c->attrs};
    n.first_in = put_refs(w, c->in, c->n_in);
    n.first_out = put_refs(w, c->out, c->n_out);
    n.first_weight = put_refs(w, c->weights, c->n_weights);
    if (w->status)
        return;
    for (uint32_t i = 0; i < c->n_out; i++)
        if (c->out[i] >= 0)
            w->maker[c->out[i]] = (int32_t)w->n_nodes;
    w->nodes[w->n_nodes++] = (struct rz_wide_node){.n = n, .origin = w->leaf, .device = c->device};
}

/* --- weights --- */

static int32_t new_weight(struct rz_widening *w)
{
    w->weight_table = more(w, w->weight_table, w->n_weights, &w->cap_weights, sizeof(*w->weight_table));
    return w->status ? -1 : (int32_t)w->n_weights++;
}

int32_t rz_widen_weight(struct rz_widening *w, int32_t from)
{
    if (from < 0 || w->whole_weights[from] >= 0)
        return from < 0 ? -1 : w->whole_weights[from];
    int32_t to = new_weight(w);
    if (to >= 0)
        w->weight_table[to] = *rz_weight_at(w->p, (uint32_t)from);
    return w->whole_weights[from] = to;
}

int32_t rz_widen_weight_piece(struct rz_widening *w, int32_t from, const struct rz_wide_piece *piece,
                              uint8_t d)
{
    if (from < 0 || w->status)
        return -1;
    int32_t *known = at(w->weights, from, d);
    struct rz_wide_piece *as = &w->pieces[(uint64_t)from * RZ_WIDE_MAX + d];
    if (*known >= 0 && !memcmp(as, piece, sizeof(*as)))
        return *known;
    *known = new_weight(w);
    *as = *piece;
    if (*known >= 0)
        w->status = rz_wide_weights_piece(&w->wide->weights, rz_weight_at(w->p, (uint32_t)from), piece, d,
                                          w->weight_table, (uint32_t)*known, w->err);
    return *known;
}

/* --- values --- */

struct rz_wide_copy rz_widen_copy(const struct rz_widening *w, uint8_t d)
{
    const struct rz_node *n = leaf_of(w);
    return (struct rz_wide_copy){.device = d,
                                 .n_in = n->n_in,
                                 .n_out = n->n_out,
                                 .n_weights = n->n_weights,
                                 .attr_mask = n->attr_mask,
                                 .attrs = n->attrs};
}

/* The attributes as the copy's own, to be changed. */
struct rz_attr *rz_widen_attrs(struct rz_widening *w, struct rz_wide_copy *c)
{
    struct rz_attr *a = rz_widen_room(w, RZ_A_COUNT, sizeof(*a));
    if (!a)
        return w->nowhere;
    if (c->attrs)
        memcpy(a, c->attrs, RZ_A_COUNT * sizeof(*a));
    c->attrs = a;
    return a;
}

/* The sum of the partial results, made on d. */
static int32_t sum_on(struct rz_widening *w, int32_t v, uint8_t d)
{
    int32_t sum = -1;
    for (uint8_t k = 0; k < RZ_WIDE_MAX; k++) {
        int32_t one = *at(w->part, v, k);
        if (one < 0 || sum < 0) {
            sum = one < 0 ? sum : one;
            continue;
        }
        struct rz_wide_copy c = {.device = d, .n_in = 2, .n_out = 1, .in = {sum, one}};
        sum = c.out[0] = rz_widen_value(w, v, width(w, v));
        rz_widen_attrs(w, &c);
        rz_widen_put(w, RZ_OP_ADD, &c);
    }
    return sum;
}

int32_t rz_widen_whole(struct rz_widening *w, int32_t v, uint8_t d)
{
    if (v < 0 || *at(w->whole, v, d) >= 0)
        return v < 0 ? -1 : *at(w->whole, v, d);
    uint16_t made = rz_widen_having(w->whole, v), parts = rz_widen_having(w->part, v);
    if (parts && parts & (parts - 1))
        return *at(w->whole, v, d) = sum_on(w, v, d);
    if (made)
        return *at(w->whole, v, lowest(made));
    if (parts)
        return *at(w->part, v, lowest(parts));
    if (!w->status)
        w->status =
            rz_fail(w->err, RZ_EINTERNAL, "layers", "layer %d: %s: %s is nowhere whole", leaf_of(w)->layer,
                    rz_op_name(leaf_of(w)->op), rz_value_at(w->p, (uint32_t)v)->name);
    return 0;
}

int32_t rz_widen_piece(struct rz_widening *w, int32_t v, const struct rz_scheme *s, uint8_t d)
{
    if (*at(w->piece, v, d) >= 0)
        return *at(w->piece, v, d);
    int32_t x = rz_widen_whole(w, v, d);
    if (s->n[d] == s->units)
        return x;
    uint64_t unit = width(w, v) / s->units;
    struct rz_wide_copy c = {
        .device = d, .n_in = 1, .n_out = 1, .in = {x}, .attr_mask = RZ_ATTR(RZ_A_COLUMN)};
    rz_widen_attrs(w, &c)[RZ_A_COLUMN].i = (int64_t)(s->first[d] * unit);
    c.out[0] = *at(w->piece, v, d) = rz_widen_value(w, v, s->n[d] * unit);
    rz_widen_put(w, RZ_OP_COLUMNS, &c);
    return c.out[0];
}

/* --- keys and values --- */

int64_t rz_widen_group(struct rz_widening *w, uint32_t group, uint8_t place, uint8_t d, uint32_t heads)
{
    for (uint32_t i = 0; i < w->n_groups; i++)
        if (w->groups[i].of == group && w->groups[i].place == place && w->groups[i].device == d)
            return i;
    w->groups[w->n_groups] = (struct rz_wide_group){group, place, d};
    w->group_table[w->n_groups] = *rz_kv_group_at(w->p, group);
    w->group_table[w->n_groups].size = sizeof(*w->group_table);
    w->group_table[w->n_groups].n_heads = heads;
    return w->n_groups++;
}

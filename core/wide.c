/* wide.c - writes the program in which several devices work on a layer at once: of each primitive a copy for
 * each device that has a piece of it, and sums where partial results come together.
 *
 * Owns the new program; node attributes that no piece changes, names, ropes and most weights stay the
 * source's. Invariants: a sum adds the devices' partial results in the order of the devices, and every device
 * of the place that needs it adds for itself, so that all go on with the same bits; keys and values of a head
 * are where its queries are. What cannot be divided runs on one device.
 */
#include "wide.h"

#include "access.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

#define FEW_COLUMNS 64u /* products of so few are made by each device that needs them */
#define OPERANDS 4u
#define UNDIVIDED 0xffu /* in place of a place: all heads */

struct node {
    struct rz_node n;
    uint32_t origin;
    uint8_t device;
    bool crosses; /* another device reads what it makes */
};

struct group {
    uint32_t of;
    uint8_t place, device;
};

struct widening {
    const struct rz_wide_setup *setup;
    const struct rz_program *p;
    struct rz_wide *wide;
    struct rz_wide_plan plan;
    /* [n_values][RZ_WIDE_MAX]: values of the new program, -1: there is none; what a device has of a value: */
    int32_t *whole, *piece, *part;
    int32_t *weights; /* [n_weights][RZ_WIDE_MAX]: the piece that was made last; -1 */
    struct rz_wide_piece *pieces;
    int32_t *whole_weights; /* [n_weights] */
    struct node *nodes;
    int32_t *maker; /* of values of the new program */
    struct rz_value *values;
    struct rz_weight *weight_table;
    struct rz_kv_group *group_table;
    struct group *groups;
    int32_t *refs;
    uint32_t n_nodes, n_values, n_weights, n_groups, n_refs;
    uint32_t cap_nodes, cap_values, cap_weights, cap_refs;
    uint32_t leaf; /* that is being copied */
    int32_t status;
    struct rz_err *err;
};

/* What one copy of a leaf is given. */
struct copy {
    uint8_t device;
    uint32_t n_in, n_out, n_weights;
    int32_t in[OPERANDS], out[OPERANDS], weights[16];
    uint64_t attr_mask;
    const struct rz_attr *attrs;
};

static const struct rz_node *leaf_of(const struct widening *w)
{
    return rz_node_at(w->p, w->leaf);
}

static uint16_t devices_of(const struct widening *w)
{
    return w->setup->places[w->setup->of[w->leaf]];
}

static int32_t in_of(const struct widening *w, const struct rz_node *n, uint32_t i)
{
    return i < n->n_in ? w->p->refs[n->first_in + i] : -1;
}

static int32_t out_of(const struct widening *w, const struct rz_node *n, uint32_t i)
{
    return i < n->n_out ? w->p->refs[n->first_out + i] : -1;
}

static uint64_t width(const struct widening *w, int32_t v)
{
    return rz_value_at(w->p, (uint32_t)v)->width;
}

static uint8_t lowest(uint16_t devices)
{
    return (uint8_t)__builtin_ctz(devices);
}

static int32_t *at(int32_t *table, int32_t v, uint8_t d)
{
    return &table[(uint64_t)v * RZ_WIDE_MAX + d];
}

/* Devices that have something of the value in this table. */
static uint16_t having(int32_t *table, int32_t v)
{
    uint16_t mask = 0;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++)
        if (*at(table, v, d) >= 0)
            mask |= (uint16_t)(1u << d);
    return mask;
}

static void *room(struct widening *w, uint64_t n, size_t each)
{
    void *memory = rz_arena_array(&w->wide->arena, n + 1, each);
    if (!memory && !w->status)
        w->status =
            rz_fail(w->err, RZ_ENOMEM, "layers", "no memory to divide a program of %u nodes", w->p->n_nodes);
    return memory;
}

/* --- the new program's tables --- */

static void *more(struct widening *w, void *table, uint32_t n, uint32_t *cap, size_t each)
{
    if (n < *cap || w->status)
        return table;
    uint32_t larger = *cap ? 2 * *cap : 1024;
    void *to = room(w, larger, each);
    if (!to)
        return table;
    if (n)
        memcpy(to, table, n * each);
    *cap = larger;
    return to;
}

static int32_t new_value(struct widening *w, int32_t like, uint64_t columns)
{
    uint32_t cap = w->cap_values;
    w->values = more(w, w->values, w->n_values, &cap, sizeof(*w->values));
    w->maker = more(w, w->maker, w->n_values, &w->cap_values, sizeof(*w->maker));
    if (w->status)
        return 0;
    w->values[w->n_values] = *rz_value_at(w->p, (uint32_t)like);
    w->values[w->n_values].size = sizeof(*w->values);
    w->values[w->n_values].width = columns;
    return (int32_t)w->n_values++;
}

static uint32_t put_refs(struct widening *w, const int32_t *from, uint32_t n)
{
    uint32_t first = w->n_refs;
    for (uint32_t i = 0; i < n; i++) {
        w->refs = more(w, w->refs, w->n_refs, &w->cap_refs, sizeof(*w->refs));
        if (!w->status)
            w->refs[w->n_refs++] = from[i];
    }
    return first;
}

static void put_node(struct widening *w, uint16_t op, const struct copy *c)
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
    w->nodes[w->n_nodes++] = (struct node){.n = n, .origin = w->leaf, .device = c->device};
}

/* --- weights --- */

static int32_t new_weight(struct widening *w)
{
    w->weight_table = more(w, w->weight_table, w->n_weights, &w->cap_weights, sizeof(*w->weight_table));
    return w->status ? -1 : (int32_t)w->n_weights++;
}

static int32_t whole_weight(struct widening *w, int32_t from)
{
    if (from < 0 || w->whole_weights[from] >= 0)
        return from < 0 ? -1 : w->whole_weights[from];
    int32_t to = new_weight(w);
    if (to >= 0)
        w->weight_table[to] = *rz_weight_at(w->p, (uint32_t)from);
    return w->whole_weights[from] = to;
}

static int32_t piece_of(struct widening *w, int32_t from, const struct rz_wide_piece *piece, uint8_t d)
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

static int32_t weight_ref(const struct widening *w, const struct rz_node *n, uint32_t i)
{
    return i < n->n_weights ? w->p->refs[n->first_weight + i] : -1;
}

/* --- values --- */

static struct copy copy_for(const struct widening *w, uint8_t d)
{
    const struct rz_node *n = leaf_of(w);
    return (struct copy){.device = d,
                         .n_in = n->n_in,
                         .n_out = n->n_out,
                         .n_weights = n->n_weights,
                         .attr_mask = n->attr_mask,
                         .attrs = n->attrs};
}

/* The attributes as the copy's own, to be changed. */
static struct rz_attr *own_attrs(struct widening *w, struct copy *c)
{
    struct rz_attr *a = room(w, RZ_A_COUNT, sizeof(*a));
    static struct rz_attr nowhere[RZ_A_COUNT];
    if (!a)
        return nowhere;
    if (c->attrs)
        memcpy(a, c->attrs, RZ_A_COUNT * sizeof(*a));
    c->attrs = a;
    return a;
}

/* The sum of the partial results, made on d. */
static int32_t sum_on(struct widening *w, int32_t v, uint8_t d)
{
    int32_t sum = -1;
    for (uint8_t k = 0; k < RZ_WIDE_MAX; k++) {
        int32_t one = *at(w->part, v, k);
        if (one < 0 || sum < 0) {
            sum = one < 0 ? sum : one;
            continue;
        }
        struct copy c = {.device = d, .n_in = 2, .n_out = 1, .in = {sum, one}};
        sum = c.out[0] = new_value(w, v, width(w, v));
        own_attrs(w, &c);
        put_node(w, RZ_OP_ADD, &c);
    }
    return sum;
}

static int32_t whole_on(struct widening *w, int32_t v, uint8_t d)
{
    if (v < 0 || *at(w->whole, v, d) >= 0)
        return v < 0 ? -1 : *at(w->whole, v, d);
    uint16_t made = having(w->whole, v), parts = having(w->part, v);
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

static int32_t piece_on(struct widening *w, int32_t v, const struct rz_scheme *s, uint8_t d)
{
    if (*at(w->piece, v, d) >= 0)
        return *at(w->piece, v, d);
    int32_t x = whole_on(w, v, d);
    if (s->n[d] == s->units)
        return x;
    uint64_t unit = width(w, v) / s->units;
    struct copy c = {.device = d, .n_in = 1, .n_out = 1, .in = {x}, .attr_mask = RZ_ATTR(RZ_A_COLUMN)};
    own_attrs(w, &c)[RZ_A_COLUMN].i = (int64_t)(s->first[d] * unit);
    c.out[0] = *at(w->piece, v, d) = new_value(w, v, s->n[d] * unit);
    put_node(w, RZ_OP_COLUMNS, &c);
    return c.out[0];
}

/* Columns of the value that d has. */
static uint64_t columns_of(const struct widening *w, int32_t v, const struct rz_scheme *s, uint8_t d)
{
    return width(w, v) / s->units * s->n[d];
}

/* --- keys and values --- */

static int64_t group_of(struct widening *w, uint32_t group, uint8_t place, uint8_t d, uint32_t heads)
{
    for (uint32_t i = 0; i < w->n_groups; i++)
        if (w->groups[i].of == group && w->groups[i].place == place && w->groups[i].device == d)
            return i;
    w->groups[w->n_groups] = (struct group){group, place, d};
    w->group_table[w->n_groups] = *rz_kv_group_at(w->p, group);
    w->group_table[w->n_groups].size = sizeof(*w->group_table);
    w->group_table[w->n_groups].n_heads = heads;
    return w->n_groups++;
}

/* KV_STORE and ATTENTION of some heads. */
static void copy_heads(struct widening *w, uint8_t place, const struct rz_scheme *q,
                       const struct rz_scheme *kv)
{
    const struct rz_node *n = leaf_of(w);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!q->n[d])
            continue;
        struct copy c = copy_for(w, d);
        struct rz_attr *a = own_attrs(w, &c);
        a[RZ_A_N_KV_HEAD].i = kv->n[d];
        a[RZ_A_KV_GROUP].i = group_of(w, (uint32_t)n->attrs[RZ_A_KV_GROUP].i, place, d, kv->n[d]);
        for (uint32_t i = 0; i < n->n_in; i++)
            c.in[i] = piece_on(w, in_of(w, n, i), n->op == RZ_OP_KV_STORE ? kv : q, d);
        if (n->op == RZ_OP_ATTENTION) {
            struct rz_wide_piece heads = {
                .depth = 1, .n_rows = 1, .first_col = q->first[d], .n_cols = q->n[d]};
            int32_t y = out_of(w, n, 0);
            a[RZ_A_N_HEAD].i = q->n[d];
            c.weights[0] = piece_of(w, weight_ref(w, n, 0), &heads, d);
            c.out[0] = *at(w->piece, y, d) = new_value(w, y, columns_of(w, y, q, d));
        }
        put_node(w, n->op, &c);
    }
}

/* --- products --- */

/* Some of the rows of a product: of each expert as many. */
static void rows_piece(struct widening *w, struct copy *c, const struct rz_scheme *s, uint32_t parts)
{
    const struct rz_node *n = leaf_of(w);
    int32_t m = weight_ref(w, n, 0);
    const struct rz_weight *matrix = rz_weight_at(w->p, (uint32_t)m);
    uint64_t each = width(w, out_of(w, n, 0)) / parts; /* rows of a matrix */
    uint64_t depth = n->op == RZ_OP_MATMUL_ID ? matrix->rows / each : 1;
    uint64_t rows = matrix->rows / depth / s->units, columns = each / s->units;
    struct rz_wide_piece piece = {depth, s->first[c->device] * rows, s->n[c->device] * rows, 0, matrix->cols};
    struct rz_wide_piece bias = {depth, 0, 1, s->first[c->device] * columns, s->n[c->device] * columns};
    c->weights[0] = piece_of(w, m, &piece, c->device);
    if (n->n_weights > 1)
        c->weights[1] = piece_of(w, weight_ref(w, n, 1), &bias, c->device);
}

/* What a norm of heads multiplies by: one for all heads, or each its own. */
static void norm_piece(struct widening *w, struct copy *c, const struct rz_scheme *s)
{
    const struct rz_node *n = leaf_of(w);
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t v = weight_ref(w, n, i);
        uint64_t all = width(w, in_of(w, n, 0)), unit = all / s->units;
        struct rz_wide_piece piece = {1, 0, 1, s->first[c->device] * unit, s->n[c->device] * unit};
        bool own = v >= 0 && rz_weight_at(w->p, (uint32_t)v)->cols == all;
        c->weights[i] = own ? piece_of(w, v, &piece, c->device) : whole_weight(w, v);
    }
}

/* A leaf that makes a piece of its result on each device. */
static void copy_piece(struct widening *w, const struct rz_share *share)
{
    const struct rz_node *n = leaf_of(w);
    const struct rz_scheme *s = &w->plan.schemes[share->scheme];
    bool product = n->op == RZ_OP_MATMUL || n->op == RZ_OP_MATMUL_ID;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!s->n[d])
            continue;
        struct copy c = copy_for(w, d);
        for (uint32_t i = 0; i < n->n_in; i++) {
            int32_t v = in_of(w, n, i);
            bool divided = !product && v >= 0 && w->plan.shares[v].scheme == share->scheme;
            c.in[i] = divided ? piece_on(w, v, s, d) : whole_on(w, v, d);
        }
        if (product || n->op == RZ_OP_MATMUL_HEADS)
            rows_piece(w, &c, s, share->parts);
        else
            norm_piece(w, &c, s);
        if (n->op == RZ_OP_ROPE)
            own_attrs(w, &c)[RZ_A_N_HEAD].i = s->n[d];
        else if (n->attr_mask & RZ_ATTR(RZ_A_PARTS))
            own_attrs(w, &c)[RZ_A_PARTS].i = s->n[d];
        int32_t y = out_of(w, n, 0);
        c.out[0] = *at(w->piece, y, d) = new_value(w, y, columns_of(w, y, s, d));
        put_node(w, n->op, &c);
    }
}

/* A product of what is divided: each device has a part of the sum. The first adds the bias. */
static void copy_partial(struct widening *w, const struct rz_share *share)
{
    const struct rz_node *n = leaf_of(w);
    const struct rz_scheme *s = &w->plan.schemes[share->scheme];
    const struct rz_weight *m = rz_weight_at(w->p, (uint32_t)weight_ref(w, n, 0));
    bool first = true;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!s->n[d])
            continue;
        struct copy c = copy_for(w, d);
        uint64_t unit = m->cols / s->units;
        struct rz_wide_piece piece = {1, 0, m->rows, s->first[d] * unit, s->n[d] * unit};
        c.in[0] = piece_on(w, in_of(w, n, 0), s, d);
        for (uint32_t i = 1; i < n->n_in; i++)
            c.in[i] = whole_on(w, in_of(w, n, i), d);
        c.weights[0] = piece_of(w, weight_ref(w, n, 0), &piece, d);
        c.weights[1] = first ? whole_weight(w, weight_ref(w, n, 1)) : -1;
        if (!first)
            c.attr_mask &= ~RZ_ATTR_BIAS;
        int32_t y = out_of(w, n, 0);
        c.out[0] = *at(w->part, y, d) = new_value(w, y, width(w, y));
        put_node(w, n->op, &c);
        first = false;
    }
}

/* --- what partial results go through before they are added --- */

static bool is_partial(struct widening *w, int32_t v)
{
    return v >= 0 && having(w->part, v) && !having(w->whole, v);
}

/* The operand in which the op is linear, if that is partial; -1. */
static int32_t partial_operand(struct widening *w, const struct rz_node *n)
{
    int32_t a = in_of(w, n, 0), b = in_of(w, n, 1);
    switch (n->op) {
    case RZ_OP_SUM_ID:
        return is_partial(w, a) ? 0 : -1;
    case RZ_OP_GATE:
        return is_partial(w, b) ? 1 : -1;
    case RZ_OP_MAP:
        return is_partial(w, a) && n->attr_mask == RZ_ATTR(RZ_A_FACTOR) ? 0 : -1;
    default:
        return -1;
    }
}

static void copy_linear(struct widening *w, uint32_t operand)
{
    const struct rz_node *n = leaf_of(w);
    int32_t x = in_of(w, n, operand), y = out_of(w, n, 0);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (*at(w->part, x, d) < 0)
            continue;
        struct copy c = copy_for(w, d);
        for (uint32_t i = 0; i < n->n_in; i++)
            c.in[i] = i == operand ? *at(w->part, x, d) : whole_on(w, in_of(w, n, i), d);
        c.out[0] = *at(w->part, y, d) = new_value(w, y, width(w, y));
        put_node(w, n->op, &c);
    }
}

/* The sum of two partial results is one. */
static void add_partial(struct widening *w)
{
    const struct rz_node *n = leaf_of(w);
    int32_t a = in_of(w, n, 0), b = in_of(w, n, 1), y = out_of(w, n, 0);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        int32_t one = *at(w->part, a, d), other = *at(w->part, b, d);
        if (one < 0 || other < 0) {
            *at(w->part, y, d) = one < 0 ? other : one;
            continue;
        }
        struct copy c = copy_for(w, d);
        c.in[0] = one;
        c.in[1] = other;
        c.out[0] = *at(w->part, y, d) = new_value(w, y, width(w, y));
        put_node(w, n->op, &c);
    }
}

/* --- what is not divided --- */

static bool chooses(const struct widening *w, int32_t v)
{
    for (uint32_t i = 0; i < w->p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(w->p, i);
        if (n->op == RZ_OP_ROUTE && in_of(w, n, 0) == v)
            return true;
    }
    return false;
}

/* Ops that each device does for itself rather than wait for another. The choice of experts is never such a
 * one: all must have the same. */
static bool is_light(const struct widening *w, const struct rz_node *n)
{
    switch (n->op) {
    case RZ_OP_RMSNORM:
    case RZ_OP_LAYERNORM:
    case RZ_OP_ADD:
    case RZ_OP_MAP:
    case RZ_OP_ACT:
    case RZ_OP_ACT_MUL:
    case RZ_OP_MUL:
    case RZ_OP_GATE:
    case RZ_OP_COLUMNS:
    case RZ_OP_SELECT_ROWS:
    case RZ_OP_ROPE:
    case RZ_OP_SUM_ID:
    case RZ_OP_SCALE_ID:
        return true;
    case RZ_OP_MATMUL:
        return width(w, out_of(w, n, 0)) <= FEW_COLUMNS && !chooses(w, out_of(w, n, 0));
    default:
        return false;
    }
}

/* Devices of the place that have the value, or can add it up. */
static uint16_t there(struct widening *w, int32_t v)
{
    uint16_t parts = having(w->part, v);
    return parts & (parts - 1) ? devices_of(w) : having(w->whole, v) | parts;
}

static uint8_t nth(uint16_t devices, uint64_t n)
{
    for (n %= (uint64_t)__builtin_popcount(devices); n; n--)
        devices &= (uint16_t)(devices - 1);
    return lowest(devices);
}

/* Devices that run an undivided leaf. */
static uint16_t runners(struct widening *w)
{
    const struct rz_node *n = leaf_of(w);
    uint16_t all = devices_of(w), common = all, any = 0;
    if (n->op == RZ_OP_KV_STORE || n->op == RZ_OP_ATTENTION)
        return (uint16_t)(1u << nth(all, (uint64_t)n->attrs[RZ_A_KV_LAYER].i));
    for (uint32_t i = 0; i < n->n_in; i++) {
        int32_t v = in_of(w, n, i);
        if (v < 0)
            continue;
        uint16_t have = there(w, v) & all;
        common &= have;
        if (have == all)
            any = all;
    }
    if (is_light(w, n) && n->n_in && (common || any))
        return n->op == RZ_OP_ADD && any ? any : common ? common : (uint16_t)(1u << lowest(any));
    uint16_t first = n->n_in && in_of(w, n, 0) >= 0 ? there(w, in_of(w, n, 0)) & all : 0;
    return (uint16_t)(1u << lowest(first ? first : all));
}

static void copy_whole(struct widening *w)
{
    const struct rz_node *n = leaf_of(w);
    uint16_t devices = runners(w);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!(devices >> d & 1))
            continue;
        struct copy c = copy_for(w, d);
        for (uint32_t i = 0; i < n->n_in; i++)
            c.in[i] = whole_on(w, in_of(w, n, i), d);
        for (uint32_t i = 0; i < n->n_weights; i++)
            c.weights[i] = whole_weight(w, weight_ref(w, n, i));
        if (n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP)) {
            uint32_t g = (uint32_t)n->attrs[RZ_A_KV_GROUP].i;
            own_attrs(w, &c)[RZ_A_KV_GROUP].i =
                group_of(w, g, UNDIVIDED, d, rz_kv_group_at(w->p, g)->n_heads);
        }
        for (uint32_t i = 0; i < n->n_out; i++) {
            int32_t y = out_of(w, n, i);
            c.out[i] = y < 0 ? -1 : new_value(w, y, width(w, y));
            if (y >= 0)
                *at(w->whole, y, d) = c.out[i];
        }
        put_node(w, n->op, &c);
    }
}

static void copy_leaf(struct widening *w)
{
    const struct rz_node *n = leaf_of(w);
    uint8_t place = w->setup->of[w->leaf];
    int32_t x = in_of(w, n, 0), y = out_of(w, n, 0);
    const struct rz_share *from = x < 0 ? NULL : &w->plan.shares[x], *to = y < 0 ? NULL : &w->plan.shares[y];
    if (n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP)) {
        uint32_t g = (uint32_t)n->attrs[RZ_A_KV_GROUP].i, q = w->plan.heads[g][place];
        if (q) {
            copy_heads(w, place, &w->plan.schemes[q], &w->plan.schemes[w->plan.keys[g][place]]);
            return;
        }
    }
    bool product = n->op == RZ_OP_MATMUL || n->op == RZ_OP_MATMUL_ID;
    if (product && from && from->scheme != RZ_WIDE_WHOLE) {
        copy_partial(w, from);
    } else if (to && to->scheme != RZ_WIDE_WHOLE) {
        copy_piece(w, to);
    } else if (n->op == RZ_OP_ADD && is_partial(w, x) && is_partial(w, in_of(w, n, 1))) {
        add_partial(w);
    } else {
        int32_t operand = partial_operand(w, n);
        if (operand >= 0)
            copy_linear(w, (uint32_t)operand);
        else
            copy_whole(w);
    }
}

/* --- the order --- */

static void find_crossings(struct widening *w)
{
    for (uint32_t i = 0; i < w->n_nodes; i++)
        for (uint32_t k = 0; k < w->nodes[i].n.n_in; k++) {
            int32_t v = w->refs[w->nodes[i].n.first_in + k];
            if (v >= 0 && w->nodes[w->maker[v]].device != w->nodes[i].device)
                w->nodes[w->maker[v]].crosses = true;
        }
}

/* waves[i]: when node i runs; 0: not yet. */
static bool is_ready(const struct widening *w, const uint32_t *waves, uint32_t i, uint32_t wave)
{
    const struct node *n = &w->nodes[i];
    for (uint32_t k = 0; k < n->n.n_in; k++) {
        int32_t v = w->refs[n->n.first_in + k];
        if (v < 0)
            continue;
        uint32_t made = waves[w->maker[v]];
        if (!made || (made == wave && w->nodes[w->maker[v]].device != n->device))
            return false;
    }
    return true;
}

static void place_node(struct widening *w, uint32_t i, uint32_t to, uint32_t wave)
{
    struct rz_node *n = (struct rz_node *)(uintptr_t)w->wide->program.nodes;
    n[to] = w->nodes[i].n;
    n[to].end = to + 1;
    w->wide->of[to] = w->nodes[i].device;
    w->wide->origin[to] = w->nodes[i].origin;
    w->wide->waves[to] = wave;
}

/* Waves: in each, every device does what it can until somebody waits for it or it waits for others. So what
 * devices do in one wave needs nothing of each other. */
static void order(struct widening *w)
{
    uint32_t *waves = room(w, w->n_nodes, sizeof(*waves)), next[RZ_WIDE_MAX] = {0}, done = 0;
    struct rz_node *nodes = room(w, w->n_nodes, sizeof(*nodes));
    w->wide->of = room(w, w->n_nodes, 1);
    w->wide->origin = room(w, w->n_nodes, sizeof(*w->wide->origin));
    w->wide->waves = room(w, w->n_nodes, sizeof(*w->wide->waves));
    w->wide->program.nodes = nodes;
    if (w->status)
        return;
    find_crossings(w);
    for (uint32_t wave = 1; done < w->n_nodes; wave++)
        for (uint8_t d = 0; d < RZ_WIDE_MAX; d++)
            for (; next[d] < w->n_nodes; next[d]++) {
                const struct node *n = &w->nodes[next[d]];
                if (n->device != d)
                    continue;
                if (!is_ready(w, waves, next[d], wave))
                    break;
                waves[next[d]] = wave;
                place_node(w, next[d], done++, wave);
                if (n->crosses) {
                    next[d]++;
                    break;
                }
            }
}

/* --- the whole --- */

/* On a device that has it, or on one that can add it up. */
static int32_t result(struct widening *w, int32_t v)
{
    uint16_t have = having(w->whole, v);
    return whole_on(w, v, lowest(have ? have : devices_of(w)));
}

static void take_results(struct widening *w)
{
    const struct rz_program *p = w->p;
    struct rz_wide *to = w->wide;
    const struct rz_scheme *s =
        &w->plan.schemes[p->logits < 0 ? RZ_WIDE_WHOLE : w->plan.shares[p->logits].scheme];
    to->program.hidden = p->hidden < 0 ? -1 : result(w, p->hidden);
    to->program.logits = -1;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        to->logits[d] = s->units ? *at(w->piece, p->logits, d) : -1;
        to->columns[d] = s->units ? width(w, p->logits) / s->units * s->first[d] : 0;
    }
    if (p->logits >= 0 && !s->units) {
        int32_t v = result(w, p->logits);
        to->logits[w->nodes[w->maker[v]].device] = v;
    }
}

static void finish(struct widening *w)
{
    const struct rz_program *p = w->p;
    struct rz_program *to = &w->wide->program;
    to->size = sizeof(*to);
    to->n_nodes = w->n_nodes;
    to->node_stride = sizeof(struct rz_node);
    to->n_values = w->n_values;
    to->values = w->values;
    to->value_stride = sizeof(*w->values);
    to->n_weights = w->n_weights;
    to->weights = w->weight_table;
    to->weight_stride = sizeof(*w->weight_table);
    to->n_refs = w->n_refs;
    to->refs = w->refs;
    to->ropes = p->ropes;
    to->n_ropes = p->n_ropes;
    to->rope_stride = p->rope_stride;
    to->kv_groups = w->group_table;
    to->n_kv_groups = w->n_groups;
    to->kv_group_stride = sizeof(*w->group_table);
    to->states = p->states;
    to->n_states = p->n_states;
    to->state_stride = p->state_stride;
    w->wide->groups = room(w, w->n_groups, sizeof(*w->wide->groups));
    for (uint32_t g = 0; g < w->n_groups && !w->status; g++)
        w->wide->groups[g] = w->groups[g].of;
    if (!w->status)
        w->status = rz_wide_weights_take(&w->wide->weights, w->weight_table, w->err);
}

static void begin(struct widening *w)
{
    const struct rz_program *p = w->p;
    uint64_t values = (uint64_t)p->n_values * RZ_WIDE_MAX, weights = (uint64_t)p->n_weights * RZ_WIDE_MAX;
    uint64_t groups = (uint64_t)p->n_kv_groups * RZ_WIDE_MAX * (RZ_WIDE_MAX + 1);
    w->whole = room(w, values, sizeof(*w->whole));
    w->piece = room(w, values, sizeof(*w->piece));
    w->part = room(w, values, sizeof(*w->part));
    w->weights = room(w, weights, sizeof(*w->weights));
    w->pieces = room(w, weights, sizeof(*w->pieces));
    w->whole_weights = room(w, p->n_weights, sizeof(*w->whole_weights));
    w->groups = room(w, groups, sizeof(*w->groups));
    w->group_table = room(w, groups, sizeof(*w->group_table));
    if (w->status)
        return;
    memset(w->whole, 0xff, values * sizeof(*w->whole));
    memset(w->piece, 0xff, values * sizeof(*w->piece));
    memset(w->part, 0xff, values * sizeof(*w->part));
    memset(w->weights, 0xff, weights * sizeof(*w->weights));
    memset(w->whole_weights, 0xff, p->n_weights * sizeof(*w->whole_weights));
}

int32_t rz_wide_init(struct rz_wide *wide, const struct rz_wide_setup *setup, struct rz_err *err)
{
    struct widening w = {.setup = setup, .p = setup->program, .wide = wide, .err = err};
    *wide = (struct rz_wide){.source = setup->program};
    rz_arena_init(&wide->arena, 0);
    if (!rz_wide_weights_init(&wide->weights, &wide->arena))
        return rz_fail(err, RZ_EINTERNAL, "layers", "no lock");
    if (w.p->n_kv_groups > RZ_WIDE_GROUPS)
        w.status = rz_fail(err, RZ_EUNSUPPORTED, "layers", "%u KV groups, at most %d", w.p->n_kv_groups,
                           RZ_WIDE_GROUPS);
    if (!w.status)
        w.status = rz_wide_plan(setup, &wide->arena, &w.plan, err);
    if (!w.status)
        begin(&w);
    for (w.leaf = 0; w.leaf < w.p->n_nodes && !w.status; w.leaf++)
        if (leaf_of(&w)->end == w.leaf + 1)
            copy_leaf(&w);
    w.leaf = w.p->n_nodes ? w.p->n_nodes - 1 : 0;
    if (!w.status)
        take_results(&w);
    if (!w.status)
        order(&w);
    if (!w.status)
        finish(&w);
    if (w.status)
        rz_wide_deinit(wide);
    return w.status;
}

void rz_wide_deinit(struct rz_wide *w)
{
    rz_wide_weights_deinit(&w->weights);
    rz_arena_free(&w->arena);
    *w = (struct rz_wide){0};
}

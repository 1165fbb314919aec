/* wide.c - writes the program in which several devices work on a layer at once: of each primitive a copy for
 * each device that has a piece of it, and sums where partial results come together.
 *
 * Owns the new program; node attributes that no piece changes, names, ropes and most weights stay the
 * source's. Invariants: a sum adds the devices' partial results in the order of the devices, and every device
 * of the place that needs it adds for itself, so that all go on with the same bits; keys and values of a head
 * are where its queries are. What cannot be divided runs on one device.
 */
#include "wide_build.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

#define FEW_COLUMNS 64u /* products of so few are made by each device that needs them */
#define UNDIVIDED 0xffu /* in place of a place: all heads */

/* --- keys and values --- */

/* Columns of the value that d has. */
static uint64_t columns_of(const struct rz_widening *w, int32_t v, const struct rz_scheme *s, uint8_t d)
{
    return width(w, v) / s->units * s->n[d];
}

/* KV_STORE and ATTENTION of some heads. */
static void copy_heads(struct rz_widening *w, uint8_t place, const struct rz_scheme *q,
                       const struct rz_scheme *kv)
{
    const struct rz_node *n = leaf_of(w);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!q->n[d])
            continue;
        struct rz_wide_copy c = rz_widen_copy(w, d);
        struct rz_attr *a = rz_widen_attrs(w, &c);
        a[RZ_A_N_KV_HEAD].i = kv->n[d];
        a[RZ_A_KV_GROUP].i = rz_widen_group(w, (uint32_t)n->attrs[RZ_A_KV_GROUP].i, place, d, kv->n[d]);
        for (uint32_t i = 0; i < n->n_in; i++)
            c.in[i] = rz_widen_piece(w, in_of(w, n, i), n->op == RZ_OP_KV_STORE ? kv : q, d);
        if (n->op == RZ_OP_ATTENTION) {
            struct rz_wide_piece heads = {
                .depth = 1, .n_rows = 1, .first_col = q->first[d], .n_cols = q->n[d]};
            int32_t y = out_of(w, n, 0);
            a[RZ_A_N_HEAD].i = q->n[d];
            c.weights[0] = rz_widen_weight_piece(w, weight_ref(w, n, 0), &heads, d);
            c.out[0] = *at(w->piece, y, d) = rz_widen_value(w, y, columns_of(w, y, q, d));
        }
        rz_widen_put(w, n->op, &c);
    }
}

/* --- products --- */

/* Some of the rows of a product: of each expert as many. */
static void rows_piece(struct rz_widening *w, struct rz_wide_copy *c, const struct rz_scheme *s,
                       uint32_t parts)
{
    const struct rz_node *n = leaf_of(w);
    int32_t m = weight_ref(w, n, 0);
    const struct rz_weight *matrix = rz_weight_at(w->p, (uint32_t)m);
    uint64_t each = width(w, out_of(w, n, 0)) / parts; /* rows of a matrix */
    uint64_t depth = n->op == RZ_OP_MATMUL_ID ? matrix->rows / each : 1;
    uint64_t rows = matrix->rows / depth / s->units, columns = each / s->units;
    struct rz_wide_piece piece = {depth, s->first[c->device] * rows, s->n[c->device] * rows, 0, matrix->cols};
    struct rz_wide_piece bias = {depth, 0, 1, s->first[c->device] * columns, s->n[c->device] * columns};
    c->weights[0] = rz_widen_weight_piece(w, m, &piece, c->device);
    if (n->n_weights > 1)
        c->weights[1] = rz_widen_weight_piece(w, weight_ref(w, n, 1), &bias, c->device);
}

/* What a norm of heads multiplies by: one for all heads, or each its own. */
static void norm_piece(struct rz_widening *w, struct rz_wide_copy *c, const struct rz_scheme *s)
{
    const struct rz_node *n = leaf_of(w);
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t v = weight_ref(w, n, i);
        uint64_t all = width(w, in_of(w, n, 0)), unit = all / s->units;
        struct rz_wide_piece piece = {1, 0, 1, s->first[c->device] * unit, s->n[c->device] * unit};
        bool own = v >= 0 && rz_weight_at(w->p, (uint32_t)v)->cols == all;
        c->weights[i] = own ? rz_widen_weight_piece(w, v, &piece, c->device) : rz_widen_weight(w, v);
    }
}

/* A leaf that makes a piece of its result on each device. */
static void copy_piece(struct rz_widening *w, const struct rz_share *share)
{
    const struct rz_node *n = leaf_of(w);
    const struct rz_scheme *s = &w->plan.schemes[share->scheme];
    bool product = n->op == RZ_OP_MATMUL || n->op == RZ_OP_MATMUL_ID;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!s->n[d])
            continue;
        struct rz_wide_copy c = rz_widen_copy(w, d);
        for (uint32_t i = 0; i < n->n_in; i++) {
            int32_t v = in_of(w, n, i);
            bool divided = !product && v >= 0 && w->plan.shares[v].scheme == share->scheme;
            c.in[i] = divided ? rz_widen_piece(w, v, s, d) : rz_widen_whole(w, v, d);
        }
        if (product || n->op == RZ_OP_MATMUL_HEADS)
            rows_piece(w, &c, s, share->parts);
        else
            norm_piece(w, &c, s);
        if (n->op == RZ_OP_ROPE)
            rz_widen_attrs(w, &c)[RZ_A_N_HEAD].i = s->n[d];
        else if (n->attr_mask & RZ_ATTR(RZ_A_PARTS))
            rz_widen_attrs(w, &c)[RZ_A_PARTS].i = s->n[d];
        int32_t y = out_of(w, n, 0);
        c.out[0] = *at(w->piece, y, d) = rz_widen_value(w, y, columns_of(w, y, s, d));
        rz_widen_put(w, n->op, &c);
    }
}

/* A product of what is divided: each device has a part of the sum. The first adds the bias. */
static void copy_partial(struct rz_widening *w, const struct rz_share *share)
{
    const struct rz_node *n = leaf_of(w);
    const struct rz_scheme *s = &w->plan.schemes[share->scheme];
    const struct rz_weight *m = rz_weight_at(w->p, (uint32_t)weight_ref(w, n, 0));
    bool first = true;
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!s->n[d])
            continue;
        struct rz_wide_copy c = rz_widen_copy(w, d);
        uint64_t unit = m->cols / s->units;
        struct rz_wide_piece piece = {1, 0, m->rows, s->first[d] * unit, s->n[d] * unit};
        c.in[0] = rz_widen_piece(w, in_of(w, n, 0), s, d);
        for (uint32_t i = 1; i < n->n_in; i++)
            c.in[i] = rz_widen_whole(w, in_of(w, n, i), d);
        c.weights[0] = rz_widen_weight_piece(w, weight_ref(w, n, 0), &piece, d);
        c.weights[1] = first ? rz_widen_weight(w, weight_ref(w, n, 1)) : -1;
        if (!first)
            c.attr_mask &= ~RZ_ATTR_BIAS;
        int32_t y = out_of(w, n, 0);
        c.out[0] = *at(w->part, y, d) = rz_widen_value(w, y, width(w, y));
        rz_widen_put(w, n->op, &c);
        first = false;
    }
}

/* --- what partial results go through before they are added --- */

static bool is_partial(struct rz_widening *w, int32_t v)
{
    return v >= 0 && rz_widen_having(w->part, v) && !rz_widen_having(w->whole, v);
}

/* The operand in which the op is linear, if that is partial; -1. */
static int32_t partial_operand(struct rz_widening *w, const struct rz_node *n)
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

static void copy_linear(struct rz_widening *w, uint32_t operand)
{
    const struct rz_node *n = leaf_of(w);
    int32_t x = in_of(w, n, operand), y = out_of(w, n, 0);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (*at(w->part, x, d) < 0)
            continue;
        struct rz_wide_copy c = rz_widen_copy(w, d);
        for (uint32_t i = 0; i < n->n_in; i++)
            c.in[i] = i == operand ? *at(w->part, x, d) : rz_widen_whole(w, in_of(w, n, i), d);
        c.out[0] = *at(w->part, y, d) = rz_widen_value(w, y, width(w, y));
        rz_widen_put(w, n->op, &c);
    }
}

/* The sum of two partial results is one. */
static void add_partial(struct rz_widening *w)
{
    const struct rz_node *n = leaf_of(w);
    int32_t a = in_of(w, n, 0), b = in_of(w, n, 1), y = out_of(w, n, 0);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        int32_t one = *at(w->part, a, d), other = *at(w->part, b, d);
        if (one < 0 || other < 0) {
            *at(w->part, y, d) = one < 0 ? other : one;
            continue;
        }
        struct rz_wide_copy c = rz_widen_copy(w, d);
        c.in[0] = one;
        c.in[1] = other;
        c.out[0] = *at(w->part, y, d) = rz_widen_value(w, y, width(w, y));
        rz_widen_put(w, n->op, &c);
    }
}

/* --- what is not divided --- */

static bool chooses(const struct rz_widening *w, int32_t v)
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
static bool is_light(const struct rz_widening *w, const struct rz_node *n)
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
static uint16_t there(struct rz_widening *w, int32_t v)
{
    uint16_t parts = rz_widen_having(w->part, v);
    return parts & (parts - 1) ? devices_of(w) : rz_widen_having(w->whole, v) | parts;
}

static uint8_t nth(uint16_t devices, uint64_t n)
{
    for (n %= (uint64_t)__builtin_popcount(devices); n; n--)
        devices &= (uint16_t)(devices - 1);
    return lowest(devices);
}

/* Devices that run an undivided leaf. */
static uint16_t runners(struct rz_widening *w)
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

static void copy_whole(struct rz_widening *w)
{
    const struct rz_node *n = leaf_of(w);
    uint16_t devices = runners(w);
    for (uint8_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!(devices >> d & 1))
            continue;
        struct rz_wide_copy c = rz_widen_copy(w, d);
        for (uint32_t i = 0; i < n->n_in; i++)
            c.in[i] = rz_widen_whole(w, in_of(w, n, i), d);
        for (uint32_t i = 0; i < n->n_weights; i++)
            c.weights[i] = rz_widen_weight(w, weight_ref(w, n, i));
        if (n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP)) {
            uint32_t g = (uint32_t)n->attrs[RZ_A_KV_GROUP].i;
            rz_widen_attrs(w, &c)[RZ_A_KV_GROUP].i =
                rz_widen_group(w, g, UNDIVIDED, d, rz_kv_group_at(w->p, g)->n_heads);
        }
        for (uint32_t i = 0; i < n->n_out; i++) {
            int32_t y = out_of(w, n, i);
            c.out[i] = y < 0 ? -1 : rz_widen_value(w, y, width(w, y));
            if (y >= 0)
                *at(w->whole, y, d) = c.out[i];
        }
        rz_widen_put(w, n->op, &c);
    }
}

static void copy_leaf(struct rz_widening *w)
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

/* --- the whole --- */

/* On a device that has it, or on one that can add it up. */
static int32_t result(struct rz_widening *w, int32_t v)
{
    uint16_t have = rz_widen_having(w->whole, v);
    return rz_widen_whole(w, v, lowest(have ? have : devices_of(w)));
}

static void take_results(struct rz_widening *w)
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

static void finish(struct rz_widening *w)
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
    w->wide->groups = rz_widen_room(w, w->n_groups, sizeof(*w->wide->groups));
    for (uint32_t g = 0; g < w->n_groups && !w->status; g++)
        w->wide->groups[g] = w->groups[g].of;
    if (!w->status)
        w->status = rz_wide_weights_take(&w->wide->weights, w->weight_table, w->err);
}

static void begin(struct rz_widening *w)
{
    const struct rz_program *p = w->p;
    uint64_t values = (uint64_t)p->n_values * RZ_WIDE_MAX, weights = (uint64_t)p->n_weights * RZ_WIDE_MAX;
    uint64_t groups = (uint64_t)p->n_kv_groups * RZ_WIDE_MAX * (RZ_WIDE_MAX + 1);
    w->whole = rz_widen_room(w, values, sizeof(*w->whole));
    w->piece = rz_widen_room(w, values, sizeof(*w->piece));
    w->part = rz_widen_room(w, values, sizeof(*w->part));
    w->weights = rz_widen_room(w, weights, sizeof(*w->weights));
    w->pieces = rz_widen_room(w, weights, sizeof(*w->pieces));
    w->whole_weights = rz_widen_room(w, p->n_weights, sizeof(*w->whole_weights));
    w->groups = rz_widen_room(w, groups, sizeof(*w->groups));
    w->group_table = rz_widen_room(w, groups, sizeof(*w->group_table));
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
    struct rz_widening w = {.setup = setup, .p = setup->program, .wide = wide, .err = err};
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
        rz_widen_order(&w);
    if (!w.status)
        finish(&w);
    if (!w.status)
        wide->told = rz_wide_told(setup, &w.plan);
    if (w.status)
        rz_wide_deinit(wide);
    return w.status;
}

void rz_wide_deinit(struct rz_wide *w)
{
    rz_wide_weights_deinit(&w->weights);
    free(w->told);
    rz_arena_free(&w->arena);
    *w = (struct rz_wide){0};
}

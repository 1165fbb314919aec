/* wide_plan.c - what of a program is divided over the devices of a place: heads of attention with their keys
 * and values, columns between the products of a feed-forward half or of each expert, rows of the vocabulary.
 *
 * Owns the choice alone; wide.c writes the program. A value is divided when the product that makes it and all
 * that read it can work on a piece: products of a piece give partial sums, everything between works column by
 * column or head by head. What is not divided stays whole on one device. Pieces end at whole blocks of the
 * weights that meet them.
 */
#include "wide.h"

#include "access.h"
#include "err.h"
#include "grow.h"
#include "numeric.h"

#include <string.h>

#define COLUMNS_LEAST 32u /* of a unit, where the width allows it */

struct planning {
    const struct rz_wide_setup *setup;
    const struct rz_program *p;
    struct rz_wide_plan *out;
    struct rz_arena *arena;
    int32_t *maker; /* [n_values]: leaf that makes it; -1 */
    bool *member;   /* [n_values]: of the set being found */
    int32_t *set;   /* its values */
    struct rz_err *err;
};

/* A set of values that are divided alike. */
struct set {
    uint32_t units; /* heads; 0: columns, as many as the blocks allow */
    uint32_t parts;
    uint64_t step;  /* pieces end at multiples of that many heads */
    uint64_t block; /* and of that many columns                   */
    uint8_t place;
    bool logits;
    uint32_t n; /* values */
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool is_leaf(const struct rz_program *p, uint32_t i)
{
    return rz_node_at(p, i)->end == i + 1;
}

static int32_t in_of(const struct rz_program *p, const struct rz_node *n, uint32_t i)
{
    return i < n->n_in ? p->refs[n->first_in + i] : -1;
}

static const struct rz_weight *weight_of(const struct rz_program *p, const struct rz_node *n, uint32_t i)
{
    int32_t w = i < n->n_weights ? p->refs[n->first_weight + i] : -1;
    return w < 0 ? NULL : rz_weight_at(p, (uint32_t)w);
}

static uint64_t width(const struct planning *p, int32_t v)
{
    return rz_value_at(p->p, (uint32_t)v)->width;
}

static bool has_int(const struct rz_node *n, uint32_t id, uint32_t value)
{
    return n->attr_mask & RZ_ATTR(id) && n->attrs[id].i == (int64_t)value;
}

/* --- sets of values --- */

/* Does the op work on a piece of its inputs as on the whole? */
static bool passes(const struct rz_node *n, const struct set *s)
{
    switch (n->op) {
    case RZ_OP_ACT:
    case RZ_OP_ACT_MUL:
    case RZ_OP_MUL:
    case RZ_OP_MAP:
    case RZ_OP_GATE:
        return true;
    case RZ_OP_ROPE:
        return s->parts == 1 && has_int(n, RZ_A_N_HEAD, s->units);
    case RZ_OP_RMSNORM:
    case RZ_OP_LAYERNORM:
    case RZ_OP_MATMUL_HEADS:
        return s->parts == 1 && has_int(n, RZ_A_PARTS, s->units);
    default:
        return false;
    }
}

static bool join(struct planning *p, struct set *s, int32_t v)
{
    if (v < 0 || p->member[v])
        return true;
    uint64_t each = s->units ? (uint64_t)s->units * s->parts : s->parts;
    if (width(p, v) % each || v == p->p->hidden || (v == p->p->logits && !s->logits))
        return false;
    if (!s->units && s->n && width(p, v) != width(p, p->set[0]))
        return false;
    p->member[v] = true;
    p->set[s->n++] = v;
    return true;
}

/* All that the op reads and makes; of a gate with one column only what it opens. */
static bool join_all(struct planning *p, struct set *s, const struct rz_node *n)
{
    bool good = true;
    for (uint32_t i = 0; i < n->n_in && good; i++) {
        int32_t v = in_of(p->p, n, i);
        bool shared = n->op == RZ_OP_GATE && i == 0 && width(p, v) != width(p, in_of(p->p, n, 1));
        good = shared || join(p, s, v);
    }
    for (uint32_t i = 0; i < n->n_out && good; i++)
        good = join(p, s, p->p->refs[n->first_out + i]);
    return good;
}

static bool meets(struct planning *p, struct set *s, const struct rz_node *n, int32_t v)
{
    const struct rz_weight *w = weight_of(p->p, n, 0);
    uint64_t own = width(p, v);
    if (in_of(p->p, n, 0) != v || !w || own / s->parts != w->cols)
        return false;
    uint64_t block = rz_type_info(w->type)->block;
    if (!block)
        return false;
    s->block = s->block / gcd(s->block, block) * block;
    if (s->units) {
        uint64_t step = block / gcd(block, own / s->parts / s->units);
        s->step = s->step / gcd(s->step, step) * step;
    }
    return true;
}

/* Can it be read in pieces? keys: by KV_STORE and ATTENTION as well. */
static bool take_reader(struct planning *p, struct set *s, const struct rz_node *n, int32_t v, bool keys)
{
    if (passes(n, s))
        return join_all(p, s, n);
    if (n->op == RZ_OP_MATMUL || n->op == RZ_OP_MATMUL_ID)
        return meets(p, s, n, v);
    return keys && (n->op == RZ_OP_KV_STORE || n->op == RZ_OP_ATTENTION);
}

/* Can it be made in pieces? */
static bool take_maker(struct planning *p, struct set *s, int32_t v, bool keys)
{
    int32_t at = p->maker[v];
    if (at < 0)
        return false;
    const struct rz_node *n = rz_node_at(p->p, (uint32_t)at);
    if (p->setup->of[at] != s->place)
        return false;
    if (passes(n, s))
        return join_all(p, s, n);
    if (n->op == RZ_OP_MATMUL_ID)
        return width(p, in_of(p->p, n, 1)) == s->parts;
    return (n->op == RZ_OP_MATMUL && s->parts == 1) || (keys && n->op == RZ_OP_ATTENTION);
}

/* The values that must be divided like `first`; false: one of them cannot. */
static bool find_set(struct planning *p, struct set *s, int32_t first, bool keys)
{
    s->n = 0;
    s->step = s->block = 1;
    bool good = join(p, s, first);
    for (uint32_t i = 0; i < s->n && good; i++) {
        good = take_maker(p, s, p->set[i], keys);
        for (uint32_t k = 0; k < p->p->n_nodes && good; k++) {
            const struct rz_node *n = rz_node_at(p->p, k);
            for (uint32_t j = 0; is_leaf(p->p, k) && j < n->n_in && good; j++)
                if (in_of(p->p, n, j) == p->set[i])
                    good = p->setup->of[k] == s->place && take_reader(p, s, n, p->set[i], keys);
        }
    }
    for (uint32_t i = 0; i < s->n; i++)
        p->member[p->set[i]] = false;
    return good;
}

static void share(struct planning *p, const struct set *s, uint32_t scheme)
{
    for (uint32_t i = 0; i < s->n; i++)
        p->out->shares[p->set[i]] = (struct rz_share){scheme, s->parts};
}

/* --- schemes --- */

static struct rz_scheme *new_scheme(struct planning *p, uint32_t units, uint16_t devices)
{
    struct rz_wide_plan *o = p->out;
    struct rz_scheme *more = rz_arena_grow(p->arena, o->schemes, o->n_schemes, &o->cap, sizeof(*more), 64);
    if (!more)
        return NULL;
    o->schemes = more;
    struct rz_scheme *s = &o->schemes[o->n_schemes++];
    *s = (struct rz_scheme){.units = units, .devices = devices};
    return s;
}

static uint32_t count(uint16_t devices)
{
    return (uint32_t)__builtin_popcount(devices);
}

/* Whole steps of units, as evenly as they go. first, end: of the units, and of the devices in their order. */
static void spread(struct rz_scheme *s, uint64_t step, uint64_t first, uint64_t end, uint32_t from,
                   uint32_t n)
{
    uint64_t steps = (end - first + step - 1) / step;
    uint32_t i = 0;
    for (uint32_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!(s->devices >> d & 1) || i++ < from || i > from + n)
            continue;
        uint32_t k = i - 1 - from;
        uint64_t a = first + k * steps / n * step, b = first + (k + 1) * steps / n * step;
        a = a < end ? a : end;
        b = b < end ? b : end;
        s->first[d] = (uint32_t)a;
        s->n[d] = (uint32_t)(b - a);
    }
}

/* Queries go with their heads of keys; where there are fewer of those than devices, several have the same. */
static bool divide_heads(struct planning *p, uint32_t heads, uint32_t keys, uint64_t step, uint16_t devices,
                         uint32_t *queries, uint32_t *kv)
{
    uint32_t group = heads / keys, m = count(devices);
    struct rz_scheme *q = new_scheme(p, heads, devices);
    if (!q)
        return false;
    *queries = p->out->n_schemes - 1;
    if (keys >= m || group % step)
        spread(q, group / gcd(group, step) * step, 0, heads, 0, m);
    else
        for (uint32_t k = 0; k < keys; k++)
            spread(q, step, (uint64_t)k * group, (uint64_t)(k + 1) * group, k * m / keys,
                   (k + 1) * m / keys - k * m / keys);
    struct rz_scheme *s = new_scheme(p, keys, devices);
    if (!s)
        return false;
    *kv = p->out->n_schemes - 1;
    q = &p->out->schemes[*queries];
    for (uint32_t d = 0; d < RZ_WIDE_MAX; d++)
        if (q->n[d]) {
            s->first[d] = q->first[d] / group;
            s->n[d] = (q->first[d] + q->n[d] - 1) / group - s->first[d] + 1;
        }
    return true;
}

/* --- attention: all of a KV group and a place alike --- */

struct heads {
    uint32_t queries, keys;
    uint64_t step;
    uint32_t n;
};

static bool is_of(const struct planning *p, uint32_t i, uint16_t op, uint32_t group, uint8_t place)
{
    const struct rz_node *n = rz_node_at(p->p, i);
    return n->op == op && is_leaf(p->p, i) && p->setup->of[i] == place &&
           n->attrs[RZ_A_KV_GROUP].i == (int64_t)group;
}

/* false: one of the group cannot be divided. */
static bool look_at_heads(struct planning *p, uint32_t group, uint8_t place, struct heads *h)
{
    *h = (struct heads){.step = 1};
    for (uint32_t i = 0; i < p->p->n_nodes; i++) {
        if (!is_of(p, i, RZ_OP_ATTENTION, group, place))
            continue;
        const struct rz_node *n = rz_node_at(p->p, i);
        uint32_t queries = (uint32_t)n->attrs[RZ_A_N_HEAD].i, keys = (uint32_t)n->attrs[RZ_A_N_KV_HEAD].i;
        struct set s = {.units = queries, .parts = 1, .place = place};
        if ((h->n && (h->queries != queries || h->keys != keys)) || !keys || queries % keys ||
            n->attr_mask & RZ_ATTR(RZ_A_ALIBI) || !find_set(p, &s, p->p->refs[n->first_out], true))
            return false;
        h->queries = queries;
        h->keys = keys;
        h->step = h->step / gcd(h->step, s.step) * s.step;
        h->n++;
    }
    return h->n;
}

static void share_heads(struct planning *p, int32_t v, uint32_t units, uint32_t scheme, uint8_t place,
                        bool must)
{
    struct set s = {.units = units, .parts = 1, .place = place};
    if (v >= 0 && find_set(p, &s, v, true) && (must || s.step == 1))
        share(p, &s, scheme);
}

static bool divide_attention(struct planning *p, uint32_t group, uint8_t place)
{
    uint32_t queries, kv;
    struct heads h;
    if (count(p->setup->places[place]) < 2 || !look_at_heads(p, group, place, &h))
        return true;
    if (!divide_heads(p, h.queries, h.keys, h.step, p->setup->places[place], &queries, &kv))
        return false;
    for (uint32_t i = 0; i < p->p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(p->p, i);
        if (is_of(p, i, RZ_OP_ATTENTION, group, place)) {
            p->out->heads[group][place] = queries;
            p->out->keys[group][place] = kv;
            share_heads(p, p->p->refs[n->first_out], h.queries, queries, place, true);
            share_heads(p, in_of(p->p, n, 0), h.queries, queries, place, false);
        }
        if (is_of(p, i, RZ_OP_KV_STORE, group, place)) {
            share_heads(p, in_of(p->p, n, 0), h.keys, kv, place, false);
            share_heads(p, in_of(p->p, n, 1), h.keys, kv, place, false);
        }
    }
    return true;
}

/* --- columns --- */

/* Columns of a unit: whole blocks, and not too few where there are enough for all devices. */
static uint64_t unit_of(uint64_t columns, uint64_t block, uint32_t devices)
{
    uint64_t unit = block;
    while (unit < COLUMNS_LEAST && columns % (2 * unit) == 0 && columns / (2 * unit) >= devices)
        unit *= 2;
    return unit;
}

static bool divide_columns(struct planning *p, int32_t v, uint32_t parts, uint8_t place, bool logits)
{
    struct set s = {.parts = parts, .place = place, .logits = logits};
    uint16_t devices = p->setup->places[place];
    if (count(devices) < 2 || p->out->shares[v].scheme != RZ_WIDE_WHOLE || !find_set(p, &s, v, false))
        return true;
    uint64_t columns = width(p, v) / parts, unit = unit_of(columns, s.block, count(devices));
    struct rz_scheme *to = columns % unit ? NULL : new_scheme(p, (uint32_t)(columns / unit), devices);
    if (!to)
        return columns % unit;
    spread(to, 1, 0, to->units, 0, count(devices));
    share(p, &s, p->out->n_schemes - 1);
    return true;
}

/* The products whose input is made column by column: the ends of feed-forward halves and of experts. */
static bool divide_halves(struct planning *p)
{
    bool good = true;
    for (uint32_t i = 0; i < p->p->n_nodes && good; i++) {
        const struct rz_node *n = rz_node_at(p->p, i);
        if (!is_leaf(p->p, i) || (n->op != RZ_OP_MATMUL && n->op != RZ_OP_MATMUL_ID))
            continue;
        int32_t x = in_of(p->p, n, 0), made = p->maker[x];
        const struct rz_weight *w = weight_of(p->p, n, 0);
        uint16_t op = made < 0 ? 0 : rz_node_at(p->p, (uint32_t)made)->op;
        if (op == RZ_OP_ACT || op == RZ_OP_ACT_MUL || op == RZ_OP_MUL)
            good = !w->cols || width(p, x) % w->cols ||
                   divide_columns(p, x, (uint32_t)(width(p, x) / w->cols), p->setup->of[i], false);
    }
    return good;
}

/* --- the whole --- */

static void find_makers(struct planning *p)
{
    memset(p->maker, 0xff, p->p->n_values * sizeof(*p->maker));
    for (uint32_t i = 0; i < p->p->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(p->p, i);
        for (uint32_t k = 0; is_leaf(p->p, i) && k < n->n_out; k++)
            if (p->p->refs[n->first_out + k] >= 0)
                p->maker[p->p->refs[n->first_out + k]] = (int32_t)i;
    }
}

int32_t rz_wide_plan(const struct rz_wide_setup *setup, struct rz_arena *arena, struct rz_wide_plan *out,
                     struct rz_err *err)
{
    const struct rz_program *p = setup->program;
    struct planning own = {.setup = setup, .p = p, .out = out, .arena = arena, .err = err};
    *out = (struct rz_wide_plan){.shares = rz_arena_array(arena, p->n_values + 1ull, sizeof(*out->shares))};
    own.maker = rz_arena_array(arena, p->n_values + 1ull, sizeof(*own.maker));
    own.member = rz_arena_array(arena, p->n_values + 1ull, sizeof(*own.member));
    own.set = rz_arena_array(arena, p->n_values + 1ull, sizeof(*own.set));
    bool good = out->shares && own.maker && own.member && own.set && new_scheme(&own, 0, 0);
    if (good)
        find_makers(&own);
    for (uint32_t g = 0; g < p->n_kv_groups && good; g++)
        for (uint8_t place = 0; place < RZ_WIDE_MAX && good; place++)
            good = divide_attention(&own, g, place);
    good = good && divide_halves(&own);
    if (good && p->logits >= 0 && own.maker[p->logits] >= 0)
        good = divide_columns(&own, p->logits, 1, setup->of[own.maker[p->logits]], true);
    return good ? RZ_OK
                : rz_fail(err, RZ_ENOMEM, "layers", "no memory to divide a program of %u nodes", p->n_nodes);
}

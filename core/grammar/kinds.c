/* kinds.c - which bytes a grammar tells apart around a place. See fold.h.
 *
 * Walks the rules from the readings of a state by plain characters, with the stacks of the readings and
 * without counts: what it reaches is at least what plain tokens can reach. It knows where within a character
 * a node stands, because continuation bytes mean little by themselves. Rules and repetitions begin and end
 * between characters; where they do not, there is no answer.
 */
#include "fold.h"

#include <string.h>

struct reach {
    struct rz_automaton *a;
    uint32_t n, most; /* entries of a->line */
    bool bad;
};

static void meet(struct reach *r, uint32_t node, uint32_t place)
{
    struct rz_automaton *a = r->a;
    uint32_t bit = 1u << place;
    if (a->marks[node].epoch != a->epoch)
        a->marks[node] = (struct rz_mark){.epoch = a->epoch};
    if (a->marks[node].places & bit || r->n >= r->most) {
        r->bad |= r->n >= r->most;
        return;
    }
    a->marks[node].places |= bit;
    a->line[r->n++] = node << 3 | place;
}

static bool passes(const struct reach *r, uint32_t node)
{
    return r->a->g->passes[node];
}

/* What follows a reading in the rules and repetitions that are open around it. */
static void meet_outside(struct reach *r, uint32_t node, uint32_t stack)
{
    const struct rz_automaton *a = r->a;
    while (stack && passes(r, node) && !r->bad) {
        const struct rz_frame *f = &a->frames[stack];
        const struct rz_nfa_node *n = &a->g->nodes[f->node];
        if (n->kind == RZ_NFA_K_REPEAT)
            meet(r, n->a, 0);
        meet(r, n->next, 0);
        node = n->next;
        stack = f->parent;
    }
}

static void meet_after_set(struct reach *r, const struct rz_nfa_node *n, uint32_t place)
{
    const struct rz_byteset *set = &r->a->g->sets[n->a];
    uint8_t to[RZ_PLACES] = {0};
    if (!r->a->g->plain_sets[n->a])
        return;
    for (uint32_t w = 0; w < 4; w++)
        for (uint64_t left = set->w[w]; left; left &= left - 1)
            to[rz_place_after(place, 64 * w + (uint32_t)__builtin_ctzll(left))] = 1;
    for (uint32_t p = 0; p < RZ_PLACE_NONE; p++)
        if (to[p])
            meet(r, n->next, p);
}

static void meet_next(struct reach *r, uint32_t node, uint32_t place)
{
    const struct rz_nfa *g = r->a->g;
    const struct rz_nfa_node *n = &g->nodes[node];
    uint32_t inside = n->kind == RZ_NFA_K_CALL ? g->rules[n->a].start : n->a;
    switch (n->kind) {
    case RZ_NFA_K_SET:
        meet_after_set(r, n, place);
        break;
    case RZ_NFA_K_SPLIT:
        for (uint32_t e = 0; e < n->b; e++)
            meet(r, g->edges[n->a + e], place);
        break;
    case RZ_NFA_K_CALL:
    case RZ_NFA_K_REPEAT:
        r->bad |= place != 0;
        meet(r, inside, place);
        if (passes(r, inside) || (n->kind == RZ_NFA_K_REPEAT && !g->bounds[n->b].min))
            meet(r, n->next, place);
        break;
    default:
        r->bad |= place != 0;
    }
}

static void walk(struct reach *r, const struct rz_state *s)
{
    struct rz_automaton *a = r->a;
    for (uint32_t i = 0; i < s->n && !r->bad; i++) {
        uint64_t reading = a->readings[s->first + i];
        meet(r, (uint32_t)reading, 0);
        meet_outside(r, (uint32_t)reading, (uint32_t)(reading >> 32));
    }
    for (uint32_t at = 0; at < r->n && !r->bad; at++)
        meet_next(r, a->line[at] >> 3, a->line[at] & 7);
}

/* --- kinds --- */

/* The kinds of classes of bytes at one place; 0: no set has it. */
struct kinds_at {
    uint16_t of[256];
    uint32_t n;
};

static void split(const struct rz_nfa *g, const struct rz_byteset *classes, struct kinds_at *k)
{
    uint16_t to[257] = {0};
    uint8_t outside[257] = {0};
    for (uint32_t c = 0; c < g->n_classes; c++)
        if (!rz_byteset_has(classes, c))
            outside[k->of[c]] = 1;
    for (uint32_t c = 0; c < g->n_classes; c++) {
        uint16_t was = k->of[c];
        if (!rz_byteset_has(classes, c) || (was && !outside[was]))
            continue;
        if (!to[was])
            to[was] = (uint16_t)++k->n;
        k->of[c] = to[was];
    }
}

/* Kinds are named by their first byte, so that equal ones are equal bytes. */
static void name(const struct rz_nfa *g, const struct kinds_at *k, uint32_t place, uint8_t *out, uint32_t lo,
                 uint32_t hi)
{
    uint8_t names[257] = {0};
    uint32_t n = 0;
    for (uint32_t c = lo; c < hi; c++) {
        uint16_t kind = rz_place_after(place, c) == RZ_PLACE_NONE ? 0 : k->of[g->classes[c]];
        if (kind && !names[kind])
            names[kind] = (uint8_t)++n;
        out[c - lo] = kind ? (uint8_t)(names[kind] - 1) : RZ_FOLD_NOTHING;
    }
}

/* New marks that no node or set has; once in four thousand million times the old ones have to go. */
static void next_epoch(struct rz_automaton *a)
{
    if (++a->epoch)
        return;
    memset(a->marks, 0, a->g->n_nodes * sizeof(*a->marks));
    memset(a->set_marks, 0, a->g->n_sets * sizeof(*a->set_marks));
    a->epoch = 1;
}

bool rz_automaton_kinds(struct rz_automaton *a, uint32_t state, uint32_t most, struct rz_kinds *out)
{
    const struct rz_nfa *g = a->g;
    struct reach r = {.a = a, .most = most < RZ_KINDS_MOST ? most : RZ_KINDS_MOST};
    struct kinds_at at[RZ_PLACE_NONE] = {0};
    memset(out, 0, sizeof(*out));
    next_epoch(a);
    walk(&r, &a->states[state]);
    if (r.bad)
        return false;
    for (uint32_t i = 0; i < r.n; i++) {
        const struct rz_nfa_node *n = &g->nodes[a->line[i] >> 3];
        uint32_t place = a->line[i] & 7;
        if (n->kind != RZ_NFA_K_SET)
            continue;
        struct rz_mark *m = &a->set_marks[n->a];
        if (m->epoch != a->epoch)
            *m = (struct rz_mark){.epoch = a->epoch};
        if (!(m->places & 1u << place))
            split(g, &g->class_sets[n->a], &at[place]);
        m->places |= 1u << place;
        for (uint32_t w = 0; w < 4; w++)
            out->others.w[w] |= g->sets[n->a].w[w];
    }
    for (uint32_t c = 0; c < 256; c++)
        if (rz_place_after(0, c) == 0)
            out->others.w[c >> 6] &= ~(1ull << (c & 63));
    name(g, &at[0], 0, out->first, 0, 256);
    for (uint32_t p = 1; p < RZ_PLACE_NONE; p++)
        name(g, &at[p], p, out->more[p - 1], 0x80, 0xc0);
    return true;
}

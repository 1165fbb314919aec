/* kinds.c - which bytes a grammar tells apart around a place. See fold.h.
 *
 * Walks the rules from the readings of a state by plain characters, with the stacks of the readings and
 * without counts: what it reaches is at least what plain tokens can reach.
 */
#include "fold.h"

#include <string.h>

/* Nodes that were met wait in line; marks tell them from those of earlier walks. */
struct reach {
    struct rz_automaton *a;
    uint32_t n, most;
};

static void meet(struct reach *r, uint32_t node)
{
    struct rz_automaton *a = r->a;
    if (a->marks[node] == a->mark || r->n > r->most)
        return;
    a->marks[node] = a->mark;
    a->line[r->n++] = node;
}

static bool passes(const struct reach *r, uint32_t node)
{
    return r->a->g->passes[node];
}

/* What follows a reading in the rules and repetitions that are open around it. */
static void meet_outside(struct reach *r, uint32_t node, uint32_t stack)
{
    const struct rz_automaton *a = r->a;
    while (stack && passes(r, node) && r->n <= r->most) {
        const struct rz_frame *f = &a->frames[stack];
        const struct rz_nfa_node *n = &a->g->nodes[f->node];
        if (n->kind == RZ_NFA_K_REPEAT)
            meet(r, n->a);
        meet(r, n->next);
        node = n->next;
        stack = f->parent;
    }
}

static void meet_next(struct reach *r, uint32_t node)
{
    const struct rz_nfa *g = r->a->g;
    const struct rz_nfa_node *n = &g->nodes[node];
    uint32_t inside = n->kind == RZ_NFA_K_CALL ? g->rules[n->a].start : n->a;
    switch (n->kind) {
    case RZ_NFA_K_SET:
        if (g->plain_sets[n->a])
            meet(r, n->next);
        break;
    case RZ_NFA_K_SPLIT:
        for (uint32_t e = 0; e < n->b; e++)
            meet(r, g->edges[n->a + e]);
        break;
    case RZ_NFA_K_CALL:
    case RZ_NFA_K_REPEAT:
        meet(r, inside);
        if (passes(r, inside) || (n->kind == RZ_NFA_K_REPEAT && !g->bounds[n->b].min))
            meet(r, n->next);
        break;
    default:
        break;
    }
}

/* Splits the kinds of classes by a set; kinds[c] stays 0 for what no set has. */
static void split(const struct rz_nfa *g, const struct rz_byteset *classes, uint16_t *kinds, uint32_t *n_kinds)
{
    uint16_t to[257] = {0};
    uint8_t out[257] = {0};
    for (uint32_t c = 0; c < g->n_classes; c++)
        if (!rz_byteset_has(classes, c))
            out[kinds[c]] = 1;
    for (uint32_t c = 0; c < g->n_classes; c++) {
        uint16_t k = kinds[c];
        if (!rz_byteset_has(classes, c) || (k && !out[k]))
            continue;
        if (!to[k])
            to[k] = (uint16_t)++*n_kinds;
        kinds[c] = to[k];
    }
}

bool rz_automaton_kinds(struct rz_automaton *a, uint32_t state, uint32_t most, uint8_t *kinds)
{
    const struct rz_nfa *g = a->g;
    const struct rz_state *s = &a->states[state];
    struct reach r = {.a = a, .most = most < g->n_nodes ? most : g->n_nodes};
    uint16_t of_class[256] = {0};
    uint8_t name[257] = {0};
    uint32_t n_kinds = 0, n_names = 0;
    if (!++a->mark) { /* once in four thousand million times */
        memset(a->marks, 0, g->n_nodes * sizeof(*a->marks));
        memset(a->set_marks, 0, g->n_sets * sizeof(*a->set_marks));
        a->mark = 1;
    }
    for (uint32_t i = 0; i < s->n && r.n <= r.most; i++) {
        uint64_t reading = a->readings[s->first + i];
        meet(&r, (uint32_t)reading);
        meet_outside(&r, (uint32_t)reading, (uint32_t)(reading >> 32));
    }
    for (uint32_t at = 0; at < r.n && r.n <= r.most; at++)
        meet_next(&r, a->line[at]);
    if (r.n > r.most)
        return false;
    for (uint32_t i = 0; i < r.n; i++) {
        const struct rz_nfa_node *n = &g->nodes[a->line[i]];
        if (n->kind != RZ_NFA_K_SET || !g->plain_sets[n->a] || a->set_marks[n->a] == a->mark)
            continue;
        a->set_marks[n->a] = a->mark;
        split(g, &g->class_sets[n->a], of_class, &n_kinds);
    }
    for (uint32_t c = 0; c < 256; c++) { /* named by their first byte, so that equal kinds are equal bytes */
        uint16_t k = rz_nfa_plain(c) ? of_class[g->classes[c]] : 0;
        if (k && !name[k])
            name[k] = (uint8_t)++n_names;
        kinds[c] = k ? (uint8_t)(name[k] - 1) : RZ_FOLD_NOTHING;
    }
    return true;
}

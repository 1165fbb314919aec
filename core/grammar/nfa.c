/* nfa.c - building rules over bytes. See nfa.h.
 *
 * Owns the growing arrays and their limits. Invariant: nodes 0 and 1 are RZ_NFA_END and RZ_NFA_FAIL, and a
 * builder that is bad grows no more.
 */
#include "nfa.h"

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rz_nfa_init(struct rz_nfa *g)
{
    *g = (struct rz_nfa){.error = RZ_ERR_INIT};
    g->cap_nodes = 256;
    g->nodes = calloc(g->cap_nodes, sizeof(*g->nodes));
    if (!g->nodes) {
        rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory");
        return;
    }
    g->nodes[RZ_NFA_END] = (struct rz_nfa_node){.kind = RZ_NFA_K_END};
    g->nodes[RZ_NFA_FAIL] = (struct rz_nfa_node){.kind = RZ_NFA_K_SPLIT};
    g->n_nodes = 2;
}

void rz_nfa_free(struct rz_nfa *g)
{
    free(g->nodes);
    free(g->edges);
    free(g->sets);
    free(g->set_slots);
    free(g->bounds);
    free(g->rules);
    free(g->need);
    free(g->class_sets);
    free(g->plain_sets);
    free(g->passes);
    *g = (struct rz_nfa){0};
}

uint32_t rz_nfa_bad(struct rz_nfa *g, int32_t code, const char *where, const char *format, ...)
{
    if (g->rc)
        return RZ_NFA_FAIL;
    va_list args;
    g->rc = g->error.code = code;
    va_start(args, format);
    vsnprintf(g->error.message, sizeof(g->error.message), format, args);
    va_end(args);
    snprintf(g->error.where, sizeof(g->error.where), "%s", where);
    return RZ_NFA_FAIL;
}

/* Room for `more` entries beyond n in an array that doubles; false: the builder is bad. */
static bool grow(struct rz_nfa *g, void *array, uint32_t *cap, uint32_t n, uint32_t more, size_t each,
                 uint32_t max, const char *what)
{
    void **data = array;
    if (g->rc)
        return false;
    if (n + more > max) {
        rz_nfa_bad(g, RZ_ELIMIT, "grammar", "it needs more than %u %s", max, what);
        return false;
    }
    if (n + more <= *cap)
        return true;
    uint32_t to = *cap ? *cap : 64;
    while (to < n + more)
        to *= 2;
    void *bigger = realloc(*data, to * each);
    if (!bigger) {
        rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory for %u %s", to, what);
        return false;
    }
    *data = bigger;
    *cap = to;
    return true;
}

static uint32_t node(struct rz_nfa *g, uint32_t kind, uint32_t next, uint32_t a, uint32_t b)
{
    if (!grow(g, &g->nodes, &g->cap_nodes, g->n_nodes, 1, sizeof(*g->nodes), RZ_NFA_NODES_MAX, "states"))
        return RZ_NFA_FAIL;
    g->nodes[g->n_nodes] = (struct rz_nfa_node){.kind = kind, .next = next, .a = a, .b = b};
    return g->n_nodes++;
}

/* --- sets: equal ones are stored once --- */

static uint64_t set_hash(const struct rz_byteset *s)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 4; i++) {
        h ^= s->w[i];
        h *= 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static void slots_fill(struct rz_nfa *g)
{
    for (uint32_t i = 0; i < g->n_sets; i++) {
        uint64_t at = set_hash(&g->sets[i]) & (g->cap_slots - 1);
        while (g->set_slots[at])
            at = (at + 1) & (g->cap_slots - 1);
        g->set_slots[at] = i + 1;
    }
}

static bool slots_grow(struct rz_nfa *g)
{
    if (2 * (g->n_sets + 1) <= g->cap_slots)
        return true;
    uint32_t to = g->cap_slots ? 2 * g->cap_slots : 256;
    uint32_t *slots = calloc(to, sizeof(*slots));
    if (!slots) {
        rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory");
        return false;
    }
    free(g->set_slots);
    g->set_slots = slots;
    g->cap_slots = to;
    slots_fill(g);
    return true;
}

uint32_t rz_nfa_set(struct rz_nfa *g, const struct rz_byteset *set, uint32_t next)
{
    if (g->rc || next == RZ_NFA_FAIL || !(set->w[0] | set->w[1] | set->w[2] | set->w[3]) || !slots_grow(g))
        return RZ_NFA_FAIL;
    uint64_t at = set_hash(set) & (g->cap_slots - 1);
    while (g->set_slots[at] && memcmp(&g->sets[g->set_slots[at] - 1], set, sizeof(*set)))
        at = (at + 1) & (g->cap_slots - 1);
    if (!g->set_slots[at]) {
        if (!grow(g, &g->sets, &g->cap_sets, g->n_sets, 1, sizeof(*g->sets), RZ_NFA_SETS_MAX,
                  "sets of bytes"))
            return RZ_NFA_FAIL;
        g->sets[g->n_sets++] = *set;
        g->set_slots[at] = g->n_sets;
    }
    return node(g, RZ_NFA_K_SET, next, g->set_slots[at] - 1, 0);
}

uint32_t rz_nfa_bytes(struct rz_nfa *g, uint8_t lo, uint8_t hi, uint32_t next)
{
    struct rz_byteset set = {0};
    for (uint32_t c = lo; c <= hi; c++)
        rz_byteset_add(&set, (uint8_t)c);
    return rz_nfa_set(g, &set, next);
}

uint32_t rz_nfa_byte(struct rz_nfa *g, uint8_t byte, uint32_t next)
{
    return rz_nfa_bytes(g, byte, byte, next);
}

uint32_t rz_nfa_text(struct rz_nfa *g, const char *text, size_t n, uint32_t next)
{
    while (n--)
        next = rz_nfa_byte(g, (uint8_t)text[n], next);
    return next;
}

uint32_t rz_nfa_str(struct rz_nfa *g, const char *text, uint32_t next)
{
    return rz_nfa_text(g, text, strlen(text), next);
}

/* --- branches --- */

uint32_t rz_nfa_alt(struct rz_nfa *g, const uint32_t *starts, uint32_t n)
{
    if (!n)
        return RZ_NFA_FAIL;
    if (n == 1)
        return starts[0];
    if (!grow(g, &g->edges, &g->cap_edges, g->n_edges, n, sizeof(*g->edges), RZ_NFA_EDGES_MAX, "branches"))
        return RZ_NFA_FAIL;
    uint32_t first = g->n_edges;
    memcpy(g->edges + first, starts, n * sizeof(*starts));
    g->n_edges += n;
    return node(g, RZ_NFA_K_SPLIT, 0, first, n);
}

uint32_t rz_nfa_or(struct rz_nfa *g, uint32_t a, uint32_t b)
{
    if (a == RZ_NFA_FAIL || a == b)
        return b;
    return b == RZ_NFA_FAIL ? a : rz_nfa_alt(g, (uint32_t[]){a, b}, 2);
}

uint32_t rz_nfa_repeat(struct rz_nfa *g, uint32_t body, uint32_t min, uint32_t max, uint32_t next)
{
    if (min > max)
        return RZ_NFA_FAIL;
    if (!max || (body == RZ_NFA_FAIL && !min) || body == RZ_NFA_END)
        return next;
    if (body == RZ_NFA_FAIL)
        return RZ_NFA_FAIL;
    if (!grow(g, &g->bounds, &g->cap_bounds, g->n_bounds, 1, sizeof(*g->bounds), RZ_NFA_NODES_MAX,
              "repetitions"))
        return RZ_NFA_FAIL;
    g->bounds[g->n_bounds++] = (struct rz_nfa_bounds){.min = min, .max = max};
    return node(g, RZ_NFA_K_REPEAT, next, body, g->n_bounds - 1);
}

uint32_t rz_nfa_loop(struct rz_nfa *g)
{
    uint32_t both[2] = {RZ_NFA_FAIL, RZ_NFA_FAIL};
    return rz_nfa_alt(g, both, 2);
}

void rz_nfa_loop_close(struct rz_nfa *g, uint32_t loop, uint32_t body, uint32_t next)
{
    if (g->rc || loop == RZ_NFA_FAIL)
        return;
    g->edges[g->nodes[loop].a] = body;
    g->edges[g->nodes[loop].a + 1] = next;
}

/* --- rules --- */

uint32_t rz_nfa_rule(struct rz_nfa *g, const char *name, size_t n)
{
    if (!grow(g, &g->rules, &g->cap_rules, g->n_rules, 1, sizeof(*g->rules), RZ_NFA_RULES_MAX, "rules"))
        return 0;
    struct rz_nfa_rule *rule = &g->rules[g->n_rules];
    *rule = (struct rz_nfa_rule){.start = RZ_NFA_FAIL};
    rz_show(rule->name, sizeof(rule->name), name, n);
    return g->n_rules++;
}

uint32_t rz_nfa_call(struct rz_nfa *g, uint32_t rule, uint32_t next)
{
    return next == RZ_NFA_FAIL ? RZ_NFA_FAIL : node(g, RZ_NFA_K_CALL, next, rule, 0);
}

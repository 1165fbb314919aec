/* check.c - what is asked of finished rules: they recurse only behind a byte, and they can end.
 *
 * One solver walks backwards from the end and finds, for each node, how many frames of stack a text from
 * there to the end needs at least (and how many bytes); nodes that it does not reach are dead and are never
 * entered. That is why the automaton has no dead ends: it only takes nodes that can still end within its
 * stack.
 */
#include "nfa.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

#define UNREACHED UINT16_MAX

/* What is asked: how many frames the way to the end takes, or how many bytes; or whether there is one without
 * a byte, or by plain characters only, whatever its frames. */
enum {
    BY_FRAMES,
    BY_BYTES,
    BY_NOTHING,
    BY_PLAIN
};

/* The nodes waiting at one level are a list through `link`. */
struct solver {
    const struct rz_nfa *g;
    int what;         /* one of the above                     */
    uint32_t *first;  /* [n_nodes + 1]: where the dependents of a node begin     */
    uint32_t *who;    /* dependents                                              */
    uint8_t *missing; /* [n_nodes] parts that a call or repetition waits for     */
    uint16_t *value;  /* [n_nodes]                                               */
    uint32_t *link;   /* [n_nodes]                                               */
    uint32_t head[RZ_NFA_DEPTH_MAX + 2];
};

static uint32_t inner(const struct rz_nfa *g, const struct rz_nfa_node *n)
{
    return n->kind == RZ_NFA_K_CALL ? g->rules[n->a].start : n->a;
}

/* Calls edge for each node that the value of i depends on. */
static void each_part(const struct solver *s, uint32_t i, void (*edge)(struct solver *, uint32_t, uint32_t),
                      struct solver *out)
{
    const struct rz_nfa_node *n = &s->g->nodes[i];
    if (n->kind == RZ_NFA_K_SPLIT)
        for (uint32_t e = 0; e < n->b; e++)
            edge(out, s->g->edges[n->a + e], i);
    bool bytes = s->what == BY_FRAMES || s->what == BY_BYTES;
    if (n->kind == RZ_NFA_K_SET && (bytes || (s->what == BY_PLAIN && s->g->plain_sets[n->a])))
        edge(out, n->next, i);
    if (n->kind == RZ_NFA_K_CALL || n->kind == RZ_NFA_K_REPEAT)
        edge(out, n->next, i);
    if (n->kind == RZ_NFA_K_CALL || (n->kind == RZ_NFA_K_REPEAT && s->g->bounds[n->b].min))
        edge(out, inner(s->g, n), i);
}

static void count_edge(struct solver *s, uint32_t part, uint32_t whole)
{
    s->first[part + 1]++;
    s->missing[whole]++;
}

static void store_edge(struct solver *s, uint32_t part, uint32_t whole)
{
    s->who[s->first[part]++] = whole;
}

static void reach(struct solver *s, uint32_t i, uint32_t level)
{
    if (s->value[i] != UNREACHED || level > RZ_NFA_DEPTH_MAX)
        return;
    s->value[i] = (uint16_t)level;
    s->link[i] = s->head[level];
    s->head[level] = i;
}

static void part_is_known(struct solver *s, uint32_t whole, uint32_t level)
{
    const struct rz_nfa_node *n = &s->g->nodes[whole];
    uint32_t times = n->kind == RZ_NFA_K_CALL ? 1 : n->kind == RZ_NFA_K_REPEAT ? s->g->bounds[n->b].min : 0;
    if (!times) {
        reach(s, whole, level + (s->what == BY_BYTES && n->kind == RZ_NFA_K_SET));
        return;
    }
    if (--s->missing[whole])
        return;
    uint32_t below = s->value[inner(s->g, n)] + (s->what == BY_FRAMES), after = s->value[n->next];
    if (s->what == BY_BYTES) {
        uint64_t sum = (uint64_t)below * times + after;
        reach(s, whole, sum < UNREACHED ? (uint32_t)sum : UNREACHED);
    } else {
        reach(s, whole, below > after ? below : after);
    }
}

static void solve(struct solver *s)
{
    const struct rz_nfa *g = s->g;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        each_part(s, i, count_edge, s);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        s->first[i + 1] += s->first[i];
    for (uint32_t i = 0; i < g->n_nodes; i++)
        each_part(s, i, store_edge, s);
    memmove(s->first + 1, s->first, g->n_nodes * sizeof(*s->first));
    s->first[0] = 0;
    memset(s->value, 0xff, g->n_nodes * sizeof(*s->value));
    memset(s->head, 0xff, sizeof(s->head));
    reach(s, RZ_NFA_END, 0);
    for (uint32_t level = 0; level <= RZ_NFA_DEPTH_MAX; level++)
        while (s->head[level] != UINT32_MAX) {
            uint32_t i = s->head[level];
            s->head[level] = s->link[i];
            for (uint32_t e = s->first[i]; e < s->first[i + 1]; e++)
                part_is_known(s, s->who[e], level);
        }
}

/* Runs the solver; its values go to the caller. NULL: no memory. */
static uint16_t *solved(const struct rz_nfa *g, int what)
{
    size_t n = g->n_nodes;
    struct solver s = {.g = g, .what = what};
    s.first = calloc(n + 2, sizeof(*s.first));
    s.who = calloc(g->n_edges + 2 * n + 1, sizeof(*s.who));
    s.missing = calloc(n, sizeof(*s.missing));
    s.value = calloc(n, sizeof(*s.value));
    s.link = calloc(n, sizeof(*s.link));
    bool good = s.first && s.who && s.missing && s.value && s.link;
    if (good)
        solve(&s);
    else
        free(s.value);
    free(s.first);
    free(s.who);
    free(s.missing);
    free(s.link);
    return good ? s.value : NULL;
}

/* --- left recursion: a way back to a node without a byte --- */

struct walk {
    uint32_t node, edge;
};

/* The e-th node that follows i without a byte; UINT32_MAX: no more. */
static uint32_t follower(const struct rz_nfa *g, const uint16_t *nullable, uint32_t i, uint32_t e)
{
    const struct rz_nfa_node *n = &g->nodes[i];
    bool nested = n->kind == RZ_NFA_K_CALL || n->kind == RZ_NFA_K_REPEAT;
    if (n->kind == RZ_NFA_K_SPLIT)
        return e < n->b ? g->edges[n->a + e] : UINT32_MAX;
    if (nested && e == 0)
        return inner(g, n);
    bool over = n->kind == RZ_NFA_K_CALL     ? nullable[inner(g, n)] != UNREACHED
                : n->kind == RZ_NFA_K_REPEAT ? !g->bounds[n->b].min
                                             : false;
    return over && e == 1 ? n->next : UINT32_MAX;
}

static int32_t left_recursion(const struct rz_nfa *g, const struct walk *path, uint32_t depth, uint32_t to,
                              struct rz_err *err)
{
    while (depth--) {
        const struct rz_nfa_node *n = &g->nodes[path[depth].node];
        if (n->kind == RZ_NFA_K_CALL)
            return rz_fail(err, RZ_EUNSUPPORTED, "grammar",
                           "rule %s begins with itself (left recursion): write it as a repetition",
                           g->rules[n->a].name);
        if (path[depth].node == to)
            break;
    }
    return rz_fail(err, RZ_EUNSUPPORTED, "grammar", "a repetition of nothing does not end");
}

static int32_t walk_from(const struct rz_nfa *g, const uint16_t *nullable, uint8_t *color, struct walk *path,
                         uint32_t from, struct rz_err *err)
{
    uint32_t depth = 1;
    path[0] = (struct walk){.node = from};
    color[from] = 1;
    while (depth) {
        struct walk *top = &path[depth - 1];
        uint32_t to = follower(g, nullable, top->node, top->edge++);
        if (to == UINT32_MAX) {
            color[top->node] = 2;
            depth--;
        } else if (color[to] == 1) {
            return left_recursion(g, path, depth, to, err);
        } else if (!color[to]) {
            color[to] = 1;
            path[depth++] = (struct walk){.node = to};
        }
    }
    return RZ_OK;
}

static int32_t check_recursion(const struct rz_nfa *g, const uint16_t *nullable, struct rz_err *err)
{
    uint8_t *color = calloc(g->n_nodes, 1);
    struct walk *path = calloc(g->n_nodes, sizeof(*path));
    int32_t rc = color && path ? RZ_OK : rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    for (uint32_t i = 0; i < g->n_nodes && !rc; i++)
        if (!color[i])
            rc = walk_from(g, nullable, color, path, i, err);
    free(color);
    free(path);
    return rc;
}

/* --- the whole --- */

/* What repeats something that may be nothing needs no iteration at all. */
static void mark_nullable(struct rz_nfa *g, const uint16_t *nullable)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        struct rz_nfa_node *n = &g->nodes[i];
        if (n->kind != RZ_NFA_K_REPEAT || nullable[n->a] == UNREACHED)
            continue;
        g->bounds[n->b].nullable = true;
        g->bounds[n->b].min = 0;
    }
}

/* What is not found is longer than all that is looked at. */
static int32_t measure_bodies(struct rz_nfa *g, struct rz_err *err)
{
    uint16_t *bytes = solved(g, BY_BYTES);
    if (!bytes)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct rz_nfa_node *n = &g->nodes[i];
        if (n->kind == RZ_NFA_K_REPEAT)
            g->bounds[n->b].least = bytes[n->a] < RZ_NFA_DEPTH_MAX ? bytes[n->a] : RZ_NFA_DEPTH_MAX;
    }
    free(bytes);
    return RZ_OK;
}

/* Sets lose the bytes that no token spells alone; those that lose all become dead ends. */
static void restrict_bytes(struct rz_nfa *g, const struct rz_byteset *bytes)
{
    for (uint32_t i = 0; i < g->n_sets && bytes; i++)
        for (int w = 0; w < 4; w++)
            g->sets[i].w[w] &= bytes->w[w];
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        struct rz_nfa_node *n = &g->nodes[i];
        if (n->kind != RZ_NFA_K_SET)
            continue;
        const uint64_t *w = g->sets[n->a].w;
        if (!(w[0] | w[1] | w[2] | w[3]))
            *n = (struct rz_nfa_node){.kind = RZ_NFA_K_SPLIT};
    }
}

/* Bytes that no set tells apart share a class. */
static int32_t classify(struct rz_nfa *g, struct rz_err *err)
{
    g->n_classes = 1;
    for (uint32_t i = 0; i < g->n_sets; i++) {
        uint16_t to[256];
        memset(to, 0xff, sizeof(to));
        uint32_t seen[256] = {0};
        for (uint32_t c = 0; c < 256; c++)
            seen[g->classes[c]] |= rz_byteset_has(&g->sets[i], c) ? 1 : 2;
        for (uint32_t c = 0; c < 256; c++) {
            uint8_t old = g->classes[c];
            if (seen[old] != 3 || !rz_byteset_has(&g->sets[i], c))
                continue;
            if (to[old] == UINT16_MAX)
                to[old] = (uint16_t)g->n_classes++;
            g->classes[c] = (uint8_t)to[old];
        }
    }
    g->class_sets = calloc(g->n_sets + 1, sizeof(*g->class_sets));
    if (!g->class_sets)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    for (uint32_t i = 0; i < g->n_sets; i++)
        for (uint32_t c = 0; c < 256; c++)
            if (rz_byteset_has(&g->sets[i], c))
                rz_byteset_add(&g->class_sets[i], g->classes[c]);
    return RZ_OK;
}

/* Fills plain_sets and passes. */
static int32_t mark_plain(struct rz_nfa *g, struct rz_err *err)
{
    uint16_t *ways = NULL;
    g->plain_sets = calloc(g->n_sets + 1, sizeof(*g->plain_sets));
    g->passes = calloc(g->n_nodes, sizeof(*g->passes));
    for (uint32_t i = 0; i < g->n_sets && g->plain_sets; i++)
        for (uint32_t c = 0; c < 256; c++)
            g->plain_sets[i] |= rz_nfa_plain(c) && rz_byteset_has(&g->sets[i], c);
    if (!g->plain_sets || !g->passes || !(ways = solved(g, BY_PLAIN)))
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    for (uint32_t i = 0; i < g->n_nodes; i++)
        g->passes[i] = ways[i] != UNREACHED;
    free(ways);
    return RZ_OK;
}

int32_t rz_nfa_finish(struct rz_nfa *g, const struct rz_byteset *bytes, struct rz_err *err)
{
    if (g->rc)
        return rz_fail(err, g->rc, g->error.where, "%s", g->error.message);
    if (!g->n_rules)
        return rz_fail(err, RZ_EFORMAT, "grammar", "it has no rule");
    restrict_bytes(g, bytes);
    uint16_t *nullable = solved(g, BY_NOTHING);
    if (!nullable)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    mark_nullable(g, nullable);
    int32_t rc = check_recursion(g, nullable, err);
    free(nullable);
    if (rc)
        return rc;
    if (!(g->need = solved(g, BY_FRAMES)))
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    if (g->need[g->rules[0].start] == UNREACHED)
        return rz_fail(err, RZ_EINVAL, "grammar", "no text fits it");
    if ((rc = measure_bodies(g, err)) || (rc = mark_plain(g, err)))
        return rc;
    return classify(g, err);
}

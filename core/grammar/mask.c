/* mask.c - the walks that make a mask. See mask.h.
 *
 * Invariant: a row is asked for only where something comes below.
 */
#include "mask.h"

#include "err.h"
#include "fold.h"

#include <stdlib.h>
#include <string.h>

/* Nodes of rules, of the trie: up to so many are looked at or reached before the other way is tried. */
#define REACH_SOON 256u
#define REACH_MOST RZ_KINDS_MOST
#define WALKED_SOON 512u

int32_t rz_masker_init(struct rz_masker *m, struct rz_automaton *a, const struct rz_trie *t,
                       struct rz_err *err)
{
    m->automaton = a;
    m->trie = t;
    m->reached = calloc(t->n / 2 + 2, sizeof(*m->reached));
    return m->reached ? RZ_OK : rz_fail(err, RZ_ENOMEM, "grammar", "no memory for its masks");
}

void rz_masker_free(struct rz_masker *m)
{
    free(m->reached);
}

static void allow(uint64_t *mask, const int32_t *tokens, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        mask[tokens[i] >> 6] |= 1ull << (tokens[i] & 63);
}

/* The children that are left at one depth: places in the trie's kids, or nodes. */
struct left {
    uint32_t at, end;
    bool kids;
};

static struct left children(const struct rz_trie *t, uint32_t kids, uint32_t from, uint32_t to)
{
    if (kids || !from)
        return (struct left){kids + 1, kids + 1 + t->kids[kids], true};
    return (struct left){from, to, false};
}

/* The next child whose byte may come; t->n: there is none. */
static uint32_t next_child(const struct rz_masker *m, struct left *l, const uint16_t *row)
{
    const struct rz_trie *t = m->trie;
    const uint8_t *classes = m->automaton->g->classes;
    while (l->at < l->end) {
        uint32_t i = l->kids ? t->kids[l->at] >> 8 : l->at;
        uint8_t byte = l->kids ? t->kids[l->at] & 255 : t->nodes[i].byte;
        l->at = l->kids ? l->at + 1 : t->nodes[i].skip;
        if (row[classes[byte]])
            return i;
    }
    return t->n;
}

/* Walks the trie until `most` nodes were reached. False: there are more. */
static bool walk(struct rz_masker *m, uint32_t most, uint64_t *mask)
{
    const struct rz_trie *t = m->trie;
    const uint16_t **rows = m->rows;
    struct left open[RZ_TRIE_DEPTH_MAX + 1];
    uint32_t depth = 0;
    open[0] = children(t, 0, 0, t->n);
    for (;;) {
        uint32_t i = next_child(m, &open[depth], rows[depth]);
        m->deepest = depth + 1 > m->deepest ? depth + 1 : m->deepest;
        if (i == t->n) {
            if (!depth--)
                return true;
            continue;
        }
        const struct rz_trie_node *n = &t->nodes[i];
        uint32_t to = rows[depth][m->automaton->g->classes[n->byte]];
        if (!most--)
            return false;
        allow(mask, t->tokens + n->tokens, n[1].tokens - n->tokens);
        if (n->skip == i + 1)
            continue;
        rows[++depth] = rz_automaton_row(m->automaton, to);
        open[depth] = children(t, n->kids, i + 1, n->skip);
    }
}

/* Notes the nodes of a fold that can be reached; returns how many. */
static uint32_t walk_fold(struct rz_masker *m, const struct rz_fold *f, uint32_t *reached)
{
    const uint16_t **rows = m->rows;
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->n;) {
        const struct rz_fold_step *n = &f->steps[i];
        uint32_t to = rows[n->depth - 1][m->automaton->g->classes[n->byte]];
        m->deepest = n->depth > m->deepest ? n->depth : m->deepest;
        if (!to) {
            i = n->skip;
            continue;
        }
        reached[count++] = i++;
        if (n->skip != i)
            rows[n->depth] = rz_automaton_row(m->automaton, to);
    }
    return count;
}

/* Sets or clears the tokens of a range of nodes: through their mask (1 + its index) if there is one. */
static void change(uint64_t *restrict mask, const struct rz_fold *f, uint32_t dense, uint32_t from,
                   uint32_t to, uint32_t words, bool set)
{
    const uint64_t *restrict of = f->dense + (dense ? dense - 1ull : 0) * words;
    if (!dense && set)
        allow(mask, f->tokens + from, to - from);
    for (uint32_t i = from; !dense && !set && i < to; i++)
        mask[f->tokens[i] >> 6] &= ~(1ull << (f->tokens[i] & 63));
    for (uint32_t i = 0; dense && i < words; i++)
        mask[i] = set ? mask[i] | of[i] : mask[i] & ~of[i];
}

/* All tokens of the fold but those of the nodes that were not reached. */
static void allow_but(struct rz_masker *m, const struct rz_fold *f, const uint32_t *reached, uint32_t count,
                      uint64_t *mask)
{
    uint32_t words = m->trie->n_words, k = 0;
    change(mask, f, f->all, 0, f->nodes[f->n].first, words, true);
    for (uint32_t i = 0; i < f->n;) {
        const struct rz_fold_node *n = &f->nodes[i];
        if (k < count && reached[k] == i) {
            i++;
            k++;
            continue;
        }
        i = f->steps[i].skip;
        change(mask, f, n->whole, n->first, f->nodes[i].first, words, false);
    }
}

/* The tokens of the nodes that were reached; where all below a node was, at once. */
static void allow_fold(struct rz_masker *m, const struct rz_fold *f, const uint32_t *reached, uint32_t count,
                       uint64_t *mask)
{
    uint32_t words = m->trie->n_words, tokens = 0;
    for (uint32_t k = 0; k < count; k++)
        tokens += f->nodes[reached[k]].n;
    if (tokens > f->nodes[f->n].first / 2) {
        allow_but(m, f, reached, count, mask);
        return;
    }
    for (uint32_t k = 0; k < count;) {
        const struct rz_fold_node *n = &f->nodes[reached[k]];
        uint32_t skip = f->steps[reached[k]].skip, below = skip - reached[k];
        bool all = k + below <= count && reached[k + below - 1] == skip - 1;
        uint32_t to = all ? f->nodes[skip].first : n->first + n->n;
        change(mask, f, all ? n->whole : n->dense, n->first, to, words, true);
        k += all ? below : 1;
    }
}

/* The fold for a state, if few nodes say which one it is. NULL: there is none. */
static struct rz_fold *fold_of(struct rz_masker *m, uint32_t state, uint32_t most, bool make)
{
    struct rz_kinds kinds;
    return rz_automaton_kinds(m->automaton, state, most, &kinds) ? rz_fold_get(m->trie, &kinds, make) : NULL;
}

/* Through a fold that is there, else node by node, and if these are many through a new fold. */
uint32_t rz_mask_fill(struct rz_masker *m, uint32_t state, uint64_t *mask)
{
    const struct rz_trie *t = m->trie;
    memset(mask, 0, t->n_words * sizeof(*mask));
    m->deepest = 0;
    m->rows[0] = rz_automaton_row(m->automaton, state);
    struct rz_fold *f = fold_of(m, state, REACH_SOON, false);
    bool done = !f && walk(m, WALKED_SOON, mask);
    if (!f && !done)
        f = fold_of(m, state, REACH_MOST, true);
    if (f && f->steps)
        allow_fold(m, f, m->reached, walk_fold(m, f, m->reached), mask);
    else if (!done)
        walk(m, UINT32_MAX, mask);
    rz_fold_put(t, f);
    if (rz_automaton_accepts(m->automaton, state))
        allow(mask, t->end, t->n_end);
    return m->deepest;
}

bool rz_mask_patch(struct rz_masker *m, uint32_t state, uint32_t same, uint64_t *mask)
{
    const uint16_t **rows = m->rows;
    struct rz_fold *f = fold_of(m, state, REACH_MOST, false);
    bool good = f && f->steps;
    m->deepest = same;
    rows[0] = rz_automaton_row(m->automaton, state);
    for (uint32_t i = 0; good && i < f->n;) {
        const struct rz_fold_step *s = &f->steps[i];
        const struct rz_fold_node *n = &f->nodes[i];
        uint32_t to = f->deepest[i] > same ? rows[s->depth - 1][m->automaton->g->classes[s->byte]] : 0;
        if (f->deepest[i] > same && s->depth > m->deepest)
            m->deepest = s->depth;
        if (s->depth > same && to)
            change(mask, f, n->dense, n->first, n->first + n->n, m->trie->n_words, true);
        else if (s->depth > same)
            change(mask, f, n->whole, n->first, f->nodes[s->skip].first, m->trie->n_words, false);
        if (to && s->skip != i + 1)
            rows[s->depth] = rz_automaton_row(m->automaton, to);
        i = to ? i + 1 : s->skip;
    }
    rz_fold_put(m->trie, f);
    return good;
}

/* fold.c - folds: made by merging the branches of the trie, and kept. See fold.h.
 *
 * Invariant: what is kept stays below KEPT folds and KEPT_BYTES, but for those that are in use.
 */
#include "fold.h"

#include "err.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 64
#define KEPT_BYTES (48ull << 20)

struct rz_folds {
    pthread_mutex_t lock;
    struct rz_fold *kept[KEPT];
    uint64_t clock, size;
};

/* --- making one --- */

#define DENSE_MAX 256

/* A node while branches are merged. */
struct made {
    uint32_t child, sibling; /* 0: none; node 0 is the root */
    uint32_t n_tokens, out;  /* its place in the fold       */
    uint16_t kind;
    uint8_t byte;
};

struct maker {
    const struct rz_trie *t;
    const struct rz_kinds *kinds;
    struct made *made;
    uint32_t *node_of; /* [n] the merged node of a node of the trie; 0: it leads nowhere */
    uint32_t n, cap;
};

static uint32_t child_of(struct maker *m, uint32_t parent, uint16_t kind, uint8_t byte)
{
    uint32_t i = m->made[parent].child;
    while (i && m->made[i].kind != kind)
        i = m->made[i].sibling;
    if (i)
        return i;
    if (m->n == m->cap)
        return 0;
    m->made[m->n] = (struct made){.sibling = m->made[parent].child, .kind = kind, .byte = byte};
    return m->made[parent].child = m->n++;
}

/* Merges all branches; false: too many are left. */
static bool merge(struct maker *m)
{
    const struct rz_trie *t = m->t;
    uint32_t path[RZ_TRIE_DEPTH_MAX + 1] = {0};
    uint8_t places[RZ_TRIE_DEPTH_MAX + 1] = {0};
    for (uint32_t i = 0; i < t->n;) {
        const struct rz_trie_node *n = &t->nodes[i];
        uint32_t was = places[n->depth - 1], place = rz_place_after(was, n->byte);
        uint16_t kind =
            place < RZ_PLACE_NONE ? rz_kind_of(m->kinds, was, n->byte) : (uint16_t)(256 + n->byte);
        if (place == RZ_PLACE_NONE && was < RZ_PLACE_NONE && !rz_byteset_has(&m->kinds->others, n->byte))
            kind = RZ_FOLD_NOTHING;
        if (kind == RZ_FOLD_NOTHING) {
            i = n->skip;
            continue;
        }
        uint32_t to = child_of(m, path[n->depth - 1], kind, n->byte);
        if (!to)
            return false;
        path[n->depth] = m->node_of[i] = to;
        places[n->depth] = (uint8_t)place;
        m->made[to].n_tokens += n[1].tokens - n->tokens;
        i++;
    }
    return true;
}

/* Puts the merged nodes in the order of the trie. */
static void arrange(struct maker *m, struct rz_fold *f)
{
    uint32_t open[RZ_TRIE_DEPTH_MAX + 1], depth = 0, tokens = 0;
    uint32_t at = m->made[0].child;
    while (at || depth) {
        if (!at) {
            f->steps[m->made[open[--depth]].out].skip = f->n;
            at = m->made[open[depth]].sibling;
            continue;
        }
        struct made *x = &m->made[at];
        x->out = f->n++;
        f->nodes[x->out] = (struct rz_fold_node){.first = tokens, .n = x->n_tokens};
        f->steps[x->out] = (struct rz_fold_step){.depth = (uint16_t)(depth + 1), .byte = x->byte};
        tokens += x->n_tokens;
        open[depth++] = at;
        at = x->child;
    }
    f->nodes[f->n] = (struct rz_fold_node){.first = tokens};
    for (uint32_t i = f->n; i--;) {
        f->deepest[i] = f->steps[i].depth;
        for (uint32_t k = i + 1; k < f->steps[i].skip; k = f->steps[k].skip)
            f->deepest[i] = f->deepest[k] > f->deepest[i] ? f->deepest[k] : f->deepest[i];
    }
}

/* Many tokens get a mask, which is faster than setting their bits one by one. */
static void choose_dense(struct rz_fold *f, uint32_t words)
{
    if (f->nodes[f->n].first > words)
        f->all = ++f->n_dense;
    for (uint32_t i = 0; i < f->n; i++) {
        struct rz_fold_node *x = &f->nodes[i];
        uint32_t skip = f->steps[i].skip, below = f->nodes[skip].first - x->first;
        if (x->n > words / 4 && f->n_dense < DENSE_MAX)
            x->dense = ++f->n_dense;
        if (skip == i + 1)
            x->whole = x->dense;
        else if (below > words && f->n_dense < DENSE_MAX)
            x->whole = ++f->n_dense;
    }
}

static void fill_dense(struct rz_fold *f, uint32_t index, uint32_t words, uint32_t from, uint32_t to)
{
    uint64_t *mask = index ? f->dense + (index - 1ull) * words : NULL;
    for (uint32_t i = from; mask && i < to; i++)
        mask[f->tokens[i] >> 6] |= 1ull << (f->tokens[i] & 63);
}

/* Sorts the tokens to their nodes. */
static bool deal(struct maker *m, struct rz_fold *f)
{
    const struct rz_trie *t = m->t;
    uint32_t words = t->n_words;
    choose_dense(f, words);
    f->tokens = calloc(t->n_tokens + 1ull, sizeof(*f->tokens));
    f->dense = calloc((size_t)f->n_dense * words + 1, sizeof(*f->dense));
    if (!f->tokens || !f->dense)
        return false;
    f->size = f->n * (sizeof(*f->nodes) + sizeof(*f->steps) + sizeof(*f->deepest)) +
              t->n_tokens * sizeof(*f->tokens) + (uint64_t)f->n_dense * words * 8;
    for (uint32_t i = 0; i < m->n; i++)
        m->made[i].n_tokens = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        struct made *x = &m->made[m->node_of[i]];
        for (uint32_t k = t->nodes[i].tokens; m->node_of[i] && k < t->nodes[i + 1].tokens; k++)
            f->tokens[f->nodes[x->out].first + x->n_tokens++] = t->tokens[k];
    }
    fill_dense(f, f->all, words, 0, f->nodes[f->n].first);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct rz_fold_node *x = &f->nodes[i];
        fill_dense(f, x->dense, words, x->first, x->first + x->n);
        if (x->whole != x->dense)
            fill_dense(f, x->whole, words, x->first, f->nodes[f->steps[i].skip].first);
    }
    return true;
}

static void destroy(struct rz_fold *f)
{
    if (!f)
        return;
    free(f->nodes);
    free(f->steps);
    free(f->deepest);
    free(f->tokens);
    free(f->dense);
    free(f);
}

/* A fold that saves less than half has no nodes. */
static struct rz_fold *make_fold(const struct rz_trie *t, const struct rz_kinds *kinds)
{
    struct rz_fold *f = calloc(1, sizeof(*f));
    struct maker m = {.t = t, .kinds = kinds, .n = 1, .cap = t->n / 2 + 2};
    m.made = calloc(m.cap, sizeof(*m.made));
    m.node_of = calloc(t->n + 1ull, sizeof(*m.node_of));
    bool good = f && m.made && m.node_of;
    if (good && merge(&m)) {
        f->nodes = calloc(m.n, sizeof(*f->nodes));
        f->steps = calloc(m.n, sizeof(*f->steps));
        f->deepest = calloc(m.n, sizeof(*f->deepest));
        good = f->nodes && f->steps && f->deepest;
        if (good)
            arrange(&m, f);
        good = good && deal(&m, f);
    }
    free(m.made);
    free(m.node_of);
    if (!good) {
        destroy(f);
        return NULL;
    }
    f->kinds = *kinds;
    return f;
}

/* --- those that are kept --- */

int32_t rz_folds_new(struct rz_folds **out, struct rz_err *err)
{
    struct rz_folds *all = calloc(1, sizeof(*all));
    if (!all)
        return rz_fail(err, RZ_ENOMEM, "grammar", "no memory");
    pthread_mutex_init(&all->lock, NULL);
    *out = all;
    return RZ_OK;
}

void rz_folds_free(struct rz_folds *all)
{
    if (!all)
        return;
    for (int i = 0; i < KEPT; i++)
        destroy(all->kept[i]);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static void forget(struct rz_folds *all, struct rz_fold **slot)
{
    all->size -= (*slot)->size;
    destroy(*slot);
    *slot = NULL;
}

/* The one that was not used for longest and is not in use. */
static struct rz_fold **oldest(struct rz_folds *all)
{
    struct rz_fold **found = NULL;
    for (int i = 0; i < KEPT; i++)
        if (all->kept[i] && !all->kept[i]->refs && (!found || all->kept[i]->used < (*found)->used))
            found = &all->kept[i];
    return found;
}

/* A free place, others giving way; NULL: all are in use. */
static struct rz_fold **place(struct rz_folds *all)
{
    struct rz_fold **old;
    while (all->size > KEPT_BYTES && (old = oldest(all)))
        forget(all, old);
    for (int i = 0; i < KEPT; i++)
        if (!all->kept[i])
            return &all->kept[i];
    if ((old = oldest(all)))
        forget(all, old);
    return old;
}

struct rz_fold *rz_fold_get(const struct rz_trie *t, const struct rz_kinds *kinds, bool make)
{
    struct rz_folds *all = t->folds;
    struct rz_fold *found = NULL, **to;
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < KEPT && !found; i++)
        if (all->kept[i] && !memcmp(&all->kept[i]->kinds, kinds, sizeof(*kinds)))
            found = all->kept[i];
    if (!found && make && (to = place(all))) {
        *to = found = make_fold(t, kinds);
        all->size += found ? found->size : 0;
    }
    if (found) {
        found->refs++;
        found->used = ++all->clock;
    }
    pthread_mutex_unlock(&all->lock);
    return found;
}

void rz_fold_put(const struct rz_trie *t, struct rz_fold *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&t->folds->lock);
    f->refs--;
    pthread_mutex_unlock(&t->folds->lock);
}

/* prefix.c - see prefix.h.
 *
 * Invariant: an entry that is dropped has no children, so an index of a parent never goes stale. The order of
 * use keeps parents newer than their children: so the oldest entry is always a leaf.
 */
#include "prefix.h"

#include "err.h"
#include "map.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* --- the order of use --- */

static void order_out(struct rz_prefix *p, uint32_t i)
{
    struct rz_prefix_entry *e = &p->entries[i];
    *(e->newer == NONE ? &p->newest : &p->entries[e->newer].older) = e->older;
    *(e->older == NONE ? &p->oldest : &p->entries[e->older].newer) = e->newer;
}

static void order_in(struct rz_prefix *p, uint32_t i)
{
    struct rz_prefix_entry *e = &p->entries[i];
    e->newer = NONE;
    e->older = p->newest;
    *(p->newest == NONE ? &p->oldest : &p->entries[p->newest].newer) = i;
    p->newest = i;
}

/* The first n entries of the path are in use: the last of them first. */
static void touch(struct rz_prefix *p, uint32_t n)
{
    while (n--) {
        order_out(p, p->path[n]);
        order_in(p, p->path[n]);
    }
}

/* --- entries --- */

static int32_t *page_of(const struct rz_prefix *p, uint32_t entry, uint32_t group)
{
    return &p->pages[(uint64_t)entry * p->kv->n_groups + group];
}

static int32_t *tokens_of(const struct rz_prefix *p, uint32_t entry)
{
    return &p->tokens[(uint64_t)entry * p->kv->page_tokens];
}

static void forget_page(struct rz_prefix *p, uint32_t entry, uint32_t group)
{
    int32_t *page = page_of(p, entry, group);
    if (*page >= 0)
        rz_kv_forget(p->kv, group, *page);
    *page = -1;
}

static void forget_slot(struct rz_prefix *p, uint32_t entry)
{
    if (p->entries[entry].slot >= 0)
        rz_kv_forget_slot(p->kv, p->entries[entry].slot);
    p->entries[entry].slot = -1;
}

/* An entry without children. */
static void drop(struct rz_prefix *p, uint32_t i)
{
    struct rz_prefix_entry *e = &p->entries[i];
    uint32_t *link = &p->buckets[e->hash & p->mask];
    while (*link != i)
        link = &p->entries[*link].next;
    *link = e->next;
    order_out(p, i);
    for (uint32_t g = 0; g < p->kv->n_groups; g++)
        forget_page(p, i, g);
    forget_slot(p, i);
    if (e->parent != NONE)
        p->entries[e->parent].n_children--;
    e->next = p->free;
    p->free = i;
    p->n_used--;
}

/* The tokens of page `index` of a text behind a parent. */
static uint32_t lookup(const struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t index,
                       uint32_t parent, uint64_t hash)
{
    size_t n = p->kv->page_tokens;
    for (uint32_t i = p->buckets[hash & p->mask]; i != NONE; i = p->entries[i].next) {
        const struct rz_prefix_entry *e = &p->entries[i];
        if (e->hash == hash && e->parent == parent && e->variant == text->variant &&
            !memcmp(tokens_of(p, i), text->tokens + index * n, n * sizeof(*p->tokens)))
            return i;
    }
    return NONE;
}

static uint64_t chain(const struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t index,
                      uint64_t before)
{
    size_t n = p->kv->page_tokens;
    uint64_t seed = index ? before : p->seed + text->variant;
    return rz_map_hash(seed, (const char *)(text->tokens + index * n), n * sizeof(*p->tokens));
}

/* Leaves the entries of the text's whole pages in path, as far as there are any, and returns their number. */
static uint32_t walk(const struct rz_prefix *p, const struct rz_prefix_text *text)
{
    uint32_t n = text->n / p->kv->page_tokens, parent = NONE;
    uint64_t hash = 0;
    for (uint32_t i = 0; i < n; i++) {
        hash = chain(p, text, i, hash);
        if ((parent = lookup(p, text, i, parent, hash)) == NONE)
            return i;
        p->path[i] = parent;
    }
    return n;
}

/* --- giving way --- */

static void evict_slot(struct rz_prefix *p)
{
    for (uint32_t i = p->oldest; i != NONE; i = p->entries[i].newer) {
        if (p->entries[i].slot >= 0) {
            forget_slot(p, i);
            p->evictions++;
            return;
        }
    }
}

/* An idle page goes: with its entry if that has no children; alone where a window hides it from most rows. */
static void evict_page(struct rz_prefix *p, uint32_t group)
{
    const struct rz_kv *kv = p->kv;
    p->evictions++;
    for (uint32_t i = p->oldest; i != NONE; i = p->entries[i].newer) {
        int32_t page = *page_of(p, i, group);
        if (page < 0 || kv->refs[(uint64_t)group * kv->n_pages + (uint32_t)page])
            continue;
        if (!p->entries[i].n_children) {
            drop(p, i);
            return;
        }
        if (kv->windows[group]) {
            forget_page(p, i, group);
            return;
        }
    }
    /* What is left hangs above pages in use that another sequence computed for itself. */
    while (!kv->n_free[group] && p->oldest != NONE)
        drop(p, p->oldest);
}

static void evict(void *ctx, uint32_t group)
{
    struct rz_prefix *p = ctx;
    if (group == p->kv->n_groups)
        evict_slot(p);
    else
        evict_page(p, group);
}

void rz_prefix_clear(struct rz_prefix *p)
{
    while (p->n_used)
        drop(p, p->oldest);
}

/* --- life --- */

int32_t rz_prefix_init(struct rz_prefix *p, struct rz_kv *kv, struct rz_err *err)
{
    uint64_t n = kv->n_pages, cells = n * kv->page_tokens, buckets = 16;
    while (buckets < 2 * n)
        buckets *= 2;
    *p = (struct rz_prefix){.kv = kv,
                            .n_entries = kv->n_pages,
                            .mask = (uint32_t)(buckets - 1),
                            .free = NONE,
                            .newest = NONE,
                            .oldest = NONE,
                            .seed = rz_map_seed()};
    p->entries = calloc(n, sizeof(*p->entries));
    p->tokens = calloc(cells, sizeof(*p->tokens));
    p->pages = calloc(n * kv->n_groups + 1, sizeof(*p->pages));
    p->path = calloc(n, sizeof(*p->path));
    p->buckets = malloc(buckets * sizeof(*p->buckets));
    if (!p->entries || !p->tokens || !p->pages || !p->path || !p->buckets) {
        rz_prefix_deinit(p);
        return rz_fail(err, RZ_ENOMEM, "engine", "no memory for a prefix cache of %u pages", kv->n_pages);
    }
    memset(p->buckets, 0xff, buckets * sizeof(*p->buckets));
    for (uint32_t i = p->n_entries; i--; p->free = i)
        p->entries[i].next = p->free;
    kv->evict = evict;
    kv->evict_ctx = p;
    return RZ_OK;
}

void rz_prefix_deinit(struct rz_prefix *p)
{
    if (p->kv)
        rz_prefix_clear(p);
    free(p->entries);
    free(p->tokens);
    free(p->pages);
    free(p->path);
    free(p->buckets);
    *p = (struct rz_prefix){0};
}

/* --- what sequences take --- */

/* Are all pages there that rows behind the first n of the path see, and the state if there is one? */
static bool usable(const struct rz_prefix *p, uint32_t n)
{
    const struct rz_kv *kv = p->kv;
    if (kv->n_slots && p->entries[p->path[n - 1]].slot < 0)
        return false;
    for (uint32_t g = 0; g < kv->n_groups; g++)
        for (uint32_t i = n; i-- > rz_kv_first(kv, g, (uint64_t)n * kv->page_tokens);)
            if (*page_of(p, p->path[i], g) < 0)
                return false;
    return true;
}

uint32_t rz_prefix_find(struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t *known)
{
    uint32_t n = walk(p, text);
    *known = n * p->kv->page_tokens;
    while (n && !usable(p, n))
        n--;
    return n * p->kv->page_tokens;
}

static int32_t path_page(void *ctx, uint32_t group, uint32_t index)
{
    const struct rz_prefix *p = ctx;
    return *page_of(p, p->path[index], group);
}

uint32_t rz_prefix_take(struct rz_prefix *p, struct rz_kv_seq *seq, const struct rz_prefix_text *text,
                        struct rz_state_copy *copy)
{
    uint32_t known, tokens = rz_prefix_find(p, text, &known), n = tokens / p->kv->page_tokens;
    touch(p, known / p->kv->page_tokens);
    int32_t slot = n ? p->entries[p->path[n - 1]].slot : -1;
    *copy = (struct rz_state_copy){.from = -1, .to = -1};
    if (!n || !rz_kv_adopt(p->kv, seq, n, path_page, p))
        return 0;
    /* The sequence may have been given that very slot, if it was the last. */
    if (slot >= 0 && slot != seq->slot)
        *copy = (struct rz_state_copy){.from = slot, .to = seq->slot};
    return tokens;
}

/* --- what sequences leave --- */

/* A new entry behind the first n of the path; NONE: all entries are on it. */
static uint32_t insert(struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t n, uint64_t hash)
{
    touch(p, n);
    if (p->free == NONE && (!n || p->oldest != p->path[n - 1])) {
        drop(p, p->oldest);
        p->evictions++;
    }
    if (p->free == NONE)
        return NONE;
    uint32_t i = p->free, parent = n ? p->path[n - 1] : NONE;
    p->free = p->entries[i].next;
    p->entries[i] = (struct rz_prefix_entry){.hash = hash,
                                             .parent = parent,
                                             .variant = text->variant,
                                             .next = p->buckets[hash & p->mask],
                                             .slot = -1};
    p->buckets[hash & p->mask] = i;
    order_in(p, i);
    p->n_used++;
    if (parent != NONE)
        p->entries[parent].n_children++;
    for (uint32_t g = 0; g < p->kv->n_groups; g++)
        *page_of(p, i, g) = -1;
    memcpy(tokens_of(p, i), text->tokens + (size_t)n * p->kv->page_tokens,
           p->kv->page_tokens * sizeof(*p->tokens));
    return i;
}

void rz_prefix_add(struct rz_prefix *p, const struct rz_kv_seq *seq, const struct rz_prefix_text *text)
{
    uint32_t n = text->n / p->kv->page_tokens, i = 0;
    uint64_t hash = 0;
    for (uint32_t parent = NONE; i < n; i++) {
        hash = chain(p, text, i, hash);
        parent = lookup(p, text, i, parent, hash);
        if (parent == NONE && (parent = insert(p, text, i, hash)) == NONE)
            break;
        p->path[i] = parent;
        for (uint32_t g = 0; g < p->kv->n_groups; g++) {
            if (*page_of(p, parent, g) >= 0 || i < seq->first[g])
                continue;
            *page_of(p, parent, g) = seq->groups[g][i];
            rz_kv_keep(p->kv, g, seq->groups[g][i]);
        }
    }
    touch(p, i);
    p->version++;
}

int32_t rz_prefix_save(struct rz_prefix *p, const struct rz_prefix_text *text, uint32_t instead)
{
    uint32_t n = walk(p, text), before = instead / p->kv->page_tokens;
    if (!n || n * p->kv->page_tokens != text->n)
        return -1;
    touch(p, n);
    struct rz_prefix_entry *e = &p->entries[p->path[n - 1]];
    if (e->slot >= 0)
        return -1;
    if (before && before < n)
        forget_slot(p, p->path[before - 1]);
    e->slot = rz_kv_keep_slot(p->kv);
    p->version++;
    return e->slot;
}

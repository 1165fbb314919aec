/* kv.c - the page pool and block tables, and the slots of recurrent state.
 *
 * Invariant: a page is either on its group's free list with no references and not kept, or off it with as
 * many references as block tables name it. A slot is on the free list, or kept, or belongs to one sequence.
 */
#include "kv.h"

#include "checked.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

static void fill_lists(struct rz_kv *kv)
{
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        uint32_t n = kv->n_free[g] = kv->n_pages - kv->n_out;
        /* A stack: page 0 on top, so that a lone sequence takes its pages in ascending order. */
        for (uint32_t i = 0; i < n; i++)
            kv->free_list[(uint64_t)g * kv->n_pages + i] = (int32_t)(n - 1 - i);
    }
    kv->n_free_slots = kv->n_slots;
    for (uint32_t i = 0; i < kv->n_slots; i++)
        kv->free_slots[i] = (int32_t)(kv->n_slots - 1 - i);
}

int32_t rz_kv_init(struct rz_kv *kv, const struct rz_kv_sizes *z, struct rz_err *err)
{
    *kv = (struct rz_kv){
        .n_groups = z->n_groups, .n_pages = z->n_pages, .page_tokens = z->page_tokens, .n_slots = z->n_slots};
    if (z->n_groups > RZ_KV_GROUPS_MAX)
        return rz_fail(err, RZ_EUNSUPPORTED, "kv", "%u groups: at most %d", z->n_groups, RZ_KV_GROUPS_MAX);
    if (!(z->n_groups || z->n_slots) || !z->n_pages || !z->page_tokens || z->n_pages > INT32_MAX ||
        z->n_slots > INT32_MAX)
        return rz_fail(err, RZ_EINVAL, "kv", "%u groups of %u pages of %u tokens, %u slots: none may be 0",
                       z->n_groups, z->n_pages, z->page_tokens, z->n_slots);
    uint64_t all = (uint64_t)z->n_groups * z->n_pages + 1; /* there may be no groups, or no slots */
    kv->n_free = calloc(z->n_groups + 1, sizeof(*kv->n_free));
    kv->free_list = calloc(all, sizeof(*kv->free_list));
    kv->refs = calloc(all, sizeof(*kv->refs));
    kv->kept = calloc(all, sizeof(*kv->kept));
    kv->n_idle = calloc(z->n_groups + 1, sizeof(*kv->n_idle));
    kv->free_slots = calloc((uint64_t)z->n_slots + 1, sizeof(*kv->free_slots));
    if (!kv->n_free || !kv->free_list || !kv->refs || !kv->kept || !kv->n_idle || !kv->free_slots) {
        rz_kv_deinit(kv);
        return rz_fail(err, RZ_ENOMEM, "kv", "no memory for the tables of %u pages", z->n_pages);
    }
    fill_lists(kv);
    return RZ_OK;
}

void rz_kv_deinit(struct rz_kv *kv)
{
    free(kv->n_free);
    free(kv->free_list);
    free(kv->refs);
    free(kv->kept);
    free(kv->n_idle);
    free(kv->free_slots);
    *kv = (struct rz_kv){0};
}

void rz_kv_limit(struct rz_kv *kv, uint32_t n)
{
    kv->n_out = n < kv->n_pages ? kv->n_pages - n : 0;
    fill_lists(kv);
}

uint64_t rz_kv_tokens(const struct rz_kv *kv)
{
    return (uint64_t)(kv->n_pages - kv->n_out) * kv->page_tokens;
}

bool rz_kv_seq_init(const struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t max_tokens)
{
    *seq = (struct rz_kv_seq){.max_pages = rz_kv_pages(kv, max_tokens), .slot = -1};
    uint64_t cells = (uint64_t)kv->n_groups * seq->max_pages;
    seq->table = calloc(cells ? cells : 1, sizeof(*seq->table));
    seq->groups = calloc(kv->n_groups + 1, sizeof(*seq->groups));
    seq->first = calloc(kv->n_groups + 1, sizeof(*seq->first));
    if (!seq->table || !seq->groups || !seq->first) {
        free(seq->table);
        free(seq->groups);
        free(seq->first);
        *seq = (struct rz_kv_seq){0};
        return false;
    }
    for (uint32_t g = 0; g < kv->n_groups; g++)
        seq->groups[g] = seq->table + (uint64_t)g * seq->max_pages;
    return true;
}

void rz_kv_seq_deinit(struct rz_kv *kv, struct rz_kv_seq *seq)
{
    rz_kv_drop(kv, seq);
    free(seq->table);
    free(seq->groups);
    free(seq->first);
    *seq = (struct rz_kv_seq){0};
}

uint32_t rz_kv_pages(const struct rz_kv *kv, uint64_t tokens)
{
    uint64_t n = tokens / kv->page_tokens + (tokens % kv->page_tokens != 0);
    if (!kv->n_groups) /* a state is as large for any number of tokens */
        return 0;
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

uint32_t rz_kv_most(const struct rz_kv *kv, uint32_t group, uint64_t tokens, uint32_t rows)
{
    uint32_t all = rz_kv_pages(kv, tokens), window = kv->windows[group];
    /* The rows of a step and what the first of them sees, which may begin anywhere in a page. */
    uint32_t some = window ? rz_kv_pages(kv, (uint64_t)window - 1 + rows) + 1 : all;
    return some < all ? some : all;
}

uint32_t rz_kv_held(const struct rz_kv_seq *seq, uint32_t group)
{
    return seq->n_pages - seq->first[group];
}

uint32_t rz_kv_free(const struct rz_kv *kv, uint32_t group)
{
    return kv->n_free[group] + kv->n_idle[group];
}

uint32_t rz_kv_available(const struct rz_kv *kv)
{
    uint32_t n = kv->n_pages;
    for (uint32_t g = 0; g < kv->n_groups; g++)
        n = rz_kv_free(kv, g) < n ? rz_kv_free(kv, g) : n;
    return n;
}

static int32_t page_take(struct rz_kv *kv, uint32_t group)
{
    uint64_t base = (uint64_t)group * kv->n_pages;
    if (!kv->n_free[group])
        kv->evict(kv->evict_ctx, group);
    int32_t page = kv->free_list[base + --kv->n_free[group]];
    kv->refs[base + (uint32_t)page] = 1;
    return page;
}

static void page_give(struct rz_kv *kv, uint32_t group, int32_t page)
{
    uint64_t base = (uint64_t)group * kv->n_pages;
    if (--kv->refs[base + (uint32_t)page])
        return;
    if (kv->kept[base + (uint32_t)page])
        kv->n_idle[group]++;
    else
        kv->free_list[base + kv->n_free[group]++] = page;
}

static int32_t *table_cell(const struct rz_kv_seq *seq, uint32_t group, uint32_t index)
{
    return &seq->table[(uint64_t)group * seq->max_pages + index];
}

/* False: there are slots, and all are taken. */
static bool slot_take(struct rz_kv *kv, struct rz_kv_seq *seq)
{
    if (seq->slot >= 0 || !kv->n_slots)
        return true;
    if (!kv->n_free_slots && kv->n_kept_slots)
        kv->evict(kv->evict_ctx, kv->n_groups);
    if (!kv->n_free_slots)
        return false;
    seq->slot = kv->free_slots[--kv->n_free_slots];
    return true;
}

bool rz_kv_grow(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t tokens)
{
    uint32_t need = rz_kv_pages(kv, tokens), more = need > seq->n_pages ? need - seq->n_pages : 0;
    if (need > seq->max_pages || more > rz_kv_available(kv) || !slot_take(kv, seq))
        return false;
    for (; seq->n_pages < need; seq->n_pages++)
        for (uint32_t g = 0; g < kv->n_groups; g++)
            *table_cell(seq, g, seq->n_pages) = page_take(kv, g);
    return true;
}

uint32_t rz_kv_first(const struct rz_kv *kv, uint32_t group, uint64_t pos)
{
    uint32_t window = kv->windows[group];
    return window && pos >= window ? (uint32_t)((pos + 1 - window) / kv->page_tokens) : 0;
}

void rz_kv_trim(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t pos)
{
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        uint32_t end = rz_kv_first(kv, g, pos);
        /* The entries stay as they are, so that whoever reads a whole table finds a page. */
        for (; seq->first[g] < end && seq->first[g] < seq->n_pages; seq->first[g]++)
            page_give(kv, g, *table_cell(seq, g, seq->first[g]));
    }
}

void rz_kv_cut(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t tokens)
{
    uint32_t keep = rz_kv_pages(kv, tokens);
    for (; seq->n_pages > keep; seq->n_pages--)
        for (uint32_t g = 0; g < kv->n_groups; g++)
            if (seq->first[g] < seq->n_pages)
                page_give(kv, g, *table_cell(seq, g, seq->n_pages - 1));
    for (uint32_t g = 0; g < kv->n_groups; g++)
        seq->first[g] = seq->first[g] < seq->n_pages ? seq->first[g] : seq->n_pages;
}

void rz_kv_drop(struct rz_kv *kv, struct rz_kv_seq *seq)
{
    /* From the end, so that the stack hands the same pages out in the same order again. */
    for (uint32_t g = 0; g < kv->n_groups && seq->n_pages; g++) {
        for (uint32_t i = seq->n_pages; i > seq->first[g]; i--)
            page_give(kv, g, *table_cell(seq, g, i - 1));
        seq->first[g] = 0;
    }
    seq->n_pages = 0;
    if (seq->slot >= 0)
        kv->free_slots[kv->n_free_slots++] = seq->slot;
    seq->slot = -1;
}

bool rz_kv_share(struct rz_kv *kv, struct rz_kv_seq *seq, const struct rz_kv_seq *from, uint64_t tokens)
{
    uint32_t need = rz_kv_pages(kv, tokens);
    if (seq->n_pages || seq->slot >= 0 || need > seq->max_pages || need > from->n_pages)
        return false;
    for (uint32_t g = 0; g < kv->n_groups; g++)
        if (from->first[g] > rz_kv_first(kv, g, tokens))
            return false;
    if (!slot_take(kv, seq))
        return false;
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        seq->first[g] = from->first[g] < need ? from->first[g] : need;
        for (uint32_t i = 0; i < need; i++) {
            int32_t page = *table_cell(from, g, i);
            *table_cell(seq, g, i) = page;
            if (i >= seq->first[g])
                kv->refs[(uint64_t)g * kv->n_pages + (uint32_t)page]++;
        }
    }
    seq->n_pages = need;
    return true;
}

static bool page_shared(const struct rz_kv *kv, const struct rz_kv_seq *seq, uint32_t group, uint32_t index)
{
    uint64_t cell = (uint64_t)group * kv->n_pages + (uint32_t)*table_cell(seq, group, index);
    return kv->refs[cell] > 1 || kv->kept[cell];
}

bool rz_kv_own(struct rz_kv *kv, struct rz_kv_seq *seq, uint64_t pos, struct rz_page_copy *copies,
               uint32_t *n_copies)
{
    uint32_t index = (uint32_t)(pos / kv->page_tokens);
    *n_copies = 0;
    for (uint32_t g = 0; g < kv->n_groups; g++)
        if (page_shared(kv, seq, g, index) && !rz_kv_free(kv, g))
            return false;
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        if (!page_shared(kv, seq, g, index))
            continue;
        int32_t *cell = table_cell(seq, g, index), old = *cell;
        *cell = page_take(kv, g);
        page_give(kv, g, old);
        /* What lies at pos and behind it belongs to the other owners' texts. */
        uint32_t n_tokens = (uint32_t)(pos % kv->page_tokens);
        if (n_tokens)
            copies[(*n_copies)++] =
                (struct rz_page_copy){.group = g, .from = old, .to = *cell, .n_tokens = n_tokens};
    }
    return true;
}

/* --- what is kept --- */

void rz_kv_keep(struct rz_kv *kv, uint32_t group, int32_t page)
{
    kv->kept[(uint64_t)group * kv->n_pages + (uint32_t)page] = true;
}

void rz_kv_forget(struct rz_kv *kv, uint32_t group, int32_t page)
{
    uint64_t base = (uint64_t)group * kv->n_pages;
    kv->kept[base + (uint32_t)page] = false;
    if (kv->refs[base + (uint32_t)page])
        return;
    kv->n_idle[group]--;
    kv->free_list[base + kv->n_free[group]++] = page;
}

int32_t rz_kv_keep_slot(struct rz_kv *kv)
{
    if (!kv->n_free_slots && kv->n_kept_slots)
        kv->evict(kv->evict_ctx, kv->n_groups);
    if (!kv->n_free_slots)
        return -1;
    kv->n_kept_slots++;
    return kv->free_slots[--kv->n_free_slots];
}

void rz_kv_forget_slot(struct rz_kv *kv, int32_t slot)
{
    kv->n_kept_slots--;
    kv->free_slots[kv->n_free_slots++] = slot;
}

bool rz_kv_adopt(struct rz_kv *kv, struct rz_kv_seq *seq, uint32_t n,
                 int32_t (*page)(void *ctx, uint32_t group, uint32_t index), void *ctx)
{
    if (seq->n_pages || seq->slot >= 0 || (kv->n_groups && n > seq->max_pages) || !slot_take(kv, seq))
        return false;
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        uint64_t base = (uint64_t)g * kv->n_pages;
        seq->first[g] = rz_kv_first(kv, g, (uint64_t)n * kv->page_tokens);
        for (uint32_t i = 0; i < n; i++) {
            int32_t *cell = table_cell(seq, g, i);
            *cell = i < seq->first[g] ? 0 : page(ctx, g, i);
            if (i >= seq->first[g] && !kv->refs[base + (uint32_t)*cell]++)
                kv->n_idle[g]--;
        }
    }
    seq->n_pages = kv->n_groups ? n : 0;
    return true;
}

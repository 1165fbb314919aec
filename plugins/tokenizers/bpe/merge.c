/* merge.c - the table of pairs, and two loops: a scan for short words, a heap for long ones. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define SHORT_MAX 48u /* up to here a scan for the lowest rank beats the heap */

static uint64_t hash(const struct rz_merges *m, uint32_t left, uint32_t right)
{
    __uint128_t p = (__uint128_t)(((uint64_t)left << 32 | right) ^ m->seed) * 0x9e3779b97f4a7c15u;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

bool rz_merges_init(struct rz_merges *m, uint32_t n, uint64_t seed)
{
    uint64_t slots = 16;
    while (slots < 2ull * n)
        slots *= 2;
    *m = (struct rz_merges){.mask = slots - 1, .seed = seed};
    m->slots = malloc(slots * sizeof(*m->slots));
    m->result = malloc((n ? n : 1) * sizeof(*m->result));
    if (!m->slots || !m->result) {
        rz_merges_free(m);
        return false;
    }
    memset(m->slots, 0xff, slots * sizeof(*m->slots));
    return true;
}

void rz_merges_free(struct rz_merges *m)
{
    free(m->slots);
    free(m->result);
    *m = (struct rz_merges){0};
}

static struct rz_merge_slot *find(const struct rz_merges *m, uint32_t left, uint32_t right)
{
    uint64_t i = hash(m, left, right) & m->mask;
    for (;; i = (i + 1) & m->mask) {
        struct rz_merge_slot *s = &m->slots[i];
        if (s->rank == NONE || (s->left == left && s->right == right))
            return s;
    }
}

void rz_merges_add(struct rz_merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t result)
{
    struct rz_merge_slot *s = find(m, left, right);
    if (s->rank != NONE)
        return;
    *s = (struct rz_merge_slot){left, right, rank};
    m->result[rank] = result;
}

static uint32_t rank_of(const struct rz_merges *m, int32_t left, int32_t right)
{
    return left < 0 || right < 0 ? NONE : find(m, (uint32_t)left, (uint32_t)right)->rank;
}

static size_t merge_short(const struct rz_merges *m, int32_t *ids, size_t n)
{
    uint32_t ranks[SHORT_MAX]; /* of the pair i, i + 1 */
    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = rank_of(m, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == NONE)
            break;
        ids[best] = (int32_t)m->result[ranks[best]];
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof(*ids));
        if (best + 1 < n) {
            memmove(ranks + best + 1, ranks + best + 2, (n - best - 2) * sizeof(*ranks));
            ranks[best] = rank_of(m, ids[best], ids[best + 1]);
        }
        if (best)
            ranks[best - 1] = rank_of(m, ids[best - 1], ids[best]);
    }
    return n;
}

static void heap_push(uint64_t *heap, size_t *n, uint64_t entry)
{
    size_t i = (*n)++;
    for (; i && heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n)
{
    uint64_t top = heap[0], last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        child += child + 1 < *n && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* Grows for n nodes. A node enters the heap once at the start and at most twice per merge: 3n entries. */
static bool reserve(struct rz_merge_work *w, size_t n)
{
    if (n <= w->cap)
        return true;
    rz_merge_work_free(w);
    w->nodes = malloc(n * sizeof(*w->nodes));
    w->heap = malloc(3 * n * sizeof(*w->heap));
    if (!w->nodes || !w->heap) {
        rz_merge_work_free(w);
        return false;
    }
    w->cap = n;
    return true;
}

void rz_merge_work_free(struct rz_merge_work *w)
{
    free(w->nodes);
    free(w->heap);
    *w = (struct rz_merge_work){0};
}

/* Looks the pair that begins at node i up again and queues it. */
static void requeue(const struct rz_merges *m, struct rz_merge_work *w, size_t *queued, uint32_t i)
{
    struct rz_merge_node *a = &w->nodes[i];
    a->rank = a->next == NONE ? NONE : rank_of(m, a->id, w->nodes[a->next].id);
    if (a->rank != NONE)
        heap_push(w->heap, queued, (uint64_t)a->rank << 32 | i);
}

int64_t rz_merge(const struct rz_merges *m, struct rz_merge_work *w, int32_t *ids, size_t n)
{
    if (n <= SHORT_MAX)
        return (int64_t)merge_short(m, ids, n);
    if (!reserve(w, n))
        return -1;
    struct rz_merge_node *nodes = w->nodes;
    size_t queued = 0, left = 0;
    for (size_t i = 0; i < n; i++)
        nodes[i] = (struct rz_merge_node){
            .id = ids[i], .prev = (uint32_t)i - 1, .next = i + 1 < n ? (uint32_t)i + 1 : NONE};
    for (size_t i = 0; i < n; i++)
        requeue(m, w, &queued, (uint32_t)i);
    while (queued) {
        uint64_t entry = heap_pop(w->heap, &queued);
        uint32_t i = (uint32_t)entry, rank = (uint32_t)(entry >> 32);
        struct rz_merge_node *a = &nodes[i];
        if (a->rank != rank)
            continue; /* the pair is gone */
        uint32_t gone = a->next;
        a->id = (int32_t)m->result[rank];
        a->next = nodes[gone].next;
        nodes[gone].rank = NONE;
        if (a->next != NONE)
            nodes[a->next].prev = i;
        requeue(m, w, &queued, i);
        if (a->prev != NONE)
            requeue(m, w, &queued, a->prev);
    }
    for (uint32_t i = 0; i != NONE; i = nodes[i].next)
        ids[left++] = nodes[i].id;
    return (int64_t)left;
}

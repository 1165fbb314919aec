/* pairs.c - a heap of {rank, place}. An entry whose pair is gone is recognised by its node's rank, which
 * is then another one; where it is the same, merging what stands there now is what comes next anyway. */
#include "pairs.h"

#include <stdlib.h>

void rz_pairs_free(struct rz_pairs *p)
{
    free(p->nodes);
    free(p->heap);
    *p = (struct rz_pairs){0};
}

/* A node is queued once at the start, and each merge queues at most two: fewer than 3n entries. */
bool rz_pairs_reserve(struct rz_pairs *p, size_t n)
{
    if (n <= p->cap)
        return true;
    rz_pairs_free(p);
    p->nodes = malloc(n * sizeof(*p->nodes));
    p->heap = malloc(3 * n * sizeof(*p->heap));
    if (!p->nodes || !p->heap) {
        rz_pairs_free(p);
        return false;
    }
    p->cap = n;
    return true;
}

static void push(struct rz_pairs *p, uint64_t entry)
{
    uint64_t *heap = p->heap;
    size_t i = p->queued++;
    for (; i && heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
}

static uint64_t pop(struct rz_pairs *p)
{
    uint64_t *heap = p->heap, top = heap[0], last = heap[--p->queued];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < p->queued; i = child) {
        child += child + 1 < p->queued && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* Looks the pair that begins at node i up and queues it. */
static void queue(struct rz_pairs *p, uint32_t i, rz_pair_rank *rank, const void *arg)
{
    struct rz_pair_node *a = &p->nodes[i];
    a->rank = a->next == RZ_PAIR_NONE ? RZ_PAIR_NONE : rank(arg, a, &p->nodes[a->next], &a->joined);
    if (a->rank != RZ_PAIR_NONE)
        push(p, (uint64_t)a->rank << 32 | i);
}

void rz_pairs_merge(struct rz_pairs *p, size_t n, rz_pair_rank *rank, const void *arg)
{
    struct rz_pair_node *nodes = p->nodes;
    p->queued = 0;
    for (size_t i = 0; i < n; i++) {
        nodes[i].prev = i ? (uint32_t)i - 1 : RZ_PAIR_NONE;
        nodes[i].next = i + 1 < n ? (uint32_t)i + 1 : RZ_PAIR_NONE;
    }
    for (size_t i = 0; i < n; i++)
        queue(p, (uint32_t)i, rank, arg);
    while (p->queued) {
        uint64_t entry = pop(p);
        uint32_t i = (uint32_t)entry;
        struct rz_pair_node *a = &nodes[i];
        if (a->rank != entry >> 32)
            continue;
        struct rz_pair_node *b = &nodes[a->next];
        a->id = a->joined;
        a->len += b->len;
        a->next = b->next;
        b->rank = RZ_PAIR_NONE;
        if (a->next != RZ_PAIR_NONE)
            nodes[a->next].prev = i;
        queue(p, i, rank, arg);
        if (a->prev != RZ_PAIR_NONE)
            queue(p, a->prev, rank, arg);
    }
}

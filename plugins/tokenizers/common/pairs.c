/* pairs.c - a queue of places for each rank, and a heap of the ranks that have one.
 *
 * A pair mostly turns up to the right of the others of its rank, so it goes to the end of the queue at no
 * cost; one that does not goes to a heap of its own. A node is in one queue at most: that of its rank. An
 * entry of the heap whose pair is gone is recognised by its node's rank or its mark.
 */
#include "pairs.h"

#include "grow.h"

#include <stdlib.h>

#define NONE RZ_PAIR_NONE
#define HEAPED (UINT32_MAX - 1)
#define QUEUES_MIN 256u

void rz_pairs_free(struct rz_pairs *p)
{
    free(p->nodes);
    free(p->queues);
    free(p->ranks);
    free(p->heap);
    *p = (struct rz_pairs){0};
}

bool rz_pairs_reserve(struct rz_pairs *p, size_t n)
{
    if (n <= p->cap)
        return true;
    free(p->nodes);
    p->nodes = malloc(n * sizeof(*p->nodes));
    p->cap = p->nodes ? n : 0;
    return p->nodes != NULL;
}

static void push(struct rz_pairs *p, uint64_t **heap, size_t *n, size_t *cap, uint64_t entry)
{
    uint64_t *h = rz_heap_grow(*heap, *n, cap, sizeof(*h), 256);
    if (!h) {
        p->failed = true;
        return;
    }
    *heap = h;
    size_t i = (*n)++;
    for (; i && h[(i - 1) / 2] > entry; i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = entry;
}

static void pop(uint64_t *heap, size_t *n)
{
    uint64_t last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        child += child + 1 < *n && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
}

static struct rz_pair_queue *slot(const struct rz_pairs *p, uint32_t rank)
{
    uint32_t i = (uint32_t)(rank * 0x9e3779b97f4a7c15u >> 32) & p->queue_mask;
    while (p->queues[i].rank != NONE && p->queues[i].rank != rank)
        i = (i + 1) & p->queue_mask;
    return &p->queues[i];
}

/* Empty queues in n slots (a power of two), the old ones moved there. */
static bool grow_queues(struct rz_pairs *p, uint32_t n)
{
    struct rz_pair_queue *old = p->queues;
    uint32_t n_old = old ? p->queue_mask + 1 : 0;
    p->queues = malloc(n * sizeof(*p->queues));
    if (!p->queues) {
        p->queues = old;
        return false;
    }
    p->queue_mask = n - 1;
    for (uint32_t i = 0; i < n; i++)
        p->queues[i] = (struct rz_pair_queue){NONE, NONE, NONE, false};
    for (uint32_t i = 0; i < n_old; i++)
        if (old[i].rank != NONE)
            *slot(p, old[i].rank) = old[i];
    free(old);
    return true;
}

static struct rz_pair_queue *queue_of(struct rz_pairs *p, uint32_t rank)
{
    struct rz_pair_queue *q = slot(p, rank);
    if (q->rank == rank)
        return q;
    if (2 * (p->n_queues + 1) > p->queue_mask) {
        if (!grow_queues(p, 2 * (p->queue_mask + 1))) {
            p->failed = true;
            return NULL;
        }
        q = slot(p, rank);
    }
    q->rank = rank;
    p->n_queues++;
    return q;
}

/* Takes node i out of the queue that it is in. */
static void leave(struct rz_pairs *p, uint32_t i)
{
    struct rz_pair_node *a = &p->nodes[i];
    if (a->rank != NONE && a->before != HEAPED) {
        struct rz_pair_queue *q = slot(p, a->rank);
        if (a->before == NONE)
            q->head = a->after;
        else
            p->nodes[a->before].after = a->after;
        if (a->after == NONE)
            q->tail = a->before;
        else
            p->nodes[a->after].before = a->before;
    }
    a->rank = NONE;
}

static uint32_t end_of(const struct rz_pairs *p, uint32_t i, uint32_t end)
{
    uint32_t next = p->nodes[i].next;
    return next == NONE ? end : p->nodes[next].start;
}

/* Looks the pair that begins at node i up and queues it. */
static void enter(struct rz_pairs *p, uint32_t i, uint32_t end, rz_pair_rank *rank, const void *arg)
{
    struct rz_pair_node *a = &p->nodes[i];
    int32_t joined;
    uint32_t r = NONE;
    if (a->next != NONE)
        r = rank(arg, a, &p->nodes[a->next], end_of(p, a->next, end), &joined);
    if (r == a->rank && r != NONE)
        return;
    leave(p, i);
    struct rz_pair_queue *q = r == NONE ? NULL : queue_of(p, r);
    if (!q)
        return;
    a->rank = r;
    a->after = NONE;
    a->before = q->tail;
    if (q->head != NONE && q->tail > i) {
        a->before = HEAPED;
        push(p, &p->heap, &p->n_heap, &p->cap_heap, (uint64_t)r << 32 | i);
        return;
    }
    if (q->head == NONE) {
        q->head = i;
        a->before = NONE;
    } else {
        p->nodes[q->tail].after = i;
    }
    q->tail = i;
    if (!q->listed) {
        q->listed = true;
        push(p, &p->ranks, &p->n_ranks, &p->cap_ranks, r);
    }
}

/* The node of the best pair, taken out; NONE: there is none. */
static uint32_t take(struct rz_pairs *p)
{
    while (p->n_heap) {
        const struct rz_pair_node *a = &p->nodes[(uint32_t)p->heap[0]];
        if (a->rank == p->heap[0] >> 32 && a->before == HEAPED)
            break;
        pop(p->heap, &p->n_heap);
    }
    while (p->n_ranks) {
        struct rz_pair_queue *q = slot(p, (uint32_t)p->ranks[0]);
        if (q->head != NONE)
            break;
        q->listed = false;
        pop(p->ranks, &p->n_ranks);
    }
    uint64_t queued = p->n_ranks ? p->ranks[0] << 32 | slot(p, (uint32_t)p->ranks[0])->head : UINT64_MAX;
    uint64_t heaped = p->n_heap ? p->heap[0] : UINT64_MAX;
    if (heaped < queued)
        pop(p->heap, &p->n_heap);
    uint64_t best = heaped < queued ? heaped : queued;
    if (best == UINT64_MAX)
        return NONE;
    return (uint32_t)best;
}

static bool begin(struct rz_pairs *p, size_t n)
{
    p->n_ranks = p->n_heap = 0;
    p->n_queues = 0;
    p->failed = false;
    free(p->queues);
    p->queues = NULL;
    for (size_t i = 0; i < n; i++) {
        struct rz_pair_node *a = &p->nodes[i];
        a->prev = i ? (uint32_t)i - 1 : NONE;
        a->next = i + 1 < n ? (uint32_t)i + 1 : NONE;
        a->rank = NONE;
    }
    return grow_queues(p, QUEUES_MIN);
}

bool rz_pairs_merge(struct rz_pairs *p, size_t n, uint32_t end, rz_pair_rank *rank, const void *arg)
{
    struct rz_pair_node *nodes = p->nodes;
    if (!begin(p, n))
        return false;
    for (size_t i = 0; i < n; i++)
        enter(p, (uint32_t)i, end, rank, arg);
    for (uint32_t i; !p->failed && (i = take(p)) != NONE;) {
        struct rz_pair_node *a = &nodes[i], *b = &nodes[a->next];
        int32_t joined = -1;
        rank(arg, a, b, end_of(p, a->next, end), &joined);
        leave(p, i);
        leave(p, a->next);
        a->id = joined;
        a->next = b->next;
        if (a->next != NONE)
            nodes[a->next].prev = i;
        if (a->prev != NONE)
            enter(p, a->prev, end, rank, arg);
        enter(p, i, end, rank, arg);
    }
    return !p->failed;
}

/* merge.c - the table of pairs, and the merging of a word: a scan for short ones, else pairs.h. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

#define SHORT_MAX 48u /* up to here a scan for the lowest rank beats the heap */

static uint64_t pair_of(uint32_t left, uint32_t right)
{
    return ((uint64_t)left << 32 | right) + 1;
}

static uint64_t place(const struct rz_merges *m, uint64_t pair)
{
    __uint128_t p = (__uint128_t)(pair ^ m->seed) * 0x9e3779b97f4a7c15u;
    return ((uint64_t)p ^ (uint64_t)(p >> 64)) & m->mask;
}

bool rz_merges_init(struct rz_merges *m, uint32_t n, uint64_t seed)
{
    uint64_t slots = 16;
    while (slots * 2 < 3ull * n)
        slots *= 2;
    *m = (struct rz_merges){.mask = slots - 1, .seed = seed, .slots = calloc(slots, sizeof(*m->slots))};
    return m->slots != NULL;
}

void rz_merges_free(struct rz_merges *m)
{
    free(m->slots);
    *m = (struct rz_merges){0};
}

void rz_merges_hint(const struct rz_merges *m, uint32_t left, uint32_t right)
{
    __builtin_prefetch(&m->slots[place(m, pair_of(left, right))]);
}

static struct rz_merge_slot *find(const struct rz_merges *m, uint32_t left, uint32_t right)
{
    uint64_t pair = pair_of(left, right);
    for (uint64_t i = place(m, pair);; i = (i + 1) & m->mask)
        if (!m->slots[i].pair || m->slots[i].pair == pair)
            return &m->slots[i];
}

void rz_merges_add(struct rz_merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t result)
{
    struct rz_merge_slot *s = find(m, left, right);
    if (!s->pair)
        *s = (struct rz_merge_slot){pair_of(left, right), (uint64_t)rank << 32 | result};
}

uint64_t rz_merges_find(const struct rz_merges *m, int32_t left, int32_t right)
{
    if (left < 0 || right < 0)
        return RZ_NO_MERGE;
    const struct rz_merge_slot *s = find(m, (uint32_t)left, (uint32_t)right);
    return s->pair ? s->made : RZ_NO_MERGE;
}

static size_t merge_short(const struct rz_merges *m, int32_t *ids, size_t n)
{
    uint64_t made[SHORT_MAX]; /* by the pair i, i + 1 */
    for (size_t i = 0; i + 1 < n; i++)
        made[i] = rz_merges_find(m, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (made[i] < made[best])
                best = i;
        if (made[best] == RZ_NO_MERGE)
            break;
        ids[best] = (int32_t)(uint32_t)made[best];
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof(*ids));
        if (best + 1 < n) {
            memmove(made + best + 1, made + best + 2, (n - best - 2) * sizeof(*made));
            made[best] = rz_merges_find(m, ids[best], ids[best + 1]);
        }
        if (best)
            made[best - 1] = rz_merges_find(m, ids[best - 1], ids[best]);
    }
    return n;
}

/* The pair of two nodes, for rz_pairs_merge. */
static uint32_t node_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                          uint32_t end, int32_t *joined)
{
    (void)end;
    uint64_t made = rz_merges_find(arg, a->id, b->id);
    *joined = made == RZ_NO_MERGE ? -1 : (int32_t)(uint32_t)made;
    return (uint32_t)(made >> 32); /* RZ_PAIR_NONE of RZ_NO_MERGE */
}

int64_t rz_merge(const struct rz_merges *m, struct rz_pairs *work, int32_t *ids, size_t n)
{
    if (n <= SHORT_MAX)
        return (int64_t)merge_short(m, ids, n);
    if (!rz_pairs_reserve(work, n))
        return -1;
    for (size_t i = 0; i < n; i++)
        work->nodes[i] = (struct rz_pair_node){.id = ids[i]};
    if (!rz_pairs_merge(work, n, 0, node_rank, m))
        return -1;
    size_t left = 0;
    for (uint32_t i = 0; i != RZ_PAIR_NONE; i = work->nodes[i].next)
        ids[left++] = work->nodes[i].id;
    return (int64_t)left;
}

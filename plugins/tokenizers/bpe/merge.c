/* merge.c - the table of pairs, and the merging of a word: a scan for short ones, else pairs.h. */
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

/* The pair of two nodes, for rz_pairs_merge. */
static uint32_t node_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                          uint32_t end, int32_t *joined)
{
    (void)end;
    const struct rz_merges *m = arg;
    uint32_t rank = rank_of(m, a->id, b->id);
    *joined = rank == NONE ? -1 : (int32_t)m->result[rank];
    return rank;
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

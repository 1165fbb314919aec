/* pairs.h - merging neighbours by rank: the loop that BPE and SPM share.
 *
 * A row of symbols; again and again the pair of neighbours with the lowest rank becomes one symbol, the
 * leftmost of equals first, until no pair has a rank. O(n log n), and near O(n) on repetitive texts. The
 * memory, 28 bytes a symbol, belongs to one encoding.
 */
#ifndef RZ_TOKENIZERS_PAIRS_H
#define RZ_TOKENIZERS_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RZ_PAIR_NONE UINT32_MAX

struct rz_pair_node {
    int32_t id;             /* the symbol's token, -1: none                                    */
    uint32_t start;         /* its first byte, for those who look pairs up so                  */
    uint32_t prev, next;    /* neighbours, RZ_PAIR_NONE at the ends                            */
    uint32_t rank;          /* of the pair with the next, RZ_PAIR_NONE: none                   */
    uint32_t before, after; /* in the queue of that rank; `before` of one that is in the heap: HEAPED */
};

struct rz_pair_queue {
    uint32_t rank, head, tail; /* head RZ_PAIR_NONE: empty; rank RZ_PAIR_NONE: unused slot */
    bool listed;               /* in `ranks`                                               */
};

struct rz_pairs {
    struct rz_pair_node *nodes;
    size_t cap;
    struct rz_pair_queue *queues; /* hashed by rank */
    uint32_t queue_mask, n_queues;
    uint64_t *ranks, *heap; /* ranks with a queue; pairs that came out of order: rank << 32 | node */
    size_t n_ranks, cap_ranks, n_heap, cap_heap;
    bool failed; /* no memory */
};

/* Room for n symbols, n < 2^32 - 2; false: no memory. The caller then sets id and start of each. */
bool rz_pairs_reserve(struct rz_pairs *p, size_t n);
void rz_pairs_free(struct rz_pairs *p);
/* The rank of the pair of nodes a, b (and its token), or RZ_PAIR_NONE. `end`: where b's bytes end. */
typedef uint32_t rz_pair_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                              uint32_t end, int32_t *joined);
/* Merges the n > 0 symbols, whose bytes end at `end`; what is left begins at node 0 and follows `next`.
 * False: no memory. */
bool rz_pairs_merge(struct rz_pairs *p, size_t n, uint32_t end, rz_pair_rank *rank, const void *arg);

#endif

/* pairs.h - merging neighbours by rank: the loop that BPE and SPM share.
 *
 * A row of symbols; again and again the pair of neighbours with the lowest rank becomes one symbol, the
 * leftmost of equals first, until no pair has a rank. O(n log n). The memory belongs to one encoding.
 */
#ifndef RZ_TOKENIZERS_PAIRS_H
#define RZ_TOKENIZERS_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RZ_PAIR_NONE UINT32_MAX

struct rz_pair_node {
    int32_t id;          /* the symbol's token, -1: none               */
    uint32_t start, len; /* its bytes, for those who look pairs up so  */
    uint32_t prev, next; /* neighbours, RZ_PAIR_NONE at the ends       */
    uint32_t rank;       /* of the pair with the next, RZ_PAIR_NONE ... */
    int32_t joined;      /* ... and the token that it becomes          */
};

struct rz_pairs {
    struct rz_pair_node *nodes;
    uint64_t *heap; /* rank << 32 | node */
    size_t cap, queued;
};

/* Room for n symbols, n < 2^32 - 1; false: no memory. The caller then sets id, start and len of each. */
bool rz_pairs_reserve(struct rz_pairs *p, size_t n);
void rz_pairs_free(struct rz_pairs *p);
/* The rank of the pair a, b (and its token), or RZ_PAIR_NONE. */
typedef uint32_t rz_pair_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                              int32_t *joined);
/* Merges the n > 0 symbols; what is left begins at node 0 and follows `next`. */
void rz_pairs_merge(struct rz_pairs *p, size_t n, rz_pair_rank *rank, const void *arg);

#endif

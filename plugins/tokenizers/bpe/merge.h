/* merge.h - the merges of a vocabulary, and the loop that applies them to a word.
 *
 * The lowest rank goes first, the leftmost of equals; a word of n bytes costs O(n log n). The table is
 * read-only once filled.
 */
#ifndef RZ_BPE_MERGE_H
#define RZ_BPE_MERGE_H

#include "../common/pairs.h"

#include <rz/types.h>
#include <stdbool.h>
#include <stddef.h>

/* What a pair becomes: rank << 32 | token. Compares as the rank does. */
#define RZ_NO_MERGE UINT64_MAX

struct rz_merge_slot {
    uint64_t pair; /* left << 32 | right, and 1; 0: empty */
    uint64_t made;
};

struct rz_merges {
    struct rz_merge_slot *slots;
    uint64_t mask, seed;
};

/* Room for n merges; false: no memory. The seed keeps a file from aiming at collisions. */
bool rz_merges_init(struct rz_merges *m, uint32_t n, uint64_t seed);
void rz_merges_free(struct rz_merges *m);
/* Of a pair that is there already the first rank stays. */
void rz_merges_add(struct rz_merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t result);
/* Asks for the memory that add or find will need. */
void rz_merges_hint(const struct rz_merges *m, uint32_t left, uint32_t right);
/* Ids may be -1: nothing merges with those. */
uint64_t rz_merges_find(const struct rz_merges *m, int32_t left, int32_t right);

/* Merges ids[0..n) in place (-1 for a byte without a token: it stands in the way of merges, as it does for
 * others) and returns how many are left; -1: no memory. n < 2^31. */
int64_t rz_merge(const struct rz_merges *m, struct rz_pairs *work, int32_t *ids, size_t n);

#endif

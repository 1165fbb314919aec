/* trie.h - all tokens that begin at a place of a text, byte by byte. Filled once, then read by any thread. */
#ifndef RZ_TOKENIZERS_TRIE_H
#define RZ_TOKENIZERS_TRIE_H

#include <rz/types.h>
#include <stdbool.h>

struct rz_trie_node {
    uint32_t first; /* its children lie side by side, sorted by byte */
    uint16_t count;
    uint8_t byte;
    int32_t id; /* the token that ends here; -1: none */
};

struct rz_trie {
    struct rz_trie_node *nodes; /* 0: the root */
    uint32_t n;
};

/* The texts are looked at only here, empty ones not at all; of equal ones the first stays. ids[i]: the token
 * spelled texts[i]. False: no memory. */
bool rz_trie_init(struct rz_trie *t, const struct rz_str *texts, const uint32_t *ids, uint32_t n);
void rz_trie_free(struct rz_trie *t);

/* The child of node by that byte; 0: there is none. */
static inline uint32_t rz_trie_step(const struct rz_trie *t, uint32_t node, uint8_t byte)
{
    uint32_t lo = t->nodes[node].first, hi = lo + t->nodes[node].count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->nodes[mid].byte == byte)
            return mid;
        if (t->nodes[mid].byte < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

#endif

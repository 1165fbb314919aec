/* fold.h - the plain tokens of a vocabulary as a part of a grammar sees them.
 *
 * Within a string all letters do the same, within a name all digits. A fold is the trie of the plain tokens
 * with the bytes that nothing which a plain text can reach from here tells apart taken as one, and without
 * those that lead nowhere: it has hundreds of nodes where the trie has a hundred thousand, and each of them
 * stands for many tokens. Folds belong to the vocabulary and are shared by all grammars; the ones that were
 * not used for longest give way. Thread-safe.
 */
#ifndef RZ_GRAMMAR_FOLD_H
#define RZ_GRAMMAR_FOLD_H

#include "automaton.h"
#include "trie.h"

#define RZ_FOLD_NOTHING 255 /* the kind of bytes that lead nowhere */

/* In the order of the trie: those below node i are i + 1 up to skip - 1. */
struct rz_fold_node {
    uint32_t skip;
    uint32_t first, n; /* its tokens                                             */
    uint32_t dense;    /* 1 + index of a mask that holds them; 0: they are few   */
    uint16_t depth;    /* 1: the first byte                                      */
    uint8_t byte;      /* one of its kind                                        */
    uint8_t zero;
};

struct rz_fold {
    uint8_t kinds[256];
    struct rz_fold_node *nodes; /* NULL: folding is of no use here */
    int32_t *tokens;
    uint64_t *dense; /* [][n_words] */
    uint32_t n, refs;
    uint64_t size, used;
};

int32_t rz_folds_new(struct rz_folds **out, struct rz_err *err);
void rz_folds_free(struct rz_folds *all);
/* The fold for these kinds of bytes, made where make is set; NULL: there is none, or no memory. Given back
 * with rz_fold_put. */
struct rz_fold *rz_fold_get(const struct rz_trie *t, const uint8_t *kinds, bool make);
void rz_fold_put(const struct rz_trie *t, struct rz_fold *f);

/* Sorts the bytes of plain characters by what the nodes do with them that plain characters can reach from a
 * state. False: there are more than `most` such nodes. */
bool rz_automaton_kinds(struct rz_automaton *a, uint32_t state, uint32_t most, uint8_t *kinds);

#endif

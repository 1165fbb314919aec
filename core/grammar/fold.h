/* fold.h - a vocabulary as a part of a grammar sees it.
 *
 * Within a string all letters do the same, within a name all digits. A fold is the trie in which bytes that
 * nothing tells apart which plain characters (no control characters, quotes, backslashes) can reach from here
 * are taken as one, up to the first other byte, and without what leads nowhere: it has some hundred nodes
 * where the trie has a hundred thousand, and each of them stands for many tokens. Folds belong to the
 * vocabulary and are shared by all grammars; the ones that were not used for longest give way. Thread-safe.
 */
#ifndef RZ_GRAMMAR_FOLD_H
#define RZ_GRAMMAR_FOLD_H

#include "automaton.h"
#include "trie.h"

#define RZ_FOLD_NOTHING 255 /* the kind of bytes that lead nowhere */

/* Places within a character of UTF-8: before it, with 1, 2 or 3 bytes to come, and where the next byte is
 * not just any continuation. */
#define RZ_PLACES 9u
#define RZ_PLACE_NONE 8u

/* The place behind a byte; RZ_PLACE_NONE: plain tokens have no such byte there, and from there on. */
static inline uint32_t rz_place_after(uint32_t place, uint32_t byte)
{
    static const struct {
        uint8_t lo, hi, to;
    } more[] = {{0, 0, 0},       {0x80, 0xbf, 0}, {0x80, 0xbf, 1}, {0x80, 0xbf, 2},
                {0xa0, 0xbf, 1}, {0x80, 0x9f, 1}, {0x90, 0xbf, 2}, {0x80, 0x8f, 2}};
    if (place == RZ_PLACE_NONE)
        return place;
    if (place)
        return byte >= more[place].lo && byte <= more[place].hi ? more[place].to : RZ_PLACE_NONE;
    if (byte < 0x80)
        return rz_nfa_plain(byte) ? 0 : RZ_PLACE_NONE;
    if (byte < 0xc2 || byte > 0xf4)
        return RZ_PLACE_NONE;
    if (byte < 0xe0)
        return 1;
    if (byte < 0xf0)
        return byte == 0xe0 ? 4 : byte == 0xed ? 5 : 2;
    return byte == 0xf0 ? 6 : byte == 0xf4 ? 7 : 3;
}

/* What is told apart: of bytes that begin a character, and of continuations at each place. others: the bytes
 * that may come where plain tokens have none of them. */
struct rz_kinds {
    uint8_t first[256], more[RZ_PLACE_NONE - 1][64];
    struct rz_byteset others;
};

static inline uint8_t rz_kind_of(const struct rz_kinds *k, uint32_t place, uint8_t byte)
{
    return place ? k->more[place - 1][byte & 63] : k->first[byte];
}

/* Nodes are in the order of the trie: those below node i are i + 1 up to skip - 1. What a walk needs lies
 * apart, because a walk is mostly waiting for memory. */
struct rz_fold_step {
    uint32_t skip;
    uint16_t depth; /* 1: the first byte */
    uint8_t byte;   /* one of its kind   */
    uint8_t zero;
};

struct rz_fold_node {
    uint32_t first, n;     /* its tokens; behind them come those below                       */
    uint32_t dense, whole; /* 1 + index of a mask of its tokens, of those below too; 0: none */
};

struct rz_fold {
    struct rz_kinds kinds;
    struct rz_fold_step *steps; /* [n]; NULL: folding is of no use here */
    struct rz_fold_node *nodes; /* [n + 1] */
    uint16_t *deepest;          /* [n] depth of the deepest node of those below, and of itself */
    int32_t *tokens;
    uint64_t *dense; /* [][n_words] */
    uint32_t n, n_dense, refs;
    uint32_t all; /* 1 + index of the mask of all its tokens; 0: none */
    uint64_t size, used;
};

int32_t rz_folds_new(struct rz_folds **out, struct rz_err *err);
void rz_folds_free(struct rz_folds *all);
/* The fold for these kinds of bytes, made where make is set; NULL: there is none, or no memory. Given back
 * with rz_fold_put. */
struct rz_fold *rz_fold_get(const struct rz_trie *t, const struct rz_kinds *kinds, bool make);
void rz_fold_put(const struct rz_trie *t, struct rz_fold *f);

/* Sorts the bytes of plain characters by what the nodes do with them that plain characters can reach from a
 * state. False: there are more than `most` such nodes (and never more than RZ_KINDS_MOST). */
bool rz_automaton_kinds(struct rz_automaton *a, uint32_t state, uint32_t most, struct rz_kinds *out);

#endif

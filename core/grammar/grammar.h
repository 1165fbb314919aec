/* grammar.h - what constrains a generated text, compiled: which tokens may come next, and where it may end.
 *
 * JSON Schema, GBNF and regular expressions become the same rules over bytes (nfa.h), which run as an
 * automaton (automaton.h); the mask of a state is made by walking the vocabulary's trie (trie.h) and kept.
 * A grammar can be used from several threads and by several texts at once. Where a text stands is a small
 * value; after much use a grammar forgets old ones (rz_grammar_fresh) and they are found again by replaying
 * the text.
 */
#ifndef RZ_GRAMMAR_H
#define RZ_GRAMMAR_H

#include "trie.h"

#include <rz/engine.h>

#define RZ_GRAMMAR_TEXT_MAX (1u << 20)

struct rz_grammar;

/* Where a text stands. To go back, keep a copy. */
struct rz_grammar_at {
    uint32_t state; /* 0: not in the language */
    uint32_t generation;
};

#define RZ_GRAMMAR_TOKENS 1u /* some token may come            */
#define RZ_GRAMMAR_ENDS 2u   /* the text may end: its end tokens are in the mask */
#define RZ_GRAMMAR_STALE 4u  /* at is too old                  */
#define RZ_GRAMMAR_SPENT 8u  /* too ambiguous: there is no mask */

/* kind: RZ_GRAMMAR_JSON and those below. trie: what tokens spell, borrowed; NULL: only bytes are asked for.
 * RZ_EFORMAT, RZ_EUNSUPPORTED (with the JSON pointer of a keyword), RZ_ELIMIT, RZ_EINVAL: no text fits. */
int32_t rz_grammar_new(uint32_t kind, const char *text, size_t n, const struct rz_trie *trie,
                       struct rz_grammar **out, struct rz_err *err);
void rz_grammar_ref(struct rz_grammar *g);
/* Frees it with the last reference. NULL is fine. */
void rz_grammar_unref(struct rz_grammar *g);

struct rz_grammar_at rz_grammar_begin(struct rz_grammar *g);
/* False: at is from before the grammar forgot. */
bool rz_grammar_fresh(struct rz_grammar *g, struct rz_grammar_at at);
/* After a token, an end token excepted; false: it is not allowed here, or at is stale. */
bool rz_grammar_token(struct rz_grammar *g, struct rz_grammar_at *at, int32_t token);
/* After some bytes. */
bool rz_grammar_bytes(struct rz_grammar *g, struct rz_grammar_at *at, const char *bytes, size_t n);
/* The text may end here; *over: it must. */
bool rz_grammar_accepts(struct rz_grammar *g, struct rz_grammar_at at, bool *over);
/* Sets the bits of the tokens that may come next in mask[trie->n_words], end tokens included where the text
 * may end; returns RZ_GRAMMAR_*. */
uint32_t rz_grammar_mask(struct rz_grammar *g, struct rz_grammar_at *at, uint64_t *mask);

/* Takes the end tokens out of a mask. */
void rz_grammar_drop_ends(const struct rz_grammar *g, uint64_t *mask);

/* What it has cost so far. */
struct rz_grammar_cost {
    uint32_t rules, nodes, classes;
    uint32_t states, masks_made, masks_found, renewed;
};
void rz_grammar_cost(struct rz_grammar *g, struct rz_grammar_cost *out);

#endif

/* trie.h - the spellings of a vocabulary's tokens, arranged for asking which of them may come next.
 *
 * Made once for a tokenizer and then only read, but for its folds. A token is spelled by the bytes that it
 * adds to a text; those that add none, and those that end a generation, are not there. Tokens of other than
 * the normal kinds are there a second time behind RZ_NFA_CONTROL, so that a grammar can ask for the token
 * itself.
 */
#ifndef RZ_GRAMMAR_TRIE_H
#define RZ_GRAMMAR_TRIE_H

#include "nfa.h"

#include <rz/tokenizer.h>

#define RZ_TRIE_DEPTH_MAX 511

/* Nodes in the order of their bytes: those below node i are i + 1 up to skip - 1. */
struct rz_trie_node {
    uint32_t skip;
    uint32_t tokens; /* first of its tokens; they end where those of the next node begin */
    uint32_t kids;   /* of a node with many children: where they stand in rz_trie.kids; 0: few */
    uint16_t depth;  /* 1: the first byte */
    uint8_t byte;
    uint8_t zero;
};

struct rz_folds;

struct rz_trie {
    uint32_t n_vocab, n_words; /* words: of 64 tokens in a mask */
    uint32_t n_end;
    int32_t end[31];
    struct rz_byteset bytes;    /* that some token is alone */
    struct rz_trie_node *nodes; /* [n + 1] */
    /* Children side by side, because they lie far apart among the nodes: how many, then node << 8 | byte of
     * each. Those of the root are the first. */
    uint32_t *kids;
    int32_t *tokens; /* of the nodes */
    uint32_t n, n_tokens;
    struct rz_folds *folds; /* fold.h */
    /* The spellings, one behind another: of token i from at[i] to at[i + 1] - 1; of special ones as well. */
    char *text;
    uint32_t *at;
    int32_t *special; /* sorted tokens with a spelling of their own behind RZ_NFA_CONTROL */
    uint8_t *normal;  /* [n_vocab] the spelling is what the token adds to a text, without RZ_NFA_CONTROL */
    uint32_t n_special;
};

/* n_vocab: tokens of the model; those that the tokenizer does not know say nothing. */
int32_t rz_trie_new(const struct rz_tokenizer *tokenizer, void *tok, uint32_t n_vocab, struct rz_trie **out,
                    struct rz_err *err);
void rz_trie_free(struct rz_trie *t);
/* The token of a special kind that is spelled like this; -1: there is none. */
int32_t rz_trie_special(const struct rz_trie *t, const char *text, size_t n);
bool rz_trie_is_special(const struct rz_trie *t, int32_t token);

#endif

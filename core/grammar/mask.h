/* mask.h - which tokens may come at a state of an automaton: the vocabulary walked, as a trie or folded.
 *
 * Owns what a walk needs, not the masks. Not thread-safe.
 */
#ifndef RZ_GRAMMAR_MASK_H
#define RZ_GRAMMAR_MASK_H

#include "automaton.h"
#include "trie.h"

struct rz_masker {
    struct rz_automaton *automaton;
    const struct rz_trie *trie;
    const uint16_t *rows[RZ_TRIE_DEPTH_MAX + 2]; /* of the states along the trie */
    uint32_t *reached; /* nodes of a fold, of which there are fewer than half of the trie's */
    uint32_t deepest;  /* that the last walk looked at */
};

int32_t rz_masker_init(struct rz_masker *m, struct rz_automaton *a, const struct rz_trie *t,
                       struct rz_err *err);
void rz_masker_free(struct rz_masker *m);
/* Sets the bits of the tokens that may come at a state in mask[trie->n_words], and clears the others. Returns
 * how many bytes of a token were looked at at most: longer texts had no influence. */
uint32_t rz_mask_fill(struct rz_masker *m, uint32_t state, uint64_t *mask);
/* Makes the mask of a state from one of a state that does the same with `same` bytes: only longer tokens are
 * looked at. False: that cannot be done, and mask is as it was. */
bool rz_mask_patch(struct rz_masker *m, uint32_t state, uint32_t same, uint64_t *mask);

#endif

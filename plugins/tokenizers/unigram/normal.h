/* normal.h - a SentencePiece normalisation map: spellings and what each becomes, in one compact trie.
 *
 * The map's bytes are borrowed from the metadata and never trusted: every index is checked, a spelling has at
 * most 256 bytes, and what is not in the map stays as it is. Read-only, any thread. */
#ifndef RZ_UNIGRAM_NORMAL_H
#define RZ_UNIGRAM_NORMAL_H

#include <rz/types.h>
#include <stddef.h>

struct rz_normal {
    const char *units; /* n_units little-endian 32-bit entries */
    uint64_t n_units;
    const char *texts; /* replacements, each with a NUL at its end */
    uint64_t texts_len;
};

/* n = 0: no map. */
int32_t rz_normal_init(struct rz_normal *m, const char *data, uint64_t n, struct rz_err *err);
/* What the longest known spelling at text[0..n), n > 0, becomes; *used: its length, 0: there is none. */
struct rz_str rz_normal_find(const struct rz_normal *m, const char *text, size_t n, size_t *used);

#endif

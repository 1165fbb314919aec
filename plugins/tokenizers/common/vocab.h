/* vocab.h - what every tokenizer reads from the metadata: tokens, their kinds, the special ids.
 *
 * Owns the maps and the kinds; the spellings stay in the metadata. Every id that it hands out is inside
 * the vocabulary. Read-only after rz_vocab_load, so any thread may use it.
 */
#ifndef RZ_TOKENIZERS_VOCAB_H
#define RZ_TOKENIZERS_VOCAB_H

#include "added.h"
#include "ids.h"

#include <rz/tokenizer.h>

#define RZ_TOKEN_BYTES_MAX 65536u /* longest spelling of a token */

struct rz_vocab {
    uint32_t n;
    uint32_t longest;          /* bytes of the longest spelling                     */
    const struct rz_str *text; /* n spellings, borrowed from the metadata           */
    uint8_t *kind;             /* n RZ_TOKEN_*                                      */
    struct rz_token_ids ids;   /* of spellings, without empty ones                  */
    struct rz_added added;     /* those that are found as they are spelled          */
    struct rz_tokenizer_info info;
};

/* What differs between the kinds of vocabulary when the metadata says nothing. -1: none. */
struct rz_vocab_defaults {
    int32_t bos, eos, unk;
    bool add_bos, add_eos;
};

/* On failure everything is freed. The metadata must outlive the vocabulary. */
int32_t rz_vocab_load(struct rz_vocab *v, const struct rz_format_model *meta,
                      const struct rz_vocab_defaults *defaults, struct rz_err *err);
void rz_vocab_free(struct rz_vocab *v);
/* Fills what the caller's struct has room for. */
int32_t rz_vocab_info(const struct rz_vocab *v, struct rz_tokenizer_info *out);
int64_t rz_vocab_piece(const struct rz_vocab *v, int32_t id, char *out, uint64_t cap);
/* The token spelled so, of whatever kind. */
bool rz_vocab_find(const struct rz_vocab *v, const char *text, size_t n, uint32_t *id);
int32_t rz_vocab_kind(const struct rz_vocab *v, int32_t id);
/* Whether the token is a control token by its kind, its use or its spelling (rz/tokenizer.h, encode_marked).
 * No text gives one but by its spelling, where that may stand: never by merging. */
bool rz_vocab_guarded(const struct rz_vocab *v, uint32_t id);

/* The output of an encoding: counts on when the caller's array is full. */
struct rz_ids {
    int32_t *ids;
    uint64_t cap, n;
};

static inline void rz_ids_add(struct rz_ids *o, int32_t id)
{
    if (o->n < o->cap)
        o->ids[o->n] = id;
    o->n++;
}

/* The bytes of a token to the caller's buffer, if they fit; returns len. */
int64_t rz_bytes_out(const char *bytes, uint64_t len, char *out, uint64_t cap);

#endif

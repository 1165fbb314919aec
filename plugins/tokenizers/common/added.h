/* added.h - the tokens that are taken from a text as they are spelled, before anything else is done to it:
 * control and user-defined ones, and how each of them wants to be found.
 *
 * GGUF says nothing about the latter: it follows from the model, as in the programs that made these files
 * common. Folders say it, in a key of ours: pairs of id and RZ_ADDED_*. Filled once, then read by any thread.
 */
#ifndef RZ_TOKENIZERS_ADDED_H
#define RZ_TOKENIZERS_ADDED_H

#include "special.h"

#include <rz/format.h>

#define RZ_ADDED_KEY "tokenizer.rz.added_tokens"
#define RZ_ADDED_LSTRIP 1u  /* white space before it goes                                        */
#define RZ_ADDED_RSTRIP 2u  /* and after it                                                      */
#define RZ_ADDED_WORD 4u    /* not beside a letter, digit or other character of a word           */
#define RZ_ADDED_NORMAL 8u  /* looked for in what the others leave over, after it is normalised  */
#define RZ_ADDED_MERGED 16u /* merging gives it as well: it is in the vocabulary of the model, too    */
#define RZ_ADDED_ALL 31

struct rz_vocab;

/* Tokens looked for in texts: those of users, and with RZ_ENCODE_SPECIAL control tokens too. */
struct rz_added_set {
    struct rz_special user, all;
};

struct rz_added {
    uint8_t *flags; /* by id, RZ_ADDED_* */
    struct rz_added_set raw, normal;
};

/* Of a vocabulary whose tokens, kinds and ids are known, into v->added. */
int32_t rz_added_load(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err);
void rz_added_free(struct rz_added *a);

static inline const struct rz_special *rz_added_pick(const struct rz_added_set *s, uint32_t encode_flags)
{
    return encode_flags & RZ_ENCODE_SPECIAL ? &s->all : &s->user;
}

#endif

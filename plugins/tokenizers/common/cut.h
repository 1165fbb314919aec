/* cut.h - cuts a text at the tokens that are spelled in it; what lies between goes to a tokenizer. */
#ifndef RZ_TOKENIZERS_CUT_H
#define RZ_TOKENIZERS_CUT_H

#include "vocab.h"

/* `text` gets the stretches between, which lie in in->text; first is true at the beginning and after each
 * token. A negative status of it ends the walk. */
struct rz_cut {
    const struct rz_vocab *vocab;
    const struct rz_marked_text *in;
    struct rz_ids *out;
    int32_t (*text)(void *arg, const char *text, size_t n, bool first);
    void *arg;
    bool normal_apart; /* tokens of the normalised text are found by the tokenizer, with rz_cut_at */
};

/* Whether the plain stretches are as they must be. */
int32_t rz_cut_check(const struct rz_marked_text *in, struct rz_err *err);
/* The whole: begin and end of sequence as the flags say, and all tokens that are spelled. */
int32_t rz_cut(const struct rz_cut *c);
/* Only at the tokens of one set. */
int32_t rz_cut_at(const struct rz_cut *c, const struct rz_special *set);
/* Whether a plain stretch touches in->text[begin..end). */
bool rz_cut_is_plain(const struct rz_marked_text *in, size_t begin, size_t end);

#endif

/* tok.h - what the plugins share: the calls that only need the vocabulary, bytes spelled <0xXX>, and the
 * decoding of tokens that spell a space as U+2581. A tokenizer's struct begins with its struct rz_vocab. */
#ifndef RZ_TOKENIZERS_TOK_H
#define RZ_TOKENIZERS_TOK_H

#include "vocab.h"

#include <rz/plugin.h>

#define RZ_SPACE "\342\226\201" /* U+2581 stands for a space */
#define RZ_SPACE_LEN 3u

int32_t rz_tok_init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err);
int32_t rz_tok_info(void *tok, struct rz_tokenizer_info *out);
int64_t rz_tok_piece(void *tok, int32_t id, char *out, uint64_t cap);
int32_t rz_tok_kind(void *tok, int32_t id);

/* The byte that a token spelled <0xXX> stands for; -1: it is spelled otherwise. */
int rz_byte_of(struct rz_str s);
/* The tokens of single bytes (-1: none) to byte_id[256]; their kind becomes RZ_TOKEN_BYTE. */
int32_t rz_byte_tokens(struct rz_vocab *v, int32_t *byte_id, struct rz_err *err);

/* rz_tokenizer.decode for such vocabularies. strip: the space before the first word is not given.
 * priv[0] = 1: all tokens so far gave nothing, so the text has not begun. A caller that goes on with a
 * text that it decoded elsewhere sets n_tokens, and the space before the first word stays. */
int64_t rz_tok_decode(const struct rz_vocab *v, struct rz_decode_state *state, int32_t id, uint32_t flags,
                      bool strip, char *out, uint64_t cap);

#endif

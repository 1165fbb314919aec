/* tok.h - what the plugins share: the calls that only need the vocabulary, bytes spelled <0xXX>, and the
 * decoding of tokens that spell a space as U+2581. A tokenizer's struct begins with its struct rz_vocab. */
#ifndef RZ_TOKENIZERS_TOK_H
#define RZ_TOKENIZERS_TOK_H

#include "cut.h"

#include <rz/plugin.h>

#define RZ_SPACE "\342\226\201" /* U+2581 stands for a space */
#define RZ_SPACE_LEN 3u

int32_t rz_tok_init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err);
int32_t rz_tok_info(void *tok, struct rz_tokenizer_info *out);
int64_t rz_tok_piece(void *tok, int32_t id, char *out, uint64_t cap);
int32_t rz_tok_kind(void *tok, int32_t id);

/* The end of a plugin: its table and its header, from the functions probe, create, destroy, encode (that of
 * encode_marked) and decode of the file. */
#define RZ_TOKENIZER_PLUGIN(NAME, MODEL) \
    static int32_t encode_plain(void *tok, const char *text, uint64_t n, uint32_t flags, int32_t *ids, \
                                uint64_t cap, uint64_t *n_ids, struct rz_err *err) \
    { \
        struct rz_marked_text in = {.size = sizeof(in), .flags = flags, .text = text, .n = n}; \
        return encode(tok, &in, ids, cap, n_ids, err); \
    } \
    static int32_t encode_marked(void *tok, const struct rz_marked_text *in, int32_t *ids, uint64_t cap, \
                                 uint64_t *n_ids, struct rz_err *err) \
    { \
        int32_t status = rz_cut_check(in, err); \
        *n_ids = 0; \
        return status ? status : encode(tok, in, ids, cap, n_ids, err); \
    } \
    static const struct rz_tokenizer tokenizer = { \
        .size = sizeof(tokenizer), \
        .name = NAME, \
        .probe = probe, \
        .create = create, \
        .destroy = destroy, \
        .info = rz_tok_info, \
        .encode = encode_plain, \
        .piece = rz_tok_piece, \
        .decode = decode, \
        .kind = rz_tok_kind, \
        .encode_marked = encode_marked, \
    }; \
    static const void *query(void *self, const char *id, uint32_t minor_need) \
    { \
        (void)self; \
        return !strcmp(id, RZ_TOKENIZER_1) && minor_need <= tokenizer.minor ? &tokenizer : NULL; \
    } \
    RZ_PLUGIN_DEFINE = { \
        .header = {RZ_HEADER(RZ_KIND_TOKENIZER), .name = NAME, .version = "0.1.0", .vendor = "rz", \
                   .licence = "MIT", .provides = "tokenizer:" MODEL}, \
        .option_stride = sizeof(struct rz_option), \
        .init = rz_tok_init, \
        .query = query, \
    }

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

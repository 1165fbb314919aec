/* tokenizer.h - rz.tokenizer/1: text to token ids and back.
 */
#ifndef RZ_TOKENIZER_H
#define RZ_TOKENIZER_H

#include <rz/format.h>
#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_TOKENIZER_1 "rz.tokenizer/1"

/* encode flags */
#define RZ_ENCODE_SPECIAL 1u /* special tokens spelled in the text become their ids */
#define RZ_ENCODE_BOS 2u     /* begin of sequence first                             */
#define RZ_ENCODE_EOS 4u     /* end of sequence last                                */

/* token kinds (GGUF token_type) */
#define RZ_TOKEN_NORMAL 1
#define RZ_TOKEN_UNKNOWN 2
#define RZ_TOKEN_CONTROL 3
#define RZ_TOKEN_USER 4
#define RZ_TOKEN_UNUSED 5
#define RZ_TOKEN_BYTE 6

/* decode flags */
#define RZ_DECODE_SPECIAL 1u /* control tokens give their spelling instead of nothing */

struct rz_tokenizer_info {
    uint32_t size;
    uint32_t n_vocab;
    int32_t bos, eos, unk, pad; /* -1: none */
    uint32_t add_bos, add_eos;  /* what the model wants at the ends of a prompt */
    uint32_t n_end;             /* tokens that end a generation: eos, eot, ...  */
    int32_t end[31];
};
RZ_ABI_SIZE(struct rz_tokenizer_info, 160, end);

/* Where a text stands while it is decoded token by token; zero it to begin. */
struct rz_decode_state {
    uint32_t size;
    uint32_t n_tokens; /* decoded so far */
    uint8_t priv[24];
};
RZ_ABI_SIZE(struct rz_decode_state, 32, priv);

/* A stretch of a text: the bytes from begin to end - 1. */
struct rz_span {
    uint64_t begin, end;
};
RZ_ABI_SIZE(struct rz_span, 16, end);

/* A text of which some stretches come from outside and may not name control tokens, as the messages inside a
 * chat template's output. */
struct rz_marked_text {
    uint32_t size;
    uint32_t flags; /* RZ_ENCODE_* */
    const char *text;
    uint64_t n;
    const struct rz_span *plain; /* n_plain stretches in ascending order, none inside another */
    uint64_t n_plain;
};
RZ_ABI_SIZE(struct rz_marked_text, 40, n_plain);

struct rz_tokenizer {
    uint32_t size, minor;
    const char *name; /* "bpe" */
    /* 0..100 for this metadata (tokenizer.ggml.model and friends). Never an error. */
    int32_t (*probe)(void *self, const struct rz_format_model *meta);
    /* Builds a tokenizer from the metadata, which outlives it. pre overrides tokenizer.ggml.pre when
     * not NULL. Errors name the key and index. Control thread. */
    int32_t (*create)(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err);
    void (*destroy)(void *tok);
    int32_t (*info)(void *tok, struct rz_tokenizer_info *out);
    /* Encodes n bytes. Writes at most cap ids and sets *n_ids to the number needed, which may exceed
     * cap (then call again). n + 3 is nearly always enough. Any byte string is
     * accepted. Any thread, concurrently. */
    int32_t (*encode)(void *tok, const char *text, uint64_t n, uint32_t flags, int32_t *ids, uint64_t cap,
                      uint64_t *n_ids, struct rz_err *err);
    /* The bytes of token id as it is spelled in the vocabulary's own text, for people and for
     * searching special tokens. Returns the bytes needed; negative: no such id. Any thread. */
    int64_t (*piece)(void *tok, int32_t id, char *out, uint64_t cap);
    /* Appends the bytes that token id adds to the text. Returns the bytes needed (if above cap, nothing
     * was written and state is unchanged). The bytes may be part of a UTF-8 character. Any thread. */
    int64_t (*decode)(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                      uint64_t cap);
    /* RZ_TOKEN_*; negative: no such id. Any thread. */
    int32_t (*kind)(void *tok, int32_t id);
    /* encode for a marked text: the ids of encode with these flags, except that no spelling that touches a
     * plain stretch is taken for a control token: neither one of that kind, nor the begin, end, unknown or
     * padding token or one that ends a generation, nor one spelled <|...|>. Such a spelling is ordinary text.
     * Stretches out of order or outside the text are RZ_EINVAL. NULL in tables of 80 bytes. */
    int32_t (*encode_marked)(void *tok, const struct rz_marked_text *text, int32_t *ids, uint64_t cap,
                             uint64_t *n_ids, struct rz_err *err);
};
RZ_ABI_SIZE(struct rz_tokenizer, 88, encode_marked);

#ifdef __cplusplus
}
#endif
#endif

/* char.c - rz.tokenizer/1 for vocabularies of characters or bytes (`tokenizer.ggml.model` = char).
 *
 * Each character of a text is the token spelled so, a space also the one spelled U+2581; where there is none,
 * each of its bytes is the token <0xXX>, or the whole is the unknown token. Read-only after create; an
 * encoding needs no memory.
 */
#include "../common/meta.h"
#include "../common/tok.h"
#include "err.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

struct chars {
    struct rz_vocab vocab;
    int32_t byte_id[256]; /* -1: none */
};

struct job {
    const struct chars *t;
    struct rz_ids *out;
};

static int32_t find(const struct chars *t, const char *text, size_t n)
{
    uint32_t id;
    if (rz_vocab_find(&t->vocab, text, n, &id) && t->vocab.kind[id] == RZ_TOKEN_NORMAL)
        return (int32_t)id;
    if (n == 1 && *text == ' ' && rz_vocab_find(&t->vocab, RZ_SPACE, RZ_SPACE_LEN, &id) &&
        !rz_vocab_guarded(&t->vocab, id))
        return (int32_t)id;
    return -1;
}

static void add_bytes(struct job *j, const char *bytes, size_t n)
{
    bool unknown = false;
    for (size_t i = 0; i < n; i++)
        unknown |= j->t->byte_id[(unsigned char)bytes[i]] < 0;
    if (unknown && j->t->vocab.info.unk >= 0)
        rz_ids_add(j->out, j->t->vocab.info.unk);
    for (size_t i = 0; i < n && !unknown; i++)
        rz_ids_add(j->out, j->t->byte_id[(unsigned char)bytes[i]]);
}

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    (void)first;
    for (size_t at = 0, len; at < n; at += len) {
        uint32_t cp;
        len = rz_utf8_decode(text + at, n - at, &cp);
        len = len ? len : 1;
        int32_t id = find(j->t, text + at, len);
        if (id >= 0)
            rz_ids_add(j->out, id);
        else
            add_bytes(j, text + at, len);
    }
    return RZ_OK;
}

static int32_t encode(void *tok, const struct rz_marked_text *in, int32_t *ids, uint64_t cap, uint64_t *n_ids,
                      struct rz_err *err)
{
    struct rz_ids out = {.ids = ids, .cap = cap};
    struct job j = {tok, &out};
    struct rz_cut cut = {.vocab = tok, .in = in, .out = &out, .text = encode_text, .arg = &j};
    (void)err;
    int32_t status = rz_cut(&cut);
    *n_ids = out.n;
    return status;
}

static int64_t decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                      uint64_t cap)
{
    return rz_tok_decode(tok, state, id, flags, false, out, cap);
}

static void destroy(void *tok)
{
    struct chars *t = tok;
    if (t)
        rz_vocab_free(&t->vocab);
    free(t);
}

static int32_t create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err)
{
    static const struct rz_vocab_defaults defaults = {.bos = -1, .eos = -1, .unk = -1};
    (void)self;
    (void)pre; /* a text is not cut into words */
    *tok = NULL;
    struct chars *t = calloc(1, sizeof(*t));
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for a tokenizer");
    int32_t status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    if (!status)
        status = rz_byte_tokens(&t->vocab, t->byte_id, err);
    if (status)
        destroy(t);
    else
        *tok = t;
    return status;
}

static int32_t probe(void *self, const struct rz_format_model *meta)
{
    (void)self;
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "char") ? 100 : 0;
}

RZ_TOKENIZER_PLUGIN("char", "char");

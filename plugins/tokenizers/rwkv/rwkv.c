/* rwkv.c - rz.tokenizer/1 for RWKV's vocabularies (`tokenizer.ggml.model` = rwkv).
 *
 * At each place the longest token wins. The file spells tokens with \t \n \r \xNN and \C for any other
 * character C; that is undone at load. Read-only after create; an encoding needs no memory.
 */
#include "../common/meta.h"
#include "../common/tok.h"
#include "../common/trie.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

struct rwkv {
    struct rz_vocab vocab;
    struct rz_trie trie;
    struct rz_str *text; /* the bytes of each token, in `bytes` */
    char *bytes;
};

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* Undoes the spelling (room for s.len); the bytes written, -1: it ends inside an escape. */
static int64_t unescape(struct rz_str s, char *out)
{
    int64_t n = 0;
    for (uint64_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '\\') {
            if (++i == s.len)
                return -1;
            c = s.data[i];
            int high = c == 'x' && s.len - i > 2 ? hex(s.data[i + 1]) : -1;
            int low = high >= 0 ? hex(s.data[i + 2]) : -1;
            if (c == 'x' && low < 0)
                return -1;
            i += c == 'x' ? 2 : 0;
            c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'x' ? (char)(high * 16 + low) : c;
        }
        out[n++] = c;
    }
    return n;
}

static int32_t load_tokens(struct rwkv *t, struct rz_err *err)
{
    const struct rz_vocab *v = &t->vocab;
    uint64_t total = 1, at = 0;
    for (uint32_t i = 0; i < v->n; i++)
        total += v->text[i].len;
    uint32_t *ids = malloc(v->n * sizeof(*ids)), n = 0;
    struct rz_str *matched = malloc(v->n * sizeof(*matched));
    t->text = malloc(v->n * sizeof(*t->text));
    t->bytes = malloc(total);
    int32_t status = ids && matched && t->text && t->bytes ? RZ_OK : RZ_ENOMEM;
    for (uint32_t i = 0; i < v->n && !status; i++) {
        bool plain = v->kind[i] == RZ_TOKEN_NORMAL || v->kind[i] == RZ_TOKEN_BYTE;
        int64_t len = plain ? unescape(v->text[i], t->bytes + at) : 0;
        if (len < 0)
            status = rz_fail(err, RZ_EFORMAT, "key tokenizer.ggml.tokens",
                             "token %u ends inside a \\ escape, or has \\x without two digits", i);
        t->text[i] = plain ? (struct rz_str){t->bytes + at, (uint64_t)len} : v->text[i];
        at += (uint64_t)len;
        if (plain && len > 0) {
            matched[n] = t->text[i];
            ids[n++] = i;
        }
    }
    if (!status && !rz_trie_init(&t->trie, matched, ids, n))
        status = RZ_ENOMEM;
    free(ids);
    free(matched);
    return status == RZ_ENOMEM ? rz_fail(err, status, "vocabulary", "no memory for %u tokens", v->n) : status;
}

struct job {
    const struct rwkv *t;
    struct rz_ids *out;
};

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    (void)first;
    for (size_t at = 0; at < n;) {
        size_t len = 1;
        int32_t id = j->t->vocab.info.unk;
        uint32_t node = 0;
        for (size_t i = at; i < n && (node = rz_trie_step(&j->t->trie, node, (uint8_t)text[i])); i++)
            if (j->t->trie.nodes[node].id >= 0) {
                id = j->t->trie.nodes[node].id;
                len = i + 1 - at;
            }
        if (id >= 0)
            rz_ids_add(j->out, id);
        at += len;
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
    const struct rwkv *t = tok;
    int32_t kind = rz_vocab_kind(&t->vocab, id);
    if (kind < 0)
        return kind;
    bool shown = (kind != RZ_TOKEN_CONTROL && kind != RZ_TOKEN_UNKNOWN) || flags & RZ_DECODE_SPECIAL;
    uint64_t len = shown ? t->text[id].len : 0;
    if (state && len <= cap)
        state->n_tokens++;
    return rz_bytes_out(t->text[id].data, len, out, cap);
}

static void destroy(void *tok)
{
    struct rwkv *t = tok;
    if (!t)
        return;
    rz_vocab_free(&t->vocab);
    rz_trie_free(&t->trie);
    free(t->text);
    free(t->bytes);
    free(t);
}

static int32_t create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err)
{
    static const struct rz_vocab_defaults defaults = {.bos = -1, .eos = -1, .unk = -1};
    (void)self;
    (void)pre; /* a text is not cut into words */
    *tok = NULL;
    struct rwkv *t = calloc(1, sizeof(*t));
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for a tokenizer");
    int32_t status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    if (!status)
        status = load_tokens(t, err);
    if (status)
        destroy(t);
    else
        *tok = t;
    return status;
}

static int32_t probe(void *self, const struct rz_format_model *meta)
{
    (void)self;
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "rwkv") ? 100 : 0;
}

RZ_TOKENIZER_PLUGIN("rwkv", "rwkv");

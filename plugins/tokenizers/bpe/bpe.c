/* bpe.c - rz.tokenizer/1 for byte-level BPE (`tokenizer.ggml.model` = gpt2).
 *
 * The file spells each byte of a token as one printable character (GPT-2's table). That is undone at
 * load, so that encoding and decoding work on plain bytes and any byte string has ids. A tokenizer is
 * read-only after create; each encoding has its own memory.
 */
#include "../common/meta.h"
#include "../common/tok.h"
#include "err.h"
#include "merge.h"
#include "split.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MERGES "tokenizer.ggml.merges"

struct bpe {
    struct rz_vocab vocab;
    struct rz_merges merges;
    struct rz_splitter splitter;
    int32_t byte_id[256]; /* the token of a single byte; -1: none */
    uint32_t *starts;     /* n + 1 offsets of the tokens' bytes    */
    char *bytes;
};

/* The character that spells byte b: itself where it is printable Latin-1, else the next from U+0100 on. */
static uint32_t byte_spelling(unsigned b)
{
    if (b < 33)
        return 256 + b;
    if (b >= 127 && b <= 160)
        return 256 + 33 + b - 127;
    return b == 173 ? 256 + 33 + 34 : b;
}

/* The byte that character cp spells; -1: none. */
static int spelled_byte(uint32_t cp)
{
    if (cp >= 256 && cp < 256 + 68)
        return cp < 289 ? (int)cp - 256 : cp < 323 ? (int)cp - 289 + 127 : 173;
    return cp < 256 && byte_spelling(cp) == cp ? (int)cp : -1;
}

/* The bytes that a token stands for (room for s.len); a token with other characters stands for itself. */
static size_t spelled_bytes(struct rz_str s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        size_t len = rz_utf8_decode(s.data + i, s.len - i, &cp);
        int byte = len ? spelled_byte(cp) : -1;
        if (byte < 0) {
            memcpy(out, s.data, s.len);
            return s.len;
        }
        out[n++] = (char)byte;
        i += len;
    }
    return n;
}

/* The other way round, to out (room for 2n). */
static size_t spell(const char *bytes, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += rz_utf8_encode(byte_spelling((unsigned char)bytes[i]), out + len);
    return len;
}

static int32_t load_bytes(struct bpe *t, struct rz_err *err)
{
    const struct rz_vocab *v = &t->vocab;
    uint64_t total = 0, at = 0;
    for (uint32_t i = 0; i < v->n; i++)
        total += v->text[i].len;
    if (total > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "key tokenizer.ggml.tokens",
                       "the tokens take %llu bytes (limit 4 GiB)", (unsigned long long)total);
    t->starts = malloc(((size_t)v->n + 1) * sizeof(*t->starts));
    t->bytes = malloc(total ? total : 1);
    if (!t->starts || !t->bytes)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %llu bytes of tokens",
                       (unsigned long long)total);
    for (uint32_t i = 0; i < v->n; i++) {
        t->starts[i] = (uint32_t)at;
        if (v->kind[i] == RZ_TOKEN_NORMAL || v->kind[i] == RZ_TOKEN_BYTE) {
            at += spelled_bytes(v->text[i], t->bytes + at);
        } else if (v->kind[i] != RZ_TOKEN_UNUSED) {
            memcpy(t->bytes + at, v->text[i].data, v->text[i].len);
            at += v->text[i].len;
        }
    }
    t->starts[v->n] = (uint32_t)at;
    for (unsigned b = 0; b < 256; b++) {
        char byte = (char)b, text[2];
        uint32_t id;
        size_t len = spell(&byte, 1, text);
        t->byte_id[b] = rz_map_get(&v->ids, text, len, &id) ? (int32_t)id : -1;
    }
    return RZ_OK;
}

static int32_t bad_merge(struct rz_err *err, uint64_t i, struct rz_str s, const char *what)
{
    char where[80], shown[100];
    snprintf(where, sizeof(where), "key " MERGES "[%llu]", (unsigned long long)i);
    return rz_fail(err, RZ_EFORMAT, where, "\"%s\": %s", rz_show(shown, sizeof(shown), s.data, s.len), what);
}

/* Resolves "LEFT RIGHT" to the ids of both and of what they become. *next: the id after the last result,
 * which is mostly the one wanted, as most vocabularies list their tokens in the order of the merges. */
static int32_t load_merge(struct bpe *t, uint32_t rank, struct rz_str s, char *joined, uint32_t *next,
                          struct rz_err *err)
{
    const struct rz_vocab *v = &t->vocab;
    const char *space = s.len > 2 ? memchr(s.data + 1, ' ', s.len - 1) : NULL;
    if (!space)
        return bad_merge(err, rank, s, "a merge must be two tokens with a space between");
    size_t left = (size_t)(space - s.data), right = s.len - left - 1;
    uint32_t a, b, ab = *next;
    if (!rz_map_get(&v->ids, s.data, left, &a))
        return bad_merge(err, rank, s, "its left side is no token");
    if (!rz_map_get(&v->ids, space + 1, right, &b))
        return bad_merge(err, rank, s, "its right side is no token");
    memcpy(joined, s.data, left); /* both are tokens: at most twice the longest */
    memcpy(joined + left, space + 1, right);
    bool guessed =
        ab < v->n && v->text[ab].len == left + right && !memcmp(v->text[ab].data, joined, left + right);
    if (!guessed && !rz_map_get(&v->ids, joined, left + right, &ab))
        return bad_merge(err, rank, s, "what it makes is no token");
    if (!rz_vocab_guarded(v, ab))
        rz_merges_add(&t->merges, a, b, rank, ab);
    *next = ab + 1;
    return RZ_OK;
}

static int32_t load_merges(struct bpe *t, const struct rz_format_model *meta, struct rz_err *err)
{
    const void *data = NULL;
    uint64_t n = 0;
    int32_t status = rz_meta_get_array(meta, MERGES, RZ_META_STR, &data, &n, err);
    if (status < 0)
        return status;
    if (!status)
        return rz_fail(err, RZ_EFORMAT, "key " MERGES, "it is missing; a BPE vocabulary needs it");
    if (n >= INT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "key " MERGES, "%llu merges are too many", (unsigned long long)n);
    char *joined = malloc(2 * (size_t)t->vocab.longest + 1);
    if (!joined || !rz_merges_init(&t->merges, (uint32_t)n, t->vocab.ids.seed)) {
        free(joined);
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %llu merges", (unsigned long long)n);
    }
    status = RZ_OK;
    for (uint32_t i = 0, next = 0; i < n && !status; i++)
        status = load_merge(t, i, ((const struct rz_str *)data)[i], joined, &next, err);
    free(joined);
    return status;
}

static int32_t find_rule(const struct rz_format_model *meta, const char *pre,
                         const struct rz_split_rule **rule, struct rz_err *err)
{
    struct rz_str name = {pre, pre ? strlen(pre) : 0};
    char shown[400];
    int32_t status = pre ? 1 : rz_meta_get_str(meta, "tokenizer.ggml.pre", &name, err);
    if (status < 0)
        return status;
    const char *known =
        "set [tokenizer] pre = NAME to force one: default, gpt-2, llama-bpe, qwen2, gpt-4o ...";
    if (!status)
        return rz_fail(err, RZ_EUNSUPPORTED, "key tokenizer.ggml.pre",
                       "it is missing, so how to cut a text into words is unknown (%s)", known);
    *rule = rz_split_find(name);
    if (!*rule)
        return rz_fail(err, RZ_EUNSUPPORTED, "key tokenizer.ggml.pre", "no such pre-tokenizer: \"%s\" (%s)",
                       rz_show(shown, sizeof(shown), name.data, name.len), known);
    return RZ_OK;
}

static void destroy(void *tok)
{
    struct bpe *t = tok;
    if (!t)
        return;
    rz_splitter_free(&t->splitter);
    rz_merges_free(&t->merges);
    rz_vocab_free(&t->vocab);
    free(t->starts);
    free(t->bytes);
    free(t);
}

static int32_t load(struct bpe *t, const struct rz_format_model *meta, const char *pre, struct rz_err *err)
{
    const struct rz_split_rule *rule;
    int32_t status = find_rule(meta, pre, &rule, err);
    if (status)
        return status;
    const struct rz_vocab_defaults defaults = {.bos = -1, .eos = -1, .unk = -1, .add_bos = rule->add_bos};
    status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    if (!status)
        status = load_bytes(t, err);
    if (!status)
        status = load_merges(t, meta, err);
    if (!status)
        status = rz_splitter_init(&t->splitter, rule, err);
    if (!status && !rule->whole_words) /* the spellings are not needed again */
        rz_map_free(&t->vocab.ids);
    return status;
}

static int32_t create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err)
{
    (void)self;
    *tok = NULL;
    struct bpe *t = calloc(1, sizeof(*t));
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for a tokenizer");
    int32_t status = load(t, meta, pre, err);
    if (status) {
        destroy(t);
        return status;
    }
    *tok = t;
    return RZ_OK;
}

static int32_t probe(void *self, const struct rz_format_model *meta)
{
    (void)self;
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "gpt2") ? 100 : 0;
}

/* A word of the text at hand and its ids. */
#define SEEN 8192u /* words that are remembered during an encoding, each at one place only */
#define SEEN_BYTES 32u
#define SEEN_IDS 6u
#define SEEN_WORTH 2048u /* bytes of a text from which on it pays */

struct seen {
    const char *word; /* in the text */
    uint32_t len, n;
    int32_t ids[SEEN_IDS];
};

/* One encoding. */
struct job {
    const struct bpe *bpe;
    struct rz_ids *out;
    struct rz_pairs pairs;
    int32_t *word;     /* ids of the word at hand; room for the whole text */
    char *spelled;     /* whole_words: 2 * longest bytes                   */
    struct seen *seen; /* NULL: the text is short */
};

/* The token that is this word; -1: none. */
static int32_t whole_word(struct job *j, const char *bytes, size_t n)
{
    const struct rz_vocab *v = &j->bpe->vocab;
    uint32_t id;
    if (n > v->longest || !rz_map_get(&v->ids, j->spelled, spell(bytes, n, j->spelled), &id))
        return -1;
    return v->kind[id] == RZ_TOKEN_NORMAL ? (int32_t)id : -1;
}

static int32_t merge_word(struct job *j, const char *bytes, size_t n)
{
    if (j->spelled) {
        int32_t id = whole_word(j, bytes, n);
        if (id >= 0) {
            rz_ids_add(j->out, id);
            return RZ_OK;
        }
    }
    for (size_t i = 0; i < n; i++)
        j->word[i] = j->bpe->byte_id[(unsigned char)bytes[i]];
    int64_t count = rz_merge(&j->bpe->merges, &j->pairs, j->word, n);
    if (count < 0)
        return RZ_ENOMEM;
    for (int64_t i = 0; i < count; i++)
        if (j->word[i] >= 0)
            rz_ids_add(j->out, j->word[i]);
    return RZ_OK;
}

static struct seen *seen_at(const struct job *j, const char *bytes, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, w;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&w, bytes + i, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    w = 0;
    memcpy(&w, bytes + i, n - i);
    h = (h ^ w) * 0x9e3779b97f4a7c15u;
    return &j->seen[(h >> 40) % SEEN];
}

static int32_t encode_word(void *arg, const char *bytes, size_t n)
{
    struct job *j = arg;
    if (!j->seen || n > SEEN_BYTES)
        return merge_word(j, bytes, n);
    struct seen *s = seen_at(j, bytes, n);
    if (s->len == n && !memcmp(s->word, bytes, n)) {
        for (uint32_t i = 0; i < s->n; i++)
            rz_ids_add(j->out, s->ids[i]);
        return RZ_OK;
    }
    uint64_t before = j->out->n;
    int32_t status = merge_word(j, bytes, n);
    uint64_t count = j->out->n - before;
    if (!status && count <= SEEN_IDS && j->out->n <= j->out->cap) {
        *s = (struct seen){.word = bytes, .len = (uint32_t)n, .n = (uint32_t)count};
        memcpy(s->ids, j->out->ids + before, count * sizeof(s->ids[0]));
    }
    return status;
}

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    (void)first;
    return rz_split(&j->bpe->splitter, text, n, encode_word, j);
}

static int32_t encode(void *tok, const struct rz_marked_text *in, int32_t *ids, uint64_t cap, uint64_t *n_ids,
                      struct rz_err *err)
{
    const struct bpe *t = tok;
    struct rz_ids out = {.ids = ids, .cap = cap};
    *n_ids = 0;
    if (in->n > INT32_MAX)
        return rz_fail(err, RZ_ELIMIT, "text", "%llu bytes are too long (limit 2 GiB)",
                       (unsigned long long)in->n);
    struct job j = {.bpe = t, .out = &out};
    int32_t status = RZ_ENOMEM;
    j.word = malloc((in->n ? in->n : 1) * sizeof(*j.word));
    if (in->n >= SEEN_WORTH)
        j.seen = calloc(SEEN, sizeof(*j.seen)); /* it goes without, too */
    if (t->splitter.rule->whole_words)
        j.spelled = malloc(2 * (size_t)t->vocab.longest + 1);
    if (!j.word || (t->splitter.rule->whole_words && !j.spelled))
        goto done;
    struct rz_cut cut = {.vocab = &t->vocab, .in = in, .out = &out, .text = encode_text, .arg = &j};
    status = rz_vocab_cut(&cut);
    *n_ids = out.n;
done:
    free(j.word);
    free(j.spelled);
    free(j.seen);
    rz_pairs_free(&j.pairs);
    return status ? rz_fail(err, status, "text", "no memory to encode %llu bytes", (unsigned long long)in->n)
                  : RZ_OK;
}

static int64_t decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                      uint64_t cap)
{
    const struct bpe *t = tok;
    int32_t kind = rz_vocab_kind(&t->vocab, id);
    if (kind < 0)
        return kind;
    uint64_t len = t->starts[id + 1] - t->starts[id];
    if ((kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_UNKNOWN) && !(flags & RZ_DECODE_SPECIAL))
        len = 0;
    if (len <= cap && state)
        state->n_tokens++;
    return rz_bytes_out(t->bytes + t->starts[id], len, out, cap);
}

RZ_TOKENIZER_PLUGIN("bpe", "gpt2");

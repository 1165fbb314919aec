/* bpe.c - rz.tokenizer/1 for byte-level BPE (`tokenizer.ggml.model` = gpt2).
 *
 * The file spells each byte of a token as one printable character (GPT-2's table). Encoding works on plain
 * bytes from the tokens of the 256 bytes on, so any byte string has ids. A tokenizer is read-only after
 * create; each encoding has its own memory.
 */
#include "../common/meta.h"
#include "../common/tok.h"
#include "chars.h"
#include "err.h"
#include "spell.h"
#include "split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MERGES "tokenizer.ggml.merges"
#define BATCH 16u /* merges whose places in memory are asked for at once */

struct bpe {
    struct rz_vocab vocab;
    struct rz_merges merges;
    struct rz_chars chars;
    struct rz_splitter splitter;
    int32_t byte_id[256]; /* the token of a single byte; -1: none */
};

static void find_bytes(struct bpe *t)
{
    for (unsigned b = 0; b < 256; b++) {
        char byte = (char)b, text[2];
        uint32_t id;
        size_t len = rz_spell(&byte, 1, text);
        t->byte_id[b] = rz_vocab_find(&t->vocab, text, len, &id) ? (int32_t)id : -1;
    }
}

static int32_t bad_merge(struct rz_err *err, uint64_t i, struct rz_str s, const char *what)
{
    char where[80], shown[100];
    snprintf(where, sizeof(where), "key " MERGES "[%llu]", (unsigned long long)i);
    return rz_fail(err, RZ_EFORMAT, where, "\"%s\": %s", rz_show(shown, sizeof(shown), s.data, s.len), what);
}

/* A merge on its way into the table. */
struct merge {
    struct rz_str left, right;
    uint64_t left_hash, right_hash;
    uint32_t left_id, right_id;
};

static int32_t split_merge(const struct bpe *t, uint32_t rank, struct rz_str s, struct merge *g,
                           struct rz_err *err)
{
    const struct rz_token_ids *ids = &t->vocab.ids;
    const char *space = s.len > 2 ? memchr(s.data + 1, ' ', s.len - 1) : NULL;
    if (!space)
        return bad_merge(err, rank, s, "a merge must be two tokens with a space between");
    g->left = (struct rz_str){s.data, (uint64_t)(space - s.data)};
    g->right = (struct rz_str){space + 1, s.len - g->left.len - 1};
    g->left_hash = rz_token_hash(ids, g->left.data, g->left.len);
    g->right_hash = rz_token_hash(ids, g->right.data, g->right.len);
    rz_token_ids_hint(ids, g->left_hash);
    rz_token_ids_hint(ids, g->right_hash);
    return RZ_OK;
}

static int32_t find_sides(const struct bpe *t, uint32_t rank, struct rz_str s, struct merge *g,
                          struct rz_err *err)
{
    const struct rz_token_ids *ids = &t->vocab.ids;
    if (!rz_token_ids_get(ids, g->left.data, g->left.len, g->left_hash, &g->left_id))
        return bad_merge(err, rank, s, "its left side is no token");
    if (!rz_token_ids_get(ids, g->right.data, g->right.len, g->right_hash, &g->right_id))
        return bad_merge(err, rank, s, "its right side is no token");
    rz_merges_hint(&t->merges, g->left_id, g->right_id);
    return RZ_OK;
}

/* What both sides become: most vocabularies list their tokens in the order of the merges, so *next, the id
 * after the last such token, is mostly the one. joined: room for two tokens. */
static bool find_joined(const struct rz_vocab *v, const struct merge *g, char *joined, uint32_t *next)
{
    uint64_t a = g->left.len, b = g->right.len;
    const struct rz_str *guess = *next < v->n ? &v->text[*next] : NULL;
    if (guess && guess->len == a + b && !memcmp(guess->data, g->left.data, a) &&
        !memcmp(guess->data + a, g->right.data, b))
        return true;
    memcpy(joined, g->left.data, a);
    memcpy(joined + a, g->right.data, b);
    return rz_vocab_find(v, joined, a + b, next);
}

/* Merges rank .. rank + n - 1, n <= BATCH; their texts are s[0..n). */
static int32_t load_batch(struct bpe *t, uint32_t rank, const struct rz_str *s, uint32_t n, char *joined,
                          uint32_t *next, struct rz_err *err)
{
    struct merge batch[BATCH];
    int32_t status = RZ_OK;
    for (uint32_t k = 0; k < n && !status; k++)
        status = split_merge(t, rank + k, s[k], &batch[k], err);
    for (uint32_t k = 0; k < n && !status; k++)
        status = find_sides(t, rank + k, s[k], &batch[k], err);
    for (uint32_t k = 0; k < n && !status; k++) {
        const struct merge *g = &batch[k];
        if (!find_joined(&t->vocab, g, joined, next))
            return bad_merge(err, rank + k, s[k], "what it makes is no token");
        if (!rz_vocab_guarded(&t->vocab, *next)) {
            rz_merges_add(&t->merges, g->left_id, g->right_id, rank + k, *next);
            rz_chars_note(&t->chars, g->left_id, g->left, g->right_id, g->right, rank + k);
        }
        ++*next;
    }
    return status;
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
    if (!joined || !rz_merges_init(&t->merges, (uint32_t)n, t->vocab.ids.seed) ||
        !rz_chars_init(&t->chars, t->vocab.n, t->byte_id)) {
        free(joined);
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %llu merges", (unsigned long long)n);
    }
    status = RZ_OK;
    for (uint32_t i = 0, next = 0; i < n && !status; i += BATCH)
        status = load_batch(t, i, (const struct rz_str *)data + i, n - i < BATCH ? (uint32_t)n - i : BATCH,
                            joined, &next, err);
    free(joined);
    for (uint32_t i = 0; i < t->vocab.n && !status; i++)
        rz_chars_token(&t->chars, &t->merges, i, t->vocab.text[i]);
    rz_chars_done(&t->chars);
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
    rz_chars_free(&t->chars);
    rz_vocab_free(&t->vocab);
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
    if (!status) {
        find_bytes(t);
        status = load_merges(t, meta, err);
    }
    if (!status)
        status = rz_splitter_init(&t->splitter, rule, err);
    if (!status && !rule->whole_words) /* the spellings are not needed again */
        rz_token_ids_free(&t->vocab.ids);
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
    if (n > v->longest || !rz_vocab_find(v, j->spelled, rz_spell(bytes, n, j->spelled), &id))
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
    size_t symbols = rz_chars_begin(&j->bpe->chars, bytes, n, j->word);
    int64_t count = rz_merge(&j->bpe->merges, &j->pairs, j->word, symbols);
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
    status = rz_cut(&cut);
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
    struct rz_str s = t->vocab.text[id];
    uint64_t len = 0;
    if (kind == RZ_TOKEN_NORMAL || kind == RZ_TOKEN_BYTE)
        len = rz_spelled_bytes(s, out, cap);
    else if (kind == RZ_TOKEN_USER || (kind != RZ_TOKEN_UNUSED && flags & RZ_DECODE_SPECIAL))
        len = (uint64_t)rz_bytes_out(s.data, s.len, out, cap);
    if (len <= cap && state)
        state->n_tokens++;
    return (int64_t)len;
}

RZ_TOKENIZER_PLUGIN("bpe", "gpt2");

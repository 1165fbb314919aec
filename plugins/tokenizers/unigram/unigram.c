/* unigram.c - rz.tokenizer/1 for SentencePiece unigram vocabularies (`tokenizer.ggml.model` = t5).
 *
 * A text is normalised (a map of spellings, blanks, U+2581 for each space); of all ways to spell the result
 * with tokens the one with the highest sum of scores wins (Viterbi), the first of equals. A character without
 * a token is unknown, at ten less than the lowest score. Read-only after create.
 */
#include "../common/meta.h"
#include "../common/tok.h"
#include "../common/trie.h"
#include "buf.h"
#include "err.h"
#include "normal.h"
#include "utf8.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define KEY "tokenizer.ggml."
#define TEXT_MAX (1u << 30) /* bytes of a normalised text */
#define UNKNOWN_PENALTY 10.0
#define UNKNOWN (-1)

struct unigram {
    struct rz_vocab vocab;
    struct rz_trie trie;
    struct rz_normal map;
    float *score;
    double unknown;       /* the score of an unknown character  */
    int32_t byte_id[256]; /* -1: none                           */
    bool bytes;           /* an unknown character becomes bytes */
    bool add_space, merge_spaces;
    uint32_t window; /* a power of two above the longest token */
};

static int32_t load_scores(struct unigram *t, const struct rz_format_model *meta, struct rz_err *err)
{
    const char *where = "key " KEY "scores";
    const void *data;
    uint64_t n;
    int32_t status = rz_meta_get_array(meta, where + 4, RZ_META_F32, &data, &n, err);
    if (status < 0)
        return status;
    if (!status || n != t->vocab.n)
        return rz_fail(err, RZ_EFORMAT, where, "%llu scores for %u tokens",
                       (unsigned long long)(status ? n : 0), t->vocab.n);
    t->score = malloc(n * sizeof(*t->score));
    if (!t->score)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %u tokens", t->vocab.n);
    memcpy(t->score, data, n * sizeof(*t->score));
    double lowest = 0;
    for (uint32_t i = 0; i < t->vocab.n; i++) {
        if (!(t->score[i] >= -FLT_MAX && t->score[i] <= FLT_MAX))
            return rz_fail(err, RZ_EFORMAT, where, "the score of token %u is not a number", i);
        if (t->vocab.kind[i] == RZ_TOKEN_NORMAL && t->score[i] < lowest)
            lowest = t->score[i];
    }
    t->unknown = lowest - UNKNOWN_PENALTY;
    return RZ_OK;
}

static int32_t load_trie(struct unigram *t, struct rz_err *err)
{
    const struct rz_vocab *v = &t->vocab;
    struct rz_str *text = malloc(v->n * sizeof(*text));
    uint32_t *ids = malloc(v->n * sizeof(*ids)), n = 0;
    for (uint32_t i = 0; text && ids && i < v->n; i++)
        if (v->kind[i] != RZ_TOKEN_BYTE && !rz_vocab_guarded(v, i)) {
            text[n] = v->text[i];
            ids[n++] = i;
        }
    bool ok = text && ids && rz_trie_init(&t->trie, text, ids, n);
    free(text);
    free(ids);
    for (t->window = 8; t->window <= v->longest;)
        t->window *= 2;
    return ok ? RZ_OK : rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %u tokens", v->n);
}

static int32_t load_options(struct unigram *t, const struct rz_format_model *meta, struct rz_err *err)
{
    const struct rz_meta *map = rz_meta_find(meta, KEY "precompiled_charsmap");
    t->add_space = true;
    int32_t status = rz_meta_get_bool(meta, KEY "add_space_prefix", &t->add_space, err);
    if (status >= 0)
        status = rz_meta_get_bool(meta, KEY "remove_extra_whitespaces", &t->merge_spaces, err);
    if (status < 0 || !map)
        return status < 0 ? status : RZ_OK;
    if (map->type != RZ_META_ARRAY || (map->elem_type != RZ_META_U8 && map->elem_type != RZ_META_I8))
        return rz_fail(err, RZ_EFORMAT, "key " KEY "precompiled_charsmap", "it must be an array of u8");
    return rz_normal_init(&t->map, map->data, map->n, err);
}

static void destroy(void *tok)
{
    struct unigram *t = tok;
    if (!t)
        return;
    rz_vocab_free(&t->vocab);
    rz_trie_free(&t->trie);
    free(t->score);
    free(t);
}

static int32_t load(struct unigram *t, const struct rz_format_model *meta, struct rz_err *err)
{
    static const struct rz_vocab_defaults defaults = {.bos = -1, .eos = 1, .unk = 2, .add_eos = true};
    int32_t status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    if (!status)
        status = load_options(t, meta, err);
    if (!status)
        status = rz_byte_tokens(&t->vocab, t->byte_id, err);
    if (!status)
        status = load_scores(t, meta, err);
    t->bytes = true;
    for (int b = 0; b < 256; b++)
        t->bytes &= t->byte_id[b] >= 0;
    return status ? status : load_trie(t, err);
}

static int32_t create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err)
{
    (void)self;
    (void)pre; /* a text is not cut into words */
    *tok = NULL;
    struct unigram *t = calloc(1, sizeof(*t));
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for a tokenizer");
    int32_t status = load(t, meta, err);
    if (status)
        destroy(t);
    else
        *tok = t;
    return status;
}

static int32_t probe(void *self, const struct rz_format_model *meta)
{
    (void)self;
    return rz_str_is(rz_meta_text(meta, KEY "model"), "t5") ? 100 : 0;
}

/* One encoding. */
struct job {
    const struct unigram *t;
    const struct rz_marked_text *in;
    struct rz_ids *out;
    struct rz_buf text; /* normalised                                                    */
    int32_t *token;     /* of the best way to each place of it: the last token, or UNKNOWN */
    size_t cap;
    double *best; /* its score; `window` places, reused */
};

/* Where a stretch of text stands while it is normalised. */
struct normal {
    bool begins;   /* the text does, too: blanks here are none between words */
    bool prefixed; /* the space in front is there                            */
    bool blank;    /* blanks were left out that one space stands for         */
};

/* Blanks are kept, merged or dropped as the vocabulary wants; the others are copied. */
static void add_normal(struct job *j, struct rz_str s, struct normal *w)
{
    const struct unigram *t = j->t;
    for (uint64_t i = 0; i < s.len; i++) {
        if (s.data[i] == ' ' && t->merge_spaces) {
            w->blank = !w->begins;
            continue;
        }
        if ((t->add_space && !w->prefixed) || w->blank)
            rz_buf_add(&j->text, RZ_SPACE, RZ_SPACE_LEN);
        w->prefixed = true;
        w->blank = w->begins = false;
        if (s.data[i] == ' ')
            rz_buf_add(&j->text, RZ_SPACE, RZ_SPACE_LEN);
        else
            rz_buf_add(&j->text, s.data + i, 1);
    }
}

static void normalise(struct job *j, const char *text, size_t n)
{
    struct normal w = {.begins = text == j->in->text};
    rz_buf_clear(&j->text);
    for (size_t at = 0, used; at < n; at += used) {
        struct rz_str s = rz_normal_find(&j->t->map, text + at, n - at, &used);
        if (used && !rz_utf8_valid(s.data, s.len)) {
            s = (struct rz_str){"\357\277\275", 3};
        } else if (!used) {
            uint32_t cp;
            used = rz_utf8_decode(text + at, n - at, &cp);
            s = used ? (struct rz_str){text + at, used} : (struct rz_str){"\357\277\275", 3};
            used = used ? used : 1;
        }
        add_normal(j, s, &w);
    }
}

static void offer(struct job *j, size_t place, double score, int32_t token)
{
    double *best = &j->best[place & (j->t->window - 1)];
    if (score > *best) {
        *best = score;
        j->token[place] = token;
    }
}

/* The best way to every place: from each character on along all tokens that begin there. */
static void forward(struct job *j, const char *text, size_t n)
{
    const struct unigram *t = j->t;
    for (uint32_t i = 0; i < t->window; i++)
        j->best[i] = -DBL_MAX;
    j->best[0] = 0;
    for (size_t at = 0, step; at < n; at += step) {
        uint32_t cp, node = 0;
        step = rz_utf8_decode(text + at, n - at, &cp);
        step = step ? step : 1;
        double here = j->best[at & (t->window - 1)];
        bool single = false;
        for (size_t i = at; i < n && (node = rz_trie_step(&t->trie, node, (uint8_t)text[i])); i++) {
            int32_t id = t->trie.nodes[node].id;
            if (id < 0)
                continue;
            single |= i + 1 - at == step;
            offer(j, i + 1, here + (t->vocab.kind[id] == RZ_TOKEN_USER ? 0.0 : (double)t->score[id]), id);
        }
        if (!single)
            offer(j, at + step, here + t->unknown, UNKNOWN);
        for (size_t i = at; i < at + step; i++)
            j->best[i & (t->window - 1)] = -DBL_MAX;
    }
}

/* Where the token that ends at `end` begins. */
static size_t begin_of(const struct job *j, size_t end)
{
    int32_t id = j->token[end];
    if (id != UNKNOWN)
        return end - j->t->vocab.text[id].len;
    size_t at = end - 1;
    for (size_t back = 1; back < 4 && at > 0 && ((uint8_t)j->text.data[at] & 0xc0) == 0x80; back++)
        at--;
    return at;
}

/* Gives the tokens of the chain that ends at n in the order of the text. They are moved to the end of the
 * array first, where the walk from the back has left room: each takes at least one place of the text. */
static void give(struct job *j, size_t n)
{
    const struct unigram *t = j->t;
    size_t w = n, place = 0;
    bool unknown = false;
    for (size_t at = n; at > 0;) {
        size_t begin = begin_of(j, at);
        j->token[w--] = j->token[at];
        at = begin;
    }
    while (w < n) {
        int32_t id = j->token[++w];
        uint32_t cp;
        size_t len =
            id == UNKNOWN ? rz_utf8_decode(j->text.data + place, n - place, &cp) : t->vocab.text[id].len;
        if (id != UNKNOWN)
            rz_ids_add(j->out, id);
        for (size_t i = 0; id == UNKNOWN && t->bytes && i < len; i++)
            rz_ids_add(j->out, t->byte_id[(uint8_t)j->text.data[place + i]]);
        if (id == UNKNOWN && !t->bytes && !unknown && t->vocab.info.unk >= 0)
            rz_ids_add(j->out, t->vocab.info.unk); /* one for a run of them */
        unknown = id == UNKNOWN;
        place += len;
    }
}

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    (void)first;
    normalise(j, text, n);
    if (!rz_buf_ok(&j->text))
        return RZ_ENOMEM;
    if (j->text.len >= j->cap) {
        free(j->token);
        j->cap = j->text.len + 1;
        j->token = malloc(j->cap * sizeof(*j->token));
        if (!j->token) {
            j->cap = 0;
            return RZ_ENOMEM;
        }
    }
    forward(j, j->text.data, j->text.len);
    give(j, j->text.len);
    return RZ_OK;
}

static int32_t encode(void *tok, const struct rz_marked_text *in, int32_t *ids, uint64_t cap, uint64_t *n_ids,
                      struct rz_err *err)
{
    const struct unigram *t = tok;
    struct rz_ids out = {.ids = ids, .cap = cap};
    struct job j = {.t = t, .in = in, .out = &out, .best = malloc(t->window * sizeof(double))};
    struct rz_cut cut = {.vocab = &t->vocab, .in = in, .out = &out, .text = encode_text, .arg = &j};
    rz_buf_init(&j.text, TEXT_MAX);
    int32_t status = j.best ? rz_cut(&cut) : RZ_ENOMEM;
    *n_ids = out.n;
    rz_buf_free(&j.text);
    free(j.token);
    free(j.best);
    return status ? rz_fail(err, status, "text", "no memory to encode %llu bytes (limit 1 GiB)",
                            (unsigned long long)in->n)
                  : RZ_OK;
}

static int64_t decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                      uint64_t cap)
{
    return rz_tok_decode(tok, state, id, flags, ((struct unigram *)tok)->add_space, out, cap);
}

RZ_TOKENIZER_PLUGIN("unigram", "t5");

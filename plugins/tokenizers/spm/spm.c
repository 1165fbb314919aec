/* spm.c - rz.tokenizer/1 for SentencePiece vocabularies with scores (`tokenizer.ggml.model` = llama), or with
 * merges in their place (gemma4).
 *
 * A text is taken as characters with U+2581 for each space; neighbours whose joined spelling is a token
 * merge in the order of the tokens' scores, or of the list of merges. What is no token becomes byte tokens.
 * Control tokens never come out of merging, however the text is spelled. A tokenizer is read-only after
 * create.
 */
#include "../common/meta.h"
#include "../common/pairs.h"
#include "../common/tok.h"
#include "err.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define MERGE_MAX 1024u     /* bytes of a merge; a longer one is none */
#define TEXT_MAX (1u << 30) /* bytes of a text: three times that are still 32-bit numbers */

/* What is done about spaces. All write U+2581 for them. */
static const struct spaces {
    const char *name;  /* tokenizer.rz.spaces                                           */
    bool prefix;       /* one more in front ...                                         */
    bool only_first;   /* ... of the text, else of each stretch between spelled tokens; */
    bool unless_there; /* ... not before a space                                        */
    bool normal;       /* before added tokens of the normalised text are looked for     */
} all_spaces[] = {
    {"prepend", true, false, false, true}, /* what GGUF means with add_space_prefix */
    {"replace", false, false, false, true}, {"always", true, false, true, false},
    {"first", true, true, true, false},     {"never", false, false, false, false},
};

struct spm {
    struct rz_vocab vocab;
    uint32_t *rank;       /* of each token: a higher score is a lower number; NULL: there are merges */
    struct rz_map merges; /* "LEFT RIGHT" to the place in the list, as the metadata spells it        */
    int32_t byte_id[256]; /* -1: none */
    const struct spaces *spaces;
    bool from_folder;           /* merging gives an added token only if that is told */
    struct rz_added_set normal; /* added tokens of the normalised text, as that spells them ... */
    char *normal_text;          /* ... here                                                     */
};

/* Orders numbers other than NaN: the higher the score, the lower the rank. Never RZ_PAIR_NONE. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &score, sizeof(bits));
    return bits >> 31 ? bits : bits ^ 0x7fffffff;
}

static int32_t load_scores(struct spm *t, const struct rz_format_model *meta, struct rz_err *err)
{
    const char *where = "key tokenizer.ggml.scores";
    const void *data;
    uint64_t n;
    int32_t status = rz_meta_get_array(meta, where + 4, RZ_META_F32, &data, &n, err);
    if (status < 0)
        return status;
    if (!status)
        return rz_fail(err, RZ_EFORMAT, where, "it is missing; a SentencePiece vocabulary needs it");
    if (n != t->vocab.n)
        return rz_fail(err, RZ_EFORMAT, where, "%llu scores for %u tokens", (unsigned long long)n,
                       t->vocab.n);
    t->rank = malloc(t->vocab.n * sizeof(*t->rank));
    if (!t->rank)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %u tokens", t->vocab.n);
    for (uint32_t i = 0; i < t->vocab.n; i++) {
        float score;
        memcpy(&score, (const char *)data + 4ull * i, sizeof(score));
        if (score != score)
            return rz_fail(err, RZ_EFORMAT, where, "the score of token %u is not a number", i);
        t->rank[i] = rank_of_score(score);
    }
    return RZ_OK;
}

static bool has_merges(const struct rz_format_model *meta)
{
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "gemma4");
}

static int32_t load_merges(struct spm *t, const struct rz_format_model *meta, struct rz_err *err)
{
    const char *where = "key tokenizer.ggml.merges";
    const void *data;
    uint64_t n;
    int32_t status = rz_meta_get_array(meta, where + 4, RZ_META_STR, &data, &n, err);
    if (status < 0)
        return status;
    if (!status || n >= RZ_PAIR_NONE)
        return rz_fail(err, RZ_EFORMAT, where,
                       "it is missing, or too long; a vocabulary without scores needs it");
    bool good = rz_map_init(&t->merges, n);
    for (uint64_t i = 0; i < n && good; i++) {
        const struct rz_str *s = (const struct rz_str *)data + i;
        good = rz_map_add(&t->merges, s->data, s->len, (uint32_t)i) >= 0;
    }
    return good ? RZ_OK
                : rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %llu merges", (unsigned long long)n);
}

static void destroy(void *tok)
{
    struct spm *t = tok;
    if (!t)
        return;
    rz_vocab_free(&t->vocab);
    rz_special_free(&t->normal.user);
    rz_special_free(&t->normal.all);
    free(t->normal_text);
    rz_map_free(&t->merges);
    free(t->rank);
    free(t);
}

static int32_t load_spaces(struct spm *t, const struct rz_format_model *meta, struct rz_err *err)
{
    static const char key[] = "tokenizer.rz.spaces";
    struct rz_str name = {"", 0};
    bool prefix = true;
    int32_t status = rz_meta_get_bool(meta, "tokenizer.ggml.add_space_prefix", &prefix, err);
    if (status >= 0)
        status = rz_meta_get_str(meta, key, &name, err);
    if (status < 0)
        return status;
    t->from_folder = status;
    for (size_t i = 0; i < sizeof(all_spaces) / sizeof(all_spaces[0]); i++)
        if (status ? rz_str_is(name, all_spaces[i].name) : all_spaces[i].prefix == prefix) {
            t->spaces = &all_spaces[i];
            return RZ_OK;
        }
    return rz_fail(err, RZ_EFORMAT, "key tokenizer.rz.spaces",
                   "must be prepend, replace, always, first or never");
}

static size_t escape(char *out, const char *text, size_t n, bool space);

/* The added tokens of the normalised text, in its spelling. */
static int32_t load_normal(struct spm *t, struct rz_err *err)
{
    const struct rz_vocab *v = &t->vocab;
    uint64_t total = 1, at = 0;
    bool good = rz_special_init(&t->normal.user, 0) && rz_special_init(&t->normal.all, 0);
    if (good && t->spaces->normal) {
        for (uint32_t i = 0; i < v->n; i++)
            total += v->added.flags[i] & RZ_ADDED_NORMAL ? RZ_SPACE_LEN * (v->text[i].len + 1) : 0;
        t->normal_text = malloc(total);
        good = t->normal_text != NULL;
    }
    for (uint32_t i = 0; t->normal_text && i < v->n && good; i++) {
        uint32_t id;
        const struct rz_special *all = &v->added.normal.all;
        if (!(v->added.flags[i] & RZ_ADDED_NORMAL) ||
            !rz_map_get(&all->map, v->text[i].data, v->text[i].len, &id))
            continue;
        char *text = t->normal_text + at;
        struct rz_str s = {text, escape(text, v->text[i].data, v->text[i].len, t->spaces->prefix)};
        at += s.len;
        if (s.len > RZ_SPECIAL_BYTES_MAX)
            return rz_fail(err, RZ_ELIMIT, "vocabulary", "added token %u is too long when normalised", i);
        bool guarded = rz_vocab_guarded(v, i);
        good = rz_special_add(&t->normal.all, s, i, guarded) &&
               (v->kind[i] != RZ_TOKEN_USER || rz_special_add(&t->normal.user, s, i, guarded));
    }
    return good ? RZ_OK : rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for special tokens");
}

static int32_t load(struct spm *t, const struct rz_format_model *meta, struct rz_err *err)
{
    static const struct rz_vocab_defaults defaults = {.bos = 1, .eos = 2, .unk = 0, .add_bos = true};
    int32_t status = load_spaces(t, meta, err);
    if (!status)
        status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    if (!status)
        status = load_normal(t, err);
    if (!status)
        status = has_merges(meta) ? load_merges(t, meta, err) : load_scores(t, meta, err);
    return status ? status : rz_byte_tokens(&t->vocab, t->byte_id, err);
}

static int32_t create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err)
{
    (void)self;
    (void)pre; /* SentencePiece does not cut a text into words */
    *tok = NULL;
    struct spm *t = calloc(1, sizeof(*t));
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for a tokenizer");
    int32_t status = load(t, meta, err);
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
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "llama") || has_merges(meta) ? 100 : 0;
}

/* One encoding. */
struct job {
    const struct spm *spm;
    const struct rz_marked_text *in;
    struct rz_ids *out;
    struct rz_pairs pairs;
    char *text; /* with U+2581 for spaces; room for three times the input and a space */
};

/* The token spelled so that merging may give; -1: none. */
static int32_t find(const struct spm *t, const char *text, size_t n)
{
    uint32_t id;
    if (!rz_vocab_find(&t->vocab, text, n, &id))
        return -1;
    uint8_t kind = t->vocab.kind[id];
    bool apart = kind == RZ_TOKEN_USER && t->from_folder && !(t->vocab.added.flags[id] & RZ_ADDED_MERGED);
    return kind == RZ_TOKEN_BYTE || apart || rz_vocab_guarded(&t->vocab, id) ? -1 : (int32_t)id;
}

/* The place of a pair in the list of merges. */
static uint32_t merge_rank(const struct job *j, const struct rz_pair_node *a, const struct rz_pair_node *b,
                           uint32_t end)
{
    char pair[MERGE_MAX];
    uint32_t left = b->start - a->start, n = end - a->start, rank;
    if (n + 1 > sizeof(pair))
        return RZ_PAIR_NONE;
    memcpy(pair, j->text + a->start, left);
    pair[left] = ' ';
    memcpy(pair + left + 1, j->text + b->start, n - left);
    return rz_map_get(&j->spm->merges, pair, n + 1, &rank) ? rank : RZ_PAIR_NONE;
}

static uint32_t pair_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                          uint32_t end, int32_t *joined)
{
    const struct job *j = arg;
    *joined = find(j->spm, j->text + a->start, end - a->start);
    if (*joined < 0)
        return RZ_PAIR_NONE;
    return j->spm->rank ? j->spm->rank[*joined] : merge_rank(j, a, b, end);
}

/* Writes U+2581 for spaces, and one in front if `space`; out has room for three times n and one. */
static size_t escape(char *out, const char *text, size_t n, bool space)
{
    size_t len = 0;
    if (space) {
        memcpy(out, RZ_SPACE, RZ_SPACE_LEN);
        len = RZ_SPACE_LEN;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(out + len, RZ_SPACE, RZ_SPACE_LEN);
            len += RZ_SPACE_LEN;
        } else {
            out[len++] = text[i];
        }
    }
    return len;
}

/* A symbol that is no token: its bytes, or "unknown". */
static void add_bytes(struct job *j, const char *bytes, size_t n)
{
    const struct spm *t = j->spm;
    bool unknown = false;
    for (size_t i = 0; i < n; i++) {
        int32_t id = t->byte_id[(unsigned char)bytes[i]];
        if (id >= 0)
            rz_ids_add(j->out, id);
        unknown |= id < 0;
    }
    if (unknown && t->vocab.info.unk >= 0)
        rz_ids_add(j->out, t->vocab.info.unk);
}

/* Merges a piece of j->text. */
static int32_t merge_piece(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    size_t begin = (size_t)(text - j->text), end = begin + n, count = 0;
    (void)first;
    if (!rz_pairs_reserve(&j->pairs, n))
        return RZ_ENOMEM;
    for (size_t at = begin; at < end; count++) {
        uint32_t cp;
        size_t step = rz_utf8_decode(j->text + at, end - at, &cp);
        step = step ? step : 1;
        j->pairs.nodes[count] =
            (struct rz_pair_node){.id = find(j->spm, j->text + at, step), .start = (uint32_t)at};
        at += step;
    }
    if (count && !rz_pairs_merge(&j->pairs, count, (uint32_t)end, pair_rank, j))
        return RZ_ENOMEM;
    for (uint32_t i = 0; i != RZ_PAIR_NONE; i = j->pairs.nodes[i].next) {
        const struct rz_pair_node *node = &j->pairs.nodes[i];
        if (node->id >= 0)
            rz_ids_add(j->out, node->id);
        else
            add_bytes(j, j->text + node->start,
                      (node->next == RZ_PAIR_NONE ? end : j->pairs.nodes[node->next].start) - node->start);
    }
    return RZ_OK;
}

static bool wants_prefix(const struct job *j, const char *text, size_t n, bool first)
{
    const struct spaces *s = j->spm->spaces;
    bool there = *text == ' ' || (n >= RZ_SPACE_LEN && !memcmp(text, RZ_SPACE, RZ_SPACE_LEN));
    return s->prefix && (s->only_first ? text == j->in->text : first) && !(s->unless_there && there);
}

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    const struct spm *t = j->spm;
    size_t len = escape(j->text, text, n, wants_prefix(j, text, n, first));
    if (!t->normal.all.map.count)
        return merge_piece(j, j->text, len, first);
    /* Where a plain stretch would lie in the normalised text is not looked for: all of it is plain. */
    size_t at = (size_t)(text - j->in->text);
    struct rz_span all = {0, len};
    struct rz_marked_text in = {.size = sizeof(in),
                                .flags = j->in->flags,
                                .text = j->text,
                                .n = len,
                                .plain = &all,
                                .n_plain = rz_cut_is_plain(j->in, at, at + n)};
    struct rz_cut cut = {.vocab = &t->vocab, .in = &in, .out = j->out, .text = merge_piece, .arg = j};
    return rz_cut_at(&cut, rz_added_pick(&t->normal, in.flags));
}

static int32_t encode(void *tok, const struct rz_marked_text *in, int32_t *ids, uint64_t cap, uint64_t *n_ids,
                      struct rz_err *err)
{
    const struct spm *t = tok;
    struct rz_ids out = {.ids = ids, .cap = cap};
    *n_ids = 0;
    if (in->n > TEXT_MAX)
        return rz_fail(err, RZ_ELIMIT, "text", "%llu bytes are too long (limit 1 GiB)",
                       (unsigned long long)in->n);
    struct job j = {.spm = t, .in = in, .out = &out, .text = malloc(RZ_SPACE_LEN * (in->n + 1))};
    struct rz_cut cut = {.vocab = &t->vocab,
                         .in = in,
                         .out = &out,
                         .text = encode_text,
                         .arg = &j,
                         .normal_apart = t->spaces->normal};
    int32_t status = j.text ? rz_cut(&cut) : RZ_ENOMEM;
    *n_ids = out.n;
    free(j.text);
    rz_pairs_free(&j.pairs);
    return status ? rz_fail(err, status, "text", "no memory to encode %llu bytes", (unsigned long long)in->n)
                  : RZ_OK;
}

static int64_t decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                      uint64_t cap)
{
    const struct spm *t = tok;
    return rz_tok_decode(&t->vocab, state, id, flags, t->spaces->prefix, out, cap);
}

RZ_TOKENIZER_PLUGIN("spm", "llama");

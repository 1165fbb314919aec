/* spm.c - rz.tokenizer/1 for SentencePiece vocabularies with scores (`tokenizer.ggml.model` = llama).
 *
 * A text is taken as characters with U+2581 for each space; neighbours whose joined spelling is a token
 * merge in the order of the tokens' scores. What is no token becomes byte tokens. Control tokens never
 * come out of merging, however the text is spelled. A tokenizer is read-only after create.
 */
#include "../common/meta.h"
#include "../common/pairs.h"
#include "../common/tok.h"
#include "err.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX (1u << 30) /* bytes of a text: three times that are still 32-bit numbers */

struct spm {
    struct rz_vocab vocab;
    uint32_t *rank;       /* of each token: a higher score is a lower number */
    int32_t byte_id[256]; /* -1: none */
    bool add_space;       /* a text begins as if a space stood before it */
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

/* Whether the model calls itself Phi-3: its tokens take the white space after them away. */
static bool is_phi3(const struct rz_format_model *meta)
{
    struct rz_str name = rz_meta_text(meta, "general.name");
    for (uint64_t i = 0; i + 4 <= name.len; i++) {
        const char *s = name.data + i;
        uint64_t left = name.len - i;
        if (!strncasecmp(s, "phi3", 4) || (left >= 5 && !strncasecmp(s, "phi-3", 5)))
            return true;
    }
    return false;
}

static void destroy(void *tok)
{
    struct spm *t = tok;
    if (!t)
        return;
    rz_vocab_free(&t->vocab);
    free(t->rank);
    free(t);
}

static int32_t load(struct spm *t, const struct rz_format_model *meta, struct rz_err *err)
{
    static const struct rz_vocab_defaults defaults = {.bos = 1, .eos = 2, .unk = 0, .add_bos = true};
    t->add_space = true;
    int32_t status = rz_meta_get_bool(meta, "tokenizer.ggml.add_space_prefix", &t->add_space, err);
    if (status < 0)
        return status;
    status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    if (!status)
        status = load_scores(t, meta, err);
    t->vocab.strip_after = is_phi3(meta);
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
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "llama") ? 100 : 0;
}

/* One encoding. */
struct job {
    const struct spm *spm;
    struct rz_ids *out;
    struct rz_pairs pairs;
    char *text; /* with U+2581 for spaces; room for three times the input and a space */
};

/* The token spelled so that merging may give; -1: none. */
static int32_t find(const struct spm *t, const char *text, size_t n)
{
    uint32_t id;
    if (n > t->vocab.longest || !rz_map_get(&t->vocab.ids, text, n, &id))
        return -1;
    return t->vocab.kind[id] == RZ_TOKEN_BYTE || rz_vocab_guarded(&t->vocab, id) ? -1 : (int32_t)id;
}

static uint32_t pair_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                          uint32_t end, int32_t *joined)
{
    const struct job *j = arg;
    *joined = find(j->spm, j->text + a->start, end - a->start);
    (void)b;
    return *joined < 0 ? RZ_PAIR_NONE : j->spm->rank[*joined];
}

static size_t escape(struct job *j, const char *text, size_t n, bool space)
{
    size_t len = 0;
    if (space) {
        memcpy(j->text, RZ_SPACE, RZ_SPACE_LEN);
        len = RZ_SPACE_LEN;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(j->text + len, RZ_SPACE, RZ_SPACE_LEN);
            len += RZ_SPACE_LEN;
        } else {
            j->text[len++] = text[i];
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

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    size_t len = escape(j, text, n, first && j->spm->add_space), count = 0;
    if (!rz_pairs_reserve(&j->pairs, len))
        return RZ_ENOMEM;
    for (size_t at = 0; at < len; count++) {
        uint32_t cp;
        size_t step = rz_utf8_decode(j->text + at, len - at, &cp);
        step = step ? step : 1;
        j->pairs.nodes[count] =
            (struct rz_pair_node){.id = find(j->spm, j->text + at, step), .start = (uint32_t)at};
        at += step;
    }
    if (count && !rz_pairs_merge(&j->pairs, count, (uint32_t)len, pair_rank, j))
        return RZ_ENOMEM;
    for (uint32_t i = 0; i != RZ_PAIR_NONE; i = j->pairs.nodes[i].next) {
        const struct rz_pair_node *node = &j->pairs.nodes[i];
        if (node->id >= 0)
            rz_ids_add(j->out, node->id);
        else
            add_bytes(j, j->text + node->start,
                      (node->next == RZ_PAIR_NONE ? len : j->pairs.nodes[node->next].start) - node->start);
    }
    return RZ_OK;
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
    struct job j = {.spm = t, .out = &out, .text = malloc(RZ_SPACE_LEN * (in->n + 1))};
    struct rz_cut cut = {.vocab = &t->vocab, .in = in, .out = &out, .text = encode_text, .arg = &j};
    int32_t status = j.text ? rz_vocab_cut(&cut) : RZ_ENOMEM;
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
    return rz_tok_decode(&t->vocab, state, id, flags, t->add_space, out, cap);
}

RZ_TOKENIZER_PLUGIN("spm", "llama");

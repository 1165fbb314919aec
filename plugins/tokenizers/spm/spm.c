/* spm.c - rz.tokenizer/1 for SentencePiece vocabularies with scores (`tokenizer.ggml.model` = llama).
 *
 * A text is taken as characters with U+2581 for each space; neighbours whose joined spelling is a token
 * merge in the order of the tokens' scores. What is no token becomes byte tokens. Control tokens never
 * come out of merging, however the text is spelled. A tokenizer is read-only after create.
 */
#include "../common/meta.h"
#include "../common/pairs.h"
#include "../common/vocab.h"
#include "err.h"
#include "utf8.h"

#include <rz/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SPACE "\342\226\201" /* U+2581 stands for a space */
#define SPACE_LEN 3u
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

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The byte that a token spelled <0xXX> stands for; -1: it is spelled otherwise. */
static int byte_of(struct rz_str s)
{
    if (s.len != 6 || memcmp(s.data, "<0x", 3) != 0 || s.data[5] != '>')
        return -1;
    int high = hex(s.data[3]), low = hex(s.data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static int32_t load_bytes(struct spm *t, struct rz_err *err)
{
    struct rz_vocab *v = &t->vocab;
    memset(t->byte_id, 0xff, sizeof(t->byte_id));
    for (uint32_t i = 0; i < v->n; i++) {
        int byte = byte_of(v->text[i]);
        if (byte >= 0 && t->byte_id[byte] < 0) {
            t->byte_id[byte] = (int32_t)i;
            v->kind[i] = RZ_TOKEN_BYTE; /* files without kinds call it normal */
        } else if (byte < 0 && v->kind[i] == RZ_TOKEN_BYTE) {
            return rz_fail(err, RZ_EFORMAT, "key tokenizer.ggml.tokens",
                           "token %u is a byte but not spelled <0x00> to <0xFF>", i);
        }
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

static void spm_destroy(void *tok)
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
    return status ? status : load_bytes(t, err);
}

static int32_t spm_create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
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
        spm_destroy(t);
        return status;
    }
    *tok = t;
    return RZ_OK;
}

static int32_t spm_probe(void *self, const struct rz_format_model *meta)
{
    (void)self;
    return rz_str_is(rz_meta_text(meta, "tokenizer.ggml.model"), "llama") ? 100 : 0;
}

static int32_t spm_info(void *tok, struct rz_tokenizer_info *out)
{
    return rz_vocab_info(&((struct spm *)tok)->vocab, out);
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
    int kind = t->vocab.kind[id];
    return kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_UNKNOWN || kind == RZ_TOKEN_BYTE ? -1 : (int32_t)id;
}

static uint32_t pair_rank(const void *arg, const struct rz_pair_node *a, const struct rz_pair_node *b,
                          int32_t *joined)
{
    const struct job *j = arg;
    *joined = find(j->spm, j->text + a->start, (size_t)a->len + b->len);
    return *joined < 0 ? RZ_PAIR_NONE : j->spm->rank[*joined];
}

static size_t escape(struct job *j, const char *text, size_t n, bool space)
{
    size_t len = 0;
    if (space) {
        memcpy(j->text, SPACE, SPACE_LEN);
        len = SPACE_LEN;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(j->text + len, SPACE, SPACE_LEN);
            len += SPACE_LEN;
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
        j->pairs.nodes[count] = (struct rz_pair_node){
            .id = find(j->spm, j->text + at, step), .start = (uint32_t)at, .len = (uint32_t)step};
        at += step;
    }
    rz_pairs_merge(&j->pairs, count, pair_rank, j);
    for (uint32_t i = 0; i != RZ_PAIR_NONE; i = j->pairs.nodes[i].next) {
        const struct rz_pair_node *node = &j->pairs.nodes[i];
        if (node->id >= 0)
            rz_ids_add(j->out, node->id);
        else
            add_bytes(j, j->text + node->start, node->len);
    }
    return RZ_OK;
}

static int32_t spm_encode(void *tok, const char *text, uint64_t n, uint32_t flags, int32_t *ids, uint64_t cap,
                          uint64_t *n_ids, struct rz_err *err)
{
    const struct spm *t = tok;
    struct rz_ids out = {.ids = ids, .cap = cap};
    *n_ids = 0;
    if (n > TEXT_MAX)
        return rz_fail(err, RZ_ELIMIT, "text", "%llu bytes are too long (limit 1 GiB)",
                       (unsigned long long)n);
    struct job j = {.spm = t, .out = &out, .text = malloc(SPACE_LEN * (n + 1))};
    struct rz_cut cut = {.vocab = &t->vocab, .flags = flags, .out = &out, .text = encode_text, .arg = &j};
    int32_t status = j.text ? rz_vocab_cut(&cut, text, n) : RZ_ENOMEM;
    *n_ids = out.n;
    free(j.text);
    rz_pairs_free(&j.pairs);
    return status ? rz_fail(err, status, "text", "no memory to encode %llu bytes", (unsigned long long)n)
                  : RZ_OK;
}

static int64_t spm_piece(void *tok, int32_t id, char *out, uint64_t cap)
{
    return rz_vocab_piece(&((struct spm *)tok)->vocab, id, out, cap);
}

/* The spelling with spaces for U+2581, from byte `at` on; returns the bytes needed. */
static uint64_t unescape(struct rz_str s, uint64_t at, char *out, uint64_t cap)
{
    uint64_t len = 0;
    for (int write = 0; write < 2 && (!write || len <= cap); write++) {
        len = 0;
        for (uint64_t i = at; i < s.len; len++) {
            bool space = s.len - i >= SPACE_LEN && !memcmp(s.data + i, SPACE, SPACE_LEN);
            if (write)
                out[len] = space ? ' ' : s.data[i];
            i += space ? SPACE_LEN : 1;
        }
    }
    return len;
}

/* priv[0] = 1: all tokens so far gave nothing, so the text has not begun. A caller that goes on with a
 * text that it decoded elsewhere sets n_tokens, and the space before the first word stays. */
static int64_t spm_decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                          uint64_t cap)
{
    const struct spm *t = tok;
    int32_t kind = rz_vocab_kind(&t->vocab, id);
    if (kind < 0)
        return kind;
    struct rz_str s = t->vocab.text[id];
    bool begins = state && (!state->n_tokens || state->priv[0]);
    uint64_t need;
    if (kind == RZ_TOKEN_BYTE) {
        char byte = (char)byte_of(s);
        need = (uint64_t)rz_bytes_out(&byte, 1, out, cap);
    } else if (kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_UNKNOWN) {
        need = flags & RZ_DECODE_SPECIAL ? (uint64_t)rz_bytes_out(s.data, s.len, out, cap) : 0;
    } else {
        bool strip = begins && t->add_space && s.len >= SPACE_LEN && !memcmp(s.data, SPACE, SPACE_LEN);
        need = unescape(s, strip ? SPACE_LEN : 0, out, cap);
        if (strip)
            begins = false;
    }
    if (state && need <= cap) {
        state->n_tokens++;
        state->priv[0] = begins && !need;
    }
    return (int64_t)need;
}

static int32_t spm_kind(void *tok, int32_t id)
{
    return rz_vocab_kind(&((struct spm *)tok)->vocab, id);
}

static const struct rz_tokenizer tokenizer = {
    .size = sizeof(tokenizer),
    .name = "spm",
    .probe = spm_probe,
    .create = spm_create,
    .destroy = spm_destroy,
    .info = spm_info,
    .encode = spm_encode,
    .piece = spm_piece,
    .decode = spm_decode,
    .kind = spm_kind,
};

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host;
    (void)config;
    (void)err;
    *self = NULL;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return !strcmp(id, RZ_TOKENIZER_1) && minor_need <= tokenizer.minor ? &tokenizer : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER_COMMON, .kinds = RZ_KIND_TOKENIZER, .name = "spm", .version = "0.1.0",
               .vendor = "rz", .licence = "MIT", .provides = "tokenizer:llama"},
    .option_stride = sizeof(struct rz_option),
    .init = init,
    .query = query,
};

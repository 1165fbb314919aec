/* wordpiece.c - rz.tokenizer/1 for BERT's vocabularies (`tokenizer.ggml.model` = bert).
 *
 * A text is cleaned (control characters go; unless the vocabulary is cased accents go and letters are small),
 * cut at white space, around punctuation and around each ideograph; a word is then spelled with the longest
 * tokens from the left, or is the unknown token. The file spells the token that begins a word with U+2581 in
 * front. Read-only after create; an encoding keeps one word at a time.
 */
#include "../common/meta.h"
#include "../common/tok.h"
#include "../common/unicode.h"
#include "err.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define KEY "tokenizer.ggml."
#define WORD_CHARS 100u /* a longer word is the unknown token, as in BERT's own code */
#define WORD_BYTES (RZ_SPACE_LEN + 4 * (WORD_CHARS + 1))

struct wordpiece {
    struct rz_vocab vocab;
    bool lowercase, strip_accents;
    bool by_bert; /* as BERT's own code has it, not as the programs that made GGUF common */
};

/* One encoding: the word that is being read, with U+2581 before it. */
struct job {
    const struct wordpiece *t;
    const struct rz_vocab *vocab;
    struct rz_ids *out;
    uint32_t n_chars;
    size_t len;
    char word[WORD_BYTES];
};

static bool is_ideograph(uint32_t cp)
{
    return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) ||
           (cp >= 0x20000 && cp <= 0x2a6df) || (cp >= 0x2a700 && cp <= 0x2b73f) ||
           (cp >= 0x2b740 && cp <= 0x2b81f) ||
           (cp >= 0x2b920 && cp <= 0x2ceaf) /* not from 2b820 on: BERT's code */ ||
           (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0x2f800 && cp <= 0x2fa1f);
}

static bool is_punctuation(uint32_t cp)
{
    uint8_t c = rz_uc_class(cp);
    if (cp < 0x80)
        return cp > ' ' && cp < 0x7f && !rz_uc_is_letter(c) && !rz_uc_is_number(c);
    return c >= RZ_UC_PC && c <= RZ_UC_PO;
}

/* The longest token that word[at..] begins with; its length, 0: none. */
static size_t longest(const struct job *j, size_t at, uint32_t *id)
{
    size_t len = j->len - at;
    if (len > j->vocab->longest)
        len = j->vocab->longest;
    while (len && (!rz_vocab_find(j->vocab, j->word + at, len, id) || rz_vocab_guarded(j->vocab, *id)))
        len--;
    return len;
}

static void end_word(struct job *j)
{
    uint64_t begin = j->out->n;
    uint32_t id;
    if (!j->n_chars)
        return;
    for (size_t at = 0, len; at < j->len; at += len) {
        len = j->n_chars > WORD_CHARS ? 0 : longest(j, at, &id);
        if (!len) {
            j->out->n = begin;
            if (j->vocab->info.unk >= 0)
                rz_ids_add(j->out, j->vocab->info.unk);
            break;
        }
        rz_ids_add(j->out, (int32_t)id);
    }
    j->n_chars = 0;
    j->len = RZ_SPACE_LEN;
}

static void add_char(struct job *j, uint32_t cp)
{
    if (j->t->lowercase)
        cp = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    bool alone = is_punctuation(cp) || is_ideograph(cp);
    if (alone)
        end_word(j);
    if (j->n_chars <= WORD_CHARS) {
        j->len += rz_utf8_encode(cp, j->word + j->len);
        j->n_chars++;
    }
    if (alone)
        end_word(j);
}

static bool is_mark(uint32_t cp, bool by_bert)
{
    uint8_t c = rz_uc_class(cp);
    return c >= RZ_UC_MN && c <= (by_bert ? RZ_UC_MN : RZ_UC_ME);
}

/* White space that separates words. In BERT's code control characters are none, but for these. */
static bool is_blank(uint32_t cp, uint8_t class, bool by_bert)
{
    bool control = (cp >= 9 && cp <= 13) || class == RZ_UC_NEL;
    return rz_uc_is_space(class) && !(by_bert && control && cp != '\t' && cp != '\n' && cp != '\r');
}

/* One character of the text: what is left of it after cleaning goes to the word. Of a decomposed character
 * that is all but the accents. The programs whose ids those of a GGUF file must be keep the first part alone,
 * which for Hangul is a consonant, and take all marks for accents. */
static void read_char(struct job *j, uint32_t cp)
{
    utf8proc_int32_t parts[32];
    int boundary = 0;
    uint8_t c = rz_uc_class(cp);
    bool by_bert = j->t->by_bert;
    if (is_blank(cp, c, by_bert)) {
        end_word(j);
        return;
    }
    if (cp < 0x20 || cp == 0x7f || cp == 0xfffd || (c >= RZ_UC_CC && c < RZ_UC_CN) || c == RZ_UC_NEL)
        return;
    if (cp < 0x80 || !j->t->strip_accents) {
        add_char(j, cp);
        return;
    }
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 32, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < n && (by_bert || !i); i++)
        if (!is_mark((uint32_t)parts[i], by_bert))
            add_char(j, (uint32_t)parts[i]);
}

static int32_t encode_text(void *arg, const char *text, size_t n, bool first)
{
    struct job *j = arg;
    (void)first;
    for (size_t at = 0; at < n;) {
        uint32_t cp;
        size_t len = rz_utf8_decode(text + at, n - at, &cp);
        read_char(j, cp);
        at += len ? len : 1;
    }
    end_word(j);
    return RZ_OK;
}

static int32_t encode(void *tok, const struct rz_marked_text *in, int32_t *ids, uint64_t cap, uint64_t *n_ids,
                      struct rz_err *err)
{
    struct wordpiece *t = tok;
    struct rz_ids out = {.ids = ids, .cap = cap};
    struct job j = {.t = t, .vocab = &t->vocab, .out = &out, .len = RZ_SPACE_LEN};
    struct rz_cut cut = {.vocab = &t->vocab, .in = in, .out = &out, .text = encode_text, .arg = &j};
    (void)err;
    memcpy(j.word, RZ_SPACE, RZ_SPACE_LEN);
    int32_t status = rz_cut(&cut);
    *n_ids = out.n;
    return status;
}

static int64_t decode(void *tok, struct rz_decode_state *state, int32_t id, uint32_t flags, char *out,
                      uint64_t cap)
{
    return rz_tok_decode(tok, state, id, flags, true, out, cap);
}

static void destroy(void *tok)
{
    struct wordpiece *t = tok;
    if (t)
        rz_vocab_free(&t->vocab);
    free(t);
}

/* [CLS] and [SEP] stand where others have the begin and end of a sequence. */
static int32_t load(struct wordpiece *t, const struct rz_format_model *meta, struct rz_err *err)
{
    static const struct rz_vocab_defaults defaults = {
        .bos = 101, .eos = 102, .unk = 100, .add_bos = true, .add_eos = true};
    int32_t status = rz_vocab_load(&t->vocab, meta, &defaults, err);
    struct rz_tokenizer_info *info = &t->vocab.info;
    if (!status)
        status = rz_meta_get_id(meta, KEY "cls_token_id", t->vocab.n, &info->bos, err);
    if (status >= 0)
        status = rz_meta_get_id(meta, KEY "seperator_token_id", t->vocab.n, &info->eos, err);
    if (status >= 0)
        status = rz_meta_get_id(meta, KEY "separator_token_id", t->vocab.n, &info->eos, err);
    t->lowercase = true;
    if (status >= 0)
        status = rz_meta_get_bool(meta, KEY "normalizer.lowercase", &t->lowercase, err);
    t->strip_accents = t->lowercase;
    if (status >= 0)
        status = rz_meta_get_bool(meta, KEY "normalizer.strip_accents", &t->strip_accents, err);
    if (status >= 0)
        status = rz_meta_get_bool(meta, "tokenizer.rz.bert_marks", &t->by_bert, err);
    bool add_bos = true, add_eos = true;
    if (status >= 0)
        status = rz_meta_get_bool(meta, KEY "add_bos_token", &add_bos, err);
    if (status >= 0)
        status = rz_meta_get_bool(meta, KEY "add_eos_token", &add_eos, err);
    info->add_bos = add_bos && info->bos >= 0;
    info->add_eos = add_eos && info->eos >= 0;
    return status < 0 ? status : RZ_OK;
}

static int32_t create(void *self, const struct rz_format_model *meta, const char *pre, void **tok,
                      struct rz_err *err)
{
    (void)self;
    (void)pre; /* there is one way to cut */
    *tok = NULL;
    struct wordpiece *t = calloc(1, sizeof(*t));
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
    return rz_str_is(rz_meta_text(meta, KEY "model"), "bert") ? 100 : 0;
}

RZ_TOKENIZER_PLUGIN("wordpiece", "bert");

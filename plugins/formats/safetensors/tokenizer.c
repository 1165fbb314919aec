/* tokenizer.c - tokenizer.json (BPE over bytes, or over SentencePiece's spelling), vocab.json, merges.txt.
 *
 * What these files say beyond tokens and merges must be what the program's tokenizers do; anything else is
 * refused by name.
 */
#include "stream.h"

#include "err.h"
#include "grow.h"

#include <rz/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "tokenizer.json"
#define SPACE "\342\226\201" /* U+2581 stands for a space */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* The steps of a Sequence under `list`, or the one step that o is; NULL: there is none at i. */
static const json_t *step_at(const json_t *o, const char *list, size_t i)
{
    if (!json_is_object(o))
        return NULL;
    if (strcmp(text_of(o, "type"), "Sequence") != 0)
        return i ? NULL : o;
    return json_array_get(json_object_get(o, list), i);
}

static void unsupported(struct rz_hf_model *m, const char *where, const char *what)
{
    char shown[80];
    rz_hf_fail(m, RZ_EUNSUPPORTED, where, "is \"%s\", which this rz does not have",
               rz_show(shown, sizeof(shown), what, strlen(what)));
}

/* --- tokens --- */

static bool is_byte_token(struct rz_str s)
{
    return s.len == 6 && !memcmp(s.data, "<0x", 3) && s.data[5] == '>' &&
           strspn((char[]){s.data[3], s.data[4], 0}, "0123456789abcdefABCDEF") == 2;
}

/* file: whose object `where` is. */
static void read_vocab(struct rz_hf_model *m, struct rz_hf_vocab *v, const char *file, const char *where,
                       struct rz_str vocab)
{
    struct rz_str text;
    int64_t id;
    if (!vocab.data) {
        rz_hf_fail(m, RZ_EFORMAT, where, "must be an object with the id of each token");
        return;
    }
    struct rz_hf_stream r = rz_hf_stream_begin(m, vocab);
    while (!m->status && rz_hf_stream_token(&r, &text, &id))
        rz_hf_token(m, v, where, id, text, v->spm && is_byte_token(text) ? RZ_TOKEN_BYTE : RZ_TOKEN_NORMAL,
                    false);
    if (r.bad)
        rz_hf_stream_fail(m, file, where, "each value must be the id of a token");
    else if (!r.begun)
        rz_hf_fail(m, RZ_EFORMAT, where, "must be an object with the id of each token");
}

static void read_added(struct rz_hf_model *m, struct rz_hf_vocab *v, const json_t *added, const char *unknown)
{
    const json_t *token;
    size_t i;
    if (added && !json_is_array(added) && !json_is_null(added))
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": added_tokens", "must be an array");
    json_array_foreach(added, i, token)
    {
        const json_t *id = json_object_get(token, "id");
        const char *text = json_string_value(json_object_get(token, "content"));
        if (!json_is_integer(id) || !text || !*text) {
            rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": added_tokens", "entry %zu has no id or no content", i);
            return;
        }
        int32_t kind = rz_hf_added_kind(text, json_is_true(json_object_get(token, "special")));
        if (v->spm && !strcmp(text, unknown))
            kind = RZ_TOKEN_UNKNOWN;
        rz_hf_token(m, v, FILE_NAME ": added_tokens", json_integer_value(id),
                    rz_hf_copy(m, text, strlen(text)), kind, true);
        if (m->status)
            return;
        rz_hf_added_flags(v, json_integer_value(id), token);
    }
}

/* --- merges --- */

/* "LEFT RIGHT" of a pair of texts; data = NULL: a space is in them. */
static struct rz_str join(struct rz_hf_model *m, struct rz_str left, struct rz_str right)
{
    char *text = rz_hf_array(m, left.len + right.len + 1, 1);
    if (!text || memchr(left.data, ' ', left.len) || memchr(right.data, ' ', right.len))
        return (struct rz_str){NULL, 0};
    memcpy(text, left.data, left.len);
    text[left.len] = ' ';
    memcpy(text + left.len + 1, right.data, right.len);
    return (struct rz_str){text, left.len + right.len + 1};
}

/* The merges one after the other to a table that is the caller's to free. */
static uint64_t read_merge_list(struct rz_hf_model *m, struct rz_str merges, struct rz_str **table)
{
    struct rz_hf_stream r = rz_hf_stream_begin(m, merges);
    struct rz_str left, right;
    uint64_t n = 0;
    size_t cap = 0;
    char what[80];
    while (!m->status && rz_hf_stream_merge(&r, &left, &right)) {
        struct rz_str *grown = rz_heap_grow(*table, n, &cap, sizeof(*grown), 1024);
        if (!grown) {
            rz_hf_fail(m, RZ_ENOMEM, FILE_NAME, "no memory for %llu merges", (unsigned long long)n + 1);
            break;
        }
        *table = grown;
        if (right.data)
            left = join(m, left, right);
        r.bad |= !left.data;
        if (!r.bad)
            (*table)[n++] = left;
    }
    snprintf(what, sizeof(what), "entry %llu is no pair of tokens without spaces", (unsigned long long)n);
    if (r.bad && !m->status)
        rz_hf_stream_fail(m, FILE_NAME, FILE_NAME ": model.merges", what);
    return n;
}

static struct rz_str *read_merges(struct rz_hf_model *m, struct rz_str merges, uint64_t *n)
{
    struct rz_str *list = NULL;
    if (!merges.data)
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": model.merges", "must be an array");
    *n = m->status ? 0 : read_merge_list(m, merges, &list);
    struct rz_str *table = rz_hf_array(m, *n, sizeof(*table));
    if (table && *n)
        memcpy(table, list, *n * sizeof(*table));
    free(list);
    return table;
}

/* --- merges as scores: a token's score falls with the rank of the first merge that makes it --- */

struct pairs {
    struct rz_map ids, merges;
    const struct rz_hf_vocab *v;
};

static void score_tokens(struct rz_hf_model *m, struct pairs *p, const struct rz_str *merges, uint64_t n)
{
    char joined[2 * 65536];
    for (uint32_t i = 0; i < p->v->n; i++)
        p->v->score[i] = p->v->type[i] == RZ_TOKEN_NORMAL ? -(float)n : 0;
    for (uint64_t i = 0; i < n && !m->status; i++) {
        const char *space = memchr(merges[i].data, ' ', merges[i].len);
        uint32_t id;
        size_t left = space ? (size_t)(space - merges[i].data) : 0, len = merges[i].len - 1;
        if (!space || merges[i].len > sizeof(joined)) {
            rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": model.merges", "entry %llu is no pair of tokens",
                       (unsigned long long)i);
            return;
        }
        memcpy(joined, merges[i].data, left);
        memcpy(joined + left, space + 1, len - left);
        if (!rz_map_get(&p->ids, joined, len, &id))
            rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": model.merges", "what entry %llu makes is no token",
                       (unsigned long long)i);
        else if (p->v->score[id] == -(float)n)
            p->v->score[id] = -(float)i;
        if (rz_map_add(&p->merges, merges[i].data, merges[i].len, (uint32_t)i) < 0)
            rz_hf_fail(m, RZ_ENOMEM, FILE_NAME, "no memory for %llu merges", (unsigned long long)n);
    }
}

/* Merging by scores joins any two tokens that make a third; are all of these merges? */
static bool is_complete(const struct pairs *p)
{
    char pair[300];
    uint32_t id;
    for (uint32_t i = 0; i < p->v->n; i++) {
        struct rz_str s = p->v->text[i];
        if (p->v->type[i] != RZ_TOKEN_NORMAL || s.len + 1 > sizeof(pair))
            continue;
        for (size_t cut = 1; cut < s.len; cut++) {
            if (((uint8_t)s.data[cut] & 0xc0) == 0x80 || !rz_map_get(&p->ids, s.data, cut, &id) ||
                !rz_map_get(&p->ids, s.data + cut, s.len - cut, &id))
                continue;
            memcpy(pair, s.data, cut);
            pair[cut] = ' ';
            memcpy(pair + cut + 1, s.data + cut, s.len - cut);
            if (!rz_map_get(&p->merges, pair, s.len + 1, &id))
                return false;
        }
    }
    return true;
}

/* False: the merges cannot be said by scores, and v has none then. */
static bool read_scores(struct rz_hf_model *m, struct rz_hf_vocab *v, const struct rz_str *merges, uint64_t n)
{
    struct pairs p = {.v = v};
    if (!rz_map_init(&p.ids, v->n) || !rz_map_init(&p.merges, n))
        rz_hf_fail(m, RZ_ENOMEM, FILE_NAME, "no memory for %u tokens", v->n);
    for (uint32_t i = 0; i < v->n && !m->status; i++)
        if (v->text[i].data && v->type[i] == RZ_TOKEN_NORMAL &&
            rz_map_add(&p.ids, v->text[i].data, v->text[i].len, i) < 0)
            rz_hf_fail(m, RZ_ENOMEM, FILE_NAME, "no memory for %u tokens", v->n);
    if (!m->status)
        score_tokens(m, &p, merges, n);
    bool complete = !m->status && is_complete(&p);
    rz_map_free(&p.ids);
    rz_map_free(&p.merges);
    if (!complete)
        v->score = NULL;
    return complete;
}

/* --- what happens to a text before and after --- */

/* Bytes: nothing, or composing (NFC), which texts normally are already. */
static void check_bytes_normalizer(struct rz_hf_model *m, const json_t *normalizer)
{
    const json_t *step;
    for (size_t i = 0; (step = step_at(normalizer, "normalizers", i)); i++)
        if (strcmp(text_of(step, "type"), "NFC") != 0)
            unsupported(m, FILE_NAME ": normalizer", text_of(step, "type"));
}

/* SentencePiece: spaces become U+2581, perhaps with one more in front. What is done (tokenizer.rz.spaces),
 * and whether it puts one in front; NULL: spaces stay. */
static const char *read_spm_steps(struct rz_hf_model *m, const json_t *root, bool *prefix)
{
    const char *spaces = NULL;
    bool first = false;
    const json_t *step, *normalizer = json_object_get(root, "normalizer");
    for (size_t i = 0; (step = step_at(normalizer, "normalizers", i)); i++) {
        const char *type = text_of(step, "type");
        const char *from = text_of(json_object_get(step, "pattern"), "String");
        if (!strcmp(type, "Prepend") && !strcmp(text_of(step, "prepend"), SPACE))
            *prefix = first = true;
        else if (!strcmp(type, "Replace") && !strcmp(from, " ") && !strcmp(text_of(step, "content"), SPACE))
            spaces = "replace";
        else
            unsupported(m, FILE_NAME ": normalizer", type);
    }
    if (spaces && first)
        spaces = "prepend";
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    for (size_t i = 0; (step = step_at(pre, "pretokenizers", i)); i++) {
        const char *scheme = text_of(step, "prepend_scheme");
        if (strcmp(text_of(step, "type"), "Metaspace") != 0 ||
            strcmp(text_of(step, "replacement"), SPACE) != 0 ||
            !json_is_false(json_object_get(step, "split")) || first) {
            unsupported(m, FILE_NAME ": pre_tokenizer", text_of(step, "type"));
            return NULL;
        }
        if (!*scheme)
            scheme = json_is_false(json_object_get(step, "add_prefix_space")) ? "never" : "always";
        spaces = !strcmp(scheme, "first") ? "first" : !strcmp(scheme, "never") ? "never" : "always";
        *prefix = strcmp(spaces, "never") != 0;
    }
    return spaces;
}

/* A text that outlives the file's values; NULL: it is none. */
static const char *kept(struct rz_hf_model *m, const json_t *text)
{
    return json_is_string(text) ? rz_hf_copy(m, json_string_value(text), json_string_length(text)).data
                                : NULL;
}

static const char *special_id(struct rz_hf_model *m, const json_t *item)
{
    return kept(m, json_object_get(json_object_get(item, "SpecialToken"), "id"));
}

static void read_template(struct rz_hf_model *m, struct rz_hf_vocab *v, const json_t *single)
{
    size_t n = json_array_size(single), text = n;
    for (size_t i = 0; i < n && text == n; i++)
        if (json_object_get(json_array_get(single, i), "Sequence"))
            text = i;
    if (text > 0)
        v->first = special_id(m, json_array_get(single, 0));
    if (text + 1 < n)
        v->last = special_id(m, json_array_get(single, n - 1));
}

static void read_ends(struct rz_hf_model *m, struct rz_hf_vocab *v, const json_t *processor)
{
    const json_t *step;
    v->add_bos = v->add_eos = v->spm && !json_is_object(processor) ? -1 : 0;
    for (size_t i = 0; (step = step_at(processor, "processors", i)); i++) {
        const char *type = text_of(step, "type");
        if (!strcmp(type, "ByteLevel"))
            continue;
        if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing")) {
            v->first = kept(m, json_array_get(json_object_get(step, "cls"), 0));
            v->last = kept(m, json_array_get(json_object_get(step, "sep"), 0));
            continue;
        }
        if (strcmp(type, "TemplateProcessing") != 0) {
            unsupported(m, FILE_NAME ": post_processor", type);
            return;
        }
        if (json_array_size(json_object_get(step, "single")) > 3) {
            rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": post_processor",
                       "puts more than one token at an end of a text");
            return;
        }
        read_template(m, v, json_object_get(step, "single"));
    }
    if (v->first)
        v->add_bos = 1;
    if (v->last)
        v->add_eos = 1;
}

/* --- the files --- */

static void check_model(struct rz_hf_model *m, const json_t *model)
{
    const json_t *dropout = json_object_get(model, "dropout");
    const char *type = text_of(model, "type");
    if (!strcmp(type, "WordPiece"))
        return;
    if (strcmp(type, "BPE") != 0 && (*type || !json_is_array(json_object_get(model, "merges"))))
        unsupported(m, FILE_NAME ": model.type", type);
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": model.dropout", "is %g, which this rz does not have",
                   json_number_value(dropout));
    if (*text_of(model, "continuing_subword_prefix"))
        unsupported(m, FILE_NAME ": model.continuing_subword_prefix",
                    text_of(model, "continuing_subword_prefix"));
    if (*text_of(model, "end_of_word_suffix"))
        unsupported(m, FILE_NAME ": model.end_of_word_suffix", text_of(model, "end_of_word_suffix"));
}

static bool has_bytes_step(const json_t *root)
{
    const json_t *step, *pre = json_object_get(root, "pre_tokenizer");
    for (size_t i = 0; (step = step_at(pre, "pretokenizers", i)); i++)
        if (!strcmp(text_of(step, "type"), "ByteLevel"))
            return true;
    return false;
}

static void finish_bytes(struct rz_hf_model *m, const char *pre, const struct rz_str *merges, uint64_t n)
{
    rz_hf_put_str(m, "tokenizer.ggml.model", "gpt2", 4);
    rz_hf_put_str(m, "tokenizer.ggml.pre", pre, strlen(pre));
    rz_hf_put_array(m, "tokenizer.ggml.merges", RZ_META_STR, merges, n);
}

static void finish_spm(struct rz_hf_model *m, const json_t *root, bool scores)
{
    const char *kind = scores ? "llama" : "gemma4";
    bool prefix = false;
    const char *spaces = read_spm_steps(m, root, &prefix);
    if (!spaces)
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": normalizer", "does not write spaces as U+2581");
    rz_hf_put_str(m, "tokenizer.ggml.model", kind, strlen(kind));
    rz_hf_put_str(m, "tokenizer.ggml.pre", "default", 7);
    rz_hf_put_bool(m, "tokenizer.ggml.add_space_prefix", prefix);
    if (spaces)
        rz_hf_put_str(m, "tokenizer.rz.spaces", spaces, strlen(spaces));
}

void rz_hf_read_tokenizer_json(struct rz_hf_model *m, struct rz_hf_vocab *v)
{
    struct rz_hf_long values;
    json_t *root = rz_hf_json_short(m, FILE_NAME, &values);
    const json_t *model = json_object_get(root, "model");
    uint64_t n = 0;
    bool bytes = has_bytes_step(root), pieces = !strcmp(text_of(model, "type"), "WordPiece");
    check_model(m, model);
    v->spm = !bytes && !pieces;
    if (!bytes && !pieces && !json_is_true(json_object_get(model, "byte_fallback")))
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": pre_tokenizer",
                   "has no ByteLevel and the model no byte_fallback: this rz has neither without");
    read_vocab(m, v, FILE_NAME, FILE_NAME ": model.vocab", values.vocab);
    read_added(m, v, json_object_get(root, "added_tokens"), text_of(model, "unk_token"));
    struct rz_str *merges = pieces ? NULL : read_merges(m, values.merges, &n);
    read_ends(m, v, json_object_get(root, "post_processor"));
    if (!m->status && pieces) {
        rz_hf_finish_wordpiece(m, v, root);
    } else if (!m->status && bytes) {
        bool whole = json_is_true(json_object_get(model, "ignore_merges"));
        check_bytes_normalizer(m, json_object_get(root, "normalizer"));
        finish_bytes(m, rz_hf_pre(m, json_object_get(root, "pre_tokenizer"), whole), merges, n);
    } else if (!m->status) {
        finish_spm(m, root, read_scores(m, v, merges, n));
        if (!v->score)
            rz_hf_put_array(m, "tokenizer.ggml.merges", RZ_META_STR, merges, n);
    }
    json_decref(root);
}

/* One merge a line, after an optional line that begins with #version. */
static struct rz_str *read_merges_text(struct rz_hf_model *m, const struct rz_source *s, uint64_t *n)
{
    const char *at = (const char *)s->data, *end = at + s->bytes;
    uint64_t lines = 1;
    for (const char *p = at; p < end; p++)
        lines += *p == '\n';
    struct rz_str *table = rz_hf_array(m, lines, sizeof(*table));
    for (*n = 0; at < end && table;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line_end ? line_end : end) - at), whole = len + (line_end != NULL);
        if (len && at[len - 1] == '\r')
            len--;
        bool head = at == (const char *)s->data && len > 8 && !memcmp(at, "#version", 8);
        if (len && !head)
            table[(*n)++] = (struct rz_str){at, len};
        at += whole;
    }
    return table;
}

void rz_hf_read_vocab_json(struct rz_hf_model *m, struct rz_hf_vocab *v)
{
    const struct rz_source *merges = rz_hf_file(m, "merges.txt");
    const char *class = text_of(m->tokenizer_config, "tokenizer_class");
    uint64_t n = 0;
    if (!merges) {
        rz_hf_fail(m, RZ_EFORMAT, "merges.txt", "is not in the folder, and vocab.json needs it");
        return;
    }
    read_vocab(m, v, "vocab.json", "vocab.json", rz_hf_json_object(m, "vocab.json"));
    struct rz_str *table = read_merges_text(m, merges, &n);
    if (m->status)
        return;
    v->add_bos = v->add_eos = 0;
    const char *pre = !strcmp(class, "Qwen2Tokenizer")  ? "qwen2"
                      : !strcmp(class, "GPT2Tokenizer") ? "gpt-2"
                                                        : class;
    finish_bytes(m, *pre ? pre : "not told by vocab.json", table, n);
}

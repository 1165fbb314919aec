/* wordpiece.c - BERT's vocabulary in tokenizer.json: pieces that go on a word begin with ##.
 *
 * The host's spelling is GGUF's: what begins a word has U+2581 in front, what goes on has nothing. Capitals
 * and accents go or stay as the folder says; what the host does besides is fixed, so that another way of
 * cleaning is refused.
 */
#include "folder.h"

#include <rz/tokenizer.h>
#include <string.h>

#define FILE_NAME "tokenizer.json"
#define SPACE "\342\226\201"
#define GOES_ON "##"

static void read_normalizer(struct rz_hf_model *m, const json_t *n)
{
    const char *type = json_string_value(json_object_get(n, "type"));
    const json_t *strip = json_object_get(n, "strip_accents");
    if (!type || strcmp(type, "BertNormalizer") != 0)
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": normalizer", "is not BertNormalizer");
    else if (json_is_false(json_object_get(n, "clean_text")) ||
             json_is_false(json_object_get(n, "handle_chinese_chars")))
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": normalizer",
                   "keeps control characters or joins ideographs, which this rz does not");
    bool lowercase = json_is_true(json_object_get(n, "lowercase"));
    rz_hf_put_bool(m, "tokenizer.ggml.normalizer.lowercase", lowercase);
    rz_hf_put_bool(m, "tokenizer.ggml.normalizer.strip_accents",
                   json_is_boolean(strip) ? json_is_true(strip) : lowercase);
    rz_hf_put_bool(m, "tokenizer.rz.bert_marks", true); /* the rest of a decomposed character counts */
}

static void check_rest(struct rz_hf_model *m, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const char *pre = json_string_value(json_object_get(json_object_get(root, "pre_tokenizer"), "type"));
    const char *prefix = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    const json_t *most = json_object_get(model, "max_input_chars_per_word");
    if (!pre || strcmp(pre, "BertPreTokenizer") != 0)
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": pre_tokenizer", "is not BertPreTokenizer");
    if (prefix && strcmp(prefix, GOES_ON) != 0)
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": model.continuing_subword_prefix", "is not " GOES_ON);
    if (most && json_integer_value(most) != 100)
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": model.max_input_chars_per_word",
                   "is %lld: this rz has 100", (long long)json_integer_value(most));
}

static struct rz_str respelled(struct rz_hf_model *m, struct rz_str s)
{
    size_t space = strlen(SPACE);
    if (s.len > 2 && !memcmp(s.data, GOES_ON, 2))
        return (struct rz_str){s.data + 2, s.len - 2};
    char *text = rz_hf_array(m, s.len + space + 1, 1);
    if (!text)
        return s;
    memcpy(text, SPACE, space);
    memcpy(text + space, s.data, s.len);
    return (struct rz_str){text, s.len + space};
}

void rz_hf_finish_wordpiece(struct rz_hf_model *m, struct rz_hf_vocab *v, const json_t *root)
{
    read_normalizer(m, json_object_get(root, "normalizer"));
    check_rest(m, root);
    for (uint32_t i = 0; i < v->n && !m->status; i++)
        if (v->text[i].data && v->type[i] == RZ_TOKEN_NORMAL)
            v->text[i] = respelled(m, v->text[i]);
    rz_hf_put_str(m, "tokenizer.ggml.model", "bert", 4);
    rz_hf_put_str(m, "tokenizer.ggml.pre", "default", 7);
}

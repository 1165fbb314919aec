/* pre.c - which rule cuts a text into words, told from the description in tokenizer.json.
 *
 * The description becomes one line of text, which is looked up; there is no guessing by likeness. A line
 * that is not known is handed on as it is: the tokenizer then says so, and [tokenizer] pre overrides it.
 */
#include "folder.h"

#include "buf.h"

#include <string.h>

#define LINE_MAX_BYTES 4096u

#define WORDS_LLAMA3(digits) \
    "split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+; bytes"

static const struct {
    const char *line;
    bool ignore_merges; /* tokens that are whole words are taken before any merge */
    const char *name;
} rules[] = {
    {"words bytes", false, "gpt-2"},
    {"digits; words bytes", false, "smollm"},
    {WORDS_LLAMA3("{1,3}"), true, "llama-bpe"},
    {WORDS_LLAMA3("{1,3}"), false, "dbrx"},
    {WORDS_LLAMA3(""), false, "qwen2"},
};

static bool is(const json_t *o, const char *key, const char *value)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && !strcmp(s, value);
}

static bool truth(const json_t *o, const char *key, bool fallback)
{
    const json_t *value = json_object_get(o, key);
    return value && json_is_boolean(value) ? json_is_true(value) : fallback;
}

static void describe_split(struct rz_buf *line, const json_t *o)
{
    const json_t *pattern = json_object_get(o, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *text = json_string_value(json_object_get(pattern, "String"));
    rz_buf_str(line, regex ? "split " : "split at ");
    rz_buf_str(line, regex ? regex : text ? text : "?");
    if (!is(o, "behavior", "Isolated") || truth(o, "invert", false))
        rz_buf_str(line, " not isolated");
}

static void describe_step(struct rz_buf *line, const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    if (line->len)
        rz_buf_str(line, "; ");
    if (is(o, "type", "ByteLevel")) {
        rz_buf_str(line, truth(o, "use_regex", true) ? "words bytes" : "bytes");
        if (truth(o, "add_prefix_space", true))
            rz_buf_str(line, " after a space");
    } else if (is(o, "type", "Digits")) {
        rz_buf_str(line, truth(o, "individual_digits", false) ? "digits" : "runs of digits");
    } else if (is(o, "type", "Split")) {
        describe_split(line, o);
    } else {
        rz_buf_str(line, type ? type : "?");
    }
}

const char *rz_hf_pre(struct rz_hf_model *m, const json_t *pre_tokenizer, bool ignore_merges)
{
    struct rz_buf line;
    const char *name = NULL;
    rz_buf_init(&line, LINE_MAX_BYTES);
    if (is(pre_tokenizer, "type", "Sequence")) {
        const json_t *steps = json_object_get(pre_tokenizer, "pretokenizers"), *step;
        size_t i;
        json_array_foreach(steps, i, step) describe_step(&line, step);
    } else {
        describe_step(&line, pre_tokenizer);
    }
    for (size_t i = 0; rz_buf_ok(&line) && i < sizeof(rules) / sizeof(rules[0]); i++)
        if (line.data && !strcmp(line.data, rules[i].line) && rules[i].ignore_merges == ignore_merges)
            name = rules[i].name;
    if (!name) {
        if (ignore_merges)
            rz_buf_str(&line, "; ignore_merges");
        name = rz_buf_ok(&line) && line.data ? rz_hf_copy(m, line.data, line.len).data : "too long to tell";
    }
    rz_buf_free(&line);
    return name;
}

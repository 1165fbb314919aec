/* tokens.c - the table of a vocabulary's tokens, and which of a folder's files it comes from. */
#include "folder.h"

#include "err.h"

#include <rz/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "tokenizer.ggml."

/* One slot for each row of the embedding, which was compared with the file's size before. */
static bool begin(struct rz_hf_model *m, struct rz_hf_vocab *v)
{
    if (v->cap)
        return true;
    v->cap = m->c.n_vocab;
    v->text = rz_hf_array(m, v->cap, sizeof(*v->text));
    v->type = rz_hf_array(m, v->cap, sizeof(*v->type));
    v->flags = rz_hf_array(m, v->cap, sizeof(*v->flags));
    v->score = v->spm ? rz_hf_array(m, v->cap, sizeof(*v->score)) : NULL;
    return !m->status;
}

static bool same(struct rz_str a, const char *text, size_t len)
{
    return a.len == len && !memcmp(a.data, text, len);
}

void rz_hf_token(struct rz_hf_model *m, struct rz_hf_vocab *v, const char *where, int64_t id,
                 struct rz_str text, int32_t type, bool replace)
{
    char shown[80];
    if (m->status)
        return;
    if (id < 0 || id >= m->c.n_vocab) {
        rz_hf_fail(m, RZ_EFORMAT, where, "token \"%s\" has the id %lld, the model has 0 to %u",
                   rz_show(shown, sizeof(shown), text.data, text.len), (long long)id, m->c.n_vocab - 1);
        return;
    }
    if (!begin(m, v))
        return;
    struct rz_str *at = &v->text[id];
    if (at->data && !replace && !same(*at, text.data, text.len)) {
        rz_hf_fail(m, RZ_EFORMAT, where, "token \"%s\" has the id %lld of another token",
                   rz_show(shown, sizeof(shown), text.data, text.len), (long long)id);
        return;
    }
    if (at->data && replace && same(*at, text.data, text.len))
        v->flags[id] |= RZ_HF_IN_MODEL;
    if (!at->data || !same(*at, text.data, text.len))
        *at = text;
    v->type[id] = type;
    if ((uint32_t)id >= v->n)
        v->n = (uint32_t)id + 1;
}

int32_t rz_hf_added_kind(const char *text, bool special)
{
    static const char *const looks[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    size_t n = strlen(text);
    bool looks_special = n > 4 && !memcmp(text, "<|", 2) && !memcmp(text + n - 2, "|>", 2);
    looks_special |= n > 8 && !memcmp(text, "<\357\275\234", 4) && !memcmp(text + n - 4, "\357\275\234>", 4);
    looks_special |=
        n > 8 && !memcmp(text, "<unused", 7) && text[n - 1] == '>' && strspn(text + 7, "0123456789") == n - 8;
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
        looks_special |= !strcmp(text, looks[i]);
    return special || looks_special ? RZ_TOKEN_CONTROL : RZ_TOKEN_USER;
}

void rz_hf_added_flags(struct rz_hf_vocab *v, int64_t id, const json_t *token)
{
    static const char *const keys[] = {"lstrip", "rstrip", "single_word", "normalized"}; /* bits 0 to 3 */
    for (uint32_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_is_true(json_object_get(token, keys[i])))
            v->flags[id] |= 1 << i;
}

/* Pairs of id and flags, of the tokens that have any. */
static void put_flags(struct rz_hf_model *m, const struct rz_hf_vocab *v)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < v->n; i++)
        n += v->flags[i] ? 2 : 0;
    int32_t *pairs = n ? rz_hf_array(m, n, sizeof(*pairs)) : NULL;
    if (!pairs)
        return;
    n = 0;
    for (uint32_t i = 0; i < v->n; i++)
        if (v->flags[i]) {
            pairs[n++] = (int32_t)i;
            pairs[n++] = v->flags[i];
        }
    rz_hf_put_array(m, "tokenizer.rz.added_tokens", RZ_META_I32, pairs, n);
}

/* Ids without a token, up to the embedding's last row, get one that no text contains. */
static void pad(struct rz_hf_model *m, struct rz_hf_vocab *v)
{
    char text[32];
    if (m->status || !begin(m, v))
        return;
    for (uint32_t i = 0; i < v->cap && !m->status; i++)
        if (!v->text[i].data) {
            int len = snprintf(text, sizeof(text), "[PAD%u]", i);
            v->text[i] = rz_hf_copy(m, text, (size_t)len);
            v->type[i] = RZ_TOKEN_UNUSED;
        }
    v->n = v->cap;
}

bool rz_hf_find_token(const struct rz_hf_vocab *v, const char *text, uint32_t *id)
{
    size_t len = strlen(text);
    for (*id = 0; *id < v->n; ++*id)
        if (same(v->text[*id], text, len))
            return true;
    return false;
}

/* tokenizer_config.json lists the tokens that were added to a vocabulary without a tokenizer.json. */
static void read_added(struct rz_hf_model *m, struct rz_hf_vocab *v)
{
    static const char where[] = "tokenizer_config.json: added_tokens_decoder";
    const char *key;
    json_t *value, *added = rz_hf_json(m, "added_tokens.json");
    json_object_foreach(added, key, value)
    {
        if (!json_is_integer(value))
            rz_hf_fail(m, RZ_EFORMAT, "added_tokens.json", "each value must be the id of a token");
        rz_hf_token(m, v, "added_tokens.json", json_integer_value(value), rz_hf_copy(m, key, strlen(key)),
                    rz_hf_added_kind(key, false), true);
    }
    json_decref(added);
    json_object_foreach(json_object_get(m->tokenizer_config, "added_tokens_decoder"), key, value)
    {
        char *end;
        const char *text = json_string_value(json_object_get(value, "content"));
        long long id = strtoll(key, &end, 10);
        if (*end || !*key || !text) {
            rz_hf_fail(m, RZ_EFORMAT, where, "each entry must be \"ID\": {\"content\": TEXT, ...}");
            return;
        }
        bool special = json_is_true(json_object_get(value, "special"));
        int32_t kind = rz_hf_added_kind(text, special);
        if (id >= 0 && id < v->n && v->type[id] == RZ_TOKEN_UNKNOWN && same(v->text[id], text, strlen(text)))
            kind = RZ_TOKEN_UNKNOWN;
        rz_hf_token(m, v, where, id, rz_hf_copy(m, text, strlen(text)), kind, true);
        if (m->status)
            return;
        rz_hf_added_flags(v, id, value);
        v->flags[id] &= ~RZ_HF_NORMALIZED; /* what reads these files does not normalise first */
    }
}

static void put(struct rz_hf_model *m, const struct rz_hf_vocab *v)
{
    rz_hf_put_array(m, KEY "tokens", RZ_META_STR, v->text, v->n);
    rz_hf_put_array(m, KEY "token_type", RZ_META_I32, v->type, v->n);
    if (v->flags)
        put_flags(m, v);
    if (v->score)
        rz_hf_put_array(m, KEY "scores", RZ_META_F32, v->score, v->n);
}

void rz_hf_read_tokenizer(struct rz_hf_model *m)
{
    struct rz_hf_vocab v = {.add_bos = -1, .add_eos = -1};
    const struct rz_source *spm = rz_hf_file(m, "tokenizer.model");
    if (rz_hf_file(m, "tokenizer.json")) {
        rz_hf_read_tokenizer_json(m, &v);
    } else if (spm) {
        rz_hf_read_spm(m, &v, spm);
        read_added(m, &v);
    } else if (rz_hf_file(m, "vocab.json")) {
        rz_hf_read_vocab_json(m, &v);
        read_added(m, &v);
    } else {
        rz_hf_fail(m, RZ_EFORMAT, "tokenizer.json",
                   "is not in the folder, nor is tokenizer.model, nor vocab.json with merges.txt");
    }
    pad(m, &v);
    put(m, &v);
    if (!m->status)
        rz_hf_read_special(m, &v);
}

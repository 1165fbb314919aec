/* special.c - special tokens, what is put at the ends of a prompt, and chat templates: small keys that are
 * spread over tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json. */
#include "folder.h"

#include "err.h"

#include <stdio.h>
#include <string.h>

#define KEY "tokenizer.ggml."
#define ENDS_MAX 31

struct special {
    struct rz_hf_model *m;
    const struct rz_hf_vocab *v;
    json_t *map, *generation; /* special_tokens_map.json, generation_config.json */
    int64_t bos, eos;         /* -1: none */
};

/* The id of a token that is a text or an object with its content; -1: null or absent. */
static int64_t by_text(struct special *s, const json_t *value, const char *where)
{
    const char *text = json_is_object(value) ? json_string_value(json_object_get(value, "content"))
                                             : json_string_value(value);
    char shown[80];
    uint32_t id;
    if (!value || json_is_null(value))
        return -1;
    if (text && rz_hf_find_token(s->v, text, &id))
        return id;
    rz_hf_fail(s->m, RZ_EFORMAT, where, "\"%s\" is no token",
               rz_show(shown, sizeof(shown), text ? text : "?", text ? strlen(text) : 1));
    return -1;
}

/* An id of config.json; of a list the first. -1: none, or outside the vocabulary where that is allowed. */
static int64_t by_number(struct special *s, const char *key, bool strict)
{
    const json_t *value = json_object_get(s->m->config, key);
    char where[80];
    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (!json_is_integer(value))
        return -1;
    json_int_t id = json_integer_value(value);
    if (id >= 0 && id < s->v->n)
        return id;
    snprintf(where, sizeof(where), "config.json: %s", key);
    if (strict && id >= 0)
        rz_hf_fail(s->m, RZ_EFORMAT, where, "token %lld is outside the vocabulary (%u tokens)", (long long)id,
                   s->v->n);
    return -1;
}

static int64_t find(struct special *s, const char *name, bool strict)
{
    char key[48], where[100];
    snprintf(key, sizeof(key), "%s_token", name);
    snprintf(where, sizeof(where), "tokenizer_config.json: %s", key);
    int64_t id = by_text(s, json_object_get(s->m->tokenizer_config, key), where);
    if (id < 0 && !s->m->status) {
        snprintf(where, sizeof(where), "special_tokens_map.json: %s", key);
        id = by_text(s, json_object_get(s->map, key), where);
    }
    snprintf(key, sizeof(key), "%s_token_id", name);
    return id < 0 && !s->m->status ? by_number(s, key, strict) : id;
}

/* The id of a token at an end of a text: `id`, or that of another name if that one is put there. */
static int64_t end_of(struct special *s, const char *text, int64_t id, const char *other)
{
    uint32_t put;
    if (!text || !rz_hf_find_token(s->v, text, &put) || put == id)
        return id;
    return find(s, other, false) == put ? put : id;
}

static void put_id(struct special *s, const char *key, int64_t id)
{
    if (id >= 0)
        rz_hf_put_u32(s->m, key, (uint32_t)id);
}

/* --- tokens that end a generation, beside eos --- */

static void add_end(struct special *s, const json_t *value, int32_t *ends, uint32_t *n)
{
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id >= s->v->n || id == s->eos)
        return;
    for (uint32_t i = 0; i < *n; i++)
        if (ends[i] == id)
            return;
    if (*n < ENDS_MAX)
        ends[(*n)++] = (int32_t)id;
}

static void add_ends(struct special *s, const json_t *value, int32_t *ends, uint32_t *n)
{
    const json_t *one;
    size_t i;
    add_end(s, value, ends, n);
    json_array_foreach(value, i, one) add_end(s, one, ends, n);
}

/* The first is an end of turn, as far as GGUF has a key for it; all of them have a key of ours. */
static void put_ends(struct special *s)
{
    int32_t *ends = rz_hf_array(s->m, ENDS_MAX, sizeof(*ends));
    uint32_t n = 0;
    if (!ends)
        return;
    add_ends(s, json_object_get(s->generation, "eos_token_id"), ends, &n);
    if (json_is_array(json_object_get(s->m->config, "eos_token_id")))
        add_ends(s, json_object_get(s->m->config, "eos_token_id"), ends, &n);
    if (n)
        rz_hf_put_u32(s->m, KEY "eot_token_id", (uint32_t)ends[0]);
    if (n > 1)
        rz_hf_put_array(s->m, "tokenizer.rz.end_token_ids", RZ_META_I32, ends, n);
}

/* --- the ends of a prompt --- */

/* key: what tokenizer_config.json says; told: what the post-processor does; text: the token that it adds. */
static void put_add(struct special *s, const char *key, int32_t told, const char *text, int64_t id)
{
    const json_t *value = json_object_get(s->m->tokenizer_config, key);
    char name[64], shown[80];
    uint32_t added;
    bool own = json_is_boolean(value);
    if (own || told >= 0) {
        snprintf(name, sizeof(name), KEY "%s", key);
        rz_hf_put_bool(s->m, name, own ? json_is_true(value) : told != 0);
    }
    if (!own && text && (!rz_hf_find_token(s->v, text, &added) || added != id))
        rz_hf_fail(s->m, RZ_EUNSUPPORTED, "tokenizer.json: post_processor",
                   "puts \"%s\" at an end of a text, which is neither bos_token nor eos_token there",
                   rz_show(shown, sizeof(shown), text, strlen(text)));
}

/* --- templates --- */

static void put_template_list(struct rz_hf_model *m, const json_t *list)
{
    const json_t *one;
    size_t i;
    uint64_t n = 0;
    char key[200];
    struct rz_str *names = rz_hf_array(m, json_array_size(list), sizeof(*names));
    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const json_t *text = json_object_get(one, "template");
        if (!name || !json_is_string(text) || strlen(name) > 100) {
            rz_hf_fail(m, RZ_EFORMAT, "tokenizer_config.json: chat_template",
                       "entry %zu has no name and template", i);
            return;
        }
        bool usual = !strcmp(name, "default");
        snprintf(key, sizeof(key), "tokenizer.chat_template%s%s", usual ? "" : ".", usual ? "" : name);
        rz_hf_put_str(m, key, json_string_value(text), json_string_length(text));
        if (!usual && names)
            names[n++] = rz_hf_copy(m, name, strlen(name));
    }
    if (n)
        rz_hf_put_array(m, "tokenizer.chat_templates", RZ_META_STR, names, n);
}

static void put_templates(struct rz_hf_model *m)
{
    const struct rz_source *file = rz_hf_file(m, "chat_template.jinja");
    const json_t *value = json_object_get(m->tokenizer_config, "chat_template");
    if (file)
        rz_hf_put_str(m, "tokenizer.chat_template", (const char *)file->data, file->bytes);
    else if (json_is_string(value))
        rz_hf_put_str(m, "tokenizer.chat_template", json_string_value(value), json_string_length(value));
    else if (json_is_array(value))
        put_template_list(m, value);
    else if (value && !json_is_null(value))
        rz_hf_fail(m, RZ_EFORMAT, "tokenizer_config.json: chat_template", "must be a text or a list");
}

void rz_hf_read_special(struct rz_hf_model *m, const struct rz_hf_vocab *v)
{
    struct special s = {.m = m,
                        .v = v,
                        .map = rz_hf_json(m, "special_tokens_map.json"),
                        .generation = rz_hf_json(m, "generation_config.json")};
    s.bos = find(&s, "bos", true);
    s.eos = find(&s, "eos", true);
    /* encoders say class and separator for what stands at the ends */
    s.bos = end_of(&s, v->first, s.bos, "cls");
    s.eos = end_of(&s, v->last, s.eos, "sep");
    put_id(&s, KEY "bos_token_id", s.bos);
    put_id(&s, KEY "eos_token_id", s.eos);
    put_id(&s, KEY "unknown_token_id", find(&s, "unk", false));
    put_id(&s, KEY "padding_token_id", find(&s, "pad", false));
    put_ends(&s);
    put_add(&s, "add_bos_token", v->add_bos, v->first, s.bos);
    put_add(&s, "add_eos_token", v->add_eos, v->last, s.eos);
    put_templates(m);
    json_decref(s.map);
    json_decref(s.generation);
}

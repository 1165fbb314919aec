/* added.c - flags from the metadata or from what the model is; then one entry a token in its set. */
#include "added.h"

#include "err.h"
#include "meta.h"
#include "vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool contains(struct rz_str s, const char *part)
{
    size_t n = strlen(part);
    for (uint64_t i = 0; i + n <= s.len; i++)
        if (!strncasecmp(s.data + i, part, n))
            return true;
    return false;
}

static bool is_added(const struct rz_vocab *v, uint32_t id)
{
    uint8_t kind = v->kind[id];
    return v->text[id].len && (kind == RZ_TOKEN_USER || kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_UNKNOWN);
}

/* Phi-3's added tokens take the white space after them away, but for those of its first vocabulary. */
static void flag_phi3(struct rz_vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (is_added(v, i) && !rz_str_is(v->text[i], "<s>") && !rz_str_is(v->text[i], "<unk>") &&
            !rz_str_is(v->text[i], "<|endoftext|>"))
            v->added.flags[i] |= RZ_ADDED_RSTRIP;
}

static void flag_mask(struct rz_vocab *v, const char *text)
{
    uint32_t id;
    if (rz_vocab_find(v, text, strlen(text), &id))
        v->added.flags[id] |= RZ_ADDED_LSTRIP;
}

static void flag_by_model(struct rz_vocab *v, const struct rz_format_model *meta)
{
    struct rz_str name = rz_meta_text(meta, "general.name"), pre = rz_meta_text(meta, "tokenizer.ggml.pre");
    struct rz_str arch = rz_meta_text(meta, "general.architecture");
    if (contains(pre, "jina-v2-de") || contains(pre, "jina-v2-es") || contains(pre, "jina-v2-code") ||
        contains(arch, "nomic-bert-moe") || contains(arch, "jina-bert-v3"))
        flag_mask(v, "<mask>");
    else if (contains(name, "phi-3") || contains(name, "phi3"))
        flag_phi3(v);
    else if (contains(name, "modern-bert"))
        flag_mask(v, "[MASK]");
}

static int32_t load_flags(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err)
{
    const void *data;
    uint64_t n;
    int32_t status = rz_meta_get_array(meta, RZ_ADDED_KEY, RZ_META_I32, &data, &n, err);
    if (status < 0)
        return status;
    if (!status) {
        flag_by_model(v, meta);
        return RZ_OK;
    }
    for (uint64_t i = 0; i + 1 < n; i += 2) {
        int32_t pair[2];
        char where[80];
        memcpy(pair, (const char *)data + 4 * i, sizeof(pair));
        if (pair[0] >= 0 && (uint32_t)pair[0] < v->n && pair[1] >= 0 && pair[1] <= RZ_ADDED_ALL) {
            v->added.flags[pair[0]] = (uint8_t)pair[1];
            continue;
        }
        snprintf(where, sizeof(where), "key " RZ_ADDED_KEY "[%llu]", (unsigned long long)i);
        return rz_fail(err, RZ_EFORMAT, where, "token %d with flags %d (of %u tokens, flags 0 to 31)",
                       pair[0], pair[1], v->n);
    }
    return RZ_OK;
}

static int32_t no_memory(struct rz_err *err)
{
    return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for special tokens");
}

int32_t rz_added_load(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err)
{
    struct rz_added *a = &v->added;
    char where[80];
    a->flags = calloc(v->n, 1);
    if (!a->flags || !rz_special_init(&a->raw.user, 16) || !rz_special_init(&a->raw.all, 64) ||
        !rz_special_init(&a->normal.user, 0) || !rz_special_init(&a->normal.all, 0))
        return no_memory(err);
    int32_t status = load_flags(v, meta, err);
    for (uint32_t i = 0; i < v->n && !status; i++) {
        if (!is_added(v, i))
            continue;
        if (v->text[i].len > RZ_SPECIAL_BYTES_MAX) {
            snprintf(where, sizeof(where), "key tokenizer.ggml.tokens[%u]", i);
            return rz_fail(err, RZ_ELIMIT, where, "a special token is longer than 256 bytes");
        }
        bool guarded = rz_vocab_guarded(v, i);
        struct rz_added_set *set = a->flags[i] & RZ_ADDED_NORMAL ? &a->normal : &a->raw;
        if (!rz_special_add(&set->all, v->text[i], i, guarded) ||
            (v->kind[i] == RZ_TOKEN_USER && !rz_special_add(&set->user, v->text[i], i, guarded)))
            return no_memory(err);
    }
    return status;
}

void rz_added_free(struct rz_added *a)
{
    rz_special_free(&a->raw.user);
    rz_special_free(&a->raw.all);
    rz_special_free(&a->normal.user);
    rz_special_free(&a->normal.all);
    free(a->flags);
    *a = (struct rz_added){0};
}

/* vocab.c - tokens, kinds and special ids from the metadata, all checked against the vocabulary. */
#include "vocab.h"

#include "err.h"
#include "meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "tokenizer.ggml."
#define BATCH 16u /* tokens whose places in memory are asked for at once */
#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Tokens that end a generation whatever the metadata says, by their spelling. */
static const char *const end_texts[] = {
    "<|eot_id|>",    "<|im_end|>",    "<|end|>",
    "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
    "<EOT>",         "_<EOT>",        "<\357\275\234end\342\226\201of\342\226\201sentence\357\275\234>",
};
/* The same for tokens around code to fill in, and for those that end a turn or a call in newer families, but
 * only where they are control tokens. */
static const char *const end_control_texts[] = {
    "<|return|>", "<|call|>",   "<|flush|>",    "<|calls|>",        "<|end_of_text|>",    "[EOT]",
    "[EOS]",      "<turn|>",    "[e~[",         "<|tool_response>", "<end_of_utterance>", "<|fim_pad|>",
    "<fim-pad>",  "<fim_pad>",  "<PAD>",        "<|fim_repo|>",     "<|repo_name|>",      "<fim-repo>",
    "<REPO>",     "<reponame>", "<|file_sep|>",
};
static const char *const end_keys[] = {KEY "eot_token_id", KEY "eom_token_id", KEY "fim_pad_token_id",
                                       KEY "fim_rep_token_id", KEY "fim_sep_token_id"};

static int32_t fail_at(struct rz_err *err, int32_t code, const char *key, uint64_t i, const char *what)
{
    char where[120];
    snprintf(where, sizeof(where), "key %s[%llu]", key, (unsigned long long)i);
    return rz_fail(err, code, where, "%s", what);
}

/* Enters tokens first .. first + n - 1, n <= BATCH. */
static int32_t index_tokens(struct rz_vocab *v, uint32_t first, uint32_t n, struct rz_err *err)
{
    uint64_t hashes[BATCH];
    for (uint32_t k = 0; k < n; k++) {
        struct rz_str s = v->text[first + k];
        if (s.len > RZ_TOKEN_BYTES_MAX)
            return fail_at(err, RZ_ELIMIT, KEY "tokens", first + k, "the token is longer than 65536 bytes");
        if (s.len > v->longest)
            v->longest = (uint32_t)s.len;
        hashes[k] = rz_token_hash(&v->ids, s.data, s.len);
        rz_token_ids_hint(&v->ids, hashes[k]);
    }
    for (uint32_t k = 0; k < n; k++)
        if (v->text[first + k].len && !rz_token_ids_add(&v->ids, first + k, hashes[k]))
            return fail_at(err, RZ_EFORMAT, KEY "tokens", first + k, "the same token was there before");
    return RZ_OK;
}

static int32_t load_tokens(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err)
{
    const char *key = KEY "tokens";
    const void *data;
    uint64_t n = 0;
    int32_t status = rz_meta_get_array(meta, key, RZ_META_STR, &data, &n, err);
    if (status < 0)
        return status;
    if (!status)
        return rz_fail(err, RZ_EFORMAT, "key " KEY "tokens", "the model has no vocabulary (no such key)");
    if (!n || n > INT32_MAX)
        return rz_fail(err, RZ_EFORMAT, "key " KEY "tokens", "the model has no vocabulary (%llu tokens)",
                       (unsigned long long)n);
    v->n = (uint32_t)n;
    v->text = data;
    if (!rz_token_ids_init(&v->ids, v->text, v->n))
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %u tokens", v->n);
    for (uint32_t i = 0; i < v->n; i += BATCH)
        if ((status = index_tokens(v, i, v->n - i < BATCH ? v->n - i : BATCH, err)))
            return status;
    return RZ_OK;
}

static int32_t load_kinds(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err)
{
    const char *key = KEY "token_type";
    const void *data;
    uint64_t n;
    v->kind = malloc(v->n);
    if (!v->kind)
        return rz_fail(err, RZ_ENOMEM, "vocabulary", "no memory for %u tokens", v->n);
    memset(v->kind, RZ_TOKEN_NORMAL, v->n);
    int32_t status = rz_meta_get_array(meta, key, RZ_META_I32, &data, &n, err);
    if (status <= 0)
        return status;
    if (n != v->n)
        return rz_fail(err, RZ_EFORMAT, "key " KEY "token_type", "%llu kinds for %u tokens",
                       (unsigned long long)n, v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        int32_t kind;
        memcpy(&kind, (const char *)data + 4ull * i, sizeof(kind));
        if (kind < 0 || kind > RZ_TOKEN_BYTE)
            return fail_at(err, RZ_EFORMAT, key, i, "no such kind of token (0 to 6)");
        if (kind) /* 0: undefined */
            v->kind[i] = (uint8_t)kind;
    }
    return RZ_OK;
}

static void add_end(struct rz_vocab *v, int32_t id)
{
    if (id < 0)
        return;
    for (uint32_t i = 0; i < v->info.n_end; i++)
        if (v->info.end[i] == id)
            return;
    if (v->info.n_end < LEN(v->info.end))
        v->info.end[v->info.n_end++] = id;
}

/* Folders may list any number of them; GGUF has no key for that, so this one is ours. */
static int32_t load_end_list(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err)
{
    static const char key[] = "tokenizer.rz.end_token_ids";
    const void *data;
    uint64_t n;
    int32_t status = rz_meta_get_array(meta, key, RZ_META_I32, &data, &n, err);
    if (status <= 0)
        return status;
    for (uint64_t i = 0; i < n; i++) {
        int32_t id;
        memcpy(&id, (const char *)data + 4 * i, sizeof(id));
        if (id < 0 || (uint32_t)id >= v->n)
            return fail_at(err, RZ_EFORMAT, key, i, "no such token");
        add_end(v, id);
    }
    return RZ_OK;
}

static int32_t find_text(const struct rz_vocab *v, const char *text)
{
    uint32_t id;
    return rz_vocab_find(v, text, strlen(text), &id) ? (int32_t)id : -1;
}

/* Where answers consist of several messages (gpt-oss), the end of one of them does not end the answer. */
static void drop_message_end(struct rz_vocab *v)
{
    struct rz_tokenizer_info *info = &v->info;
    int32_t end = find_text(v, "<|end|>");
    bool harmony = find_text(v, "<|return|>") >= 0 && find_text(v, "<|call|>") >= 0;
    bool calls = find_text(v, "<|calls|>") >= 0 && find_text(v, "<|flush|>") >= 0;
    for (uint32_t i = 0; end >= 0 && (harmony || calls) && i < info->n_end; i++)
        if (info->end[i] == end) {
            info->end[i] = info->end[--info->n_end];
            break;
        }
}

static int32_t load_ends(struct rz_vocab *v, const struct rz_format_model *meta, struct rz_err *err)
{
    uint32_t id;
    add_end(v, v->info.eos);
    for (size_t i = 0; i < LEN(end_keys); i++) {
        int32_t given = -1, status = rz_meta_get_id(meta, end_keys[i], v->n, &given, err);
        if (status < 0)
            return status;
        add_end(v, given);
    }
    int32_t status = load_end_list(v, meta, err);
    if (status < 0)
        return status;
    for (size_t i = 0; i < LEN(end_texts); i++)
        if (rz_vocab_find(v, end_texts[i], strlen(end_texts[i]), &id)) {
            add_end(v, (int32_t)id);
            v->kind[id] = RZ_TOKEN_CONTROL; /* some files say "normal" or "user-defined" */
        }
    for (size_t i = 0; i < LEN(end_control_texts); i++)
        if (rz_vocab_find(v, end_control_texts[i], strlen(end_control_texts[i]), &id) &&
            v->kind[id] == RZ_TOKEN_CONTROL)
            add_end(v, (int32_t)id);
    drop_message_end(v);
    return RZ_OK;
}

static int32_t load_ids(struct rz_vocab *v, const struct rz_format_model *meta,
                        const struct rz_vocab_defaults *d, struct rz_err *err)
{
    struct rz_tokenizer_info *info = &v->info;
    *info = (struct rz_tokenizer_info){.size = sizeof(*info), .n_vocab = v->n, .pad = -1};
    info->bos = d->bos < (int64_t)v->n ? d->bos : -1;
    info->eos = d->eos < (int64_t)v->n ? d->eos : -1;
    info->unk = d->unk < (int64_t)v->n ? d->unk : -1;
    struct {
        const char *key;
        int32_t *id;
    } ids[] = {{KEY "bos_token_id", &info->bos},
               {KEY "eos_token_id", &info->eos},
               {KEY "unknown_token_id", &info->unk},
               {KEY "padding_token_id", &info->pad}};
    for (size_t i = 0; i < LEN(ids); i++) {
        int32_t status = rz_meta_get_id(meta, ids[i].key, v->n, ids[i].id, err);
        if (status < 0)
            return status;
    }
    bool add_bos = d->add_bos, add_eos = d->add_eos;
    int32_t status = rz_meta_get_bool(meta, KEY "add_bos_token", &add_bos, err);
    if (status >= 0)
        status = rz_meta_get_bool(meta, KEY "add_eos_token", &add_eos, err);
    if (status < 0)
        return status;
    info->add_bos = add_bos && info->bos >= 0;
    info->add_eos = add_eos && info->eos >= 0;
    return load_ends(v, meta, err);
}

static bool begins_ends(struct rz_str s, const char *begin, const char *end)
{
    size_t b = strlen(begin), e = strlen(end);
    return s.len >= b + e && !memcmp(s.data, begin, b) && !memcmp(s.data + s.len - e, end, e);
}

/* Some files call user-defined what others call control tokens. */
static bool is_marker(const struct rz_vocab *v, uint32_t id)
{
    const struct rz_tokenizer_info *info = &v->info;
    int32_t token = (int32_t)id;
    if (token == info->bos || token == info->eos || token == info->unk || token == info->pad)
        return true;
    for (uint32_t i = 0; i < info->n_end; i++)
        if (token == info->end[i])
            return true;
    return begins_ends(v->text[id], "<|", "|>") || begins_ends(v->text[id], "<\357\275\234", "\357\275\234>");
}

bool rz_vocab_guarded(const struct rz_vocab *v, uint32_t id)
{
    uint8_t kind = v->kind[id];
    return kind == RZ_TOKEN_CONTROL || kind == RZ_TOKEN_UNKNOWN ||
           (kind == RZ_TOKEN_USER && is_marker(v, id));
}

int32_t rz_vocab_load(struct rz_vocab *v, const struct rz_format_model *meta,
                      const struct rz_vocab_defaults *defaults, struct rz_err *err)
{
    memset(v, 0, sizeof(*v));
    int32_t status = load_tokens(v, meta, err);
    if (!status)
        status = load_kinds(v, meta, err);
    if (!status)
        status = load_ids(v, meta, defaults, err);
    if (!status)
        status = rz_added_load(v, meta, err);
    if (status)
        rz_vocab_free(v);
    return status;
}

void rz_vocab_free(struct rz_vocab *v)
{
    rz_token_ids_free(&v->ids);
    rz_added_free(&v->added);
    free(v->kind);
    memset(v, 0, sizeof(*v));
}

int32_t rz_vocab_info(const struct rz_vocab *v, struct rz_tokenizer_info *out)
{
    uint32_t size = out->size;
    if (size < sizeof(v->info))
        return RZ_EINVAL;
    *out = v->info;
    out->size = size;
    return RZ_OK;
}

int64_t rz_bytes_out(const char *bytes, uint64_t len, char *out, uint64_t cap)
{
    if (len && len <= cap)
        memcpy(out, bytes, len);
    return (int64_t)len;
}

int64_t rz_vocab_piece(const struct rz_vocab *v, int32_t id, char *out, uint64_t cap)
{
    if (id < 0 || (uint32_t)id >= v->n)
        return RZ_ENOTFOUND;
    return rz_bytes_out(v->text[id].data, v->text[id].len, out, cap);
}

bool rz_vocab_find(const struct rz_vocab *v, const char *text, size_t n, uint32_t *id)
{
    return n <= v->longest && rz_token_ids_get(&v->ids, text, n, rz_token_hash(&v->ids, text, n), id);
}

int32_t rz_vocab_kind(const struct rz_vocab *v, int32_t id)
{
    return id < 0 || (uint32_t)id >= v->n ? RZ_ENOTFOUND : v->kind[id];
}

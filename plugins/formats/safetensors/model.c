/* model.c - the base of a model being read: its files, its errors, its memory, its metadata table. */
#include "folder.h"

#include "err.h"
#include "grow.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int32_t rz_hf_fail(struct rz_hf_model *m, int32_t code, const char *where, const char *format, ...)
{
    char message[700];
    if (m->status)
        return m->status;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return m->status = rz_fail(m->err, code, where, "%s", message);
}

const struct rz_source *rz_hf_source(const struct rz_hf_model *m, uint32_t i)
{
    return (const void *)(m->sources + (size_t)i * m->stride);
}

const char *rz_hf_name(const struct rz_source *s)
{
    const char *slash = s->path ? strrchr(s->path, '/') : NULL;
    return slash ? slash + 1 : s->path ? s->path : "";
}

/* A name with a folder is compared with the end of the path. */
static bool is_named(const struct rz_source *s, const char *name)
{
    size_t path = s->path ? strlen(s->path) : 0, len = strlen(name);
    if (!strchr(name, '/'))
        return !strcmp(rz_hf_name(s), name);
    return path > len && s->path[path - len - 1] == '/' && !strcmp(s->path + path - len, name);
}

const struct rz_source *rz_hf_file(const struct rz_hf_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_sources; i++)
        if (is_named(rz_hf_source(m, i), name))
            return rz_hf_source(m, i);
    return NULL;
}

/* Python writes a number without bounds as Infinity, which JSON does not have: outside of texts it becomes
 * one of the same length. NULL: there is none, or no memory. */
static const char *without_infinity(struct rz_hf_model *m, const struct rz_source *s)
{
    static const char word[] = "Infinity", number[] = "1e308   ";
    const size_t n = sizeof(word) - 1;
    char *copy = NULL;
    bool text = false;
    for (uint64_t i = 0; i < s->bytes; i++) {
        char c = (char)s->data[i];
        if (text && c == '\\')
            i++;
        else if (c == '"')
            text = !text;
        else if (!text && c == 'I' && s->bytes - i >= n && !memcmp(s->data + i, word, n)) {
            if (!copy && (copy = rz_hf_array(m, s->bytes, 1)))
                memcpy(copy, s->data, s->bytes);
            if (copy)
                memcpy(copy + i, number, n);
        }
    }
    return copy;
}

json_t *rz_hf_json(struct rz_hf_model *m, const char *name)
{
    const struct rz_source *s = rz_hf_file(m, name);
    json_error_t error;
    char where[160], shown[JSON_ERROR_TEXT_LENGTH + 32];
    if (!s || m->status)
        return NULL;
    /* tokenizer_config.json usually has a number of 31 digits, and none that counts */
    size_t flags = strcmp(name, "tokenizer_config.json") ? 0 : JSON_DECODE_INT_AS_REAL;
    const char *changed = strcmp(name, "config.json") ? NULL : without_infinity(m, s);
    json_t *root = json_loadb(changed ? changed : (const char *)s->data, s->bytes,
                              JSON_REJECT_DUPLICATES | flags, &error);
    if (!root) {
        snprintf(where, sizeof(where), "%s: line %d", name, error.line);
        rz_hf_fail(m, RZ_EFORMAT, where, "column %d: %s", error.column,
                   rz_show(shown, sizeof(shown), error.text, strlen(error.text)));
        return NULL;
    }
    if (json_is_object(root))
        return root;
    json_decref(root);
    rz_hf_fail(m, RZ_EFORMAT, name, "must hold a JSON object");
    return NULL;
}

static void *check_memory(struct rz_hf_model *m, void *p, uint64_t n)
{
    if (!p)
        rz_hf_fail(m, RZ_ENOMEM, "model", "no memory for %llu entries", (unsigned long long)n);
    return p;
}

void *rz_hf_array(struct rz_hf_model *m, uint64_t n, size_t each)
{
    return check_memory(m, m->status ? NULL : rz_arena_array(&m->arena, n ? n : 1, each), n);
}

struct rz_str rz_hf_copy(struct rz_hf_model *m, const char *s, size_t n)
{
    char *p = m->status ? NULL : rz_arena_strndup(&m->arena, s, n);
    if (!p) {
        rz_hf_fail(m, RZ_ENOMEM, "model", "no memory for a text of %zu bytes", n);
        return (struct rz_str){"", 0};
    }
    return (struct rz_str){p, n};
}

void *rz_hf_more(struct rz_hf_model *m, void *table, uint64_t n, size_t *cap, size_t each)
{
    void *to = m->status ? NULL : rz_arena_grow(&m->arena, table, n, cap, each, 64);
    return check_memory(m, to, n + 1) ? to : table;
}

/* --- metadata --- */

static void put(struct rz_hf_model *m, const char *key, uint32_t type, uint32_t elem_type, const void *data,
                uint64_t n)
{
    m->meta = rz_hf_more(m, m->meta, m->n_meta, &m->cap_meta, sizeof(*m->meta));
    if (m->status)
        return;
    m->meta[m->n_meta++] = (struct rz_meta){.size = sizeof(struct rz_meta),
                                            .type = type,
                                            .elem_type = elem_type,
                                            .n = n,
                                            .key = rz_hf_copy(m, key, strlen(key)),
                                            .data = data};
}

static void put_scalar(struct rz_hf_model *m, const char *key, uint32_t type, const void *value, size_t bytes)
{
    void *p = rz_hf_array(m, 1, bytes);
    if (p)
        put(m, key, type, type, memcpy(p, value, bytes), 1);
}

void rz_hf_put_str(struct rz_hf_model *m, const char *key, const char *s, size_t n)
{
    if (n > m->limits.max_string_bytes) {
        rz_hf_fail(m, RZ_ELIMIT, key, "a text of %zu bytes is too long (limit %llu)", n,
                   (unsigned long long)m->limits.max_string_bytes);
        return;
    }
    struct rz_str copy = rz_hf_copy(m, s, n);
    put_scalar(m, key, RZ_META_STR, &copy, sizeof(copy));
}

void rz_hf_put_u32(struct rz_hf_model *m, const char *key, uint32_t value)
{
    put_scalar(m, key, RZ_META_U32, &value, sizeof(value));
}

void rz_hf_put_f32(struct rz_hf_model *m, const char *key, double value)
{
    float f = (float)value;
    put_scalar(m, key, RZ_META_F32, &f, sizeof(f));
}

void rz_hf_put_bool(struct rz_hf_model *m, const char *key, bool value)
{
    uint8_t byte = value;
    put_scalar(m, key, RZ_META_BOOL, &byte, sizeof(byte));
}

void rz_hf_put_array(struct rz_hf_model *m, const char *key, uint32_t type, const void *data, uint64_t n)
{
    if (n > m->limits.max_array)
        rz_hf_fail(m, RZ_ELIMIT, key, "%llu elements are too many (limit %llu)", (unsigned long long)n,
                   (unsigned long long)m->limits.max_array);
    else
        put(m, key, RZ_META_ARRAY, type, data, n);
}

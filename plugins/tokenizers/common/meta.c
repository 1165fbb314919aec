/* meta.c - the typed getters. Tables of metadata are short, so a key is found by walking them. */
#include "meta.h"

#include "err.h"

#include <stdio.h>
#include <string.h>

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

static int32_t wrong_type(const struct rz_meta *m, const char *key, const char *want, struct rz_err *err)
{
    char where[160];
    snprintf(where, sizeof(where), "key %s", key);
    if (m->type == RZ_META_ARRAY)
        return rz_fail(err, RZ_EFORMAT, where, "it must be %s, not an array of %s", want,
                       type_name(m->elem_type));
    return rz_fail(err, RZ_EFORMAT, where, "it must be %s, not %s", want, type_name(m->type));
}

const struct rz_meta *rz_meta_find(const struct rz_format_model *m, const char *key)
{
    for (uint64_t i = 0; i < m->n_meta; i++) {
        const struct rz_meta *e = (const void *)((const char *)m->meta + i * m->meta_stride);
        if (rz_str_is(e->key, key))
            return e;
    }
    return NULL;
}

bool rz_str_is(struct rz_str s, const char *text)
{
    size_t n = strlen(text);
    return s.len == n && !memcmp(s.data, text, n);
}

struct rz_str rz_meta_text(const struct rz_format_model *m, const char *key)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    return e && e->type == RZ_META_STR ? *(const struct rz_str *)e->data : (struct rz_str){NULL, 0};
}

int32_t rz_meta_get_str(const struct rz_format_model *m, const char *key, struct rz_str *out,
                        struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    if (!e)
        return 0;
    if (e->type != RZ_META_STR)
        return wrong_type(e, key, "a string", err);
    *out = *(const struct rz_str *)e->data;
    return 1;
}

int32_t rz_meta_get_bool(const struct rz_format_model *m, const char *key, bool *out, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    if (!e)
        return 0;
    if (e->type != RZ_META_BOOL)
        return wrong_type(e, key, "a bool", err);
    *out = *(const uint8_t *)e->data != 0;
    return 1;
}

int32_t rz_meta_get_id(const struct rz_format_model *m, const char *key, uint64_t n_vocab, int32_t *out,
                       struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    char where[160];
    uint32_t id;
    if (!e)
        return 0;
    if (e->type != RZ_META_U32 && e->type != RZ_META_I32)
        return wrong_type(e, key, "a u32", err);
    memcpy(&id, e->data, sizeof(id));
    if (id != UINT32_MAX && id >= n_vocab) {
        snprintf(where, sizeof(where), "key %s", key);
        return rz_fail(err, RZ_EFORMAT, where, "token %u is outside the vocabulary (%llu tokens)", id,
                       (unsigned long long)n_vocab);
    }
    *out = (int32_t)id;
    return 1;
}

int32_t rz_meta_get_array(const struct rz_format_model *m, const char *key, uint32_t elem_type,
                          const void **out, uint64_t *n, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    char want[40];
    if (!e)
        return 0;
    if (e->type != RZ_META_ARRAY || e->elem_type != elem_type) {
        snprintf(want, sizeof(want), "an array of %s", type_name(elem_type));
        return wrong_type(e, key, want, err);
    }
    *out = e->data;
    *n = e->n;
    return 1;
}

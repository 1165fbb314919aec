/* meta.c - a list of metadata entries: copied from a model, a few of them changed.
 *
 * Copied entries keep pointing into the model's memory, so what rz does not know is written as it was read.
 */
#include <string.h>

#include "tools.h"

int32_t rz_tools_meta_init(struct rz_tools_meta *list, const struct rz_format_model *tables, uint64_t more,
                           struct rz_err *err)
{
    uint64_t n = tables ? tables->n_meta : 0;
    *list = (struct rz_tools_meta){.room = n + more};
    rz_arena_init(&list->arena, 0);
    list->items = rz_arena_array(&list->arena, list->room + 1, sizeof(*list->items));
    if (!list->items)
        return rz_fail(err, RZ_ENOMEM, "metadata", "no memory for %llu entries", (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++)
        memcpy(&list->items[i], (const char *)tables->meta + i * tables->meta_stride, sizeof(struct rz_meta));
    list->n = n;
    return RZ_OK;
}

void rz_tools_meta_free(struct rz_tools_meta *list)
{
    rz_arena_free(&list->arena);
    *list = (struct rz_tools_meta){0};
}

const struct rz_meta *rz_tools_meta_find(const struct rz_tools_meta *list, const char *key)
{
    size_t len = strlen(key);
    for (uint64_t i = 0; i < list->n; i++)
        if (list->items[i].key.len == len && !memcmp(list->items[i].key.data, key, len))
            return &list->items[i];
    return NULL;
}

bool rz_tools_meta_u32(const struct rz_tools_meta *list, const char *key, uint32_t *out)
{
    const struct rz_meta *m = rz_tools_meta_find(list, key);
    uint64_t v = 0;
    if (!m || !m->n)
        return false;
    switch (m->elem_type) {
    case RZ_META_U8:
    case RZ_META_I8:
        memcpy(&v, m->data, 1);
        break;
    case RZ_META_U16:
    case RZ_META_I16:
        memcpy(&v, m->data, 2);
        break;
    case RZ_META_U32:
    case RZ_META_I32:
        memcpy(&v, m->data, 4);
        break;
    case RZ_META_U64:
    case RZ_META_I64:
        memcpy(&v, m->data, 8);
        break;
    default:
        return false;
    }
    *out = (uint32_t)v;
    return v <= UINT32_MAX;
}

struct rz_str rz_tools_meta_str(const struct rz_tools_meta *list, const char *key)
{
    const struct rz_meta *m = rz_tools_meta_find(list, key);
    return m && m->type == RZ_META_STR ? *(const struct rz_str *)m->data : (struct rz_str){"", 0};
}

/* The entry to fill: the one that is there, or a new one. */
static struct rz_meta *place(struct rz_tools_meta *list, const char *key)
{
    struct rz_meta *m = (struct rz_meta *)(uintptr_t)rz_tools_meta_find(list, key);
    if (m)
        return m;
    if (list->n == list->room)
        return NULL;
    char *copy = rz_arena_strdup(&list->arena, key);
    if (!copy)
        return NULL;
    m = &list->items[list->n++];
    m->key = (struct rz_str){copy, strlen(copy)};
    return m;
}

static int32_t set(struct rz_tools_meta *list, const char *key, uint32_t type, uint32_t elem_type, uint64_t n,
                   const void *data, struct rz_err *err)
{
    struct rz_meta *m = data ? place(list, key) : NULL;
    if (!m)
        return rz_fail(err, RZ_ENOMEM, key, "no memory for the metadata");
    struct rz_str kept = m->key;
    *m = (struct rz_meta){
        .size = sizeof(*m), .type = type, .elem_type = elem_type, .n = n, .key = kept, .data = data};
    return RZ_OK;
}

int32_t rz_tools_meta_set_u32(struct rz_tools_meta *list, const char *key, uint32_t value, struct rz_err *err)
{
    uint32_t *data = rz_arena_alloc(&list->arena, sizeof(*data));
    if (data)
        *data = value;
    return set(list, key, RZ_META_U32, RZ_META_U32, 1, data, err);
}

/* Copies of n strings; NULL: no memory. */
static struct rz_str *copy_strings(struct rz_tools_meta *list, const struct rz_str *values, uint64_t n)
{
    struct rz_str *data = rz_arena_array(&list->arena, n + 1, sizeof(*data));
    for (uint64_t i = 0; i < n && data; i++) {
        char *copy = rz_arena_strndup(&list->arena, values[i].data, values[i].len);
        if (!copy)
            return NULL;
        data[i] = (struct rz_str){copy, values[i].len};
    }
    return data;
}

int32_t rz_tools_meta_set_str(struct rz_tools_meta *list, const char *key, struct rz_str value,
                              struct rz_err *err)
{
    return set(list, key, RZ_META_STR, RZ_META_STR, 1, copy_strings(list, &value, 1), err);
}

int32_t rz_tools_meta_set_strings(struct rz_tools_meta *list, const char *key, const struct rz_str *values,
                                  uint64_t n, struct rz_err *err)
{
    return set(list, key, RZ_META_ARRAY, RZ_META_STR, n, copy_strings(list, values, n), err);
}

void rz_tools_meta_drop(struct rz_tools_meta *list, const char *prefix)
{
    size_t len = strlen(prefix);
    uint64_t kept = 0;
    for (uint64_t i = 0; i < list->n; i++)
        if (list->items[i].key.len < len || memcmp(list->items[i].key.data, prefix, len))
            list->items[kept++] = list->items[i];
    list->n = kept;
}

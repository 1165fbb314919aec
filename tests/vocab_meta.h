/* vocab_meta.h - metadata of a vocabulary, made in memory for the tests of tokenizers.
 *
 *     struct meta m = {0};
 *     meta_str(&m, "tokenizer.ggml.model", "gpt2");
 *     ... meta_model(&m) ...                          a struct rz_format_model over the entries
 *     meta_free(&m);
 */
#ifndef RZ_TESTS_VOCAB_META_H
#define RZ_TESTS_VOCAB_META_H

#include <rz/format.h>
#include <stdlib.h>
#include <string.h>

#define META_MAX 32

struct meta {
    struct rz_meta entries[META_MAX];
    struct rz_format_model model;
    uint32_t n;
};

/* The entry of that key, new or to be replaced; data is copied. */
static inline void meta_put(struct meta *m, const char *key, uint32_t type, uint32_t elem_type, uint64_t n,
                            const void *data, size_t bytes)
{
    uint32_t i = 0;
    while (i < m->n &&
           (strlen(key) != m->entries[i].key.len || memcmp(m->entries[i].key.data, key, strlen(key))))
        i++;
    if (i < m->n)
        free((void *)(uintptr_t)m->entries[i].data);
    else
        m->n++;
    void *copy = malloc(bytes ? bytes : 1);
    if (bytes)
        memcpy(copy, data, bytes);
    m->entries[i] = (struct rz_meta){.size = sizeof(struct rz_meta),
                                     .type = type,
                                     .elem_type = elem_type,
                                     .n = n,
                                     .key = {key, strlen(key)},
                                     .data = copy};
}

static inline void meta_drop(struct meta *m, const char *key)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (strlen(key) == m->entries[i].key.len && !memcmp(m->entries[i].key.data, key, strlen(key))) {
            free((void *)(uintptr_t)m->entries[i].data);
            m->entries[i] = m->entries[--m->n];
        }
}

static inline void meta_str(struct meta *m, const char *key, const char *value)
{
    struct rz_str s = {value, strlen(value)};
    meta_put(m, key, RZ_META_STR, RZ_META_STR, 1, &s, sizeof(s));
}

static inline void meta_u32(struct meta *m, const char *key, uint32_t value)
{
    meta_put(m, key, RZ_META_U32, RZ_META_U32, 1, &value, sizeof(value));
}

static inline void meta_bool(struct meta *m, const char *key, int value)
{
    uint8_t byte = value != 0;
    meta_put(m, key, RZ_META_BOOL, RZ_META_BOOL, 1, &byte, 1);
}

static inline void meta_strs(struct meta *m, const char *key, const struct rz_str *values, uint64_t n)
{
    meta_put(m, key, RZ_META_ARRAY, RZ_META_STR, n, values, n * sizeof(*values));
}

static inline void meta_f32s(struct meta *m, const char *key, const float *values, uint64_t n)
{
    meta_put(m, key, RZ_META_ARRAY, RZ_META_F32, n, values, n * sizeof(*values));
}

static inline void meta_i32s(struct meta *m, const char *key, const int32_t *values, uint64_t n)
{
    meta_put(m, key, RZ_META_ARRAY, RZ_META_I32, n, values, n * sizeof(*values));
}

static inline const struct rz_format_model *meta_model(struct meta *m)
{
    m->model = (struct rz_format_model){.size = sizeof(m->model),
                                        .meta = m->entries,
                                        .n_meta = m->n,
                                        .meta_stride = sizeof(struct rz_meta),
                                        .tensor_stride = sizeof(struct rz_tensor)};
    return &m->model;
}

static inline void meta_free(struct meta *m)
{
    for (uint32_t i = 0; i < m->n; i++)
        free((void *)(uintptr_t)m->entries[i].data);
    m->n = 0;
}

#endif

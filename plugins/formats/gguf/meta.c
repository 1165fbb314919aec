/* meta.c - the metadata entries of a GGUF file.
 *
 * Values stay in the map; only strings get a table of {pointer, length} in the model's memory. An array
 * is walked only when its elements have to be looked at (strings, booleans).
 */
#include "reader.h"

#include "err.h"

#include <string.h>

#define KEY_MAX 65535u
#define ENTRY_MIN 14u /* a key's length and one byte of it, a type, one byte of value */

/* Bytes of one element; 0: not a fixed-size type. */
static uint64_t element_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {
        [RZ_META_U8] = 1,  [RZ_META_I8] = 1,  [RZ_META_U16] = 2, [RZ_META_I16] = 2,
        [RZ_META_U32] = 4, [RZ_META_I32] = 4, [RZ_META_F32] = 4, [RZ_META_BOOL] = 1,
        [RZ_META_U64] = 8, [RZ_META_I64] = 8, [RZ_META_F64] = 8,
    };
    return type < sizeof(bytes) ? bytes[type] : 0;
}

static int32_t read_strings(struct rz_gguf_reader *r, struct rz_meta *m)
{
    struct rz_str *table = rz_arena_array(r->arena, m->n, sizeof(*table));
    if (!table)
        return rz_gguf_fail(r, RZ_ENOMEM, r->at, "no memory for %llu strings", (unsigned long long)m->n);
    for (uint64_t i = 0; i < m->n; i++) {
        int32_t status = rz_gguf_str(r, "a string", r->limits.max_string_bytes, &table[i]);
        if (status)
            return status;
    }
    m->data = table;
    return RZ_OK;
}

static int32_t read_fixed(struct rz_gguf_reader *r, struct rz_meta *m, uint64_t each)
{
    if (m->n > rz_gguf_left(r) / each)
        return rz_gguf_fail(
            r, RZ_EFORMAT, r->at,
            "its value runs past the end of the file (%llu bytes): it is cut short or damaged, download "
            "it again",
            (unsigned long long)r->source->bytes);
    const uint8_t *p = r->source->data + r->at;
    if (m->elem_type == RZ_META_BOOL)
        for (uint64_t i = 0; i < m->n; i++)
            if (p[i] > 1)
                return rz_gguf_fail(r, RZ_EFORMAT, r->at + i, "a truth value must be 0 or 1, not %u", p[i]);
    m->data = p;
    r->at += m->n * each;
    return RZ_OK;
}

static int32_t read_array_head(struct rz_gguf_reader *r, struct rz_meta *m)
{
    uint64_t at = r->at;
    int32_t status = rz_gguf_u32(r, "the type of an array's elements", &m->elem_type);
    if (status)
        return status;
    if (m->elem_type == RZ_META_ARRAY)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "an array of arrays is not allowed");
    uint64_t each = m->elem_type == RZ_META_STR ? 8 : element_bytes(m->elem_type);
    if (!each)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "no such type of array elements: %u (0 to 12)", m->elem_type);
    return rz_gguf_count(r, "the length of an array", each, r->limits.max_array, &m->n);
}

static int32_t read_entry(struct rz_gguf_reader *r, struct rz_meta *m)
{
    uint64_t at = r->at;
    r->kind = NULL;
    *m = (struct rz_meta){.size = sizeof(*m), .n = 1};
    int32_t status = rz_gguf_str(r, "a metadata key", KEY_MAX, &m->key);
    if (status)
        return status;
    if (!m->key.len)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "a metadata key is empty");
    r->kind = "key";
    r->name = m->key;
    at = r->at;
    status = rz_gguf_u32(r, "the type of a value", &m->type);
    if (status)
        return status;
    m->elem_type = m->type;
    if (m->type == RZ_META_ARRAY) {
        status = read_array_head(r, m);
        if (status)
            return status;
    }
    if (m->elem_type == RZ_META_STR)
        return read_strings(r, m);
    uint64_t each = element_bytes(m->elem_type);
    if (!each)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "no such type of value: %u (0 to 12)", m->type);
    return read_fixed(r, m, each);
}

int32_t rz_gguf_read_meta(struct rz_gguf_reader *r, struct rz_meta *meta, uint64_t n)
{
    struct rz_map keys;
    int32_t status = RZ_OK;
    if (!rz_map_init(&keys, n))
        return rz_gguf_fail(r, RZ_ENOMEM, r->at, "no memory for %llu keys", (unsigned long long)n);
    for (uint64_t i = 0; i < n && !status; i++) {
        uint64_t at = r->at;
        status = read_entry(r, &meta[i]);
        if (status)
            break;
        int added = rz_map_add(&keys, meta[i].key.data, meta[i].key.len, (uint32_t)i);
        if (added < 0)
            status = rz_gguf_fail(r, RZ_ENOMEM, at, "no memory for %llu keys", (unsigned long long)n);
        else if (!added)
            status = rz_gguf_fail(r, RZ_EFORMAT, at, "the same key was there before");
    }
    rz_map_free(&keys);
    r->kind = NULL;
    return status;
}

const struct rz_meta *rz_gguf_find(const struct rz_meta *meta, uint64_t n, const char *key)
{
    uint64_t len = strlen(key);
    for (uint64_t i = 0; i < n; i++)
        if (meta[i].key.len == len && !memcmp(meta[i].key.data, key, len))
            return &meta[i];
    return NULL;
}

bool rz_gguf_meta_uint(const struct rz_meta *m, uint64_t *out)
{
    static const uint8_t is_signed[] = {
        [RZ_META_I8] = 1, [RZ_META_I16] = 1, [RZ_META_I32] = 1, [RZ_META_I64] = 1};
    uint64_t bytes = element_bytes(m->type);
    if (!bytes || m->type == RZ_META_F32 || m->type == RZ_META_F64 || m->type == RZ_META_BOOL)
        return false;
    *out = 0;
    memcpy(out, m->data, bytes);
    return m->type >= sizeof(is_signed) || !is_signed[m->type] || !(*out >> (8 * bytes - 1));
}

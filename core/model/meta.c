/* meta.c - typed getters over a format's metadata table. Integers of any width and sign are accepted
 * where they fit; nothing else is converted. */
#include "model.h"

#include "err.h"

#include <string.h>

const struct rz_meta *rz_meta_find(const struct rz_format_model *m, const char *key)
{
    size_t n = strlen(key);
    for (uint64_t i = 0; i < m->n_meta; i++) {
        const struct rz_meta *e = (const void *)((const char *)m->meta + i * m->meta_stride);
        if (e->key.len == n && !memcmp(e->key.data, key, n))
            return e;
    }
    return NULL;
}

static int32_t wrong_type(const struct rz_meta *e, const char *key, const char *want, struct rz_err *err)
{
    return rz_fail(err, RZ_EFORMAT, key, "has metadata type %u, expected %s", e->type, want);
}

/* Any integer as a signed 64-bit number; false: not an integer, or above INT64_MAX. */
static bool as_int(const struct rz_meta *e, int64_t *out)
{
    static const uint8_t width[] = {
        [RZ_META_U8] = 1,  [RZ_META_I8] = 1,  [RZ_META_U16] = 2, [RZ_META_I16] = 2,
        [RZ_META_U32] = 4, [RZ_META_I32] = 4, [RZ_META_U64] = 8, [RZ_META_I64] = 8};
    if (e->type >= sizeof(width) || !width[e->type])
        return false;
    uint64_t v = 0;
    memcpy(&v, e->data, width[e->type]);
    bool is_signed =
        e->type == RZ_META_I8 || e->type == RZ_META_I16 || e->type == RZ_META_I32 || e->type == RZ_META_I64;
    unsigned shift = 64u - 8u * width[e->type];
    if (is_signed)
        *out = (int64_t)(v << shift) >> shift;
    else if (v > INT64_MAX)
        return false;
    else
        *out = (int64_t)v;
    return true;
}

int32_t rz_meta_u32(const struct rz_format_model *m, const char *key, uint32_t *out, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    int64_t v;
    if (!e)
        return RZ_ENOTFOUND;
    if (!as_int(e, &v))
        return wrong_type(e, key, "an integer", err);
    if (v < 0 || v > UINT32_MAX)
        return rz_fail(err, RZ_EFORMAT, key, "is %lld, outside 0..%u", (long long)v, UINT32_MAX);
    *out = (uint32_t)v;
    return RZ_OK;
}

int32_t rz_meta_f64(const struct rz_format_model *m, const char *key, double *out, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    if (!e)
        return RZ_ENOTFOUND;
    if (e->type == RZ_META_F32) {
        float f;
        memcpy(&f, e->data, sizeof(f));
        *out = (double)f;
    } else if (e->type == RZ_META_F64) {
        memcpy(out, e->data, sizeof(*out));
    } else {
        return wrong_type(e, key, "a float", err);
    }
    return RZ_OK;
}

int32_t rz_meta_bool(const struct rz_format_model *m, const char *key, bool *out, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    if (!e)
        return RZ_ENOTFOUND;
    if (e->type != RZ_META_BOOL)
        return wrong_type(e, key, "a bool", err);
    *out = *(const uint8_t *)e->data != 0;
    return RZ_OK;
}

int32_t rz_meta_str(const struct rz_format_model *m, const char *key, struct rz_str *out, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    if (!e)
        return RZ_ENOTFOUND;
    if (e->type != RZ_META_STR)
        return wrong_type(e, key, "a string", err);
    memcpy(out, e->data, sizeof(*out));
    return RZ_OK;
}

static int32_t element_u32(const struct rz_meta *e, uint64_t i, const char *key, uint32_t *out,
                           struct rz_err *err)
{
    static const uint8_t width[] = {
        [RZ_META_U8] = 1,  [RZ_META_I8] = 1,  [RZ_META_U16] = 2, [RZ_META_I16] = 2,
        [RZ_META_U32] = 4, [RZ_META_I32] = 4, [RZ_META_U64] = 8, [RZ_META_I64] = 8};
    struct rz_meta one = {.type = e->elem_type};
    int64_t v;
    if (e->elem_type >= sizeof(width))
        return wrong_type(e, key, "a list of integers", err);
    one.data = (const uint8_t *)e->data + i * width[e->elem_type];
    if (!as_int(&one, &v))
        return wrong_type(e, key, "a list of integers", err);
    if (v < 0 || v > UINT32_MAX)
        return rz_fail(err, RZ_EFORMAT, key, "of layer %llu is %lld, outside 0..%u", (unsigned long long)i,
                       (long long)v, UINT32_MAX);
    *out = (uint32_t)v;
    return RZ_OK;
}

int32_t rz_meta_layers(const struct rz_format_model *m, const char *key, uint32_t n_layer, uint64_t *some,
                       uint32_t *out, struct rz_err *err)
{
    const struct rz_meta *e = rz_meta_find(m, key);
    bool each = e && e->type == RZ_META_ARRAY;
    uint32_t v = 0;
    if (each && e->n < n_layer)
        return rz_fail(err, RZ_EFORMAT, key, "has %llu entries for %u layers", (unsigned long long)e->n,
                       n_layer);
    int32_t status = each ? RZ_OK : rz_meta_u32(m, key, &v, err);
    *out = 0;
    for (uint32_t i = 0; i < n_layer && !status; i++) {
        if (each)
            status = element_u32(e, i, key, &v, err);
        if (!status && v && *out && v != *out)
            status = rz_fail(err, RZ_EUNSUPPORTED, key,
                             "is %u in layer %u and %u before: layers may differ "
                             "only in having any",
                             v, i, *out);
        if (!status && v) {
            *out = v;
            some[i / 64] |= 1ull << i % 64;
        }
    }
    return status;
}

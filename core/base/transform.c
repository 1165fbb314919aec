/* transform.c - row orders and element types between what a file stores and what a program reads. */
#include "transform.h"

#include "checked.h"
#include "err.h"
#include "numeric.h"

#include <string.h>

#define CHUNK 256 /* elements that are decoded at once */

uint32_t rz_tensor_transform(const struct rz_tensor *t)
{
    return RZ_HAS(t, transform) ? t->transform : 0;
}

const void *rz_tensor_data(const struct rz_tensor *t, const struct rz_source *sources, uint32_t n)
{
    if (RZ_HAS(t, data))
        return t->data;
    if (t->shard >= n || t->offset > sources[t->shard].bytes ||
        t->bytes > sources[t->shard].bytes - t->offset)
        return NULL;
    return sources[t->shard].data + t->offset;
}

/* Rows and the elements of one; the rows of a vector are its elements. */
static void rows_of(const struct rz_tensor *t, uint64_t *rows, uint64_t *cols)
{
    *rows = t->dims[1] * t->dims[2] * t->dims[3];
    *cols = t->dims[0];
    if (*rows == 1) {
        *rows = t->dims[0];
        *cols = 1;
    }
}

static int32_t check_shape(const struct rz_tensor *t, const char *name, uint64_t *elements,
                           struct rz_err *err)
{
    const struct rz_type_info *info = rz_type_info(t->type);
    uint64_t bytes = 0;
    *elements = 1;
    for (uint32_t d = 0; d < RZ_DIMS_MAX; d++)
        if (!rz_mul_u64(*elements, t->dims[d], elements))
            return rz_fail(err, RZ_EFORMAT, name, "its dimensions overflow");
    if (!*elements || !info->block || t->dims[0] % info->block ||
        !rz_type_bytes(t->type, *elements, &bytes) || bytes != t->bytes)
        return rz_fail(err, RZ_EFORMAT, name,
                       "%llu elements of type %d (%s) in %llu bytes have no valid size",
                       (unsigned long long)*elements, t->type, info->name, (unsigned long long)t->bytes);
    return RZ_OK;
}

int32_t rz_transform_check(const struct rz_tensor *t, int32_t *type, uint64_t *bytes, struct rz_err *err)
{
    char name[96];
    uint32_t transform = rz_tensor_transform(t);
    uint64_t elements, rows, cols;
    rz_show(name, sizeof(name), t->name.data, t->name.len);
    int32_t status = check_shape(t, name, &elements, err);
    if (status)
        return status;
    *type = t->type;
    *bytes = t->bytes;
    if (transform & ~(RZ_TRANSFORM_ROPE_ROWS | RZ_TRANSFORM_TO_F32))
        return rz_fail(err, RZ_EUNSUPPORTED, name, "its transform %u is unknown to this rz", transform);
    rows_of(t, &rows, &cols);
    if (transform & RZ_TRANSFORM_ROPE_ROWS &&
        (!t->heads || rows % t->heads || rows / t->heads % 2 || cols % rz_type_info(t->type)->block))
        return rz_fail(err, RZ_EFORMAT, name, "%llu rows are no %u heads with pairs of rows",
                       (unsigned long long)rows, t->heads);
    if (!(transform & RZ_TRANSFORM_TO_F32))
        return RZ_OK;
    if (!rz_type_info(t->type)->decode)
        return rz_fail(err, RZ_EUNSUPPORTED, name, "elements of type %s cannot become F32",
                       rz_type_info(t->type)->name);
    *type = RZ_TYPE_F32;
    return rz_mul_u64(elements, sizeof(float), bytes)
               ? RZ_OK
               : rz_fail(err, RZ_EFORMAT, name, "its size does not fit into 64 bits");
}

/* n elements to F32 by way of a buffer, since src may be unaligned. */
static void decode(const struct rz_type_info *info, const uint8_t *src, float *dst, uint64_t n)
{
    _Alignas(16) uint8_t buffer[CHUNK * 8];
    uint64_t blocks = n / info->block, most = sizeof(buffer) / info->bytes;
    while (blocks) {
        uint64_t now = blocks < most ? blocks : most;
        memcpy(buffer, src, now * info->bytes);
        info->decode(buffer, dst, now * info->block);
        src += now * info->bytes;
        dst += now * info->block;
        blocks -= now;
    }
}

void rz_transform_apply(const struct rz_tensor *t, const void *src, void *dst)
{
    const struct rz_type_info *info = rz_type_info(t->type);
    uint32_t transform = rz_tensor_transform(t);
    uint64_t rows, cols;
    rows_of(t, &rows, &cols);
    bool permute = transform & RZ_TRANSFORM_ROPE_ROWS, to_f32 = transform & RZ_TRANSFORM_TO_F32;
    if (!permute && !to_f32) {
        memcpy(dst, src, t->bytes);
        return;
    }
    if (!permute) {
        decode(info, src, dst, t->bytes / info->bytes * info->block);
        return;
    }
    uint64_t row_bytes = t->bytes / rows, out_bytes = to_f32 ? cols * sizeof(float) : row_bytes;
    uint64_t d = rows / t->heads;
    for (uint64_t r = 0; r < rows; r++) {
        uint64_t within = r % d, from = r - within + within % 2 * (d / 2) + within / 2;
        uint8_t *out = (uint8_t *)dst + r * out_bytes;
        const uint8_t *in = (const uint8_t *)src + from * row_bytes;
        if (to_f32)
            decode(info, in, (float *)(void *)out, cols);
        else
            memcpy(out, in, row_bytes);
    }
}

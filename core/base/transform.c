/* transform.c - orders of elements and element types between what a file stores and what a program reads.
 *
 * A weight is one piece after another, each a strided box of stored elements; a tensor without pieces is one
 * box that is all of it. Invariant: what rz_transform_check accepts reads and writes nothing outside of the
 * bytes that it was told.
 */
#include "transform.h"

#include "checked.h"
#include "err.h"
#include "numeric.h"

#include <math.h>
#include <string.h>

#define CHUNK 256u /* elements that are gathered at once     */
#define ELEMENT 8u /* bytes of the largest of one alone       */
#define KNOWN (RZ_TRANSFORM_TO_F32 | RZ_TRANSFORM_NEG_EXP)
#define PIECE_MIN sizeof(struct rz_piece)

static uint32_t transform_of(const struct rz_tensor *t)
{
    return RZ_HAS(t, transform) ? t->transform : 0;
}

static uint32_t pieces_of(const struct rz_tensor *t)
{
    return RZ_HAS(t, pieces) ? t->n_pieces : 0;
}

static const struct rz_piece *piece_at(const struct rz_tensor *t, uint32_t i)
{
    return (const void *)((const char *)t->pieces + (size_t)i * t->pieces[0].size);
}

bool rz_tensor_is_plain(const struct rz_tensor *t)
{
    return !transform_of(t) && !pieces_of(t);
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

/* Its last element, and how many it has; false: a number that no file needs. */
static bool measure(const struct rz_piece *p, uint64_t *last, uint64_t *elements)
{
    *last = 0;
    *elements = 1;
    for (int d = 0; d < 4; d++) {
        uint64_t far;
        if (!p->n[d] || !rz_mul_u64(p->n[d] - 1, p->step[d], &far) || !rz_add_u64(*last, far, last) ||
            !rz_mul_u64(*elements, p->n[d], elements))
            return false;
    }
    return true;
}

static int32_t check_pieces(const struct rz_tensor *t, const char *name, uint64_t elements,
                            struct rz_err *err)
{
    const struct rz_type_info *info = rz_type_info(t->type);
    uint64_t all = 0;
    if (info->block != 1 || info->bytes > ELEMENT)
        return rz_fail(err, RZ_EUNSUPPORTED, name, "elements of type %s cannot be taken one by one",
                       info->name);
    if (t->pieces[0].size < PIECE_MIN)
        return rz_fail(err, RZ_EUNSUPPORTED, name, "its pieces are of an unknown form");
    for (uint32_t i = 0; i < t->n_pieces; i++) {
        const struct rz_piece *p = piece_at(t, i);
        uint64_t last, n, end;
        bool good = measure(p, &last, &n) && rz_add_u64(last, 1, &end) && rz_mul_u64(end, info->bytes, &end);
        if (!good || end > p->bytes || !rz_add_u64(all, n, &all))
            return rz_fail(err, RZ_EFORMAT, name, "piece %u reaches beyond its %llu bytes", i,
                           (unsigned long long)p->bytes);
        if (!(transform_of(t) & RZ_TRANSFORM_TO_F32) && (p->scale != 1 || p->add != 0))
            return rz_fail(err, RZ_EUNSUPPORTED, name, "piece %u changes values that stay %s", i, info->name);
    }
    if (all != elements)
        return rz_fail(err, RZ_EFORMAT, name, "its pieces have %llu elements, not %llu",
                       (unsigned long long)all, (unsigned long long)elements);
    return RZ_OK;
}

int32_t rz_transform_check(const struct rz_tensor *t, int32_t *type, uint64_t *bytes, struct rz_err *err)
{
    char name[96];
    uint32_t transform = transform_of(t);
    uint64_t elements;
    rz_show(name, sizeof(name), t->name.data, t->name.len);
    int32_t status = check_shape(t, name, &elements, err);
    if (!status && pieces_of(t))
        status = check_pieces(t, name, elements, err);
    if (status)
        return status;
    *type = t->type;
    *bytes = t->bytes;
    if (transform & ~KNOWN || (transform && !(transform & RZ_TRANSFORM_TO_F32)))
        return rz_fail(err, RZ_EUNSUPPORTED, name, "its transform %u is unknown to this rz", transform);
    if (!transform)
        return RZ_OK;
    if (!rz_type_info(t->type)->decode)
        return rz_fail(err, RZ_EUNSUPPORTED, name, "elements of type %s cannot become F32",
                       rz_type_info(t->type)->name);
    *type = RZ_TYPE_F32;
    return rz_mul_u64(elements, sizeof(float), bytes)
               ? RZ_OK
               : rz_fail(err, RZ_EFORMAT, name, "its size does not fit into 64 bits");
}

/* One run of elements on its way into the weight. */
struct run {
    const struct rz_type_info *info;
    uint32_t transform;
    double scale, add;
    uint8_t *dst; /* advances */
};

static void finish_floats(const struct run *r, float *x, uint64_t n)
{
    for (uint64_t i = 0; i < n && (r->scale != 1 || r->add != 0); i++)
        x[i] = (float)(r->scale * (double)x[i] + r->add);
    for (uint64_t i = 0; i < n && r->transform & RZ_TRANSFORM_NEG_EXP; i++)
        x[i] = (float)-exp((double)x[i]);
}

/* n blocks at src, which may be unaligned. */
static void put(struct run *r, const uint8_t *src, uint64_t n)
{
    _Alignas(16) uint8_t buffer[CHUNK * ELEMENT];
    const struct rz_type_info *info = r->info;
    uint64_t most = sizeof(buffer) / info->bytes;
    if (!(r->transform & RZ_TRANSFORM_TO_F32)) {
        memcpy(r->dst, src, n * info->bytes);
        r->dst += n * info->bytes;
        return;
    }
    while (n) {
        uint64_t now = n < most ? n : most;
        float *x = (float *)(void *)r->dst;
        memcpy(buffer, src, now * info->bytes);
        info->decode(buffer, x, now * info->block);
        finish_floats(r, x, now * info->block);
        r->dst += now * info->block * sizeof(float);
        src += now * info->bytes;
        n -= now;
    }
}

/* n elements, step elements apart. */
static void put_strided(struct run *r, const uint8_t *src, uint64_t n, uint64_t step)
{
    uint8_t buffer[CHUNK * ELEMENT];
    uint64_t each = r->info->bytes;
    if (step == 1) {
        put(r, src, n);
        return;
    }
    for (uint64_t done = 0; done < n;) {
        uint64_t now = n - done < CHUNK ? n - done : CHUNK;
        for (uint64_t i = 0; i < now; i++)
            memcpy(buffer + i * each, src + (done + i) * step * each, each);
        put(r, buffer, now);
        done += now;
    }
}

static void put_piece(struct run *r, const struct rz_piece *p, const uint8_t *src)
{
    uint64_t each = r->info->bytes;
    r->scale = p->scale;
    r->add = p->add;
    for (uint64_t d = 0; d < p->n[3]; d++)
        for (uint64_t c = 0; c < p->n[2]; c++)
            for (uint64_t b = 0; b < p->n[1]; b++)
                put_strided(r, src + (d * p->step[3] + c * p->step[2] + b * p->step[1]) * each, p->n[0],
                            p->step[0]);
}

int32_t rz_transform_apply(const struct rz_tensor *t, rz_transform_find *find, void *ctx, void *dst,
                           struct rz_err *err)
{
    struct run r = {.info = rz_type_info(t->type), .transform = transform_of(t), .scale = 1, .dst = dst};
    uint32_t n = pieces_of(t);
    char name[96];
    for (uint32_t i = 0; i < (n ? n : 1); i++) {
        struct rz_tensor part = {.size = sizeof(part),
                                 .type = t->type,
                                 .shard = n ? piece_at(t, i)->shard : t->shard,
                                 .offset = n ? piece_at(t, i)->offset : t->offset,
                                 .bytes = n ? piece_at(t, i)->bytes : t->bytes,
                                 .name = t->name,
                                 .data = !n && RZ_HAS(t, data) ? t->data : NULL};
        const uint8_t *src = find(ctx, &part);
        if (!src)
            return rz_fail(err, RZ_EFORMAT, rz_show(name, sizeof(name), t->name.data, t->name.len),
                           "%llu bytes at offset %llu are not inside the file",
                           (unsigned long long)part.bytes, (unsigned long long)part.offset);
        if (n)
            put_piece(&r, piece_at(t, i), src);
        else
            put(&r, src, t->bytes / r.info->bytes);
    }
    return RZ_OK;
}

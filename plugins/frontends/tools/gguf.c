/* gguf.c - writes GGUF version 3: header, metadata, tensor table, and the padding between the data.
 *
 * All types and shapes are known before the first byte, so the file is written from its beginning to its end.
 */
#include <string.h>

#include "checked.h"
#include "numeric.h"
#include "tools.h"

#define GGUF_VERSION 3u
#define ALIGN_DEFAULT 32u
#define ALIGN_MAX 65536u

int32_t rz_tools_gguf_write(struct rz_tools_gguf *g, const void *bytes, uint64_t n)
{
    if (!g->code && g->file.f) /* without a file, only counted */
        g->code = rz_cli_file_write(&g->file, bytes, n, g->err);
    g->at += n;
    return g->code;
}

static void write_u32(struct rz_tools_gguf *g, uint32_t v)
{
    rz_tools_gguf_write(g, &v, sizeof(v));
}

static void write_u64(struct rz_tools_gguf *g, uint64_t v)
{
    rz_tools_gguf_write(g, &v, sizeof(v));
}

static void write_str(struct rz_tools_gguf *g, const struct rz_str *s)
{
    write_u64(g, s->len);
    rz_tools_gguf_write(g, s->data, s->len);
}

int32_t rz_tools_gguf_pad(struct rz_tools_gguf *g)
{
    static const uint8_t zeros[4096];
    uint64_t n = rz_round_up(g->at, g->align) - g->at;
    while (n && !g->code) {
        uint64_t part = n < sizeof(zeros) ? n : sizeof(zeros);
        rz_tools_gguf_write(g, zeros, part);
        n -= part;
    }
    return g->code;
}

static uint64_t element_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {
        [RZ_META_U8] = 1,  [RZ_META_I8] = 1,  [RZ_META_U16] = 2, [RZ_META_I16] = 2,
        [RZ_META_U32] = 4, [RZ_META_I32] = 4, [RZ_META_F32] = 4, [RZ_META_BOOL] = 1,
        [RZ_META_U64] = 8, [RZ_META_I64] = 8, [RZ_META_F64] = 8,
    };
    return type < sizeof(bytes) ? bytes[type] : 0;
}

static int32_t write_entry(struct rz_tools_gguf *g, const struct rz_meta *m)
{
    uint64_t each = element_bytes(m->elem_type), bytes = 0;
    char shown[96];
    if (m->elem_type != RZ_META_STR && (!each || !rz_mul_u64(each, m->n, &bytes)))
        return g->code =
                   rz_fail(g->err, RZ_EUNSUPPORTED, rz_show(shown, sizeof(shown), m->key.data, m->key.len),
                           "metadata of type %u cannot be written", m->elem_type);
    write_str(g, &m->key);
    write_u32(g, m->type);
    if (m->type == RZ_META_ARRAY) {
        write_u32(g, m->elem_type);
        write_u64(g, m->n);
    }
    if (m->elem_type != RZ_META_STR)
        return rz_tools_gguf_write(g, m->data, bytes);
    for (uint64_t i = 0; i < m->n && !g->code; i++)
        write_str(g, (const struct rz_str *)m->data + i);
    return g->code;
}

/* Sizes and offsets, counted from the beginning of the data. */
static int32_t lay_out(struct rz_tools_gguf *g, struct rz_tensor *tensors, uint64_t n)
{
    uint64_t at = 0, elements;
    char shown[96];
    for (uint64_t i = 0; i < n; i++) {
        struct rz_tensor *t = &tensors[i];
        elements = t->dims[0];
        bool good =
            rz_mul_u64(elements, t->dims[1], &elements) && rz_mul_u64(elements, t->dims[2], &elements) &&
            rz_mul_u64(elements, t->dims[3], &elements) && rz_type_bytes(t->type, elements, &t->bytes);
        t->offset = at;
        if (!good || !rz_add_u64(at, t->bytes, &at) || !rz_align_u64(at, g->align, &at))
            return g->code =
                       rz_fail(g->err, RZ_EFORMAT, rz_show(shown, sizeof(shown), t->name.data, t->name.len),
                               "its elements are no whole number of blocks of %s, or too many",
                               rz_type_info(t->type)->name);
    }
    return RZ_OK;
}

int32_t rz_tools_gguf_head(struct rz_tools_gguf *g, const struct rz_tools_meta *meta,
                           struct rz_tensor *tensors, uint64_t n)
{
    g->align = ALIGN_DEFAULT;
    if (rz_tools_meta_find(meta, "general.alignment") &&
        (!rz_tools_meta_u32(meta, "general.alignment", &g->align) || !g->align || g->align > ALIGN_MAX ||
         g->align & (g->align - 1)))
        return g->code =
                   rz_fail(g->err, RZ_EFORMAT, "general.alignment", "is no power of two up to %u", ALIGN_MAX);
    if (lay_out(g, tensors, n))
        return g->code;
    rz_tools_gguf_write(g, "GGUF", 4);
    write_u32(g, GGUF_VERSION);
    write_u64(g, n);
    write_u64(g, meta->n);
    for (uint64_t i = 0; i < meta->n && !g->code; i++)
        write_entry(g, &meta->items[i]);
    for (uint64_t i = 0; i < n && !g->code; i++) {
        const struct rz_tensor *t = &tensors[i];
        uint32_t n_dims = t->n_dims ? t->n_dims : 1;
        write_str(g, &t->name);
        write_u32(g, n_dims);
        for (uint32_t d = 0; d < n_dims; d++)
            write_u64(g, t->dims[d]);
        write_u32(g, (uint32_t)t->type);
        write_u64(g, t->offset);
    }
    return rz_tools_gguf_pad(g);
}

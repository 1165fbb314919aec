/* gguf.c - rz.format/1 for GGUF, versions 2 and 3, in one file or split over several.
 *
 * Owns the tables of a model (one arena), never the bytes: those stay in the host's maps. Nothing is
 * allocated for a number from the file before the bytes that it promises are known to be there.
 */
#include "reader.h"

#include "err.h"

#include <rz/plugin.h>
#include <stdlib.h>
#include <string.h>

#define META_MIN 14u   /* bytes of the shortest metadata entry */
#define TENSOR_MIN 33u /* bytes of the shortest tensor info    */
#define ALIGNMENT_DEFAULT 32u
#define ALIGNMENT_MAX (1u << 20)
#define PARTS_MAX 65535u

struct model {
    struct rz_format_model base; /* first: what the host sees */
    struct rz_arena arena;
};

/* What one file of a model holds. */
struct part {
    struct rz_gguf_reader reader;
    uint64_t n_tensors, n_meta, alignment;
    struct rz_meta *meta;
};

static const struct rz_format_limits default_limits = {
    .size = sizeof(default_limits),
    .max_tensors = 65536,
    .max_metadata = 65536,
    .max_string_bytes = 16u << 20,
    .max_array = 16u << 20,
};

static struct rz_format_limits limits_of(const struct rz_format_limits *given)
{
    struct rz_format_limits l = default_limits;
    if (!given)
        return l;
    if (RZ_HAS(given, max_tensors))
        l.max_tensors = given->max_tensors;
    if (RZ_HAS(given, max_metadata))
        l.max_metadata = given->max_metadata;
    if (RZ_HAS(given, max_string_bytes))
        l.max_string_bytes = given->max_string_bytes;
    if (RZ_HAS(given, max_array))
        l.max_array = given->max_array;
    /* indices into these tables are 32-bit numbers */
    if (l.max_tensors > INT32_MAX)
        l.max_tensors = INT32_MAX;
    if (l.max_metadata > INT32_MAX)
        l.max_metadata = INT32_MAX;
    return l;
}

static int32_t read_version(struct rz_gguf_reader *r)
{
    char shown[32];
    uint32_t version;
    if (r->source->bytes < 4 || memcmp(r->source->data, "GGUF", 4) != 0)
        return rz_gguf_fail(r, RZ_EFORMAT, 0, "not a GGUF file (it begins with \"%s\")",
                            rz_show(shown, sizeof(shown), (const char *)r->source->data,
                                    r->source->bytes < 4 ? r->source->bytes : 4));
    r->at = 4;
    int32_t status = rz_gguf_u32(r, "the version", &version);
    if (status)
        return status;
    if (version && !(version & 0xffff))
        return rz_gguf_fail(r, RZ_EUNSUPPORTED, 4,
                            "the file is big-endian (version %u): convert it to little-endian",
                            version >> 24 | (version >> 8 & 0xff00));
    if (version == 1)
        return rz_gguf_fail(r, RZ_EVERSION, 4,
                            "GGUF version 1 is not supported (2 and 3 are): convert the model again");
    if (version < 2 || version > 3)
        return rz_gguf_fail(r, RZ_EVERSION, 4, "GGUF version %u is not supported (2 and 3 are)", version);
    return RZ_OK;
}

static int32_t read_alignment(struct part *p)
{
    const struct rz_meta *m = rz_gguf_find(p->meta, p->n_meta, "general.alignment");
    uint32_t alignment = ALIGNMENT_DEFAULT;
    if (m) {
        struct rz_gguf_reader *r = &p->reader;
        uint64_t at = (uint64_t)((const uint8_t *)m->key.data - r->source->data) - 8;
        r->kind = "key";
        r->name = m->key;
        if (m->type != RZ_META_U32)
            return rz_gguf_fail(r, RZ_EFORMAT, at, "its type must be u32 (%d), not %u", RZ_META_U32, m->type);
        memcpy(&alignment, m->data, sizeof(alignment));
        if (!alignment || (alignment & (alignment - 1)) || alignment > ALIGNMENT_MAX)
            return rz_gguf_fail(r, RZ_EFORMAT, at, "an alignment of %u (a power of two from 1 to %u)",
                                alignment, ALIGNMENT_MAX);
        r->kind = NULL;
    }
    p->alignment = alignment;
    return RZ_OK;
}

/* Header and metadata of a file; tensor infos follow when all parts are known. */
static int32_t read_head(struct part *p)
{
    struct rz_gguf_reader *r = &p->reader;
    int32_t status = read_version(r);
    if (!status)
        status = rz_gguf_count(r, "the number of tensors", TENSOR_MIN, r->limits.max_tensors, &p->n_tensors);
    if (!status)
        status =
            rz_gguf_count(r, "the number of metadata entries", META_MIN, r->limits.max_metadata, &p->n_meta);
    if (status)
        return status;
    p->meta = rz_arena_array(r->arena, p->n_meta, sizeof(*p->meta));
    if (!p->meta)
        return rz_gguf_fail(r, RZ_ENOMEM, r->at, "no memory for %llu metadata entries",
                            (unsigned long long)p->n_meta);
    status = rz_gguf_read_meta(r, p->meta, p->n_meta);
    return status ? status : read_alignment(p);
}

/* A number of the split.* family; *out stays as it is when the key is absent. */
static int32_t split_number(struct part *p, const char *key, uint64_t *out, bool *present)
{
    const struct rz_meta *m = rz_gguf_find(p->meta, p->n_meta, key);
    *present = m != NULL;
    if (!m || rz_gguf_meta_uint(m, out))
        return RZ_OK;
    p->reader.kind = "key";
    p->reader.name = m->key;
    return rz_gguf_fail(&p->reader, RZ_EFORMAT,
                        (uint64_t)((const uint8_t *)m->key.data - p->reader.source->data) - 8,
                        "it must be an integer that is not negative (its type is %u)", m->type);
}

/* Each part must say that it is number `index` of n. */
static int32_t check_split(struct part *p, uint32_t index, uint32_t n)
{
    uint64_t no = 0, count = 1;
    bool has_no, has_count;
    int32_t status = split_number(p, "split.no", &no, &has_no);
    if (!status)
        status = split_number(p, "split.count", &count, &has_count);
    if (status)
        return status;
    unsigned long long said = count;
    if (count > 1 && n == 1)
        return rz_gguf_fail(&p->reader, RZ_EFORMAT, 0,
                            "the file is part %llu of a model split into %llu: all parts are needed",
                            (unsigned long long)no + 1, said);
    if (n > 1 && !has_count)
        return rz_gguf_fail(&p->reader, RZ_EFORMAT, 0,
                            "the file is no part of a split model (no split.count)");
    if (n > 1 && count != n)
        return rz_gguf_fail(&p->reader, RZ_EFORMAT, 0, "split.count is %llu but %u files were given", said,
                            n);
    if ((n > 1 && !has_no) || no != index)
        return rz_gguf_fail(&p->reader, RZ_EFORMAT, 0,
                            "split.no is %llu where %u was expected: the parts are mixed up",
                            (unsigned long long)no, index);
    return RZ_OK;
}

/* The sum over all parts, compared with what the first part says. */
static int32_t count_tensors(struct part *parts, uint32_t n, uint64_t *total)
{
    uint64_t want = 0;
    bool present;
    *total = 0;
    for (uint32_t i = 0; i < n; i++)
        *total += parts[i].n_tensors; /* each at most INT32_MAX, at most PARTS_MAX of them */
    if (*total > parts[0].reader.limits.max_tensors)
        return rz_gguf_fail(&parts[0].reader, RZ_ELIMIT, 8,
                            "%llu tensors in %u parts are too many (limit %llu)", (unsigned long long)*total,
                            n, (unsigned long long)parts[0].reader.limits.max_tensors);
    int32_t status = split_number(&parts[0], "split.tensors.count", &want, &present);
    if (!status && n > 1 && present && want != *total)
        status = rz_gguf_fail(&parts[0].reader, RZ_EFORMAT, 8,
                              "split.tensors.count is %llu but the parts hold %llu", (unsigned long long)want,
                              (unsigned long long)*total);
    return status;
}

static int32_t read_tensors(struct model *model, struct part *parts, uint32_t n)
{
    uint64_t total, done = 0;
    struct rz_map names;
    int32_t status = count_tensors(parts, n, &total);
    if (status)
        return status;
    struct rz_tensor *tensors = rz_arena_array(&model->arena, total, sizeof(*tensors));
    if (!tensors || !rz_map_init(&names, total))
        return rz_gguf_fail(&parts[0].reader, RZ_ENOMEM, 8, "no memory for %llu tensors",
                            (unsigned long long)total);
    for (uint32_t i = 0; i < n && !status; i++) {
        status = rz_gguf_read_tensors(&parts[i].reader, tensors + done, parts[i].n_tensors, (uint32_t)done,
                                      parts[i].alignment, &names);
        done += parts[i].n_tensors;
    }
    rz_map_free(&names);
    model->base.tensors = tensors;
    model->base.n_tensors = total;
    return status;
}

static int32_t read_model(struct model *model, const struct rz_source *sources, uint32_t n, uint32_t stride,
                          const struct rz_format_limits *limits, struct rz_err *err)
{
    struct part *parts = rz_arena_array(&model->arena, n, sizeof(*parts));
    if (!parts)
        return rz_fail(err, RZ_ENOMEM, "", "no memory for %u parts of a model", n);
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < n && !status; i++) {
        struct part *p = &parts[i];
        p->reader = (struct rz_gguf_reader){
            .source = (const struct rz_source *)((const char *)sources + (size_t)i * stride),
            .part = i,
            .n_parts = n,
            .limits = limits_of(limits),
            .arena = &model->arena,
            .err = err,
        };
        status = read_head(p);
        if (!status)
            status = check_split(p, i, n);
    }
    if (!status)
        status = read_tensors(model, parts, n);
    model->base.meta = parts[0].meta;
    model->base.n_meta = parts[0].n_meta;
    return status;
}

static void gguf_close(void *self, struct rz_format_model *base)
{
    (void)self;
    if (!base)
        return;
    struct model *model = base->priv;
    rz_arena_free(&model->arena);
    free(model);
}

static int32_t gguf_open(void *self, const struct rz_source *sources, uint32_t n, uint32_t stride,
                         const struct rz_format_limits *limits, struct rz_format_model **out,
                         struct rz_err *err)
{
    *out = NULL;
    if (!n || n > PARTS_MAX || stride < sizeof(*sources))
        return rz_fail(err, RZ_EINVAL, "", "a model in %u files (1 to %u)", n, PARTS_MAX);
    struct model *model = calloc(1, sizeof(*model));
    if (!model)
        return rz_fail(err, RZ_ENOMEM, "", "no memory for a model");
    rz_arena_init(&model->arena, 0);
    model->base = (struct rz_format_model){
        .size = sizeof(model->base),
        .meta_stride = sizeof(struct rz_meta),
        .tensor_stride = sizeof(struct rz_tensor),
        .priv = model,
    };
    int32_t status = read_model(model, sources, n, stride, limits, err);
    if (status) {
        gguf_close(self, &model->base);
        return status;
    }
    *out = &model->base;
    return RZ_OK;
}

static int32_t gguf_probe(void *self, const struct rz_source *first)
{
    (void)self;
    return first->bytes >= 4 && !memcmp(first->data, "GGUF", 4) ? 100 : 0;
}

static const struct rz_format format = {
    .size = sizeof(format),
    .name = "gguf",
    .probe = gguf_probe,
    .open = gguf_open,
    .close = gguf_close,
};

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host;
    (void)config;
    (void)err;
    *self = NULL;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return !strcmp(id, RZ_FORMAT_1) && minor_need <= format.minor ? &format : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_FORMAT), .name = "gguf", .version = "0.1.0", .vendor = "rz",
               .licence = "MIT", .provides = "format:gguf"},
    .option_stride = sizeof(struct rz_option),
    .init = init,
    .query = query,
};

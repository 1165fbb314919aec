/* tensors.c - the tensor infos of a GGUF file and the layout of its data section.
 *
 * The format lays tensors out in the order of their infos, each padded to the alignment. A file that
 * deviates is refused as a whole: a hole or an overlap means that sizes are wrong somewhere.
 */
#include "reader.h"

#include "checked.h"
#include "numeric.h"

#define NAME_MAX_BYTES 63u
#define DIM_MAX 0x7fffffffu

/* Names of types that the format knows, for messages about those that rz does not read. */
static const char *type_name(uint32_t type)
{
    static const char *const names[] = {
        /* layouts of activations, or removed from the format */
        [9] = "Q8_1",
        [15] = "Q8_K",
        [4] = "Q4_2, removed from the format",
        [5] = "Q4_3, removed from the format",
        [31] = "Q4_0_4_4, removed from the format",
        [32] = "Q4_0_4_8, removed from the format",
        [33] = "Q4_0_8_8, removed from the format",
        [36] = "IQ4_NL_4_4, removed from the format",
        [37] = "IQ4_NL_4_8, removed from the format",
        [38] = "IQ4_NL_8_8, removed from the format",
    };
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : NULL;
}

static int32_t read_name(struct rz_gguf_reader *r, struct rz_tensor *t, uint32_t index, struct rz_map *names)
{
    uint64_t at = r->at;
    r->kind = NULL;
    int32_t status = rz_gguf_str(r, "a tensor's name", NAME_MAX_BYTES, &t->name);
    if (status)
        return status;
    if (!t->name.len)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "a tensor's name is empty");
    r->kind = "tensor";
    r->name = t->name;
    int added = rz_map_add(names, t->name.data, t->name.len, index);
    if (added < 0)
        return rz_gguf_fail(r, RZ_ENOMEM, at, "no memory for the names of tensors");
    return added ? RZ_OK : rz_gguf_fail(r, RZ_EFORMAT, at, "the same tensor was there before");
}

static int32_t read_dims(struct rz_gguf_reader *r, struct rz_tensor *t)
{
    uint64_t at = r->at;
    int32_t status = rz_gguf_u32(r, "the number of dimensions", &t->n_dims);
    if (status)
        return status;
    if (t->n_dims < 1 || t->n_dims > RZ_DIMS_MAX)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "%u dimensions (1 to %d)", t->n_dims, RZ_DIMS_MAX);
    for (uint32_t i = 0; i < RZ_DIMS_MAX; i++)
        t->dims[i] = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        at = r->at;
        status = rz_gguf_u64(r, "a dimension", &t->dims[i]);
        if (status)
            return status;
        if (!t->dims[i] || t->dims[i] > DIM_MAX)
            return rz_gguf_fail(r, RZ_EFORMAT, at, "dimension %u is %llu (1 to %u)", i,
                                (unsigned long long)t->dims[i], DIM_MAX);
    }
    return RZ_OK;
}

static int32_t read_type(struct rz_gguf_reader *r, struct rz_tensor *t)
{
    uint64_t at = r->at, n = 1;
    uint32_t type;
    int32_t status = rz_gguf_u32(r, "the type of a tensor", &type);
    if (status)
        return status;
    const struct rz_type_info *info = rz_type_info((int32_t)type);
    if (!info->block) {
        const char *name = type_name(type);
        if (name)
            return rz_gguf_fail(r, RZ_EUNSUPPORTED, at, "elements of type %u (%s) are not supported", type,
                                name);
        return rz_gguf_fail(r, RZ_EFORMAT, at, "no such type of elements: %u", type);
    }
    t->type = (int32_t)type;
    if (t->dims[0] % info->block)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "rows of %llu elements are no whole number of %s blocks (%u)",
                            (unsigned long long)t->dims[0], info->name, info->block);
    for (int i = 0; i < RZ_DIMS_MAX; i++)
        if (!rz_mul_u64(n, t->dims[i], &n))
            return rz_gguf_fail(r, RZ_EFORMAT, at, "its number of elements does not fit into 64 bits");
    if (!rz_type_bytes(t->type, n, &t->bytes) || t->bytes > INT64_MAX)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "its size does not fit into 63 bits");
    return RZ_OK;
}

/* next is where the tensor must begin: the padded end of the one before it. */
static int32_t read_offset(struct rz_gguf_reader *r, struct rz_tensor *t, uint64_t alignment, uint64_t *next)
{
    uint64_t at = r->at;
    int32_t status = rz_gguf_u64(r, "the offset of a tensor", &t->offset);
    if (status)
        return status;
    unsigned long long got = t->offset, want = *next;
    if (t->offset % alignment)
        return rz_gguf_fail(r, RZ_EFORMAT, at, "its offset %llu is no multiple of the alignment %llu", got,
                            (unsigned long long)alignment);
    if (t->offset < *next)
        return rz_gguf_fail(r, RZ_EFORMAT, at,
                            "its offset %llu overlaps the tensor before it, which ends at %llu", got, want);
    if (t->offset > *next)
        return rz_gguf_fail(r, RZ_EFORMAT, at,
                            "its offset %llu leaves a hole after the tensor before it, which ends at %llu",
                            got, want);
    if (!rz_add_u64(*next, t->bytes, next) || !rz_align_u64(*next, alignment, next))
        return rz_gguf_fail(r, RZ_EFORMAT, at, "the sizes of all tensors do not fit into 64 bits");
    return RZ_OK;
}

/* The data section begins at the next aligned byte after the infos. */
static int32_t place_data(struct rz_gguf_reader *r, struct rz_tensor *tensors, uint64_t n, uint64_t alignment)
{
    uint64_t base = 0, file = r->source->bytes;
    r->kind = NULL;
    if (n && !rz_align_u64(r->at, alignment, &base))
        return rz_gguf_fail(r, RZ_EFORMAT, r->at, "the data section lies past 64 bits");
    for (uint64_t i = 0; i < n; i++) {
        struct rz_tensor *t = &tensors[i];
        uint64_t offset = t->offset;
        r->kind = "tensor";
        r->name = t->name;
        if (!rz_add_u64(base, offset, &t->offset) || t->offset > file || t->bytes > file - t->offset)
            return rz_gguf_fail(
                r, RZ_EFORMAT, base,
                "its %llu bytes at offset %llu of the data end past the file (%llu bytes): the "
                "file is cut short, download it again",
                (unsigned long long)t->bytes, (unsigned long long)offset, (unsigned long long)file);
    }
    r->kind = NULL;
    return RZ_OK;
}

int32_t rz_gguf_read_tensors(struct rz_gguf_reader *r, struct rz_tensor *tensors, uint64_t n, uint32_t first,
                             uint64_t alignment, struct rz_map *names)
{
    uint64_t next = 0;
    for (uint64_t i = 0; i < n; i++) {
        struct rz_tensor *t = &tensors[i];
        *t = (struct rz_tensor){.size = sizeof(*t), .shard = r->source->shard};
        int32_t status = read_name(r, t, first + (uint32_t)i, names);
        if (!status)
            status = read_dims(r, t);
        if (!status)
            status = read_type(r, t);
        if (!status)
            status = read_offset(r, t, alignment, &next);
        if (status)
            return status;
    }
    return place_data(r, tensors, n, alignment);
}

/* format.h - rz.format/1: a model file as tables of metadata and tensors.
 *
 * The host opens, checks and maps the files and owns the bytes. A format plugin reads tables out of
 * them and returns pointers into the maps (strings, arrays) or into its own memory. The host checks
 * every tensor's offset, size and shape again, so a sloppy reader cannot cause wild reads.
 */
#ifndef RZ_FORMAT_H
#define RZ_FORMAT_H

#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RZ_FORMAT_1 "rz.format/1"

/* One mapped file (a shard of a model). */
struct rz_source {
    uint32_t size;
    uint32_t shard; /* index of this file in the model */
    const uint8_t *data;
    uint64_t bytes;
    const char *path;
};
RZ_ABI_SIZE(struct rz_source, 32, path);

/* metadata value types: the numbers of the GGUF file format */
#define RZ_META_U8 0
#define RZ_META_I8 1
#define RZ_META_U16 2
#define RZ_META_I16 3
#define RZ_META_U32 4
#define RZ_META_I32 5
#define RZ_META_F32 6
#define RZ_META_BOOL 7
#define RZ_META_STR 8
#define RZ_META_ARRAY 9
#define RZ_META_U64 10
#define RZ_META_I64 11
#define RZ_META_F64 12

/* One metadata entry. Scalars: n = 1. data points to n little-endian elements of elem_type, not
 * necessarily aligned; RZ_META_STR elements are an array of n struct rz_str (aligned). */
struct rz_meta {
    uint32_t size;
    uint32_t type;      /* RZ_META_*; RZ_META_ARRAY for arrays               */
    uint32_t elem_type; /* of the elements; equals type for scalars          */
    uint32_t zero;
    uint64_t n;
    struct rz_str key;
    const void *data;
};
RZ_ABI_SIZE(struct rz_meta, 48, data);

#define RZ_DIMS_MAX 4

/* What is done to the elements of a weight once they are F32; the bits go in this order.
 * TO_F32: nothing more than becoming F32. NEG_EXP: x becomes -exp(x); needs TO_F32. */
#define RZ_TRANSFORM_TO_F32 2u
#define RZ_TRANSFORM_NEG_EXP 4u

/* A box of elements of the stored data: element (a, b, c, d), a being the fastest, is the one at
 * a step[0] + b step[1] + c step[2] + d step[3], counted in elements from `offset`. It becomes
 * scale x + add; where these are not 1 and 0 the tensor must say TO_F32. */
struct rz_piece {
    uint32_t size;   /* of the struct: the distance between two of them */
    uint32_t shard;  /* index of its file */
    uint64_t offset; /* of element (0, 0, 0, 0) in that file, in bytes */
    uint64_t bytes;  /* from offset on: none of the elements lies beyond */
    uint64_t n[4], step[4];
    double scale, add;
};
RZ_ABI_SIZE(struct rz_piece, 104, add);

/* One tensor. dims[0] is the contiguous one (the row length); unused dims are 1. type and dims say what the
 * weight is before `transform`; its bytes are those at offset, or its elements are those of the pieces, one
 * piece after the other (offset and bytes are then only told to people). A format that was built before
 * transform existed gives records of size 80: look at it through RZ_HAS. */
struct rz_tensor {
    uint32_t size;
    int32_t type; /* RZ_TYPE_* */
    uint32_t shard;
    uint32_t n_dims;
    uint64_t dims[RZ_DIMS_MAX];
    uint64_t offset; /* of the first byte in its file */
    uint64_t bytes;
    struct rz_str name;
    uint32_t transform; /* RZ_TRANSFORM_* bits                                              */
    uint32_t n_pieces;  /* 0: the bytes as they are stored                                  */
    const void *data;   /* the bytes, in the plugin's memory until close; NULL: in the file */
    const struct rz_piece *pieces;
};
RZ_ABI_SIZE(struct rz_tensor, 104, pieces);
RZ_ABI_OFFSET(struct rz_tensor, name, 64);
RZ_ABI_OFFSET(struct rz_tensor, transform, 80);

struct rz_format_limits {
    uint32_t size;
    uint32_t zero;
    uint64_t max_tensors, max_metadata, max_string_bytes, max_array;
};
RZ_ABI_SIZE(struct rz_format_limits, 40, max_array);

/* What open returns: tables that live until close. All read-only; any thread may read. */
struct rz_format_model {
    uint32_t size;
    uint32_t zero;
    const struct rz_meta *meta; /* n_meta, sizeof(struct rz_meta) = meta_stride apart */
    uint64_t n_meta;
    const struct rz_tensor *tensors;
    uint64_t n_tensors;
    uint32_t meta_stride, tensor_stride;
    void *priv; /* the plugin's own */
};
RZ_ABI_SIZE(struct rz_format_model, 56, priv);

struct rz_format {
    uint32_t size, minor;
    const char *name; /* "gguf" */
    /* 0..100: how sure the plugin is that it reads this file, from its first bytes. Never an error. */
    int32_t (*probe)(void *self, const struct rz_source *first);
    /* Reads the tables. sources: n files in order, stride bytes apart; borrowed until close.
     * Errors name the place: byte offset, key or tensor. One call at a time. */
    int32_t (*open)(void *self, const struct rz_source *sources, uint32_t n, uint32_t stride,
                    const struct rz_format_limits *limits, struct rz_format_model **out, struct rz_err *err);
    void (*close)(void *self, struct rz_format_model *model);
};
RZ_ABI_SIZE(struct rz_format, 40, close);

#ifdef __cplusplus
}
#endif
#endif

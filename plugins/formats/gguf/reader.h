/* reader.h - a bounded cursor over one mapped GGUF file.
 *
 * Invariant: at <= source->bytes, and every length is compared with the bytes that are left before it is
 * used, so no sum of two numbers from the file is ever formed unchecked. A failed read leaves a message
 * that names the byte and what was being read; the caller must then give up.
 */
#ifndef RZ_GGUF_READER_H
#define RZ_GGUF_READER_H

#include "arena.h"
#include "map.h"

#include <rz/format.h>

struct rz_gguf_reader {
    const struct rz_source *source;
    uint64_t at;
    uint32_t part, n_parts; /* of a split model; n_parts = 1: not split */
    const char *kind;       /* "key" or "tensor", NULL: the header       */
    struct rz_str name;     /* of the entry being read                   */
    struct rz_format_limits limits;
    struct rz_arena *arena; /* of the model: tables go here              */
    struct rz_err *err;
};

/* Fills the error with where = "[part P: ]byte AT[: KIND NAME]" and returns code. */
int32_t rz_gguf_fail(const struct rz_gguf_reader *r, int32_t code, uint64_t at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
uint64_t rz_gguf_left(const struct rz_gguf_reader *r);
/* Little-endian numbers; `what` names the field in the error. */
int32_t rz_gguf_u32(struct rz_gguf_reader *r, const char *what, uint32_t *out);
int32_t rz_gguf_u64(struct rz_gguf_reader *r, const char *what, uint64_t *out);
/* A length and its bytes, which stay in the map. More than max bytes is an RZ_ELIMIT. */
int32_t rz_gguf_str(struct rz_gguf_reader *r, const char *what, uint64_t max, struct rz_str *out);
/* A number of entries that need at least min_bytes each; more than max is an RZ_ELIMIT. */
int32_t rz_gguf_count(struct rz_gguf_reader *r, const char *what, uint64_t min_bytes, uint64_t max,
                      uint64_t *out);

/* Reads n entries at the cursor into meta[0..n), refusing duplicate keys. */
int32_t rz_gguf_read_meta(struct rz_gguf_reader *r, struct rz_meta *meta, uint64_t n);
/* An entry by key, or NULL. */
const struct rz_meta *rz_gguf_find(const struct rz_meta *meta, uint64_t n, const char *key);
/* A scalar of any integer type that is not negative; false: another type or negative. */
bool rz_gguf_meta_uint(const struct rz_meta *m, uint64_t *out);

/* Reads n tensor infos at the cursor, lays the data section out with the given alignment, and checks that
 * it lies inside the file. Names are added to the map as first + index. */
int32_t rz_gguf_read_tensors(struct rz_gguf_reader *r, struct rz_tensor *tensors, uint64_t n, uint32_t first,
                             uint64_t alignment, struct rz_map *names);

#endif

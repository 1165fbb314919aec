/* transform.h - where a tensor's bytes are, and how they become the weight (RZ_TRANSFORM_*, rz_piece).
 *
 * Pure functions over a tensor's record: the program's builder uses them when it binds a weight, a
 * writer of files when it stores one, so that both get the same bytes.
 */
#ifndef RZ_BASE_TRANSFORM_H
#define RZ_BASE_TRANSFORM_H

#include <rz/format.h>
#include <stdbool.h>

/* Whether the stored bytes are the weight, so that it can be used where it lies. */
bool rz_tensor_is_plain(const struct rz_tensor *t);
/* The stored bytes of a tensor without pieces, in the plugin's memory or in their file; NULL: they are not
 * inside of it. */
const void *rz_tensor_data(const struct rz_tensor *t, const struct rz_source *sources, uint32_t n);
/* Checks the record (shape, size, pieces, transform) as far as it can be without the bytes, and sets the
 * type and the bytes of the weight that it becomes. Error: RZ_EFORMAT or RZ_EUNSUPPORTED, err->where = the
 * name. */
int32_t rz_transform_check(const struct rz_tensor *t, int32_t *type, uint64_t *bytes, struct rz_err *err);
/* Finds stored bytes for rz_transform_apply: those of a tensor that has no pieces; NULL: not in its file. */
typedef const void *rz_transform_find(void *ctx, const struct rz_tensor *t);
/* Writes the weight of a checked tensor: the bytes that rz_transform_check said. dst: aligned for its type.
 * Error: RZ_EFORMAT, a piece lies outside of its file. */
int32_t rz_transform_apply(const struct rz_tensor *t, rz_transform_find *find, void *ctx, void *dst,
                           struct rz_err *err);

#endif

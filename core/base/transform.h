/* transform.h - where a tensor's bytes are, and how they become the weight (RZ_TRANSFORM_*).
 *
 * Pure functions over a tensor's record: the program's builder uses them when it binds a weight, a
 * writer of files when it stores one, so that both get the same bytes.
 */
#ifndef RZ_BASE_TRANSFORM_H
#define RZ_BASE_TRANSFORM_H

#include <rz/format.h>
#include <stdbool.h>

/* RZ_TRANSFORM_* bits; 0 for records of a format that does not know them. */
uint32_t rz_tensor_transform(const struct rz_tensor *t);
/* The stored bytes, in the plugin's memory or in their file; NULL: they are not inside of it. */
const void *rz_tensor_data(const struct rz_tensor *t, const struct rz_source *sources, uint32_t n);
/* Checks the record (shape, size, transform) as far as it can be without the bytes, and sets the type and
 * the bytes of the weight that it becomes. Error: RZ_EFORMAT or RZ_EUNSUPPORTED, err->where = the name. */
int32_t rz_transform_check(const struct rz_tensor *t, int32_t *type, uint64_t *bytes, struct rz_err *err);
/* Writes the weight of a checked tensor: the bytes that rz_transform_check said. src: t->bytes stored
 * bytes, any alignment; dst: aligned for its type, not overlapping. */
void rz_transform_apply(const struct rz_tensor *t, const void *src, void *dst);

#endif

/* encode.h - float32 to any weight type. Pure functions: any thread, nothing allocated, nothing kept. */
#ifndef RZ_BASE_ENCODE_H
#define RZ_BASE_ENCODE_H

#include <rz/types.h>
#include <stdbool.h>

/* Encodes rows x cols values, row after row, as type; dst holds rz_type_bytes(type, rows * cols) bytes.
 * imatrix: how much each column matters, [cols], finite and not negative; NULL: all the same. Types that
 * need no search ignore it. A row is encoded by itself, so rows may be split over threads at will.
 *
 * Errors: RZ_EINVAL for a NaN, an infinity, or a value beyond the type's range (err names row and column,
 * counted from 0 in this call), for cols that is no whole number of blocks, and for a type that needs an
 * imatrix without one; RZ_EUNSUPPORTED for a type that nothing is encoded to (integers). dst is undefined
 * then. */
int32_t rz_encode(int32_t type, const float *src, uint64_t rows, uint64_t cols, const float *imatrix,
                  void *dst, struct rz_err *err);

/* Can anything be encoded as this type? */
bool rz_encode_knows(int32_t type);
/* Types below about 2.4 bits, which are of no use without an importance matrix. */
bool rz_encode_needs_imatrix(int32_t type);

#endif

/* grow.h - room for one more element in an array that doubles when it is full.
 *
 * What holds the array keeps its elements, their number and its capacity, at first NULL, 0 and 0; the caller
 * counts an element once it is written. Limits on the number are the caller's as well.
 */
#ifndef RZ_BASE_GROW_H
#define RZ_BASE_GROW_H

#include "arena.h"

/* The array of n elements of `each` bytes, moved when *cap was reached; the first time it gets `first`
 * elements, not 0. NULL: no memory, and the array and *cap stay as they are. What is beyond n is zeroed. */
void *rz_arena_grow(struct rz_arena *a, void *array, size_t n, size_t *cap, size_t each, size_t first);
/* The same in memory that is the caller's to free. What is beyond n is not set. */
void *rz_heap_grow(void *array, size_t n, size_t *cap, size_t each, size_t first);

#endif

/* grow.c - arrays that double, in arenas and in memory of their own. */
#include "grow.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MAX ((size_t)1 << 31) /* most who grow arrays count in 32 bits */

/* The next capacity, and its bytes; 0: too many. */
static size_t larger(size_t cap, size_t each, size_t first, size_t *bytes)
{
    if (cap > CAP_MAX / 2 || first > CAP_MAX)
        return 0;
    cap = cap ? 2 * cap : first;
    return __builtin_mul_overflow(cap, each, bytes) ? 0 : cap;
}

void *rz_arena_grow(struct rz_arena *a, void *array, size_t n, size_t *cap, size_t each, size_t first)
{
    if (n < *cap)
        return array;
    size_t bytes, more = larger(*cap, each, first, &bytes);
    void *to = more ? rz_arena_alloc(a, bytes) : NULL;
    if (!to)
        return NULL;
    if (n)
        memcpy(to, array, n * each);
    *cap = more;
    return to;
}

void *rz_heap_grow(void *array, size_t n, size_t *cap, size_t each, size_t first)
{
    if (n < *cap)
        return array;
    size_t bytes, more = larger(*cap, each, first, &bytes);
    void *to = more ? realloc(array, bytes) : NULL;
    if (to)
        *cap = more;
    return to;
}

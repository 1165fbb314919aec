/* checked.h - arithmetic on sizes that come from outside. Each returns false on overflow and leaves
 * *out undefined then. */
#ifndef RZ_BASE_CHECKED_H
#define RZ_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool rz_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool rz_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Rounds up to a multiple of align, a power of two. */
static inline bool rz_align_u64(uint64_t a, uint64_t align, uint64_t *out)
{
    if (!rz_add_u64(a, align - 1, out))
        return false;
    *out &= ~(align - 1);
    return true;
}

/* The same for sizes that are known to be small. */
static inline uint64_t rz_round_up(uint64_t a, uint64_t align)
{
    return (a + align - 1) / align * align;
}

#endif

/* arena.h - memory that belongs to a lifetime: many allocations, one free.
 *
 * Allocations are zeroed and 16-byte aligned. A cap bounds what an input can make us take: beyond it,
 * and when the system has no more, the answer is NULL. Not thread-safe.
 */
#ifndef RZ_BASE_ARENA_H
#define RZ_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct rz_arena_block;

struct rz_arena {
    struct rz_arena_block *head;
    size_t used, cap; /* bytes handed out; cap 0: none */
};

void rz_arena_init(struct rz_arena *a, size_t cap);
void rz_arena_free(struct rz_arena *a);
void *rz_arena_alloc(struct rz_arena *a, size_t bytes);
/* n * each bytes, checked. */
void *rz_arena_array(struct rz_arena *a, size_t n, size_t each);
/* Copies n bytes and a NUL. */
char *rz_arena_strndup(struct rz_arena *a, const char *s, size_t n);
char *rz_arena_strdup(struct rz_arena *a, const char *s);
char *rz_arena_printf(struct rz_arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

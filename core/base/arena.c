/* arena.c - a chain of blocks, each handed out from its front. */
#include "arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (64u << 10) /* usual block; larger requests get one of their own */
#define ALIGN 16u

struct rz_arena_block {
    struct rz_arena_block *next;
    size_t used, size;
    _Alignas(ALIGN) unsigned char data[];
};

void rz_arena_init(struct rz_arena *a, size_t cap)
{
    *a = (struct rz_arena){.cap = cap};
}

void rz_arena_free(struct rz_arena *a)
{
    for (struct rz_arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct rz_arena){.cap = a->cap};
}

static struct rz_arena_block *block_new(struct rz_arena *a, size_t bytes)
{
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    struct rz_arena_block *b = calloc(1, sizeof(*b) + size);
    if (!b)
        return NULL;
    b->size = size;
    if (a->head && bytes > BLOCK_BYTES) { /* keep filling the current block */
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *rz_arena_alloc(struct rz_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!bytes)
        bytes = ALIGN;
    if (a->cap && (bytes > a->cap || a->used > a->cap - bytes))
        return NULL;
    struct rz_arena_block *b = a->head;
    if (!b || b->size - b->used < bytes)
        b = block_new(a, bytes);
    if (!b)
        return NULL;
    void *p = b->data + b->used;
    b->used += bytes;
    a->used += bytes;
    return p;
}

void *rz_arena_array(struct rz_arena *a, size_t n, size_t each)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, each, &bytes))
        return NULL;
    return rz_arena_alloc(a, bytes);
}

char *rz_arena_strndup(struct rz_arena *a, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? rz_arena_alloc(a, n + 1) : NULL;
    if (p && n)
        memcpy(p, s, n);
    return p;
}

char *rz_arena_strdup(struct rz_arena *a, const char *s)
{
    return rz_arena_strndup(a, s, strlen(s));
}

char *rz_arena_printf(struct rz_arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : rz_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}

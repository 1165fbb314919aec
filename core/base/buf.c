/* buf.c - the bounded growable buffer. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rz_buf_init(struct rz_buf *b, size_t max)
{
    *b = (struct rz_buf){.max = max};
}

void rz_buf_free(struct rz_buf *b)
{
    free(b->data);
    *b = (struct rz_buf){.max = b->max};
}

void rz_buf_clear(struct rz_buf *b)
{
    b->len = 0;
    b->bad = false;
    if (b->data)
        b->data[0] = 0;
}

bool rz_buf_ok(const struct rz_buf *b)
{
    return !b->bad;
}

char *rz_buf_reserve(struct rz_buf *b, size_t n)
{
    if (b->bad || n > b->max || b->len > b->max - n) {
        b->bad = true;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need)
            cap *= 2;
        char *data = realloc(b->data, cap);
        if (!data) {
            b->bad = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    b->data[b->len + n] = 0;
    return b->data + b->len;
}

bool rz_buf_add(struct rz_buf *b, const void *bytes, size_t n)
{
    char *at = rz_buf_reserve(b, n);
    if (!at)
        return false;
    if (n)
        memcpy(at, bytes, n);
    b->len += n;
    return true;
}

bool rz_buf_str(struct rz_buf *b, const char *s)
{
    return rz_buf_add(b, s, strlen(s));
}

bool rz_buf_printf(struct rz_buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = n < 0 ? NULL : rz_buf_reserve(b, (size_t)n);
    if (at) {
        vsnprintf(at, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return at != NULL;
}

void rz_buf_drop(struct rz_buf *b, size_t n)
{
    if (n >= b->len) {
        rz_buf_clear(b);
        return;
    }
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

char *rz_buf_take(struct rz_buf *b)
{
    if (!rz_buf_reserve(b, 0))
        return NULL;
    char *data = b->data;
    *b = (struct rz_buf){.max = b->max};
    return data;
}

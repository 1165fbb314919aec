/* buf.h - a growable byte buffer that must be given its maximum. Once it would pass the maximum, or
 * memory is short, it turns bad: appends do nothing and rz_buf_ok says false. Data stays
 * NUL-terminated. */
#ifndef RZ_BASE_BUF_H
#define RZ_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct rz_buf {
    char *data; /* NULL until the first append */
    size_t len, cap, max;
    bool bad;
};

void rz_buf_init(struct rz_buf *b, size_t max);
void rz_buf_free(struct rz_buf *b);
void rz_buf_clear(struct rz_buf *b);
bool rz_buf_ok(const struct rz_buf *b);
/* Room for n more bytes at the end (then add to len), or NULL. */
char *rz_buf_reserve(struct rz_buf *b, size_t n);
bool rz_buf_add(struct rz_buf *b, const void *bytes, size_t n);
bool rz_buf_str(struct rz_buf *b, const char *s);
bool rz_buf_printf(struct rz_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes. */
void rz_buf_drop(struct rz_buf *b, size_t n);
/* The data, never NULL; the buffer is empty afterwards and the caller frees. NULL if bad. */
char *rz_buf_take(struct rz_buf *b);

#endif

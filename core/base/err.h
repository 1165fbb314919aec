/* err.h - how rz code reports failure: a status, and a message written where the facts are known. */
#ifndef RZ_BASE_ERR_H
#define RZ_BASE_ERR_H

#include <rz/types.h>

/* A zeroed error that knows its size. */
#define RZ_ERR_INIT \
    { \
        .size = sizeof(struct rz_err) \
    }

/* An error that says nothing yet. A step has no time to zero all of it. */
static inline void rz_err_clear(struct rz_err *err)
{
    err->size = sizeof(*err);
    err->code = 0;
    err->flags = err->zero = 0;
    err->where[0] = err->message[0] = 0;
}

/* Fills err (which may be NULL) and returns code, so that `return rz_fail(...)` is one line. A message
 * that is already there is replaced. Invalid or cut UTF-8 in the arguments is the caller's concern:
 * use rz_show for bytes from outside. */
int32_t rz_fail(struct rz_err *err, int32_t code, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "context: " before err->where; for callers that know the outer place. Returns err->code. */
int32_t rz_err_wrap(struct rz_err *err, const char *context);

/* Copies bytes from outside into buf as printable text: control and invalid bytes become \xNN, a long
 * text is cut with "...". Always NUL-terminated. Returns buf. */
const char *rz_show(char *buf, size_t cap, const char *bytes, size_t n);

/* The short name of a status, such as "format". */
const char *rz_status_name(int32_t code);

#endif

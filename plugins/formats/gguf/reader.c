/* reader.c - the bounded cursor: numbers, strings and counts, and the error that names the place. */
#include "reader.h"

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int32_t rz_gguf_fail(const struct rz_gguf_reader *r, int32_t code, uint64_t at, const char *format, ...)
{
    char message[512], part[32] = "", entry[160] = "", name[100], where[240];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (r->n_parts > 1)
        snprintf(part, sizeof(part), "part %u: ", r->part + 1);
    if (r->kind)
        snprintf(entry, sizeof(entry), ": %s %s", r->kind,
                 rz_show(name, sizeof(name), r->name.data, r->name.len));
    snprintf(where, sizeof(where), "%sbyte %llu%s", part, (unsigned long long)at, entry);
    return rz_fail(r->err, code, where, "%s", message);
}

uint64_t rz_gguf_left(const struct rz_gguf_reader *r)
{
    return r->source->bytes - r->at;
}

static int32_t take(struct rz_gguf_reader *r, const char *what, void *out, uint64_t n)
{
    if (n > rz_gguf_left(r))
        return rz_gguf_fail(
            r, RZ_EFORMAT, r->at,
            "the file ends within %s (%llu bytes): it is cut short or damaged, download it again", what,
            (unsigned long long)r->source->bytes);
    memcpy(out, r->source->data + r->at, n);
    r->at += n;
    return RZ_OK;
}

int32_t rz_gguf_u32(struct rz_gguf_reader *r, const char *what, uint32_t *out)
{
    return take(r, what, out, sizeof(*out));
}

int32_t rz_gguf_u64(struct rz_gguf_reader *r, const char *what, uint64_t *out)
{
    return take(r, what, out, sizeof(*out));
}

int32_t rz_gguf_str(struct rz_gguf_reader *r, const char *what, uint64_t max, struct rz_str *out)
{
    uint64_t at = r->at, n = 0;
    int32_t status = rz_gguf_u64(r, what, &n);
    if (status)
        return status;
    if (n > rz_gguf_left(r))
        return rz_gguf_fail(r, RZ_EFORMAT, at,
                            "%s of %llu bytes runs past the end of the file (%llu bytes): it is cut short or "
                            "damaged, download it again",
                            what, (unsigned long long)n, (unsigned long long)r->source->bytes);
    if (n > max)
        return rz_gguf_fail(r, RZ_ELIMIT, at, "%s of %llu bytes is too long (limit %llu)", what,
                            (unsigned long long)n, (unsigned long long)max);
    *out = (struct rz_str){(const char *)r->source->data + r->at, n};
    r->at += n;
    return RZ_OK;
}

int32_t rz_gguf_count(struct rz_gguf_reader *r, const char *what, uint64_t min_bytes, uint64_t max,
                      uint64_t *out)
{
    uint64_t at = r->at;
    int32_t status = rz_gguf_u64(r, what, out);
    if (status)
        return status;
    if (*out > rz_gguf_left(r) / min_bytes)
        return rz_gguf_fail(r, RZ_EFORMAT, at,
                            "%s %llu is more than the %llu bytes that follow can hold: the file is cut short "
                            "or damaged, download it again",
                            what, (unsigned long long)*out, (unsigned long long)rz_gguf_left(r));
    if (*out > max)
        return rz_gguf_fail(r, RZ_ELIMIT, at, "%s %llu is too large (limit %llu)", what,
                            (unsigned long long)*out, (unsigned long long)max);
    return RZ_OK;
}

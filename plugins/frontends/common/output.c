/* output.c - what the commands write to stdout: text, JSON lines, numbers for people. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "utf8.h"

int32_t rz_cli_write(const char *bytes, size_t n, struct rz_err *err)
{
    if (fwrite(bytes, 1, n, stdout) != n || fflush(stdout))
        return rz_fail(err, RZ_EIO, "standard output", "cannot write: %s", strerror(errno));
    return RZ_OK;
}

int32_t rz_cli_print(struct rz_err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vfprintf(stdout, format, args);
    va_end(args);
    if (n < 0)
        return rz_fail(err, RZ_EIO, "standard output", "cannot write: %s", strerror(errno));
    return RZ_OK;
}

json_t *rz_cli_json_text(const char *bytes, size_t n)
{
    if (rz_utf8_valid(bytes, n))
        return json_stringn(bytes, n);
    struct rz_buf b;
    rz_buf_init(&b, RZ_CLI_INPUT_MAX * 3);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = rz_utf8_decode(bytes + i, n - i, &cp);
        if (len) {
            rz_buf_add(&b, bytes + i, len);
        } else {
            len = rz_utf8_bad(bytes + i, n - i);
            rz_buf_str(&b, "\xef\xbf\xbd");
        }
        i += len ? len : 1;
    }
    json_t *text = rz_buf_ok(&b) ? json_stringn(b.data ? b.data : "", b.len) : NULL;
    rz_buf_free(&b);
    return text;
}

json_t *rz_cli_json_piece(const struct rz_cli_model *m, int32_t id)
{
    int64_t n = m->tokenizer->piece(m->tok, id, NULL, 0);
    char *piece = n >= 0 ? malloc((size_t)n + 1) : NULL;
    json_t *text = NULL;
    if (piece && m->tokenizer->piece(m->tok, id, piece, (uint64_t)n) == n)
        text = rz_cli_json_text(piece, (size_t)n);
    free(piece);
    return text ? text : json_null();
}

int32_t rz_cli_json(json_t *object, struct rz_err *err)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text)
        return rz_fail(err, RZ_ENOMEM, "--json", "no memory for the result");
    int32_t code = rz_cli_write(text, strlen(text), err);
    if (!code)
        code = rz_cli_write("\n", 1, err);
    free(text);
    return code;
}

double rz_cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

const char *rz_cli_bytes(char *buf, uint64_t n)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    int u = 0;
    for (; v >= 1024 && u < 6; u++)
        v /= 1024;
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return buf;
}

const char *rz_cli_count(char *buf, uint64_t n)
{
    if (n >= 1000000000)
        snprintf(buf, 32, "%.2f G", (double)n / 1e9);
    else if (n >= 1000000)
        snprintf(buf, 32, "%.1f M", (double)n / 1e6);
    else if (n >= 10000)
        snprintf(buf, 32, "%.1f K", (double)n / 1e3);
    else
        snprintf(buf, 32, "%llu", (unsigned long long)n);
    return buf;
}

/* config_value.c - texts of the configuration before they are parsed: variables and files. */
#include "config.h"

#include "buf.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPAND_DEPTH 8 /* defaults inside defaults */

static const char *read_all(int fd, char *data, size_t *len)
{
    size_t got = 0;
    while (got < *len) {
        ssize_t n = read(fd, data + got, *len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return strerror(errno);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *len = got;
    return NULL;
}

char *rz_config_slurp(struct rz_arena *arena, const char *path, size_t *len, char *why, size_t cap)
{
    char *data = NULL;
    const char *bad = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* NONBLOCK: a pipe must not hang us */
    if (fd < 0)
        bad = strerror(errno);
    else if (fstat(fd, &st))
        bad = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        bad = "not a regular file";
    else if (st.st_size > RZ_CONFIG_FILE_MAX)
        bad = "larger than 1 MiB";
    else if (!(data = rz_arena_alloc(arena, (size_t)st.st_size + 1)))
        bad = "no memory";
    if (!bad) {
        *len = (size_t)st.st_size;
        bad = read_all(fd, data, len);
    }
    if (fd >= 0)
        close(fd);
    if (bad)
        snprintf(why, cap, "%s", bad);
    return bad ? NULL : data;
}

static char *expand_file(struct rz_arena *arena, const char *name, const char *dir, char *why, size_t cap)
{
    char reason[128];
    size_t len;
    const char *home = getenv("HOME"), *path = name;
    if (name[0] == '~' && name[1] == '/' && home)
        path = rz_arena_printf(arena, "%s%s", home, name + 1);
    else if (name[0] != '/' && dir)
        path = rz_arena_printf(arena, "%s/%s", dir, name);
    if (!path || !name[0]) {
        snprintf(why, cap, "@file: needs the name of a file");
        return NULL;
    }
    char *data = rz_config_slurp(arena, path, &len, reason, sizeof(reason));
    if (!data) {
        snprintf(why, cap, "@file:%.300s: %s", path, reason);
        return NULL;
    }
    while (len && (data[len - 1] == '\n' || data[len - 1] == '\r'))
        data[--len] = 0;
    if (memchr(data, 0, len) || !rz_utf8_valid(data, len)) {
        snprintf(why, cap, "@file:%.300s: holds bytes that are no text (UTF-8)", path);
        return NULL;
    }
    return data;
}

/* The end of the variable that begins after "${" at p: its closing brace, or NULL. */
static const char *closing(const char *p)
{
    for (int open = 1; *p; p++) {
        if (p[0] == '$' && p[1] == '{')
            open++;
        else if (*p == '}' && --open == 0)
            return p;
    }
    return NULL;
}

static bool expand_into(struct rz_buf *out, const char *p, size_t n, int depth, char *why, size_t cap);

/* body: what stands between the braces. */
static bool expand_variable(struct rz_buf *out, const char *body, size_t n, int depth, char *why, size_t cap)
{
    char name[64];
    size_t len = 0;
    while (len < n && (body[len] == '_' || (body[len] >= '0' && body[len] <= '9') ||
                       ((body[len] | 32) >= 'a' && (body[len] | 32) <= 'z')))
        len++;
    bool has_default = n - len >= 2 && body[len] == ':' && body[len + 1] == '-';
    if (!len || len >= sizeof(name) || (len < n && !has_default)) {
        snprintf(why, cap, "${%.*s}: not ${NAME} or ${NAME:-default}", (int)(n < 80 ? n : 80), body);
        return false;
    }
    memcpy(name, body, len);
    name[len] = 0;
    const char *value = getenv(name);
    if (value && (value[0] || !has_default)) {
        if (rz_utf8_valid(value, strlen(value)))
            return rz_buf_str(out, value);
        snprintf(why, cap, "${%s}: its value is not UTF-8 text", name);
        return false;
    }
    if (has_default)
        return expand_into(out, body + len + 2, n - len - 2, depth + 1, why, cap);
    snprintf(why, cap, "${%s}: this variable is not set; write ${%s:-default}", name, name);
    return false;
}

static bool expand_into(struct rz_buf *out, const char *p, size_t n, int depth, char *why, size_t cap)
{
    if (depth > EXPAND_DEPTH) {
        snprintf(why, cap, "more than %d defaults inside each other", EXPAND_DEPTH);
        return false;
    }
    for (const char *end = p + n; p < end;) {
        if (end - p >= 3 && p[0] == '$' && p[1] == '$' && p[2] == '{') { /* "$${" is a plain "${" */
            rz_buf_str(out, "${");
            p += 3;
        } else if (end - p >= 2 && p[0] == '$' && p[1] == '{') {
            const char *close_at = closing(p + 2);
            if (!close_at || close_at >= end) {
                snprintf(why, cap, "\"${\" without its \"}\" ($${ is a plain ${)");
                return false;
            }
            if (!expand_variable(out, p + 2, (size_t)(close_at - p - 2), depth, why, cap))
                return false;
            p = close_at + 1;
        } else {
            rz_buf_add(out, p++, 1);
        }
    }
    return true;
}

char *rz_config_expand(struct rz_arena *arena, const char *raw, const char *dir, char *why, size_t cap)
{
    struct rz_buf text;
    char *out = NULL;
    rz_buf_init(&text, RZ_CONFIG_FILE_MAX);
    why[0] = 0;
    bool good = expand_into(&text, raw, strlen(raw), 0, why, cap);
    if (good && rz_buf_ok(&text)) {
        const char *data = text.data ? text.data : "";
        out = strncmp(data, "@file:", 6) ? rz_arena_strdup(arena, data)
                                         : expand_file(arena, data + 6, dir, why, cap);
    }
    if (!out && !why[0])
        snprintf(why, cap, "longer than 1 MiB once its variables are filled in");
    rz_buf_free(&text);
    return out;
}

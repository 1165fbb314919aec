/* config_file.c - reads INI files: inih splits lines, our reader feeds it and refuses what it would
 * quietly bend (long lines and names, keys that are indented by mistake, bytes that are no text).
 *
 * Invariant: the reader hands inih a line only if inih will understand it as we do, so that every problem
 * is found here, with its line.
 */
#include "config.h"

#include "buf.h"
#include "err.h"
#include "utf8.h"

#include <glob.h>
#include <ini.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_LEN_MAX 49 /* inih cuts section names after this */

/* One open file; `outer` is the file that includes it. */
struct reader {
    struct rz_settings *s;
    const struct reader *outer;
    const char *path, *dir;
    dev_t dev;
    ino_t ino;
    int depth;
    uint32_t file;
    const char *at, *end; /* what is not read yet */
    uint32_t line;
    /* the key whose value may still go on in the next line */
    char section[NAME_LEN_MAX + 1], key[NAME_LEN_MAX + 1];
    uint32_t key_line;
    struct rz_buf value;
    bool has_key, continues;
    int32_t status;
    struct rz_err *err;
};

static int32_t read_file(struct rz_settings *s, const char *path, const struct reader *outer,
                         struct rz_err *err);

__attribute__((format(printf, 3, 4))) static bool refuse(struct reader *r, uint32_t line, const char *format,
                                                         ...)
{
    char where[sizeof(r->err->where)], message[sizeof(r->err->message)];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    snprintf(where, sizeof(where), "%.220s:%u", r->path, line);
    r->status = rz_fail(r->err, RZ_ECONFIG, where, "%s", message);
    return false;
}

/* --- includes --- */

static bool has_pattern(const char *name)
{
    return strpbrk(name, "*?[") != NULL;
}

static bool include_one(struct reader *r, const char *name)
{
    char *path = rz_arena_printf(&r->s->arena, "%s%s%s", name[0] == '/' ? "" : r->dir,
                                 name[0] == '/' ? "" : "/", name);
    glob_t found;
    if (!path)
        return refuse(r, r->key_line, "no memory");
    if (!has_pattern(name)) {
        r->status = read_file(r->s, path, r, r->err);
        return r->status == RZ_OK;
    }
    int rc = glob(path, GLOB_ERR, NULL, &found); /* sorted by name */
    for (size_t i = 0; rc == 0 && i < found.gl_pathc && r->status == RZ_OK; i++) {
        char *copy = rz_arena_strdup(&r->s->arena, found.gl_pathv[i]);
        r->status = copy ? read_file(r->s, copy, r, r->err) : RZ_ENOMEM;
    }
    if (rc == 0)
        globfree(&found);
    else if (rc != GLOB_NOMATCH)
        return refuse(r, r->key_line, "[rz] include: cannot list %.200s", path);
    return r->status == RZ_OK;
}

static bool include(struct reader *r, const char *raw)
{
    static const struct rz_option list = {.type = RZ_OPT_LIST};
    struct rz_option_value value;
    char why[400];
    char *text = rz_config_expand(&r->s->arena, raw, r->dir, why, sizeof(why));
    if (!text || !rz_option_parse(&list, text, NULL, &r->s->arena, &value, why, sizeof(why)))
        return refuse(r, r->key_line, "[rz] include: %s", why);
    char *names = rz_arena_strdup(&r->s->arena, value.text);
    for (char *name; names && (name = strsep(&names, ","));)
        if (name[0] && !include_one(r, name))
            return false;
    return true;
}

/* --- lines --- */

/* The key whose value is complete goes into the settings. */
static bool finish_key(struct reader *r)
{
    if (!r->has_key)
        return true;
    r->has_key = false;
    const char *raw = r->value.data ? r->value.data : "";
    if (!rz_buf_ok(&r->value))
        return refuse(r, r->key_line, "[%s] %s: longer than 1 MiB", r->section, r->key);
    if (!strcmp(r->section, "rz") && !strcmp(r->key, "include"))
        return include(r, raw);
    struct rz_origin at = {.layer = r->s->layer, .file = r->file, .dir = r->dir};
    at.from = rz_arena_printf(&r->s->arena, "%s:%u", r->path, r->key_line);
    if (!at.from)
        return refuse(r, r->key_line, "no memory");
    r->status = rz_config_set(r->s, r->section, r->key, raw, &at, r->err);
    return r->status == RZ_OK;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    if (r->status)
        return 0;
    if (r->continues) {
        if (r->value.len)
            rz_buf_str(&r->value, " ");
        return rz_buf_str(&r->value, value) ? 1 : !refuse(r, r->key_line, "[%s] %s: too long", section, name);
    }
    if (!section[0])
        return refuse(r, r->line, "%s: a key before the first [section]", name);
    snprintf(r->section, sizeof(r->section), "%s", section);
    snprintf(r->key, sizeof(r->key), "%s", name);
    r->key_line = r->line;
    r->has_key = true;
    rz_buf_clear(&r->value);
    return rz_buf_str(&r->value, value);
}

static bool check_section(struct reader *r, const char *p, size_t n)
{
    char shown[64];
    const char *close_at = memchr(p, ']', n);
    if (!close_at)
        return refuse(r, r->line, "a section without its \"]\"");
    const char *rest = close_at + 1, *end = p + n;
    while (rest < end && (*rest == ' ' || *rest == '\t'))
        rest++;
    if (rest < end && *rest != ';' && *rest != '#')
        return refuse(r, r->line, "something after \"]\": %s",
                      rz_show(shown, sizeof(shown), rest, (size_t)(end - rest)));
    size_t len = (size_t)(close_at - p) - 1;
    if (!len)
        return refuse(r, r->line, "a section without a name");
    if (len > NAME_LEN_MAX)
        return refuse(r, r->line, "a section name of %zu bytes; at most %d", len, NAME_LEN_MAX);
    return true;
}

static bool check_key(struct reader *r, const char *p, size_t n)
{
    char shown[64];
    size_t len = 0;
    while (len < n && p[len] != '=' && p[len] != ':')
        len++;
    size_t name = len;
    while (name && (p[name - 1] == ' ' || p[name - 1] == '\t'))
        name--;
    rz_show(shown, sizeof(shown), p, name);
    if (len == n)
        return refuse(r, r->line, "%s: neither a [section] nor a key = value", shown);
    if (p[len] == ':')
        return refuse(r, r->line, "%s: write = between key and value", shown);
    if (!name)
        return refuse(r, r->line, "a value without a key");
    if (name > NAME_LEN_MAX)
        return refuse(r, r->line, "a key of %zu bytes; at most %d", name, NAME_LEN_MAX);
    for (size_t i = 0; i < name; i++)
        if (!(p[i] == '_' || (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z')))
            return refuse(r, r->line, "%s: a key has only a-z, 0-9 and _", shown);
    return true;
}

/* An indented line goes on with the value above. One that looks like a key or a section is a mistake that
 * would otherwise vanish into that value. */
static bool check_continuation(struct reader *r, const char *p, size_t n)
{
    size_t word = 0;
    while (word < n &&
           (p[word] == '_' || (p[word] >= '0' && p[word] <= '9') || (p[word] >= 'a' && p[word] <= 'z')))
        word++;
    size_t after = word;
    while (after < n && (p[after] == ' ' || p[after] == '\t'))
        after++;
    if (p[0] == '[' || (word && after < n && p[after] == '='))
        return refuse(r, r->line,
                      "an indented line belongs to the value of %s above; remove the spaces at its start",
                      r->key);
    return true;
}

static bool check_line(struct reader *r, const char *p, size_t n)
{
    const char *start = p, *end = p + n;
    for (const char *c = p; c < end; c++)
        if ((unsigned char)*c < 0x20 && *c != '\t' && !(*c == '\r' && c + 1 == end))
            return refuse(r, r->line, "a control character (0x%02x)", (unsigned char)*c);
    if (!rz_utf8_valid(p, n))
        return refuse(r, r->line, "not UTF-8 text");
    while (end > start && strchr(" \t\r", end[-1]))
        end--;
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    r->continues = false;
    if (start == end || *start == ';' || *start == '#')
        return true;
    if (start > p && r->has_key) {
        r->continues = true;
        return check_continuation(r, start, (size_t)(end - start));
    }
    if (!finish_key(r))
        return false;
    return *start == '[' ? check_section(r, start, (size_t)(end - start))
                         : check_key(r, start, (size_t)(end - start));
}

/* fgets for inih: the next line with its '\n', or NULL at the end and after an error. */
static char *next_line(char *str, int num, void *stream)
{
    struct reader *r = stream;
    if (r->status || r->at >= r->end)
        return NULL;
    r->line++;
    const char *nl = memchr(r->at, '\n', (size_t)(r->end - r->at));
    size_t n = (size_t)((nl ? nl : r->end) - r->at);
    if (n + 2 > (size_t)num) {
        refuse(r, r->line,
               "a line of %zu bytes; at most %d (go on in the next line, indented, or use @file:)", n,
               num - 2);
        return NULL;
    }
    if (!check_line(r, r->at, n))
        return NULL;
    memcpy(str, r->at, n);
    str[n] = '\n';
    str[n + 1] = 0;
    r->at = nl ? nl + 1 : r->end;
    return str;
}

/* --- files --- */

static bool open_cycle(const struct reader *r)
{
    for (const struct reader *o = r->outer; o; o = o->outer)
        if (o->dev == r->dev && o->ino == r->ino)
            return true;
    return false;
}

/* Fills text, identity and folder of the file. */
static int32_t load(struct reader *r)
{
    struct stat st;
    char why[128], where[240];
    size_t len;
    const char *data = rz_config_slurp(&r->s->arena, r->path, &len, why, sizeof(why));
    if (!data && r->outer) {
        snprintf(where, sizeof(where), "%.200s:%u", r->outer->path, r->outer->key_line);
        return rz_fail(r->err, RZ_ECONFIG, where, "[rz] include: %.300s: %s", r->path, why);
    }
    if (!data || stat(r->path, &st))
        return rz_fail(r->err, RZ_ECONFIG, r->path, "%s", data ? "cannot be looked at" : why);
    r->dev = st.st_dev;
    r->ino = st.st_ino;
    r->at = data;
    r->end = data + len;
    if (len >= 3 && !memcmp(data, "\xef\xbb\xbf", 3)) /* a byte order mark */
        r->at += 3;
    char *copy = rz_arena_strdup(&r->s->arena, r->path);
    r->dir = copy ? rz_arena_strdup(&r->s->arena, dirname(copy)) : NULL;
    return r->dir ? RZ_OK : rz_fail(r->err, RZ_ENOMEM, r->path, "no memory");
}

static int32_t read_file(struct rz_settings *s, const char *path, const struct reader *outer,
                         struct rz_err *err)
{
    struct reader r = {
        .s = s, .outer = outer, .path = path, .err = err, .depth = outer ? outer->depth + 1 : 0};
    char where[240];
    r.file = ++s->n_files;
    int32_t status = load(&r);
    if (status)
        return status;
    snprintf(where, sizeof(where), "%.200s:%u", outer ? outer->path : path, outer ? outer->key_line : 0);
    if (open_cycle(&r))
        return rz_fail(err, RZ_ECONFIG, where, "[rz] include: %.300s includes itself", path);
    if (r.depth > RZ_CONFIG_DEPTH)
        return rz_fail(err, RZ_ECONFIG, where, "[rz] include: more than %d files inside each other",
                       RZ_CONFIG_DEPTH);
    rz_buf_init(&r.value, RZ_CONFIG_FILE_MAX);
    int bad = ini_parse_stream(next_line, &r, on_pair, &r);
    if (!r.status)
        finish_key(&r);
    if (!r.status && bad)
        refuse(&r, bad > 0 ? (uint32_t)bad : r.line, "not understood");
    rz_buf_free(&r.value);
    return r.status;
}

int32_t rz_config_read(struct rz_settings *s, const char *path, int32_t layer, bool named, struct rz_err *err)
{
    struct stat st;
    if (!named && stat(path, &st))
        return RZ_OK;
    s->layer = layer;
    return read_file(s, path, NULL, err);
}

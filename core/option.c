/* option.c - the text of one option becomes a checked value. Knows the types, not where texts come from.
 * Numbers are read in the C locale: the program never sets another one. */
#include "schema.h"

#include "buf.h"
#include "checked.h"
#include "err.h"
#include "nearest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX (1u << 20) /* bytes of a list */

/* One value on its way in. */
struct parse {
    const struct rz_option *option;
    const char *text, *dir;
    struct rz_arena *arena;
    struct rz_option_value *out;
    char *why;
    size_t cap;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct parse *p, const char *format, ...)
{
    char shown[120];
    bool secret = p->option->flags & RZ_OPT_SECRET;
    rz_show(shown, sizeof(shown), p->text, strlen(p->text));
    va_list args;
    va_start(args, format);
    int n = snprintf(p->why, p->cap, secret ? "the value " : "\"%s\" ", shown);
    if (n >= 0 && (size_t)n < p->cap)
        vsnprintf(p->why + n, p->cap - (size_t)n, format, args);
    va_end(args);
    return false;
}

static bool bounded(const struct rz_option *o)
{
    return o->min != o->max;
}

static bool in_range(struct parse *p, double v)
{
    char form[64];
    if (bounded(p->option) && !(v >= p->option->min && v <= p->option->max))
        return refuse(p, "is out of range (%s)", rz_option_form(p->option, form, sizeof(form)));
    return true;
}

static bool parse_int(struct parse *p)
{
    char *end;
    errno = 0;
    bool digits = strspn(p->text, "+-0123456789") == strlen(p->text);
    long long v = strtoll(p->text, &end, 10);
    if (!digits || end == p->text || *end)
        return refuse(p, "is not a whole number");
    if (errno)
        return refuse(p, "is too large");
    p->out->i = v;
    p->out->f = (double)v;
    return in_range(p, (double)v);
}

static bool parse_float(struct parse *p)
{
    char *end;
    bool plain = strspn(p->text, "+-.0123456789eE") == strlen(p->text);
    double v = strtod(p->text, &end);
    if (!plain || end == p->text || *end)
        return refuse(p, "is not a number");
    if (!(v >= -1e300 && v <= 1e300))
        return refuse(p, "is too large");
    p->out->f = v;
    return in_range(p, v);
}

static bool parse_bool(struct parse *p)
{
    static const char *const words[] = {"0", "1", "no", "yes", "off", "on", "false", "true"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!strcmp(p->text, words[i])) {
            p->out->i = (int64_t)(i & 1);
            return true;
        }
    }
    return refuse(p, "is neither yes nor no (1 0 yes no on off true false)");
}

static bool parse_size(struct parse *p)
{
    char *end;
    errno = 0;
    if (!(p->text[0] >= '0' && p->text[0] <= '9'))
        return refuse(p, "is not a size (a number, with K, M or G after it or nothing)");
    uint64_t v = strtoull(p->text, &end, 10), unit = 1;
    if (*end == 'K' || *end == 'k')
        unit = 1u << 10;
    else if (*end == 'M' || *end == 'm')
        unit = 1u << 20;
    else if (*end == 'G' || *end == 'g')
        unit = 1u << 30;
    if (unit > 1)
        end++;
    if (*end)
        return refuse(p, "is not a size (a number, with K, M or G after it or nothing)");
    if (errno || !rz_mul_u64(v, unit, &v) || v > INT64_MAX)
        return refuse(p, "is too large");
    p->out->i = (int64_t)v;
    p->out->f = (double)v;
    return in_range(p, (double)v);
}

static bool parse_choice(struct parse *p)
{
    struct rz_nearest near;
    char names[512], hint[96];
    snprintf(names, sizeof(names), "%s", p->option->choices);
    rz_nearest_init(&near, p->text);
    int64_t i = 0;
    for (char *rest = names, *name; (name = strsep(&rest, "|")); i++) {
        if (!strcmp(name, p->text)) {
            p->out->i = i;
            return true;
        }
        rz_nearest_try(&near, name);
    }
    return refuse(p, "is none of %s%s", p->option->choices,
                  strstr(p->text, " #") ? " (behind a value a comment begins with \" ;\")"
                                        : rz_nearest_hint(&near, hint, sizeof(hint)));
}

static bool parse_path(struct parse *p)
{
    const char *home = getenv("HOME"), *text = p->text;
    if (!text[0])
        return refuse(p, "is empty");
    if (text[0] == '~' && text[1] == '/') {
        if (!home || !home[0])
            return refuse(p, "needs the home directory, but HOME is not set");
        p->out->text = rz_arena_printf(p->arena, "%s%s", home, text + 1);
    } else if (text[0] != '/' && p->dir) {
        while (text[0] == '.' && text[1] == '/')
            text += 2;
        p->out->text = rz_arena_printf(p->arena, "%s/%s", p->dir, text);
    }
    return true;
}

/* Items are separated by commas or line ends (a file of keys has one a line); each is trimmed. */
static bool parse_list(struct parse *p)
{
    struct rz_buf list;
    rz_buf_init(&list, LIST_MAX);
    for (const char *at = p->text; *at;) {
        size_t n = strcspn(at, ",\n"), skip = strspn(at, " \t\r");
        const char *item = at + (skip < n ? skip : n), *end = at + n;
        while (end > item && strchr(" \t\r", end[-1]))
            end--;
        bool last = !at[n] || (at[n] == '\n' && !at[n + 1]);
        if (end == item && at[n] == ',') {
            rz_buf_free(&list);
            return refuse(p, "has an empty item");
        }
        if (end > item) {
            if (list.len)
                rz_buf_str(&list, ",");
            rz_buf_add(&list, item, (size_t)(end - item));
        }
        at += last ? n + (at[n] != 0) : n + 1;
    }
    p->out->text = rz_buf_ok(&list) ? rz_arena_strndup(p->arena, list.data ? list.data : "", list.len) : NULL;
    rz_buf_free(&list);
    return true;
}

bool rz_option_parse(const struct rz_option *option, const char *text, const char *dir,
                     struct rz_arena *arena, struct rz_option_value *out, char *why, size_t cap)
{
    struct parse p = {option, text, dir, arena, out, why, cap};
    bool good = true;
    out->text = text;
    if (option->type == RZ_OPT_INT)
        good = parse_int(&p);
    else if (option->type == RZ_OPT_FLOAT)
        good = parse_float(&p);
    else if (option->type == RZ_OPT_BOOL)
        good = parse_bool(&p);
    else if (option->type == RZ_OPT_SIZE)
        good = parse_size(&p);
    else if (option->type == RZ_OPT_CHOICE)
        good = parse_choice(&p);
    else if (option->type == RZ_OPT_PATH)
        good = parse_path(&p);
    else if (option->type == RZ_OPT_LIST)
        good = parse_list(&p);
    if (good && !out->text)
        return refuse(&p, "is too long");
    return good;
}

const char *rz_option_form(const struct rz_option *o, char *buf, size_t cap)
{
    static const char *const names[] = {"text", "whole number", "number", "yes or no", "bytes",
                                        "",     "path",         "list"};
    if (o->type == RZ_OPT_CHOICE)
        snprintf(buf, cap, "%s", o->choices ? o->choices : "");
    else if (o->type >= sizeof(names) / sizeof(names[0]))
        snprintf(buf, cap, "type %u", o->type);
    else if (!bounded(o))
        snprintf(buf, cap, "%s", names[o->type]);
    else if (o->max >= 0x1p63)
        snprintf(buf, cap, "%.10g and up", o->min);
    else
        snprintf(buf, cap, "%.15g..%.15g", o->min, o->max);
    return buf;
}

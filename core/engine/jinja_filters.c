/* jinja_filters.c - the filters of one value; those that go through sequences are in jinja_seqfilters.c.
 */
#include "jinja_ast.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    F_ABS,
    F_ATTR,
    F_BATCH,
    F_CAPITALIZE,
    F_COUNT,
    F_D,
    F_DEFAULT,
    F_DICTSORT,
    F_E,
    F_ESCAPE,
    F_FIRST,
    F_FLOAT,
    F_FORMAT,
    F_INDENT,
    F_INT,
    F_ITEMS,
    F_JOIN,
    F_LAST,
    F_LENGTH,
    F_LIST,
    F_LOWER,
    F_MAP,
    F_MAX,
    F_MIN,
    F_REJECT,
    F_REJECTATTR,
    F_REPLACE,
    F_REVERSE,
    F_ROUND,
    F_SAFE,
    F_SELECT,
    F_SELECTATTR,
    F_SORT,
    F_STRING,
    F_SUM,
    F_TITLE,
    F_TOJSON,
    F_TRIM,
    F_UNIQUE,
    F_UPPER,
    F_N
};

static const char *const names[F_N] = {
    "abs",    "attr",       "batch",   "capitalize", "count",  "d",      "default", "dictsort",
    "e",      "escape",     "first",   "float",      "format", "indent", "int",     "items",
    "join",   "last",       "length",  "list",       "lower",  "map",    "max",     "min",
    "reject", "rejectattr", "replace", "reverse",    "round",  "safe",   "select",  "selectattr",
    "sort",   "string",     "sum",     "title",      "tojson", "trim",   "unique",  "upper",
};

int32_t rz_jfilter_find(const char *name, size_t n)
{
    for (int32_t i = 0; i < F_N; i++)
        if (strlen(names[i]) == n && !memcmp(names[i], name, n))
            return i;
    return -1;
}

static struct rz_jvalue number_text(struct rz_jvalue s, int64_t base, bool real)
{
    char text[400];
    char *end;
    size_t n = 0;
    const struct rz_jstr *t = s.u.s;
    for (size_t i = 0; i < t->n; i++) {
        bool inner = i && i + 1 < t->n && t->p[i - 1] != '_' && t->p[i + 1] != '_';
        if (t->p[i] == '_' && inner)
            continue;
        if (n + 1 == sizeof(text) || t->p[i] == '_' || !t->p[i])
            return RZ_J_VOID;
        text[n++] = t->p[i];
    }
    text[n] = 0;
    if (!n || strpbrk(text, real ? "xX" : ". "))
        return RZ_J_VOID;
    errno = 0;
    if (real) {
        double f = strtod(text, &end);
        return *end || end == text ? RZ_J_VOID : rz_j_float(f);
    }
    long long v = strtoll(text, &end, (int)base);
    return *end || end == text || errno ? RZ_J_VOID : rz_j_int(v);
}

static struct rz_jvalue to_float(struct rz_jenv *e, struct rz_jvalue v)
{
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, v);
    if (rz_j_is_num(v))
        return rz_j_float(rz_j_num(v));
    return rz_j_is_str(v) ? number_text(rz_j_strip(e, v, NULL, 3), 10, true) : RZ_J_VOID;
}

static struct rz_jvalue filter_float(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"default", NULL};
    if (!rz_jargs_check(e, "float", args, 0, params))
        return RZ_J_VOID;
    v = to_float(e, v);
    return v.type == RZ_J_FLOAT ? v : rz_jargs_get(args, 0, "default", rz_j_float(0));
}

static struct rz_jvalue filter_int(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"default", "base", NULL};
    struct rz_jvalue base = rz_jargs_get(args, 1, "base", rz_j_int(10));
    if (!rz_jargs_check(e, "int", args, 0, params))
        return RZ_J_VOID;
    if (rz_j_is_str(v)) {
        bool usual = base.type == RZ_J_INT && (base.u.i == 0 || (base.u.i >= 2 && base.u.i <= 36));
        struct rz_jvalue whole = usual ? number_text(rz_j_strip(e, v, NULL, 3), base.u.i, false) : RZ_J_VOID;
        if (whole.type == RZ_J_INT)
            return whole;
    } else if (rz_j_is_int(v)) {
        return rz_j_int(v.u.i);
    }
    v = to_float(e, v);
    if (v.type != RZ_J_FLOAT || isnan(v.u.f))
        return rz_jargs_get(args, 0, "default", rz_j_int(0));
    if (!(fabs(v.u.f) < 0x1p63))
        return rz_j_fail(e, "int: the number is too large");
    return rz_j_int((int64_t)v.u.f);
}

static struct rz_jvalue filter_round(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"precision", "method", NULL};
    struct rz_jvalue precision = rz_jargs_get(args, 0, "precision", rz_j_int(0));
    struct rz_jvalue method = rz_jargs_get(args, 1, "method", RZ_J_NULL);
    char text[400];
    if (!rz_jargs_check(e, "round", args, 0, params))
        return RZ_J_VOID;
    if (!rz_j_is_num(v) || !rz_j_is_int(precision) || precision.u.i < -20 || precision.u.i > 20)
        return rz_j_fail(e, "round: not a number, or not a precision from -20 to 20");
    double scale = pow(10, (double)precision.u.i);
    if (rz_j_eq_text(method, "ceil"))
        return rz_j_float(ceil(rz_j_num(v) * scale) / scale);
    if (rz_j_eq_text(method, "floor"))
        return rz_j_float(floor(rz_j_num(v) * scale) / scale);
    if (method.type != RZ_J_NONE && !rz_j_eq_text(method, "common"))
        return rz_j_fail(e, "round: the method must be common, ceil or floor");
    if (rz_j_is_int(v) && precision.u.i >= 0)
        return rz_j_int(v.u.i);
    if (rz_j_is_int(v) || precision.u.i < 0) {
        double r = rint(rz_j_num(v) * scale) / scale;
        return rz_j_is_int(v) ? rz_j_int((int64_t)r) : rz_j_float(r);
    }
    if (!isfinite(v.u.f))
        return v;
    snprintf(text, sizeof(text), "%.*f", (int)precision.u.i, v.u.f);
    return rz_j_float(strtod(text, NULL));
}

/* A separator of JSON that the template gives; false: failed. */
static bool separators(struct rz_jenv *e, struct rz_jvalue v, struct rz_json_style *style)
{
    if (v.type == RZ_J_NONE)
        return true;
    const struct rz_jseq *s = v.type == RZ_J_SEQ && v.u.seq->kind <= RZ_J_TUPLE ? v.u.seq : NULL;
    if (!s || s->n != 2 || !rz_j_is_str(s->items[0]) || !rz_j_is_str(s->items[1])) {
        rz_j_fail(e, "tojson: separators are two strings");
        return false;
    }
    style->item = s->items[0].u.s;
    style->key = s->items[1].u.s;
    return true;
}

static struct rz_jvalue filter_tojson(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"ensure_ascii", "indent", "separators", "sort_keys", NULL};
    static const struct rz_jstr item = {.p = ", ", .n = 2, .chars = 2}, last = {.p = ",", .n = 1, .chars = 1},
                                key = {.p = ": ", .n = 2, .chars = 2};
    struct rz_json_style style = {.item = &item, .key = &key};
    struct rz_jtext t;
    if (!rz_jargs_check(e, "tojson", args, 0, params))
        return RZ_J_VOID;
    style.ascii = rz_j_true(e, rz_jargs_get(args, 0, "ensure_ascii", RZ_J_NULL));
    style.sort = rz_j_true(e, rz_jargs_get(args, 3, "sort_keys", RZ_J_NULL));
    struct rz_jvalue indent = rz_jargs_get(args, 1, "indent", RZ_J_NULL);
    if (indent.type != RZ_J_NONE) {
        style.pretty = true;
        style.item = &last;
        if (rz_j_is_int(indent))
            indent = rz_j_arith(e, RZ_JO_MUL, rz_j_str(e, " ", 1), indent);
        else if (!rz_j_is_str(indent))
            return rz_j_fail(e, "tojson: indent is a number or a string, not '%s'", rz_j_type_name(indent));
        style.indent = indent;
    }
    if (!separators(e, rz_jargs_get(args, 2, "separators", RZ_J_NULL), &style) || e->failed)
        return RZ_J_VOID;
    rz_j_text(e, &t);
    rz_j_json(e, &t, v, &style, 0);
    return rz_j_take(e, &t);
}

static struct rz_jvalue filter_indent(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"width", "first", "blank", NULL};
    struct rz_jvalue width = rz_jargs_get(args, 0, "width", rz_j_int(4));
    bool first = rz_j_true(e, rz_jargs_get(args, 1, "first", RZ_J_NULL));
    bool blank = rz_j_true(e, rz_jargs_get(args, 2, "blank", RZ_J_NULL));
    struct rz_jtext t;
    v = rz_j_to_str(e, v);
    if (!rz_jargs_check(e, "indent", args, 0, params))
        return RZ_J_VOID;
    if (!rz_j_is_str(width))
        width = rz_j_arith(e, RZ_JO_MUL, rz_j_str(e, " ", 1), width);
    if (e->failed || !rz_j_is_str(width))
        return RZ_J_VOID;
    rz_j_text(e, &t);
    const char *p = v.u.s->p, *end = p + v.u.s->n;
    for (bool more = true, start = true; more && rz_j_step(e, 1); start = false) {
        const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        more = stop != NULL;
        stop = more ? stop : end;
        if (start ? first : blank || stop > p)
            rz_j_add(e, &t, width.u.s, 0, width.u.s->n);
        rz_j_add(e, &t, v.u.s, (size_t)(p - v.u.s->p), (size_t)(stop - p) + more);
        p = stop + 1;
    }
    return rz_j_take(e, &t);
}

static struct rz_jvalue filter_default(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"default_value", "boolean", NULL};
    if (!rz_jargs_check(e, "default", args, 0, params))
        return RZ_J_VOID;
    bool falsy = rz_j_true(e, rz_jargs_get(args, 1, "boolean", RZ_J_NULL)) && !rz_j_true(e, v);
    if (v.type != RZ_J_UNDEFINED && !falsy)
        return v;
    return rz_jargs_has(args, 0, "default_value") ? rz_jargs_get(args, 0, "default_value", RZ_J_VOID)
                                                  : rz_j_str(e, "", 0);
}

static struct rz_jvalue filter_trim(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"chars", NULL};
    struct rz_jvalue chars = rz_jargs_get(args, 0, "chars", RZ_J_NULL);
    v = rz_j_to_str(e, v);
    if (e->failed || !rz_jargs_check(e, "trim", args, 0, params))
        return RZ_J_VOID;
    if (chars.type != RZ_J_NONE && !rz_j_is_str(chars))
        return rz_j_fail(e, "trim: the characters must be a string");
    return rz_j_strip(e, v, rz_j_is_str(chars) ? &chars : NULL, 3);
}

static struct rz_jvalue filter_replace(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"old", "new", "count", NULL};
    struct rz_jvalue count = rz_jargs_get(args, 2, "count", RZ_J_NULL);
    if (!rz_jargs_check(e, "replace", args, 2, params))
        return RZ_J_VOID;
    v = rz_j_to_str(e, v);
    struct rz_jvalue from = rz_j_to_str(e, rz_jargs_get(args, 0, "old", RZ_J_VOID));
    struct rz_jvalue to = rz_j_to_str(e, rz_jargs_get(args, 1, "new", RZ_J_VOID));
    if (count.type != RZ_J_NONE && !rz_j_is_int(count))
        return rz_j_fail(e, "replace: the count must be a whole number");
    return e->failed ? RZ_J_VOID : rz_j_replace(e, v, from, to, rz_j_is_int(count) ? count.u.i : -1);
}

static struct rz_jvalue filter_items(struct rz_jenv *e, struct rz_jvalue v)
{
    struct rz_jseq *s;
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_seqv(rz_j_seq(e, RZ_J_ITER, 0));
    if (v.type != RZ_J_DICT)
        return rz_j_fail(e, "Can only get item pairs from a mapping.");
    s = rz_j_seq(e, RZ_J_ITER, v.u.dict->n);
    for (size_t i = 0; s && i < v.u.dict->n; i++)
        rz_j_push(e, s, rz_j_tuple2(e, v.u.dict->pairs[i].key, v.u.dict->pairs[i].value));
    return rz_j_seqv(s);
}

static struct rz_jvalue first_last(struct rz_jenv *e, struct rz_jvalue v, bool last)
{
    if (last && rz_j_is_kind(v, RZ_J_ITER))
        return rz_j_fail(e, "'generator' object is not reversible");
    if (!last && rz_j_is_kind(v, RZ_J_ITER)) {
        struct rz_jseq *s = v.u.seq;
        return s->at < s->n ? s->items[s->at++] : RZ_J_VOID;
    }
    struct rz_jseq *s = rz_j_items(e, v);
    return s && s->n ? s->items[last ? s->n - 1 : 0] : RZ_J_VOID;
}

static struct rz_jvalue copy_list(struct rz_jenv *e, struct rz_jvalue v, uint32_t kind, bool backwards)
{
    struct rz_jseq *all = rz_j_items(e, v);
    struct rz_jseq *s = all ? rz_j_seq(e, kind, all->n) : NULL;
    for (size_t i = 0; s && i < all->n; i++)
        rz_j_push(e, s, all->items[backwards ? all->n - 1 - i : i]);
    return rz_j_seqv(s);
}

static struct rz_jvalue reverse(struct rz_jenv *e, struct rz_jvalue v)
{
    if (!rz_j_is_str(v))
        return copy_list(e, v, v.type == RZ_J_SEQ && v.u.seq->kind == RZ_J_ITER ? RZ_J_LIST : RZ_J_ITER,
                         true);
    const struct rz_jvalue range[3] = {RZ_J_NULL, RZ_J_NULL, rz_j_int(-1)};
    return rz_j_slice(e, v, range);
}

static struct rz_jvalue filter_batch(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"linecount", "fill_with", NULL};
    struct rz_jvalue n = rz_jargs_get(args, 0, "linecount", RZ_J_VOID);
    struct rz_jvalue fill = rz_jargs_get(args, 1, "fill_with", RZ_J_NULL);
    if (!rz_jargs_check(e, "batch", args, 1, params))
        return RZ_J_VOID;
    if (!rz_j_is_int(n) || n.u.i < 1 || n.u.i > 100000)
        return rz_j_fail(e, "batch: not a length from 1 to 100000");
    struct rz_jseq *all = rz_j_items(e, v), *out = rz_j_seq(e, RZ_J_ITER, 0), *row = NULL;
    for (size_t i = 0; all && i < all->n && rz_j_step(e, 1); i++) {
        if (i % (size_t)n.u.i == 0) {
            row = rz_j_seq(e, RZ_J_LIST, 0);
            rz_j_push(e, out, rz_j_seqv(row));
        }
        rz_j_push(e, row, all->items[i]);
    }
    while (row && fill.type != RZ_J_NONE && row->n < (size_t)n.u.i && rz_j_push(e, row, fill))
        ;
    return rz_j_seqv(out);
}

static struct rz_jvalue filter_abs(struct rz_jenv *e, struct rz_jvalue v)
{
    if (v.type == RZ_J_FLOAT)
        return rz_j_float(fabs(v.u.f));
    if (!rz_j_is_int(v))
        return rz_j_fail(e, "bad operand type for abs(): '%s'", rz_j_type_name(v));
    return v.u.i < 0 ? rz_j_negate(e, v, true) : rz_j_int(v.u.i);
}

static struct rz_jvalue filter_join(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    static const char *const params[] = {"d", "attribute", NULL};
    struct rz_jvalue by = rz_jargs_get(args, 0, "d", RZ_J_VOID);
    struct rz_jargs only = {0};
    if (!rz_jargs_check(e, "join", args, 0, params))
        return RZ_J_VOID;
    if (rz_jargs_has(args, 1, "attribute")) {
        rz_jargs_name(e, &only, rz_j_cstr(e, "attribute"), rz_jargs_get(args, 1, "attribute", RZ_J_VOID));
        v = rz_jfilter_map(e, v, &only);
    }
    by = rz_j_to_str(e, by);
    return e->failed ? RZ_J_VOID : rz_j_join(e, by, v, true);
}

static struct rz_jvalue filter_format(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args)
{
    struct rz_jseq *s = rz_j_seq(e, RZ_J_TUPLE, args->n);
    for (uint32_t i = 0; i < args->n; i++)
        rz_j_push(e, s, args->v[i]);
    if (args->n_named)
        return rz_j_fail(e, "format: named arguments are not supported");
    v = rz_j_to_str(e, v);
    return e->failed ? RZ_J_VOID : rz_j_percent(e, v, rz_j_seqv(s));
}

static struct rz_jvalue text_filter(struct rz_jenv *e, int32_t id, struct rz_jvalue v)
{
    if (id == F_ESCAPE || id == F_E)
        return rz_j_escape(e, v);
    v = rz_j_to_str(e, v);
    if (e->failed)
        return RZ_J_VOID;
    switch (id) {
    case F_UPPER:
        return rz_j_upper(e, v);
    case F_LOWER:
        return rz_j_lower(e, v);
    case F_TITLE:
        return rz_j_title(e, v, true);
    case F_CAPITALIZE:
        return rz_j_capitalize(e, v);
    case F_SAFE:
        v.flags |= RZ_J_MARKUP;
        return v;
    default:
        return v;
    }
}

/* Filters without arguments. */
static struct rz_jvalue plain_filter(struct rz_jenv *e, int32_t id, struct rz_jvalue v,
                                     const struct rz_jargs *args)
{
    if (args->n || args->n_named)
        return rz_j_fail(e, "%s: takes no arguments", names[id]);
    switch (id) {
    case F_ABS:
        return filter_abs(e, v);
    case F_COUNT:
    case F_LENGTH: {
        size_t n = rz_j_len(e, v);
        return rz_j_int((int64_t)n);
    }
    case F_FIRST:
    case F_LAST:
        return first_last(e, v, id == F_LAST);
    case F_ITEMS:
        return filter_items(e, v);
    case F_LIST:
        return copy_list(e, v, RZ_J_LIST, false);
    case F_REVERSE:
        return reverse(e, v);
    default:
        return text_filter(e, id, v);
    }
}

struct rz_jvalue rz_jfilter_apply(struct rz_jenv *e, int32_t id, struct rz_jvalue v,
                                  const struct rz_jargs *args)
{
    if (!rz_j_step(e, 1))
        return RZ_J_VOID;
    switch (id) {
    case F_BATCH:
        return filter_batch(e, v, args);
    case F_D:
    case F_DEFAULT:
        return filter_default(e, v, args);
    case F_DICTSORT:
        return rz_jfilter_dictsort(e, v, args);
    case F_FLOAT:
        return filter_float(e, v, args);
    case F_INT:
        return filter_int(e, v, args);
    case F_FORMAT:
        return filter_format(e, v, args);
    case F_INDENT:
        return filter_indent(e, v, args);
    case F_JOIN:
        return filter_join(e, v, args);
    case F_MAP:
        return rz_jfilter_map(e, v, args);
    case F_MAX:
    case F_MIN:
        return rz_jfilter_minmax(e, v, args, id == F_MAX);
    case F_REJECT:
    case F_REJECTATTR:
    case F_SELECT:
    case F_SELECTATTR:
        return rz_jfilter_select(e, v, args, id == F_REJECTATTR || id == F_SELECTATTR,
                                 id == F_SELECT || id == F_SELECTATTR);
    case F_REPLACE:
        return filter_replace(e, v, args);
    case F_ROUND:
        return filter_round(e, v, args);
    case F_SORT:
        return rz_jfilter_sort(e, v, args);
    case F_SUM:
        return rz_jfilter_sum(e, v, args);
    case F_TOJSON:
        return filter_tojson(e, v, args);
    case F_TRIM:
        return filter_trim(e, v, args);
    case F_UNIQUE:
        return rz_jfilter_unique(e, v, args);
    case F_ATTR: {
        struct rz_jvalue name = rz_jargs_get(args, 0, "name", RZ_J_VOID);
        return rz_j_is_str(name) && v.type != RZ_J_DICT ? rz_j_attr(e, v, name) : RZ_J_VOID;
    }
    default:
        return plain_filter(e, id, v, args);
    }
}

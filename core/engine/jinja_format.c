/* jinja_format.c - "..." % values and "...".format(values): the plain forms. What is not supported fails.
 */
#include "jinja_ast.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One conversion: %[flags][width][.precision]letter. */
struct spec {
    bool left, zero, plus;
    int width, precision; /* precision -1: none */
    char letter;
};

static int small_number(const char **p, const char *end)
{
    int n = 0;
    for (; *p < end && **p >= '0' && **p <= '9' && n < 1000; ++*p)
        n = n * 10 + (**p - '0');
    return n;
}

static bool read_spec(struct rz_jenv *e, const char **p, const char *end, struct spec *s)
{
    *s = (struct spec){.precision = -1};
    for (; *p < end && (**p == '-' || **p == '0' || **p == '+'); ++*p) {
        s->left |= **p == '-';
        s->zero |= **p == '0';
        s->plus |= **p == '+';
    }
    s->width = small_number(p, end);
    if (*p < end && **p == '.') {
        ++*p;
        s->precision = small_number(p, end);
    }
    if (*p == end || s->width >= 1000 || s->precision >= 100) {
        rz_j_fail(e, "incomplete format, or a width over 999");
        return false;
    }
    s->letter = *(*p)++;
    return true;
}

/* The first n bytes, which are `chars` characters, of a text. */
static void add_padded(struct rz_jenv *e, struct rz_jtext *t, const struct spec *s,
                       const struct rz_jstr *text, size_t n, size_t chars)
{
    size_t more = (size_t)s->width > chars ? (size_t)s->width - chars : 0, sign = 0;
    bool zero = s->zero && !s->left && s->letter != 's' && s->letter != 'r';
    if (zero && n && (text->p[0] == '-' || text->p[0] == '+'))
        sign = 1;
    rz_j_add(e, t, text, 0, sign);
    for (size_t i = 0; i < more && !s->left; i++)
        rz_buf_str(&t->b, zero ? "0" : " ");
    rz_j_add(e, t, text, sign, n - sign);
    for (size_t i = 0; i < more && s->left; i++)
        rz_buf_str(&t->b, " ");
}

static void add_number(struct rz_jenv *e, struct rz_jtext *t, const struct spec *s, struct rz_jvalue v)
{
    char text[600];
    bool real = strchr("eEfFgG", s->letter) != NULL, whole = strchr("diu", s->letter) != NULL;
    double f = rz_j_is_num(v) ? rz_j_num(v) : 0;
    int precision = s->precision < 0 ? 6 : s->precision;
    if (v.type == RZ_J_UNDEFINED) {
        rz_j_undefined(e, v);
        return;
    }
    if (!rz_j_is_num(v) || (v.type == RZ_J_FLOAT && !real && !(whole && fabs(f) < 0x1p63))) {
        rz_j_fail(e, "%%%c format: a number is required, not %s", s->letter, rz_j_type_name(v));
        return;
    }
    const char *plus = s->plus && !(f < 0) ? "+" : "";
    if (whole) {
        snprintf(text, sizeof(text), "%s%" PRId64, plus, v.type == RZ_J_FLOAT ? (int64_t)f : v.u.i);
    } else if (real) {
        const char *format = s->letter == 'e'   ? "%s%.*e"
                             : s->letter == 'E' ? "%s%.*E"
                             : s->letter == 'g' ? "%s%.*g"
                             : s->letter == 'G' ? "%s%.*G"
                                                : "%s%.*f";
        snprintf(text, sizeof(text), format, plus, precision, f);
    } else {
        uint64_t i = v.u.i < 0 ? 0 - (uint64_t)v.u.i : (uint64_t)v.u.i;
        const char *format = s->letter == 'x' ? "%s%" PRIx64 : s->letter == 'X' ? "%s%" PRIX64 : "%s%" PRIo64;
        snprintf(text, sizeof(text), format, v.u.i < 0 ? "-" : plus, i);
    }
    struct rz_jstr all = {.p = text, .n = strlen(text), .chars = strlen(text)};
    add_padded(e, t, s, &all, all.n, all.n);
}

static void add_text(struct rz_jenv *e, struct rz_jtext *t, const struct spec *s, struct rz_jvalue v)
{
    struct rz_jtext own;
    if (s->letter == 'r') {
        rz_j_text(e, &own);
        rz_j_repr(e, &own, v, 0);
        v = rz_j_take(e, &own);
    } else {
        v = rz_j_to_str(e, v);
    }
    if (e->failed)
        return;
    size_t chars = v.u.s->chars, n = v.u.s->n;
    if (s->precision >= 0 && (size_t)s->precision < chars) {
        chars = (size_t)s->precision;
        n = rz_j_offset(v.u.s, chars);
    }
    add_padded(e, t, s, v.u.s, n, chars);
}

struct rz_jvalue rz_j_percent(struct rz_jenv *e, struct rz_jvalue format, struct rz_jvalue args)
{
    struct rz_jseq one = {.items = &args, .n = 1}, *list = rz_j_is_kind(args, RZ_J_TUPLE) ? args.u.seq : &one;
    struct rz_jtext t;
    struct spec s;
    size_t used = 0;
    rz_j_text(e, &t);
    for (const char *p = format.u.s->p, *end = p + format.u.s->n; p < end && rz_j_step(e, 1);) {
        const char *sign = memchr(p, '%', (size_t)(end - p));
        rz_j_add(e, &t, format.u.s, (size_t)(p - format.u.s->p), (size_t)((sign ? sign : end) - p));
        if (!sign)
            break;
        p = sign + 1;
        if (!read_spec(e, &p, end, &s))
            break;
        if (s.letter == '%') {
            rz_buf_str(&t.b, "%");
            continue;
        }
        if (!s.letter || !strchr("srdiufFeEgGxXo", s.letter))
            rz_j_fail(e, "this format is not supported");
        else if (used == list->n)
            rz_j_fail(e, "not enough arguments for format string");
        else if (s.letter == 's' || s.letter == 'r')
            add_text(e, &t, &s, list->items[used++]);
        else
            add_number(e, &t, &s, list->items[used++]);
    }
    if (used < list->n && list == args.u.seq && !e->failed)
        rz_j_fail(e, "not all arguments converted during string formatting");
    else if (used < list->n && args.type != RZ_J_DICT && !rz_j_is_kind(args, RZ_J_LIST) && !e->failed)
        rz_j_fail(e, "not all arguments converted during string formatting");
    return rz_j_take(e, &t);
}

/* The value that a field between braces names. */
static struct rz_jvalue field(struct rz_jenv *e, const char *p, size_t n, const struct rz_jargs *args,
                              uint32_t *automatic)
{
    uint64_t i = 0;
    bool digits = n > 0 && n < 6;
    for (size_t k = 0; k < n && digits; k++) {
        digits = p[k] >= '0' && p[k] <= '9';
        i = i * 10 + (uint64_t)(p[k] - '0');
    }
    if (!n)
        i = (*automatic)++;
    if ((!n || digits) && i < args->n)
        return args->v[i];
    for (uint32_t k = 0; n && k < args->n_named; k++)
        if (args->named[k].name.u.s->n == n && !memcmp(args->named[k].name.u.s->p, p, n))
            return args->named[k].value;
    return rz_j_fail(e, "format: no such argument, or a form of field that is not supported");
}

struct rz_jvalue rz_j_format(struct rz_jenv *e, struct rz_jvalue format, const struct rz_jargs *args)
{
    struct rz_jtext t;
    uint32_t automatic = 0;
    rz_j_text(e, &t);
    for (const char *p = format.u.s->p, *end = p + format.u.s->n; p < end && rz_j_step(e, 1);) {
        if (*p != '{' && *p != '}') {
            size_t n = 1;
            while (p + n < end && p[n] != '{' && p[n] != '}')
                n++;
            rz_j_add(e, &t, format.u.s, (size_t)(p - format.u.s->p), n);
            p += n;
        } else if (p + 1 < end && p[1] == *p) {
            rz_j_add(e, &t, format.u.s, (size_t)(p - format.u.s->p), 1);
            p += 2;
        } else {
            const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
            if (!close) {
                rz_j_fail(e, "format: a brace without its partner");
                break;
            }
            rz_j_print(e, &t, field(e, p + 1, (size_t)(close - p) - 1, args, &automatic));
            p = close + 1;
        }
    }
    return rz_j_take(e, &t);
}

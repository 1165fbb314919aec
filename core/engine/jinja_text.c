/* jinja_text.c - values as text: str(), repr() and JSON as Python writes them.
 */
#define _GNU_SOURCE /* qsort_r */
#include "jinja_ast.h"
#include "utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The shortest digits that read back as f, and the exponent of the first one. */
static int shortest(double f, char *digits, int *exponent)
{
    char text[40];
    int n = 0;
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, f);
        if (strtod(text, NULL) == f)
            break;
    }
    char *e = strchr(text, 'e');
    for (char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *exponent = (int)strtol(e + 1, NULL, 10);
    return n;
}

void rz_j_float_text(double f, char *out)
{
    char digits[24];
    int exponent, n;
    if (!isfinite(f)) {
        memcpy(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf", 5 - (isnan(f) || f > 0));
        return;
    }
    if (signbit(f))
        *out++ = '-';
    n = shortest(fabs(f), digits, &exponent);
    if (exponent < -4 || exponent >= 16) {
        *out++ = digits[0];
        if (n > 1)
            *out++ = '.';
        for (int i = 1; i < n; i++)
            *out++ = digits[i];
        snprintf(out, 8, "e%c%02u", exponent < 0 ? '-' : '+', (unsigned)abs(exponent) % 1000);
        return;
    }
    for (int i = exponent < 0 ? exponent : 0; i < n || i <= exponent; i++) {
        if (i == exponent + 1)
            *out++ = '.';
        *out++ = i < 0 || i >= n ? '0' : digits[i];
    }
    if (n <= exponent + 1) {
        *out++ = '.';
        *out++ = '0';
    }
    *out = 0;
}

static void add_char(struct rz_jtext *t, uint32_t cp, char quote)
{
    char utf8[4];
    const char *plain = cp == '\n'   ? "\\n"
                        : cp == '\r' ? "\\r"
                        : cp == '\t' ? "\\t"
                        : cp == '\\' ? "\\\\"
                                     : NULL;
    if (plain)
        rz_buf_str(&t->b, plain);
    else if (cp == (unsigned char)quote)
        rz_buf_printf(&t->b, "\\%c", quote);
    else if (rz_j_printable(cp))
        rz_buf_add(&t->b, utf8, rz_utf8_encode(cp, utf8));
    else
        rz_buf_printf(&t->b, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

static void repr_string(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jstr *s)
{
    char quote = s->n && memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? '"' : '\'';
    uint32_t cp;
    rz_buf_add(&t->b, &quote, 1);
    if (!rz_j_step(e, s->n / 16))
        return;
    for (size_t i = 0, n; i < s->n; i += n ? n : 1) {
        size_t at = t->b.len;
        n = rz_utf8_decode(s->p + i, s->n - i, &cp);
        add_char(t, cp, quote);
        rz_j_became(e, t, at, s, i, n);
    }
    rz_buf_add(&t->b, &quote, 1);
}

static void repr_seq(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jseq *s, unsigned depth)
{
    static const char *const open[] = {"[", "(", "", "dict_keys([", "dict_values([", "dict_items(["};
    static const char *const close[] = {"]", ")", "", "])", "])", "])"};
    if (s->kind == RZ_J_ITER) {
        rz_buf_str(&t->b, "<generator object>");
        return;
    }
    if (s->kind == RZ_J_RANGE) {
        rz_buf_printf(&t->b, "range(%" PRId64 ", %" PRId64, s->start, s->stop);
        if (s->step != 1)
            rz_buf_printf(&t->b, ", %" PRId64, s->step);
        rz_buf_str(&t->b, ")");
        return;
    }
    rz_buf_str(&t->b, open[s->kind]);
    for (size_t i = 0; i < s->n && rz_j_step(e, 1); i++) {
        if (i)
            rz_buf_str(&t->b, ", ");
        rz_j_repr(e, t, s->items[i], depth + 1);
    }
    if (s->kind == RZ_J_TUPLE && s->n == 1)
        rz_buf_str(&t->b, ",");
    rz_buf_str(&t->b, close[s->kind]);
}

static void repr_dict(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jdict *d, unsigned depth)
{
    rz_buf_str(&t->b, "{");
    for (size_t i = 0; i < d->n && rz_j_step(e, 1); i++) {
        if (i)
            rz_buf_str(&t->b, ", ");
        rz_j_repr(e, t, d->pairs[i].key, depth + 1);
        rz_buf_str(&t->b, ": ");
        rz_j_repr(e, t, d->pairs[i].value, depth + 1);
    }
    rz_buf_str(&t->b, "}");
}

void rz_j_repr(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v, unsigned depth)
{
    char number[32];
    if (depth > RZ_J_NEST_MAX)
        rz_j_limit(e, "values are nested too deep");
    if (!rz_buf_ok(&t->b) && !e->failed)
        rz_j_limit(e, "a text grows too long");
    if (e->failed)
        return;
    switch (v.type) {
    case RZ_J_UNDEFINED:
        rz_buf_str(&t->b, "Undefined");
        break;
    case RZ_J_NONE:
        rz_buf_str(&t->b, "None");
        break;
    case RZ_J_BOOL:
        rz_buf_str(&t->b, v.u.i ? "True" : "False");
        break;
    case RZ_J_INT:
        rz_buf_printf(&t->b, "%" PRId64, v.u.i);
        break;
    case RZ_J_FLOAT:
        rz_j_float_text(v.u.f, number);
        rz_buf_str(&t->b, number);
        break;
    case RZ_J_STRING:
        if (v.flags & RZ_J_MARKUP)
            rz_buf_str(&t->b, "Markup(");
        repr_string(e, t, v.u.s);
        if (v.flags & RZ_J_MARKUP)
            rz_buf_str(&t->b, ")");
        break;
    case RZ_J_SEQ:
        repr_seq(e, t, v.u.seq, depth);
        break;
    case RZ_J_DICT:
        repr_dict(e, t, v.u.dict, depth);
        break;
    case RZ_J_NAMESPACE:
        rz_buf_str(&t->b, "<Namespace ");
        repr_dict(e, t, v.u.dict, depth);
        rz_buf_str(&t->b, ">");
        break;
    default:
        rz_buf_printf(&t->b, "<%s>", rz_j_type_name(v));
    }
}

void rz_j_print(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v)
{
    if (v.type == RZ_J_STRING) {
        if (rz_j_step(e, v.u.s->n / 64))
            rz_j_add(e, t, v.u.s, 0, v.u.s->n);
    } else if (v.type != RZ_J_UNDEFINED) {
        rz_j_repr(e, t, v, 0);
    }
}

struct rz_jvalue rz_j_to_str(struct rz_jenv *e, struct rz_jvalue v)
{
    struct rz_jtext t;
    if (v.type == RZ_J_STRING)
        return v;
    rz_j_text(e, &t);
    rz_j_print(e, &t, v);
    return rz_j_take(e, &t);
}

/* --- JSON --- */

static void json_string(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jstr *s, bool ascii)
{
    static const char names[] = "\"\"\\\\\nn\rr\tt\ff\bb";
    uint32_t cp;
    rz_buf_str(&t->b, "\"");
    if (!rz_j_step(e, s->n / 16))
        return;
    for (size_t i = 0, from = 0, n; i <= s->n; i += n) {
        unsigned char c = i < s->n ? (unsigned char)s->p[i] : 0;
        n = 1;
        if (i < s->n && c >= ' ' && c != '"' && c != '\\' && (!ascii || c < 0x7f))
            continue;
        rz_j_add(e, t, s, from, i - from);
        if (i == s->n)
            break;
        size_t at = t->b.len;
        const char *name = memchr(names, c, sizeof(names) - 1);
        if (name && (name - names) % 2 == 0) {
            rz_buf_printf(&t->b, "\\%c", name[1]);
        } else if (c < 0x80) {
            rz_buf_printf(&t->b, "\\u%04x", c);
        } else {
            n = rz_utf8_decode(s->p + i, s->n - i, &cp);
            n = n ? n : 1;
            if (cp >= 0x10000)
                rz_buf_printf(&t->b, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
                              0xdc00 + (cp & 0x3ff));
            else
                rz_buf_printf(&t->b, "\\u%04x", cp);
        }
        rz_j_became(e, t, at, s, i, n);
        from = i + n;
    }
    rz_buf_str(&t->b, "\"");
}

static void newline(struct rz_jenv *e, struct rz_jtext *t, const struct rz_json_style *style, unsigned depth)
{
    if (!style->pretty)
        return;
    rz_buf_str(&t->b, "\n");
    for (unsigned i = 0; i < depth && rz_buf_ok(&t->b); i++)
        rz_j_add(e, t, style->indent.u.s, 0, style->indent.u.s->n);
}

static void json_number(struct rz_jtext *t, struct rz_jvalue v)
{
    char text[32];
    if (v.type == RZ_J_INT) {
        rz_buf_printf(&t->b, "%" PRId64, v.u.i);
        return;
    }
    rz_j_float_text(v.u.f, text);
    rz_buf_str(&t->b, isnan(v.u.f) ? "NaN" : isinf(v.u.f) ? (v.u.f < 0 ? "-Infinity" : "Infinity") : text);
}

static void json_key(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v, bool ascii)
{
    if (v.type == RZ_J_STRING) {
        json_string(e, t, v.u.s, ascii);
        return;
    }
    if (v.type != RZ_J_NONE && !rz_j_is_num(v)) {
        rz_j_fail(e, "keys must be str, int, float, bool or None, not %s", rz_j_type_name(v));
        return;
    }
    rz_buf_str(&t->b, "\"");
    if (v.type == RZ_J_INT || v.type == RZ_J_FLOAT)
        json_number(t, v);
    else
        rz_buf_str(&t->b, v.type == RZ_J_NONE ? "null" : v.u.i ? "true" : "false");
    rz_buf_str(&t->b, "\"");
}

static int by_key(const void *x, const void *y, void *arg)
{
    const struct rz_jpair *a = *(const struct rz_jpair *const *)x, *b = *(const struct rz_jpair *const *)y;
    return rz_j_order(arg, a->key, b->key, "<");
}

static void json_dict(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jdict *d,
                      const struct rz_json_style *style, unsigned depth)
{
    const struct rz_jpair **pairs = rz_j_alloc(e, d->n + 1, sizeof(*pairs));
    if (!pairs)
        return;
    for (size_t i = 0; i < d->n; i++)
        pairs[i] = &d->pairs[i];
    if (style->sort)
        qsort_r(pairs, d->n, sizeof(*pairs), by_key, e);
    rz_buf_str(&t->b, "{");
    for (size_t i = 0; i < d->n && rz_j_step(e, 1); i++) {
        if (i)
            rz_j_add(e, t, style->item, 0, style->item->n);
        newline(e, t, style, depth + 1);
        json_key(e, t, pairs[i]->key, style->ascii);
        rz_j_add(e, t, style->key, 0, style->key->n);
        rz_j_json(e, t, pairs[i]->value, style, depth + 1);
    }
    if (d->n)
        newline(e, t, style, depth);
    rz_buf_str(&t->b, "}");
}

static void json_list(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jseq *s,
                      const struct rz_json_style *style, unsigned depth)
{
    rz_buf_str(&t->b, "[");
    for (size_t i = 0; i < s->n && rz_j_step(e, 1); i++) {
        if (i)
            rz_j_add(e, t, style->item, 0, style->item->n);
        newline(e, t, style, depth + 1);
        rz_j_json(e, t, s->items[i], style, depth + 1);
    }
    if (s->n)
        newline(e, t, style, depth);
    rz_buf_str(&t->b, "]");
}

void rz_j_json(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v, const struct rz_json_style *style,
               unsigned depth)
{
    if (depth > RZ_J_NEST_MAX)
        rz_j_limit(e, "values are nested too deep");
    if (!rz_buf_ok(&t->b) && !e->failed)
        rz_j_limit(e, "a text grows too long");
    if (e->failed)
        return;
    if (v.type == RZ_J_NONE)
        rz_buf_str(&t->b, "null");
    else if (v.type == RZ_J_BOOL)
        rz_buf_str(&t->b, v.u.i ? "true" : "false");
    else if (rz_j_is_num(v))
        json_number(t, v);
    else if (v.type == RZ_J_STRING)
        json_string(e, t, v.u.s, style->ascii);
    else if (v.type == RZ_J_DICT)
        json_dict(e, t, v.u.dict, style, depth);
    else if (v.type == RZ_J_SEQ && v.u.seq->kind <= RZ_J_TUPLE)
        json_list(e, t, v.u.seq, style, depth);
    else
        rz_j_fail(e, "Object of type %s is not JSON serializable", rz_j_type_name(v));
}

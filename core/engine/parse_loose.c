/* parse_loose.c - calls as Python writes them, name(key=value), and in braces with bare keys, as JSON.
 *
 * Literals of Python: numbers, True, False, None, texts in either quotes, lists, tuples and dicts. In braces
 * texts stand between <|"|>.
 */
#include "parse_call.h"

#include <string.h>

#define NEST_MAX 64

struct reader {
    const char *p, *end;
    struct rz_buf *out;
    bool braces; /* texts between <|"|>, bare keys */
};

static const char quote[] = "<|\"|>";

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || c == '+' || (unsigned char)c >= 0x80;
}

static void skip(struct reader *r)
{
    while (r->p < r->end && blank(*r->p))
        r->p++;
}

static bool take(struct reader *r, char c)
{
    skip(r);
    if (r->p >= r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static struct rz_part word(struct reader *r)
{
    skip(r);
    struct rz_part w = {r->p, 0};
    while (r->p < r->end && word_char(*r->p))
        r->p++;
    w.n = (size_t)(r->p - w.p);
    return w;
}

static bool at_text(const struct reader *r)
{
    if (r->braces)
        return (size_t)(r->end - r->p) >= sizeof(quote) - 1 && !memcmp(r->p, quote, sizeof(quote) - 1);
    return r->p < r->end && (*r->p == '"' || *r->p == '\'');
}

static bool marked_text(struct reader *r)
{
    const char *from = r->p += sizeof(quote) - 1;
    while (r->p < r->end && !at_text(r))
        r->p++;
    if (r->p >= r->end)
        return false;
    rz_json_quote(r->out, from, (size_t)(r->p - from));
    r->p += sizeof(quote) - 1;
    return true;
}

static bool python_text(struct reader *r)
{
    static const char names[] = "n\nt\tr\r\\\\''\"\"";
    struct rz_buf text;
    char q = *r->p++;
    rz_buf_init(&text, (size_t)64 << 20);
    for (; r->p < r->end && *r->p != q; r->p++) {
        const char *name = *r->p == '\\' && r->p + 1 < r->end && r->p[1] ? strchr(names, r->p[1]) : NULL;
        if (name)
            r->p++;
        rz_buf_add(&text, name ? name + 1 : r->p, 1);
    }
    bool ok = r->p < r->end && rz_buf_ok(&text);
    if (ok)
        rz_json_quote(r->out, text.data ? text.data : "", text.len);
    r->p += r->p < r->end;
    rz_buf_free(&text);
    return ok;
}

static bool text_value(struct reader *r)
{
    return r->braces ? marked_text(r) : python_text(r);
}

static bool plain_value(struct reader *r)
{
    static const struct {
        const char *from, *to;
    } words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                 {"true", "true"}, {"false", "false"}, {"null", "null"}};
    struct rz_part w = word(r);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strlen(words[i].from) == w.n && !memcmp(words[i].from, w.p, w.n))
            return rz_buf_str(r->out, words[i].to);
    return w.n && rz_json_is(w) && rz_buf_add(r->out, w.p, w.n);
}

static bool value(struct reader *r, unsigned depth);

static bool key(struct reader *r)
{
    skip(r);
    if (at_text(r))
        return text_value(r);
    struct rz_part w = r->braces ? word(r) : (struct rz_part){"", 0};
    rz_json_quote(r->out, w.p, w.n);
    return w.n > 0;
}

/* The rest of a list or a dict behind its first bracket. */
static bool box(struct reader *r, char close, unsigned depth)
{
    bool dict = close == '}';
    rz_buf_str(r->out, dict ? "{" : "[");
    for (bool first = true; !take(r, close); first = false) {
        if (!first && (!take(r, ',') || !rz_buf_str(r->out, ",")))
            return false;
        if (dict && (!key(r) || !take(r, ':') || !rz_buf_str(r->out, ":")))
            return false;
        if (!value(r, depth + 1))
            return false;
    }
    return rz_buf_str(r->out, dict ? "}" : "]");
}

static bool value(struct reader *r, unsigned depth)
{
    skip(r);
    if (depth > NEST_MAX || r->p >= r->end)
        return false;
    if (at_text(r))
        return text_value(r);
    if (take(r, '{'))
        return box(r, '}', depth);
    if (take(r, '['))
        return box(r, ']', depth);
    if (!r->braces && take(r, '('))
        return box(r, ')', depth);
    return plain_value(r);
}

static bool one_call(struct rz_calls *calls, struct reader *r)
{
    static const char suffix[] = ".call"; /* of functions that are built into a model */
    struct rz_call *call = rz_calls_add(calls);
    struct rz_part name = word(r);
    if (name.n > 5 && !memcmp(name.p + name.n - 5, suffix, 5))
        name.n -= 5;
    if (!call || !rz_call_name(call, name) || !take(r, '('))
        return false;
    r->out = &call->arguments;
    rz_buf_str(r->out, "{");
    for (bool first = true; !take(r, ')'); first = false) {
        if (!first && (!take(r, ',') || !rz_buf_str(r->out, ",")))
            return false;
        struct rz_part k = word(r);
        rz_json_quote(r->out, k.p, k.n);
        rz_buf_str(r->out, ":");
        if (!k.n || !take(r, '=') || !value(r, 0))
            return false;
    }
    return rz_buf_str(r->out, "}");
}

bool rz_parse_python(struct rz_calls *calls, struct rz_part body)
{
    struct reader r = {.p = body.p, .end = body.p + body.n};
    bool list = take(&r, '[');
    for (bool first = true; list ? !take(&r, ']') : first; first = false) {
        if (!first && !take(&r, ','))
            return false;
        if (!one_call(calls, &r))
            return false;
    }
    skip(&r);
    return r.p == r.end && calls->n > 0;
}

bool rz_parse_braces(struct rz_calls *calls, struct rz_part body)
{
    const char *brace = memchr(body.p, '{', body.n);
    struct rz_call *call = brace ? rz_calls_add(calls) : NULL;
    if (!call || !rz_call_name(call, (struct rz_part){body.p, (size_t)(brace - body.p)}))
        return false;
    struct reader r = {.p = brace, .end = body.p + body.n, .out = &call->arguments, .braces = true};
    bool ok = value(&r, 0);
    skip(&r);
    return ok && r.p == r.end && rz_buf_ok(&call->arguments);
}

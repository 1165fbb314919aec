/* stream.c - a scanner that finds both values by counting brackets, and a strict reader of texts and
 * numbers. */
#include "stream.h"

#include "buf.h"
#include "utf8.h"

#include <string.h>

/* --- finding --- */

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

/* Past the text that begins with the quote at p; NULL: it does not end. */
static const char *skip_text(const char *p, const char *end)
{
    for (p++; p < end && *p != '"';)
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    return p < end ? p + 1 : NULL;
}

/* Past the value that begins at p; NULL: it does not end. */
static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    while (p && p < end) {
        bool open = *p == '{' || *p == '[', close = *p == '}' || *p == ']';
        if (!depth && (close || *p == ','))
            return p;
        depth += open;
        depth -= close;
        p = *p == '"' ? skip_text(p, end) : p + 1;
        if (close && !depth)
            return p;
    }
    return NULL;
}

/* The next member of an object: the value of it begins at *at. The first call is given the place after the
 * object's bracket, a later one that after the value before. False: there is none, or it does not read. */
static bool next_member(const char **at, const char *end, bool first, struct rz_str *key)
{
    const char *p = skip_blank(*at, end);
    if (!first) {
        if (p >= end || *p != ',')
            return false;
        p = skip_blank(p + 1, end);
    }
    const char *after = p < end && *p == '"' ? skip_text(p, end) : NULL;
    if (!after)
        return false;
    *key = (struct rz_str){p + 1, (uint64_t)(after - p - 2)};
    p = skip_blank(after, end);
    if (p >= end || *p != ':')
        return false;
    *at = skip_blank(p + 1, end);
    return *at < end;
}

static bool is(struct rz_str key, const char *name)
{
    return key.len == strlen(name) && !memcmp(key.data, name, key.len);
}

static void find_in_model(const char *p, const char *end, struct rz_hf_long *l)
{
    struct rz_str key;
    for (bool first = true; next_member(&p, end, first, &key); first = false) {
        const char *after = skip_value(p, end);
        if (!after)
            return;
        struct rz_str value = {p, (uint64_t)(after - p)};
        if (is(key, "vocab") && *p == '{' && !l->vocab.data)
            l->vocab = value;
        else if (is(key, "merges") && *p == '[' && !l->merges.data)
            l->merges = value;
        p = after;
    }
}

static void find(const char *p, const char *end, struct rz_hf_long *l)
{
    struct rz_str key;
    p = skip_blank(p, end);
    if (p >= end || *p != '{')
        return;
    p++;
    for (bool first = true; next_member(&p, end, first, &key); first = false) {
        if (is(key, "model") && *p == '{') {
            find_in_model(p + 1, end, l);
            return;
        }
        if (!(p = skip_value(p, end)))
            return;
    }
}

json_t *rz_hf_json_short(struct rz_hf_model *m, const char *name, struct rz_hf_long *l)
{
    const struct rz_source *s = rz_hf_file(m, name);
    struct rz_buf b;
    *l = (struct rz_hf_long){{NULL, 0}, {NULL, 0}};
    if (!s || m->status)
        return NULL;
    const char *at = (const char *)s->data, *end = at + s->bytes;
    find(at, end, l);
    struct rz_str first = l->vocab, second = l->merges;
    if (!first.data || (second.data && second.data < first.data)) {
        first = l->merges;
        second = l->vocab;
    }
    if (!first.data)
        return rz_hf_json(m, name);
    rz_buf_init(&b, s->bytes + 4);
    rz_buf_add(&b, at, (size_t)(first.data - at));
    rz_buf_str(&b, *first.data == '{' ? "{}" : "[]");
    at = first.data + first.len;
    if (second.data) {
        rz_buf_add(&b, at, (size_t)(second.data - at));
        rz_buf_str(&b, *second.data == '{' ? "{}" : "[]");
        at = second.data + second.len;
    }
    rz_buf_add(&b, at, (size_t)(end - at));
    json_t *root = rz_buf_ok(&b) ? json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    rz_buf_free(&b);
    if (!root)
        *l = (struct rz_hf_long){{NULL, 0}, {NULL, 0}};
    return root ? root : rz_hf_json(m, name); /* which says where in the whole file */
}

struct rz_str rz_hf_json_object(struct rz_hf_model *m, const char *name)
{
    const struct rz_source *s = rz_hf_file(m, name);
    const char *at = s ? (const char *)s->data : NULL, *end = s ? at + s->bytes : NULL;
    const char *begin = s ? skip_blank(at, end) : NULL;
    const char *after = s && begin < end && *begin == '{' ? skip_value(begin, end) : NULL;
    if (after && skip_blank(after, end) == end)
        return (struct rz_str){begin, (uint64_t)(after - begin)};
    if (s)
        rz_hf_stream_fail(m, name, name, "is not one JSON object");
    return (struct rz_str){NULL, 0};
}

/* --- reading --- */

struct rz_hf_stream rz_hf_stream_begin(struct rz_hf_model *m, struct rz_str value)
{
    /* without the brackets */
    return (struct rz_hf_stream){.m = m, .at = value.data + 1, .end = value.data + value.len - 1};
}

static bool bad(struct rz_hf_stream *r)
{
    r->bad = true;
    return false;
}

static bool take(struct rz_hf_stream *r, char c)
{
    r->at = skip_blank(r->at, r->end);
    if (r->at >= r->end || *r->at != c)
        return bad(r);
    r->at++;
    r->at = skip_blank(r->at, r->end);
    return true;
}

/* The number of four hexadecimal digits at p; -1: they are not. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character of an escape whose backslash is at *p, and past it; 0: there is none such. */
static uint32_t escaped(const char **p, const char *end)
{
    static const char names[] = "\"\\/bfnrt", chars[] = "\"\\/\b\f\n\r\t";
    const char *at = *p + 1;
    if (at >= end)
        return 0;
    const char *name = *at ? strchr(names, *at) : NULL;
    if (name) {
        *p = at + 1;
        return (uint8_t)chars[name - names];
    }
    int32_t high = *at == 'u' ? hex4(at + 1, end) : -1, low = -1;
    if (high < 0)
        return 0;
    *p = at + 5;
    if ((high & 0xf800) != 0xd800)
        return (uint32_t)high;
    if (high < 0xdc00 && end - at > 10 && at[5] == '\\' && at[6] == 'u')
        low = hex4(at + 7, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *p = at + 11;
    return 0x10000u + (((uint32_t)high & 0x3ff) << 10) + ((uint32_t)low & 0x3ff);
}

/* The text from p to the quote at end, which has escapes. */
static bool unescape(struct rz_hf_stream *r, const char *p, const char *end, struct rz_str *out)
{
    char *text = rz_hf_array(r->m, (uint64_t)(end - p) + 1, 1);
    size_t n = 0;
    if (!text)
        return bad(r);
    while (p < end) {
        if (*p != '\\') {
            text[n++] = *p++;
            continue;
        }
        uint32_t cp = escaped(&p, end);
        if (!cp)
            return bad(r);
        n += rz_utf8_encode(cp, text + n);
    }
    *out = (struct rz_str){text, n};
    return true;
}

static bool take_text(struct rz_hf_stream *r, struct rz_str *out)
{
    const char *begin = r->at + 1, *p = begin;
    bool escapes = false;
    uint8_t all = 0;
    if (r->at >= r->end || *r->at != '"')
        return bad(r);
    while (p < r->end && *p != '"') {
        if ((uint8_t)*p < 0x20)
            return bad(r);
        all |= (uint8_t)*p;
        escapes |= *p == '\\';
        p += *p == '\\' && r->end - p > 1 ? 2 : 1;
    }
    if (p >= r->end || (all & 0x80 && !rz_utf8_valid(begin, (size_t)(p - begin))))
        return bad(r);
    r->at = p + 1;
    *out = (struct rz_str){begin, (uint64_t)(p - begin)};
    return !escapes || unescape(r, begin, p, out);
}

static bool take_number(struct rz_hf_stream *r, int64_t *value)
{
    bool minus = r->at < r->end && *r->at == '-';
    const char *begin = r->at += minus;
    for (*value = 0; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        if (r->at - begin == 18)
            return bad(r);
        *value = *value * 10 + (*r->at - '0');
    }
    if (r->at == begin || (*begin == '0' && r->at - begin > 1))
        return bad(r);
    *value = minus ? -*value : *value;
    return true;
}

/* Whether there is one more element, to whose beginning the stream goes. */
static bool more(struct rz_hf_stream *r)
{
    r->at = skip_blank(r->at, r->end);
    if (r->bad || r->at == r->end || (r->begun && !take(r, ',')))
        return false;
    r->begun = true;
    return r->at < r->end || bad(r);
}

bool rz_hf_stream_token(struct rz_hf_stream *r, struct rz_str *text, int64_t *id)
{
    return more(r) && take_text(r, text) && take(r, ':') && take_number(r, id);
}

bool rz_hf_stream_merge(struct rz_hf_stream *r, struct rz_str *left, struct rz_str *right)
{
    *right = (struct rz_str){NULL, 0};
    if (!more(r))
        return false;
    if (*r->at != '[')
        return take_text(r, left);
    return take(r, '[') && take_text(r, left) && take(r, ',') && take_text(r, right) && take(r, ']');
}

void rz_hf_stream_fail(struct rz_hf_model *m, const char *name, const char *where, const char *message)
{
    json_decref(rz_hf_json(m, name));
    rz_hf_fail(m, RZ_EFORMAT, where, "%s", message);
}

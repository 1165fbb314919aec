/* parse_json.c - JSON as bytes: where a value ends, whether it is valid, what its members are.
 *
 * No tree is made, so that arguments reach the client as the model wrote them. Nesting is bounded.
 */
#include "parse_call.h"
#include "utf8.h"

#include <string.h>

#define NEST_MAX 64

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct rz_part rz_part_trim(struct rz_part part)
{
    while (part.n && blank(part.p[0])) {
        part.p++;
        part.n--;
    }
    while (part.n && blank(part.p[part.n - 1]))
        part.n--;
    return part;
}

size_t rz_json_scan(struct rz_json_scan *s, const char *p, size_t n)
{
    size_t i = 0;
    for (; i < n && !s->ended && !s->bad; i++) {
        char c = p[i];
        if (s->quoted) {
            s->quoted = s->escaped || c != '"';
            s->escaped = !s->escaped && c == '\\';
        } else if (c == '"') {
            s->quoted = true;
        } else if (c == '{' || c == '[') {
            s->depth++;
        } else if ((c == '}' || c == ']') && s->depth) {
            s->ended = --s->depth == 0;
        }
        if (!blank(c) && !s->begun) {
            s->begun = true;
            s->bad = c != '{' && c != '[';
        }
    }
    return i;
}

static size_t skip_blanks(const char *p, size_t n, size_t i)
{
    while (i < n && blank(p[i]))
        i++;
    return i;
}

static bool hex4(const char *p)
{
    for (int i = 0; i < 4; i++) {
        char c = (char)(p[i] | 32);
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
    }
    return true;
}

/* The length of a string at p, 0: none. */
static size_t string_length(const char *p, size_t n)
{
    if (!n || p[0] != '"')
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((unsigned char)p[i] < ' ')
            return 0;
        if (p[i] == '"')
            return i + 1;
        if (p[i] != '\\')
            continue;
        i++;
        if (i >= n || !p[i] || !strchr("\"\\/bfnrtu", p[i]))
            return 0;
        if (p[i] == 'u') {
            if (n - i < 5 || !hex4(p + i + 1))
                return 0;
            i += 4;
        }
    }
    return 0;
}

static size_t digits(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    return i;
}

static size_t number_length(const char *p, size_t n)
{
    size_t i = n && p[0] == '-', whole = digits(p + i, n - i), more;
    if (!whole || (whole > 1 && p[i] == '0'))
        return 0;
    i += whole;
    if (i < n && p[i] == '.') {
        more = digits(p + i + 1, n - i - 1);
        if (!more)
            return 0;
        i += 1 + more;
    }
    if (i < n && (p[i] | 32) == 'e') {
        size_t sign = i + 1 < n && (p[i + 1] == '+' || p[i + 1] == '-');
        more = digits(p + i + 1 + sign, n - i - 1 - sign);
        if (!more)
            return 0;
        i += 1 + sign + more;
    }
    return i;
}

static size_t value_length(const char *p, size_t n, unsigned depth);

/* A list or an object, p[0] being its bracket. */
static size_t box_length(const char *p, size_t n, unsigned depth)
{
    char close = p[0] == '{' ? '}' : ']';
    size_t i = skip_blanks(p, n, 1), len;
    if (i < n && p[i] == close)
        return i + 1;
    for (;;) {
        if (close == '}') {
            len = i < n ? string_length(p + i, n - i) : 0;
            i = len ? skip_blanks(p, n, i + len) : n;
            if (i >= n || p[i] != ':')
                return 0;
            i = skip_blanks(p, n, i + 1);
        }
        len = i < n ? value_length(p + i, n - i, depth + 1) : 0;
        i = len ? skip_blanks(p, n, i + len) : n;
        if (i >= n || (p[i] != ',' && p[i] != close))
            return 0;
        if (p[i] == close)
            return i + 1;
        i = skip_blanks(p, n, i + 1);
    }
}

static size_t value_length(const char *p, size_t n, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    if (!n || depth > NEST_MAX)
        return 0;
    if (p[0] == '{' || p[0] == '[')
        return box_length(p, n, depth);
    if (p[0] == '"')
        return string_length(p, n);
    for (size_t i = 0; i < 3; i++)
        if (n >= strlen(words[i]) && !memcmp(p, words[i], strlen(words[i])))
            return strlen(words[i]);
    return number_length(p, n);
}

size_t rz_json_valid(const char *p, size_t n)
{
    return value_length(p, n, 0);
}

bool rz_json_is(struct rz_part part)
{
    part = rz_part_trim(part);
    return part.n && rz_json_valid(part.p, part.n) == part.n;
}

bool rz_json_next(struct rz_part box, size_t *at, struct rz_part *key, struct rz_part *value)
{
    size_t i = skip_blanks(box.p, box.n, *at ? *at : 1);
    if (*at && i < box.n && box.p[i] == ',')
        i = skip_blanks(box.p, box.n, i + 1);
    *key = (struct rz_part){"", 0};
    if (i >= box.n || box.p[i] == '}' || box.p[i] == ']')
        return false;
    if (box.p[0] == '{') {
        size_t len = string_length(box.p + i, box.n - i);
        *key = (struct rz_part){box.p + i + 1, len - 2};
        i = skip_blanks(box.p, box.n, i + len);
        i = skip_blanks(box.p, box.n, i + 1); /* behind the colon */
    }
    *value = (struct rz_part){box.p + i, rz_json_valid(box.p + i, box.n - i)};
    *at = i + value->n;
    return value->n > 0;
}

void rz_json_quote(struct rz_buf *out, const char *p, size_t n)
{
    rz_buf_str(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\')
            rz_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            rz_buf_str(out, "\\n");
        else if (c == '\t')
            rz_buf_str(out, "\\t");
        else if (c < ' ')
            rz_buf_printf(out, "\\u%04x", c);
        else
            rz_buf_add(out, p + i, 1);
    }
    rz_buf_str(out, "\"");
}

static uint32_t hex_value(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v * 16 + (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v;
}

void rz_json_unquote(struct rz_buf *out, struct rz_part s)
{
    static const char names[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] != '\\') {
            rz_buf_add(out, s.p + i, 1);
            continue;
        }
        i++;
        if (s.p[i] != 'u') {
            rz_buf_add(out, strchr(names, s.p[i]) + 1, 1);
            continue;
        }
        char utf8[4];
        uint32_t cp = hex_value(s.p + i + 1), low;
        i += 4;
        if (cp >= 0xd800 && cp < 0xdc00 && i + 6 < s.n && s.p[i + 1] == '\\' && s.p[i + 2] == 'u') {
            low = hex_value(s.p + i + 3);
            if (low >= 0xdc00 && low < 0xe000) {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
                i += 6;
            }
        }
        if (cp >= 0xd800 && cp < 0xe000)
            cp = 0xfffd;
        rz_buf_add(out, utf8, rz_utf8_encode(cp, utf8));
    }
}

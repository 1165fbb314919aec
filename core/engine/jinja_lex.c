/* jinja_lex.c - the characters of a template as tokens, with the white space rules of trim_blocks and
 * lstrip_blocks.
 *
 * Works on a copy of the text in which lines end in \n alone and the last one is gone, as jinja2 has it.
 */
#include "jinja_ast.h"
#include "utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct rz_jtoken fail(struct rz_jlex *l, const char *what, const char *at, size_t n)
{
    char where[48], shown[80];
    snprintf(where, sizeof(where), "template:%u", l->line);
    if (!l->failed)
        rz_fail(l->err, RZ_EFORMAT, where, "%s%s%s", what, n ? " " : "",
                n ? rz_show(shown, sizeof(shown), at, n) : "");
    l->failed = true;
    l->p = l->end;
    return (struct rz_jtoken){.type = RZ_JT_END, .line = l->line};
}

bool rz_jlex_init(struct rz_jlex *l, struct rz_arena *arena, const char *text, size_t n, struct rz_err *err)
{
    *l = (struct rz_jlex){.arena = arena, .line = 1, .line_start = true, .err = err};
    if (!rz_utf8_valid(text, n)) {
        fail(l, "the template is not UTF-8", NULL, 0);
        return false;
    }
    char *copy = rz_arena_alloc(arena, n + 1);
    size_t k = 0;
    if (!copy) {
        rz_fail(err, RZ_ENOMEM, "template", "no memory for %zu bytes", n);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r' && i + 1 < n && text[i + 1] == '\n')
            continue;
        copy[k++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (k && copy[k - 1] == '\n')
        k--;
    copy[k] = 0;
    l->p = copy;
    l->end = copy + k;
    return true;
}

static size_t space_at(const char *p, const char *end)
{
    uint32_t cp;
    size_t n = p < end ? rz_utf8_decode(p, (size_t)(end - p), &cp) : 0;
    return n && rz_j_space(cp) ? n : 0;
}

static void skip_space(struct rz_jlex *l)
{
    size_t n;
    while ((n = space_at(l->p, l->end))) {
        l->line += *l->p == '\n';
        l->p += n;
    }
}

/* The end of the text without the white space at its end. */
static const char *rstrip(const char *from, const char *to)
{
    while (to > from) {
        const char *c = to - 1;
        while (c > from && ((unsigned char)*c & 0xc0) == 0x80)
            c--;
        if (!space_at(c, to))
            break;
        to = c;
    }
    return to;
}

/* Behind a tag: "-" eats white space; a block or comment eats one newline unless it ends in "+". */
static void after_tag(struct rz_jlex *l, char mark, bool newline)
{
    if (mark == '-') {
        const char *from = l->p;
        skip_space(l);
        l->line_start = l->p > from && l->p[-1] == '\n';
        return;
    }
    l->line_start = false;
    if (newline && mark != '+' && l->p < l->end && *l->p == '\n') {
        l->p++;
        l->line++;
        l->line_start = true;
    }
}

/* Is there a tag `word` at p, which stands behind "{%" and its mark? Sets *end behind it, *mark to the
 * sign before "%}". */
static bool tag_is(const char *p, const char *limit, const char *word, bool plus, const char **end,
                   char *mark)
{
    size_t n;
    while ((n = space_at(p, limit)))
        p += n;
    n = strlen(word);
    if ((size_t)(limit - p) < n || memcmp(p, word, n) != 0)
        return false;
    p += n;
    while ((n = space_at(p, limit)))
        p += n;
    *mark = 0;
    if (p < limit && (*p == '-' || (plus && *p == '+')))
        *mark = *p++;
    if (limit - p < 2 || p[0] != '%' || p[1] != '}')
        return false;
    *end = p + 2;
    return true;
}

static uint32_t lines(const char *from, const char *to)
{
    uint32_t n = 0;
    for (; from < to; from++)
        n += *from == '\n';
    return n;
}

/* The text before a tag at `stop` with the given mark. */
static const char *text_end(const struct rz_jlex *l, const char *from, const char *stop, char mark,
                            bool lstrip)
{
    if (mark == '-')
        return rstrip(from, stop);
    if (mark == '+' || !lstrip)
        return stop;
    const char *line = stop;
    while (line > from && line[-1] != '\n')
        line--;
    if (line == from && !l->line_start)
        return stop;
    const char *bare = rstrip(line, stop);
    return bare == line ? line : stop;
}

static struct rz_jtoken text_token(struct rz_jlex *l, const char *from, const char *to, uint32_t line)
{
    struct rz_jtoken t = {.type = RZ_JT_TEXT, .line = line};
    if (!rz_jvalue_text(l->arena, from, (size_t)(to - from), &t.value))
        return fail(l, "no memory", NULL, 0);
    return t;
}

/* From "{% raw %}" to "{% endraw %}"; l->p stands behind the first. */
static struct rz_jtoken raw(struct rz_jlex *l, uint32_t line)
{
    const char *from = l->p;
    for (const char *p = from; (p = memchr(p, '{', (size_t)(l->end - p))); p++) {
        if (l->end - p < 2 || p[1] != '%')
            continue;
        char mark = l->end - p > 2 && (p[2] == '-' || p[2] == '+') ? p[2] : 0, last;
        const char *end;
        if (!tag_is(p + 2 + (mark != 0), l->end, "endraw", true, &end, &last))
            continue;
        const char *stop = text_end(l, from, p, mark, true);
        l->line += lines(from, end);
        l->p = end;
        after_tag(l, last, true);
        return text_token(l, from, stop, line);
    }
    return fail(l, "raw: no endraw", NULL, 0);
}

static bool comment(struct rz_jlex *l)
{
    for (const char *p = l->p; (p = memchr(p, '#', (size_t)(l->end - p))); p++) {
        if (l->end - p < 2 || p[1] != '}')
            continue;
        char mark = p > l->p && (p[-1] == '-' || p[-1] == '+') ? p[-1] : 0;
        l->line += lines(l->p, p);
        l->p = p + 2;
        after_tag(l, mark, true);
        return true;
    }
    fail(l, "a comment without #}", NULL, 0);
    return false;
}

/* Text up to the next tag. Sets l->mode if that opens an expression; comments and raw are dealt with. */
static struct rz_jtoken data(struct rz_jlex *l)
{
    const char *from = l->p, *p = from;
    uint32_t line = l->line;
    while (p < l->end && !(*p == '{' && l->end - p > 1 && strchr("%{#", p[1]) && p[1]))
        p++;
    if (p == l->end) {
        l->line += lines(from, p);
        l->p = p;
        return from == p ? (struct rz_jtoken){.type = RZ_JT_END, .line = line} : text_token(l, from, p, line);
    }
    char open = p[1], mark = l->end - p > 2 && (p[2] == '-' || p[2] == '+') ? p[2] : 0, last;
    const char *stop = text_end(l, from, p, mark, open != '{'), *end;
    struct rz_jtoken t = text_token(l, from, stop, line);
    l->line += lines(from, p);
    l->p = p + 2 + (mark != 0);
    l->line_start = false;
    if (open == '#') {
        if (!comment(l))
            t.type = RZ_JT_END;
    } else if (open == '%' && tag_is(l->p, l->end, "raw", false, &end, &last)) {
        l->line += lines(l->p, end);
        l->p = end;
        after_tag(l, last, false);
        l->pending = RZ_JT_TEXT;
    } else {
        l->pending = open == '%' ? RZ_JT_OPEN_BLOCK : RZ_JT_OPEN_OUTPUT;
    }
    return t;
}

/* --- inside tags --- */

static void put(char **to, uint32_t cp)
{
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        cp = 0xfffd;
    *to += rz_utf8_encode(cp, *to);
}

static int digit_value(char c, int base)
{
    int v = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 99;
    return v < base ? v : -1;
}

/* Up to max digits; false: there are fewer than min. */
static bool number_escape(const char **p, const char *end, int base, int min, int max, uint32_t *out)
{
    int n = 0, v;
    *out = 0;
    for (; n < max && *p < end && (v = digit_value(**p, base)) >= 0; n++, ++*p)
        *out = *out * (uint32_t)base + (uint32_t)v;
    return n >= min;
}

/* One escape of Python's; *p stands behind the backslash. */
static bool escape(const char **p, const char *end, char **to)
{
    static const char names[] = "n\nt\tr\r\\\\'\'\"\"a\ab\bf\fv\v";
    char c = *(*p)++;
    uint32_t cp;
    for (const char *e = names; *e; e += 2)
        if (*e == c) {
            *(*to)++ = e[1];
            return true;
        }
    if (c == '\n')
        return true;
    if (c == 'x' || c == 'u' || c == 'U') {
        int n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        if (!number_escape(p, end, 16, n, n, &cp) || cp > 0x10ffff)
            return false;
        const char *q = *p + 2; /* a pair of surrogates is one character */
        uint32_t low;
        if (cp >= 0xd800 && cp < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' &&
            number_escape(&q, end, 16, 4, 4, &low) && low >= 0xdc00 && low < 0xe000) {
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
            *p = q;
        }
        put(to, cp);
        return true;
    }
    if (c >= '0' && c <= '7') {
        --*p;
        number_escape(p, end, 8, 1, 3, &cp);
        put(to, cp);
        return true;
    }
    *(*to)++ = '\\';
    *(*to)++ = c;
    return true;
}

static struct rz_jtoken string(struct rz_jlex *l)
{
    struct rz_jtoken t = {.type = RZ_JT_STRING, .line = l->line};
    const char quote = *l->p, *from = l->p + 1, *p = from;
    while (p < l->end && *p != quote)
        p += *p == '\\' && p + 1 < l->end ? 2 : 1;
    if (p >= l->end)
        return fail(l, "a string without its closing quote:", from, (size_t)(l->end - from));
    char *text = rz_arena_alloc(l->arena, (size_t)(p - from) * 2 + 4), *to = text;
    if (!text)
        return fail(l, "no memory", NULL, 0);
    for (const char *q = from; q < p;) {
        if (*q != '\\') {
            *to++ = *q++;
            continue;
        }
        q++;
        if (!escape(&q, p, &to))
            return fail(l, "a broken escape in the string", from, (size_t)(p - from));
    }
    l->line += lines(from, p);
    l->p = p + 1;
    if (!rz_jvalue_text(l->arena, text, (size_t)(to - text), &t.value))
        return fail(l, "no memory", NULL, 0);
    return t;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Copies digits, leaving out the underscores between them. */
static void copy_digits(struct rz_jlex *l, char *text, size_t cap, size_t *n, int base)
{
    while (l->p < l->end) {
        if (*l->p == '_' && l->p + 1 < l->end && digit_value(l->p[1], base) >= 0)
            l->p++;
        if (digit_value(*l->p, base) < 0)
            break;
        if (*n < cap - 8)
            text[(*n)++] = *l->p;
        l->p++;
    }
}

static struct rz_jtoken whole(struct rz_jlex *l, const char *text, int base, const char *from)
{
    struct rz_jtoken t = {.type = RZ_JT_INT, .line = l->line};
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, base);
    if (errno || *end || !*text)
        return fail(l, "not a number of 64 bits:", from, (size_t)(l->p - from));
    t.value = rz_j_int(v);
    return t;
}

static struct rz_jtoken number(struct rz_jlex *l)
{
    const char *from = l->p;
    char text[400];
    size_t n = 0;
    bool real = false;
    char second = l->end - l->p > 2 ? (char)(l->p[1] | 32) : 0;
    int base = *l->p != '0' ? 10 : second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
    if (base != 10 && digit_value(l->p[2], base) >= 0) {
        l->p += 2;
        copy_digits(l, text, sizeof(text), &n, base);
        text[n] = 0;
        return whole(l, text, base, from);
    }
    copy_digits(l, text, sizeof(text), &n, 10);
    if (l->end - l->p > 1 && *l->p == '.' && is_digit(l->p[1])) {
        real = true;
        text[n++] = *l->p++;
        copy_digits(l, text, sizeof(text), &n, 10);
    }
    size_t sign = l->end - l->p > 1 && (l->p[1] == '+' || l->p[1] == '-');
    if (l->p < l->end && (*l->p | 32) == 'e' && l->end - l->p > (long)(1 + sign) &&
        is_digit(l->p[1 + sign])) {
        real = true;
        text[n++] = 'e';
        if (sign)
            text[n++] = l->p[1];
        l->p += 1 + sign;
        copy_digits(l, text, sizeof(text), &n, 10);
    }
    text[n] = 0;
    if (real)
        return (struct rz_jtoken){
            .type = RZ_JT_FLOAT, .line = l->line, .value = rz_j_float(strtod(text, NULL))};
    return whole(l, text, 10, from);
}

static bool name_char(const char *p, const char *end, size_t *n)
{
    uint32_t cp;
    *n = rz_utf8_decode(p, (size_t)(end - p), &cp);
    if (cp < 128)
        return is_digit(*p) || *p == '_' || ((*p | 32) >= 'a' && (*p | 32) <= 'z');
    struct rz_jstr s = {.p = p, .n = *n, .chars = 1};
    return rz_j_all((struct rz_jvalue){.type = RZ_J_STRING, .u.s = &s}, 'n');
}

static struct rz_jtoken name(struct rz_jlex *l)
{
    struct rz_jtoken t = {.type = RZ_JT_NAME, .line = l->line};
    const char *from = l->p;
    size_t n;
    while (l->p < l->end && name_char(l->p, l->end, &n))
        l->p += n;
    if (!rz_jvalue_text(l->arena, from, (size_t)(l->p - from), &t.value))
        return fail(l, "no memory", NULL, 0);
    return t;
}

static bool brackets(struct rz_jlex *l, char c)
{
    if (strchr("([{", c)) {
        if (l->n_brackets == sizeof(l->brackets))
            fail(l, "more than 128 brackets within each other", NULL, 0);
        else
            l->brackets[l->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (strchr(")]}", c)) {
        if (!l->n_brackets || l->brackets[--l->n_brackets] != c)
            fail(l, "unexpected", &c, 1);
    }
    return !l->failed;
}

static struct rz_jtoken operator(struct rz_jlex *l)
{
    static const char two[][3] = {"//", "**", "==", "!=", ">=", "<="};
    struct rz_jtoken t = {.type = RZ_JT_OP, .line = l->line};
    for (size_t i = 0; i < sizeof(two) / sizeof(two[0]); i++)
        if (l->end - l->p > 1 && l->p[0] == two[i][0] && l->p[1] == two[i][1]) {
            t.op = RZ_J_OP2(l->p[0], l->p[1]);
            l->p += 2;
            return t;
        }
    if (!*l->p || !strchr("+-/*%~[](){}><=.:|,;", *l->p)) {
        size_t n = rz_utf8_decode(l->p, (size_t)(l->end - l->p), &(uint32_t){0});
        return fail(l, "unexpected character", l->p, n);
    }
    t.op = (unsigned char)*l->p;
    if (!brackets(l, *l->p))
        return (struct rz_jtoken){.type = RZ_JT_END, .line = l->line};
    l->p++;
    return t;
}

/* Does the tag end here? */
static bool closes(struct rz_jlex *l, struct rz_jtoken *t)
{
    char first = l->mode == RZ_JT_OPEN_BLOCK ? '%' : '}', mark = 0;
    const char *p = l->p;
    if (l->n_brackets)
        return false;
    if (*p == '-' || (*p == '+' && first == '%'))
        mark = *p++;
    if (l->end - p < 2 || p[0] != first || p[1] != '}')
        return false;
    *t = (struct rz_jtoken){.type = first == '%' ? RZ_JT_CLOSE_BLOCK : RZ_JT_CLOSE_OUTPUT, .line = l->line};
    l->p = p + 2;
    after_tag(l, mark, first == '%');
    l->mode = 0;
    return true;
}

struct rz_jtoken rz_jlex_next(struct rz_jlex *l)
{
    struct rz_jtoken t;
    if (l->failed)
        return (struct rz_jtoken){.type = RZ_JT_END, .line = l->line};
    if (l->pending == RZ_JT_TEXT) {
        l->pending = 0;
        return raw(l, l->line);
    }
    if (l->pending) {
        l->mode = l->pending;
        l->pending = 0;
        return (struct rz_jtoken){.type = l->mode, .line = l->line};
    }
    if (!l->mode)
        return data(l);
    skip_space(l);
    if (l->p == l->end)
        return fail(l, l->mode == RZ_JT_OPEN_BLOCK ? "a {% without %}" : "a {{ without }}", NULL, 0);
    if (closes(l, &t))
        return t;
    size_t n;
    if (is_digit(*l->p))
        return number(l);
    if (*l->p == '"' || *l->p == '\'')
        return string(l);
    if (name_char(l->p, l->end, &n))
        return name(l);
    return operator(l);
}

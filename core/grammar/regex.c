/* regex.c - regular expressions in the syntax of ECMAScript, as far as they are regular.
 *
 * Groups (named or not) only group; lazy quantifiers say the same language as greedy ones. Look-around,
 * back references, word boundaries and flags are refused by name. Anchors may stand where a text begins or
 * ends: at the ends of the expression and of its alternatives.
 */
#include "err.h"
#include "expr.h"
#include "frontend.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define CP_MAX 0x10ffffu
#define RANGES_MAX 16384
#define ARENA_MAX (64u << 20)
#define COUNT_MAX 1000000000u

struct regex {
    struct rz_nfa *g;
    struct rz_expr_pool pool;
    const char *p, *end, *begin;
    const char *where;
    uint32_t depth;
    struct rz_range *ranges; /* [RANGES_MAX] of the class that is read */
    uint32_t n_ranges;
};

static void *bad(struct regex *r, int32_t code, const char *what)
{
    rz_nfa_bad(r->g, code, r->where, "regular expression, byte %zu: %s", (size_t)(r->p - r->begin), what);
    return NULL;
}

static bool more(const struct regex *r)
{
    return r->p < r->end;
}

static bool take(struct regex *r, char c)
{
    if (!more(r) || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool looking_at(const struct regex *r, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(r->end - r->p) >= n && !memcmp(r->p, text, n);
}

/* --- classes of characters --- */

static void add_range(struct regex *r, uint32_t lo, uint32_t hi)
{
    if (r->n_ranges == RANGES_MAX)
        bad(r, RZ_ELIMIT, "a class has too many ranges");
    else
        r->ranges[r->n_ranges++] = (struct rz_range){lo, hi};
}

/* Adds the ranges, or everything but them. */
static void add_ranges(struct regex *r, const struct rz_range *list, uint32_t n, bool inverted)
{
    struct rz_range *out = inverted ? malloc((n + 2) * sizeof(*out)) : NULL;
    if (inverted && !out) {
        bad(r, RZ_ENOMEM, "no memory");
        return;
    }
    uint32_t kept = inverted ? rz_ranges_invert(list, n, out) : n;
    for (uint32_t i = 0; i < kept; i++)
        add_range(r, inverted ? out[i].lo : list[i].lo, inverted ? out[i].hi : list[i].hi);
    free(out);
}

static const struct rz_range digits[] = {{'0', '9'}},
                             words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                             spaces[] = {{9, 13},          {32, 32},         {0xa0, 0xa0},
                                         {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029},
                                         {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
                                         {0xfeff, 0xfeff}},
                             breaks[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

/* \p{Lu} and \P{Lu} */
static void add_property(struct regex *r, bool inverted)
{
    const char *name = r->p + 1, *close;
    if (!take(r, '{') || !(close = memchr(r->p, '}', (size_t)(r->end - r->p)))) {
        bad(r, RZ_EFORMAT, "\\p without {...}");
        return;
    }
    struct rz_range *list = malloc(RZ_CLASS_RANGES * sizeof(*list));
    uint32_t n = list ? rz_unicode_class(name, (size_t)(close - name), list, RZ_CLASS_RANGES) : 0;
    if (n)
        add_ranges(r, list, n, inverted);
    else
        bad(r, RZ_EUNSUPPORTED,
            "this class of characters is not known: general categories such as L or Nd are");
    free(list);
    r->p = close + 1;
}

/* An escape that stands for many characters; false: it does not. */
static bool class_escape(struct regex *r)
{
    switch (*r->p) {
    case 'd':
    case 'D':
        add_ranges(r, digits, 1, *r->p++ == 'D');
        return true;
    case 'w':
    case 'W':
        add_ranges(r, words, 4, *r->p++ == 'W');
        return true;
    case 's':
    case 'S':
        add_ranges(r, spaces, sizeof(spaces) / sizeof(spaces[0]), *r->p++ == 'S');
        return true;
    case 'p':
    case 'P':
        add_property(r, *r->p++ == 'P');
        return true;
    default:
        return false;
    }
}

/* n hex digits; false: they are not there. */
static bool hex(struct regex *r, uint32_t n, uint32_t *out)
{
    *out = 0;
    for (uint32_t i = 0; i < n; i++, r->p++) {
        char c = more(r) ? *r->p : 0;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

/* \u{1F600}, \u0041, and two halves of a pair */
static uint32_t unicode_escape(struct regex *r)
{
    uint32_t cp = 0, low;
    if (take(r, '{')) {
        uint32_t n = 0;
        while (r->p + n < r->end && r->p[n] != '}' && n < 7)
            n++;
        if (!n || n > 6 || !hex(r, n, &cp) || !take(r, '}') || cp > CP_MAX)
            bad(r, RZ_EFORMAT, "\\u{...} is no character");
    } else if (!hex(r, 4, &cp)) {
        bad(r, RZ_EFORMAT, "\\u needs four hex digits");
    } else if (cp >= 0xd800 && cp < 0xdc00 && looking_at(r, "\\u")) {
        r->p += 2;
        if (!hex(r, 4, &low) || low < 0xdc00 || low > 0xdfff)
            bad(r, RZ_EFORMAT, "half of a pair of surrogates");
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    return cp;
}

/* Behind a backslash: one character. */
static uint32_t escaped(struct regex *r, bool in_class)
{
    static const char letters[] = "nrtfv0", meaning[] = {'\n', '\r', '\t', '\f', '\v', 0};
    uint32_t cp = 0;
    char c = *r->p;
    const char *at = c ? strchr(letters, c) : NULL;
    if (at && !(c == '0' && r->p + 1 < r->end && r->p[1] >= '0' && r->p[1] <= '9')) {
        r->p++;
        return (uint32_t)meaning[at - letters];
    }
    if (c == 'b' && in_class) {
        r->p++;
        return '\b';
    }
    if (c == 'x' || c == 'u') {
        r->p++;
        if (c == 'u')
            return unicode_escape(r);
        if (!hex(r, 2, &cp))
            bad(r, RZ_EFORMAT, "\\x needs two hex digits");
        return cp;
    }
    if (c == 'c' && r->p + 1 < r->end && ((r->p[1] | 32) >= 'a' && (r->p[1] | 32) <= 'z')) {
        r->p += 2;
        return (uint32_t)r->p[-1] & 31;
    }
    if ((c >= '0' && c <= '9') || c == 'k')
        bad(r, RZ_EUNSUPPORTED, "a back reference");
    else if (c == 'b' || c == 'B' || c == 'A' || c == 'Z' || c == 'z' || c == 'G')
        bad(r, RZ_EUNSUPPORTED, "a boundary: only ^ and $ are known");
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        bad(r, RZ_EFORMAT, "an unknown escape");
    r->p += rz_utf8_decode(r->p, (size_t)(r->end - r->p), &cp);
    return cp;
}

/* One character of the expression or of a class, escaped or not. */
static uint32_t one_char(struct regex *r, bool in_class)
{
    uint32_t cp = 0;
    if (!more(r) || (*r->p == '\\' && r->p + 1 == r->end)) {
        bad(r, RZ_EFORMAT, "it ends too early");
        return 0;
    }
    if (take(r, '\\'))
        return escaped(r, in_class);
    r->p += rz_utf8_decode(r->p, (size_t)(r->end - r->p), &cp);
    return cp;
}

/* [...], behind the bracket */
static struct rz_expr *char_class(struct regex *r)
{
    bool inverted = take(r, '^');
    r->n_ranges = 0;
    while (!r->g->rc && !take(r, ']')) {
        if (!more(r))
            return bad(r, RZ_EFORMAT, "a class without ]");
        if (*r->p == '\\' && r->p + 1 < r->end) {
            r->p++;
            if (class_escape(r))
                continue;
            r->p--;
        }
        uint32_t lo = one_char(r, true), hi = lo;
        if (looking_at(r, "-") && r->p + 1 < r->end && r->p[1] != ']') {
            const char *dash = r->p++;
            if (*r->p == '\\' && r->p + 1 < r->end && strchr("dDwWsSpP", r->p[1]))
                r->p = dash; /* [a-\d]: the dash is a character */
            else
                hi = one_char(r, true);
        }
        if (hi < lo)
            return bad(r, RZ_EFORMAT, "a range that goes backwards");
        add_range(r, lo, hi);
    }
    uint32_t n = rz_ranges_join(r->ranges, r->n_ranges);
    if (!inverted)
        return rz_expr_chars(&r->pool, r->ranges, n);
    struct rz_range *out = rz_arena_array(&r->pool.arena, n + 2, sizeof(*out));
    if (!out)
        return bad(r, RZ_ELIMIT, "a class has too many ranges");
    return rz_expr_chars(&r->pool, out, rz_ranges_invert(r->ranges, n, out));
}

/* --- structure --- */

static struct rz_expr *choice(struct regex *r);

static struct rz_expr *group(struct regex *r)
{
    if (take(r, '?')) {
        if (looking_at(r, "=") || looking_at(r, "!") || looking_at(r, "<=") || looking_at(r, "<!"))
            return bad(r, RZ_EUNSUPPORTED, "look-around");
        if (take(r, 'P') || looking_at(r, "<")) {
            const char *close = memchr(r->p, '>', (size_t)(r->end - r->p));
            if (!take(r, '<') || !close || close == r->p)
                return bad(r, RZ_EFORMAT, "a group without a name");
            r->p = close + 1;
        } else if (!take(r, ':')) {
            return bad(r, RZ_EUNSUPPORTED, "flags inside of the expression");
        }
    }
    if (++r->depth > RZ_EXPR_DEPTH_MAX)
        return bad(r, RZ_ELIMIT, "more than 128 groups inside of each other");
    struct rz_expr *e = choice(r);
    r->depth--;
    if (!take(r, ')'))
        return bad(r, RZ_EFORMAT, "a group without )");
    return e;
}

static struct rz_expr *atom(struct regex *r)
{
    if (take(r, '('))
        return more(r) ? group(r) : bad(r, RZ_EFORMAT, "a group without )");
    if (take(r, '['))
        return char_class(r);
    if (take(r, '^'))
        return rz_expr_new(&r->pool, RZ_EXPR_BEGIN);
    if (take(r, '$'))
        return rz_expr_new(&r->pool, RZ_EXPR_FINISH);
    r->n_ranges = 0;
    if (take(r, '.')) {
        add_ranges(r, breaks, 3, true);
        return rz_expr_chars(&r->pool, r->ranges, r->n_ranges);
    }
    if (looking_at(r, "*") || looking_at(r, "+") || looking_at(r, "?"))
        return bad(r, RZ_EFORMAT, "nothing to repeat");
    if (*r->p == '\\' && r->p + 1 < r->end) {
        r->p++;
        if (class_escape(r))
            return rz_expr_chars(&r->pool, r->ranges, rz_ranges_join(r->ranges, r->n_ranges));
        r->p--;
    }
    return rz_expr_char(&r->pool, one_char(r, false));
}

static bool number(const char **p, const char *end, uint32_t *out)
{
    uint64_t value = 0;
    const char *from = *p;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
        value = value < COUNT_MAX ? value * 10 + (uint64_t)(**p - '0') : value;
    *out = value < COUNT_MAX ? (uint32_t)value : COUNT_MAX;
    return *p > from;
}

/* {n}, {n,}, {n,m}; false: braces that are no quantifier */
static bool counts(struct regex *r, uint32_t *min, uint32_t *max)
{
    const char *p = r->p + 1;
    if (!looking_at(r, "{") || !number(&p, r->end, min))
        return false;
    *max = *min;
    if (p < r->end && *p == ',') {
        p++;
        if (!number(&p, r->end, max))
            *max = RZ_NFA_FOREVER;
    }
    if (p == r->end || *p != '}')
        return false;
    r->p = p + 1;
    return true;
}

static struct rz_expr *quantified(struct regex *r)
{
    struct rz_expr *e = atom(r);
    uint32_t min = 0, max = 1;
    if (!e)
        return NULL;
    if (take(r, '*'))
        max = RZ_NFA_FOREVER;
    else if (take(r, '+'))
        min = 1, max = RZ_NFA_FOREVER;
    else if (!take(r, '?') && !counts(r, &min, &max))
        return e;
    if (e->kind == RZ_EXPR_BEGIN || e->kind == RZ_EXPR_FINISH)
        return bad(r, RZ_EFORMAT, "a repeated anchor");
    if (min > max)
        return bad(r, RZ_EFORMAT, "a repetition with more at least than at most");
    take(r, '?');
    return rz_expr_repeat(&r->pool, e, min, max);
}

static struct rz_expr *choice(struct regex *r)
{
    struct rz_expr *all = rz_expr_new(&r->pool, RZ_EXPR_CHOICE);
    do {
        struct rz_expr *sequence = rz_expr_new(&r->pool, RZ_EXPR_SEQUENCE);
        while (more(r) && *r->p != '|' && *r->p != ')' && !r->g->rc)
            rz_expr_add(sequence, quantified(r));
        rz_expr_add(all, sequence);
    } while (take(r, '|') && !r->g->rc);
    return all;
}

/* --- anchors: taken away where they say nothing new; where one is missing, anything may come --- */

static struct rz_expr *anything(struct regex *r)
{
    static const struct rz_range all = {0, CP_MAX};
    return rz_expr_repeat(&r->pool, rz_expr_chars(&r->pool, &all, 1), 0, RZ_NFA_FOREVER);
}

/* A sequence of `anything` and the expression, in the order that the end asks for. */
static struct rz_expr *loosen(struct regex *r, struct rz_expr *e, int anchor)
{
    struct rz_expr *both = rz_expr_new(&r->pool, RZ_EXPR_SEQUENCE), *any = anything(r);
    rz_expr_add(both, anchor == RZ_EXPR_BEGIN ? any : e);
    rz_expr_add(both, anchor == RZ_EXPR_BEGIN ? e : any);
    return both;
}

static bool has_anchor(const struct rz_expr *e, int anchor)
{
    if (e->kind == anchor)
        return true;
    for (const struct rz_expr *part = e->last; part; part = part->prev)
        if (has_anchor(part, anchor))
            return true;
    return false;
}

/* Settles one end of an expression. */
static struct rz_expr *settle(struct regex *r, struct rz_expr *e, int anchor, bool search)
{
    if (!e)
        return NULL;
    if (e->kind == anchor)
        return rz_expr_new(&r->pool, RZ_EXPR_SEQUENCE);
    if (!has_anchor(e, anchor))
        return search ? loosen(r, e, anchor) : e;
    if (e->kind != RZ_EXPR_CHOICE && e->kind != RZ_EXPR_SEQUENCE)
        return bad(r, RZ_EUNSUPPORTED, "an anchor inside of a repetition");
    struct rz_expr *whole = rz_expr_new(&r->pool, e->kind), *first = NULL, *last = e->last;
    for (struct rz_expr *part = last, *before; part; part = before) { /* from the first on, by prev */
        before = part->prev;
        part->prev = first;
        first = part;
    }
    struct rz_expr *edge = anchor == RZ_EXPR_BEGIN ? first : last;
    bool loose = search && e->kind == RZ_EXPR_SEQUENCE && !has_anchor(edge, anchor);
    for (struct rz_expr *part = first, *after; part; part = after) {
        after = part->prev;
        part->prev = NULL;
        bool here = e->kind == RZ_EXPR_CHOICE || (part == edge && has_anchor(edge, anchor));
        rz_expr_add(whole, here ? settle(r, part, anchor, search) : part);
    }
    return loose ? loosen(r, whole, anchor) : whole;
}

uint32_t rz_regex_node(struct rz_nfa *g, const char *text, size_t n, uint32_t flags, int mode,
                       const char *where, uint32_t next, uint32_t *least, uint32_t *most)
{
    struct regex r = {.g = g, .p = text, .begin = text, .end = text + n, .where = where};
    uint32_t out = RZ_NFA_FAIL;
    if (!rz_utf8_valid(text, n))
        return rz_nfa_bad(g, RZ_EFORMAT, where, "regular expression: it is not UTF-8");
    rz_arena_init(&r.pool.arena, ARENA_MAX);
    r.pool.g = g;
    r.ranges = malloc(RANGES_MAX * sizeof(*r.ranges));
    if (!r.ranges)
        rz_nfa_bad(g, RZ_ENOMEM, where, "no memory");
    struct rz_expr *e = g->rc ? NULL : choice(&r);
    if (!g->rc && more(&r))
        bad(&r, RZ_EFORMAT, "a ) that closes nothing");
    if (!g->rc)
        e = settle(&r, e, RZ_EXPR_BEGIN, flags & RZ_REGEX_SEARCH);
    if (!g->rc)
        e = settle(&r, e, RZ_EXPR_FINISH, flags & RZ_REGEX_SEARCH);
    if (!g->rc && (has_anchor(e, RZ_EXPR_BEGIN) || has_anchor(e, RZ_EXPR_FINISH)))
        rz_nfa_bad(g, RZ_EUNSUPPORTED, where, "regular expression: an anchor inside of it");
    if (!g->rc && least)
        rz_expr_lengths(e, least, most);
    if (!g->rc)
        out = rz_expr_build(g, e, mode, next);
    free(r.ranges);
    rz_arena_free(&r.pool.arena);
    return out;
}

void rz_regex_build(struct rz_nfa *g, const char *text, size_t n)
{
    uint32_t root = rz_nfa_rule(g, "root", 4);
    uint32_t start = rz_regex_node(g, text, n, 0, RZ_TEXT_RAW, "regex", RZ_NFA_END, NULL, NULL);
    if (!g->rc)
        g->rules[root].start = start;
}

/* gbnf.c - GBNF, the grammars of llama.cpp: rules of literals, classes, groups, repetitions and references.
 *
 * `name ::= ...`, alternatives with |, "literal", [class], [^class], any character ., (group), * + ? {n} {n,}
 * {n,m}, # comment; escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH. A rule goes on in the next line
 * inside of a group or behind |. <text> and <[id]> are single tokens of the vocabulary. Beyond llama.cpp,
 * %json {schema} is a value of a JSON Schema, %until "text" is any text up to and with the first "text", and
 * %without "text" is any text that does not hold it.
 */
#include "err.h"
#include "expr.h"
#include "frontend.h"
#include "map.h"
#include "numeric.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX (64u << 20)
#define RANGES_MAX 4096
#define COUNT_MAX 1000000000u
#define RULES_MAX 4096u
#define ELEMENTS_MAX 65536u

struct gbnf {
    struct rz_nfa *g;
    struct rz_expr_pool pool;
    const struct rz_trie *trie;
    const char *p, *end, *line_start;
    uint32_t line, depth, n_elements;
    struct rz_map names; /* of rules: their numbers */
    bool *defined;       /* [RULES_MAX] */
    struct rz_range ranges[RANGES_MAX];
};

static void *bad(struct gbnf *p, int32_t code, const char *what)
{
    char where[48];
    snprintf(where, sizeof(where), "grammar, line %u", p->line);
    rz_nfa_bad(p->g, code, where, "column %zu: %s", (size_t)(p->p - p->line_start) + 1, what);
    return NULL;
}

static char at(const struct gbnf *p)
{
    return p->p < p->end ? *p->p : 0;
}

static bool take(struct gbnf *p, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(p->end - p->p) < n || memcmp(p->p, text, n))
        return false;
    p->p += n;
    return true;
}

static void new_line(struct gbnf *p)
{
    p->line++;
    p->line_start = p->p;
}

/* Blanks and comments; line breaks too where a rule may go on. */
static void skip(struct gbnf *p, bool lines)
{
    for (; p->p < p->end;) {
        char c = *p->p;
        if (c == '#') {
            while (p->p < p->end && *p->p != '\n' && *p->p != '\r')
                p->p++;
        } else if (c == ' ' || c == '\t') {
            p->p++;
        } else if (lines && (c == '\n' || c == '\r')) {
            p->p++;
            if (c == '\n')
                new_line(p);
        } else {
            return;
        }
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* --- characters --- */

static uint32_t hex(struct gbnf *p, uint32_t n)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < n; i++, p->p++) {
        char c = at(p);
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            bad(p, RZ_EFORMAT, "a hex digit is missing");
            return 0;
        }
        value = value << 4 | digit;
    }
    return value;
}

static uint32_t one_char(struct gbnf *p)
{
    uint32_t cp = 0;
    if (p->p >= p->end || *p->p == '\n') {
        bad(p, RZ_EFORMAT, "the line ends inside of a literal or class");
        return 0;
    }
    if (!take(p, "\\")) {
        p->p += rz_utf8_decode(p->p, (size_t)(p->end - p->p), &cp);
        return cp;
    }
    char c = at(p);
    p->p += p->p < p->end;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'x':
        return hex(p, 2);
    case 'u':
    case 'U':
        cp = hex(p, c == 'u' ? 4 : 8);
        if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
            bad(p, RZ_EFORMAT, "this is no character");
        return cp;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
        return (uint32_t)c;
    default:
        bad(p, RZ_EFORMAT, "an unknown escape");
        return 0;
    }
}

static struct rz_expr *literal(struct gbnf *p)
{
    struct rz_expr *all = rz_expr_new(&p->pool, RZ_EXPR_SEQUENCE);
    while (!p->g->rc && !take(p, "\"")) {
        if (++p->n_elements > ELEMENTS_MAX)
            return bad(p, RZ_ELIMIT, "more than 65536 elements");
        rz_expr_add(all, rz_expr_char(&p->pool, one_char(p)));
    }
    return all;
}

static struct rz_expr *char_class(struct gbnf *p)
{
    bool inverted = take(p, "^");
    uint32_t n = 0;
    while (!p->g->rc && !take(p, "]")) {
        if (n == RANGES_MAX - 2)
            return bad(p, RZ_ELIMIT, "a class of more than 4094 ranges");
        uint32_t lo = one_char(p), hi = lo;
        if (at(p) == '-' && p->p + 1 < p->end && p->p[1] != ']') {
            p->p++;
            hi = one_char(p);
        }
        if (hi < lo)
            return bad(p, RZ_EFORMAT, "a range that goes backwards");
        p->ranges[n++] = (struct rz_range){lo, hi};
    }
    if (!inverted)
        return rz_expr_chars(&p->pool, p->ranges, n);
    struct rz_range out[RANGES_MAX];
    n = rz_ranges_join(p->ranges, n);
    return rz_expr_chars(&p->pool, out, rz_ranges_invert(p->ranges, n, out));
}

/* --- tokens, schemas, texts up to a mark --- */

/* <text> or <[id]>, behind the < */
static struct rz_expr *token(struct gbnf *p)
{
    const char *from = p->p - 1, *close = memchr(p->p, '>', (size_t)(p->end - p->p));
    char shown[80];
    if (!p->trie)
        return bad(p, RZ_EUNSUPPORTED, "a token cannot be named where there is no vocabulary");
    if (!close)
        return bad(p, RZ_EFORMAT, "a token without >");
    int32_t id = -1;
    uint64_t number = 0;
    p->p = close + 1;
    if (from[1] == '[' && close - from > 2 && close[-1] == ']') {
        for (const char *c = from + 2; c < close - 1; c++)
            number =
                *c >= '0' && *c <= '9' && number < INT32_MAX ? number * 10 + (uint64_t)(*c - '0') : INT32_MAX;
        id = number < p->trie->n_vocab && rz_trie_is_special(p->trie, (int32_t)number) ? (int32_t)number : -1;
    } else {
        id = rz_trie_special(p->trie, from, (size_t)(p->p - from));
    }
    if (id < 0) {
        char what[160];
        snprintf(what, sizeof(what), "%s is no special token of the vocabulary, or one that ends the text",
                 rz_show(shown, sizeof(shown), from, (size_t)(p->p - from)));
        return bad(p, RZ_EUNSUPPORTED, what);
    }
    struct rz_expr *e = rz_expr_new(&p->pool, RZ_EXPR_TOKEN);
    if (e) {
        e->text = p->trie->text + p->trie->at[id];
        e->n_text = p->trie->at[id + 1] - p->trie->at[id];
    }
    return e;
}

/* A rule of its own for what is built as nodes. */
static struct rz_expr *built(struct gbnf *p, const char *name, uint32_t start)
{
    struct rz_expr *e = rz_expr_new(&p->pool, RZ_EXPR_NODE);
    if (!e)
        return NULL;
    e->rule = rz_nfa_rule(p->g, name, strlen(name));
    if (!p->g->rc)
        p->g->rules[e->rule].start = start;
    return e;
}

/* Where a JSON object, list or word that begins at p ends. */
static const char *json_end(const char *p, const char *end)
{
    int depth = 0;
    bool quoted = false;
    for (; p < end; p++) {
        if (quoted) {
            p += *p == '\\' && p + 1 < end;
            quoted = *p != '"';
        } else if (*p == '"') {
            quoted = true;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (--depth <= 0)
                return p + 1;
        } else if (!depth && !is_name(*p)) {
            return p;
        }
    }
    return p;
}

static struct rz_expr *schema(struct gbnf *p)
{
    skip(p, true);
    const char *from = p->p;
    char where[48];
    p->p = json_end(from, p->end);
    snprintf(where, sizeof(where), "grammar, line %u, %%json", p->line);
    for (const char *c = from; c < p->p; c++)
        if (*c == '\n') {
            p->line++;
            p->line_start = c + 1;
        }
    return built(p, "%json", rz_schema_node(p->g, from, (size_t)(p->p - from), where, RZ_NFA_END));
}

/* How much of the mark's beginning the n bytes of text end with, all of it excepted. */
static size_t overlap(const char *mark, size_t n_mark, const char *text, size_t n)
{
    size_t k = n < n_mark ? n : n_mark - 1;
    while (k && memcmp(mark, text + n - k, k))
        k--;
    return k;
}

/* Any bytes of text up to and with the first mark, or the control token that is spelled like it: one loop
 * node for each length of its beginning. Or without the mark, and then with any other control token. */
static uint32_t until(struct rz_nfa *g, const char *mark, size_t n, bool without)
{
    uint32_t state[65] = {0};
    char seen[65];
    for (size_t i = 0; i < n; i++)
        state[i] = rz_nfa_loop(g);
    state[n] = without ? RZ_NFA_FAIL : RZ_NFA_END;
    uint32_t control =
        rz_nfa_byte(g, RZ_NFA_CONTROL, without ? state[0] : rz_nfa_text(g, mark, n, RZ_NFA_END));
    for (size_t i = 0; i < n && !g->rc; i++) {
        struct rz_byteset by_state[65] = {0};
        uint32_t body = RZ_NFA_FAIL;
        memcpy(seen, mark, i);
        for (uint32_t c = 0; c < RZ_NFA_CONTROL; c++) {
            seen[i] = (char)c;
            size_t to = c == (uint8_t)mark[i] ? i + 1 : overlap(mark, n, seen, i + 1);
            rz_byteset_add(&by_state[to], (uint8_t)c);
        }
        for (size_t to = 0; to <= n; to++)
            body = rz_nfa_or(g, body, rz_nfa_set(g, &by_state[to], state[to]));
        rz_nfa_loop_close(g, state[i], without ? rz_nfa_or(g, body, control) : body,
                          without ? RZ_NFA_END : control);
    }
    return state[0];
}

static struct rz_expr *up_to(struct gbnf *p, bool without)
{
    skip(p, true);
    if (!take(p, "\""))
        return bad(p, RZ_EFORMAT, "a literal was expected, the mark");
    char mark[64 + 4];
    size_t n = 0;
    while (!p->g->rc && !take(p, "\"")) {
        if (n > 60)
            return bad(p, RZ_ELIMIT, "a mark has at most 60 bytes");
        n += rz_utf8_encode(one_char(p), mark + n);
    }
    if (!n)
        return bad(p, RZ_EFORMAT, "a mark is not empty");
    return built(p, without ? "%without" : "%until", until(p->g, mark, n, without));
}

/* --- structure --- */

static struct rz_expr *choice(struct gbnf *p, bool nested);

/* The number of the rule of this name, which may be defined later. */
static uint32_t rule_of(struct gbnf *p, const char *name, size_t n)
{
    uint32_t i = 0;
    if (rz_map_get(&p->names, name, n, &i))
        return i;
    i = rz_nfa_rule(p->g, name, n);
    if (i >= RULES_MAX)
        bad(p, RZ_ELIMIT, "more than 4096 rules");
    else if (!p->g->rc && rz_map_add(&p->names, name, n, i) < 0)
        bad(p, RZ_ENOMEM, "no memory");
    return p->g->rc ? 0 : i;
}

static struct rz_expr *atom(struct gbnf *p)
{
    static const struct rz_range all = {0, 0x10ffff};
    if (++p->n_elements > ELEMENTS_MAX)
        return bad(p, RZ_ELIMIT, "more than 65536 elements");
    if (take(p, "\""))
        return literal(p);
    if (take(p, "["))
        return char_class(p);
    if (take(p, "."))
        return rz_expr_chars(&p->pool, &all, 1);
    if (take(p, "<"))
        return token(p);
    if (take(p, "%json"))
        return schema(p);
    if (take(p, "%until"))
        return up_to(p, false);
    if (take(p, "%without"))
        return up_to(p, true);
    if (take(p, "(")) {
        if (++p->depth > RZ_EXPR_DEPTH_MAX)
            return bad(p, RZ_ELIMIT, "more than 128 groups inside of each other");
        struct rz_expr *e = choice(p, true);
        p->depth--;
        return take(p, ")") || p->g->rc ? e : bad(p, RZ_EFORMAT, "a group without )");
    }
    const char *from = p->p;
    while (is_name(at(p)))
        p->p++;
    if (p->p == from)
        return bad(p, RZ_EFORMAT, "a literal, class, group or name was expected");
    struct rz_expr *e = rz_expr_new(&p->pool, RZ_EXPR_CALL);
    if (e)
        e->rule = rule_of(p, from, (size_t)(p->p - from));
    return e;
}

static uint32_t number(struct gbnf *p, bool *given)
{
    uint64_t value = 0;
    *given = false;
    skip(p, false);
    for (; at(p) >= '0' && at(p) <= '9'; p->p++, *given = true)
        value = value < COUNT_MAX ? value * 10 + (uint64_t)(at(p) - '0') : value;
    skip(p, false);
    if (value >= COUNT_MAX)
        bad(p, RZ_ELIMIT, "a repetition of 1000000000 or more");
    return (uint32_t)value;
}

static struct rz_expr *braces(struct gbnf *p, struct rz_expr *e)
{
    bool low, high = true;
    uint32_t min = number(p, &low), max = min;
    if (take(p, ",")) {
        max = number(p, &high);
        if (!high)
            max = RZ_NFA_FOREVER;
    } else if (!low) {
        return bad(p, RZ_EFORMAT, "{n}, {n,}, {,m} or {n,m} was expected");
    }
    if (!take(p, "}") || (!low && !high))
        return bad(p, RZ_EFORMAT, "{n}, {n,}, {,m} or {n,m} was expected");
    if (min > max)
        return bad(p, RZ_EFORMAT, "a repetition with more at least than at most");
    return rz_expr_repeat(&p->pool, e, min, max);
}

static struct rz_expr *repeated(struct gbnf *p, bool nested)
{
    struct rz_expr *e = atom(p);
    uint32_t n = 0;
    for (;; n++) {
        skip(p, nested);
        if (p->g->rc)
            return NULL;
        if (n > 8)
            return bad(p, RZ_ELIMIT, "more than eight repetitions of one element");
        if (take(p, "*"))
            e = rz_expr_repeat(&p->pool, e, 0, RZ_NFA_FOREVER);
        else if (take(p, "+"))
            e = rz_expr_repeat(&p->pool, e, 1, RZ_NFA_FOREVER);
        else if (take(p, "?"))
            e = rz_expr_repeat(&p->pool, e, 0, 1);
        else if (take(p, "{"))
            e = braces(p, e);
        else
            return e;
    }
}

/* Alternatives up to a ) or, outside of groups, the end of the line. */
static struct rz_expr *choice(struct gbnf *p, bool nested)
{
    struct rz_expr *all = rz_expr_new(&p->pool, RZ_EXPR_CHOICE);
    do {
        struct rz_expr *sequence = rz_expr_new(&p->pool, RZ_EXPR_SEQUENCE);
        skip(p, true);
        while (!p->g->rc && p->p < p->end && !strchr("|)\n\r", at(p)))
            rz_expr_add(sequence, repeated(p, nested));
        rz_expr_add(all, sequence);
    } while (!p->g->rc && take(p, "|"));
    return all;
}

static void rule(struct gbnf *p)
{
    const char *from = p->p;
    while (is_name(at(p)))
        p->p++;
    size_t n = (size_t)(p->p - from);
    if (!n) {
        bad(p, RZ_EFORMAT, "the name of a rule was expected");
        return;
    }
    uint32_t i = rule_of(p, from, n);
    skip(p, false);
    if (!take(p, "::=")) {
        bad(p, RZ_EFORMAT, "::= was expected");
        return;
    }
    struct rz_expr *e = choice(p, false);
    skip(p, false);
    if (p->g->rc)
        return;
    if (p->p < p->end && at(p) != '\n' && at(p) != '\r') {
        bad(p, RZ_EFORMAT, "the end of the line was expected");
        return;
    }
    uint32_t start = rz_expr_build(p->g, e, RZ_TEXT_RAW, RZ_NFA_END);
    if (p->g->rc)
        return;
    /* A second definition replaces the first, as in llama.cpp. */
    p->g->rules[i].start = start;
    p->defined[i] = true;
}

static void check_defined(struct gbnf *p)
{
    for (uint32_t i = 0; i < p->g->n_rules && !p->g->rc; i++)
        if (!p->defined[i] && p->g->rules[i].name[0] != '%')
            rz_nfa_bad(p->g, RZ_EFORMAT, "grammar", "rule %s is not defined", p->g->rules[i].name);
}

void rz_gbnf_build(struct rz_nfa *g, const char *text, size_t n, const struct rz_trie *trie)
{
    if (!rz_utf8_valid(text, n) || memchr(text, 0, n)) {
        rz_nfa_bad(g, RZ_EFORMAT, "grammar", "it is not UTF-8, or holds a zero byte");
        return;
    }
    struct gbnf *p = calloc(1, sizeof(*p));
    if (!p) {
        rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory");
        return;
    }
    *p = (struct gbnf){.g = g, .trie = trie, .p = text, .end = text + n, .line_start = text, .line = 1};
    rz_arena_init(&p->pool.arena, ARENA_MAX);
    p->pool.g = g;
    p->defined = calloc(RZ_NFA_RULES_MAX, sizeof(*p->defined));
    if (!p->defined || !rz_map_init(&p->names, RULES_MAX))
        rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory");
    else
        rule_of(p, "root", 4);
    for (skip(p, true); !g->rc && p->p < p->end; skip(p, true))
        rule(p);
    if (!g->rc)
        check_defined(p);
    rz_map_free(&p->names);
    rz_arena_free(&p->pool.arena);
    free(p->defined);
    free(p);
}

/* chars.c - ranges of characters as bytes: UTF-8, and what a JSON string makes of it.
 *
 * A range is cut where sequences of UTF-8 change their length or their lead byte; the continuation bytes
 * that all characters share are built once for each call. Surrogates are no characters and are left out.
 */
#include "nfa.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>

#define CP_MAX 0x10ffffu
#define PARTS_MAX 4096 /* starts of one set of characters */

static int by_lo(const void *a, const void *b)
{
    const struct rz_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

uint32_t rz_ranges_join(struct rz_range *r, uint32_t n)
{
    uint32_t kept = 0;
    qsort(r, n, sizeof(*r), by_lo);
    for (uint32_t i = 0; i < n; i++) {
        if (kept && r[i].lo <= r[kept - 1].hi + 1)
            r[kept - 1].hi = r[i].hi > r[kept - 1].hi ? r[i].hi : r[kept - 1].hi;
        else
            r[kept++] = r[i];
    }
    return kept;
}

uint32_t rz_ranges_invert(const struct rz_range *r, uint32_t n, struct rz_range *out)
{
    uint32_t kept = 0, from = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (r[i].lo > from)
            out[kept++] = (struct rz_range){from, r[i].lo - 1};
        from = r[i].hi + 1;
    }
    if (from <= CP_MAX)
        out[kept++] = (struct rz_range){from, CP_MAX};
    return kept;
}

/* One set of characters while it is built. */
struct chars {
    struct rz_nfa *g;
    uint32_t next;
    uint32_t tail[4]; /* i arbitrary continuation bytes, then next; 0: not built */
    struct rz_byteset ascii;
    uint32_t starts[PARTS_MAX], n;
};

static uint32_t any_tail(struct chars *c, uint32_t n)
{
    if (!n)
        return c->next;
    if (!c->tail[n])
        c->tail[n] = rz_nfa_bytes(c->g, 0x80, 0xbf, any_tail(c, n - 1));
    return c->tail[n];
}

static void add_start(struct chars *c, uint32_t start)
{
    if (c->n == PARTS_MAX)
        rz_nfa_bad(c->g, RZ_ELIMIT, "grammar", "a set of characters falls into more than %d parts",
                   PARTS_MAX);
    else if (start != RZ_NFA_FAIL)
        c->starts[c->n++] = start;
}

static bool all(const uint8_t *p, uint32_t n, uint8_t byte)
{
    for (uint32_t i = 0; i < n; i++)
        if (p[i] != byte)
            return false;
    return true;
}

/* The sequences of n bytes from lo to hi, all with valid continuations. */
static uint32_t sequences(struct chars *c, const uint8_t *lo, const uint8_t *hi, uint32_t n)
{
    static const uint8_t least[3] = {0x80, 0x80, 0x80}, most[3] = {0xbf, 0xbf, 0xbf};
    uint32_t first = lo[0], last = hi[0], out = RZ_NFA_FAIL;
    if (n == 1)
        return rz_nfa_bytes(c->g, lo[0], hi[0], c->next);
    if (first == last)
        return rz_nfa_byte(c->g, lo[0], sequences(c, lo + 1, hi + 1, n - 1));
    if (!all(lo + 1, n - 1, 0x80))
        out = rz_nfa_byte(c->g, (uint8_t)first++, sequences(c, lo + 1, most, n - 1));
    if (!all(hi + 1, n - 1, 0xbf))
        out = rz_nfa_or(c->g, out, rz_nfa_byte(c->g, (uint8_t)last--, sequences(c, least, hi + 1, n - 1)));
    if (first <= last)
        out = rz_nfa_or(c->g, out, rz_nfa_bytes(c->g, (uint8_t)first, (uint8_t)last, any_tail(c, n - 1)));
    return out;
}

static void add_range(struct chars *c, uint32_t lo, uint32_t hi)
{
    static const struct rz_range lengths[] = {
        {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, CP_MAX}};
    for (uint32_t cp = lo; cp <= hi && cp < 0x80; cp++)
        rz_byteset_add(&c->ascii, (uint8_t)cp);
    for (int i = 0; i < 4; i++) {
        uint32_t from = lo > lengths[i].lo ? lo : lengths[i].lo, to = hi < lengths[i].hi ? hi : lengths[i].hi;
        char a[4], b[4];
        if (from > to)
            continue;
        size_t n = rz_utf8_encode(from, a);
        rz_utf8_encode(to, b);
        add_start(c, sequences(c, (uint8_t *)a, (uint8_t *)b, (uint32_t)n));
    }
}

/* --- JSON: quotes, backslashes and control characters only as escapes --- */

/* The short escape of a character; 0: none. */
static char short_escape(uint32_t cp)
{
    switch (cp) {
    case '"':
    case '\\':
        return (char)cp;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static void escape_json(struct chars *c)
{
    struct rz_byteset shorts = {0};
    for (uint32_t cp = 0; cp < 0x80; cp++) {
        if (!rz_byteset_has(&c->ascii, cp) || (cp >= 0x20 && cp != '"' && cp != '\\'))
            continue;
        c->ascii.w[cp >> 6] &= ~(1ull << (cp & 63));
        char letter = short_escape(cp), low = "0123456789abcdef"[cp & 15], text[5] = "\\u00";
        if (letter) {
            rz_byteset_add(&shorts, (uint8_t)letter);
            continue;
        }
        struct rz_byteset digit = {0};
        rz_byteset_add(&digit, (uint8_t)low);
        if (low >= 'a')
            rz_byteset_add(&digit, (uint8_t)(low - 'a' + 'A'));
        uint32_t last = rz_nfa_set(c->g, &digit, c->next);
        add_start(c, rz_nfa_str(c->g, text, rz_nfa_byte(c->g, (uint8_t)('0' + (cp >> 4)), last)));
    }
    uint32_t after = rz_nfa_set(c->g, &shorts, c->next);
    add_start(c, rz_nfa_byte(c->g, '\\', after));
}

uint32_t rz_nfa_chars(struct rz_nfa *g, const struct rz_range *ranges, uint32_t n, int text, uint32_t next)
{
    struct chars *c = calloc(1, sizeof(*c));
    if (!c)
        return rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory");
    c->g = g;
    c->next = next;
    for (uint32_t i = 0; i < n && !g->rc; i++)
        add_range(c, ranges[i].lo, ranges[i].hi);
    if (text == RZ_TEXT_JSON)
        escape_json(c);
    add_start(c, rz_nfa_set(g, &c->ascii, next));
    uint32_t out = rz_nfa_alt(g, c->starts, c->n);
    free(c);
    return out;
}

uint32_t rz_nfa_char(struct rz_nfa *g, uint32_t cp, int text, uint32_t next)
{
    return rz_nfa_chars(g, &(struct rz_range){cp, cp}, 1, text, next);
}

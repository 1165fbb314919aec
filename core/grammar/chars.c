/* chars.c - ranges of characters as bytes: UTF-8, and what a JSON string makes of it.
 *
 * The ranges become a tree by byte, so that even thousands of them begin with few nodes: what follows a byte
 * is looked at together, and the continuation bytes that all characters share are built once for each call.
 * Surrogates are no characters and are left out.
 */
#include "nfa.h"

#include <stdlib.h>
#include <string.h>

#define CP_MAX 0x10ffffu
#define STARTS_MAX 40 /* of one set of characters: lengths of UTF-8, and 32 escapes */

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
    uint32_t starts[STARTS_MAX], n;
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
    if (start != RZ_NFA_FAIL)
        c->starts[c->n++] = start;
}

/* The characters from lo to hi that are in the ranges, which share all bytes but the last left + 1: one node
 * for the bytes that any continuation may follow, one for each other byte. */
static uint32_t block(struct chars *c, const struct rz_range *r, const struct rz_range *end,
                      struct rz_range in, uint8_t mark, uint32_t left)
{
    struct rz_byteset whole = {0};
    uint32_t starts[65], n = 0, unit = 1u << 6 * left, last;
    for (uint32_t cp = in.lo; cp <= in.hi && !c->g->rc; cp = last + 1) {
        uint8_t byte = (uint8_t)(mark | (cp >> 6 * left & 63));
        last = (cp | (unit - 1)) < in.hi ? cp | (unit - 1) : in.hi;
        while (r < end && r->hi < cp)
            r++;
        if (r == end || r->lo > last)
            continue;
        if (last - cp == unit - 1 && r->lo <= cp && r->hi >= last)
            rz_byteset_add(&whole, byte);
        else
            starts[n++] =
                rz_nfa_byte(c->g, byte, block(c, r, end, (struct rz_range){cp, last}, 0x80, left - 1));
    }
    if (whole.w[0] | whole.w[1] | whole.w[2] | whole.w[3])
        starts[n++] = rz_nfa_set(c->g, &whole, any_tail(c, left));
    return rz_nfa_alt(c->g, starts, n);
}

static void add_ranges(struct chars *c, const struct rz_range *r, const struct rz_range *end)
{
    for (const struct rz_range *one = r; one < end; one++)
        for (uint32_t cp = one->lo; cp <= one->hi && cp < 0x80; cp++)
            rz_byteset_add(&c->ascii, (uint8_t)cp);
    add_start(c, block(c, r, end, (struct rz_range){0x80, 0x7ff}, 0xc0, 1));
    add_start(c, block(c, r, end, (struct rz_range){0x800, 0xd7ff}, 0xe0, 2));
    add_start(c, block(c, r, end, (struct rz_range){0xe000, 0xffff}, 0xe0, 2));
    add_start(c, block(c, r, end, (struct rz_range){0x10000, CP_MAX}, 0xf0, 3));
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
    add_ranges(c, ranges, ranges + n);
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

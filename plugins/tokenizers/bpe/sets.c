/* sets.c - ranges, sorted and joined. The classes come from the table of unicode.c. */
#include "sets.h"

#include "../common/unicode.h"
#include "grow.h"

#include <stdlib.h>
#include <string.h>

#define LAST 0x10ffffu

void rz_set_add(struct rz_set_builder *b, uint32_t lo, uint32_t hi)
{
    void *more = rz_arena_grow(b->arena, b->range, b->n, &b->cap, sizeof(*b->range), 16);
    if (!more) {
        b->bad = true;
        return;
    }
    b->range = more;
    b->range[b->n][0] = lo;
    b->range[b->n++][1] = hi;
}

void rz_set_add_spaces(struct rz_set_builder *b)
{
    static const uint32_t spaces[][2] = {
        {9, 13},          {' ', ' '},       {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
        {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
        rz_set_add(b, spaces[i][0], spaces[i][1]);
}

static void add_han(struct rz_set_builder *b)
{
    /* Script=Han of Unicode 16. */
    static const uint32_t han[][2] = {
        {0x2e80, 0x2e99},   {0x2e9b, 0x2ef3},   {0x2f00, 0x2fd5},   {0x3005, 0x3005},   {0x3007, 0x3007},
        {0x3021, 0x3029},   {0x3038, 0x303b},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfa6d},
        {0xfa70, 0xfad9},   {0x16fe2, 0x16fe3}, {0x16ff0, 0x16ff1}, {0x20000, 0x2a6df}, {0x2a700, 0x2b739},
        {0x2b740, 0x2b81d}, {0x2b820, 0x2cea1}, {0x2ceb0, 0x2ebe0}, {0x2ebf0, 0x2ee5d}, {0x2f800, 0x2fa1d},
        {0x30000, 0x3134a}, {0x31350, 0x323af}};
    for (size_t i = 0; i < sizeof(han) / sizeof(han[0]); i++)
        rz_set_add(b, han[i][0], han[i][1]);
}

/* The categories of ASCII, which the table leaves out. */
static void add_ascii(struct rz_set_builder *b, unsigned lo, unsigned hi)
{
    static const char *const chars[RZ_UC_CN - RZ_UC_LU + 1] = {[RZ_UC_PC - RZ_UC_LU] = "_",
                                                               [RZ_UC_PC + 1 - RZ_UC_LU] = "-",
                                                               [RZ_UC_PC + 2 - RZ_UC_LU] = "([{",
                                                               [RZ_UC_PC + 3 - RZ_UC_LU] = ")]}",
                                                               [RZ_UC_PO - RZ_UC_LU] = "!\"#%&'*,./:;?@\\",
                                                               [RZ_UC_SM - RZ_UC_LU] = "+<=>|~",
                                                               [RZ_UC_SM + 1 - RZ_UC_LU] = "$",
                                                               [RZ_UC_SM + 2 - RZ_UC_LU] = "^`",
                                                               [RZ_UC_ZS - RZ_UC_LU] = " "};
    for (unsigned c = lo; c <= hi; c++)
        for (const char *s = chars[c]; s && *s; s++)
            rz_set_add(b, (unsigned char)*s, (unsigned char)*s);
    if (lo == 0)
        rz_set_add(b, 'A', 'Z');
    if (lo <= 1 && hi >= 1)
        rz_set_add(b, 'a', 'z');
    if (lo <= RZ_UC_ND - RZ_UC_LU && hi >= RZ_UC_ND - RZ_UC_LU)
        rz_set_add(b, '0', '9');
    if (lo <= RZ_UC_CC - RZ_UC_LU && hi >= RZ_UC_CC - RZ_UC_LU) {
        rz_set_add(b, 0, 31);
        rz_set_add(b, 127, 127);
    }
}

bool rz_set_add_class(struct rz_set_builder *b, const char *name, size_t n)
{
    static const char names[] = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";
    if (n == 3 && !memcmp(name, "Han", 3)) {
        add_han(b);
        return true;
    }
    unsigned lo = 0, hi = sizeof(names) / 2;
    while (lo < hi && (n < 1 || n > 2 || memcmp(names + 2 * lo, name, n)))
        lo++;
    if (lo == hi)
        return false;
    for (hi = lo; hi + 1 < sizeof(names) / 2 && !memcmp(names + 2 * hi + 2, name, n);)
        hi++;
    add_ascii(b, lo, hi);
    const uint32_t *table;
    size_t count = rz_uc_table(&table);
    for (size_t i = 0; i < count; i++) {
        unsigned category = table[i] & 0xff;
        uint32_t end = i + 1 < count ? (table[i + 1] >> 8) - 1 : LAST;
        if (category >= lo && category <= hi)
            rz_set_add(b, table[i] >> 8, end);
    }
    return true;
}

static int by_start(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return x[0] < y[0] ? -1 : x[0] > y[0];
}

bool rz_set_finish(struct rz_set_builder *b, struct rz_re_set *out)
{
    uint32_t n = 0;
    if (b->n)
        qsort(b->range, b->n, sizeof(*b->range), by_start);
    for (uint32_t i = 0; i < b->n; i++) {
        if (n && b->range[i][0] <= b->range[n - 1][1] + 1) {
            if (b->range[i][1] > b->range[n - 1][1])
                b->range[n - 1][1] = b->range[i][1];
        } else {
            memcpy(b->range[n++], b->range[i], sizeof(*b->range));
        }
    }
    *out = (struct rz_re_set){b->range, n};
    return !b->bad;
}

/* The ranges between those of set. */
static void add_not(struct rz_set_builder *b, const struct rz_re_set *set)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->range[i][0] > from)
            rz_set_add(b, from, set->range[i][0] - 1);
        from = set->range[i][1] + 1;
    }
    if (from <= LAST)
        rz_set_add(b, from, LAST);
}

void rz_set_add_other(struct rz_set_builder *b, struct rz_set_builder *other)
{
    struct rz_re_set set;
    b->bad |= !rz_set_finish(other, &set);
    add_not(b, &set);
}

struct rz_re_set rz_set_not(struct rz_arena *arena, const struct rz_re_set *set)
{
    struct rz_set_builder b = {.arena = arena};
    struct rz_re_set out;
    add_not(&b, set);
    rz_set_finish(&b, &out);
    return out;
}

struct rz_re_set rz_set_and(struct rz_arena *arena, const struct rz_re_set *x, const struct rz_re_set *y)
{
    struct rz_set_builder b = {.arena = arena};
    struct rz_re_set neither;
    add_not(&b, x);
    add_not(&b, y);
    rz_set_finish(&b, &neither);
    return rz_set_not(arena, &neither);
}

bool rz_set_equal(const struct rz_re_set *a, const struct rz_re_set *b)
{
    return a->n == b->n && (!a->n || !memcmp(a->range, b->range, a->n * sizeof(*a->range)));
}

/* nearest.c - edit distance between short words. No state. */
#include "nearest.h"

#include <stdio.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance, three rows at a time. Both words are at most RZ_NEAREST_MAX. */
static size_t edits(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][RZ_NEAREST_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++)
        last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t d = last[j - 1] + (a[i - 1] != b[j - 1]);
            d = least(d, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d = least(d, before[j - 2] + 1);
            now[j] = d;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[nb];
}

void rz_nearest_init(struct rz_nearest *n, const char *word)
{
    size_t len = strlen(word);
    *n = (struct rz_nearest){.word = word, .distance = len <= RZ_NEAREST_MAX ? len / 3 + 2 : 0};
}

void rz_nearest_try(struct rz_nearest *n, const char *name)
{
    size_t a = strlen(n->word), b = strlen(name);
    if (!a || !b || a > RZ_NEAREST_MAX || b > RZ_NEAREST_MAX)
        return;
    size_t d = edits(n->word, a, name, b);
    /* a word of one or two letters has no near one: everything would be */
    if (d < n->distance && d < a && d < b) {
        n->distance = d;
        n->best = name;
    }
}

const char *rz_nearest_kin(const char *word, const char *(*name)(void *ctx, uint32_t i), void *ctx)
{
    const char *best = NULL, *one;
    size_t most = 2;
    for (uint32_t i = 0; (one = name(ctx, i)); i++) {
        size_t n = 0;
        while (word[n] && word[n] == one[n])
            n++;
        if (n > most || (best && n == most && strlen(one) < strlen(best))) {
            most = n;
            best = one;
        }
    }
    return best;
}

const char *rz_nearest_hint(const struct rz_nearest *n, char *buf, size_t cap)
{
    if (n->best)
        snprintf(buf, cap, " (did you mean %s?)", n->best);
    else if (cap)
        buf[0] = 0;
    return buf;
}

/* utf8.c - UTF-8 by the table of well-formed byte sequences (Unicode 15, table 3-7). */
#include "utf8.h"

/* Bytes of a sequence by its first byte, and the range allowed for the second; 0: no lead byte. */
static size_t lead(unsigned char c, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xbf;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef) {
        *lo = c == 0xe0 ? 0xa0 : 0x80;
        *hi = c == 0xed ? 0x9f : 0xbf;
        return 3;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        *lo = c == 0xf0 ? 0x90 : 0x80;
        *hi = c == 0xf4 ? 0x8f : 0xbf;
        return 4;
    }
    return 0;
}

/* How many bytes at s fit a well-formed sequence; *need is its full length (0: no lead byte). */
static size_t fitting(const char *s, size_t n, size_t *need)
{
    unsigned char lo, hi;
    *need = lead((unsigned char)s[0], &lo, &hi);
    size_t i = *need ? 1 : 0;
    for (; i < *need && i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < lo || c > hi)
            break;
        lo = 0x80;
        hi = 0xbf;
    }
    return i;
}

size_t rz_utf8_decode(const char *s, size_t n, uint32_t *cp)
{
    static const unsigned char first_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t need;
    *cp = 0xfffd;
    if (fitting(s, n, &need) != need || !need)
        return 0;
    uint32_t c = (unsigned char)s[0] & first_mask[need];
    for (size_t i = 1; i < need; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    *cp = c;
    return need;
}

size_t rz_utf8_encode(uint32_t cp, char *out)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char first[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (char)(first[n] | cp);
    return n;
}

bool rz_utf8_valid(const char *s, size_t n)
{
    while (n) {
        uint32_t cp;
        size_t k = rz_utf8_decode(s, n, &cp);
        if (!k)
            return false;
        s += k;
        n -= k;
    }
    return true;
}

size_t rz_utf8_whole(const char *s, size_t n)
{
    /* Only the last three bytes can begin a character that is not complete yet. */
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        size_t need, fit = fitting(s + n - back, back, &need);
        if (need > back && fit == back)
            return n - back;
        if (need)
            break;
    }
    return n;
}

size_t rz_utf8_bad(const char *s, size_t n)
{
    size_t need, fit = fitting(s, n, &need);
    return fit ? fit : 1;
}

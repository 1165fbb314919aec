/* spell.c - both ways: printable Latin-1 spells itself, the other bytes the characters from U+0100 on. */
#include "spell.h"

#include "utf8.h"

#include <string.h>

/* The character that spells byte b: itself where it is printable Latin-1, else the next from U+0100 on. */
static uint32_t spelling(unsigned b)
{
    if (b < 33)
        return 256 + b;
    if (b >= 127 && b <= 160)
        return 256 + 33 + b - 127;
    return b == 173 ? 256 + 33 + 34 : b;
}

/* The byte that character cp spells; -1: none. */
static int spelled(uint32_t cp)
{
    if (cp >= 256 && cp < 256 + 68)
        return cp < 289 ? (int)cp - 256 : cp < 323 ? (int)cp - 289 + 127 : 173;
    return cp < 256 && spelling(cp) == cp ? (int)cp : -1;
}

/* The byte that the character at s[0..n), n > 0, spells, and its length; -1: none. */
static int byte_at(const char *s, size_t n, size_t *len)
{
    uint8_t c = (uint8_t)s[0], next = n > 1 ? (uint8_t)s[1] : 0;
    *len = 1;
    if (c < 0x80)
        return c > ' ' && c < 0x7f ? c : -1;
    *len = 2;
    return c >= 0xc2 && c < 0xe0 && (next & 0xc0) == 0x80 ? spelled((c & 0x1fu) << 6 | (next & 0x3fu)) : -1;
}

size_t rz_spelled_bytes(struct rz_str s, char *out, size_t cap)
{
    size_t n = 0, len;
    for (size_t i = 0; i < s.len; i += len, n++)
        if (byte_at(s.data + i, s.len - i, &len) < 0) {
            if (s.len <= cap)
                memcpy(out, s.data, s.len);
            return s.len;
        }
    for (size_t i = 0, k = 0; k < n && n <= cap; i += len)
        out[k++] = (char)byte_at(s.data + i, s.len - i, &len);
    return n;
}

int rz_spelled_first(struct rz_str s)
{
    size_t len;
    return s.len ? byte_at(s.data, s.len, &len) : -1;
}

int rz_spelled_last(struct rz_str s)
{
    size_t len, at = s.len;
    if (!at)
        return -1;
    at -= at > 1 && ((uint8_t)s.data[at - 1] & 0xc0) == 0x80 ? 2 : 1;
    return byte_at(s.data + at, s.len - at, &len);
}

size_t rz_spell(const char *bytes, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += rz_utf8_encode(spelling((unsigned char)bytes[i]), out + len);
    return len;
}

/* special.c - a hash map of spellings and, for each first byte, the set of their lengths. */
#include "special.h"

#include <string.h>

bool rz_special_init(struct rz_special *s, uint64_t n)
{
    memset(s, 0, sizeof(*s));
    return rz_map_init(&s->map, n);
}

void rz_special_free(struct rz_special *s)
{
    rz_map_free(&s->map);
}

bool rz_special_add(struct rz_special *s, struct rz_str text, uint32_t id)
{
    uint8_t first = (uint8_t)text.data[0];
    uint64_t bit = text.len - 1;
    s->lengths[first][bit / 64] |= 1ull << (bit % 64);
    if (s->longest[first] < text.len)
        s->longest[first] = (uint16_t)text.len;
    return rz_map_add(&s->map, text.data, text.len, id) >= 0;
}

/* The longest spelling that begins at text[0]; 0: none. */
static size_t match(const struct rz_special *s, const char *text, size_t n, uint32_t *id)
{
    const uint64_t *lengths = s->lengths[(uint8_t)text[0]];
    size_t longest = s->longest[(uint8_t)text[0]];
    if (longest > n)
        longest = n;
    for (size_t word = (longest + 63) / 64; word-- > 0;) {
        uint64_t bits = lengths[word];
        while (bits) {
            unsigned top = 63 - (unsigned)__builtin_clzll(bits);
            size_t len = word * 64 + top + 1;
            if (len <= longest && rz_map_get(&s->map, text, len, id))
                return len;
            bits &= ~(1ull << top);
        }
    }
    return 0;
}

size_t rz_special_next(const struct rz_special *s, const char *text, size_t n, size_t at, size_t *len,
                       uint32_t *id)
{
    for (; at < n; at++) {
        if (!s->longest[(uint8_t)text[at]])
            continue;
        *len = match(s, text + at, n - at, id);
        if (*len)
            return at;
    }
    *len = 0;
    return n;
}

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

bool rz_special_add(struct rz_special *s, struct rz_str text, uint32_t id, bool guarded)
{
    uint8_t first = (uint8_t)text.data[0];
    uint64_t bit = text.len - 1;
    s->lengths[first][bit / 64] |= 1ull << (bit % 64);
    if (s->longest[first] < text.len)
        s->longest[first] = (uint16_t)text.len;
    return rz_map_add(&s->map, text.data, text.len, guarded ? id | RZ_SPECIAL_GUARDED : id) >= 0;
}

/* Whether the next len bytes spell a token that may stand here. */
static bool spells(const struct rz_special_walk *w, size_t len, uint32_t *id)
{
    uint32_t value;
    if (!rz_map_get(&w->special->map, w->text + w->at, len, &value))
        return false;
    *id = value & ~RZ_SPECIAL_GUARDED;
    return !(value & RZ_SPECIAL_GUARDED) || !w->n_plain || w->plain->begin >= w->at + len;
}

/* The longest spelling that begins at w->at; 0: none. */
static size_t match(const struct rz_special_walk *w, uint32_t *id)
{
    uint8_t first = (uint8_t)w->text[w->at];
    const uint64_t *lengths = w->special->lengths[first];
    size_t longest = w->special->longest[first];
    if (longest > w->n - w->at)
        longest = w->n - w->at;
    for (size_t word = (longest + 63) / 64; word-- > 0;) {
        uint64_t bits = lengths[word];
        while (bits) {
            unsigned top = 63 - (unsigned)__builtin_clzll(bits);
            size_t len = word * 64 + top + 1;
            if (len <= longest && spells(w, len, id))
                return len;
            bits &= ~(1ull << top);
        }
    }
    return 0;
}

struct rz_special_hit rz_special_next(struct rz_special_walk *w)
{
    struct rz_special_hit hit = {.begin = w->n};
    for (; w->at < w->n; w->at++) {
        if (!w->special->longest[(uint8_t)w->text[w->at]])
            continue;
        while (w->n_plain && w->plain->end <= w->at) {
            w->plain++;
            w->n_plain--;
        }
        hit.len = match(w, &hit.id);
        if (hit.len) {
            hit.begin = w->at;
            w->at += hit.len;
            break;
        }
    }
    return hit;
}

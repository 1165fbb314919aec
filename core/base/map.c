/* map.c - open addressing with linear probing over a seeded multiply-and-fold hash. */
#include "map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MIX 0x9e3779b97f4a7c15u /* 2^64 / golden ratio */

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t rz_map_hash(uint64_t seed, const char *p, uint64_t n)
{
    uint64_t h = seed ^ fold(n + 1, MIX);
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = fold(h ^ w, MIX ^ seed);
    }
    uint64_t w = 0;
    if (n)
        memcpy(&w, p, n);
    return fold(h ^ w, MIX + seed);
}

uint64_t rz_map_seed(void)
{
    static uint64_t fallback;
    uint64_t seed;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed))
        return seed;
    return (uint64_t)(uintptr_t)&fallback * MIX; /* early boot: an address still differs by run */
}

bool rz_map_init(struct rz_map *m, uint64_t n)
{
    uint64_t slots = 16;
    while (slots < n * 2 && slots < (1ull << 40))
        slots *= 2;
    *m = (struct rz_map){.mask = slots - 1, .seed = rz_map_seed()};
    m->slots = calloc(slots, sizeof(*m->slots));
    return m->slots != NULL;
}

void rz_map_free(struct rz_map *m)
{
    free(m->slots);
    *m = (struct rz_map){0};
}

static struct rz_map_slot *find(const struct rz_map *m, uint64_t hash, const char *key, uint64_t len)
{
    uint64_t i = hash & m->mask;
    for (;; i = (i + 1) & m->mask) {
        struct rz_map_slot *s = &m->slots[i];
        if (!s->key || (s->hash == hash && s->len == len && !memcmp(s->key, key, len)))
            return s;
    }
}

static bool grow(struct rz_map *m)
{
    struct rz_map bigger = {.mask = m->mask * 2 + 1, .count = m->count, .seed = m->seed};
    bigger.slots = calloc(bigger.mask + 1, sizeof(*bigger.slots));
    if (!bigger.slots)
        return false;
    for (uint64_t i = 0; i <= m->mask; i++)
        if (m->slots[i].key)
            *find(&bigger, m->slots[i].hash, m->slots[i].key, m->slots[i].len) = m->slots[i];
    free(m->slots);
    *m = bigger;
    return true;
}

int rz_map_add(struct rz_map *m, const char *key, uint64_t len, uint32_t value)
{
    static const char empty[] = "";
    if (len > UINT32_MAX)
        return -1;
    if (!key)
        key = empty;
    uint64_t hash = rz_map_hash(m->seed, key, len);
    struct rz_map_slot *s = find(m, hash, key, len);
    if (s->key)
        return 0;
    if ((m->count + 1) * 2 > m->mask + 1) {
        if (!grow(m))
            return -1;
        s = find(m, hash, key, len);
    }
    *s = (struct rz_map_slot){.key = key, .len = (uint32_t)len, .value = value, .hash = hash};
    m->count++;
    return 1;
}

bool rz_map_get(const struct rz_map *m, const char *key, uint64_t len, uint32_t *value)
{
    if (!m->slots || len > UINT32_MAX)
        return false;
    const struct rz_map_slot *s = find(m, rz_map_hash(m->seed, key ? key : "", len), key ? key : "", len);
    if (s->key && value)
        *value = s->value;
    return s->key != NULL;
}

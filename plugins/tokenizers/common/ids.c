/* ids.c - open addressing with linear probing, at most two thirds full. */
#include "ids.h"

#include "map.h"

#include <stdlib.h>
#include <string.h>

#define TAG (~(uint64_t)UINT32_MAX)

bool rz_token_ids_init(struct rz_token_ids *t, const struct rz_str *text, uint32_t n)
{
    uint64_t slots = 16;
    while (slots * 2 < 3ull * n)
        slots *= 2;
    *t = (struct rz_token_ids){
        .text = text, .mask = slots - 1, .seed = rz_map_seed(), .slots = calloc(slots, sizeof(*t->slots))};
    return t->slots != NULL;
}

void rz_token_ids_free(struct rz_token_ids *t)
{
    free(t->slots);
    *t = (struct rz_token_ids){0};
}

uint64_t rz_token_hash(const struct rz_token_ids *t, const char *s, uint64_t n)
{
    return rz_map_hash(t->seed, s, n);
}

/* The slot of that spelling, or the empty one where it belongs. */
static uint64_t *find(const struct rz_token_ids *t, const char *s, uint64_t n, uint64_t hash)
{
    for (uint64_t i = hash & t->mask;; i = (i + 1) & t->mask) {
        uint64_t *slot = &t->slots[i];
        if (!*slot)
            return slot;
        if ((*slot ^ hash) & TAG)
            continue;
        const struct rz_str *text = &t->text[(uint32_t)*slot - 1];
        if (text->len == n && !memcmp(text->data, s, n))
            return slot;
    }
}

bool rz_token_ids_add(struct rz_token_ids *t, uint32_t id, uint64_t hash)
{
    uint64_t *slot = find(t, t->text[id].data, t->text[id].len, hash);
    if (*slot)
        return false;
    *slot = (hash & TAG) | (id + 1);
    return true;
}

bool rz_token_ids_get(const struct rz_token_ids *t, const char *s, uint64_t n, uint64_t hash, uint32_t *id)
{
    uint64_t slot = *find(t, s, n, hash);
    *id = (uint32_t)slot - 1;
    return slot != 0;
}

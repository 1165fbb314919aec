/* ids.h - from spellings to ids, for the tokens of one vocabulary.
 *
 * Eight bytes a slot: part of the hash, and the id, by which the spelling is found. The hash is seeded, so
 * that a file cannot aim at collisions. Filled once, then read by any thread. Who looks many up computes
 * their hashes first and calls rz_ids_hint for each, so that the waits for memory overlap.
 */
#ifndef RZ_TOKENIZERS_IDS_H
#define RZ_TOKENIZERS_IDS_H

#include <rz/types.h>
#include <stdbool.h>

struct rz_token_ids {
    const struct rz_str *text; /* by id; borrowed */
    uint64_t *slots;           /* upper half of the hash << 32 | id + 1; 0: empty */
    uint64_t mask, seed;
};

/* Room for n tokens; false: no memory. */
bool rz_token_ids_init(struct rz_token_ids *t, const struct rz_str *text, uint32_t n);
void rz_token_ids_free(struct rz_token_ids *t);
uint64_t rz_token_hash(const struct rz_token_ids *t, const char *s, uint64_t n);
/* Adds the token; false: one is spelled so already. */
bool rz_token_ids_add(struct rz_token_ids *t, uint32_t id, uint64_t hash);
bool rz_token_ids_get(const struct rz_token_ids *t, const char *s, uint64_t n, uint64_t hash, uint32_t *id);

static inline void rz_token_ids_hint(const struct rz_token_ids *t, uint64_t hash)
{
    __builtin_prefetch(&t->slots[hash & t->mask]);
}

#endif

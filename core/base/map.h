/* map.h - a hash map from byte strings to 32-bit numbers, filled once and read often.
 *
 * Keys are borrowed and must outlive the map. The hash is seeded, so that a hostile file cannot aim at
 * collisions. Open addressing at most half full; reading is thread-safe once filling is over.
 */
#ifndef RZ_BASE_MAP_H
#define RZ_BASE_MAP_H

#include <rz/types.h>
#include <stdbool.h>

struct rz_map_slot {
    const char *key;
    uint32_t len, value;
    uint64_t hash;
};

struct rz_map {
    struct rz_map_slot *slots;
    uint64_t mask, count, seed;
};

/* Room for n keys without growing; false: no memory. */
bool rz_map_init(struct rz_map *m, uint64_t n);
void rz_map_free(struct rz_map *m);
/* 1: added; 0: the key is there already (its value is kept); -1: no memory. */
int rz_map_add(struct rz_map *m, const char *key, uint64_t len, uint32_t value);
/* The hash behind it, for tables of another shape, and a seed that differs from run to run. */
uint64_t rz_map_hash(uint64_t seed, const char *p, uint64_t n);
uint64_t rz_map_seed(void);
bool rz_map_get(const struct rz_map *m, const char *key, uint64_t len, uint32_t *value);

#endif

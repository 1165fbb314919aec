/* nearest.h - the known name that somebody probably meant.
 *
 * Offer every known name with rz_nearest_try; the best one within a third of the word's length (by
 * edits: insert, drop, change, swap neighbours) is remembered. Names are borrowed. */
#ifndef RZ_BASE_NEAREST_H
#define RZ_BASE_NEAREST_H

#include <stddef.h>
#include <stdint.h>

#define RZ_NEAREST_MAX 63 /* longer words get no hint */

struct rz_nearest {
    const char *word, *best;
    size_t distance; /* of best; smaller is nearer */
};

void rz_nearest_init(struct rz_nearest *n, const char *word);
void rz_nearest_try(struct rz_nearest *n, const char *name);
/* The relative of a word: of the names (i = 0.. until NULL) that one with the longest beginning in common, at
 * least three letters; the shortest of several. NULL: it has none. */
const char *rz_nearest_kin(const char *word, const char *(*name)(void *ctx, uint32_t i), void *ctx);
/* " (did you mean NAME?)" in buf, or "" when nothing is near. Returns buf. */
const char *rz_nearest_hint(const struct rz_nearest *n, char *buf, size_t cap);

#endif

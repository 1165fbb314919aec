/* special.h - finds the tokens that stand in a text as they are spelled (control and user-defined ones).
 *
 * One pass from left to right; at each place the longest spelling wins. Filled once, then read by any
 * thread. The cost of a place is bounded by the lengths of the spellings that begin with its byte.
 */
#ifndef RZ_TOKENIZERS_SPECIAL_H
#define RZ_TOKENIZERS_SPECIAL_H

#include "map.h"

#include <rz/types.h>

#define RZ_SPECIAL_BYTES_MAX 256u /* the longest spelling that is looked for */

struct rz_special {
    struct rz_map map;                                /* spelling -> id */
    uint64_t lengths[256][RZ_SPECIAL_BYTES_MAX / 64]; /* bit n-1: a spelling of n bytes begins so */
    uint16_t longest[256];                            /* 0: none begins so */
};

bool rz_special_init(struct rz_special *s, uint64_t n);
void rz_special_free(struct rz_special *s);
/* The text is borrowed. False: no memory. */
bool rz_special_add(struct rz_special *s, struct rz_str text, uint32_t id);
/* The next spelling in text[at..n): its place (n: there is none), its length and its token. */
size_t rz_special_next(const struct rz_special *s, const char *text, size_t n, size_t at, size_t *len,
                       uint32_t *id);

#endif

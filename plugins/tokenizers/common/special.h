/* special.h - finds the tokens that stand in a text as they are spelled (control and user-defined ones).
 *
 * One pass from left to right; at each place the longest spelling wins. One that is guarded is passed over
 * where it touches a plain stretch of the text. Filled once, then read by any thread. The cost of a place is
 * bounded by the lengths of the spellings that begin with its byte.
 */
#ifndef RZ_TOKENIZERS_SPECIAL_H
#define RZ_TOKENIZERS_SPECIAL_H

#include "map.h"

#include <rz/tokenizer.h>

#define RZ_SPECIAL_BYTES_MAX 256u /* the longest spelling that is looked for */
#define RZ_SPECIAL_GUARDED (1u << 31)

struct rz_special {
    struct rz_map map;                                /* spelling -> id, RZ_SPECIAL_GUARDED */
    uint64_t lengths[256][RZ_SPECIAL_BYTES_MAX / 64]; /* bit n-1: a spelling of n bytes begins so */
    uint16_t longest[256];                            /* 0: none begins so */
};

/* A walk over a text. */
struct rz_special_walk {
    const struct rz_special *special;
    const char *text;
    size_t n, at;
    const struct rz_span *plain; /* those that end after `at`; ascending */
    uint64_t n_plain;
};

/* What was found: bytes [begin, begin + len) spell token id. len 0: nothing, and begin is the end. */
struct rz_special_hit {
    size_t begin, len;
    uint32_t id;
};

bool rz_special_init(struct rz_special *s, uint64_t n);
void rz_special_free(struct rz_special *s);
/* The text is borrowed. False: no memory. */
bool rz_special_add(struct rz_special *s, struct rz_str text, uint32_t id, bool guarded);
/* The next one from `at` on; the walk goes to its end. */
struct rz_special_hit rz_special_next(struct rz_special_walk *w);

#endif

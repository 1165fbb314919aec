/* shelf.h - which models stay in memory: pure, the caller keeps the books and the clock.
 *
 * A model that somebody uses never leaves; of the others the least recently used ones give way when there is
 * no room, and each leaves when it was not used for as long as it is kept.
 */
#ifndef RZ_SHELF_H
#define RZ_SHELF_H

#include <stdbool.h>
#include <stdint.h>

#define RZ_SHELF_MAX 64

struct rz_book {
    bool in;          /* it takes its bytes */
    uint32_t users;   /* who needs it: it stays */
    uint64_t bytes;   /* that it takes, or would */
    uint64_t used_ns; /* when it was last taken, given back or loaded */
    int64_t keep_ns;  /* unused for so long, it leaves; negative: never */
};

#define RZ_SHELF_FITS 0  /* once the victims are out */
#define RZ_SHELF_WAIT 1  /* not before some that are in use now are given back */
#define RZ_SHELF_NEVER 2 /* it is larger than the budget */

/* Room for `need` bytes more within the budget (0: there is none). *n_out victims, out[0] to be unloaded
 * first; with RZ_SHELF_WAIT those that are in use and would have to leave, the least recently used ones. */
int rz_shelf_room(const struct rz_book *books, uint32_t n, uint64_t budget, uint64_t need,
                  uint32_t out[RZ_SHELF_MAX], uint32_t *n_out);
/* A model whose time is over; -1: none. *next_ns: when that may change without anybody's doing; UINT64_MAX:
 * it will not. */
int32_t rz_shelf_expired(const struct rz_book *books, uint32_t n, uint64_t now_ns, uint64_t *next_ns);
/* The bytes of all that are in. */
uint64_t rz_shelf_bytes(const struct rz_book *books, uint32_t n);

#endif

/* shelf.c - the policy: who gives way, and who has been kept long enough. */
#include "shelf.h"

uint64_t rz_shelf_bytes(const struct rz_book *books, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += books[i].in ? books[i].bytes : 0;
    return bytes;
}

/* The least recently used model that is in, used or not as wanted, and is not in out yet. */
static int32_t oldest(const struct rz_book *books, uint32_t n, bool used, const uint32_t *out, uint32_t n_out)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < n; i++) {
        bool taken = !books[i].in || (books[i].users != 0) != used;
        for (uint32_t k = 0; k < n_out && !taken; k++)
            taken = out[k] == i;
        if (!taken && (best < 0 || books[i].used_ns < books[best].used_ns))
            best = (int32_t)i;
    }
    return best;
}

/* Adds victims until `need` fits beside what is left; returns what is left. */
static uint64_t push_out(const struct rz_book *books, uint32_t n, bool used, uint64_t taken, uint64_t most,
                         uint32_t *out, uint32_t *n_out)
{
    while (taken > most) {
        int32_t i = oldest(books, n, used, out, *n_out);
        if (i < 0)
            break;
        out[(*n_out)++] = (uint32_t)i;
        taken -= books[i].bytes;
    }
    return taken;
}

/* A victim that need not have gone, because a later one is large, stays. */
static void spare(const struct rz_book *books, uint64_t *taken, uint64_t most, uint32_t *out, uint32_t *n_out)
{
    uint32_t kept = 0;
    for (uint32_t k = 0; k < *n_out; k++) {
        uint64_t bytes = books[out[k]].bytes;
        if (bytes <= most - *taken)
            *taken += bytes;
        else
            out[kept++] = out[k];
    }
    *n_out = kept;
}

int rz_shelf_room(const struct rz_book *books, uint32_t n, uint64_t budget, uint64_t need,
                  uint32_t out[RZ_SHELF_MAX], uint32_t *n_out)
{
    *n_out = 0;
    if (!budget)
        return RZ_SHELF_FITS;
    if (need > budget)
        return RZ_SHELF_NEVER;
    uint64_t most = budget - need,
             left = push_out(books, n, false, rz_shelf_bytes(books, n), most, out, n_out);
    if (left <= most) {
        spare(books, &left, most, out, n_out);
        return RZ_SHELF_FITS;
    }
    *n_out = 0;
    push_out(books, n, true, left, most, out, n_out);
    return RZ_SHELF_WAIT;
}

int32_t rz_shelf_expired(const struct rz_book *books, uint32_t n, uint64_t now_ns, uint64_t *next_ns)
{
    *next_ns = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const struct rz_book *b = &books[i];
        if (!b->in || b->users || b->keep_ns < 0)
            continue;
        uint64_t until = b->used_ns + (uint64_t)b->keep_ns;
        if (now_ns >= until)
            return (int32_t)i;
        if (until < *next_ns)
            *next_ns = until;
    }
    return -1;
}

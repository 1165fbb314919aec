/* test_shelf.c - which models stay loaded: the policy alone, with made-up sizes and a made-up clock. */
#include "rz_test.h"

#include "shelf.h"

#include <stdbool.h>
#include <string.h>

#define S ((uint64_t)1000000000)

static struct rz_book book(bool in, uint32_t users, uint64_t bytes, uint64_t used_s, int64_t keep_s)
{
    return (struct rz_book){.in = in,
                            .users = users,
                            .bytes = bytes,
                            .used_ns = used_s * S,
                            .keep_ns = keep_s < 0 ? -1 : keep_s * (int64_t)S};
}

RZ_TEST(shelf, without_a_budget_all_fits)
{
    struct rz_book b[] = {book(true, 0, 1000, 1, -1), book(true, 1, 1000, 2, -1)};
    uint32_t out[RZ_SHELF_MAX], n = 9;
    rz_check_eq(rz_shelf_room(b, 2, 0, UINT64_MAX, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 0);
}

RZ_TEST(shelf, the_least_recently_used_goes_first)
{
    struct rz_book b[] = {book(true, 0, 40, 3, -1), book(true, 0, 40, 1, -1), book(false, 0, 90, 0, -1),
                          book(true, 0, 20, 2, -1)};
    uint32_t out[RZ_SHELF_MAX], n;
    rz_check_eq(rz_shelf_bytes(b, 4), 100);
    rz_check_eq(rz_shelf_room(b, 4, 120, 20, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 0);
    rz_check_eq(rz_shelf_room(b, 4, 120, 21, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 1);
    rz_check_eq(out[0], 1);
    rz_check_eq(rz_shelf_room(b, 4, 120, 80, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 2);
    rz_check_eq(out[0], 1);
    rz_check_eq(out[1], 3);
    rz_check_eq(rz_shelf_room(b, 4, 120, 120, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 3);
}

RZ_TEST(shelf, who_need_not_go_stays)
{
    struct rz_book b[] = {book(true, 0, 5, 1, -1), book(true, 0, 90, 2, -1)};
    uint32_t out[RZ_SHELF_MAX], n;
    rz_check_eq(rz_shelf_room(b, 2, 100, 60, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 1);
    rz_check_eq(out[0], 1);
}

RZ_TEST(shelf, models_in_use_are_waited_for)
{
    struct rz_book b[] = {book(true, 1, 40, 1, -1), book(true, 0, 20, 2, -1), book(true, 2, 40, 3, -1)};
    uint32_t out[RZ_SHELF_MAX], n;
    rz_check_eq(rz_shelf_room(b, 3, 100, 20, out, &n), RZ_SHELF_FITS);
    rz_check_eq(n, 1);
    rz_check_eq(out[0], 1);
    rz_check_eq(rz_shelf_room(b, 3, 100, 30, out, &n), RZ_SHELF_WAIT);
    rz_check_eq(n, 1);
    rz_check_eq(out[0], 0);
    rz_check_eq(rz_shelf_room(b, 3, 100, 100, out, &n), RZ_SHELF_WAIT);
    rz_check_eq(n, 2);
    rz_check_eq(rz_shelf_room(b, 3, 100, 101, out, &n), RZ_SHELF_NEVER);
    rz_check_eq(n, 0);
}

/* Whatever the books: who is in use is no victim where room is found, and what is left fits. */
RZ_TEST(shelf, random_books)
{
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 20000; round++) {
        struct rz_book b[6];
        uint32_t out[RZ_SHELF_MAX], n;
        uint64_t left = 0, budget, need;
        for (int i = 0; i < 6; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            b[i] = book(x & 1, x >> 1 & 1, x >> 2 & 63, x >> 8 & 15, -1);
        }
        budget = rz_shelf_bytes(b, 6) + (x >> 20 & 31);
        need = x >> 30 & 127;
        int room = rz_shelf_room(b, 6, budget, need, out, &n);
        rz_check_eq(room == RZ_SHELF_NEVER, budget && need > budget);
        for (uint32_t k = 0; k < n; k++) {
            rz_check(b[out[k]].in);
            rz_check_eq(b[out[k]].users != 0, room == RZ_SHELF_WAIT);
            if (room == RZ_SHELF_FITS)
                b[out[k]].in = false;
        }
        left = rz_shelf_bytes(b, 6);
        rz_check(!budget || room != RZ_SHELF_FITS || left + need <= budget);
        for (uint32_t k = 0; k < n && room == RZ_SHELF_FITS; k++) /* and no victim is one too many */
            rz_check(left + b[out[k]].bytes + need > budget);
    }
}

RZ_TEST(shelf, unused_models_leave_in_time)
{
    struct rz_book b[] = {book(true, 0, 1, 10, 5), book(true, 1, 1, 1, 5), book(true, 0, 1, 1, -1),
                          book(false, 0, 1, 1, 0), book(true, 0, 1, 12, 4)};
    uint64_t next;
    rz_check_eq(rz_shelf_expired(b, 5, 14 * S, &next), -1);
    rz_check_eq(next, 15 * S);
    rz_check_eq(rz_shelf_expired(b, 5, 15 * S, &next), 0);
    b[0].in = false;
    rz_check_eq(rz_shelf_expired(b, 5, 15 * S, &next), -1);
    rz_check_eq(next, 16 * S);
    b[4].in = false;
    rz_check_eq(rz_shelf_expired(b, 5, 1000 * S, &next), -1);
    rz_check(next == UINT64_MAX);
    b[1].users = 0;
    b[1].keep_ns = 0; /* at once */
    rz_check_eq(rz_shelf_expired(b, 5, 1 * S, &next), 1);
}

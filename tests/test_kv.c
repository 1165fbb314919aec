/* test_kv.c - the page pool and block tables of core/engine/kv.c. */
#include "rz_test.h"

#include "err.h"
#include "kv.h"

#include <stdlib.h>

static struct rz_kv open_pool(uint32_t groups, uint32_t pages, uint32_t tokens)
{
    struct rz_kv kv;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_kv_sizes sizes = {.n_groups = groups, .n_pages = pages, .page_tokens = tokens};
    rz_check_ok(rz_kv_init(&kv, &sizes, &err), &err);
    return kv;
}

/* Every page is free once or referenced as often as tables name it. */
static void check_pool(const struct rz_kv *kv, const struct rz_kv_seq *seqs, uint32_t n_seqs)
{
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        uint32_t named[256] = {0}, free_times[256] = {0};
        for (uint32_t i = 0; i < n_seqs; i++)
            for (uint32_t p = 0; p < seqs[i].n_pages; p++)
                named[seqs[i].groups[g][p]]++;
        for (uint32_t i = 0; i < kv->n_free[g]; i++)
            free_times[kv->free_list[g * kv->n_pages + i]]++;
        for (uint32_t p = 0; p < kv->n_pages; p++) {
            rz_check_eq(kv->refs[g * kv->n_pages + p], named[p]);
            rz_check_eq(free_times[p], named[p] == 0);
        }
    }
}

RZ_TEST(kv, grows_by_whole_pages_and_gives_all_back)
{
    struct rz_kv kv = open_pool(2, 10, 16);
    struct rz_kv_seq seq;
    rz_check(rz_kv_seq_init(&kv, &seq, 100));
    rz_check_eq(seq.max_pages, 7);
    rz_check(rz_kv_grow(&kv, &seq, 1));
    rz_check_eq(seq.n_pages, 1);
    rz_check(rz_kv_grow(&kv, &seq, 16));
    rz_check_eq(seq.n_pages, 1);
    rz_check(rz_kv_grow(&kv, &seq, 17));
    rz_check_eq(seq.n_pages, 2);
    rz_check(rz_kv_grow(&kv, &seq, 5)); /* never shrinks */
    rz_check_eq(seq.n_pages, 2);
    rz_check_eq(seq.groups[0][0], 0);
    rz_check_eq(seq.groups[0][1], 1);
    rz_check_eq(rz_kv_available(&kv), 8);
    check_pool(&kv, &seq, 1);
    rz_kv_drop(&kv, &seq);
    rz_check_eq(rz_kv_available(&kv), 10);
    check_pool(&kv, &seq, 1);
    rz_kv_seq_deinit(&kv, &seq);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, a_growth_that_does_not_fit_changes_nothing)
{
    struct rz_kv kv = open_pool(1, 3, 4);
    struct rz_kv_seq a, b;
    rz_check(rz_kv_seq_init(&kv, &a, 100));
    rz_check(rz_kv_seq_init(&kv, &b, 8));
    rz_check(rz_kv_grow(&kv, &a, 8));
    rz_check(!rz_kv_grow(&kv, &b, 8)); /* one page is free */
    rz_check_eq(b.n_pages, 0);
    rz_check(rz_kv_grow(&kv, &b, 4));
    rz_check(!rz_kv_grow(&kv, &a, 9));
    rz_check_eq(a.n_pages, 2);
    rz_kv_drop(&kv, &a);
    rz_check(!rz_kv_grow(&kv, &b, 9)); /* its own maximum is 8 */
    rz_check(!rz_kv_grow(&kv, &a, UINT64_MAX));
    rz_kv_seq_deinit(&kv, &a);
    rz_kv_seq_deinit(&kv, &b);
    rz_check_eq(rz_kv_available(&kv), 3);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, sizes_of_nothing_are_refused)
{
    struct rz_kv kv;
    struct rz_err err = RZ_ERR_INIT;
    static const struct rz_kv_sizes bad[] = {{0, 1, 1, 0},          {1, 0, 1, 0}, {1, 1, 0, 0},
                                             {1, UINT32_MAX, 1, 0}, {0, 0, 1, 1}, {1, 1, 1, UINT32_MAX}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        rz_check_eq(rz_kv_init(&kv, &bad[i], &err), RZ_EINVAL);
}

RZ_TEST(kv, a_shared_page_is_copied_before_it_is_written)
{
    struct rz_kv kv = open_pool(2, 8, 4);
    struct rz_kv_seq seqs[2];
    struct rz_page_copy copies[2];
    uint32_t n;
    rz_check(rz_kv_seq_init(&kv, &seqs[0], 16));
    rz_check(rz_kv_seq_init(&kv, &seqs[1], 16));
    rz_check(rz_kv_grow(&kv, &seqs[0], 10));
    rz_check(rz_kv_share(&kv, &seqs[1], &seqs[0], 10));
    rz_check_eq(rz_kv_available(&kv), 5);
    check_pool(&kv, seqs, 2);
    int32_t old = seqs[1].groups[1][2];
    rz_check(rz_kv_own(&kv, &seqs[1], 10, copies, &n));
    rz_check_eq(n, 2); /* one for each group */
    rz_check_eq(copies[1].group, 1);
    rz_check_eq(copies[1].from, old);
    rz_check_eq(copies[1].to, seqs[1].groups[1][2]);
    rz_check_eq(copies[1].n_tokens, 2); /* positions 8 and 9 */
    rz_check(seqs[1].groups[1][2] != seqs[0].groups[1][2]);
    rz_check_eq(seqs[1].groups[1][1], seqs[0].groups[1][1]);
    rz_check(rz_kv_own(&kv, &seqs[1], 10, copies, &n));
    rz_check_eq(n, 0); /* it has its own now, and so has the other */
    rz_check(rz_kv_own(&kv, &seqs[0], 10, copies, &n));
    rz_check_eq(n, 0);
    rz_check(rz_kv_own(&kv, &seqs[0], 4, copies, &n));
    rz_check_eq(n, 0); /* a page written from its first position needs no bytes of the old */
    check_pool(&kv, seqs, 2);
    rz_kv_drop(&kv, &seqs[0]);
    check_pool(&kv, seqs, 2);
    rz_kv_drop(&kv, &seqs[1]);
    rz_check_eq(rz_kv_available(&kv), 8);
    rz_kv_seq_deinit(&kv, &seqs[0]);
    rz_kv_seq_deinit(&kv, &seqs[1]);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, without_a_free_page_nothing_is_copied)
{
    struct rz_kv kv = open_pool(1, 2, 4);
    struct rz_kv_seq a, b;
    struct rz_page_copy copy;
    uint32_t n;
    rz_check(rz_kv_seq_init(&kv, &a, 8));
    rz_check(rz_kv_seq_init(&kv, &b, 8));
    rz_check(rz_kv_grow(&kv, &a, 7));
    rz_check(!rz_kv_share(&kv, &b, &a, 9)); /* more than a has */
    rz_check(rz_kv_share(&kv, &b, &a, 7));
    rz_check(!rz_kv_own(&kv, &b, 7, &copy, &n));
    rz_check_eq(b.groups[0][1], a.groups[0][1]);
    rz_check(!rz_kv_share(&kv, &b, &a, 1)); /* not empty */
    rz_kv_seq_deinit(&kv, &a);
    rz_check(rz_kv_own(&kv, &b, 7, &copy, &n));
    rz_check_eq(n, 0); /* the last owner writes in place */
    rz_kv_seq_deinit(&kv, &b);
    rz_check_eq(rz_kv_available(&kv), 2);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, ten_thousand_random_operations_keep_the_books)
{
    enum {
        N = 6
    };
    struct rz_kv kv = open_pool(3, 40, 8);
    struct rz_kv_seq seqs[N];
    uint64_t lengths[N] = {0};
    uint32_t seed = 12345, n;
    for (uint32_t i = 0; i < N; i++)
        rz_check(rz_kv_seq_init(&kv, &seqs[i], 160));
    for (uint32_t step = 0; step < 10000; step++) {
        struct rz_page_copy copies[3];
        seed = seed * 1664525u + 1013904223u;
        uint32_t i = (seed >> 8) % N, j = (seed >> 16) % N, what = (seed >> 24) % 8;
        if (what < 5 && lengths[i] < 160 && rz_kv_grow(&kv, &seqs[i], lengths[i] + 1)) {
            if (rz_kv_own(&kv, &seqs[i], lengths[i], copies, &n))
                lengths[i]++;
        } else if (what == 5) {
            rz_kv_drop(&kv, &seqs[i]);
            lengths[i] = 0;
        } else if (what > 5 && !lengths[i] && !seqs[i].n_pages && lengths[j]) {
            rz_check(rz_kv_share(&kv, &seqs[i], &seqs[j], lengths[j]));
            lengths[i] = lengths[j];
        }
        check_pool(&kv, seqs, N);
    }
    for (uint32_t i = 0; i < N; i++)
        rz_kv_seq_deinit(&kv, &seqs[i]);
    rz_check_eq(rz_kv_available(&kv), 40);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, a_slot_belongs_to_one_sequence_that_holds_something)
{
    struct rz_kv kv;
    struct rz_kv_seq a, b, c;
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_kv_init(&kv, &(struct rz_kv_sizes){1, 8, 4, 2}, &err), &err);
    rz_check(rz_kv_seq_init(&kv, &a, 16) && rz_kv_seq_init(&kv, &b, 16) && rz_kv_seq_init(&kv, &c, 16));
    rz_check_eq(a.slot, -1);
    rz_check(rz_kv_grow(&kv, &a, 6));
    rz_check_eq(a.slot, 0);
    rz_check(rz_kv_grow(&kv, &a, 9));
    rz_check_eq(a.slot, 0);
    rz_check(rz_kv_share(&kv, &b, &a, 6));
    rz_check_eq(b.slot, 1);
    rz_check(!rz_kv_grow(&kv, &c, 1)); /* pages are there, but no slot */
    rz_check_eq(c.n_pages, 0);
    rz_check(!rz_kv_share(&kv, &c, &a, 4));
    rz_check_eq(c.n_pages, 0);
    rz_kv_drop(&kv, &a);
    rz_check_eq(a.slot, -1);
    rz_check(rz_kv_grow(&kv, &c, 1));
    rz_check_eq(c.slot, 0);
    rz_kv_seq_deinit(&kv, &a);
    rz_kv_seq_deinit(&kv, &b);
    rz_kv_seq_deinit(&kv, &c);
    rz_check_eq(kv.n_free_slots, 2);
    rz_check_eq(rz_kv_available(&kv), 8);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, without_groups_only_slots_run_out)
{
    struct rz_kv kv;
    struct rz_kv_seq a, b;
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_kv_init(&kv, &(struct rz_kv_sizes){0, 1, 4, 1}, &err), &err);
    rz_check(rz_kv_seq_init(&kv, &a, 1000) && rz_kv_seq_init(&kv, &b, 1000));
    rz_check_eq(rz_kv_pages(&kv, 1000), 0);
    rz_check(rz_kv_grow(&kv, &a, 1000));
    rz_check_eq(a.slot, 0);
    rz_check(!rz_kv_grow(&kv, &b, 1));
    rz_kv_seq_deinit(&kv, &a);
    rz_kv_seq_deinit(&kv, &b);
    rz_kv_deinit(&kv);
}

RZ_TEST(kv, cut_gives_back_what_lies_behind)
{
    struct rz_kv kv = open_pool(2, 10, 4);
    struct rz_kv_seq a;
    kv.windows[1] = 5;
    rz_check(rz_kv_seq_init(&kv, &a, 40));
    rz_check(rz_kv_grow(&kv, &a, 30));
    rz_kv_trim(&kv, &a, 20); /* group 1 sees 16 and on: four pages went */
    rz_check_eq(rz_kv_held(&a, 0), 8);
    rz_check_eq(rz_kv_held(&a, 1), 4);
    rz_kv_cut(&kv, &a, 40); /* never grows */
    rz_check_eq(a.n_pages, 8);
    rz_kv_cut(&kv, &a, 21);
    rz_check_eq(rz_kv_held(&a, 0), 6);
    rz_check_eq(rz_kv_held(&a, 1), 2);
    rz_check_eq(kv.n_free[0], 4);
    rz_check_eq(kv.n_free[1], 8);
    rz_kv_cut(&kv, &a, 9); /* behind what a window has left */
    rz_check_eq(rz_kv_held(&a, 0), 3);
    rz_check_eq(rz_kv_held(&a, 1), 0);
    rz_check_eq(kv.n_free[1], 10);
    rz_check(rz_kv_grow(&kv, &a, 13));
    rz_check_eq(rz_kv_held(&a, 1), 1);
    rz_kv_seq_deinit(&kv, &a);
    rz_check_eq(rz_kv_available(&kv), 10);
    rz_kv_deinit(&kv);
}

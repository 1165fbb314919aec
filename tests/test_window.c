/* test_window.c - KV groups with a window: pages before it go back, what is read stays right, and the
 * number of pages that a text holds does not grow with it.
 */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"
#include "kv.h"

#include <stdlib.h>
#include <string.h>

static void open_pool(struct rz_kv *kv, uint32_t groups, uint32_t pages, uint32_t tokens)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_kv_sizes sizes = {.n_groups = groups, .n_pages = pages, .page_tokens = tokens};
    rz_check_ok(rz_kv_init(kv, &sizes, &err), &err);
}

RZ_TEST(window, pages_before_it_go_back)
{
    struct rz_kv kv;
    struct rz_kv_seq seq;
    open_pool(&kv, 2, 32, 4);
    kv.windows[1] = 6;
    rz_check(rz_kv_seq_init(&kv, &seq, 100));
    rz_check(rz_kv_grow(&kv, &seq, 20));
    rz_kv_trim(&kv, &seq, 5); /* sees 0 and behind */
    rz_check_eq(rz_kv_held(&seq, 1), 5);
    rz_kv_trim(&kv, &seq, 8); /* sees 3 and behind */
    rz_check_eq(rz_kv_held(&seq, 1), 5);
    rz_kv_trim(&kv, &seq, 9); /* sees 4 and behind */
    rz_check_eq(rz_kv_held(&seq, 1), 4);
    rz_check_eq(rz_kv_held(&seq, 0), 5);
    rz_check_eq(kv.n_free[0], 27);
    rz_check_eq(kv.n_free[1], 28);
    rz_kv_trim(&kv, &seq, 9);
    rz_check_eq(kv.n_free[1], 28);
    rz_kv_trim(&kv, &seq, 1000); /* nothing is seen of what is there */
    rz_check_eq(rz_kv_held(&seq, 1), 0);
    rz_check_eq(kv.n_free[1], 32);
    rz_kv_drop(&kv, &seq);
    rz_check_eq(kv.n_free[0], 32);
    rz_check_eq(kv.n_free[1], 32);
    rz_check(rz_kv_grow(&kv, &seq, 4));
    rz_check_eq(rz_kv_held(&seq, 1), 1);
    rz_kv_seq_deinit(&kv, &seq);
    rz_kv_deinit(&kv);
}

RZ_TEST(window, a_long_text_holds_no_more_than_rz_kv_most_says)
{
    static const uint32_t windows[] = {1, 3, 4, 5, 8, 13};
    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
        for (uint32_t rows = 1; rows < 12; rows += 5) {
            struct rz_kv kv;
            struct rz_kv_seq seq;
            uint32_t most = 0;
            open_pool(&kv, 1, 300, 4);
            kv.windows[0] = windows[w];
            rz_check(rz_kv_seq_init(&kv, &seq, 1000));
            for (uint32_t at = 0; at < 1000 - rows; at += rows) {
                rz_kv_trim(&kv, &seq, at);
                rz_check(rz_kv_grow(&kv, &seq, at + rows));
                most = rz_kv_held(&seq, 0) > most ? rz_kv_held(&seq, 0) : most;
            }
            rz_check(most <= rz_kv_most(&kv, 0, 1000, rows));
            rz_check(most + 1 >= rz_kv_most(&kv, 0, 1000, rows));
            rz_kv_seq_deinit(&kv, &seq);
            rz_check_eq(kv.n_free[0], 300);
            rz_kv_deinit(&kv);
        }
    }
}

RZ_TEST(window, a_fork_gets_what_the_next_row_sees_or_nothing)
{
    struct rz_kv kv;
    struct rz_kv_seq a, b;
    struct rz_page_copy copies[2];
    uint32_t n;
    open_pool(&kv, 2, 32, 4);
    kv.windows[1] = 6;
    rz_check(rz_kv_seq_init(&kv, &a, 100));
    rz_check(rz_kv_seq_init(&kv, &b, 100));
    rz_check(rz_kv_grow(&kv, &a, 22));
    rz_kv_trim(&kv, &a, 22); /* sees 17 and behind: pages 4 and 5 stay */
    rz_check_eq(rz_kv_held(&a, 1), 2);
    rz_check(!rz_kv_share(&kv, &b, &a, 20)); /* its next row would see 15 */
    rz_check_eq(b.n_pages, 0);
    rz_check_eq(kv.n_free[0], 26);
    rz_check(rz_kv_share(&kv, &b, &a, 21)); /* 16 and behind are there */
    rz_check_eq(rz_kv_held(&b, 1), 2);
    rz_check_eq(kv.n_free[1], 30);
    rz_check(rz_kv_own(&kv, &b, 21, copies, &n));
    rz_check_eq(n, 2);
    rz_check_eq(kv.n_free[1], 29);
    rz_kv_trim(&kv, &b, 26); /* the shared page stays with a */
    rz_check_eq(rz_kv_held(&b, 1), 1);
    rz_check_eq(kv.n_free[1], 29);
    rz_kv_drop(&kv, &a);
    rz_check_eq(kv.n_free[1], 31);
    rz_kv_seq_deinit(&kv, &a);
    rz_kv_seq_deinit(&kv, &b);
    rz_check_eq(kv.n_free[0], 32);
    rz_check_eq(kv.n_free[1], 32);
    rz_kv_deinit(&kv);
}

/* One request to its end; the most pages that were held once its prompt was through. */
static uint32_t run_watched(struct rig *rig, struct rig_ticket *t)
{
    uint32_t most = 0;
    rig_submit(rig, t);
    while (!t->done) {
        rig_poll(rig, t);
        struct rz_engine_stats s = rig_stats(rig);
        if (t->out.n > 1 && s.pages_total - s.pages_free > most)
            most = s.pages_total - s.pages_free;
    }
    rig->engine->release(rig->engine->ctx, t->id);
    return most;
}

RZ_TEST(window, a_long_generation_holds_few_pages_and_says_the_same)
{
    struct rig rig;
    struct rig_ticket t;
    rig_setup(&rig);
    rig.setup.kv_windows[0] = 9;
    rig.setup.kv_windows[1] = 14;
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig_make(&t, 3, 20, 0);
    uint32_t most = run_watched(&rig, &t);
    rig_check(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 108);
    rz_check(most <= 5); /* ceil(14 / 4) and one: without windows it would be 32 */
    rig_close(&rig);
}

/* Pages for one sequence without windows hold several with them; those that give way come back. */
RZ_TEST(window, company_and_tiny_pools_change_nothing)
{
    for (uint32_t pages = 8; pages <= 32; pages += 12) {
        struct rig rig;
        struct rig_ticket t[6];
        rig_setup(&rig);
        rig.setup.kv_windows[0] = 5;
        rig.setup.kv_windows[1] = pages > 8 ? 11 : 0;
        rig.setup.limits.n_pages = pages;
        rig.setup.max_batch_tokens = 7;
        rig_open(&rig);
        rig.fake.never_end = 1;
        for (uint32_t i = 0; i < 6; i++) {
            rig_make(&t[i], i, 3 + 4 * i, 0);
            rig_submit(&rig, &t[i]);
        }
        rig_finish(&rig, t, 6);
        for (uint32_t i = 0; i < 6; i++)
            rig_check(&rig, &t[i].request, &t[i].out);
        rig_close(&rig);
    }
}

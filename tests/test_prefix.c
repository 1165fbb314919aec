/* test_prefix.c - the prefix cache (core/engine/prefix.c, share.c), over the fake device, which sees every
 * wrong page and state. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"
#include "prefix.h"

#include <stdbool.h>
#include <stdlib.h>

struct kind {
    uint32_t n_groups, n_slots, window;
};

static const struct kind kinds[] = {{1, 0, 0}, {2, 0, 0}, {2, 0, 9}, {0, 12, 0}, {2, 12, 0}};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void open_kind(struct rig *rig, const struct kind *k, uint32_t pages, bool cache)
{
    rig_setup(rig);
    rig->setup.n_kv_groups = k->n_groups;
    rig->setup.limits.n_slots = k->n_slots;
    rig->setup.limits.n_pages = pages;
    rig->setup.prefix_cache = cache;
    if (k->window)
        rig->setup.kv_windows[1] = k->window;
    rig_open(rig);
}

static uint32_t cached_of(struct rig *rig, struct rig_ticket *t)
{
    rig_run(rig, &t->request, &t->out);
    rig_check(rig, &t->request, &t->out);
    return t->out.last.n_cached;
}

RZ_TEST(prefix, the_same_prompt_is_computed_once)
{
    static struct rig_ticket t;
    for (uint32_t k = 0; k < N_KINDS; k++) {
        for (uint32_t n = 1; n < 100; n += 11) {
            struct rig rig;
            open_kind(&rig, &kinds[k], 256, true);
            rig_make(&t, 5, n, 3);
            rz_check_eq(cached_of(&rig, &t), 0);
            rz_check_eq(cached_of(&rig, &t), (n - 1) / 4 * 4);
            rz_check_eq(rig_stats(&rig).cache_hits, (n - 1) / 4 * 4);
            rz_check_eq(rig_stats(&rig).cache_queries, 2 * n);
            rig_close(&rig);
        }
    }
}

/* The next prompt of a conversation: the last one, the answer, and something new. */
RZ_TEST(prefix, a_conversation_goes_on)
{
    static struct rig_ticket t;
    for (uint32_t k = 0; k < N_KINDS; k++) {
        struct rig rig;
        open_kind(&rig, &kinds[k], 256, true);
        rig.fake.never_end = 1;
        rig_make(&t, 8, 21, 20);
        rz_check_eq(cached_of(&rig, &t), 0);
        memcpy(t.prompt + 21, t.out.tokens, 20 * sizeof(int32_t));
        t.prompt[41] = 7;
        t.prompt[42] = 9;
        t.request.n_prompt = 43;
        /* The pages of all that was computed; the state of the page border behind which a token came. */
        rz_check_eq(cached_of(&rig, &t), kinds[k].n_slots ? 36 : 40);
        rig_close(&rig);
    }
}

/* Two prompts that begin alike: states are saved where the second left the first, for the third. */
RZ_TEST(prefix, a_common_beginning)
{
    static struct rig_ticket t;
    for (uint32_t k = 0; k < N_KINDS; k++) {
        struct rig rig;
        uint32_t states = kinds[k].n_slots;
        open_kind(&rig, &kinds[k], 256, true);
        for (uint32_t i = 0; i < 6; i++) {
            rig_make(&t, 8, 90, 5);
            rig_prompt(100 + i, t.prompt + 60, 30);
            uint32_t want = !i || (states && i == 1) ? 0 : 60;
            rz_check_eq(cached_of(&rig, &t), want);
        }
        rig_close(&rig);
    }
}

RZ_TEST(prefix, off_is_off)
{
    static struct rig_ticket t;
    struct rig rig;
    open_kind(&rig, &kinds[1], 256, false);
    rig_make(&t, 5, 50, 3);
    for (uint32_t i = 0; i < 3; i++)
        rz_check_eq(cached_of(&rig, &t), 0);
    rz_check_eq(rig_stats(&rig).cache_queries, 0);
    rig_close(&rig);
}

/* Requests at the same time with a common beginning: the first computes it, the others catch up. */
RZ_TEST(prefix, company_catches_up)
{
    static struct rig_ticket t[8];
    for (uint32_t k = 0; k < 3; k++) {
        struct rig rig;
        uint32_t rows = 0;
        open_kind(&rig, &kinds[k], 256, true);
        for (uint32_t i = 0; i < 8; i++) {
            rig_make(&t[i], 8, 96, 2);
            rig_prompt(100 + i, t[i].prompt + 92, 4);
            rig_submit(&rig, &t[i]);
        }
        rig_finish(&rig, t, 8);
        for (uint32_t i = 0; i < 8; i++) {
            rig_check(&rig, &t[i].request, &t[i].out);
            rows += 96 - t[i].out.last.n_cached;
        }
        rz_check(rows <= 96 + 7 * 20); /* in place of 8 x 96 */
        rig_close(&rig);
    }
}

/* Random texts of a small tree of beginnings, with tight pools: hits, evictions and preemptions at once. */
static void random_tree(const struct kind *kind, uint32_t pages, uint32_t seed)
{
    enum {
        N = 8
    };
    static struct rig_ticket t[N];
    struct rig rig;
    uint64_t hits = 0;
    rig_setup(&rig);
    open_kind(&rig, kind, pages, true);
    for (uint32_t round = 0; round < 25; round++) {
        for (uint32_t i = 0; i < N; i++) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t n = 1 + (seed >> 9) % 100, at = 0;
            rig_make(&t[i], 1, n, 1 + (seed >> 20) % 28);
            for (uint32_t level = 0; at + 13 < n && level < 4; level++, at += 13)
                rig_prompt((seed >> (10 + 2 * level)) % 3 + 10 * level, t[i].prompt + at, 13);
            t[i].request.sampling.repeat_penalty = 1;
            rig_submit(&rig, &t[i]);
            for (uint32_t s = 0; s < (seed >> 5) % 4; s++)
                rig.engine->step(rig.engine->ctx, NULL);
            if ((seed >> 13) % 9 == 0)
                rig.engine->cancel(rig.engine->ctx, t[i].id);
        }
        rig_finish(&rig, t, N);
        for (uint32_t i = 0; i < N; i++) {
            if (t[i].out.last.finish != RZ_FINISH_CANCELLED)
                rig_check(&rig, &t[i].request, &t[i].out);
            hits += t[i].out.last.n_cached;
        }
    }
    rz_check(hits > 500);
    rz_check(pages > 100 || rig_stats(&rig).cache_evictions > 50);
    rz_check(pages > 40 || rig_stats(&rig).preempted > 5);
    rig_close(&rig);
}

RZ_TEST(prefix, tight_pools_evict_and_still_give_the_true_tokens)
{
    for (uint32_t k = 0; k < N_KINDS; k++)
        for (uint32_t p = 0; p < 3; p++)
            if (kinds[k].n_groups)
                random_tree(&kinds[k], p == 0 ? 40 : p == 1 ? 80 : 256, 17 + k + p);
}

RZ_TEST(prefix, few_slots_still_give_the_true_tokens)
{
    static const uint32_t slots[] = {8, 9, 20};
    for (uint32_t i = 0; i < 3; i++) {
        random_tree(&(struct kind){0, slots[i], 0}, 256, 3 + i);
        random_tree(&(struct kind){1, slots[i], 0}, 256, 5 + i);
    }
}

/* A rope of another length makes other keys. */
RZ_TEST(prefix, another_rope_shares_nothing)
{
    static struct rig_ticket t;
    struct rig rig;
    rig_setup(&rig);
    rig.setup.rope_switch = 60;
    rig_open(&rig);
    rig_make(&t, 5, 50, 3);
    rz_check_eq(cached_of(&rig, &t), 0);
    t.request.max_new = 20;
    rz_check_eq(cached_of(&rig, &t), 0);
    rz_check_eq(cached_of(&rig, &t), 48);
    t.request.max_new = 3;
    rz_check_eq(cached_of(&rig, &t), 48);
    rig_close(&rig);
}

RZ_TEST(prefix, a_failed_step_leaves_nothing)
{
    static struct rig_ticket t;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig_make(&t, 5, 50, 3);
    cached_of(&rig, &t);
    rig.fake.fail_at = rig.fake.n_executes + 1;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.kind, RZ_EVENT_ERROR);
    rz_check_eq(cached_of(&rig, &t), 0);
    rz_check_eq(cached_of(&rig, &t), 48);
    rig_close(&rig);
}

/* --- the cache by itself --- */

struct box {
    struct rz_kv kv;
    struct rz_prefix prefix;
    int32_t tokens[64];
};

static void box_open(struct box *b, uint32_t groups, uint32_t pages, uint32_t slots)
{
    struct rz_err err = RZ_ERR_INIT;
    *b = (struct box){0};
    struct rz_kv_sizes sizes = {.n_groups = groups, .n_pages = pages, .page_tokens = 4, .n_slots = slots};
    rz_check_ok(rz_kv_init(&b->kv, &sizes, &err), &err);
    rz_check_ok(rz_prefix_init(&b->prefix, &b->kv, &err), &err);
}

static void box_close(struct box *b)
{
    rz_prefix_deinit(&b->prefix);
    for (uint32_t g = 0; g < b->kv.n_groups; g++)
        rz_check_eq(b->kv.n_free[g], b->kv.n_pages);
    rz_check_eq(b->kv.n_free_slots, b->kv.n_slots);
    rz_check_eq(b->kv.n_kept_slots, 0);
    rz_kv_deinit(&b->kv);
}

static struct rz_prefix_text text(struct box *b, int32_t first, uint32_t n)
{
    b->tokens[0] = first;
    return (struct rz_prefix_text){.tokens = b->tokens, .n = n};
}

/* Computes a text and leaves it. */
static void leave(struct box *b, int32_t first, uint32_t n)
{
    struct rz_kv_seq seq;
    struct rz_prefix_text t = text(b, first, n);
    rz_check(rz_kv_seq_init(&b->kv, &seq, 64));
    rz_check(rz_kv_grow(&b->kv, &seq, n));
    rz_prefix_add(&b->prefix, &seq, &t);
    rz_kv_seq_deinit(&b->kv, &seq);
}

static uint32_t found(struct box *b, int32_t first, uint32_t n)
{
    struct rz_prefix_text t = text(b, first, n);
    uint32_t known;
    return rz_prefix_find(&b->prefix, &t, &known);
}

RZ_TEST(prefix, the_least_recently_used_goes_first_from_its_end)
{
    struct box b;
    struct rz_kv_seq seq;
    struct rz_state_copy copy;
    box_open(&b, 2, 10, 0);
    leave(&b, 1, 16);
    leave(&b, 2, 12);
    leave(&b, 3, 8);
    rz_check_eq(rz_kv_available(&b.kv), 10);
    rz_check_eq(b.kv.n_free[0], 1);
    rz_check(rz_kv_seq_init(&b.kv, &seq, 64));
    struct rz_prefix_text one = text(&b, 1, 16); /* is used again */
    rz_check_eq(rz_prefix_take(&b.prefix, &seq, &one, &copy), 16);
    rz_check_eq(rz_kv_available(&b.kv), 6);
    rz_kv_drop(&b.kv, &seq);
    rz_check(rz_kv_grow(&b.kv, &seq, 8)); /* needs one more than is free */
    rz_check_eq(b.prefix.evictions, 1);   /* an entry goes with its pages in both groups */
    rz_check_eq(found(&b, 2, 12), 8);
    rz_check_eq(found(&b, 1, 16), 16);
    rz_check_eq(found(&b, 3, 8), 8);
    rz_check(!rz_kv_grow(&b.kv, &seq, 44));
    rz_check(rz_kv_grow(&b.kv, &seq, 40));
    rz_check_eq(found(&b, 1, 16) + found(&b, 2, 16) + found(&b, 3, 16), 0);
    rz_kv_seq_deinit(&b.kv, &seq);
    box_close(&b);
}

/* Two sequences computed the same beginning, each for itself; one goes on alone, the other ends. */
RZ_TEST(prefix, pages_of_two_owners_can_all_be_had_back)
{
    struct box b;
    struct rz_kv_seq x, y;
    box_open(&b, 1, 8, 0);
    rz_check(rz_kv_seq_init(&b.kv, &x, 64) && rz_kv_seq_init(&b.kv, &y, 64));
    struct rz_prefix_text t = text(&b, 1, 8);
    rz_check(rz_kv_grow(&b.kv, &y, 8) && rz_kv_grow(&b.kv, &x, 12));
    rz_prefix_add(&b.prefix, &y, &t);
    t.n = 12;
    rz_prefix_add(&b.prefix, &x, &t);
    rz_kv_drop(&b.kv, &y);
    rz_check_eq(rz_kv_available(&b.kv), 5);
    rz_check(rz_kv_grow(&b.kv, &y, 20));
    rz_check_eq(rz_kv_available(&b.kv), 0);
    rz_kv_seq_deinit(&b.kv, &x);
    rz_kv_seq_deinit(&b.kv, &y);
    box_close(&b);
}

/* In a group with a window the pages before it may go alone. */
RZ_TEST(prefix, a_window_needs_its_last_pages_only)
{
    struct box b;
    struct rz_kv_seq seq;
    struct rz_state_copy copy;
    box_open(&b, 2, 12, 0);
    b.kv.windows[1] = 5;
    leave(&b, 1, 24);
    rz_check_eq(b.kv.n_idle[1], 6);
    rz_check(rz_kv_seq_init(&b.kv, &seq, 64));
    struct rz_prefix_text t = text(&b, 1, 24);
    rz_check_eq(rz_prefix_take(&b.prefix, &seq, &t, &copy), 24);
    rz_check_eq(seq.first[1], 5); /* the row at 24 sees 20 and behind */
    rz_check_eq(rz_kv_held(&seq, 1), 1);
    rz_check_eq(b.kv.n_idle[1], 5);
    rz_check(rz_kv_grow(&b.kv, &seq, 48)); /* takes 6 of 6 free */
    rz_check_eq(b.kv.n_free[1], 0);
    b.kv.evict(b.kv.evict_ctx, 1);
    rz_check_eq(b.kv.n_free[1], 1);
    rz_check_eq(found(&b, 1, 24), 24);
    rz_kv_seq_deinit(&b.kv, &seq);
    box_close(&b);
}

RZ_TEST(prefix, states_are_found_where_they_were_saved)
{
    struct box b;
    box_open(&b, 0, 12, 3);
    leave(&b, 1, 24);
    rz_check_eq(found(&b, 1, 24), 0);
    struct rz_prefix_text t = text(&b, 1, 12);
    int32_t first = rz_prefix_save(&b.prefix, &t, 0);
    rz_check(first >= 0);
    rz_check_eq(rz_prefix_save(&b.prefix, &t, 0), -1); /* is there */
    rz_check_eq(found(&b, 1, 24), 12);
    t.n = 16;
    rz_check(rz_prefix_save(&b.prefix, &t, 0) >= 0);
    t.n = 20;
    rz_check_eq(rz_prefix_save(&b.prefix, &t, 12), first); /* instead of it */
    rz_check_eq(found(&b, 1, 15), 0);
    rz_check_eq(found(&b, 1, 19), 16);
    rz_check_eq(found(&b, 1, 24), 20);
    t.n = 28; /* not computed yet */
    rz_check_eq(rz_prefix_save(&b.prefix, &t, 0), -1);
    box_close(&b);
}

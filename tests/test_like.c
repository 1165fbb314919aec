/* test_like.c - requests that share the prompt of another (rz_request.like), over the fake device. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <stdbool.h>
#include <stdlib.h>

#define N 6

struct kind {
    uint32_t n_groups, n_slots, window, pages;
};

static const struct kind kinds[] = {
    {2, 0, 0, 256}, {0, 8, 0, 256}, {2, 8, 0, 256}, {2, 0, 9, 256}, {2, 0, 0, 34}, {2, 6, 0, 34},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void open_kind(struct rig *rig, const struct kind *k)
{
    rig_setup(rig);
    rig->setup.n_kv_groups = k->n_groups;
    rig->setup.limits.n_slots = k->n_slots;
    rig->setup.limits.n_pages = k->pages;
    if (k->n_groups)
        rig->setup.kv_windows[1] = k->window;
    rig_open(rig);
}

/* N requests with one prompt, each with a seed of its own. */
static void make_all(struct rig_ticket *t, uint32_t n_prompt, bool draw)
{
    for (uint32_t i = 0; i < N; i++) {
        rig_make(&t[i], 77, n_prompt, 20);
        t[i].request.sampling.temperature = draw ? 1.3f : 0;
        t[i].request.sampling.seed = i;
    }
}

static void submit_like(struct rig *rig, struct rig_ticket *t)
{
    for (uint32_t i = 0; i < N; i++) {
        t[i].request.like = i ? t[0].id : 0;
        rig_submit(rig, &t[i]);
    }
}

RZ_TEST(like, shares_the_prompt_and_says_the_same)
{
    static struct rig_ticket t[N];
    static struct rig_output alone[N];
    for (uint32_t k = 0; k < N_KINDS; k++) {
        for (uint32_t n = 1; n < 70; n += k % 2 ? 13 : 7) {
            struct rig rig;
            open_kind(&rig, &kinds[k]);
            make_all(t, n, true);
            for (uint32_t i = 0; i < N; i++)
                rig_run(&rig, &t[i].request, &alone[i]);
            uint64_t before = rig.fake.n_rows;
            submit_like(&rig, t);
            rig_finish(&rig, t, N);
            uint32_t made = 0, cached = 0;
            for (uint32_t i = 0; i < N; i++) {
                if (t[i].out.last.kind == RZ_EVENT_ERROR)
                    rz_fail_test("kind %u, prompt %u: %s", k, n, t[i].out.last.text);
                rz_check_eq(t[i].out.n, alone[i].n);
                rz_check_memeq(t[i].out.tokens, alone[i].tokens, alone[i].n * sizeof(int32_t));
                rz_check_eq(t[i].out.last.finish, alone[i].last.finish);
                made += t[i].out.n;
                cached += t[i].out.last.n_cached;
            }
            if (kinds[k].pages ==
                256) { /* room for all at once: the prompt is computed once, but for its end */
                rz_check(cached >= (N - 1) * (n - 1));
                rz_check(rig.fake.n_rows - before <= n + N + made);
            }
            rig_close(&rig);
        }
    }
}

RZ_TEST(like, holds_pages_once)
{
    static struct rig_ticket t[N];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    make_all(t, 61, true);
    submit_like(&rig, t);
    uint32_t least = 256;
    for (uint32_t i = 0; i < 200; i++) {
        rig_poll(&rig, &t[i % N]);
        struct rz_engine_stats s = rig_stats(&rig);
        least = s.pages_free < least ? s.pages_free : least;
    }
    rig_finish(&rig, t, N);
    /* 15 whole pages of the prompt once, and for each its last page, 20 tokens and what is begun. */
    rz_check(256 - least <= 15 + N * 7);
    rig_close(&rig);
}

/* Whatever becomes of the first, the others come to their end. */
RZ_TEST(like, does_not_depend_on_the_fate_of_the_first)
{
    static struct rig_ticket t[N];
    for (uint32_t fate = 0; fate < 4; fate++) {
        struct rig rig;
        rig_setup(&rig);
        rig.setup.limits.max_rows = rig.setup.max_batch_tokens = 8;
        rig_open(&rig);
        make_all(t, 50, false);
        t[0].request.max_new = fate == 3 ? 60 : 20;
        submit_like(&rig, t);
        for (uint32_t i = 0; i < (fate == 3 ? 60 : 2); i++)
            rig.engine->step(rig.engine->ctx, NULL);
        if (fate == 0)
            rig.engine->cancel(rig.engine->ctx, t[0].id);
        if (fate == 1)
            rig.engine->release(rig.engine->ctx, t[0].id);
        if (fate == 2) { /* a request that was released is nobody's pattern */
            struct rz_err err = RZ_ERR_INIT;
            uint64_t id;
            struct rz_request q = t[1].request;
            q.like = t[0].id;
            rig.engine->release(rig.engine->ctx, t[0].id);
            rz_check_eq(rig.engine->submit(rig.engine->ctx, &q, &id, &err), RZ_ENOTFOUND);
            rz_check_has(err.message, "ticket");
        }
        rig_finish(&rig, t + 1, N - 1);
        for (uint32_t i = 1; i < N; i++)
            rig_check(&rig, &t[i].request, &t[i].out);
        if (fate == 0 || fate == 3)
            rig.engine->release(rig.engine->ctx, t[0].id);
        rig_close(&rig);
    }
}

RZ_TEST(like, others_pass_while_it_waits)
{
    static struct rig_ticket t[3];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_rows = rig.setup.max_batch_tokens = 8;
    rig_open(&rig);
    rig_make(&t[0], 5, 100, 10);
    rig_make(&t[1], 5, 100, 10);
    rig_make(&t[2], 6, 5, 3);
    rig_submit(&rig, &t[0]);
    t[1].request.like = t[0].id;
    rig_submit(&rig, &t[1]);
    rig_submit(&rig, &t[2]);
    rig.engine->step(rig.engine->ctx, NULL);
    rz_check_eq(rig_stats(&rig).running, 2);
    rz_check_eq(rig_stats(&rig).waiting, 1);
    rig_finish(&rig, t, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_check(&rig, &t[i].request, &t[i].out);
    rz_check_eq(t[1].out.last.n_cached, 99);
    rz_check_eq(t[2].out.last.n_cached, 0);
    rig_close(&rig);
}

RZ_TEST(like, bad_ones_are_refused)
{
    static struct rig_ticket t[2];
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    uint64_t id;
    rig_setup(&rig);
    rig_open(&rig);
    rig_make(&t[0], 1, 9, 5);
    rig_make(&t[1], 2, 9, 5);
    rig_submit(&rig, &t[0]);
    t[1].request.prompt = t[1].prompt;
    t[1].request.like = t[0].id;
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t[1].request, &id, &err), RZ_EINVAL);
    rz_check_has(err.message, "differ");
    t[1].request.like = 123456;
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t[1].request, &id, &err), RZ_ENOTFOUND);
    t[1].request.like = t[0].id;
    t[1].request.flags = RZ_REQUEST_EMBED;
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t[1].request, &id, &err), RZ_EUNSUPPORTED);
    rig_finish(&rig, t, 1);
    rig_close(&rig);
}

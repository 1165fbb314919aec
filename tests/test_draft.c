/* test_draft.c - guesses of a draft model (core/engine/spec_draft.c): two fake devices, one that runs ahead
 * of the other. Whatever it says, the tokens are those of the model itself. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"
#include "loop.h"
#include "spec.h"

#include <stdatomic.h>
#include <stdlib.h>

#define N_TICKETS 10

struct pair {
    struct rig main, draft;
    atomic_uint warned;
};

static void count_warning(void *ctx, const char *text)
{
    rz_check(text[0]);
    atomic_fetch_add(&((struct pair *)ctx)->warned, 1);
}

/* The setups of both: change them between pair_setup and pair_open. */
static void pair_setup(struct pair *p)
{
    memset(p, 0, sizeof(*p));
    rig_setup(&p->main);
    rig_setup(&p->draft);
    p->main.setup.limits.max_wanted = p->draft.setup.limits.max_wanted = 32;
}

static void pair_open(struct pair *p, uint32_t max_guesses)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_spec_pool pool = {.mode = RZ_SPECULATE_DRAFT,
                                .max_guesses = max_guesses,
                                .always = true,
                                .warn = count_warning,
                                .warn_ctx = p};
    rig_open(&p->main);
    rig_open(&p->draft);
    pool.draft = p->draft.loop;
    rz_check_ok(rz_spec_open(p->main.loop, &pool, &err), &err);
    /* Each holds the other's place: nobody evaluates with a draft model that is in use. */
    rz_check_eq(p->draft.loop->busy, true);
}

static void pair_close(struct pair *p)
{
    rig_close(&p->main);
    rig_close(&p->draft); /* its pages are all free too */
}

static void make(struct rig_ticket *t, uint32_t i)
{
    rig_make(t, 900 + i, 3 + i * 4, 20 + 2 * i);
    t->request.sampling.temperature = i % 3 ? 0.9f : 0;
    t->request.sampling.top_k = i % 2 ? 12 : 0;
    t->request.sampling.repeat_penalty = i % 5 == 4 ? 1.2f : 1;
    t->request.sampling.seed = i;
    t->request.flags = i % 2 ? RZ_REQUEST_IGNORE_EOS : 0;
}

static void run_all(struct rig *rig, struct rig_ticket *tickets)
{
    for (uint32_t i = 0; i < N_TICKETS; i++) {
        make(&tickets[i], i);
        rig_submit(rig, &tickets[i]);
        for (uint32_t k = 0; k < i % 3; k++)
            rig->engine->step(rig->engine->ctx, NULL);
    }
    rig_finish(rig, tickets, N_TICKETS);
}

/* What comes out without guesses. */
static void run_plain(struct rig_ticket *plain)
{
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    run_all(&rig, plain);
    rig_close(&rig);
}

static void check_all(const struct rig_ticket *a, const struct rig_ticket *b)
{
    for (uint32_t i = 0; i < N_TICKETS; i++) {
        rz_check_eq(a[i].out.last.kind, RZ_EVENT_DONE);
        rz_check_eq(a[i].out.last.finish, b[i].out.last.finish);
        rz_check_eq(a[i].out.n, b[i].out.n);
        rz_check_memeq(a[i].out.tokens, b[i].out.tokens, b[i].out.n * sizeof(int32_t));
    }
}

RZ_TEST(draft, a_model_guesses_all_of_its_own_tokens)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS];
    static const uint32_t guesses[] = {1, 4, 31};
    run_plain(plain);
    for (uint32_t k = 0; k < 3; k++) {
        struct pair p;
        pair_setup(&p);
        pair_open(&p, guesses[k]);
        run_all(&p.main, guessed);
        check_all(guessed, plain);
        struct rz_engine_stats s = rig_stats(&p.main);
        rz_check(s.drafted > 40);
        rz_check_eq(s.accepted, s.drafted); /* sampled ones as well: the draws are the same */
        pair_close(&p);
    }
}

RZ_TEST(draft, wrong_guesses_change_nothing)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS];
    run_plain(plain);
    for (uint32_t k = 0; k < 4; k++) {
        struct pair p;
        pair_setup(&p);
        p.main.setup.limits.n_pages = k & 1 ? 30 : 256; /* sequences give way amid guesses */
        p.draft.setup.top_k = k & 2;
        pair_open(&p, 5);
        p.draft.fake.salt = 99;
        run_all(&p.main, guessed);
        check_all(guessed, plain);
        struct rz_engine_stats s = rig_stats(&p.main);
        rz_check(s.drafted > 100);
        rz_check(s.accepted < s.drafted / 4);
        rz_check_eq(s.preempted > 0, k & 1);
        pair_close(&p);
    }
}

RZ_TEST(draft, half_right_guesses_keep_the_draft_in_step)
{
    static struct rig_ticket t;
    for (uint32_t k = 0; k < 2; k++) {
        struct pair p;
        pair_setup(&p);
        p.draft.setup.kv_windows[1] = k ? 7 : 0; /* it sees less than the model */
        pair_open(&p, 6);
        if (!k) { /* they agree where the text repeats itself */
            p.main.fake.period = p.draft.fake.period = 4;
            p.draft.fake.salt = 99;
        }
        for (uint32_t i = 0; i < 30; i++) {
            rig_make(&t, i, 1 + i, 60);
            rig_run(&p.main, &t.request, &t.out);
            rig_check(&p.main, &t.request, &t.out);
        }
        struct rz_engine_stats s = rig_stats(&p.main);
        rz_check(s.accepted > 20 && s.accepted < s.drafted);
        pair_close(&p);
    }
}

RZ_TEST(draft, a_small_draft_guesses_as_far_as_it_goes)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS];
    run_plain(plain);
    for (uint32_t k = 0; k < 3; k++) {
        struct pair p;
        pair_setup(&p);
        if (k == 0)
            p.draft.setup.limits.max_context = 20;
        else if (k == 1)
            p.draft.setup.limits.n_pages = 12;
        else
            p.draft.setup.limits.max_rows = p.draft.setup.max_batch_tokens = 3; /* prompts take many rounds */
        pair_open(&p, 5);
        run_all(&p.main, guessed);
        check_all(guessed, plain);
        rz_check(rig_stats(&p.main).drafted > 0);
        pair_close(&p);
    }
}

RZ_TEST(draft, tokens_that_it_does_not_know_end_its_guesses)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS];
    static const struct rz_bias bias = {FAKE_VOCAB - 1, 3};
    struct pair p;
    run_plain(plain);
    pair_setup(&p);
    p.draft.setup.n_vocab = FAKE_VOCAB - 8;
    pair_open(&p, 5);
    run_all(&p.main, guessed);
    check_all(guessed, plain);
    make(&guessed[0], 0);
    guessed[0].request.biases = &bias;
    guessed[0].request.n_biases = 1;
    guessed[0].prompt[0] = FAKE_VOCAB - 1;
    rig_run(&p.main, &guessed[0].request, &guessed[0].out);
    rz_check_eq(guessed[0].out.last.n_drafted, 0);
    pair_close(&p);
}

RZ_TEST(draft, one_that_fails_is_left_out)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS];
    struct pair p;
    run_plain(plain);
    pair_setup(&p);
    pair_open(&p, 5);
    p.draft.fake.fail_at = 7;
    run_all(&p.main, guessed);
    check_all(guessed, plain);
    rz_check_eq(atomic_load(&p.warned), 1);
    rz_check_eq(p.draft.fake.n_executes, 7);
    pair_close(&p);
}

RZ_TEST(draft, requests_choose_and_engines_refuse)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct pair p;
    pair_setup(&p);
    pair_open(&p, 5);
    make(&t, 1);
    t.request.speculate = RZ_SPECULATE_OFF;
    rig_run(&p.main, &t.request, &t.out);
    rz_check_eq(t.out.last.n_drafted + p.draft.fake.n_executes, 0);
    t.request.speculate = RZ_SPECULATE_LOOKUP;
    rig_run(&p.main, &t.request, &t.out);
    rz_check_eq(p.draft.fake.n_executes, 0);
    t.request.speculate = RZ_SPECULATE_DRAFT;
    rig_run(&p.main, &t.request, &t.out);
    rz_check(t.out.last.n_accepted > 0);
    pair_close(&p);

    pair_setup(&p);
    p.draft.setup.limits.n_slots = 8;
    rig_open(&p.main);
    rig_open(&p.draft);
    struct rz_spec_pool pool = {.mode = RZ_SPECULATE_DRAFT, .max_guesses = 4, .draft = p.draft.loop};
    rz_check_eq(rz_spec_open(p.main.loop, &pool, &err), RZ_EUNSUPPORTED);
    rz_check(strstr(err.message, "the draft model"));
    pair_close(&p);
}

/* A loop thread guesses while this one submits, reads, cancels and releases: for ThreadSanitizer. */
RZ_TEST(draft, the_loop_thread_guesses_while_others_come_and_go)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS], gone;
    struct rz_err err = RZ_ERR_INIT;
    struct pair p;
    run_plain(plain);
    pair_setup(&p);
    pair_open(&p, 4);
    rz_check_ok(rz_loop_start(p.main.loop, &err), &err);
    for (uint32_t i = 0; i < N_TICKETS; i++) {
        make(&guessed[i], i);
        guessed[i].request.speculate = i % 2 ? RZ_SPECULATE_LOOKUP : RZ_SPECULATE_MODEL;
        rig_submit(&p.main, &guessed[i]);
    }
    for (uint32_t i = 0; i < 20; i++) {
        rig_make(&gone, i, 10, 0);
        if (p.main.engine->submit(p.main.engine->ctx, &gone.request, &gone.id, &err))
            continue;
        if (i % 2)
            p.main.engine->cancel(p.main.engine->ctx, gone.id);
        p.main.engine->release(p.main.engine->ctx, gone.id);
    }
    rig_finish(&p.main, guessed, N_TICKETS);
    check_all(guessed, plain);
    pair_close(&p);
}

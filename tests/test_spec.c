/* test_spec.c - guesses ahead (core/engine/spec*.c): what is guessed, what it pays, and that it never shows
 * in what comes out. The draft model is test_draft.c's. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"
#include "loop.h"
#include "sample.h"
#include "spec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- lookup --- */

static uint32_t look_up(const char *text, uint32_t limit, char *out)
{
    int32_t tokens[128];
    uint32_t n = (uint32_t)strlen(text);
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = text[i];
    uint32_t found = rz_lookup(tokens, n, limit);
    for (uint32_t i = 0; i < limit; i++)
        out[i] = found ? (char)tokens[n + i] : 0;
    out[limit] = 0;
    return found;
}

RZ_TEST(spec, lookup_follows_the_longest_ending_and_the_latest_of_several)
{
    static const struct {
        const char *text, *next;
        uint32_t found;
    } cases[] = {
        {"", "", 0},
        {"a", "", 0},
        {"aa", "", 0},
        {"abcdefgh", "", 0},
        {"xbc...abc", "", 2},
        {"abc1 xbc2 abc", "1 xb", 3}, /* the longest, though it is older */
        {"abc1 abc2 abc", "2 ab", 4}, /* with the space before: the latest is as long */
        {"bc1 bc2 xbc", "2 xb", 2},
        {"aaa", "aaaa", 2},
        {"ababab", "abab", 4},   /* its own repetition goes on */
        {"xabcxabc", "xabc", 4}, /* runs into the end and through it */
    };
    char out[8];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        rz_check_eq(look_up(cases[i].text, 4, out), cases[i].found);
        if (cases[i].next[0])
            rz_check_streq(out, cases[i].next);
    }
}

RZ_TEST(spec, lookup_looks_at_no_more_than_its_most)
{
    char text[120], out[2];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    rz_check_eq(look_up(text, 1, out), RZ_LOOKUP_MAX);
    rz_check_streq(out, "a");
}

/* --- what it pays --- */

static uint32_t bet(struct rz_odds *odds, const struct rz_pace *pace, uint32_t company, double extra)
{
    struct rz_bet total = {company, company};
    uint32_t n = rz_odds_bet(odds, pace, &total, 16, extra);
    rz_check(total.rows == company + n);
    rz_check(total.tokens >= company && total.tokens <= company + n);
    return n;
}

/* Steps of 1 to 4 rows that take base + each. */
static struct rz_pace paced(double base, double each)
{
    struct rz_pace p = {0};
    for (uint32_t i = 0; i < 100; i++)
        rz_pace_step(&p, 1 + i % 4, base + each * (1 + i % 4));
    return p;
}

RZ_TEST(spec, rows_that_cost_nothing_are_all_taken_and_dear_ones_are_not)
{
    struct rz_pace cheap = paced(10, 0), dear = paced(0, 1), usual = paced(6, 2);
    struct rz_odds odds;
    rz_odds_init(&odds, 0.9);
    rz_check_eq(bet(&odds, &cheap, 1, 0), 16);
    rz_check_eq(bet(&odds, &dear, 1, 0), 0);
    uint32_t alone = bet(&odds, &usual, 1, 0), company = bet(&odds, &usual, 16, 0);
    rz_check(alone > 2 && alone < 16);
    rz_check(company < alone); /* rows of others have taken what is nearly free */
    rz_check_eq(bet(&odds, &usual, 1, 100), 0);
}

RZ_TEST(spec, a_fit_follows_the_machine_and_stands_outliers)
{
    struct rz_pace p = paced(6, 2);
    rz_check(fabs(p.slope - 2) < 1e-6);
    for (uint32_t i = 0; i < 400; i++) /* the texts get longer */
        rz_pace_step(&p, 1 + i % 4, 12 + 1.0 * (1 + i % 4));
    rz_check(fabs(p.slope - 1) < 1e-3);
    double before = p.y / p.n;
    rz_pace_step(&p, 2, 1e6);
    rz_check(p.y / p.n < 1.2 * before);
    double slope = p.slope;
    for (uint32_t i = 0; i < 400; i++) /* one row for a long time says nothing about a second */
        rz_pace_step(&p, 1, 13);
    rz_check(p.slope > 0 && fabs(p.slope - slope) < 2);
}

RZ_TEST(spec, off_while_it_does_not_pay_and_on_again)
{
    struct rz_pace p = paced(6, 2);
    struct rz_odds odds;
    uint32_t tries = 0, steps = 0;
    rz_odds_init(&odds, 0.8);
    rz_check(bet(&odds, &p, 1, 0) > 1);
    for (; steps < 30; steps++) { /* nothing is right */
        uint32_t n = bet(&odds, &p, 1, 0);
        tries += n != 0;
        rz_odds_count(&odds, n, 0);
    }
    rz_check(tries < 16);
    for (tries = 0, steps = 0; steps < 2000; steps++) {
        uint32_t n = bet(&odds, &p, 1, 0);
        tries += n != 0;
        rz_odds_count(&odds, n, 0);
    }
    rz_check(tries >= 4 && tries <= 12); /* tried less and less often, but tried */
    for (steps = 0; steps < 20000 && rz_odds_share(&odds) < 0.9; steps++) { /* all is right */
        uint32_t n = bet(&odds, &p, 1, 0);
        rz_odds_count(&odds, n, n);
    }
    rz_check(steps < 4000);
    rz_check(bet(&odds, &p, 1, 0) > 4);
}

/* --- the engine --- */

#define N_TICKETS 12

static void open_with(struct rig *rig, const struct rz_spec_pool *pool)
{
    struct rz_err err = RZ_ERR_INIT;
    rig_open(rig);
    if (pool->max_guesses)
        rz_check_ok(rz_spec_open(rig->loop, pool, &err), &err);
}

static struct rz_spec_pool lookup_pool(uint32_t max_guesses)
{
    return (struct rz_spec_pool){
        .mode = RZ_SPECULATE_LOOKUP, .max_guesses = max_guesses, .always = max_guesses != 0};
}

/* Requests of all kinds: greedy, sampled, with penalties, biases and log probabilities. */
static void make_mixed(struct rig_ticket *t, uint32_t i)
{
    static const struct rz_bias bias[] = {{5, 2.0f}, {9, -INFINITY}};
    rig_make(t, 700 + i, 6 + i * 3, 30 + i);
    struct rz_sampling *s = &t->request.sampling;
    s->seed = 5 * i;
    s->temperature = i % 3 ? 0.7f : 0;
    s->top_k = i % 4 ? 10 : 0;
    s->frequency_penalty = i % 5 == 4 ? 0.2f : 0;
    s->repeat_penalty = i % 6 == 5 ? 1.1f : 1;
    t->request.n_logprobs = i % 4 == 3 ? 3 : 0;
    if (i % 6 == 2) {
        t->request.biases = bias;
        t->request.n_biases = 2;
    }
    t->request.flags = i % 2 ? RZ_REQUEST_IGNORE_EOS : 0;
}

static void run_mixed(struct rig *rig, struct rig_ticket *tickets)
{
    for (uint32_t i = 0; i < N_TICKETS; i++) {
        make_mixed(&tickets[i], i);
        rig_submit(rig, &tickets[i]);
        for (uint32_t k = 0; k < i % 3; k++)
            rig->engine->step(rig->engine->ctx, NULL);
    }
    rig_finish(rig, tickets, N_TICKETS);
}

static void check_same(const struct rig_ticket *a, const struct rig_ticket *b)
{
    rz_check_eq(a->out.last.kind, b->out.last.kind);
    rz_check_eq(a->out.last.finish, b->out.last.finish);
    rz_check_eq(a->out.n, b->out.n);
    rz_check_memeq(a->out.tokens, b->out.tokens, a->out.n * sizeof(int32_t));
    rz_check_streq(a->out.text, b->out.text);
}

/* Runs the mixed requests with and without guesses; the setup's pages, rows and windows are the caller's. */
static struct rz_engine_stats compare(const struct rz_engine_setup *setup, bool top_k)
{
    static struct rig_ticket plain[N_TICKETS], guessed[N_TICKETS];
    static const uint32_t guesses[] = {0, 1, 3, 7, 31};
    struct rz_engine_stats stats = {0};
    for (uint32_t k = 0; k < 5; k++) {
        struct rig rig;
        struct rz_spec_pool pool = lookup_pool(guesses[k]);
        rig_setup(&rig);
        rig.setup = *setup;
        rig.setup.top_k = top_k;
        open_with(&rig, &pool);
        rig.fake.period = 5;
        run_mixed(&rig, k ? guessed : plain);
        for (uint32_t i = 0; k && i < N_TICKETS; i++)
            check_same(&guessed[i], &plain[i]);
        stats = rig_stats(&rig);
        rz_check_eq(stats.drafted > 0, k > 0);
        rz_check(stats.accepted <= stats.drafted);
        rig_close(&rig);
    }
    return stats;
}

RZ_TEST(spec, the_same_tokens_with_any_number_of_guesses)
{
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_wanted = 32;
    rz_check(compare(&rig.setup, false).accepted > 100);
    rz_check(compare(&rig.setup, true).accepted > 100); /* only the k best come back of each row */
    rig.setup.limits.max_wanted = 8;                    /* results are short */
    compare(&rig.setup, true);
}

RZ_TEST(spec, the_same_tokens_where_pages_are_short)
{
    static const uint32_t pools[] = {16, 24, 40};
    for (uint32_t p = 0; p < 3; p++) {
        struct rig rig;
        rig_setup(&rig);
        rig.setup.limits.n_pages = pools[p];
        rig.setup.limits.max_wanted = 32;
        rz_check(compare(&rig.setup, false).preempted > 0);
    }
}

RZ_TEST(spec, the_same_tokens_with_windows)
{
    static const uint32_t windows[] = {5, 9, 16};
    for (uint32_t w = 0; w < 3; w++) {
        static struct rig_ticket t[4];
        struct rig rig;
        struct rz_spec_pool pool = lookup_pool(6);
        rig_setup(&rig);
        rig.setup.limits.max_wanted = 32;
        rig.setup.kv_windows[1] = windows[w];
        open_with(&rig, &pool);
        for (uint32_t i = 0; i < 4; i++) {
            rig_make(&t[i], 40 + i, 3, 0);
            t[i].prompt[2] = t[i].prompt[0]; /* something to look up, mostly wrong */
            for (uint32_t p = 3; p < 40; p++)
                t[i].prompt[p] = t[i].prompt[p % 3];
            t[i].request.n_prompt = 40;
            t[i].request.flags = RZ_REQUEST_IGNORE_EOS;
            rig_submit(&rig, &t[i]);
        }
        rig_finish(&rig, t, 4);
        for (uint32_t i = 0; i < 4; i++)
            rig_check(&rig, &t[i].request, &t[i].out);
        rz_check(rig_stats(&rig).drafted > 0);
        rig_close(&rig);
    }
}

RZ_TEST(spec, right_guesses_save_steps_and_are_counted)
{
    static struct rig_ticket t;
    struct rig rig;
    struct rz_spec_pool pool = lookup_pool(8);
    rig_setup(&rig);
    rig.setup.limits.max_wanted = 32;
    open_with(&rig, &pool);
    rig.fake.period = 4;
    rig.fake.never_end = 1;
    rig_make(&t, 3, 20, 100);
    for (uint32_t i = 4; i < 20; i++)
        t.prompt[i] = t.prompt[i % 4];
    rig_run(&rig, &t.request, &t.out);
    rig_check(&rig, &t.request, &t.out);
    struct rz_engine_stats s = rig_stats(&rig);
    rz_check(s.steps < 60);
    rz_check_eq(t.out.last.n_drafted, s.drafted);
    rz_check_eq(t.out.last.n_accepted, s.accepted);
    /* Each step gives one token of its own, and those that were guessed. */
    rz_check_eq(s.accepted + s.steps, 100);
    rz_check_eq(rig.fake.n_rows, 20 + (s.steps - 1) + s.drafted);
    t.request.speculate = RZ_SPECULATE_OFF;
    memset(&t.out, 0, sizeof(t.out));
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.n_drafted, 0);
    rz_check_eq(rig_stats(&rig).steps, s.steps + 100);
    rig_close(&rig);
}

RZ_TEST(spec, log_probabilities_belong_to_their_own_rows)
{
    static struct rz_event events[2][60];
    for (uint32_t k = 0; k < 2; k++) {
        static struct rig_ticket t;
        struct rz_err err = RZ_ERR_INIT;
        struct rig rig;
        struct rz_spec_pool pool = lookup_pool(k ? 6 : 0);
        rig_setup(&rig);
        rig.setup.limits.max_wanted = 32;
        open_with(&rig, &pool);
        rig.fake.period = 3;
        rig.fake.never_end = 1;
        rig_make(&t, 8, 9, 60);
        t.request.n_logprobs = 4;
        t.request.sampling.presence_penalty = 0.1f;
        rz_check_ok(rig.engine->submit(rig.engine->ctx, &t.request, &t.id, &err), &err);
        for (uint32_t i = 0; i < 60; i++) {
            events[k][i].size = sizeof(struct rz_event);
            rz_check_eq(rig.engine->poll(rig.engine->ctx, t.id, &events[k][i], 1000), RZ_OK);
        }
        rz_check(!k || rig_stats(&rig).accepted > 5);
        rig.engine->release(rig.engine->ctx, t.id);
        rig_close(&rig);
    }
    rz_check_memeq(events[0], events[1], sizeof(events[0]));
}

/* --- ends, amid guesses --- */

/* A request whose text repeats itself for sure. */
static void make_steady(struct rig_ticket *t, uint32_t max_new)
{
    rig_make(t, 6, 24, max_new);
    for (uint32_t i = 6; i < 24; i++)
        t->prompt[i] = t->prompt[i % 6];
}

static void open_steady(struct rig *rig, uint32_t max_guesses)
{
    struct rz_spec_pool pool = lookup_pool(max_guesses);
    rig_setup(rig);
    rig->setup.limits.max_wanted = 32;
    open_with(rig, &pool);
    rig->fake.period = 6;
    rig->fake.never_end = 1;
}

RZ_TEST(spec, lengths_end_tokens_and_stop_strings_end_inside_of_a_step)
{
    static struct rig_ticket t;
    static struct rig_output whole;
    char stop[16];
    struct rig rig;
    open_steady(&rig, 10);
    for (uint32_t n = 1; n < 40; n++) {
        make_steady(&t, n);
        rig_run(&rig, &t.request, &t.out);
        rig_check(&rig, &t.request, &t.out);
    }
    make_steady(&t, 0); /* to the end of the context */
    rig_run(&rig, &t.request, &t.out);
    rig_check(&rig, &t.request, &t.out);
    whole = t.out;
    for (uint32_t i = 2; i < 40; i += 3) {
        struct rz_str text = {stop, (uint64_t)snprintf(stop, sizeof(stop), "<%d>", whole.tokens[i])};
        make_steady(&t, 0);
        t.request.stops = &text;
        t.request.n_stops = 1;
        rig_run(&rig, &t.request, &t.out);
        uint32_t first = 0;
        while (whole.tokens[first] != whole.tokens[i])
            first++;
        rz_check_eq(t.out.last.finish, RZ_FINISH_STOP);
        rz_check_eq(t.out.n, first + 1);
    }
    rig.fake.never_end = 0;
    make_steady(&t, 0);
    t.prompt[3] = t.prompt[9] = t.prompt[15] = t.prompt[21] = FAKE_END; /* guessed, and right */
    rig_run(&rig, &t.request, &t.out);
    rig_check(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.finish, RZ_FINISH_STOP);
    rz_check(t.out.last.n_accepted > 0);
    rig_close(&rig);
}

RZ_TEST(spec, cancel_and_release_give_all_pages_back)
{
    static struct rig_ticket t[4];
    struct rig rig;
    open_steady(&rig, 10);
    for (uint32_t after = 1; after < 8; after++) {
        for (uint32_t i = 0; i < 4; i++) {
            make_steady(&t[i], 0);
            rig_submit(&rig, &t[i]);
        }
        for (uint32_t k = 0; k < after; k++)
            rig.engine->step(rig.engine->ctx, NULL);
        rz_check(rig_stats(&rig).pages_free < rig_stats(&rig).pages_total);
        rz_check_eq(rig.engine->cancel(rig.engine->ctx, t[0].id), RZ_OK);
        rig.engine->release(rig.engine->ctx, t[1].id);
        rig_finish(&rig, t, 1);
        rz_check_eq(t[0].out.last.finish, RZ_FINISH_CANCELLED);
        rig_finish(&rig, t + 2, 2);
        rig_check(&rig, &t[3].request, &t[3].out);
        rz_check_eq(rig_stats(&rig).pages_free, rig_stats(&rig).pages_total);
    }
    rig_close(&rig);
}

RZ_TEST(spec, a_reader_that_takes_one_event_at_a_time_gets_them_all)
{
    static struct rig_ticket t;
    struct rig rig;
    open_steady(&rig, 31);
    make_steady(&t, 90);
    rig_submit(&rig, &t);
    while (!t.done) { /* the ring is full most of the time */
        for (uint32_t k = 0; k < 6; k++)
            rig.engine->step(rig.engine->ctx, NULL);
        rig_poll(&rig, &t);
    }
    rig_finish(&rig, &t, 1);
    rig_check(&rig, &t.request, &t.out);
    rz_check(t.out.last.n_accepted > 0);
    rig_close(&rig);
}

RZ_TEST(spec, a_broken_row_fails_its_request_behind_the_good_tokens)
{
    static struct rig_ticket t;
    struct rig rig;
    open_steady(&rig, 10);
    rig.fake.fail_at = 4;
    make_steady(&t, 60);
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.kind, RZ_EVENT_ERROR);
    rig.fake.fail_at = 0;
    rig.fake.nan_at = rig.fake.n_executes + 4;
    memset(&t.out, 0, sizeof(t.out));
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.kind, RZ_EVENT_ERROR);
    rz_check(t.out.n >= 3);
    int32_t tokens[4096];
    uint32_t n;
    rig_expect(&rig, &t.request, tokens, &n);
    rz_check_memeq(t.out.tokens, tokens, t.out.n * sizeof(*tokens));
    rig_close(&rig);
}

RZ_TEST(spec, what_cannot_be_had_is_said)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    struct rz_spec_pool pool = lookup_pool(4);
    rig_setup(&rig);
    rig_open(&rig);
    rig_make(&t, 1, 4, 4);
    t.request.flags = RZ_REQUEST_IGNORE_EOS;
    t.request.speculate = RZ_SPECULATE_LOOKUP; /* nobody has opened it */
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t.request, &t.id, &err), RZ_EUNSUPPORTED);
    pool.mode = RZ_SPECULATE_DRAFT;
    rz_check_eq(rz_spec_open(rig.loop, &pool, &err), RZ_ECONFIG);
    pool.mode = RZ_SPECULATE_OFF;
    pool.max_guesses = RZ_GUESSES_MAX + 1;
    rz_check_eq(rz_spec_open(rig.loop, &pool, &err), RZ_EINVAL);
    pool.max_guesses = 4;
    rz_check_ok(rz_spec_open(rig.loop, &pool, &err), &err);
    t.request.speculate = RZ_SPECULATE_DRAFT;
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t.request, &t.id, &err), RZ_EUNSUPPORTED);
    t.request.speculate = RZ_SPECULATE_DRAFT + 1;
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t.request, &t.id, &err), RZ_EINVAL);
    t.request.speculate = RZ_SPECULATE_LOOKUP; /* off unless asked for */
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 4);
    rig_close(&rig);
    rig_setup(&rig);
    rig.setup.limits.n_slots = 8;
    rig_open(&rig);
    rz_check_eq(rz_spec_open(rig.loop, &pool, &err), RZ_EUNSUPPORTED);
    rz_check(strstr(err.message, "recurrent"));
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t.request, &t.id, &err), RZ_EUNSUPPORTED);
    rz_check(strstr(err.message, "recurrent"));
    rig_close(&rig);
}

/* --- the distribution --- */

/* Probabilities of the token behind a text. */
static void truth(const struct rig *rig, const int32_t *tokens, uint32_t n, double *p)
{
    float x[FAKE_VOCAB];
    double sum = 0;
    fake_logits(&rig->fake, tokens, n, x);
    for (uint32_t v = 0; v < FAKE_VOCAB; v++)
        sum += p[v] = exp(x[v]);
    for (uint32_t v = 0; v < FAKE_VOCAB; v++)
        p[v] /= sum;
}

RZ_TEST(spec, the_second_token_has_the_distribution_that_the_model_gives_it)
{
    enum {
        RUNS = 6000
    };
    static struct rig_ticket t;
    double p1[FAKE_VOCAB], p2[FAKE_VOCAB], both[FAKE_VOCAB] = {0}, seen[FAKE_VOCAB] = {0}, chi = 0;
    uint32_t cells = 0, guessed = 0;
    struct rig rig;
    open_steady(&rig, 4);
    make_steady(&t, 3);
    t.request.flags = RZ_REQUEST_IGNORE_EOS;
    t.request.sampling.temperature = 1;
    do { /* a text that likely goes on as it was */
        t.prompt[1]++;
        for (uint32_t i = 6; i < 24; i++)
            t.prompt[i] = t.prompt[i % 6];
        truth(&rig, t.prompt, 24, p1);
    } while (p1[t.prompt[0]] < 0.3);
    for (int32_t a = 0; a < FAKE_VOCAB; a++) {
        t.prompt[24] = a;
        truth(&rig, t.prompt, 25, p2);
        for (uint32_t v = 0; v < FAKE_VOCAB; v++)
            both[v] += p1[a] * p2[v];
    }
    for (uint32_t i = 0; i < RUNS; i++) {
        t.request.sampling.seed = i;
        rig_run(&rig, &t.request, &t.out);
        guessed += t.out.last.n_drafted != 0;
        seen[t.out.tokens[1]]++;
    }
    rz_check(guessed > RUNS / 4); /* where the first token went on with the repetition */
    for (uint32_t v = 0; v < FAKE_VOCAB; v++) {
        double e = both[v] * RUNS;
        chi += e > 5 ? (seen[v] - e) * (seen[v] - e) / e : 0;
        cells += e > 5;
    }
    /* Mean cells - 1, deviation sqrt(2 cells): six of them are never seen. */
    rz_check(cells > 40);
    rz_check(chi < cells + 6 * sqrt(2.0 * cells));
    rig_close(&rig);
}

/* test_engine.c - the engine as frontends see it, over a fake device whose logits depend on every page. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"
#include "sample.h"

#include <stdlib.h>

RZ_TEST(engine, one_greedy_request_gives_the_true_tokens)
{
    static struct rig_output out;
    int32_t prompt[50];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    for (uint32_t n = 1; n <= 50; n++) {
        rig_prompt(n, prompt, n);
        struct rz_request q = rig_request(prompt, n);
        q.max_new = n % 3 ? 20 : 0;
        rig_run(&rig, &q, &out);
        rig_check(&rig, &q, &out);
    }
    rig_close(&rig);
}

/* --- several requests --- */

RZ_TEST(engine, company_changes_nothing)
{
    static struct rig_ticket tickets[16];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    for (uint32_t i = 0; i < 16; i++) {
        rig_make(&tickets[i], 100 + i, 1 + i * 5, 10 + i * 2);
        rig_submit(&rig, &tickets[i]);
        for (uint32_t k = 0; k < i % 3; k++)
            rig.engine->step(rig.engine->ctx, NULL);
    }
    rig_finish(&rig, tickets, 16);
    for (uint32_t i = 0; i < 16; i++)
        rig_check(&rig, &tickets[i].request, &tickets[i].out);
    rz_check(rig.fake.n_mixed > 0); /* prompts and decoding did share steps */
    rz_check(rig.fake.most_seqs > 4);
    rig_close(&rig);
}

RZ_TEST(engine, company_does_not_change_what_is_drawn)
{
    static struct rig_ticket tickets[8];
    static struct rig_output alone[8];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    for (uint32_t i = 0; i < 8; i++) {
        rig_make(&tickets[i], 200 + i, 3 + i, 40);
        tickets[i].request.sampling.temperature = 1.5f;
        tickets[i].request.sampling.top_k = 20;
        tickets[i].request.sampling.repeat_penalty = 1.2f;
        tickets[i].request.sampling.seed = i / 2;
        rig_run(&rig, &tickets[i].request, &alone[i]);
    }
    for (uint32_t i = 0; i < 8; i++)
        rig_submit(&rig, &tickets[i]);
    rig_finish(&rig, tickets, 8);
    for (uint32_t i = 0; i < 8; i++) {
        rz_check_eq(tickets[i].out.n, alone[i].n);
        rz_check_memeq(tickets[i].out.tokens, alone[i].tokens, alone[i].n * sizeof(int32_t));
    }
    rig_close(&rig);
}

RZ_TEST(engine, each_token_is_the_next_draw_of_the_seed)
{
    static struct rig_ticket t;
    struct rz_sample_scratch scratch;
    struct rz_err err = RZ_ERR_INIT;
    float logits[FAKE_VOCAB];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig_make(&t, 9, 5, 60);
    t.request.sampling.temperature = 1;
    t.request.sampling.seed = 12;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 60);
    rz_check_ok(rz_sample_scratch_init(&scratch, FAKE_VOCAB, &err), &err);
    for (uint32_t i = 0; i < 60; i++) {
        struct rz_sample sample;
        fake_logits(&rig.fake, t.prompt, 5 + i, logits);
        struct rz_sample_job job = {.sampling = &t.request.sampling, .logits = logits, .draw = i};
        rz_check_ok(rz_sample_run(&scratch, &job, &sample, &err), &err);
        rz_check_eq(t.out.tokens[i], sample.token);
        t.prompt[5 + i] = sample.token;
    }
    rz_sample_scratch_deinit(&scratch);
    rig_close(&rig);
}

static void tiny_pools(uint32_t n_slots)
{
    static struct rig_ticket tickets[12];
    static const uint32_t pools[] = {3, 4, 7, 15};
    for (uint32_t p = 0; p < 4; p++) {
        struct rig rig;
        rig_setup(&rig);
        rig.setup.limits.n_pages = pools[p];
        rig.setup.limits.n_slots = n_slots;
        rig.setup.limits.max_rows = rig.setup.max_batch_tokens = p ? 8 : 3;
        rig_open(&rig);
        for (uint32_t i = 0; i < 12; i++) {
            rig_make(&tickets[i], 300 + i, 1 + i % 6, i % 4 ? 5 + i : 0);
            rig_submit(&rig, &tickets[i]);
        }
        rig_finish(&rig, tickets, 12);
        for (uint32_t i = 0; i < 12; i++)
            rig_check(&rig, &tickets[i].request, &tickets[i].out);
        rz_check(rig_stats(&rig).preempted > 0);
        rz_check(rig.fake.most_rows <= rig.setup.max_batch_tokens);
        rig_close(&rig);
    }
}

RZ_TEST(engine, tiny_pools_preempt_and_still_give_the_true_tokens)
{
    tiny_pools(0);
    tiny_pools(8); /* with recurrent state beside the pages */
}

RZ_TEST(engine, preemption_draws_the_same_tokens_too)
{
    static struct rig_ticket tickets[6];
    static struct rig_output roomy[6];
    for (uint32_t tight = 0; tight < 2; tight++) {
        struct rig rig;
        rig_setup(&rig);
        if (tight)
            rig.setup.limits.n_pages = 16;
        rig_open(&rig);
        for (uint32_t i = 0; i < 6; i++) {
            rig_make(&tickets[i], 400 + i, 6, 50);
            tickets[i].request.flags = RZ_REQUEST_IGNORE_EOS;
            tickets[i].request.sampling.temperature = 1;
            tickets[i].request.sampling.typical_p = 0.9f;
            tickets[i].request.sampling.frequency_penalty = 0.3f;
            tickets[i].request.sampling.seed = 7;
            rig_submit(&rig, &tickets[i]);
        }
        rig_finish(&rig, tickets, 6);
        rz_check_eq(rig_stats(&rig).preempted > 0, tight);
        for (uint32_t i = 0; i < 6; i++) {
            rz_check_eq(tickets[i].out.n, 50);
            if (!tight)
                roomy[i] = tickets[i].out;
            rz_check_memeq(tickets[i].out.tokens, roomy[i].tokens, 50 * sizeof(int32_t));
        }
        rig_close(&rig);
    }
}

/* --- ends --- */

RZ_TEST(engine, a_full_context_ends_with_length)
{
    static struct rig_ticket t;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig_make(&t, 1, 10, 0);
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.finish, RZ_FINISH_LENGTH);
    rz_check_eq(t.out.n, 118);
    rig_make(&t, 1, 10, 500);
    t.request.max_context = 25;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 15);
    rig_make(&t, 1, 25, 0); /* a prompt as long as the context leaves room for nothing */
    t.request.max_context = 25;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 0);
    rz_check_eq(t.out.last.finish, RZ_FINISH_LENGTH);
    rig_make(&t, 1, 10, 7);
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 7);
    rz_check_eq(t.out.last.n_new, 7);
    rig_close(&rig);
}

RZ_TEST(engine, an_end_token_stops_unless_it_is_ignored)
{
    static struct rig_ticket t;
    struct rz_bias bias = {FAKE_END, 100};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig_make(&t, 3, 5, 9);
    t.request.biases = &bias;
    t.request.n_biases = 1;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 0);
    rz_check_eq(t.out.last.finish, RZ_FINISH_STOP);
    rz_check_streq(t.out.text, "");
    t.request.flags = RZ_REQUEST_IGNORE_EOS;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 9);
    rz_check_eq(t.out.tokens[8], FAKE_END);
    rz_check_eq(t.out.last.finish, RZ_FINISH_LENGTH);
    rig_close(&rig);
}

RZ_TEST(engine, what_cannot_fit_is_refused_with_both_numbers)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    uint64_t ticket;
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 20;
    rig_open(&rig);
    const struct rz_engine *e = rig.engine;
    rig_make(&t, 1, 40, 0);
    t.request.max_context = 39;
    rz_check_eq(e->submit(e->ctx, &t.request, &ticket, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "40 tokens do not fit a context of 39");
    rig_make(&t, 1, 128, 0);
    rz_check_eq(e->submit(e->ctx, &t.request, &ticket, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "128 tokens do not fit a KV cache of 80");
    t.request.n_prompt = 129;
    rz_check_eq(e->submit(e->ctx, &t.request, &ticket, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "129 tokens do not fit a context of 128");
    rig_make(&t, 1, 80, 0); /* the whole pool for a prompt */
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 0);
    rig_make(&t, 1, 79, 0);
    rig.fake.never_end = 1;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 1);
    rig_close(&rig);
}

RZ_TEST(engine, impossible_requests_are_refused_and_leave_nothing_behind)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_bias bias = {FAKE_VOCAB, 1};
    struct rz_str stop = {"", 0};
    uint64_t ticket = 5;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    const struct rz_engine *e = rig.engine;
    for (uint32_t i = 0; i < 9; i++) {
        rig_make(&t, 1, 10, 0);
        struct rz_request *q = &t.request;
        const char *where = "";
        if (i == 0)
            q->n_prompt = 0, where = "prompt";
        if (i == 1)
            t.prompt[3] = FAKE_VOCAB, where = "prompt";
        if (i == 2)
            t.prompt[3] = -1, where = "prompt";
        if (i == 3)
            q->sampling.top_p = NAN, where = "top_p";
        if (i == 4)
            q->biases = &bias, q->n_biases = 1, where = "bias";
        if (i == 5)
            q->stops = &stop, q->n_stops = 1, where = "stop";
        if (i == 6)
            q->n_logprobs = 21, where = "logprobs";
        if (i == 7)
            q->size = 100, where = "request";
        if (i == 8)
            bias = (struct rz_bias){1, NAN}, q->biases = &bias, q->n_biases = 1, where = "bias";
        rz_check_eq(e->submit(e->ctx, q, &ticket, &err), RZ_EINVAL);
        rz_check_streq(err.where, where);
        rz_check_eq(ticket, 0);
    }
    rz_check_eq(rig_stats(&rig).requests, 0);
    rig_close(&rig);
}

/* --- errors --- */

RZ_TEST(engine, a_failing_step_fails_its_requests_only)
{
    static struct rig_ticket tickets[4];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_seqs = 2;
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig.fake.fail_at = 6;
    for (uint32_t i = 0; i < 4; i++) {
        rig_make(&tickets[i], i, 9, 20);
        rig_submit(&rig, &tickets[i]);
    }
    rig_finish(&rig, tickets, 4);
    for (uint32_t i = 0; i < 2; i++) {
        rz_check_eq(tickets[i].out.last.kind, RZ_EVENT_ERROR);
        rz_check_eq(tickets[i].out.last.code, RZ_EDEVICE);
        rz_check_eq(tickets[i].out.last.finish, RZ_FINISH_ERROR);
        rz_check_streq(tickets[i].out.last.text, "fake: step 6 failed: step 6 was told to fail");
        rz_check_eq(tickets[i].out.n, 5);
        rig_check(&rig, &tickets[i + 2].request, &tickets[i + 2].out);
    }
    rz_check_eq(rig_stats(&rig).failed, 2);
    rig_close(&rig);
}

RZ_TEST(engine, broken_logits_fail_one_request)
{
    static struct rig_ticket tickets[3];
    uint32_t failed = 0;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig.fake.nan_at = 4;
    for (uint32_t i = 0; i < 3; i++) {
        rig_make(&tickets[i], i, 9, 20);
        rig_submit(&rig, &tickets[i]);
    }
    rig_finish(&rig, tickets, 3);
    for (uint32_t i = 0; i < 3; i++) {
        if (tickets[i].out.last.kind == RZ_EVENT_ERROR) {
            rz_check_has(tickets[i].out.last.text, "token 32 is not a number");
            failed++;
        } else {
            rig_check(&rig, &tickets[i].request, &tickets[i].out);
        }
    }
    rz_check_eq(failed, 1);
    rig_close(&rig);
}

static int32_t check_file(void *ctx, struct rz_err *err)
{
    int *steps = ctx;
    return --*steps == 0 ? rz_fail(err, RZ_EIO, "model.gguf", "the file was cut") : RZ_OK;
}

RZ_TEST(engine, a_failed_check_fails_everything_that_is_there)
{
    static struct rig_ticket tickets[4];
    int steps = 3;
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_seqs = 2;
    rig.setup.check = check_file;
    rig.setup.check_ctx = &steps;
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t i = 0; i < 4; i++) {
        rig_make(&tickets[i], i, 9, 20);
        rig_submit(&rig, &tickets[i]);
    }
    rig_finish(&rig, tickets, 4);
    for (uint32_t i = 0; i < 4; i++) {
        rz_check_eq(tickets[i].out.last.code, RZ_EIO);
        rz_check_streq(tickets[i].out.last.text, "model.gguf: the file was cut");
    }
    rz_check_eq(rig.fake.n_executes, 2);
    rig_close(&rig);
}

/* --- text --- */

/* A prompt whose fourth and fifth token are new in its text. */
static void find_text(struct rig *rig, struct rig_ticket *t)
{
    for (uint32_t seed = 0;; seed++) {
        rig_make(t, seed, 5, 12);
        rig_run(rig, &t->request, &t->out);
        const int32_t *x = t->out.tokens;
        bool fresh = x[3] != x[4];
        for (uint32_t i = 0; i < 3; i++)
            fresh = fresh && x[i] != x[3] && x[i] != x[4];
        if (fresh)
            return;
    }
}

RZ_TEST(engine, stop_strings_end_a_text_wherever_they_are_cut)
{
    static struct rz_str pieces[FAKE_VOCAB];
    static const char word[] = "STOP";
    static struct rig_ticket t;
    struct rz_str stop = {word, 4};
    struct rig rig;
    rig_setup(&rig);
    rig.tokenizer.pieces = pieces;
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t cut = 0; cut <= 4; cut++) { /* the stop string in pieces [0, cut) and [cut, 4) */
        for (uint32_t i = 0; i < FAKE_VOCAB; i++)
            pieces[i] = (struct rz_str){"ab", 2};
        find_text(&rig, &t);
        t.request.stops = &stop;
        t.request.n_stops = 1;
        rig_run(&rig, &t.request, &t.out);
        rz_check_eq(t.out.last.finish, RZ_FINISH_LENGTH);
        rz_check_streq(t.out.text, "abababababababababababab");
        pieces[t.out.tokens[3]] = (struct rz_str){word, cut};
        pieces[t.out.tokens[4]] = (struct rz_str){word + cut, 4 - cut};
        rig_run(&rig, &t.request, &t.out);
        rz_check_eq(t.out.last.finish, RZ_FINISH_STOP);
        rz_check_eq(t.out.n, cut == 4 ? 4 : 5);
        rz_check_streq(t.out.text, "ababab");
    }
    rig_close(&rig);
}

RZ_TEST(engine, what_was_held_back_comes_with_the_end)
{
    static struct rz_str pieces[FAKE_VOCAB];
    static struct rig_ticket t;
    struct rz_str stop = {"abX", 3};
    struct rig rig;
    rig_setup(&rig);
    rig.tokenizer.pieces = pieces;
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig_make(&t, 1, 5, 3);
    t.request.stops = &stop;
    t.request.n_stops = 1;
    for (uint32_t i = 0; i < FAKE_VOCAB; i++)
        pieces[i] = (struct rz_str){"ab", 2};
    rig_run(&rig, &t.request, &t.out);
    rz_check_streq(t.out.text, "ababab");
    rz_check_eq(t.out.last.n_text, 2);
    for (uint32_t i = 0; i < FAKE_VOCAB; i++)
        pieces[i] = (struct rz_str){"\xe2\x82", 2}; /* never complete */
    rig_run(&rig, &t.request, &t.out);
    rz_check_streq(t.out.text, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    rz_check_eq(t.out.last.n_text, 3);
    rig_close(&rig);
}

RZ_TEST(engine, long_pieces_come_in_several_events_and_too_long_ones_are_an_error)
{
    static struct rz_str pieces[FAKE_VOCAB];
    static char piece[5000];
    static struct rig_ticket t;
    struct rz_event event = {.size = sizeof(event)};
    uint32_t continued = 0;
    struct rig rig;
    memset(piece, 'x', sizeof(piece));
    for (uint32_t i = 0; i < FAKE_VOCAB; i++)
        pieces[i] = (struct rz_str){piece, 4096};
    rig_setup(&rig);
    rig.tokenizer.pieces = pieces;
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig_make(&t, 7, 5, 15);
    rig_submit(&rig, &t);
    while (rig.engine->poll(rig.engine->ctx, t.id, &event, 0) == RZ_OK) {
        continued += event.kind == RZ_EVENT_TOKEN && event.token == -1;
        rz_check(event.n_text <= 1024);
        rig_collect(&t.out, &event);
    }
    rz_check_eq(t.out.n, 15);
    rz_check_eq(t.out.n_text, 15 * 4096);
    rz_check_eq(continued, 15 * 3 - 1); /* the last part comes with the end */
    rig.engine->release(rig.engine->ctx, t.id);
    for (uint32_t i = 0; i < FAKE_VOCAB; i++)
        pieces[i].len = 5000;
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.last.kind, RZ_EVENT_ERROR);
    rz_check_has(t.out.last.text, "5000 bytes of text: at most 4096");
    rig_close(&rig);
}

RZ_TEST(engine, log_probabilities_come_with_each_token)
{
    static struct rig_ticket t;
    struct rz_event event = {.size = sizeof(event)};
    uint32_t n = 0;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig_make(&t, 7, 5, 10);
    t.request.n_logprobs = 5;
    rig_submit(&rig, &t);
    while (rig.engine->poll(rig.engine->ctx, t.id, &event, 0) == RZ_OK) {
        if (event.kind != RZ_EVENT_TOKEN)
            continue;
        n++;
        rz_check_eq(event.n_top, 5);
        rz_check_eq(event.top[0].token, event.token); /* greedy */
        rz_check(event.top[0].logprob == event.logprob && event.logprob < 0);
        for (uint32_t i = 1; i < 5; i++)
            rz_check(event.top[i].logprob <= event.top[i - 1].logprob);
    }
    rz_check(n > 0);
    rig.engine->release(rig.engine->ctx, t.id);
    rig_close(&rig);
}

RZ_TEST(engine, an_engine_without_a_tokenizer_gives_tokens)
{
    static struct rig_ticket t;
    struct rz_loop *loop;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.setup.tokenizer = NULL;
    rz_check_ok(rz_loop_new(&rig.setup, &loop, &err), &err);
    const struct rz_engine *keep = rig.engine;
    rig.engine = rz_loop_table(loop);
    rig_make(&t, 7, 5, 10);
    rig_run(&rig, &t.request, &t.out);
    rz_check_eq(t.out.n, 10);
    rz_check_eq(t.out.n_text, 0);
    rz_loop_free(loop);
    rig.engine = keep;
    rig_close(&rig);
}

/* --- memory --- */

/* Where no sanitizer has taken malloc over, calls are counted. */
#if !defined(RZ_DEBUG) && !defined(RZ_TSAN) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS_MALLOC 1
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
static uint32_t n_allocations;

void *malloc(size_t n)
{
    n_allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each)
{
    n_allocations++;
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n)
{
    n_allocations++;
    return __libc_realloc(p, n);
}
#else
#define COUNTS_MALLOC 0
static uint32_t n_allocations;
#endif

RZ_TEST(engine, a_step_allocates_nothing)
{
    static struct rig_ticket tickets[8];
    struct rz_event event = {.size = sizeof(event)};
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 40;
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t i = 0; i < 8; i++) {
        rig_make(&tickets[i], i, 9, 60);
        tickets[i].request.n_logprobs = 5;
        tickets[i].request.sampling.temperature = i % 2 ? 1 : 0;
        tickets[i].request.sampling.typical_p = i % 3 ? 1 : 0.5f;
        tickets[i].request.sampling.top_p = 0.9f;
        tickets[i].request.sampling.repeat_penalty = 1.1f;
        rig_submit(&rig, &tickets[i]);
    }
    uint32_t before = n_allocations;
    rz_check(!COUNTS_MALLOC || before > 0);
    for (uint32_t left = 8; left;) { /* preemption, recompute, events, ends: all of it */
        left = 0;
        for (uint32_t i = 0; i < 8; i++)
            left += rig.engine->poll(rig.engine->ctx, tickets[i].id, &event, 0) != RZ_END;
    }
    rz_check_eq(n_allocations, before);
    rz_check(rig_stats(&rig).preempted > 0);
    rig_close(&rig);
}

/* --- deadlines --- */

static uint32_t first_of[3], n_first;

/* Which ticket spoke first, second, third. */
static void note_first(void *arg)
{
    uint32_t i = (uint32_t)(uintptr_t)arg;
    for (uint32_t k = 0; k < n_first; k++)
        if (first_of[k] == i)
            return;
    first_of[n_first++] = i;
}

/* Who has to be done soon is served before who came earlier. */
RZ_TEST(engine, the_oldest_deadline_goes_first)
{
    static struct rig_ticket t[3];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_seqs = 1;
    rig_open(&rig);
    for (uint32_t i = 0; i < 3; i++) {
        rig_make(&t[i], i, 20, 5);
        t[i].request.timeout_ms = i == 0 ? 0 : i == 1 ? 3600000 : 8000;
        t[i].request.wake = note_first;
        t[i].request.wake_arg = (void *)(uintptr_t)i;
        rig_submit(&rig, &t[i]);
    }
    rig_finish(&rig, t, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_check(&rig, &t[i].request, &t[i].out);
    rz_check_eq(n_first, 3);
    rz_check_eq(first_of[0], 2);
    rz_check_eq(first_of[1], 0);
    rz_check_eq(first_of[2], 1);
    rig_close(&rig);
}

/* --- random life --- */

static void random_life(uint32_t n_groups, uint32_t n_slots)
{
    enum {
        N = 12,
        TOTAL = 1000
    };
    static struct rig_ticket tickets[N];
    bool used[N] = {false}, cancelled[N] = {false};
    uint32_t begun = 0, checked = 0, seed = 4711;
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 40;
    rig.setup.limits.n_slots = n_slots;
    rig.setup.n_kv_groups = n_groups;
    rig.setup.max_batch_tokens = 20;
    rig_open(&rig);
    const struct rz_engine *e = rig.engine;
    while (begun < TOTAL || used[0] || rig_stats(&rig).running) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t i = begun < TOTAL ? (seed >> 8) % N : 0, what = (seed >> 16) % 64;
        struct rig_ticket *t = &tickets[i];
        if (begun == TOTAL)
            while (i < N - 1 && !used[i])
                t = &tickets[++i];
        if (!used[i] && begun < TOTAL) {
            rig_make(t, seed, 1 + (seed >> 10) % 60, (seed >> 22) % 40);
            t->request.sampling.seed = seed;
            rig_submit(&rig, t);
            used[i] = true;
            cancelled[i] = false;
            begun++;
        } else if (used[i] && what == 0) {
            e->release(e->ctx, t->id);
            used[i] = false;
        } else if (used[i] && what == 1) {
            rz_check_eq(e->cancel(e->ctx, t->id), RZ_OK);
            cancelled[i] = true;
        } else if (used[i]) {
            rig_poll(&rig, t);
        } else {
            e->step(e->ctx, NULL);
        }
        if (used[i] && t->done) {
            if (!cancelled[i] || t->out.last.finish != RZ_FINISH_CANCELLED)
                rig_check(&rig, &t->request, &t->out), checked++;
            e->release(e->ctx, t->id);
            used[i] = false;
        }
    }
    for (uint32_t i = 0; i < N; i++)
        if (used[i])
            e->release(e->ctx, tickets[i].id);
    rz_check_eq(rig_stats(&rig).requests, TOTAL);
    rz_check(checked > 300);
    /* Without pages only a place is ever short, and only who has a slow reader gives that up. */
    rz_check(n_groups ? rig_stats(&rig).preempted > 10 : rig_stats(&rig).preempted < 5);
    rig_close(&rig); /* checks that all pages are free */
}

RZ_TEST(engine, a_thousand_random_requests_with_cancels_and_releases)
{
    random_life(2, 0);
}

RZ_TEST(engine, the_same_with_recurrent_state_alone_and_beside_pages)
{
    random_life(0, 8);
    random_life(1, 5);
}

/* test_eval.c - evaluation and speed runs (core/engine/eval.c) over the fake device. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <stdlib.h>

struct rows {
    uint64_t n, width;
    float values[256 * FAKE_VOCAB];
};

static int32_t keep_row(void *arg, uint64_t index, const float *values, uint64_t n)
{
    struct rows *rows = arg;
    if (index != rows->n)
        return RZ_EINTERNAL;
    rows->n++;
    rows->width = n;
    memcpy(rows->values + index * n, values, n * sizeof(*values));
    return 0;
}

/* Every chunk, company and fork, over a device with these KV groups and state slots. */
static void check_rows(uint32_t n_groups, uint32_t n_slots)
{
    static struct rows rows;
    static const uint32_t chunks[] = {0, 1, 3, 7, 8, 100}, forks[] = {0, 1, 8, 21, 59};
    int32_t tokens[60];
    float truth[FAKE_VOCAB];
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig.setup.n_kv_groups = n_groups;
    rig.setup.limits.n_slots = n_slots;
    rig_open(&rig);
    rig_prompt(5, tokens, 60);
    for (uint32_t i = 0; i < 6 * 5 * 5; i++) {
        struct rz_eval eval = {.size = sizeof(eval),
                               .tokens = tokens,
                               .n_tokens = 60,
                               .chunk = chunks[i / 25],
                               .beside = i / 5 % 5,
                               .fork = forks[i % 5],
                               .row = keep_row,
                               .arg = &rows};
        rows.n = 0;
        rz_check_ok(rz_loop_eval(rig.loop, &eval, &err), &err);
        rz_check_eq(rows.n, 60);
        rz_check_eq(rows.width, FAKE_VOCAB);
        for (uint32_t p = 0; p < 60; p++) {
            fake_logits(&rig.fake, tokens, p + 1, truth);
            rz_check_memeq(rows.values + p * FAKE_VOCAB, truth, sizeof(truth));
        }
    }
    rig_close(&rig);
}

RZ_TEST(eval, rows_are_the_same_for_every_chunk_company_and_fork)
{
    check_rows(2, 0);
    check_rows(2, 8);
    check_rows(0, 8);
}

RZ_TEST(eval, hidden_states_and_last_rows)
{
    static struct rows rows;
    int32_t tokens[40];
    float truth[FAKE_EMBD];
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig_prompt(6, tokens, 40);
    for (uint32_t last = 0; last < 2; last++) {
        struct rz_eval eval = {.size = sizeof(eval),
                               .tokens = tokens,
                               .n_tokens = 40,
                               .beside = 2,
                               .hidden = 1,
                               .last = last,
                               .row = keep_row,
                               .arg = &rows};
        rows.n = 0;
        rz_check_ok(rz_loop_eval(rig.loop, &eval, &err), &err);
        rz_check_eq(rows.n, last ? 1 : 40);
        rz_check_eq(rows.width, FAKE_EMBD);
        fake_hidden(tokens, 40, truth);
        rz_check_memeq(rows.values + (rows.n - 1) * FAKE_EMBD, truth, sizeof(truth));
    }
    rig_close(&rig);
}

static int32_t refuse_row(void *arg, uint64_t index, const float *values, uint64_t n)
{
    (void)values, (void)n;
    ++*(uint32_t *)arg;
    return index == 3 ? RZ_EIO : 0;
}

RZ_TEST(eval, what_does_not_fit_or_fails_is_an_error_and_gives_pages_back)
{
    int32_t tokens[129];
    uint32_t seen = 0;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 32;
    rig_open(&rig);
    rig_prompt(6, tokens, 129);
    struct rz_eval eval = {.size = sizeof(eval), .tokens = tokens, .row = refuse_row, .arg = &seen};
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_EINVAL);
    eval.n_tokens = 129;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "129 do not fit a context of 128");
    eval.n_tokens = 128;
    eval.beside = 1;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "2 sequences of 128 tokens need 64 pages: 32 are there");
    eval.n_tokens = 4;
    eval.beside = 8;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "9 at once: at most 8 fit a step");
    eval.beside = UINT32_MAX;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_ELIMIT);
    eval.beside = 0;
    eval.n_tokens = 20;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_EIO); /* the receiver's own */
    rz_check_eq(seen, 4);
    rig.fake.fail_at = rig.fake.n_executes + 2;
    eval.row = keep_row;
    static struct rows rows;
    eval.arg = &rows;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_EDEVICE);
    tokens[7] = FAKE_VOCAB;
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_EINVAL);
    rz_check_has(err.message, "token 7 is 64");
    rig_close(&rig);
}

RZ_TEST(eval, evaluation_waits_for_no_request_and_requests_wait_for_it)
{
    static struct rig_ticket t;
    int32_t tokens[4] = {2, 3, 4, 5};
    uint32_t seen = 0;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    struct rz_eval eval = {
        .size = sizeof(eval), .tokens = tokens, .n_tokens = 3, .row = refuse_row, .arg = &seen};
    rig_make(&t, 1, 5, 5);
    rig_submit(&rig, &t);
    rz_check_eq(rz_loop_eval(rig.loop, &eval, &err), RZ_EBUSY);
    rz_check_streq(err.message, "1 requests are running");
    rig_finish(&rig, &t, 1);
    rz_check_ok(rz_loop_eval(rig.loop, &eval, &err), &err);
    rz_check_eq(seen, 3);
    rig_close(&rig);
}

RZ_TEST(speed, runs_what_it_says)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    struct rz_speed speed = {.size = sizeof(speed), .n_prompt = 50, .depth = 20, .n_seqs = 3};
    rz_check_ok(rz_loop_speed(rig.loop, &speed, &err), &err);
    rz_check_eq(rig.fake.n_rows, 3 * 70);
    rz_check_eq(rig.fake.n_executes, 2 + 5); /* 60 and 150 rows of 32 a step */
    rz_check(speed.seconds > 0 && speed.seconds < 5);
    rz_check_eq(speed.bytes_token, 4242);
    rig.fake.n_rows = rig.fake.n_executes = 0;
    speed = (struct rz_speed){.size = sizeof(speed), .n_gen = 30, .n_seqs = 4};
    rz_check_ok(rz_loop_speed(rig.loop, &speed, &err), &err);
    rz_check_eq(rig.fake.n_rows, 120);
    rz_check_eq(rig.fake.n_executes, 30);
    speed.n_seqs = 9;
    rz_check_eq(rz_loop_speed(rig.loop, &speed, &err), RZ_ELIMIT);
    speed.n_seqs = 1;
    speed.depth = 99;
    rz_check_eq(rz_loop_speed(rig.loop, &speed, &err), RZ_ELIMIT);
    rz_check_streq(err.message, "129 do not fit a context of 128");
    speed.n_gen = 0;
    rz_check_eq(rz_loop_speed(rig.loop, &speed, &err), RZ_EINVAL);
    rig_close(&rig);
}

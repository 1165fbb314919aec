/* test_sched.c - who runs in a step (core/engine/sched.c), with the fake device where pages must be right. */
#include "rz_test.h"

#include "err.h"
#include "fake_device.h"
#include "schedule.h"

#include <stdio.h>
#include <stdlib.h>

#define N_SEQS 16

struct bench {
    struct rz_plan_limits limits;
    struct rz_kv kv;
    struct rz_sched sched;
    struct rz_seq seqs[N_SEQS];
    int32_t tokens[N_SEQS][256];
};

/* Pages of 4 tokens, contexts of at most 256. */
static void bench_open_with(struct bench *b, uint32_t rows, uint32_t seqs, const struct rz_kv_sizes *sizes)
{
    struct rz_err err = RZ_ERR_INIT;
    *b = (struct bench){.limits = {.size = sizeof(b->limits),
                                   .max_rows = rows,
                                   .max_wanted = seqs,
                                   .max_seqs = seqs,
                                   .max_context = 256,
                                   .page_tokens = 4,
                                   .n_pages = sizes->n_pages,
                                   .n_slots = sizes->n_slots}};
    rz_check_ok(rz_kv_init(&b->kv, sizes, &err), &err);
    rz_check_ok(rz_sched_init(&b->sched, &b->kv, &b->limits, rows, N_SEQS, &err), &err);
    for (uint32_t i = 0; i < N_SEQS; i++) {
        rz_check(rz_kv_seq_init(&b->kv, &b->seqs[i].kv, 256));
        b->seqs[i].tokens = b->tokens[i];
        for (uint32_t t = 0; t < 256; t++)
            b->tokens[i][t] = (int32_t)((i * 31 + t * 7 + t * t) % FAKE_VOCAB);
    }
}

static void bench_open(struct bench *b, uint32_t rows, uint32_t seqs, uint32_t pages, uint32_t groups)
{
    bench_open_with(b, rows, seqs,
                    &(struct rz_kv_sizes){.n_groups = groups, .n_pages = pages, .page_tokens = 4});
}

static void bench_close(struct bench *b)
{
    for (uint32_t i = 0; i < N_SEQS; i++)
        rz_sched_remove(&b->sched, &b->seqs[i]);
    rz_check_eq(rz_kv_available(&b->kv), b->kv.n_pages);
    rz_check_eq(b->kv.n_free_slots, b->kv.n_slots);
    rz_check_eq(b->sched.n_running + b->sched.n_waiting, 0);
    for (uint32_t i = 0; i < N_SEQS; i++)
        rz_kv_seq_deinit(&b->kv, &b->seqs[i].kv);
    rz_sched_deinit(&b->sched);
    rz_kv_deinit(&b->kv);
}

static void add(struct bench *b, uint32_t i, uint32_t n_tokens)
{
    b->seqs[i].n_tokens = n_tokens;
    b->seqs[i].want = RZ_WANT_LOGITS;
    rz_check(rz_sched_add(&b->sched, &b->seqs[i]));
}

/* Builds a step and says it was executed; sequences whose last token was computed get another one. The
 * rows of each sequence are left in rows[]. */
static uint32_t step(struct bench *b, uint32_t *rows)
{
    const struct rz_batch *batch = rz_sched_build(&b->sched);
    for (uint32_t i = 0; i < N_SEQS; i++) {
        rows[i] = b->seqs[i].n_rows;
        rz_check(!rows[i] || !b->kv.n_groups || b->seqs[i].kv.n_pages * 4 >= b->seqs[i].n_done + rows[i]);
    }
    if (!batch)
        return 0;
    rz_sched_done(&b->sched);
    for (uint32_t i = 0; i < N_SEQS; i++)
        if (b->seqs[i].state == RZ_SEQ_RUNNING && b->seqs[i].n_done == b->seqs[i].n_tokens)
            b->seqs[i].n_tokens++;
    return batch->n_rows;
}

RZ_TEST(sched, decoding_comes_first_then_prompts_from_the_oldest)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 16, 8, 64, 1);
    add(&b, 0, 10);
    rz_check_eq(step(&b, rows), 10);
    add(&b, 1, 30);
    add(&b, 2, 9);
    rz_check_eq(step(&b, rows), 16);
    rz_check_eq(rows[0], 1);
    rz_check_eq(rows[1], 15);
    rz_check_eq(rows[2], 0);
    /* The decode row is the first of the batch, and only it wants a result. */
    rz_check_eq(b.sched.step.rows[0].pos[0], 10);
    rz_check_eq(b.sched.step.rows[0].want, RZ_WANT_LOGITS);
    rz_check_eq(b.sched.step.n_wanted, 1);
    rz_check_eq(b.sched.step.batch.n_seqs, 2);
    rz_check_eq(b.sched.step.seqs[1].length, 15);
    rz_check_eq(step(&b, rows), 16);
    rz_check_eq(rows[1], 15);
    rz_check_eq(b.seqs[1].result, 1);
    rz_check_eq(step(&b, rows), 11);
    rz_check_eq(rows[0] + rows[1], 2);
    rz_check_eq(rows[2], 9);
    rz_check_eq(b.seqs[2].result, 2);
    bench_close(&b);
}

RZ_TEST(sched, prompts_are_cut_smaller_where_somebody_decodes)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 16, 8, 64, 1);
    b.sched.chunk = 6;
    add(&b, 0, 30);
    rz_check_eq(step(&b, rows), 16); /* nobody waits for it */
    rz_check_eq(step(&b, rows), 14);
    add(&b, 1, 9);
    add(&b, 2, 9);
    rz_check_eq(step(&b, rows), 1 + 6);
    rz_check_eq(rows[1], 6);
    rz_check_eq(step(&b, rows), 1 + 6);
    rz_check_eq(rows[1], 3);
    rz_check_eq(rows[2], 3);
    rz_check_eq(step(&b, rows), 2 + 6);
    rz_check_eq(step(&b, rows), 3);
    bench_close(&b);
}

RZ_TEST(sched, limits_of_the_plan_are_kept)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 4, 8, 64, 1);
    b.limits.max_wanted = 3;
    rz_sched_deinit(&b.sched);
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_sched_init(&b.sched, &b.kv, &b.limits, 4, N_SEQS, &err), &err);
    for (uint32_t i = 0; i < 8; i++)
        add(&b, i, 5);
    for (uint32_t i = 0; i < 40; i++) {
        rz_check(step(&b, rows) <= 4);
        rz_check(b.sched.n_running <= 3);
        rz_check(b.sched.step.n_wanted <= 3);
    }
    rz_check(b.seqs[2].n_tokens > 20); /* all three decode */
    rz_check_eq(b.seqs[3].n_done, 0);
    for (uint32_t i = 8; i < N_SEQS; i++)
        add(&b, i, 1);
    struct rz_seq extra = {.n_tokens = 1};
    rz_check(!rz_sched_add(&b.sched, &extra));
    bench_close(&b);
    rz_check_eq(rz_sched_init(&b.sched, &b.kv, &b.limits, 5, N_SEQS, &err), RZ_EINVAL);
    rz_check_eq(rz_sched_init(&b.sched, &b.kv, &b.limits, 0, N_SEQS, &err), RZ_EINVAL);
}

RZ_TEST(sched, the_youngest_gives_way_and_comes_back)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 32, 8, 6, 2);
    add(&b, 0, 7);
    add(&b, 1, 7); /* two pages each, one spare for the admission */
    add(&b, 2, 3);
    step(&b, rows);
    rz_check_eq(rows[0] + rows[1] + rows[2], 17);
    while (!b.sched.preempted)
        rz_check(step(&b, rows) > 0);
    /* 0 and 1 reached position 12, so they need three pages each: 2 gave way. */
    rz_check_eq(b.seqs[2].state, RZ_SEQ_WAITING);
    rz_check_eq(b.seqs[2].n_done, 0);
    rz_check_eq(b.seqs[2].kv.n_pages, 0);
    rz_check(b.seqs[2].n_tokens > 3); /* what it made is kept */
    rz_check_eq(b.seqs[0].state + b.seqs[1].state, 2 * RZ_SEQ_RUNNING);
    uint32_t kept = b.seqs[2].n_tokens;
    while (b.seqs[1].state == RZ_SEQ_RUNNING)
        rz_check(step(&b, rows) > 0);
    rz_check(b.seqs[0].state == RZ_SEQ_RUNNING); /* the oldest never does */
    rz_sched_remove(&b.sched, &b.seqs[0]);
    step(&b, rows);
    rz_check_eq(b.seqs[1].state, RZ_SEQ_RUNNING); /* the older of the two first */
    rz_sched_remove(&b.sched, &b.seqs[1]);
    step(&b, rows);
    rz_check_eq(rows[2], kept); /* prompt and generated tokens anew */
    bench_close(&b);
}

RZ_TEST(sched, one_sequence_may_take_the_whole_pool)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 3, 8, 3, 1);
    add(&b, 0, 5);
    add(&b, 1, 2);
    while (b.seqs[0].n_tokens <= 12)
        rz_check(step(&b, rows) > 0);
    rz_check_eq(b.seqs[0].n_done, 12);
    rz_check_eq(b.seqs[1].kv.n_pages, 0);
    bench_close(&b);
}

RZ_TEST(sched, a_large_request_is_not_passed_by_small_ones)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 32, 8, 10, 1);
    add(&b, 0, 20);
    step(&b, rows);
    add(&b, 1, 30); /* 8 pages: not now */
    add(&b, 2, 2);
    step(&b, rows);
    rz_check_eq(rows[0], 1);
    rz_check_eq(b.seqs[1].state, RZ_SEQ_WAITING);
    rz_check_eq(b.seqs[2].state, RZ_SEQ_WAITING);
    rz_sched_remove(&b.sched, &b.seqs[0]);
    step(&b, rows);
    rz_check_eq(rows[1], 30);
    rz_check_eq(rows[2], 2);
    bench_close(&b);
}

RZ_TEST(sched, a_paused_sequence_keeps_its_pages_until_somebody_needs_them)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 32, 2, 16, 1);
    add(&b, 0, 8);
    add(&b, 1, 8);
    step(&b, rows);
    b.seqs[0].paused = true;
    step(&b, rows);
    rz_check_eq(rows[0], 0);
    rz_check_eq(rows[1], 1);
    rz_check_eq(b.seqs[0].kv.n_pages, 2);
    add(&b, 2, 4); /* there are two places only: the paused one makes room, old as it is */
    step(&b, rows);
    rz_check_eq(b.seqs[0].state, RZ_SEQ_WAITING);
    rz_check_eq(rows[2], 4);
    b.seqs[2].paused = b.seqs[1].paused = true;
    rz_check_eq(step(&b, rows), 0); /* nobody wants anything */
    rz_check_eq(b.sched.n_running, 2);
    b.seqs[0].paused = false;
    step(&b, rows);
    rz_check_eq(rows[0], 9);
    rz_check_eq(b.sched.n_running, 2);
    bench_close(&b);
}

RZ_TEST(sched, a_prompt_takes_what_pages_there_are)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 8, 4, 7, 1);
    add(&b, 0, 4);
    step(&b, rows);
    add(&b, 1, 16);
    step(&b, rows);
    rz_check_eq(rows[1], 7);
    b.seqs[1].paused = true;
    while (b.seqs[0].kv.n_pages < 4)
        step(&b, rows);
    b.seqs[1].paused = false; /* one page is left: positions 7 to 11 fit */
    step(&b, rows);
    rz_check_eq(rows[0], 1);
    rz_check_eq(rows[1], 5);
    bench_close(&b);
}

RZ_TEST(sched, pages_of_paused_sequences_go_first)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 32, 4, 6, 1);
    add(&b, 0, 4);
    step(&b, rows);
    add(&b, 1, 4);
    step(&b, rows);
    b.seqs[0].paused = true;
    while (!b.sched.preempted)
        rz_check(step(&b, rows) > 0);
    rz_check_eq(b.seqs[0].state, RZ_SEQ_WAITING);
    rz_check_eq(b.seqs[1].state, RZ_SEQ_RUNNING);
    bench_close(&b);
}

RZ_TEST(sched, a_shared_page_is_copied_by_the_step_that_writes_it)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 32, 8, 16, 2);
    add(&b, 0, 6);
    step(&b, rows);
    b.seqs[1].like = &b.seqs[0];
    add(&b, 1, 7);
    step(&b, rows);
    rz_check_eq(rows[0], 1);
    rz_check_eq(rows[1], 1);
    /* The older writes position 6 first and takes a copy; then the younger owns the page alone. */
    rz_check_eq(b.sched.step.batch.n_copies, 2);
    rz_check_eq(b.sched.step.copies[0].n_tokens, 2);
    rz_check(b.seqs[0].kv.groups[0][1] != b.seqs[1].kv.groups[0][1]);
    rz_check_eq(b.seqs[0].kv.groups[0][0], b.seqs[1].kv.groups[0][0]);
    step(&b, rows);
    rz_check_eq(b.sched.step.batch.n_copies, 0);
    bench_close(&b);
}

/* Requests in a hurry that keep coming pass an older one only until it is due itself. */
RZ_TEST(sched, nobody_is_passed_for_ever)
{
    static struct bench b;
    uint32_t rows[N_SEQS], waited = 0;
    bench_open(&b, 8, 1, 64, 1);
    b.seqs[0].due = 50;
    add(&b, 0, 4);
    for (uint32_t now = 0; b.seqs[0].state == RZ_SEQ_WAITING; now++, waited++) {
        uint32_t i = 1 + now % 3;
        rz_check(waited < 60);
        rz_sched_remove(&b.sched, &b.seqs[i]);
        b.seqs[i].due = now + 5;
        add(&b, i, 4);
        step(&b, rows);
        rz_sched_remove(&b.sched, &b.seqs[i]);
    }
    rz_check(waited >= 40);
    bench_close(&b);
}

/* Runs everything through the fake device; each sequence ends after its own number of tokens. */
static void run_random(uint32_t seed, uint32_t rows, uint32_t seqs, const struct rz_kv_sizes *sizes)
{
    static struct bench b;
    static float truth[FAKE_VOCAB];
    struct fake fake;
    uint32_t left = N_SEQS, steps = 0, until[N_SEQS], pages = sizes->n_pages;
    bench_open_with(&b, rows, seqs, sizes);
    fake_init(&fake, &b.limits, sizes->n_groups);
    for (uint32_t i = 0; i < N_SEQS; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t prompt = 1 + (seed >> 8) % (pages * 4 / 2), most = pages * 4 - prompt;
        until[i] = prompt + 1 + (seed >> 20) % (most > 40 ? 40 : most);
        add(&b, i, prompt);
    }
    while (left) {
        struct rz_err err = RZ_ERR_INIT;
        struct rz_result result = {.size = sizeof(result)};
        rz_check(steps++ < 20000); /* somebody always gets on */
        for (uint32_t i = 0; i < N_SEQS; i++)
            b.seqs[i].paused = (seed >> 5) % 7 == 0 && (seed = seed * 1664525u + 1013904223u) % 3 == 0;
        seed = seed * 1664525u + 1013904223u;
        const struct rz_batch *batch = rz_sched_build(&b.sched);
        if (!batch)
            continue;
        rz_check_ok(fake.table.execute(fake_plan(&fake), batch, &result, &err), &err);
        rz_sched_done(&b.sched);
        for (uint32_t i = 0; i < N_SEQS; i++) {
            struct rz_seq *s = &b.seqs[i];
            if (s->state != RZ_SEQ_RUNNING || s->result < 0)
                continue;
            fake_logits(&fake, s->tokens, s->n_tokens, truth);
            rz_check_memeq(result.logits + (uint64_t)s->result * FAKE_VOCAB, truth, sizeof(truth));
            if (++s->n_tokens >= until[i]) {
                rz_sched_remove(&b.sched, s);
                left--;
            }
        }
    }
    rz_check_streq(fake.breach, "");
    fake_deinit(&fake);
    bench_close(&b);
}

RZ_TEST(sched, random_loads_always_end_with_the_true_logits)
{
    for (uint32_t seed = 0; seed < 60; seed++) {
        run_random(seed, 3, 3, &(struct rz_kv_sizes){2, 3, 4, 0});
        run_random(seed, 5, 8, &(struct rz_kv_sizes){2, 6, 4, 0});
        run_random(seed, 32, 8, &(struct rz_kv_sizes){2, 20, 4, 0});
        run_random(seed, 64, 16, &(struct rz_kv_sizes){2, 60, 4, 0});
    }
}

/* The state of who gave way is gone, and made anew from the first token on. */
RZ_TEST(sched, random_loads_with_state_slots)
{
    for (uint32_t seed = 0; seed < 60; seed++) {
        run_random(seed, 5, 8, &(struct rz_kv_sizes){1, 6, 4, 8});
        run_random(seed, 32, 8, &(struct rz_kv_sizes){2, 20, 4, 3}); /* fewer slots than sequences */
        run_random(seed, 16, 8, &(struct rz_kv_sizes){0, 30, 4, 8});
        run_random(seed, 16, 4, &(struct rz_kv_sizes){0, 30, 4, 1});
    }
}

RZ_TEST(sched, a_state_is_cleared_with_the_first_row_and_copied_by_a_fork)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open_with(&b, 32, 8, &(struct rz_kv_sizes){1, 16, 4, 8});
    const struct rz_batch *batch = &b.sched.step.batch;
    add(&b, 0, 6);
    step(&b, rows);
    rz_check_eq(batch->n_clears, 1);
    rz_check_eq(batch->clears[0], b.sched.step.seqs[0].state_slot);
    step(&b, rows);
    rz_check_eq(batch->n_clears + batch->n_state_copies, 0);
    rz_step_clear(&b.sched.step);
    rz_check(rz_step_fork(&b.sched.step, &b.kv, &b.seqs[1].kv, &b.seqs[0].kv, 7));
    rz_check_eq(batch->n_state_copies, 1);
    rz_check_eq(batch->state_copies[0].from, b.seqs[0].kv.slot);
    rz_check_eq(batch->state_copies[0].to, b.seqs[1].kv.slot);
    rz_check(b.seqs[0].kv.slot != b.seqs[1].kv.slot);
    rz_check_eq(b.seqs[0].kv.groups[0][0], b.seqs[1].kv.groups[0][0]);
    bench_close(&b);
}

/* --- guesses --- */

/* A sequence that decodes and has so many guesses behind its last token. */
static void guess(struct bench *b, uint32_t i, uint32_t n)
{
    rz_check(rz_seq_decodes(&b->seqs[i]));
    b->seqs[i].n_guesses = n;
}

RZ_TEST(sched, guesses_get_what_decoding_leaves_and_half_stays_for_prompts)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 16, 8, 64, 1);
    b.sched.step.max_wanted = 16;
    for (uint32_t i = 0; i < 3; i++)
        add(&b, i, 4);
    rz_check_eq(step(&b, rows), 12);
    guess(&b, 0, 5);
    guess(&b, 1, 20);
    rz_check_eq(step(&b, rows), 16);
    rz_check_eq(rows[0], 6);
    rz_check_eq(rows[1], 9);
    rz_check_eq(rows[2], 1); /* nobody's row is taken */
    rz_check_eq(b.sched.step.n_wanted, 16);
    rz_check_eq(b.seqs[1].result, 6);
    rz_check_eq(b.sched.step.rows[6].pos[0], 4);
    rz_check_eq(b.sched.step.rows[14].pos[0], 12);
    for (uint32_t i = 0; i < 3; i++)
        rz_sched_keep(&b.sched, &b.seqs[i]);
    rz_check_eq(b.seqs[1].n_done, 5); /* no guess was right */
    rz_check_eq(b.seqs[1].kv.n_pages, 2);
    add(&b, 3, 30);
    guess(&b, 0, 15);
    rz_check_eq(step(&b, rows), 16);
    rz_check_eq(rows[0], 1 + 6); /* of the 13 that are left */
    rz_check_eq(rows[3], 7);
    b.seqs[0].n_tokens += 4; /* four were right: step() gave it one token */
    rz_sched_keep(&b.sched, &b.seqs[0]);
    rz_check_eq(b.seqs[0].n_done, b.seqs[0].n_tokens - 1);
    bench_close(&b);
}

RZ_TEST(sched, guesses_take_no_page_that_anybody_needs)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 16, 8, 8, 2);
    b.sched.step.max_wanted = 16;
    add(&b, 0, 4);
    step(&b, rows);
    add(&b, 1, 20); /* five pages; two rows of it come now */
    guess(&b, 0, 14);
    step(&b, rows);
    /* Eight pages: two of its own for the next row, five for the prompt: one is to spare. */
    rz_check_eq(rows[0], 1 + 7);
    rz_check_eq(rows[1], 8);
    rz_check_eq(b.sched.preempted, 0);
    rz_sched_keep(&b.sched, &b.seqs[0]);
    rz_check_eq(b.seqs[0].kv.n_pages, 2);
    bench_close(&b);
}

RZ_TEST(sched, who_gives_way_has_no_guesses)
{
    static struct bench b;
    uint32_t rows[N_SEQS];
    bench_open(&b, 32, 8, 5, 1);
    add(&b, 0, 8);
    add(&b, 1, 7);
    step(&b, rows);
    while (!b.sched.preempted) {
        for (uint32_t i = 0; i < 2; i++)
            guess(&b, i, 3);
        rz_check(step(&b, rows) > 0);
        for (uint32_t i = 0; i < 2; i++)
            if (b.seqs[i].state == RZ_SEQ_RUNNING)
                rz_sched_keep(&b.sched, &b.seqs[i]);
    }
    rz_check_eq(b.seqs[1].state, RZ_SEQ_WAITING);
    rz_check_eq(b.seqs[1].n_guesses, 0);
    rz_check_eq(b.seqs[1].kv.n_pages, 0);
    bench_close(&b);
}

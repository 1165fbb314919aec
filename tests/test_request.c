/* test_request.c - the life of requests: tickets, the queue, cancel, release, deadlines, slow readers. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <stdlib.h>
#include <time.h>

/* --- tickets, queue, cancel, release, deadlines --- */

RZ_TEST(engine, an_old_ticket_finds_nothing)
{
    static struct rig_ticket t;
    struct rz_event event = {.size = sizeof(event)};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    const struct rz_engine *e = rig.engine;
    rig_make(&t, 1, 4, 3);
    rig_submit(&rig, &t);
    uint64_t old = t.id;
    rz_check_eq(e->poll(e->ctx, old, &event, 100), RZ_OK);
    e->release(e->ctx, old);
    rig_submit(&rig, &t); /* takes the same slot */
    rz_check(t.id != old);
    rz_check_eq((uint32_t)t.id, (uint32_t)old);
    const uint64_t stale[] = {old, 0, UINT64_MAX, t.id + (1ull << 32), 1ull << 32, t.id + 1};
    for (uint32_t i = 0; i < 6; i++) {
        rz_check_eq(e->poll(e->ctx, stale[i], &event, 0), RZ_ENOTFOUND);
        rz_check_eq(e->cancel(e->ctx, stale[i]), RZ_ENOTFOUND);
        e->release(e->ctx, stale[i]);
    }
    rig_finish(&rig, &t, 1);
    rig_check(&rig, &t.request, &t.out);
    event.size = 8;
    rz_check_eq(e->poll(e->ctx, t.id, &event, 0), RZ_EINVAL);
    rig_close(&rig);
}

RZ_TEST(engine, the_queue_is_bounded)
{
    static struct rig_ticket tickets[17];
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    const struct rz_engine *e = rig.engine;
    for (uint32_t i = 0; i < 17; i++)
        rig_make(&tickets[i], i, 4, 4);
    for (uint32_t i = 0; i < 16; i++)
        rig_submit(&rig, &tickets[i]);
    rz_check_eq(e->submit(e->ctx, &tickets[16].request, &tickets[16].id, &err), RZ_EBUSY);
    rz_check_has(err.message, "16 of 16");
    while (!tickets[0].done)
        rig_poll(&rig, &tickets[0]);
    rig_submit(&rig, &tickets[16]); /* one has finished; its ticket is still out */
    rig_finish(&rig, tickets, 17);
    for (uint32_t round = 0; round < 2; round++) { /* 32 tickets out is the end, whatever they do */
        for (uint32_t i = 0; i < 16; i++) {
            tickets[i].done = false;
            memset(&tickets[i].out, 0, sizeof(tickets[i].out));
            rig_submit(&rig, &tickets[i]);
            while (!round && !tickets[i].done)
                rig_poll(&rig, &tickets[i]);
        }
    }
    while (e->step(e->ctx, &err) == RZ_OK)
        continue;
    rz_check_eq(e->submit(e->ctx, &tickets[16].request, &tickets[16].id, &err), RZ_EBUSY);
    rz_check_has(err.message, "32 tickets");
    rig_close(&rig); /* frees those that were not given back */
}

RZ_TEST(engine, cancel_and_release_free_pages_within_a_step)
{
    static struct rig_ticket tickets[3];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    const struct rz_engine *e = rig.engine;
    for (uint32_t i = 0; i < 3; i++) {
        rig_make(&tickets[i], i, 9, 0);
        rig_submit(&rig, &tickets[i]);
    }
    for (uint32_t i = 0; i < 4; i++)
        rz_check_eq(e->step(e->ctx, NULL), RZ_OK);
    rz_check_eq(rig_stats(&rig).pages_free, 256 - 9);
    rz_check_eq(e->cancel(e->ctx, tickets[1].id), RZ_OK);
    rz_check_eq(e->step(e->ctx, NULL), RZ_OK);
    rz_check_eq(rig_stats(&rig).running, 2);
    e->release(e->ctx, tickets[0].id); /* at once, as nobody computes */
    rz_check_eq(rig_stats(&rig).running, 1);
    while (rig_poll(&rig, &tickets[1]) && !tickets[1].done)
        continue;
    rz_check_eq(tickets[1].out.last.kind, RZ_EVENT_DONE);
    rz_check_eq(tickets[1].out.last.finish, RZ_FINISH_CANCELLED);
    rz_check(tickets[1].out.n >= 4);
    rz_check_eq(e->cancel(e->ctx, tickets[1].id), RZ_OK); /* again: nothing happens */
    rz_check(!rig_poll(&rig, &tickets[1]));
    rig_finish(&rig, tickets + 2, 1);
    rig_check(&rig, &tickets[2].request, &tickets[2].out);
    rz_check_eq(rig_stats(&rig).cancelled, 2);
    rig_close(&rig);
}

RZ_TEST(engine, a_deadline_ends_running_and_waiting_requests)
{
    static struct rig_ticket tickets[2];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_seqs = 1;
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t i = 0; i < 2; i++) {
        rig_make(&tickets[i], i, 9, 0);
        tickets[i].request.timeout_ms = 3000; /* the first step is done by then */
        rig_submit(&rig, &tickets[i]);
    }
    rz_check_eq(rig.engine->step(rig.engine->ctx, NULL), RZ_OK);
    for (struct timespec t = {3, 50000000}; nanosleep(&t, &t);)
        continue;
    rig_finish(&rig, tickets, 2);
    rz_check_eq(tickets[0].out.last.finish, RZ_FINISH_TIMEOUT);
    rz_check_eq(tickets[1].out.last.finish, RZ_FINISH_TIMEOUT);
    rz_check_eq(tickets[0].out.n, 1);
    rz_check_eq(tickets[1].out.n, 0);
    rz_check(tickets[1].out.last.t_queue >= 3);
    rig_close(&rig);
}

RZ_TEST(engine, a_slow_reader_pauses_its_request_and_loses_nothing)
{
    static struct rig_ticket t;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rig_make(&t, 1, 9, 100);
    rig_submit(&rig, &t);
    while (rig.engine->step(rig.engine->ctx, NULL) == RZ_OK)
        continue;
    struct rz_engine_stats stats = rig_stats(&rig);
    rz_check(stats.new_tokens >= 32 && stats.new_tokens < 100);
    rz_check_eq(stats.running, 1);
    rz_check(rig_poll(&rig, &t));
    rz_check_eq(rig.engine->step(rig.engine->ctx, NULL), RZ_OK);
    rz_check_eq(rig_stats(&rig).new_tokens, stats.new_tokens + 1);
    rz_check_eq(rig.engine->step(rig.engine->ctx, NULL), RZ_AGAIN);
    rig_finish(&rig, &t, 1);
    rig_check(&rig, &t.request, &t.out);
    rig_close(&rig);
}

RZ_TEST(engine, a_reader_that_never_comes_keeps_nobody_else_waiting)
{
    static struct rig_ticket tickets[6];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_seqs = 1;
    rig.setup.limits.n_pages = 33;
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t i = 0; i < 6; i++) {
        rig_make(&tickets[i], i, 9, i < 5 ? 0 : 60);
        rig_submit(&rig, &tickets[i]);
    }
    while (!tickets[5].done) /* only the last is read */
        rig_poll(&rig, &tickets[5]);
    rig_check(&rig, &tickets[5].request, &tickets[5].out);
    rig_finish(&rig, tickets, 6); /* and the others lost nothing by it */
    for (uint32_t i = 0; i < 6; i++)
        rig_check(&rig, &tickets[i].request, &tickets[i].out);
    rig_close(&rig);
}

RZ_TEST(engine, slow_readers_take_turns_of_half_a_ring)
{
    static struct rig_ticket tickets[2];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.max_seqs = 1;
    rig.setup.limits.max_rows = rig.setup.max_batch_tokens = 128;
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t i = 0; i < 2; i++) {
        rig_make(&tickets[i], i, 9, 100);
        rig_submit(&rig, &tickets[i]);
    }
    while (rig.engine->step(rig.engine->ctx, NULL) == RZ_OK)
        continue;
    while (!tickets[0].done || !tickets[1].done) { /* each reads one event while the engine could make two */
        for (uint32_t i = 0; i < 2; i++) {
            if (!tickets[i].done)
                rig_poll(&rig, &tickets[i]);
            rig.engine->step(rig.engine->ctx, NULL);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        rig_check(&rig, &tickets[i].request, &tickets[i].out);
        rig.engine->release(rig.engine->ctx, tickets[i].id);
    }
    rz_check(rig_stats(&rig).preempted > 2 && rig_stats(&rig).preempted < 20);
    rig_close(&rig);
}

/* The device is asked for the k best where that is enough, and the tokens are the same. */
RZ_TEST(engine, the_k_best_are_enough_where_nothing_else_is_looked_at)
{
    static struct rig_output all[9], best[9];
    static int32_t prompt[6];
    static const struct rz_bias bias = {.token = 5, .add = 1};
    rig_prompt(9, prompt, 6);
    for (uint32_t top_k = 0; top_k < 2; top_k++) {
        struct rig rig;
        rig_setup(&rig);
        rig.setup.top_k = top_k;
        rig_open(&rig);
        for (uint32_t i = 0; i < 9; i++) {
            struct rz_request q = rig_request(prompt, 6);
            struct rig_output *out = top_k ? &best[i] : &all[i];
            uint64_t before = rig.fake.n_top_k;
            q.max_new = 20;
            q.flags = RZ_REQUEST_IGNORE_EOS;
            q.sampling.temperature = i ? 1.5f : 0;
            q.sampling.top_k = i ? 3 : 0;
            q.sampling.seed = 77;
            q.sampling.repeat_penalty = i == 2 ? 1.1f : 1;
            q.n_logprobs = i == 3;
            q.biases = &bias;
            q.n_biases = i == 4;
            q.sampling.top_k = i >= 5 && i < 8 ? 0 : q.sampling.top_k;
            q.sampling.min_p = i >= 6 ? 0.3f : 0; /* alone, behind top-p, and behind top-k */
            q.sampling.top_p = i == 7 ? 0.9f : 1;
            rig_run(&rig, &q, out);
            rz_check_eq(out->n, 20);
            rz_check_eq(rig.fake.n_top_k - before, top_k && (i < 2 || i == 6 || i == 8) ? 20 : 0);
        }
        rig_close(&rig);
    }
    for (uint32_t i = 0; i < 9; i++)
        rz_check_memeq(all[i].tokens, best[i].tokens, 20 * sizeof(int32_t));
}

/* test_loop.c - the loop as a thread: readers, wakes, stop and drain, parallel sampling, evaluation beside
 * requests. Meant for ThreadSanitizer as well. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* --- readers in threads of their own: they only record, the main thread checks --- */

struct reader {
    struct rig *rig;
    uint32_t seed, n_rounds;
    struct {
        struct rz_request request;
        int32_t prompt[32];
        int32_t tokens[128];
        uint32_t n;
        struct rz_event last;
        bool given_up; /* released before the end */
    } rounds[24];
    int32_t failed; /* the first status that should not have come */
    pthread_t thread;
};

static void read_round(struct reader *r, uint32_t i)
{
    const struct rz_engine *e = r->rig->engine;
    struct rz_event event = {.size = sizeof(event)};
    uint64_t ticket;
    int32_t rc;
    uint32_t seed = r->seed * 100 + i, n = 1 + seed * 7 % 31;
    rig_prompt(seed, r->rounds[i].prompt, n);
    r->rounds[i].request = rig_request(r->rounds[i].prompt, n);
    r->rounds[i].request.max_new = 1 + seed % 40;
    while ((rc = e->submit(e->ctx, &r->rounds[i].request, &ticket, NULL)) == RZ_EBUSY)
        sched_yield();
    if (rc)
        r->failed = rc;
    while (!r->failed && (rc = e->poll(e->ctx, ticket, &event, 60000)) == RZ_OK) {
        if (event.kind == RZ_EVENT_TOKEN && event.token >= 0)
            r->rounds[i].tokens[r->rounds[i].n++] = event.token;
        if (event.kind != RZ_EVENT_TOKEN)
            r->rounds[i].last = event;
        if (seed % 11 == 3 && r->rounds[i].n == 2)
            e->cancel(e->ctx, ticket);
        if (seed % 13 == 4 && r->rounds[i].n == 3) {
            r->rounds[i].given_up = true;
            rc = RZ_END;
            break;
        }
    }
    if (rc != RZ_END)
        r->failed = rc ? rc : RZ_EINTERNAL;
    e->release(e->ctx, ticket);
}

static void *read_all(void *arg)
{
    struct reader *r = arg;
    for (uint32_t i = 0; i < r->n_rounds && !r->failed; i++)
        read_round(r, i);
    return NULL;
}

static void check_reader(const struct rig *rig, const struct reader *r)
{
    rz_check_eq(r->failed, 0);
    for (uint32_t i = 0; i < r->n_rounds; i++) {
        int32_t tokens[4096];
        uint32_t n, finish = rig_expect(rig, &r->rounds[i].request, tokens, &n);
        rz_check_memeq(r->rounds[i].tokens, tokens, r->rounds[i].n * sizeof(*tokens));
        if (r->rounds[i].given_up || r->rounds[i].last.finish == RZ_FINISH_CANCELLED)
            continue;
        rz_check_eq(r->rounds[i].n, n);
        rz_check_eq(r->rounds[i].last.finish, finish);
    }
}

static void run_readers(struct rig *rig, uint32_t n, uint32_t rounds)
{
    struct reader *readers = calloc(n, sizeof(*readers));
    for (uint32_t i = 0; i < n; i++) {
        readers[i] = (struct reader){.rig = rig, .seed = i, .n_rounds = rounds};
        rz_check_eq(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), 0);
    }
    for (uint32_t i = 0; i < n; i++)
        pthread_join(readers[i].thread, NULL);
    for (uint32_t i = 0; i < n; i++)
        check_reader(rig, &readers[i]);
    free(readers);
}

struct share {
    void (*fn)(void *arg, uint32_t i);
    void *arg;
    uint32_t i;
};

static void *run_share(void *arg)
{
    struct share *s = arg;
    s->fn(s->arg, s->i);
    return NULL;
}

/* A thread for each index. */
static void parallel_threads(void *ctx, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg)
{
    pthread_t threads[16];
    struct share shares[16];
    ++*(uint32_t *)ctx;
    for (uint32_t i = 0; i < n; i++) {
        shares[i] = (struct share){fn, arg, i};
        if (pthread_create(&threads[i], NULL, run_share, &shares[i]))
            abort();
    }
    for (uint32_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

RZ_TEST(loop, many_readers_get_the_true_tokens_from_the_loop_thread)
{
    struct rig rig;
    struct rz_err err = RZ_ERR_INIT;
    uint32_t parallel = 0;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 60; /* enough preemption to matter */
    rig.setup.max_queue = 6;
    rig.setup.parallel_for = parallel_threads;
    rig.setup.parallel_ctx = &parallel;
    rig_open(&rig);
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    rz_check_eq(rig.engine->step(rig.engine->ctx, &err), RZ_EINVAL);
    rz_check(rz_loop_start(rig.loop, &err) < 0); /* there is one already */
    run_readers(&rig, 8, 12);
    rz_check(parallel > 0);
    rig_close(&rig);
}

RZ_TEST(loop, many_readers_share_the_steps_when_there_is_no_thread)
{
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 60;
    rig_open(&rig);
    run_readers(&rig, 6, 12);
    rig_close(&rig);
}

/* --- wakes --- */

struct bell {
    atomic_uint rung;
    atomic_bool gone;
    atomic_uint late; /* rung after release */
};

static void ring(void *arg)
{
    struct bell *b = arg;
    struct timespec t = {0, 200000};
    if (atomic_load(&b->gone))
        atomic_fetch_add(&b->late, 1);
    atomic_fetch_add(&b->rung, 1);
    nanosleep(&t, NULL); /* so that a release meets it */
    if (atomic_load(&b->gone))
        atomic_fetch_add(&b->late, 1);
}

RZ_TEST(loop, wakes_announce_events_and_end_with_release)
{
    enum {
        N = 4
    };
    static struct rig_ticket tickets[N];
    struct rz_err err = RZ_ERR_INIT;
    struct rz_event event = {.size = sizeof(event)};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    for (uint32_t round = 0; round < 60; round++) {
        struct bell *bells = calloc(N, sizeof(*bells));
        for (uint32_t i = 0; i < N; i++) {
            rig_make(&tickets[i], round + i, 5, 30);
            tickets[i].request.wake = ring;
            tickets[i].request.wake_arg = &bells[i];
            rig_submit(&rig, &tickets[i]);
        }
        for (uint32_t k = 0; k < round % 10; k++)
            rz_check_eq(rig.engine->poll(rig.engine->ctx, tickets[k % N].id, &event, 60000), RZ_OK);
        for (uint32_t i = N; i--;) { /* the others' bells are being rung meanwhile */
            rig.engine->release(rig.engine->ctx, tickets[i].id);
            atomic_store(&bells[i].gone, true);
        }
        for (uint32_t i = 0; i < N; i++)
            rz_check_eq(atomic_load(&bells[i].late), 0);
        free(bells); /* a later ring would be seen by the sanitizers */
    }
    rig_close(&rig);
}

RZ_TEST(loop, a_paused_request_goes_on_when_its_reader_comes_back)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_event event = {.size = sizeof(event)};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    rig_make(&t, 1, 5, 100);
    rig_submit(&rig, &t);
    while (rig_stats(&rig).new_tokens < 32)
        sched_yield();
    for (struct timespec pause = {0, 5000000}; nanosleep(&pause, &pause);) /* the loop goes to sleep */
        continue;
    while (rig.engine->poll(rig.engine->ctx, t.id, &event, 60000) == RZ_OK)
        rig_collect(&t.out, &event);
    rig_check(&rig, &t.request, &t.out);
    rig.engine->release(rig.engine->ctx, t.id);
    rig_close(&rig);
}

RZ_TEST(loop, a_frontend_can_work_by_wakes_alone)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct bell bell = {0};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    rig_make(&t, 5, 5, 100);
    t.request.wake = ring;
    t.request.wake_arg = &bell;
    rig_submit(&rig, &t);
    uint32_t seen = 0;
    while (!t.done) {
        while (atomic_load(&bell.rung) == seen)
            sched_yield();
        seen = atomic_load(&bell.rung);
        while (rig_poll(&rig, &t) && !t.done)
            continue;
    }
    rig_check(&rig, &t.request, &t.out);
    rig.engine->release(rig.engine->ctx, t.id);
    rig_close(&rig);
}

/* --- stopping --- */

RZ_TEST(loop, a_drain_lets_running_requests_finish)
{
    static struct rig_ticket tickets[4];
    struct rz_err err = RZ_ERR_INIT;
    for (uint32_t threaded = 0; threaded < 2; threaded++) {
        struct rig rig;
        rig_setup(&rig);
        rig_open(&rig);
        if (threaded)
            rz_check_ok(rz_loop_start(rig.loop, &err), &err);
        for (uint32_t i = 0; i < 4; i++) {
            rig_make(&tickets[i], i, 9, 20);
            rig_submit(&rig, &tickets[i]);
        }
        rz_loop_stop(rig.loop, 10000);
        uint64_t ticket;
        rz_check_eq(rig.engine->submit(rig.engine->ctx, &tickets[0].request, &ticket, &err), RZ_EBUSY);
        rz_check_has(err.message, "stopped");
        rig_finish(&rig, tickets, 4);
        for (uint32_t i = 0; i < 4; i++)
            rig_check(&rig, &tickets[i].request, &tickets[i].out);
        rig_close(&rig);
    }
}

RZ_TEST(loop, what_does_not_finish_in_time_is_cancelled)
{
    static struct rig_ticket tickets[3];
    struct rz_err err = RZ_ERR_INIT;
    for (uint32_t threaded = 0; threaded < 2; threaded++) {
        struct rig rig;
        rig_setup(&rig);
        rig_open(&rig);
        rig.fake.never_end = 1;
        if (threaded)
            rz_check_ok(rz_loop_start(rig.loop, &err), &err);
        for (uint32_t i = 0; i < 3; i++) { /* nobody reads: they fill their rings and pause */
            rig_make(&tickets[i], i, 9, 0);
            rig_submit(&rig, &tickets[i]);
        }
        rz_loop_stop(rig.loop, 50);
        rig_finish(&rig, tickets, 3);
        for (uint32_t i = 0; i < 3; i++) {
            rz_check_eq(tickets[i].out.last.finish, RZ_FINISH_CANCELLED);
            rz_check(tickets[i].out.n <= 32);
        }
        if (threaded) { /* it can be started again */
            rz_check_ok(rz_loop_start(rig.loop, &err), &err);
            rig_make(&tickets[0], 1, 9, 5);
            rig_run(&rig, &tickets[0].request, &tickets[0].out);
            rig_check(&rig, &tickets[0].request, &tickets[0].out);
        }
        rig_close(&rig);
    }
}

RZ_TEST(loop, an_idle_loop_notices_deadlines_and_sleeps)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_event event = {.size = sizeof(event)};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    rig_make(&t, 1, 9, 0);
    t.request.timeout_ms = 4000; /* the 32 steps are done long before */
    rig_submit(&rig, &t);        /* fills its ring, then the loop has nothing to do but wait */
    for (struct rz_engine_stats s = rig_stats(&rig); s.running || s.waiting; s = rig_stats(&rig))
        sched_yield();       /* one look at both: between two the request may go from one to the other */
    rig_finish(&rig, &t, 1); /* its last event was sent after the last step: from here the count is still */
    rz_check_eq(rig.fake.n_executes, 32);
    rz_check_eq(t.out.last.finish, RZ_FINISH_TIMEOUT);
    rz_check_eq(rig.engine->poll(rig.engine->ctx, t.id, &event, 1), RZ_ENOTFOUND);
    rig_close(&rig);
}

/* --- evaluation beside requests --- */

static int32_t count_row(void *arg, uint64_t index, const float *values, uint64_t n)
{
    (void)index, (void)values, (void)n;
    ++*(uint32_t *)arg;
    return 0;
}

struct evaluator {
    struct rig *rig;
    atomic_bool stop;
    uint32_t rows, done, busy, failed;
};

static void *evaluate(void *arg)
{
    struct evaluator *v = arg;
    int32_t tokens[20];
    rig_prompt(3, tokens, 20);
    struct rz_eval eval = {.size = sizeof(eval),
                           .tokens = tokens,
                           .n_tokens = 20,
                           .chunk = 3,
                           .row = count_row,
                           .arg = &v->rows};
    while (!atomic_load(&v->stop)) {
        int32_t rc = rz_loop_eval(v->rig->loop, &eval, NULL);
        v->done += rc == RZ_OK;
        v->busy += rc == RZ_EBUSY;
        v->failed += rc != RZ_OK && rc != RZ_EBUSY;
    }
    return NULL;
}

/* The fake device notices two steps at the same time, and shared pages. */
RZ_TEST(loop, evaluations_and_requests_exclude_each_other)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct bell bell = {0};
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    struct evaluator v = {.rig = &rig};
    pthread_t thread;
    rz_check_eq(pthread_create(&thread, NULL, evaluate, &v), 0);
    for (uint32_t i = 0; i < 40; i++) {
        rig_make(&t, i, 5, 10);
        t.request.wake = ring; /* the step is not over while it sleeps */
        t.request.wake_arg = &bell;
        rig_submit(&rig, &t);
        rig_finish(&rig, &t, 1);
        rig_check(&rig, &t.request, &t.out);
    }
    atomic_store(&v.stop, true);
    pthread_join(thread, NULL);
    rz_check_eq(v.failed, 0);
    rz_check_eq(v.rows, 20 * v.done);
    rz_check(v.busy > 0);
    rig_close(&rig);
}

RZ_TEST(loop, an_evaluation_right_after_the_last_event_is_not_refused)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct bell bell = {0};
    int32_t tokens[5];
    uint32_t rows = 0;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    rig_prompt(3, tokens, 5);
    struct rz_eval eval = {
        .size = sizeof(eval), .tokens = tokens, .n_tokens = 5, .row = count_row, .arg = &rows};
    for (uint32_t i = 0; i < 40; i++) {
        rig_make(&t, i, 5, 3);
        t.request.wake = ring;
        t.request.wake_arg = &bell;
        rig_submit(&rig, &t);
        if (i % 2)
            rig_finish(&rig, &t, 1);
        else
            rig.engine->release(rig.engine->ctx, t.id);
        rz_check_ok(rz_loop_eval(rig.loop, &eval, &err), &err);
    }
    rz_check_eq(rows, 40 * 5);
    rig_close(&rig);
}

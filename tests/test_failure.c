/* test_failure.c - devices that fail: whom a failed step takes with it, what the others get from the device
 * that takes its place, and what is said where none does.
 */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* An engine whose device may be replaced by a second one. */
struct swap {
    struct rig rig;
    struct fake next;
    uint32_t n_calls, n_pages; /* n_pages: of the next device; 0: as many */
    int32_t rc;                /* of replace */
    char why[1100];
};

static int32_t replace(void *ctx, const struct rz_err *why, struct rz_engine_setup *setup, struct rz_err *err)
{
    struct swap *s = ctx;
    s->n_calls++;
    snprintf(s->why, sizeof(s->why), "%s: %s", why->where, why->message);
    if (s->rc)
        return rz_fail(err, s->rc, "swap", "there is no other device");
    if (s->n_pages)
        setup->limits.n_pages = s->n_pages;
    fake_init(&s->next, &setup->limits, setup->n_kv_groups);
    s->next.table.name = "second";
    s->next.never_end = s->rig.fake.never_end;
    memcpy(s->next.windows, setup->kv_windows, sizeof(s->next.windows));
    setup->device = &s->next.table;
    setup->plan = fake_plan(&s->next);
    setup->replace = NULL;
    return RZ_OK;
}

static void swap_setup(struct swap *s)
{
    *s = (struct swap){0};
    rig_setup(&s->rig);
    s->rig.setup.replace = replace;
    s->rig.setup.replace_ctx = s;
}

static void swap_close(struct swap *s)
{
    rig_close(&s->rig);
    rz_check_streq(s->next.breach, "");
    if (s->next.cells)
        fake_deinit(&s->next);
}

static struct rz_engine_device device_of(const struct swap *s, uint32_t i, int32_t want)
{
    struct rz_engine_device d = {.size = sizeof(d)};
    rz_check_eq(s->rig.engine->device(s->rig.engine->ctx, i, &d), want);
    return d;
}

/* Six requests for two places, the device fails in the step `at`. */
static void run_six(struct swap *s, uint64_t at, struct rig_ticket *tickets)
{
    s->rig.fake.never_end = 1;
    s->rig.fake.fail_from = at;
    for (uint32_t i = 0; i < 6; i++) {
        rig_make(&tickets[i], i, 9 + i, 12);
        rig_submit(&s->rig, &tickets[i]);
    }
    rig_finish(&s->rig, tickets, 6);
}

/* Errors of the step, or right texts; returns how many errors. */
static uint32_t count_errors(struct swap *s, const struct rig_ticket *tickets, uint64_t at)
{
    char says[64];
    uint32_t n = 0;
    snprintf(says, sizeof(says), "fake: step %llu failed: ", (unsigned long long)at);
    for (uint32_t i = 0; i < 6; i++) {
        const struct rig_output *out = &tickets[i].out;
        if (out->last.kind == RZ_EVENT_DONE) {
            rig_check(&s->rig, &tickets[i].request, out);
            continue;
        }
        rz_check_eq(out->last.kind, RZ_EVENT_ERROR);
        rz_check_eq(out->last.code, RZ_EDEVICE);
        rz_check_has(out->last.text, says);
        n++;
    }
    return n;
}

RZ_TEST(failure, another_device_goes_on)
{
    static struct rig_ticket tickets[6], later;
    static struct swap s;
    for (uint64_t at = 1; at <= 24; at++) {
        swap_setup(&s);
        s.rig.setup.limits.max_seqs = 2;
        s.rig.setup.limits.n_pages = 40;
        s.n_pages = at % 2 ? 20 : 0;
        rig_open(&s.rig);
        run_six(&s, at, tickets);
        uint32_t n = count_errors(&s, tickets, at);
        rz_check(n >= 1 && n <= 2);
        rz_check_eq(s.n_calls, 1);
        rz_check_has(s.why, "was told to fail");
        rig_make(&later, 77, 20, 10);
        rig_run(&s.rig, &later.request, &later.out);
        rig_check(&s.rig, &later.request, &later.out);
        struct rz_engine_device old = device_of(&s, 0, RZ_OK), new = device_of(&s, 1, RZ_OK);
        rz_check_eq(old.state, RZ_DEVICE_OUT);
        rz_check_eq(old.failures, 1);
        rz_check_streq(old.name, "fake");
        rz_check_has(old.why, "was told to fail");
        rz_check_eq(new.state, RZ_DEVICE_IN_USE);
        rz_check_eq(new.failures, 0);
        rz_check_streq(new.name, "second");
        device_of(&s, 2, RZ_END);
        rz_check_eq(rig_stats(&s.rig).failed, n);
        rz_check_eq(rig_stats(&s.rig).pages_total, s.n_pages ? s.n_pages : 40);
        swap_close(&s);
    }
}

RZ_TEST(failure, no_other_device)
{
    static struct rig_ticket tickets[6];
    static struct swap s;
    swap_setup(&s);
    s.rig.setup.limits.max_seqs = 2;
    s.rc = RZ_EDEVICE;
    rig_open(&s.rig);
    run_six(&s, 5, tickets);
    uint32_t n_carried = 0;
    for (uint32_t i = 0; i < 6; i++) {
        const struct rz_event *last = &tickets[i].out.last;
        rz_check_eq(last->kind, RZ_EVENT_ERROR);
        n_carried += last->code == RZ_EDEVICE;
        if (last->code != RZ_EDEVICE) {
            rz_check_eq(last->code, RZ_EBUSY);
            rz_check_streq(last->text, "swap: there is no other device");
        }
    }
    rz_check_eq(n_carried, 2);
    struct rz_err err = RZ_ERR_INIT;
    uint64_t ticket;
    rz_check_eq(s.rig.engine->submit(s.rig.engine->ctx, &tickets[0].request, &ticket, &err), RZ_EDEVICE);
    rz_check_streq(err.message, "there is no other device");
    rz_check_eq(s.rig.engine->save(s.rig.engine->ctx, tickets[0].prompt, 9, "/nowhere/x", &err), RZ_EDEVICE);
    rz_check_eq(s.rig.engine->restore(s.rig.engine->ctx, "/nowhere/x", &err), RZ_EDEVICE);
    struct rz_speed speed = {.size = sizeof(speed), .n_prompt = 4, .n_seqs = 1};
    rz_check_eq(rz_loop_speed(s.rig.loop, &speed, &err), RZ_EDEVICE);
    rz_check_eq(device_of(&s, 0, RZ_OK).state, RZ_DEVICE_OUT);
    device_of(&s, 1, RZ_END);
    rz_check_eq(s.rig.fake.n_executes, 5);
    swap_close(&s);
}

/* Other errors than RZ_EDEVICE may pass; three in a row do not. */
RZ_TEST(failure, three_in_a_row)
{
    static struct rig_ticket t;
    static struct swap s;
    swap_setup(&s);
    rig_open(&s.rig);
    s.rig.fake.fail_code = RZ_ENOMEM;
    for (uint32_t i = 0; i < 7; i++) {
        bool fails = i != 2;
        s.rig.fake.fail_at = fails && s.n_calls == 0 ? s.rig.fake.n_executes + 1 : 0;
        rig_make(&t, i, 9, 6);
        rig_run(&s.rig, &t.request, &t.out);
        bool carried = i < 2 || (i > 2 && i < 6);
        rz_check_eq(t.out.last.kind, carried ? RZ_EVENT_ERROR : RZ_EVENT_DONE);
        if (carried)
            rz_check_eq(t.out.last.code, RZ_ENOMEM);
        else
            rig_check(&s.rig, &t.request, &t.out);
    }
    rz_check_eq(s.n_calls, 1);
    rz_check_eq(device_of(&s, 0, RZ_OK).failures, 5);
    swap_close(&s);
}

/* Where nothing can take its place a step that failed says nothing about the next. */
RZ_TEST(failure, a_device_that_stays)
{
    static struct rig_ticket t;
    static struct swap s;
    swap_setup(&s);
    s.rig.setup.replace = NULL;
    rig_open(&s.rig);
    for (uint32_t i = 0; i < 6; i++) {
        s.rig.fake.fail_at = i < 5 ? s.rig.fake.n_executes + 1 : 0;
        rig_make(&t, i, 9, 6);
        rig_run(&s.rig, &t.request, &t.out);
        rz_check_eq(t.out.last.kind, i < 5 ? RZ_EVENT_ERROR : RZ_EVENT_DONE);
    }
    rz_check_eq(device_of(&s, 0, RZ_OK).failures, 5);
    rz_check_eq(device_of(&s, 0, RZ_OK).state, RZ_DEVICE_IN_USE);
    swap_close(&s);
}

/* A text that has grown beyond what the next device holds is ended, and one that is too long is refused. */
RZ_TEST(failure, fewer_pages)
{
    static struct rig_ticket tickets[2], t;
    static struct swap s;
    struct rz_err err = RZ_ERR_INIT;
    uint64_t ticket;
    swap_setup(&s);
    s.rig.setup.limits.max_seqs = s.rig.setup.limits.max_rows = s.rig.setup.max_batch_tokens = 1;
    s.n_pages = 5;
    rig_open(&s.rig);
    s.rig.fake.never_end = 1;
    s.rig.fake.fail_at = 40;
    rig_make(&tickets[0], 1, 30, 60); /* in the step that fails */
    rig_make(&tickets[1], 2, 25, 4);  /* waits: too long for the next */
    rig_make(&t, 3, 12, 50);          /* waits: its end comes sooner  */
    rig_submit(&s.rig, &tickets[0]);
    rig_submit(&s.rig, &tickets[1]);
    rig_submit(&s.rig, &t);
    rig_finish(&s.rig, tickets, 2);
    rig_finish(&s.rig, &t, 1);
    rz_check_eq(tickets[0].out.last.code, RZ_EDEVICE);
    rz_check_eq(tickets[1].out.last.code, RZ_ELIMIT);
    rz_check_streq(tickets[1].out.last.text, "prompt: 25 tokens do not fit a KV cache of 20");
    rz_check_eq(t.out.last.finish, RZ_FINISH_LENGTH);
    rz_check_eq(t.out.n, 8);
    rz_check_eq(s.rig.engine->submit(s.rig.engine->ctx, &tickets[1].request, &ticket, &err), RZ_ELIMIT);
    swap_close(&s);
}

/* A sequence for which a state is copied in a step that fails, and which has no row in it, begins anew. */
RZ_TEST(failure, a_copy_that_was_not_made)
{
    static struct rig_ticket known, first, second;
    static struct swap s;
    for (uint32_t with_pages = 0; with_pages < 2; with_pages++) {
        swap_setup(&s);
        s.rig.setup.replace = NULL;
        s.rig.setup.n_kv_groups = with_pages;
        s.rig.setup.limits.n_slots = 16;
        s.rig.setup.limits.max_rows = s.rig.setup.max_batch_tokens = 8;
        rig_open(&s.rig);
        s.rig.fake.never_end = 1;
        rig_make(&known, 5, 21, 1);
        rig_run(&s.rig, &known.request, &known.out);
        rig_make(&first, 6, 40, 4);
        rig_make(&second, 5, 31, 4); /* takes what is known of its prompt */
        s.rig.fake.fail_at = s.rig.fake.n_executes + 2;
        rig_submit(&s.rig, &first);
        rig_poll(&s.rig, &first);
        rig_submit(&s.rig, &second);
        while (!first.done)
            rig_poll(&s.rig, &first);
        rz_check_eq(first.out.last.kind, RZ_EVENT_ERROR);
        rig_finish(&s.rig, &second, 1);
        s.rig.engine->release(s.rig.engine->ctx, first.id);
        rig_check(&s.rig, &second.request, &second.out);
        swap_close(&s);
    }
}

/* --- beside other threads --- */

struct asker {
    struct swap *s;
    uint32_t seed, n_right, n_failed, n_wrong;
    pthread_t thread;
};

static void *ask(void *arg)
{
    struct asker *a = arg;
    const struct rz_engine *e = a->s->rig.engine;
    for (uint32_t i = 0; i < 30; i++) {
        struct rig_ticket t;
        struct rz_event ev = {.size = sizeof(ev)};
        struct rz_engine_stats stats = {.size = sizeof(stats)};
        struct rz_engine_device d = {.size = sizeof(d)};
        int32_t want[4096], rc;
        uint32_t n;
        rig_make(&t, a->seed * 100 + i, 5 + i, 8);
        t.request.prompt = t.prompt;
        if (e->submit(e->ctx, &t.request, &t.id, NULL)) {
            a->n_failed++;
            continue;
        }
        t.out.n = 0;
        while ((rc = e->poll(e->ctx, t.id, &ev, 10000)) == RZ_OK && ev.kind == RZ_EVENT_TOKEN)
            t.out.tokens[t.out.n++] = ev.token;
        e->stats(e->ctx, &stats);
        e->device(e->ctx, 0, &d);
        e->release(e->ctx, t.id);
        rig_expect(&a->s->rig, &t.request, want, &n);
        if (rc != RZ_OK || ev.kind == RZ_EVENT_ERROR)
            a->n_failed++;
        else if (t.out.n == n && !memcmp(want, t.out.tokens, n * sizeof(*want)))
            a->n_right++;
        else
            a->n_wrong++;
    }
    return NULL;
}

RZ_TEST(failure, requests_of_many_threads)
{
    static struct asker askers[4];
    static struct swap s;
    struct rz_err err = RZ_ERR_INIT;
    for (int32_t denied = 0; denied < 2; denied++) {
        uint32_t right = 0, failed = 0;
        swap_setup(&s);
        s.rc = denied ? RZ_EDEVICE : RZ_OK;
        rig_open(&s.rig);
        s.rig.fake.never_end = 1;
        s.rig.fake.fail_from = 60;
        rz_check_ok(rz_loop_start(s.rig.loop, &err), &err);
        for (uint32_t i = 0; i < 4; i++) {
            askers[i] = (struct asker){.s = &s, .seed = i};
            rz_check_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
        }
        for (uint32_t i = 0; i < 4; i++) {
            pthread_join(askers[i].thread, NULL);
            rz_check_eq(askers[i].n_wrong, 0);
            right += askers[i].n_right;
            failed += askers[i].n_failed;
        }
        rz_check_eq(right + failed, 120);
        rz_check(denied ? right && failed > 50 : failed >= 1 && failed <= 4);
        rz_check_eq(s.n_calls, 1);
        swap_close(&s);
    }
}

/* test_session.c - what was computed, in a file and back (core/engine/session.c), over the fake device. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct kind {
    uint32_t n_groups, n_slots, window;
};

static const struct kind kinds[] = {{1, 0, 0}, {2, 0, 0}, {2, 0, 9}, {0, 12, 0}, {2, 12, 0}};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static uint64_t model_number = 5;

static int32_t identify(void *ctx, uint64_t out[2], struct rz_err *err)
{
    (void)ctx, (void)err;
    out[0] = model_number;
    out[1] = 6;
    return RZ_OK;
}

static void open_kind(struct rig *rig, const struct kind *k)
{
    rig_setup(rig);
    rig->setup.n_kv_groups = k->n_groups;
    rig->setup.limits.n_slots = k->n_slots;
    rig->setup.identity = identify;
    if (k->window)
        rig->setup.kv_windows[1] = k->window;
    rig_open(rig);
}

static const char *file_name(void)
{
    static char name[64];
    snprintf(name, sizeof(name), "/tmp/rz_session_%d", (int)getpid());
    return name;
}

/* Runs a request of 50 tokens and saves it. */
static int64_t run_and_save(struct rig *rig, struct rig_ticket *t, struct rz_err *err)
{
    rig->fake.never_end = 1;
    rig_make(t, 3, 50, 14);
    rig_run(rig, &t->request, &t->out);
    rig_check(rig, &t->request, &t->out);
    memcpy(t->prompt + 50, t->out.tokens, 14 * sizeof(int32_t));
    return rig->engine->save(rig->engine->ctx, t->prompt, 64, file_name(), err);
}

RZ_TEST(session, goes_on_in_another_engine)
{
    static struct rig_ticket t;
    for (uint32_t k = 0; k < N_KINDS; k++) {
        struct rz_err err = RZ_ERR_INIT;
        struct rig rig;
        open_kind(&rig, &kinds[k]);
        rz_check_eq(run_and_save(&rig, &t, &err), 60);
        rig_close(&rig);
        open_kind(&rig, &kinds[k]);
        rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), 60);
        t.request.n_prompt = 64;
        t.request.prompt = t.prompt;
        rig_run(&rig, &t.request, &t.out);
        rig_check(&rig, &t.request, &t.out);
        rz_check_eq(t.out.last.n_cached, 60);
        rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), 60); /* is there already */
        rz_check_eq(rig.engine->save(rig.engine->ctx, t.prompt, 64, file_name(), &err),
                    kinds[k].n_slots ? 60 : 64); /* the state of 64 went in favour of later ones */
        rz_check_eq(rig.engine->save(rig.engine->ctx, t.prompt + 1, 50, file_name(), &err), 0);
        rig_close(&rig);
        unlink(file_name());
    }
}

/* While others run, with a loop thread. There is a state slot for every page that anybody can fill, so that
 * nothing gives way between restore and save, however the threads are timed. */
RZ_TEST(session, is_saved_and_restored_between_the_steps_of_others)
{
    static const struct kind roomy = {2, 200, 0};
    static struct rig_ticket t, others[6];
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    open_kind(&rig, &roomy);
    rz_check_ok(rz_loop_start(rig.loop, &err), &err);
    rz_check_eq(run_and_save(&rig, &t, &err), 60);
    for (uint32_t i = 0; i < 6; i++) {
        rig_make(&others[i], 50 + i, 20, 60);
        rig_submit(&rig, &others[i]);
    }
    for (uint32_t i = 0; i < 5; i++) {
        rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), 60);
        rz_check_eq(rig.engine->save(rig.engine->ctx, t.prompt, 64, file_name(), &err), 60);
    }
    rig_finish(&rig, others, 6);
    for (uint32_t i = 0; i < 6; i++)
        rig_check(&rig, &others[i].request, &others[i].out);
    rig_close(&rig);
    unlink(file_name());
}

/* --- bad files --- */

static uint8_t bytes[1 << 16];
static size_t n_bytes;

static void read_file(void)
{
    FILE *f = fopen(file_name(), "rb");
    rz_check(f != NULL);
    n_bytes = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
}

static int64_t restore_bytes(struct rig *rig, size_t n, struct rz_err *err)
{
    FILE *f = fopen(file_name(), "wb");
    rz_check(f != NULL);
    rz_check_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
    *err = (struct rz_err)RZ_ERR_INIT;
    return rig->engine->restore(rig->engine->ctx, file_name(), err);
}

RZ_TEST(session, no_damage_goes_unseen)
{
    static struct rig_ticket t;
    for (uint32_t k = 0; k < N_KINDS; k++) {
        struct rz_err err = RZ_ERR_INIT;
        struct rig rig;
        open_kind(&rig, &kinds[k]);
        rz_check_eq(run_and_save(&rig, &t, &err), 60);
        rig_close(&rig);
        read_file();
        open_kind(&rig, &kinds[k]);
        for (size_t i = 0; i < n_bytes; i += i < 240 ? 1 : 131) {
            bytes[i] ^= (uint8_t)(1u << i % 8);
            rz_check(restore_bytes(&rig, n_bytes, &err) < 0);
            rz_check(err.message[0] != 0);
            bytes[i] ^= (uint8_t)(1u << i % 8);
        }
        for (size_t n = 0; n < n_bytes; n += n < 300 ? 23 : 701) {
            rz_check(restore_bytes(&rig, n, &err) < 0);
            rz_check(err.message[0] != 0);
        }
        rz_check_eq(restore_bytes(&rig, n_bytes + 1, &err), RZ_EFORMAT);
        rz_check_has(err.message, "cut or damaged");
        /* Nothing of all that is in the cache. */
        rig_make(&t, 3, 50, 14);
        rig_run(&rig, &t.request, &t.out);
        rz_check_eq(t.out.last.n_cached, 0);
        rz_check_eq(restore_bytes(&rig, n_bytes, &err), 60);
        rig_close(&rig);
        unlink(file_name());
    }
}

RZ_TEST(session, another_model_or_shape_is_refused)
{
    static struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    open_kind(&rig, &kinds[1]);
    rz_check_eq(run_and_save(&rig, &t, &err), 60);
    model_number = 77;
    rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), RZ_EINVAL);
    rz_check_has(err.message, "another model");
    model_number = 5;
    rig_close(&rig);
    open_kind(&rig, &kinds[0]);
    rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), RZ_EINVAL);
    rz_check_has(err.message, "shape");
    rz_check_eq(rig.engine->restore(rig.engine->ctx, "/nonexistent/file", &err), RZ_ENOTFOUND);
    rz_check(rig.engine->save(rig.engine->ctx, t.prompt, 64, "/nonexistent/file", &err) ==
             0); /* nothing kept */
    rz_check(run_and_save(&rig, &t, &err) == 60);
    rz_check_eq(rig.engine->save(rig.engine->ctx, t.prompt, 64, "/nonexistent/file", &err), RZ_EIO);
    rig_close(&rig);
    rig_setup(&rig);
    rig.setup.limits.max_context = 40;
    rig.setup.n_kv_groups = 1;
    rig.setup.identity = identify;
    rig_open(&rig);
    rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), RZ_ELIMIT);
    rig_close(&rig);
    rig_setup(&rig);
    rig.setup.prefix_cache = false;
    rig.setup.identity = identify;
    rig_open(&rig);
    rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), RZ_EUNSUPPORTED);
    rig_close(&rig);
    unlink(file_name());
}

/* A pool that others fill has no room for it. */
RZ_TEST(session, needs_free_pages)
{
    static struct rig_ticket t, other;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    open_kind(&rig, &kinds[1]);
    rz_check_eq(run_and_save(&rig, &t, &err), 60);
    rig_close(&rig);
    rig_setup(&rig);
    rig.setup.identity = identify;
    rig.setup.limits.n_pages = 32;
    rig_open(&rig);
    rig_make(&other, 9, 100, 10);
    rig_submit(&rig, &other);
    for (uint32_t i = 0; i < 4; i++)
        rig.engine->step(rig.engine->ctx, NULL);
    rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), RZ_EBUSY);
    rig_finish(&rig, &other, 1);
    rig_check(&rig, &other.request, &other.out);
    rz_check_eq(rig.engine->restore(rig.engine->ctx, file_name(), &err), 60);
    rig_close(&rig);
    unlink(file_name());
}

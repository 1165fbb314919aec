/* test_pace.c - the size of the team: machines made up of a cost for each size, and a real team whose second
 * member is slow.
 */
#include "rz_test.h"

#include "err.h"
#include "exec.h"
#include "pace.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

/* Nanoseconds of a step on n members, and whether somebody slept. */
struct machine {
    uint64_t ns[9];
    bool sleeps[9];
};

/* Runs steps; the sizes of the last ones, as counts. */
static void run(struct rz_team_pace *p, const struct machine *m, uint64_t work, uint32_t steps,
                uint32_t *sizes)
{
    for (uint32_t i = 0; i < 9; i++)
        sizes[i] = 0;
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t n = rz_team_pace_size(p, work);
        rz_check(n >= 1 && n <= p->most);
        sizes[n]++;
        rz_team_pace_done(p, m->ns[n], m->sleeps[n]);
    }
}

RZ_TEST(pace, a_quiet_machine_keeps_all)
{
    struct machine quiet = {.ns = {0, 900, 500, 350, 280}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 4);
    run(&p, &quiet, 1, 1000, sizes);
    rz_check_eq(sizes[4], 1000);
}

RZ_TEST(pace, shrinks_where_that_is_faster_and_grows_back)
{
    struct machine quiet = {.ns = {0, 900, 500}},
                   busy = {.ns = {0, 900, 1500}, .sleeps = {false, false, true}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 2);
    run(&p, &busy, 1, 3 * RZ_TEAM_PACE_WINDOW, sizes);
    rz_check_eq(p.size, 1);
    run(&p, &busy, 1, 4000, sizes); /* looks now and then whether the core is back */
    rz_check(sizes[2] > 0);
    rz_check(sizes[2] < 4000 / 20);
    run(&p, &quiet, 1, 40 * RZ_TEAM_PACE_WINDOW, sizes);
    rz_check_eq(p.size, 2);
    run(&p, &quiet, 1, 1000, sizes);
    rz_check_eq(sizes[2], 1000);
}

RZ_TEST(pace, keeps_all_where_less_is_slower)
{
    struct machine m = {.ns = {0, 2000, 1500, 1200}, .sleeps = {false, false, true, true}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 3);
    run(&p, &m, 1, 8000, sizes);
    rz_check_eq(p.size, 3);
    rz_check_eq(sizes[1], 0);
    rz_check(sizes[2] < 8000 / 20);
}

/* With half the members a step takes twice as long: seen after one, and looked at again ever more rarely. */
RZ_TEST(pace, a_lost_trial_costs_a_step)
{
    struct machine m = {.ns = {0, 2000, 1000}, .sleeps = {false, false, true}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 2);
    run(&p, &m, 1, 2 * RZ_TEAM_PACE_WINDOW, sizes);
    rz_check_eq(sizes[1], 1);
    run(&p, &m, 1, 100 * RZ_TEAM_PACE_WINDOW, sizes);
    rz_check(sizes[1] > 0 && sizes[1] <= 6);
}

RZ_TEST(pace, long_steps_are_no_place_for_trials)
{
    struct machine m = {.ns = {0, 2000, 1000}, .sleeps = {false, false, true}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 2);
    run(&p, &m, 512, 100 * RZ_TEAM_PACE_WINDOW, sizes);
    rz_check_eq(sizes[1], 0);
}

/* What is faster by less than the noise is no reason to change. */
RZ_TEST(pace, keeps_all_where_less_is_hardly_faster)
{
    struct machine m = {.ns = {0, 980, 1000}, .sleeps = {false, false, true}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 2);
    run(&p, &m, 1, 8000, sizes);
    rz_check_eq(p.size, 2);
    rz_check(sizes[1] > 0 && sizes[1] < 8000 / 20);
}

RZ_TEST(pace, finds_its_way_down_more_than_one)
{
    struct machine m = {.ns = {0, 1000, 600, 2000, 3000}, .sleeps = {false, false, false, true, true}};
    struct rz_team_pace p;
    uint32_t sizes[9];
    rz_team_pace_init(&p, 4);
    run(&p, &m, 1, 20 * RZ_TEAM_PACE_WINDOW, sizes);
    rz_check_eq(p.size, 2);
}

RZ_TEST(pace, compares_steps_of_one_size_only)
{
    struct machine m = {.ns = {0, 10, 1500}, .sleeps = {false, false, true}};
    struct rz_team_pace p;
    rz_team_pace_init(&p, 2);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t n = rz_team_pace_size(&p, i % 7);
        rz_check_eq(n, 2);
        rz_team_pace_done(&p, m.ns[n], m.sleeps[n]);
    }
}

#define TILES 64

struct job {
    atomic_uint done[TILES];
    atomic_uint entered, smaller;
    uint32_t all;
};

static void work(void *arg, struct rz_team *team, uint32_t tid)
{
    struct job *j = arg;
    atomic_fetch_add(&j->entered, 1);
    if (tid == 0 && team->n_threads < j->all)
        atomic_fetch_add(&j->smaller, 1);
    for (int round = 0; round < 2; round++) {
        team->share(team, tid, TILES);
        for (int32_t t; (t = team->take(team, tid)) >= 0;)
            atomic_fetch_add(&j->done[t], 1);
        if (tid == 1) /* as if it had lost its core */
            nanosleep(&(struct timespec){0, 2000000}, NULL);
        team->barrier(team, tid);
    }
}

RZ_TEST(pace, every_tile_is_done_once_on_a_team_of_changing_size)
{
    enum {
        STEPS = 120
    };
    static struct job j;
    struct rz_pool *pool;
    struct rz_err err = RZ_ERR_INIT;
    j.all = 3;
    rz_check_ok(rz_pool_new(3, &pool, &err), &err);
    for (int i = 0; i < STEPS; i++)
        rz_pool_step(pool, 1, work, &j);
    for (int t = 0; t < TILES; t++)
        rz_check_eq(atomic_load(&j.done[t]), 2 * STEPS);
    rz_check(atomic_load(&j.smaller) > 0); /* without the slow member steps take microseconds */
    rz_check(atomic_load(&j.entered) < 3 * STEPS);
    rz_pool_free(pool);
}

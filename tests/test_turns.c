/* test_turns.c - one team for the loops of several models: turns in the order in which they were asked for,
 * and long work in short ones.
 */
#include "rz_test.h"

#include "err.h"
#include "exec.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define TURNS 60

struct user {
    struct rz_pool *pool;
    _Atomic uint32_t turns;
    atomic_bool *over;
};

static void sleep_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

static void work(void *arg, struct rz_team *team, uint32_t tid)
{
    (void)arg;
    team->barrier(team, tid);
    sleep_us(2000); /* far longer than the other one takes to ask again */
}

static void *use(void *arg)
{
    struct user *u = arg;
    while (!atomic_load(u->over)) {
        rz_pool_run(u->pool, work, NULL);
        atomic_fetch_add(&u->turns, 1);
    }
    return NULL;
}

/* Counted from where both have begun. The other one asks while this one computes, so neither can have many
 * turns more. */
RZ_TEST(turns, loops_take_turns)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_pool *pool;
    atomic_bool over = false;
    rz_check_ok(rz_pool_new(2, &pool, &err), &err);
    struct user a = {.pool = pool, .over = &over}, b = {.pool = pool, .over = &over};
    pthread_t threads[2];
    rz_check(!pthread_create(&threads[0], NULL, use, &a) && !pthread_create(&threads[1], NULL, use, &b));
    while (!atomic_load(&a.turns) || !atomic_load(&b.turns))
        sleep_us(20);
    uint32_t a0 = atomic_load(&a.turns), b0 = atomic_load(&b.turns), n = 0, m = 0;
    while (n < TURNS && m < TURNS) {
        sleep_us(20);
        n = atomic_load(&a.turns) - a0, m = atomic_load(&b.turns) - b0;
    }
    uint32_t less = n < m ? n : m;
    atomic_store(&over, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    rz_pool_free(pool);
    rz_check(less > TURNS / 2); /* strictly in turn, but where one was kept from asking */
}

struct tasks {
    _Atomic uint32_t done[1000];
    _Atomic uint32_t n, most;
};

static void count(void *arg, uint32_t i)
{
    struct tasks *t = arg;
    atomic_fetch_add(&t->done[i], 1);
    atomic_fetch_add(&t->n, 1);
}

static bool enough(void *arg)
{
    struct tasks *t = arg;
    return atomic_load(&t->n) >= atomic_load(&t->most);
}

RZ_TEST(turns, slices_do_each_task_once)
{
    struct rz_err err = RZ_ERR_INIT;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct rz_pool *pool;
        struct tasks *t = calloc(1, sizeof(*t));
        rz_check(t);
        rz_check_ok(rz_pool_new(n_threads, &pool, &err), &err);
        rz_check_eq(rz_pool_slices(pool, 0, NULL, NULL, count, t), 0);
        rz_check_eq(rz_pool_slices(pool, 1000, NULL, NULL, count, t), 1000);
        for (uint32_t i = 0; i < 1000; i++)
            rz_check_eq(atomic_load(&t->done[i]), 1);
        atomic_store(&t->n, 0);
        atomic_store(&t->most, 5);
        uint32_t done = rz_pool_slices(pool, 1000, enough, t, count, t);
        rz_check(done >= 5 && done < 1000);
        for (uint32_t i = 0; i < 1000; i++)
            rz_check_eq(atomic_load(&t->done[i]), i < done ? 2 : 1);
        rz_pool_free(pool);
        free(t);
    }
}

/* team.c - the only threads that compute: a pool, its barrier, and the sharing out of tiles.
 *
 * Waiting spins for a short while and then sleeps on a futex: a step's barriers are microseconds apart,
 * but a thread that lost its core to somebody else must not be waited for by burning the other one.
 * A job runs on the first members of the team, as many as pace.c says where the caller measures its jobs.
 * Invariant: between two shares of tiles lies a barrier, so a member's range is reset only after
 * everybody has stopped taking from it.
 */
#include "exec.h"

#include "err.h"
#include "pace.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPINS_BARRIER 4000 /* about 60 us of pauses: above a usual wait, near the cost of one wake-up */
#define SPINS_IDLE 20000   /* between two steps a sampler runs for some hundred microseconds          */
#define SPINS_LEAST 64     /* what is left of either when waiting this way did not pay */
#define THREADS_MAX 512
#define LINE 64           /* bytes of a cache line */
#define SLICE_NS 4000000u /* about the longest turn of long work */

/* A counter that threads wait on. spins: how long it pays to spin, learnt from the waits: where the
 * cores are shared with other programs almost every wait outlasts it, and spinning only keeps the
 * awaited thread from its core. */
struct gate {
    _Alignas(LINE) _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
    _Atomic uint32_t spins;
    uint32_t spins_most;
};

/* Tiles [next, end) of one member, in one word (next in the low half) so that a taker never sees the
 * ends of two different shares. */
struct range {
    _Alignas(LINE) _Atomic uint64_t span;
};

struct rz_pool {
    struct rz_team team; /* first: the functions below get it back from here; n_threads: of this job */
    uint32_t n;          /* all members */
    struct gate phase;   /* generation of the barrier            */
    _Alignas(LINE) _Atomic uint32_t arrived;
    struct gate *jobs; /* [n] number of jobs that the member was given */
    struct gate done;
    _Atomic bool slept; /* somebody did, at a barrier of this job or at its end */
    struct rz_team_pace pace;
    void (*fn)(void *arg, struct rz_team *team, uint32_t tid);
    void *arg;
    _Atomic bool stop;
    struct range *ranges;
    pthread_t *threads;
    struct rz_host_threads table;
    /* The loops of several models take turns, in the order in which they came: whoever has just had one does
     * not get the next while another waits. */
    _Alignas(LINE) _Atomic uint64_t turns_asked;
    _Atomic uint64_t turns_over;
    pthread_mutex_t turn_lock; /* to wait */
    pthread_cond_t turn_over;
};

struct member {
    struct rz_pool *pool;
    uint32_t tid;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void gate_init(struct gate *g, uint32_t spins_most)
{
    *g = (struct gate){.spins = spins_most, .spins_most = spins_most};
}

/* Waits until the gate's value differs from seen. True: it had to sleep. */
static bool gate_wait(struct gate *g, uint32_t seen)
{
    uint32_t spins = atomic_load_explicit(&g->spins, memory_order_relaxed);
    for (uint32_t i = 0; i < spins; i++) {
        if (atomic_load_explicit(&g->value, memory_order_acquire) != seen) {
            uint32_t more = spins + spins / 16 + 1;
            more = more < g->spins_most ? more : g->spins_most;
            if (spins < g->spins_most)
                atomic_store_explicit(&g->spins, more, memory_order_relaxed);
            return false;
        }
        pause_cpu();
    }
    atomic_store_explicit(&g->spins, spins / 2 > SPINS_LEAST ? spins / 2 : SPINS_LEAST, memory_order_relaxed);
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->value) == seen)
        syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
    return true;
}

static void gate_open(struct gate *g)
{
    atomic_fetch_add(&g->value, 1);
    if (atomic_load(&g->sleepers))
        syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, THREADS_MAX, NULL, NULL, 0);
}

static void team_barrier(struct rz_team *team, uint32_t tid)
{
    struct rz_pool *p = (struct rz_pool *)team;
    (void)tid;
    if (team->n_threads == 1)
        return;
    uint32_t phase = atomic_load_explicit(&p->phase.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == team->n_threads) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        gate_open(&p->phase);
    } else if (gate_wait(&p->phase, phase)) {
        atomic_store_explicit(&p->slept, true, memory_order_relaxed);
    }
}

static void team_share(struct rz_team *team, uint32_t tid, uint32_t n)
{
    struct rz_pool *p = (struct rz_pool *)team;
    struct range *r = &p->ranges[tid];
    uint64_t begin = (uint64_t)n * tid / team->n_threads, end = (uint64_t)n * (tid + 1) / team->n_threads;
    atomic_store_explicit(&r->span, begin | end << 32, memory_order_release);
}

static int32_t team_take(struct rz_team *team, uint32_t tid)
{
    struct rz_pool *p = (struct rz_pool *)team;
    uint32_t members = team->n_threads;
    if (members == 1) { /* nobody to race with */
        uint64_t span = atomic_load_explicit(&p->ranges->span, memory_order_relaxed);
        if ((uint32_t)span >= span >> 32)
            return -1;
        atomic_store_explicit(&p->ranges->span, span + 1, memory_order_relaxed);
        return (int32_t)(uint32_t)span;
    }
    for (uint32_t i = 0; i < members; i++) { /* own range first, then the next members' */
        struct range *r = &p->ranges[(tid + i) % members];
        uint64_t span = atomic_load_explicit(&r->span, memory_order_acquire);
        while ((uint32_t)span < span >> 32)
            if (atomic_compare_exchange_weak_explicit(&r->span, &span, span + 1, memory_order_acq_rel,
                                                      memory_order_acquire))
                return (int32_t)(uint32_t)span;
    }
    return -1;
}

static void *member_main(void *arg)
{
    struct member m = *(struct member *)arg;
    free(arg);
    struct rz_pool *p = m.pool;
    for (uint32_t seen = 0;; seen++) {
        gate_wait(&p->jobs[m.tid], seen);
        if (atomic_load(&p->stop))
            return NULL;
        p->fn(p->arg, &p->team, m.tid);
        gate_open(&p->done);
    }
}

static void take_turn(struct rz_pool *p)
{
    uint64_t mine = atomic_fetch_add(&p->turns_asked, 1);
    if (atomic_load(&p->turns_over) == mine)
        return;
    pthread_mutex_lock(&p->turn_lock);
    while (atomic_load(&p->turns_over) != mine)
        pthread_cond_wait(&p->turn_over, &p->turn_lock);
    pthread_mutex_unlock(&p->turn_lock);
}

/* Whoever asks after this has looked finds the turn over. */
static void end_turn(struct rz_pool *p)
{
    uint64_t over = atomic_fetch_add(&p->turns_over, 1) + 1;
    if (atomic_load(&p->turns_asked) == over)
        return;
    pthread_mutex_lock(&p->turn_lock);
    pthread_cond_broadcast(&p->turn_over);
    pthread_mutex_unlock(&p->turn_lock);
}

/* On the first n members; the caller has its turn. */
static void run_on(struct rz_pool *p, uint32_t n, void (*fn)(void *arg, struct rz_team *team, uint32_t tid),
                   void *arg)
{
    p->fn = fn;
    p->arg = arg;
    p->team.n_threads = n;
    uint32_t target = atomic_load(&p->done.value) + n - 1;
    for (uint32_t i = 1; i < n; i++)
        gate_open(&p->jobs[i]);
    fn(arg, &p->team, 0);
    for (uint32_t v; (v = atomic_load_explicit(&p->done.value, memory_order_acquire)) != target;)
        if (gate_wait(&p->done, v))
            atomic_store_explicit(&p->slept, true, memory_order_relaxed);
}

void rz_pool_run(struct rz_pool *p, void (*fn)(void *arg, struct rz_team *team, uint32_t tid), void *arg)
{
    take_turn(p);
    run_on(p, p->n, fn, arg);
    end_turn(p);
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void rz_pool_step(struct rz_pool *p, uint64_t work, void (*fn)(void *arg, struct rz_team *team, uint32_t tid),
                  void *arg)
{
    take_turn(p);
    if (p->n == 1) {
        run_on(p, 1, fn, arg);
    } else {
        uint64_t start = clock_ns();
        atomic_store_explicit(&p->slept, false, memory_order_relaxed);
        run_on(p, rz_team_pace_size(&p->pace, work), fn, arg);
        rz_team_pace_done(&p->pace, clock_ns() - start,
                          atomic_load_explicit(&p->slept, memory_order_relaxed));
    }
    end_turn(p);
}

uint32_t rz_pool_size(const struct rz_pool *p)
{
    return p->n;
}

/* --- rz.host.threads/1 --- */

struct loop {
    uint32_t n;
    void (*fn)(void *arg, uint32_t i);
    void *arg;
};

static void loop_run(void *arg, struct rz_team *team, uint32_t tid)
{
    const struct loop *l = arg;
    team->share(team, tid, l->n);
    for (int32_t i; (i = team->take(team, tid)) >= 0;)
        l->fn(l->arg, (uint32_t)i);
    team->barrier(team, tid);
}

static void parallel_for(void *ctx, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg)
{
    struct loop l = {n, fn, arg};
    if (n == 1)
        fn(arg, 0);
    else if (n)
        rz_pool_run(ctx, loop_run, &l);
}

/* Tasks of a slice are those of the whole from `first` on. */
struct slice {
    void (*fn)(void *arg, uint32_t i);
    void *arg;
    uint32_t first;
};

static void slice_task(void *arg, uint32_t i)
{
    const struct slice *s = arg;
    s->fn(s->arg, s->first + i);
}

uint32_t rz_pool_slices(struct rz_pool *p, uint32_t n, bool (*stop)(void *ctx), void *ctx,
                        void (*fn)(void *arg, uint32_t i), void *arg)
{
    uint32_t done = 0, size = 2 * p->n;
    while (done < n && !(stop && stop(ctx))) {
        struct slice s = {fn, arg, done};
        uint32_t some = n - done < size ? n - done : size;
        uint64_t begin = clock_ns();
        parallel_for(p, some, slice_task, &s);
        uint64_t took = clock_ns() - begin;
        if (took < SLICE_NS / 2 && size < n)
            size *= 2;
        else if (took > SLICE_NS && size > p->n)
            size /= 2;
        done += some;
    }
    return done;
}

const struct rz_host_threads *rz_pool_table(struct rz_pool *p)
{
    return &p->table;
}

/* --- life --- */

static int32_t start_member(struct rz_pool *p, uint32_t tid)
{
    struct member *m = malloc(sizeof(*m));
    if (!m)
        return RZ_ENOMEM;
    *m = (struct member){p, tid};
    if (pthread_create(&p->threads[tid], NULL, member_main, m)) {
        free(m);
        return RZ_EIO;
    }
    return RZ_OK;
}

static void stop_members(struct rz_pool *p, uint32_t n)
{
    atomic_store(&p->stop, true);
    for (uint32_t i = 1; i < n; i++) {
        gate_open(&p->jobs[i]);
        pthread_join(p->threads[i], NULL);
    }
}

int32_t rz_pool_new(uint32_t n, struct rz_pool **out, struct rz_err *err)
{
    if (n < 1 || n > THREADS_MAX)
        return rz_fail(err, RZ_ELIMIT, "threads", "%u: must be 1..%u", n, THREADS_MAX);
    struct rz_pool *p = aligned_alloc(LINE, (sizeof(*p) + LINE - 1) / LINE * LINE);
    if (!p)
        return rz_fail(err, RZ_ENOMEM, "threads", "no memory for a team of %u", n);
    *p = (struct rz_pool){.n = n};
    pthread_mutex_init(&p->turn_lock, NULL);
    pthread_cond_init(&p->turn_over, NULL);
    gate_init(&p->phase, SPINS_BARRIER);
    gate_init(&p->done, SPINS_BARRIER);
    rz_team_pace_init(&p->pace, n);
    p->team = (struct rz_team){.size = sizeof(p->team),
                               .n_threads = n,
                               .barrier = team_barrier,
                               .share = team_share,
                               .take = team_take};
    p->table = (struct rz_host_threads){
        .size = sizeof(p->table), .ctx = p, .n_threads = n, .parallel_for = parallel_for};
    p->ranges = aligned_alloc(LINE, n * sizeof(*p->ranges));
    p->jobs = aligned_alloc(LINE, n * sizeof(*p->jobs));
    p->threads = calloc(n, sizeof(*p->threads));
    uint32_t started = 1;
    if (!p->ranges || !p->jobs || !p->threads)
        goto fail;
    for (uint32_t i = 0; i < n; i++) {
        p->ranges[i] = (struct range){0};
        gate_init(&p->jobs[i], SPINS_IDLE);
    }
    for (; started < n; started++)
        if (start_member(p, started))
            goto fail;
    *out = p;
    return RZ_OK;
fail:
    rz_fail(err, RZ_EIO, "threads", "cannot start thread %u of %u", started, n);
    stop_members(p, started);
    free(p->ranges);
    free(p->jobs);
    free(p->threads);
    free(p);
    return RZ_EIO;
}

void rz_pool_free(struct rz_pool *p)
{
    if (!p)
        return;
    stop_members(p, p->n);
    free(p->ranges);
    free(p->jobs);
    free(p->threads);
    free(p);
}

/* exec.h - the CPU device: the thread team, the choice of kernel rows, plans and their walker.
 *
 * It knows ops only as numbers with operands and no instruction set at all: whatever can run comes from
 * kernel tables (rz.kernels/1). It owns scratch, KV and prepared weights of its plans.
 */
#ifndef RZ_EXEC_H
#define RZ_EXEC_H

#include "cache.h"

#include <rz/device.h>
#include <rz/kernels.h>
#include <stdbool.h>

/* --- team.c --- */

struct rz_pool;

/* n threads: the caller's and n - 1 of the pool's own. */
int32_t rz_pool_new(uint32_t n, struct rz_pool **out, struct rz_err *err);
void rz_pool_free(struct rz_pool *pool);
/* Runs fn(arg, team, tid) on all members and returns when all have returned. Callers take
 * turns. */
void rz_pool_run(struct rz_pool *pool, void (*fn)(void *arg, struct rz_team *team, uint32_t tid), void *arg);
/* The same on as many members as pace.h finds best; work: what makes jobs alike in size. */
void rz_pool_step(struct rz_pool *pool, uint64_t work,
                  void (*fn)(void *arg, struct rz_team *team, uint32_t tid), void *arg);
uint32_t rz_pool_size(const struct rz_pool *pool);
/* Runs fn(arg, i) for i = 0..n-1 in many short turns, so that steps of other models come between. Returns how
 * many were run: less than n if stop(ctx) was true between two turns. stop may be NULL. */
uint32_t rz_pool_slices(struct rz_pool *pool, uint32_t n, bool (*stop)(void *ctx), void *ctx,
                        void (*fn)(void *arg, uint32_t i), void *arg);
/* rz.host.threads/1 over the pool. */
const struct rz_host_threads *rz_pool_table(struct rz_pool *pool);

/* --- cpu.c --- */

/* A kernel table in order of preference. named: by the user, so that rows without the invariant flag
 * may be used (with a warning). */
struct rz_cpu_table {
    const struct rz_kernels *kernels;
    const char *name;
    bool named;
    const char *build; /* changes with each build of the plugin; NULL: its layouts are not cached */
};

/* What to do when the last table runs a node although others are there: the values of [rz] fallback. */
#define RZ_FALLBACK_ALLOW 0
#define RZ_FALLBACK_WARN 1
#define RZ_FALLBACK_DENY 2

struct rz_cpu_setup {
    const struct rz_cpu_table *tables;
    uint32_t n_tables;
    int32_t fallback; /* RZ_FALLBACK_* */
    struct rz_pool *pool;
    struct rz_cache_setup cache; /* of prepared weights */
    /* Told which mapped bytes of weights are hardly read again, by any member of the team (may be NULL). */
    void (*forget)(void *ctx, const void *from, uint64_t bytes);
    void (*warn)(void *ctx, const char *text);
    /* Asked while weights are prepared: true ends a compile with RZ_ECANCELLED (may be NULL). */
    bool (*stop)(void *ctx);
    /* Not NULL: macros fall apart, and each matmul's input is shown before it runs. */
    void (*observe)(void *ctx, const struct rz_str *weight, const struct rz_view *x);
    void *ctx;
};

struct rz_cpu;

/* The tables and the pool outlive the device. */
int32_t rz_cpu_new(const struct rz_cpu_setup *setup, struct rz_cpu **out, struct rz_err *err);
void rz_cpu_free(struct rz_cpu *cpu);
const struct rz_device *rz_cpu_device(struct rz_cpu *cpu);

#endif

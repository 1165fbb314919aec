/* engine.h - the engine's inner interface: a model that can run, and the loop over it.
 *
 * The engine owns KV pages (kv.c), scheduling (sched.c), sampling (sample.c) and requests. It knows a
 * device only as rz.device/1 and a tokenizer only as rz.tokenizer/1, so that tests give it fakes.
 */
#ifndef RZ_ENGINE_INNER_H
#define RZ_ENGINE_INNER_H

#include <rz/device.h>
#include <rz/engine.h>
#include <rz/tokenizer.h>
#include <stdbool.h>

/* What an engine runs on. Everything is borrowed and outlives the engine. */
struct rz_engine_setup {
    const struct rz_device *device;
    struct rz_plan *plan;
    const struct rz_tokenizer *tokenizer; /* NULL: events carry no text */
    void *tok;
    uint32_t n_vocab, n_embd;
    uint32_t n_kv_groups;
    uint32_t kv_windows[8];       /* of each group; 0: none                                     */
    uint32_t mask;                /* RZ_MASK_* of every sequence                                */
    uint32_t pooling;             /* RZ_POOL_* of a request that leaves it to the model         */
    uint32_t rope_switch;         /* sequences that may grow beyond have rope variant 1; 0: none do */
    struct rz_plan_limits limits; /* as the plan was compiled */
    uint32_t max_batch_tokens;    /* rows of one step; <= limits.max_rows */
    uint32_t max_queue;           /* requests waiting or running          */
    uint64_t max_ms;              /* longest time of a request; 0: no limit */
    uint32_t step_ms;             /* longest time of a step with prompts that others wait for; 0: no limit */
    bool prefix_cache;            /* pages are kept for prompts that begin alike */
    bool top_k; /* the device is asked for the k best where a request's sampler needs no more */
    /* Runs fn(arg, i) for i = 0..n-1, perhaps in parallel (sampling rows). NULL: a plain loop. */
    void (*parallel_for)(void *ctx, uint32_t n, void (*fn)(void *arg, uint32_t i), void *arg);
    void *parallel_ctx;
    /* Checked before each step: an error fails all running requests (a file changed while mapped). */
    int32_t (*check)(void *ctx, struct rz_err *err);
    void *check_ctx;
    /* The device is lost: puts another device and plan into setup, and limits, which are the same but for
     * fewer pages and another kv_type. The plan that failed is not used any more, whatever comes of it. An
     * error: nothing takes its place, and requests are refused with these words. In the stepping thread,
     * which waits for it. NULL: a step that fails says nothing about the next. */
    int32_t (*replace)(void *ctx, const struct rz_err *why, struct rz_engine_setup *setup,
                       struct rz_err *err);
    void *replace_ctx;
    /* A number for model, settings and kernels, which sessions carry. NULL: there are no sessions. */
    int32_t (*identity)(void *ctx, uint64_t out[2], struct rz_err *err);
    void *identity_ctx;
};

struct rz_loop;

int32_t rz_loop_new(const struct rz_engine_setup *setup, struct rz_loop **out, struct rz_err *err);
/* Ends the loop thread if there is one and frees everything. */
void rz_loop_free(struct rz_loop *loop);
/* The rz.engine/1 view. */
const struct rz_engine *rz_loop_table(struct rz_loop *loop);
/* From now on a thread of its own does the steps. */
int32_t rz_loop_start(struct rz_loop *loop, struct rz_err *err);
/* Takes no new requests; waits at most drain_ms for the running ones, cancels the rest, ends the thread. */
void rz_loop_stop(struct rz_loop *loop, uint32_t drain_ms);

/* Evaluation and speed runs over the same pages and plan, in the caller's thread; RZ_EBUSY while
 * requests run. */
int32_t rz_loop_eval(struct rz_loop *loop, const struct rz_eval *eval, struct rz_err *err);
int32_t rz_loop_speed(struct rz_loop *loop, struct rz_speed *speed, struct rz_err *err);

#endif

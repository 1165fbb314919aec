/* loop.h - what the files of the loop share: loop.c steps, table.c is rz.engine/1, eval.c and speed.c
 * use the plan directly.
 *
 * One mutex guards everything but the setup. Whoever does a step (or an evaluation) sets `busy` and may
 * then give the mutex up while it computes: nobody else steps, frees requests or pages meanwhile.
 */
#ifndef RZ_ENGINE_LOOP_H
#define RZ_ENGINE_LOOP_H

#include "constrain.h"
#include "request.h"

#include <pthread.h>

struct rz_loop {
    struct rz_engine_setup setup;
    struct rz_engine table;
    struct rz_tokenizer_info info; /* n_end = 0 without a tokenizer */
    struct rz_kv kv;
    struct rz_prefix prefix;
    struct rz_sched sched;
    struct rz_constraints *constraints; /* NULL without a tokenizer */
    struct rz_sample_scratch *scratch;  /* [n_scratch] */
    uint32_t n_scratch;
    struct rz_spec_pool spec;

    pthread_mutex_t mutex;
    pthread_cond_t work;    /* wakes the loop thread: kick is set              */
    pthread_cond_t changed; /* events came, a step or evaluation ended         */
    bool kick, busy, closing, quit, threaded;
    uint32_t n_visitors; /* who waits for the end of the step */
    pthread_t thread;
    pthread_t stepper; /* while busy */

    struct rz_req **reqs;       /* [n_slots] by slot of the ticket                    */
    uint32_t *generations;      /* [n_slots] of the ticket that the slot has or gets */
    uint32_t n_slots, n_active; /* active: not finished                         */
    struct rz_req *graves;      /* released while busy                          */
    struct rz_req *waking;      /* its wake is being called                     */

    /* of the step in progress */
    struct rz_req **tasks, **wakes; /* [n_scratch], [n_slots] */
    struct rz_result result;
    uint32_t needs; /* bits 1 << RZ_WANT_* */
    uint64_t steps, prompt_tokens, new_tokens, requests, cancelled, failed, timeouts, refused;
};

/* --- loop.c; the caller holds the mutex --- */

/* Does one step: RZ_OK did something, RZ_AGAIN nothing to do or busy. */
int32_t rz_loop_step(struct rz_loop *loop);
/* Until `changed` is signalled or the clock reaches deadline_ns. */
void rz_loop_wait(struct rz_loop *loop, pthread_cond_t *cond, uint64_t deadline_ns);
/* Makes the loop thread look again. */
void rz_loop_kick(struct rz_loop *loop);
/* The earliest deadline of a request; UINT64_MAX: none. */
uint64_t rz_loop_deadline(const struct rz_loop *loop);
/* Is the token an end of the request's text? */
bool rz_loop_ends(const struct rz_loop *loop, const struct rz_req *r, int32_t token);
/* Forgets a request: at once, or when the step is over. */
void rz_loop_bury(struct rz_loop *loop, struct rz_req *r);

/* --- loop.c; the caller does not hold it --- */

uint64_t rz_clock_ns(void);
/* The plan for the caller's own steps until rz_loop_yield; RZ_EBUSY while requests run. */
int32_t rz_loop_claim(struct rz_loop *loop, struct rz_err *err);
void rz_loop_yield(struct rz_loop *loop);
/* Pages and plan between two steps, until rz_loop_yield, whatever requests there are. */
void rz_loop_visit(struct rz_loop *loop);
/* Executes a batch and checks that the device answered with all that was wanted: hidden states, logits or
 * both (bits 1 << RZ_WANT_* of needs), in loop->result. */
int32_t rz_loop_execute(struct rz_loop *loop, const struct rz_step *step, uint32_t needs, struct rz_err *err);

#endif

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

#define RZ_USED_MAX 8 /* devices that are remembered */

struct rz_loop {
    struct rz_engine_setup setup;
    uint32_t wants; /* of the plan: bits 1 << RZ_WANT_* */
    struct rz_engine table;
    struct rz_tokenizer_info info; /* n_end = 0 without a tokenizer */
    struct rz_kv kv;
    struct rz_prefix prefix;
    double row_ns; /* of a row of a prompt, as learnt; 0: not yet */
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
    /* devices: the last of `used` is the one of setup */
    struct rz_engine_device used[RZ_USED_MAX];
    uint32_t n_used, failed_in_row;
    bool lost;             /* the device is, and nothing has taken its place yet */
    struct rz_err refusal; /* code not 0: nothing will, and no request is taken   */
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
/* The end of a request: reason is RZ_FINISH_*, error says why if it is RZ_FINISH_ERROR. */
void rz_loop_end(struct rz_loop *loop, struct rz_req *r, uint32_t reason, const struct rz_err *error);

/* --- failure.c; the caller holds the mutex --- */

/* From now on setup.device runs the steps. */
void rz_failure_begin(struct rz_loop *loop);
/* The step that was built failed with this error. model: its files are at fault, so all requests end. */
void rz_failure_step(struct rz_loop *loop, bool model, const struct rz_err *error);
/* The device is lost: another takes its place, or all requests end and no more are taken. The caller has set
 * `busy`; the mutex is given up meanwhile. */
void rz_failure_replace(struct rz_loop *loop);
/* A request that comes: it gets no more positions than there are pages, and wants what the plan gives. false:
 * it is longer than all pages, which are fewer than they were. */
bool rz_failure_fits(struct rz_loop *loop, struct rz_req *r, struct rz_err *err);
/* rz_engine.device */
int32_t rz_failure_device(struct rz_loop *loop, uint32_t i, struct rz_engine_device *out);

/* --- loop.c; the caller does not hold it --- */

uint64_t rz_clock_ns(void);
/* The plan for the caller's own steps until rz_loop_yield; RZ_EBUSY while requests run. */
int32_t rz_loop_claim(struct rz_loop *loop, struct rz_err *err);
void rz_loop_yield(struct rz_loop *loop);
/* Pages and plan between two steps, until rz_loop_yield, whatever requests there are. RZ_EDEVICE: there is no
 * device any more. */
int32_t rz_loop_visit(struct rz_loop *loop, struct rz_err *err);
/* Executes a batch and checks that the device answered with all that was wanted: hidden states, logits or
 * both (bits 1 << RZ_WANT_* of needs), in loop->result. */
int32_t rz_loop_execute(struct rz_loop *loop, const struct rz_step *step, uint32_t needs, struct rz_err *err);

#endif

/* schedule.h - who runs in the next step (sched.c; <sched.h> is the name of a system header).
 *
 * Sequences wait or run. A step takes one row of each running sequence that decodes, then chunks of
 * prompts, those that are due first; small ones where somebody decodes. When pages run out the last running
 * sequence gives its pages (and its slot of recurrent state) back and waits again; its tokens are kept, so
 * it is computed anew later and nothing is lost. The same applies, before all others, to paused sequences
 * (their reader is slow).
 *
 * A sequence may be `like` another with the same prompt: it waits until that prompt is computed but for its
 * last token, and is then forked off, with the pages shared until one of them writes.
 *
 * Pure: no device, no clock, no locks; nothing allocates after init. A sequence alone always fits
 * (the caller admits no sequence longer than the pool), so somebody always makes progress.
 */
#ifndef RZ_ENGINE_SCHEDULE_H
#define RZ_ENGINE_SCHEDULE_H

#include "prefix.h"
#include "step.h"

#define RZ_SEQ_OUT 0 /* the scheduler does not know it */
#define RZ_SEQ_WAITING 1
#define RZ_SEQ_RUNNING 2

/* What the scheduler knows about a request. The caller owns it and changes tokens and n_tokens between
 * steps only. */
struct rz_seq {
    struct rz_kv_seq kv;
    const int32_t *tokens; /* the prompt and what was generated                           */
    uint32_t n_tokens;     /* known                                                       */
    uint32_t n_done;       /* of them in the KV; a step always leaves at least one to do  */
    uint32_t n_prompt;     /* of the tokens, by the caller; 0: not told                   */
    uint64_t due;          /* set before it is added: the smaller is served first         */
    uint64_t order;        /* of arrival: smaller is older                                */
    uint32_t state;        /* RZ_SEQ_*                                                    */
    bool paused;           /* set by the caller: gets no rows                             */
    uint32_t want, k;      /* RZ_WANT_* of the last row, and how many best                */
    float gap;             /* and how far below the best; 0: however far                  */
    bool want_all;         /* all rows, not the last alone                                */
    bool whole;            /* its rows must be in one step                                */
    uint32_t rope_variant;
    struct rz_seq *like;  /* set before it is added: whose pages it shares; NULL: nobody's */
    uint32_t n_followers; /* waiting sequences that are like this one                      */
    uint32_t n_shared;    /* of its tokens that were in the KV when it first ran           */
    bool again;           /* it ran before, and had to give way                           */
    /* share.c: pages left to the prefix cache, where the state was saved while decoding, how many tokens of
     * the prompt the cache knew, and what it was asked last */
    uint32_t n_kept, saved, branch;
    uint64_t version;
    /* Set by the caller for a sequence that decodes: tokens behind the known ones that are guessed.
     * rz_sched_build makes it fewer, or none. */
    uint32_t n_guesses;
    /* of the step that was built last */
    uint32_t n_rows;
    int32_t result; /* index of its result; -1: none (part of a prompt)            */
};

struct rz_sched {
    struct rz_kv *kv;
    struct rz_step step;
    uint32_t max_rows, max_running, max_known;
    uint32_t chunk; /* rows of prompts in a step in which others decode; 0: as many as fit. The caller's */
    uint32_t n_waiting, n_running;
    struct rz_seq **waiting, **running; /* each as it is due, then in the order of arrival */
    struct rz_prefix *prefix;           /* borrowed; NULL: nothing is kept                 */
    uint64_t n_orders, preempted;
};

/* At most max_known sequences at a time, max_rows rows in a step (<= limits->max_rows). */
int32_t rz_sched_init(struct rz_sched *s, struct rz_kv *kv, const struct rz_plan_limits *limits,
                      uint32_t max_rows, uint32_t max_known, struct rz_err *err);
void rz_sched_deinit(struct rz_sched *s);

/* Queues a sequence behind all others. false: max_known are there. */
bool rz_sched_add(struct rz_sched *s, struct rz_seq *seq);
/* Forgets a sequence and takes its pages back, whatever its state. */
void rz_sched_remove(struct rz_sched *s, struct rz_seq *seq);
/* Would its next step be the one row of its last token? */
bool rz_seq_decodes(const struct rz_seq *seq);
/* Builds the next step: n_rows and result of each running sequence are set. Rows of guesses, each with a
 * result of its own, come from what decode rows leave; they take nobody's page, and half of the rows stay
 * for prompts. NULL: nothing can run. */
const struct rz_batch *rz_sched_build(struct rz_sched *s);
/* The step was executed: its rows, but for those of guesses, are in the KV. */
void rz_sched_done(struct rz_sched *s);
/* A sequence that had a result has its new tokens: those guesses that are among them are in the KV, and what
 * the others took is given back. */
void rz_sched_keep(struct rz_sched *s, struct rz_seq *seq);

/* The step failed: what it wrote is not to be trusted. Running sequences that had no rows in it begin anew,
 * for pages and states may have been copied for them; of the others the caller ends what it will. */
void rz_sched_failed(struct rz_sched *s);
/* Whatever was computed is gone: all running sequences begin anew. */
void rz_sched_restart(struct rz_sched *s);

/* --- share.c, for sched.c --- */

/* An empty sequence takes what it can; how many of its tokens are done then. */
uint32_t rz_share_begin(struct rz_sched *s, struct rz_seq *seq);
/* Sequences whose prompt somebody else computed meanwhile take that. */
void rz_share_catch_up(struct rz_sched *s);
/* At most n rows of a prompt: up to where its state is to be saved. */
uint32_t rz_share_chunk(const struct rz_sched *s, const struct rz_seq *seq, uint32_t n);
/* Has the step save states before it runs. */
void rz_share_save(struct rz_sched *s);
/* The pages that the step filled are kept. */
void rz_share_done(struct rz_sched *s);

#endif

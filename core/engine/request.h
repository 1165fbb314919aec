/* request.h - one request from submit to release: its tokens, its text, its ring of events.
 *
 * Everything here happens under the loop's lock, except what rz_req_new copies before anybody else
 * knows the request, and the fields of a step (see rz_req.sample).
 */
#ifndef RZ_ENGINE_REQUEST_H
#define RZ_ENGINE_REQUEST_H

#include "constrain.h"
#include "engine.h"
#include "sample.h"
#include "schedule.h"
#include "score.h"
#include "spec.h"
#include "stop.h"

/* Events that wait for the reader. A request whose ring is full makes no more tokens until some are
 * taken: nothing is ever dropped. */
#define RZ_RING 32
#define RZ_BIASES_MAX 4096

struct rz_req {
    struct rz_seq seq;
    uint64_t ticket;
    struct rz_req *next_grave; /* released while a step ran */
    /* as submitted */
    uint32_t flags, n_prompt, max_new, context, n_logprobs, n_biases;
    uint32_t pooling; /* RZ_POOL_MEAN and those below */
    struct rz_bias *biases;
    struct rz_sampling sampling;
    struct rz_constraint constraint; /* set by the caller of rz_req_new; freed with the request */
    void (*wake)(void *arg);
    void *wake_arg;
    uint64_t deadline_ns; /* 0: none */
    /* as it goes */
    int32_t *tokens; /* [context]; seq.n_tokens of them are known */
    uint32_t n_new;
    double *pooled; /* [n_embd] of RZ_REQUEST_EMBED: the sum of the rows so far, or the one row; else NULL */
    uint32_t n_embd;
    struct rz_score *scores; /* [n_prompt] of RZ_REQUEST_SCORE (score.h); else NULL */
    bool cancelled, released;
    bool finished; /* makes no more tokens                          */
    bool closed;   /* the last event is in the ring                 */
    bool fresh;    /* the ring got events since the last wake       */
    struct rz_decode_state decode;
    struct rz_text text;
    struct rz_event *ring; /* [RZ_RING] */
    uint32_t ring_at, ring_n;
    struct rz_event last; /* once finished */
    uint64_t submit_ns, admit_ns, first_ns;
    struct rz_spec spec;
    /* Written by the step's sampling task without the lock; nobody else looks at them meanwhile. One
     * sample, or as many as the step has guesses that were right and one more. */
    struct rz_sample *samples;
    uint32_t n_samples;
    struct rz_err error;
    int32_t rc;
};

/* Checks a request against the setup and copies it. pool_tokens: positions that all pages hold. */
int32_t rz_req_new(const struct rz_engine_setup *setup, const struct rz_kv *kv,
                   const struct rz_request *request, struct rz_req **out, struct rz_err *err);
/* The scheduler has forgotten it already. NULL is fine. */
void rz_req_free(struct rz_kv *kv, struct rz_req *r);

/* The hidden states of n more positions of a text, in order, stride floats apart. */
void rz_req_hidden(struct rz_req *r, const float *rows, uint64_t stride, uint32_t n);
/* All are there: RZ_OK if the vector is made of numbers, else an error in r->error. */
int32_t rz_req_pool(struct rz_req *r);

/* Has it room for no further event? */
bool rz_req_full(const struct rz_req *r);
/* Should it stay out of the next step because its reader is slow? */
bool rz_req_slow(const struct rz_req *r);
/* A token with its text becomes an event. piece: what the token adds. True: a stop string is complete. */
bool rz_req_token(struct rz_req *r, const struct rz_sample *sample, const char *piece, size_t n_piece);
/* The end: reason is RZ_FINISH_*, error says why if it is RZ_FINISH_ERROR. */
void rz_req_finish(struct rz_req *r, uint32_t reason, const struct rz_err *error, uint64_t now_ns);
/* Moves text and the last event into the ring while there is room. */
void rz_req_flush(struct rz_req *r);
/* Takes the oldest event; false: none. */
bool rz_req_take(struct rz_req *r, struct rz_event *out);

#endif

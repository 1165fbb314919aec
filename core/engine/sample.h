/* sample.h - logits to a token.
 *
 * The chain is that of struct rz_sampling: bias, penalties, mask, top-k, typical, top-p, min-p, temperature,
 * draw. Pure, and the same on every machine: additions in double and in a fixed order, an exponential
 * of our own, ties to the lowest id, and a counter-based random number: draw i of a seed is always the
 * same, so a request that is computed anew draws what it drew before.
 */
#ifndef RZ_ENGINE_SAMPLE_H
#define RZ_ENGINE_SAMPLE_H

#include <rz/batch.h>
#include <rz/engine.h>
#include <stdbool.h>

struct rz_candidate;

/* Working memory for one row at a time. */
struct rz_sample_scratch {
    uint32_t n_vocab;
    float *logits;                   /* [n_vocab] after bias and penalties                    */
    uint32_t *counts;                /* [n_vocab] of the tokens looked at; 0 between two uses */
    struct rz_candidate *candidates; /* [n_vocab]                                */
    uint64_t *mask;                  /* [(n_vocab + 63) / 64] for the caller      */
};

/* One row to sample. All pointers are borrowed. */
struct rz_sample_job {
    const struct rz_sampling *sampling; /* checked by rz_sampling_check          */
    const struct rz_bias *biases;       /* tokens within the vocabulary          */
    uint32_t n_biases;
    const uint64_t *mask;  /* tokens that may come, a bit each; NULL: all         */
    const float *logits;   /* [n_vocab] as the device gave them                  */
    const int32_t *tokens; /* the context so far, ids within the vocabulary      */
    uint32_t n_tokens;
    uint32_t draw;       /* number of the draw of this seed: tokens generated before */
    uint32_t n_logprobs; /* alternatives wanted; 0: no log probabilities         */
};

struct rz_sample {
    int32_t token;
    float logprob; /* of token in the softmax of the raw logits, natural log */
    uint32_t n_top;
    struct rz_logprob top[RZ_LOGPROBS_MAX]; /* best first */
};

int32_t rz_sample_scratch_init(struct rz_sample_scratch *s, uint32_t n_vocab, struct rz_err *err);
void rz_sample_scratch_deinit(struct rz_sample_scratch *s);

/* RZ_EINVAL names the field that is out of range. */
int32_t rz_sampling_check(const struct rz_sampling *s, struct rz_err *err);
/* What the chain needs of the device (RZ_WANT_*): all logits, or the k best and of those what is not more
 * than gap below the best one; gap 0: all k. A mask counts as a bias. */
uint32_t rz_sample_want(const struct rz_sampling *s, uint32_t n_biases, uint32_t n_logprobs, uint32_t *k,
                        float *gap);
/* RZ_EDEVICE: a logit is NaN or +inf; RZ_EINVAL: every token is banned. */
int32_t rz_sample_run(struct rz_sample_scratch *scratch, const struct rz_sample_job *job,
                      struct rz_sample *out, struct rz_err *err);

/* The log probability of a token, in out->logprob, and the n_logprobs (at least 1) best. */
int32_t rz_sample_score(struct rz_sample_scratch *scratch, const float *logits, int32_t token,
                        uint32_t n_logprobs, struct rz_sample *out, struct rz_err *err);

/* Draw number i of a seed, in [0, 1): splitmix64 as a counter. */
double rz_sample_uniform(uint64_t seed, uint64_t i);
/* e to the x for x <= 0, within 2 ulp; below -700: 0. */
double rz_sample_exp(double x);

#endif

/* score.h - log probabilities of the tokens of a prompt (RZ_REQUEST_SCORE).
 *
 * The rows of such a request are all computed and all wanted, in parts of the prompt; row i says what the model
 * made of token i + 1. A request that gives way is computed anew and gets the same numbers.
 */
#ifndef RZ_ENGINE_SCORE_H
#define RZ_ENGINE_SCORE_H

#include "sample.h"

struct rz_req;
struct rz_result;

struct rz_score {
    float logprob;
    uint32_t n_top;
    struct rz_logprob top[RZ_LOGPROBS_MAX];
};

/* Makes a request one that is scored; freed with it. false: no memory. */
bool rz_score_begin(struct rz_req *r);
/* Takes the results of its rows of a step. */
int32_t rz_score_rows(struct rz_req *r, const struct rz_result *result, struct rz_sample_scratch *scratch);
/* As rz_engine.score; the whole prompt was computed. */
int32_t rz_score_get(const struct rz_req *r, uint32_t i, float *logprob, struct rz_logprob *top);

#endif

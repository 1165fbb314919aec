/* score.c - what the model made of each token of a prompt. See score.h.
 *
 * Written by the step's sampling task, as the samples of the request are; read when its prompt is over.
 */
#include "score.h"

#include "request.h"

#include <rz/batch.h>
#include <stdlib.h>
#include <string.h>

bool rz_score_begin(struct rz_req *r)
{
    r->scores = calloc(r->n_prompt, sizeof(*r->scores));
    r->seq.want_all = true;
    return r->scores;
}

int32_t rz_score_rows(struct rz_req *r, const struct rz_result *result, struct rz_sample_scratch *scratch)
{
    for (uint32_t i = 0; i < r->seq.n_rows && r->seq.n_done + i + 1 < r->n_prompt; i++) {
        uint32_t next = r->seq.n_done + i + 1;
        struct rz_score *score = &r->scores[next];
        struct rz_sample sample;
        uint64_t row = (uint64_t)r->seq.result + i;
        int32_t rc = rz_sample_score(scratch, result->logits + row * result->logits_stride, r->tokens[next],
                                     r->n_logprobs, &sample, &r->error);
        if (rc)
            return rc;
        score->logprob = sample.logprob;
        score->n_top = sample.n_top;
        memcpy(score->top, sample.top, sample.n_top * sizeof(*score->top));
    }
    return RZ_OK;
}

int32_t rz_score_get(const struct rz_req *r, uint32_t i, float *logprob, struct rz_logprob *top)
{
    if (!r->scores || !i || i >= r->n_prompt)
        return RZ_ENOTFOUND;
    *logprob = r->scores[i].logprob;
    memcpy(top, r->scores[i].top, r->scores[i].n_top * sizeof(*top));
    return (int32_t)r->scores[i].n_top;
}

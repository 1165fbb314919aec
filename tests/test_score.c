/* test_score.c - log probabilities of prompts: what the device's truth says, alone and in company that takes pages
 * away. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <math.h>
#include <stdlib.h>

#define N_PROMPT 90 /* more than the rows of a step */

/* The truth: a softmax in double over what the device would say behind the first i tokens. */
static double truth(const struct fake *fake, const int32_t *tokens, uint32_t i, int32_t token)
{
    float logits[FAKE_VOCAB];
    double sum = 0;
    fake_logits(fake, tokens, i, logits);
    for (uint32_t v = 0; v < FAKE_VOCAB; v++)
        sum += exp((double)logits[v] - (double)logits[token]);
    return -log(sum);
}

static void check_scores(const struct rig *rig, const struct rig_ticket *t)
{
    const struct rz_engine *e = rig->engine;
    struct rz_logprob top[RZ_LOGPROBS_MAX];
    float logprob = 0;
    rz_check_eq(e->score(e->ctx, t->id, 0, &logprob, top), RZ_ENOTFOUND);
    rz_check_eq(e->score(e->ctx, t->id, t->request.n_prompt, &logprob, top), RZ_ENOTFOUND);
    for (uint32_t i = 1; i < t->request.n_prompt; i++) {
        rz_check_eq(e->score(e->ctx, t->id, i, &logprob, top), (int32_t)t->request.n_logprobs);
        rz_check(fabs((double)logprob - truth(&rig->fake, t->prompt, i, t->prompt[i])) < 1e-5);
        rz_check(fabs((double)top[0].logprob - truth(&rig->fake, t->prompt, i, top[0].token)) < 1e-5);
        rz_check(top[0].logprob >= top[1].logprob && top[0].logprob >= logprob);
    }
}

static void ask(struct rig_ticket *t, uint32_t seed, bool scored)
{
    rig_make(t, seed, N_PROMPT, 12);
    t->request.n_logprobs = 2;
    t->request.flags |= scored ? RZ_REQUEST_SCORE : 0;
}

RZ_TEST(score, a_prompt_is_what_the_device_says)
{
    static struct rig_ticket t;
    struct rz_logprob top[RZ_LOGPROBS_MAX];
    float logprob;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig.fake.never_end = 1;
    const struct rz_engine *e = rig.engine;
    ask(&t, 3, true);
    rig_submit(&rig, &t);
    rz_check_eq(e->score(e->ctx, t.id, 1, &logprob, top), RZ_ENOTFOUND); /* not yet */
    while (!t.done)
        rig_poll(&rig, &t);
    check_scores(&rig, &t);
    rig_check(&rig, &t.request, &t.out);
    rz_check_eq(rig_stats(&rig).prompt_tokens, N_PROMPT);
    e->release(e->ctx, t.id);
    rz_check_eq(e->score(e->ctx, t.id, 1, &logprob, top), RZ_ENOTFOUND);
    rig_close(&rig);
}

RZ_TEST(score, company_that_takes_pages_away_changes_nothing)
{
    static struct rig_ticket tickets[6];
    struct rig rig;
    rig_setup(&rig);
    rig.setup.limits.n_pages = 48; /* two prompts, and little to grow into */
    rig_open(&rig);
    rig.fake.never_end = 1;
    for (uint32_t i = 0; i < 6; i++) {
        ask(&tickets[i], i, i != 4);
        rig_submit(&rig, &tickets[i]);
    }
    for (uint32_t left = 6; left;) {
        left = 0;
        for (uint32_t i = 0; i < 6; i++) {
            if (!tickets[i].done)
                rig_poll(&rig, &tickets[i]);
            left += !tickets[i].done;
        }
    }
    rz_check(rig_stats(&rig).preempted > 0);
    for (uint32_t i = 0; i < 6; i++) {
        if (i != 4)
            check_scores(&rig, &tickets[i]);
        rig_check(&rig, &tickets[i].request, &tickets[i].out);
        rig.engine->release(rig.engine->ctx, tickets[i].id);
    }
    rig_close(&rig);
}

RZ_TEST(score, what_cannot_be_scored_is_refused)
{
    static struct rig_ticket first, t;
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    const struct rz_engine *e = rig.engine;
    ask(&first, 1, false);
    rig_submit(&rig, &first);
    ask(&t, 1, true);
    t.request.n_logprobs = 0;
    rz_check_eq(e->submit(e->ctx, &t.request, &t.id, &err), RZ_EINVAL);
    rz_check_streq(err.where, "score");
    ask(&t, 1, true);
    t.request.like = first.id;
    rz_check_eq(e->submit(e->ctx, &t.request, &t.id, &err), RZ_EINVAL);
    rz_check_streq(err.where, "score");
    rig_finish(&rig, &first, 1);
    rig_close(&rig);
}

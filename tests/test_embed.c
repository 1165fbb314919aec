/* test_embed.c - requests for a vector: what is pooled, alone and in company, with chunks and preemption,
 * and of models whose rows see the whole text.
 */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

/* What the vector of a text must be, from the device's truth. */
static void expect(const struct rig *rig, const struct rig_ticket *t, uint32_t pooling, float *out)
{
    uint32_t n = t->request.n_prompt;
    double sum[FAKE_EMBD] = {0};
    for (uint32_t p = 0; p < n; p++) {
        float row[FAKE_EMBD];
        if (rig->setup.mask == RZ_MASK_ALL)
            fake_hidden_all(t->prompt, n, p, row);
        else
            fake_hidden(t->prompt, p + 1, row);
        for (uint32_t d = 0; d < FAKE_EMBD; d++)
            if (pooling == RZ_POOL_MEAN || p == (pooling == RZ_POOL_LAST ? n - 1 : 0))
                sum[d] += (double)row[d];
    }
    for (uint32_t d = 0; d < FAKE_EMBD; d++)
        out[d] = (float)(pooling == RZ_POOL_MEAN ? sum[d] / n : sum[d]);
}

static void make(struct rig_ticket *t, uint32_t seed, uint32_t n, uint32_t pooling)
{
    rig_make(t, seed, n, 0);
    t->request.flags = RZ_REQUEST_EMBED;
    t->request.pooling = pooling;
}

/* Waits for it, compares, releases. */
static void finish(struct rig *rig, struct rig_ticket *t, uint32_t pooling)
{
    float truth[FAKE_EMBD], got[FAKE_EMBD + 1] = {0};
    while (!t->done)
        rig_poll(rig, t);
    rz_check_eq(t->out.last.kind, RZ_EVENT_DONE);
    rz_check_eq(t->out.last.finish, RZ_FINISH_STOP);
    rz_check_eq(t->out.n, 0);
    rz_check_eq(t->out.last.n_prompt, t->request.n_prompt);
    expect(rig, t, pooling, truth);
    rz_check_eq(rig->engine->embedding(rig->engine->ctx, t->id, got, FAKE_EMBD + 1), FAKE_EMBD);
    rz_check_memeq(got, truth, sizeof(truth));
    rz_check_eq(rig->engine->embedding(rig->engine->ctx, t->id, got, 0), FAKE_EMBD);
    rig->engine->release(rig->engine->ctx, t->id);
    rz_check_eq(rig->engine->embedding(rig->engine->ctx, t->id, got, 1), RZ_ENOTFOUND);
}

RZ_TEST(embed, each_pooling_of_long_and_short_texts)
{
    static const uint32_t lengths[] = {1, 2, 31, 100};
    struct rig rig;
    struct rig_ticket t;
    rig_setup(&rig);
    rig_open(&rig);
    for (uint32_t pooling = RZ_POOL_MODEL; pooling <= RZ_POOL_LAST; pooling++)
        for (uint32_t i = 0; i < 4; i++) {
            make(&t, i, lengths[i], pooling);
            rig_submit(&rig, &t);
            finish(&rig, &t, pooling ? pooling : RZ_POOL_LAST);
        }
    rig_close(&rig);
}

RZ_TEST(embed, the_models_own_pooling)
{
    struct rig rig;
    struct rig_ticket t;
    rig_setup(&rig);
    rig.setup.pooling = RZ_POOL_CLS;
    rig_open(&rig);
    make(&t, 1, 9, RZ_POOL_MODEL);
    rig_submit(&rig, &t);
    finish(&rig, &t, RZ_POOL_CLS);
    make(&t, 1, 9, RZ_POOL_MEAN);
    rig_submit(&rig, &t);
    finish(&rig, &t, RZ_POOL_MEAN);
    rig_close(&rig);
}

/* Vectors and generations in the same steps, in pools so small that some give way. */
RZ_TEST(embed, company_changes_nothing)
{
    for (uint32_t pages = 256; pages; pages = pages > 32 ? 32 : 0) {
        struct rig rig;
        struct rig_ticket t[10];
        rig_setup(&rig);
        rig.setup.limits.n_pages = pages;
        rig.setup.max_batch_tokens = 13;
        rig_open(&rig);
        for (uint32_t i = 0; i < 10; i++) {
            if (i % 3)
                make(&t[i], i, 5 + 11 * i, 1 + i % 3);
            else
                rig_make(&t[i], i, 7 + i, 60);
            rig_submit(&rig, &t[i]);
        }
        for (uint32_t i = 0; i < 10; i += 3)
            while (!t[i].done)
                for (uint32_t k = 0; k < 10; k++)
                    if (!t[k].done)
                        rig_poll(&rig, &t[k]);
        for (uint32_t i = 0; i < 10; i++) {
            if (i % 3) {
                finish(&rig, &t[i], 1 + i % 3);
                continue;
            }
            rig_check(&rig, &t[i].request, &t[i].out);
            rig.engine->release(rig.engine->ctx, t[i].id);
        }
        rig_close(&rig);
    }
}

RZ_TEST(embed, a_text_that_is_seen_as_a_whole_is_in_one_step)
{
    struct rig rig;
    struct rig_ticket t[8];
    struct rz_err err = RZ_ERR_INIT;
    uint64_t ticket;
    rig_setup(&rig);
    rig.setup.mask = RZ_MASK_ALL;
    rig.setup.limits.max_wanted = 32;
    rig_open(&rig);
    for (uint32_t i = 0; i < 8; i++) {
        make(&t[i], i, 4 + 4 * i, i % 2 ? RZ_POOL_MODEL : RZ_POOL_CLS);
        rig_submit(&rig, &t[i]);
    }
    for (uint32_t i = 0; i < 8; i++)
        finish(&rig, &t[i], i % 2 ? RZ_POOL_MEAN : RZ_POOL_CLS);
    rz_check(rig.fake.n_executes < 8); /* some shared a step */
    make(&t[0], 1, 33, RZ_POOL_MEAN);
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t[0].request, &ticket, &err), RZ_ELIMIT);
    rz_check(strstr(err.message, "as a whole") != NULL);
    rig_close(&rig);
}

RZ_TEST(embed, what_is_impossible_is_refused)
{
    struct rig rig;
    struct rig_ticket t;
    struct rz_err err = RZ_ERR_INIT;
    uint64_t ticket;
    rig_setup(&rig);
    rig_open(&rig);
    make(&t, 1, 4, RZ_POOL_LAST + 1);
    rz_check_eq(rig.engine->submit(rig.engine->ctx, &t.request, &ticket, &err), RZ_EINVAL);
    rig_make(&t, 2, 4, 3);
    rig_submit(&rig, &t);
    while (!t.done)
        rig_poll(&rig, &t);
    rz_check_eq(rig.engine->embedding(rig.engine->ctx, t.id, NULL, 0), RZ_ENOTFOUND);
    rig.engine->release(rig.engine->ctx, t.id);
    rig_close(&rig);
}

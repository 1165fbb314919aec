/* test_engine.c - the engine as frontends see it, over a fake device whose logits depend on every page. */
#include "rz_test.h"

#include "engine_rig.h"
#include "err.h"

#include <stdlib.h>

static void check_output(const struct rig *rig, const struct rz_request *q, const struct rig_output *out)
{
    int32_t tokens[4096];
    uint32_t n, finish = rig_expect(rig, q, tokens, &n);
    rz_check_eq(out->last.kind, RZ_EVENT_DONE);
    rz_check_eq(out->last.finish, finish);
    rz_check_eq(out->n, n);
    rz_check_memeq(out->tokens, tokens, n * sizeof(*tokens));
    rz_check_eq(out->last.n_new, n);
    rz_check_eq(out->last.n_prompt, q->n_prompt);
}

RZ_TEST(engine, one_greedy_request_gives_the_true_tokens)
{
    static struct rig_output out;
    int32_t prompt[50];
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    for (uint32_t n = 1; n <= 50; n++) {
        rig_prompt(n, prompt, n);
        struct rz_request q = rig_request(prompt, n);
        q.max_new = n % 3 ? 20 : 0;
        rig_run(&rig, &q, &out);
        check_output(&rig, &q, &out);
    }
    rig_close(&rig);
}

struct rows {
    uint64_t n, width;
    float values[256 * FAKE_VOCAB];
};

static int32_t keep_row(void *arg, uint64_t index, const float *values, uint64_t n)
{
    struct rows *rows = arg;
    if (index != rows->n)
        return RZ_EINTERNAL;
    rows->n++;
    rows->width = n;
    memcpy(rows->values + index * n, values, n * sizeof(*values));
    return 0;
}

RZ_TEST(eval, rows_are_the_same_for_every_chunk_and_company)
{
    static struct rows rows;
    static const uint32_t chunks[] = {0, 1, 3, 7, 8, 100};
    int32_t tokens[60];
    float truth[FAKE_VOCAB];
    struct rz_err err = RZ_ERR_INIT;
    struct rig rig;
    rig_setup(&rig);
    rig_open(&rig);
    rig_prompt(5, tokens, 60);
    for (uint32_t i = 0; i < 6 * 5; i++) {
        struct rz_eval eval = {.size = sizeof(eval),
                               .tokens = tokens,
                               .n_tokens = 60,
                               .chunk = chunks[i / 5],
                               .beside = i % 5,
                               .row = keep_row,
                               .arg = &rows};
        rows.n = 0;
        rz_check_ok(rz_loop_eval(rig.loop, &eval, &err), &err);
        rz_check_eq(rows.n, 60);
        rz_check_eq(rows.width, FAKE_VOCAB);
        for (uint32_t p = 0; p < 60; p++) {
            fake_logits(&rig.fake, tokens, p + 1, truth);
            rz_check_memeq(rows.values + p * FAKE_VOCAB, truth, sizeof(truth));
        }
    }
    rig_close(&rig);
}

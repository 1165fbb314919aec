/* engine_rig.c - see engine_rig.h. */
#include "engine_rig.h"

#include "err.h"
#include "rz_test.h"

#include <stdlib.h>

void rig_setup(struct rig *rig)
{
    *rig = (struct rig){.setup = {.n_vocab = FAKE_VOCAB,
                                  .n_embd = FAKE_EMBD,
                                  .n_kv_groups = 2,
                                  .limits = {.size = sizeof(struct rz_plan_limits),
                                             .max_rows = 32,
                                             .max_wanted = 8,
                                             .max_seqs = 8,
                                             .max_context = 128,
                                             .page_tokens = 4,
                                             .n_pages = 256},
                                  .max_batch_tokens = 32,
                                  .prefix_cache = true,
                                  .max_queue = 16}};
}

void rig_open(struct rig *rig)
{
    struct rz_err err = RZ_ERR_INIT;
    fake_init(&rig->fake, &rig->setup.limits, rig->setup.n_kv_groups);
    memcpy(rig->fake.windows, rig->setup.kv_windows, sizeof(rig->fake.windows));
    rig->setup.device = &rig->fake.table;
    rig->setup.plan = fake_plan(&rig->fake);
    rig->setup.tokenizer = &fake_tokenizer_table;
    rig->setup.tok = &rig->tokenizer;
    rz_check_ok(rz_loop_new(&rig->setup, &rig->loop, &err), &err);
    rig->engine = rz_loop_table(rig->loop);
}

void rig_close(struct rig *rig)
{
    struct rz_engine_stats stats = {.size = sizeof(stats)};
    rz_loop_stop(rig->loop, 0);
    rz_check_eq(rig->engine->stats(rig->engine->ctx, &stats), RZ_OK);
    rz_check_eq(stats.pages_free, stats.pages_total);
    rz_check_eq(stats.running + stats.waiting, 0);
    rz_loop_free(rig->loop);
    rz_check_streq(rig->fake.breach, "");
    fake_deinit(&rig->fake);
}

struct rz_request rig_request(const int32_t *prompt, uint32_t n)
{
    return (struct rz_request){.size = sizeof(struct rz_request),
                               .prompt = prompt,
                               .n_prompt = n,
                               .sampling = {.size = sizeof(struct rz_sampling),
                                            .top_p = 1,
                                            .typical_p = 1,
                                            .repeat_penalty = 1,
                                            .penalty_last_n = 64}};
}

void rig_prompt(uint32_t seed, int32_t *prompt, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        prompt[i] = (int32_t)(2 + (seed >> 8) % (FAKE_VOCAB - 2));
    }
}

void rig_collect(struct rig_output *out, const struct rz_event *e)
{
    rz_check_eq(out->last.kind, 0);
    if (e->kind == RZ_EVENT_TOKEN && e->token >= 0)
        out->tokens[out->n++] = e->token;
    if (e->kind != RZ_EVENT_ERROR) {
        memcpy(out->text + out->n_text, e->text, e->n_text);
        out->n_text += e->n_text;
        out->text[out->n_text] = 0;
    }
    if (e->kind != RZ_EVENT_TOKEN)
        out->last = *e;
}

void rig_run(struct rig *rig, const struct rz_request *request, struct rig_output *out)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_event event = {.size = sizeof(event)};
    uint64_t ticket;
    int32_t rc;
    memset(out, 0, sizeof(*out));
    rz_check_ok(rig->engine->submit(rig->engine->ctx, request, &ticket, &err), &err);
    while ((rc = rig->engine->poll(rig->engine->ctx, ticket, &event, 10000)) == RZ_OK)
        rig_collect(out, &event);
    rz_check_eq(rc, RZ_END);
    rig->engine->release(rig->engine->ctx, ticket);
}

uint32_t rig_expect(const struct rig *rig, const struct rz_request *q, int32_t *tokens, uint32_t *n)
{
    int32_t text[4096];
    float logits[FAKE_VOCAB];
    uint64_t pool = (uint64_t)rig->setup.limits.n_pages * rig->setup.limits.page_tokens;
    uint32_t length = q->n_prompt, limit = rig->setup.limits.max_context;
    limit = q->max_context && q->max_context < limit ? q->max_context : limit;
    limit = pool < limit ? (uint32_t)pool : limit;
    memcpy(text, q->prompt, length * sizeof(*text));
    for (*n = 0; length < limit && (!q->max_new || *n < q->max_new);) {
        uint32_t best = 0;
        fake_logits(&rig->fake, text, length, logits);
        for (uint32_t v = 1; v < FAKE_VOCAB; v++)
            if (logits[v] > logits[best])
                best = v;
        if (best == FAKE_END && !(q->flags & RZ_REQUEST_IGNORE_EOS))
            return RZ_FINISH_STOP;
        text[length++] = tokens[(*n)++] = (int32_t)best;
    }
    return RZ_FINISH_LENGTH;
}

void rig_submit(struct rig *rig, struct rig_ticket *t)
{
    struct rz_err err = RZ_ERR_INIT;
    t->request.prompt = t->prompt;
    rz_check_ok(rig->engine->submit(rig->engine->ctx, &t->request, &t->id, &err), &err);
}

void rig_make(struct rig_ticket *t, uint32_t seed, uint32_t n_prompt, uint32_t max_new)
{
    memset(t, 0, sizeof(*t));
    rig_prompt(seed, t->prompt, n_prompt);
    t->request = rig_request(t->prompt, n_prompt);
    t->request.max_new = max_new;
}

/* Polls one ticket once; true if something came. */
bool rig_poll(struct rig *rig, struct rig_ticket *t)
{
    struct rz_event event = {.size = sizeof(event)};
    int32_t rc = rig->engine->poll(rig->engine->ctx, t->id, &event, 0);
    if (rc == RZ_OK)
        rig_collect(&t->out, &event);
    rz_check(rc == RZ_OK || rc == RZ_AGAIN || rc == RZ_END);
    t->done = t->out.last.kind != 0;
    return rc == RZ_OK;
}

void rig_finish(struct rig *rig, struct rig_ticket *tickets, uint32_t n)
{
    uint32_t left = n;
    while (left) {
        left = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (!tickets[i].done)
                rig_poll(rig, &tickets[i]);
            left += !tickets[i].done;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        rig->engine->release(rig->engine->ctx, tickets[i].id);
}

struct rz_engine_stats rig_stats(const struct rig *rig)
{
    struct rz_engine_stats stats = {.size = sizeof(stats)};
    rz_check_eq(rig->engine->stats(rig->engine->ctx, &stats), RZ_OK);
    return stats;
}

void rig_check(const struct rig *rig, const struct rz_request *q, const struct rig_output *out)
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

/* bench_requests.c - the speed of whole requests: submitted, scheduled, sampled and polled as a frontend
 * does, in the caller's thread.
 */
#include <stdlib.h>
#include <time.h>

#include "cli.h"

/* Takes all events of a ticket; the last one must be of a request that ran to its end. */
static int32_t finish(const struct rz_engine *e, uint64_t ticket, struct rz_err *err)
{
    struct rz_event ev = {.size = sizeof(ev)};
    for (int32_t got; (got = e->poll(e->ctx, ticket, &ev, 1000)) != RZ_END;) {
        if (got != RZ_OK && got != RZ_AGAIN)
            return rz_fail(err, got, "bench", "a request cannot be followed");
        if (got == RZ_OK && ev.kind == RZ_EVENT_ERROR)
            return rz_fail(err, ev.code, "bench", "%.*s", (int)ev.n_text, ev.text);
    }
    return RZ_OK;
}

static int32_t run_all(const struct rz_engine *e, struct rz_request *q, uint64_t *tickets, uint32_t n,
                       struct rz_err *err)
{
    int32_t code = RZ_OK;
    uint32_t sent = 0;
    for (; sent < n && !code; sent += !code)
        code = e->submit(e->ctx, q, &tickets[sent], err);
    for (uint32_t i = 0; i < sent; i++) {
        if (!code)
            code = finish(e, tickets[i], err);
        e->release(e->ctx, tickets[i]);
    }
    return code;
}

/* test->n_seqs requests with n_prompt tokens each and n_gen new ones, greedy; the time of all is
 * test->seconds. */
int32_t rz_cli_bench_requests(const struct rz_cli_model *m, struct rz_speed *test, struct rz_err *err)
{
    const struct rz_engine *e = m->api->engine(m->model);
    int32_t *prompt = calloc(test->n_prompt + 1, sizeof(*prompt));
    uint64_t *tickets = calloc(test->n_seqs, sizeof(*tickets));
    struct rz_request q = {.size = sizeof(q),
                           .flags = RZ_REQUEST_IGNORE_EOS,
                           .n_prompt = test->n_prompt,
                           .max_new = test->n_gen};
    int32_t code = e && prompt && tickets ? RZ_OK : rz_fail(err, RZ_ENOMEM, "bench", "no memory");
    q.sampling.size = sizeof(q.sampling);
    if (!code && !(code = m->api->sampling(m->model, &q.sampling))) {
        uint32_t state = (uint32_t)time(NULL);
        for (uint32_t i = 0; i < test->n_prompt; i++) {
            state = state * 1664525u + 1013904223u;
            prompt[i] = (int32_t)((state >> 8) % m->vocab.n_vocab);
        }
        q.sampling.temperature = 0;
        q.prompt = prompt;
        double start = rz_cli_now();
        code = run_all(e, &q, tickets, test->n_seqs, err);
        test->seconds = rz_cli_now() - start;
    }
    free(prompt);
    free(tickets);
    return code;
}

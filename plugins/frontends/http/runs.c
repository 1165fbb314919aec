/* runs.c - the prompts of a request, and the runs of the engine that make its choices.
 *
 * Run i is choice i % n of prompt i / n. Only so many are given to the engine at a time, so that one request
 * does not fill its queue; each that ends makes room for the next. The first run of a prompt keeps its
 * ticket until the others of that prompt, which share what it computed, are submitted.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "checked.h"
#include "http.h"

#define WINDOW 16     /* runs of one request that the engine knows at a time */
#define RUNS_MAX 4096 /* of one request */

int32_t rz_http_prompts(struct rz_http_request *r, size_t n, struct rz_err *err)
{
    int64_t choices = r->ask.best_of > r->ask.n ? r->ask.best_of : r->ask.n;
    size_t each = choices ? (size_t)choices : 1;
    if (!n)
        return rz_fail(err, RZ_EINVAL, r->shape->prompt, "is empty");
    if (n > RUNS_MAX / each)
        return rz_fail(err, RZ_EINVAL, r->shape->prompt, "%zu prompts with %zu choices: at most %d answers",
                       n, each, RUNS_MAX);
    r->prompts = calloc(n, sizeof(*r->prompts));
    r->runs = calloc(n * each, sizeof(*r->runs));
    if (!r->prompts || !r->runs)
        return rz_fail(err, RZ_ENOMEM, r->shape->prompt, "no memory");
    r->n_prompts = (uint32_t)n;
    r->n_runs = (uint32_t)(n * each);
    for (uint32_t i = 0; i < r->n_runs; i++) {
        struct rz_http_run *run = &r->runs[i];
        run->owner = r;
        run->index = i;
        run->decode.size = sizeof(run->decode);
        rz_buf_init(&run->text, RZ_HTTP_TEXT_MAX);
        rz_buf_init(&run->reasoning, RZ_HTTP_TEXT_MAX);
        rz_buf_init(&run->arguments, RZ_HTTP_TEXT_MAX);
        rz_buf_init(&run->ids, RZ_HTTP_TEXT_MAX);
    }
    return RZ_OK;
}

struct rz_http_prompt *rz_http_prompt_of(const struct rz_http_request *r, const struct rz_http_run *run)
{
    return &r->prompts[run->index / (r->n_runs / r->n_prompts)];
}

int32_t rz_http_prompt_set(struct rz_http_request *r, size_t i, int32_t *ids, uint64_t n, struct rz_err *err)
{
    r->prompts[i].ids = ids;
    if (!n)
        return rz_fail(err, RZ_EINVAL, r->shape->prompt, "is empty");
    if (n > UINT32_MAX)
        return rz_fail(err, RZ_ELIMIT, r->shape->prompt, "%llu tokens", (unsigned long long)n);
    r->prompts[i].n = (uint32_t)n;
    return RZ_OK;
}

static int32_t copy_ids(const struct rz_http_request *r, const json_t *list, int32_t **ids, uint64_t *n,
                        struct rz_err *err)
{
    uint32_t n_vocab = r->model->vocab.n_vocab;
    *n = json_array_size(list);
    *ids = calloc(*n + 1, sizeof(**ids));
    if (!*ids)
        return rz_fail(err, RZ_ENOMEM, r->shape->prompt, "no memory");
    for (uint64_t i = 0; i < *n; i++) {
        json_int_t id;
        if (!rz_http_whole_number(json_array_get(list, i), &id) || id < 0 || id >= (json_int_t)n_vocab)
            return rz_fail(err, RZ_EINVAL, r->shape->prompt, "entry %llu is not a token id below %u",
                           (unsigned long long)i, n_vocab);
        (*ids)[i] = (int32_t)id;
    }
    return RZ_OK;
}

int32_t rz_http_encode(const struct rz_http_model *m, const json_t *text, uint32_t extra, int32_t **ids,
                       uint64_t *n, struct rz_err *err)
{
    uint64_t len = json_string_length(text), cap = len + 3, bytes;
    uint32_t flags = extra | (m->vocab.add_bos ? RZ_ENCODE_BOS : 0);
    *ids = NULL;
    for (;;) { /* nearly always enough at once; else the answer says how many */
        int32_t *more = rz_mul_u64(cap, sizeof(**ids), &bytes) ? realloc(*ids, bytes) : NULL;
        if (!more)
            return rz_fail(err, RZ_ENOMEM, "text", "no memory");
        *ids = more;
        int32_t code = m->tokenizer->encode(m->tok, json_string_value(text), len, flags, *ids, cap, n, err);
        if (code || *n <= cap)
            return code;
        cap = *n;
    }
}

int32_t rz_http_prompt_read(struct rz_http_request *r, size_t i, const json_t *value, uint32_t extra,
                            struct rz_err *err)
{
    int32_t *ids = NULL;
    uint64_t n = 0;
    int32_t code = json_is_array(value) ? copy_ids(r, value, &ids, &n, err)
                                        : rz_http_encode(r->model, value, extra, &ids, &n, err);
    if (code) {
        free(ids);
        return code;
    }
    return rz_http_prompt_set(r, i, ids, n, err);
}

int32_t rz_http_prompts_read(struct rz_http_request *r, uint32_t extra, struct rz_err *err)
{
    const json_t *given = r->ask.prompt, *inner = json_array_get(given, 0);
    bool several = json_is_string(inner) || json_is_array(inner);
    size_t n = several ? json_array_size(given) : 1;
    int32_t code = rz_http_prompts(r, n, err);
    for (size_t i = 0; i < n && !code; i++) {
        const json_t *one = several ? json_array_get(given, i) : given;
        if (several && json_typeof(one) != json_typeof(inner))
            return rz_fail(err, RZ_EINVAL, r->shape->prompt, "entry %zu is not of the kind of the first", i);
        code = rz_http_prompt_read(r, i, one, extra, err);
    }
    return code;
}

void rz_http_decode(const struct rz_http_model *m, struct rz_decode_state *state, const int32_t *ids,
                    uint64_t n, uint32_t flags, struct rz_buf *out)
{
    for (uint64_t i = 0; i < n; i++) {
        int64_t need = m->tokenizer->decode(m->tok, state, ids[i], flags, NULL, 0);
        char *to = need > 0 ? rz_buf_reserve(out, (size_t)need) : NULL;
        if (!to)
            continue;
        m->tokenizer->decode(m->tok, state, ids[i], flags, to, (uint64_t)need);
        out->len += (size_t)need;
    }
}

/* --- to the engine --- */

static void set_sampling(const struct rz_http_ask *ask, uint32_t choice, struct rz_sampling *s)
{
    s->top_k = ask->top_k < 0 ? 0 : (int32_t)ask->top_k;
    s->temperature = (float)ask->temperature;
    s->top_p = (float)ask->top_p;
    s->min_p = (float)ask->min_p;
    s->typical_p = (float)ask->typical_p;
    s->repeat_penalty = (float)ask->repeat_penalty;
    s->presence_penalty = (float)ask->presence_penalty;
    s->frequency_penalty = (float)ask->frequency_penalty;
    s->seed = (uint64_t)ask->seed + choice;
}

/* Without a seed in the request or the configuration each request has one of its own. */
static void choose_seed(struct rz_http_request *r)
{
    uint64_t seed = r->model->sampling.seed;
    if (!r->ask.has_seed && !seed && getrandom(&seed, sizeof(seed), 0) < 0)
        seed = (uint64_t)time(NULL);
    if (!r->ask.has_seed)
        r->ask.seed = (int64_t)seed;
    r->ask.has_seed = true;
}

static int32_t check_biases(const struct rz_http_request *r, struct rz_err *err)
{
    for (uint32_t i = 0; i < r->ask.n_biases; i++)
        if ((uint32_t)r->ask.biases[i].token >= r->model->vocab.n_vocab)
            return rz_fail(err, RZ_EINVAL, "logit_bias", "%d is not a token id below %u",
                           r->ask.biases[i].token, r->model->vocab.n_vocab);
    return RZ_OK;
}

/* Of the time that the request may take, in ms; it may have waited for its model. 0: there is no limit. */
static uint64_t time_left(const struct rz_http_request *r)
{
    uint64_t most = (uint64_t)r->http->request_timeout_s * 1000,
             spent = (rz_http_now_ns() - r->begun_ns) / 1000000;
    return !most || spent < most ? most - (most ? spent : 0) : 1;
}

static int32_t submit(struct rz_http_request *r, struct rz_http_run *run, struct rz_err *err)
{
    uint64_t ticket;
    const struct rz_http_ask *ask = &r->ask;
    const struct rz_http_prompt *p = rz_http_prompt_of(r, run);
    uint32_t each = r->n_runs / r->n_prompts, choice = run->index % each;
    struct rz_request q = {.size = sizeof(q), .sampling = r->model->sampling};
    q.flags = r->flags | r->shape->flags | (ask->ignore_eos ? RZ_REQUEST_IGNORE_EOS : 0);
    q.prompt = p->ids;
    q.n_prompt = p->n;
    q.max_new = (uint32_t)ask->max_tokens;
    q.n_logprobs = ask->has_logprobs && ask->logprobs ? (uint32_t)ask->logprobs : 0;
    if ((ask->has_logprobs || ask->best_of > ask->n) && !q.n_logprobs)
        q.n_logprobs = 1;
    if (ask->echo && ask->has_logprobs)
        q.flags |= RZ_REQUEST_SCORE;
    q.stops = ask->stops;
    q.n_stops = ask->n_stops;
    q.biases = ask->biases;
    q.n_biases = ask->n_biases;
    q.speculate = ask->speculate;
    q.timeout_ms = time_left(r);
    q.wake = rz_http_wake;
    q.wake_arg = run;
    q.like = choice && !(q.flags & RZ_REQUEST_SCORE) ? r->runs[run->index - choice].ticket : 0;
    set_sampling(ask, choice, &q.sampling);
    if (r->http->max_prompt && p->n > r->http->max_prompt)
        return rz_fail(err, RZ_ELIMIT, r->shape->prompt, "%u tokens: at most %u (max_prompt_tokens)", p->n,
                       r->http->max_prompt);
    int32_t code = rz_http_format_apply(r, run, &q, err);
    if (!code)
        code =
            rz_http_format_error(r, r->model->engine->submit(r->model->engine->ctx, &q, &ticket, err), err);
    if (code)
        return code;
    pthread_mutex_lock(&r->http->lock);
    run->ticket = ticket;
    if (!r->has_ticket)
        rz_http_watch_add(r);
    r->has_ticket = r->has_run = true;
    pthread_mutex_unlock(&r->http->lock);
    return RZ_OK;
}

int32_t rz_http_runs_fill(struct rz_http_request *r, struct rz_err *err)
{
    int32_t code = RZ_OK;
    if (!r->n_submitted) {
        code = check_biases(r, err);
        choose_seed(r);
    }
    while (!code && r->n_submitted < r->n_runs && r->n_submitted - r->n_ended < WINDOW) {
        code = submit(r, &r->runs[r->n_submitted], err);
        if (code == RZ_EBUSY && r->n_submitted > r->n_ended)
            return RZ_OK;
        r->n_submitted += !code;
    }
    return code;
}

/* --- and back --- */

static void give_back(struct rz_http_request *r, struct rz_http_run *run)
{
    pthread_mutex_lock(&r->http->lock);
    uint64_t ticket = run->ticket;
    run->ticket = 0;
    pthread_mutex_unlock(&r->http->lock);
    if (ticket)
        r->model->engine->release(r->model->engine->ctx, ticket);
}

void rz_http_run_ended(struct rz_http_request *r, struct rz_http_run *run)
{
    uint32_t each = r->n_runs / r->n_prompts, first = run->index - run->index % each;
    run->ended = true;
    r->n_ended++;
    if (run->index != first)
        give_back(r, run);
    if (r->runs[first].ended && r->n_submitted >= first + each)
        give_back(r, &r->runs[first]);
}

void rz_http_runs_cancel(struct rz_http_request *r)
{
    for (uint32_t i = 0; r->has_ticket && i < r->n_runs; i++)
        if (r->runs[i].ticket)
            r->model->engine->cancel(r->model->engine->ctx, r->runs[i].ticket);
}

static void free_run(struct rz_http_request *r, struct rz_http_run *run)
{
    give_back(r, run);
    if (run->chat)
        r->http->chats->close(run->chat);
    json_decref(run->logprobs);
    json_decref(run->calls);
    rz_buf_free(&run->text);
    rz_buf_free(&run->reasoning);
    rz_buf_free(&run->arguments);
    rz_buf_free(&run->ids);
    free(run->vector);
}

void rz_http_runs_free(struct rz_http_request *r)
{
    for (uint32_t i = 0; r->runs && i < r->n_runs; i++)
        free_run(r, &r->runs[i]);
    for (uint32_t i = 0; r->prompts && i < r->n_prompts; i++)
        free(r->prompts[i].ids);
    free(r->runs);
    free(r->prompts);
    r->runs = NULL;
    r->prompts = NULL;
    r->n_runs = r->n_prompts = r->n_submitted = r->n_ended = 0;
}

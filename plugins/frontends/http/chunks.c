/* chunks.c - what answers have in common: usage, and log probabilities in both shapes of the API.
 */
#include <string.h>

#include "http.h"
#include "utf8.h"

#define PIECE_MAX 4096 /* a longer token is shown cut in logprobs */

struct rz_http_counts rz_http_counts(const struct rz_http_request *r)
{
    struct rz_http_counts c = {0};
    uint32_t each = r->n_prompts ? r->n_runs / r->n_prompts : 1;
    for (uint32_t i = 0; i < r->n_prompts; i++) {
        c.prompt += r->prompts[i].n;
        c.cached += r->runs[i * each].n_cached;
    }
    for (uint32_t i = 0; i < r->n_runs; i++) {
        c.fresh += r->runs[i].n_new;
        c.reasoning += r->runs[i].n_reasoning;
    }
    return c;
}

json_t *rz_http_usage(struct rz_http_request *r)
{
    struct rz_http_counts c = rz_http_counts(r);
    json_t *o =
        json_pack("{s:I,s:I,s:I,s:{s:I}}", "prompt_tokens", c.prompt, "completion_tokens", c.fresh,
                  "total_tokens", c.prompt + c.fresh, "prompt_tokens_details", "cached_tokens", c.cached);
    if (r->shape->fields == RZ_HTTP_CHAT)
        json_object_set_new(o, "completion_tokens_details",
                            json_pack("{s:I}", "reasoning_tokens", c.reasoning));
    return o;
}

/* The bytes that a token adds after what was decoded so far; returns how many. */
static size_t token_bytes(const struct rz_http_request *r, struct rz_decode_state *state, int32_t id,
                          char bytes[PIECE_MAX])
{
    int64_t n = r->model->tokenizer->decode(r->model->tok, state, id, RZ_DECODE_SPECIAL, bytes, PIECE_MAX);
    return n < 0 || n > PIECE_MAX ? 0 : (size_t)n;
}

static json_t *token_text(const struct rz_http_request *r, struct rz_decode_state *state, int32_t id)
{
    char bytes[PIECE_MAX];
    return rz_http_text(bytes, token_bytes(r, state, id, bytes));
}

static uint64_t characters(const char *s, size_t n)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

/* What a token says may depend on those before it: the answer begins behind the prompt. */
static void decode_prompt(const struct rz_http_request *r, struct rz_http_run *run)
{
    const struct rz_http_prompt *p = rz_http_prompt_of(r, run);
    char bytes[PIECE_MAX];
    for (uint32_t i = 0; i < p->n && run->decode.n_tokens < p->n; i++)
        token_bytes(r, &run->decode, p->ids[i], bytes);
}

static json_t *best_json(const struct rz_http_request *r, const struct rz_http_run *run,
                         const struct rz_logprob *best, uint32_t n)
{
    json_t *top = json_object();
    for (uint32_t i = 0; i < n && i < (uint32_t)r->ask.logprobs; i++) {
        struct rz_decode_state copy = run->decode;
        json_t *text = token_text(r, &copy, best[i].token);
        if (text && strlen(json_string_value(text)) == json_string_length(text))
            json_object_set_new(top, json_string_value(text), json_real((double)best[i].logprob));
        json_decref(text);
    }
    return top;
}

/* A token with its log probability and the best in its place; both null where there is none. */
static void add_entry(struct rz_http_request *r, struct rz_http_run *run, int32_t token, json_t *logprob,
                      json_t *top)
{
    if (!run->logprobs)
        run->logprobs =
            json_pack("{s:[],s:[],s:[],s:[]}", "tokens", "token_logprobs", "top_logprobs", "text_offset");
    json_t *text = token_text(r, &run->decode, token);
    json_array_append_new(json_object_get(run->logprobs, "text_offset"),
                          json_integer((json_int_t)run->characters));
    json_array_append_new(json_object_get(run->logprobs, "token_logprobs"), logprob);
    json_array_append_new(json_object_get(run->logprobs, "top_logprobs"), top);
    if (text)
        run->characters += characters(json_string_value(text), json_string_length(text));
    json_array_append_new(json_object_get(run->logprobs, "tokens"), text);
}

void rz_http_logprobs_prompt(struct rz_http_request *r, struct rz_http_run *run)
{
    const struct rz_engine *e = r->model->engine;
    const struct rz_http_prompt *p = rz_http_prompt_of(r, run);
    struct rz_logprob top[RZ_LOGPROBS_MAX];
    char bytes[PIECE_MAX];
    const json_t *given = r->ask.prompt, *inner = json_array_get(given, 0);
    /* BOS is no part of a text that is given as text. */
    bool text = json_is_string(json_is_array(given) ? inner : given);
    uint32_t i = text && r->model->vocab.add_bos && p->ids[0] == r->model->vocab.bos;
    if (i) /* said by nobody: what follows is the beginning of the text */
        r->model->tokenizer->decode(r->model->tok, &run->decode, p->ids[0], 0, bytes, PIECE_MAX);
    for (; i < p->n; i++) {
        float logprob = 0;
        int32_t n = RZ_HAS(e, score) ? e->score(e->ctx, run->ticket, i, &logprob, top) : RZ_ENOTFOUND;
        add_entry(r, run, p->ids[i], n < 0 ? json_null() : json_real((double)logprob),
                  n < 0 ? json_null() : best_json(r, run, top, (uint32_t)n));
    }
}

void rz_http_logprobs_add(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    if (!r->ask.has_logprobs || ev->token < 0)
        return;
    decode_prompt(r, run);
    json_t *top = best_json(r, run, ev->top, ev->n_top);
    add_entry(r, run, ev->token, json_real((double)ev->logprob), top);
}

static json_t *chat_entry(const struct rz_http_request *r, struct rz_decode_state *state, int32_t id,
                          float logprob)
{
    char bytes[PIECE_MAX];
    size_t n = token_bytes(r, state, id, bytes);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    return json_pack("{s:o,s:f,s:o}", "token", rz_http_text(bytes, n), "logprob", (double)logprob, "bytes",
                     list);
}

void rz_http_chat_logprobs_add(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    if (!r->ask.has_logprobs || ev->token < 0)
        return;
    if (!run->logprobs)
        run->logprobs = json_pack("{s:[],s:n}", "content", "refusal");
    decode_prompt(r, run);
    json_t *top = json_array();
    for (uint32_t i = 0; i < ev->n_top && i < (uint32_t)r->ask.logprobs; i++) {
        struct rz_decode_state copy = run->decode;
        json_array_append_new(top, chat_entry(r, &copy, ev->top[i].token, ev->top[i].logprob));
    }
    json_t *entry = chat_entry(r, &run->decode, ev->token, ev->logprob);
    json_object_set_new(entry, "top_logprobs", top);
    json_array_append_new(json_object_get(run->logprobs, "content"), entry);
}

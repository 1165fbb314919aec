/* chunks.c - the JSON of /v1/completions: choices, log probabilities, usage.
 */
#include <string.h>

#include "http.h"
#include "utf8.h"

#define PIECE_MAX 4096 /* a longer token is shown cut in logprobs */

json_t *rz_http_usage(const struct rz_http_request *r)
{
    json_int_t prompt = r->last.n_prompt, fresh = r->last.n_new;
    return json_pack("{s:I,s:I,s:I}", "prompt_tokens", prompt, "completion_tokens", fresh, "total_tokens",
                     prompt + fresh);
}

json_t *rz_http_completion_json(const struct rz_http_request *r, const char *text, size_t n, json_t *logprobs,
                                const char *finish)
{
    json_t *choice = json_pack("{s:i,s:o,s:o,s:s?}", "index", 0, "text", rz_http_text(text, n), "logprobs",
                               logprobs ? logprobs : json_null(), "finish_reason", finish);
    return json_pack("{s:s,s:s,s:I,s:s,s:[o]}", "id", r->id, "object", "text_completion", "created",
                     (json_int_t)r->created, "model", r->model->name, "choices", choice);
}

/* The text that a token adds after what was decoded so far. */
static json_t *token_text(const struct rz_http_request *r, struct rz_decode_state *state, int32_t id)
{
    char bytes[PIECE_MAX];
    int64_t n =
        r->model->tokenizer->decode(r->model->tok, state, id, RZ_DECODE_SPECIAL, bytes, sizeof(bytes));
    return rz_http_text(bytes, n < 0 || n > (int64_t)sizeof(bytes) ? 0 : (size_t)n);
}

static uint64_t characters(const char *s, size_t n)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

void rz_http_logprobs_add(struct rz_http_request *r, const struct rz_event *ev)
{
    if (!r->ask.has_logprobs || ev->token < 0)
        return;
    if (!r->logprobs)
        r->logprobs =
            json_pack("{s:[],s:[],s:[],s:[]}", "tokens", "token_logprobs", "top_logprobs", "text_offset");
    json_t *top = json_object();
    for (uint32_t i = 0; i < ev->n_top && i < (uint32_t)r->ask.logprobs; i++) {
        struct rz_decode_state copy = r->decode;
        json_t *text = token_text(r, &copy, ev->top[i].token);
        if (text && strlen(json_string_value(text)) == json_string_length(text))
            json_object_set_new(top, json_string_value(text), json_real((double)ev->top[i].logprob));
        json_decref(text);
    }
    json_t *text = token_text(r, &r->decode, ev->token);
    json_array_append_new(json_object_get(r->logprobs, "text_offset"),
                          json_integer((json_int_t)r->characters));
    json_array_append_new(json_object_get(r->logprobs, "token_logprobs"), json_real((double)ev->logprob));
    json_array_append_new(json_object_get(r->logprobs, "top_logprobs"), top);
    if (text)
        r->characters += characters(json_string_value(text), json_string_length(text));
    json_array_append_new(json_object_get(r->logprobs, "tokens"), text);
}

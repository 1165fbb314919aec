/* completion.c - /v1/completions: a prompt as text or ids, and the JSON of its answer.
 */
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "http.h"

static json_t *answer(const struct rz_http_request *r, const char *text, size_t n, json_t *logprobs,
                      const char *finish)
{
    json_t *choice = json_pack("{s:i,s:o,s:o,s:s?}", "index", 0, "text", rz_http_text(text, n), "logprobs",
                               logprobs ? logprobs : json_null(), "finish_reason", finish);
    return json_pack("{s:s,s:s,s:I,s:s,s:[o]}", "id", r->id, "object", "text_completion", "created",
                     (json_int_t)r->created, "model", r->model->name, "choices", choice);
}

static void chunk(struct rz_http_request *r, const struct rz_event *ev, const char *finish)
{
    json_t *o = answer(r, ev->text, ev->n_text, r->logprobs, finish);
    r->logprobs = NULL;
    if (r->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    rz_http_sse(r, o);
}

static void take(struct rz_http_request *r, const struct rz_event *ev)
{
    rz_http_logprobs_add(r, ev);
    if (r->phase != PHASE_SSE)
        rz_buf_add(&r->out, ev->text, ev->n_text);
    else if (ev->n_text)
        chunk(r, ev, NULL);
}

static void end(struct rz_http_request *r, const struct rz_event *ev)
{
    if (r->phase == PHASE_SSE)
        chunk(r, ev, rz_http_finish_name(r));
    else
        rz_buf_add(&r->out, ev->text, ev->n_text);
}

static json_t *whole(struct rz_http_request *r)
{
    json_t *o = answer(r, r->out.data ? r->out.data : "", r->out.len, r->logprobs, rz_http_finish_name(r));
    r->logprobs = NULL;
    return o;
}

static json_t *usage_chunk(struct rz_http_request *r)
{
    json_t *o = answer(r, "", 0, NULL, NULL);
    json_object_set_new(o, "choices", json_array());
    json_object_set_new(o, "usage", rz_http_usage(r));
    return o;
}

/* --- the prompt --- */

static int32_t prompt_ids(const struct rz_http_model *m, const json_t *list, int32_t **ids, uint64_t *n,
                          struct rz_err *err)
{
    *n = json_array_size(list);
    *ids = calloc(*n + 1, sizeof(**ids));
    if (!*ids)
        return rz_fail(err, RZ_ENOMEM, "prompt", "no memory");
    for (uint64_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= (json_int_t)m->vocab.n_vocab)
            return rz_fail(err, RZ_EINVAL, "prompt", "entry %llu is not a token id below %u",
                           (unsigned long long)i, m->vocab.n_vocab);
        (*ids)[i] = (int32_t)id;
    }
    return RZ_OK;
}

static int32_t prompt_text(const struct rz_http_model *m, const json_t *text, int32_t **ids, uint64_t *n,
                           struct rz_err *err)
{
    uint64_t len = json_string_length(text), cap = len + 3, bytes;
    uint32_t flags = RZ_ENCODE_SPECIAL | (m->vocab.add_bos ? RZ_ENCODE_BOS : 0);
    for (;;) { /* nearly always enough at once; else the answer says how many */
        int32_t *more = rz_mul_u64(cap, sizeof(**ids), &bytes) ? realloc(*ids, bytes) : NULL;
        if (!more)
            return rz_fail(err, RZ_ENOMEM, "prompt", "no memory");
        *ids = more;
        int32_t code = m->tokenizer->encode(m->tok, json_string_value(text), len, flags, *ids, cap, n, err);
        if (code || *n <= cap)
            return code;
        cap = *n;
    }
}

static int32_t submit(struct rz_http_request *r, struct rz_err *err)
{
    const json_t *prompt = r->ask.prompt;
    int32_t *ids = NULL;
    uint64_t n = 0;
    int32_t code = json_is_array(prompt) ? prompt_ids(r->model, prompt, &ids, &n, err)
                                         : prompt_text(r->model, prompt, &ids, &n, err);
    if (!code && !n)
        code = rz_fail(err, RZ_EINVAL, "prompt", "is empty");
    if (!code && n > UINT32_MAX)
        code = rz_fail(err, RZ_ELIMIT, "prompt", "%llu tokens", (unsigned long long)n);
    if (!code)
        code = rz_http_submit(r, ids, n, 0, err);
    free(ids);
    return code;
}

static const struct rz_http_shape shape = {.id = "cmpl-",
                                           .fields = RZ_HTTP_COMPLETION,
                                           .prompt = "prompt",
                                           .max_tokens = 16,
                                           .submit = submit,
                                           .take = take,
                                           .end = end,
                                           .whole = whole,
                                           .usage = rz_http_usage,
                                           .usage_chunk = usage_chunk};

enum MHD_Result rz_http_completion_start(struct rz_http_request *r)
{
    return rz_http_start(r, &shape);
}

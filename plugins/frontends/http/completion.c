/* completion.c - /v1/completions: the JSON of its answers.
 */
#include <stdlib.h>
#include <string.h>

#include "http.h"

static void echo(const struct rz_http_request *r, const struct rz_http_run *run, struct rz_buf *out)
{
    const struct rz_http_prompt *p = rz_http_prompt_of(r, run);
    const json_t *text = r->ask.prompt, *inner = json_array_get(text, 0);
    if (json_is_string(inner))
        text = json_array_get(text, (size_t)(p - r->prompts));
    struct rz_decode_state state = {.size = sizeof(state)};
    if (json_is_string(text))
        rz_buf_add(out, json_string_value(text), json_string_length(text));
    else
        rz_http_decode(r->model, &state, p->ids, p->n, RZ_DECODE_SPECIAL, out);
}

static json_t *choice_json(const struct rz_http_request *r, struct rz_http_run *run, const char *text,
                           size_t n, const char *finish)
{
    struct rz_buf whole;
    rz_buf_init(&whole, RZ_HTTP_TEXT_MAX);
    if (r->ask.echo && !run->begun)
        echo(r, run, &whole);
    run->begun = true;
    rz_buf_add(&whole, text, n);
    json_t *o =
        json_pack("{s:I,s:o,s:o,s:s?}", "index", (json_int_t)run->index, "text", rz_http_buf_text(&whole),
                  "logprobs", run->logprobs ? run->logprobs : json_null(), "finish_reason", finish);
    run->logprobs = NULL;
    rz_buf_free(&whole);
    return o;
}

static json_t *envelope(const struct rz_http_request *r, json_t *choices)
{
    return json_pack("{s:s,s:s,s:I,s:s,s:o}", "id", r->id, "object", "text_completion", "created",
                     (json_int_t)r->created, "model", r->model->name, "choices", choices);
}

static void chunk(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev,
                  const char *finish)
{
    json_t *o = envelope(r, json_pack("[o]", choice_json(r, run, ev->text, ev->n_text, finish)));
    if (r->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    rz_http_sse(r, NULL, o);
}

static void take(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    rz_http_logprobs_add(r, run, ev);
    if (r->phase != PHASE_SSE)
        rz_buf_add(&run->text, ev->text, ev->n_text);
    else if (ev->n_text)
        chunk(r, run, ev, NULL);
}

static void end(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    if (r->phase == PHASE_SSE)
        chunk(r, run, ev, rz_http_finish_name(run));
    else
        rz_buf_add(&run->text, ev->text, ev->n_text);
}

static json_t *whole(struct rz_http_request *r)
{
    json_t *choices = json_array();
    for (uint32_t i = 0; i < r->n_runs; i++) {
        struct rz_http_run *run = &r->runs[i];
        json_array_append_new(choices, choice_json(r, run, run->text.data ? run->text.data : "",
                                                   run->text.len, rz_http_finish_name(run)));
    }
    json_t *o = envelope(r, choices);
    json_object_set_new(o, "usage", rz_http_usage(r));
    return o;
}

static void finish(struct rz_http_request *r)
{
    if (!r->ask.include_usage)
        return;
    json_t *o = envelope(r, json_array());
    json_object_set_new(o, "usage", rz_http_usage(r));
    rz_http_sse(r, NULL, o);
}

/* One text or one list of ids is one prompt; a list of these is several. */
static int32_t prepare(struct rz_http_request *r, struct rz_err *err)
{
    return rz_http_prompts_read(r, RZ_ENCODE_SPECIAL, err);
}

static const struct rz_http_shape shape = {.id = "cmpl-",
                                           .fields = RZ_HTTP_COMPLETION,
                                           .prompt = "prompt",
                                           .max_tokens = 16,
                                           .prepare = prepare,
                                           .take = take,
                                           .end = end,
                                           .whole = whole,
                                           .finish = finish};

enum MHD_Result rz_http_completion_start(struct rz_http_request *r)
{
    return rz_http_start(r, &shape);
}

/* completion.c - /v1/completions: the JSON of its answers.
 *
 * With best_of more runs are made than choices are answered; the best of a prompt have the highest mean log
 * probability of a token. With max_tokens = 0 the one token that the engine makes is not part of the answer.
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

static json_t *choice_json(const struct rz_http_request *r, struct rz_http_run *run, uint32_t index,
                           const char *text, size_t n, const char *finish)
{
    struct rz_buf whole;
    rz_buf_init(&whole, RZ_HTTP_TEXT_MAX);
    if (r->ask.echo && !run->begun)
        echo(r, run, &whole);
    run->begun = true;
    rz_buf_add(&whole, text, n);
    json_t *o = json_pack("{s:I,s:o,s:o,s:s?}", "index", (json_int_t)index, "text", rz_http_buf_text(&whole),
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
    json_t *o = envelope(r, json_pack("[o]", choice_json(r, run, run->index, ev->text, ev->n_text, finish)));
    if (r->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    rz_http_sse(r, NULL, o);
}

/* Before the first token of a run: the prompt is computed. */
static void begin(struct rz_http_request *r, struct rz_http_run *run)
{
    if (r->ask.echo && r->ask.has_logprobs && !run->decode.n_tokens)
        rz_http_logprobs_prompt(r, run);
}

static void take(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    begin(r, run);
    if (r->ask.only_prompt)
        return;
    rz_http_logprobs_add(r, run, ev);
    run->sum += ev->token >= 0 ? (double)ev->logprob : 0;
    if (r->phase != PHASE_SSE)
        rz_buf_add(&run->text, ev->text, ev->n_text);
    else if (ev->n_text)
        chunk(r, run, ev, NULL);
}

static void end(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    static const struct rz_event nothing;
    begin(r, run);
    if (r->ask.only_prompt) {
        ev = &nothing;
        run->n_new = 0;
        run->finish = RZ_FINISH_LENGTH;
    }
    if (r->phase == PHASE_SSE)
        chunk(r, run, ev, rz_http_finish_name(run));
    else
        rz_buf_add(&run->text, ev->text, ev->n_text);
}

static double mean(const struct rz_http_run *run)
{
    return run->n_new ? run->sum / run->n_new : 0;
}

/* The best of n runs that was not answered yet. */
static struct rz_http_run *best_left(struct rz_http_run *runs, uint32_t n)
{
    struct rz_http_run *best = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (!runs[i].begun && (!best || mean(&runs[i]) > mean(best)))
            best = &runs[i];
    return best;
}

static json_t *whole(struct rz_http_request *r)
{
    json_t *choices = json_array();
    uint32_t n = (uint32_t)r->ask.n, each = r->n_runs / r->n_prompts;
    for (uint32_t i = 0; i < n * r->n_prompts; i++) {
        struct rz_http_run *run = each > n ? best_left(&r->runs[i / n * each], each) : &r->runs[i];
        json_array_append_new(choices, choice_json(r, run, i, run->text.data ? run->text.data : "",
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
    r->ask.only_prompt = !r->ask.max_tokens;
    if (r->ask.only_prompt)
        r->ask.max_tokens = 1;
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

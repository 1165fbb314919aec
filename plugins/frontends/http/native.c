/* native.c - the routes of the original system: /tokenize and /generate, alone, in batches and as a stream.
 *
 * Its shapes: ids and text of an answer begin with the prompt; errors are {"error": "text"}.
 */
#include <stdlib.h>
#include <string.h>

#include "http.h"

/* Its defaults, and nothing of the model's configuration. */
static void defaults(struct rz_http_ask *ask)
{
    ask->max_tokens = 50;
    ask->temperature = 1;
    ask->top_k = 50;
    ask->top_p = 0.9;
    ask->min_p = ask->presence_penalty = ask->frequency_penalty = 0;
    ask->typical_p = ask->repeat_penalty = 1;
}

static json_t *ids_json(const int32_t *ids, uint64_t n)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

/* --- ids of texts --- */

static int32_t tokens_json(const struct rz_http_request *r, const json_t *text, json_t **out,
                           struct rz_err *err)
{
    int32_t *ids = NULL;
    uint64_t n = 0;
    int32_t code = rz_http_encode(r->model, text, RZ_ENCODE_SPECIAL, &ids, &n, err);
    *out = code ? NULL : json_pack("{s:o,s:I}", "token_ids", ids_json(ids, n), "num_tokens", (json_int_t)n);
    free(ids);
    return code;
}

static enum MHD_Result reply(struct rz_http_request *r, json_t *o)
{
    return rz_http_reply_json(r->connection, MHD_HTTP_OK, o, r->ask.ignored.len ? r->ask.ignored.data : NULL);
}

static enum MHD_Result tokenize(struct rz_http_request *r)
{
    struct rz_err err = RZ_ERR_INIT;
    json_t *o = NULL;
    int32_t code = tokens_json(r, r->ask.prompt, &o, &err);
    return code ? rz_http_refuse(r, code, &err) : reply(r, o);
}

static enum MHD_Result tokenize_all(struct rz_http_request *r)
{
    struct rz_err err = RZ_ERR_INIT;
    int32_t code = RZ_OK;
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(r->ask.prompt) && !code; i++) {
        json_t *o = NULL;
        code = tokens_json(r, json_array_get(r->ask.prompt, i), &o, &err);
        if (o)
            json_array_append_new(list, o);
    }
    if (!code)
        return reply(r, json_pack("{s:o}", "results", list));
    json_decref(list);
    return rz_http_refuse(r, code, &err);
}

enum MHD_Result rz_http_tokenize(struct rz_http_request *r)
{
    static const struct rz_http_shape shape = {
        .fields = RZ_HTTP_TOKENIZE, .prompt = "text", .answer = tokenize};
    return rz_http_start(r, &shape);
}

enum MHD_Result rz_http_tokenize_all(struct rz_http_request *r)
{
    static const struct rz_http_shape shape = {
        .fields = RZ_HTTP_TOKENIZE_ALL, .prompt = "texts", .answer = tokenize_all};
    return rz_http_start(r, &shape);
}

/* --- texts --- */

static int32_t prepare(struct rz_http_request *r, struct rz_err *err)
{
    return rz_http_prompts_read(r, RZ_ENCODE_SPECIAL, err);
}

/* A long token comes in several events, of which the first has its id. */
static void take(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    int32_t last = -1;
    if (ev->token >= 0)
        rz_buf_add(&run->ids, &ev->token, sizeof(ev->token));
    if (run->ids.len)
        memcpy(&last, run->ids.data + run->ids.len - sizeof(last), sizeof(last));
    if (r->phase == PHASE_SSE)
        rz_http_sse(r, "token",
                    json_pack("{s:i,s:o}", "token_id", last, "text", rz_http_text(ev->text, ev->n_text)));
}

/* What was held back, half a character for example, is told at the end. */
static void end(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    if (r->phase == PHASE_SSE)
        rz_buf_add(&run->text, ev->text, ev->n_text);
}

static json_t *generated(const struct rz_http_request *r, struct rz_http_run *run)
{
    const struct rz_http_prompt *p = rz_http_prompt_of(r, run);
    struct rz_buf text;
    uint64_t n = run->ids.len / sizeof(int32_t);
    json_t *ids = ids_json(p->ids, p->n), *more = ids_json((const int32_t *)(const void *)run->ids.data, n);
    json_array_extend(ids, more);
    json_decref(more);
    rz_buf_init(&text, RZ_HTTP_TEXT_MAX);
    struct rz_decode_state state = {.size = sizeof(state)};
    rz_http_decode(r->model, &state, p->ids, p->n, 0, &text);
    rz_http_decode(r->model, &state, (const int32_t *)(const void *)run->ids.data, n, 0, &text);
    json_t *o = json_pack("{s:o,s:o,s:I}", "token_ids", ids, "text", rz_http_buf_text(&text), "num_generated",
                          (json_int_t)n);
    rz_buf_free(&text);
    return o;
}

static json_t *whole(struct rz_http_request *r)
{
    return generated(r, &r->runs[0]);
}

static json_t *whole_all(struct rz_http_request *r)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->n_runs; i++)
        json_array_append_new(list, generated(r, &r->runs[i]));
    return json_pack("{s:o}", "results", list);
}

static void finish(struct rz_http_request *r)
{
    const struct rz_buf *rest = &r->runs[0].text;
    json_t *o = json_pack("{s:I}", "num_generated", rz_http_counts(r).fresh);
    if (rest->len)
        json_object_set_new(o, "text", rz_http_text(rest->data, rest->len));
    rz_http_sse(r, "done", o);
}

static void fail(struct rz_http_request *r, const struct rz_http_error *e)
{
    rz_http_sse(r, "error", rz_http_error_json(e));
}

#define SHAPE(fields_, prompt_, whole_, stream) \
    { \
        .id = "gen-", .fields = fields_, .prompt = prompt_, .defaults = defaults, .done = "", \
        .always_stream = stream, .prepare = prepare, .take = take, .end = end, .whole = whole_, \
        .finish = finish, .fail = fail \
    }

enum MHD_Result rz_http_generate_start(struct rz_http_request *r)
{
    static const struct rz_http_shape shape = SHAPE(RZ_HTTP_GENERATE, "prompt", whole, false);
    return rz_http_start(r, &shape);
}

enum MHD_Result rz_http_generate_stream(struct rz_http_request *r)
{
    static const struct rz_http_shape shape = SHAPE(RZ_HTTP_GENERATE, "prompt", whole, true);
    return rz_http_start(r, &shape);
}

enum MHD_Result rz_http_generate_all(struct rz_http_request *r)
{
    static const struct rz_http_shape shape = SHAPE(RZ_HTTP_GENERATE_ALL, "prompts", whole_all, false);
    return rz_http_start(r, &shape);
}

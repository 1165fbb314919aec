/* responses.c - /v1/responses: a conversation in items, answered by items, and the events of that API.
 *
 * Nothing is kept: a conversation is given whole each time. The pieces of the answer are collected into the
 * items of `output` in the same way for a stream and for an answer in one piece; a stream also tells of each.
 */
#include "responses.h"

#include <stdlib.h>
#include <string.h>

struct rz_http_items {
    json_t *output;
    json_t *open;  /* the last of them, while it is written; NULL: none */
    uint32_t kind; /* RZ_CHAT_* of it */
    struct rz_buf text;
    json_t *logprobs; /* of the text */
    json_int_t sequence;
    uint32_t finish;
};

void rz_http_items_free(struct rz_http_request *r)
{
    if (!r->items)
        return;
    json_decref(r->items->output);
    json_decref(r->items->logprobs);
    rz_buf_free(&r->items->text);
    free(r->items);
    r->items = NULL;
}

/* --- the response as a whole --- */

static json_t *given(const struct rz_http_request *r, const char *name, json_t *otherwise)
{
    json_t *v = json_object_get(r->ask.root, name);
    if (!v || json_is_null(v))
        return otherwise;
    json_decref(otherwise);
    return json_incref(v);
}

static json_t *usage(const struct rz_http_request *r)
{
    struct rz_http_counts c = rz_http_counts(r);
    return json_pack("{s:I,s:{s:I},s:I,s:{s:I},s:I}", "input_tokens", c.prompt, "input_tokens_details",
                     "cached_tokens", c.cached, "output_tokens", c.fresh, "output_tokens_details",
                     "reasoning_tokens", c.reasoning, "total_tokens", c.prompt + c.fresh);
}

/* status: "in_progress", "completed", "incomplete" or "failed". */
static json_t *response(const struct rz_http_request *r, const char *status, const struct rz_http_error *e)
{
    bool cut = !strcmp(status, "incomplete"), running = !strcmp(status, "in_progress");
    json_t *o = json_pack("{s:s,s:s,s:I,s:s,s:s,s:O}", "id", r->id, "object", "response", "created_at",
                          (json_int_t)r->created, "status", status, "model", r->model->name, "output",
                          r->items->output);
    json_object_set_new(
        o, "error", e ? json_pack("{s:s,s:s}", "code", "server_error", "message", e->message) : json_null());
    json_object_set_new(o, "incomplete_details",
                        cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null());
    json_object_set_new(o, "usage", running || e ? json_null() : usage(r));
    json_object_set_new(o, "instructions", given(r, "instructions", json_null()));
    json_object_set_new(o, "max_output_tokens", given(r, "max_output_tokens", json_null()));
    json_object_set_new(o, "metadata", given(r, "metadata", json_object()));
    json_object_set_new(o, "parallel_tool_calls", json_boolean(!r->ask.one_call));
    json_object_set_new(o, "previous_response_id", json_null());
    json_object_set_new(o, "reasoning", given(r, "reasoning", json_object()));
    json_object_set_new(o, "store", json_false());
    json_object_set_new(o, "temperature", json_real(r->ask.temperature));
    json_object_set_new(o, "text", given(r, "text", json_pack("{s:{s:s}}", "format", "type", "text")));
    json_object_set_new(o, "tool_choice", given(r, "tool_choice", json_string("auto")));
    json_object_set_new(o, "tools", given(r, "tools", json_array()));
    json_object_set_new(o, "top_p", json_real(r->ask.top_p));
    json_object_set_new(o, "truncation", json_string("disabled"));
    json_object_set_new(o, "user", given(r, "user", json_null()));
    return o;
}

/* --- events --- */

/* Takes data, which gets its type and number. */
static void tell(struct rz_http_request *r, const char *type, json_t *data)
{
    if (r->phase != PHASE_SSE) {
        json_decref(data);
        return;
    }
    json_object_set_new(data, "type", json_string(type));
    json_object_set_new(data, "sequence_number", json_integer(r->items->sequence++));
    rz_http_sse(r, type, data);
}

/* An event about the item that is open. logprobs is taken: of the text that it tells; NULL: none. */
static void tell_text(struct rz_http_request *r, const char *type, const char *member, json_t *value,
                      json_t *logprobs)
{
    const struct rz_http_items *items = r->items;
    bool whole = !strcmp(member, "item");
    json_t *o = json_pack("{s:I}", "output_index", (json_int_t)json_array_size(items->output) - 1);
    if (!whole)
        json_object_set(o, "item_id", json_object_get(items->open, "id"));
    if (!whole && items->kind != RZ_CHAT_CALL)
        json_object_set_new(o, "content_index", json_integer(0));
    json_object_set_new(o, member, value);
    if (items->kind == RZ_CHAT_CONTENT && strstr(type, "output_text"))
        json_object_set(o, "logprobs", logprobs);
    json_decref(logprobs);
    tell(r, type, o);
}

static void tell_item(struct rz_http_request *r, const char *type, const char *member, json_t *value)
{
    tell_text(r, type, member, value, json_array());
}

/* The open item's text so far. */
static json_t *part(const struct rz_http_items *items)
{
    json_t *t = rz_http_buf_text(&items->text);
    if (items->kind == RZ_CHAT_REASONING)
        return json_pack("{s:s,s:o}", "type", "reasoning_text", "text", t);
    return json_pack("{s:s,s:o,s:[],s:o}", "type", "output_text", "text", t, "annotations", "logprobs",
                     json_copy(items->logprobs));
}

/* What was told of tokens since the last piece of text, which may have been held back meanwhile. */
static json_t *fresh_logprobs(struct rz_http_run *run)
{
    json_t *all = run->logprobs, *content = json_incref(json_object_get(all, "content"));
    run->logprobs = NULL;
    json_decref(all);
    return content ? content : json_array();
}

/* Takes item: it is the last of the output from now on. */
static void open_item(struct rz_http_request *r, uint32_t kind, const char *prefix, json_t *item)
{
    struct rz_http_items *items = r->items;
    char id[80];
    snprintf(id, sizeof(id), "%s_%s_%zu", prefix, r->id + strlen(r->shape->id),
             json_array_size(items->output));
    json_object_set_new(item, "id", json_string(id));
    json_object_set_new(item, "status", json_string("in_progress"));
    json_array_append_new(items->output, item);
    items->open = item;
    items->kind = kind;
    rz_buf_clear(&items->text);
    json_array_clear(items->logprobs);
    tell_item(r, "response.output_item.added", "item", json_deep_copy(item));
    if (kind != RZ_CHAT_CALL)
        tell_item(r, "response.content_part.added", "part", part(items));
}

static void close_item(struct rz_http_request *r, const char *status)
{
    struct rz_http_items *items = r->items;
    if (!items->open)
        return;
    json_object_set_new(items->open, "status", json_string(status));
    if (items->kind == RZ_CHAT_CALL) {
        json_object_set_new(items->open, "arguments", rz_http_buf_text(&items->text));
        json_t *done = json_pack(
            "{s:I,s:O,s:O,s:O}", "output_index", (json_int_t)json_array_size(items->output) - 1, "item_id",
            json_object_get(items->open, "id"), "arguments", json_object_get(items->open, "arguments"),
            "name", json_object_get(items->open, "name"));
        tell(r, "response.function_call_arguments.done", done);
    } else {
        json_t *whole = part(items);
        bool content = items->kind == RZ_CHAT_CONTENT;
        tell_text(r, content ? "response.output_text.done" : "response.reasoning_text.done", "text",
                  json_incref(json_object_get(whole, "text")), json_copy(items->logprobs));
        tell_item(r, "response.content_part.done", "part", json_incref(whole));
        json_object_set_new(items->open, "content", json_pack("[o]", whole));
    }
    tell_item(r, "response.output_item.done", "item", json_deep_copy(items->open));
    items->open = NULL;
}

static void take_call(struct rz_http_request *r, const struct rz_http_choice *choice,
                      const struct rz_chat_piece *piece)
{
    struct rz_http_items *items = r->items;
    if (piece->flags & RZ_CHAT_BEGIN) {
        close_item(r, "completed");
        open_item(r, RZ_CHAT_CALL, "fc",
                  json_pack("{s:s,s:o,s:o,s:s}", "type", "function_call", "call_id",
                            rz_http_call_id(choice, piece), "name",
                            rz_http_text(piece->name.data, piece->name.len), "arguments", ""));
    }
    rz_buf_add(&items->text, piece->text.data, piece->text.len);
    if (piece->text.len)
        tell_item(r, "response.function_call_arguments.delta", "delta",
                  rz_http_text(piece->text.data, piece->text.len));
    if (piece->flags & RZ_CHAT_END)
        close_item(r, piece->flags & RZ_CHAT_CUT ? "incomplete" : "completed");
}

static void take_piece(void *arg, const struct rz_chat_piece *piece)
{
    const struct rz_http_choice *choice = arg;
    struct rz_http_request *r = choice->r;
    struct rz_http_items *items = r->items;
    bool content = piece->kind == RZ_CHAT_CONTENT;
    json_t *logprobs = fresh_logprobs(choice->run);
    if (piece->kind == RZ_CHAT_CALL) {
        json_decref(logprobs);
        take_call(r, choice, piece);
        return;
    }
    if (items->open && items->kind != piece->kind)
        close_item(r, "completed");
    if (!items->open && content)
        open_item(r, piece->kind, "msg",
                  json_pack("{s:s,s:s,s:[]}", "type", "message", "role", "assistant", "content"));
    else if (!items->open)
        open_item(r, piece->kind, "rs",
                  json_pack("{s:s,s:[],s:[]}", "type", "reasoning", "summary", "content"));
    rz_buf_add(&items->text, piece->text.data, piece->text.len);
    json_array_extend(items->logprobs, logprobs);
    tell_text(r, content ? "response.output_text.delta" : "response.reasoning_text.delta", "delta",
              rz_http_text(piece->text.data, piece->text.len), logprobs);
}

/* --- the shape --- */

static int32_t prepare(struct rz_http_request *r, struct rz_err *err)
{
    r->items = calloc(1, sizeof(*r->items));
    if (!r->items)
        return rz_fail(err, RZ_ENOMEM, "input", "no memory");
    r->items->output = json_array();
    r->items->logprobs = json_array();
    rz_buf_init(&r->items->text, RZ_HTTP_TEXT_MAX);
    r->ask.made = r->ask.made ? r->ask.made : json_array();
    int32_t code = rz_http_input_messages(&r->ask, &r->ask.messages, err);
    json_array_append_new(r->ask.made, r->ask.messages);
    return code ? code : rz_http_chat_prepare(r, err);
}

static void begin(struct rz_http_request *r)
{
    tell(r, "response.created", json_pack("{s:o}", "response", response(r, "in_progress", NULL)));
    tell(r, "response.in_progress", json_pack("{s:o}", "response", response(r, "in_progress", NULL)));
}

static void take(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    struct rz_http_choice choice = {r, run};
    if (r->http->chats->state(run->chat) == RZ_CHAT_CONTENT)
        rz_http_chat_logprobs_add(r, run, ev);
    rz_http_chat_feed(&choice, ev, false, take_piece);
}

static const char *status_of(const struct rz_http_request *r)
{
    return r->runs[0].finish == RZ_FINISH_LENGTH ? "incomplete" : "completed";
}

static void end(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    struct rz_http_choice choice = {r, run};
    rz_http_chat_feed(&choice, ev, true, take_piece);
    close_item(r, status_of(r));
    run->text.bad |= r->items->text.bad;
}

static json_t *whole(struct rz_http_request *r)
{
    return response(r, status_of(r), NULL);
}

static void finish(struct rz_http_request *r)
{
    const char *status = status_of(r);
    tell(r, !strcmp(status, "completed") ? "response.completed" : "response.incomplete",
         json_pack("{s:o}", "response", response(r, status, NULL)));
}

static void fail(struct rz_http_request *r, const struct rz_http_error *e)
{
    close_item(r, "incomplete");
    tell(r, "error", json_pack("{s:s?,s:s,s:s?}", "code", e->code, "message", e->message, "param", e->param));
    tell(r, "response.failed", json_pack("{s:o}", "response", response(r, "failed", e)));
}

static const struct rz_http_shape shape = {.id = "resp_",
                                           .fields = RZ_HTTP_RESPONSE,
                                           .prompt = "input",
                                           .done = "",
                                           .prepare = prepare,
                                           .take = take,
                                           .end = end,
                                           .whole = whole,
                                           .begin = begin,
                                           .finish = finish,
                                           .fail = fail};

enum MHD_Result rz_http_response_start(struct rz_http_request *r)
{
    return rz_http_start(r, &shape);
}

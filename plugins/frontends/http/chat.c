/* chat.c - /v1/chat/completions: a conversation through the model's template, and the JSON of its answer.
 *
 * The host renders and encodes the conversation and reads the answer (rz.chat/1); here its pieces become
 * messages or deltas.
 */
#include <stdlib.h>
#include <string.h>

#include "http.h"

static json_t *envelope(const struct rz_http_request *r, const char *object, json_t *choices)
{
    return json_pack("{s:s,s:s,s:I,s:s,s:o}", "id", r->id, "object", object, "created",
                     (json_int_t)r->created, "model", r->model->name, "choices", choices);
}

/* A chunk with this delta, which is taken. finish: NULL while it goes on. */
static void chunk(struct rz_http_request *r, json_t *delta, const char *finish)
{
    if (!r->begun) {
        json_object_set_new(delta, "role", json_string("assistant"));
        if (!json_object_get(delta, "content"))
            json_object_set_new(delta, "content", json_string(""));
    }
    r->begun = true;
    json_t *choice = json_pack("{s:i,s:o,s:o,s:s?}", "index", 0, "delta", delta, "logprobs",
                               r->logprobs ? r->logprobs : json_null(), "finish_reason", finish);
    r->logprobs = NULL;
    json_t *o = envelope(r, "chat.completion.chunk", json_pack("[o]", choice));
    if (r->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    rz_http_sse(r, o);
}

static json_t *call_json(const struct rz_http_request *r, const struct rz_chat_piece *piece)
{
    char own[64];
    snprintf(own, sizeof(own), "call_%s_%u", r->id + strlen(r->shape->id), piece->index);
    json_t *id = piece->id.len ? rz_http_text(piece->id.data, piece->id.len) : json_string(own);
    json_t *f = json_pack("{s:o,s:o}", "name", rz_http_text(piece->name.data, piece->name.len), "arguments",
                          rz_http_text(piece->text.data, piece->text.len));
    return json_pack("{s:o,s:s,s:o}", "id", id, "type", "function", "function", f);
}

static void take_piece(void *arg, const struct rz_chat_piece *piece)
{
    struct rz_http_request *r = arg;
    bool stream = r->phase == PHASE_SSE;
    if (piece->kind == RZ_CHAT_CALL) {
        json_t *call = call_json(r, piece);
        r->n_calls++;
        if (stream) {
            json_object_set_new(call, "index", json_integer(piece->index));
            chunk(r, json_pack("{s:[o]}", "tool_calls", call), NULL);
        } else {
            r->calls = r->calls ? r->calls : json_array();
            json_array_append_new(r->calls, call);
        }
    } else if (stream) {
        const char *key = piece->kind == RZ_CHAT_CONTENT ? "content" : "reasoning_content";
        chunk(r, json_pack("{s:o}", key, rz_http_text(piece->text.data, piece->text.len)), NULL);
    } else {
        rz_buf_add(piece->kind == RZ_CHAT_CONTENT ? &r->out : &r->reasoning, piece->text.data,
                   piece->text.len);
    }
}

static void take(struct rz_http_request *r, const struct rz_event *ev)
{
    const struct rz_chat_api *chats = r->http->chats;
    rz_http_chat_logprobs_add(r, ev);
    if (r->phase == PHASE_SSE && !r->begun) /* clients learn the role from the first event */
        chunk(r, json_object(), NULL);
    if (chats->feed(r->chat, ev->text, ev->n_text, take_piece, r, NULL))
        r->out.bad = true; /* an answer that does not end: seen where answers that are too long are */
    r->n_reasoning += ev->token >= 0 && chats->state(r->chat) == RZ_CHAT_REASONING;
}

static const char *finish_name(const struct rz_http_request *r)
{
    return r->n_calls && r->last.finish == RZ_FINISH_STOP ? "tool_calls" : rz_http_finish_name(r);
}

static void end(struct rz_http_request *r, const struct rz_event *ev)
{
    const struct rz_chat_api *chats = r->http->chats;
    if (chats->feed(r->chat, ev->text, ev->n_text, take_piece, r, NULL) ||
        chats->finish(r->chat, take_piece, r, NULL))
        r->out.bad = true;
    if (r->phase == PHASE_SSE)
        chunk(r, json_object(), finish_name(r));
}

static json_t *whole(struct rz_http_request *r)
{
    json_t *message = json_pack("{s:s}", "role", "assistant");
    bool silent = !r->out.len && r->calls;
    json_object_set_new(message, "content",
                        silent ? json_null() : rz_http_text(r->out.data ? r->out.data : "", r->out.len));
    json_object_set_new(message, "refusal", json_null());
    if (r->reasoning.len)
        json_object_set_new(message, "reasoning_content", rz_http_text(r->reasoning.data, r->reasoning.len));
    if (r->calls)
        json_object_set(message, "tool_calls", r->calls);
    json_t *choice = json_pack("{s:i,s:o,s:o,s:s}", "index", 0, "message", message, "logprobs",
                               r->logprobs ? r->logprobs : json_null(), "finish_reason", finish_name(r));
    r->logprobs = NULL;
    return envelope(r, "chat.completion", json_pack("[o]", choice));
}

static json_t *usage(struct rz_http_request *r)
{
    json_t *o = rz_http_usage(r);
    json_object_set_new(o, "completion_tokens_details",
                        json_pack("{s:I}", "reasoning_tokens", (json_int_t)r->n_reasoning));
    return o;
}

static json_t *usage_chunk(struct rz_http_request *r)
{
    json_t *o = envelope(r, "chat.completion.chunk", json_array());
    json_object_set_new(o, "usage", usage(r));
    return o;
}

/* --- the prompt --- */

/* What the template gets to see. */
static json_t *conversation(const struct rz_http_ask *ask)
{
    json_t *o = json_pack("{s:O}", "messages", ask->messages);
    if (ask->tools && !ask->no_tools)
        json_object_set(o, "tools", ask->tools);
    if (ask->documents)
        json_object_set(o, "documents", ask->documents);
    if (ask->effort)
        json_object_set_new(o, "reasoning_effort", json_string(ask->effort));
    if (ask->kwargs)
        json_object_set(o, "chat_template_kwargs", ask->kwargs);
    return o;
}

/* Errors of the template are the request's: they name its field. */
static int32_t name_error(int32_t code, struct rz_err *err)
{
    char message[1100];
    if (code != RZ_EFORMAT && code != RZ_ENOTFOUND && code != RZ_EUNSUPPORTED)
        return code;
    bool refused = !strcmp(err->where, "template");
    snprintf(message, sizeof(message), "%s%s%s", refused ? "the chat template refuses them: " : err->where,
             refused ? "" : ": ", err->message);
    return rz_fail(err, RZ_EINVAL, "messages", "%s", message);
}

static int32_t submit(struct rz_http_request *r, struct rz_err *err)
{
    const struct rz_chat_api *chats = r->http->chats;
    struct rz_chat_info info = {.size = sizeof(info)};
    bool tools = r->ask.tools && !r->ask.no_tools;
    json_t *o = conversation(&r->ask);
    char *json = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    struct rz_chat_ask ask = {.size = sizeof(ask),
                              .json = json,
                              .n = json ? strlen(json) : 0,
                              .flags = tools ? 0 : RZ_CHAT_NO_TOOLS};
    json_decref(o);
    if (!json || !chats) {
        free(json);
        return rz_fail(err, json ? RZ_EUNSUPPORTED : RZ_ENOMEM, "messages",
                       json ? "the host has no chat templates" : "no memory");
    }
    int32_t code = name_error(chats->open(chats->ctx, r->model->model, &ask, &r->chat, err), err);
    free(json);
    if (!code)
        code = chats->info(r->chat, &info);
    if (!code && tools && !info.tools)
        code = rz_fail(err, RZ_EINVAL, "tools", "the model's chat template does not show tools to the model");
    if (!code && (!info.n_ids || info.n_ids > UINT32_MAX))
        code = rz_fail(err, RZ_EINVAL, "messages", "%llu tokens", (unsigned long long)info.n_ids);
    return code ? code : rz_http_submit(r, info.ids, info.n_ids, info.request_flags, err);
}

static const struct rz_http_shape shape = {.id = "chatcmpl-",
                                           .fields = RZ_HTTP_CHAT,
                                           .prompt = "messages",
                                           .submit = submit,
                                           .take = take,
                                           .end = end,
                                           .whole = whole,
                                           .usage = usage,
                                           .usage_chunk = usage_chunk};

enum MHD_Result rz_http_chat_start(struct rz_http_request *r)
{
    return rz_http_start(r, &shape);
}

void rz_http_chat_free(struct rz_http_request *r)
{
    if (r->chat)
        r->http->chats->close(r->chat);
    json_decref(r->calls);
    rz_buf_free(&r->reasoning);
    r->chat = NULL;
    r->calls = NULL;
}

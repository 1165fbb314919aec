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
static void chunk(struct rz_http_request *r, struct rz_http_run *run, json_t *delta, const char *finish)
{
    if (!run->begun) {
        json_object_set_new(delta, "role", json_string("assistant"));
        if (!json_object_get(delta, "content"))
            json_object_set_new(delta, "content", json_string(""));
    }
    run->begun = true;
    json_t *choice =
        json_pack("{s:I,s:o,s:o,s:s?}", "index", (json_int_t)run->index, "delta", delta, "logprobs",
                  run->logprobs ? run->logprobs : json_null(), "finish_reason", finish);
    run->logprobs = NULL;
    json_t *o = envelope(r, "chat.completion.chunk", json_pack("[o]", choice));
    if (r->ask.include_usage)
        json_object_set_new(o, "usage", json_null());
    rz_http_sse(r, NULL, o);
}

/* Nine letters and digits, the only form of an id that all templates take: seven of them tell answers apart,
 * the others the calls of an answer. */
json_t *rz_http_call_id(const struct rz_http_choice *choice, const struct rz_chat_piece *piece)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    char own[9];
    uint64_t hash = 0xcbf29ce484222325u ^ choice->run->index, number = piece->index;
    if (piece->id.len)
        return rz_http_text(piece->id.data, piece->id.len);
    for (const char *c = choice->r->id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    for (size_t i = 0; i < sizeof(own); i++) {
        uint64_t *from = i < 7 ? &hash : &number;
        own[i] = digits[*from % 36];
        *from /= 36;
    }
    return json_stringn(own, sizeof(own));
}

/* All that a piece of a call says. */
static json_t *call_json(const struct rz_http_choice *choice, const struct rz_chat_piece *piece)
{
    json_t *arguments = rz_http_text(piece->text.data, piece->text.len);
    if (!(piece->flags & RZ_CHAT_BEGIN))
        return json_pack("{s:{s:o}}", "function", "arguments", arguments);
    return json_pack("{s:o,s:s,s:{s:o,s:o}}", "id", rz_http_call_id(choice, piece), "type", "function",
                     "function", "name", rz_http_text(piece->name.data, piece->name.len), "arguments",
                     arguments);
}

static void stream_call(const struct rz_http_choice *choice, const struct rz_chat_piece *piece)
{
    if (!piece->text.len && !(piece->flags & RZ_CHAT_BEGIN))
        return;
    json_t *call = call_json(choice, piece);
    json_object_set_new(call, "index", json_integer(piece->index));
    chunk(choice->r, choice->run, json_pack("{s:[o]}", "tool_calls", call), NULL);
}

static void collect_call(const struct rz_http_choice *choice, const struct rz_chat_piece *piece)
{
    struct rz_http_run *run = choice->run;
    run->calls = run->calls ? run->calls : json_array();
    if (piece->flags & RZ_CHAT_BEGIN) {
        json_array_append_new(run->calls, call_json(choice, piece));
        rz_buf_clear(&run->arguments);
    }
    rz_buf_add(&run->arguments, piece->text.data, piece->text.len);
    run->text.bad |= run->arguments.bad;
    json_t *call = json_array_get(run->calls, json_array_size(run->calls) - 1);
    if (piece->flags & RZ_CHAT_END)
        json_object_set_new(json_object_get(call, "function"), "arguments",
                            rz_http_buf_text(&run->arguments));
}

static void take_piece(void *arg, const struct rz_chat_piece *piece)
{
    struct rz_http_choice *choice = arg;
    struct rz_http_request *r = choice->r;
    struct rz_http_run *run = choice->run;
    bool stream = r->phase == PHASE_SSE;
    if (piece->kind == RZ_CHAT_CALL && stream) {
        stream_call(choice, piece);
    } else if (piece->kind == RZ_CHAT_CALL) {
        collect_call(choice, piece);
    } else if (stream) {
        const char *key = piece->kind == RZ_CHAT_CONTENT ? "content" : "reasoning_content";
        chunk(r, run, json_pack("{s:o}", key, rz_http_text(piece->text.data, piece->text.len)), NULL);
    } else {
        rz_buf_add(piece->kind == RZ_CHAT_CONTENT ? &run->text : &run->reasoning, piece->text.data,
                   piece->text.len);
    }
}

/* What stands between the reader of answers and the routes: with parallel_tool_calls = false the answer ends
 * with its first call. */
struct gate {
    struct rz_http_choice *choice;
    rz_chat_emit *emit;
};

static void pass(void *arg, const struct rz_chat_piece *piece)
{
    const struct gate *gate = arg;
    struct rz_http_run *run = gate->choice->run;
    if (run->cut)
        return;
    run->n_calls += (piece->flags & RZ_CHAT_BEGIN) != 0;
    run->cut = piece->flags & RZ_CHAT_END && gate->choice->r->ask.one_call;
    gate->emit(gate->choice, piece);
}

void rz_http_chat_feed(struct rz_http_choice *choice, const struct rz_event *ev, bool last,
                       rz_chat_emit *emit)
{
    struct rz_http_request *r = choice->r;
    struct rz_http_run *run = choice->run;
    const struct rz_chat_api *chats = r->http->chats;
    struct gate gate = {choice, emit};
    bool was_cut = run->cut;
    if (chats->feed(run->chat, ev->text, ev->n_text, pass, &gate, NULL) ||
        (last && chats->finish(run->chat, pass, &gate, NULL)))
        run->text.bad = r->out.bad = true; /* seen where answers that are too long are */
    if (last)
        return;
    run->n_new += ev->token >= 0;
    run->n_reasoning += ev->token >= 0 && chats->state(run->chat) == RZ_CHAT_REASONING;
    if (run->cut && !was_cut)
        r->model->engine->cancel(r->model->engine->ctx, run->ticket);
}

static void take(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    struct rz_http_choice choice = {r, run};
    if (r->phase == PHASE_SSE && !run->begun) /* clients learn the role from the first event */
        chunk(r, run, json_object(), NULL);
    rz_http_chat_logprobs_add(r, run, ev);
    rz_http_chat_feed(&choice, ev, false, take_piece);
}

static const char *finish_name(const struct rz_http_run *run)
{
    return run->n_calls && run->finish == RZ_FINISH_STOP ? "tool_calls" : rz_http_finish_name(run);
}

static void end(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    struct rz_http_choice choice = {r, run};
    rz_http_chat_feed(&choice, ev, true, take_piece);
    if (r->phase == PHASE_SSE)
        chunk(r, run, json_object(), finish_name(run));
}

static json_t *choice_json(struct rz_http_run *run)
{
    json_t *message = json_pack("{s:s}", "role", "assistant");
    bool silent = !run->text.len && run->calls;
    const char *text = run->text.data ? run->text.data : "";
    json_object_set_new(message, "content", silent ? json_null() : rz_http_text(text, run->text.len));
    json_object_set_new(message, "refusal", json_null());
    if (run->reasoning.len)
        json_object_set_new(message, "reasoning_content",
                            rz_http_text(run->reasoning.data, run->reasoning.len));
    if (run->calls)
        json_object_set(message, "tool_calls", run->calls);
    json_t *choice =
        json_pack("{s:I,s:o,s:o,s:s}", "index", (json_int_t)run->index, "message", message, "logprobs",
                  run->logprobs ? run->logprobs : json_null(), "finish_reason", finish_name(run));
    run->logprobs = NULL;
    return choice;
}

static json_t *whole(struct rz_http_request *r)
{
    json_t *choices = json_array();
    for (uint32_t i = 0; i < r->n_runs; i++)
        json_array_append_new(choices, choice_json(&r->runs[i]));
    json_t *o = envelope(r, "chat.completion", choices);
    json_object_set_new(o, "usage", rz_http_usage(r));
    return o;
}

static void finish(struct rz_http_request *r)
{
    if (!r->ask.include_usage)
        return;
    json_t *o = envelope(r, "chat.completion.chunk", json_array());
    json_object_set_new(o, "usage", rz_http_usage(r));
    rz_http_sse(r, NULL, o);
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
static int32_t name_error(const struct rz_http_request *r, int32_t code, struct rz_err *err)
{
    char message[1100];
    if (code != RZ_EFORMAT && code != RZ_ENOTFOUND && code != RZ_EUNSUPPORTED)
        return code;
    bool refused = !strcmp(err->where, "template");
    snprintf(message, sizeof(message), "%s%s%s", refused ? "the chat template refuses them: " : err->where,
             refused ? "" : ": ", err->message);
    return rz_fail(err, RZ_EINVAL, r->shape->prompt, "%s", message);
}

/* A conversation of its own for each run: each reads one answer. */
static int32_t open_run(struct rz_http_request *r, struct rz_http_run *run, const struct rz_chat_ask *ask,
                        struct rz_err *err)
{
    const struct rz_chat_api *chats = r->http->chats;
    struct rz_chat_info info = {.size = sizeof(info)};
    bool tools = !(ask->flags & RZ_CHAT_NO_TOOLS);
    int32_t code = name_error(r, chats->open(chats->ctx, r->model->model, ask, &run->chat, err), err);
    if (!code)
        code = chats->info(run->chat, &info);
    if (!code && tools && !info.tools)
        code = rz_fail(err, RZ_EINVAL, "tools", "the model's chat template does not show tools to the model");
    if (!code && (!info.n_ids || info.n_ids > UINT32_MAX))
        code = rz_fail(err, RZ_EINVAL, r->shape->prompt, "%llu tokens", (unsigned long long)info.n_ids);
    if (code || run->index)
        return code;
    int32_t *ids = calloc(info.n_ids, sizeof(*ids));
    if (!ids)
        return rz_fail(err, RZ_ENOMEM, r->shape->prompt, "no memory");
    memcpy(ids, info.ids, info.n_ids * sizeof(*ids));
    r->flags = info.request_flags;
    return rz_http_prompt_set(r, 0, ids, info.n_ids, err);
}

int32_t rz_http_chat_prepare(struct rz_http_request *r, struct rz_err *err)
{
    const struct rz_chat_api *chats = r->http->chats;
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
        return rz_fail(err, json ? RZ_EUNSUPPORTED : RZ_ENOMEM, r->shape->prompt,
                       json ? "the host has no chat templates" : "no memory");
    }
    int32_t code = rz_http_prompts(r, 1, err);
    for (uint32_t i = 0; i < r->n_runs && !code; i++)
        code = open_run(r, &r->runs[i], &ask, err);
    free(json);
    return code;
}

static const struct rz_http_shape shape = {.id = "chatcmpl-",
                                           .fields = RZ_HTTP_CHAT,
                                           .prompt = "messages",
                                           .prepare = rz_http_chat_prepare,
                                           .take = take,
                                           .end = end,
                                           .whole = whole,
                                           .finish = finish};

enum MHD_Result rz_http_chat_start(struct rz_http_request *r)
{
    return rz_http_start(r, &shape);
}

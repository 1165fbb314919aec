/* responses_input.c - the input items of /v1/responses as the messages of a conversation.
 *
 * Calls and the text before them become one message of the assistant, as chat templates expect; reasoning
 * goes to the message of the assistant that follows it.
 */
#include <string.h>

#include "responses.h"

struct reader {
    json_t *messages;
    json_t *reasoning; /* for the next message of the assistant; NULL: none */
    size_t at;
    struct rz_err *err;
};

static int32_t refuse(const struct reader *in, const char *member, const char *why)
{
    char where[64];
    snprintf(where, sizeof(where), "input[%zu]%s%s", in->at, member[0] ? "." : "", member);
    return rz_fail(in->err, RZ_EINVAL, where, "%s", why);
}

/* A text, or the texts of parts of these types, one after the other. */
static int32_t read_content(const struct reader *in, const char *member, const json_t *content, json_t **out)
{
    json_t *parts = json_array();
    if (json_is_string(content))
        json_array_append_new(parts, json_pack("{s:s,s:O}", "type", "text", "text", content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i), *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        bool known = type && (!strcmp(type, "input_text") || !strcmp(type, "output_text") ||
                              !strcmp(type, "reasoning_text") || !strcmp(type, "text"));
        if (!known || !json_is_string(text)) {
            json_decref(parts);
            return refuse(in, member, "a part that is not a text: not available");
        }
        json_array_append_new(parts, json_pack("{s:s,s:O}", "type", "text", "text", text));
    }
    if (!json_is_string(content) && !json_is_array(content)) {
        json_decref(parts);
        return refuse(in, member, "neither a text nor a list of parts");
    }
    *out = parts;
    return RZ_OK;
}

/* Adds a message that is taken. */
static void add(struct reader *in, json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    if (in->reasoning && role && !strcmp(role, "assistant")) {
        json_object_set_new(message, "reasoning_content", in->reasoning);
        in->reasoning = NULL;
    }
    json_array_append_new(in->messages, message);
}

static int32_t read_message(struct reader *in, const json_t *item)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant"};
    const char *role = json_string_value(json_object_get(item, "role"));
    json_t *content = NULL;
    bool known = false;
    for (size_t i = 0; role && i < sizeof(roles) / sizeof(roles[0]); i++)
        known |= !strcmp(role, roles[i]);
    if (!known)
        return refuse(in, "role", "not system, developer, user or assistant");
    int32_t code = read_content(in, "content", json_object_get(item, "content"), &content);
    if (!code)
        add(in, json_pack("{s:s,s:o}", "role", role, "content", content));
    return code;
}

/* The message of the assistant that a call belongs to. */
static json_t *calling(struct reader *in)
{
    size_t n = json_array_size(in->messages);
    json_t *last = json_array_get(in->messages, n - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    if (!role || strcmp(role, "assistant") || in->reasoning) {
        add(in, json_pack("{s:s,s:n}", "role", "assistant", "content"));
        last = json_array_get(in->messages, json_array_size(in->messages) - 1);
    }
    if (!json_object_get(last, "tool_calls"))
        json_object_set_new(last, "tool_calls", json_array());
    return json_object_get(last, "tool_calls");
}

static int32_t read_call(struct reader *in, const json_t *item)
{
    const json_t *id = json_object_get(item, "call_id"), *name = json_object_get(item, "name"),
                 *arguments = json_object_get(item, "arguments");
    if (!json_is_string(id))
        return refuse(in, "call_id", "is missing");
    if (!json_is_string(name))
        return refuse(in, "name", "is missing");
    if (!json_is_string(arguments))
        return refuse(in, "arguments", "is missing");
    json_array_append_new(calling(in), json_pack("{s:O,s:s,s:{s:O,s:O}}", "id", id, "type", "function",
                                                 "function", "name", name, "arguments", arguments));
    return RZ_OK;
}

static int32_t read_output(struct reader *in, const json_t *item)
{
    const json_t *id = json_object_get(item, "call_id");
    json_t *content = NULL;
    if (!json_is_string(id))
        return refuse(in, "call_id", "is missing");
    int32_t code = read_content(in, "output", json_object_get(item, "output"), &content);
    if (!code)
        add(in, json_pack("{s:s,s:O,s:o}", "role", "tool", "tool_call_id", id, "content", content));
    return code;
}

static int32_t read_thoughts(struct reader *in, const json_t *item)
{
    const json_t *content = json_object_get(item, "content");
    json_t *parts = NULL;
    struct rz_buf text;
    if (!content || json_is_null(content))
        return RZ_OK; /* nothing but a summary */
    int32_t code = read_content(in, "content", content, &parts);
    if (code)
        return code;
    rz_buf_init(&text, RZ_HTTP_TEXT_MAX);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *t = json_object_get(json_array_get(parts, i), "text");
        rz_buf_add(&text, json_string_value(t), json_string_length(t));
    }
    json_decref(in->reasoning);
    in->reasoning = rz_http_buf_text(&text);
    json_decref(parts);
    rz_buf_free(&text);
    return RZ_OK;
}

static int32_t read_item(struct reader *in, const json_t *item)
{
    const json_t *type = json_object_get(item, "type");
    const char *name = json_string_value(type);
    if (!json_is_object(item))
        return refuse(in, "", "not an object");
    if (!type || (name && !strcmp(name, "message")))
        return read_message(in, item);
    if (name && !strcmp(name, "function_call"))
        return read_call(in, item);
    if (name && !strcmp(name, "function_call_output"))
        return read_output(in, item);
    if (name && !strcmp(name, "reasoning"))
        return read_thoughts(in, item);
    return refuse(in, "type",
                  "not message, function_call, function_call_output or reasoning: others are not available");
}

int32_t rz_http_input_messages(const struct rz_http_ask *ask, json_t **out, struct rz_err *err)
{
    struct reader in = {.messages = json_array(), .err = err};
    int32_t code = RZ_OK;
    if (ask->instructions)
        add(&in, json_pack("{s:s,s:s}", "role", "system", "content", ask->instructions));
    if (json_is_string(ask->prompt))
        add(&in, json_pack("{s:s,s:O}", "role", "user", "content", ask->prompt));
    for (; in.at < json_array_size(ask->prompt) && !code; in.at++)
        code = read_item(&in, json_array_get(ask->prompt, in.at));
    json_decref(in.reasoning);
    *out = in.messages;
    return code;
}

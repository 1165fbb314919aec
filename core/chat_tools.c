/* chat_tools.c - tools for chat templates that know none: told in the system message, called in tags.
 *
 * The conversation is rewritten so that any template can show it: descriptions and the way to call go into
 * the system message, earlier calls into the text of their message, results into messages of the user.
 */
#include "chat.h"

#include <string.h>

#define TEXT_MAX ((size_t)1 << 28)

static const char begin[] =
    "You can call functions. Between <tools> and </tools> is the description of each in JSON:\n<tools>\n";
static const char end[] =
    "</tools>\nTo call one, write its name and its arguments as JSON, each call between tags of its own:\n"
    "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"ARGUMENT\": \"VALUE\"}}\n</tool_call>\n"
    "If you need none, answer in plain text.";

static bool is_role(const json_t *message, const char *role)
{
    const char *is = json_string_value(json_object_get(message, "role"));
    return is && !strcmp(is, role);
}

static bool add_json(struct rz_buf *b, const json_t *value)
{
    size_t n = json_dumpb(value, NULL, 0, JSON_ENCODE_ANY);
    char *at = rz_buf_reserve(b, n);
    if (!at || json_dumpb(value, at, n, JSON_ENCODE_ANY) != n)
        return false;
    b->len += n;
    return true;
}

/* The text of a content in any form. */
static void add_content(struct rz_buf *b, const json_t *content)
{
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        rz_buf_str(b, i ? "\n" : "");
        rz_buf_add(b, json_string_value(text), json_string_length(text));
    }
    if (json_is_string(content))
        rz_buf_add(b, json_string_value(content), json_string_length(content));
}

/* Takes the text and makes it the message's content. */
static bool set_content(json_t *m, struct rz_buf *b)
{
    json_t *text = rz_buf_ok(b) ? json_stringn(b->data ? b->data : "", b->len) : NULL;
    rz_buf_free(b);
    return text && !json_object_set_new(m, "content", text);
}

static bool write_calls(json_t *m)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    struct rz_buf b;
    if (!json_array_size(calls))
        return true;
    rz_buf_init(&b, TEXT_MAX);
    add_content(&b, json_object_get(m, "content"));
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *f = json_object_get(call, "function");
        const json_t *arguments = json_object_get(f ? f : call, "arguments");
        rz_buf_str(&b, b.len ? "\n<tool_call>\n{\"name\": " : "<tool_call>\n{\"name\": ");
        ok = add_json(&b, json_object_get(f ? f : call, "name")) && rz_buf_str(&b, ", \"arguments\": ");
        if (json_is_string(arguments))
            rz_buf_add(&b, json_string_value(arguments), json_string_length(arguments));
        else if (ok)
            ok = add_json(&b, arguments);
        rz_buf_str(&b, "}\n</tool_call>");
    }
    ok = set_content(m, &b) && ok;
    return ok && !json_object_del(m, "tool_calls");
}

/* Results that follow each other are one message of the user. */
static bool write_results(json_t *messages, size_t at)
{
    struct rz_buf b;
    json_t *user = json_pack("{s:s}", "role", "user");
    rz_buf_init(&b, TEXT_MAX);
    for (bool more = false; is_role(json_array_get(messages, at), "tool"); more = true) {
        rz_buf_str(&b, more ? "\n<tool_response>\n" : "<tool_response>\n");
        add_content(&b, json_object_get(json_array_get(messages, at), "content"));
        rz_buf_str(&b, "\n</tool_response>");
        json_array_remove(messages, at);
    }
    bool ok = set_content(user, &b);
    return !json_array_insert_new(messages, at, user) && ok;
}

static bool write_system(json_t *messages, const json_t *tools)
{
    struct rz_buf b;
    json_t *first = json_array_get(messages, 0);
    bool own = is_role(first, "system") || is_role(first, "developer"), ok = true;
    rz_buf_init(&b, TEXT_MAX);
    if (own) {
        add_content(&b, json_object_get(first, "content"));
        rz_buf_str(&b, "\n\n");
    }
    rz_buf_str(&b, begin);
    for (size_t i = 0; ok && i < json_array_size(tools); i++) {
        const json_t *f = json_object_get(json_array_get(tools, i), "function");
        ok = add_json(&b, f ? f : json_array_get(tools, i)) && rz_buf_str(&b, "\n");
    }
    rz_buf_str(&b, end);
    if (!own && json_array_insert_new(messages, 0, json_pack("{s:s}", "role", "system")))
        ok = false;
    return set_content(json_array_get(messages, 0), &b) && ok;
}

json_t *rz_chat_plain_tools(const json_t *root)
{
    json_t *out = json_deep_copy(root), *messages = json_object_get(out, "messages");
    bool ok = messages && write_system(messages, json_object_get(out, "tools"));
    for (size_t i = 0; ok && i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        ok = is_role(m, "tool") ? write_results(messages, i) : write_calls(m);
    }
    if (ok && !json_object_del(out, "tools"))
        return out;
    json_decref(out);
    return NULL;
}

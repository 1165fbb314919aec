/* chat_messages.c - a conversation as clients send it, in the forms that chat templates take.
 */
#include "chat.h"
#include "err.h"

#include <string.h>

static json_t *messages_of(const json_t *root)
{
    return json_is_array(root) ? (json_t *)root : json_object_get(root, "messages");
}

static bool has_role(const json_t *message, const char *role)
{
    const char *is = json_string_value(json_object_get(message, "role"));
    return is && !strcmp(is, role);
}

int32_t rz_chat_check(const json_t *root, struct rz_err *err)
{
    const json_t *messages = messages_of(root);
    char where[48];
    if (!json_is_array(messages))
        return rz_fail(err, RZ_EFORMAT, "messages", "neither a list of messages nor an object with one");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        snprintf(where, sizeof(where), "messages[%zu]", i);
        if (!json_is_object(m))
            return rz_fail(err, RZ_EFORMAT, where, "not an object");
        if (!json_is_string(json_object_get(m, "role")))
            return rz_fail(err, RZ_EFORMAT, where, "has no role");
    }
    return RZ_OK;
}

/* The texts of a list of parts, with a line end between them; NULL: not all of them are texts. */
static json_t *join_parts(const json_t *parts)
{
    struct rz_buf text;
    bool ok = true;
    rz_buf_init(&text, (size_t)1 << 30);
    for (size_t i = 0; i < json_array_size(parts) && ok; i++) {
        const json_t *part = json_array_get(parts, i), *t = json_object_get(part, "text");
        if (json_is_string(part))
            t = part;
        ok = json_is_string(t);
        if (i)
            rz_buf_str(&text, "\n");
        rz_buf_add(&text, json_string_value(t), json_string_length(t));
    }
    json_t *out = ok && rz_buf_ok(&text) ? json_stringn(text.data ? text.data : "", text.len) : NULL;
    rz_buf_free(&text);
    return out;
}

static bool form_content(json_t *m, unsigned form)
{
    const json_t *content = json_object_get(m, "content");
    if (form == 3 || form == 2)
        return true;
    if (!content || json_is_null(content))
        return !json_object_set_new(m, "content", json_string(""));
    json_t *text = json_is_array(content) ? join_parts(content) : NULL;
    return !text || !json_object_set_new(m, "content", text);
}

/* Arguments that are JSON in a text become that JSON. */
static bool open_arguments(json_t *m)
{
    json_t *calls = json_object_get(m, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *call = json_array_get(calls, i), *f = json_object_get(call, "function");
        f = f ? f : call;
        const json_t *arguments = json_object_get(f, "arguments");
        if (!json_is_string(arguments))
            continue;
        json_t *value =
            json_loadb(json_string_value(arguments), json_string_length(arguments), JSON_ALLOW_NUL, NULL);
        if (!json_is_object(value))
            json_decref(value);
        else if (json_object_set_new(f, "arguments", value))
            return false;
    }
    return true;
}

/* Puts the system message before the first user's, an empty line between them. */
static bool merge_system(json_t *messages)
{
    const json_t *system = json_array_get(messages, 0);
    if (!has_role(system, "system"))
        return false;
    for (size_t i = 1; i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        if (!has_role(m, "user"))
            continue;
        json_t *parts =
            json_pack("[O,s,O]", json_object_get(system, "content"), "", json_object_get(m, "content"));
        json_t *text = parts ? join_parts(parts) : NULL;
        json_decref(parts);
        return text && !json_object_set_new(m, "content", text) && !json_array_remove(messages, 0);
    }
    return false;
}

json_t *rz_chat_form(const json_t *root, unsigned form, bool developer)
{
    json_t *out = json_deep_copy(root), *messages = messages_of(out);
    bool ok = out != NULL;
    for (size_t i = 0; ok && i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        if (!developer && has_role(m, "developer"))
            ok = !json_object_set_new(m, "role", json_string("system"));
        ok = ok && form_content(m, form) && (form == 1 || open_arguments(m));
    }
    if (ok && form == 4)
        ok = merge_system(messages);
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

/* messages.c - the messages and tools of a conversation: what the API allows, and what of it can be honoured.
 */
#include <string.h>

#include "http.h"

static int32_t refuse(struct rz_err *err, const char *what, size_t i, const char *member, const char *why)
{
    char where[64];
    snprintf(where, sizeof(where), "%s[%zu]%s%s", what, i, member[0] ? "." : "", member);
    return rz_fail(err, RZ_EINVAL, where, "%s", why);
}

/* A text, null, or not there. */
static bool text_or_none(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return !v || json_is_null(v) || json_is_string(v);
}

/* type of a tool or call that may be left out. */
static bool is_function(const json_t *object)
{
    const json_t *type = json_object_get(object, "type");
    return !type || (json_is_string(type) && !strcmp(json_string_value(type), "function"));
}

static int32_t check_content(const json_t *m, size_t i, bool may_lack, struct rz_err *err)
{
    const json_t *content = json_object_get(m, "content");
    if (!content || json_is_null(content))
        return may_lack ? RZ_OK : refuse(err, "messages", i, "content", "is missing");
    if (json_is_string(content))
        return RZ_OK;
    if (!json_is_array(content))
        return refuse(err, "messages", i, "content", "neither a text nor a list of parts");
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *part = json_array_get(content, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") != 0)
            return refuse(err, "messages", i, "content", "a part that is not of type text: not available");
        if (!json_is_string(json_object_get(part, "text")))
            return refuse(err, "messages", i, "content", "a part without its text");
    }
    return RZ_OK;
}

static int32_t check_calls(const json_t *m, size_t i, struct rz_err *err)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    if (!calls || json_is_null(calls))
        return RZ_OK;
    if (!json_is_array(calls))
        return refuse(err, "messages", i, "tool_calls", "not a list");
    for (size_t k = 0; k < json_array_size(calls); k++) {
        const json_t *call = json_array_get(calls, k), *f = json_object_get(call, "function");
        const json_t *arguments = json_object_get(f, "arguments");
        if (!is_function(call) || !text_or_none(call, "id"))
            return refuse(err, "messages", i, "tool_calls",
                          "a call of another type, or with an id that is no text");
        if (!json_is_string(json_object_get(f, "name")))
            return refuse(err, "messages", i, "tool_calls", "a call without the name of its function");
        if (!json_is_string(arguments) && !json_is_object(arguments))
            return refuse(err, "messages", i, "tool_calls", "a call without its arguments");
    }
    return RZ_OK;
}

static int32_t check_message(const json_t *m, size_t i, struct rz_err *err)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", NULL};
    if (!json_is_object(m))
        return refuse(err, "messages", i, "", "not an object");
    const char *role = json_string_value(json_object_get(m, "role"));
    int32_t r = 0;
    while (role && roles[r] && strcmp(roles[r], role))
        r++;
    if (!role || !roles[r])
        return refuse(err, "messages", i, "role", "not system, developer, user, assistant or tool");
    if (!text_or_none(m, "name"))
        return refuse(err, "messages", i, "name", "not a text");
    if (!text_or_none(m, "reasoning_content"))
        return refuse(err, "messages", i, "reasoning_content", "not a text");
    bool assistant = !strcmp(role, "assistant");
    int32_t code = check_content(m, i, assistant && json_is_array(json_object_get(m, "tool_calls")), err);
    if (!code && assistant)
        code = check_calls(m, i, err);
    if (!code && !strcmp(role, "tool") && !json_is_string(json_object_get(m, "tool_call_id")))
        code = refuse(err, "messages", i, "tool_call_id", "is missing");
    return code;
}

int32_t rz_http_messages_check(const json_t *messages, struct rz_err *err)
{
    if (!json_is_array(messages) || !json_array_size(messages))
        return rz_fail(err, RZ_EINVAL, "messages", "not a list with at least one message");
    int32_t code = RZ_OK;
    for (size_t i = 0; i < json_array_size(messages) && !code; i++)
        code = check_message(json_array_get(messages, i), i, err);
    return code;
}

int32_t rz_http_tools_check(const json_t *tools, struct rz_err *err)
{
    if (!json_is_array(tools))
        return rz_fail(err, RZ_EINVAL, "tools", "not a list");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *f = json_object_get(tool, "function");
        const char *type = json_string_value(json_object_get(tool, "type"));
        const json_t *parameters = json_object_get(f, "parameters");
        if (!type || strcmp(type, "function") != 0)
            return refuse(err, "tools", i, "type", "only \"function\" is available");
        if (!json_is_string(json_object_get(f, "name")))
            return refuse(err, "tools", i, "function", "has no name");
        if (parameters && !json_is_null(parameters) && !json_is_object(parameters))
            return refuse(err, "tools", i, "function", "parameters are not an object");
        if (!text_or_none(f, "description"))
            return refuse(err, "tools", i, "function", "description is not a text");
        const json_t *strict = json_object_get(f, "strict");
        if (strict && !json_is_null(strict) && !json_is_boolean(strict))
            return refuse(err, "tools", i, "function", "strict is not true or false");
    }
    return RZ_OK;
}

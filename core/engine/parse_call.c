/* parse_call.c - the body of a call, as models write it, to the function's name and its arguments in JSON.
 *
 * Arguments that are JSON already keep their bytes; values between tags become JSON by the types that the
 * request's tools declare. A body that is not wholly understood is no call.
 */
#define _GNU_SOURCE /* memmem */
#include "parse_call.h"

#include "grow.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 256
#define ARGUMENTS_MAX ((size_t)64 << 20)

/* --- lists of calls --- */

void rz_call_init(struct rz_call *call)
{
    rz_buf_init(&call->name, NAME_BYTES);
    rz_buf_init(&call->id, NAME_BYTES);
    rz_buf_init(&call->arguments, ARGUMENTS_MAX);
}

void rz_call_free(struct rz_call *call)
{
    rz_buf_free(&call->name);
    rz_buf_free(&call->id);
    rz_buf_free(&call->arguments);
}

void rz_call_clear(struct rz_call *call)
{
    rz_call_free(call); /* one that is full is good again */
    rz_call_init(call);
}

struct rz_call *rz_calls_add(struct rz_calls *calls)
{
    struct rz_call *list = NULL;
    if (calls->n < RZ_CALLS_MAX)
        list = rz_heap_grow(calls->list, calls->n, &calls->cap, sizeof(*list), 4);
    if (!list)
        return NULL;
    calls->list = list;
    rz_call_init(&calls->list[calls->n]);
    return &calls->list[calls->n++];
}

static void drop_calls(struct rz_calls *calls, size_t keep)
{
    while (calls->n > keep)
        rz_call_free(&calls->list[--calls->n]);
}

void rz_calls_clear(struct rz_calls *calls)
{
    drop_calls(calls, 0);
    free(calls->list);
    calls->list = NULL;
    calls->cap = 0;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '/' || c == ':' || (unsigned char)c >= 0x80;
}

bool rz_call_name(struct rz_call *call, struct rz_part name)
{
    name = rz_part_trim(name);
    for (size_t i = 0; i < name.n; i++)
        if (!name_char(name.p[i]))
            return false;
    return name.n && rz_buf_add(&call->name, name.p, name.n);
}

/* --- what the request says of its tools --- */

static const json_t *declaration(const struct rz_calls *calls, const struct rz_call *call)
{
    for (size_t i = 0; i < json_array_size(calls->tools); i++) {
        const json_t *tool = json_array_get(calls->tools, i), *f = json_object_get(tool, "function");
        const json_t *name = json_object_get(f ? f : tool, "name");
        if (call->name.data && json_string_length(name) == call->name.len &&
            !memcmp(json_string_value(name), call->name.data, call->name.len))
            return f ? f : tool;
    }
    return NULL;
}

bool rz_call_known(const struct rz_calls *calls, const struct rz_call *call)
{
    return declaration(calls, call) != NULL;
}

bool rz_call_is_text(const struct rz_calls *calls, const struct rz_call *call, struct rz_part key,
                     bool *declared)
{
    char name[NAME_BYTES];
    const json_t *schema = json_object_get(declaration(calls, call), "parameters");
    *declared = false;
    if (key.n >= sizeof(name))
        return false;
    memcpy(name, key.p, key.n);
    name[key.n] = 0;
    const json_t *type =
        json_object_get(json_object_get(json_object_get(schema, "properties"), name), "type");
    *declared = json_is_string(type);
    return *declared && !strcmp(json_string_value(type), "string");
}

/* --- JSON --- */

enum rz_call_key rz_call_key(struct rz_part key)
{
    static const struct {
        const char *name;
        enum rz_call_key is;
    } keys[] = {{"name", RZ_KEY_NAME},
                {"tool_name", RZ_KEY_NAME},
                {"function", RZ_KEY_FUNCTION},
                {"id", RZ_KEY_ID},
                {"tool_call_id", RZ_KEY_ID},
                {"arguments", RZ_KEY_ARGUMENTS},
                {"parameters", RZ_KEY_ARGUMENTS},
                {"args", RZ_KEY_ARGUMENTS}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strlen(keys[i].name) == key.n && !memcmp(keys[i].name, key.p, key.n))
            return keys[i].is;
    return RZ_KEY_OTHER;
}

/* An object of arguments, or a text that holds one. */
static bool set_arguments(struct rz_call *call, struct rz_part value)
{
    if (value.p[0] == '{')
        return rz_buf_add(&call->arguments, value.p, value.n);
    if (value.p[0] != '"')
        return value.n == 4 && !memcmp(value.p, "null", 4) && rz_buf_str(&call->arguments, "{}");
    rz_json_unquote(&call->arguments, value);
    struct rz_part text = {call->arguments.data ? call->arguments.data : "", call->arguments.len};
    return rz_buf_ok(&call->arguments) && rz_json_is(text) && rz_part_trim(text).p[0] == '{';
}

static bool one_object(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part object,
                       bool outer);

static bool read_members(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part object,
                         struct rz_call *call, bool outer)
{
    struct rz_part key, value;
    for (size_t at = 0; rz_json_next(object, &at, &key, &value);) {
        enum rz_call_key is = rz_call_key(key);
        bool text = value.p[0] == '"';
        if (is == RZ_KEY_FUNCTION && value.p[0] == '{' && outer) {
            drop_calls(calls, calls->n - 1);
            return one_object(calls, format, value, false);
        }
        if ((is == RZ_KEY_NAME || is == RZ_KEY_FUNCTION) && text && !call->name.len) {
            rz_json_unquote(&call->name, value);
        } else if (is == RZ_KEY_ID && text && !call->id.len) {
            rz_json_unquote(&call->id, value);
        } else if (is == RZ_KEY_ARGUMENTS && !call->arguments.len) {
            if (!set_arguments(call, value))
                return false;
        }
    }
    if (!call->arguments.len)
        rz_buf_str(&call->arguments, "{}");
    return call->name.len && rz_buf_ok(&call->name) && rz_buf_ok(&call->id) && rz_buf_ok(&call->arguments);
}

static bool one_object(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part object,
                       bool outer)
{
    struct rz_part key, value;
    size_t at = 0;
    struct rz_call *call = object.p[0] == '{' ? rz_calls_add(calls) : NULL;
    if (!call)
        return false;
    if (!(format->flags & RZ_PARSE_KEYED))
        return read_members(calls, format, object, call, outer);
    return rz_json_next(object, &at, &key, &value) && value.p[0] == '{' && rz_call_name(call, key) &&
           set_arguments(call, value) && !rz_json_next(object, &at, &key, &value);
}

static bool json_body(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part body)
{
    struct rz_part key, value;
    if (!rz_json_is(body))
        return false;
    if (body.p[0] == '{')
        return one_object(calls, format, body, true);
    size_t before = calls->n;
    for (size_t at = 0; rz_json_next(body, &at, &key, &value);)
        if (!one_object(calls, format, value, true))
            return false;
    return calls->n > before;
}

/* --- a name, then JSON, which parse_stream.c reads --- */

static bool cut(struct rz_part *text, const char *at, struct rz_part *before)
{
    const char *hit = memmem(text->p, text->n, at, strlen(at));
    if (!hit)
        return false;
    *before = (struct rz_part){text->p, (size_t)(hit - text->p)};
    text->n -= before->n + strlen(at);
    text->p = hit + strlen(at);
    return true;
}

bool rz_call_head(struct rz_call *call, struct rz_part text)
{
    struct rz_part before, id = {"", 0};
    text = rz_part_trim(text);
    if (cut(&text, "<｜tool▁sep｜>", &before)) {
        struct rz_part after = rz_part_trim(text);
        if (after.n >= 7 && !memcmp(after.p + after.n - 7, "```json", 7))
            after.n -= 7;
        text = rz_part_trim(after).n ? after : before;
    } else if (cut(&text, "<|tool_call_argument_begin|>", &before)) {
        static const char prefix[] = "functions.";
        size_t skip = sizeof(prefix) - 1;
        text = id = rz_part_trim(before);
        if (text.n > skip && !memcmp(text.p, prefix, skip))
            text = (struct rz_part){text.p + skip, text.n - skip};
        for (size_t i = text.n; i-- > 0 && text.p[i] >= '0' && text.p[i] <= ':';)
            if (text.p[i] == ':') {
                text.n = i;
                break;
            }
    } else if (cut(&text, "[CALL_ID]", &before)) {
        struct rz_part rest = text;
        text = before;
        if (!cut(&rest, "[ARGS]", &id))
            return false;
    } else if (cut(&text, "[ARGS]", &before)) {
        text = before;
    } else if (text.n && text.p[text.n - 1] == '>') {
        text.n--;
    }
    return rz_call_name(call, text) && (!id.n || rz_buf_add(&call->id, id.p, id.n));
}

static bool named_body(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part body)
{
    if (body.n && (body.p[0] == '[' || body.p[0] == '{'))
        return json_body(calls, format, body);
    /* a function without arguments, if something says that the call is over */
    struct rz_call *bare = format->close ? rz_calls_add(calls) : NULL;
    return bare && rz_call_head(bare, body) && rz_buf_str(&bare->arguments, "{}");
}

/* --- tags --- */

/* A value between tags: a text, or JSON if it is one and the tools do not say otherwise. */
static void add_value(struct rz_calls *calls, struct rz_call *call, struct rz_part key, struct rz_part value)
{
    bool declared, text = rz_call_is_text(calls, call, key, &declared);
    rz_buf_str(&call->arguments, call->arguments.len > 1 ? "," : "");
    rz_json_quote(&call->arguments, key.p, key.n);
    rz_buf_str(&call->arguments, ":");
    struct rz_part inner = rz_part_trim(value);
    if (!text && rz_json_is(inner))
        rz_buf_add(&call->arguments, inner.p, inner.n);
    else
        rz_json_quote(&call->arguments, value.p, value.n);
}

static bool end_arguments(struct rz_call *call, struct rz_part rest)
{
    rz_buf_str(&call->arguments, "}");
    return !rz_part_trim(rest).n && rz_buf_ok(&call->arguments);
}

static bool starts(struct rz_part *text, const char *with)
{
    *text = rz_part_trim(*text);
    size_t n = strlen(with);
    if (text->n < n || memcmp(text->p, with, n) != 0)
        return false;
    text->p += n;
    text->n -= n;
    return true;
}

/* One line end at each side belongs to the tags. */
static struct rz_part inner_lines(struct rz_part v)
{
    if (v.n && v.p[0] == '\n') {
        v.p++;
        v.n--;
    }
    v.n -= v.n && v.p[v.n - 1] == '\n';
    return v;
}

/* <function=NAME> <parameter=KEY>value</parameter> ... </function> */
static bool tags_body(struct rz_calls *calls, struct rz_part body)
{
    struct rz_part part, value;
    struct rz_call *call = rz_calls_add(calls);
    if (!call || !starts(&body, "<function=") || !cut(&body, ">", &part) || !rz_call_name(call, part))
        return false;
    rz_buf_str(&call->arguments, "{");
    while (starts(&body, "<parameter=")) {
        if (!cut(&body, ">", &part) || !cut(&body, "</parameter>", &value))
            return false;
        add_value(calls, call, rz_part_trim(part), inner_lines(value));
    }
    return starts(&body, "</function>") && end_arguments(call, body);
}

/* NAME <arg_key>key</arg_key> <arg_value>value</arg_value> ... */
static bool keys_body(struct rz_calls *calls, struct rz_part body)
{
    struct rz_part key, value;
    const char *tag = memchr(body.p, '<', body.n);
    size_t n = tag ? (size_t)(tag - body.p) : body.n;
    struct rz_call *call = rz_calls_add(calls);
    if (!call || !rz_call_name(call, (struct rz_part){body.p, n}))
        return false;
    body = (struct rz_part){body.p + n, body.n - n};
    rz_buf_str(&call->arguments, "{");
    while (starts(&body, "<arg_key>")) {
        if (!cut(&body, "</arg_key>", &key) || !starts(&body, "<arg_value>") ||
            !cut(&body, "</arg_value>", &value))
            return false;
        add_value(calls, call, rz_part_trim(key), value);
    }
    return end_arguments(call, body);
}

/* NAME"> <｜DSML｜parameter name="KEY" string="true">value</｜DSML｜parameter> ... */
static bool invoke_body(struct rz_calls *calls, struct rz_part body)
{
    struct rz_part part, value, kind;
    struct rz_call *call = rz_calls_add(calls);
    if (!call || !cut(&body, "\">", &part) || !rz_call_name(call, part))
        return false;
    rz_buf_str(&call->arguments, "{");
    while (starts(&body, "<｜DSML｜parameter name=\"")) {
        if (!cut(&body, "\" string=\"", &part) || !cut(&body, "\">", &kind) ||
            !cut(&body, "</｜DSML｜parameter>", &value))
            return false;
        bool text = kind.n == 4 && !memcmp(kind.p, "true", 4);
        if (!text && !rz_json_is(value))
            return false;
        rz_buf_str(&call->arguments, call->arguments.len > 1 ? "," : "");
        rz_json_quote(&call->arguments, part.p, part.n);
        rz_buf_str(&call->arguments, ":");
        if (text)
            rz_json_quote(&call->arguments, value.p, value.n);
        else
            rz_buf_add(&call->arguments, value.p, value.n);
    }
    return end_arguments(call, body);
}

static bool any_body(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part body)
{
    if (format->flags & RZ_PARSE_LOOSE)
        return rz_parse_braces(calls, body);
    if (format->flags & RZ_PARSE_INVOKE)
        return invoke_body(calls, body);
    body = rz_part_trim(body);
    if (!body.n)
        return false;
    if (format->flags & RZ_PARSE_CALLS)
        return rz_json_is(body) ? json_body(calls, format, body) : rz_parse_python(calls, body);
    if (format->flags & RZ_PARSE_NAMED)
        return named_body(calls, format, body);
    if (body.p[0] == '{' || body.p[0] == '[')
        return json_body(calls, format, body);
    if (format->flags & RZ_PARSE_BARE)
        return rz_parse_python(calls, body);
    return body.p[0] == '<' ? tags_body(calls, body) : keys_body(calls, body);
}

bool rz_parse_body(struct rz_calls *calls, const struct rz_parse_format *format, struct rz_part body)
{
    size_t before = calls->n;
    bool ok = any_body(calls, format, body);
    for (size_t i = before; i < calls->n && ok; i++)
        ok = !(format->flags & RZ_PARSE_BARE) || rz_call_known(calls, &calls->list[i]);
    if (!ok)
        drop_calls(calls, before);
    return ok;
}

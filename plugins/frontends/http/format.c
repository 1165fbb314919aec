/* format.c - what an answer must be: response_format, tool_choice, grammar and the like.
 *
 * The host turns it into a grammar for the engine, in the form in which the model writes. At most one field
 * may shape the text of an answer.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "http.h"

static int32_t refuse(struct rz_err *err, const char *name, const char *what)
{
    return rz_fail(err, RZ_EINVAL, name, "%s", what);
}

static int32_t demand(struct rz_http_ask *ask, uint32_t kind, const char *param, struct rz_err *err)
{
    if (ask->format.kind)
        return rz_fail(err, RZ_EINVAL, param, "%s asks for another form already", ask->format.param);
    ask->format.kind = kind;
    ask->format.param = param;
    return RZ_OK;
}

static int32_t take_schema(struct rz_http_ask *ask, const json_t *schema, const char *param,
                           struct rz_err *err)
{
    int32_t code = demand(ask, RZ_GRAMMAR_JSON_SCHEMA, param, err);
    if (code)
        return code;
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return refuse(err, param, "the schema is not an object");
    ask->format.made = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!ask->format.made)
        return rz_fail(err, RZ_ENOMEM, param, "no memory");
    ask->format.text = (struct rz_str){ask->format.made, strlen(ask->format.made)};
    return RZ_OK;
}

/* What stands beside a schema, whether it is used or not. */
static bool well_formed(const json_t *o)
{
    const json_t *name = json_object_get(o, "name"), *strict = json_object_get(o, "strict"),
                 *schema = json_object_get(o, "schema");
    return (!name || json_is_string(name)) && (!strict || json_is_boolean(strict) || json_is_null(strict)) &&
           (!schema || json_is_object(schema) || json_is_boolean(schema) || json_is_null(schema));
}

int32_t rz_http_format_read(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *type = json_string_value(json_object_get(value, "type")), *param = ask->field;
    const json_t *inner = json_object_get(value, "json_schema"), *schema = json_object_get(inner, "schema");
    if (inner && !json_is_object(inner))
        return refuse(err, param, "json_schema is not an object");
    if (!well_formed(value) || !well_formed(inner))
        return refuse(err, param, "name is not a text, schema not an object, or strict not true or false");
    if (type && !strcmp(type, "text"))
        return RZ_OK;
    if (type && !strcmp(type, "json_object"))
        return json_object_get(value, "schema")
                   ? take_schema(ask, json_object_get(value, "schema"), param, err)
                   : demand(ask, RZ_GRAMMAR_JSON, param, err);
    if (!type || strcmp(type, "json_schema"))
        return refuse(err, param, "its type is not \"text\", \"json_object\" or \"json_schema\"");
    if (!inner)
        return refuse(err, param, "json_schema is missing");
    if (!schema || json_is_null(schema))
        return demand(ask, RZ_GRAMMAR_JSON, param, err);
    return take_schema(ask, schema, param, err);
}

int32_t rz_http_format_schema(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    return take_schema(ask, value, ask->field, err);
}

static int32_t take_text(struct rz_http_ask *ask, const json_t *value, uint32_t kind, struct rz_err *err)
{
    if (!json_is_string(value) || !json_string_length(value))
        return refuse(err, ask->field, "not a text that has at least one character");
    ask->format.text = (struct rz_str){json_string_value(value), json_string_length(value)};
    return demand(ask, kind, ask->field, err);
}

int32_t rz_http_format_grammar(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    return take_text(ask, value, RZ_GRAMMAR_GBNF, err);
}

int32_t rz_http_format_regex(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    return take_text(ask, value, RZ_GRAMMAR_REGEX, err);
}

/* Only these of the tools: what is not among them is not shown to the model. */
static int32_t allow(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const json_t *inner = json_object_get(value, "allowed_tools");
    inner = inner ? inner : value; /* as /v1/responses has it */
    const char *mode = json_string_value(json_object_get(inner, "mode"));
    ask->format.allowed = json_object_get(inner, "tools");
    ask->format.force = mode && !strcmp(mode, "required");
    if (!mode || (strcmp(mode, "auto") && !ask->format.force))
        return refuse(err, "tool_choice", "the mode of allowed_tools is not \"auto\" or \"required\"");
    if (!json_array_size(ask->format.allowed))
        return refuse(err, "tool_choice", "allowed_tools names no tools");
    return RZ_OK;
}

/* none, auto, required, {"type": "function", "function": {"name"}}, or some of the tools */
int32_t rz_http_format_choice(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *choice = json_string_value(value), *type = json_string_value(json_object_get(value, "type"));
    const json_t *name = json_object_get(json_object_get(value, "function"), "name");
    if (type && !strcmp(type, "allowed_tools"))
        return allow(ask, value, err);
    ask->no_tools = choice && !strcmp(choice, "none");
    ask->format.force = (choice && !strcmp(choice, "required")) || json_is_string(name);
    ask->format.force_name = json_string_value(name);
    if (json_is_object(value) && (!type || strcmp(type, "function") || !json_is_string(name)))
        return refuse(err, "tool_choice", "not {\"type\": \"function\", \"function\": {\"name\": ...}}");
    if (ask->no_tools || ask->format.force || (choice && !strcmp(choice, "auto")))
        return RZ_OK;
    return refuse(err, "tool_choice", "not \"none\", \"auto\", \"required\" or a function");
}

/* The tool of this name, in either shape of the API; NULL: none. */
static json_t *find_tool(const json_t *tools, const char *name)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_t *tool = json_array_get(tools, i), *f = json_object_get(tool, "function");
        const char *own = json_string_value(json_object_get(f ? f : tool, "name"));
        if (own && name && !strcmp(own, name))
            return tool;
    }
    return NULL;
}

int32_t rz_http_format_tools(struct rz_http_ask *ask, struct rz_err *err)
{
    const struct rz_http_format *f = &ask->format;
    json_t *tools = f->allowed ? rz_http_ask_keep(ask, json_array()) : ask->tools;
    for (size_t i = 0; i < json_array_size(f->allowed); i++) {
        const json_t *entry = json_array_get(f->allowed, i), *inner = json_object_get(entry, "function");
        const char *name = json_string_value(json_object_get(inner ? inner : entry, "name"));
        json_t *tool = find_tool(ask->tools, name);
        if (!tool)
            return refuse(err, "tool_choice", "allowed_tools names one that is not among tools");
        json_array_append(tools, tool);
    }
    ask->tools = tools;
    for (size_t i = 0; i < json_array_size(ask->tools); i++)
        ask->format.strict |= json_is_true(
            json_object_get(json_object_get(json_array_get(ask->tools, i), "function"), "strict"));
    return RZ_OK;
}

static int32_t apply_chat(struct rz_http_request *r, struct rz_http_run *run, struct rz_request *q,
                          struct rz_err *err)
{
    const struct rz_chat_api *chats = r->http->chats;
    const struct rz_http_format *f = &r->ask.format;
    struct rz_chat_demand d = {.size = sizeof(d)};
    char *tools = NULL;
    if (f->force || !f->kind) {
        d.flags = f->force ? RZ_CHAT_DEMAND_CALL : RZ_CHAT_DEMAND_STRICT;
        d.flags |= r->ask.one_call ? RZ_CHAT_DEMAND_ONE_CALL : 0;
        tools = json_dumps(r->ask.tools, JSON_COMPACT | JSON_REAL_PRECISION(17));
        d.tools = (struct rz_str){tools ? tools : "", tools ? strlen(tools) : 0};
        if (f->force_name)
            d.name = (struct rz_str){f->force_name, strlen(f->force_name)};
    } else if (f->kind == RZ_GRAMMAR_JSON) {
        d.flags = RZ_CHAT_DEMAND_OBJECT;
    } else {
        *(f->kind == RZ_GRAMMAR_JSON_SCHEMA ? &d.schema
          : f->kind == RZ_GRAMMAR_GBNF      ? &d.grammar
                                            : &d.regex) = f->text;
    }
    int32_t code = RZ_HAS(chats, constrain)
                       ? chats->constrain(run->chat, &d, &q->grammar_kind, &q->grammar, err)
                       : rz_fail(err, RZ_EUNSUPPORTED, "grammar", "the host does not offer it");
    free(tools);
    return rz_http_format_error(r, code, err);
}

int32_t rz_http_format_apply(struct rz_http_request *r, struct rz_http_run *run, struct rz_request *q,
                             struct rz_err *err)
{
    const struct rz_http_format *f = &r->ask.format;
    if (f->force && !r->ask.tools)
        return refuse(err, "tool_choice", "a call is demanded, but tools are not given");
    if (f->force && f->kind)
        return rz_fail(err, RZ_EINVAL, "tool_choice", "a call is demanded, but %s asks for another form",
                       f->param);
    if (f->force_name && !find_tool(r->ask.tools, f->force_name))
        return refuse(err, "tool_choice", "no tool has this name");
    if ((f->force || f->kind || (f->strict && !r->ask.no_tools)) && run->chat)
        return apply_chat(r, run, q, err);
    q->grammar_kind = f->kind;
    q->grammar = f->text;
    return RZ_OK;
}

int32_t rz_http_format_error(const struct rz_http_request *r, int32_t code, struct rz_err *err)
{
    const struct rz_http_format *f = &r->ask.format;
    const char *param = f->force ? "tool_choice" : f->param ? f->param : f->strict ? "tools" : NULL;
    bool about = code == RZ_EFORMAT || code == RZ_EUNSUPPORTED || code == RZ_EINVAL || code == RZ_ELIMIT;
    if (!param || !about ||
        (err->where[0] != '#' && strncmp(err->where, "grammar", 7) && strcmp(err->where, "regex") &&
         strcmp(err->where, "tool_choice")))
        return code;
    char message[sizeof(err->message) + sizeof(err->where) + 2];
    snprintf(message, sizeof(message), "%s: %s", err->where, err->message);
    return rz_fail(err, RZ_EINVAL, param, "%s", message);
}

/* openapi.c - /openapi.json: the routes of routes.c and the fields of fields.c in the words of OpenAPI 3.1.
 *
 * What depends on the models (names, sizes of vocabularies) and on the configuration (strict, keys) is said
 * as it is for this server.
 */
#include "openapi.h"

#include <stdlib.h>
#include <string.h>

#include "fields.h"

/* A schema with ' in place of ". */
static json_t *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *at = copy; at && *at; at++)
        if (*at == '\'')
            *at = '"';
    json_t *o = copy ? json_loads(copy, 0, NULL) : NULL;
    free(copy);
    return o;
}

static json_t *ref(const char *name)
{
    char path[96];
    snprintf(path, sizeof(path), "#/components/schemas/%s", name);
    return json_pack("{s:s}", "$ref", path);
}

/* --- bodies --- */

static json_t *number(const struct rz_http_field *f)
{
    bool whole = f->type == FIELD_INT;
    json_t *o = json_pack("{s:s}", "type", whole ? "integer" : "number");
    json_object_set_new(o, "minimum", whole ? json_integer((json_int_t)f->min) : json_real(f->min));
    json_object_set_new(o, "maximum", whole ? json_integer((json_int_t)f->max) : json_real(f->max));
    return o;
}

static json_t *value_schema(const struct rz_http_field *f)
{
    if (f->schema)
        return quoted(f->schema);
    switch (f->type) {
    case FIELD_BOOL:
        return quoted("{'type': 'boolean'}");
    case FIELD_INT:
    case FIELD_NUMBER:
        return number(f);
    case FIELD_FALSE:
        return quoted("{'const': false}");
    case FIELD_NONE:
        return json_pack("{s:s,s:s}", "type", "null", "description", f->why ? f->why : "not available");
    default:
        return quoted("{'type': 'string'}");
    }
}

static json_t *field_schema(const struct rz_http_field *f, uint32_t kind)
{
    json_t *o = value_schema(f);
    return f->must & kind || f->type == FIELD_NONE ? o
                                                   : json_pack("{s:[o,{s:s}]}", "anyOf", o, "type", "null");
}

/* What check_fields in ask.c wants of several fields together. */
static json_t *together(uint32_t kind)
{
    json_t *all = json_array();
    if (kind & (RZ_HTTP_COMPLETION | RZ_HTTP_CHAT | RZ_HTTP_RESPONSE))
        json_array_append_new(
            all,
            quoted("{'if': {'properties': {'stream_options': {'type': 'object'}}, 'required': "
                   "['stream_options']}, 'then': {'properties': {'stream': {'const': true}}, 'required': "
                   "['stream']}}"));
    if (kind == RZ_HTTP_CHAT)
        json_array_append_new(
            all,
            quoted("{'if': {'properties': {'top_logprobs': {'type': 'integer'}}, 'required': "
                   "['top_logprobs']}, 'then': {'properties': {'logprobs': {'const': true}}, 'required': "
                   "['logprobs']}}"));
    if (kind == RZ_HTTP_COMPLETION)
        json_array_append_new(
            all, quoted("{'if': {'properties': {'stream': {'const': true}}, 'required': ['stream']}, 'then': "
                        "{'properties': {'best_of': {'enum': [1, null]}}}}"));
    if (kind & (RZ_HTTP_CHAT | RZ_HTTP_RESPONSE))
        json_array_append_new(
            all, quoted("{'if': {'properties': {'tool_choice': {'anyOf': [{'const': 'required'}, {'type': "
                        "'object'}]}}, 'required': ['tool_choice']}, 'then': {'properties': {'tools': "
                        "{'type': 'array', 'minItems': 1}}, 'required': ['tools']}}"));
    if (json_array_size(all))
        return all;
    json_decref(all);
    return NULL;
}

static json_t *body_schema(const struct rz_http_request *r, uint32_t kind)
{
    json_t *properties = json_object(), *required = json_array();
    for (const struct rz_http_field *f = rz_http_fields; f->name; f++) {
        if (f->of & kind)
            json_object_set_new(properties, f->name, field_schema(f, kind));
        if (f->must & kind)
            json_array_append_new(required, json_string(f->name));
    }
    json_t *o = json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", properties, "required",
                          required, "additionalProperties", !r->http->strict);
    json_t *all = together(kind);
    if (all)
        json_object_set_new(o, "allOf", all);
    return o;
}

/* --- paths --- */

static json_t *content(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

/* Of one event of a stream: its data is JSON, but for the last of OpenAI's. */
static json_t *event_schema(const struct rz_http_route *route, const char *error)
{
    json_t *said = json_pack("{s:[o,o]}", "anyOf", ref(route->event), ref(error));
    json_t *json = json_pack("{s:s,s:s,s:o}", "type", "string", "contentMediaType", "application/json",
                             "contentSchema", said);
    return json_pack("{s:s,s:[s],s:{s:{s:{s:s},s:o}}}", "type", "object", "required", "data", "properties",
                     "data", "if", "const", "[DONE]", "else", json);
}

static json_t *answers(const struct rz_http_route *route)
{
    const char *error = route->plain ? "PlainError" : "Error";
    json_t *good = route->good ? content("application/json", ref(route->good)) : json_object();
    json_t *bad = ref(error);
    if (route->type)
        json_object_set_new(good, route->type, quoted("{'schema': {'type': 'string'}}"));
    if (route->flags & RZ_HTTP_OPEN && route->good) /* /health says in the same shape that it is not well */
        bad = json_pack("{s:[o,o]}", "anyOf", bad, ref(route->good));
    if (route->event) {
        json_object_set_new(good, "text/event-stream",
                            json_pack("{s:o}", "schema", event_schema(route, error)));
    }
    json_t *o = json_pack("{s:{s:s,s:o}}", "200", "description", "The answer", "content", good);
    json_object_set_new(o, "4XX",
                        json_pack("{s:s,s:o}", "description", "The request is at fault", "content",
                                  content("application/json", ref(error))));
    json_object_set_new(o, "5XX",
                        json_pack("{s:s,s:o}", "description", "The server cannot answer, or not now",
                                  "content", content("application/json", bad)));
    return o;
}

static json_t *operation(const struct rz_http_request *r, const struct rz_http_route *route)
{
    json_t *o = json_pack("{s:s,s:o}", "summary", route->summary, "responses", answers(route));
    if (route->fields)
        json_object_set_new(o, "requestBody",
                            json_pack("{s:b,s:o}", "required", 1, "content",
                                      content("application/json", body_schema(r, route->fields))));
    if (route->more)
        json_object_set_new(o, "parameters",
                            json_pack("[{s:s,s:s,s:b,s:o}]", "name", "name", "in", "path", "required", 1,
                                      "schema", ref("ModelName")));
    if (r->http->n_keys && !(route->flags & RZ_HTTP_OPEN))
        json_object_set_new(o, "security", quoted("[{'key': []}]"));
    return o;
}

static json_t *paths(const struct rz_http_request *r)
{
    const struct rz_http_route *route;
    json_t *o = json_object();
    for (size_t i = 0; (route = rz_http_route_at(i)); i++) {
        char path[128];
        bool get = route->method[0] == 'G';
        if (!route->summary)
            continue;
        snprintf(path, sizeof(path), "%s%s", route->path, route->more ? "{name}" : "");
        json_t *item = json_pack("{s:o}", get ? "get" : "post", operation(r, route));
        json_object_set_new(o, path, item);
    }
    return o;
}

/* --- what the models decide --- */

/* A pattern of the decimal numbers below n, without leading zeros. */
static void below(uint32_t n, struct rz_buf *out)
{
    char digits[16];
    int len = snprintf(digits, sizeof(digits), "%u", n - 1);
    rz_buf_str(out, "^(");
    if (len > 1)
        rz_buf_str(out, "[0-9]|");
    for (int k = 2; k < len; k++)
        rz_buf_printf(out, "[1-9][0-9]{%d}|", k - 1);
    for (int i = 0; i < len; i++) { /* the same first i digits, then a smaller one */
        char least = i || len == 1 ? '0' : '1';
        if (digits[i] > least)
            rz_buf_printf(out, "%.*s[%c-%c][0-9]{%d}|", i, digits, least, digits[i] - 1, len - 1 - i);
    }
    rz_buf_printf(out, "%s)$", digits);
}

/* False: every name finds this model. */
static bool add_names(const struct rz_http_request *r, uint32_t i, json_t *names)
{
    struct rz_served_info s = {.size = sizeof(s)};
    bool all = true;
    r->http->serve->info(r->http->serve->ctx, i, &s);
    json_array_append_new(names, rz_http_text(s.name, strlen(s.name)));
    for (uint32_t k = 0; k < s.n_aliases; k++) {
        json_array_append_new(names, rz_http_text(s.aliases[k], strlen(s.aliases[k])));
        all &= strcmp(s.aliases[k], "*") != 0;
    }
    return all;
}

static void model_schemas(const struct rz_http_request *r, json_t *schemas)
{
    uint32_t n_vocab = 1, n_embd = 1, least = 0;
    bool any = false;
    json_t *names = json_array();
    struct rz_buf pattern;
    for (uint32_t i = 0; i < r->http->n_models; i++) {
        struct rz_http_model m;
        any |= !add_names(r, i, names);
        if (!rz_http_model_facts(r->http, i, &m))
            continue;
        least |= !m.vocab.add_bos; /* an empty text is a prompt where something stands before it */
        n_vocab = m.vocab.n_vocab > n_vocab ? m.vocab.n_vocab : n_vocab;
        n_embd = m.info.n_embd > n_embd ? m.info.n_embd : n_embd;
    }
    rz_buf_init(&pattern, 4096);
    below(n_vocab, &pattern);
    json_object_set_new(schemas, "Text", json_pack("{s:s,s:i}", "type", "string", "minLength", least));
    json_object_set_new(schemas, "ModelName",
                        any ? json_pack("{s:o,s:s}", "examples", names, "type", "string")
                            : json_pack("{s:o}", "enum", names));
    json_object_set_new(
        schemas, "TokenId",
        json_pack("{s:s,s:i,s:I}", "type", "integer", "minimum", 0, "maximum", (json_int_t)n_vocab - 1));
    json_object_set_new(
        schemas, "Dimensions",
        json_pack("{s:s,s:i,s:I}", "type", "integer", "minimum", 1, "maximum", (json_int_t)n_embd));
    json_object_set_new(schemas, "LogitBias",
                        json_pack("{s:s,s:i,s:{s:s},s:{s:s,s:i,s:i}}", "type", "object", "maxProperties",
                                  RZ_HTTP_BIASES_MAX, "propertyNames", "pattern", pattern.data,
                                  "additionalProperties", "type", "number", "minimum", -100, "maximum", 100));
    rz_buf_free(&pattern);
}

static json_t *components(const struct rz_http_request *r)
{
    json_t *schemas = json_object();
    for (const struct rz_http_schema *s = rz_http_schemas; s->name; s++)
        json_object_set_new(schemas, s->name, quoted(s->text));
    model_schemas(r, schemas);
    json_t *o = json_pack("{s:o}", "schemas", schemas);
    if (r->http->n_keys)
        json_object_set_new(o, "securitySchemes", quoted("{'key': {'type': 'http', 'scheme': 'bearer'}}"));
    return o;
}

enum MHD_Result rz_http_openapi(struct rz_http_request *r)
{
    json_t *o = json_pack("{s:s,s:{s:s,s:s},s:o,s:o}", "openapi", "3.1.0", "info", "title", "rz", "version",
                          rz_http_version_text(), "paths", paths(r), "components", components(r));
    return rz_http_reply_json(r->connection, MHD_HTTP_OK, o, NULL);
}

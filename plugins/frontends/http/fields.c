/* fields.c - the table of the fields of all bodies, and the readers of those that are more than a number.
 *
 * One table says what a field may be: ask.c reads by it, and openapi.c describes it.
 */
#include "fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t field_read(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);

static field_read read_prompt, read_one, read_texts, read_stop, read_bias, read_stream_options, read_messages,
    read_tools, read_kwargs, read_documents, read_modalities, read_parallel, read_metadata, read_encoding,
    read_items, read_flat_tools, read_flat_choice, read_text, read_reasoning, read_truncation, read_include,
    read_speculate, read_verbosity, read_tier, read_retention;

#define AT(member) .at = offsetof(struct rz_http_ask, member)
#define HAS(member) .has = offsetof(struct rz_http_ask, member)
#define CALL(reader, json) .type = FIELD_CALL, .read = reader, .schema = json
#define INT_MAX_D 2147483647.0

#define COMPLETION RZ_HTTP_COMPLETION
#define CHAT RZ_HTTP_CHAT
#define EMBED RZ_HTTP_EMBED
#define RESPONSE RZ_HTTP_RESPONSE
#define TALK (CHAT | RESPONSE)
#define V1 (COMPLETION | TALK)
#define GENERATE (RZ_HTTP_GENERATE | RZ_HTTP_GENERATE_ALL)
#define TOKENIZE (RZ_HTTP_TOKENIZE | RZ_HTTP_TOKENIZE_ALL)

/* Schemas are JSON with ' in place of ". */
#define REF(name) "{'$ref': '#/components/schemas/" name "'}"
#define ANY_OBJECT "{'type': 'object'}"
#define GRAMMAR "{'type': 'string', 'minLength': 1}"

const struct rz_http_field rz_http_fields[] = {
    {.name = "model", .type = FIELD_TEXT, AT(model), .of = V1 | EMBED, .schema = REF("ModelName")},
    {.name = "model_id",
     .type = FIELD_TEXT,
     AT(model),
     .of = GENERATE | TOKENIZE,
     .schema = REF("ModelName")},
    /* what is asked */
    {.name = "prompt", CALL(read_prompt, REF("Prompt")), .of = COMPLETION, .must = COMPLETION},
    {.name = "prompt", CALL(read_one, REF("Text")), .of = RZ_HTTP_GENERATE, .must = RZ_HTTP_GENERATE},
    {.name = "prompts",
     CALL(read_texts, REF("Texts")),
     .of = RZ_HTTP_GENERATE_ALL,
     .must = RZ_HTTP_GENERATE_ALL},
    {.name = "text", CALL(read_one, "{'type':'string'}"), .of = RZ_HTTP_TOKENIZE, .must = RZ_HTTP_TOKENIZE},
    {.name = "texts",
     CALL(read_texts, REF("AnyTexts")),
     .of = RZ_HTTP_TOKENIZE_ALL,
     .must = RZ_HTTP_TOKENIZE_ALL},
    {.name = "input", CALL(read_prompt, REF("Prompt")), .of = EMBED, .must = EMBED},
    {.name = "messages", CALL(read_messages, REF("Messages")), .of = CHAT, .must = CHAT},
    {.name = "input", CALL(read_items, REF("Input")), .of = RESPONSE, .must = RESPONSE},
    {.name = "instructions", .type = FIELD_TEXT, AT(instructions), .of = RESPONSE},
    /* tools */
    {.name = "tools", CALL(read_tools, REF("Tools")), .of = CHAT},
    {.name = "tools", CALL(read_flat_tools, REF("FlatTools")), .of = RESPONSE},
    {.name = "tool_choice", CALL(rz_http_format_choice, REF("ToolChoice")), .of = CHAT},
    {.name = "tool_choice", CALL(read_flat_choice, REF("FlatToolChoice")), .of = RESPONSE},
    {.name = "parallel_tool_calls", CALL(read_parallel, "{'type':'boolean'}"), .of = TALK},
    /* the template */
    {.name = "chat_template_kwargs", CALL(read_kwargs, ANY_OBJECT), .of = TALK},
    {.name = "documents", CALL(read_documents, "{'type':'array'}"), .of = CHAT},
    {.name = "reasoning_effort", .type = FIELD_TEXT, AT(effort), .of = CHAT},
    {.name = "reasoning", CALL(read_reasoning, REF("Reasoning")), .of = RESPONSE},
    /* the answer */
    {.name = "stream", .type = FIELD_BOOL, AT(stream), .of = V1},
    {.name = "stream_options", CALL(read_stream_options, REF("StreamOptions")), .of = V1},
    {.name = "max_tokens", .type = FIELD_INT, .min = 0, .max = INT_MAX_D, AT(max_tokens), .of = COMPLETION},
    {.name = "max_tokens",
     .type = FIELD_INT,
     .min = 1,
     .max = INT_MAX_D,
     AT(max_tokens),
     .of = CHAT | GENERATE},
    {.name = "max_completion_tokens",
     .type = FIELD_INT,
     .min = 1,
     .max = INT_MAX_D,
     AT(completion_tokens),
     HAS(has_completion),
     .of = CHAT},
    {.name = "max_output_tokens",
     .type = FIELD_INT,
     .min = 1,
     .max = INT_MAX_D,
     AT(max_tokens),
     .of = RESPONSE},
    {.name = "n", .type = FIELD_INT, .min = 1, .max = 128, AT(n), .of = COMPLETION | CHAT},
    {.name = "best_of", .type = FIELD_INT, .min = 1, .max = 128, AT(best_of), .of = COMPLETION},
    {.name = "logprobs", .type = FIELD_BOOL, AT(want_logprobs), .of = CHAT},
    {.name = "top_logprobs",
     .type = FIELD_INT,
     .min = 0,
     .max = RZ_LOGPROBS_MAX,
     AT(logprobs),
     HAS(has_top),
     .of = TALK},
    {.name = "logprobs",
     .type = FIELD_INT,
     .min = 0,
     .max = RZ_LOGPROBS_MAX,
     AT(logprobs),
     HAS(has_logprobs),
     .of = COMPLETION},
    {.name = "stop", CALL(read_stop, REF("Stop")), .of = V1},
    {.name = "ignore_eos", .type = FIELD_BOOL, AT(ignore_eos), .of = V1},
    {.name = "echo", .type = FIELD_BOOL, AT(echo), .of = COMPLETION},
    {.name = "response_format", CALL(rz_http_format_read, REF("ResponseFormat")), .of = COMPLETION | CHAT},
    {.name = "grammar", CALL(rz_http_format_grammar, GRAMMAR), .of = COMPLETION | CHAT},
    {.name = "json_schema", CALL(rz_http_format_schema, ANY_OBJECT), .of = COMPLETION | CHAT},
    {.name = "guided_json", CALL(rz_http_format_schema, ANY_OBJECT), .of = COMPLETION | CHAT},
    {.name = "guided_grammar", CALL(rz_http_format_grammar, GRAMMAR), .of = COMPLETION | CHAT},
    {.name = "guided_regex", CALL(rz_http_format_regex, GRAMMAR), .of = COMPLETION | CHAT},
    {.name = "text", CALL(read_text, REF("TextOptions")), .of = RESPONSE},
    {.name = "modalities", CALL(read_modalities, "{'const':['text']}"), .of = CHAT},
    {.name = "encoding_format", CALL(read_encoding, "{'enum':['float','base64']}"), .of = EMBED},
    {.name = "dimensions",
     .type = FIELD_INT,
     .min = 1,
     .max = INT_MAX_D,
     AT(dimensions),
     .of = EMBED,
     .schema = REF("Dimensions")},
    {.name = "include",
     CALL(read_include,
          "{'type':'array','items':{'enum':['reasoning.encrypted_content','message.output_text.logprobs']}}"),
     .of = RESPONSE},
    /* sampling */
    {.name = "temperature", .type = FIELD_NUMBER, .min = 0, .max = 100, AT(temperature), .of = V1 | GENERATE},
    {.name = "top_k", .type = FIELD_INT, .min = -1, .max = INT_MAX_D, AT(top_k), .of = V1 | GENERATE},
    {.name = "top_p", .type = FIELD_NUMBER, .min = 0, .max = 1, AT(top_p), .of = V1 | GENERATE},
    {.name = "min_p", .type = FIELD_NUMBER, .min = 0, .max = 1, AT(min_p), .of = V1},
    {.name = "typical_p", .type = FIELD_NUMBER, .min = 0, .max = 1, AT(typical_p), .of = V1},
    {.name = "repeat_penalty", .type = FIELD_NUMBER, .min = 0.01, .max = 100, AT(repeat_penalty), .of = V1},
    {.name = "presence_penalty", .type = FIELD_NUMBER, .min = -2, .max = 2, AT(presence_penalty), .of = V1},
    {.name = "frequency_penalty", .type = FIELD_NUMBER, .min = -2, .max = 2, AT(frequency_penalty), .of = V1},
    {.name = "seed",
     .type = FIELD_INT,
     .min = -9007199254740991.0,
     .max = 9007199254740991.0,
     AT(seed),
     HAS(has_seed),
     .of = V1 | GENERATE},
    {.name = "logit_bias", CALL(read_bias, REF("LogitBias")), .of = V1},
    {.name = "strategy",
     .type = FIELD_TEXT,
     AT(strategy),
     .of = GENERATE,
     .schema = "{'enum':['greedy','top_k','top_p']}"},
    /* how fast it is done; the answer is the same */
    {.name = "speculate",
     CALL(read_speculate, "{'enum':[true,false,'off','lookup','draft']}"),
     .of = V1 | GENERATE},
    /* nothing follows from these */
    {.name = "user", .type = FIELD_TEXT, .of = V1 | EMBED},
    {.name = "metadata", CALL(read_metadata, REF("Metadata")), .of = TALK},
    {.name = "prompt_cache_key", .type = FIELD_TEXT, .of = TALK},
    {.name = "safety_identifier", .type = FIELD_TEXT, .of = TALK},
    /* known, and refused */
    {.name = "store", .type = FIELD_FALSE, .of = TALK},
    {.name = "background", .type = FIELD_FALSE, .of = RESPONSE},
    {.name = "service_tier", CALL(read_tier, "{'enum':['auto','default']}"), .of = TALK},
    {.name = "prompt_cache_retention", CALL(read_retention, "{'const':'in_memory'}"), .of = TALK},
    {.name = "truncation", CALL(read_truncation, "{'const':'disabled'}"), .of = RESPONSE},
    {.name = "previous_response_id",
     .type = FIELD_NONE,
     .of = RESPONSE,
     .why = "the server keeps no responses: send the whole conversation as input"},
    {.name = "conversation",
     .type = FIELD_NONE,
     .of = RESPONSE,
     .why = "the server keeps no conversations: send the whole conversation as input"},
    {.name = "max_tool_calls", .type = FIELD_NONE, .of = RESPONSE},
    {.name = "prompt", .type = FIELD_NONE, .of = RESPONSE},
    {.name = "suffix", .type = FIELD_NONE, .of = COMPLETION},
    {.name = "functions", .type = FIELD_NONE, .of = CHAT, .why = "use tools"},
    {.name = "function_call", .type = FIELD_NONE, .of = CHAT, .why = "use tool_choice"},
    {.name = "audio", .type = FIELD_NONE, .of = CHAT},
    {.name = "prediction", .type = FIELD_NONE, .of = CHAT},
    {.name = "web_search_options", .type = FIELD_NONE, .of = CHAT},
    {.name = "verbosity", CALL(read_verbosity, "{'const':'medium'}"), .of = CHAT},
    {.name = NULL},
};

static int32_t refuse(struct rz_err *err, const char *name, const char *what)
{
    return rz_fail(err, RZ_EINVAL, name, "%s", what);
}

/* A text, ids, or a list of these; what is in the lists is looked at when they become prompts. */
static int32_t read_prompt(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const json_t *inner = json_array_get(value, 0);
    ask->prompt = (json_t *)value;
    if ((json_is_string(inner) || json_is_array(inner)) && json_array_size(value) > RZ_HTTP_PROMPTS_MAX)
        return rz_fail(err, RZ_EINVAL, "", "%zu prompts; at most %d", json_array_size(value),
                       RZ_HTTP_PROMPTS_MAX);
    if (json_is_string(value) || json_is_number(inner) || json_is_string(inner) || json_is_array(inner))
        return RZ_OK;
    return refuse(err, "", "not a text, a list of token ids, or a list of these");
}

static int32_t read_one(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->prompt = (json_t *)value;
    return json_is_string(value) ? RZ_OK : refuse(err, "", "not a text");
}

static int32_t read_texts(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->prompt = (json_t *)value;
    bool good = json_array_size(value) > 0 && json_array_size(value) <= RZ_HTTP_PROMPTS_MAX;
    for (size_t i = 0; i < json_array_size(value); i++)
        good &= json_is_string(json_array_get(value, i));
    return good ? RZ_OK : rz_fail(err, RZ_EINVAL, "", "not a list of 1 to %d texts", RZ_HTTP_PROMPTS_MAX);
}

static int32_t add_stop(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    size_t n = json_string_length(value), characters = 0;
    if (!json_is_string(value) || !n)
        return refuse(err, "stop", "not a text that has at least one character");
    for (size_t i = 0; i < n; i++)
        characters += ((unsigned char)json_string_value(value)[i] & 0xc0) != 0x80;
    if (characters > RZ_HTTP_STOP_MAX)
        return rz_fail(err, RZ_EINVAL, "stop", "%zu characters; at most %d", characters, RZ_HTTP_STOP_MAX);
    if (ask->n_stops == RZ_HTTP_STOPS_MAX)
        return rz_fail(err, RZ_EINVAL, "stop", "more than %d texts", RZ_HTTP_STOPS_MAX);
    ask->stops[ask->n_stops++] = (struct rz_str){json_string_value(value), n};
    return RZ_OK;
}

static int32_t read_stop(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    if (!json_is_array(value))
        return add_stop(ask, value, err);
    int32_t code = RZ_OK;
    for (size_t i = 0; i < json_array_size(value) && !code; i++)
        code = add_stop(ask, json_array_get(value, i), err);
    return code;
}

/* {"id": add}; -100 bans, as the API has it. */
static int32_t read_bias(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *key;
    json_t *add;
    size_t n = json_object_size(value);
    if (!json_is_object(value))
        return refuse(err, "logit_bias", "not an object of token ids and numbers");
    if (n > RZ_HTTP_BIASES_MAX)
        return rz_fail(err, RZ_EINVAL, "logit_bias", "%zu entries; at most %d", n, RZ_HTTP_BIASES_MAX);
    free(ask->biases);
    ask->biases = calloc(n + 1, sizeof(*ask->biases));
    if (!ask->biases)
        return rz_fail(err, RZ_ENOMEM, "logit_bias", "no memory");
    json_object_foreach((json_t *)value, key, add)
    {
        size_t digits = strspn(key, "0123456789");
        double v = json_number_value(add);
        if (!digits || digits > 9 || key[digits] || (digits > 1 && key[0] == '0'))
            return refuse(err, "logit_bias", "a key is not a token id");
        if (!json_is_number(add) || !(v >= -100 && v <= 100))
            return refuse(err, "logit_bias", "a value is not a number from -100 to 100");
        ask->biases[ask->n_biases++] =
            (struct rz_bias){(int32_t)strtol(key, NULL, 10), v <= -100 ? -INFINITY : (float)v};
    }
    return RZ_OK;
}

static int32_t read_stream_options(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(value))
        return refuse(err, "stream_options", "not an object");
    ask->has_stream_options = true;
    json_object_foreach((json_t *)value, key, v)
    {
        bool usage = !strcmp(key, "include_usage");
        if (!(usage || !strcmp(key, "include_obfuscation")) || !(json_is_boolean(v) || json_is_null(v)))
            return refuse(err, "stream_options", "holds more than include_usage, true or false");
        if (!usage && json_is_true(v))
            return refuse(err, "stream_options", "include_obfuscation: only false is available");
        ask->include_usage |= usage && json_is_true(v);
    }
    return RZ_OK;
}

static int32_t read_messages(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->messages = (json_t *)value;
    return rz_http_messages_check(value, err);
}

static int32_t read_tools(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->tools = json_array_size(value) ? (json_t *)value : NULL;
    return rz_http_tools_check(value, err);
}

static int32_t read_kwargs(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->kwargs = (json_t *)value;
    return json_is_object(value) ? RZ_OK : refuse(err, "chat_template_kwargs", "not an object");
}

static int32_t read_documents(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->documents = (json_t *)value;
    return json_is_array(value) ? RZ_OK : refuse(err, "documents", "not a list");
}

static int32_t read_modalities(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *only = json_string_value(json_array_get(value, 0));
    (void)ask;
    if (json_array_size(value) == 1 && only && !strcmp(only, "text"))
        return RZ_OK;
    return refuse(err, "modalities", "only [\"text\"] is available");
}

static int32_t read_parallel(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->one_call = json_is_false(value);
    return json_is_boolean(value) ? RZ_OK : refuse(err, "parallel_tool_calls", "not true or false");
}

static int32_t read_metadata(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *key;
    json_t *v;
    bool good = json_is_object(value);
    (void)ask;
    json_object_foreach((json_t *)value, key, v) good &= json_is_string(v);
    return good ? RZ_OK : refuse(err, "metadata", "not an object of texts");
}

/* true: as configured. */
static int32_t read_speculate(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    static const char *const names[] = {"off", "lookup", "draft"};
    static const uint32_t modes[] = {RZ_SPECULATE_OFF, RZ_SPECULATE_LOOKUP, RZ_SPECULATE_DRAFT};
    const char *name = json_string_value(value);
    ask->speculate = json_is_false(value) ? RZ_SPECULATE_OFF : RZ_SPECULATE_MODEL;
    if (json_is_boolean(value))
        return RZ_OK;
    for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]))
            continue;
        ask->speculate = modes[i];
        return RZ_OK;
    }
    return refuse(err, "speculate", "not true, false, \"off\", \"lookup\" or \"draft\"");
}

/* There is one tier, and prompts are remembered while the server runs. */
static int32_t read_tier(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *name = json_string_value(value);
    (void)ask;
    if (name && (!strcmp(name, "auto") || !strcmp(name, "default")))
        return RZ_OK;
    return refuse(err, "service_tier", "only \"auto\" and \"default\" are available");
}

static int32_t read_retention(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *name = json_string_value(value);
    (void)ask;
    if (name && !strcmp(name, "in_memory"))
        return RZ_OK;
    return refuse(err, "prompt_cache_retention", "only \"in_memory\" is available");
}

static int32_t read_encoding(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *name = json_string_value(value);
    ask->base64 = name && !strcmp(name, "base64");
    if (ask->base64 || (name && !strcmp(name, "float")))
        return RZ_OK;
    return refuse(err, "encoding_format", "not \"float\" or \"base64\"");
}

/* --- of /v1/responses: the same things in other words --- */

static int32_t read_items(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    ask->prompt = (json_t *)value;
    if (json_is_string(value) || json_array_size(value))
        return RZ_OK;
    return refuse(err, "input", "not a text or a list with at least one item");
}

static int32_t read_flat_tools(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    json_t *tools = rz_http_ask_keep(ask, json_array());
    ask->given_tools = (json_t *)value;
    if (!json_is_array(value))
        return refuse(err, "tools", "not a list");
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *tool = json_array_get(value, i), *type = json_object_get(tool, "type");
        json_t *function = json_copy(tool);
        json_object_del(function, "type");
        json_t *nested = json_pack("{s:o}", "function", function ? function : json_null());
        json_object_set(nested, "type", type);
        json_array_append_new(tools, nested);
    }
    return read_tools(ask, tools, err);
}

static int32_t read_flat_choice(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const json_t *name = json_object_get(value, "name");
    if (!name || json_object_get(value, "tools"))
        return rz_http_format_choice(ask, value, err);
    return rz_http_format_choice(
        ask,
        rz_http_ask_keep(ask, json_pack("{s:O?,s:{s:O}}", "type", json_object_get(value, "type"), "function",
                                        "name", name)),
        err);
}

/* The words of a model are its own: what clients send by default asks for nothing else. */
static bool is_medium(const json_t *value)
{
    const char *name = json_string_value(value);
    return name && !strcmp(name, "medium");
}

static int32_t read_verbosity(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    (void)ask;
    return is_medium(value) ? RZ_OK : refuse(err, "verbosity", "only \"medium\" is available");
}

static int32_t read_text(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const json_t *format = json_object_get(value, "format"), *verbosity = json_object_get(value, "verbosity");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (!json_is_object(value))
        return refuse(err, "text", "not an object");
    if (verbosity && !json_is_null(verbosity) && !is_medium(verbosity))
        return refuse(err, "text.verbosity", "only \"medium\" is available");
    if (!format || json_is_null(format))
        return RZ_OK;
    if (!type || strcmp(type, "json_schema"))
        return rz_http_format_read(ask, format, err);
    json_t *inner = json_copy((json_t *)format);
    json_object_del(inner, "type");
    return rz_http_format_read(
        ask, rz_http_ask_keep(ask, json_pack("{s:s,s:o}", "type", type, "json_schema", inner)), err);
}

static int32_t read_reasoning(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(value))
        return refuse(err, "reasoning", "not an object");
    json_object_foreach((json_t *)value, key, v)
    {
        const char *text = json_string_value(v);
        bool summary = !strcmp(key, "summary") || !strcmp(key, "generate_summary");
        if (json_is_null(v) || (summary && text && !strcmp(text, "auto"))) /* there is none to be had */
            continue;
        if (strcmp(key, "effort") || !text)
            return refuse(err, "reasoning", "only effort, a text, and summary = \"auto\" are available");
        ask->effort = text;
    }
    return RZ_OK;
}

static int32_t read_truncation(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *name = json_string_value(value);
    (void)ask;
    if (name && !strcmp(name, "disabled"))
        return RZ_OK;
    return refuse(err, "truncation", "only \"disabled\" is available: nothing is left out of a conversation");
}

/* Reasoning is given in the open, and nothing has to be kept encrypted. */
static int32_t read_include(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    bool good = json_is_array(value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        bool logprobs = name && !strcmp(name, "message.output_text.logprobs");
        ask->want_logprobs |= logprobs;
        good &= logprobs || (name && !strcmp(name, "reasoning.encrypted_content"));
    }
    return good ? RZ_OK
                : refuse(err, "include",
                         "only \"message.output_text.logprobs\" and \"reasoning.encrypted_content\" are "
                         "available");
}

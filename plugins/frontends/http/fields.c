/* fields.c - the bodies of /v1/completions and /v1/chat/completions: one table says what each field may be.
 *
 * Each known field is honoured or refused by its name; null counts as absent. The JSON is bounded in
 * depth before it is parsed, so that a hostile body cannot use the parser's stack.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define FIELD_BOOL 0
#define FIELD_INT 1
#define FIELD_NUMBER 2
#define FIELD_TEXT 3
#define FIELD_CALL 4  /* read by a function of its own                      */
#define FIELD_ONE 5   /* only 1 is available                                */
#define FIELD_FALSE 6 /* only false is available                            */
#define FIELD_NONE 7  /* known to the API, not available: only null         */
#define FIELD_SKIP 8  /* accepted: nothing follows from it                  */
#define FIELD_TRUE 9  /* only true is available                             */
#define IGNORED_MAX 512

typedef int32_t field_read(struct rz_http_ask *ask, const json_t *value, struct rz_err *err);

struct field {
    const char *name;
    int type;
    double min, max;
    size_t at;  /* in struct rz_http_ask: bool, int64_t, double or const char *  */
    size_t has; /* a bool that says that the field was given; 0: none         */
    field_read *read;
    uint32_t only; /* RZ_HTTP_*: in bodies of this kind; 0: in all */
};

static field_read read_prompt, read_stop, read_bias, read_stream_options, read_messages, read_tools,
    read_choice, read_format, read_kwargs, read_documents, read_modalities;

#define AT(member) .at = offsetof(struct rz_http_ask, member)
#define HAS(member) .has = offsetof(struct rz_http_ask, member)

static const struct field fields[] = {
    {.name = "model", .type = FIELD_TEXT, AT(model)},
    {.name = "prompt", .type = FIELD_CALL, .read = read_prompt, .only = RZ_HTTP_COMPLETION},
    {.name = "messages", .type = FIELD_CALL, .read = read_messages, .only = RZ_HTTP_CHAT},
    {.name = "tools", .type = FIELD_CALL, .read = read_tools, .only = RZ_HTTP_CHAT},
    {.name = "tool_choice", .type = FIELD_CALL, .read = read_choice, .only = RZ_HTTP_CHAT},
    {.name = "parallel_tool_calls", .type = FIELD_TRUE, .only = RZ_HTTP_CHAT},
    {.name = "chat_template_kwargs", .type = FIELD_CALL, .read = read_kwargs, .only = RZ_HTTP_CHAT},
    {.name = "documents", .type = FIELD_CALL, .read = read_documents, .only = RZ_HTTP_CHAT},
    {.name = "reasoning_effort", .type = FIELD_TEXT, AT(effort), .only = RZ_HTTP_CHAT},
    {.name = "max_completion_tokens",
     .type = FIELD_INT,
     .min = 1,
     .max = 2147483647,
     AT(completion_tokens),
     HAS(has_completion),
     .only = RZ_HTTP_CHAT},
    {.name = "top_logprobs",
     .type = FIELD_INT,
     .min = 0,
     .max = RZ_LOGPROBS_MAX,
     AT(logprobs),
     HAS(has_top),
     .only = RZ_HTTP_CHAT},
    {.name = "logprobs", .type = FIELD_BOOL, AT(want_logprobs), .only = RZ_HTTP_CHAT},
    {.name = "modalities", .type = FIELD_CALL, .read = read_modalities, .only = RZ_HTTP_CHAT},
    {.name = "functions", .type = FIELD_NONE, .only = RZ_HTTP_CHAT},
    {.name = "function_call", .type = FIELD_NONE, .only = RZ_HTTP_CHAT},
    {.name = "audio", .type = FIELD_NONE, .only = RZ_HTTP_CHAT},
    {.name = "prediction", .type = FIELD_NONE, .only = RZ_HTTP_CHAT},
    {.name = "web_search_options", .type = FIELD_NONE, .only = RZ_HTTP_CHAT},
    {.name = "verbosity", .type = FIELD_NONE, .only = RZ_HTTP_CHAT},
    {.name = "store", .type = FIELD_FALSE, .only = RZ_HTTP_CHAT},
    {.name = "metadata", .type = FIELD_SKIP, .only = RZ_HTTP_CHAT},
    {.name = "service_tier", .type = FIELD_SKIP, .only = RZ_HTTP_CHAT},
    {.name = "prompt_cache_key", .type = FIELD_SKIP, .only = RZ_HTTP_CHAT},
    {.name = "safety_identifier", .type = FIELD_SKIP, .only = RZ_HTTP_CHAT},
    {.name = "stream", .type = FIELD_BOOL, AT(stream)},
    {.name = "stream_options", .type = FIELD_CALL, .read = read_stream_options},
    {.name = "max_tokens", .type = FIELD_INT, .min = 1, .max = 2147483647, AT(max_tokens)},
    {.name = "temperature", .type = FIELD_NUMBER, .min = 0, .max = 100, AT(temperature)},
    {.name = "top_k", .type = FIELD_INT, .min = -1, .max = 2147483647, AT(top_k)},
    {.name = "top_p", .type = FIELD_NUMBER, .min = 0, .max = 1, AT(top_p)},
    {.name = "min_p", .type = FIELD_NUMBER, .min = 0, .max = 1, AT(min_p)},
    {.name = "typical_p", .type = FIELD_NUMBER, .min = 0, .max = 1, AT(typical_p)},
    {.name = "repeat_penalty", .type = FIELD_NUMBER, .min = 0.01, .max = 100, AT(repeat_penalty)},
    {.name = "presence_penalty", .type = FIELD_NUMBER, .min = -2, .max = 2, AT(presence_penalty)},
    {.name = "frequency_penalty", .type = FIELD_NUMBER, .min = -2, .max = 2, AT(frequency_penalty)},
    {.name = "seed",
     .type = FIELD_INT,
     .min = -9007199254740991.0,
     .max = 9007199254740991.0,
     AT(seed),
     HAS(has_seed)},
    {.name = "logprobs",
     .type = FIELD_INT,
     .min = 0,
     .max = RZ_LOGPROBS_MAX,
     AT(logprobs),
     HAS(has_logprobs),
     .only = RZ_HTTP_COMPLETION},
    {.name = "stop", .type = FIELD_CALL, .read = read_stop},
    {.name = "logit_bias", .type = FIELD_CALL, .read = read_bias},
    {.name = "ignore_eos", .type = FIELD_BOOL, AT(ignore_eos)},
    {.name = "user", .type = FIELD_SKIP},
    {.name = "n", .type = FIELD_ONE},
    {.name = "best_of", .type = FIELD_ONE, .only = RZ_HTTP_COMPLETION},
    {.name = "echo", .type = FIELD_FALSE, .only = RZ_HTTP_COMPLETION},
    {.name = "suffix", .type = FIELD_NONE, .only = RZ_HTTP_COMPLETION},
    {.name = "grammar", .type = FIELD_NONE},
    {.name = "json_schema", .type = FIELD_NONE},
    {.name = "response_format", .type = FIELD_CALL, .read = read_format},
    {.name = NULL},
};

static int32_t refuse(struct rz_err *err, const char *name, const char *what)
{
    return rz_fail(err, RZ_EINVAL, name, "%s", what);
}

static int32_t read_prompt(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const json_t *inner = json_array_get(value, 0);
    ask->prompt = (json_t *)value;
    if (json_is_string(value) || json_is_integer(inner))
        return RZ_OK;
    if (json_is_string(inner) || json_is_array(inner)) {
        ask->prompt = (json_t *)inner;
        if (json_array_size(value) == 1)
            return RZ_OK;
        return refuse(err, "prompt", "several prompts in one request are not available: send one");
    }
    return refuse(err, "prompt", "not a text, a list with one text, or a list of token ids");
}

static int32_t add_stop(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    size_t n = json_string_length(value);
    if (!json_is_string(value) || !n)
        return refuse(err, "stop", "not a text that has at least one character");
    if (n > RZ_HTTP_STOP_BYTES_MAX)
        return rz_fail(err, RZ_EINVAL, "stop", "%zu bytes; at most %d", n, RZ_HTTP_STOP_BYTES_MAX);
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
        if (!digits || digits > 9 || key[digits])
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
        if (strcmp(key, "include_usage") || !(json_is_boolean(v) || json_is_null(v)))
            return refuse(err, "stream_options", "holds more than include_usage, true or false");
        ask->include_usage = json_is_true(v);
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

static int32_t read_choice(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *choice = json_string_value(value);
    if (!choice)
        return refuse(err, "tool_choice",
                      "only \"auto\" and \"none\" are available: no function can be forced");
    ask->no_tools = !strcmp(choice, "none");
    if (ask->no_tools || !strcmp(choice, "auto"))
        return RZ_OK;
    return refuse(err, "tool_choice",
                  !strcmp(choice, "required") ? "\"required\" is not available in this build: use \"auto\""
                                              : "not \"auto\", \"none\" or \"required\"");
}

static int32_t read_format(struct rz_http_ask *ask, const json_t *value, struct rz_err *err)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    (void)ask;
    if (type && !strcmp(type, "text"))
        return RZ_OK;
    return refuse(err, "response_format", "only {\"type\": \"text\"} is available in this build");
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

static int32_t read_number(const struct field *f, void *at, const json_t *value, struct rz_err *err)
{
    double v = json_number_value(value);
    bool whole = f->type == FIELD_INT;
    if (whole ? !json_is_integer(value) : !json_is_number(value))
        return refuse(err, f->name, whole ? "not an integer" : "not a number");
    if (!(v >= f->min && v <= f->max))
        return rz_fail(err, RZ_EINVAL, f->name, "%.12g is not from %.12g to %.12g", v, f->min, f->max);
    if (whole)
        *(int64_t *)at = json_integer_value(value);
    else
        *(double *)at = v;
    return RZ_OK;
}

static int32_t read_field(struct rz_http_ask *ask, const struct field *f, const json_t *value,
                          struct rz_err *err)
{
    void *at = (char *)ask + f->at;
    switch (f->type) {
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return refuse(err, f->name, "not true or false");
        *(bool *)at = json_is_true(value);
        return RZ_OK;
    case FIELD_INT:
    case FIELD_NUMBER:
        if (f->has)
            *(bool *)((char *)ask + f->has) = true;
        return read_number(f, at, value, err);
    case FIELD_TEXT:
        if (!json_is_string(value))
            return refuse(err, f->name, "not a text");
        *(const char **)at = json_string_value(value);
        return RZ_OK;
    case FIELD_CALL:
        return f->read(ask, value, err);
    case FIELD_ONE:
        return json_integer_value(value) == 1 ? RZ_OK : refuse(err, f->name, "only 1 is available");
    case FIELD_FALSE:
        return json_is_false(value) ? RZ_OK : refuse(err, f->name, "only false is available");
    case FIELD_TRUE:
        return json_is_true(value) ? RZ_OK : refuse(err, f->name, "only true is available");
    case FIELD_SKIP:
        return RZ_OK;
    default:
        return refuse(err, f->name, "not available in this build");
    }
}

/* Names come from outside and go into a header: only harmless characters survive. */
static void note_ignored(struct rz_http_ask *ask, const char *name)
{
    char shown[48];
    size_t n = 0;
    for (; name[n] && n < sizeof(shown) - 1; n++) {
        char c = name[n];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        shown[n] = plain || c == '_' || c == '-' || c == '.' ? c : '?';
    }
    shown[n] = 0;
    if (ask->ignored.len + n + 2 <= IGNORED_MAX)
        rz_buf_printf(&ask->ignored, "%s%s", ask->ignored.len ? ", " : "", shown);
}

/* What several fields say together. */
static int32_t check_fields(struct rz_http_ask *ask, uint32_t kind, struct rz_err *err)
{
    if (kind == RZ_HTTP_COMPLETION && !ask->prompt)
        return refuse(err, "prompt", "is missing");
    if (kind == RZ_HTTP_CHAT && !ask->messages)
        return refuse(err, "messages", "is missing");
    if (kind == RZ_HTTP_CHAT && ask->has_top && !ask->want_logprobs)
        return refuse(err, "top_logprobs", "is only allowed with logprobs = true");
    if (ask->has_completion) /* the newer name */
        ask->max_tokens = ask->completion_tokens;
    ask->has_logprobs |= ask->want_logprobs;
    if (ask->has_stream_options && !ask->stream)
        return refuse(err, "stream_options", "is only allowed with stream = true");
    return RZ_OK;
}

static int32_t read_fields(struct rz_http_ask *ask, uint32_t kind, bool strict, struct rz_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(ask->root, name, value)
    {
        const struct field *f = fields;
        int32_t code = RZ_OK;
        while (f->name && (strcmp(f->name, name) || (f->only && f->only != kind)))
            f++;
        if (!f->name && strict) {
            char shown[64];
            return rz_fail(err, RZ_EINVAL, rz_show(shown, sizeof(shown), name, strlen(name)),
                           "no such field");
        }
        if (!f->name)
            note_ignored(ask, name);
        else if (!json_is_null(value))
            code = read_field(ask, f, value, err);
        if (code)
            return code;
    }
    return check_fields(ask, kind, err);
}

/* True if brackets nest deeper than RZ_HTTP_DEPTH_MAX; strings are skipped. */
static bool too_deep(const char *s, size_t n)
{
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"') {
            for (i++; i < n && s[i] != '"'; i++)
                i += s[i] == '\\';
        } else if (s[i] == '[' || s[i] == '{') {
            if (++depth > RZ_HTTP_DEPTH_MAX)
                return true;
        } else if (s[i] == ']' || s[i] == '}') {
            depth--;
        }
    }
    return false;
}

int32_t rz_http_ask_read(struct rz_http_ask *ask, const char *body, size_t n, uint32_t kind, bool strict,
                         struct rz_err *err)
{
    json_error_t why;
    rz_buf_init(&ask->ignored, IGNORED_MAX);
    if (too_deep(body, n))
        return rz_fail(err, RZ_EFORMAT, "", "the JSON nests deeper than %d", RZ_HTTP_DEPTH_MAX);
    ask->root = json_loadb(body, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!ask->root)
        return rz_fail(err, RZ_EFORMAT, "", "not JSON: line %d, column %d: %s", why.line, why.column,
                       why.text);
    if (!json_is_object(ask->root))
        return rz_fail(err, RZ_EFORMAT, "", "the body is not a JSON object");
    return read_fields(ask, kind, strict, err);
}

void rz_http_ask_free(struct rz_http_ask *ask)
{
    json_decref(ask->root);
    free(ask->biases);
    rz_buf_free(&ask->ignored);
    *ask = (struct rz_http_ask){0};
}

/* ask.c - reads the body of a request by the table of fields.c.
 *
 * Each known field is honoured or refused by its name; null counts as absent. The JSON is bounded in
 * depth before it is parsed, so that a hostile body cannot use the parser's stack.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"

#define IGNORED_MAX 512

static int32_t refuse(struct rz_err *err, const char *name, const char *what)
{
    return rz_fail(err, RZ_EINVAL, name, "%s", what);
}

bool rz_http_whole_number(const json_t *v, json_int_t *out)
{
    double real = json_number_value(v);
    if (json_is_integer(v))
        *out = json_integer_value(v);
    else if (json_is_real(v) && real >= -9e18 && real <= 9e18 && floor(real) >= real)
        *out = (json_int_t)real; /* 1.0 and 1e3 are integers as well */
    else
        return false;
    return true;
}

static int32_t read_number(const struct rz_http_field *f, void *at, const json_t *value, struct rz_err *err)
{
    double v = json_number_value(value);
    json_int_t n = 0;
    bool whole = f->type == FIELD_INT, huge = json_is_real(value) && fabs(v) > 9e18;
    if (!json_is_number(value) || (whole && !huge && !rz_http_whole_number(value, &n)))
        return refuse(err, f->name, whole ? "not an integer" : "not a number");
    if (!(v >= f->min && v <= f->max))
        return rz_fail(err, RZ_EINVAL, f->name, "%.12g is not from %.12g to %.12g", v, f->min, f->max);
    if (whole)
        *(int64_t *)at = n;
    else
        *(double *)at = v;
    return RZ_OK;
}

static int32_t read_field(struct rz_http_ask *ask, const struct rz_http_field *f, const json_t *value,
                          struct rz_err *err)
{
    void *at = (char *)ask + f->at;
    int32_t code = RZ_OK;
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
        if (f->at)
            *(const char **)at = json_string_value(value);
        return RZ_OK;
    case FIELD_CALL:
        ask->field = f->name;
        code = f->read(ask, value, err);
        if (code && !err->where[0])
            snprintf(err->where, sizeof(err->where), "%s", f->name);
        return code;
    case FIELD_FALSE:
        return json_is_false(value) ? RZ_OK : refuse(err, f->name, "only false is available");
    default:
        return refuse(err, f->name, f->why ? f->why : "not available in this build");
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

/* The original system's strategies: each uses its own of top_k and top_p. */
static int32_t choose_strategy(struct rz_http_ask *ask, struct rz_err *err)
{
    const char *s = ask->strategy ? ask->strategy : "greedy";
    if (!strcmp(s, "greedy"))
        ask->temperature = 0;
    else if (!strcmp(s, "top_k"))
        ask->top_p = 1;
    else if (!strcmp(s, "top_p"))
        ask->top_k = 0;
    else
        return refuse(err, "strategy", "not \"greedy\", \"top_k\" or \"top_p\"");
    return RZ_OK;
}

/* What several fields say together. */
static int32_t check_fields(struct rz_http_ask *ask, uint32_t kind, struct rz_err *err)
{
    for (const struct rz_http_field *f = rz_http_fields; f->name; f++) {
        const json_t *given = json_object_get(ask->root, f->name);
        if (f->must & kind && (!given || json_is_null(given)))
            return refuse(err, f->name, "is missing");
    }
    if (kind == RZ_HTTP_CHAT && ask->has_top && !ask->want_logprobs)
        return refuse(err, "top_logprobs", "is only allowed with logprobs = true");
    if (ask->best_of && ask->best_of < ask->n)
        return rz_fail(err, RZ_EINVAL, "best_of", "%d is less than n", (int)ask->best_of);
    if (ask->best_of > 1 && ask->stream)
        return refuse(err, "best_of", "is only allowed without a stream");
    if (ask->has_completion) /* the newer name */
        ask->max_tokens = ask->completion_tokens;
    ask->has_logprobs |= ask->want_logprobs;
    if (ask->has_stream_options && !ask->stream)
        return refuse(err, "stream_options", "is only allowed with stream = true");
    if (kind & (RZ_HTTP_GENERATE | RZ_HTTP_GENERATE_ALL))
        return choose_strategy(ask, err);
    return rz_http_format_tools(ask, err);
}

const struct rz_http_field *rz_http_field_find(const char *name, uint32_t kind)
{
    const struct rz_http_field *f = rz_http_fields;
    while (f->name && (strcmp(f->name, name) || !(f->of & kind)))
        f++;
    return f->name ? f : NULL;
}

static int32_t read_fields(struct rz_http_ask *ask, uint32_t kind, bool strict, struct rz_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(ask->root, name, value)
    {
        const struct rz_http_field *f = rz_http_field_find(name, kind);
        int32_t code = RZ_OK;
        if (!f && strict) {
            char shown[64];
            return rz_fail(err, RZ_EINVAL, rz_show(shown, sizeof(shown), name, strlen(name)),
                           "no such field");
        }
        if (!f)
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
    size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    ask->root = json_loadb(body, n, flags, &why);
    if (!ask->root && json_error_code(&why) == json_error_numeric_overflow) /* legal, and of no field */
        ask->root = json_loadb(body, n, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (!ask->root)
        return rz_fail(err, RZ_EFORMAT, "", "not JSON: line %d, column %d: %s", why.line, why.column,
                       why.text);
    if (!json_is_object(ask->root))
        return rz_fail(err, RZ_EFORMAT, "", "the body is not a JSON object");
    return read_fields(ask, kind, strict, err);
}

json_t *rz_http_ask_keep(struct rz_http_ask *ask, json_t *value)
{
    ask->made = ask->made ? ask->made : json_array();
    return json_array_append_new(ask->made, value) ? NULL : value;
}

void rz_http_ask_free(struct rz_http_ask *ask)
{
    json_decref(ask->root);
    json_decref(ask->made);
    free(ask->biases);
    free(ask->format.made);
    rz_buf_free(&ask->ignored);
    *ask = (struct rz_http_ask){0};
}

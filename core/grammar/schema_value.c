/* schema_value.c - values of JSON that no keyword shapes, and those that enum and const name.
 *
 * Strings use any escape that means a character (no halves of pairs); numbers have at most 18 digits before
 * the point, 17 behind it, and two in the exponent, so that none goes on for ever.
 */
#include "schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t hex(struct rz_nfa *g, const char *ranges, uint32_t next)
{
    struct rz_byteset set = {0};
    for (; *ranges; ranges += 2)
        for (int c = ranges[0]; c <= ranges[1]; c++)
            rz_byteset_add(&set, (uint8_t)c);
    return rz_nfa_set(g, &set, next);
}

/* One character of a string: plain or escaped in any way. */
static uint32_t any_char(struct rz_nfa *g, uint32_t next)
{
    static const struct rz_range plain[] = {{0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x10ffff}};
    static const char digit[] = "09afAF", letters[] = "\"\"\\\\//bbffnnrrtt";
    uint32_t two = hex(g, digit, hex(g, digit, next)), three = hex(g, digit, two);
    uint32_t low = rz_nfa_str(g, "\\u", hex(g, "ddDD", hex(g, "cfCF", two)));
    uint32_t unit = rz_nfa_or(g, hex(g, "09acefACEF", three), hex(g, "ddDD", hex(g, "07", two)));
    unit = rz_nfa_or(g, unit, hex(g, "ddDD", hex(g, "89abAB", hex(g, digit, hex(g, digit, low)))));
    uint32_t escape = rz_nfa_or(g, rz_nfa_byte(g, 'u', unit), hex(g, letters, next));
    return rz_nfa_or(g, rz_nfa_chars(g, plain, 3, RZ_TEXT_RAW, next), rz_nfa_byte(g, '\\', escape));
}

uint32_t rz_schema_rest(struct rz_schema *s, uint32_t min, uint32_t max, uint32_t next)
{
    struct rz_nfa *g = s->g;
    uint32_t quote = rz_nfa_byte(g, '"', next);
    if (max == RZ_NFA_FOREVER) {
        uint32_t loop = rz_nfa_loop(g);
        rz_nfa_loop_close(g, loop, any_char(g, loop), quote);
        quote = loop;
        max = min;
    }
    if (!max)
        return quote;
    return rz_nfa_repeat(g, any_char(g, RZ_NFA_END), min, max, quote);
}

uint32_t rz_schema_blank(struct rz_schema *s, uint32_t next)
{
    struct rz_nfa *g = s->g;
    struct rz_byteset blanks = {0};
    rz_byteset_add(&blanks, ' ');
    rz_byteset_add(&blanks, '\t');
    uint32_t indent = rz_nfa_repeat(g, rz_nfa_set(g, &blanks, RZ_NFA_END), 0, 32, next);
    return rz_nfa_or(g, rz_nfa_or(g, next, rz_nfa_byte(g, ' ', next)), rz_nfa_byte(g, '\n', indent));
}

static uint32_t any_value(struct rz_schema *s)
{
    static const char *const words[] = {"null", "true", "false"};
    json_t *empty = json_object();
    uint32_t out = rz_schema_common(s, RZ_S_OBJECT, RZ_NFA_END);
    out = rz_nfa_or(s->g, out, rz_schema_array(s, empty, RZ_NFA_END));
    out = rz_nfa_or(s->g, out, rz_schema_common(s, RZ_S_STRING, RZ_NFA_END));
    out = rz_nfa_or(s->g, out, rz_schema_common(s, RZ_S_NUMBER, RZ_NFA_END));
    for (int i = 0; i < 3; i++)
        out = rz_nfa_or(s->g, out, rz_nfa_str(s->g, words[i], RZ_NFA_END));
    json_decref(empty);
    return out;
}

static uint32_t build_common(struct rz_schema *s, int which)
{
    json_t *empty = json_object();
    uint32_t out = RZ_NFA_FAIL;
    if (which == RZ_S_ANY)
        out = any_value(s);
    else if (which == RZ_S_STRING)
        out = rz_nfa_byte(s->g, '"', rz_schema_rest(s, 0, RZ_NFA_FOREVER, RZ_NFA_END));
    else if (which == RZ_S_OBJECT)
        out = rz_schema_object(s, empty, RZ_NFA_END);
    else if (which == RZ_S_BLANK)
        out = rz_schema_blank(s, RZ_NFA_END);
    else
        out = rz_schema_number(s, empty, which == RZ_S_INTEGER, RZ_NFA_END);
    json_decref(empty);
    return out;
}

uint32_t rz_schema_common(struct rz_schema *s, int which, uint32_t next)
{
    static const char *const names[] = {"%any", "%string", "%number", "%integer", "%object", "%blank"};
    if (!s->common[which]) {
        uint32_t rule = rz_nfa_rule(s->g, names[which], strlen(names[which]));
        s->common[which] = rule + 1; /* before it is built: values hold values */
        uint32_t start = build_common(s, which);
        if (!s->g->rc)
            s->g->rules[rule].start = start;
    }
    return s->g->rc ? RZ_NFA_FAIL : rz_nfa_call(s->g, s->common[which] - 1, next);
}

/* --- words --- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The words, sorted and different, from byte `at` on. A run that all share is written at once. */
static uint32_t branch(struct rz_schema *s, const char **words, size_t n, size_t at, uint32_t next)
{
    size_t same = at;
    while (words[0][same] && words[0][same] == words[n - 1][same])
        same++;
    uint32_t out = words[0][same] ? RZ_NFA_FAIL : next;
    for (size_t i = words[0][same] ? 0 : 1, end; i < n; i = end) {
        for (end = i + 1; end < n && words[end][same] == words[i][same]; end++)
            ;
        uint32_t rest = branch(s, words + i, end - i, same + 1, next);
        out = rz_nfa_or(s->g, rz_nfa_byte(s->g, (uint8_t)words[i][same], rest), out);
    }
    return rz_nfa_text(s->g, words[0] + at, same - at, out);
}

uint32_t rz_schema_words(struct rz_schema *s, const char **words, size_t n, uint32_t next)
{
    size_t kept = 1;
    if (!n || s->g->rc)
        return RZ_NFA_FAIL;
    qsort(words, n, sizeof(*words), by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(words[i], words[kept - 1]))
            words[kept++] = words[i];
    for (size_t i = 0; i < kept; i++)
        if (strlen(words[i]) > 65536)
            return rz_schema_bad(s, RZ_ELIMIT, NULL, "a value of %zu bytes: at most 65536", strlen(words[i]));
    return branch(s, words, kept, 0, next);
}

/* --- enum and const --- */

static bool count_fits(const json_t *schema, const char *low, const char *high, size_t n)
{
    const json_t *min = json_object_get(schema, low), *max = json_object_get(schema, high);
    return (!min || (double)n >= json_number_value(min)) && (!max || (double)n <= json_number_value(max));
}

static bool number_fits(const json_t *schema, double x)
{
    const json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum"),
                 *above = json_object_get(schema, "exclusiveMinimum"),
                 *below = json_object_get(schema, "exclusiveMaximum");
    return (!min || x >= json_number_value(min)) && (!max || x <= json_number_value(max)) &&
           (!above || x > json_number_value(above)) && (!below || x < json_number_value(below));
}

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((uint8_t)*text & 0xc0) != 0x80;
    return n;
}

static bool any_of(const json_t *schema, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (json_object_get(schema, names[i]))
            return true;
    return false;
}

int rz_schema_allows(const json_t *schema, const json_t *value)
{
    static const char *const
        object[] = {"properties",    "required",      "additionalProperties", "patternProperties",
                    "propertyNames", "minProperties", "maxProperties"},
        *const array[] = {"items", "prefixItems", "uniqueItems"}, *const string[] = {"pattern", "format"};
    json_t *type = json_object_get(schema, "type");
    if (type) {
        json_t *only = json_pack("{sOsO}", "type", type, "const", value);
        uint32_t types = rz_schema_types(only);
        json_t *named = json_pack("{sO}", "type", type);
        bool whole = rz_schema_types(named) & RZ_T_INTEGER;
        json_decref(only);
        json_decref(named);
        if (!types ||
            (json_is_number(value) && whole && json_number_value(value) != floor(json_number_value(value))))
            return 0;
    }
    if (json_is_object(value))
        return any_of(schema, object, 7) ? -1 : 1;
    if (json_is_array(value))
        return any_of(schema, array, 3) ? -1
                                        : count_fits(schema, "minItems", "maxItems", json_array_size(value));
    if (json_is_string(value))
        return any_of(schema, string, 2)
                   ? -1
                   : count_fits(schema, "minLength", "maxLength", characters(json_string_value(value)));
    if (json_is_number(value) && json_object_get(schema, "multipleOf"))
        return -1;
    return !json_is_number(value) || number_fits(schema, json_number_value(value));
}

/* The shortest text of a value that reads back as the same; 2.0 is 2. */
static char *text_of(const json_t *value)
{
    double x = json_is_real(value) ? json_real_value(value) : 0.5;
    if (x == floor(x) && fabs(x) <= 9007199254740992.0) {
        json_t *whole = json_integer((json_int_t)x);
        char *text = whole ? json_dumps(whole, JSON_ENCODE_ANY) : NULL;
        json_decref(whole);
        return text;
    }
    for (size_t precision = 15; precision < 17 && json_is_real(value); precision++) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(precision));
        if (!text || strtod(text, NULL) == json_real_value(value))
            return text;
        free(text);
    }
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

/* Exactly this value, with blanks where JSON has them. */
static uint32_t value_node(struct rz_schema *s, const json_t *value, uint32_t depth, uint32_t next)
{
    struct rz_nfa *g = s->g;
    bool object = json_is_object(value), list = json_is_array(value);
    const char *open = object ? "{" : "[", *close = object ? "}" : "]";
    if (depth > RZ_SCHEMA_DEPTH_MAX)
        return rz_schema_bad(s, RZ_ELIMIT, NULL, "a value of more than %d levels", RZ_SCHEMA_DEPTH_MAX);
    if (!object && !list) {
        char *text = text_of(value);
        uint32_t out = text ? rz_nfa_str(g, text, next)
                            : rz_schema_bad(s, RZ_EFORMAT, NULL, "a value that cannot be written");
        free(text);
        return out;
    }
    size_t n = object ? json_object_size(value) : json_array_size(value), i = 0;
    void **parts = calloc(2 * n + 2, sizeof(*parts)); /* names and values in order */
    uint32_t out = rz_schema_common(s, RZ_S_BLANK, rz_nfa_str(g, close, next));
    for (void *at = object && parts ? json_object_iter((json_t *)value) : NULL; at; i++) {
        parts[2 * i] = json_string(json_object_iter_key(at));
        parts[2 * i + 1] = json_object_iter_value(at);
        at = json_object_iter_next((json_t *)value, at);
    }
    for (i = n; i-- && parts && !g->rc;) {
        out = value_node(s, object ? parts[2 * i + 1] : json_array_get(value, i), depth + 1, out);
        if (object)
            out = value_node(s, parts[2 * i], depth + 1,
                             rz_nfa_byte(g, ':', rz_schema_common(s, RZ_S_BLANK, out)));
        if (i)
            out = rz_nfa_byte(g, ',', rz_schema_common(s, RZ_S_BLANK, out));
    }
    for (i = 0; i < n && parts && object; i++)
        json_decref(parts[2 * i]);
    free(parts);
    return rz_nfa_str(g, open, rz_schema_common(s, RZ_S_BLANK, out));
}

uint32_t rz_schema_enum(struct rz_schema *s, const json_t *schema, uint32_t next)
{
    json_t *list = json_object_get(schema, "enum"), *single = json_object_get(schema, "const"), *value;
    size_t n = list ? json_array_size(list) : 1, kept = 0;
    uint32_t out = RZ_NFA_FAIL;
    const char **words = calloc(n + 1, sizeof(char *));
    if (!words)
        return rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
    for (size_t i = 0; i < n && !s->g->rc; i++) {
        value = list ? json_array_get(list, i) : single;
        int fits = rz_schema_allows(schema, value);
        if (list && single)
            fits = fits && rz_schema_equal(value, single) ? fits : 0;
        if (fits < 0)
            rz_schema_bad(s, RZ_EUNSUPPORTED, list ? "enum" : "const",
                          "beside type and bounds no keyword may restrict the values that it names");
        if (fits > 0 && (json_is_object(value) || json_is_array(value)))
            out = rz_nfa_or(s->g, out, value_node(s, value, 0, next));
        else if (fits > 0 && !(words[kept++] = text_of(value)))
            rz_schema_bad(s, RZ_EFORMAT, list ? "enum" : "const", "value %zu cannot be written", i);
    }
    if (!s->g->rc)
        out = rz_nfa_or(s->g, out, rz_schema_words(s, words, kept, next));
    for (size_t i = 0; i < kept; i++)
        free((char *)words[i]);
    free(words);
    return out;
}

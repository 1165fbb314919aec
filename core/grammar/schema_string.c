/* schema_string.c - strings: lengths, pattern, format.
 *
 * Lengths count characters. A pattern or format beside lengths is accepted only if all that it matches has
 * such a length; a pattern that is a single repetition of characters takes the lengths as its own.
 */
#include "schema.h"

#include <stdio.h>
#include <string.h>

#define DAY_OF_MONTH \
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|" \
    "02-(?:0[1-9]|1[0-9]|2[0-8]))"
/* Years that have a 29th of February, from 0004 on. */
#define LEAP_YEAR "(?:[0-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define YEAR "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9][0-9][0-9])"
#define DATE "(?:" YEAR "-" DAY_OF_MONTH "|" LEAP_YEAR "-02-29)"
#define CLOCK "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME CLOCK ":[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-]" CLOCK ")"
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define IPV4 OCTET "(?:\\." OCTET "){3}"
#define GROUP "[0-9a-fA-F]{1,4}"
#define LABEL "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,28}[a-zA-Z0-9])?"
#define HOST LABEL "(?:\\." LABEL "){0,6}"
#define URL_CHAR "[A-Za-z0-9._~!$&'()*+,;=:@/?-]"
#define HEX8 "[0-9a-fA-F]{8}"
#define HEX4 "[0-9a-fA-F]{4}"

static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date-time", DATE "T" TIME},
    {"date", DATE},
    {"time", TIME},
    {"duration", "P(?:[0-9]{1,6}W|(?:[0-9]{1,6}Y(?:[0-9]{1,6}M(?:[0-9]{1,6}D)?)?|[0-9]{1,6}M(?:[0-9]{1,6}D)?|"
                 "[0-9]{1,6}D)(?:T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|"
                 "[0-9]{1,6}S))?|T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|"
                 "[0-9]{1,6}S))"},
    {"uuid", HEX8 "-" HEX4 "-" HEX4 "-" HEX4 "-" HEX8 HEX4},
    {"ipv4", IPV4},
    {"ipv6",
     "(?:" GROUP ":){7}" GROUP "|(?:" GROUP ":){1,6}:" GROUP "|(?:" GROUP ":){1,5}(?::" GROUP "){2}|(?:" GROUP
     ":){1,4}(?::" GROUP "){3}|(?:" GROUP ":){1,3}(?::" GROUP "){4}|(?:" GROUP ":){1,2}(?::" GROUP
     "){5}|" GROUP ":(?::" GROUP "){6}|:(?::" GROUP "){1,7}|(?:" GROUP ":){1,7}:|::"},
    {"hostname", HOST},
    {"email", "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,15}){0,2}@" HOST},
    {"uri",
     "[a-z][a-z0-9+-]{1,10}://" HOST "(?::[0-9]{1,5})?(?:/" URL_CHAR "{0,1000})?(?:#" URL_CHAR "{0,100})?"},
    {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
    {"regex", NULL},
};
/* What says something of numbers only, in other dialects, and nothing of strings. */
static const char *const silent[] = {"int32", "int64", "float", "double", "password", "byte", "binary"};

static uint32_t pattern_node(struct rz_schema *s, const char *keyword, const char *pattern, uint32_t flags,
                             const json_t *schema, uint32_t next)
{
    char where[240];
    uint32_t least, most, min = rz_schema_count(s, schema, "minLength", 0),
                          max = rz_schema_count(s, schema, "maxLength", RZ_NFA_FOREVER);
    snprintf(where, sizeof(where), "%s%.180s/%s", s->prefix, s->path, keyword);
    uint32_t out = rz_regex_node(s->g, pattern, strlen(pattern), flags, RZ_TEXT_JSON, where,
                                 rz_nfa_byte(s->g, '"', next), &least, &most);
    if (!s->g->rc && (least < min || most > max))
        return rz_schema_bad(
            s, RZ_EUNSUPPORTED, least < min ? "minLength" : "maxLength",
            "beside %s, which matches texts of other lengths: put the length into the pattern, as "
            "{%u,%u}",
            keyword, min, max == RZ_NFA_FOREVER ? least : max);
    return rz_nfa_byte(s->g, '"', out);
}

/* ^[class]*$ and ^[class]+$ with lengths: the class as often as they say; false: it is no such pattern. */
static bool class_pattern(struct rz_schema *s, const char *pattern, const json_t *schema, char *out,
                          size_t cap)
{
    uint32_t min = rz_schema_count(s, schema, "minLength", 0),
             max = rz_schema_count(s, schema, "maxLength", RZ_NFA_FOREVER);
    size_t n = strlen(pattern), end = 2;
    if (n < 6 || n + 40 > cap || memcmp(pattern, "^[", 2) || pattern[n - 1] != '$')
        return false;
    while (end < n && pattern[end] != ']')
        end += pattern[end] == '\\' ? 2 : 1;
    if (end + 3 != n || (pattern[end + 1] != '*' && pattern[end + 1] != '+'))
        return false;
    if (pattern[end + 1] == '+' && !min)
        min = 1;
    if (max == RZ_NFA_FOREVER)
        snprintf(out, cap, "%.*s{%u,}$", (int)end + 1, pattern, min);
    else if (min <= max)
        snprintf(out, cap, "%.*s{%u,%u}$", (int)end + 1, pattern, min, max);
    else
        return false;
    return true;
}

static uint32_t format_node(struct rz_schema *s, const json_t *schema, uint32_t next)
{
    const char *name = json_string_value(json_object_get(schema, "format"));
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (!strcmp(formats[i].name, name) && formats[i].pattern)
            return pattern_node(s, "format", formats[i].pattern, 0, schema, next);
    return rz_schema_bad(s, RZ_EUNSUPPORTED, "format", "this one is not supported");
}

static bool is_silent(const json_t *format)
{
    for (size_t i = 0; format && i < sizeof(silent) / sizeof(silent[0]); i++)
        if (!strcmp(json_string_value(format), silent[i]))
            return true;
    return !format;
}

uint32_t rz_schema_string(struct rz_schema *s, const json_t *schema, uint32_t next)
{
    const char *pattern = json_string_value(json_object_get(schema, "pattern"));
    uint32_t min = rz_schema_count(s, schema, "minLength", 0),
             max = rz_schema_count(s, schema, "maxLength", RZ_NFA_FOREVER);
    bool formatted = !is_silent(json_object_get(schema, "format"));
    char own[1024];
    if (pattern && formatted)
        return rz_schema_bad(s, RZ_EUNSUPPORTED, "format", "beside pattern it is not supported");
    if (formatted)
        return format_node(s, schema, next);
    if (pattern && (min || max != RZ_NFA_FOREVER) && class_pattern(s, pattern, schema, own, sizeof(own)))
        return pattern_node(s, "pattern", own, RZ_REGEX_SEARCH, schema, next);
    if (pattern)
        return pattern_node(s, "pattern", pattern, RZ_REGEX_SEARCH, schema, next);
    if (!min && max == RZ_NFA_FOREVER)
        return rz_schema_common(s, RZ_S_STRING, next);
    return rz_nfa_byte(s->g, '"', rz_schema_rest(s, min, max, next));
}

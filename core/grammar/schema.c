/* schema.c - JSON Schema (draft 2020-12) to rules: keywords, references, combinations, types.
 *
 * Each schema object is one rule, found again by its address, so that schemas may recurse. Properties come in
 * the order in which they are declared.
 */
#include "schema.h"

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- errors and places --- */

uint32_t rz_schema_bad(struct rz_schema *s, int32_t code, const char *keyword, const char *format, ...)
{
    char where[240], text[400];
    va_list args;
    if (s->g->rc)
        return RZ_NFA_FAIL;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char shown[40];
    snprintf(where, sizeof(where), "%s%.180s%s%s", s->prefix, s->path, keyword ? "/" : "",
             keyword ? rz_show(shown, sizeof(shown), keyword, strlen(keyword)) : "");
    return rz_nfa_bad(s->g, code, where, "%s", text);
}

static void append(struct rz_schema *s, char c)
{
    if (s->n_path + 1 < sizeof(s->path))
        s->path[s->n_path++] = c;
    s->path[s->n_path] = 0;
}

/* A part of a pointer, with its escapes; what cannot be printed becomes a question mark. */
static void append_part(struct rz_schema *s, const char *part)
{
    append(s, '/');
    for (; *part; part++) {
        if (*part == '~' || *part == '/') {
            append(s, '~');
            append(s, *part == '~' ? '0' : '1');
        } else {
            append(s, (unsigned char)*part >= 0x20 && (unsigned char)*part < 0x7f ? *part : '?');
        }
    }
}

size_t rz_schema_enter(struct rz_schema *s, const char *keyword, const char *name)
{
    size_t was = s->n_path;
    if (keyword)
        append_part(s, keyword);
    if (name)
        append_part(s, name);
    return was;
}

void rz_schema_leave(struct rz_schema *s, size_t was)
{
    s->n_path = was;
    s->path[was] = 0;
}

/* --- keywords --- */

/* What a keyword does here; a letter is the type that its value must have: o object, a array, s string,
 * n number, i whole number that is not negative, b boolean, S schema, x anything. */
static const struct {
    const char *name;
    char type;
    bool says; /* it restricts values */
} keywords[] = {
    {"$schema", 's', false},
    {"$id", 's', false},
    {"$comment", 's', false},
    {"$anchor", 's', false},
    {"$defs", 'o', false},
    {"definitions", 'o', false},
    {"title", 'x', false},
    {"description", 'x', false},
    {"default", 'x', false},
    {"examples", 'x', false},
    {"example", 'x', false},
    {"deprecated", 'x', false},
    {"readOnly", 'x', false},
    {"writeOnly", 'x', false},
    {"discriminator", 'x', false},
    {"externalDocs", 'x', false},
    {"contentEncoding", 'x', false},
    {"contentMediaType", 'x', false},
    {"contentSchema", 'x', false},
    {"$vocabulary", 'o', false},
    {"$ref", 's', true},
    {"type", 'x', true},
    {"enum", 'a', true},
    {"const", 'x', true},
    {"anyOf", 'a', true},
    {"oneOf", 'a', true},
    {"allOf", 'a', true},
    {"properties", 'o', true},
    {"required", 'a', true},
    {"additionalProperties", 'S', true},
    {"patternProperties", 'o', true},
    {"propertyNames", 'S', true},
    {"minProperties", 'i', true},
    {"maxProperties", 'i', true},
    {"items", 'S', true},
    {"prefixItems", 'a', true},
    {"minItems", 'i', true},
    {"maxItems", 'i', true},
    {"uniqueItems", 'b', true},
    {"minLength", 'i', true},
    {"maxLength", 'i', true},
    {"pattern", 's', true},
    {"format", 's', true},
    {"minimum", 'n', true},
    {"maximum", 'n', true},
    {"exclusiveMinimum", 'n', true},
    {"exclusiveMaximum", 'n', true},
    {"multipleOf", 'n', true},
};

static bool has_type(const json_t *value, char type)
{
    switch (type) {
    case 's':
        return json_is_string(value);
    case 'o':
        return json_is_object(value);
    case 'a':
        return json_is_array(value);
    case 'n':
        return json_is_number(value);
    case 'i':
        return (json_is_integer(value) && json_integer_value(value) >= 0) ||
               (json_is_real(value) && json_real_value(value) >= 0 && json_real_value(value) < 1e15 &&
                json_real_value(value) == (double)(int64_t)json_real_value(value));
    case 'b':
        return json_is_boolean(value);
    case 'S':
        return json_is_object(value) || json_is_boolean(value);
    default:
        return true;
    }
}

/* Refuses what is not known; *says: some keyword restricts values. */
static bool check_keywords(struct rz_schema *s, const json_t *schema, bool *says)
{
    const char *key;
    json_t *value;
    *says = false;
    json_object_foreach((json_t *)schema, key, value)
    {
        size_t i = 0, n = sizeof(keywords) / sizeof(keywords[0]);
        while (i < n && strcmp(keywords[i].name, key))
            i++;
        if (i == n && !strncmp(key, "x-", 2))
            continue;
        if (i == n)
            rz_schema_bad(s, RZ_EUNSUPPORTED, key, "this keyword is not supported");
        else if (!has_type(value, keywords[i].type))
            rz_schema_bad(s, RZ_EFORMAT, key, "its value is not of the right type");
        else
            *says |= keywords[i].says;
    }
    return !s->g->rc;
}

uint32_t rz_schema_count(struct rz_schema *s, const json_t *schema, const char *keyword, uint32_t otherwise)
{
    const json_t *value = json_object_get(schema, keyword);
    double count = value ? json_number_value(value) : 0;
    if (!value)
        return otherwise;
    if (count >= 1e9)
        rz_schema_bad(s, RZ_ELIMIT, keyword, "%.0f: at most 1000000000", count);
    return (uint32_t)count;
}

static const char *const type_names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

static uint32_t type_bit(const json_t *name)
{
    for (uint32_t i = 0; json_is_string(name) && i < sizeof(type_names) / sizeof(type_names[0]); i++)
        if (!strcmp(json_string_value(name), type_names[i]))
            return 1u << i;
    return 0;
}

static uint32_t value_type(const json_t *value)
{
    static const uint32_t bits[] = {
        [JSON_OBJECT] = RZ_T_OBJECT,  [JSON_ARRAY] = RZ_T_ARRAY, [JSON_STRING] = RZ_T_STRING,
        [JSON_INTEGER] = RZ_T_NUMBER, [JSON_REAL] = RZ_T_NUMBER, [JSON_TRUE] = RZ_T_BOOLEAN,
        [JSON_FALSE] = RZ_T_BOOLEAN,  [JSON_NULL] = RZ_T_NULL};
    return bits[json_typeof(value)];
}

uint32_t rz_schema_types(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type"), *list = json_object_get(schema, "enum"),
                 *single = json_object_get(schema, "const");
    uint32_t types = type ? 0 : RZ_T_ALL, named = 0;
    if (json_is_array(type))
        for (size_t i = 0; i < json_array_size(type); i++)
            types |= type_bit(json_array_get(type, i));
    else if (type)
        types = type_bit(type);
    if (types & RZ_T_NUMBER)
        types &= ~RZ_T_INTEGER;
    if (single)
        named = value_type(single);
    for (size_t i = 0; i < json_array_size(list); i++)
        named |= value_type(json_array_get(list, i));
    if ((single || list) && types & RZ_T_INTEGER)
        types |= RZ_T_NUMBER;
    return single || list ? types & named : types;
}

/* --- references --- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One part of a pointer, its ~0, ~1 and %XX undone; false: too long. */
static bool pointer_part(const char **p, char *out, size_t cap)
{
    size_t n = 0;
    for (; **p && **p != '/' && n + 1 < cap; (*p)++) {
        char c = **p;
        if (c == '%' && hex_digit((*p)[1]) >= 0 && hex_digit((*p)[2]) >= 0) {
            c = (char)(hex_digit((*p)[1]) << 4 | hex_digit((*p)[2]));
            *p += 2;
        }
        if (c == '~' && ((*p)[1] == '0' || (*p)[1] == '1')) {
            c = (*p)[1] == '0' ? '~' : '/';
            (*p)++;
        }
        out[n++] = c;
    }
    out[n] = 0;
    return !**p || **p == '/';
}

static bool is_one_of(const char *key, const char *const *names)
{
    while (*names && strcmp(*names, key))
        names++;
    return *names != NULL;
}

/* The schema with this $anchor, anywhere. named: `at` is no schema, its members are. */
static json_t *find_anchor(json_t *at, const char *name, bool named, int depth)
{
    static const char *const values[] = {"enum", "const", "default", "examples", "example", NULL},
                             *const maps[] = {"properties", "patternProperties", "$defs", "definitions",
                                              NULL};
    const char *key;
    json_t *value, *found = NULL;
    const char *own = named ? NULL : json_string_value(json_object_get(at, "$anchor"));
    if (own && !strcmp(own, name))
        return at;
    if (depth > RZ_SCHEMA_DEPTH_MAX)
        return NULL;
    json_object_foreach(at, key, value)
    {
        if (!found && (named || !is_one_of(key, values)))
            found = find_anchor(value, name, !named && is_one_of(key, maps), depth + 1);
    }
    for (size_t i = 0; i < json_array_size(at) && !found; i++)
        found = find_anchor(json_array_get(at, i), name, false, depth + 1);
    return found;
}

json_t *rz_schema_resolve(struct rz_schema *s, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *id;
    char part[256], shown[100];
    json_t *at = s->root;
    id = json_string_value(json_object_get(s->root, "$id"));
    const char *p = ref;
    if (id && *id && !strncmp(ref, id, strlen(id)) && (!ref[strlen(id)] || ref[strlen(id)] == '#'))
        p += strlen(id);
    if (*p && *p != '#') {
        rz_schema_bad(s, RZ_EUNSUPPORTED, "$ref",
                      "%s: only references inside of the schema (#/...) are followed",
                      rz_show(shown, sizeof(shown), ref, strlen(ref)));
        return NULL;
    }
    p += *p == '#';
    if (*p && *p != '/')
        at = find_anchor(s->root, p, false, 0);
    while (at && *p == '/') {
        p++;
        if (!pointer_part(&p, part, sizeof(part)))
            at = NULL;
        else if (json_is_array(at))
            at = *part >= '0' && *part <= '9' && strlen(part) < 9
                     ? json_array_get(at, strtoul(part, NULL, 10))
                     : NULL;
        else
            at = json_object_get(at, part);
    }
    if (!at || !has_type(at, 'S'))
        rz_schema_bad(s, RZ_EFORMAT, "$ref", "%s: there is no such schema",
                      rz_show(shown, sizeof(shown), ref, strlen(ref)));
    return s->g->rc ? NULL : at;
}

/* A copy without one keyword, owned by s. */
static json_t *without(struct rz_schema *s, const json_t *schema, const char *keyword)
{
    json_t *copy = json_copy((json_t *)schema);
    if (!copy || json_object_del(copy, keyword) || json_array_append_new(s->made, copy)) {
        rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
        return NULL;
    }
    return copy;
}

json_t *rz_schema_plain(struct rz_schema *s, json_t *schema)
{
    bool says;
    while (json_is_object(schema) && !s->g->rc) {
        const char *keyword = json_object_get(schema, "$ref") ? "$ref" : "allOf";
        json_t *all = json_object_get(schema, "allOf"), *rest;
        if (++s->n_merges > RZ_SCHEMA_MERGES_MAX)
            rz_schema_bad(s, RZ_ELIMIT, keyword, "more than %d schemas are combined", RZ_SCHEMA_MERGES_MAX);
        if (!check_keywords(s, schema, &says) || (*keyword == 'a' && !all))
            break;
        json_t *other = *keyword == '$' ? rz_schema_resolve(s, schema) : NULL;
        if (!(rest = without(s, schema, keyword)))
            return NULL;
        if (other)
            rest = check_keywords(s, rest, &says) && says ? rz_schema_merge(s, other, rest) : other;
        for (size_t i = 0; *keyword == 'a' && i < json_array_size(all) && rest; i++)
            rest = rz_schema_merge(s, rest, json_array_get(all, i));
        schema = rest;
    }
    return s->g->rc ? NULL : schema;
}

/* --- rules --- */

static struct rz_schema_rule *slot_of(const struct rz_schema *s, const json_t *schema)
{
    uint64_t h = (uintptr_t)schema * 0x9e3779b97f4a7c15u;
    uint32_t at = (uint32_t)(h >> 32) & (s->cap_rules - 1);
    while (s->rules[at].schema && s->rules[at].schema != schema)
        at = (at + 1) & (s->cap_rules - 1);
    return &s->rules[at];
}

static bool grow_rules(struct rz_schema *s)
{
    if (2 * (s->n_rules + 1) <= s->cap_rules)
        return true;
    struct rz_schema_rule *old = s->rules;
    uint32_t n = s->cap_rules;
    s->cap_rules = n ? 2 * n : 64;
    s->rules = calloc(s->cap_rules, sizeof(*s->rules));
    if (!s->rules) {
        s->rules = old;
        s->cap_rules = n;
        rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        if (old[i].schema)
            *slot_of(s, old[i].schema) = old[i];
    free(old);
    return true;
}

static uint32_t build(struct rz_schema *s, json_t *schema);

static uint32_t rule_of(struct rz_schema *s, json_t *schema)
{
    if (!grow_rules(s))
        return 0;
    struct rz_schema_rule *slot = slot_of(s, schema);
    if (slot->schema)
        return slot->rule;
    if (s->depth == RZ_SCHEMA_DEPTH_MAX) {
        rz_schema_bad(s, RZ_ELIMIT, NULL, "more than %d schemas inside of each other", RZ_SCHEMA_DEPTH_MAX);
        return 0;
    }
    char name[64];
    snprintf(name, sizeof(name), "%%schema %.50s", s->path);
    uint32_t rule = rz_nfa_rule(s->g, name, strlen(name));
    *slot = (struct rz_schema_rule){schema, rule};
    s->n_rules++;
    s->depth++;
    uint32_t start = build(s, schema);
    s->depth--;
    if (!s->g->rc)
        s->g->rules[rule].start = start;
    return rule;
}

uint32_t rz_schema_value(struct rz_schema *s, json_t *schema, const char *keyword, const char *name,
                         uint32_t next)
{
    if (s->g->rc || json_is_false(schema))
        return RZ_NFA_FAIL;
    if (!schema || json_is_true(schema))
        return rz_schema_common(s, RZ_S_ANY, next);
    size_t was = rz_schema_enter(s, keyword, name);
    if (!json_is_object(schema))
        rz_schema_bad(s, RZ_EFORMAT, NULL, "a schema is an object, true or false");
    uint32_t rule = s->g->rc ? 0 : rule_of(s, schema);
    rz_schema_leave(s, was);
    return s->g->rc ? RZ_NFA_FAIL : rz_nfa_call(s->g, rule, next);
}

/* --- one schema --- */

static bool check_apart(struct rz_schema *s, json_t *list)
{
    size_t n = json_array_size(list);
    if (n > RZ_SCHEMA_CASES_MAX)
        rz_schema_bad(s, RZ_ELIMIT, "oneOf", "%zu alternatives: at most %d", n, RZ_SCHEMA_CASES_MAX);
    for (size_t i = 0; i < n && !s->g->rc; i++)
        for (size_t k = i + 1; k < n && !s->g->rc; k++)
            if (!rz_schema_apart(s, json_array_get(list, i), json_array_get(list, k), 0) && !s->g->rc)
                rz_schema_bad(
                    s, RZ_EUNSUPPORTED, "oneOf",
                    "alternatives %zu and %zu are not sure to exclude each other (by type, by enum or "
                    "const, or by a required property): anyOf says what can be guaranteed",
                    i, k);
    return !s->g->rc;
}

/* anyOf or oneOf, each alternative together with what stands beside. */
static uint32_t build_cases(struct rz_schema *s, json_t *schema, const char *keyword)
{
    json_t *list = json_object_get(schema, keyword), *rest = without(s, schema, keyword);
    uint32_t out = RZ_NFA_FAIL;
    bool says;
    if (!rest || !check_keywords(s, rest, &says) || (keyword[0] == 'o' && !check_apart(s, list)))
        return RZ_NFA_FAIL;
    if (!json_array_size(list))
        return rz_schema_bad(s, RZ_EFORMAT, keyword, "it has no alternatives");
    for (size_t i = json_array_size(list); i-- && !s->g->rc;) {
        char name[24];
        json_t *one = json_array_get(list, i);
        snprintf(name, sizeof(name), "%zu", i);
        size_t was = rz_schema_enter(s, keyword, name);
        if (says)
            one = rz_schema_merge(s, rest, one);
        if (one)
            out = rz_nfa_or(s->g, rz_schema_value(s, one, NULL, NULL, RZ_NFA_END), out);
        rz_schema_leave(s, was);
    }
    return out;
}

static uint32_t build_types(struct rz_schema *s, const json_t *schema, uint32_t types)
{
    struct rz_nfa *g = s->g;
    uint32_t out = RZ_NFA_FAIL;
    if (types & RZ_T_NULL)
        out = rz_nfa_str(g, "null", RZ_NFA_END);
    if (types & RZ_T_BOOLEAN)
        out = rz_nfa_or(g, out,
                        rz_nfa_or(g, rz_nfa_str(g, "true", RZ_NFA_END), rz_nfa_str(g, "false", RZ_NFA_END)));
    if (types & (RZ_T_NUMBER | RZ_T_INTEGER))
        out = rz_nfa_or(g, out, rz_schema_number(s, schema, !(types & RZ_T_NUMBER), RZ_NFA_END));
    if (types & RZ_T_STRING)
        out = rz_nfa_or(g, out, rz_schema_string(s, schema, RZ_NFA_END));
    if (types & RZ_T_ARRAY)
        out = rz_nfa_or(g, out, rz_schema_array(s, schema, RZ_NFA_END));
    if (types & RZ_T_OBJECT)
        out = rz_nfa_or(g, out, rz_schema_object(s, schema, RZ_NFA_END));
    return out;
}

static bool check_type(struct rz_schema *s, const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    bool good = !type || json_is_string(type) || json_is_array(type);
    for (size_t i = 0; i < json_array_size(type); i++)
        good = good && type_bit(json_array_get(type, i));
    if (!good || (json_is_string(type) && !type_bit(type)))
        rz_schema_bad(s, RZ_EFORMAT, "type", "it names no type of JSON");
    return !s->g->rc;
}

static uint32_t build(struct rz_schema *s, json_t *schema)
{
    const json_t *ref = json_object_get(schema, "$ref");
    bool says;
    if (!check_keywords(s, schema, &says) || !check_type(s, schema))
        return RZ_NFA_FAIL;
    if (ref) {
        json_t *rest = without(s, schema, "$ref"), *target = rz_schema_resolve(s, schema);
        if (!rest || !target || !check_keywords(s, rest, &says))
            return RZ_NFA_FAIL;
        if (!says) /* the target's own rule: it may be the one that is being built */
            return rz_schema_value(s, target, NULL, NULL, RZ_NFA_END);
    }
    json_t *plain = rz_schema_plain(s, schema);
    if (!plain)
        return RZ_NFA_FAIL;
    if (!json_is_object(plain))
        return rz_schema_value(s, plain, NULL, NULL, RZ_NFA_END);
    if (!check_keywords(s, plain, &says) || !check_type(s, plain))
        return RZ_NFA_FAIL;
    if (json_object_get(plain, "oneOf"))
        return build_cases(s, plain, "oneOf");
    if (json_object_get(plain, "anyOf"))
        return build_cases(s, plain, "anyOf");
    if (json_object_get(plain, "enum") || json_object_get(plain, "const"))
        return rz_schema_enum(s, plain, RZ_NFA_END);
    if (!says)
        return rz_schema_common(s, RZ_S_ANY, RZ_NFA_END);
    return build_types(s, plain, rz_schema_types(plain));
}

/* --- the whole --- */

uint32_t rz_schema_node(struct rz_nfa *g, const char *text, size_t n, const char *where, uint32_t next)
{
    json_error_t error;
    char prefix[64];
    struct rz_schema s = {.g = g, .prefix = prefix};
    if (g->rc)
        return RZ_NFA_FAIL;
    snprintf(prefix, sizeof(prefix), "%s%s#", where, *where ? " " : "");
    s.root = json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!s.root)
        return rz_nfa_bad(g, RZ_EFORMAT, prefix, "it is not JSON: %s (line %d, column %d)", error.text,
                          error.line, error.column);
    s.made = json_array();
    uint32_t out = s.made ? rz_schema_value(&s, s.root, NULL, NULL, next)
                          : rz_nfa_bad(g, RZ_ENOMEM, "grammar", "no memory");
    json_decref(s.made);
    json_decref(s.root);
    free(s.rules);
    return out;
}

void rz_schema_build(struct rz_nfa *g, const char *text, size_t n)
{
    uint32_t root = rz_nfa_rule(g, "root", 4), start = rz_schema_node(g, text, n, "", RZ_NFA_END);
    if (!g->rc)
        g->rules[root].start = start;
}

void rz_json_build(struct rz_nfa *g)
{
    static const char any[] = "{\"type\":\"object\"}";
    rz_schema_build(g, any, sizeof(any) - 1);
}

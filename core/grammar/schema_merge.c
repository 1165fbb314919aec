/* schema_merge.c - two schemas as one: what holds for both. And whether two exclude each other.
 *
 * Merged schemas are owned by s->made. What has no single schema that says the same is refused.
 */
#include "schema.h"

#include <math.h>
#include <string.h>

bool rz_schema_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b)
                                                        : json_number_value(a) == json_number_value(b);
    return json_equal((json_t *)a, (json_t *)b);
}

static json_t *keep(struct rz_schema *s, json_t *made)
{
    if (made && !json_array_append_new(s->made, made))
        return made;
    rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
    return NULL;
}

static bool holds(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (rz_schema_equal(json_array_get(list, i), value))
            return true;
    return false;
}

/* enum, or const as a list of one; a new reference, NULL: neither. */
static json_t *values_of(const json_t *schema)
{
    json_t *single = json_object_get(schema, "const");
    return single ? json_pack("[O]", single) : json_incref(json_object_get(schema, "enum"));
}

static void merge_values(json_t *out, const json_t *a, const json_t *b)
{
    json_t *x = values_of(a), *y = values_of(b), *both = json_array();
    for (size_t i = 0; i < json_array_size(x ? x : y); i++) {
        json_t *value = json_array_get(x ? x : y, i);
        if (!x || !y || holds(y, value))
            json_array_append(both, value);
    }
    json_object_del(out, "const");
    if (x || y)
        json_object_set(out, "enum", both);
    json_decref(both);
    json_decref(x);
    json_decref(y);
}

/* Types of both as a list; integers are numbers. */
static void merge_types(json_t *out, const json_t *a, const json_t *b)
{
    static const char *const names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
    json_t *x = json_object_get(a, "type"), *y = json_object_get(b, "type");
    if (!x || !y)
        return;
    json_t *only_x = json_pack("{sO}", "type", x), *only_y = json_pack("{sO}", "type", y),
           *list = json_array();
    uint32_t p = rz_schema_types(only_x), q = rz_schema_types(only_y);
    if ((p & RZ_T_INTEGER && q & RZ_T_NUMBER) || (q & RZ_T_INTEGER && p & RZ_T_NUMBER)) {
        p = (p & ~RZ_T_NUMBER) | RZ_T_INTEGER;
        q = (q & ~RZ_T_NUMBER) | RZ_T_INTEGER;
    }
    for (uint32_t i = 0; i < 7; i++)
        if (p & q & 1u << i)
            json_array_append_new(list, json_string(names[i]));
    json_object_set_new(out, "type", list);
    json_decref(only_x);
    json_decref(only_y);
}

/* What a schema says of a property. */
static json_t *property(const json_t *schema, const char *name)
{
    json_t *own = json_object_get(json_object_get(schema, "properties"), name);
    return own ? own : json_object_get(schema, "additionalProperties");
}

static json_t *merge_maybe(struct rz_schema *s, json_t *a, json_t *b)
{
    return a && b ? rz_schema_merge(s, a, b) : a ? a : b;
}

static void merge_properties(struct rz_schema *s, json_t *out, const json_t *a, const json_t *b)
{
    const json_t *sides[2] = {a, b};
    json_t *all = json_object(), *rest, *value, *required = json_array();
    const char *name;
    for (int i = 0; i < 2; i++) {
        json_object_foreach(json_object_get(sides[i], "properties"), name, value)
        {
            json_t *both = merge_maybe(s, property(a, name), property(b, name));
            if (both && !json_object_get(all, name))
                json_object_set(all, name, both);
        }
        for (size_t k = 0; k < json_array_size(json_object_get(sides[i], "required")); k++) {
            json_t *needed = json_array_get(json_object_get(sides[i], "required"), k);
            if (!holds(required, needed))
                json_array_append(required, needed);
        }
    }
    if (json_object_size(all))
        json_object_set(out, "properties", all);
    if (json_array_size(required))
        json_object_set(out, "required", required);
    rest = merge_maybe(s, json_object_get(a, "additionalProperties"),
                       json_object_get(b, "additionalProperties"));
    if (rest)
        json_object_set(out, "additionalProperties", rest);
    json_decref(all);
    json_decref(required);
}

static void merge_items(struct rz_schema *s, json_t *out, const json_t *a, const json_t *b)
{
    json_t *x = json_object_get(a, "prefixItems"), *y = json_object_get(b, "prefixItems"),
           *p = json_object_get(a, "items"), *q = json_object_get(b, "items");
    size_t n = json_array_size(x) > json_array_size(y) ? json_array_size(x) : json_array_size(y);
    json_t *list = json_array(), *rest = merge_maybe(s, p, q);
    for (size_t i = 0; i < n; i++) {
        json_t *one = i < json_array_size(x) ? json_array_get(x, i) : p,
               *other = i < json_array_size(y) ? json_array_get(y, i) : q, *both = merge_maybe(s, one, other);
        if (both)
            json_array_append(list, both);
        else
            json_array_append_new(list, json_true());
    }
    if (n)
        json_object_set(out, "prefixItems", list);
    if (rest)
        json_object_set(out, "items", rest);
    json_decref(list);
}

/* Each alternative of one with each of the other. */
static void merge_cases(struct rz_schema *s, json_t *out, json_t *x, json_t *y)
{
    json_t *list = json_array();
    if (json_array_size(x) * json_array_size(y) > RZ_SCHEMA_CASES_MAX)
        rz_schema_bad(s, RZ_ELIMIT, "anyOf", "%zu times %zu alternatives: at most %d together",
                      json_array_size(x), json_array_size(y), RZ_SCHEMA_CASES_MAX);
    for (size_t i = 0; i < json_array_size(x) && !s->g->rc; i++)
        for (size_t k = 0; k < json_array_size(y) && !s->g->rc; k++) {
            json_t *both = rz_schema_merge(s, json_array_get(x, i), json_array_get(y, k));
            if (both)
                json_array_append(list, both);
        }
    json_object_set_new(out, "anyOf", list);
}

/* The larger or the smaller of two bounds, or what both divide. */
static bool merge_number(json_t *out, const char *key, json_t *x, json_t *y)
{
    static const char *const larger[] = {"minimum", "exclusiveMinimum", "minLength", "minItems",
                                         "minProperties"},
                             *const smaller[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems",
                                                 "maxProperties"};
    double a = json_number_value(x), b = json_number_value(y);
    for (int i = 0; i < 5; i++) {
        if (!strcmp(key, larger[i]))
            return !json_object_set(out, key, a > b ? x : y);
        if (!strcmp(key, smaller[i]))
            return !json_object_set(out, key, a < b ? x : y);
    }
    if (strcmp(key, "multipleOf") || !(a >= 1 && b >= 1 && a <= 1e6 && b <= 1e6) || a != floor(a) ||
        b != floor(b))
        return false;
    uint64_t p = (uint64_t)a, q = (uint64_t)b, product = p * q;
    while (q) {
        uint64_t rest = p % q;
        p = q;
        q = rest;
    }
    return !json_object_set_new(out, key, json_integer((json_int_t)(product / p)));
}

/* A keyword that both have. */
static void merge_key(struct rz_schema *s, json_t *out, const char *key, json_t *x, json_t *y)
{
    static const char *const elsewhere[] = {"type",     "enum",  "const",       "properties",
                                            "required", "items", "prefixItems", "additionalProperties"};
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        if (!strcmp(key, elsewhere[i]))
            return;
    if (rz_schema_equal(x, y) || merge_number(out, key, x, y))
        return;
    if (!strcmp(key, "anyOf"))
        merge_cases(s, out, x, y);
    else if (!strcmp(key, "uniqueItems"))
        json_object_set_new(out, key, json_true());
    else if (!strcmp(key, "oneOf") || !strcmp(key, "pattern") || !strcmp(key, "format") ||
             !strcmp(key, "multipleOf") || !strcmp(key, "patternProperties") || !strcmp(key, "propertyNames"))
        rz_schema_bad(s, RZ_EUNSUPPORTED, key, "two of them must hold at once, which is not supported");
}

json_t *rz_schema_merge(struct rz_schema *s, json_t *a, json_t *b)
{
    if (s->depth == RZ_SCHEMA_DEPTH_MAX)
        rz_schema_bad(s, RZ_ELIMIT, NULL, "more than %d schemas inside of each other", RZ_SCHEMA_DEPTH_MAX);
    s->depth++;
    a = s->g->rc ? NULL : rz_schema_plain(s, a);
    b = s->g->rc ? NULL : rz_schema_plain(s, b);
    json_t *out = NULL, *value;
    const char *key;
    if (!a || !b || json_is_false(a) || json_is_true(b)) {
        out = a;
        goto done;
    }
    if (json_is_false(b) || json_is_true(a)) {
        out = b;
        goto done;
    }
    const json_t *patterned = json_object_get(a, "patternProperties") ? b : a;
    if ((json_object_get(a, "patternProperties") || json_object_get(b, "patternProperties")) &&
        (json_object_get(patterned, "properties") || json_object_get(patterned, "additionalProperties"))) {
        rz_schema_bad(s, RZ_EUNSUPPORTED, "patternProperties",
                      "it cannot be combined with properties of another schema");
        goto done;
    }
    s->n_merges += (uint32_t)(json_object_size(json_object_get(a, "properties")) +
                              json_array_size(json_object_get(a, "enum"))) /
                   8;
    if (!(out = keep(s, json_copy(a))))
        goto done;
    json_object_foreach(b, key, value)
    {
        json_t *own = json_object_get(a, key);
        if (own)
            merge_key(s, out, key, own, value);
        else
            json_object_set(out, key, value);
    }
    merge_types(out, a, b);
    merge_values(out, a, b);
    merge_properties(s, out, a, b);
    merge_items(s, out, a, b);
done:
    s->depth--;
    return s->g->rc ? NULL : out;
}

/* --- apart --- */

static bool required(const json_t *schema, const char *name)
{
    json_t *text = json_string(name);
    bool found = holds(json_object_get(schema, "required"), text);
    json_decref(text);
    return found;
}

/* A property that a value must have under both and that tells them apart, or that b forbids. */
static bool apart_by_property(struct rz_schema *s, json_t *a, json_t *b, int depth)
{
    const json_t *needed = json_object_get(a, "required");
    for (size_t i = 0; i < json_array_size(needed) && !s->g->rc; i++) {
        const char *name = json_string_value(json_array_get(needed, i));
        json_t *own = name ? property(a, name) : NULL, *other = name ? property(b, name) : NULL;
        if (name && json_is_false(other))
            return true;
        if (own && other && required(b, name) && rz_schema_apart(s, own, other, depth + 1))
            return true;
    }
    return false;
}

bool rz_schema_apart(struct rz_schema *s, json_t *a, json_t *b, int depth)
{
    a = rz_schema_plain(s, a);
    b = rz_schema_plain(s, b);
    if (depth > 8 || !a || !b)
        return false;
    if (json_is_false(a) || json_is_false(b))
        return true;
    if (!json_is_object(a) || !json_is_object(b))
        return false;
    uint32_t p = rz_schema_types(a), q = rz_schema_types(b), numbers = RZ_T_INTEGER | RZ_T_NUMBER;
    if (!(p & q) && !(p & numbers && q & numbers))
        return true;
    json_t *x = values_of(a), *y = values_of(b);
    bool apart = x && y;
    for (size_t i = 0; apart && i < json_array_size(x); i++)
        apart = !holds(y, json_array_get(x, i));
    json_decref(x);
    json_decref(y);
    if (apart)
        return true;
    return p == RZ_T_OBJECT && q == RZ_T_OBJECT &&
           (apart_by_property(s, a, b, depth) || apart_by_property(s, b, a, depth));
}

/* schema_object.c - objects: properties in the order in which they are declared, then others.
 *
 * node[i][c] is what may come behind the properties before i when c of them are there; c stops counting
 * where it makes no difference any more. A name is written in one way only, and other names are those that
 * differ from all declared ones, so that no property comes twice.
 */
#include "schema.h"

#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROPERTIES_MAX 2048
#define STATES_MAX 65536

struct property {
    const char *name;
    json_t *schema;
    const char *keyword; /* where the schema stands */
    bool required;
};

struct object {
    struct rz_schema *s;
    const json_t *schema;
    struct property *list;
    uint32_t n, min, max, most; /* most: where counting stops */
    json_t *others;             /* additionalProperties; NULL: anything    */
    json_t *patterns;           /* patternProperties; NULL: none           */
    uint32_t *next, *here;      /* node[i + 1], node[i]: [most + 1] each   */
};

/* --- names --- */

static uint32_t name_node(struct object *o, const char *name, uint32_t next)
{
    char *text = NULL;
    json_t *value = json_string(name);
    if (value)
        text = json_dumps(value, JSON_ENCODE_ANY);
    json_decref(value);
    if (!text)
        return rz_schema_bad(o->s, RZ_ENOMEM, NULL, "no memory");
    uint32_t out = rz_nfa_str(o->s->g, text, next);
    free(text);
    return out;
}

static bool plain(uint32_t cp)
{
    return cp >= 0x20 && cp != '"' && cp != '\\';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The rest of a name that differs from all of these, of which the first `at` bytes are behind. Where it
 * could still become one of them there are no escapes: they could spell it in another way. */
static uint32_t other_name(struct object *o, const char **names, size_t n, size_t at, uint32_t rest,
                           uint32_t quote)
{
    struct rz_nfa *g = o->s->g;
    bool taken = n && !names[0][at];
    uint32_t out = taken ? RZ_NFA_FAIL : quote, n_ranges = 3;
    struct rz_range *ranges = malloc((n + 4) * sizeof(*ranges)),
                    *free_chars = malloc((n + 6) * sizeof(*free_chars));
    if (!ranges || !free_chars) {
        free(ranges);
        free(free_chars);
        return rz_schema_bad(o->s, RZ_ENOMEM, NULL, "no memory");
    }
    ranges[0] = (struct rz_range){0, 0x1f};
    ranges[1] = (struct rz_range){'"', '"'};
    ranges[2] = (struct rz_range){'\\', '\\'};
    for (size_t i = taken, end; i < n; i = end) {
        uint32_t cp = 0;
        size_t len = rz_utf8_decode(names[i] + at, strlen(names[i] + at), &cp);
        for (end = i + 1; end < n && !strncmp(names[end] + at, names[i] + at, len); end++)
            ;
        if (!plain(cp))
            continue;
        uint32_t after = other_name(o, names + i, end - i, at + len, rest, quote);
        out = rz_nfa_or(g, out, rz_nfa_char(g, cp, RZ_TEXT_RAW, after));
        ranges[n_ranges++] = (struct rz_range){cp, cp};
    }
    n_ranges = rz_ranges_join(ranges, n_ranges);
    n_ranges = rz_ranges_invert(ranges, n_ranges, free_chars);
    out = rz_nfa_or(g, out, rz_nfa_chars(g, free_chars, n_ranges, RZ_TEXT_RAW, rest));
    free(ranges);
    free(free_chars);
    return out;
}

/* A name that is not declared, then next. */
static uint32_t undeclared(struct object *o, uint32_t next)
{
    const char **names = calloc(o->n + 1, sizeof(char *));
    json_t *rule = json_object_get(o->schema, "propertyNames");
    if (!names)
        return rz_schema_bad(o->s, RZ_ENOMEM, NULL, "no memory");
    for (uint32_t i = 0; i < o->n; i++) {
        names[i] = o->list[i].name;
        if (strlen(names[i]) > 1000)
            rz_schema_bad(o->s, RZ_ELIMIT, "properties", "a name of %zu bytes: at most 1000",
                          strlen(names[i]));
    }
    uint32_t out = RZ_NFA_FAIL;
    if (rule && o->n) {
        rz_schema_bad(o->s, RZ_EUNSUPPORTED, "propertyNames", "it cannot be combined with properties");
    } else if (rule && json_is_object(rule)) {
        json_t *text = json_copy(rule);
        if (!json_object_get(text, "type"))
            json_object_set_new(text, "type", json_string("string"));
        json_array_append_new(o->s->made, text);
        out = rz_schema_value(o->s, text, "propertyNames", NULL, next);
    } else if (!o->s->g->rc && !json_is_false(rule)) {
        qsort(names, o->n, sizeof(*names), by_name);
        uint32_t rest = rz_schema_rest(o->s, 0, RZ_NFA_FOREVER, next),
                 quote = rz_nfa_byte(o->s->g, '"', next);
        out = rz_nfa_byte(o->s->g, '"', other_name(o, names, o->n, 0, rest, quote));
    }
    free(names);
    return out;
}

/* --- members --- */

static uint32_t colon(struct object *o, json_t *schema, const char *keyword, const char *name, uint32_t next)
{
    uint32_t value = rz_schema_value(o->s, schema, keyword, name, next);
    return rz_nfa_byte(o->s->g, ':', rz_schema_common(o->s, RZ_S_BLANK, value));
}

/* A member that is not declared. */
static uint32_t other_member(struct object *o, uint32_t next)
{
    if (o->patterns) {
        void *at = json_object_iter(o->patterns);
        const char *pattern = json_object_iter_key(at);
        size_t was = rz_schema_enter(o->s, "patternProperties", pattern);
        uint32_t value = colon(o, json_object_iter_value(at), NULL, NULL, next);
        char where[240];
        snprintf(where, sizeof(where), "%s%.180s", o->s->prefix, o->s->path);
        uint32_t name = rz_regex_node(o->s->g, pattern, strlen(pattern), RZ_REGEX_SEARCH, RZ_TEXT_JSON, where,
                                      rz_nfa_byte(o->s->g, '"', value), NULL, NULL);
        rz_schema_leave(o->s, was);
        return rz_nfa_byte(o->s->g, '"', name);
    }
    return undeclared(o, colon(o, o->others, "additionalProperties", NULL, next));
}

static uint32_t comma(struct object *o, uint32_t next)
{
    return rz_nfa_byte(o->s->g, ',', rz_schema_common(o->s, RZ_S_BLANK, next));
}

/* Behind all declared properties, of which c are there (or more, if c is where counting stops). Of others
 * only one counts towards minProperties: they may have the same name. */
static uint32_t others(struct object *o, uint32_t c, uint32_t close)
{
    uint32_t most = o->max == RZ_NFA_FOREVER ? o->max : o->max > c ? o->max - c : 0;
    bool none = (json_is_false(o->others) && !o->patterns) || !most;
    if (none)
        return c >= o->min ? close : RZ_NFA_FAIL;
    if (c + 1 < o->min)
        return RZ_NFA_FAIL;
    uint32_t member = other_member(o, RZ_NFA_END);
    if (c)
        return rz_nfa_repeat(o->s->g, comma(o, member), c < o->min, most, close);
    uint32_t rest =
        rz_nfa_repeat(o->s->g, comma(o, member), 0, most == RZ_NFA_FOREVER ? most : most - 1, close);
    uint32_t first = other_member(o, rest);
    return o->min ? first : rz_nfa_or(o->s->g, first, close);
}

static uint32_t declared(struct object *o, uint32_t i, uint32_t c)
{
    const struct property *p = &o->list[i];
    uint32_t with = c < o->most ? c + 1 : c, skip = p->required ? RZ_NFA_FAIL : o->next[c];
    if (c + 1 > o->max)
        return skip;
    uint32_t value =
        colon(o, p->schema, p->keyword, strcmp(p->keyword, "properties") ? NULL : p->name, o->next[with]);
    uint32_t member = name_node(o, p->name, value);
    return rz_nfa_or(o->s->g, c ? comma(o, member) : member, skip);
}

/* --- the parts --- */

static bool add(struct object *o, const char *name, json_t *schema, const char *keyword, bool required)
{
    if (o->n == PROPERTIES_MAX)
        rz_schema_bad(o->s, RZ_ELIMIT, "properties", "more than %d", PROPERTIES_MAX);
    else
        o->list[o->n++] = (struct property){name, schema, keyword, required};
    return !o->s->g->rc;
}

static bool listed(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)) &&
            !strcmp(json_string_value(json_array_get(list, i)), name))
            return true;
    return false;
}

static void collect(struct object *o)
{
    json_t *properties = json_object_get(o->schema, "properties"),
           *required = json_object_get(o->schema, "required"), *value;
    const char *name;
    json_object_foreach(properties, name, value)
    {
        if (!add(o, name, value, "properties", listed(required, name)))
            return;
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (!name)
            rz_schema_bad(o->s, RZ_EFORMAT, "required", "item %zu is no text", i);
        else if (!json_object_get(properties, name) && o->patterns)
            rz_schema_bad(o->s, RZ_EUNSUPPORTED, "required",
                          "a name that patternProperties would have to match");
        else if (!json_object_get(properties, name) &&
                 !add(o, name, o->others ? o->others : json_true(), "additionalProperties", true))
            return;
    }
}

static void check_patterns(struct object *o)
{
    if (!o->patterns || o->s->g->rc)
        return;
    if (json_object_size(o->patterns) > 1 || o->n || !json_is_false(o->others))
        rz_schema_bad(
            o->s, RZ_EUNSUPPORTED, "patternProperties",
            "only a single one is supported, without properties and with additionalProperties false");
}

static uint32_t assemble(struct object *o, uint32_t next)
{
    uint32_t close = rz_schema_common(o->s, RZ_S_BLANK, rz_nfa_byte(o->s->g, '}', next));
    if ((uint64_t)(o->n + 1) * (o->most + 1) > STATES_MAX)
        return rz_schema_bad(o->s, RZ_ELIMIT, "properties", "%u properties with bounds up to %u are too many",
                             o->n, o->most);
    for (uint32_t c = 0; c <= o->most; c++)
        o->here[c] = o->s->g->rc || c > o->n ? RZ_NFA_FAIL : others(o, c, close);
    for (uint32_t i = o->n; i--;) {
        uint32_t *done = o->here;
        o->here = o->next;
        o->next = done;
        for (uint32_t c = 0; c <= o->most && !o->s->g->rc; c++)
            o->here[c] = c > i ? RZ_NFA_FAIL : declared(o, i, c);
    }
    return rz_nfa_byte(o->s->g, '{', rz_schema_common(o->s, RZ_S_BLANK, o->here[0]));
}

uint32_t rz_schema_object(struct rz_schema *s, const json_t *schema, uint32_t next)
{
    struct object o = {.s = s,
                       .schema = schema,
                       .others = json_object_get(schema, "additionalProperties"),
                       .patterns = json_object_get(schema, "patternProperties"),
                       .min = rz_schema_count(s, schema, "minProperties", 0),
                       .max = rz_schema_count(s, schema, "maxProperties", RZ_NFA_FOREVER)};
    uint32_t out = RZ_NFA_FAIL;
    if (!json_object_size(o.patterns))
        o.patterns = NULL;
    o.list = calloc(PROPERTIES_MAX, sizeof(*o.list));
    if (o.list)
        collect(&o);
    check_patterns(&o);
    bool open = !json_is_false(o.others) || o.patterns;
    if (open && o.min > o.n + 1)
        rz_schema_bad(s, RZ_EUNSUPPORTED, "minProperties",
                      "%u, but only %u are declared: that others have different names is not supported",
                      o.min, o.n);
    o.most = o.max == RZ_NFA_FOREVER ? (o.min ? o.min : 1) : o.max;
    o.most = o.most > o.n ? o.n : o.most;
    o.next = calloc(o.most + 1, sizeof(*o.next));
    o.here = calloc(o.most + 1, sizeof(*o.here));
    if (!o.list || !o.next || !o.here)
        rz_schema_bad(s, RZ_ENOMEM, NULL, "no memory");
    else if (!s->g->rc)
        out = assemble(&o, next);
    free(o.list);
    free(o.next);
    free(o.here);
    return out;
}

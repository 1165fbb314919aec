/* jinja_json.c - JSON text to values, whose texts are marked as coming from outside.
 */
#include "jinja_value.h"

#include <jansson.h>

struct build {
    struct rz_arena *arena;
    struct rz_err *err;
};

static int32_t no_memory(const struct build *b)
{
    return rz_fail(b->err, RZ_ENOMEM, "json", "no memory for the values");
}

static int32_t value(struct build *b, json_t *json, unsigned depth, struct rz_jvalue *out);

static int32_t object(struct build *b, json_t *json, unsigned depth, struct rz_jvalue *out)
{
    struct rz_jdict *d = rz_jdict_new(b->arena, json_object_size(json));
    if (!d)
        return no_memory(b);
    for (void *i = json_object_iter(json); i; i = json_object_iter_next(json, i)) {
        struct rz_jpair *pair = &d->pairs[d->n];
        const char *key = json_object_iter_key(i);
        if (!rz_jvalue_outside(b->arena, key, strlen(key), &pair->key))
            return no_memory(b);
        int32_t code = value(b, json_object_iter_value(i), depth + 1, &pair->value);
        if (code)
            return code;
        d->n++;
    }
    *out = rz_j_dictv(d);
    return rz_jdict_seal(b->arena, d) ? RZ_OK : no_memory(b);
}

static int32_t array(struct build *b, json_t *json, unsigned depth, struct rz_jvalue *out)
{
    size_t n = json_array_size(json);
    struct rz_jseq *s = rz_arena_alloc(b->arena, sizeof(*s));
    if (s && n)
        s->items = rz_arena_array(b->arena, n, sizeof(*s->items));
    if (!s || (n && !s->items))
        return no_memory(b);
    s->kind = RZ_J_LIST;
    s->cap = n;
    for (; s->n < n; s->n++) {
        int32_t code = value(b, json_array_get(json, s->n), depth + 1, &s->items[s->n]);
        if (code)
            return code;
    }
    *out = rz_j_seqv(s);
    return RZ_OK;
}

static int32_t value(struct build *b, json_t *json, unsigned depth, struct rz_jvalue *out)
{
    if (depth > RZ_J_NEST_MAX / 2)
        return rz_fail(b->err, RZ_ELIMIT, "json", "nested deeper than %d", RZ_J_NEST_MAX / 2);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return object(b, json, depth, out);
    case JSON_ARRAY:
        return array(b, json, depth, out);
    case JSON_STRING:
        return rz_jvalue_outside(b->arena, json_string_value(json), json_string_length(json), out)
                   ? RZ_OK
                   : no_memory(b);
    case JSON_INTEGER:
        *out = rz_j_int(json_integer_value(json));
        return RZ_OK;
    case JSON_REAL:
        *out = rz_j_float(json_real_value(json));
        return RZ_OK;
    case JSON_NULL:
        *out = RZ_J_NULL;
        return RZ_OK;
    default:
        *out = rz_j_bool(json_is_true(json));
        return RZ_OK;
    }
}

int32_t rz_jvalue_json(struct rz_arena *a, const char *text, size_t n, struct rz_jvalue *out,
                       struct rz_err *err)
{
    struct build b = {.arena = a, .err = err};
    json_error_t why;
    char where[48], shown[160];
    json_t *json = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!json) {
        snprintf(where, sizeof(where), "json:%d", why.line);
        return rz_fail(err, RZ_EFORMAT, where, "column %d: %s", why.column,
                       rz_show(shown, sizeof(shown), why.text, strlen(why.text)));
    }
    int32_t code = value(&b, json, 0, out);
    json_decref(json);
    return code;
}

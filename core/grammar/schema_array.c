/* schema_array.c - arrays: prefixItems, items, minItems, maxItems.
 */
#include "schema.h"

#include <stdio.h>
#include <string.h>

#define PREFIX_MAX 1024

/* A comma and one more item, for a repetition. */
static uint32_t more_items(struct rz_schema *s, json_t *items, uint32_t next)
{
    return rz_nfa_byte(s->g, ',',
                       rz_schema_common(s, RZ_S_BLANK, rz_schema_value(s, items, "items", NULL, next)));
}

/* Items behind n others, then the closing bracket. */
static uint32_t tail(struct rz_schema *s, json_t *items, uint32_t n, uint32_t min, uint32_t max,
                     uint32_t close)
{
    uint32_t least = min > n ? min - n : 0, most = max == RZ_NFA_FOREVER ? max : max > n ? max - n : 0;
    if (n > max)
        return RZ_NFA_FAIL;
    if (json_is_false(items))
        return least ? RZ_NFA_FAIL : close;
    if (n)
        return rz_nfa_repeat(s->g, more_items(s, items, RZ_NFA_END), least, most, close);
    if (!most)
        return close;
    uint32_t rest = rz_nfa_repeat(s->g, more_items(s, items, RZ_NFA_END), least ? least - 1 : 0,
                                  most == RZ_NFA_FOREVER ? most : most - 1, close);
    uint32_t first = rz_schema_value(s, items, "items", NULL, rest);
    return least ? first : rz_nfa_or(s->g, first, close);
}

uint32_t rz_schema_array(struct rz_schema *s, const json_t *schema, uint32_t next)
{
    json_t *items = json_object_get(schema, "items"), *prefix = json_object_get(schema, "prefixItems");
    uint32_t min = rz_schema_count(s, schema, "minItems", 0), n = (uint32_t)json_array_size(prefix),
             max = rz_schema_count(s, schema, "maxItems", RZ_NFA_FOREVER);
    if (json_is_true(json_object_get(schema, "uniqueItems")) && max > 1)
        return rz_schema_bad(s, RZ_EUNSUPPORTED, "uniqueItems",
                             "that items differ is not supported (but with maxItems of at most 1)");
    if (n > PREFIX_MAX)
        return rz_schema_bad(s, RZ_ELIMIT, "prefixItems", "%u schemas: at most %d", n, PREFIX_MAX);
    uint32_t close = rz_schema_common(s, RZ_S_BLANK, rz_nfa_byte(s->g, ']', next)),
             out = tail(s, items, n, min, max, close);
    for (uint32_t i = n; i-- && !s->g->rc;) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        out = i < max ? rz_schema_value(s, json_array_get(prefix, i), "prefixItems", name, out) : RZ_NFA_FAIL;
        if (i)
            out = rz_nfa_byte(s->g, ',', rz_schema_common(s, RZ_S_BLANK, out));
        if (i >= min && i <= max)
            out = rz_nfa_or(s->g, out, close);
    }
    return rz_nfa_byte(s->g, '[', rz_schema_common(s, RZ_S_BLANK, out));
}

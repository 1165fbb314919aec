/* schema.h - which sections and options the core has, and how the text of an option becomes a value.
 *
 * A plugin's own option table has the same form, so one parser serves both.
 */
#ifndef RZ_SCHEMA_H
#define RZ_SCHEMA_H

#include "arena.h"

#include <rz/plugin.h>
#include <stdbool.h>

/* One kind of section. A name that ends in a dot ("model.") stands for [model.NAME]. */
struct rz_schema_section {
    const char *name;
    const char *help;
    const struct rz_option *options;
    uint32_t n_options;
};

/* All kinds, in the order in which people read them. */
const struct rz_schema_section *rz_schema_all(uint32_t *n);
/* The kind that a section belongs to ("model.smol" -> "model."); NULL: none. */
const struct rz_schema_section *rz_schema_find(const char *section);
/* Index of an option, or -1. */
int32_t rz_schema_option(const struct rz_schema_section *section, const char *key);

/* Option i of a table whose records are stride bytes apart. */
static inline const struct rz_option *rz_option_at(const struct rz_option *table, uint32_t stride, uint32_t i)
{
    return (const struct rz_option *)((const char *)table + (uint64_t)stride * i);
}

/* What a value may be, for people: "0..1024", "f16|f32", "text". Returns buf. */
const char *rz_option_form(const struct rz_option *option, char *buf, size_t cap);
/* Parses and checks text (already expanded). A list is normalised to "a,b,c"; a path has its leading ~/
 * replaced, and if it is relative and dir is not NULL, dir put before it. On failure says in why what is
 * wrong; the value of a secret is not shown. */
bool rz_option_parse(const struct rz_option *option, const char *text, const char *dir,
                     struct rz_arena *arena, struct rz_option_value *out, char *why, size_t cap);

#endif

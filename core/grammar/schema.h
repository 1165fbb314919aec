/* schema.h - what the files of the JSON Schema frontend share.
 *
 * A schema becomes a rule for its values. Combinations (allOf, siblings of $ref and anyOf) are merged into
 * one schema first, so that the builders see plain ones. What cannot be told truthfully is refused with the
 * JSON pointer of the keyword.
 */
#ifndef RZ_GRAMMAR_SCHEMA_H
#define RZ_GRAMMAR_SCHEMA_H

#include "frontend.h"

#include <jansson.h>

#define RZ_SCHEMA_DEPTH_MAX 128
#define RZ_SCHEMA_MERGES_MAX 20000
#define RZ_SCHEMA_CASES_MAX 256 /* combinations of two anyOf */

/* Types of values as bits. */
#define RZ_T_NULL 1u
#define RZ_T_BOOLEAN 2u
#define RZ_T_INTEGER 4u
#define RZ_T_NUMBER 8u
#define RZ_T_STRING 16u
#define RZ_T_ARRAY 32u
#define RZ_T_OBJECT 64u
#define RZ_T_ALL (RZ_T_NULL | RZ_T_BOOLEAN | RZ_T_NUMBER | RZ_T_STRING | RZ_T_ARRAY | RZ_T_OBJECT)

enum {
    RZ_S_ANY,
    RZ_S_STRING,
    RZ_S_NUMBER,
    RZ_S_INTEGER,
    RZ_S_OBJECT,
    RZ_S_BLANK,
    RZ_S_RULES
};

struct rz_schema_rule {
    const json_t *schema;
    uint32_t rule;
};

struct rz_schema {
    struct rz_nfa *g;
    json_t *root;
    const char *prefix; /* before the pointer in errors */
    char path[200];     /* the pointer of the schema that is built */
    size_t n_path;
    uint32_t depth, n_merges;
    uint32_t common[RZ_S_RULES];  /* rules that all schemas share; + 1, 0: not built */
    struct rz_schema_rule *rules; /* hash by address */
    uint32_t n_rules, cap_rules;
    json_t *made; /* a list that owns the merged schemas */
};

/* --- schema.c --- */

/* Turns the builder bad: at the keyword of the schema that is built (NULL: at the schema). */
uint32_t rz_schema_bad(struct rz_schema *s, int32_t code, const char *keyword, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Goes into a part of the schema; the answer is given back to rz_schema_leave. */
size_t rz_schema_enter(struct rz_schema *s, const char *keyword, const char *name);
void rz_schema_leave(struct rz_schema *s, size_t was);
/* A value of a schema (a part of the one that is built), then next. */
uint32_t rz_schema_value(struct rz_schema *s, json_t *schema, const char *keyword, const char *name,
                         uint32_t next);
/* What $ref names; NULL: bad. Borrowed. */
json_t *rz_schema_resolve(struct rz_schema *s, const json_t *schema);
/* The schema without $ref and allOf, owned by s; NULL: bad. */
json_t *rz_schema_plain(struct rz_schema *s, json_t *schema);
/* Types that the schema allows as far as type, enum and const say. */
uint32_t rz_schema_types(const json_t *schema);
/* A whole number that is not negative; absent: otherwise. */
uint32_t rz_schema_count(struct rz_schema *s, const json_t *schema, const char *keyword, uint32_t otherwise);

/* --- schema_merge.c: what holds for both; borrowed from s->made, NULL: bad --- */
json_t *rz_schema_merge(struct rz_schema *s, json_t *a, json_t *b);
/* No value fits both, for sure. */
bool rz_schema_apart(struct rz_schema *s, json_t *a, json_t *b, int depth);
bool rz_schema_equal(const json_t *a, const json_t *b);

/* --- schema_value.c --- */
uint32_t rz_schema_common(struct rz_schema *s, int which, uint32_t next);
/* Between the marks of JSON: nothing, a blank, or a new line with up to 32 blanks. */
uint32_t rz_schema_blank(struct rz_schema *s, uint32_t next);
uint32_t rz_schema_enum(struct rz_schema *s, const json_t *schema, uint32_t next);
/* One of n texts. */
uint32_t rz_schema_words(struct rz_schema *s, const char **words, size_t n, uint32_t next);
/* Characters of a JSON string, then its quote, then next. */
uint32_t rz_schema_rest(struct rz_schema *s, uint32_t min, uint32_t max, uint32_t next);
/* 1: a value fits the schema's simple keywords, 0: it does not, -1: they do not tell. */
int rz_schema_allows(const json_t *schema, const json_t *value);

/* --- one file each --- */
uint32_t rz_schema_object(struct rz_schema *s, const json_t *schema, uint32_t next);
uint32_t rz_schema_array(struct rz_schema *s, const json_t *schema, uint32_t next);
uint32_t rz_schema_string(struct rz_schema *s, const json_t *schema, uint32_t next);
uint32_t rz_schema_number(struct rz_schema *s, const json_t *schema, bool integer, uint32_t next);

#endif

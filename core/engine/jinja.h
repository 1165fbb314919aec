/* jinja.h - chat templates: a template is parsed once and rendered many times.
 *
 * The language is the part of Jinja2 that chat templates use, with the meaning that Python's jinja2 gives it
 * in a sandbox with trim_blocks and lstrip_blocks: what renders here renders there to the same bytes.
 * Nothing is read, written or known beyond the arguments; the clock is one of them. A parsed template is
 * constant: any number of threads may render it, each with its own output.
 */
#ifndef RZ_JINJA_H
#define RZ_JINJA_H

#include <rz/tokenizer.h>

#include "arena.h"
#include "buf.h"

#define RZ_J_UNDEFINED 0u
#define RZ_J_NONE 1u
#define RZ_J_BOOL 2u
#define RZ_J_INT 3u
#define RZ_J_FLOAT 4u
#define RZ_J_STRING 5u
#define RZ_J_SEQ 6u /* list, tuple, range, dict view, iterator: rz_jseq.kind */
#define RZ_J_DICT 7u
#define RZ_J_NAMESPACE 8u
#define RZ_J_MACRO 9u
#define RZ_J_FUNC 10u   /* a global function  */
#define RZ_J_METHOD 11u /* a method of a value */
#define RZ_J_LOOP 12u

struct rz_jstr;
struct rz_jseq;
struct rz_jdict;

/* A value; what it points to lives in an arena and never changes once it is visible. */
struct rz_jvalue {
    uint32_t type; /* RZ_J_* */
    uint32_t flags;
    union {
        int64_t i; /* int, bool */
        double f;
        const struct rz_jstr *s;
        struct rz_jseq *seq;
        struct rz_jdict *dict;
        void *p;
    } u;
};

/* What a rendering may use; 0: the default. */
struct rz_template_limits {
    uint64_t max_steps;  /* nodes evaluated and items or 64 bytes handled (500,000) */
    uint64_t max_output; /* bytes (64 MiB)                                          */
    uint64_t max_memory; /* bytes of values made on the way (256 MiB)               */
    uint64_t max_range;  /* items of a range (100,000)                              */
    uint32_t max_depth;  /* macros within macros (64)                               */
    int64_t now;         /* seconds since 1970 of the local clock, for strftime_now */
};

struct rz_template;

/* Parses n bytes of UTF-8. Errors are RZ_EFORMAT, `where` is "template:LINE". */
int32_t rz_template_parse(const char *text, size_t n, struct rz_template **out, struct rz_err *err);
void rz_template_free(struct rz_template *t);

/* Appends the text to out. context: a dict. A template's own raise_exception gives RZ_EFORMAT with its
 * message as it is and where = "template"; other errors name the line; a limit is RZ_ELIMIT.
 * marks, unless NULL, gets a struct rz_span for each stretch of out that came from outside, in ascending
 * order: bytes of texts in the context made by rz_jvalue_outside and rz_jvalue_json, wherever filters, slices
 * and macros took them. What a filter makes of such bytes (tojson, upper, ...) counts as well; digits of
 * numbers, true and false do not. */
int32_t rz_template_render(const struct rz_template *t, const struct rz_jvalue *context,
                           const struct rz_template_limits *limits, struct rz_buf *out, struct rz_buf *marks,
                           struct rz_err *err);

/* --- values: jinja_value.c, jinja_json.c. NULL or false: no memory. --- */

/* A string; the bytes are copied. */
bool rz_jvalue_text(struct rz_arena *a, const char *text, size_t n, struct rz_jvalue *out);
/* The same, all of it marked as coming from outside. */
bool rz_jvalue_outside(struct rz_arena *a, const char *text, size_t n, struct rz_jvalue *out);
struct rz_jvalue rz_jvalue_bool(bool on);
struct rz_jvalue rz_jvalue_int(int64_t i);
struct rz_jdict *rz_jdict_new(struct rz_arena *a, size_t cap);
/* Replaces the value of a key that is there already. */
bool rz_jdict_put(struct rz_arena *a, struct rz_jdict *d, struct rz_jvalue key, struct rz_jvalue value);
size_t rz_jdict_count(const struct rz_jdict *d);
/* The i-th pair in the order in which they were put. */
void rz_jdict_at(const struct rz_jdict *d, size_t i, struct rz_jvalue *key, struct rz_jvalue *value);
struct rz_jvalue rz_jvalue_dict(struct rz_jdict *d);
bool rz_jvalue_is_list(struct rz_jvalue v);
/* How many items a list has, and the i-th; 0 for other values. */
size_t rz_jvalue_count(struct rz_jvalue list);
struct rz_jvalue rz_jvalue_at(struct rz_jvalue list, size_t i);
/* True for a string with this text. */
bool rz_jvalue_is(struct rz_jvalue v, const char *text);
/* NULL: no such key. */
const struct rz_jvalue *rz_jdict_text(const struct rz_jdict *d, const char *key, size_t n);
/* To be called when the dict is complete: makes finding fast. */
bool rz_jdict_seal(struct rz_arena *a, struct rz_jdict *d);

/* Any JSON text as a value that lives in the arena. RZ_EFORMAT names line and column. */
int32_t rz_jvalue_json(struct rz_arena *a, const char *text, size_t n, struct rz_jvalue *out,
                       struct rz_err *err);

#endif

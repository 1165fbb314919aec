/* jinja_value.h - what values are made of, and the state of a rendering that everything needs to make some.
 *
 * An error is kept in the state (struct rz_jenv): the first one wins, functions go on with undefined values
 * and every loop ends when rz_j_step says false.
 */
#ifndef RZ_JINJA_VALUE_H
#define RZ_JINJA_VALUE_H

#include "err.h"
#include "jinja.h"

#include <string.h>

#define RZ_J_MARKUP 1u /* flag of a string: |safe or |escape was applied */

/* How deep values may be nested for printing, comparing and JSON. */
#define RZ_J_NEST_MAX 400

/* Bytes from..to-1 of a text. */
struct rz_jspan {
    size_t from, to;
};

/* Which bytes behind base came from outside: spans in ascending order, apart from each other. */
struct rz_jmarks {
    const char *base;
    const struct rz_jspan *spans;
    size_t n;
};

struct rz_jstr {
    const char *p;                 /* valid UTF-8 */
    size_t n;                      /* bytes       */
    size_t chars;                  /* code points */
    const struct rz_jmarks *marks; /* shared by the parts of a string; NULL: all is the template's own */
};

/* A text that is being made, and which of its bytes came from outside. */
struct rz_jtext {
    struct rz_buf b;
    struct rz_jspan *spans;
    size_t n, cap;
};

#define RZ_J_LIST 0u
#define RZ_J_TUPLE 1u
#define RZ_J_RANGE 2u
#define RZ_J_KEYS 3u /* the views of a dict */
#define RZ_J_VALUES 4u
#define RZ_J_ITEMS 5u
#define RZ_J_ITER 6u /* can be gone through once: what map, select and others give */

struct rz_jseq {
    struct rz_jvalue *items;
    size_t n, cap;
    size_t at; /* RZ_J_ITER: items that were taken */
    uint32_t kind;
    int64_t start, stop, step; /* RZ_J_RANGE */
};

struct rz_jpair {
    struct rz_jvalue key, value;
};

struct rz_jdict {
    struct rz_jpair *pairs; /* in the order in which they were put */
    uint32_t *sorted;       /* sealed: the string keys by bytes    */
    size_t n, cap, n_sorted;
};

struct rz_jscope;
struct rz_template;

/* A rendering. */
struct rz_jenv {
    struct rz_arena arena;
    const struct rz_template *t;
    const struct rz_jdict *context;
    struct rz_template_limits limits;
    uint64_t steps; /* left */
    uint32_t line;
    uint32_t depth, macros; /* nesting of evaluation and of macros */
    struct rz_jscope *scope;
    struct rz_jtext *out;
    bool failed;
    struct rz_err *err;
};

/* Undefined values know what they would have been. */
struct rz_jundef {
    const char *owner; /* type of the object without this attribute; NULL: a variable */
    struct rz_jvalue name;
};

#define RZ_J_VOID ((struct rz_jvalue){.type = RZ_J_UNDEFINED})
#define RZ_J_NULL ((struct rz_jvalue){.type = RZ_J_NONE})

static inline struct rz_jvalue rz_j_bool(bool b)
{
    return (struct rz_jvalue){.type = RZ_J_BOOL, .u.i = b};
}
static inline struct rz_jvalue rz_j_int(int64_t i)
{
    return (struct rz_jvalue){.type = RZ_J_INT, .u.i = i};
}
static inline struct rz_jvalue rz_j_float(double f)
{
    return (struct rz_jvalue){.type = RZ_J_FLOAT, .u.f = f};
}
static inline struct rz_jvalue rz_j_seqv(struct rz_jseq *s)
{
    return s ? (struct rz_jvalue){.type = RZ_J_SEQ, .u.seq = s} : RZ_J_VOID;
}
static inline struct rz_jvalue rz_j_dictv(struct rz_jdict *d)
{
    return d ? (struct rz_jvalue){.type = RZ_J_DICT, .u.dict = d} : RZ_J_VOID;
}
static inline bool rz_j_is_str(struct rz_jvalue v)
{
    return v.type == RZ_J_STRING;
}
static inline bool rz_j_is_int(struct rz_jvalue v) /* as Python has it: True is 1 */
{
    return v.type == RZ_J_INT || v.type == RZ_J_BOOL;
}
static inline bool rz_j_is_num(struct rz_jvalue v)
{
    return rz_j_is_int(v) || v.type == RZ_J_FLOAT;
}
static inline bool rz_j_is_kind(struct rz_jvalue v, uint32_t kind)
{
    return v.type == RZ_J_SEQ && v.u.seq->kind == kind;
}
static inline double rz_j_num(struct rz_jvalue v)
{
    return v.type == RZ_J_FLOAT ? v.u.f : (double)v.u.i;
}

/* --- jinja_value.c --- */

/* Ends the rendering with an error at the present line. Returns an undefined value. */
struct rz_jvalue rz_j_fail(struct rz_jenv *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct rz_jvalue rz_j_limit(struct rz_jenv *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Pays for n steps; false: the rendering has ended. */
bool rz_j_step(struct rz_jenv *e, uint64_t n);
/* Memory of the rendering, zeroed; NULL: it has ended. */
void *rz_j_alloc(struct rz_jenv *e, size_t n, size_t each);
/* rz_arena_grow in that memory. */
void *rz_j_grow(struct rz_jenv *e, void *array, size_t n, size_t *cap, size_t each, size_t first);

/* A copy of bytes that are valid UTF-8. */
struct rz_jvalue rz_j_str(struct rz_jenv *e, const char *p, size_t n);
struct rz_jvalue rz_j_cstr(struct rz_jenv *e, const char *p);
/* A part of the bytes of a string, not copied. */
struct rz_jvalue rz_j_part(struct rz_jenv *e, struct rz_jvalue s, size_t from, size_t n);
/* Takes the text, which is freed. */
struct rz_jvalue rz_j_take(struct rz_jenv *e, struct rz_jtext *t);
/* Room for a string that is being made. What is put into t->b directly counts as the template's own. */
void rz_j_text(struct rz_jenv *e, struct rz_jtext *t);
bool rz_j_eq_text(struct rz_jvalue v, const char *text);
/* Byte offset of a code point; chars beyond the end: n. */
size_t rz_j_offset(const struct rz_jstr *s, size_t chars);
size_t rz_j_count(const char *p, size_t n);

struct rz_jseq *rz_j_seq(struct rz_jenv *e, uint32_t kind, size_t cap);
bool rz_j_push(struct rz_jenv *e, struct rz_jseq *s, struct rz_jvalue v);
struct rz_jvalue rz_j_tuple2(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b);
/* Any key; NULL: not there. A key that cannot be hashed fails. */
const struct rz_jvalue *rz_j_find(struct rz_jenv *e, const struct rz_jdict *d, struct rz_jvalue key);
void rz_j_put(struct rz_jenv *e, struct rz_jdict *d, struct rz_jvalue key, struct rz_jvalue value);
struct rz_jdict *rz_j_dict(struct rz_jenv *e, size_t cap);

/* --- jinja_mark.c: which bytes came from outside --- */

/* Appends n bytes of s with their marks. */
void rz_j_add(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jstr *s, size_t from, size_t n);
/* The bytes of t from `at` on are what became of n bytes of s: marked if any of those are. */
void rz_j_became(struct rz_jenv *e, struct rz_jtext *t, size_t at, const struct rz_jstr *s, size_t from,
                 size_t n);

/* --- jinja_ops.c --- */

const char *rz_j_type_name(struct rz_jvalue v);
bool rz_j_true(struct rz_jenv *e, struct rz_jvalue v);
bool rz_j_equal(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b);
/* <0, 0, >0; op is for the message. Values without an order fail. */
int rz_j_order(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b, const char *op);
bool rz_j_contains(struct rz_jenv *e, struct rz_jvalue box, struct rz_jvalue v);
struct rz_jvalue rz_j_arith(struct rz_jenv *e, int op, struct rz_jvalue a, struct rz_jvalue b);
struct rz_jvalue rz_j_negate(struct rz_jenv *e, struct rz_jvalue v, bool minus);
struct rz_jvalue rz_j_slice(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jvalue range[3]);
/* "'x' is undefined" and fails. */
struct rz_jvalue rz_j_undefined(struct rz_jenv *e, struct rz_jvalue v);
/* The items of anything that can be gone through; NULL: failed. An iterator is used up by it. */
struct rz_jseq *rz_j_items(struct rz_jenv *e, struct rz_jvalue v);
/* len(v); fails where Python does. */
size_t rz_j_len(struct rz_jenv *e, struct rz_jvalue v);

/* --- jinja_text.c: str(), repr() and JSON --- */

struct rz_json_style {
    bool ascii, sort, pretty;
    struct rz_jvalue indent;          /* of one level; pretty only */
    const struct rz_jstr *item, *key; /* separators */
};
void rz_j_print(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v);
void rz_j_repr(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v, unsigned depth);
struct rz_jvalue rz_j_to_str(struct rz_jenv *e, struct rz_jvalue v);
void rz_j_json(struct rz_jenv *e, struct rz_jtext *t, struct rz_jvalue v, const struct rz_json_style *style,
               unsigned depth);
/* As Python's repr writes it; out has 32 bytes. */
void rz_j_float_text(double f, char *out);

/* --- jinja_chars.c: characters --- */

bool rz_j_space(uint32_t cp);
bool rz_j_printable(uint32_t cp);
struct rz_jvalue rz_j_upper(struct rz_jenv *e, struct rz_jvalue s);
struct rz_jvalue rz_j_lower(struct rz_jenv *e, struct rz_jvalue s);
struct rz_jvalue rz_j_title(struct rz_jenv *e, struct rz_jvalue s, bool filter);
struct rz_jvalue rz_j_capitalize(struct rz_jenv *e, struct rz_jvalue s);
/* isalpha and so on: what is 'a' alpha, 'd' digit, 'n' alnum, 's' space, 'u' upper, 'l' lower, 'N' numeric */
bool rz_j_all(struct rz_jvalue s, char what);
/* Without white space (set: those characters) at the sides: 1 left, 2 right. */
struct rz_jvalue rz_j_strip(struct rz_jenv *e, struct rz_jvalue s, const struct rz_jvalue *set, int sides);
struct rz_jvalue rz_j_escape(struct rz_jenv *e, struct rz_jvalue v);

#endif

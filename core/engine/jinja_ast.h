/* jinja_ast.h - a parsed template: nodes in an arena, names as numbers. */
#ifndef RZ_JINJA_AST_H
#define RZ_JINJA_AST_H

#include "jinja_value.h"

/* expressions */
enum {
    RZ_JN_CONST,
    RZ_JN_NAME,    /* name */
    RZ_JN_TUPLE,   /* list */
    RZ_JN_LIST,    /* list */
    RZ_JN_DICT,    /* list: key, value, key, ... */
    RZ_JN_ATTR,    /* a.value */
    RZ_JN_ITEM,    /* a[b] */
    RZ_JN_SLICE,   /* a[b:c:d] */
    RZ_JN_CALL,    /* a(list) */
    RZ_JN_FILTER,  /* a|value(list); a NULL in filter blocks */
    RZ_JN_TEST,    /* a is value(list) */
    RZ_JN_NOT,     /* a */
    RZ_JN_NEG,     /* a */
    RZ_JN_POS,     /* a */
    RZ_JN_AND,     /* a, b */
    RZ_JN_OR,      /* a, b */
    RZ_JN_ARITH,   /* op: a, b */
    RZ_JN_CONCAT,  /* list */
    RZ_JN_COMPARE, /* a, list of RZ_JN_OPERAND */
    RZ_JN_OPERAND, /* op, a */
    RZ_JN_COND,    /* a if b else c */
    RZ_JN_ARG,     /* in a list of arguments: value = a; op 1: *a, op 2: **a */
    /* statements */
    RZ_JN_TEXT,        /* value */
    RZ_JN_OUTPUT,      /* a */
    RZ_JN_IF,          /* list: condition (or NULL = a of RZ_JN_BRANCH), body */
    RZ_JN_BRANCH,      /* a (NULL: else), list */
    RZ_JN_FOR,         /* a target, b iterable, c condition, list body, list2 else */
    RZ_JN_SET,         /* a target, b */
    RZ_JN_SETBLOCK,    /* a target, b filter, list */
    RZ_JN_NSREF,       /* target: name.value */
    RZ_JN_MACRO,       /* name, list parameters (RZ_JN_PARAM), list2 body, op RZ_JM_* */
    RZ_JN_PARAM,       /* name, a default */
    RZ_JN_CALLBLOCK,   /* a call, b macro */
    RZ_JN_FILTERBLOCK, /* a filter, list */
    RZ_JN_SCOPE,       /* list in a scope of its own; list2: RZ_JN_SET to do first, values from outside */
    RZ_JN_BREAK,
    RZ_JN_CONTINUE,
};

/* RZ_JN_ARITH and RZ_JN_OPERAND */
enum {
    RZ_JO_ADD = 1,
    RZ_JO_SUB,
    RZ_JO_MUL,
    RZ_JO_DIV,
    RZ_JO_FLOORDIV,
    RZ_JO_MOD,
    RZ_JO_POW,
    RZ_JO_EQ,
    RZ_JO_NE,
    RZ_JO_LT,
    RZ_JO_LE,
    RZ_JO_GT,
    RZ_JO_GE,
    RZ_JO_IN,
    RZ_JO_NOTIN,
};

#define RZ_JM_CALLER 1 /* the macro's body uses caller, varargs, kwargs */
#define RZ_JM_VARARGS 2
#define RZ_JM_KWARGS 4

struct rz_jnode {
    uint8_t kind, op;
    uint32_t line;
    uint32_t name; /* number of a name */
    struct rz_jnode *a, *b, *c, *d;
    struct rz_jnode *list, *list2, *next;
    struct rz_jvalue value;
    int32_t builtin; /* of a filter or test; -1: unknown */
};

struct rz_template {
    struct rz_arena arena;
    struct rz_jnode *body;
    struct rz_jvalue *names;
    uint32_t n_names;
    size_t cap_names;
};

/* tokens: jinja_lex.c */
enum {
    RZ_JT_END,
    RZ_JT_TEXT,
    RZ_JT_OPEN_BLOCK,
    RZ_JT_CLOSE_BLOCK,
    RZ_JT_OPEN_OUTPUT,
    RZ_JT_CLOSE_OUTPUT,
    RZ_JT_NAME,
    RZ_JT_STRING,
    RZ_JT_INT,
    RZ_JT_FLOAT,
    RZ_JT_OP, /* op: its characters, the first in the low byte */
};

#define RZ_J_OP2(a, b) ((uint32_t)(a) | (uint32_t)(b) << 8)

struct rz_jtoken {
    uint8_t type;
    uint32_t op, line;
    struct rz_jvalue value; /* text, name (without escapes), string, number */
};

struct rz_jlex {
    struct rz_arena *arena;
    const char *p, *end; /* lines end in \n alone */
    uint32_t line;
    uint8_t mode;    /* 0 text, RZ_JT_OPEN_BLOCK, RZ_JT_OPEN_OUTPUT */
    uint8_t pending; /* opened behind the text that was given out; RZ_JT_END: none */
    bool line_start;
    char brackets[128];
    uint32_t n_brackets;
    struct rz_err *err;
    bool failed;
};

bool rz_jlex_init(struct rz_jlex *l, struct rz_arena *arena, const char *text, size_t n, struct rz_err *err);
/* The next token; RZ_JT_END also when it failed. */
struct rz_jtoken rz_jlex_next(struct rz_jlex *l);

/* The parser. */
struct rz_jparse {
    struct rz_jlex lex;
    struct rz_template *t;
    struct rz_jtoken now, then; /* the present token and the one after it */
    uint32_t depth, loops, tag_line;
    uint8_t macro; /* RZ_JM_* seen */
    bool soft;     /* an unknown filter is an error only when it is used */
    bool failed;
    struct rz_jnode spare; /* stands in where there is no memory */
    struct rz_err *err;
};

/* --- jinja_parse.c and jinja_expr.c --- */

void rz_jp_fail(struct rz_jparse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rz_jp_next(struct rz_jparse *p);
bool rz_jp_is_op(const struct rz_jparse *p, const char *op);
bool rz_jp_is_name(const struct rz_jparse *p, const char *name);
bool rz_jp_skip_op(struct rz_jparse *p, const char *op);
bool rz_jp_skip_name(struct rz_jparse *p, const char *name);
void rz_jp_want_op(struct rz_jparse *p, const char *op);
struct rz_jnode *rz_jp_node(struct rz_jparse *p, uint8_t kind);
uint32_t rz_jp_intern(struct rz_jparse *p, struct rz_jvalue name);
/* Never NULL before a failure; what comes after one is not to be used. */
struct rz_jnode *rz_jp_expr(struct rz_jparse *p, bool with_cond);
/* One expression, or several as a tuple; ends before `stop` (a name) if not NULL. */
struct rz_jnode *rz_jp_tuple(struct rz_jparse *p, bool with_cond, const char *stop, bool parens);
struct rz_jnode *rz_jp_args(struct rz_jparse *p);
struct rz_jnode *rz_jp_primary(struct rz_jparse *p);
struct rz_jnode *rz_jp_postfix(struct rz_jparse *p, struct rz_jnode *n);
/* What follows a `|`, or in a filter block the first filter without one. */
struct rz_jnode *rz_jp_filters(struct rz_jparse *p, struct rz_jnode *n, bool inside);

/* --- jinja_eval.c --- */

struct rz_jvar {
    uint32_t name;
    struct rz_jvalue value;
};

struct rz_jscope {
    struct rz_jscope *parent;
    struct rz_jvar *vars;
    uint32_t n;
    size_t cap;
};

#define RZ_J_ARGS_MAX 255

struct rz_jarg {
    struct rz_jvalue name; /* a string */
    struct rz_jvalue value;
};

/* The arguments of a call. */
struct rz_jargs {
    uint32_t n, n_named;
    struct rz_jvalue *v;
    struct rz_jarg *named;
    size_t cap, cap_named;
};

struct rz_jmacro {
    const struct rz_jnode *node;
    struct rz_jscope *scope;
};

struct rz_jmethod {
    struct rz_jvalue self;
    int32_t id;
};

struct rz_jloop {
    struct rz_jseq *items;
    size_t at;
    uint32_t depth;
    struct rz_jvalue changed;
    bool has_changed;
};

struct rz_jvalue rz_j_eval(struct rz_jenv *e, const struct rz_jnode *n);
bool rz_j_args(struct rz_jenv *e, const struct rz_jnode *list, struct rz_jargs *out);
struct rz_jvalue rz_j_call(struct rz_jenv *e, struct rz_jvalue f, const struct rz_jargs *args);
struct rz_jvalue rz_j_attr(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue name);
struct rz_jvalue rz_j_item(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue key);
void rz_j_set(struct rz_jenv *e, uint32_t name, struct rz_jvalue v);
struct rz_jscope *rz_j_push_scope(struct rz_jenv *e, struct rz_jscope *parent);
void rz_jargs_add(struct rz_jenv *e, struct rz_jargs *args, struct rz_jvalue v);
void rz_jargs_name(struct rz_jenv *e, struct rz_jargs *args, struct rz_jvalue name, struct rz_jvalue v);
/* The argument at position i or of this name; fallback if neither is there. */
struct rz_jvalue rz_jargs_get(const struct rz_jargs *args, uint32_t i, const char *name,
                              struct rz_jvalue fallback);
bool rz_jargs_has(const struct rz_jargs *args, uint32_t i, const char *name);
/* Fails unless there are min..max arguments and each named one is in the list (NULL at the end). */
bool rz_jargs_check(struct rz_jenv *e, const char *what, const struct rz_jargs *args, uint32_t min,
                    const char *const *names);

/* --- jinja_run.c: statements and macros --- */

struct rz_jvalue rz_j_call_macro(struct rz_jenv *e, const struct rz_jmacro *m, const struct rz_jargs *args);

/* --- the tables: number of a name, or -1; and what the numbers do --- */

int32_t rz_jfilter_find(const char *name, size_t n);
struct rz_jvalue rz_jfilter_apply(struct rz_jenv *e, int32_t id, struct rz_jvalue v,
                                  const struct rz_jargs *args);
int32_t rz_jtest_find(const char *name, size_t n);
bool rz_jtest_apply(struct rz_jenv *e, int32_t id, struct rz_jvalue v, const struct rz_jargs *args);
/* A method that changes its object: it exists in Python, but not in the sandbox, where it is undefined. */
#define RZ_JMETHOD_FORBIDDEN 1000
int32_t rz_jmethod_find(struct rz_jvalue self, const char *name, size_t n);
struct rz_jvalue rz_jmethod_call(struct rz_jenv *e, const struct rz_jmethod *m, const struct rz_jargs *args);
struct rz_jvalue rz_jstr_method(struct rz_jenv *e, struct rz_jvalue self, int32_t id,
                                const struct rz_jargs *args);
int32_t rz_jfunc_find(const char *name, size_t n);
struct rz_jvalue rz_jfunc_call(struct rz_jenv *e, int32_t id, const struct rz_jargs *args);
struct rz_jvalue rz_jloop_attr(struct rz_jenv *e, struct rz_jloop *loop, struct rz_jvalue name);
/* filters of sequences: jinja_seqfilters.c */
struct rz_jvalue rz_jfilter_map(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args);
struct rz_jvalue rz_jfilter_select(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args,
                                   bool attr, bool want);
struct rz_jvalue rz_jfilter_sort(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args);
struct rz_jvalue rz_jfilter_dictsort(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args);
struct rz_jvalue rz_jfilter_unique(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args);
struct rz_jvalue rz_jfilter_minmax(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args,
                                   bool max);
struct rz_jvalue rz_jfilter_sum(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jargs *args);
/* str.replace; count < 0: all */
struct rz_jvalue rz_j_replace(struct rz_jenv *e, struct rz_jvalue s, struct rz_jvalue from,
                              struct rz_jvalue to, int64_t count);
struct rz_jvalue rz_j_join(struct rz_jenv *e, struct rz_jvalue by, struct rz_jvalue list, bool any);
/* "..." % args */
struct rz_jvalue rz_j_percent(struct rz_jenv *e, struct rz_jvalue format, struct rz_jvalue args);
/* "...".format(args) */
struct rz_jvalue rz_j_format(struct rz_jenv *e, struct rz_jvalue format, const struct rz_jargs *args);

#endif

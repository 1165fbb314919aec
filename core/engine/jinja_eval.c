/* jinja_eval.c - expressions to values: names, attributes, calls, and the rest by jinja_ops.c.
 */
#include "jinja_ast.h"

#define VALUES_MAX (1u << 20) /* arguments of a call */
#define NAMED_MAX (1u << 12)
#define DEPTH_MAX 600 /* expressions and blocks within each other, macros included */

static struct rz_jvalue undefined(struct rz_jenv *e, const char *owner, struct rz_jvalue name)
{
    struct rz_jundef *u = rz_j_alloc(e, 1, sizeof(*u));
    if (!u)
        return RZ_J_VOID;
    *u = (struct rz_jundef){.owner = owner, .name = name};
    return (struct rz_jvalue){.type = RZ_J_UNDEFINED, .u.p = u};
}

/* --- scopes --- */

struct rz_jscope *rz_j_push_scope(struct rz_jenv *e, struct rz_jscope *parent)
{
    struct rz_jscope *s = rz_j_alloc(e, 1, sizeof(*s));
    if (s)
        s->parent = parent;
    return s;
}

void rz_j_set(struct rz_jenv *e, uint32_t name, struct rz_jvalue v)
{
    struct rz_jscope *s = e->scope;
    if (e->failed)
        return;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->vars[i].name == name) {
            s->vars[i].value = v;
            return;
        }
    struct rz_jvar *vars = rz_j_grow(e, s->vars, s->n, &s->cap, sizeof(*vars), 4);
    if (!vars)
        return;
    s->vars = vars;
    s->vars[s->n++] = (struct rz_jvar){name, v};
}

static struct rz_jvalue lookup(struct rz_jenv *e, const struct rz_jnode *n)
{
    for (const struct rz_jscope *s = e->scope; s; s = s->parent)
        for (uint32_t i = 0; i < s->n; i++)
            if (s->vars[i].name == n->name)
                return s->vars[i].value;
    struct rz_jvalue name = e->t->names[n->name];
    const struct rz_jvalue *v = rz_jdict_text(e->context, name.u.s->p, name.u.s->n);
    if (v)
        return *v;
    if (n->builtin >= 0)
        return (struct rz_jvalue){.type = RZ_J_FUNC, .u.i = n->builtin};
    return undefined(e, NULL, name);
}

/* --- attributes and items --- */

static struct rz_jvalue method(struct rz_jenv *e, struct rz_jvalue self, int32_t id)
{
    struct rz_jmethod *m = rz_j_alloc(e, 1, sizeof(*m));
    if (!m)
        return RZ_J_VOID;
    *m = (struct rz_jmethod){.self = self, .id = id};
    return (struct rz_jvalue){.type = RZ_J_METHOD, .u.p = m};
}

/* What the type itself has under this name; false: nothing. */
static bool own_attr(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue name, struct rz_jvalue *out)
{
    const struct rz_jvalue *found;
    if (v.type == RZ_J_NAMESPACE) {
        found = rz_jdict_text(v.u.dict, name.u.s->p, name.u.s->n);
        *out = found ? *found : RZ_J_VOID;
        return found != NULL;
    }
    if (v.type == RZ_J_LOOP) {
        *out = rz_jloop_attr(e, v.u.p, name);
        return out->type != RZ_J_UNDEFINED || !out->u.p;
    }
    if (v.type == RZ_J_MACRO && rz_j_eq_text(name, "name")) {
        const struct rz_jmacro *m = v.u.p;
        *out = m->node->name < e->t->n_names ? e->t->names[m->node->name] : RZ_J_NULL;
        return true;
    }
    int32_t id = rz_jmethod_find(v, name.u.s->p, name.u.s->n);
    if (id >= 0)
        *out = id == RZ_JMETHOD_FORBIDDEN ? undefined(e, rz_j_type_name(v), name) : method(e, v, id);
    return id >= 0;
}

struct rz_jvalue rz_j_attr(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue name)
{
    struct rz_jvalue out;
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, v);
    if (own_attr(e, v, name, &out))
        return out;
    const struct rz_jvalue *found = v.type == RZ_J_DICT ? rz_j_find(e, v.u.dict, name) : NULL;
    return found ? *found : undefined(e, rz_j_type_name(v), name);
}

static bool index_of(struct rz_jvalue key, size_t n, size_t *at)
{
    if (!rz_j_is_int(key) || key.u.i >= (int64_t)n || key.u.i < -(int64_t)n)
        return false;
    *at = (size_t)(key.u.i < 0 ? key.u.i + (int64_t)n : key.u.i);
    return true;
}

struct rz_jvalue rz_j_item(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue key)
{
    struct rz_jvalue out;
    size_t at;
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, v);
    if (v.type == RZ_J_DICT) {
        if (key.type == RZ_J_DICT || rz_j_is_kind(key, RZ_J_LIST)) /* cannot be a key */
            return undefined(e, rz_j_type_name(v), key);
        const struct rz_jvalue *found = rz_j_find(e, v.u.dict, key);
        if (found)
            return *found;
    } else if (v.type == RZ_J_SEQ && v.u.seq->kind <= RZ_J_RANGE && index_of(key, v.u.seq->n, &at)) {
        return v.u.seq->items[at];
    } else if (rz_j_is_str(v) && index_of(key, v.u.s->chars, &at)) {
        if (!rz_j_step(e, v.u.s->chars == v.u.s->n ? 0 : v.u.s->n / 64))
            return RZ_J_VOID;
        size_t from = rz_j_offset(v.u.s, at);
        return rz_j_part(e, v, from, rz_j_offset(v.u.s, at + 1) - from);
    }
    if (rz_j_is_str(key) && own_attr(e, v, key, &out))
        return out;
    return undefined(e, rz_j_type_name(v), key);
}

/* --- calls --- */

void rz_jargs_add(struct rz_jenv *e, struct rz_jargs *args, struct rz_jvalue v)
{
    struct rz_jvalue *more = NULL;
    if (args->n < VALUES_MAX)
        more = rz_j_grow(e, args->v, args->n, &args->cap, sizeof(*more), 4);
    if (!more) {
        rz_j_limit(e, "too many arguments");
        return;
    }
    args->v = more;
    args->v[args->n++] = v;
}

void rz_jargs_name(struct rz_jenv *e, struct rz_jargs *args, struct rz_jvalue name, struct rz_jvalue v)
{
    for (uint32_t i = 0; i < args->n_named; i++)
        if (rz_j_equal(e, args->named[i].name, name)) {
            rz_j_fail(e, "an argument is given twice");
            return;
        }
    struct rz_jarg *more = NULL;
    if (args->n_named < NAMED_MAX)
        more = rz_j_grow(e, args->named, args->n_named, &args->cap_named, sizeof(*more), 4);
    if (!more) {
        rz_j_limit(e, "too many arguments");
        return;
    }
    args->named = more;
    args->named[args->n_named++] = (struct rz_jarg){name, v};
}

static void star_arg(struct rz_jenv *e, const struct rz_jnode *n, struct rz_jvalue v, struct rz_jargs *out)
{
    if (n->op == 1) {
        struct rz_jseq *s = rz_j_items(e, v);
        for (size_t i = 0; s && i < s->n && rz_j_step(e, 1); i++)
            rz_jargs_add(e, out, s->items[i]);
        return;
    }
    if (v.type != RZ_J_DICT) {
        rz_j_fail(e, "argument after ** must be a mapping, not %s", rz_j_type_name(v));
        return;
    }
    for (size_t i = 0; i < v.u.dict->n && rz_j_step(e, 1); i++) {
        if (!rz_j_is_str(v.u.dict->pairs[i].key))
            rz_j_fail(e, "keywords must be strings");
        else
            rz_jargs_name(e, out, v.u.dict->pairs[i].key, v.u.dict->pairs[i].value);
    }
}

bool rz_j_args(struct rz_jenv *e, const struct rz_jnode *list, struct rz_jargs *out)
{
    *out = (struct rz_jargs){0};
    for (const struct rz_jnode *n = list; n && !e->failed; n = n->next) {
        struct rz_jvalue v = rz_j_eval(e, n->a);
        if (n->op)
            star_arg(e, n, v, out);
        else if (rz_j_is_str(n->value))
            rz_jargs_name(e, out, n->value, v);
        else
            rz_jargs_add(e, out, v);
    }
    return !e->failed;
}

struct rz_jvalue rz_jargs_get(const struct rz_jargs *args, uint32_t i, const char *name,
                              struct rz_jvalue fallback)
{
    if (i < args->n)
        return args->v[i];
    for (uint32_t k = 0; name && k < args->n_named; k++)
        if (rz_j_eq_text(args->named[k].name, name))
            return args->named[k].value;
    return fallback;
}

bool rz_jargs_has(const struct rz_jargs *args, uint32_t i, const char *name)
{
    if (i < args->n)
        return true;
    for (uint32_t k = 0; name && k < args->n_named; k++)
        if (rz_j_eq_text(args->named[k].name, name))
            return true;
    return false;
}

bool rz_jargs_check(struct rz_jenv *e, const char *what, const struct rz_jargs *args, uint32_t min,
                    const char *const *names)
{
    uint32_t max = 0, got = 0;
    for (; names[max]; max++)
        got += max < min && rz_jargs_has(args, max, names[max]);
    if (args->n > max)
        rz_j_fail(e, "%s: %u arguments, at most %u", what, args->n, max);
    else if (got < min)
        rz_j_fail(e, "%s: the argument %s is missing", what, names[got]);
    for (uint32_t i = 0; i < args->n_named && !e->failed; i++) {
        char shown[64];
        const struct rz_jstr *s = args->named[i].name.u.s;
        uint32_t k = 0;
        while (k < max && !rz_j_eq_text(args->named[i].name, names[k]))
            k++;
        if (k == max || k < args->n)
            rz_j_fail(e, "%s: unexpected argument '%s'", what, rz_show(shown, sizeof(shown), s->p, s->n));
    }
    return !e->failed;
}

static struct rz_jvalue cycle(struct rz_jenv *e, const struct rz_jmethod *m, const struct rz_jargs *args)
{
    struct rz_jloop *loop = m->self.u.p;
    if (m->id == 0) {
        if (!args->n)
            return rz_j_fail(e, "no items for cycling given");
        return args->v[loop->at % args->n];
    }
    struct rz_jseq *now = rz_j_seq(e, RZ_J_TUPLE, args->n);
    for (uint32_t i = 0; i < args->n; i++)
        rz_j_push(e, now, args->v[i]);
    bool same = loop->has_changed && rz_j_equal(e, loop->changed, rz_j_seqv(now));
    loop->changed = rz_j_seqv(now);
    loop->has_changed = true;
    return rz_j_bool(!same);
}

struct rz_jvalue rz_j_call(struct rz_jenv *e, struct rz_jvalue f, const struct rz_jargs *args)
{
    if (!rz_j_step(e, 1))
        return RZ_J_VOID;
    switch (f.type) {
    case RZ_J_MACRO:
        return rz_j_call_macro(e, f.u.p, args);
    case RZ_J_FUNC:
        return rz_jfunc_call(e, (int32_t)f.u.i, args);
    case RZ_J_METHOD: {
        const struct rz_jmethod *m = f.u.p;
        return m->self.type == RZ_J_LOOP ? cycle(e, m, args) : rz_jmethod_call(e, m, args);
    }
    case RZ_J_UNDEFINED:
        return rz_j_undefined(e, f);
    default:
        return rz_j_fail(e, "'%s' object is not callable", rz_j_type_name(f));
    }
}

/* --- nodes --- */

static struct rz_jvalue eval_list(struct rz_jenv *e, const struct rz_jnode *n, uint32_t kind)
{
    struct rz_jseq *s = rz_j_seq(e, kind, 0);
    for (const struct rz_jnode *x = n->list; x && s && !e->failed; x = x->next)
        rz_j_push(e, s, rz_j_eval(e, x));
    return rz_j_seqv(s);
}

static struct rz_jvalue eval_dict(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jdict *d = rz_j_dict(e, 0);
    for (const struct rz_jnode *x = n->list; x && x->next && d && !e->failed; x = x->next->next) {
        struct rz_jvalue key = rz_j_eval(e, x);
        rz_j_put(e, d, key, rz_j_eval(e, x->next));
    }
    return rz_j_dictv(d);
}

static struct rz_jvalue eval_concat(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jtext t;
    rz_j_text(e, &t);
    for (const struct rz_jnode *x = n->list; x && !e->failed; x = x->next)
        rz_j_print(e, &t, rz_j_eval(e, x));
    return rz_j_take(e, &t);
}

static bool compare(struct rz_jenv *e, int op, struct rz_jvalue a, struct rz_jvalue b)
{
    static const char *const text[] = {"<", "<=", ">", ">="};
    switch (op) {
    case RZ_JO_EQ:
        return rz_j_equal(e, a, b);
    case RZ_JO_NE:
        return !rz_j_equal(e, a, b);
    case RZ_JO_IN:
        return rz_j_contains(e, b, a);
    case RZ_JO_NOTIN:
        return !rz_j_contains(e, b, a);
    default:
        break;
    }
    int c = rz_j_order(e, a, b, text[op - RZ_JO_LT]);
    if (rz_j_is_num(a) && rz_j_is_num(b) && !(rz_j_num(a) <= rz_j_num(b)) && !(rz_j_num(a) >= rz_j_num(b)))
        return false; /* NaN */
    return op == RZ_JO_LT ? c < 0 : op == RZ_JO_LE ? c <= 0 : op == RZ_JO_GT ? c > 0 : c >= 0;
}

static struct rz_jvalue eval_compare(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jvalue a = rz_j_eval(e, n->a);
    bool is = true;
    for (const struct rz_jnode *x = n->list; x && is && !e->failed; x = x->next) {
        struct rz_jvalue b = rz_j_eval(e, x->a);
        e->line = n->line;
        is = compare(e, x->op, a, b);
        a = b;
    }
    return rz_j_bool(is);
}

static struct rz_jvalue eval_slice(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jvalue v = rz_j_eval(e, n->a);
    struct rz_jvalue range[3] = {n->b ? rz_j_eval(e, n->b) : RZ_J_NULL, n->c ? rz_j_eval(e, n->c) : RZ_J_NULL,
                                 n->d ? rz_j_eval(e, n->d) : RZ_J_NULL};
    return e->failed ? RZ_J_VOID : rz_j_slice(e, v, range);
}

static struct rz_jvalue eval_builtin(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jargs args;
    char shown[64];
    struct rz_jvalue v = rz_j_eval(e, n->a);
    if (!rz_j_args(e, n->list, &args))
        return RZ_J_VOID;
    e->line = n->line;
    if (n->builtin < 0)
        return rz_j_fail(e, "no %s named '%s'", n->kind == RZ_JN_FILTER ? "filter" : "test",
                         rz_show(shown, sizeof(shown), n->value.u.s->p, n->value.u.s->n));
    if (n->kind == RZ_JN_FILTER)
        return rz_jfilter_apply(e, n->builtin, v, &args);
    return rz_j_bool(rz_jtest_apply(e, n->builtin, v, &args));
}

static struct rz_jvalue eval_call(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jargs args;
    struct rz_jvalue f = rz_j_eval(e, n->a);
    if (!rz_j_args(e, n->list, &args))
        return RZ_J_VOID;
    e->line = n->line;
    return rz_j_call(e, f, &args);
}

static struct rz_jvalue eval_two(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jvalue a = rz_j_eval(e, n->a), b;
    if (n->kind == RZ_JN_AND)
        return rz_j_true(e, a) ? rz_j_eval(e, n->b) : a;
    if (n->kind == RZ_JN_OR)
        return rz_j_true(e, a) ? a : rz_j_eval(e, n->b);
    b = rz_j_eval(e, n->b);
    if (e->failed)
        return RZ_J_VOID;
    e->line = n->line;
    return n->kind == RZ_JN_ITEM ? rz_j_item(e, a, b) : rz_j_arith(e, n->op, a, b);
}

static struct rz_jvalue eval_attr(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jvalue v = rz_j_eval(e, n->a);
    e->line = n->line;
    return e->failed ? RZ_J_VOID : rz_j_attr(e, v, n->value);
}

static struct rz_jvalue eval_cond(struct rz_jenv *e, const struct rz_jnode *n)
{
    if (rz_j_true(e, rz_j_eval(e, n->b)))
        return rz_j_eval(e, n->a);
    return n->c ? rz_j_eval(e, n->c) : RZ_J_VOID;
}

static struct rz_jvalue eval(struct rz_jenv *e, const struct rz_jnode *n)
{
    switch (n->kind) {
    case RZ_JN_CONST:
        return n->value;
    case RZ_JN_NAME:
        return lookup(e, n);
    case RZ_JN_TUPLE:
        return eval_list(e, n, RZ_J_TUPLE);
    case RZ_JN_LIST:
        return eval_list(e, n, RZ_J_LIST);
    case RZ_JN_DICT:
        return eval_dict(e, n);
    case RZ_JN_ATTR:
        return eval_attr(e, n);
    case RZ_JN_SLICE:
        return eval_slice(e, n);
    case RZ_JN_CALL:
        return eval_call(e, n);
    case RZ_JN_FILTER:
    case RZ_JN_TEST:
        return eval_builtin(e, n);
    case RZ_JN_NOT:
        return rz_j_bool(!rz_j_true(e, rz_j_eval(e, n->a)));
    case RZ_JN_NEG:
    case RZ_JN_POS:
        return rz_j_negate(e, rz_j_eval(e, n->a), n->kind == RZ_JN_NEG);
    case RZ_JN_CONCAT:
        return eval_concat(e, n);
    case RZ_JN_COMPARE:
        return eval_compare(e, n);
    case RZ_JN_COND:
        return eval_cond(e, n);
    default:
        return eval_two(e, n);
    }
}

struct rz_jvalue rz_j_eval(struct rz_jenv *e, const struct rz_jnode *n)
{
    if (!rz_j_step(e, 1))
        return RZ_J_VOID;
    e->line = n->line;
    if (e->depth >= DEPTH_MAX)
        return rz_j_limit(e, "expressions, blocks and macros are nested deeper than %d", DEPTH_MAX);
    e->depth++;
    struct rz_jvalue v = eval(e, n);
    e->depth--;
    return e->failed ? RZ_J_VOID : v;
}

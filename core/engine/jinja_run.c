/* jinja_run.c - the statements: a template and a context to a text.
 */
#include "jinja_ast.h"

#define STEPS 500000u
#define OUTPUT ((uint64_t)64 << 20)
#define MEMORY ((uint64_t)256 << 20)
#define RANGE 100000u
#define MACROS 64u
#define DEPTH_MAX 600

/* How a list of statements ended. */
enum {
    GO_ON,
    BREAK,
    CONTINUE
};

static int run(struct rz_jenv *e, const struct rz_jnode *list);

/* Runs the list in a scope of its own. */
static int run_inside(struct rz_jenv *e, const struct rz_jnode *list)
{
    struct rz_jscope *outer = e->scope;
    struct rz_jscope *inner = rz_j_push_scope(e, outer);
    int how = GO_ON;
    if (inner) {
        e->scope = inner;
        how = run(e, list);
        e->scope = outer;
    }
    return how;
}

/* Runs the list and takes what it writes. */
static struct rz_jvalue capture(struct rz_jenv *e, const struct rz_jnode *list, int *how)
{
    struct rz_jtext t, *out = e->out;
    rz_j_text(e, &t);
    e->out = &t;
    *how = run_inside(e, list);
    e->out = out;
    return rz_j_take(e, &t);
}

static void assign(struct rz_jenv *e, const struct rz_jnode *target, struct rz_jvalue v)
{
    if (target->kind == RZ_JN_NAME) {
        rz_j_set(e, target->name, v);
    } else if (target->kind == RZ_JN_NSREF) {
        struct rz_jnode name = {
            .kind = RZ_JN_NAME, .line = target->line, .name = target->name, .builtin = -1};
        struct rz_jvalue ns = rz_j_eval(e, &name);
        if (!e->failed && ns.type != RZ_J_NAMESPACE)
            rz_j_fail(e, "cannot assign attribute on non-namespace object");
        else if (!e->failed)
            rz_j_put(e, ns.u.dict, target->value, v);
    } else {
        struct rz_jseq *s = rz_j_items(e, v);
        size_t n = 0;
        for (const struct rz_jnode *t = target->list; t; t = t->next)
            n++;
        if (s && s->n != n) {
            rz_j_fail(e, "%zu values to unpack, expected %zu", s->n, n);
            return;
        }
        n = 0;
        for (const struct rz_jnode *t = target->list; t && s && !e->failed; t = t->next)
            assign(e, t, s->items[n++]);
    }
}

/* --- loops --- */

struct rz_jvalue rz_jloop_attr(struct rz_jenv *e, struct rz_jloop *loop, struct rz_jvalue name)
{
    int64_t at = (int64_t)loop->at, n = (int64_t)loop->items->n;
    static const char *const names[] = {"index",    "index0",    "first",  "last",     "length",
                                        "revindex", "revindex0", "depth",  "previtem", "depth0",
                                        "nextitem", "cycle",     "changed"};
    int i = 0;
    while (i < 13 && !rz_j_eq_text(name, names[i]))
        i++;
    switch (i) {
    case 0:
        return rz_j_int(at + 1);
    case 1:
        return rz_j_int(at);
    case 2:
        return rz_j_bool(at == 0);
    case 3:
        return rz_j_bool(at + 1 == n);
    case 4:
        return rz_j_int(n);
    case 5:
        return rz_j_int(n - at);
    case 6:
        return rz_j_int(n - at - 1);
    case 7:
        return rz_j_int(loop->depth + 1);
    case 8:
        return at ? loop->items->items[at - 1] : RZ_J_VOID;
    case 9:
        return rz_j_int(loop->depth);
    case 10:
        return at + 1 < n ? loop->items->items[at + 1] : RZ_J_VOID;
    case 11:
    case 12: {
        struct rz_jmethod *m = rz_j_alloc(e, 1, sizeof(*m));
        if (!m)
            return RZ_J_VOID;
        *m = (struct rz_jmethod){.self = {.type = RZ_J_LOOP, .u.p = loop}, .id = i - 11};
        return (struct rz_jvalue){.type = RZ_J_METHOD, .u.p = m};
    }
    default:
        return RZ_J_VOID;
    }
}

/* The items for which the condition holds. */
static struct rz_jseq *filtered(struct rz_jenv *e, const struct rz_jnode *n, struct rz_jseq *all)
{
    struct rz_jseq *some = rz_j_seq(e, RZ_J_LIST, 0);
    struct rz_jscope *outer = e->scope;
    for (size_t i = 0; some && i < all->n && rz_j_step(e, 1); i++) {
        e->scope = rz_j_push_scope(e, outer);
        if (!e->scope)
            break;
        assign(e, n->a, all->items[i]);
        if (rz_j_true(e, rz_j_eval(e, n->c)))
            rz_j_push(e, some, all->items[i]);
    }
    e->scope = outer;
    return some;
}

static uint32_t loop_name(const struct rz_template *t)
{
    for (uint32_t i = 0; i < t->n_names; i++)
        if (rz_j_eq_text(t->names[i], "loop"))
            return i;
    return UINT32_MAX;
}

static int run_for(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jvalue over = rz_j_eval(e, n->b);
    struct rz_jseq *all = e->failed ? NULL : rz_j_items(e, over);
    struct rz_jscope *outer = e->scope;
    struct rz_jloop *loop = rz_j_alloc(e, 1, sizeof(*loop));
    uint32_t name = loop_name(e->t);
    if (all && n->c)
        all = filtered(e, n, all);
    if (!all || !loop)
        return GO_ON;
    if (!all->n)
        return n->list2 ? run_inside(e, n->list2) : GO_ON;
    loop->items = all;
    for (; loop->at < all->n && rz_j_step(e, 1); loop->at++) {
        e->scope = rz_j_push_scope(e, outer);
        if (!e->scope)
            break;
        if (name != UINT32_MAX)
            rz_j_set(e, name, (struct rz_jvalue){.type = RZ_J_LOOP, .u.p = loop});
        assign(e, n->a, all->items[loop->at]);
        if (run(e, n->list) == BREAK)
            break;
    }
    e->scope = outer;
    return GO_ON;
}

/* --- macros --- */

/* The value of one parameter; false: it has none. */
static bool argument(const struct rz_jargs *args, uint32_t i, struct rz_jvalue name, struct rz_jvalue *out)
{
    if (i < args->n) {
        *out = args->v[i];
        return true;
    }
    for (uint32_t k = 0; k < args->n_named; k++)
        if (args->named[k].name.u.s->n == name.u.s->n &&
            !memcmp(args->named[k].name.u.s->p, name.u.s->p, name.u.s->n)) {
            *out = args->named[k].value;
            return true;
        }
    return false;
}

static bool is_parameter(struct rz_jenv *e, const struct rz_jnode *m, struct rz_jvalue name)
{
    for (const struct rz_jnode *p = m->list; p; p = p->next)
        if (rz_j_equal(e, e->t->names[p->name], name))
            return true;
    return false;
}

static void set_text(struct rz_jenv *e, const char *name, struct rz_jvalue v)
{
    for (uint32_t i = 0; i < e->t->n_names; i++)
        if (rz_j_eq_text(e->t->names[i], name))
            rz_j_set(e, i, v);
}

/* Binds what is no parameter: caller, varargs, kwargs; or fails. */
static void bind_rest(struct rz_jenv *e, const struct rz_jnode *m, const struct rz_jargs *args, uint32_t n)
{
    char shown[64];
    struct rz_jseq *rest = m->op & RZ_JM_VARARGS ? rz_j_seq(e, RZ_J_TUPLE, 0) : NULL;
    struct rz_jdict *named = m->op & RZ_JM_KWARGS ? rz_j_dict(e, 0) : NULL;
    for (uint32_t i = n; i < args->n && rest; i++)
        rz_j_push(e, rest, args->v[i]);
    if (args->n > n && !rest)
        rz_j_fail(e, "the macro takes at most %u arguments, not %u", n, args->n);
    if (m->op & RZ_JM_CALLER && !is_parameter(e, m, (struct rz_jvalue){0}))
        set_text(e, "caller", rz_jargs_get(args, UINT32_MAX, "caller", RZ_J_VOID));
    for (uint32_t i = 0; i < args->n_named && !e->failed; i++) {
        struct rz_jvalue name = args->named[i].name;
        if (is_parameter(e, m, name) || (m->op & RZ_JM_CALLER && rz_j_eq_text(name, "caller")))
            continue;
        if (named)
            rz_j_put(e, named, name, args->named[i].value);
        else
            rz_j_fail(e, "the macro takes no argument '%s'",
                      rz_show(shown, sizeof(shown), name.u.s->p, name.u.s->n));
    }
    if (rest)
        set_text(e, "varargs", rz_j_seqv(rest));
    if (named)
        set_text(e, "kwargs", rz_j_dictv(named));
}

static void bind(struct rz_jenv *e, const struct rz_jnode *m, const struct rz_jargs *args)
{
    uint32_t i = 0;
    struct rz_jvalue v;
    for (const struct rz_jnode *p = m->list; p && !e->failed; p = p->next, i++)
        if (argument(args, i, e->t->names[p->name], &v))
            rz_j_set(e, p->name, v);
    bind_rest(e, m, args, i);
    i = 0;
    for (const struct rz_jnode *p = m->list; p && !e->failed; p = p->next, i++)
        if (!argument(args, i, e->t->names[p->name], &v))
            rz_j_set(e, p->name, p->a ? rz_j_eval(e, p->a) : RZ_J_VOID);
}

struct rz_jvalue rz_j_call_macro(struct rz_jenv *e, const struct rz_jmacro *m, const struct rz_jargs *args)
{
    struct rz_jscope *outer = e->scope;
    struct rz_jtext t, *out = e->out;
    if (e->macros >= e->limits.max_depth)
        return rz_j_limit(e, "macros call each other more than %u deep", e->limits.max_depth);
    rz_j_text(e, &t);
    e->scope = rz_j_push_scope(e, m->scope);
    e->macros++;
    e->out = &t;
    if (e->scope) {
        bind(e, m->node, args);
        if (!e->failed)
            run(e, m->node->list2);
    }
    e->out = out;
    e->macros--;
    e->scope = outer;
    return rz_j_take(e, &t);
}

static struct rz_jvalue make_macro(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jmacro *m = rz_j_alloc(e, 1, sizeof(*m));
    if (!m)
        return RZ_J_VOID;
    *m = (struct rz_jmacro){.node = n, .scope = e->scope};
    return (struct rz_jvalue){.type = RZ_J_MACRO, .u.p = m};
}

static void write_value(struct rz_jenv *e, struct rz_jvalue v)
{
    if (e->failed)
        return;
    rz_j_print(e, e->out, v);
    if (!rz_buf_ok(&e->out->b))
        rz_j_limit(e, "the text is longer than %llu bytes", (unsigned long long)e->out->b.max);
}

static void run_callblock(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jargs args;
    struct rz_jvalue name;
    struct rz_jvalue f = rz_j_eval(e, n->a->a);
    if (e->failed || !rz_j_args(e, n->a->list, &args))
        return;
    name = rz_j_cstr(e, "caller");
    if (!e->failed)
        rz_jargs_name(e, &args, name, make_macro(e, n->b));
    if (!e->failed)
        write_value(e, rz_j_call(e, f, &args));
}

/* --- all statements --- */

static struct rz_jvalue apply_filters(struct rz_jenv *e, const struct rz_jnode *f, struct rz_jvalue v)
{
    struct rz_jargs args;
    if (!f)
        return v;
    v = apply_filters(e, f->a, v);
    if (e->failed || !rz_j_args(e, f->list, &args))
        return RZ_J_VOID;
    e->line = f->line;
    if (f->builtin < 0)
        return rz_j_fail(e, "no such filter");
    return rz_jfilter_apply(e, f->builtin, v, &args);
}

static int run_block(struct rz_jenv *e, const struct rz_jnode *n)
{
    int how;
    struct rz_jvalue v = capture(e, n->list, &how);
    v = apply_filters(e, n->kind == RZ_JN_SETBLOCK ? n->b : n->a, v);
    if (n->kind == RZ_JN_SETBLOCK && !e->failed)
        assign(e, n->a, v);
    else
        write_value(e, v);
    return how;
}

static int run_scope(struct rz_jenv *e, const struct rz_jnode *n)
{
    struct rz_jscope *outer = e->scope, *inner = rz_j_push_scope(e, outer);
    for (const struct rz_jnode *s = n->list2; s && inner && !e->failed; s = s->next) {
        struct rz_jvalue v = rz_j_eval(e, s->b);
        e->scope = inner;
        assign(e, s->a, v);
        e->scope = outer;
    }
    if (!inner || e->failed)
        return GO_ON;
    e->scope = inner;
    int how = run(e, n->list);
    e->scope = outer;
    return how;
}

static int run_if(struct rz_jenv *e, const struct rz_jnode *n)
{
    for (const struct rz_jnode *b = n->list; b && !e->failed; b = b->next)
        if (!b->a || (rz_j_true(e, rz_j_eval(e, b->a)) && !e->failed))
            return run(e, b->list);
    return GO_ON;
}

static int run_one(struct rz_jenv *e, const struct rz_jnode *n)
{
    switch (n->kind) {
    case RZ_JN_TEXT:
        write_value(e, n->value);
        return GO_ON;
    case RZ_JN_OUTPUT:
        write_value(e, rz_j_eval(e, n->a));
        return GO_ON;
    case RZ_JN_IF:
        return run_if(e, n);
    case RZ_JN_FOR:
        return run_for(e, n);
    case RZ_JN_SET: {
        struct rz_jvalue v = rz_j_eval(e, n->b);
        if (!e->failed)
            assign(e, n->a, v);
        return GO_ON;
    }
    case RZ_JN_SETBLOCK:
    case RZ_JN_FILTERBLOCK:
        return run_block(e, n);
    case RZ_JN_MACRO:
        rz_j_set(e, n->name, make_macro(e, n));
        return GO_ON;
    case RZ_JN_CALLBLOCK:
        run_callblock(e, n);
        return GO_ON;
    case RZ_JN_SCOPE:
        return run_scope(e, n);
    default:
        return n->kind == RZ_JN_BREAK ? BREAK : CONTINUE;
    }
}

static int run(struct rz_jenv *e, const struct rz_jnode *list)
{
    int how = GO_ON;
    if (e->depth >= DEPTH_MAX)
        rz_j_limit(e, "expressions, blocks and macros are nested deeper than %d", DEPTH_MAX);
    e->depth++;
    for (const struct rz_jnode *n = list; n && how == GO_ON && rz_j_step(e, 1); n = n->next) {
        e->line = n->line;
        how = run_one(e, n);
    }
    e->depth--;
    return how;
}

int32_t rz_template_render(const struct rz_template *t, const struct rz_jvalue *context,
                           const struct rz_template_limits *limits, struct rz_buf *out, struct rz_buf *marks,
                           struct rz_err *err)
{
    struct rz_err own = RZ_ERR_INIT;
    struct rz_jenv e = {.t = t, .err = err ? err : &own};
    if (context->type != RZ_J_DICT)
        return rz_fail(err, RZ_EINVAL, "template", "the context is not a dict");
    if (limits)
        e.limits = *limits;
    e.limits.max_steps = e.limits.max_steps ? e.limits.max_steps : STEPS;
    e.limits.max_output = e.limits.max_output ? e.limits.max_output : OUTPUT;
    e.limits.max_memory = e.limits.max_memory ? e.limits.max_memory : MEMORY;
    e.limits.max_range = e.limits.max_range ? e.limits.max_range : RANGE;
    e.limits.max_depth = e.limits.max_depth ? e.limits.max_depth : MACROS;
    e.context = context->u.dict;
    e.steps = e.limits.max_steps;
    e.line = 1;
    rz_arena_init(&e.arena, e.limits.max_memory);
    struct rz_jtext text = {.n = 0};
    rz_buf_init(&text.b, e.limits.max_output);
    e.out = &text;
    e.scope = rz_j_push_scope(&e, NULL);
    if (e.scope)
        run(&e, t->body);
    size_t before = out->len;
    bool ok = e.failed || rz_buf_add(out, text.b.data ? text.b.data : "", text.b.len);
    for (size_t i = 0; !e.failed && marks && ok && i < text.n; i++) {
        const struct rz_span span = {before + text.spans[i].from, before + text.spans[i].to};
        ok = rz_buf_add(marks, &span, sizeof(span));
    }
    if (!ok) {
        rz_fail(e.err, RZ_ELIMIT, "template", "no room for the text of %zu bytes", text.b.len);
        e.failed = true;
    }
    rz_buf_free(&text.b);
    rz_arena_free(&e.arena);
    return e.failed ? e.err->code : RZ_OK;
}

/* jinja_expr.c - the expressions of a template as a tree. Precedence is jinja2's: filters and tests bind
 * like calls, `~` stands between `+` and `*`.
 */
#include "jinja_ast.h"

#define NEST_MAX 100 /* expressions within expressions */

static struct rz_jnode *node1(struct rz_jparse *p, uint8_t kind, struct rz_jnode *a)
{
    struct rz_jnode *n = rz_jp_node(p, kind);
    n->a = a;
    return n;
}

static struct rz_jnode *binary(struct rz_jparse *p, uint8_t kind, uint8_t op, struct rz_jnode *a,
                               struct rz_jnode *b)
{
    struct rz_jnode *n = node1(p, kind, a);
    n->op = op;
    n->b = b;
    return n;
}

static struct rz_jnode *constant(struct rz_jparse *p, struct rz_jvalue v)
{
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_CONST);
    n->value = v;
    return n;
}

/* Expressions up to a closing bracket; a comma may stand before it. */
static struct rz_jnode *elements(struct rz_jparse *p, const char *close, bool pairs)
{
    struct rz_jnode *first = NULL, **tail = &first;
    while (!p->failed && !rz_jp_is_op(p, close)) {
        *tail = rz_jp_expr(p, true);
        tail = &(*tail)->next;
        if (pairs) {
            rz_jp_want_op(p, ":");
            *tail = rz_jp_expr(p, true);
            tail = &(*tail)->next;
        }
        if (!rz_jp_is_op(p, close))
            rz_jp_want_op(p, ",");
    }
    rz_jp_want_op(p, close);
    return first;
}

static struct rz_jnode *bracket(struct rz_jparse *p)
{
    struct rz_jnode *n;
    if (rz_jp_skip_op(p, "(")) {
        n = rz_jp_tuple(p, true, NULL, true);
        rz_jp_want_op(p, ")");
        return n;
    }
    bool list = rz_jp_skip_op(p, "[");
    n = rz_jp_node(p, list ? RZ_JN_LIST : RZ_JN_DICT);
    if (!list)
        rz_jp_want_op(p, "{");
    n->list = elements(p, list ? "]" : "}", !list);
    return n;
}

static struct rz_jnode *word(struct rz_jparse *p)
{
    struct rz_jvalue v = p->now.value;
    struct rz_jnode *n;
    if (rz_j_eq_text(v, "true") || rz_j_eq_text(v, "True"))
        n = constant(p, rz_j_bool(true));
    else if (rz_j_eq_text(v, "false") || rz_j_eq_text(v, "False"))
        n = constant(p, rz_j_bool(false));
    else if (rz_j_eq_text(v, "none") || rz_j_eq_text(v, "None"))
        n = constant(p, RZ_J_NULL);
    else {
        n = rz_jp_node(p, RZ_JN_NAME);
        n->name = rz_jp_intern(p, v);
        n->builtin = rz_jfunc_find(v.u.s->p, v.u.s->n);
        p->macro |= rz_j_eq_text(v, "caller")    ? RZ_JM_CALLER
                    : rz_j_eq_text(v, "varargs") ? RZ_JM_VARARGS
                    : rz_j_eq_text(v, "kwargs")  ? RZ_JM_KWARGS
                                                 : 0;
    }
    rz_jp_next(p);
    return n;
}

struct rz_jnode *rz_jp_primary(struct rz_jparse *p)
{
    struct rz_jnode *n;
    switch (p->now.type) {
    case RZ_JT_NAME:
        return word(p);
    case RZ_JT_STRING:
        n = constant(p, p->now.value);
        rz_jp_next(p);
        while (p->now.type == RZ_JT_STRING && !p->failed) { /* neighbours are one string */
            const struct rz_jstr *a = n->value.u.s, *b = p->now.value.u.s;
            char *both = rz_arena_alloc(&p->t->arena, a->n + b->n + 1);
            if (!both || !rz_jvalue_text(&p->t->arena, "", 0, &n->value)) {
                rz_jp_fail(p, "no memory");
                break;
            }
            memcpy(both, a->p, a->n);
            memcpy(both + a->n, b->p, b->n);
            if (!rz_jvalue_text(&p->t->arena, both, a->n + b->n, &n->value))
                rz_jp_fail(p, "no memory");
            rz_jp_next(p);
        }
        return n;
    case RZ_JT_INT:
    case RZ_JT_FLOAT:
        n = constant(p, p->now.value);
        rz_jp_next(p);
        return n;
    default:
        if (rz_jp_is_op(p, "(") || rz_jp_is_op(p, "[") || rz_jp_is_op(p, "{"))
            return bracket(p);
        rz_jp_fail(p, "an expression is missing");
        return rz_jp_node(p, RZ_JN_CONST);
    }
}

struct rz_jnode *rz_jp_args(struct rz_jparse *p)
{
    struct rz_jnode *first = NULL, **tail = &first;
    bool named = false;
    rz_jp_want_op(p, "(");
    while (!p->failed && !rz_jp_is_op(p, ")")) {
        struct rz_jnode *arg = rz_jp_node(p, RZ_JN_ARG);
        if (rz_jp_skip_op(p, "**")) {
            arg->op = 2;
        } else if (rz_jp_skip_op(p, "*")) {
            arg->op = 1;
        } else if (p->now.type == RZ_JT_NAME && p->then.type == RZ_JT_OP && p->then.op == '=') {
            arg->value = p->now.value;
            rz_jp_next(p);
            rz_jp_next(p);
            named = true;
        } else if (named) {
            rz_jp_fail(p, "a positional argument behind a named one");
        }
        arg->a = rz_jp_expr(p, true);
        *tail = arg;
        tail = &arg->next;
        if (!rz_jp_is_op(p, ")"))
            rz_jp_want_op(p, ",");
    }
    rz_jp_want_op(p, ")");
    return first;
}

/* What stands between [ and ]; n gets b, or b, c, d and the kind of a slice. */
static void subscript(struct rz_jparse *p, struct rz_jnode *n)
{
    if (!rz_jp_is_op(p, ":"))
        n->b = rz_jp_expr(p, true);
    if (!rz_jp_skip_op(p, ":"))
        return;
    n->kind = RZ_JN_SLICE;
    if (!rz_jp_is_op(p, "]") && !rz_jp_is_op(p, ":"))
        n->c = rz_jp_expr(p, true);
    if (rz_jp_skip_op(p, ":") && !rz_jp_is_op(p, "]"))
        n->d = rz_jp_expr(p, true);
}

/* One `.name`, `[...]` or `(...)`; NULL: none of them follows. */
static struct rz_jnode *postfix(struct rz_jparse *p, struct rz_jnode *a)
{
    struct rz_jnode *n;
    if (rz_jp_skip_op(p, ".")) {
        n = node1(p, RZ_JN_ATTR, a);
        n->value = p->now.value;
        if (p->now.type == RZ_JT_INT) {
            n->kind = RZ_JN_ITEM;
            n->b = constant(p, p->now.value);
        } else if (p->now.type != RZ_JT_NAME) {
            rz_jp_fail(p, "a name is missing behind the dot");
        }
        rz_jp_next(p);
        return n;
    }
    if (rz_jp_skip_op(p, "[")) {
        n = node1(p, RZ_JN_ITEM, a);
        subscript(p, n);
        rz_jp_want_op(p, "]");
        return n;
    }
    if (rz_jp_is_op(p, "(")) {
        n = node1(p, RZ_JN_CALL, a);
        n->list = rz_jp_args(p);
        return n;
    }
    return NULL;
}

struct rz_jnode *rz_jp_postfix(struct rz_jparse *p, struct rz_jnode *n)
{
    for (struct rz_jnode *next; !p->failed && (next = postfix(p, n));)
        n = next;
    return n;
}

static void builtin_name(struct rz_jparse *p, struct rz_jnode *n, const char *what)
{
    char shown[80];
    if (p->now.type != RZ_JT_NAME) {
        rz_jp_fail(p, "the name of a %s is missing", what);
        return;
    }
    const struct rz_jstr *s = p->now.value.u.s;
    n->value = p->now.value;
    n->builtin = n->kind == RZ_JN_FILTER ? rz_jfilter_find(s->p, s->n) : rz_jtest_find(s->p, s->n);
    if (n->builtin < 0 && !p->soft)
        rz_jp_fail(p, "no %s named '%s'", what, rz_show(shown, sizeof(shown), s->p, s->n));
    rz_jp_next(p);
}

static struct rz_jnode *test(struct rz_jparse *p, struct rz_jnode *a)
{
    bool not = rz_jp_skip_name(p, "not");
    struct rz_jnode *n = node1(p, RZ_JN_TEST, a);
    builtin_name(p, n, "test");
    if (rz_jp_is_op(p, "(")) {
        n->list = rz_jp_args(p);
    } else if (p->now.type == RZ_JT_STRING || p->now.type == RZ_JT_INT || p->now.type == RZ_JT_FLOAT ||
               rz_jp_is_op(p, "[") || rz_jp_is_op(p, "{") ||
               (p->now.type == RZ_JT_NAME && !rz_jp_is_name(p, "else") && !rz_jp_is_name(p, "or") &&
                !rz_jp_is_name(p, "and"))) {
        if (rz_jp_is_name(p, "is"))
            rz_jp_fail(p, "tests cannot be chained");
        n->list = rz_jp_node(p, RZ_JN_ARG);
        n->list->a = rz_jp_postfix(p, rz_jp_primary(p));
    }
    return not ? node1(p, RZ_JN_NOT, n) : n;
}

struct rz_jnode *rz_jp_filters(struct rz_jparse *p, struct rz_jnode *n, bool inside)
{
    while (!p->failed && (inside || rz_jp_is_op(p, "|"))) {
        if (!inside)
            rz_jp_next(p);
        inside = false;
        n = node1(p, RZ_JN_FILTER, n);
        builtin_name(p, n, "filter");
        if (rz_jp_is_op(p, "("))
            n->list = rz_jp_args(p);
    }
    return n;
}

static struct rz_jnode *filter_expr(struct rz_jparse *p, struct rz_jnode *n)
{
    while (!p->failed) {
        if (rz_jp_is_op(p, "|"))
            n = rz_jp_filters(p, n, false);
        else if (rz_jp_skip_name(p, "is"))
            n = test(p, n);
        else if (rz_jp_is_op(p, "("))
            n = postfix(p, n);
        else
            break;
    }
    return n;
}

static struct rz_jnode *unary(struct rz_jparse *p, bool filters)
{
    struct rz_jnode *n;
    if (p->failed || ++p->depth > NEST_MAX * 4) {
        rz_jp_fail(p, "expressions are nested too deep");
        return rz_jp_node(p, RZ_JN_CONST);
    }
    if (rz_jp_skip_op(p, "-"))
        n = node1(p, RZ_JN_NEG, unary(p, false));
    else if (rz_jp_skip_op(p, "+"))
        n = node1(p, RZ_JN_POS, unary(p, false));
    else
        n = rz_jp_primary(p);
    n = rz_jp_postfix(p, n);
    p->depth--;
    return filters ? filter_expr(p, n) : n;
}

static struct rz_jnode *power(struct rz_jparse *p)
{
    struct rz_jnode *n = unary(p, true);
    while (rz_jp_skip_op(p, "**"))
        n = binary(p, RZ_JN_ARITH, RZ_JO_POW, n, unary(p, true));
    return n;
}

static struct rz_jnode *product(struct rz_jparse *p)
{
    struct rz_jnode *n = power(p);
    for (;;) {
        uint8_t op = rz_jp_is_op(p, "*")    ? RZ_JO_MUL
                     : rz_jp_is_op(p, "/")  ? RZ_JO_DIV
                     : rz_jp_is_op(p, "//") ? RZ_JO_FLOORDIV
                     : rz_jp_is_op(p, "%")  ? RZ_JO_MOD
                                            : 0;
        if (!op || p->failed)
            return n;
        rz_jp_next(p);
        n = binary(p, RZ_JN_ARITH, op, n, power(p));
    }
}

static struct rz_jnode *concat(struct rz_jparse *p)
{
    struct rz_jnode *n = product(p), **tail;
    if (!rz_jp_is_op(p, "~"))
        return n;
    struct rz_jnode *all = rz_jp_node(p, RZ_JN_CONCAT);
    all->list = n;
    for (tail = &n->next; !p->failed && rz_jp_skip_op(p, "~"); tail = &(*tail)->next)
        *tail = product(p);
    return all;
}

static struct rz_jnode *sum(struct rz_jparse *p)
{
    struct rz_jnode *n = concat(p);
    while (!p->failed && (rz_jp_is_op(p, "+") || rz_jp_is_op(p, "-"))) {
        uint8_t op = rz_jp_is_op(p, "+") ? RZ_JO_ADD : RZ_JO_SUB;
        rz_jp_next(p);
        n = binary(p, RZ_JN_ARITH, op, n, concat(p));
    }
    return n;
}

static uint8_t comparison(struct rz_jparse *p)
{
    static const char *const ops[] = {"==", "!=", "<", "<=", ">", ">="};
    for (uint8_t i = 0; i < 6; i++)
        if (rz_jp_skip_op(p, ops[i]))
            return (uint8_t)(RZ_JO_EQ + i);
    if (rz_jp_skip_name(p, "in"))
        return RZ_JO_IN;
    if (rz_jp_is_name(p, "not") && p->then.type == RZ_JT_NAME && rz_j_eq_text(p->then.value, "in")) {
        rz_jp_next(p);
        rz_jp_next(p);
        return RZ_JO_NOTIN;
    }
    return 0;
}

static struct rz_jnode *compare(struct rz_jparse *p)
{
    struct rz_jnode *n = sum(p), *all = NULL, **tail = NULL;
    for (uint8_t op; !p->failed && (op = comparison(p)); tail = &(*tail)->next) {
        if (!all) {
            all = node1(p, RZ_JN_COMPARE, n);
            tail = &all->list;
        }
        *tail = binary(p, RZ_JN_OPERAND, op, sum(p), NULL);
    }
    return all ? all : n;
}

static struct rz_jnode *negation(struct rz_jparse *p)
{
    if (!rz_jp_skip_name(p, "not"))
        return compare(p);
    if (p->failed || ++p->depth > NEST_MAX * 4)
        rz_jp_fail(p, "expressions are nested too deep");
    struct rz_jnode *n = p->failed ? NULL : node1(p, RZ_JN_NOT, negation(p));
    p->depth--;
    return n ? n : rz_jp_node(p, RZ_JN_CONST);
}

static struct rz_jnode *conjunction(struct rz_jparse *p)
{
    struct rz_jnode *n = negation(p);
    while (!p->failed && rz_jp_skip_name(p, "and"))
        n = binary(p, RZ_JN_AND, 0, n, negation(p));
    return n;
}

static struct rz_jnode *disjunction(struct rz_jparse *p)
{
    struct rz_jnode *n = conjunction(p);
    while (!p->failed && rz_jp_skip_name(p, "or"))
        n = binary(p, RZ_JN_OR, 0, n, conjunction(p));
    return n;
}

struct rz_jnode *rz_jp_expr(struct rz_jparse *p, bool with_cond)
{
    if (p->failed || ++p->depth > NEST_MAX) {
        rz_jp_fail(p, "expressions are nested too deep (%d)", NEST_MAX);
        return rz_jp_node(p, RZ_JN_CONST);
    }
    bool soft = p->soft;
    struct rz_jnode *n = disjunction(p);
    while (with_cond && !p->failed && rz_jp_skip_name(p, "if")) {
        p->soft = true;
        struct rz_jnode *cond = binary(p, RZ_JN_COND, 0, n, disjunction(p));
        cond->c = rz_jp_skip_name(p, "else") ? rz_jp_expr(p, true) : NULL;
        n = cond;
    }
    p->soft = soft;
    p->depth--;
    return n;
}

static bool tuple_ends(const struct rz_jparse *p, const char *stop)
{
    return p->failed || p->now.type == RZ_JT_CLOSE_BLOCK || p->now.type == RZ_JT_CLOSE_OUTPUT ||
           rz_jp_is_op(p, ")") || (stop && rz_jp_is_name(p, stop));
}

struct rz_jnode *rz_jp_tuple(struct rz_jparse *p, bool with_cond, const char *stop, bool parens)
{
    struct rz_jnode *first = NULL, **tail = &first;
    bool tuple = false;
    while (!tuple_ends(p, stop)) {
        *tail = rz_jp_expr(p, with_cond);
        tail = &(*tail)->next;
        if (!rz_jp_skip_op(p, ","))
            break;
        tuple = true;
    }
    if (first && !tuple)
        return first;
    if (!first && !parens)
        rz_jp_fail(p, "an expression is missing");
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_TUPLE);
    n->list = first;
    return n;
}

/* jinja_tests.c - what may stand behind `is`.
 */
#include "jinja_ast.h"

#include <math.h>

enum {
    T_BOOLEAN,
    T_CALLABLE,
    T_DEFINED,
    T_DIVISIBLEBY,
    T_EQ,
    T_ESCAPED,
    T_EVEN,
    T_FALSE,
    T_FILTER,
    T_FLOAT,
    T_GE,
    T_GT,
    T_IN,
    T_INTEGER,
    T_ITERABLE,
    T_LE,
    T_LOWER,
    T_LT,
    T_MAPPING,
    T_NE,
    T_NONE,
    T_NUMBER,
    T_ODD,
    T_SAMEAS,
    T_SEQUENCE,
    T_STRING,
    T_TEST,
    T_TRUE,
    T_UNDEFINED,
    T_UPPER
};

static const struct {
    const char *name;
    uint8_t id, args;
} tests[] = {
    {"boolean", T_BOOLEAN, 0},
    {"callable", T_CALLABLE, 0},
    {"defined", T_DEFINED, 0},
    {"divisibleby", T_DIVISIBLEBY, 1},
    {"eq", T_EQ, 1},
    {"equalto", T_EQ, 1},
    {"==", T_EQ, 1},
    {"escaped", T_ESCAPED, 0},
    {"even", T_EVEN, 0},
    {"false", T_FALSE, 0},
    {"filter", T_FILTER, 0},
    {"float", T_FLOAT, 0},
    {"ge", T_GE, 1},
    {">=", T_GE, 1},
    {"gt", T_GT, 1},
    {"greaterthan", T_GT, 1},
    {">", T_GT, 1},
    {"in", T_IN, 1},
    {"integer", T_INTEGER, 0},
    {"iterable", T_ITERABLE, 0},
    {"le", T_LE, 1},
    {"<=", T_LE, 1},
    {"lower", T_LOWER, 0},
    {"lt", T_LT, 1},
    {"lessthan", T_LT, 1},
    {"<", T_LT, 1},
    {"mapping", T_MAPPING, 0},
    {"ne", T_NE, 1},
    {"!=", T_NE, 1},
    {"none", T_NONE, 0},
    {"number", T_NUMBER, 0},
    {"odd", T_ODD, 0},
    {"sameas", T_SAMEAS, 1},
    {"sequence", T_SEQUENCE, 0},
    {"string", T_STRING, 0},
    {"test", T_TEST, 0},
    {"true", T_TRUE, 0},
    {"undefined", T_UNDEFINED, 0},
    {"upper", T_UPPER, 0},
};

int32_t rz_jtest_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        if (strlen(tests[i].name) == n && !memcmp(tests[i].name, name, n))
            return (int32_t)i;
    return -1;
}

static bool remainder_is(struct rz_jenv *e, struct rz_jvalue v, struct rz_jvalue by, int64_t want)
{
    struct rz_jvalue r = rz_j_is_str(v) ? rz_j_fail(e, "not a number") : rz_j_arith(e, RZ_JO_MOD, v, by);
    return !e->failed && rz_j_equal(e, r, rz_j_int(want));
}

static bool same(struct rz_jvalue a, struct rz_jvalue b)
{
    if (a.type != b.type)
        return false;
    return a.type == RZ_J_NONE || a.type == RZ_J_UNDEFINED || a.u.i == b.u.i;
}

static bool iterable(struct rz_jvalue v)
{
    return v.type == RZ_J_UNDEFINED || v.type == RZ_J_STRING || v.type == RZ_J_SEQ || v.type == RZ_J_DICT ||
           v.type == RZ_J_LOOP;
}

static bool sequence(struct rz_jvalue v)
{
    if (v.type == RZ_J_SEQ)
        return v.u.seq->kind <= RZ_J_RANGE;
    return v.type == RZ_J_UNDEFINED || v.type == RZ_J_STRING || v.type == RZ_J_DICT;
}

static bool is_case(struct rz_jenv *e, struct rz_jvalue v, char what)
{
    v = rz_j_to_str(e, v);
    return !e->failed && rz_j_all(v, what);
}

static bool known(struct rz_jvalue v, bool filter)
{
    return rz_j_is_str(v) &&
           (filter ? rz_jfilter_find(v.u.s->p, v.u.s->n) : rz_jtest_find(v.u.s->p, v.u.s->n)) >= 0;
}

/* long: one line for each test */
static bool apply(struct rz_jenv *e, uint8_t id, struct rz_jvalue v, struct rz_jvalue arg)
{
    switch (id) {
    case T_BOOLEAN:
        return v.type == RZ_J_BOOL;
    case T_CALLABLE:
        return v.type == RZ_J_MACRO || v.type == RZ_J_FUNC || v.type == RZ_J_METHOD || v.type == RZ_J_LOOP ||
               v.type == RZ_J_UNDEFINED;
    case T_DEFINED:
        return v.type != RZ_J_UNDEFINED;
    case T_DIVISIBLEBY:
        return remainder_is(e, v, arg, 0);
    case T_EQ:
        return rz_j_equal(e, v, arg);
    case T_ESCAPED:
        return rz_j_is_str(v) && v.flags & RZ_J_MARKUP;
    case T_EVEN:
        return remainder_is(e, v, rz_j_int(2), 0);
    case T_FALSE:
        return v.type == RZ_J_BOOL && !v.u.i;
    case T_FILTER:
    case T_TEST:
        return known(v, id == T_FILTER);
    case T_FLOAT:
        return v.type == RZ_J_FLOAT;
    case T_GE:
        return rz_j_order(e, v, arg, ">=") >= 0;
    case T_GT:
        return rz_j_order(e, v, arg, ">") > 0;
    case T_IN:
        return rz_j_contains(e, arg, v);
    case T_INTEGER:
        return v.type == RZ_J_INT;
    case T_ITERABLE:
        return iterable(v);
    case T_LE:
        return rz_j_order(e, v, arg, "<=") <= 0;
    case T_LOWER:
        return is_case(e, v, 'l');
    case T_LT:
        return rz_j_order(e, v, arg, "<") < 0;
    case T_MAPPING:
        return v.type == RZ_J_DICT;
    case T_NE:
        return !rz_j_equal(e, v, arg);
    case T_NONE:
        return v.type == RZ_J_NONE;
    case T_NUMBER:
        return rz_j_is_num(v);
    case T_ODD:
        return remainder_is(e, v, rz_j_int(2), 1);
    case T_SAMEAS:
        return same(v, arg);
    case T_SEQUENCE:
        return sequence(v);
    case T_STRING:
        return v.type == RZ_J_STRING;
    case T_TRUE:
        return v.type == RZ_J_BOOL && v.u.i;
    case T_UNDEFINED:
        return v.type == RZ_J_UNDEFINED;
    default:
        return is_case(e, v, 'u');
    }
}

bool rz_jtest_apply(struct rz_jenv *e, int32_t id, struct rz_jvalue v, const struct rz_jargs *args)
{
    if (!rz_j_step(e, 1))
        return false;
    if (args->n != tests[id].args || args->n_named) {
        rz_j_fail(e, "the test '%s' takes %u arguments", tests[id].name, tests[id].args);
        return false;
    }
    bool is = apply(e, tests[id].id, v, args->n ? args->v[0] : RZ_J_VOID);
    return is && !e->failed;
}

/* jinja_ops.c - the operators, with Python's meaning.
 */
#define _GNU_SOURCE /* memmem */
#include "jinja_ast.h"

#include <math.h>

const char *rz_j_type_name(struct rz_jvalue v)
{
    static const char *const seqs[] = {"list",        "tuple",      "range",    "dict_keys",
                                       "dict_values", "dict_items", "generator"};
    static const char *const names[] = {"Undefined", "NoneType", "bool",       "int",       "float",
                                        "str",       "",         "dict",       "Namespace", "Macro",
                                        "function",  "method",   "LoopContext"};
    return v.type == RZ_J_SEQ ? seqs[v.u.seq->kind] : names[v.type];
}

struct rz_jvalue rz_j_undefined(struct rz_jenv *e, struct rz_jvalue v)
{
    char shown[120] = "";
    const struct rz_jundef *u = v.u.p;
    if (!u)
        return rz_j_fail(e, "the value is undefined");
    if (u->name.type == RZ_J_STRING)
        rz_show(shown, sizeof(shown), u->name.u.s->p, u->name.u.s->n);
    if (!u->owner)
        return rz_j_fail(e, "'%s' is undefined", shown);
    if (u->name.type == RZ_J_STRING)
        return rz_j_fail(e, "'%s' object has no attribute '%s'", u->owner, shown);
    return rz_j_fail(e, "'%s' object has no such element", u->owner);
}

bool rz_j_true(struct rz_jenv *e, struct rz_jvalue v)
{
    (void)e;
    switch (v.type) {
    case RZ_J_UNDEFINED:
    case RZ_J_NONE:
        return false;
    case RZ_J_BOOL:
    case RZ_J_INT:
        return v.u.i != 0;
    case RZ_J_FLOAT:
        return v.u.f != 0;
    case RZ_J_STRING:
        return v.u.s->n > 0;
    case RZ_J_SEQ:
        return v.u.seq->kind == RZ_J_ITER || v.u.seq->n > 0;
    case RZ_J_DICT:
        return v.u.dict->n > 0;
    default:
        return true;
    }
}

static bool equal(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b, unsigned depth);

static bool equal_seqs(struct rz_jenv *e, const struct rz_jseq *a, const struct rz_jseq *b, unsigned depth)
{
    if (a == b)
        return true;
    if (a->kind != b->kind || a->n != b->n || a->kind == RZ_J_ITER || a->kind == RZ_J_VALUES)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!equal(e, a->items[i], b->items[i], depth + 1))
            return false;
    return true;
}

static bool equal_dicts(struct rz_jenv *e, const struct rz_jdict *a, const struct rz_jdict *b, unsigned depth)
{
    if (a == b)
        return true;
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct rz_jvalue *v = rz_j_find(e, b, a->pairs[i].key);
        if (!v || !equal(e, a->pairs[i].value, *v, depth + 1))
            return false;
    }
    return true;
}

static bool equal(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b, unsigned depth)
{
    if (depth > RZ_J_NEST_MAX)
        rz_j_limit(e, "values are nested too deep");
    if (!rz_j_step(e, 1))
        return false;
    if (rz_j_is_int(a) && rz_j_is_int(b))
        return a.u.i == b.u.i;
    if (rz_j_is_num(a) && rz_j_is_num(b))
        return rz_j_num(a) == rz_j_num(b);
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case RZ_J_UNDEFINED:
    case RZ_J_NONE:
        return true;
    case RZ_J_STRING:
        return rz_j_step(e, a.u.s->n / 64) && a.u.s->n == b.u.s->n && !memcmp(a.u.s->p, b.u.s->p, a.u.s->n);
    case RZ_J_SEQ:
        return equal_seqs(e, a.u.seq, b.u.seq, depth);
    case RZ_J_DICT:
        return equal_dicts(e, a.u.dict, b.u.dict, depth);
    case RZ_J_FUNC:
        return a.u.i == b.u.i;
    default:
        return a.u.p == b.u.p;
    }
}

bool rz_j_equal(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b)
{
    return equal(e, a, b, 0);
}

static int order(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b, const char *op, unsigned depth)
{
    if (depth > RZ_J_NEST_MAX)
        rz_j_limit(e, "values are nested too deep");
    if (!rz_j_step(e, 1))
        return 0;
    if (a.type == RZ_J_UNDEFINED || b.type == RZ_J_UNDEFINED) {
        rz_j_undefined(e, a.type == RZ_J_UNDEFINED ? a : b);
        return 0;
    }
    if (rz_j_is_int(a) && rz_j_is_int(b))
        return (a.u.i > b.u.i) - (a.u.i < b.u.i);
    if (rz_j_is_num(a) && rz_j_is_num(b))
        return (rz_j_num(a) > rz_j_num(b)) - (rz_j_num(a) < rz_j_num(b));
    if (rz_j_is_str(a) && rz_j_is_str(b)) {
        size_t n = a.u.s->n < b.u.s->n ? a.u.s->n : b.u.s->n;
        int c = memcmp(a.u.s->p, b.u.s->p, n); /* the order of UTF-8 is that of code points */
        return c ? c : (a.u.s->n > b.u.s->n) - (a.u.s->n < b.u.s->n);
    }
    if (a.type == RZ_J_SEQ && b.type == RZ_J_SEQ && a.u.seq->kind == b.u.seq->kind &&
        a.u.seq->kind <= RZ_J_TUPLE) {
        const struct rz_jseq *x = a.u.seq, *y = b.u.seq;
        for (size_t i = 0; i < x->n && i < y->n; i++)
            if (!equal(e, x->items[i], y->items[i], depth + 1))
                return order(e, x->items[i], y->items[i], op, depth + 1);
        return (x->n > y->n) - (x->n < y->n);
    }
    rz_j_fail(e, "'%s' not supported between instances of '%s' and '%s'", op, rz_j_type_name(a),
              rz_j_type_name(b));
    return 0;
}

int rz_j_order(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b, const char *op)
{
    return order(e, a, b, op, 0);
}

bool rz_j_contains(struct rz_jenv *e, struct rz_jvalue box, struct rz_jvalue v)
{
    switch (box.type) {
    case RZ_J_UNDEFINED:
        return false;
    case RZ_J_STRING:
        if (!rz_j_is_str(v)) {
            rz_j_fail(e, "'in <string>' requires string as left operand, not %s", rz_j_type_name(v));
            return false;
        }
        return rz_j_step(e, box.u.s->n / 64) && memmem(box.u.s->p, box.u.s->n, v.u.s->p, v.u.s->n) != NULL;
    case RZ_J_DICT:
        return rz_j_find(e, box.u.dict, v) != NULL;
    case RZ_J_SEQ: {
        struct rz_jseq *s = box.u.seq;
        bool iter = s->kind == RZ_J_ITER;
        for (size_t i = iter ? s->at : 0; i < s->n && !e->failed; i++) {
            if (iter)
                s->at = i + 1;
            if (equal(e, s->items[i], v, 0))
                return true;
        }
        return false;
    }
    default:
        rz_j_fail(e, "argument of type '%s' is not iterable", rz_j_type_name(box));
        return false;
    }
}

/* --- arithmetic --- */

static const char *op_text(int op)
{
    static const char *const text[] = {"", "+", "-", "*", "/", "//", "%", "**"};
    return text[op];
}

static struct rz_jvalue too_large(struct rz_jenv *e)
{
    return rz_j_limit(e, "a whole number of more than 64 bits");
}

static struct rz_jvalue power(struct rz_jenv *e, int64_t base, int64_t n)
{
    int64_t v = 1;
    if (base == 0 || base == 1)
        return rz_j_int(n ? base : 1);
    if (base == -1)
        return rz_j_int(n & 1 ? -1 : 1);
    for (; n > 0; n--)
        if (__builtin_mul_overflow(v, base, &v))
            return too_large(e);
    return rz_j_int(v);
}

static struct rz_jvalue real_arith(struct rz_jenv *e, int op, double a, double b)
{
    double r;
    switch (op) {
    case RZ_JO_ADD:
        return rz_j_float(a + b);
    case RZ_JO_SUB:
        return rz_j_float(a - b);
    case RZ_JO_MUL:
        return rz_j_float(a * b);
    case RZ_JO_POW:
        if (a == 0 && b < 0)
            return rz_j_fail(e, "0.0 cannot be raised to a negative power");
        r = pow(a, b);
        if (isinf(r) && isfinite(a) && isfinite(b))
            return rz_j_fail(e, "the power is too large");
        if (isnan(r) && !isnan(a) && !isnan(b))
            return rz_j_fail(e, "the power is a complex number");
        return rz_j_float(r);
    default:
        if (b == 0)
            return rz_j_fail(e, "division by zero");
        if (op == RZ_JO_DIV)
            return rz_j_float(a / b);
        r = fmod(a, b);
        if (r != 0 ? (r < 0) != (b < 0) : false)
            r += b;
        if (r == 0)
            r = copysign(0, b);
        if (op == RZ_JO_MOD)
            return rz_j_float(r);
        double q = (a - r) / b, whole = floor(q);
        if (q - whole > 0.5)
            whole += 1;
        return rz_j_float(q == 0 ? copysign(0, a / b) : whole);
    }
}

static struct rz_jvalue int_arith(struct rz_jenv *e, int op, int64_t a, int64_t b)
{
    int64_t r;
    bool over = false;
    switch (op) {
    case RZ_JO_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case RZ_JO_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case RZ_JO_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case RZ_JO_POW:
        return b >= 0 ? power(e, a, b) : real_arith(e, op, (double)a, (double)b);
    case RZ_JO_DIV:
        return real_arith(e, op, (double)a, (double)b);
    default:
        if (!b)
            return rz_j_fail(e, "division by zero");
        if (b == -1) {
            over = op == RZ_JO_FLOORDIV && a == INT64_MIN;
            r = op == RZ_JO_MOD || over ? 0 : -a;
            break;
        }
        r = op == RZ_JO_MOD ? a % b : a / b;
        if (a % b && (a % b < 0) != (b < 0))
            r += op == RZ_JO_MOD ? b : -1;
    }
    return over ? too_large(e) : rz_j_int(r);
}

static struct rz_jvalue add_strings(struct rz_jenv *e, struct rz_jvalue a, struct rz_jvalue b)
{
    struct rz_jtext t;
    bool markup = (a.flags | b.flags) & RZ_J_MARKUP;
    if (markup && !(a.flags & RZ_J_MARKUP))
        a = rz_j_escape(e, a);
    if (markup && !(b.flags & RZ_J_MARKUP))
        b = rz_j_escape(e, b);
    if (e->failed)
        return RZ_J_VOID;
    rz_j_text(e, &t);
    rz_j_add(e, &t, a.u.s, 0, a.u.s->n);
    rz_j_add(e, &t, b.u.s, 0, b.u.s->n);
    struct rz_jvalue v = rz_j_take(e, &t);
    v.flags |= markup ? RZ_J_MARKUP : 0;
    return v;
}

static struct rz_jvalue add_seqs(struct rz_jenv *e, const struct rz_jseq *a, const struct rz_jseq *b)
{
    struct rz_jseq *s = rz_j_seq(e, a->kind, a->n + b->n);
    for (size_t i = 0; s && i < a->n; i++)
        rz_j_push(e, s, a->items[i]);
    for (size_t i = 0; s && i < b->n; i++)
        rz_j_push(e, s, b->items[i]);
    return rz_j_seqv(s);
}

static struct rz_jvalue repeat(struct rz_jenv *e, struct rz_jvalue v, int64_t n)
{
    n = n < 0 ? 0 : n;
    uint64_t total, each = rz_j_is_str(v) ? v.u.s->n : v.u.seq->n;
    if (__builtin_mul_overflow((uint64_t)n, each, &total) || total > (e->limits.max_memory >> 2))
        return rz_j_limit(e, "a repetition makes a value that is too long");
    if (rz_j_is_str(v)) {
        struct rz_jtext t;
        rz_j_text(e, &t);
        for (int64_t i = 0; i < n && each && rz_j_step(e, 1); i++)
            rz_j_add(e, &t, v.u.s, 0, v.u.s->n);
        struct rz_jvalue s = rz_j_take(e, &t);
        s.flags |= v.flags;
        return s;
    }
    struct rz_jseq *s = rz_j_seq(e, v.u.seq->kind, total);
    for (uint64_t i = 0; s && i < total; i++)
        rz_j_push(e, s, v.u.seq->items[i % each]);
    return rz_j_seqv(s);
}

static bool is_repeatable(struct rz_jvalue v)
{
    return rz_j_is_str(v) || rz_j_is_kind(v, RZ_J_LIST) || rz_j_is_kind(v, RZ_J_TUPLE);
}

struct rz_jvalue rz_j_arith(struct rz_jenv *e, int op, struct rz_jvalue a, struct rz_jvalue b)
{
    if (!rz_j_step(e, 1))
        return RZ_J_VOID;
    if (rz_j_is_int(a) && rz_j_is_int(b))
        return int_arith(e, op, a.u.i, b.u.i);
    if (rz_j_is_num(a) && rz_j_is_num(b))
        return real_arith(e, op, rz_j_num(a), rz_j_num(b));
    if (op == RZ_JO_MOD && rz_j_is_str(a))
        return rz_j_percent(e, a, b);
    if (a.type == RZ_J_UNDEFINED || b.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, a.type == RZ_J_UNDEFINED ? a : b);
    if (op == RZ_JO_ADD && rz_j_is_str(a) && rz_j_is_str(b))
        return add_strings(e, a, b);
    if (op == RZ_JO_ADD && a.type == RZ_J_SEQ && b.type == RZ_J_SEQ && a.u.seq->kind == b.u.seq->kind &&
        a.u.seq->kind <= RZ_J_TUPLE)
        return add_seqs(e, a.u.seq, b.u.seq);
    if (op == RZ_JO_MUL && is_repeatable(a) && rz_j_is_int(b))
        return repeat(e, a, b.u.i);
    if (op == RZ_JO_MUL && is_repeatable(b) && rz_j_is_int(a))
        return repeat(e, b, a.u.i);
    if (op == RZ_JO_ADD && rz_j_is_str(a))
        return rz_j_fail(e, "can only concatenate str (not \"%s\") to str", rz_j_type_name(b));
    return rz_j_fail(e, "unsupported operand types for %s: '%s' and '%s'", op_text(op), rz_j_type_name(a),
                     rz_j_type_name(b));
}

struct rz_jvalue rz_j_negate(struct rz_jenv *e, struct rz_jvalue v, bool minus)
{
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, v);
    if (v.type == RZ_J_FLOAT)
        return rz_j_float(minus ? -v.u.f : v.u.f);
    if (rz_j_is_int(v))
        return minus ? int_arith(e, RZ_JO_SUB, 0, v.u.i) : rz_j_int(v.u.i);
    return rz_j_fail(e, "bad operand type for unary %c: '%s'", minus ? '-' : '+', rz_j_type_name(v));
}

/* --- parts --- */

size_t rz_j_len(struct rz_jenv *e, struct rz_jvalue v)
{
    switch (v.type) {
    case RZ_J_UNDEFINED:
        return 0;
    case RZ_J_STRING:
        return v.u.s->chars;
    case RZ_J_DICT:
        return v.u.dict->n;
    case RZ_J_SEQ:
        if (v.u.seq->kind != RZ_J_ITER)
            return v.u.seq->n;
        break;
    case RZ_J_LOOP:
        return ((struct rz_jloop *)v.u.p)->items->n;
    default:
        break;
    }
    rz_j_fail(e, "object of type '%s' has no len()", rz_j_type_name(v));
    return 0;
}

struct rz_jseq *rz_j_items(struct rz_jenv *e, struct rz_jvalue v)
{
    struct rz_jseq *s = NULL;
    switch (v.type) {
    case RZ_J_UNDEFINED:
        return rz_j_seq(e, RZ_J_LIST, 0);
    case RZ_J_STRING:
        s = rz_j_seq(e, RZ_J_LIST, v.u.s->chars);
        for (size_t i = 0; s && i < v.u.s->n;) {
            size_t n = 1;
            while (i + n < v.u.s->n && ((unsigned char)v.u.s->p[i + n] & 0xc0) == 0x80)
                n++;
            if (!rz_j_step(e, 1) || !rz_j_push(e, s, rz_j_part(e, v, i, n)))
                return NULL;
            i += n;
        }
        return s;
    case RZ_J_DICT:
        s = rz_j_seq(e, RZ_J_LIST, v.u.dict->n);
        for (size_t i = 0; s && i < v.u.dict->n; i++)
            rz_j_push(e, s, v.u.dict->pairs[i].key);
        return s;
    case RZ_J_SEQ:
        if (v.u.seq->kind != RZ_J_ITER)
            return v.u.seq;
        s = rz_j_seq(e, RZ_J_LIST, 0);
        if (s) {
            s->items = v.u.seq->at ? v.u.seq->items + v.u.seq->at : v.u.seq->items;
            s->n = s->cap = v.u.seq->n - v.u.seq->at;
            v.u.seq->at = v.u.seq->n;
        }
        return s;
    default:
        rz_j_fail(e, "'%s' object is not iterable", rz_j_type_name(v));
        return NULL;
    }
}

static bool bound(struct rz_jenv *e, struct rz_jvalue v, int64_t fallback, int64_t low, int64_t high,
                  int64_t n, int64_t *out)
{
    if (v.type == RZ_J_NONE) {
        *out = fallback;
        return true;
    }
    if (!rz_j_is_int(v)) {
        rz_j_fail(e, "slice indices must be integers or None, not '%s'", rz_j_type_name(v));
        return false;
    }
    int64_t i = v.u.i < 0 ? (v.u.i < -n ? low : v.u.i + n) : v.u.i;
    *out = i < low ? low : i > high ? high : i;
    return true;
}

/* Character number i of the string, as a part of it. */
static void copy_chars(struct rz_jenv *e, struct rz_jtext *t, const struct rz_jstr *s, int64_t i)
{
    size_t at = rz_j_offset(s, (size_t)i), end = rz_j_offset(s, (size_t)i + 1);
    if (rz_j_step(e, 1 + (s->chars == s->n ? 0 : s->n / 64)))
        rz_j_add(e, t, s, at, end - at);
}

struct rz_jvalue rz_j_slice(struct rz_jenv *e, struct rz_jvalue v, const struct rz_jvalue range[3])
{
    if (v.type == RZ_J_UNDEFINED)
        return rz_j_undefined(e, v);
    if (!rz_j_is_str(v) && !(v.type == RZ_J_SEQ && v.u.seq->kind <= RZ_J_RANGE))
        return rz_j_fail(e, "'%s' object cannot be sliced", rz_j_type_name(v));
    int64_t n = (int64_t)rz_j_len(e, v), step = 1, from, to;
    if (rz_j_is_int(range[2]))
        step = range[2].u.i;
    else if (range[2].type != RZ_J_NONE)
        return rz_j_fail(e, "slice indices must be integers or None, not '%s'", rz_j_type_name(range[2]));
    if (!step)
        return rz_j_fail(e, "slice step cannot be zero");
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    if (!bound(e, range[0], step > 0 ? 0 : n - 1, low, high, n, &from) ||
        !bound(e, range[1], step > 0 ? n : -1, low, high, n, &to))
        return RZ_J_VOID;
    if (step > n + 1 || step < -n - 1) /* one item at most; keeps the sums below small */
        step = step > 0 ? n + 1 : -n - 1;
    if (rz_j_is_str(v) && step == 1) {
        size_t a = rz_j_offset(v.u.s, (size_t)from), b = to > from ? rz_j_offset(v.u.s, (size_t)to) : a;
        return rz_j_part(e, v, a, b - a);
    }
    struct rz_jtext t;
    struct rz_jseq *s = rz_j_is_str(v) ? NULL : rz_j_seq(e, v.u.seq->kind == RZ_J_TUPLE, 0);
    if (!s)
        rz_j_text(e, &t);
    for (int64_t i = from; (step > 0 ? i < to : i > to) && rz_j_step(e, 1); i += step) {
        if (s)
            rz_j_push(e, s, v.u.seq->items[i]);
        else
            copy_chars(e, &t, v.u.s, i);
    }
    if (s || !rz_j_is_str(v))
        return rz_j_seqv(s);
    return rz_j_take(e, &t);
}

/* expr.c - trees of expressions become nodes. See expr.h.
 */
#include "expr.h"

#include "err.h"

#include <string.h>

/* Up to this many repetitions of one character are written out: that takes no frame of the stack. */
#define WRITTEN_OUT 8

static void *take(struct rz_expr_pool *pool, size_t n, size_t each)
{
    void *p = pool->g->rc ? NULL : rz_arena_array(&pool->arena, n, each);
    if (!p)
        rz_nfa_bad(pool->g, RZ_ELIMIT, "grammar", "its expressions need more than %zu bytes",
                   pool->arena.cap);
    return p;
}

struct rz_expr *rz_expr_new(struct rz_expr_pool *pool, int kind)
{
    struct rz_expr *e = take(pool, 1, sizeof(*e));
    if (e)
        e->kind = kind;
    return e;
}

void rz_expr_add(struct rz_expr *whole, struct rz_expr *part)
{
    if (!whole || !part)
        return;
    part->prev = whole->last;
    whole->last = part;
}

struct rz_expr *rz_expr_chars(struct rz_expr_pool *pool, const struct rz_range *ranges, uint32_t n)
{
    struct rz_expr *e = rz_expr_new(pool, RZ_EXPR_CHARS);
    struct rz_range *copy = take(pool, n + 1, sizeof(*copy));
    if (!e || !copy)
        return NULL;
    if (n)
        memcpy(copy, ranges, n * sizeof(*copy));
    e->ranges = copy;
    e->n_ranges = rz_ranges_join(copy, n);
    return e;
}

struct rz_expr *rz_expr_char(struct rz_expr_pool *pool, uint32_t cp)
{
    return rz_expr_chars(pool, &(struct rz_range){cp, cp}, 1);
}

struct rz_expr *rz_expr_repeat(struct rz_expr_pool *pool, struct rz_expr *body, uint32_t min, uint32_t max)
{
    struct rz_expr *e = body ? rz_expr_new(pool, RZ_EXPR_REPEAT) : NULL;
    if (!e)
        return NULL;
    rz_expr_add(e, body);
    e->min = min;
    e->max = max;
    return e;
}

/* --- to nodes --- */

static uint32_t build_choice(struct rz_nfa *g, const struct rz_expr *e, int mode, uint32_t next)
{
    uint32_t out = RZ_NFA_FAIL, starts[64], n = 0;
    for (const struct rz_expr *part = e->last; part; part = part->prev) {
        if (n == 64) {
            starts[0] = rz_nfa_alt(g, starts, n);
            n = 1;
        }
        starts[n++] = rz_expr_build(g, part, mode, next);
    }
    out = rz_nfa_alt(g, starts, n);
    return out;
}

/* Characters: written out if few, a loop without a count where there is no upper bound. */
static uint32_t build_run(struct rz_nfa *g, const struct rz_expr *e, int mode, uint32_t next)
{
    const struct rz_expr *c = e->last;
    uint32_t min = e->min, max = e->max, at = next;
    if (max == RZ_NFA_FOREVER) {
        at = rz_nfa_loop(g);
        rz_nfa_loop_close(g, at, rz_nfa_chars(g, c->ranges, c->n_ranges, mode, at), next);
        max = min;
    } else if (max > WRITTEN_OUT) {
        uint32_t body = rz_nfa_chars(g, c->ranges, c->n_ranges, mode, RZ_NFA_END);
        return rz_nfa_repeat(g, body, min, max, next);
    }
    if (min > WRITTEN_OUT) {
        uint32_t body = rz_nfa_chars(g, c->ranges, c->n_ranges, mode, RZ_NFA_END);
        return rz_nfa_repeat(g, body, min, min, at);
    }
    for (; max > min; max--)
        at = rz_nfa_or(g, rz_nfa_chars(g, c->ranges, c->n_ranges, mode, at), next);
    for (; min; min--)
        at = rz_nfa_chars(g, c->ranges, c->n_ranges, mode, at);
    return at;
}

static uint32_t build_repeat(struct rz_nfa *g, const struct rz_expr *e, int mode, uint32_t next)
{
    if (e->min > e->max)
        return RZ_NFA_FAIL;
    if (e->last->kind == RZ_EXPR_CHARS)
        return build_run(g, e, mode, next);
    if (e->min == 1 && e->max == 1)
        return rz_expr_build(g, e->last, mode, next);
    if (!e->min && e->max == 1)
        return rz_nfa_or(g, rz_expr_build(g, e->last, mode, next), next);
    return rz_nfa_repeat(g, rz_expr_build(g, e->last, mode, RZ_NFA_END), e->min, e->max, next);
}

uint32_t rz_expr_build(struct rz_nfa *g, const struct rz_expr *e, int mode, uint32_t next)
{
    if (g->rc)
        return RZ_NFA_FAIL;
    switch (e->kind) {
    case RZ_EXPR_SEQUENCE:
        for (const struct rz_expr *part = e->last; part; part = part->prev)
            next = rz_expr_build(g, part, mode, next);
        return next;
    case RZ_EXPR_CHOICE:
        return build_choice(g, e, mode, next);
    case RZ_EXPR_CHARS:
        return rz_nfa_chars(g, e->ranges, e->n_ranges, mode, next);
    case RZ_EXPR_REPEAT:
        return build_repeat(g, e, mode, next);
    case RZ_EXPR_TOKEN:
        return rz_nfa_byte(g, RZ_NFA_CONTROL, rz_nfa_text(g, e->text, e->n_text, next));
    case RZ_EXPR_CALL:
    case RZ_EXPR_NODE:
        return rz_nfa_call(g, e->rule, next);
    default:
        return rz_nfa_bad(g, RZ_EUNSUPPORTED, "grammar", "an anchor inside of an expression");
    }
}

/* --- lengths --- */

static uint32_t add(uint32_t a, uint32_t b)
{
    uint64_t sum = (uint64_t)a + b;
    return a == RZ_NFA_FOREVER || b == RZ_NFA_FOREVER || sum >= RZ_NFA_FOREVER ? RZ_NFA_FOREVER
                                                                               : (uint32_t)sum;
}

static uint32_t times(uint32_t a, uint32_t n)
{
    if (!a || !n)
        return 0;
    uint64_t product = (uint64_t)a * n;
    return a == RZ_NFA_FOREVER || n == RZ_NFA_FOREVER || product >= RZ_NFA_FOREVER ? RZ_NFA_FOREVER
                                                                                   : (uint32_t)product;
}

void rz_expr_lengths(const struct rz_expr *e, uint32_t *least, uint32_t *most)
{
    uint32_t a, b;
    *least = *most = e->kind == RZ_EXPR_CHARS;
    if (e->kind == RZ_EXPR_SEQUENCE)
        for (const struct rz_expr *part = e->last; part; part = part->prev) {
            rz_expr_lengths(part, &a, &b);
            *least = add(*least, a);
            *most = add(*most, b);
        }
    if (e->kind == RZ_EXPR_CHOICE) {
        *least = RZ_NFA_FOREVER;
        for (const struct rz_expr *part = e->last; part; part = part->prev) {
            rz_expr_lengths(part, &a, &b);
            *least = a < *least ? a : *least;
            *most = b > *most ? b : *most;
        }
    }
    if (e->kind == RZ_EXPR_REPEAT) {
        rz_expr_lengths(e->last, &a, &b);
        *least = times(a, e->min);
        *most = times(b, e->max);
    }
}

/* expr.h - expressions as trees, between the parsers of GBNF and regular expressions and the rules.
 *
 * Everything belongs to the pool that it was made in.
 */
#ifndef RZ_GRAMMAR_EXPR_H
#define RZ_GRAMMAR_EXPR_H

#include "arena.h"
#include "nfa.h"

#define RZ_EXPR_DEPTH_MAX 128 /* of nested groups */

enum {
    RZ_EXPR_SEQUENCE, /* of no parts: nothing at all */
    RZ_EXPR_CHOICE,
    RZ_EXPR_CHARS,
    RZ_EXPR_REPEAT,
    RZ_EXPR_CALL,
    RZ_EXPR_TOKEN, /* a token of its own, by its spelling         */
    RZ_EXPR_NODE,  /* rules built elsewhere: `rule` is called     */
    RZ_EXPR_BEGIN, /* anchors */
    RZ_EXPR_FINISH,
};

struct rz_expr {
    int kind;
    struct rz_expr *last; /* SEQUENCE, CHOICE, REPEAT: its parts from the last to the first */
    struct rz_expr *prev; /* the part before this one                                       */
    const struct rz_range *ranges;
    uint32_t n_ranges;
    uint32_t min, max;
    uint32_t rule;
    const char *text;
    size_t n_text;
};

/* Where expressions are made; the builder turns bad when the arena is full. */
struct rz_expr_pool {
    struct rz_arena arena;
    struct rz_nfa *g;
};

/* NULL: the builder is bad. */
struct rz_expr *rz_expr_new(struct rz_expr_pool *pool, int kind);
/* Adds a part behind the others. NULL of either is fine where the builder is bad. */
void rz_expr_add(struct rz_expr *whole, struct rz_expr *part);
struct rz_expr *rz_expr_chars(struct rz_expr_pool *pool, const struct rz_range *ranges, uint32_t n);
struct rz_expr *rz_expr_char(struct rz_expr_pool *pool, uint32_t cp);
struct rz_expr *rz_expr_repeat(struct rz_expr_pool *pool, struct rz_expr *body, uint32_t min, uint32_t max);
/* The node that begins texts of an expression (mode: RZ_TEXT_*), then goes on with next. */
uint32_t rz_expr_build(struct rz_nfa *g, const struct rz_expr *e, int mode, uint32_t next);
/* Characters of the shortest and longest text (RZ_NFA_FOREVER: no bound), of an expression without calls. */
void rz_expr_lengths(const struct rz_expr *e, uint32_t *least, uint32_t *most);

#endif

/* regex.c - a recursive descent parser to a tree, and the tree to a program, last instruction first. */
#include "regex.h"

#include "sets.h"
#include "utf8.h"

#include <string.h>

#define INSTS_MAX 4096u
#define DEPTH_MAX 16
#define MANY UINT16_MAX

enum kind {
    EMPTY,
    SET,
    NOT,
    CAT,
    ALT,
    REPEAT
};

struct node {
    enum kind kind;
    uint32_t set;
    uint16_t min, max;
    struct node *left, *right;
};

struct parser {
    struct rz_re *re;
    const char *at;
    int depth;
    bool fold; /* inside (?i: */
    int32_t status;
};

static void *fail(struct parser *p, int32_t status)
{
    if (!p->status)
        p->status = status;
    return NULL;
}

static struct node *make(struct parser *p, enum kind kind, struct node *left, struct node *right)
{
    struct node *n = rz_arena_alloc(p->re->arena, sizeof(*n));
    if (!n || p->status)
        return fail(p, RZ_ENOMEM);
    *n = (struct node){.kind = kind, .left = left, .right = right};
    return n;
}

/* A node for the set; equal sets are one. */
static struct node *set_node(struct parser *p, enum kind kind, struct rz_re_set set)
{
    struct rz_re *re = p->re;
    struct node *n = make(p, kind, NULL, NULL);
    if (!n)
        return NULL;
    while (n->set < re->n_sets && !rz_set_equal(&re->sets[n->set], &set))
        n->set++;
    if (n->set == RZ_RE_SETS_MAX)
        return fail(p, RZ_ELIMIT);
    if (n->set == re->n_sets)
        re->sets[re->n_sets++] = set;
    return n;
}

static uint32_t literal(struct parser *p)
{
    uint32_t cp;
    size_t len = rz_utf8_decode(p->at, strlen(p->at), &cp);
    if (!len)
        fail(p, RZ_EFORMAT);
    p->at += len ? len : 1;
    return cp;
}

static uint32_t hex(struct parser *p)
{
    uint32_t cp = 0;
    if (*p->at != '{')
        fail(p, RZ_EFORMAT);
    for (p->at += *p->at == '{'; *p->at && *p->at != '}' && cp < 0x110000; p->at++)
        cp = cp * 16 + (uint32_t)(*p->at <= '9' ? *p->at - '0' : (*p->at | 32) - 'a' + 10);
    if (*p->at != '}' || cp >= 0x110000)
        fail(p, RZ_EFORMAT);
    else
        p->at++;
    return cp;
}

/* What follows a backslash: a class is added to the builder (true), a character is returned in *cp. */
static bool escape(struct parser *p, struct rz_set_builder *b, uint32_t *cp)
{
    char c = *p->at++;
    const char *end;
    switch (c) {
    case 's':
        rz_set_add_spaces(b);
        return true;
    case 'S': {
        struct rz_set_builder spaces = {.arena = b->arena};
        rz_set_add_spaces(&spaces);
        rz_set_add_other(b, &spaces);
        return true;
    }
    case 'd':
        rz_set_add_class(b, "Nd", 2);
        return true;
    case 'p':
        end = *p->at == '{' ? strchr(p->at, '}') : NULL;
        if (!end || !rz_set_add_class(b, p->at + 1, (size_t)(end - p->at - 1)))
            fail(p, RZ_EFORMAT);
        p->at = end ? end + 1 : p->at;
        return true;
    case 'x':
        *cp = hex(p);
        return false;
    case 'r':
    case 'n':
    case 't':
        *cp = c == 'r' ? '\r' : c == 'n' ? '\n' : '\t';
        return false;
    case 0:
        p->at--;
        fail(p, RZ_EFORMAT);
        return false;
    default:
        *cp = (unsigned char)c;
        return false;
    }
}

static struct rz_re_set finish(struct parser *p, struct rz_set_builder *b)
{
    struct rz_re_set set = {0};
    if (!rz_set_finish(b, &set))
        fail(p, RZ_ENOMEM);
    return set;
}

/* [...] from after the bracket. */
static struct rz_re_set brackets(struct parser *p)
{
    struct rz_set_builder b = {.arena = p->re->arena};
    struct rz_re_set with;
    bool negated = *p->at == '^', both = false;
    for (p->at += negated; *p->at && *p->at != ']' && !p->status;) {
        uint32_t lo, hi;
        if (!strncmp(p->at, "&&[", 3) && ++p->depth < DEPTH_MAX) {
            p->at += 3;
            with = brackets(p);
            both = true;
            p->depth--;
            continue;
        }
        if (*p->at != '\\') {
            lo = literal(p);
        } else {
            p->at++;
            if (escape(p, &b, &lo))
                continue;
        }
        hi = lo;
        if (p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
            p->at++;
            if (*p->at != '\\')
                hi = literal(p);
            else if (p->at++, escape(p, &b, &hi))
                fail(p, RZ_EFORMAT);
        }
        rz_set_add(&b, lo, hi);
    }
    if (*p->at != ']')
        fail(p, RZ_EFORMAT);
    p->at += *p->at == ']';
    struct rz_re_set set = finish(p, &b);
    if (negated)
        set = rz_set_not(p->re->arena, &set);
    return both ? rz_set_and(p->re->arena, &set, &with) : set;
}

static struct node *alternatives(struct parser *p);

static struct node *character(struct parser *p, uint32_t cp)
{
    struct rz_set_builder b = {.arena = p->re->arena};
    rz_set_add(&b, cp, cp);
    bool letter = (cp | 32) >= 'a' && (cp | 32) <= 'z';
    if (p->fold && letter)
        rz_set_add(&b, cp ^ 32, cp ^ 32);
    if (p->fold && (cp | 32) == 's') /* LATIN SMALL LETTER LONG S folds to it */
        rz_set_add(&b, 0x17f, 0x17f);
    return set_node(p, SET, finish(p, &b));
}

static struct node *group(struct parser *p)
{
    bool fold = p->fold;
    struct node *n = NULL;
    if (!strncmp(p->at, "?!", 2)) {
        p->at += 2;
        n = alternatives(p);
        if (!n || n->kind != SET)
            return fail(p, RZ_EFORMAT);
        n->kind = NOT;
    } else {
        if (!strncmp(p->at, "?i:", 3))
            p->fold = true, p->at += 3;
        else if (!strncmp(p->at, "?:", 2))
            p->at += 2;
        n = alternatives(p);
    }
    p->fold = fold;
    if (*p->at != ')')
        return fail(p, RZ_EFORMAT);
    p->at++;
    return n;
}

static struct node *atom(struct parser *p)
{
    struct rz_set_builder b = {.arena = p->re->arena};
    uint32_t cp = 0;
    switch (*p->at) {
    case '(':
        p->at++;
        if (p->depth >= DEPTH_MAX)
            return fail(p, RZ_ELIMIT);
        p->depth++;
        struct node *n = group(p);
        p->depth--;
        return n;
    case '[':
        p->at++;
        return set_node(p, SET, brackets(p));
    case '$': /* nothing comes next */
        p->at++;
        rz_set_add(&b, 0, 0x10ffff);
        return set_node(p, NOT, finish(p, &b));
    case '\\':
        p->at++;
        if (escape(p, &b, &cp))
            return set_node(p, SET, finish(p, &b));
        return character(p, cp);
    default:
        return character(p, literal(p));
    }
}

static uint16_t number(struct parser *p)
{
    unsigned n = 0;
    for (; *p->at >= '0' && *p->at <= '9' && n < 1000; p->at++)
        n = n * 10 + (unsigned)(*p->at - '0');
    return (uint16_t)n;
}

static struct node *repeated(struct parser *p)
{
    struct node *n = atom(p);
    char c = *p->at;
    if (!n || !c || !strchr("?*+{", c))
        return n;
    n = make(p, REPEAT, n, NULL);
    if (!n)
        return NULL;
    p->at++;
    n->min = c == '+';
    n->max = c == '?' ? 1 : MANY;
    if (c == '{') {
        n->min = n->max = number(p);
        if (*p->at == ',')
            p->at++, n->max = *p->at == '}' ? MANY : number(p);
        if (*p->at++ != '}' || n->max < n->min)
            return fail(p, RZ_EFORMAT);
    }
    return n;
}

static struct node *sequence(struct parser *p)
{
    struct node *n = make(p, EMPTY, NULL, NULL);
    while (n && *p->at && *p->at != '|' && *p->at != ')') {
        struct node *next = repeated(p);
        n = !next ? NULL : n->kind == EMPTY ? next : make(p, CAT, n, next);
    }
    return n;
}

static struct node *alternatives(struct parser *p)
{
    struct node *n = sequence(p);
    while (n && *p->at == '|') {
        p->at++;
        struct node *next = sequence(p);
        n = next ? make(p, ALT, n, next) : NULL;
    }
    return n;
}

static uint16_t put(struct parser *p, enum rz_re_op op, uint32_t set, uint16_t a, uint16_t b)
{
    struct rz_re *re = p->re;
    if (re->n_insts == INSTS_MAX) {
        fail(p, RZ_ELIMIT);
        return 0;
    }
    re->insts[re->n_insts] = (struct rz_re_inst){(uint8_t)op, (uint8_t)set, a, b};
    return (uint16_t)re->n_insts++;
}

/* Where the program of the node begins; it goes on at `next`. */
static uint16_t emit(struct parser *p, const struct node *n, uint16_t next)
{
    if (p->status)
        return 0;
    switch (n->kind) {
    case EMPTY:
        return next;
    case SET:
    case NOT:
        return put(p, n->kind == SET ? RZ_RE_SET : RZ_RE_NOT, n->set, next, 0);
    case CAT:
        return emit(p, n->left, emit(p, n->right, next));
    case ALT: {
        uint16_t right = emit(p, n->right, next);
        return put(p, RZ_RE_SPLIT, 0, emit(p, n->left, next), right);
    }
    case REPEAT:
        break;
    }
    uint16_t start = next;
    if (n->max == MANY) {
        start = put(p, RZ_RE_SPLIT, 0, 0, next);
        uint16_t body = emit(p, n->left, start);
        p->re->insts[start].a = body;
    } else {
        for (unsigned i = n->min; i < n->max; i++)
            start = put(p, RZ_RE_SPLIT, 0, emit(p, n->left, start), next);
    }
    for (unsigned i = 0; i < n->min; i++)
        start = emit(p, n->left, start);
    return start;
}

int32_t rz_re_parse(struct rz_re *re, struct rz_arena *arena, const char *text)
{
    memset(re, 0, sizeof(*re));
    re->arena = arena;
    re->insts = rz_arena_array(arena, INSTS_MAX, sizeof(*re->insts));
    if (!re->insts)
        return RZ_ENOMEM;
    struct parser p = {.re = re, .at = text};
    struct node *tree = alternatives(&p);
    if (tree && *p.at)
        fail(&p, RZ_EFORMAT);
    if (tree && !p.status)
        re->start = emit(&p, tree, put(&p, RZ_RE_MATCH, 0, 0, 0));
    return p.status;
}

/* jinja_parse.c - the statements of a template as a tree; owns the parsed template.
 */
#include "grow.h"
#include "jinja_ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEMPLATE_MAX ((size_t)1 << 20)
#define TREE_MAX ((size_t)256 << 20)
#define NAMES_MAX (1u << 14)
#define BLOCKS_MAX 60 /* blocks within blocks */

/* What is handed out when there is no memory: the parser has failed by then, nobody evaluates it. */
static struct rz_jnode *no_node(struct rz_jparse *p)
{
    p->spare = (struct rz_jnode){0};
    rz_jp_fail(p, "the template is too large");
    return &p->spare;
}

void rz_jp_fail(struct rz_jparse *p, const char *format, ...)
{
    char where[48], text[256];
    va_list args;
    if (!p->failed && !p->lex.failed) {
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        snprintf(where, sizeof(where), "template:%u", p->now.line ? p->now.line : 1);
        rz_fail(p->err, RZ_EFORMAT, where, "%s", text);
    }
    p->failed = true;
    p->now = (struct rz_jtoken){.type = RZ_JT_END, .line = p->now.line};
    p->then = p->now;
}

void rz_jp_next(struct rz_jparse *p)
{
    if (p->failed)
        return;
    p->now = p->then;
    p->then = rz_jlex_next(&p->lex);
    if (p->lex.failed) {
        p->failed = true;
        p->now = p->then = (struct rz_jtoken){.type = RZ_JT_END, .line = p->now.line};
    }
}

bool rz_jp_is_op(const struct rz_jparse *p, const char *op)
{
    uint32_t code = op[1] ? RZ_J_OP2(op[0], op[1]) : (unsigned char)op[0];
    return p->now.type == RZ_JT_OP && p->now.op == code;
}

bool rz_jp_is_name(const struct rz_jparse *p, const char *name)
{
    return p->now.type == RZ_JT_NAME && rz_j_eq_text(p->now.value, name);
}

bool rz_jp_skip_op(struct rz_jparse *p, const char *op)
{
    bool is = rz_jp_is_op(p, op);
    if (is)
        rz_jp_next(p);
    return is;
}

bool rz_jp_skip_name(struct rz_jparse *p, const char *name)
{
    bool is = rz_jp_is_name(p, name);
    if (is)
        rz_jp_next(p);
    return is;
}

static void unexpected(struct rz_jparse *p, const char *want)
{
    char shown[64];
    const struct rz_jtoken *t = &p->now;
    if (t->type == RZ_JT_OP)
        snprintf(shown, sizeof(shown), "%c%s", (char)t->op,
                 t->op > 255 ? (char[]){(char)(t->op >> 8), 0} : "");
    else if (t->type == RZ_JT_NAME || t->type == RZ_JT_STRING)
        rz_show(shown, sizeof(shown), t->value.u.s->p, t->value.u.s->n);
    else
        snprintf(shown, sizeof(shown), "%s",
                 t->type == RZ_JT_END                                            ? "the end"
                 : t->type == RZ_JT_CLOSE_BLOCK || t->type == RZ_JT_CLOSE_OUTPUT ? "the end of the tag"
                                                                                 : "a number");
    rz_jp_fail(p, "'%s' is missing before %s", want, shown);
}

void rz_jp_want_op(struct rz_jparse *p, const char *op)
{
    if (!rz_jp_skip_op(p, op))
        unexpected(p, op);
}

struct rz_jnode *rz_jp_node(struct rz_jparse *p, uint8_t kind)
{
    struct rz_jnode *n = rz_arena_alloc(&p->t->arena, sizeof(*n));
    if (!n)
        return no_node(p);
    n->kind = kind;
    n->line = p->now.line;
    n->builtin = -1;
    return n;
}

uint32_t rz_jp_intern(struct rz_jparse *p, struct rz_jvalue name)
{
    struct rz_template *t = p->t;
    for (uint32_t i = 0; i < t->n_names; i++)
        if (t->names[i].u.s->n == name.u.s->n && !memcmp(t->names[i].u.s->p, name.u.s->p, name.u.s->n))
            return i;
    struct rz_jvalue *names = NULL;
    if (t->n_names < NAMES_MAX)
        names = rz_arena_grow(&t->arena, t->names, t->n_names, &t->cap_names, sizeof(*names), 64);
    if (!names) {
        rz_jp_fail(p, "too many names");
        return 0;
    }
    t->names = names;
    t->names[t->n_names] = name;
    return t->n_names++;
}

/* --- statements --- */

static struct rz_jnode *block_body(struct rz_jparse *p, const char *const *ends);

static void close_block(struct rz_jparse *p)
{
    if (p->now.type != RZ_JT_CLOSE_BLOCK)
        unexpected(p, "%}");
    p->tag_line = p->now.line;
    rz_jp_next(p);
}

/* The body up to {% end %}, all of it taken. */
static struct rz_jnode *body_to(struct rz_jparse *p, const char *end)
{
    const char *ends[] = {end, NULL};
    close_block(p);
    struct rz_jnode *list = block_body(p, ends);
    rz_jp_next(p);
    close_block(p);
    return list;
}

static uint32_t name_token(struct rz_jparse *p)
{
    if (p->now.type != RZ_JT_NAME) {
        unexpected(p, "a name");
        return 0;
    }
    struct rz_jvalue v = p->now.value;
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (int i = 0; i < 6; i++)
        if (rz_j_eq_text(v, constants[i]))
            rz_jp_fail(p, "cannot assign to %s", constants[i]);
    uint32_t id = p->failed ? 0 : rz_jp_intern(p, v);
    rz_jp_next(p);
    return id;
}

/* One name, ns.name, or a tuple in brackets. */
static struct rz_jnode *target_part(struct rz_jparse *p, bool with_ns);

static struct rz_jnode *target(struct rz_jparse *p, bool with_ns, const char *close)
{
    struct rz_jnode *first = target_part(p, with_ns);
    if (!rz_jp_is_op(p, ","))
        return first;
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_TUPLE), **tail = &first->next;
    n->list = first;
    while (!p->failed && rz_jp_skip_op(p, ",")) {
        if (p->now.type != RZ_JT_NAME && !rz_jp_is_op(p, "("))
            break;
        if (close && rz_jp_is_name(p, close))
            break;
        *tail = target_part(p, with_ns);
        tail = &(*tail)->next;
    }
    return n;
}

static struct rz_jnode *target_part(struct rz_jparse *p, bool with_ns)
{
    if (++p->depth > 50)
        rz_jp_fail(p, "targets are nested too deep");
    struct rz_jnode *n;
    if (rz_jp_skip_op(p, "(")) {
        n = target(p, with_ns, NULL);
        rz_jp_want_op(p, ")");
    } else {
        n = rz_jp_node(p, RZ_JN_NAME);
        n->name = name_token(p);
        if (with_ns && rz_jp_skip_op(p, ".")) {
            n->kind = RZ_JN_NSREF;
            n->value = p->now.value;
            if (p->now.type != RZ_JT_NAME)
                unexpected(p, "a name");
            rz_jp_next(p);
        }
    }
    p->depth--;
    return n;
}

static struct rz_jnode *set_statement(struct rz_jparse *p)
{
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_SET);
    n->a = target(p, true, NULL);
    if (rz_jp_skip_op(p, "=")) {
        n->b = rz_jp_tuple(p, true, NULL, false);
        close_block(p);
        return n;
    }
    n->kind = RZ_JN_SETBLOCK;
    n->b = rz_jp_filters(p, NULL, false);
    bool soft = p->soft;
    p->soft = false;
    n->list = body_to(p, "endset");
    p->soft = soft;
    return n;
}

static struct rz_jnode *if_statement(struct rz_jparse *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_IF), **tail = &n->list;
    bool soft = p->soft, more = true;
    p->soft = true;
    for (bool last = false; more && !p->failed; tail = &(*tail)->next) {
        *tail = rz_jp_node(p, RZ_JN_BRANCH);
        if (!last)
            (*tail)->a = rz_jp_tuple(p, false, NULL, false);
        close_block(p);
        (*tail)->list = block_body(p, last ? ends + 2 : ends);
        last = rz_jp_is_name(p, "else");
        more = !rz_jp_is_name(p, "endif");
        rz_jp_next(p);
    }
    close_block(p);
    p->soft = soft;
    return n;
}

static struct rz_jnode *for_statement(struct rz_jparse *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_FOR);
    bool soft = p->soft;
    p->soft = false;
    n->a = target(p, false, "in");
    if (!rz_jp_skip_name(p, "in"))
        unexpected(p, "in");
    n->b = rz_jp_tuple(p, false, "recursive", false);
    if (rz_jp_skip_name(p, "if"))
        n->c = rz_jp_expr(p, true);
    if (rz_jp_is_name(p, "recursive"))
        rz_jp_fail(p, "recursive loops are not supported");
    close_block(p);
    p->loops++;
    n->list = block_body(p, ends);
    p->loops--;
    if (rz_jp_skip_name(p, "else")) {
        close_block(p);
        n->list2 = block_body(p, ends + 1);
    }
    rz_jp_next(p);
    close_block(p);
    p->soft = soft;
    return n;
}

/* The parameters in brackets. */
static struct rz_jnode *signature(struct rz_jparse *p)
{
    struct rz_jnode *first = NULL, **tail = &first;
    bool defaults = false;
    rz_jp_want_op(p, "(");
    while (!p->failed && !rz_jp_is_op(p, ")")) {
        *tail = rz_jp_node(p, RZ_JN_PARAM);
        (*tail)->name = name_token(p);
        if (rz_jp_skip_op(p, "=")) {
            (*tail)->a = rz_jp_expr(p, true);
            defaults = true;
        } else if (defaults) {
            rz_jp_fail(p, "a parameter without a default behind one with it");
        }
        tail = &(*tail)->next;
        if (!rz_jp_is_op(p, ")"))
            rz_jp_want_op(p, ",");
    }
    rz_jp_want_op(p, ")");
    return first;
}

static void macro_body(struct rz_jparse *p, struct rz_jnode *n, const char *end)
{
    uint8_t outer = p->macro;
    uint32_t loops = p->loops;
    bool soft = p->soft;
    p->macro = 0;
    p->loops = 0;
    p->soft = false;
    n->list2 = body_to(p, end);
    n->op = p->macro;
    p->macro = outer | n->op;
    p->loops = loops;
    p->soft = soft;
}

static struct rz_jnode *macro_statement(struct rz_jparse *p)
{
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_MACRO);
    n->name = name_token(p);
    n->list = signature(p);
    macro_body(p, n, "endmacro");
    return n;
}

static struct rz_jnode *call_statement(struct rz_jparse *p)
{
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_CALLBLOCK);
    n->b = rz_jp_node(p, RZ_JN_MACRO);
    n->b->name = UINT32_MAX;
    if (rz_jp_is_op(p, "("))
        n->b->list = signature(p);
    n->a = rz_jp_expr(p, true);
    if (!p->failed && n->a->kind != RZ_JN_CALL)
        rz_jp_fail(p, "call: a call is missing");
    macro_body(p, n->b, "endcall");
    return n;
}

static struct rz_jnode *scope_statement(struct rz_jparse *p, uint8_t kind, const char *end)
{
    struct rz_jnode *n = rz_jp_node(p, kind), **tail = &n->list2;
    bool soft = p->soft;
    uint32_t loops = p->loops;
    if (kind == RZ_JN_FILTERBLOCK)
        n->a = rz_jp_filters(p, NULL, true);
    while (!p->failed && !strcmp(end, "endwith") && p->now.type != RZ_JT_CLOSE_BLOCK) {
        *tail = rz_jp_node(p, RZ_JN_SET);
        (*tail)->a = target_part(p, false);
        rz_jp_want_op(p, "=");
        (*tail)->b = rz_jp_expr(p, true);
        tail = &(*tail)->next;
        if (p->now.type != RZ_JT_CLOSE_BLOCK)
            rz_jp_want_op(p, ",");
    }
    p->soft = false;
    if (!strcmp(end, "endgeneration"))
        p->loops = 0;
    n->list = body_to(p, end);
    p->soft = soft;
    p->loops = loops;
    return n;
}

static struct rz_jnode *jump_statement(struct rz_jparse *p, uint8_t kind)
{
    struct rz_jnode *n = rz_jp_node(p, kind);
    if (!p->loops)
        rz_jp_fail(p, "%s outside of a loop", kind == RZ_JN_BREAK ? "break" : "continue");
    close_block(p);
    return n;
}

static struct rz_jnode *statement(struct rz_jparse *p)
{
    char shown[64];
    struct rz_jvalue tag = p->now.value;
    if (p->now.type != RZ_JT_NAME) {
        rz_jp_fail(p, "the name of a tag is missing");
        return NULL;
    }
    struct rz_jtoken at = p->now;
    rz_jp_next(p);
    if (rz_j_eq_text(tag, "set"))
        return set_statement(p);
    if (rz_j_eq_text(tag, "if"))
        return if_statement(p);
    if (rz_j_eq_text(tag, "for"))
        return for_statement(p);
    if (rz_j_eq_text(tag, "macro"))
        return macro_statement(p);
    if (rz_j_eq_text(tag, "call"))
        return call_statement(p);
    if (rz_j_eq_text(tag, "filter"))
        return scope_statement(p, RZ_JN_FILTERBLOCK, "endfilter");
    if (rz_j_eq_text(tag, "with"))
        return scope_statement(p, RZ_JN_SCOPE, "endwith");
    if (rz_j_eq_text(tag, "generation"))
        return scope_statement(p, RZ_JN_SCOPE, "endgeneration");
    if (rz_j_eq_text(tag, "break"))
        return jump_statement(p, RZ_JN_BREAK);
    if (rz_j_eq_text(tag, "continue"))
        return jump_statement(p, RZ_JN_CONTINUE);
    p->now = at;
    rz_jp_fail(p, "unknown tag '%s'", rz_show(shown, sizeof(shown), tag.u.s->p, tag.u.s->n));
    return NULL;
}

static struct rz_jnode *output(struct rz_jparse *p)
{
    struct rz_jnode *n = rz_jp_node(p, RZ_JN_OUTPUT);
    rz_jp_next(p);
    n->a = rz_jp_tuple(p, true, NULL, false);
    if (p->now.type != RZ_JT_CLOSE_OUTPUT)
        unexpected(p, "}}");
    rz_jp_next(p);
    return n;
}

static bool at_end(const struct rz_jparse *p, const char *const *ends)
{
    for (; *ends; ends++)
        if (p->then.type == RZ_JT_NAME && rz_j_eq_text(p->then.value, *ends))
            return true;
    return false;
}

static const char *last_of(const char *const *ends)
{
    while (ends[1])
        ends++;
    return *ends;
}

/* Statements up to a tag that is in `ends` (NULL: up to the end of the template); the present token is the
 * tag's name then. */
static struct rz_jnode *block_body(struct rz_jparse *p, const char *const *ends)
{
    struct rz_jnode *first = NULL, **tail = &first;
    uint32_t line = p->tag_line;
    if (++p->depth > BLOCKS_MAX)
        rz_jp_fail(p, "blocks are nested too deep (%d)", BLOCKS_MAX);
    while (!p->failed) {
        if (p->now.type == RZ_JT_END) {
            if (ends)
                rz_jp_fail(p, "the block of line %u has no '%s'", line, last_of(ends));
            break;
        }
        if (p->now.type == RZ_JT_TEXT) {
            if (p->now.value.u.s->n) {
                *tail = rz_jp_node(p, RZ_JN_TEXT);
                (*tail)->value = p->now.value;
                tail = &(*tail)->next;
            }
            rz_jp_next(p);
            continue;
        }
        if (p->now.type == RZ_JT_OPEN_BLOCK && ends && at_end(p, ends)) {
            rz_jp_next(p);
            break;
        }
        if (p->now.type == RZ_JT_OPEN_BLOCK) {
            rz_jp_next(p);
            *tail = statement(p);
        } else {
            *tail = output(p);
        }
        if (*tail)
            tail = &(*tail)->next;
    }
    p->depth--;
    return p->failed ? NULL : first;
}

int32_t rz_template_parse(const char *text, size_t n, struct rz_template **out, struct rz_err *err)
{
    struct rz_err own = RZ_ERR_INIT;
    struct rz_template *t = NULL;
    *out = NULL;
    err = err ? err : &own;
    if (n > TEMPLATE_MAX)
        return rz_fail(err, RZ_ELIMIT, "template", "%zu bytes, the limit is %zu", n, TEMPLATE_MAX);
    t = calloc(1, sizeof(*t));
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "template", "no memory");
    rz_arena_init(&t->arena, TREE_MAX);
    struct rz_jparse p = {.t = t, .err = err};
    p.failed = !rz_jlex_init(&p.lex, &t->arena, text, n, err);
    rz_jp_next(&p);
    rz_jp_next(&p);
    t->body = block_body(&p, NULL);
    if (p.failed) {
        rz_template_free(t);
        return err->code;
    }
    *out = t;
    return RZ_OK;
}

void rz_template_free(struct rz_template *t)
{
    if (!t)
        return;
    rz_arena_free(&t->arena);
    free(t);
}

/* nfa.h - the one form that schemas, grammars and expressions compile to: rules over bytes.
 *
 * A node consumes a byte of a set, branches, calls a rule, repeats a body, or ends the rule or body. Nodes
 * are built backwards: a constructor takes the node that follows and returns the one that begins. Counts
 * are kept on the automaton's stack, so {0,1000000} costs as much as {0,1}.
 *
 * A builder turns bad at its first error and then returns RZ_NFA_FAIL for everything: callers look at
 * rz_nfa_finish only.
 */
#ifndef RZ_GRAMMAR_NFA_H
#define RZ_GRAMMAR_NFA_H

#include <rz/types.h>
#include <stdbool.h>

#define RZ_NFA_END 0u  /* the node that ends every rule and body */
#define RZ_NFA_FAIL 1u /* the node that nothing leaves           */
#define RZ_NFA_FOREVER UINT32_MAX

#define RZ_NFA_NODES_MAX 262144
#define RZ_NFA_EDGES_MAX 524288
#define RZ_NFA_SETS_MAX 16384
#define RZ_NFA_RULES_MAX 16384
#define RZ_NFA_DEPTH_MAX 512 /* frames on the automaton's stack */

/* Before the spelling of a control token in the bytes that a grammar sees: no text holds it. */
#define RZ_NFA_CONTROL 0xff

struct rz_byteset {
    uint64_t w[4];
};

enum {
    RZ_NFA_K_END,
    RZ_NFA_K_SET,
    RZ_NFA_K_SPLIT,
    RZ_NFA_K_CALL,
    RZ_NFA_K_REPEAT
};

struct rz_nfa_node {
    uint32_t kind; /* RZ_NFA_K_*                                                     */
    uint32_t next; /* SET, CALL, REPEAT: what follows                                */
    uint32_t a;    /* SET: index of the set; SPLIT: first edge; CALL: rule; REPEAT: body */
    uint32_t b;    /* SPLIT: edges; REPEAT: index of the bounds                      */
};

struct rz_nfa_bounds {
    uint32_t min, max; /* max RZ_NFA_FOREVER: none                          */
    uint32_t least;    /* bytes of the body, at least; after rz_nfa_finish   */
    bool nullable;     /* the body matches nothing at all, and min is 0 then */
};

struct rz_nfa_rule {
    uint32_t start;
    char name[48];
};

struct rz_nfa {
    struct rz_nfa_node *nodes;
    uint32_t *edges;
    struct rz_byteset *sets;
    uint32_t *set_slots; /* hash of sets: index + 1 */
    struct rz_nfa_bounds *bounds;
    struct rz_nfa_rule *rules; /* rule 0 is the root */
    uint32_t n_nodes, n_edges, n_sets, n_bounds, n_rules;
    uint32_t cap_nodes, cap_edges, cap_sets, cap_bounds, cap_rules, cap_slots;
    int32_t rc;
    struct rz_err error;
    /* after rz_nfa_finish */
    uint16_t *need; /* [n_nodes] frames needed to get to the end; UINT16_MAX: it cannot be reached */
    uint8_t classes[256];
    uint32_t n_classes;
    struct rz_byteset *class_sets; /* [n_sets] of classes */
    bool *plain_sets;              /* [n_sets] it has bytes of plain characters                   */
    bool *passes;                  /* [n_nodes] plain characters alone, or none, lead to the end  */
};

/* A range of characters. */
struct rz_range {
    uint32_t lo, hi;
};

/* How characters become bytes. */
enum {
    RZ_TEXT_RAW,  /* UTF-8                                            */
    RZ_TEXT_JSON, /* inside of a JSON string, escaped where necessary */
};

void rz_nfa_init(struct rz_nfa *g);
void rz_nfa_free(struct rz_nfa *g);
/* Turns the builder bad (the first error stays); returns RZ_NFA_FAIL. */
uint32_t rz_nfa_bad(struct rz_nfa *g, int32_t code, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

uint32_t rz_nfa_set(struct rz_nfa *g, const struct rz_byteset *set, uint32_t next);
uint32_t rz_nfa_byte(struct rz_nfa *g, uint8_t byte, uint32_t next);
uint32_t rz_nfa_bytes(struct rz_nfa *g, uint8_t lo, uint8_t hi, uint32_t next);
uint32_t rz_nfa_text(struct rz_nfa *g, const char *text, size_t n, uint32_t next);
uint32_t rz_nfa_str(struct rz_nfa *g, const char *text, uint32_t next);
uint32_t rz_nfa_alt(struct rz_nfa *g, const uint32_t *starts, uint32_t n);
uint32_t rz_nfa_or(struct rz_nfa *g, uint32_t a, uint32_t b);
/* body ends with RZ_NFA_END. */
uint32_t rz_nfa_repeat(struct rz_nfa *g, uint32_t body, uint32_t min, uint32_t max, uint32_t next);
/* A loop without a count, for bodies that always consume: its node, then a body that ends in that node. */
uint32_t rz_nfa_loop(struct rz_nfa *g);
void rz_nfa_loop_close(struct rz_nfa *g, uint32_t loop, uint32_t body, uint32_t next);
/* A new rule without a start; its index. */
uint32_t rz_nfa_rule(struct rz_nfa *g, const char *name, size_t n);
uint32_t rz_nfa_call(struct rz_nfa *g, uint32_t rule, uint32_t next);

/* Characters (chars.c): one of the ranges, which are sorted and apart. */
uint32_t rz_nfa_chars(struct rz_nfa *g, const struct rz_range *ranges, uint32_t n, int text, uint32_t next);
uint32_t rz_nfa_char(struct rz_nfa *g, uint32_t cp, int text, uint32_t next);
/* Sorts and joins; returns how many are left. */
uint32_t rz_ranges_join(struct rz_range *ranges, uint32_t n);
/* The characters outside of joined ranges, surrogates left out; out has room for n + 2. */
uint32_t rz_ranges_invert(const struct rz_range *ranges, uint32_t n, struct rz_range *out);

/* After the last rule (check.c): refuses left recursion and what matches no text, cuts off what cannot reach
 * an end, and sorts bytes into classes. bytes: those that tokens can spell one by one; NULL: all. */
int32_t rz_nfa_finish(struct rz_nfa *g, const struct rz_byteset *bytes, struct rz_err *err);

static inline void rz_byteset_add(struct rz_byteset *s, uint8_t byte)
{
    s->w[byte >> 6] |= 1ull << (byte & 63);
}

/* A byte of a plain character: no control character, quote or backslash. */
static inline bool rz_nfa_plain(uint32_t byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\' && byte != RZ_NFA_CONTROL;
}

static inline bool rz_byteset_has(const struct rz_byteset *s, uint32_t byte)
{
    return s->w[byte >> 6] >> (byte & 63) & 1;
}

#endif

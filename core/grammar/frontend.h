/* frontend.h - what turns a text into rules: one function for each kind. Errors turn the builder bad.
 *
 * trie: the tokens that a GBNF grammar may name; NULL: none.
 */
#ifndef RZ_GRAMMAR_FRONTEND_H
#define RZ_GRAMMAR_FRONTEND_H

#include "trie.h"

/* Rule 0 becomes the root of the text. */
void rz_gbnf_build(struct rz_nfa *g, const char *text, size_t n, const struct rz_trie *trie);
void rz_regex_build(struct rz_nfa *g, const char *text, size_t n);
void rz_schema_build(struct rz_nfa *g, const char *text, size_t n);
/* Any JSON object. */
void rz_json_build(struct rz_nfa *g);

/* A schema inside of another grammar: the node that begins its values, then goes on with next. */
uint32_t rz_schema_node(struct rz_nfa *g, const char *text, size_t n, const char *where, uint32_t next);

/* How an expression is read. */
#define RZ_REGEX_SEARCH 1u /* it may match anywhere in the text, unless it has anchors; else all of it */
/* The node that begins texts of the expression, then goes on with next. where: for errors. least, most: of
 * characters that its texts have (most RZ_NFA_FOREVER: no bound); NULL: not asked for. */
uint32_t rz_regex_node(struct rz_nfa *g, const char *text, size_t n, uint32_t flags, int mode,
                       const char *where, uint32_t next, uint32_t *least, uint32_t *most);

/* Joined ranges of a class of characters: "Lu", "L", "N", ...; 0: there is no such class. cap ranges fit. */
uint32_t rz_unicode_class(const char *name, size_t n, struct rz_range *out, uint32_t cap);
#define RZ_CLASS_RANGES 4096

#endif

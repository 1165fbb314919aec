/* constrain.h - the grammar of a request: compiled once for equal texts, and where the request stands in it.
 *
 * A request's place is a function of its generated tokens, so it is found again after anything: a copy of a
 * rz_constraint may run ahead over guessed tokens and be thrown away, and one that is behind, too far, or
 * from before the grammar forgot its states replays the tokens.
 */
#ifndef RZ_ENGINE_CONSTRAIN_H
#define RZ_ENGINE_CONSTRAIN_H

#include "engine.h"
#include "grammar.h"

/* Grammars of an engine; NULL where it has no tokenizer. */
struct rz_constraints;

struct rz_constraint {
    struct rz_grammar *grammar; /* NULL: none */
    struct rz_grammar_at at;
    uint32_t n; /* generated tokens that `at` is behind */
};

int32_t rz_constraints_new(const struct rz_engine_setup *setup, struct rz_constraints **out,
                           struct rz_err *err);
void rz_constraints_free(struct rz_constraints *all);

/* Compiles the grammar of a request, or finds it. Any thread. The first one of an engine reads the whole
 * vocabulary. */
int32_t rz_constraint_init(struct rz_constraints *all, const struct rz_request *request,
                           struct rz_constraint *out, struct rz_err *err);
void rz_constraint_deinit(struct rz_constraint *c);

/* Sets the bits of the tokens that may follow n generated ones in mask (64 of the vocabulary a word). ends:
 * end tokens are among them where the text may end. RZ_EINVAL: nothing may follow. */
int32_t rz_constraint_mask(struct rz_constraint *c, const int32_t *tokens, uint32_t n, bool ends,
                           uint64_t *mask, struct rz_err *err);
/* After n generated tokens the text cannot go on. */
bool rz_constraint_over(struct rz_constraint *c, const int32_t *tokens, uint32_t n);

#endif

/* automaton.h - rules run as a deterministic automaton over bytes that is made while it is used.
 *
 * A state is a set of readings: a node that takes a byte, and the stack of what is still open around it.
 * Stacks and states are stored once each, so a state is a number, and its successors are a row of a table
 * that is filled when the state is first left. All memory is taken at the beginning. When it is full
 * everything but one state is forgotten (rz_automaton_renew) and numbers from before mean nothing.
 *
 * Every reading can be completed within the stack, so a state has no dead end. Of a very ambiguous text at
 * most RZ_READINGS_MAX readings are followed, and work is counted: what goes beyond `budget` is not done, and
 * `spent` says so. Not thread-safe.
 */
#ifndef RZ_GRAMMAR_AUTOMATON_H
#define RZ_GRAMMAR_AUTOMATON_H

#include "nfa.h"

#define RZ_READINGS_MAX 1024
#define RZ_AUTOMATON_BUDGET 20000000 /* of one question: about a second */
#define RZ_KINDS_MOST 8192u          /* nodes that rz_automaton_kinds looks at */
#define RZ_STATE_DEAD 0u

struct rz_frame {
    uint32_t parent; /* 0: the empty stack                         */
    uint32_t node;   /* the call or repetition that is open        */
    uint32_t count;  /* of a repetition: bodies that are behind it */
    uint32_t depth;
};

struct rz_state {
    uint64_t hash;
    uint32_t first, n; /* its readings                                  */
};

/* Where it was met in one walk, as bits of places (fold.h). */
struct rz_mark {
    uint32_t epoch, places;
};

struct rz_automaton {
    const struct rz_nfa *g;
    struct rz_frame *frames;
    struct rz_state *states; /* state 0 is RZ_STATE_DEAD */
    uint64_t *readings;
    uint16_t *rows;    /* [states][g->n_classes]: successors       */
    uint8_t *expanded; /* [states] the row is there                */
    uint32_t *frame_slots, *state_slots;
    uint32_t n_frames, n_states, n_readings;
    int64_t budget;  /* work that may still be done; the user sets it */
    bool spent;      /* it was not enough                             */
    bool full;       /* something did not fit since rz_automaton_renew */
    uint32_t widest; /* successors that a state's readings had, at most; UINT32_MAX: some were left out */
    struct rz_closure *work;
    /* of rz_automaton_kinds: [n_nodes], [n_sets], [RZ_KINDS_MOST] */
    struct rz_mark *marks, *set_marks;
    uint32_t *line, epoch;
};

int32_t rz_automaton_init(struct rz_automaton *a, const struct rz_nfa *g, struct rz_err *err);
void rz_automaton_free(struct rz_automaton *a);
/* The state before the first byte. */
uint32_t rz_automaton_begin(struct rz_automaton *a);
/* The state after a byte; RZ_STATE_DEAD: it may not come here. */
uint32_t rz_automaton_next(struct rz_automaton *a, uint32_t state, uint8_t byte);
/* The states after each class of bytes (g->classes); all RZ_STATE_DEAD where there is no room. */
const uint16_t *rz_automaton_row(struct rz_automaton *a, uint32_t state);
/* The text may end here. */
bool rz_automaton_accepts(const struct rz_automaton *a, uint32_t state);
/* The text must end here. */
bool rz_automaton_over(const struct rz_automaton *a, uint32_t state);
/* A state that does the same with texts of up to *same bytes, which is at least `far` (UINT32_MAX: with all):
 * counts that are as far from their bounds are taken as equal. States that lead to the same one can share
 * what is known of it. */
uint32_t rz_automaton_alike(struct rz_automaton *a, uint32_t state, uint32_t far, uint32_t *same);
/* All readings of a state were followed where those of its alike were, since rz_automaton_renew: the readings
 * that differ in their counts alone are no more than its stacks. Where some may be left out, those of the
 * one are not those of the other, and what is known of the one must not be shared. */
bool rz_automaton_follows_all(const struct rz_automaton *a, uint32_t state);
/* Room is getting short: time for rz_automaton_renew. */
bool rz_automaton_crowded(const struct rz_automaton *a);
/* Forgets all states but one; returns its new number. */
uint32_t rz_automaton_renew(struct rz_automaton *a, uint32_t keep);
/* Bytes of memory that it may come to use. */
uint64_t rz_automaton_bytes(const struct rz_automaton *a);

#endif

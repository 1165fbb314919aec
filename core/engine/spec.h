/* spec.h - tokens guessed ahead: who guesses, how many it pays to guess, and what became of them.
 *
 * A sequence that decodes gets rows for its guesses behind the row of its last token. Each row is sampled
 * as if it stood alone, with the draw of its own position, and the next row counts only if the token drawn
 * is the one that was guessed. So what comes out is what would have come out without guesses, whatever they
 * are.
 */
#ifndef RZ_ENGINE_SPEC_H
#define RZ_ENGINE_SPEC_H

#include "kv.h"

#include <rz/engine.h>

struct rz_loop;
struct rz_req;

/* Most guesses of one step and sequence; each may become an event, and a request holds 32 of these. */
#define RZ_GUESSES_MAX 31

/* --- what it pays (spec_pace.c): pure --- */

/* What steps take, as a line over their rows, fitted to those seen last. */
struct rz_pace {
    double n, x, y, xx, xy; /* sums over steps: 1, rows, time, rows^2, rows * time; old ones fade */
    double slope;           /* of the last good fit, if there was one */
    bool fitted;
    double draft; /* time of one token of the draft model for one sequence; 0: not known */
};

/* How often one kind of guess was right. */
struct rz_odds {
    double prior;
    double hits, tried; /* old ones fade */
    uint32_t skipped, wait;
};

/* The totals of the step that is being made up: rows so far and tokens expected from them. */
struct rz_bet {
    double rows, tokens;
};

void rz_pace_step(struct rz_pace *p, uint32_t rows, double seconds);
void rz_pace_draft(struct rz_pace *p, uint32_t rows, double seconds);
void rz_odds_init(struct rz_odds *o, double prior);
/* The share of right guesses that is expected. */
double rz_odds_share(const struct rz_odds *o);
/* Of n guesses the first n_right were right. */
void rz_odds_count(struct rz_odds *o, uint32_t n, uint32_t n_right);
/* How many of at most n guesses are worth their rows; adds them to the bet. extra: what each costs besides
 * its row. Where none is, now and then a few are tried all the same. */
uint32_t rz_odds_bet(struct rz_odds *o, const struct rz_pace *p, struct rz_bet *bet, uint32_t n,
                     double extra);

/* --- prompt lookup (spec_lookup.c): pure --- */

/* The tokens' longest ending (at least RZ_LOOKUP_MIN) that they have before: what followed it there is
 * written to tokens[n .. n + limit). Returns the ending's length; 0: there is none. The latest of several. */
#define RZ_LOOKUP_MIN 2
#define RZ_LOOKUP_MAX 16
uint32_t rz_lookup(int32_t *tokens, uint32_t n, uint32_t limit);

/* --- requests (spec.c) --- */

#define RZ_SPEC_KINDS 3 /* of guesses, which are counted apart */

/* The part of a request. */
struct rz_spec {
    uint32_t mode; /* RZ_SPECULATE_OFF, _LOOKUP or _DRAFT */
    uint32_t kind; /* of the guesses in this step         */
    struct rz_odds odds[RZ_SPEC_KINDS];
    uint32_t n_drafted, n_accepted;
    uint32_t n_right;       /* guesses of this step that were right so far    */
    struct rz_kv *pool;     /* of the draft model; NULL: none                 */
    struct rz_kv_seq draft; /* its pages there                                */
    uint32_t draft_done;    /* tokens that the draft model has computed       */
    bool mute;              /* the draft model lacks a token of it            */
    /* while guesses are made: those wanted, rows of the round, and where its result stands */
    uint32_t draft_most, draft_rows;
    int32_t draft_result;
};

/* What the loop knows. Zero: requests guess nothing unless they ask for it. */
struct rz_spec_pool {
    uint32_t mode, max_guesses;
    bool always; /* whatever it costs (tests) */
    struct rz_loop *draft;
    bool failed; /* the draft model did: it is not asked again */
    void (*warn)(void *ctx, const char *text);
    void *warn_ctx;
    struct rz_pace pace;
    struct rz_req **lanes; /* [max_running] that guess by the draft model in this step */
    uint64_t n_drafted, n_accepted;
};

/* Can the rows of a sequence be taken back? RZ_EUNSUPPORTED says why not. */
int32_t rz_spec_possible(const struct rz_loop *loop, const char *who, struct rz_err *err);
/* From now on requests guess as the pool says; it is copied. Its draft, a loop of its own without requests,
 * is kept busy until rz_spec_close. RZ_EUNSUPPORTED: what the model, or the draft model, has computed
 * cannot be taken back. */
int32_t rz_spec_open(struct rz_loop *loop, const struct rz_spec_pool *pool, struct rz_err *err);
void rz_spec_close(struct rz_loop *loop);

/* What a request gets: its mode, places for samples, room in the draft model's pool. RZ_EUNSUPPORTED: it asks
 * for what there is not. */
int32_t rz_spec_init(const struct rz_loop *loop, const struct rz_request *q, struct rz_req *r,
                     struct rz_err *err);
void rz_spec_deinit(struct rz_spec *spec);

/* Before a step is built: guesses of the sequences that decode. The caller holds the mutex and has set
 * `busy`; it is given up while the draft model computes. */
void rz_spec_guess(struct rz_loop *loop);
/* After a step: `token` was drawn at its row i, counted from the last token that is no guess. Before the
 * token is added to the request. */
void rz_spec_judge(struct rz_loop *loop, struct rz_req *r, uint32_t i, int32_t token);
/* The step's tokens are added. */
void rz_spec_settle(struct rz_req *r);

/* --- the draft model (spec_draft.c) --- */

/* Guesses for the first n of loop->spec.lanes, each at most seq.n_guesses, which becomes what it got. The
 * caller holds the mutex. */
void rz_draft_guess(struct rz_loop *loop, uint32_t n);
/* Gives the pages of a request back. */
void rz_draft_drop(struct rz_spec *spec);

#endif

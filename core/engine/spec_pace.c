/* spec_pace.c - what guesses cost and what they bring.
 *
 * A step over r rows takes about a + b r. A guess that is right with probability q adds q tokens and b of
 * time, so it pays as long as q / b is more than tokens / time of the step as a whole. Both sides are
 * measured all the time; results never depend on them.
 */
#include "spec.h"

#define FADE 0.97       /* of a step's weight with each later one                                  */
#define LATE 3.0        /* a step may count as so many times what was expected: others use the CPU */
#define SPREAD 0.25     /* least variance of rows for a fit                                        */
#define SHARE_FIRST 0.2 /* of a row in a step of one row, before it is known                       */
#define SHARE_LEAST 0.01

#define ODDS_FADE 0.9
#define ODDS_MOST 24.0 /* guesses remembered, so that a text that changes is seen soon */
#define ODDS_PRIOR 2.0 /* weight of what is assumed before any                        */
#define PROBE 2u       /* guesses tried where they do not pay                         */
#define WAIT_FIRST 16u /* chances left out before that                                */
#define WAIT_MOST 512u

/* Before the first step any unit will do. */
static double mean_time(const struct rz_pace *p)
{
    return p->n > 0 ? p->y / p->n : 1;
}

/* Of one row more; never more than an equal share of the whole. */
static double slope(const struct rz_pace *p)
{
    double rows = p->n > 0 ? p->x / p->n : 1, time = mean_time(p);
    double most = time / rows, least = SHARE_LEAST * most;
    double b = p->fitted ? p->slope : SHARE_FIRST * most;
    return b > most ? most : b < least ? least : b;
}

static double time_of(const struct rz_pace *p, double rows)
{
    return mean_time(p) + slope(p) * (rows - (p->n > 0 ? p->x / p->n : 1));
}

void rz_pace_step(struct rz_pace *p, uint32_t rows, double seconds)
{
    double r = rows;
    if (p->n > 4 && seconds > LATE * time_of(p, r))
        seconds = LATE * time_of(p, r);
    p->n = p->n * FADE + 1;
    p->x = p->x * FADE + r;
    p->y = p->y * FADE + seconds;
    p->xx = p->xx * FADE + r * r;
    p->xy = p->xy * FADE + r * seconds;
    double spread = p->n * p->xx - p->x * p->x;
    if (p->n > 4 && spread >= SPREAD * p->n * p->n) {
        p->slope = (p->n * p->xy - p->x * p->y) / spread;
        p->fitted = true;
    }
}

void rz_pace_draft(struct rz_pace *p, uint32_t rows, double seconds)
{
    double each = seconds / rows;
    if (p->draft > 0 && each > LATE * p->draft)
        each = LATE * p->draft;
    p->draft = p->draft > 0 ? p->draft * FADE + each * (1 - FADE) : each;
}

void rz_odds_init(struct rz_odds *o, double prior)
{
    *o = (struct rz_odds){.prior = prior, .wait = WAIT_FIRST};
}

double rz_odds_share(const struct rz_odds *o)
{
    return (o->hits + ODDS_PRIOR * o->prior) / (o->tried + ODDS_PRIOR);
}

void rz_odds_count(struct rz_odds *o, uint32_t n, uint32_t n_right)
{
    if (!n)
        return;
    /* Behind the first wrong one nothing was tried. */
    o->hits = o->hits * ODDS_FADE + n_right;
    o->tried = o->tried * ODDS_FADE + n_right + (n_right < n);
    if (o->tried > ODDS_MOST) {
        o->hits *= ODDS_MOST / o->tried;
        o->tried = ODDS_MOST;
    }
}

uint32_t rz_odds_bet(struct rz_odds *o, const struct rz_pace *p, struct rz_bet *bet, uint32_t n, double extra)
{
    double share = rz_odds_share(o), sure = share, cost = slope(p) + extra;
    uint32_t k = 0;
    for (; k < n && sure * time_of(p, bet->rows) >= bet->tokens * cost; k++, sure *= share) {
        bet->rows++;
        bet->tokens += sure;
    }
    if (k) {
        o->skipped = 0;
        o->wait = WAIT_FIRST;
        return k;
    }
    if (!n || ++o->skipped < o->wait)
        return 0;
    o->skipped = 0;
    o->wait = o->wait * 2 < WAIT_MOST ? o->wait * 2 : WAIT_MOST;
    k = n < PROBE ? n : PROBE;
    bet->rows += k;
    return k;
}

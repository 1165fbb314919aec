/* pace.c - tries smaller and larger teams, and keeps what was faster. */
#include "pace.h"

#define PAUSE_LEAST 4
#define PAUSE_MOST 32
#define TROUBLED 2 /* steps of a window in which somebody slept */
/* Rows of a step with so much to compute that somebody always sleeps at one of its barriers, and that one
 * trial is a large part of a prompt. */
#define LONG_STEP 64

void rz_team_pace_init(struct rz_team_pace *p, uint32_t members)
{
    *p = (struct rz_team_pace){.most = members, .size = members, .pause = PAUSE_LEAST};
}

static void begin_window(struct rz_team_pace *p)
{
    p->count = p->slept = 0;
    p->sum_ns = 0;
}

uint32_t rz_team_pace_size(struct rz_team_pace *p, uint64_t work)
{
    if (work != p->work) {
        p->work = work;
        p->trial = 0;
        begin_window(p);
    }
    return (uint32_t)((int32_t)p->size + p->trial);
}

/* It must have been faster by some 3 % to be kept. */
static void end_trial(struct rz_team_pace *p)
{
    if (p->count == RZ_TEAM_PACE_WINDOW && p->sum_ns < p->base_ns - p->base_ns / 32) {
        p->size = (uint32_t)((int32_t)p->size + p->trial);
        p->pause = PAUSE_LEAST;
    } else if (p->pause < PAUSE_MOST) {
        p->pause *= 2;
    }
    p->rest = p->pause;
    p->trial = 0;
}

/* A quarter slower than the base so far: the rest of the window would only cost time, and steps of a long
 * prompt are long. */
static bool is_lost(const struct rz_team_pace *p)
{
    return p->trial && p->sum_ns * RZ_TEAM_PACE_WINDOW > (p->base_ns + p->base_ns / 4) * p->count;
}

static void choose_trial(struct rz_team_pace *p)
{
    p->base_ns = p->sum_ns;
    if (p->rest) {
        p->rest--;
        return;
    }
    if (p->slept >= TROUBLED && p->size > 1 && p->work < LONG_STEP)
        p->trial = -1;
    else if (p->size < p->most)
        p->trial = 1;
}

void rz_team_pace_done(struct rz_team_pace *p, uint64_t ns, bool slept)
{
    p->sum_ns += ns;
    p->slept += slept;
    if (++p->count < RZ_TEAM_PACE_WINDOW && !is_lost(p))
        return;
    if (p->trial)
        end_trial(p);
    else
        choose_trial(p);
    begin_window(p);
}

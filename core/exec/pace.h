/* pace.h - how many members of a team the next step should use.
 *
 * Where cores are shared with other programs, every barrier waits for the member that lost its core, and
 * fewer members can be faster. That shows in members that slept at barriers; then one member less is
 * tried for a few steps, and kept if these were faster. A smaller team tries one member more now and then.
 * Only steps of the same size are compared. Pure: the caller measures.
 */
#ifndef RZ_EXEC_PACE_H
#define RZ_EXEC_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define RZ_TEAM_PACE_WINDOW 8 /* steps that are compared with as many others */

struct rz_team_pace {
    uint32_t most, size; /* members: all, and those in use but for a trial         */
    int32_t trial;       /* -1, 0, 1: what is being tried beside size              */
    uint64_t work;       /* of the steps in the window                             */
    uint32_t count, slept;
    uint64_t sum_ns, base_ns; /* of this window, and of the last one that was no trial */
    uint32_t rest, pause;     /* windows until the next trial, and how many after one that did not pay */
};

void rz_team_pace_init(struct rz_team_pace *p, uint32_t members);
/* Members for a step of this much work: rows. */
uint32_t rz_team_pace_size(struct rz_team_pace *p, uint64_t work);
/* The step took so long; slept: some member had to sleep at a barrier. */
void rz_team_pace_done(struct rz_team_pace *p, uint64_t ns, bool slept);

#endif

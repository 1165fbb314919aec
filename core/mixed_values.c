/* mixed_values.c - where values lie while they cross from one device to another: in the memory of the host,
 * or in memory of the device that makes them, where the others come for them by themselves.
 *
 * Invariant: a value keeps its place from the run that makes it to the last that reads it, and runs of one
 * wave count as one moment.
 */
#include "mixed_plan.h"

#include "err.h"
#include "lives.h"

#include <stdlib.h>
#include <string.h>

static int32_t no_memory(struct rz_err *err)
{
    return rz_fail(err, RZ_ENOMEM, "plan", "no memory for values that cross");
}

/* All parts are of one plugin, and it can begin stages of one that await those of another. */
bool rz_mixed_together(const struct rz_cut *cut)
{
    const struct rz_device *first = cut->parts[0].device;
    bool good = cut->n_parts > 1;
    for (uint32_t i = 0; i < cut->n_parts && good; i++) {
        const struct rz_device *d = cut->parts[i].device;
        good = RZ_HAS(d, begin) && RZ_HAS(d, finish) && d->begin == first->begin;
    }
    return good;
}

/* When a run is: those of one wave are at the same time. */
static uint32_t time_of(const struct rz_mixed_plan *p, uint32_t run)
{
    return p->m->is_wide ? p->m->cut.runs[run].wave : run;
}

static void find_lives(const struct rz_mixed_plan *p, struct rz_life *lives)
{
    const struct rz_cut *cut = &p->m->cut;
    for (uint32_t v = 0; v < cut->program->n_values; v++)
        lives[v] = (struct rz_life){.first = RZ_LIFE_NEVER};
    for (uint32_t r = 0; r < cut->n_runs; r++) {
        const struct rz_cut_run *run = &cut->runs[r];
        for (uint32_t i = 0; i < run->n_in; i++)
            rz_life_touch(lives, run->in[i], time_of(p, r));
        for (uint32_t i = 0; i < run->n_out; i++)
            rz_life_touch(lives, run->out[i], time_of(p, r));
    }
}

/* Memory of the part's device that the others read. */
static int32_t share_values(struct rz_mixed_plan *p, uint32_t part, uint64_t bytes, struct rz_err *err)
{
    const struct rz_cut *cut = &p->m->cut;
    const struct rz_device *d = cut->parts[part].device;
    void *peers[RZ_MIXED_MAX], *memory = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < cut->n_parts; i++)
        if (i != part)
            peers[n++] = cut->parts[i].device->ctx;
    int32_t status = d->share(d->ctx, peers, n, bytes, &memory, err);
    if (status)
        rz_err_wrap(err, d->name);
    p->shared[part] = memory;
    return status;
}

/* Places for the values that the part makes (of all parts: n_parts), as lives says. */
static int32_t place_values(struct rz_mixed_plan *p, uint32_t part, const uint8_t *makers,
                            const struct rz_life *lives, float **places, struct rz_err *err)
{
    const struct rz_program *program = p->m->cut.program;
    bool all = part == p->m->cut.n_parts;
    uint64_t bytes = 0;
    struct rz_life *own = calloc(program->n_values + 1ull, sizeof(*own));
    if (!own)
        return no_memory(err);
    memcpy(own, lives, program->n_values * sizeof(*own));
    for (uint32_t v = 0; v < program->n_values; v++)
        if (!all && makers[v] != part)
            own[v].first = RZ_LIFE_NEVER;
    int32_t status = rz_lives_place(program, &p->limits, 64, own, &bytes, err);
    if (!status && all) {
        p->values = calloc(bytes + 1, 1);
        status = p->values ? RZ_OK : no_memory(err);
    } else if (!status && bytes) {
        status = share_values(p, part, bytes, err);
    }
    for (uint32_t v = 0; v < program->n_values && !status; v++)
        if (own[v].first != RZ_LIFE_NEVER)
            places[v] = (all ? p->values : p->shared[part]) + own[v].offset / sizeof(float);
    p->value_bytes += bytes;
    free(own);
    return status;
}

static int32_t take_ends(struct rz_mixed_plan *p, float *const *places, struct rz_err *err)
{
    const struct rz_cut *cut = &p->m->cut;
    uint64_t n = 0, at = 0;
    for (uint32_t r = 0; r < cut->n_runs; r++)
        n += cut->runs[r].n_in + cut->runs[r].n_out;
    p->ends = calloc(n + 1, sizeof(*p->ends));
    if (!p->ends)
        return no_memory(err);
    for (uint32_t r = 0; r < cut->n_runs; r++) {
        const struct rz_cut_run *run = &cut->runs[r];
        for (uint32_t i = 0; i < run->n_in; i++)
            p->ends[at++] = places[run->in[i]];
        for (uint32_t i = 0; i < run->n_out; i++)
            p->ends[at++] = places[run->out[i]];
    }
    return RZ_OK;
}

/* A place for each value that crosses, from the run that makes it to the last that reads it. */
int32_t rz_mixed_take_values(struct rz_mixed_plan *p, struct rz_err *err)
{
    const struct rz_cut *cut = &p->m->cut;
    uint64_t n = cut->program->n_values + 1ull;
    struct rz_life *lives = calloc(n, sizeof(*lives));
    float **places = calloc(n, sizeof(*places));
    uint8_t *makers = calloc(n, 1);
    bool shared = p->together && RZ_HAS(cut->parts[0].device, share) && RZ_HAS(cut->parts[0].device, unshare);
    int32_t status = lives && places && makers ? RZ_OK : no_memory(err);
    if (!status)
        find_lives(p, lives);
    for (uint32_t r = 0; r < cut->n_runs && !status; r++)
        for (uint32_t i = 0; i < cut->runs[r].n_out; i++)
            makers[cut->runs[r].out[i]] = (uint8_t)cut->runs[r].part;
    if (!status && !shared)
        status = place_values(p, cut->n_parts, makers, lives, places, err);
    for (uint32_t i = 0; i < cut->n_parts && shared && !status; i++)
        status = place_values(p, i, makers, lives, places, err);
    if (!status)
        status = take_ends(p, places, err);
    free(lives);
    free(places);
    free(makers);
    return status;
}

/* mixed_step.c - a step of a plan of several devices, and the bytes of its pages and slots between steps.
 *
 * A step runs the stages of all parts in their order. Each part is given the batch with its own groups,
 * its share of the work before the step, and no wish for logits that it does not make.
 */
#include "mixed_plan.h"

#include "access.h"
#include "err.h"

#include <string.h>

/* The group of the engine's program that a part's group belongs to. */
static uint32_t group_of(const struct rz_mixed_plan *p, uint32_t part, uint32_t group)
{
    uint32_t g = p->m->cut.parts[part].groups[group];
    return p->m->is_wide ? p->m->wide.groups[g] : g;
}

/* --- pages and slots between steps: those of the parts lie behind each other --- */

/* How many a part has: of its groups, and behind them the slots of its states. */
static uint32_t n_stores(const struct rz_program *part)
{
    return part->n_kv_groups + (part->n_states ? 1 : 0);
}

static bool is_of(const struct rz_mixed_plan *p, uint32_t part, uint32_t store, uint32_t group)
{
    if (store == p->m->cut.parts[part].program.n_kv_groups)
        return group == p->m->setup.program->n_kv_groups;
    return group_of(p, part, store) == group;
}

/* Calls the part's fetch or store, or asks for the bytes, of everything that belongs to the group. */
static int64_t each_page(const struct rz_mixed_plan *p, uint32_t group, int32_t index, uint8_t *out,
                         const uint8_t *in, struct rz_err *err)
{
    int64_t total = 0;
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        const struct rz_device *d = p->m->cut.parts[i].device;
        struct rz_plan *plan = p->seats[i].plan;
        for (uint32_t g = 0; g < n_stores(&p->m->cut.parts[i].program); g++) {
            if (!is_of(p, i, g, group))
                continue;
            int64_t n = d->fetch(plan, g, index, NULL, 0, err);
            if (n > 0 && out)
                n = d->fetch(plan, g, index, out + total, (uint64_t)n, err);
            if (n < 0)
                return n;
            int32_t status = in && n ? d->store(plan, g, index, in + total, (uint64_t)n, err) : RZ_OK;
            if (status)
                return status;
            total += n;
        }
    }
    return total;
}

static int64_t check_page(const struct rz_mixed_plan *p, uint32_t group, int32_t index, bool copy, uint64_t n,
                          struct rz_err *err)
{
    int64_t total = each_page(p, group, index, NULL, NULL, err);
    if (total >= 0 && copy && n != (uint64_t)total)
        return rz_fail(err, RZ_EINVAL, "plan", "page %d of group %u does not have %llu bytes", index, group,
                       (unsigned long long)n);
    return total;
}

int64_t rz_mixed_fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                       struct rz_err *err)
{
    const struct rz_mixed_plan *p = (const struct rz_mixed_plan *)plan;
    int64_t total = check_page(p, group, index, out, n, err);
    return total < 0 || !out ? total : each_page(p, group, index, out, NULL, err);
}

int32_t rz_mixed_store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                       struct rz_err *err)
{
    const struct rz_mixed_plan *p = (const struct rz_mixed_plan *)plan;
    int64_t total = check_page(p, group, index, true, n, err);
    if (total >= 0)
        total = each_page(p, group, index, NULL, in, err);
    return total < 0 ? (int32_t)total : RZ_OK;
}

/* --- a step --- */

/* The batch as a part gets it. */
static void seat_batch(struct rz_mixed_plan *p, uint32_t i, const struct rz_batch *b, bool first,
                       struct rz_batch *out)
{
    const struct rz_program *part = &p->m->cut.parts[i].program;
    struct rz_seat *s = &p->seats[i];
    uint32_t groups = part->n_kv_groups;
    bool states = part->n_states;
    for (uint32_t k = 0; k < b->n_seqs; k++) {
        s->seqs[k] = b->seqs[k];
        s->seqs[k].state_slot = states ? b->seqs[k].state_slot : -1;
        s->seqs[k].pages = s->pages + (uint64_t)k * groups;
        for (uint32_t g = 0; g < groups; g++)
            s->pages[(uint64_t)k * groups + g] = b->seqs[k].pages[group_of(p, i, g)];
    }
    *out = *b;
    out->seqs = s->seqs;
    out->rows = part->logits >= 0 ? b->rows : p->rows;
    out->copies = s->copies;
    out->n_copies = 0;
    for (uint32_t k = 0; k < b->n_copies && first; k++)
        for (uint32_t g = 0; g < groups; g++)
            if (group_of(p, i, g) == b->copies[k].group) {
                s->copies[out->n_copies] = b->copies[k];
                s->copies[out->n_copies++].group = g;
            }
    out->n_state_copies = first && states ? b->n_state_copies : 0;
    out->n_clears = first && states ? b->n_clears : 0;
}

/* Stages of the other parts that were begun before this wave. */
static uint32_t await(const struct rz_mixed_plan *p, const struct rz_cut_run *run, struct rz_awaited *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->m->cut.n_parts && p->together; i++) {
        const struct rz_seat *s = &p->seats[i];
        uint32_t begun = s->begun - (s->begun && s->wave == run->wave && p->m->is_wide);
        if (i != run->part && begun)
            out[n++] = (struct rz_awaited){.plan = s->plan, .stage = begun - 1};
    }
    return n;
}

static int32_t failed(struct rz_mixed_plan *p, const struct rz_cut_run *run, int32_t status,
                      struct rz_err *err)
{
    const char *name = p->m->cut.parts[run->part].device->name;
    if (status) {
        p->m->failed = name;
        rz_err_wrap(err, name);
    }
    return status;
}

static bool begins(const struct rz_mixed_plan *p, const struct rz_cut_run *run)
{
    const struct rz_device *d = p->m->cut.parts[run->part].device;
    return RZ_HAS(d, begin) && RZ_HAS(d, finish);
}

/* Begins the stage, or runs it on a device that knows only that. */
static int32_t run_stage(struct rz_mixed_plan *p, const struct rz_cut_run *run, const struct rz_batch *b,
                         struct rz_err *err)
{
    const struct rz_device *d = p->m->cut.parts[run->part].device;
    struct rz_seat *s = &p->seats[run->part];
    struct rz_awaited awaited[RZ_MIXED_MAX];
    struct rz_batch own;
    float **ends = p->ends + run->first_end;
    s->result = (struct rz_result){.size = sizeof(s->result)};
    seat_batch(p, run->part, b, run->stage == 0, &own);
    own.stage = run->stage;
    own.inputs = (const float *const *)ends;
    own.outputs = ends + run->n_in;
    if (!begins(p, run))
        return failed(p, run, d->execute(s->plan, &own, &s->result, err), err);
    uint32_t n = await(p, run, awaited);
    int32_t status = d->begin(s->plan, &own, awaited, n, err);
    s->begun = run->stage + 1;
    s->wave = run->wave;
    return failed(p, run, status, err);
}

static int32_t end_stage(struct rz_mixed_plan *p, const struct rz_cut_run *run, struct rz_err *err)
{
    struct rz_seat *s = &p->seats[run->part];
    s->begun = 0;
    return failed(p, run, p->m->cut.parts[run->part].device->finish(s->plan, &s->result, err), err);
}

/* Runs [first, end), which need nothing of each other: devices that can work beside us begin, then the others
 * run theirs. All have ended behind it, unless stages wait for each other by themselves. */
static int32_t run_wave(struct rz_mixed_plan *p, uint32_t first, uint32_t end, const struct rz_batch *b,
                        struct rz_err *err)
{
    const struct rz_cut_run *runs = p->m->cut.runs;
    int32_t status = RZ_OK;
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t r = first; r < end && !status; r++)
            if (begins(p, &runs[r]) == !pass)
                status = run_stage(p, &runs[r], b, err);
    for (uint32_t r = first; r < end && !p->together && !status; r++)
        if (begins(p, &runs[r]))
            status = end_stage(p, &runs[r], err);
    return status;
}

/* Ends what was begun; status: of the step so far, which an error here does not replace. */
static int32_t end_all(struct rz_mixed_plan *p, int32_t status, struct rz_err *err)
{
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        struct rz_err other = RZ_ERR_INIT;
        struct rz_cut_run run = {.part = i};
        if (!p->seats[i].begun)
            continue;
        if (status)
            p->m->cut.parts[i].device->finish(p->seats[i].plan, &p->seats[i].result, &other);
        else
            status = end_stage(p, &run, err);
        p->seats[i].begun = 0;
    }
    return status;
}

/* The columns of all parts side by side. */
static void join_logits(struct rz_mixed_plan *p, struct rz_result *out)
{
    uint64_t stride =
        RZ_VALUE_STRIDE(rz_value_at(p->m->setup.program, (uint32_t)p->m->setup.program->logits)->width);
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        const struct rz_cut_part *part = &p->m->cut.parts[i];
        const struct rz_result *one = &p->seats[i].result;
        if (part->program.logits < 0 || !one->logits)
            continue;
        uint64_t width = rz_value_at(&part->program, (uint32_t)part->program.logits)->width;
        for (uint32_t r = 0; r < out->n; r++)
            memcpy(p->logits + r * stride + p->m->wide.columns[part->number],
                   one->logits + r * one->logits_stride, width * sizeof(float));
    }
    out->logits = p->logits;
    out->logits_stride = stride;
}

static void take_results(struct rz_mixed_plan *p, struct rz_result *out)
{
    for (uint32_t i = 0; i < p->m->cut.n_parts; i++) {
        const struct rz_program *part = &p->m->cut.parts[i].program;
        const struct rz_result *one = &p->seats[i].result;
        if (part->logits >= 0 && !p->logits) {
            out->logits = one->logits;
            out->logits_stride = one->logits_stride;
        }
        if (part->hidden >= 0) {
            out->hidden = one->hidden;
            out->hidden_stride = one->hidden_stride;
        }
    }
    if (p->logits && out->n)
        join_logits(p, out);
}

int32_t rz_mixed_execute(struct rz_plan *plan, const struct rz_batch *b, struct rz_result *out,
                         struct rz_err *err)
{
    struct rz_mixed_plan *p = (struct rz_mixed_plan *)plan;
    int32_t status = rz_batch_check(&p->bounds, b, err);
    if (!status && b->n_copies > p->max_copies)
        status = rz_fail(err, RZ_EINVAL, "batch", "%u page copies, at most %u", b->n_copies, p->max_copies);
    if (status)
        return status;
    out->n = 0;
    out->logits = out->hidden = NULL;
    for (uint32_t r = 0; r < b->n_rows; r++) {
        p->rows[r] = b->rows[r];
        p->rows[r].want = b->rows[r].want == RZ_WANT_NONE ? RZ_WANT_NONE : RZ_WANT_HIDDEN;
        out->n += b->rows[r].want != RZ_WANT_NONE;
    }
    for (uint32_t r = 0, end; r < p->m->cut.n_runs && !status; r = end) {
        const struct rz_cut_run *runs = p->m->cut.runs;
        end = r + 1;
        while (p->m->is_wide && end < p->m->cut.n_runs && runs[end].wave == runs[r].wave)
            end++;
        status = run_wave(p, r, end, b, err);
    }
    status = end_all(p, status, err);
    if (!status)
        take_results(p, out);
    return status;
}

/* step.c - one step: the batch goes to the device, pages and states are moved, all launches follow in
 * order, the results come back. Nothing is allocated here, and a device that fails once is lost.
 */
#include "opencl.h"

#include "access.h"
#include "batch_check.h"
#include "err.h"
#include "lives.h"

#include <string.h>

static int32_t failed(struct plan *p, const char *what, cl_int status, struct rz_err *err)
{
    p->lost = true;
    return rz_fail(err, RZ_EDEVICE, p->cl->device_name, "the device failed in %s: %s (%d)", what,
                   cl_error_name(status), status);
}

/* The batch as base.cl reads it. Returns how many integers there are. */
static uint64_t write_batch(struct plan *p, const struct rz_batch *b, uint32_t *n_wanted)
{
    uint32_t groups = p->program->n_kv_groups, used = 1;
    int32_t *at = p->ints + ROWS_AT;
    for (uint32_t r = 0; r < b->n_rows; r++, at += 4) {
        at[0] = b->rows[r].token;
        at[1] = (int32_t)b->rows[r].seq;
        at[2] = b->rows[r].pos[0];
    }
    p->ints[3] = (int32_t)(at - p->ints);
    for (uint32_t s = 0; s < b->n_seqs; s++, at += 4) {
        uint32_t pages = (b->seqs[s].length + p->limits.page_tokens - 1) / p->limits.page_tokens;
        at[0] = (int32_t)b->seqs[s].length;
        at[1] = b->seqs[s].mask == RZ_MASK_ALL;
        at[2] = b->seqs[s].state_slot;
        at[3] = (int32_t)b->seqs[s].rope_variant;
        used = pages > used ? pages : used;
    }
    p->ints[4] = (int32_t)(at - p->ints);
    *n_wanted = 0;
    for (uint32_t r = 0; r < b->n_rows; r++)
        if (b->rows[r].want != RZ_WANT_NONE) {
            *at++ = (int32_t)r;
            ++*n_wanted;
        }
    p->ints[5] = (int32_t)(at - p->ints);
    for (uint32_t s = 0; s < b->n_seqs; s++)
        for (uint32_t g = 0; g < groups; g++, at += used) {
            uint32_t pages = (b->seqs[s].length + p->limits.page_tokens - 1) / p->limits.page_tokens;
            memcpy(at, b->seqs[s].pages[g], pages * sizeof(*at));
        }
    p->ints[0] = (int32_t)b->n_rows;
    p->ints[1] = (int32_t)*n_wanted;
    p->ints[2] = (int32_t)used;
    p->ints[6] = (int32_t)groups;
    return (uint64_t)(at - p->ints);
}

static cl_int move_all(struct plan *p, const struct rz_batch *b)
{
    const struct cl_library *lib = &p->cl->lib;
    static const float zero;
    cl_int status = CL_SUCCESS;
    for (uint32_t i = 0; i < b->n_copies && !status; i++) {
        const struct rz_page_copy *c = &b->copies[i];
        const struct kv_group *g = &p->groups[c->group];
        if (c->from != c->to)
            status = lib->EnqueueCopyBuffer(p->cl->queue, g->mem, g->mem, (uint32_t)c->from * g->page_bytes,
                                            (uint32_t)c->to * g->page_bytes, g->page_bytes, 0, NULL, NULL);
    }
    uint64_t slot = p->slot_floats * sizeof(float);
    if (!slot)
        return status;
    for (uint32_t i = 0; i < b->n_state_copies && !status; i++) {
        const struct rz_state_copy *c = &b->state_copies[i];
        if (c->from != c->to)
            status = lib->EnqueueCopyBuffer(p->cl->queue, p->state, p->state, (uint32_t)c->from * slot,
                                            (uint32_t)c->to * slot, slot, 0, NULL, NULL);
    }
    for (uint32_t i = 0; i < b->n_clears && !status; i++)
        status = lib->EnqueueFillBuffer(p->cl->queue, p->state, &zero, sizeof(zero),
                                        (uint32_t)b->clears[i] * slot, slot, 0, NULL, NULL);
    return status;
}

static cl_int launch_all(struct plan *p, uint32_t n_rows, uint32_t n_wanted, bool logits, uint32_t *at,
                         uint32_t to)
{
    for (; *at < to; ++*at) {
        struct launch *l = &p->launches[*at];
        uint32_t rows = l->wanted ? n_wanted : n_rows;
        if (!rows || (l->only_logits && !logits))
            continue;
        size_t global[3] = {l->global[0], l->global[1], l->global[2]};
        if (l->row_dim < 3)
            global[l->row_dim] = (rows + l->rows_each - 1) / l->rows_each * l->local[l->row_dim];
        cl_int status = p->cl->lib.EnqueueNDRangeKernel(p->cl->queue, l->kernel, 3, NULL, global, l->local, 0,
                                                        NULL, NULL);
        if (status)
            return status;
    }
    return CL_SUCCESS;
}

/* The values of the stage that come from other devices. */
static cl_int write_inputs(struct plan *p, const struct rz_batch *b, uint32_t n_wanted)
{
    const struct rz_stage *stage = p->program->n_stages ? rz_stage_at(p->program, b->stage) : NULL;
    cl_int status = CL_SUCCESS;
    for (uint32_t i = 0; stage && i < stage->n_in && !status; i++) {
        int32_t value = rz_stage_in(p->program, stage, i);
        const struct place *place = &p->places[value];
        uint32_t n = rz_value_at(p->program, (uint32_t)value)->rows == RZ_ROWS_WANTED ? n_wanted : b->n_rows;
        if (n)
            status = p->cl->lib.EnqueueWriteBuffer(
                p->cl->queue, p->values, CL_FALSE, (size_t)place->at * sizeof(float),
                (size_t)place->stride * n * sizeof(float), b->inputs[i], 0, NULL, NULL);
    }
    return status;
}

static cl_int read_rows(struct plan *p, int32_t value, float *to, uint32_t n)
{
    const struct place *place = &p->places[value];
    return p->cl->lib.EnqueueReadBuffer(p->cl->queue, p->values, CL_FALSE, (size_t)place->at * sizeof(float),
                                        (size_t)place->stride * n * sizeof(float), to, 0, NULL, NULL);
}

/* Those that go to other devices. */
static cl_int read_outputs(struct plan *p, const struct rz_batch *b, uint32_t n_wanted)
{
    const struct rz_stage *stage = p->program->n_stages ? rz_stage_at(p->program, b->stage) : NULL;
    cl_int status = CL_SUCCESS;
    for (uint32_t i = 0; stage && i < stage->n_out && !status; i++) {
        int32_t value = rz_stage_out(p->program, stage, i);
        uint32_t n = rz_value_at(p->program, (uint32_t)value)->rows == RZ_ROWS_WANTED ? n_wanted : b->n_rows;
        if (n)
            status = read_rows(p, value, b->outputs[i], n);
    }
    return status;
}

static int32_t read_results(struct plan *p, const struct rz_batch *b, uint32_t n, bool logits,
                            struct rz_err *err)
{
    bool last = b->stage + 1 >= p->program->n_stages;
    cl_int status = read_outputs(p, b, n);
    if (n && p->hidden && last && !status)
        status = read_rows(p, p->program->hidden, p->hidden, n);
    if (n && p->logits && logits && last && !status)
        status = read_rows(p, p->program->logits, p->logits, n);
    if (!status)
        status = p->cl->lib.Finish(p->cl->queue);
    return status ? failed(p, "the end of a step", status, err) : RZ_OK;
}

int32_t plan_execute(struct rz_plan *plan, const struct rz_batch *b, struct rz_result *out,
                     struct rz_err *err)
{
    struct plan *p = (struct plan *)plan;
    uint32_t n_wanted, at, to;
    bool logits = false;
    int32_t code = rz_batch_check(p->bounds, b, err);
    if (code)
        return code;
    if (p->lost)
        return rz_fail(err, RZ_EDEVICE, p->cl->device_name, "the device was lost in an earlier step");
    uint64_t n = write_batch(p, b, &n_wanted);
    for (uint32_t r = 0; r < b->n_rows; r++)
        logits |= b->rows[r].want >= RZ_WANT_LOGITS;
    cl_int status = p->cl->lib.EnqueueWriteBuffer(p->cl->queue, p->batch, CL_FALSE, 0, n * sizeof(*p->ints),
                                                  p->ints, 0, NULL, NULL);
    if (!status)
        status = move_all(p, b);
    if (!status)
        status = write_inputs(p, b, n_wanted);
    if (status)
        return failed(p, "the start of a step", status, err);
    rz_find_stage(p->program, b, &p->launches[0].node, p->n_launches, sizeof(p->launches[0]), &at, &to);
    status = launch_all(p, b->n_rows, n_wanted, logits, &at, to);
    if (status)
        return failed(p, p->launches[at].name, status, err);
    code = read_results(p, b, n_wanted, logits, err);
    if (code)
        return code;
    out->n = n_wanted;
    out->logits = p->logits;
    out->hidden = p->hidden;
    out->logits_stride = p->logits_stride;
    out->hidden_stride = p->hidden_stride;
    return RZ_OK;
}

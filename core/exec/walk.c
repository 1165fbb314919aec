/* walk.c - runs one step: every thread of the team walks the plan, node by node, with a barrier between
 * those that they share.
 *
 * What a node needs is put together when a step has other numbers of rows than the last one. The batch is
 * checked before anything is touched, so that kernels can trust token ids, positions and pages. Nothing is
 * allocated here.
 */
#include "plan.h"

#include "err.h"
#include "lives.h"

#include <string.h>

static void copy_pages(const struct rz_plan *plan, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_copies; i++) {
        const struct rz_page_copy *c = &b->copies[i];
        const struct rz_kv_view *v = &plan->kv_views[c->group];
        memcpy(v->base + (uint64_t)c->to * v->page_bytes, v->base + (uint64_t)c->from * v->page_bytes,
               v->page_bytes);
    }
}

static void move_states(const struct rz_plan *plan, const struct rz_batch *b)
{
    for (uint32_t i = 0; i < b->n_state_copies; i++) {
        const struct rz_state_copy *c = &b->state_copies[i];
        memmove(plan->state + (uint32_t)c->to * plan->slot_bytes,
                plan->state + (uint32_t)c->from * plan->slot_bytes, plan->slot_bytes);
    }
    for (uint32_t i = 0; i < b->n_clears; i++)
        memset(plan->state + (uint32_t)b->clears[i] * plan->slot_bytes, 0, plan->slot_bytes);
}

/* The row of a step for this many rows; rows of one choice cover every count. */
static uint32_t pick(const struct rz_choice *c, uint32_t n_rows)
{
    for (uint32_t i = 0; i + 1 < c->n; i++)
        if (n_rows >= c->rows[i]->min_rows && (!c->rows[i]->max_rows || n_rows <= c->rows[i]->max_rows))
            return i;
    return c->n - 1;
}

static void make_run(struct rz_plan *plan, uint32_t at, uint32_t n_rows, struct rz_plan_run *r)
{
    const struct rz_plan_step *s = &plan->steps[at];
    uint32_t i = pick(&s->choice, n_rows);
    const struct rz_kernel_node *n = &s->kernel[i];
    *r = (struct rz_plan_run){.row = s->choice.rows[i], .at = at};
    r->shown = plan->cpu->setup.observe && n->op == RZ_OP_MATMUL;
    r->call = (struct rz_kernel_call){.size = sizeof(r->call),
                                      .n_rows = n_rows,
                                      .node = n,
                                      .in = r->in,
                                      .out = r->out,
                                      .step = &plan->step,
                                      .scratch = plan->scratch};
    for (uint32_t k = 0; k < n->n_in; k++)
        r->in[k] = plan->views[s->in[k]];
    for (uint32_t k = 0; k < n->n_out; k++)
        r->out[k] = plan->views[s->out[k]];
}

/* Steps like the last one run as that did. */
static void make_runs(struct rz_plan *plan, const struct rz_batch *b, struct rz_plan_shape shape)
{
    const struct rz_plan_shape *old = &plan->shape;
    if (shape.n_rows == old->n_rows && shape.n_wanted == old->n_wanted && shape.stage == old->stage &&
        shape.wants_logits == old->wants_logits)
        return;
    uint32_t from, to;
    rz_find_stage(plan->program, b, &plan->steps[0].node, plan->n_steps, sizeof(plan->steps[0]), &from, &to);
    for (uint32_t v = 0; v < plan->program->n_values; v++)
        plan->views[v].rows =
            rz_value_at(plan->program, v)->rows == RZ_ROWS_WANTED ? shape.n_wanted : shape.n_rows;
    plan->n_runs = 0;
    for (uint32_t i = from; i < to; i++) {
        const struct rz_plan_step *s = &plan->steps[i];
        uint32_t n_rows = s->rows == RZ_ROWS_WANTED ? shape.n_wanted : shape.n_rows;
        if (n_rows && (!s->only_logits || shape.wants_logits))
            make_run(plan, i, n_rows, &plan->runs[plan->n_runs++]);
    }
    plan->shape = shape;
}

static void begin_step(struct rz_plan *plan, const struct rz_batch *b)
{
    struct rz_plan_shape shape = {.n_rows = b->n_rows, .stage = b->stage};
    for (uint32_t i = 0; i < b->n_rows; i++) {
        if (b->rows[i].want != RZ_WANT_NONE)
            plan->wanted[shape.n_wanted++] = i;
        shape.wants_logits |= b->rows[i].want >= RZ_WANT_LOGITS;
    }
    plan->step = (struct rz_step){.size = sizeof(plan->step),
                                  .n_rows = b->n_rows,
                                  .n_seqs = b->n_seqs,
                                  .n_wanted = shape.n_wanted,
                                  .rows = b->rows,
                                  .seqs = b->seqs,
                                  .wanted = plan->wanted,
                                  .embeddings = b->embeddings,
                                  .kv = plan->kv_views,
                                  .ropes = plan->rope_views,
                                  .states = plan->state_views};
    make_runs(plan, b, shape);
    atomic_store_explicit(&plan->status, RZ_OK, memory_order_relaxed);
    atomic_store_explicit(&plan->failed_at, UINT32_MAX, memory_order_relaxed);
}

/* The first failure of a step counts; `at` is where, so that all members stop after the same node. */
static void note_failure(struct rz_plan *plan, uint32_t at, int32_t status, const struct rz_err *err)
{
    int32_t none = RZ_OK;
    if (atomic_compare_exchange_strong(&plan->status, &none, status)) {
        plan->error = *err; /* read after the step's end */
        atomic_store(&plan->failed_at, at);
    }
}

static bool has_failed(const struct rz_plan *plan, uint32_t before)
{
    return atomic_load_explicit(&plan->failed_at, memory_order_relaxed) < before;
}

static void show_input(const struct rz_plan *plan, const struct rz_plan_run *r)
{
    const struct rz_program *p = plan->program;
    int32_t weight = p->refs[rz_node_at(p, plan->steps[r->at].node)->first_weight];
    plan->cpu->setup.observe(plan->cpu->setup.ctx, &rz_weight_at(p, (uint32_t)weight)->name, &r->in[0]);
}

/* One member runs all of the node. False: it failed. */
static bool run_alone(struct rz_plan *plan, const struct rz_plan_run *r, struct rz_kernel_call *call,
                      struct rz_err *err)
{
    int32_t status = RZ_OK;
    if (r->shown)
        show_input(plan, r);
    for (call->tile = 0; call->tile < call->n_tiles && status >= 0; call->tile++)
        status = r->row->run(call, err);
    if (status < 0)
        note_failure(plan, r->at, status, err);
    return status >= 0;
}

static void run_shared(struct rz_plan *plan, const struct rz_plan_run *r, struct rz_kernel_call *call,
                       struct rz_err *err)
{
    struct rz_team *team = call->team;
    int32_t status = RZ_OK;
    if (r->shown && call->tid == 0)
        show_input(plan, r);
    if (r->row->flags & RZ_ROW_TEAM) {
        if ((status = r->row->run(call, err)) < 0)
            note_failure(plan, r->at, status, err);
        return;
    }
    team->share(team, call->tid, call->n_tiles);
    for (int32_t t; (t = team->take(team, call->tid)) >= 0;) {
        call->tile = (uint32_t)t;
        if ((status = r->row->run(call, err)) < 0)
            note_failure(plan, r->at, status, err);
    }
}

static uint32_t tiles_of(const struct rz_plan_run *r, const struct rz_kernel_call *call)
{
    return r->row->flags & RZ_ROW_TILED ? r->row->tiles(call) : 1;
}

/* Nodes that member 0 runs by itself follow each other without a barrier. */
static void walk_together(struct rz_plan *plan, struct rz_team *team, uint32_t tid)
{
    struct rz_err err;
    bool was_alone = true;
    rz_err_clear(&err);
    for (uint32_t i = 0; i < plan->n_runs; i++) {
        const struct rz_plan_run *r = &plan->runs[i];
        struct rz_kernel_call call = r->call;
        call.tid = tid;
        call.n_threads = team->n_threads;
        call.team = team;
        call.n_tiles = tiles_of(r, &call);
        bool alone = !(r->row->flags & RZ_ROW_TEAM) && call.n_tiles == 1;
        if (i && !(alone && was_alone))
            team->barrier(team, tid);
        /* A faster member may have failed in this node by now: it is still entered by all. */
        if (!alone && has_failed(plan, r->at))
            break;
        if (!alone)
            run_shared(plan, r, &call, &err);
        else if (tid == 0 && !has_failed(plan, r->at))
            run_alone(plan, r, &call, &err);
        was_alone = alone;
    }
}

static void walk(void *arg, struct rz_team *team, uint32_t tid)
{
    struct rz_plan *plan = arg;
    struct rz_err err;
    if (team->n_threads > 1) {
        walk_together(plan, team, tid);
        return;
    }
    rz_err_clear(&err);
    for (struct rz_plan_run *r = plan->runs, *end = r + plan->n_runs; r < end; r++) {
        r->call.n_threads = 1;
        r->call.team = team;
        r->call.n_tiles = tiles_of(r, &r->call);
        if (!run_alone(plan, r, &r->call, &err))
            break;
    }
}

static uint64_t value_bytes(const struct rz_view *v)
{
    return v->rows * v->stride * sizeof(float);
}

/* What other devices have made for the stage. */
static void take_inputs(const struct rz_plan *plan, const struct rz_batch *b)
{
    const struct rz_program *p = plan->program;
    if (!p->n_stages)
        return;
    const struct rz_stage *stage = rz_stage_at(p, b->stage);
    for (uint32_t i = 0; i < stage->n_in; i++) {
        const struct rz_view *v = &plan->views[rz_stage_in(p, stage, i)];
        memcpy(v->data, b->inputs[i], value_bytes(v));
    }
}

static void give_outputs(const struct rz_plan *plan, const struct rz_batch *b)
{
    const struct rz_program *p = plan->program;
    if (!p->n_stages)
        return;
    const struct rz_stage *stage = rz_stage_at(p, b->stage);
    for (uint32_t i = 0; i < stage->n_out; i++) {
        const struct rz_view *v = &plan->views[rz_stage_out(p, stage, i)];
        memcpy(b->outputs[i], v->data, value_bytes(v));
    }
}

int32_t rz_plan_execute(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                        struct rz_err *err)
{
    int32_t status = rz_batch_check(&plan->bounds, batch, err);
    if (status)
        return status;
    copy_pages(plan, batch);
    move_states(plan, batch);
    begin_step(plan, batch);
    take_inputs(plan, batch);
    rz_pool_step(plan->cpu->setup.pool, plan->step.n_rows, walk, plan);
    status = atomic_load_explicit(&plan->status, memory_order_relaxed);
    if (status) {
        if (err)
            *err = plan->error;
        return status;
    }
    give_outputs(plan, batch);
    const struct rz_program *p = plan->program;
    out->n = plan->step.n_wanted;
    out->logits = p->logits >= 0 ? plan->views[p->logits].data : NULL;
    out->hidden = p->hidden >= 0 ? plan->views[p->hidden].data : NULL;
    out->logits_stride = p->logits >= 0 ? plan->views[p->logits].stride : 0;
    out->hidden_stride = p->hidden >= 0 ? plan->views[p->hidden].stride : 0;
    return RZ_OK;
}

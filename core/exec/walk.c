/* walk.c - runs one step: every thread of the team walks the plan, node by node, with a barrier between.
 *
 * The batch is checked before anything is touched, so that kernels can trust token ids, positions and
 * pages. Nothing is allocated here.
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

static void begin_step(struct rz_plan *plan, const struct rz_batch *b)
{
    uint32_t n_wanted = 0;
    plan->wants_logits = false;
    for (uint32_t i = 0; i < b->n_rows; i++) {
        if (b->rows[i].want != RZ_WANT_NONE)
            plan->wanted[n_wanted++] = i;
        plan->wants_logits |= b->rows[i].want >= RZ_WANT_LOGITS;
    }
    plan->step = (struct rz_step){.size = sizeof(plan->step),
                                  .n_rows = b->n_rows,
                                  .n_seqs = b->n_seqs,
                                  .n_wanted = n_wanted,
                                  .rows = b->rows,
                                  .seqs = b->seqs,
                                  .wanted = plan->wanted,
                                  .embeddings = b->embeddings,
                                  .kv = plan->kv_views,
                                  .ropes = plan->rope_views,
                                  .states = plan->state_views};
    for (uint32_t v = 0; v < plan->program->n_values; v++)
        plan->views[v].rows = rz_value_at(plan->program, v)->rows == RZ_ROWS_WANTED ? n_wanted : b->n_rows;
    rz_find_stage(plan->program, b, &plan->steps[0].node, plan->n_steps, sizeof(plan->steps[0]),
                  &plan->from_step, &plan->to_step);
    atomic_store(&plan->status, RZ_OK);
    atomic_store(&plan->failed_at, UINT32_MAX);
    plan->error = (struct rz_err){.size = sizeof(plan->error)};
}

/* The row of a step for this many rows; rows of one choice cover every count. */
static uint32_t pick(const struct rz_choice *c, uint32_t n_rows)
{
    for (uint32_t i = 0; i + 1 < c->n; i++)
        if (n_rows >= c->rows[i]->min_rows && (!c->rows[i]->max_rows || n_rows <= c->rows[i]->max_rows))
            return i;
    return c->n - 1;
}

/* The first failure of a step counts; `at` is where, so that all members stop after the same node. */
static void note_failure(struct rz_plan *plan, uint32_t at, int32_t status, const struct rz_err *err)
{
    int32_t none = RZ_OK;
    if (status < 0 && atomic_compare_exchange_strong(&plan->status, &none, status)) {
        plan->error = *err; /* read after the step's last barrier */
        atomic_store(&plan->failed_at, at);
    }
}

static void run_tiles(struct rz_plan *plan, uint32_t at, const struct rz_kernel_row *row,
                      struct rz_kernel_call *call, struct rz_team *team)
{
    struct rz_err err = RZ_ERR_INIT;
    call->n_tiles = row->tiles(call);
    team->share(team, call->tid, call->n_tiles);
    for (int32_t t; (t = team->take(team, call->tid)) >= 0;) {
        call->tile = (uint32_t)t;
        note_failure(plan, at, row->run(call, &err), &err);
    }
}

static void show_input(const struct rz_plan *plan, const struct rz_plan_step *s, const struct rz_view *x)
{
    const struct rz_program *p = plan->program;
    int32_t weight = p->refs[rz_node_at(p, s->node)->first_weight];
    plan->cpu->setup.observe(plan->cpu->setup.ctx, &rz_weight_at(p, (uint32_t)weight)->name, x);
}

static void run_step(struct rz_plan *plan, uint32_t at, uint32_t n_rows, struct rz_team *team, uint32_t tid)
{
    const struct rz_plan_step *s = &plan->steps[at];
    struct rz_err err = RZ_ERR_INIT;
    struct rz_view in[RZ_OPERANDS_MAX], out[RZ_OPERANDS_MAX];
    uint32_t i = pick(&s->choice, n_rows);
    const struct rz_kernel_row *row = s->choice.rows[i];
    struct rz_kernel_call call = {.size = sizeof(call),
                                  .n_rows = n_rows,
                                  .tid = tid,
                                  .n_threads = team->n_threads,
                                  .node = &s->kernel[i],
                                  .in = in,
                                  .out = out,
                                  .step = &plan->step,
                                  .team = team,
                                  .scratch = plan->scratch};
    for (uint32_t k = 0; k < s->kernel[i].n_in; k++)
        in[k] = plan->views[s->in[k]];
    for (uint32_t k = 0; k < s->kernel[i].n_out; k++)
        out[k] = plan->views[s->out[k]];
    if (tid == 0 && plan->cpu->setup.observe && call.node->op == RZ_OP_MATMUL)
        show_input(plan, s, &in[0]);
    if (row->flags & RZ_ROW_TILED)
        run_tiles(plan, at, row, &call, team);
    else if (row->flags & RZ_ROW_TEAM || tid == 0)
        note_failure(plan, at, row->run(&call, &err), &err);
}

static void walk(void *arg, struct rz_team *team, uint32_t tid)
{
    struct rz_plan *plan = arg;
    for (uint32_t i = plan->from_step; i < plan->to_step; i++) {
        const struct rz_plan_step *s = &plan->steps[i];
        uint32_t n_rows = s->rows == RZ_ROWS_WANTED ? plan->step.n_wanted : plan->step.n_rows;
        if (!n_rows || (s->only_logits && !plan->wants_logits))
            continue;
        run_step(plan, i, n_rows, team, tid);
        team->barrier(team, tid);
        /* A faster member may have failed in the next node by now: that one is still entered by all. */
        if (atomic_load_explicit(&plan->failed_at, memory_order_relaxed) <= i)
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
    status = atomic_load(&plan->status);
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

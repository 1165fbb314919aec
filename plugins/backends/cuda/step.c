/* step.c - runs one step: what varies is uploaded in one copy, then launches, or the graph of them.
 *
 * Steps of few rows are captured when they come a second time: a graph holds for every step of as many
 * rows, wanted rows and parts of the keys, because kernels read all else from device memory.
 */
#include "cuda.h"

#include "err.h"
#include "lives.h"

#include <string.h>

/* --- the upload --- */

static uint64_t put(struct rz_plan *plan, uint64_t *at, const void *from, uint64_t bytes)
{
    uint64_t place = *at;
    if (from)
        memcpy(plan->staged + place, from, bytes);
    *at = (place + bytes + 15) / 16 * 16;
    return place;
}

/* Where the neighbouring rows of one sequence end. */
static uint32_t run_end(const struct rz_batch *b, uint32_t i)
{
    uint32_t seq = b->rows[i].seq;
    while (i < b->n_rows && b->rows[i].seq == seq)
        i++;
    return i;
}

static void put_rows(struct rz_plan *plan, uint64_t rows_at, uint64_t wanted_at)
{
    struct cu_row *rows = (void *)(plan->staged + rows_at);
    uint32_t *wanted = (void *)(plan->staged + wanted_at), n = 0;
    const struct rz_batch *b = plan->batch;
    for (uint32_t i = 0, end = 0, run = 0; i < b->n_rows; i++) {
        if (i == end) {
            end = run_end(b, i);
            run = end - i;
        }
        rows[i] = (struct cu_row){
            .token = b->rows[i].token, .seq = b->rows[i].seq, .pos = b->rows[i].pos[0], .run = run};
        if (b->rows[i].want != RZ_WANT_NONE)
            wanted[n++] = i;
    }
}

static uint64_t put_seqs(struct rz_plan *plan, uint64_t seqs_at, uint64_t pages_at)
{
    const struct rz_batch *b = plan->batch;
    struct cu_seq *seqs = (void *)(plan->staged + seqs_at);
    int32_t *pages = (void *)(plan->staged + pages_at);
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        const struct rz_batch_seq *s = &b->seqs[i];
        uint32_t each = (s->length + plan->limits.page_tokens - 1) / plan->limits.page_tokens;
        seqs[i] = (struct cu_seq){.length = s->length,
                                  .mask = s->mask == RZ_MASK_ALL,
                                  .slot = s->state_slot,
                                  .variant = s->rope_variant};
        for (uint32_t g = 0; g < plan->program->n_kv_groups; g++) {
            seqs[i].pages[g] = n;
            memcpy(pages + n, s->pages[g], each * sizeof(*pages));
            n += each;
        }
    }
    return pages_at + (uint64_t)n * sizeof(*pages);
}

static int32_t upload(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_batch *b = plan->batch;
    struct cu_step *step = (void *)plan->staged;
    uint8_t *device = (uint8_t *)plan->step;
    uint64_t at = 0;
    int32_t status = cu_check(cudaEventSynchronize(plan->uploaded), "the upload of the step before", err);
    if (status)
        return status;
    put(plan, &at, NULL, sizeof(*step));
    uint64_t rows = put(plan, &at, NULL, b->n_rows * sizeof(struct cu_row));
    uint64_t wanted = put(plan, &at, NULL, b->n_rows * sizeof(uint32_t));
    uint64_t seqs = put(plan, &at, NULL, b->n_seqs * sizeof(struct cu_seq));
    *step = (struct cu_step){.rows = (void *)(device + rows),
                             .seqs = (void *)(device + seqs),
                             .wanted = (void *)(device + wanted),
                             .pages = (void *)(device + at)};
    put_rows(plan, rows, wanted);
    uint64_t end = put_seqs(plan, seqs, at);
    status = cu_check(cudaMemcpyAsync(device, plan->staged, end, cudaMemcpyHostToDevice, plan->stream),
                      "uploading a step", err);
    return status ? status : cu_check(cudaEventRecord(plan->uploaded, plan->stream), "uploading a step", err);
}

/* --- pages and slots --- */

static int32_t move(struct rz_plan *plan, uint8_t *to, const uint8_t *from, uint64_t bytes,
                    struct rz_err *err)
{
    cudaError_t e = from ? cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, plan->stream)
                         : cudaMemsetAsync(to, 0, bytes, plan->stream);
    return cu_check(e, "copying pages or states", err);
}

static int32_t move_all(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_batch *b = plan->batch;
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < b->n_copies && !status; i++) {
        const struct rz_page_copy *c = &b->copies[i];
        uint64_t bytes = plan->kv_page[c->group];
        if (c->from != c->to)
            status = move(plan, plan->kv_base[c->group] + (uint32_t)c->to * bytes,
                          plan->kv_base[c->group] + (uint32_t)c->from * bytes, bytes, err);
    }
    for (uint32_t i = 0; i < b->n_state_copies && !status; i++) {
        const struct rz_state_copy *c = &b->state_copies[i];
        if (c->from != c->to)
            status = move(plan, plan->states + (uint32_t)c->to * plan->slot_bytes,
                          plan->states + (uint32_t)c->from * plan->slot_bytes, plan->slot_bytes, err);
    }
    for (uint32_t i = 0; i < b->n_clears && !status; i++)
        status =
            move(plan, plan->states + (uint32_t)b->clears[i] * plan->slot_bytes, NULL, plan->slot_bytes, err);
    return status;
}

/* The values of the stage that other devices have made. */
static int32_t take_inputs(struct rz_plan *plan)
{
    const struct rz_program *p = plan->program;
    const struct rz_stage *stage = p->n_stages ? rz_stage_at(p, plan->batch->stage) : NULL;
    int32_t status = RZ_OK;
    for (uint32_t i = 0; stage && i < stage->n_in && !status; i++) {
        int32_t value = rz_stage_in(p, stage, i);
        uint64_t bytes = cu_value_rows(plan, value) * plan->views[value].stride * sizeof(float);
        status = cu_check(cudaMemcpyAsync(plan->views[value].data, plan->batch->inputs[i], bytes,
                                          cudaMemcpyDefault, plan->stream),
                          "fetching the values of another device", plan->err);
    }
    return status;
}

/* --- launches --- */

static void run_ops(struct rz_plan *plan)
{
    for (uint32_t i = plan->from_op; i < plan->to_op && !plan->status; i++) {
        const struct cu_op *op = &plan->ops[i];
        bool skip = op->run == CU_RUN_NEVER || (op->run == CU_RUN_MANY && cu_few(plan, op));
        if (skip || !cu_rows(plan, op) || (op->only_logits && !plan->wants_logits))
            continue;
        cu_op_run(plan, op);
    }
    if (plan->top_k)
        cu_top_run(plan);
}

static uint64_t key_of(const struct rz_plan *plan)
{
    return 1ull << 63 | (uint64_t)plan->n_rows << 48 | (uint64_t)plan->n_wanted << 40 |
           (uint64_t)plan->top_k << 32 | (uint64_t)plan->wants_logits << 31 | (uint64_t)plan->runs << 30 |
           (uint64_t)plan->prompts << 29 | (uint64_t)plan->singles << 28 |
           (uint64_t)plan->batch->stage << 24 | plan->splits;
}

/* The entry of this kind of step; a new one takes the place of the one that was not used for longest. */
static struct cu_graph *find_graph(struct rz_plan *plan)
{
    uint64_t key = key_of(plan);
    struct cu_graph *oldest = &plan->graphs[0];
    for (uint32_t i = 0; i < CU_GRAPHS; i++) {
        struct cu_graph *g = &plan->graphs[i];
        if (g->key == key)
            return g;
        if (g->used < oldest->used)
            oldest = g;
    }
    if (oldest->exec)
        cudaGraphExecDestroy(oldest->exec);
    *oldest = (struct cu_graph){.key = key};
    return oldest;
}

static int32_t capture(struct rz_plan *plan, struct cu_graph *g)
{
    cudaGraph_t graph = NULL;
    int32_t status = cu_check(cudaStreamBeginCapture(plan->stream, cudaStreamCaptureModeThreadLocal),
                              "capturing a step", plan->err);
    if (status)
        return status;
    run_ops(plan);
    status = cu_check(cudaStreamEndCapture(plan->stream, &graph), "capturing a step", plan->err);
    if (!status && !plan->status)
        status = cu_check(cudaGraphInstantiate(&g->exec, graph, 0), "capturing a step", plan->err);
    else if (!status) {
        status = plan->status;
        cudaGraphExec_t rest = NULL;
        if (cudaGraphInstantiate(&rest, graph, 0) == cudaSuccess)
            cudaGraphExecDestroy(rest);
    }
    if (graph)
        cudaGraphDestroy(graph);
    return status;
}

static int32_t run(struct rz_plan *plan)
{
    if (!plan->device->use_graphs || plan->n_rows > CU_GRAPH_ROWS ||
        plan->program->n_stages > CU_GRAPH_STAGES) {
        run_ops(plan);
        return plan->status;
    }
    struct cu_graph *g = find_graph(plan);
    g->used = ++plan->clock;
    if (g->uses++ == 0) {
        run_ops(plan);
        return plan->status;
    }
    int32_t status = g->exec ? RZ_OK : capture(plan, g);
    return status ? status : cu_check(cudaGraphLaunch(g->exec, plan->stream), "launching a step", plan->err);
}

/* --- the step --- */

static void begin(struct rz_plan *plan, const struct rz_batch *b, struct rz_err *err)
{
    bool all = false;
    plan->batch = b;
    plan->n_rows = b->n_rows;
    plan->n_wanted = plan->top_k = 0;
    plan->bytes_of = -1;
    plan->wants_logits = plan->runs = plan->prompts = plan->singles = false;
    plan->splits = 1;
    plan->status = RZ_OK;
    plan->err = err;
    for (uint32_t i = 0; i < b->n_rows; i++) {
        const struct rz_batch_row *r = &b->rows[i];
        plan->n_wanted += r->want != RZ_WANT_NONE;
        plan->wants_logits |= r->want >= RZ_WANT_LOGITS;
        plan->runs |= i && r->seq == b->rows[i - 1].seq;
        all |= r->want == RZ_WANT_LOGITS || r->k > CU_TOP_MAX;
        if (r->want == RZ_WANT_TOP_K && r->k > plan->top_k)
            plan->top_k = r->k;
        uint32_t splits = (b->seqs[r->seq].length + CU_SPLIT - 1) / CU_SPLIT;
        plan->splits = splits > plan->splits ? splits : plan->splits;
    }
    for (uint32_t i = 0, end; i < b->n_rows; i = end) {
        end = run_end(b, i);
        *(end - i < CU_FLASH_RUN ? &plan->singles : &plan->prompts) = true;
    }
    plan->last = b->stage + 1 >= plan->program->n_stages;
    if (all || plan->n_wanted > plan->top_rows || !plan->last)
        plan->top_k = 0;
    rz_find_stage(plan->program, b, &plan->ops[0].node, plan->n_ops, sizeof(plan->ops[0]), &plan->from_op,
                  &plan->to_op);
}

/* Nothing of the stage touches what crosses before the awaited ones are over. */
static int32_t await(struct rz_plan *plan, const struct rz_awaited *awaited, uint32_t n)
{
    int32_t status = RZ_OK;
    for (uint32_t i = 0; i < n && !status; i++)
        status =
            cu_check(cudaStreamWaitEvent(plan->stream, awaited[i].plan->done[awaited[i].stage % CU_DONE], 0),
                     "waiting for another device", plan->err);
    return status;
}

int32_t cu_begin(struct rz_plan *plan, const struct rz_batch *batch, const struct rz_awaited *awaited,
                 uint32_t n, struct rz_err *err)
{
    int32_t status = rz_batch_check(&plan->bounds, batch, err);
    if (!status)
        status = cu_check(cudaSetDevice(plan->device->index), "choosing the device", err);
    if (status)
        return status;
    begin(plan, batch, err);
    status = upload(plan, err);
    if (!status)
        status = move_all(plan, err);
    if (!status)
        status = await(plan, awaited, n);
    if (!status)
        status = take_inputs(plan);
    if (!status)
        status = run(plan);
    if (!status)
        status = cu_results_fetch(plan);
    if (!status && plan->program->n_stages)
        status = cu_check(cudaEventRecord(plan->done[batch->stage % CU_DONE], plan->stream), "a stage", err);
    return status;
}

int32_t cu_finish(struct rz_plan *plan, struct rz_result *out, struct rz_err *err)
{
    int32_t status = cu_check(cudaSetDevice(plan->device->index), "choosing the device", err);
    if (!status)
        status = cu_check(cudaStreamSynchronize(plan->stream), "a step", err);
    if (!status)
        cu_results(plan, out);
    return status;
}

int32_t cu_execute(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                   struct rz_err *err)
{
    struct rz_err own = RZ_ERR_INIT;
    err = err ? err : &own;
    int32_t status = cu_begin(plan, batch, NULL, 0, err);
    return status ? status : cu_finish(plan, out, err);
}

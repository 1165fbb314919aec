/* memory.c - the memory of a plan: all of it is counted first, compared with what the device has, and only
 * then taken. A step takes none.
 */
#include "cuda.h"

#include "checked.h"
#include "err.h"
#include "lives.h"

#include <stdlib.h>
#include <sys/mman.h>

#define ALIGN 256u
#define MIB(n) ((unsigned long long)((n) + (1u << 20) - 1) >> 20)

/* --- values: those that live at the same time lie apart --- */

static void touch_op(struct rz_life *l, const struct cu_op *op, uint32_t at)
{
    for (uint32_t k = 0; k < CU_OPERANDS; k++) {
        rz_life_touch(l, op->in[k], at);
        rz_life_touch(l, op->out[k], at);
    }
}

/* What op reads and writes at `at`, with all that it does for others. */
static void touch_group(const struct rz_plan *plan, struct rz_life *l, const struct cu_op *op, uint32_t at)
{
    touch_op(l, op, at);
    if (op->norm >= 0)
        touch_op(l, &plan->ops[op->norm], at);
    if (op->add >= 0)
        touch_op(l, &plan->ops[op->add], at);
    for (uint32_t k = 0; k + 1 < CU_PARTS; k++)
        if (op->beside[k] >= 0)
            touch_op(l, &plan->ops[op->beside[k]], at);
    if (op->gate >= 0) {
        touch_group(plan, l, &plan->ops[op->gate], at);
        touch_group(plan, l, &plan->ops[op->up], at);
    }
}

static void find_lives(const struct rz_plan *plan, uint32_t *nodes, struct rz_life *lives)
{
    const struct rz_program *p = plan->program;
    for (uint32_t v = 0; v < p->n_values; v++)
        lives[v] = (struct rz_life){.first = RZ_LIFE_NEVER};
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        touch_group(plan, lives, &plan->ops[i], i);
        nodes[i] = plan->ops[i].node;
    }
    rz_lives_outside(p, nodes, plan->n_ops, lives);
}

static int32_t plan_values(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    struct rz_life *lives = calloc(p->n_values + 1, sizeof(*lives));
    uint32_t *nodes = calloc(plan->n_ops + 1, sizeof(*nodes));
    plan->views = calloc(p->n_values + 1, sizeof(*plan->views));
    int32_t status = lives && nodes && plan->views ? RZ_OK : rz_fail(err, RZ_ENOMEM, "plan", "no memory");
    if (!status) {
        find_lives(plan, nodes, lives);
        status = rz_lives_place(p, &plan->limits, ALIGN, lives, &plan->value_bytes, err);
    }
    for (uint32_t v = 0; v < p->n_values && !status; v++)
        if (lives[v].first != RZ_LIFE_NEVER) {
            plan->views[v].data = (float *)(uintptr_t)lives[v].offset;
            plan->views[v].stride = RZ_VALUE_STRIDE(rz_value_at(p, v)->width);
        }
    free(nodes);
    free(lives);
    return status;
}

/* --- KV, states, ropes --- */

static uint64_t kv_bytes_of(const struct rz_plan *plan, uint64_t dim)
{
    uint64_t row = dim * (plan->limits.kv_type == RZ_TYPE_F32 ? 4 : 2);
    if (plan->limits.kv_type == RZ_TYPE_Q8_0)
        row = rz_round_up(dim, 32) + rz_round_up(dim, 32) / 16;
    if (plan->limits.kv_type == RZ_TYPE_F8_E4M3)
        row = rz_round_up(dim, 8) + 1;
    return rz_round_up(plan->limits.page_tokens * row, 64);
}

static int32_t plan_kv(struct rz_plan *plan, struct rz_err *err)
{
    for (uint32_t g = 0; g < plan->program->n_kv_groups; g++) {
        const struct rz_kv_group *group = rz_kv_group_at(plan->program, g);
        struct cu_kv *v = &plan->kv_views[g];
        uint64_t total;
        *v = (struct cu_kv){.group = g,
                            .type = (uint32_t)plan->limits.kv_type,
                            .page_tokens = plan->limits.page_tokens,
                            .n_heads = group->n_heads,
                            .k_dim = group->k_dim,
                            .v_dim = group->v_dim};
        v->v_offset = group->kind == RZ_KV_LATENT ? 0 : kv_bytes_of(plan, group->k_dim);
        v->head_bytes = kv_bytes_of(plan, group->k_dim) + (v->v_offset ? kv_bytes_of(plan, group->v_dim) : 0);
        plan->kv_layer[g] = v->head_bytes * group->n_heads;
        v->page_bytes = plan->kv_page[g] = plan->kv_layer[g] * group->n_layers;
        plan->kv_base[g] = (uint8_t *)(uintptr_t)plan->kv_bytes;
        if (!rz_mul_u64(v->page_bytes, plan->limits.n_pages, &total) ||
            !rz_add_u64(plan->kv_bytes, rz_round_up(total, ALIGN), &plan->kv_bytes))
            return rz_fail(err, RZ_ELIMIT, "plan", "%u KV pages of %llu bytes are too many",
                           plan->limits.n_pages, (unsigned long long)v->page_bytes);
    }
    return RZ_OK;
}

static int32_t plan_states(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    uint64_t at = 0, bytes;
    plan->state_views = calloc(p->n_states + 1, sizeof(*plan->state_views));
    if (!plan->state_views)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
    for (uint32_t i = 0; i < p->n_states; i++) {
        const struct rz_state *s = rz_state_at(p, i);
        plan->state_views[i].base = (float *)(uintptr_t)at;
        if (!rz_mul_u64(s->floats, sizeof(float), &bytes) || !rz_align_u64(bytes, 64, &bytes) ||
            !rz_add_u64(at, bytes, &at))
            return rz_fail(err, RZ_ELIMIT, "plan", "the recurrent state of layer %d is too large", s->layer);
    }
    plan->slot_bytes = at;
    for (uint32_t i = 0; i < p->n_states; i++)
        plan->state_views[i].stride = at / sizeof(float);
    if (!rz_mul_u64(at, plan->limits.n_slots, &plan->state_bytes))
        return rz_fail(err, RZ_ELIMIT, "plan", "%u slots of recurrent state are too many",
                       plan->limits.n_slots);
    return RZ_OK;
}

static void plan_ropes(struct rz_plan *plan)
{
    for (uint32_t i = 0; i < plan->program->n_ropes; i++) {
        uint32_t half = rz_rope_at(plan->program, i)->dim / 2;
        uint64_t plane = (uint64_t)plan->limits.max_context * half * sizeof(float);
        plan->rope_views[i] = (struct cu_table){.cosines = (float *)(uintptr_t)plan->rope_bytes,
                                                .sines = (float *)(uintptr_t)(plan->rope_bytes + plane),
                                                .half = half};
        plan->rope_bytes += 2 * plane;
    }
}

/* --- scratch --- */

static uint64_t place(struct rz_plan *plan, uint64_t bytes)
{
    uint64_t at = plan->scratch_bytes;
    plan->scratch_bytes += rz_round_up(bytes, ALIGN);
    return at;
}

static uint64_t parts_bytes(const struct rz_plan *plan, const struct cu_op *op)
{
    const struct rz_kv_group *g = rz_kv_group_at(plan->program, (uint32_t)cu_int(op, RZ_A_KV_GROUP));
    uint64_t splits = (plan->limits.max_context + CU_SPLIT - 1) / CU_SPLIT, rows = plan->limits.max_rows;
    uint64_t apart = rows < CU_APART_ROWS ? rows : CU_APART_ROWS;
    uint64_t each = (uint64_t)cu_int(op, RZ_A_N_HEAD) * (g->v_dim + 2) * sizeof(float);
    return (apart * splits > rows ? apart * splits : rows) * each;
}

/* Bytes that the largest op needs of each kind. */
static void plan_scratch(struct rz_plan *plan)
{
    uint64_t parts = 0, pairs = 0, tiles = 0, scales = 1, bytes = 0, rows = plan->limits.max_rows;
    uint64_t pages = (plan->limits.max_context + plan->limits.page_tokens - 1) / plan->limits.page_tokens;
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        const struct cu_op *op = &plan->ops[i];
        uint64_t n = op->n->op == RZ_OP_ATTENTION ? parts_bytes(plan, op) : 0;
        parts = n > parts ? n : parts;
        uint64_t used = op->n->op == RZ_OP_MATMUL_ID ? cu_in_width(plan, op, 1) : 0;
        pairs = used * rows > pairs ? used * rows : pairs;
        uint64_t heads = op->n->op == RZ_OP_MATMUL_HEADS ? (uint64_t)cu_int(op, RZ_A_PARTS) : used;
        scales = heads > scales ? heads : scales;
        uint64_t row = op->bytes && op->weight[0] >= 0 ? cu_in_width(plan, op, 0) : 0;
        bytes = row * rows > bytes ? row * rows : bytes;
        if (used)
            tiles = pairs + CU_EXPERTS;
    }
    plan->step_bytes = rz_round_up(sizeof(struct cu_step), 64) + rows * sizeof(struct cu_row) +
                       plan->limits.max_seqs * (sizeof(struct cu_seq) + pages * CU_GROUPS * 4) + rows * 4 +
                       256;
    uint64_t vocab =
        plan->program->logits >= 0 ? rz_value_at(plan->program, (uint32_t)plan->program->logits)->width : 0;
    uint64_t top = (vocab + CU_TOP_SPAN - 1) / CU_TOP_SPAN * CU_TOP_MAX * plan->top_rows;
    plan->step = (struct cu_step *)(uintptr_t)place(plan, plan->step_bytes);
    plan->parts = (float *)(uintptr_t)place(plan, parts);
    plan->row_scales = (float *)(uintptr_t)place(plan, scales * rows * 4);
    plan->bytes = (int8_t *)(uintptr_t)place(plan, bytes);
    plan->byte_scales = (float *)(uintptr_t)place(plan, bytes / 4);
    plan->pair_order = (uint32_t *)(uintptr_t)place(plan, pairs * 4);
    plan->pair_tiles = (uint32_t *)(uintptr_t)place(plan, tiles * 12);
    plan->pair_count = (uint32_t *)(uintptr_t)place(plan, 4);
    uint64_t lt_x, lt_w, lt_work = cu_lt_bytes(plan, &lt_x, &lt_w);
    plan->lt_work = (uint8_t *)(uintptr_t)place(plan, lt_work);
    plan->lt_x = (uint16_t *)(uintptr_t)place(plan, lt_x);
    plan->lt_weights = (uint16_t *)(uintptr_t)place(plan, lt_w);
    for (int i = 0; i < 2; i++) {
        plan->top_values[i] = (float *)(uintptr_t)place(plan, top * 4);
        plan->top_ids[i] = (uint32_t *)(uintptr_t)place(plan, top * 4);
    }
}

/* --- taking it --- */

static int32_t check_room(struct rz_plan *plan, struct rz_err *err)
{
    size_t available = 0, total = 0;
    uint64_t other = plan->value_bytes + plan->scratch_bytes + plan->rope_bytes + plan->state_bytes;
    uint64_t weights = plan->shares ? 0 : plan->weight_bytes, need = weights + plan->kv_bytes + other;
    int32_t status = cu_check(cudaMemGetInfo(&available, &total), "asking for free memory", err);
    if (status || need + plan->device->reserve <= available)
        return status;
    return rz_fail(
        err, RZ_ENOMEM, plan->device->name,
        "%llu MiB are needed (weights %llu, KV %llu, values and state %llu) and %llu kept free, of "
        "%llu MiB %llu are free: lower engine.context, engine.max_seqs or engine.kv_pages",
        MIB(need), MIB(weights), MIB(plan->kv_bytes), MIB(other), MIB(plan->device->reserve), MIB(total),
        MIB(available));
}

static int32_t take(uint8_t **out, uint64_t bytes, const char *what, struct rz_err *err)
{
    return cu_check(cudaMalloc((void **)out, bytes ? bytes : 1), what, err);
}

static int32_t take_weights(struct rz_plan *plan, struct rz_err *err)
{
    if (plan->shares)
        return RZ_OK;
    plan->weight_refs = malloc(sizeof(*plan->weight_refs));
    if (!plan->weight_refs)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
    *plan->weight_refs = 1;
    return take(&plan->weights, plan->weight_bytes, "memory for weights", err);
}

static int32_t take_device(struct rz_plan *plan, struct rz_err *err)
{
    int32_t status = take_weights(plan, err);
    if (!status)
        status = take(&plan->values, plan->value_bytes, "memory for values", err);
    if (!status)
        status = take(&plan->kv, plan->kv_bytes, "memory for the KV", err);
    if (!status)
        status = take(&plan->states, plan->state_bytes, "memory for states", err);
    if (!status)
        status = take(&plan->scratch, plan->scratch_bytes, "memory for scratch", err);
    return status ? status : take(&plan->ropes, plan->rope_bytes, "memory for ropes", err);
}

static void *map_memory(uint64_t bytes)
{
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static int32_t take_host(struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    uint64_t vocab = p->logits >= 0 ? plan->views[p->logits].stride * sizeof(float) : 0;
    uint64_t top = CU_TOP_MAX * (uint64_t)plan->top_rows + 1;
    uint64_t wide = p->hidden >= 0 ? plan->views[p->hidden].stride * sizeof(float) : 0;
    plan->few = plan->limits.max_wanted < CU_FEW ? plan->limits.max_wanted : CU_FEW;
    plan->top_bytes = vocab * plan->top_rows;
    plan->many_bytes = vocab * plan->limits.max_wanted;
    plan->hidden_bytes = wide * plan->limits.max_wanted;
    int32_t status = cu_check(cudaMallocHost((void **)&plan->staged, plan->step_bytes), "pinned memory", err);
    if (!status)
        status = cu_check(cudaMallocHost((void **)&plan->few_logits, vocab * plan->few + 64), "pinned memory",
                          err);
    if (!status)
        status = cu_check(cudaMallocHost((void **)&plan->few_ids, top * 4), "pinned memory", err);
    if (!status)
        status = cu_check(cudaMallocHost((void **)&plan->few_values, top * 4), "pinned memory", err);
    plan->shown = calloc(top, sizeof(*plan->shown));
    plan->top_logits = map_memory(plan->top_bytes);
    plan->many_logits = map_memory(plan->many_bytes);
    plan->hidden = map_memory(plan->hidden_bytes);
    if (!status && (!plan->shown || !plan->top_logits || !plan->many_logits || !plan->hidden))
        status = rz_fail(err, RZ_ENOMEM, "plan", "no memory for results");
    return status;
}

#define MOVE(pointer, base) (pointer) = (void *)((base) + (uintptr_t)(pointer))

/* Offsets become addresses. */
static void move_to(struct rz_plan *plan)
{
    for (uint32_t v = 0; v < plan->program->n_values; v++)
        MOVE(plan->views[v].data, plan->values);
    for (uint32_t g = 0; g < plan->program->n_kv_groups; g++)
        MOVE(plan->kv_base[g], plan->kv);
    for (uint32_t i = 0; i < plan->program->n_states; i++)
        MOVE(plan->state_views[i].base, plan->states);
    for (uint32_t i = 0; i < plan->program->n_ropes; i++) {
        MOVE(plan->rope_views[i].cosines, plan->ropes);
        MOVE(plan->rope_views[i].sines, plan->ropes);
    }
    MOVE(plan->step, plan->scratch);
    MOVE(plan->parts, plan->scratch);
    MOVE(plan->row_scales, plan->scratch);
    MOVE(plan->bytes, plan->scratch);
    MOVE(plan->byte_scales, plan->scratch);
    MOVE(plan->pair_order, plan->scratch);
    MOVE(plan->pair_tiles, plan->scratch);
    MOVE(plan->pair_count, plan->scratch);
    MOVE(plan->lt_work, plan->scratch);
    MOVE(plan->lt_x, plan->scratch);
    MOVE(plan->lt_weights, plan->scratch);
    for (int i = 0; i < 2; i++) {
        MOVE(plan->top_values[i], plan->scratch);
        MOVE(plan->top_ids[i], plan->scratch);
    }
}

static int32_t fill_ropes(struct rz_plan *plan, struct rz_err *err)
{
    uint64_t positions = plan->limits.max_context;
    float *t = malloc(plan->rope_bytes + 1), *at = t;
    if (!t)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory for rope tables");
    for (uint32_t i = 0; i < plan->program->n_ropes; i++) {
        const struct rz_rope *r = rz_rope_at(plan->program, i);
        uint64_t plane = positions * (r->dim / 2);
        rz_rope_fill(r, positions, at, at + plane);
        at += 2 * plane;
    }
    int32_t status =
        cu_check(cudaMemcpyAsync(plan->ropes, t, plan->rope_bytes, cudaMemcpyHostToDevice, plan->stream),
                 "ropes", err);
    if (!status)
        status = cu_check(cudaStreamSynchronize(plan->stream), "ropes", err);
    free(t);
    return status;
}

int32_t cu_memory_plan(struct rz_plan *plan, struct rz_err *err)
{
    int32_t status = plan_values(plan, err);
    if (!status)
        status = plan_kv(plan, err);
    if (!status)
        status = plan_states(plan, err);
    if (status)
        return status;
    plan_ropes(plan);
    plan->top_rows = plan->limits.max_wanted < CU_TOP_ROWS ? plan->limits.max_wanted : CU_TOP_ROWS;
    plan_scratch(plan);
    return RZ_OK;
}

int32_t cu_memory_take(struct rz_plan *plan, struct rz_err *err)
{
    int32_t status = cu_memory_plan(plan, err);
    if (!status)
        status = check_room(plan, err);
    if (!status)
        status = take_device(plan, err);
    if (status)
        return status;
    move_to(plan);
    status = take_host(plan, err);
    if (!status)
        status = cu_check(cudaMemsetAsync(plan->kv, 0, plan->kv_bytes, plan->stream), "clearing the KV", err);
    return status ? status : fill_ropes(plan, err);
}

void cu_memory_free(struct rz_plan *plan)
{
    uint8_t *device[] = {plan->values, plan->kv, plan->states, plan->scratch, plan->ropes};
    void *pinned[] = {plan->staged, plan->few_logits, plan->few_ids, plan->few_values};
    for (size_t i = 0; i < sizeof(device) / sizeof(device[0]); i++)
        if (device[i])
            cudaFree(device[i]);
    for (size_t i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++)
        if (pinned[i])
            cudaFreeHost(pinned[i]);
    cu_weights_free(plan);
    if (plan->many_logits)
        munmap(plan->many_logits, plan->many_bytes ? plan->many_bytes : 1);
    if (plan->top_logits)
        munmap(plan->top_logits, plan->top_bytes ? plan->top_bytes : 1);
    if (plan->hidden)
        munmap(plan->hidden, plan->hidden_bytes ? plan->hidden_bytes : 1);
    free(plan->shown);
    free(plan->views);
    free(plan->state_views);
    free(plan->mats);
    free(plan->vectors);
}

/* cpu.c - the CPU as a device: claims nodes, compiles plans, hands out the rz.device/1 table.
 *
 * A plan takes all its memory here; a step allocates nothing.
 */
#include "plan.h"

#include "checked.h"
#include "err.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *rz_map_memory(uint64_t bytes, bool huge)
{
    if (!bytes)
        bytes = 1;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (huge)
        madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void rz_unmap_memory(void *p, uint64_t bytes)
{
    if (p)
        munmap(p, bytes ? bytes : 1);
}

/* --- claims --- */

static void select_begin(struct rz_cpu *cpu, const struct rz_program *program, int32_t kv_type,
                         uint32_t page_tokens, struct rz_select *s)
{
    *s = (struct rz_select){.tables = cpu->setup.tables,
                            .n_tables = cpu->setup.n_tables,
                            .program = program,
                            .kv_type = kv_type,
                            .page_tokens = page_tokens};
}

/* Kernels that multiply pairs of bfloat16 round KV to it anyway: then it is stored so. */
static int32_t cpu_kv_type(void *ctx, const struct rz_program *program, uint32_t page_tokens)
{
    struct rz_select s;
    struct rz_err err = RZ_ERR_INIT;
    select_begin(ctx, program, RZ_TYPE_BF16, page_tokens, &s);
    bool pairs = program->n_kv_groups && !rz_select_kv_layouts(&s, &err);
    for (uint32_t g = 0; g < program->n_kv_groups && pairs; g++)
        pairs = s.kv_layouts[g] == RZ_KV_LAYOUT_PAIRS;
    return pairs ? RZ_TYPE_BF16 : RZ_TYPE_F16;
}

/* The CPU runs a node if it has a row for it or for all of its parts. */
static bool can_run(const struct rz_select *s, uint32_t node)
{
    const struct rz_node *n = rz_node_at(s->program, node);
    struct rz_choice choice;
    rz_select_rows(s, node, &choice);
    if (choice.n)
        return true;
    if (n->end == node + 1)
        return false;
    for (uint32_t i = node + 1; i < n->end; i = rz_node_at(s->program, i)->end)
        if (!can_run(s, i))
            return false;
    return true;
}

static int32_t cpu_open(void *ctx, struct rz_err *err)
{
    (void)ctx, (void)err;
    return RZ_OK;
}

/* What programs could take without swapping, pages of files that can be dropped included; 0: not known. */
static uint64_t available_bytes(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && !kib && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) != 1)
            kib = 0;
    if (f)
        fclose(f);
    return kib << 10;
}

static int32_t cpu_memory(void *ctx, struct rz_device_memory *out, struct rz_err *err)
{
    (void)ctx, (void)err;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    out->total = (uint64_t)sysconf(_SC_PHYS_PAGES) * page;
    out->free = available_bytes();
    if (!out->free)
        out->free = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * page;
    out->largest = 0;
    return RZ_OK;
}

static int32_t cpu_claim(void *ctx, const struct rz_program *program, uint32_t node,
                         const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err)
{
    struct rz_cpu *cpu = ctx;
    struct rz_select s;
    select_begin(cpu, program, limits->kv_type, limits->page_tokens, &s);
    int32_t status = rz_select_kv_layouts(&s, err);
    if (status)
        return status;
    out->taken = can_run(&s, node);
    out->bytes_token = out->taken ? rz_node_bytes_token(program, node) : 0;
    out->runner = "cpu";
    out->why = out->taken ? "kernel rows for it or for its parts" : "no loaded kernel table has a row";
    return RZ_OK;
}

/* --- compile --- */

static int32_t nobody(const struct rz_plan *plan, uint32_t node, struct rz_err *err)
{
    const struct rz_node *n = rz_node_at(plan->program, node);
    const struct rz_weight *w = NULL;
    for (uint32_t i = 0; i < n->n_weights && !w; i++)
        if (plan->program->refs[n->first_weight + i] >= 0)
            w = rz_weight_at(plan->program, (uint32_t)plan->program->refs[n->first_weight + i]);
    return rz_fail(err, RZ_EUNSUPPORTED, "plan",
                   "layer %d: no loaded kernel table runs %s%s%.*s (weight type %d, attributes %llx)",
                   n->layer, rz_op_name(n->op), w ? " of " : "", w ? (int)w->name.len : 0,
                   w ? w->name.data : "", w ? w->type : RZ_TYPE_NONE, (unsigned long long)n->attr_mask);
}

static int32_t add_step(struct rz_plan *plan, uint32_t node, const struct rz_choice *choice,
                        struct rz_err *err)
{
    const struct rz_program *p = plan->program;
    const struct rz_node *n = rz_node_at(p, node);
    if (plan->n_steps == plan->cap_steps || n->n_in > RZ_OPERANDS_MAX || n->n_out > RZ_OPERANDS_MAX)
        return rz_fail(err, RZ_EINTERNAL, "plan", "node %u has too many operands", node);
    struct rz_plan_step *s = &plan->steps[plan->n_steps++];
    *s = (struct rz_plan_step){.node = node, .choice = *choice};
    for (uint32_t i = 0; i < n->n_in; i++)
        s->in[i] = p->refs[n->first_in + i];
    for (uint32_t i = 0; i < n->n_out; i++)
        s->out[i] = p->refs[n->first_out + i];
    int32_t decides = n->n_out ? s->out[0] : s->in[0];
    s->rows = rz_value_at(p, (uint32_t)decides)->rows;
    s->only_logits = n->n_out == 1 && s->out[0] == p->logits;
    uint32_t max_rows = s->rows == RZ_ROWS_WANTED ? plan->limits.max_wanted : plan->limits.max_rows;
    for (uint32_t i = 0; i < choice->n; i++) {
        struct rz_weight_view *w = rz_arena_array(&plan->arena, n->n_weights ? n->n_weights : 1, sizeof(*w));
        if (!w)
            return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
        rz_kernel_node_fill(p, node, max_rows, plan->limits.max_context, &s->kernel[i], w);
    }
    return RZ_OK;
}

/* A node runs as a whole if somebody has a row for it and nobody preferred has one for a part. */
static int32_t compile_node(struct rz_plan *plan, uint32_t node, struct rz_err *err)
{
    const struct rz_node *n = rz_node_at(plan->program, node);
    struct rz_choice choice;
    bool whole = n->end == node + 1 || !plan->cpu->setup.observe;
    rz_select_rows(&plan->select, node, &choice);
    if (choice.n && whole && (n->end == node + 1 || rz_select_whole(&plan->select, node, &choice)))
        return add_step(plan, node, &choice, err);
    if (n->end == node + 1)
        return nobody(plan, node, err);
    for (uint32_t i = node + 1; i < n->end; i = rz_node_at(plan->program, i)->end) {
        int32_t status = compile_node(plan, i, err);
        if (status)
            return status;
    }
    return RZ_OK;
}

static uint32_t steps_of_table(const struct rz_plan *plan, uint32_t table)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->n_steps; i++)
        n += plan->steps[i].choice.table == table;
    return n;
}

/* Nothing is used silently instead of what was asked for: a table named by the user must run something,
 * and what is left to the last table is the user's to know, or to forbid. */
static int32_t check_fallback(const struct rz_plan *plan, struct rz_err *err)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    uint32_t last = setup->n_tables - 1, left = steps_of_table(plan, last);
    char text[160];
    for (uint32_t t = 0; t < setup->n_tables; t++)
        if (setup->tables[t].named && !steps_of_table(plan, t))
            return rz_fail(err, RZ_EUNSUPPORTED, setup->tables[t].name,
                           "has no kernel that this model can use");
    if (!last || !left || setup->fallback == RZ_FALLBACK_ALLOW)
        return RZ_OK;
    snprintf(text, sizeof(text), "%u of %u nodes fall back to %s (rz plan MODEL --explain shows which)", left,
             plan->n_steps, setup->tables[last].name);
    if (setup->fallback == RZ_FALLBACK_DENY)
        return rz_fail(err, RZ_EUNSUPPORTED, "rz.fallback = deny", "%s", text);
    if (setup->warn)
        setup->warn(setup->ctx, text);
    return RZ_OK;
}

static void warn_variant(struct rz_plan *plan)
{
    const struct rz_cpu_setup *setup = &plan->cpu->setup;
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        const struct rz_choice *c = &plan->steps[i].choice;
        for (uint32_t j = 0; j < c->n; j++)
            if (!(c->rows[j]->flags & RZ_ROW_INVARIANT) && setup->warn) {
                plan->variant = true;
                setup->warn(setup->ctx,
                            "a kernel row without the batch-invariant flag is in use: results may "
                            "depend on what else runs in a step");
                return;
            }
    }
}

static void cpu_destroy(struct rz_plan *plan)
{
    if (!plan)
        return;
    struct rz_plan **at = &plan->cpu->plans;
    while (*at && *at != plan)
        at = &(*at)->next;
    if (*at)
        *at = plan->next;
    rz_unmap_memory(plan->values, plan->value_bytes);
    rz_unmap_memory(plan->scratch, plan->scratch_bytes);
    rz_unmap_memory(plan->kv, plan->kv_bytes);
    rz_unmap_memory(plan->state, rz_plan_state_bytes(plan));
    rz_plan_unprepare(plan);
    rz_unmap_memory(plan->rope_memory, plan->rope_bytes);
    rz_arena_free(&plan->arena);
    free(plan);
}

/* measured: only the sizes. */
static int32_t make_plan(struct rz_cpu *cpu, const struct rz_program *program, const uint32_t *nodes,
                         uint32_t n, const struct rz_plan_limits *limits, bool measured, struct rz_plan **out,
                         struct rz_err *err)
{
    struct rz_plan *plan = calloc(1, sizeof(*plan));
    if (!plan)
        return rz_fail(err, RZ_ENOMEM, "plan", "no memory");
    plan->cpu = cpu;
    plan->measured = measured;
    int32_t status = rz_batch_bounds_init(program, limits, &plan->bounds, err);
    rz_arena_init(&plan->arena, 0);
    plan->program = program;
    plan->limits = *limits;
    plan->cap_steps = program->n_nodes;
    plan->steps = rz_arena_array(&plan->arena, program->n_nodes + 1, sizeof(*plan->steps));
    plan->views = rz_arena_array(&plan->arena, program->n_values + 1, sizeof(*plan->views));
    plan->wanted = rz_arena_array(&plan->arena, limits->max_rows, sizeof(*plan->wanted));
    plan->state_views = rz_arena_array(&plan->arena, program->n_states + 1, sizeof(*plan->state_views));
    if (!status && (!plan->steps || !plan->views || !plan->wanted || !plan->state_views))
        status = rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u nodes", program->n_nodes);
    select_begin(cpu, program, limits->kv_type, limits->page_tokens, &plan->select);
    if (!status)
        status = rz_select_kv_layouts(&plan->select, err);
    for (uint32_t i = 0; i < n && !status; i++)
        status = compile_node(plan, nodes[i], err);
    if (!status && !measured)
        status = check_fallback(plan, err);
    if (!status)
        status = rz_plan_prepare(plan, err);
    if (!status)
        status = rz_plan_buffers(plan, err);
    plan->runs = rz_arena_array(&plan->arena, plan->n_steps + 1, sizeof(*plan->runs));
    if (!status && !plan->runs)
        status = rz_fail(err, RZ_ENOMEM, "plan", "no memory for %u nodes", plan->n_steps);
    if (status) {
        cpu_destroy(plan);
        return status;
    }
    *out = plan;
    return RZ_OK;
}

static int32_t cpu_compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                           const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    struct rz_cpu *cpu = ctx;
    int32_t status = make_plan(cpu, program, nodes, n, limits, false, out, err);
    if (status)
        return status;
    warn_variant(*out);
    (*out)->next = cpu->plans;
    cpu->plans = *out;
    return RZ_OK;
}

/* The weight types of a node's matrices, each once, such as "q4_1" or "q4_k+q6_k". */
static void types_of(const struct rz_plan *plan, const struct rz_node *n, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t w = plan->program->refs[n->first_weight + i];
        if (w < 0 || rz_weight_at(plan->program, (uint32_t)w)->rows == 1)
            continue;
        const char *name = rz_type_info(rz_weight_at(plan->program, (uint32_t)w)->type)->name;
        if (strstr(out, name) || used + strlen(name) + 2 > cap)
            continue;
        used += (size_t)snprintf(out + used, cap - used, "%s%s", used ? "+" : "", name);
    }
}

static int32_t cpu_part(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out)
{
    if (i >= plan->n_steps)
        return RZ_END;
    const struct rz_plan_step *s = &plan->steps[i];
    const struct rz_node *n = rz_node_at(plan->program, s->node);
    const struct rz_cpu_table *t = &plan->cpu->setup.tables[s->choice.table];
    const char *row = s->choice.rows[0]->name;
    char types[64];
    types_of(plan, n, types, sizeof(types));
    out->node = s->node;
    out->bytes_token = rz_node_bytes_token(plan->program, s->node);
    snprintf(out->runner, sizeof(out->runner), "%.20s %.20s%s%.20s", t->name, row ? row : rz_op_name(n->op),
             types[0] ? " " : "", types);
    snprintf(out->why, sizeof(out->why), "%s",
             t->named ? "first in the order that was asked for" : "first in the order of the tables");
    return RZ_OK;
}

static int32_t cpu_info(struct rz_plan *plan, struct rz_plan_info *out)
{
    out->flags = RZ_PLAN_SHARES_WEIGHTS | (plan->variant ? 0 : RZ_PLAN_INVARIANT);
    out->wants = 1u << RZ_WANT_NONE;
    out->wants |= plan->program->hidden >= 0 ? 1u << RZ_WANT_HIDDEN : 0;
    out->wants |= plan->program->logits >= 0 ? 1u << RZ_WANT_LOGITS | 1u << RZ_WANT_TOP_K : 0;
    out->weight_bytes = 0;
    for (uint32_t i = 0; i < plan->program->n_weights; i++)
        out->weight_bytes += rz_weight_at(plan->program, i)->bytes;
    out->prepared_bytes = plan->blob_bytes;
    out->kv_bytes = plan->kv_bytes;
    out->state_bytes = rz_plan_state_bytes(plan);
    out->scratch_bytes = plan->scratch_bytes + plan->value_bytes + plan->rope_bytes;
    if (out->size >= sizeof(*out))
        out->mapped_bytes = rz_plan_mapped_bytes(plan);
    return RZ_OK;
}

static int32_t cpu_measure(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                           const struct rz_plan_limits *limits, struct rz_plan_info *out, struct rz_err *err)
{
    struct rz_plan *plan;
    int32_t status = make_plan(ctx, program, nodes, n, limits, true, &plan, err);
    if (status)
        return status;
    status = cpu_info(plan, out);
    cpu_destroy(plan);
    return status;
}

int32_t rz_cpu_new(const struct rz_cpu_setup *setup, struct rz_cpu **out, struct rz_err *err)
{
    struct rz_cpu *cpu = calloc(1, sizeof(*cpu));
    if (!cpu)
        return rz_fail(err, RZ_ENOMEM, "cpu", "no memory");
    cpu->setup = *setup;
    cpu->device = (struct rz_device){.size = sizeof(cpu->device),
                                     .name = "cpu",
                                     .ctx = cpu,
                                     .open = cpu_open,
                                     .memory = cpu_memory,
                                     .claim = cpu_claim,
                                     .compile = cpu_compile,
                                     .info = cpu_info,
                                     .part = cpu_part,
                                     .execute = rz_plan_execute,
                                     .fetch = rz_plan_fetch,
                                     .store = rz_plan_store,
                                     .destroy = cpu_destroy,
                                     .kv_type = cpu_kv_type,
                                     .measure = cpu_measure};
    *out = cpu;
    return RZ_OK;
}

void rz_cpu_free(struct rz_cpu *cpu)
{
    free(cpu);
}

const struct rz_device *rz_cpu_device(struct rz_cpu *cpu)
{
    return &cpu->device;
}

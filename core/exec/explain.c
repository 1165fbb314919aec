/* explain.c - who runs what in a plan, for people: `rz plan --explain`. Layers that are alike share
 * their lines. */
#include "plan.h"

#include "numeric.h"

#include <stdio.h>
#include <string.h>

/* The share of a node's matrices that one token reads: of experts, those that it chose. */
static uint64_t chosen_bytes(const struct rz_kernel_node *n, const struct rz_weight *w)
{
    uint64_t used = n->in_width[1], part = n->out_width[0];
    if (n->op == RZ_OP_GET_ROWS)
        return w->bytes / w->rows;
    if (n->op == RZ_OP_MATMUL_ID || n->op == RZ_OP_GLU_ID)
        part /= used;
    else if (n->op != RZ_OP_PROJ_ID)
        return w->bytes;
    uint64_t elements = w->rows * w->cols, experts = w->rows > 1 ? w->rows / part : elements / part;
    return w->bytes / experts * used;
}

static uint64_t step_bytes(const struct rz_plan *plan, const struct rz_plan_step *s)
{
    const struct rz_node *n = rz_node_at(plan->program, s->node);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t w = plan->program->refs[n->first_weight + i];
        if (w < 0)
            continue;
        const struct rz_weight *weight = rz_weight_at(plan->program, (uint32_t)w);
        bytes += chosen_bytes(&s->kernel[0], weight);
    }
    return bytes;
}

uint64_t rz_cpu_bytes_token(const struct rz_plan *plan)
{
    uint64_t bytes = 0;
    for (uint32_t s = 0; s < plan->n_steps; s++)
        bytes += step_bytes(plan, &plan->steps[s]);
    return bytes;
}

/* The weight types of a step's matrices, each once, such as "q4_1" or "q4_k+q6_k". */
static void types_of(const struct rz_plan *plan, const struct rz_plan_step *s, char *out, size_t cap)
{
    const struct rz_node *n = rz_node_at(plan->program, s->node);
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

static void describe(const struct rz_plan *plan, const struct rz_plan_step *s, char *out, size_t cap)
{
    const struct rz_node *n = rz_node_at(plan->program, s->node);
    const struct rz_kernel_row *row = s->choice.rows[0];
    const struct rz_cpu_table *t = &plan->cpu->setup.tables[s->choice.table];
    char types[64], kernel[128];
    types_of(plan, s, types, sizeof(types));
    snprintf(kernel, sizeof(kernel), "%s %s%s%s", t->name, row->name ? row->name : rz_op_name(n->op),
             types[0] ? " " : "", types);
    snprintf(out, cap, "%-10s cpu     %-34s %9.2f kB  %s", rz_op_name(n->op), kernel,
             (double)step_bytes(plan, s) / 1e3,
             t->named ? "first in the order that was asked for" : "first in the order of the tables");
}

/* Are the steps of two layers, which begin at a and b, alike? Returns how many they are; 0: no. */
static uint32_t alike(const struct rz_plan *plan, uint32_t a, uint32_t b)
{
    char one[256], other[256];
    int32_t la = rz_node_at(plan->program, plan->steps[a].node)->layer;
    int32_t lb = rz_node_at(plan->program, plan->steps[b].node)->layer;
    for (uint32_t n = 0;; n++) {
        bool in_a = a + n < plan->n_steps && rz_node_at(plan->program, plan->steps[a + n].node)->layer == la;
        bool in_b = b + n < plan->n_steps && rz_node_at(plan->program, plan->steps[b + n].node)->layer == lb;
        if (!in_a || !in_b)
            return in_a == in_b ? n : 0;
        describe(plan, &plan->steps[a + n], one, sizeof(one));
        describe(plan, &plan->steps[b + n], other, sizeof(other));
        if (strcmp(one, other))
            return 0;
    }
}

static uint32_t layer_length(const struct rz_plan *plan, uint32_t at)
{
    uint32_t n = 1;
    int32_t layer = rz_node_at(plan->program, plan->steps[at].node)->layer;
    while (at + n < plan->n_steps && rz_node_at(plan->program, plan->steps[at + n].node)->layer == layer)
        n++;
    return n;
}

static void totals(const struct rz_plan *plan, void (*line)(void *arg, const char *text), void *arg)
{
    char text[256];
    uint32_t scalar = 0;
    for (uint32_t s = 0; s < plan->n_steps; s++)
        scalar += !strcmp(plan->cpu->setup.tables[plan->steps[s].choice.table].name, "scalar");
    snprintf(text, sizeof(text),
             "%.2f MB of weights a token, %.1f MiB prepared, %.1f MiB KV in %u pages of %u tokens",
             (double)rz_cpu_bytes_token(plan) / 1e6, (double)plan->blob_bytes / 1048576,
             (double)plan->kv_bytes / 1048576, plan->limits.n_pages, plan->limits.page_tokens);
    line(arg, text);
    if (plan->slot_bytes) {
        snprintf(text, sizeof(text), "%.1f MiB recurrent state in %u slots, one a sequence",
                 (double)rz_plan_state_bytes(plan) / 1048576, plan->limits.n_slots);
        line(arg, text);
    }
    if (scalar == plan->n_steps)
        snprintf(text, sizeof(text), "everything runs on scalar");
    else if (scalar)
        snprintf(text, sizeof(text), "%u of %u nodes fall back to scalar", scalar, plan->n_steps);
    else
        snprintf(text, sizeof(text), "nothing falls back to scalar");
    line(arg, text);
}

void rz_cpu_explain(const struct rz_plan *plan, void (*line)(void *arg, const char *text), void *arg)
{
    char text[384], what[256], name[48];
    line(arg, "NODE            OP         DEVICE  KERNEL                             BYTES/TOKEN  WHY");
    for (uint32_t s = 0; s < plan->n_steps;) {
        int32_t layer = rz_node_at(plan->program, plan->steps[s].node)->layer, last = layer;
        uint32_t n = layer_length(plan, s), next = s + n;
        while (layer >= 0 && next < plan->n_steps && alike(plan, s, next) == n) {
            last = rz_node_at(plan->program, plan->steps[next].node)->layer;
            next += n;
        }
        if (layer < 0)
            snprintf(name, sizeof(name), "model");
        else if (last > layer)
            snprintf(name, sizeof(name), "layers %d-%d", layer, last);
        else
            snprintf(name, sizeof(name), "layer %d", layer);
        for (uint32_t i = 0; i < n; i++) {
            describe(plan, &plan->steps[s + i], what, sizeof(what));
            snprintf(text, sizeof(text), "%-15s %s", i ? "" : name, what);
            line(arg, text);
        }
        s = next;
    }
    totals(plan, line, arg);
}

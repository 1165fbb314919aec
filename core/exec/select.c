/* select.c - gives each node of a program its kernel row.
 *
 * The order of the tables is the order of preference. A macro is run whole by the first table that has
 * a row for it, unless a table before that one has a row for some part of it: then the macro falls
 * apart and each part is judged again. So a plugin with a single row that the user put first is used.
 */
#include "select.h"

#include "err.h"
#include "numeric.h"

#include <string.h>

#define WEIGHTS_MAX 16

static uint64_t matrix_types(const struct rz_program *p)
{
    uint64_t types = 0;
    for (uint32_t i = 0; i < p->n_weights; i++) {
        const struct rz_weight *w = rz_weight_at(p, i);
        if (w->rows > 1 && w->type >= 0 && w->type < 64)
            types |= 1ull << w->type;
    }
    return types;
}

void rz_kernel_node_fill(const struct rz_program *p, uint32_t index, uint32_t max_rows, uint64_t max_context,
                         struct rz_kernel_node *out, struct rz_weight_view *weights)
{
    const struct rz_node *n = rz_node_at(p, index);
    *out = (struct rz_kernel_node){.size = sizeof(*out),
                                   .op = n->op,
                                   .layer = n->layer,
                                   .n_weights = n->n_weights,
                                   .attr_mask = n->attr_mask,
                                   .attr = n->attrs,
                                   .weights = weights,
                                   .weight_stride = sizeof(*weights),
                                   .n_in = n->n_in,
                                   .n_out = n->n_out,
                                   .max_rows = max_rows,
                                   .max_context = max_context,
                                   .matrix_types = matrix_types(p)};
    for (uint32_t i = 0; i < n->n_in && i < 4; i++)
        out->in_width[i] = rz_value_at(p, (uint32_t)p->refs[n->first_in + i])->width;
    for (uint32_t i = 0; i < n->n_out && i < 4; i++)
        out->out_width[i] = rz_value_at(p, (uint32_t)p->refs[n->first_out + i])->width;
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t w = p->refs[n->first_weight + i];
        weights[i] = (struct rz_weight_view){.size = sizeof(*weights), .type = RZ_TYPE_NONE};
        if (w < 0)
            continue;
        const struct rz_weight *weight = rz_weight_at(p, (uint32_t)w);
        weights[i].type = weight->type;
        weights[i].cols = weight->cols;
        weights[i].rows = weight->rows;
        weights[i].bytes = weight->bytes;
        weights[i].data = weight->data;
    }
}

static const struct rz_kernel_row *row_at(const struct rz_kernels *k, uint32_t i)
{
    return (const void *)((const char *)k->rows + (uint64_t)i * k->row_stride);
}

/* Do all matrices among the weights have the type that the row is made for? */
static bool weights_fit(const struct rz_kernel_row *r, const struct rz_kernel_node *n)
{
    if (r->weight == RZ_TYPE_ANY)
        return true;
    for (uint32_t i = 0; i < n->n_weights; i++)
        if (n->weights[i].type != RZ_TYPE_NONE && n->weights[i].rows > 1 && n->weights[i].type != r->weight)
            return false;
    return true;
}

static bool kv_fits(const struct rz_select *s, const struct rz_kernel_row *r, const struct rz_kernel_node *n)
{
    if (!(n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP)))
        return true;
    int64_t group = n->attr[RZ_A_KV_GROUP].i;
    return s->kv_type < 32 && r->kv_types >> s->kv_type & 1 && group >= 0 && group < 8 &&
           r->kv_layout == s->kv_layouts[group];
}

static bool row_fits(const struct rz_select *s, const struct rz_cpu_table *t, const struct rz_kernel_row *r,
                     const struct rz_kernel_node *n)
{
    return r->op == n->op && !(n->attr_mask & ~r->attrs) && (r->flags & RZ_ROW_INVARIANT || t->named) &&
           weights_fit(r, n) && kv_fits(s, r, n) && (!r->accept || r->accept(n));
}

/* The rows of one table; stops at the first that takes any number of rows. */
static void rows_of_table(const struct rz_select *s, uint32_t table, const struct rz_kernel_node *n,
                          struct rz_choice *out)
{
    const struct rz_cpu_table *t = &s->tables[table];
    *out = (struct rz_choice){.table = table};
    for (uint32_t i = 0; i < t->kernels->n_rows && out->n < RZ_CHOICES_MAX; i++) {
        const struct rz_kernel_row *r = row_at(t->kernels, i);
        if (!row_fits(s, t, r, n))
            continue;
        out->rows[out->n++] = r;
        if (r->min_rows <= 1 && !r->max_rows)
            return;
    }
    out->n = 0; /* some row count would have nobody */
}

void rz_select_rows(const struct rz_select *s, uint32_t node, struct rz_choice *out)
{
    struct rz_weight_view weights[WEIGHTS_MAX];
    struct rz_kernel_node n;
    out->n = 0;
    if (rz_node_at(s->program, node)->n_weights > WEIGHTS_MAX)
        return;
    rz_kernel_node_fill(s->program, node, 1, 1, &n, weights);
    for (uint32_t t = 0; t < s->n_tables && !out->n; t++)
        rows_of_table(s, t, &n, out);
}

bool rz_select_whole(const struct rz_select *s, uint32_t node, const struct rz_choice *choice)
{
    for (uint32_t i = node + 1; i < rz_node_at(s->program, node)->end; i++) {
        struct rz_choice part;
        rz_select_rows(s, i, &part);
        if (part.n && part.table < choice->table)
            return false;
    }
    return true;
}

/* True if each node of this op and group has rows, given the layouts in s; itself or the macro around it. */
static bool group_has(const struct rz_select *s, int64_t group, uint16_t op)
{
    bool found = false;
    for (uint32_t i = 0; i < s->program->n_nodes; i++) {
        const struct rz_node *n = rz_node_at(s->program, i);
        struct rz_choice choice;
        if (n->op != op || n->attrs[RZ_A_KV_GROUP].i != group)
            continue;
        rz_select_rows(s, i, &choice);
        for (int32_t m = n->parent; m >= 0 && !choice.n; m = rz_node_at(s->program, (uint32_t)m)->parent)
            rz_select_rows(s, (uint32_t)m, &choice);
        if (!choice.n)
            return false;
        found = true;
    }
    return found;
}

/* Does this table alone read or store KV of the group in the layout set in s? */
static bool table_reads(struct rz_select *s, uint32_t table, int64_t group)
{
    struct rz_select one = *s;
    one.tables = &s->tables[table];
    one.n_tables = 1;
    return group_has(&one, group, RZ_OP_ATTENTION);
}

int32_t rz_select_kv_layouts(struct rz_select *s, struct rz_err *err)
{
    static const uint32_t layouts[] = {RZ_KV_LAYOUT_PAIRS, RZ_KV_LAYOUT_T8, RZ_KV_LAYOUT_ROWS};
    size_t first = s->page_tokens % 16 ? 1 : 0;
    for (uint32_t g = 0; g < s->program->n_kv_groups; g++) {
        bool found = false;
        for (uint32_t t = 0; t < s->n_tables && !found; t++)
            for (size_t l = first; l < sizeof(layouts) / sizeof(layouts[0]) && !found; l++) {
                s->kv_layouts[g] = layouts[l];
                found = table_reads(s, t, g) && group_has(s, g, RZ_OP_KV_STORE);
            }
        if (!found)
            return rz_fail(
                err, RZ_EUNSUPPORTED, "engine.kv_type",
                "no loaded kernel table stores and reads KV of type %s: take f16, bf16, f32 or q8_0",
                rz_type_info(s->kv_type) ? rz_type_info(s->kv_type)->name : "unknown");
    }
    return RZ_OK;
}

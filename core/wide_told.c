/* wide_told.c - what is divided and what is not, for people: a line for all that is divided alike. */
#include "wide.h"

#include "access.h"
#include "buf.h"

#include <string.h>

static void shares(struct rz_buf *b, const struct rz_scheme *s, uint64_t unit)
{
    const char *between = "";
    for (uint32_t d = 0; d < RZ_WIDE_MAX; d++) {
        if (!(s->devices >> d & 1))
            continue;
        rz_buf_printf(b, "%s%llu", between, (unsigned long long)(s->n[d] * unit));
        between = "+";
    }
}

static bool same(const struct rz_scheme *a, const struct rz_scheme *b)
{
    return a->units == b->units && a->devices == b->devices && !memcmp(a->n, b->n, sizeof(a->n)) &&
           !memcmp(a->first, b->first, sizeof(a->first));
}

static void tell_heads(struct rz_buf *b, const struct rz_wide_plan *plan)
{
    for (uint32_t g = 0; g < RZ_WIDE_GROUPS; g++)
        for (uint32_t place = 0; place < RZ_WIDE_MAX; place++) {
            if (!plan->heads[g][place])
                continue;
            const struct rz_scheme *q = &plan->schemes[plan->heads[g][place]];
            const struct rz_scheme *kv = &plan->schemes[plan->keys[g][place]];
            rz_buf_printf(b, "divided: attention: ");
            shares(b, q, 1);
            rz_buf_printf(b, " of %u heads, ", q->units);
            shares(b, kv, 1);
            rz_buf_printf(b, " of keys and values\n");
        }
}

static bool is_heads(const struct rz_wide_plan *plan, uint32_t scheme)
{
    for (uint32_t g = 0; g < RZ_WIDE_GROUPS; g++)
        for (uint32_t place = 0; place < RZ_WIDE_MAX; place++)
            if (scheme == plan->heads[g][place] || scheme == plan->keys[g][place])
                return true;
    return false;
}

/* Columns of one value of each scheme; alike ones are told once. */
static void tell_columns(struct rz_buf *b, const struct rz_program *p, const struct rz_wide_plan *plan)
{
    uint64_t told[16][2] = {{0}};
    uint32_t n = 0;
    for (uint32_t v = 0; v < p->n_values && n < 16; v++) {
        const struct rz_share *share = &plan->shares[v];
        const struct rz_scheme *s = &plan->schemes[share->scheme];
        uint64_t columns = share->parts ? rz_value_at(p, v)->width / share->parts : 0;
        bool known = !share->scheme || is_heads(plan, share->scheme);
        for (uint32_t i = 0; i < n && !known; i++)
            known = told[i][1] == columns && same(s, &plan->schemes[told[i][0]]);
        if (known)
            continue;
        told[n][0] = share->scheme;
        told[n++][1] = columns;
        rz_buf_printf(b, "divided: columns: ");
        shares(b, s, columns / s->units);
        rz_buf_printf(b, " of %s%s\n", rz_value_at(p, v)->name, share->parts > 1 ? " of each expert" : "");
    }
}

static bool is_divided(const struct rz_program *p, const struct rz_wide_plan *plan, const struct rz_node *n)
{
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        int32_t v = p->refs[i < n->n_in ? n->first_in + i : n->first_out + i - n->n_in];
        if (v >= 0 && plan->shares[v].scheme)
            return true;
    }
    return false;
}

static void tell_rest(struct rz_buf *b, const struct rz_wide_setup *setup, const struct rz_wide_plan *plan)
{
    static const uint16_t ops[] = {RZ_OP_ATTENTION, RZ_OP_MATMUL, RZ_OP_MATMUL_ID, RZ_OP_SCAN, RZ_OP_DELTA};
    for (uint32_t k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
        uint32_t whole = 0, all = 0;
        for (uint32_t i = 0; i < setup->program->n_nodes; i++) {
            const struct rz_node *n = rz_node_at(setup->program, i);
            if (n->op != ops[k] || n->end != i + 1)
                continue;
            all++;
            whole += !is_divided(setup->program, plan, n);
        }
        if (whole)
            rz_buf_printf(b, "not divided: %u of %u %s\n", whole, all, rz_op_name(ops[k]));
    }
}

char *rz_wide_told(const struct rz_wide_setup *setup, const struct rz_wide_plan *plan)
{
    struct rz_buf b;
    rz_buf_init(&b, 1 << 14);
    tell_heads(&b, plan);
    tell_columns(&b, setup->program, plan);
    tell_rest(&b, setup, plan);
    return rz_buf_take(&b);
}

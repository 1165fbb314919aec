/* fuse.c - which ops do the work of others: norms before products, sums behind them, gates, neighbours.
 *
 * A sum behind a product is always part of it. The others are so in steps of few rows alone, where each
 * launch costs as much as its work; in longer steps every op runs by itself, so that all values stay. None
 * does so across stages, nor have products of integers a norm in common with others: what few rows are is
 * not the same for both.
 */
#include "cuda.h"

struct uses {
    uint32_t n;       /* ops that read it, and those outside of the plan */
    int32_t producer; /* the op; -1 */
};

static struct uses uses_of(const struct rz_plan *plan, int32_t value)
{
    const struct rz_program *p = plan->program;
    struct uses u = {.producer = -1};
    u.n = value == p->hidden || value == p->logits;
    for (uint32_t s = 0; s < p->n_stages; s++)
        for (uint32_t i = 0; i < rz_stage_at(p, s)->n_out; i++)
            u.n += rz_stage_out(p, rz_stage_at(p, s), i) == value;
    for (uint32_t i = 0; i < plan->n_ops; i++)
        for (uint32_t k = 0; k < CU_OPERANDS; k++) {
            u.n += plan->ops[i].in[k] == value;
            if (plan->ops[i].out[k] == value)
                u.producer = (int32_t)i;
        }
    return u;
}

/* Do they belong to different stages? */
static bool apart(const struct rz_plan *plan, uint32_t a, uint32_t b)
{
    const struct rz_program *p = plan->program;
    for (uint32_t s = 0; s < p->n_stages; s++)
        if ((plan->ops[a].node < rz_stage_at(p, s)->end) != (plan->ops[b].node < rz_stage_at(p, s)->end))
            return true;
    return false;
}

static bool is_free_product(const struct cu_op *op)
{
    return op->n->op == RZ_OP_MATMUL && op->run == CU_RUN_ALWAYS;
}

/* a + b where one of them is a product that nobody else reads, and the other is there before it. */
static void fold_add(struct rz_plan *plan, uint32_t at)
{
    struct cu_op *add = &plan->ops[at];
    for (uint32_t k = 0; k < 2; k++) {
        struct uses u = uses_of(plan, add->in[k]), other = uses_of(plan, add->in[1 - k]);
        if (u.producer < 0 || u.n != 1 || other.producer >= u.producer || add->in[0] == add->in[1] ||
            apart(plan, (uint32_t)u.producer, at))
            continue;
        struct cu_op *product = &plan->ops[u.producer];
        if (!is_free_product(product) || product->rows != add->rows || product->add >= 0)
            continue;
        product->add = (int32_t)at;
        add->run = CU_RUN_NEVER;
        return;
    }
}

static bool same_kind(const struct rz_plan *plan, const struct cu_op *a, const struct cu_op *b)
{
    const struct rz_weight *v = rz_weight_at(plan->program, (uint32_t)a->weight[0]);
    const struct rz_weight *w = rz_weight_at(plan->program, (uint32_t)b->weight[0]);
    return a->in[0] == b->in[0] && v->type == w->type && v->cols == w->cols && a->bytes == b->bytes;
}

static void fold_gate(struct rz_plan *plan, uint32_t at)
{
    struct cu_op *act = &plan->ops[at];
    struct uses gate = uses_of(plan, act->in[0]), up = uses_of(plan, act->in[1]);
    if (gate.producer < 0 || up.producer < 0 || gate.n != 1 || up.n != 1 ||
        apart(plan, (uint32_t)gate.producer, at) || apart(plan, (uint32_t)up.producer, at))
        return;
    struct cu_op *a = &plan->ops[gate.producer], *b = &plan->ops[up.producer];
    bool plain = is_free_product(a) && is_free_product(b) && a->add < 0 && b->add < 0;
    if (!plain || !same_kind(plan, a, b))
        return;
    act->gate = gate.producer;
    act->up = up.producer;
    act->bytes = a->bytes;
    a->run = b->run = CU_RUN_MANY;
}

/* Products of the same rows, one behind the other. */
static void fold_neighbours(struct rz_plan *plan, uint32_t at)
{
    struct cu_op *head = &plan->ops[at];
    if (!is_free_product(head) || head->add >= 0)
        return;
    for (uint32_t k = 0; k + 1 < CU_PARTS && at + k + 1 < plan->n_ops; k++) {
        struct cu_op *next = &plan->ops[at + k + 1];
        if (!is_free_product(next) || next->add >= 0 || !same_kind(plan, head, next) ||
            apart(plan, at, at + k + 1))
            return;
        head->beside[k] = (int32_t)(at + k + 1);
        next->run = CU_RUN_MANY;
    }
}

/* A norm whose readers are all products. */
static void fold_norm(struct rz_plan *plan, uint32_t at)
{
    struct cu_op *norm = &plan->ops[at];
    uint32_t readers = 0, bytes = 0;
    if (cu_int(norm, RZ_A_PARTS) > 1 || norm->weight[1] >= 0)
        return;
    if (norm->weight[0] >= 0 &&
        rz_weight_at(plan->program, (uint32_t)norm->weight[0])->cols != cu_in_width(plan, norm, 0))
        return;
    for (uint32_t i = 0; i < plan->n_ops; i++) {
        bool reads =
            plan->ops[i].n->op == RZ_OP_MATMUL && plan->ops[i].in[0] == norm->out[0] && !apart(plan, at, i);
        readers += reads;
        bytes += reads && plan->ops[i].bytes;
    }
    if (!readers || uses_of(plan, norm->out[0]).n != readers || (bytes && bytes != readers))
        return;
    norm->bytes = bytes;
    norm->run = CU_RUN_MANY;
    for (uint32_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].in[0] == norm->out[0])
            plan->ops[i].norm = (int32_t)at;
}

void cu_fuse(struct rz_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].n->op == RZ_OP_ADD)
            fold_add(plan, i);
    for (uint32_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].n->op == RZ_OP_ACT_MUL)
            fold_gate(plan, i);
    for (uint32_t i = 0; i < plan->n_ops; i++)
        fold_neighbours(plan, i);
    for (uint32_t i = 0; i < plan->n_ops; i++)
        if (plan->ops[i].n->op == RZ_OP_RMSNORM)
            fold_norm(plan, i);
}

/* claim.c - which primitives the kernels can run, said before anything is taken. */
#include "cuda.h"

#include "numeric.h"

#define A(id) RZ_ATTR(RZ_A_##id)

/* Every attribute that the launches honour, by op. */
static const struct {
    uint16_t op;
    uint8_t matrix; /* set: weight 0 is a matrix of any type */
    uint64_t attrs;
} known[] = {
    {RZ_OP_GET_ROWS, 1, 0},
    {RZ_OP_RMSNORM, 0, RZ_ATTR_EPS | A(PARTS)},
    {RZ_OP_LAYERNORM, 0, RZ_ATTR_EPS | A(PARTS)},
    {RZ_OP_MATMUL, 1, RZ_ATTR_BIAS},
    {RZ_OP_MATMUL_ID, 1, RZ_ATTR_BIAS},
    {RZ_OP_MATMUL_HEADS, 1, A(PARTS)},
    {RZ_OP_ROUTE, 0, RZ_ATTRS_ROUTE},
    {RZ_OP_SUM_ID, 0, 0},
    {RZ_OP_SCALE_ID, 0, 0},
    {RZ_OP_GATE, 0, 0},
    {RZ_OP_ROPE, 0, RZ_ATTRS_ROPE | A(ROPE_OFFSET) | A(ROPE_VARIANTS)},
    {RZ_OP_KV_STORE, 0, RZ_ATTRS_KV | A(LATENT)},
    {RZ_OP_ATTENTION, 0, RZ_ATTRS_ATTENTION | RZ_ATTRS_MASK | A(LATENT) | A(CHUNK) | A(SINKS) | A(BOTH)},
    {RZ_OP_ACT_MUL, 0, RZ_ATTRS_ACT | A(SWIGLU)},
    {RZ_OP_ACT, 0, RZ_ATTRS_ACT | RZ_ATTRS_XIELU},
    {RZ_OP_MAP, 0, A(FACTOR) | A(SOFTCAP) | A(CLAMP) | A(TEMPERATURE)},
    {RZ_OP_ADD_POS, 1, 0},
    {RZ_OP_ADD_ROW, 1, A(ROW)},
    {RZ_OP_ADD, 0, 0},
    {RZ_OP_COLUMNS, 0, A(COLUMN)},
    {RZ_OP_SELECT_ROWS, 0, 0},
    {RZ_OP_CONV, 0, A(STATE) | RZ_ATTR_SILU | RZ_ATTR_BIAS},
    {RZ_OP_SCAN, 0, RZ_ATTRS_SCAN},
    {RZ_OP_DELTA, 0, RZ_ATTRS_SCAN | RZ_ATTR_EPS | A(STRIPED)},
    {RZ_OP_MUL, 0, 0},
};

static bool weights_fit(const struct rz_program *p, const struct rz_node *n, bool matrix, const char **why)
{
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t at = p->refs[n->first_weight + i];
        if (at < 0)
            continue;
        const struct rz_weight *w = rz_weight_at(p, (uint32_t)at);
        if (i == 0 && matrix ? !rz_type_info(w->type)->decode : w->type != RZ_TYPE_F32) {
            *why = "cuda has no kernel for a weight of this type";
            return false;
        }
        if (w->rows > UINT32_MAX || w->cols > UINT32_MAX) {
            *why = "a weight has more than 2^32 rows or columns";
            return false;
        }
    }
    return true;
}

static bool experts_fit(const struct rz_program *p, const struct rz_node *n)
{
    return n->op != RZ_OP_ROUTE || rz_value_at(p, (uint32_t)p->refs[n->first_in])->width <= CU_EXPERTS;
}

bool cu_runs(const struct rz_program *p, const struct rz_node *n, const char **why)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].op != n->op)
            continue;
        *why = "cuda does not honour one of the node's attributes";
        if (n->attr_mask & ~known[i].attrs)
            return false;
        *why = "too many operands or experts";
        return n->n_in <= CU_OPERANDS && n->n_out <= CU_OPERANDS && n->n_weights <= CU_WEIGHTS &&
               experts_fit(p, n) && weights_fit(p, n, known[i].matrix, why);
    }
    *why = "cuda has no kernel for this op";
    return false;
}

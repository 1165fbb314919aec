/* refuse.c - which nodes the device runs: primitives of known ops, with attributes that its kernels
 * honour, with weights of types that can be decoded, and vectors in float32. */
#include "opencl.h"

#include "access.h"
#include "numeric.h"

#include <rz/kernels.h>

#define EXPERTS_MAX 4096

/* The attributes that the kernel of an op honours; the first `matrices` of its weights may have any type.
 * */
static const struct known {
    uint16_t op, matrices;
    uint64_t attrs;
} ops[] = {
    {RZ_OP_GET_ROWS, 1, 0},
    {RZ_OP_ADD_POS, 1, 0},
    {RZ_OP_ADD_ROW, 1, RZ_ATTR(RZ_A_ROW)},
    {RZ_OP_MATMUL, 1, RZ_ATTR_BIAS},
    {RZ_OP_MATMUL_ID, 1, RZ_ATTR_BIAS},
    {RZ_OP_MATMUL_HEADS, 1, RZ_ATTR(RZ_A_PARTS)},
    {RZ_OP_RMSNORM, 0, RZ_ATTR_EPS | RZ_ATTR(RZ_A_PARTS)},
    {RZ_OP_LAYERNORM, 0, RZ_ATTR_EPS | RZ_ATTR(RZ_A_PARTS)},
    {RZ_OP_ROUTE, 0, RZ_ATTRS_ROUTE},
    {RZ_OP_SUM_ID, 0, 0},
    {RZ_OP_SCALE_ID, 0, 0},
    {RZ_OP_GATE, 0, 0},
    {RZ_OP_ROPE, 0, RZ_ATTRS_ROPE | RZ_ATTR(RZ_A_ROPE_OFFSET) | RZ_ATTR(RZ_A_ROPE_VARIANTS)},
    {RZ_OP_KV_STORE, 0, RZ_ATTRS_KV | RZ_ATTR(RZ_A_LATENT)},
    {RZ_OP_ATTENTION, 0,
     RZ_ATTRS_ATTENTION | RZ_ATTRS_MASK | RZ_ATTR(RZ_A_LATENT) | RZ_ATTR(RZ_A_CHUNK) | RZ_ATTR(RZ_A_SINKS) |
         RZ_ATTR(RZ_A_BOTH)},
    {RZ_OP_ACT_MUL, 0, RZ_ATTRS_ACT | RZ_ATTR(RZ_A_SWIGLU)},
    {RZ_OP_ACT, 0, RZ_ATTRS_ACT | RZ_ATTRS_XIELU},
    {RZ_OP_MAP, 0,
     RZ_ATTR(RZ_A_FACTOR) | RZ_ATTR(RZ_A_SOFTCAP) | RZ_ATTR(RZ_A_CLAMP) | RZ_ATTR(RZ_A_TEMPERATURE)},
    {RZ_OP_ADD, 0, 0},
    {RZ_OP_MUL, 0, 0},
    {RZ_OP_COLUMNS, 0, RZ_ATTR(RZ_A_COLUMN)},
    {RZ_OP_SELECT_ROWS, 0, 0},
    {RZ_OP_CONV, 0, RZ_ATTR(RZ_A_STATE) | RZ_ATTR_SILU | RZ_ATTR_BIAS},
    {RZ_OP_SCAN, 0, RZ_ATTRS_SCAN},
    {RZ_OP_DELTA, 0, RZ_ATTRS_SCAN | RZ_ATTR_EPS | RZ_ATTR(RZ_A_STRIPED)},
};

static const char *weights_refused(const struct rz_program *p, const struct rz_node *n, uint32_t matrices)
{
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t w = p->refs[n->first_weight + i];
        if (w < 0 && i < matrices)
            return "it has no matrix";
        if (w < 0)
            continue;
        int32_t type = rz_weight_at(p, (uint32_t)w)->type;
        if (i < matrices ? !form_of(type) : type != RZ_TYPE_F32)
            return i < matrices ? "its matrix has a type that nobody decodes"
                                : "a vector of it is not float32";
    }
    return n->n_weights < matrices ? "it has no matrix" : NULL;
}

const char *node_refused(const struct rz_program *p, uint32_t node, const struct rz_plan_limits *limits)
{
    const struct rz_node *n = rz_node_at(p, node);
    const struct known *known = NULL;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (ops[i].op == n->op)
            known = &ops[i];
    if (!known)
        return n->level == RZ_LEVEL_PRIMITIVE ? "there is no kernel for it" : "its parts run one by one";
    if (n->attr_mask & ~known->attrs)
        return "it has an attribute that the kernel does not honour";
    if (n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP) &&
        (!rz_kv_row_bytes(limits->kv_type, 32) || limits->kv_type == RZ_TYPE_F8_E4M3))
        return "engine.kv_type: opencl keeps the KV as f32, f16, bf16 or q8_0";
    if (n->op == RZ_OP_ROUTE && rz_value_at(p, (uint32_t)p->refs[n->first_in])->width > EXPERTS_MAX)
        return "there are more than 4096 experts";
    return weights_refused(p, n, known->matrices);
}

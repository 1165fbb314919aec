/* access.c - facts about a program that every device needs: names of ops, bytes read, tables of ropes. */
#include "access.h"

#include <math.h>

const char *rz_op_name(uint16_t op)
{
    static const struct {
        uint16_t op;
        const char *name;
    } names[] = {
        {RZ_OP_ATTN, "attn"},
        {RZ_OP_FFN, "ffn"},
        {RZ_OP_HEAD, "head"},
        {RZ_OP_NORM_QKV, "norm_qkv"},
        {RZ_OP_ATTEND, "attend"},
        {RZ_OP_PROJ_ADD, "proj_add"},
        {RZ_OP_NORM_GLU, "norm_glu"},
        {RZ_OP_GET_ROWS, "get_rows"},
        {RZ_OP_RMSNORM, "rmsnorm"},
        {RZ_OP_LAYERNORM, "layernorm"},
        {RZ_OP_MATMUL, "matmul"},
        {RZ_OP_ROPE, "rope"},
        {RZ_OP_KV_STORE, "kv_store"},
        {RZ_OP_ATTENTION, "attention"},
        {RZ_OP_ACT_MUL, "act_mul"},
        {RZ_OP_ACT, "act"},
        {RZ_OP_ADD, "add"},
        {RZ_OP_SELECT_ROWS, "select_rows"},
        {RZ_OP_MAP, "map"},
        {RZ_OP_ADD_POS, "add_pos"},
        {RZ_OP_MOE, "moe"},
        {RZ_OP_GLU_ID, "glu_id"},
        {RZ_OP_PROJ_ID, "proj_id"},
        {RZ_OP_ROUTE, "route"},
        {RZ_OP_MATMUL_ID, "matmul_id"},
        {RZ_OP_SUM_ID, "sum_id"},
        {RZ_OP_SCALE_ID, "scale_id"},
        {RZ_OP_GATE, "gate"},
        {RZ_OP_MATMUL_HEADS, "matmul_heads"},
        {RZ_OP_ADD_ROW, "add_row"},
        {RZ_OP_COLUMNS, "columns"},
        {RZ_OP_SSM, "ssm"},
        {RZ_OP_CONV, "conv"},
        {RZ_OP_SCAN, "scan"},
        {RZ_OP_DELTA, "delta"},
        {RZ_OP_MUL, "mul"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].op == op)
            return names[i].name;
    return "vendor op";
}

static uint64_t width_of(const struct rz_program *p, uint32_t ref)
{
    return rz_value_at(p, (uint32_t)p->refs[ref])->width;
}

static uint64_t chosen_bytes(const struct rz_program *p, const struct rz_node *n, const struct rz_weight *w)
{
    if (n->op == RZ_OP_GET_ROWS || n->op == RZ_OP_ADD_POS || n->op == RZ_OP_ADD_ROW)
        return w->bytes / w->rows;
    if (n->op != RZ_OP_MATMUL_ID && n->op != RZ_OP_GLU_ID && n->op != RZ_OP_PROJ_ID)
        return w->bytes;
    uint64_t used = width_of(p, n->first_in + 1), part = width_of(p, n->first_out);
    if (n->op != RZ_OP_PROJ_ID)
        part /= used;
    uint64_t elements = w->rows * w->cols, experts = w->rows > 1 ? w->rows / part : elements / part;
    return w->bytes / experts * used;
}

uint64_t rz_node_bytes_token(const struct rz_program *p, uint32_t node)
{
    const struct rz_node *n = rz_node_at(p, node);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n->n_weights; i++) {
        int32_t w = p->refs[n->first_weight + i];
        if (w >= 0)
            bytes += chosen_bytes(p, n, rz_weight_at(p, (uint32_t)w));
    }
    return bytes;
}

void rz_rope_fill(const struct rz_rope *r, uint64_t positions, float *cos_out, float *sin_out)
{
    uint32_t half = r->dim / 2;
    for (uint64_t p = 0; p < positions; p++)
        for (uint32_t i = 0; i < half; i++) {
            double angle = (double)p * r->inv_freq[i];
            cos_out[p * half + i] = (float)(cos(angle) * r->magnitude);
            sin_out[p * half + i] = (float)(sin(angle) * r->magnitude);
        }
}

/* access.h - reading a program: its strided tables by index, the names of ops, cos and sin of its ropes. */
#ifndef RZ_BASE_ACCESS_H
#define RZ_BASE_ACCESS_H

#include <rz/program.h>

static inline const struct rz_node *rz_node_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_node *)((const char *)p->nodes + (uint64_t)i * p->node_stride);
}

static inline const struct rz_weight *rz_weight_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_weight *)((const char *)p->weights + (uint64_t)i * p->weight_stride);
}

static inline const struct rz_value *rz_value_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_value *)((const char *)p->values + (uint64_t)i * p->value_stride);
}

static inline const struct rz_kv_group *rz_kv_group_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_kv_group *)((const char *)p->kv_groups + (uint64_t)i * p->kv_group_stride);
}

static inline const struct rz_state *rz_state_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_state *)((const char *)p->states + (uint64_t)i * p->state_stride);
}

static inline const struct rz_stage *rz_stage_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_stage *)((const char *)p->stages + (uint64_t)i * p->stage_stride);
}

/* The i-th value that a stage gets from outside, or gives. */
static inline int32_t rz_stage_in(const struct rz_program *p, const struct rz_stage *s, uint32_t i)
{
    return p->refs[s->first_in + i];
}

static inline int32_t rz_stage_out(const struct rz_program *p, const struct rz_stage *s, uint32_t i)
{
    return p->refs[s->first_out + i];
}

static inline const struct rz_rope *rz_rope_at(const struct rz_program *p, uint32_t i)
{
    return (const struct rz_rope *)((const char *)p->ropes + (uint64_t)i * p->rope_stride);
}

/* "matmul"; "vendor op" for what is not of rz/program.h */
const char *rz_op_name(uint16_t op);
/* The weight bytes that a node reads for one token: of experts, those that it chose. */
uint64_t rz_node_bytes_token(const struct rz_program *p, uint32_t node);
/* cos and sin of positions 0..n-1, computed in double precision: [n][dim / 2] each, magnitude included. */
void rz_rope_fill(const struct rz_rope *r, uint64_t n, float *cos_out, float *sin_out);

#endif

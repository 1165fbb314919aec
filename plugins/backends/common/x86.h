/* x86.h - what the kernel tables of x86-64 share: how rows of activations are worked on, the regions, and
 * attention. Each plugin compiles the parts in headers of this folder (elementwise.h, region.h, kv_store.h,
 * attention_jobs.h) in a kernels_*.c of its own, and the table (table.h) without any instruction set.
 */
#ifndef RZ_X86_H
#define RZ_X86_H

#include "interleave.h"

/* How a row is normed: in equal parts, each alone; layer: its mean goes off first. w, b: NULL or cols
 * elements, taken in turn. */
struct norm {
    const float *w, *b;
    uint64_t cols, parts;
    double eps;
    bool layer;
};
/* x times factor, then soft-cap, then clamp; 0: none of the latter two. */
struct act_map {
    float factor, softcap, clamp;
};
/* p x^2 + beta x above 0, (expm1(min(x, eps)) - x) n + beta x below */
struct act_xielu {
    float p, n, beta, eps;
};

/* elementwise.h; out may be x everywhere */
void act_norm(const struct norm *norm, const float *x, float *out, uint64_t n);
/* h[i] = act(gate[i]) * up[i], with up NULL act(gate[i]); act: the attribute's id, such as RZ_A_SILU. */
void act_apply(uint32_t act, const float *gate, const float *up, float *h, uint64_t n);
void act_map(const struct act_map *m, const float *x, float *out, uint64_t n);
void act_xielu(const struct act_xielu *f, const float *x, float *out, uint64_t n);
void act_product(const float *a, const float *b, float *product, uint64_t n);
void act_add(const float *a, const float *b, float *sum, uint64_t n);

/* The activation that the node's attributes say, of n pairs. */
void act_pair(const struct rz_kernel_node *node, const float *gate, const float *up, float *h, uint64_t n);
void act_sum_parts(const float *parts, const float *weights, uint64_t used, float *y, uint64_t n);
void act_gate(const float *gate, uint64_t n_gate, const float *x, float *y, uint64_t n);

/* attention_jobs.h */
uint64_t attention_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
/* coarse: products of bfloat16 may do. */
int32_t attention(const struct rz_kernel_call *c, int coarse);
int32_t attention_accept(const struct rz_kernel_node *n);
/* kv_store.h: stores one row's keys and values, [n_heads * dim] each, at its position. */
void attention_store_row(const struct rz_kernel_call *c, uint32_t row, const float *k, const float *v);

/* region.h. wide: activations as 16-bit integers. */
uint64_t norm_qkv_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
uint64_t product_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t norm_qkv(const struct rz_kernel_call *c, int wide);
int32_t norm_glu(const struct rz_kernel_call *c, int wide);
int32_t proj_add(const struct rz_kernel_call *c, int wide);
int32_t matmul(const struct rz_kernel_call *c, int wide);
/* head_region.h: norm, and the product with the largest matrix, screened where few of its rows are wanted. */
uint64_t head_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t head(const struct rz_kernel_call *c, int wide);
/* experts.h: RZ_OP_MATMUL_ID and RZ_OP_MATMUL_HEADS, and RZ_OP_GLU_ID. how: wide, or the plugin's level. */
uint64_t experts_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t experts_product(const struct rz_kernel_call *c, int how);
int32_t experts_glu(const struct rz_kernel_call *c, int how);
/* Rotates the heads of one row in place. */
void rope_row(const struct rz_kernel_call *c, uint32_t row, float *x, uint64_t n_head);

/* --- the team: a lone member has nobody to ask --- */

/* What is left to a lone member. */
struct share {
    uint32_t next, n;
};

/* As rz_team's share, take and barrier. */
static inline struct share share_out(const struct rz_kernel_call *c, uint32_t n)
{
    if (c->n_threads > 1)
        c->team->share(c->team, c->tid, n);
    return (struct share){0, n};
}

static inline int32_t share_take(const struct rz_kernel_call *c, struct share *s)
{
    if (c->n_threads > 1)
        return c->team->take(c->team, c->tid);
    return s->next < s->n ? (int32_t)s->next++ : -1;
}

static inline void wait_for_team(const struct rz_kernel_call *c)
{
    if (c->n_threads > 1)
        c->team->barrier(c->team, c->tid);
}

/* --- what attributes of a node say --- */

static inline bool node_has(const struct rz_kernel_node *n, uint32_t attr)
{
    return n->attr_mask & RZ_ATTR(attr);
}

static inline const float *node_vector(const struct rz_kernel_node *n, uint32_t w)
{
    return w < n->n_weights && n->weights[w].type != RZ_TYPE_NONE ? n->weights[w].data : NULL;
}

static inline uint32_t node_act(const struct rz_kernel_node *n)
{
    return node_has(n, RZ_A_GELU)        ? RZ_A_GELU
           : node_has(n, RZ_A_GELU_TANH) ? RZ_A_GELU_TANH
           : node_has(n, RZ_A_RELU2)     ? RZ_A_RELU2
                                         : RZ_A_SILU;
}

#endif

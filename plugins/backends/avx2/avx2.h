/* avx2.h - what the files of the avx2 kernel table share: the weight layout, quantised activations,
 * and the tile kernels.
 *
 * Layout X8 (id 1): eight rows of a weight side by side, in the forms of interleave.h.
 *
 * Invariant: every output is a chain of additions over blocks in ascending order, the same chain in
 * every tile shape. So results do not depend on how many rows a step has.
 */
#ifndef RZ_AVX2_H
#define RZ_AVX2_H

#define GROUP 8 /* rows side by side */
#include "../common/interleave.h"

#define LAYOUT_X8 1u

/* 32 activations: x = d * q, rounded to nearest; s = d * sum(q); h: the sums of both halves. */
struct act_block {
    int8_t q[32];
    float d, s;
    int16_t h[2];
    int32_t zero;
};
_Static_assert(sizeof(struct act_block) == 48, "act_block");

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

/* kernels_act.c; out may be x everywhere */
void act_quantise(const float *x, struct act_block *out, uint64_t n);
void act_norm(const struct norm *norm, const float *x, float *out, uint64_t n);
/* h[i] = act(gate[i]) * up[i], with up NULL act(gate[i]); act: the attribute's id, such as RZ_A_SILU. */
void act_apply(uint32_t act, const float *gate, const float *up, float *h, uint64_t n);
void act_map(const struct act_map *m, const float *x, float *out, uint64_t n);
void act_xielu(const struct act_xielu *f, const float *x, float *out, uint64_t n);
void act_product(const float *a, const float *b, float *product, uint64_t n);
void act_add(const float *a, const float *b, float *sum, uint64_t n);

/* The activations of one row, for a tile. */
union tile_x {
    const struct act_block *q;
    const float *f;
};

#define TILE_ROWS 4 /* activation rows of one tile */

/* kernels_matmul.c: out[t][r] = product of group row r with x[t], for t < n (1..TILE_ROWS). */
void tile_run(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float out[TILE_ROWS][GROUP]);

/* kernels_attention.c */
uint64_t attention_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t attention_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t attention_accept(const struct rz_kernel_node *n);
/* kernels_kv.c: stores one row's keys and values, [n_heads * dim] each, at its position. */
void attention_store_row(const struct rz_kernel_call *c, uint32_t row, const float *k, const float *v);

/* kernels_latent.c: attention over a latent KV (RZ_A_LATENT). */
int32_t latent_accept(const struct rz_kernel_node *n);
uint32_t latent_tiles(const struct rz_kernel_call *c);
int32_t latent_store(const struct rz_kernel_call *c, struct rz_err *err);
int32_t latent_attention(const struct rz_kernel_call *c, struct rz_err *err);

/* kernels_region.c */
uint64_t norm_qkv_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t norm_qkv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint64_t product_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t norm_glu_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t proj_add_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t matmul_run(const struct rz_kernel_call *c, struct rz_err *err);
/* kernels_experts.c: RZ_OP_MATMUL_ID and RZ_OP_MATMUL_HEADS, and RZ_OP_GLU_ID. */
uint64_t experts_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t experts_product_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t experts_glu_run(const struct rz_kernel_call *c, struct rz_err *err);
/* The activation that the node's attributes say, of n pairs. */
void act_pair(const struct rz_kernel_node *node, const float *gate, const float *up, float *h, uint64_t n);
void act_sum_parts(const float *parts, const float *weights, uint64_t used, float *y, uint64_t n);
void act_gate(const float *gate, uint64_t n_gate, const float *x, float *y, uint64_t n);
/* Rotates the heads of one row in place. */
void rope_row(const struct rz_kernel_call *c, uint32_t row, float *x, uint64_t n_head);

/* kernels_recurrent.c */
int32_t recurrent_accept(const struct rz_kernel_node *n);
uint32_t conv_tiles(const struct rz_kernel_call *c);
int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t scan_tiles(const struct rz_kernel_call *c);
int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t delta_tiles(const struct rz_kernel_call *c);
int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err);

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

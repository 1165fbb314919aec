/* avx2.h - what the files of the avx2 kernel table share: the interleaved weight layouts, quantised
 * activations, and the tile kernels.
 *
 * Layout X8 (id 1, one form a type): eight rows of a weight side by side. A group of eight rows is a
 * run of blocks along k; in each block, byte [r][j] of a 32-byte vector belongs to row r, so that the
 * lanes of an accumulator are rows and no horizontal sum is ever needed. One broadcast of four
 * activation bytes meets eight rows. Rows past the last are zero blocks.
 *
 * Invariant: every output is a chain of additions over blocks in ascending order, the same chain in
 * every tile shape. So results do not depend on how many rows a step has.
 */
#ifndef RZ_AVX2_H
#define RZ_AVX2_H

#include <rz/kernels.h>
#include <rz/quant.h>
#include <stdbool.h>

#define LAYOUT_X8 1u
#define GROUP 8 /* rows side by side */

/* Vector q of a block holds elements 4q .. 4q + 3 of each row: byte [r][j] is element 4q + j of row r.
 * Nibbles: the low ones are vector q, the high ones vector q + 4. */
struct x8_q4_0 {
    uint16_t d[GROUP];
    uint8_t qs[4][GROUP][4];
};
struct x8_q4_1 {
    uint16_t d[GROUP], m[GROUP];
    uint8_t qs[4][GROUP][4];
};
/* Bit q of qh[r][j] is the fifth bit of element 4q + j. */
struct x8_q5_0 {
    uint16_t d[GROUP];
    uint8_t qh[GROUP][4];
    uint8_t qs[4][GROUP][4];
};
struct x8_q5_1 {
    uint16_t d[GROUP], m[GROUP];
    uint8_t qh[GROUP][4];
    uint8_t qs[4][GROUP][4];
};
struct x8_q8_0 {
    uint16_t d[GROUP];
    int8_t qs[8][GROUP][4];
};
/* sc[g], mn[g]: 6-bit scale and minimum of 32-group g */
struct x8_q4_k {
    uint16_t d[GROUP], dmin[GROUP];
    uint8_t sc[8][GROUP], mn[8][GROUP];
    uint8_t qs[8][4][GROUP][4];
};
struct x8_q5_k {
    uint16_t d[GROUP], dmin[GROUP];
    uint8_t sc[8][GROUP], mn[8][GROUP];
    uint8_t qh[8][GROUP][4];
    uint8_t qs[8][4][GROUP][4];
};
/* sc[g][r]: scales of the two 16-groups of 32-group g. Bits 2(q % 4) of qh[g][q / 4][r][j] are the upper
 * two bits of element 4q + j. */
struct x8_q6_k {
    uint16_t d[GROUP];
    int8_t sc[8][GROUP][2];
    uint8_t qs[8][4][GROUP][4];
    uint8_t qh[8][2][GROUP][4];
};
/* sc[g][r]: scale (low nibble) and minimum of the two 16-groups of 32-group g. Bits 2(q % 4) of
 * qs[g][q / 4][r][j] are element 4q + j. */
struct x8_q2_k {
    uint16_t d[GROUP], dmin[GROUP];
    uint8_t sc[8][GROUP][2];
    uint8_t qs[8][2][GROUP][4];
};
/* 32 elements of any type whose 16-groups are integers of -127..127 times a scale: exact. d: by 16-group. */
struct x8_i8 {
    float d[2][GROUP];
    int8_t qs[8][GROUP][4];
};
_Static_assert(sizeof(struct x8_q2_k) == GROUP * sizeof(struct rz_block_q2_k), "x8");
_Static_assert(sizeof(struct x8_i8) == 320, "x8");
_Static_assert(sizeof(struct x8_q4_0) == GROUP * sizeof(struct rz_block_q4_0), "x8");
_Static_assert(sizeof(struct x8_q4_1) == GROUP * sizeof(struct rz_block_q4_1), "x8");
_Static_assert(sizeof(struct x8_q5_0) == GROUP * sizeof(struct rz_block_q5_0), "x8");
_Static_assert(sizeof(struct x8_q5_1) == GROUP * sizeof(struct rz_block_q5_1), "x8");
_Static_assert(sizeof(struct x8_q8_0) == GROUP * sizeof(struct rz_block_q8_0), "x8");
_Static_assert(sizeof(struct x8_q6_k) == GROUP * sizeof(struct rz_block_q6_k), "x8");
_Static_assert(sizeof(struct x8_q4_k) == 1184 && sizeof(struct x8_q5_k) == 1440, "x8");

/* What a type's layout looks like; block = 0: the table does not have the type. */
struct x8_type {
    uint32_t block, bytes; /* elements of one row, and bytes of all eight, in one block */
    bool quantised;        /* multiplied with quantised activations                    */
    /* Moves one block of one row into lane r of a group's block, and back. */
    void (*pack)(void *group, int r, const void *block);
    void (*unpack)(const void *group, int r, void *block);
    /* Instead of unpack, where the layout holds decoded values: lane r as float32. */
    void (*read)(const void *group, int r, float *out);
};
/* layout_small.c: Q2_K, and the types whose layout is not a permutation of their own bits. */
const struct x8_type *x8_small_type(int32_t type);
const struct x8_type *x8_type(int32_t type);
uint64_t x8_group_bytes(int32_t type, uint64_t cols);
uint64_t x8_bytes(const struct rz_weight_view *file);
void x8_prep(const struct rz_weight_view *file, void *dst, uint64_t first, uint64_t n);
/* Decodes one row of a blob to float32. */
void x8_decode_row(const struct rz_weight_view *w, uint64_t row, float *out);

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

/* kernels_act.c; out may be x everywhere */
void act_quantise(const float *x, struct act_block *out, uint64_t n);
void act_norm(const struct norm *norm, const float *x, float *out, uint64_t n);
/* h[i] = act(gate[i]) * up[i], with up NULL act(gate[i]); act: the attribute's id, such as RZ_A_SILU. */
void act_apply(uint32_t act, const float *gate, const float *up, float *h, uint64_t n);
void act_map(const struct act_map *m, const float *x, float *out, uint64_t n);
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

/* kernels_region.c */
uint64_t norm_qkv_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t norm_qkv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint64_t product_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads);
int32_t norm_glu_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t proj_add_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t matmul_run(const struct rz_kernel_call *c, struct rz_err *err);
/* Rotates the heads of one row in place. */
void rope_row(const struct rz_kernel_call *c, uint32_t row, float *x, uint64_t n_head);

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

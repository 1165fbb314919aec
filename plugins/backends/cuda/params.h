/* params.h - what kernels are given: plain structs that the host part fills and kernels read.
 *
 * Every kernel takes one of these by value. What varies from step to step lies in device memory behind a
 * struct cu_step, so that a captured graph of launches stays right for each step of as many rows.
 */
#ifndef RZ_CUDA_PARAMS_H
#define RZ_CUDA_PARAMS_H

#include <stdint.h>

#define CU_WARP 32
#define CU_GEMV_WARPS 4   /* outputs of one block of a matrix-vector product                     */
#define CU_GEMV_ROWS 8    /* most rows that share one reading of the weights there               */
#define CU_PARTS 3        /* matrices of one launch that meet the same rows                      */
#define CU_GROUPS 8       /* KV groups of a program                                              */
#define CU_SPLIT 256      /* keys of one part of attention: RZ_ATTENTION_SPLIT                    */
#define CU_TOP_MAX 64     /* results of one row that the device picks out                         */
#define CU_EXPERTS 4096   /* experts of one mixture                                               */
#define CU_THREADS 256    /* threads of a block of the kernels that go along rows                 */
#define CU_ATTEND_WARPS 4 /* warps of a block of attention                                       */
#define CU_FLASH_RUN 9    /* rows of a prompt in a step from which on the tensor cores attend    */
#define CU_FLASH_TILE 64  /* queries of a block there                                           */

/* Weight types as kernels know them: layouts that weights.c makes. Others are decoded on load. */
#define CU_TYPES(X) \
    X(F32, 0) \
    X(F16, 1) \
    X(BF16, 30) \
    X(Q4_0, 2) \
    X(Q4_1, 3) \
    X(Q5_0, 6) \
    X(Q5_1, 7) \
    X(Q8_0, 8) \
    X(Q2_K, 10) \
    X(Q3_K, 11) \
    X(Q4_K, 12) \
    X(Q5_K, 13) \
    X(Q6_K, 14) \
    X(IQ4_NL, 20) \
    X(IQ4_XS, 23) \
    X(MXFP4, 39)

/* A weight: two planes, each row by row. A row of plane a begins at a multiple of 16 bytes. */
struct cu_mat {
    const uint8_t *a, *b;
    uint64_t a_pitch, b_pitch; /* bytes from row to row */
    uint32_t cols, rows;
    int32_t type; /* RZ_TYPE_* */
    uint32_t zero;
};

struct cu_view {
    float *data;
    uint64_t stride;
};

struct cu_row {
    int32_t token;
    uint32_t seq;
    int32_t pos;
    uint32_t run; /* rows of its sequence that stand together in the step */
};

struct cu_seq {
    uint32_t length, mask;
    int32_t slot;
    uint32_t variant;
    uint32_t pages[CU_GROUPS]; /* where the table of a group begins */
};

/* One step. */
struct cu_step {
    const struct cu_row *rows;
    const struct cu_seq *seqs;
    const uint32_t *wanted;
    const int32_t *pages;
};

/* Kinds of activation. */
#define CU_ACT_NONE 0
#define CU_ACT_SILU 1
#define CU_ACT_GELU 2
#define CU_ACT_GELU_TANH 3
#define CU_ACT_RELU2 4
#define CU_ACT_XIELU 5
#define CU_ACT_SWIGLU 6 /* of two: clamped at p */
struct cu_act {
    uint32_t kind;
    float p, n, beta, eps;
};

/* --- matrix products --- */

/* Pairs of a row and an expert, in the order of the experts. */
struct cu_pairs {
    const uint32_t *order; /* [pairs]: row * used + k                        */
    const uint32_t *tiles; /* [3 * n]: expert, first of its pairs in order, how many */
    const uint32_t *n_tiles;
    uint32_t used; /* 0: no mixture */
    uint32_t each; /* set: each pair has an x of its own */
};

struct cu_part {
    struct cu_mat w;
    const float *bias; /* or NULL                                       */
    struct cu_view y;
    struct cu_view add; /* data NULL: none; added behind everything else */
    uint32_t rows;      /* outputs: of a mixture those of one expert     */
    uint32_t zero;
};

struct cu_product {
    struct cu_view x;
    uint32_t n; /* rows of x */
    uint32_t n_parts;
    uint32_t gated; /* set: y of part 0 is act(part 0) * part 1                */
    uint32_t heads; /* 0, or matrices: each meets its part of x and makes its part of y */
    uint32_t in_head, out_head;
    uint32_t aligned; /* set: rows of x begin at multiples of 16 bytes */
    uint32_t zero;
    const float *norm; /* of the RMS norm of x before; NULL: none */
    float eps;
    uint32_t normed; /* set: there is a norm, maybe without weights */
    struct cu_act act;
    uint32_t pad;
    struct cu_pairs pairs;
    const float *scale;  /* of the tile kernels with 16-bit products: [n], powers of two */
    const int8_t *bytes; /* of products of integers: the rows, see struct cu_round */
    const float *byte_scales;
    struct cu_part part[CU_PARTS];
};

struct cu_scales { /* scale[r]: the power of two that brings the largest of row r to 1..2 */
    struct cu_view x;
    float *scale;
    uint32_t n, width;
};

/* Rows (and parts of them) as integers of 8 bits; of each 32 a scale, and the sum of the 32 times it. An RMS
 * norm before may be part of it. */
struct cu_round {
    struct cu_view x;
    int8_t *bytes;
    float *scales;
    const float *norm; /* NULL: without weights */
    double eps;
    uint32_t width, normed;
};

struct cu_group { /* sorts the pairs by expert */
    struct cu_view ids;
    uint32_t *order, *tiles, *n_tiles;
    uint32_t n, used, experts, tile; /* tile: pairs of one tile at most */
};

/* --- around products of a library --- */

struct cu_shorten { /* x as f16, scaled, or as bfloat16 where there is no scale */
    struct cu_view x;
    uint16_t *to;
    uint64_t pitch;
    const float *scale;
    uint32_t width, zero;
};

struct cu_unpack { /* rows of w from `first` on, as f16 */
    struct cu_mat w;
    uint16_t *to;
    uint64_t pitch;
    uint32_t first, zero;
};

struct cu_settle { /* y = y / scale + bias + add; each may be NULL */
    struct cu_view y, add;
    const float *scale, *bias;
    uint32_t width, zero;
};

/* --- rows --- */

struct cu_lookup { /* y = x + table[...]; x may be NULL */
    const struct cu_step *step;
    struct cu_mat table;
    struct cu_view x, y;
    uint32_t n, by; /* CU_BY_* */
    uint32_t row, zero;
};
#define CU_BY_TOKEN 0
#define CU_BY_POS 1
#define CU_BY_ROW 2

struct cu_norm {
    struct cu_view x, y;
    const float *w, *bias;
    uint32_t w_cols, bias_cols;
    uint32_t n, width, parts; /* parts of a row, each alone */
    uint32_t centred;         /* set: a layer norm */
    double eps;
};

/* a op b for each element. b_one: b (or the gate) has one column. */
#define CU_ADD 0
#define CU_MUL 1
#define CU_GATE 2 /* sigmoid(a) * b */
#define CU_ACT_MUL 3
#define CU_ACT_ONE 4
struct cu_two {
    struct cu_view a, b, y;
    uint32_t n, width, op, one;
    struct cu_act act;
    uint32_t zero;
};

struct cu_map {
    const struct cu_step *step;
    struct cu_view x, y;
    uint32_t n, width;
    uint32_t has; /* CU_HAS_* */
    float factor, softcap, clamp, grow;
    uint32_t every;
};
#define CU_HAS_FACTOR 1
#define CU_HAS_SOFTCAP 2
#define CU_HAS_CLAMP 4
#define CU_HAS_TEMPERATURE 8

struct cu_copy { /* columns, or the wanted rows */
    const struct cu_step *step;
    struct cu_view x, y;
    uint32_t n, width, column, wanted;
};

/* --- positions --- */

struct cu_table {
    const float *cosines, *sines; /* [position][half] */
    uint32_t half, zero;
};

struct cu_rope {
    const struct cu_step *step;
    struct cu_view x, y;
    struct cu_table table[CU_GROUPS];
    uint32_t n, width, heads, dim, offset, neox;
};

struct cu_kv {
    uint8_t *base;
    uint64_t page_bytes, head_bytes, v_offset; /* base: of the layer; v_offset 0: there is no V */
    uint32_t group, type, page_tokens, n_heads, k_dim, v_dim;
};

struct cu_store {
    const struct cu_step *step;
    struct cu_view k, v;
    struct cu_kv kv;
    uint32_t n, latent; /* latent: v is the end of k */
};

struct cu_attend {
    const struct cu_step *step;
    struct cu_view q, y;
    struct cu_kv kv;
    uint32_t n, heads;       /* rows; query heads */
    uint32_t splits, window; /* parts of the keys; window 0: none */
    uint32_t chunk, both;
    float scale, softcap, alibi;
    uint32_t serial;    /* set: a block goes through all parts, else each part has a block */
    uint32_t run, zero; /* rows of runs this long are the tensor cores' own; 0: none are */
    const float *sinks;
    float *part; /* [row][head][part, or one][v_dim + 2]: sums, then largest score and sum of weights */
};

/* --- mixtures --- */

struct cu_route {
    struct cu_view logits, ids, weights;
    const float *bias;
    uint32_t n, experts, used, rule;
    uint32_t groups, keep, rank, renorm;
    double near, add, factor;
};

struct cu_sum { /* y = sum of parts * weights; weights NULL: 1 */
    struct cu_view x, weights, y;
    uint32_t n, width, used, zero;
};

struct cu_scale { /* y[k] = x * weights[k] */
    struct cu_view x, weights, y;
    uint32_t n, width, used, zero;
};

/* --- state --- */

struct cu_state {
    float *base;
    uint64_t stride;
};

struct cu_conv {
    const struct cu_step *step;
    struct cu_view x, y;
    struct cu_state state;
    const float *w, *bias;
    uint32_t n, width, taps, silu;
};

struct cu_scan {
    const struct cu_step *step;
    struct cu_view x, dt, b, c, y; /* b.data and c.data may lie inside x */
    struct cu_state state;
    const float *a, *d, *bias;
    uint32_t n, heads, p_dim, n_dim, groups, a_cols;
};

struct cu_delta {
    const struct cu_step *step;
    struct cu_view x, dt, b, y;
    struct cu_state state;
    const float *a, *bias;
    uint32_t n, heads, keys, k_dim, v_dim, striped;
    double eps;
};

/* --- results --- */

/* The k best of each stretch of CU_TOP_SPAN values of a row, best first: their numbers and values. */
#define CU_TOP_SPAN 2048
struct cu_top {
    struct cu_view x;
    const uint32_t *names; /* what value i of a row is the value of; NULL: of i */
    uint64_t names_stride;
    uint32_t *ids; /* [row][stretch][k] */
    float *values;
    uint32_t n, width, k, stretches;
};

#endif

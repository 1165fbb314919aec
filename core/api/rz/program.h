/* program.h - a model as data: programs of nodes, values, attributes and weights.
 *
 * A model family emits a program once at load. Every value is a matrix [rows, width] of float32 whose
 * row count stays symbolic: all rows of the step, or only the rows whose result somebody wants. Nodes
 * are stored in pre-order and form a tree of up to three levels: block macros, region macros,
 * primitives. Children are the decomposition of their parent and compute the same thing; whoever runs
 * a node runs either the node or its children, never both. The decompositions belong to the core.
 *
 * Operands of an op stand at fixed places (the tables below); an absent one is -1.
 *
 * A program may be the part of a larger one that one of several devices runs: then it has stages, between
 * which others run theirs, and values that come from them or go to them.
 */
#ifndef RZ_PROGRAM_H
#define RZ_PROGRAM_H

#include <rz/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- ops. Numbers are stable for ever; 0x8000 and above belong to vendors. --- */
/* blocks: of plain regions      in            out                 weights                        */
#define RZ_OP_ATTN 0x101 /*  x             x'                  norm_qkv's first 7, w, bias    */
#define RZ_OP_FFN 0x102  /*  x             x'                  norm_glu's first 5, w, bias    */
#define RZ_OP_MOE 0x103  /*  x             x'                  see "Mixtures of experts"      */
#define RZ_OP_SSM 0x104  /*  x             x'                  -: a device looks at its parts */
#define RZ_OP_HEAD 0x105 /*  x             hidden, logits      norm, w, bias                  */
/* regions */
#define RZ_OP_NORM_QKV 0x201 /*  x             q                   norm, wq, wk, wv, bq, bk, bv,  */
                             /*                                    norm_bias, q_norm, k_norm      */
#define RZ_OP_ATTEND 0x202   /*  q             y                   -                              */
#define RZ_OP_PROJ_ADD 0x203 /*  y, x          x'                  w, bias, post_norm             */
#define RZ_OP_NORM_GLU 0x204 /*  x             h                   norm, gate, up, b_gate, b_up,  */
                             /*                                    norm_bias                      */
#define RZ_OP_GLU_ID 0x206   /*  x, ids        h                   gate, up, b_gate, b_up         */
#define RZ_OP_PROJ_ID 0x207  /*  h, ids, w     y                   w, bias                        */
/* primitives */
#define RZ_OP_GET_ROWS 0x301    /*  (tokens)      x                   table                          */
#define RZ_OP_RMSNORM 0x302     /*  x             y                   norm                           */
#define RZ_OP_LAYERNORM 0x303   /*  x             y                   norm, bias                     */
#define RZ_OP_MATMUL 0x304      /*  x             y                   w, bias                        */
#define RZ_OP_ROPE 0x305        /*  x             y                   -                              */
#define RZ_OP_KV_STORE 0x306    /*  k, v          -                   -                              */
#define RZ_OP_ATTENTION 0x307   /*  q             y                   sinks [heads], if SINKS is set */
#define RZ_OP_ACT_MUL 0x308     /*  gate, up      y                   -                              */
#define RZ_OP_ACT 0x309         /*  x             y                   -                              */
#define RZ_OP_ADD 0x30a         /*  a, b          y                   -                              */
#define RZ_OP_SELECT_ROWS 0x30b /* x (all rows) y (wanted rows)     -                              */
#define RZ_OP_MAP 0x30c         /*  x             y                   -                              */
#define RZ_OP_ADD_POS 0x30d     /*  x             y                   table                          */
#define RZ_OP_ADD_ROW 0x330     /*  x             y                   table                          */
#define RZ_OP_COLUMNS 0x331     /*  x             y (as wide as y is) -                              */

#define RZ_OP_CONV 0x320  /*  x             y                   w [taps], bias                 */
#define RZ_OP_SCAN 0x321  /*  x, dt, (B, C) y                   A, D, dt bias                  */
#define RZ_OP_DELTA 0x322 /*  qkv, dt, b    y                   A, dt bias                     */
#define RZ_OP_MUL 0x323   /*  a, b          y                   -                              */

/* Mixtures of experts: a row chooses k of E experts. ids [k] are their numbers, weights [k] their factors,
 * in the order of choice; values with a part for each of them are [k * n]. The matrices of all experts lie
 * behind each other, [E * rows, cols], as do biases, [E * rows].
 * Weights of MOE: norm, router, b_router, b_choice, gate, up, down, b_gate, b_up, b_down; of the expert
 * that all rows share: its switch, gate, up, down. */
#define RZ_OP_ROUTE 0x310        /*  logits        ids, weights        bias of the choice alone       */
#define RZ_OP_MATMUL_ID 0x311    /*  x, ids        y [k * rows]        w, bias (x: one, or one each)  */
#define RZ_OP_SUM_ID 0x312       /*  y, weights    sum                 -                              */
#define RZ_OP_SCALE_ID 0x313     /*  x, weights    y [k * n]           -                              */
#define RZ_OP_GATE 0x314         /*  gate, x       sigmoid(gate) x     - (gate as wide as x, or 1)    */
#define RZ_OP_MATMUL_HEADS 0x315 /*  x             y                   w; see PARTS                   */

#define RZ_LEVEL_BLOCK 0
#define RZ_LEVEL_REGION 1
#define RZ_LEVEL_PRIMITIVE 2

/* --- attributes. The id indexes rz_kernel_node.attr; the mask says which ones a node sets. A runner
 * that does not list an attribute in its own mask is never given a node that sets it. --- */
#define RZ_A_EPS 0        /* f: added to the mean square of a norm                              */
#define RZ_A_N_HEAD 1     /* i: query heads (of ROPE: heads in the row)                         */
#define RZ_A_N_KV_HEAD 2  /* i                                                                  */
#define RZ_A_HEAD_DIM 3   /* i: width of one head of q, k and v                                 */
#define RZ_A_SCALE 4      /* f: factor of the attention scores                                  */
#define RZ_A_KV_GROUP 5   /* i: KV group of the layer                                           */
#define RZ_A_KV_LAYER 6   /* i: index of the layer in its group                                 */
#define RZ_A_ROPE 7       /* i: index of the program's rope                                     */
#define RZ_A_ROPE_NEOX 8  /* set: pairs are (i, i + dim/2); unset: (2i, 2i + 1)                 */
#define RZ_A_SILU 9       /* set: the activation is x * sigmoid(x)                              */
#define RZ_A_BIAS 10      /* set: some bias operand is there                                    */
#define RZ_A_PARTS 11     /* i: a norm works on that many equal parts of the row, each alone        */
#define RZ_A_WINDOW 12    /* i: a query sees this many positions, its own and those before     */
#define RZ_A_SOFTCAP 13   /* f: c tanh(x / c), of the scaled scores or of MAP's x              */
#define RZ_A_ALIBI 14     /* f: largest bias, 8 in the paper; head h adds slope(h) * (key - query) */
#define RZ_A_FACTOR 15    /* f: of MAP: factor, then soft-cap, then clamp                      */
#define RZ_A_CLAMP 16     /* f: of MAP: results lie within -f..f                               */
#define RZ_A_GELU 17      /* set: the activation is x Phi(x), by erf                           */
#define RZ_A_GELU_TANH 18 /* set: the same by its tanh approximation                          */
#define RZ_A_RELU2 19     /* set: the activation is max(x, 0)^2                                */
#define RZ_A_BOTH 40      /* set: attention honours RZ_MASK_ALL, a window then reaches as far ahead as back */
#define RZ_A_ROPE_VARIANTS 42 /* i: rope_variant v of a sequence stands for rope RZ_A_ROPE + v, v < i */
#define RZ_A_COLUMN 43        /* i: of COLUMNS: the first column of x that y has                        */
#define RZ_A_XIELU_P 44       /* f: p: the activation is p x^2 + beta x above 0, below it                  */
#define RZ_A_XIELU_N 45       /* f: n: (expm1(min(x, eps)) - x) n + beta x                                 */
#define RZ_A_XIELU_BETA 46    /* f: beta; eps is RZ_A_EPS, below 0                                      */
#define RZ_A_ROW 41           /* i: of ADD_ROW: the table's row                                    */
#define RZ_A_STATE 30         /* i: the state block of the op                                       */
#define RZ_A_STATE_GROUPS 31  /* i: of SCAN: groups of B and C; of DELTA: heads of q and k          */
#define RZ_A_STRIPED 34       /* set: DELTA's head h has key head h % STATE_GROUPS; else neighbours share */
/* 50-56: what a region does besides, or leaves out; a region without them is the plain one. */
#define RZ_A_LAYER_NORM 50   /* set: the norm before is a layer norm, weight and bias optional     */
#define RZ_A_NO_NORM 51      /* set: there is no norm before                                       */
#define RZ_A_NO_ROPE 52      /* set: q and k are not rotated                                       */
#define RZ_A_QK_NORM 53      /* i: RZ_QK_NORM_*, of q and k before rope, after RZ_A_CLAMP          */
#define RZ_A_QK_NORM_LATE 54 /* set: after rope                                                    */
#define RZ_A_NO_GATE 55      /* set: h is the activation of up                                     */
#define RZ_A_POST_NORM 56    /* set: RMS norm of the projection; then RZ_A_FACTOR, then the sum    */
#define RZ_QK_NORM_HEAD 1    /* RMS norm of each head, one weight for all                          */
#define RZ_QK_NORM_ROW 2     /* RMS norm of the whole row                                          */
#define RZ_QK_NORM_LAYER 3   /* layer norm of each head, each with its weight                      */
#define RZ_A_COUNT 64        /* room in every table of attributes                                  */

/* PARTS of MOE: k. Of MATMUL_HEADS: heads, each with a matrix of its own, [heads * rows, cols], that meets
 * the first cols elements of the head's part of x; what else the part has is passed on behind the result. */
#define RZ_A_ROUTE 20         /* i: RZ_ROUTE_*; f: see SPARSE_MIXER                                    */
#define RZ_A_RENORM 21        /* f: the chosen weights are divided by their sum plus this              */
#define RZ_A_EXPERT_GROUPS 22 /* i: equal groups of experts; f: how many of them are chosen from       */
#define RZ_A_GROUP_RANK 23    /* i: a group ranks by the sum of that many best scores                  */
#define RZ_A_LATENT 24        /* i: v is that many first elements of k; KV_STORE: k is both, a row's   */
#define RZ_A_ROPE_OFFSET 25   /* i: the rotated elements begin there in a head                         */
#define RZ_A_CHUNK 26         /* i: a query sees no key before its own chunk of that many positions    */
#define RZ_A_TEMPERATURE 27   /* of MAP, first: x (1 + f ln(1 + floor((position + 1) / i)))            */
#define RZ_A_SINKS 28         /* set: weight 0 has a score for each head that has no value             */
#define RZ_A_SWIGLU 29        /* f: gate at most f, up in -f..f: gate sigmoid(1.702 gate) (up + 1)     */
#define RZ_ATTR(id) (1ull << (id))
#define RZ_ATTR_EPS RZ_ATTR(RZ_A_EPS)
#define RZ_ATTR_SILU RZ_ATTR(RZ_A_SILU)
#define RZ_ATTR_BIAS RZ_ATTR(RZ_A_BIAS)
#define RZ_ATTRS_ACT (RZ_ATTR_SILU | RZ_ATTR(RZ_A_GELU) | RZ_ATTR(RZ_A_GELU_TANH) | RZ_ATTR(RZ_A_RELU2))
#define RZ_ATTRS_XIELU \
    (RZ_ATTR(RZ_A_XIELU_P) | RZ_ATTR(RZ_A_XIELU_N) | RZ_ATTR(RZ_A_XIELU_BETA) | RZ_ATTR_EPS)
#define RZ_ATTRS_NORM (RZ_ATTR_EPS | RZ_ATTR(RZ_A_LAYER_NORM) | RZ_ATTR(RZ_A_NO_NORM))
#define RZ_ATTRS_SCAN (RZ_ATTR(RZ_A_STATE) | RZ_ATTR(RZ_A_STATE_GROUPS) | RZ_ATTR(RZ_A_N_HEAD))
#define RZ_ATTRS_QK \
    (RZ_ATTR(RZ_A_NO_ROPE) | RZ_ATTR(RZ_A_QK_NORM) | RZ_ATTR(RZ_A_QK_NORM_LATE) | RZ_ATTR(RZ_A_CLAMP))
#define RZ_ATTRS_MASK (RZ_ATTR(RZ_A_WINDOW) | RZ_ATTR(RZ_A_SOFTCAP) | RZ_ATTR(RZ_A_ALIBI))
#define RZ_ATTRS_ROUTE \
    (RZ_ATTR(RZ_A_ROUTE) | RZ_ATTR(RZ_A_RENORM) | RZ_ATTR(RZ_A_FACTOR) | RZ_ATTR(RZ_A_EXPERT_GROUPS) | \
     RZ_ATTR(RZ_A_GROUP_RANK) | RZ_ATTR_BIAS)
#define RZ_ATTRS_KV \
    (RZ_ATTR(RZ_A_N_KV_HEAD) | RZ_ATTR(RZ_A_HEAD_DIM) | RZ_ATTR(RZ_A_KV_GROUP) | RZ_ATTR(RZ_A_KV_LAYER))
#define RZ_ATTRS_ROPE \
    (RZ_ATTR(RZ_A_N_HEAD) | RZ_ATTR(RZ_A_HEAD_DIM) | RZ_ATTR(RZ_A_ROPE) | RZ_ATTR(RZ_A_ROPE_NEOX))
#define RZ_ATTRS_ATTENTION (RZ_ATTRS_KV | RZ_ATTR(RZ_A_N_HEAD) | RZ_ATTR(RZ_A_SCALE))

/* How ROUTE scores the experts, and what weights are before RENORM and FACTOR. */
#define RZ_ROUTE_SOFTMAX 0        /* softmax of the logits; weights are the chosen scores            */
#define RZ_ROUTE_SIGMOID 1        /* likewise                                                        */
#define RZ_ROUTE_SOFTMAX_CHOSEN 2 /* the logits; weights are the softmax of the chosen logits        */
/* The best logit, then the best of the rest; a weight is its share in a softmax over the logits that are
 * left and within a factor of 2 f of it. Liu et al. 2024, arXiv:2409.12136. */
#define RZ_ROUTE_SPARSE_MIXER 3

struct rz_attr {
    int64_t i;
    double f;
};
RZ_ABI_SIZE(struct rz_attr, 16, f);

/* A weight matrix or vector as it lies in its file. Borrowed from the mapped file. */
struct rz_weight {
    uint32_t size;
    int32_t type;        /* RZ_TYPE_* */
    uint64_t cols, rows; /* cols contiguous; a vector has rows = 1 */
    uint64_t bytes;
    const void *data;
    struct rz_str name;
};
RZ_ABI_SIZE(struct rz_weight, 56, name);

#define RZ_ROWS_ALL 0    /* one row a row of the step          */
#define RZ_ROWS_WANTED 1 /* only the rows that want a result   */

struct rz_value {
    uint32_t size;
    uint32_t rows; /* RZ_ROWS_* */
    uint64_t width;
    const char *name; /* for people */
};
RZ_ABI_SIZE(struct rz_value, 24, name);

struct rz_node {
    uint32_t size;
    uint16_t op, level;
    int32_t layer;           /* -1: of no layer                                  */
    int32_t parent;          /* -1: top                                          */
    uint32_t end;            /* index after this node's last descendant          */
    uint32_t first_in, n_in; /* slices of program.refs: value indices            */
    uint32_t first_out, n_out;
    uint32_t first_weight, n_weights; /* slice of program.refs: weight indices or -1  */
    uint32_t zero;
    uint64_t attr_mask;
    const struct rz_attr *attrs; /* [RZ_A_COUNT], those in attr_mask are set          */
};
RZ_ABI_SIZE(struct rz_node, 64, attrs);

/* One rotary embedding: angle of pair i at position p is p * inv_freq[i]; cos and sin are multiplied
 * by magnitude (1 unless a scaling method says otherwise). */
struct rz_rope {
    uint32_t size;
    uint32_t dim; /* rotated elements of a head: the first dim */
    double magnitude;
    const double *inv_freq; /* [dim / 2] */
};
RZ_ABI_SIZE(struct rz_rope, 24, inv_freq);

#define RZ_KV_FULL 0
#define RZ_KV_WINDOW 1 /* nobody looks back further than window - 1 positions: older pages come and go */
#define RZ_KV_LATENT 2 /* values are the first v_dim elements of the keys, and are not stored */

/* Layers whose KV has one shape and one life share pages. */
struct rz_kv_group {
    uint32_t size;
    uint32_t kind; /* RZ_KV_* */
    uint32_t n_layers, n_heads, k_dim, v_dim;
    uint32_t window; /* of RZ_KV_WINDOW */
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_kv_group, 32, zero);

/* What one recurrent layer remembers of a sequence: that many floats, zero before its first token. A row
 * finds what the row before it in its sequence has left.
 *
 * CONV: y[c] = act(bias[c] + sum_k w[c][k] x[c] of the row taps - 1 - k back). State: [taps - 1][width], the
 * inputs of the rows before, oldest first.
 * SCAN (Gu and Dao 2023, arXiv:2312.00752; 2024, arXiv:2405.21060): N_HEAD heads of P = width / N_HEAD
 * channels; B and C have STATE_GROUPS groups of N each, neighbouring heads share one.
 * d = softplus(dt + bias); S[p][n] = S[p][n] exp(d A[head][n]) + d x[p] B[n];
 * y[p] = sum_n S[p][n] C[n] + D[head] x[p]. A has a column for each n, or one for all. With two inputs x, B
 * and C lie side by side in the first. State: [head][p][n].
 * DELTA (Yang et al. 2024, arXiv:2412.06464): N_HEAD heads; q and k [STATE_GROUPS][K], v [N_HEAD][V] lie side
 * by side. q and k are divided by sqrt(their sum of squares + EPS), q by sqrt(K) as well.
 * d = softplus(dt + bias); S = S exp(d A[head]); r = sigmoid(b) (v - k S); S = S + k r; y = q S.
 * State: [head][K][V]. */
struct rz_state {
    uint32_t size;
    int32_t layer;
    uint64_t floats;
};
RZ_ABI_SIZE(struct rz_state, 16, floats);

/* A stretch of the nodes of a program that is run in parts: one execute each, in this order in every step.
 * What a stage leaves in values, pages and states is there in those behind it. No macro lies across two. */
struct rz_stage {
    uint32_t size;
    uint32_t first, end; /* nodes                                                                        */
    /* Slices of program.refs: values that rz_batch.inputs brings before the stage (and that later stages may
     * read as well), and values of it that rz_batch.outputs takes behind it. */
    uint32_t first_in, n_in, first_out, n_out;
    uint32_t zero;
};
RZ_ABI_SIZE(struct rz_stage, 32, zero);

struct rz_program {
    uint32_t size;
    uint32_t n_nodes;
    const struct rz_node *nodes;
    uint32_t node_stride, n_values;
    const struct rz_value *values;
    uint32_t value_stride, n_weights;
    const struct rz_weight *weights;
    uint32_t weight_stride, n_refs;
    const int32_t *refs;
    const struct rz_rope *ropes;
    uint32_t n_ropes, rope_stride;
    const struct rz_kv_group *kv_groups;
    uint32_t n_kv_groups, kv_group_stride;
    int32_t hidden, logits; /* value indices of the two outputs; -1: has none */
    const struct rz_state *states;
    uint32_t n_states, state_stride;
    const struct rz_stage *stages;
    uint32_t n_stages, stage_stride; /* 0: one stage, which is all nodes and has no values of others */
};
RZ_ABI_SIZE(struct rz_program, 136, stage_stride);

#ifdef __cplusplus
}
#endif
#endif

/* builder.h - the builder's state and its low level: what macros.c and rope.c use, families do not. */
#ifndef RZ_MODEL_BUILDER_H
#define RZ_MODEL_BUILDER_H

#include "err.h"
#include "map.h"
#include "model.h"

#define RZ_BUILD_GROUPS_MAX 8

struct rz_builder {
    const struct rz_format_model *tables;
    const struct rz_source *sources;
    uint32_t n_sources;
    struct rz_err *err;
    int32_t status;
    struct rz_graph *graph;
    struct rz_map names; /* tensor name -> index */
    int32_t open;        /* innermost node that is not ended; -1: none */
    struct rz_node *nodes;
    struct rz_value *values;
    struct rz_weight *weights;
    int32_t *refs;
    uint32_t n_nodes, n_values, n_weights, n_refs, n_states;
    size_t cap_nodes, cap_values, cap_weights, cap_refs, cap_states;
    struct rz_rope ropes[RZ_BUILD_GROUPS_MAX];
    struct rz_kv_group kv_groups[RZ_BUILD_GROUPS_MAX];
    uint32_t n_ropes, n_kv_groups;
    uint32_t rope_pairs; /* bit i: ropes i and i + 1 are variants of one */
    uint32_t context;    /* positions that sequences may have            */
    struct rz_state *states;
    int32_t hidden, logits;
};

/* Operands of a node at their fixed places (program.h); -1: absent. */
struct rz_operands {
    uint32_t n_in, n_out, n_weights;
    int32_t in[4], out[4], weights[16];
};

/* A tensor of shape [rows, cols], or n of its rows (of a vector: elements) from `first`; n 0: all. With a
 * depth, that many matrices behind each other, and the same rows of each of them. */
struct rz_part {
    bool optional;
    bool flat; /* the weight is a vector of all elements */
    uint64_t cols, rows, first, n, depth;
};
int32_t rz_build_part(struct rz_builder *b, const struct rz_part *p, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same without making a weight of it: false if it is absent or wrong. */
bool rz_build_locate(struct rz_builder *b, const struct rz_part *p, const char *name, struct rz_weight *out);
/* A weight whose bytes, in a new place of the graph, the caller writes; -1: no memory. */
int32_t rz_build_own(struct rz_builder *b, const struct rz_weight *like, int32_t type, uint64_t cols,
                     uint64_t rows, uint8_t **data);

int32_t rz_build_value(struct rz_builder *b, const char *name, uint32_t rows, uint64_t width);
/* Begins a node inside the innermost open one; attributes and children follow until rz_build_end. */
uint32_t rz_build_begin(struct rz_builder *b, uint16_t op, int32_t layer, const struct rz_operands *o);
void rz_build_end(struct rz_builder *b, uint32_t node);
void rz_build_attr(struct rz_builder *b, uint32_t node, uint32_t id, int64_t i, double f);

/* --- primitives (primitives.c): each makes one node and returns its value --- */

void rz_build_flag(struct rz_builder *b, uint32_t node, uint32_t id, bool on);
/* Sets it unless it is 0. */
void rz_build_double(struct rz_builder *b, uint32_t node, uint32_t id, double f);
/* y as large as x; a y of -1 is made. */
int32_t rz_build_like(struct rz_builder *b, const char *name, int32_t x);
struct rz_norm {
    uint32_t kind; /* RZ_NORM_* */
    int32_t w, bias;
    uint32_t parts; /* 0: the whole row   */
    double eps;     /* 0: the model's     */
};
/* The weights blk.LAYER.NAME of a norm, or NAME for layer -1; none for RZ_NORM_NONE. */
struct rz_norm rz_bind_norm(struct rz_builder *b, int32_t layer, uint32_t kind, const char *name);
double rz_build_eps(const struct rz_builder *b, uint32_t norm);
/* x itself for RZ_NORM_NONE */
int32_t rz_prim_norm(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, const struct rz_norm *n);
int32_t rz_prim_matmul(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t w, int32_t bias);
int32_t rz_prim_rope(struct rz_builder *b, int32_t layer, int32_t x, uint32_t n_head,
                     const struct rz_attn_options *o);
void rz_prim_kv_store(struct rz_builder *b, uint32_t layer, int32_t k, int32_t v,
                      const struct rz_attn_options *o);
int32_t rz_prim_attention(struct rz_builder *b, uint32_t layer, int32_t q, int32_t y, int32_t sinks,
                          const struct rz_attn_options *o);
/* An op of one or two values (other -1: one) without attributes; y is its result. */
int32_t rz_prim_two(struct rz_builder *b, uint16_t op, int32_t layer, int32_t x, int32_t other, int32_t y);
int32_t rz_prim_add(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t sum);
/* up -1: act(gate) alone. */
int32_t rz_prim_act(struct rz_builder *b, int32_t layer, int32_t gate, int32_t up, int32_t y, uint32_t act);
/* xIELU (arXiv:2411.13010) of x, with the parameters as models store them. */
int32_t rz_prim_xielu(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, const struct rz_xielu *p);
/* A place for one more layer's KV: in the group of this shape and life, which the first of them makes. */
int32_t rz_build_place(struct rz_builder *b, struct rz_kv_group want, int32_t *layer);

/* The value that the last part of a macro writes is known only after its parts are built. */
void rz_bind_output(struct rz_builder *b, uint32_t node, int32_t value);

/* --- the end of a half (macros.c): projection, norm, residual --- */

struct rz_close {
    int32_t w, bias; /* w -1: the half's result needs no projection */
    bool branch;
    struct rz_norm post;
    double residual;
};
/* name NULL: no norm */
struct rz_norm rz_bind_post(struct rz_builder *b, uint32_t layer, const char *name);
/* Is it projection and sum alone, as in the block macros? */
bool rz_close_is_plain(const struct rz_close *c);
int32_t rz_close_half(struct rz_builder *b, uint32_t layer, int32_t y, int32_t x, const struct rz_close *c);

/* --- recurrence (ssm.c) --- */

/* A state block of that many floats; its index. */
int32_t rz_build_state(struct rz_builder *b, int32_t layer, uint64_t floats);

/* Attributes that a macro shares with its parts. */
void rz_attrs_rope(struct rz_builder *b, uint32_t node, uint32_t n_head, const struct rz_attn_options *o);
void rz_attrs_kv(struct rz_builder *b, uint32_t node, const struct rz_attn_options *o);
void rz_attrs_attention(struct rz_builder *b, uint32_t node, const struct rz_attn_options *o);
void rz_attrs_act(struct rz_builder *b, uint32_t node, uint32_t act);

#endif

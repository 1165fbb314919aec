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
    uint32_t n_nodes, cap_nodes, n_values, cap_values, n_weights, cap_weights, n_refs, cap_refs;
    struct rz_rope ropes[RZ_BUILD_GROUPS_MAX];
    struct rz_kv_group kv_groups[RZ_BUILD_GROUPS_MAX];
    uint32_t n_ropes, n_kv_groups;
    int32_t hidden, logits;
};

/* Operands of a node at their fixed places (program.h); -1: absent. */
struct rz_operands {
    uint32_t n_in, n_out, n_weights;
    int32_t in[2], out[2], weights[10];
};

/* A tensor of shape [rows, cols], or n of its rows (of a vector: elements) from `first`; n 0: all. */
struct rz_part {
    bool optional;
    bool flat; /* the weight is a vector of all elements */
    uint64_t cols, rows, first, n;
};
int32_t rz_build_part(struct rz_builder *b, const struct rz_part *p, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

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
    uint32_t parts; /* 0: the whole row */
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
int32_t rz_prim_attention(struct rz_builder *b, uint32_t layer, int32_t q, int32_t y,
                          const struct rz_attn_options *o);
int32_t rz_prim_add(struct rz_builder *b, int32_t layer, int32_t x, int32_t y, int32_t sum);
/* up -1: act(gate) alone. */
int32_t rz_prim_act(struct rz_builder *b, int32_t layer, int32_t gate, int32_t up, int32_t y, uint32_t act);
/* Attributes that a macro shares with its parts. */
void rz_attrs_rope(struct rz_builder *b, uint32_t node, uint32_t n_head, const struct rz_attn_options *o);
void rz_attrs_kv(struct rz_builder *b, uint32_t node, const struct rz_attn_options *o);
void rz_attrs_attention(struct rz_builder *b, uint32_t node, const struct rz_attn_options *o);
void rz_attrs_act(struct rz_builder *b, uint32_t node, uint32_t act);

#endif

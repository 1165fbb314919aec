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
    int32_t in[2], out[2], weights[9];
};

int32_t rz_build_value(struct rz_builder *b, const char *name, uint32_t rows, uint64_t width);
/* Begins a node inside the innermost open one; attributes and children follow until rz_build_end. */
uint32_t rz_build_begin(struct rz_builder *b, uint16_t op, int32_t layer, const struct rz_operands *o);
void rz_build_end(struct rz_builder *b, uint32_t node);
void rz_build_attr(struct rz_builder *b, uint32_t node, uint32_t id, int64_t i, double f);

#endif

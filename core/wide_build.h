/* wide_build.h - a wide program while it is written: what wide.c decides with, and wide_build.c and
 * wide_order.c do. */
#ifndef RZ_WIDE_BUILD_H
#define RZ_WIDE_BUILD_H

#include "access.h"
#include "wide.h"

#define RZ_WIDE_OPERANDS 4u

struct rz_wide_node {
    struct rz_node n;
    uint32_t origin;
    uint8_t device;
    bool crosses; /* another device reads what it makes */
};

struct rz_wide_group {
    uint32_t of;
    uint8_t place, device;
};

struct rz_widening {
    const struct rz_wide_setup *setup;
    const struct rz_program *p;
    struct rz_wide *wide;
    struct rz_wide_plan plan;
    /* [n_values][RZ_WIDE_MAX]: values of the new program, -1: there is none; what a device has of a value: */
    int32_t *whole, *piece, *part;
    int32_t *weights; /* [n_weights][RZ_WIDE_MAX]: the piece that was made last; -1 */
    struct rz_wide_piece *pieces;
    int32_t *whole_weights; /* [n_weights] */
    struct rz_wide_node *nodes;
    int32_t *maker; /* of values of the new program */
    struct rz_value *values;
    struct rz_weight *weight_table;
    struct rz_kv_group *group_table;
    struct rz_wide_group *groups;
    int32_t *refs;
    uint32_t n_nodes, n_values, n_weights, n_groups, n_refs;
    size_t cap_nodes, cap_values, cap_weights, cap_refs;
    uint32_t leaf;                      /* that is being copied */
    struct rz_attr nowhere[RZ_A_COUNT]; /* to write to where there is no memory */
    int32_t status;
    struct rz_err *err;
};

/* What one copy of a leaf is given. */
struct rz_wide_copy {
    uint8_t device;
    uint32_t n_in, n_out, n_weights;
    int32_t in[RZ_WIDE_OPERANDS], out[RZ_WIDE_OPERANDS], weights[16];
    uint64_t attr_mask;
    const struct rz_attr *attrs;
};

static inline const struct rz_node *leaf_of(const struct rz_widening *w)
{
    return rz_node_at(w->p, w->leaf);
}

static inline uint16_t devices_of(const struct rz_widening *w)
{
    return w->setup->places[w->setup->of[w->leaf]];
}

static inline int32_t in_of(const struct rz_widening *w, const struct rz_node *n, uint32_t i)
{
    return i < n->n_in ? w->p->refs[n->first_in + i] : -1;
}

static inline int32_t out_of(const struct rz_widening *w, const struct rz_node *n, uint32_t i)
{
    return i < n->n_out ? w->p->refs[n->first_out + i] : -1;
}

static inline uint64_t width(const struct rz_widening *w, int32_t v)
{
    return rz_value_at(w->p, (uint32_t)v)->width;
}

static inline uint8_t lowest(uint16_t devices)
{
    return (uint8_t)__builtin_ctz(devices);
}

static inline int32_t *at(int32_t *table, int32_t v, uint8_t d)
{
    return &table[(uint64_t)v * RZ_WIDE_MAX + d];
}

static inline int32_t weight_ref(const struct rz_widening *w, const struct rz_node *n, uint32_t i)
{
    return i < n->n_weights ? w->p->refs[n->first_weight + i] : -1;
}

/* Devices that have something of the value in this table. */
uint16_t rz_widen_having(const int32_t *table, int32_t v);
/* Zeroed memory of the wide program; NULL, and status is set: there is none. */
void *rz_widen_room(struct rz_widening *w, uint64_t n, size_t each);
int32_t rz_widen_value(struct rz_widening *w, int32_t like, uint64_t columns);
void rz_widen_put(struct rz_widening *w, uint16_t op, const struct rz_wide_copy *c);
int32_t rz_widen_weight(struct rz_widening *w, int32_t from);
int32_t rz_widen_weight_piece(struct rz_widening *w, int32_t from, const struct rz_wide_piece *piece,
                              uint8_t d);
/* The leaf as it is, for d. */
struct rz_wide_copy rz_widen_copy(const struct rz_widening *w, uint8_t d);
/* The attributes as the copy's own, to be changed. */
struct rz_attr *rz_widen_attrs(struct rz_widening *w, struct rz_wide_copy *c);
/* The value as d reads it: its own, the sum of all partial results, or another device's. */
int32_t rz_widen_whole(struct rz_widening *w, int32_t v, uint8_t d);
/* What d has of a value that is divided so. */
int32_t rz_widen_piece(struct rz_widening *w, int32_t v, const struct rz_scheme *s, uint8_t d);
/* d's KV group for these heads of a group. */
int64_t rz_widen_group(struct rz_widening *w, uint32_t group, uint8_t place, uint8_t d, uint32_t heads);
/* wide_order.c: wide->program.nodes and what goes with them, from w->nodes. */
void rz_widen_order(struct rz_widening *w);

#endif

/* lives.h - where the values of a plan lie: those that live at the same time lie apart. For every device. */
#ifndef RZ_BASE_LIVES_H
#define RZ_BASE_LIVES_H

#include <rz/device.h>

#define RZ_LIFE_NEVER UINT32_MAX

/* The steps of a plan between which a value must keep its memory; first RZ_LIFE_NEVER: it has none. */
struct rz_life {
    uint32_t first, last;
    uint64_t bytes, offset;
};

/* The value is read or written in step `at`; -1: nothing. */
void rz_life_touch(struct rz_life *lives, int32_t value, uint32_t at);
/* lives[n_values] of steps that run one node each, ascending, of the values that come from others or go to
 * them as well. */
void rz_lives_find(const struct rz_program *p, const uint32_t *nodes, uint32_t n, struct rz_life *lives);
/* Only the latter: results, and what a stage gets and gives. */
void rz_lives_outside(const struct rz_program *p, const uint32_t *nodes, uint32_t n, struct rz_life *lives);
/* Sizes and offsets: rows RZ_VALUE_STRIDE apart, each value at a multiple of align. *total: bytes of all. */
int32_t rz_lives_place(const struct rz_program *p, const struct rz_plan_limits *limits, uint64_t align,
                       struct rz_life *lives, uint64_t *total, struct rz_err *err);
/* The first of n things, `stride` bytes apart and in the order of their nodes, that does not come before
 * `node`. first: the node of the first thing. */
uint32_t rz_find_node(const uint32_t *first, uint32_t n, size_t stride, uint32_t node);
/* The things that a stage of the batch runs: [*from, *to). */
void rz_find_stage(const struct rz_program *p, const struct rz_batch *b, const uint32_t *first, uint32_t n,
                   size_t stride, uint32_t *from, uint32_t *to);

#endif

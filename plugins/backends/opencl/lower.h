/* lower.h - a primitive on its way to a launch; lower.c, lower_matrix.c and lower_cache.c share this. */
#ifndef RZ_OPENCL_LOWER_H
#define RZ_OPENCL_LOWER_H

#include "opencl.h"

#define WIDE_LANES 64 /* LANES of wide.cl */

struct lowering {
    struct plan *plan;
    const struct rz_node *node;
    uint32_t index;
    bool wanted, only_logits;
    struct launch *launch;
    cl_uint n_args;
    cl_int status; /* of the first argument that could not be set */
};

/* Starts a launch of the kernel: one item a row in dimension 1, alone in its work-group. Then come its
 * arguments, in the order of the parameters. */
int32_t lowering_begin(struct lowering *l, const struct source *source, const char *options,
                       const char *kernel, struct rz_err *err);
int32_t lowering_end(struct lowering *l, struct rz_err *err);
void arg_mem(struct lowering *l, cl_mem mem);
void arg_uint(struct lowering *l, uint64_t value);
void arg_ulong(struct lowering *l, uint64_t value);
void arg_float(struct lowering *l, double value);
/* Place and stride of operand i. */
void arg_in(struct lowering *l, uint32_t i);
void arg_out(struct lowering *l, uint32_t i);

uint64_t in_width(const struct lowering *l, uint32_t i);
uint64_t out_width(const struct lowering *l, uint32_t i);
bool has(const struct lowering *l, uint32_t attr);
int32_t weight_ref(const struct lowering *l, uint32_t i);
int32_t vector_of(struct lowering *l, uint32_t i, cl_mem *out, struct rz_err *err);

/* lower_matrix.c */
int32_t lower_matmul(struct lowering *l, struct rz_err *err);
int32_t lower_matmul_id(struct lowering *l, struct rz_err *err);
int32_t lower_get_rows(struct lowering *l, struct rz_err *err);
/* lower_cache.c */
int32_t lower_kv_store(struct lowering *l, struct rz_err *err);
int32_t lower_attention(struct lowering *l, struct rz_err *err);
int32_t lower_conv(struct lowering *l, struct rz_err *err);
int32_t lower_scan(struct lowering *l, struct rz_err *err);
int32_t lower_delta(struct lowering *l, struct rz_err *err);

#endif

/* scalar.h - what the files of the reference table share. */
#ifndef RZ_SCALAR_H
#define RZ_SCALAR_H

#include <rz/kernels.h>
#include <stdbool.h>

static inline const float *in_row(const struct rz_kernel_call *c, uint32_t i, uint32_t row)
{
    return c->in[i].data + row * c->in[i].stride;
}

static inline float *out_row(const struct rz_kernel_call *c, uint32_t i, uint32_t row)
{
    return c->out[i].data + row * c->out[i].stride;
}

/* products.c */
uint32_t matmul_tiles(const struct rz_kernel_call *c);
int32_t matmul(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t matmul_id_tiles(const struct rz_kernel_call *c);
int32_t matmul_id(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t matmul_heads_tiles(const struct rz_kernel_call *c);
int32_t matmul_heads(const struct rz_kernel_call *c, struct rz_err *err);

/* weighing.c */
int32_t sum_id(const struct rz_kernel_call *c, struct rz_err *err);
int32_t scale_id(const struct rz_kernel_call *c, struct rz_err *err);
int32_t gate(const struct rz_kernel_call *c, struct rz_err *err);

/* recurrent.c; rz/program.h says what they compute */
int32_t recurrent_accept(const struct rz_kernel_node *n);
uint32_t conv_tiles(const struct rz_kernel_call *c);
int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t scan_tiles(const struct rz_kernel_call *c);
int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t delta_tiles(const struct rz_kernel_call *c);
int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t mul_run(const struct rz_kernel_call *c, struct rz_err *err);

#endif

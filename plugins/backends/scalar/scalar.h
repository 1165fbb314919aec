/* scalar.h - what the files of the reference kernels share. */
#ifndef RZ_SCALAR_H
#define RZ_SCALAR_H

#include <rz/kernels.h>

static inline const float *in_row(const struct rz_kernel_call *c, uint32_t i, uint32_t row)
{
    return c->in[i].data + row * c->in[i].stride;
}

static inline float *out_row(const struct rz_kernel_call *c, uint32_t i, uint32_t row)
{
    return c->out[i].data + row * c->out[i].stride;
}

/* recurrent.c; rz/program.h says what they compute */
int32_t recurrent_accept(const struct rz_kernel_node *n);
uint32_t conv_tiles(const struct rz_kernel_call *c);
int32_t conv_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t scan_tiles(const struct rz_kernel_call *c);
int32_t scan_run(const struct rz_kernel_call *c, struct rz_err *err);
uint32_t delta_tiles(const struct rz_kernel_call *c);
int32_t delta_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t mul_run(const struct rz_kernel_call *c, struct rz_err *err);
int32_t slice_run(const struct rz_kernel_call *c, struct rz_err *err);

#endif

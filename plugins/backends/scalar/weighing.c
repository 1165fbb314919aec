/* weighing.c - what is made of a row's choice of experts: weighted sums in the order of choice, factors, and
 * switches. In double precision, rounded once.
 */
#include "scalar.h"

#include <math.h>

/* Without weights the parts are added as they are. */
int32_t sum_id(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n = c->out[0].width, used = c->in[0].width / n;
    const float *parts = in_row(c, 0, c->tile), *weights = c->node->n_in > 1 ? in_row(c, 1, c->tile) : NULL;
    float *y = out_row(c, 0, c->tile);
    for (uint64_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint64_t k = 0; k < used; k++)
            sum += (double)parts[k * n + i] * (weights ? (double)weights[k] : 1);
        y[i] = (float)sum;
    }
    return RZ_OK;
}

int32_t scale_id(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n = c->in[0].width, used = c->in[1].width;
    const float *x = in_row(c, 0, c->tile), *weights = in_row(c, 1, c->tile);
    float *y = out_row(c, 0, c->tile);
    for (uint64_t k = 0; k < used; k++)
        for (uint64_t i = 0; i < n; i++)
            y[k * n + i] = (float)((double)x[i] * (double)weights[k]);
    return RZ_OK;
}

int32_t gate(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    const float *g = in_row(c, 0, c->tile), *x = in_row(c, 1, c->tile);
    float *y = out_row(c, 0, c->tile);
    for (uint64_t i = 0; i < c->out[0].width; i++)
        y[i] = (float)((double)x[i] / (1 + exp(-(double)g[c->in[0].width == 1 ? 0 : i])));
    return RZ_OK;
}

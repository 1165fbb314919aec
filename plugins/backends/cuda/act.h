/* act.h - the activations of programs, for one element. */
#ifndef RZ_CUDA_ACT_H
#define RZ_CUDA_ACT_H

#include "cu.h"

static __device__ inline float cu_activate(const struct cu_act &a, float x)
{
    switch (a.kind) {
    case CU_ACT_SILU:
        return x / (1 + expf(-x));
    case CU_ACT_GELU:
        return x * 0.5f * erfcf(-x * 0.70710678f);
    case CU_ACT_GELU_TANH:
        return x / (1 + expf(-2 * 0.79788456f * (x + 0.044715f * x * x * x)));
    case CU_ACT_RELU2:
        return x > 0 ? x * x : 0;
    case CU_ACT_XIELU:
        if (x > 0)
            return a.p * x * x + a.beta * x;
        return (expm1f(fminf(x, a.eps)) - x) * a.n + a.beta * x;
    default:
        return x;
    }
}

/* Of a gate and what it lets through. */
static __device__ inline float cu_activate_mul(const struct cu_act &a, float gate, float up)
{
    if (a.kind != CU_ACT_SWIGLU)
        return cu_activate(a, gate) * up;
    gate = fminf(gate, a.p);
    return gate / (1 + expf(-1.702f * gate)) * (fminf(a.p, fmaxf(-a.p, up)) + 1);
}

#endif

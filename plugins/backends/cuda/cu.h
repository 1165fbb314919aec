/* cu.h - the words of kernels: how one is declared, and what warps and blocks do together.
 *
 * Compiled by nvcc for devices, and by a C++ compiler of the host over tests/cuda_shim, which runs the
 * same text with a fiber for each thread. Nothing here knows an op. Contraction is off in both; where a
 * product and a sum shall be one, the text says fmaf. No order of additions depends on the number of rows.
 */
#ifndef RZ_CUDA_CU_H
#define RZ_CUDA_CU_H

#include "params.h"

#ifdef RZ_CUDA_SHIM
#include <cuda_shim.h>
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math_constants.h>

/* A kernel of blocks of `threads`, called NAME, over one struct. FLAT: its threads never meet. */
#define CU_KERNEL(name, type, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ struct type p)
#define CU_KERNEL_FLAT CU_KERNEL
/* The block's shared memory, as many bytes as the launch says. */
#define CU_SHARED(type, name) \
    extern __shared__ __align__(16) unsigned char cu_shared_bytes[]; \
    type *name = (type *)cu_shared_bytes
#define CU_FULL 0xffffffffu

/* Brings 128 bytes of what no kernel writes on their way: it may stand before cu_begin. */
static __device__ inline void cu_fetch_ahead(const void *p)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

/* Before the first reading of what kernels before this one wrote, and before the first writing at all. */
static __device__ inline void cu_begin(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static __device__ inline float cu_half(uint16_t h)
{
    return __half2float(__ushort_as_half(h));
}

static __device__ inline uint16_t cu_to_half(float x)
{
    return __half_as_ushort(__float2half_rn(x));
}

static __device__ inline uint16_t cu_to_bf16(float x)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

/* d += a b for a tile of 16 x 8 over 16; a warp together, each thread with its part of the three. */
static __device__ inline void cu_mma_half(float *d, const uint32_t *a, const uint32_t *b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
    for (int k = 0; k < 2; k++)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
                     "{%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(b[k]));
#else
    (void)d, (void)a, (void)b;
#endif
}

/* The same of bfloat16; sm_75 does not have it, and never gets a kernel that asks for it. */
static __device__ inline void cu_mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    (void)d, (void)a, (void)b;
#endif
}

/* d += a b of integers of 8 bits for a tile of 16 x 8 over 16; exact. */
static __device__ inline void cu_mma_bytes_half(int *d, const uint32_t *a, uint32_t b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750
    for (int k = 0; k < 2; k++)
        asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                     : "+r"(d[2 * k]), "+r"(d[2 * k + 1])
                     : "r"(a[k]), "r"(b));
#else
    (void)d, (void)a, (void)b;
#endif
}

/* The same over 32: a[0], a[1] and b[0] are the first 16. */
static __device__ inline void cu_mma_bytes(int *d, const uint32_t *a, const uint32_t *b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    cu_mma_bytes_half(d, a, b[0]);
    cu_mma_bytes_half(d, a + 2, b[1]);
#endif
}

/* Four tiles of 8 x 8 of 16 bits from shared memory: lanes 8 i .. 8 i + 7 point at the rows of tile i, each
 * at a multiple of 16 bytes. A thread gets two neighbours of a row of each tile; turned: of a column. */
static __device__ inline void cu_ldmatrix(uint32_t *r, const uint16_t *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(p))
                 : "memory");
}

static __device__ inline void cu_ldmatrix_turned(uint32_t *r, const uint16_t *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(p))
                 : "memory");
}
#endif

/* The power of two that brings a number to 1..2, as f16 can hold it; 1 for 0. */
static __device__ inline float cu_power_of(float most)
{
    int power = 1;
    if (most > 0)
        frexpf(most, &power);
    return ldexpf(1, 1 - power < 126 ? 1 - power : 126);
}

static __device__ inline float cu_bf16(uint16_t h)
{
    return __uint_as_float((uint32_t)h << 16);
}

/* Sum over the warp, the same bits in each thread. */
static __device__ inline float cu_warp_sum(float x)
{
    for (int m = 16; m; m /= 2)
        x += __shfl_xor_sync(CU_FULL, x, m);
    return x;
}

static __device__ inline float cu_warp_max(float x)
{
    for (int m = 16; m; m /= 2)
        x = fmaxf(x, __shfl_xor_sync(CU_FULL, x, m));
    return x;
}

/* The number of the largest x; of equal ones the smallest number. *x becomes that x. */
static __device__ inline uint32_t cu_warp_best(float *x, uint32_t i)
{
    for (int m = 16; m; m /= 2) {
        float other = __shfl_xor_sync(CU_FULL, *x, m);
        uint32_t at = __shfl_xor_sync(CU_FULL, i, m);
        if (other > *x || (other == *x && at < i)) {
            *x = other;
            i = at;
        }
    }
    return i;
}

/* Sum over a block of whole warps, in the order of the warps; room: a float a warp. */
static __device__ inline float cu_block_sum(float x, float *room)
{
    uint32_t warps = blockDim.x / CU_WARP;
    x = cu_warp_sum(x);
    __syncthreads();
    if (threadIdx.x % CU_WARP == 0)
        room[threadIdx.x / CU_WARP] = x;
    __syncthreads();
    float sum = 0;
    for (uint32_t w = 0; w < warps; w++)
        sum += room[w];
    return sum;
}

/* What a norm multiplies n elements by; a whole block together. */
static __device__ inline float cu_norm_scale(const float *x, uint32_t n, float mean, double eps, float *room)
{
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < n; i += CU_THREADS)
        sum = fmaf(x[i] - mean, x[i] - mean, sum);
    return (float)(1 / sqrt((double)cu_block_sum(sum, room) / n + eps));
}

static __device__ inline float *cu_at(const struct cu_view *v, uint32_t row)
{
    return v->data + (uint64_t)row * v->stride;
}

#endif

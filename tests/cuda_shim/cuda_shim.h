/* cuda_shim.h - enough of CUDA's language for the kernels of this project, as C++ for the host.
 *
 * A block's threads are fibers of one thread of the host: they run one after another up to the next place
 * where they meet. Shared memory has exactly the bytes that the launch asked for and begins as NaN. A
 * meeting that some thread never comes to ends the program with a message.
 */
#ifndef RZ_CUDA_SHIM_H
#define RZ_CUDA_SHIM_H

#include <math.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "numeric.h"
}

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __constant__ static const
#define __restrict__ __restrict
#define CUDART_INF_F INFINITY

struct shim_dim {
    uint32_t x, y, z;
};
extern struct shim_dim shim_thread, shim_block, shim_block_dim, shim_grid_dim;
#define threadIdx shim_thread
#define blockIdx shim_block
#define blockDim shim_block_dim
#define gridDim shim_grid_dim

struct float4 {
    float x, y, z, w;
};
struct float2 {
    float x, y;
};
struct uint4 {
    uint32_t x, y, z, w;
};
struct uint2 {
    uint32_t x, y;
};

/* --- kernels say what they are called when the program starts --- */
struct shim_kernel {
    const char *name;
    void (*call)(const void *params);
    bool flat;
    uint32_t threads; /* most of a block */
    size_t bytes;     /* of its parameters */
    struct shim_kernel *next;
};
void shim_add(struct shim_kernel *kernel);
struct shim_entry {
    struct shim_kernel kernel;
    shim_entry(const char *name, void (*call)(const void *), bool flat, uint32_t threads, size_t bytes)
        : kernel{name, call, flat, threads, bytes, nullptr}
    {
        shim_add(&kernel);
    }
};

#define CU_KERNEL_OF(name, type, threads, flat) \
    static void name(const struct type p); \
    static void call_##name(const void *p) \
    { \
        name(*(const struct type *)p); \
    } \
    static struct shim_entry entry_##name(#name, call_##name, flat, threads, sizeof(struct type)); \
    static void name(const struct type p)
#define CU_KERNEL(name, type, threads) CU_KERNEL_OF(name, type, threads, false)
#define CU_KERNEL_FLAT(name, type, threads) CU_KERNEL_OF(name, type, threads, true)
#define CU_SHARED(type, name) type *name = (type *)shim_shared()
#define CU_FULL 0xffffffffu

void *shim_shared(void);
void __syncthreads(void);
void __syncwarp(void);
/* The word of the thread of this warp whose number is mine ^ other (xor) or other. */
uint32_t shim_exchange(uint32_t mine, uint32_t other, bool with_xor);

static inline void cu_begin(void)
{
}

static inline void cu_fetch_ahead(const void *p)
{
    *(const volatile uint8_t *)p; /* a place that is not there shows */
}

static inline float __uint_as_float(uint32_t x)
{
    float f;
    memcpy(&f, &x, 4);
    return f;
}

static inline uint32_t __float_as_uint(float f)
{
    uint32_t x;
    memcpy(&x, &f, 4);
    return x;
}

static inline float __shfl_xor_sync(uint32_t, float x, int m)
{
    return __uint_as_float(shim_exchange(__float_as_uint(x), (uint32_t)m, true));
}

static inline uint32_t __shfl_xor_sync(uint32_t, uint32_t x, int m)
{
    return shim_exchange(x, (uint32_t)m, true);
}

static inline uint32_t __shfl_sync(uint32_t, uint32_t x, int lane)
{
    return shim_exchange(x, (uint32_t)lane, false);
}

static inline float __shfl_sync(uint32_t, float x, int lane)
{
    return __uint_as_float(shim_exchange(__float_as_uint(x), (uint32_t)lane, false));
}

static inline uint32_t atomicAdd(uint32_t *at, uint32_t x)
{
    uint32_t before = *at;
    *at += x;
    return before;
}

template <class T> static inline T __ldg(const T *p)
{
    return *p;
}

static inline float cu_half(uint16_t h)
{
    return rz_f16_to_f32(h);
}

static inline uint16_t cu_to_half(float x)
{
    return rz_f32_to_f16(x);
}

static inline uint16_t cu_to_bf16(float x)
{
    return rz_f32_to_bf16(x);
}

/* sum + the products of four bytes. */
static inline int __dp4a(int a, int b, int sum)
{
    for (int i = 0; i < 4; i++)
        sum += (int8_t)((uint32_t)a >> (8 * i)) * (int8_t)((uint32_t)b >> (8 * i));
    return sum;
}

/* What one instruction of the tensor cores does, from the parts of a warp's threads. */
void shim_mma(float *d, const uint32_t *a, const uint32_t *b, bool bf16);

static inline void cu_mma_half(float *d, const uint32_t *a, const uint32_t *b)
{
    shim_mma(d, a, b, false);
}

/* The same of bytes over 16: two words of a, one of b. */
void shim_mma_bytes(int *d, const uint32_t *a, const uint32_t *b);

static inline void cu_mma_bytes_half(int *d, const uint32_t *a, uint32_t b)
{
    shim_mma_bytes(d, a, &b);
}

static inline void cu_mma_bytes(int *d, const uint32_t *a, const uint32_t *b)
{
    shim_mma_bytes(d, a, b);
    shim_mma_bytes(d, a + 2, b + 1);
}

void shim_ldmatrix(uint32_t *r, const uint16_t *p, bool turned);

static inline void cu_ldmatrix(uint32_t *r, const uint16_t *p)
{
    shim_ldmatrix(r, p, false);
}

static inline void cu_ldmatrix_turned(uint32_t *r, const uint16_t *p)
{
    shim_ldmatrix(r, p, true);
}

static inline void cu_mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
    shim_mma(d, a, b, true);
}

#endif

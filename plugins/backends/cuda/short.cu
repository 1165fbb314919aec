/* short.cu - around products that a library makes: rows and weights as 16 bits before, what is left behind.
 *
 * Values of the 16 bits are those that the tile kernels give the tensor cores.
 */
#include "unit.h"

/* A thread an element of a row of x. */
CU_KERNEL_FLAT(shorten, cu_shorten, CU_THREADS)
{
    uint32_t i = blockIdx.x * CU_THREADS + threadIdx.x, row = blockIdx.y;
    cu_begin();
    if (i >= p.width)
        return;
    float v = cu_at(&p.x, row)[i];
    p.to[row * p.pitch + i] = p.scale ? cu_to_half(v * p.scale[row]) : cu_to_bf16(v);
}

/* A thread a unit of a row of weights, as f16. Units are whole: these types have blocks of 32. */
template <int T> static __device__ void unpack(const struct cu_unpack &p)
{
    constexpr int U = cu_unit(T);
    uint32_t u = blockIdx.x * CU_THREADS + threadIdx.x, row = blockIdx.y;
    float v[U];
    cu_begin();
    if (u >= cu_units(p.w, U))
        return;
    cu_decode<T>(p.w, (uint64_t)p.first + row, u, v);
    uint16_t *to = p.to + row * p.pitch + cu_first<T>(u);
#pragma unroll
    for (int j = 0; j < U; j += 8) {
        uint32_t w[4];
        for (int k = 0; k < 4; k++)
            w[k] = cu_to_half(v[j + 2 * k]) | (uint32_t)cu_to_half(v[j + 2 * k + 1]) << 16;
        *(uint4 *)(to + cu_place<T>(j)) = {w[0], w[1], w[2], w[3]};
    }
}

#define UNPACK(name) \
    CU_KERNEL_FLAT(unpack_##name, cu_unpack, CU_THREADS) \
    { \
        unpack<CU_##name>(p); \
    }
UNPACK(Q4_0)
UNPACK(Q4_1)
UNPACK(Q5_0)
UNPACK(Q5_1)
UNPACK(Q8_0)
UNPACK(Q2_K)
UNPACK(Q3_K)
UNPACK(Q4_K)
UNPACK(Q5_K)
UNPACK(Q6_K)
UNPACK(IQ4_NL)
UNPACK(IQ4_XS)
UNPACK(MXFP4)

/* Takes the scale of the row away again; then bias, then what is added. */
CU_KERNEL_FLAT(settle, cu_settle, CU_THREADS)
{
    uint32_t i = blockIdx.x * CU_THREADS + threadIdx.x, row = blockIdx.y;
    cu_begin();
    if (i >= p.width)
        return;
    float v = cu_at(&p.y, row)[i];
    if (p.scale)
        v /= p.scale[row];
    if (p.bias)
        v += p.bias[i];
    if (p.add.data)
        v += cu_at(&p.add, row)[i];
    cu_at(&p.y, row)[i] = v;
}

/* gemv.h - products of few rows: a warp an output, weights decoded in registers and read once for all rows.
 *
 * Thread l of a warp takes units l, l + 32, ... of its row of weights; the threads' sums are added by a
 * tree. So a result has the same bits for any number of rows. The RMS norm before and the activation and
 * the sum behind may be part of it. Quantised rows of x must begin at multiples of 16 bytes.
 */
#ifndef RZ_CUDA_GEMV_H
#define RZ_CUDA_GEMV_H

#include "product.h"

/* acc[r] += unit u of the row times the same elements of x[r]. Rows of quantised weights are whole units. */
template <int T, int N>
static __device__ inline void cu_dot(const struct cu_product &p, const struct cu_mat &w, uint64_t row,
                                     uint32_t u, const float *const *x, float *acc)
{
    constexpr int U = cu_unit(T);
    constexpr bool WHOLE = U > 8;
    float v[U];
    uint32_t first = cu_first<T>(u);
    bool fast = WHOLE || (p.aligned && first + U <= w.cols);
    cu_decode<T>(w, row, u, v);
    if (p.norm)
#pragma unroll
        for (int j = 0; j < U; j++)
            v[j] *= WHOLE || first + j < w.cols ? p.norm[first + cu_place<T>(j)] : 0;
#pragma unroll
    for (int r = 0; r < N; r++) {
        float s[4] = {0, 0, 0, 0};
#pragma unroll
        for (int j = 0; j < U; j += 4) {
            float4 e = cu_four(x[r], first + cu_place<T>(j), w.cols, fast);
            s[0] = fmaf(v[j], e.x, s[0]);
            s[1] = fmaf(v[j + 1], e.y, s[1]);
            s[2] = fmaf(v[j + 2], e.z, s[2]);
            s[3] = fmaf(v[j + 3], e.w, s[3]);
        }
        acc[r] += (s[0] + s[1]) + (s[2] + s[3]);
    }
}

template <int T, int N>
static __device__ inline void cu_dot_row(const struct cu_product &p, const struct cu_mat &w, uint64_t row,
                                         const float *const *x, float *acc)
{
    uint32_t units = cu_units(w, cu_unit(T));
#pragma unroll
    for (int r = 0; r < N; r++)
        acc[r] = 0;
    for (uint32_t u = threadIdx.x % CU_WARP; u < units; u += CU_WARP)
        cu_dot<T, N>(p, w, row, u, x, acc);
#pragma unroll
    for (int r = 0; r < N; r++)
        acc[r] = cu_warp_sum(acc[r]);
}

/* What the norm multiplies each row by. The whole block takes part. */
template <int N>
static __device__ inline void cu_norm_scales(const struct cu_product &p, const float *const *x, float *scale)
{
    CU_SHARED(float, room);
    uint32_t cols = p.part[0].w.cols;
    for (int r = 0; r < N; r++) {
        float sum = 0;
        for (uint32_t i = threadIdx.x; i < cols && p.normed; i += blockDim.x)
            sum = fmaf(x[r][i], x[r][i], sum);
        scale[r] = p.normed ? 1 / sqrtf(cu_block_sum(sum, room) / (float)cols + p.eps) : 1;
    }
}

/* The beginning of the warp's row of weights, while the kernel before this one still runs. Which row a pair
 * of a mixture meets is not known yet. */
static __device__ inline void cu_ahead(const struct cu_product &p)
{
    uint32_t o = blockIdx.x * CU_GEMV_WARPS + threadIdx.x / CU_WARP, i = 0;
    while (!p.gated && i + 1 < p.n_parts && o >= p.part[i].rows)
        o -= p.part[i++].rows;
    if (p.pairs.used || o >= p.part[i].rows)
        return;
    for (uint32_t g = 0; g <= p.gated; g++) {
        const struct cu_mat &w = p.part[g ? 1 : i].w;
        uint64_t row = (p.heads ? blockIdx.z * p.part[0].rows : 0) + o, at = threadIdx.x % CU_WARP * 128;
        if (at < w.a_pitch)
            cu_fetch_ahead(w.a + row * w.a_pitch + at);
    }
}

/* The rows of a block as they are, and the norm before. */
template <int T, int N> struct cu_float_rows {
    const float *x[N];
    float scale[N];

    /* The whole block takes part. */
    __device__ inline void take(const struct cu_product &p, const struct cu_meeting &m)
    {
#pragma unroll
        for (int r = 0; r < N; r++)
            x[r] = cu_input(p, m, r < (int)m.count ? r : m.count - 1);
        cu_norm_scales<N>(p, x, scale);
    }

    /* The products of a row of weights with all of them. A warp takes part. */
    __device__ inline void dot(const struct cu_product &p, const struct cu_mat &w, uint64_t row,
                               float *sum) const
    {
        cu_dot_row<T, N>(p, w, row, x, sum);
#pragma unroll
        for (int r = 0; r < N; r++)
            sum[r] *= scale[r];
    }
};

/* N: rows of a block at most. */
template <class ROWS, int N> static __device__ void cu_gemv(const struct cu_product &p)
{
    struct cu_meeting m;
    ROWS rows;
    float sum[N], value[N] = {0};
    cu_ahead(p);
    cu_begin();
    if (!cu_meet(p, N, &m))
        return;
    rows.take(p, m);
    uint32_t o = blockIdx.x * CU_GEMV_WARPS + threadIdx.x / CU_WARP, i = 0;
    while (!p.gated && i + 1 < p.n_parts && o >= p.part[i].rows)
        o -= p.part[i++].rows;
    const struct cu_part &part = p.part[i];
    for (uint32_t g = 0; g <= p.gated && o < part.rows; g++) {
        const struct cu_part &mine = p.part[g ? 1 : i];
        rows.dot(p, mine.w, (uint64_t)m.base + o, sum);
#pragma unroll
        for (int r = 0; r < N; r++) {
            float v = cu_biased(mine, m, o, sum[r]);
            value[r] = g ? cu_activate_mul(p.act, value[r], v) : v;
            if (g == p.gated && threadIdx.x % CU_WARP == (uint32_t)r && r < (int)m.count)
                cu_finish(p, part, m, r, o, value[r]);
        }
    }
    cu_pass_on(p, m);
}

#define CU_GEMV(name, n) \
    CU_KERNEL(gemv_##name##_##n, cu_product, CU_GEMV_WARPS *CU_WARP) \
    { \
        cu_gemv<cu_float_rows<CU_##name, n>, n>(p); \
    }
#define CU_GEMVS(name) CU_GEMV(name, 1) CU_GEMV(name, 4) CU_GEMV(name, 8)

#endif

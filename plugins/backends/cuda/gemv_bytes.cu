/* gemv_bytes.cu - matrix-vector products of integers: a warp an output, lane l makes chain l of bytes.h. */
#include "bytes.h"
#include "gemv.h"

/* The rows of a block as bytes; what norm there was is in them. */
template <int T, int N> struct byte_rows {
    const int8_t *x[N];
    const float2 *scale[N];

    __device__ inline void take(const struct cu_product &p, const struct cu_meeting &m)
    {
#pragma unroll
        for (int r = 0; r < N; r++) {
            uint64_t row = cu_bytes_row(p, m, r < (int)m.count ? r : m.count - 1);
            x[r] = cu_bytes_at(p, row);
            scale[r] = cu_bytes_scales(p, row);
        }
    }

    /* The sum of products of a group with those of a row. */
    static __device__ inline int meet(const struct cu_bytes &b, const int8_t *x)
    {
        uint4 q[2] = {*(const uint4 *)x, *(const uint4 *)(x + 16)};
        int sum[2] = {0, 0};
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum[i / 4] = __dp4a((int)b.w[i], (int)cu_word(q[i / 4], i % 4), sum[i / 4]);
        return T == CU_Q6_K ? b.part[0] * sum[0] + b.part[1] * sum[1] : sum[0] + sum[1];
    }

    __device__ inline void dot(const struct cu_product &, const struct cu_mat &w, uint64_t row,
                               float *sum) const
    {
        CU_SHARED(float, all);
        uint32_t lane = threadIdx.x % CU_WARP, groups = w.cols / CU_GROUP;
        float *room = all + threadIdx.x / CU_WARP * N * (CU_CHAINS + 1), total = 0;
#pragma unroll
        for (int r = 0; r < N; r++)
            sum[r] = 0;
        for (uint32_t g = lane; g < groups; g += CU_CHAINS) {
            struct cu_bytes b;
            cu_bytes_of<T>(w, row, g, &b);
#pragma unroll
            for (int r = 0; r < N; r++)
                sum[r] = cu_bytes_add<T>(sum[r], meet(b, x[r] + g * CU_GROUP), b.scale, b.least, scale[r][g]);
        }
        __syncwarp();
#pragma unroll
        for (int r = 0; r < N; r++)
            room[r * (CU_CHAINS + 1) + lane] = sum[r];
        __syncwarp();
        for (uint32_t c = 0; c < CU_CHAINS && lane < N; c++)
            total += room[lane * (CU_CHAINS + 1) + c];
#pragma unroll
        for (int r = 0; r < N; r++)
            sum[r] = __shfl_sync(CU_FULL, total, r);
    }
};

#define GEMV(name, n) \
    CU_KERNEL(bytes_##name##_##n, cu_product, CU_GEMV_WARPS *CU_WARP) \
    { \
        cu_gemv<byte_rows<CU_##name, n>, n>(p); \
    }
#define GEMVS(name) GEMV(name, 1) GEMV(name, 4) GEMV(name, 8)
CU_BYTE_TYPES(GEMVS)

/* tile.h - products of many rows: a block makes a tile of outputs x rows; weights are decoded to shared
 * memory once a tile.
 *
 * Three inner parts over the same tile: float32 (exact weights and rows), and the tensor cores with f16
 * (rows scaled by powers of two, so that none overflows) or bfloat16. Sums go along the columns in order;
 * a result does not depend on the number of rows.
 */
#ifndef RZ_CUDA_TILE_H
#define RZ_CUDA_TILE_H

#include "product.h"

#define CU_PLAIN 0
#define CU_HALF 1
#define CU_BRAIN 2

/* Outputs and rows of a tile (the same number), threads of its block, columns at a time. */
static __device__ constexpr int cu_tile_side(int kind)
{
    return kind == CU_PLAIN ? 32 : 64;
}

static __device__ constexpr int cu_tile_threads(int kind)
{
    return kind == CU_PLAIN ? 64 : 128;
}

static __device__ constexpr int cu_tile_cols(int t, int kind)
{
    return kind == CU_PLAIN || cu_span(t) > 64 ? cu_span(t) : 64;
}

/* --- float32: [column][output or row], so that a thread reads four neighbours at once --- */

#define CU_PLAIN_PITCH 36

template <int T>
static __device__ inline void cu_fill_plain(const struct cu_product &p, const struct cu_meeting &m,
                                            uint32_t o, uint32_t k, float *w, float *x)
{
    constexpr int U = cu_unit(T), COLS = cu_tile_cols(T, CU_PLAIN), EACH = COLS / U;
    const struct cu_part &part = p.part[0];
    for (uint32_t i = threadIdx.x; i < 32 * EACH; i += blockDim.x) {
        uint32_t row = i / EACH, u = k / U + i % EACH, first = cu_first<T>(u);
        float v[U];
        bool in = o + row < part.rows && first < part.w.cols;
        if (in)
            cu_decode<T>(part.w, (uint64_t)m.base + o + row, u, v);
#pragma unroll
        for (int j = 0; j < U; j++)
            w[(first + cu_place<T>(j) - k) * CU_PLAIN_PITCH + row] = in ? v[j] : 0;
    }
    for (uint32_t i = threadIdx.x; i < 32 * COLS; i += blockDim.x) {
        uint32_t row = i / COLS, col = i % COLS;
        bool in = row < m.count && k + col < part.w.cols;
        x[col * CU_PLAIN_PITCH + row] = in ? cu_input(p, m, row)[k + col] : 0;
    }
}

template <int T> static __device__ void cu_tile_plain(const struct cu_product &p)
{
    constexpr int COLS = cu_tile_cols(T, CU_PLAIN);
    CU_SHARED(float, w);
    float *x = w + COLS * CU_PLAIN_PITCH, sum[4][4] = {{0}};
    const struct cu_part &part = p.part[0];
    uint32_t o = blockIdx.x * 32, mine = threadIdx.x % 8 * 4, row = threadIdx.x / 8 * 4;
    struct cu_meeting m;
    cu_begin();
    if (!cu_meet(p, 32, &m))
        return;
    for (uint32_t k = 0; k < part.w.cols; k += COLS) {
        __syncthreads();
        cu_fill_plain<T>(p, m, o, k, w, x);
        __syncthreads();
        for (int c = 0; c < COLS; c++) {
            float4 a = *(const float4 *)(w + c * CU_PLAIN_PITCH + mine);
            float4 b = *(const float4 *)(x + c * CU_PLAIN_PITCH + row);
            float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 16; i++)
                sum[i / 4][i % 4] = fmaf(left[i % 4], right[i / 4], sum[i / 4][i % 4]);
        }
    }
    for (int i = 0; i < 16; i++) {
        uint32_t r = row + i / 4, at = o + mine + i % 4;
        if (r < m.count && at < part.rows)
            cu_finish(p, part, m, r, at, cu_biased(part, m, at, sum[i / 4][i % 4]));
    }
    cu_pass_on(p, m);
}

/* --- 16 bits: [output or row][column], as the tensor cores take them --- */

template <int KIND> static __device__ inline uint16_t cu_short(float v)
{
    return KIND == CU_BRAIN ? cu_to_bf16(v) : cu_to_half(v);
}

template <int KIND>
static __device__ inline float cu_row_scale(const struct cu_product &p, const struct cu_meeting &m,
                                            uint32_t r)
{
    uint32_t pair = cu_pair(p, m, r);
    uint32_t row = p.pairs.used && !p.pairs.each ? pair / p.pairs.used : pair;
    return KIND == CU_BRAIN ? 1 : p.scale[row * (p.heads ? p.heads : 1) + m.head];
}

template <int T, int KIND>
static __device__ inline void cu_fill_short(const struct cu_product &p, const struct cu_meeting &m,
                                            uint32_t o, uint32_t k, uint16_t *w, uint16_t *x)
{
    constexpr int U = cu_unit(T), COLS = cu_tile_cols(T, KIND), EACH = COLS / U, PITCH = COLS + 8;
    const struct cu_part &part = p.part[0];
    for (uint32_t i = threadIdx.x; i < 64 * EACH; i += blockDim.x) {
        uint32_t row = i / EACH, u = k / U + i % EACH, first = cu_first<T>(u);
        float v[U];
        bool in = o + row < part.rows && first < part.w.cols;
        if (in)
            cu_decode<T>(part.w, (uint64_t)m.base + o + row, u, v);
#pragma unroll
        for (int j = 0; j < U; j++)
            w[row * PITCH + first + cu_place<T>(j) - k] = in ? cu_short<KIND>(v[j]) : 0;
    }
    for (uint32_t i = threadIdx.x; i < 64 * COLS; i += blockDim.x) {
        uint32_t row = i / COLS, col = i % COLS;
        bool in = row < m.count && k + col < part.w.cols;
        float v = in ? cu_input(p, m, row)[k + col] * cu_row_scale<KIND>(p, m, row) : 0;
        x[row * PITCH + col] = cu_short<KIND>(v);
    }
}

/* A warp's 32 outputs and 32 rows over 16 columns. */
template <int KIND>
static __device__ inline void cu_step16(const uint16_t *w, const uint16_t *x, int pitch, float (*sum)[4][4])
{
    uint32_t g = threadIdx.x % CU_WARP / 4, t = threadIdx.x % 4, a[2][4], b[2];
#pragma unroll
    for (int i = 0; i < 8; i++)
        a[i / 4][i % 4] =
            *(const uint32_t *)(w + (i / 4 * 16 + i % 2 * 8 + g) * pitch + i % 4 / 2 * 8 + 2 * t);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        b[0] = *(const uint32_t *)(x + (j * 8 + g) * pitch + 2 * t);
        b[1] = *(const uint32_t *)(x + (j * 8 + g) * pitch + 8 + 2 * t);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if (KIND == CU_BRAIN)
                cu_mma_bf16(sum[i][j], a[i], b);
            else
                cu_mma_half(sum[i][j], a[i], b);
        }
    }
}

template <int T, int KIND> static __device__ void cu_tile_short(const struct cu_product &p)
{
    constexpr int COLS = cu_tile_cols(T, KIND), PITCH = COLS + 8;
    CU_SHARED(uint16_t, w);
    uint16_t *x = w + 64 * PITCH;
    float sum[2][4][4] = {{{0}}};
    const struct cu_part &part = p.part[0];
    uint32_t o = blockIdx.x * 64, warp = threadIdx.x / CU_WARP;
    uint32_t mine = warp % 2 * 32, row = warp / 2 * 32, g = threadIdx.x % CU_WARP / 4, t = threadIdx.x % 4;
    struct cu_meeting m;
    cu_begin();
    if (!cu_meet(p, 64, &m))
        return;
    for (uint32_t k = 0; k < part.w.cols; k += COLS) {
        __syncthreads();
        cu_fill_short<T, KIND>(p, m, o, k, w, x);
        __syncthreads();
        for (int c = 0; c < COLS; c += 16)
            cu_step16<KIND>(w + mine * PITCH + c, x + row * PITCH + c, PITCH, sum);
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
        int tile = i / 16, eight = i / 4 % 4, e = i % 4;
        uint32_t at = o + mine + tile * 16 + e / 2 * 8 + g, r = row + eight * 8 + 2 * t + e % 2;
        if (r < m.count && at < part.rows)
            cu_finish(p, part, m, r, at,
                      cu_biased(part, m, at, sum[tile][eight][e] / cu_row_scale<KIND>(p, m, r)));
    }
    cu_pass_on(p, m);
}

/* Bytes of shared memory: struct cu_tile_shape in launch.c says the same. */
#define CU_TILE(name, kind_name, KIND, body) \
    CU_KERNEL(tile_##name##_##kind_name, cu_product, cu_tile_threads(KIND)) \
    { \
        body(p); \
    }
#define CU_TILE_PLAIN(name) CU_TILE(name, plain, CU_PLAIN, cu_tile_plain<CU_##name>)
#define CU_TILE_HALF(name) CU_TILE(name, half, CU_HALF, (cu_tile_short<CU_##name, CU_HALF>))
#define CU_TILE_BRAIN(name) CU_TILE(name, brain, CU_BRAIN, (cu_tile_short<CU_##name, CU_BRAIN>))

#endif

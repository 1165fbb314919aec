/* tile_bytes.cu - products of many rows of integers: tiles of 64 outputs x 64 rows on the tensor cores.
 *
 * A block goes along the groups in the order of the chains of bytes.h, a few at a time; a chain that has
 * ended joins the total. So results are those of gemv_bytes.cu.
 */
#include "bytes.h"

#define SIDE 64
#define THREADS 128
#define SLOTS 4 /* groups at a time */
#define PITCH (SLOTS * CU_GROUP + 16)

/* As products.c counts it. */
struct room {
    uint8_t w[SIDE * PITCH], x[SIDE * PITCH];
    float2 w_scale[SLOTS][SIDE], x_scale[SLOTS][SIDE];
    int parts[SLOTS][SIDE]; /* of Q6_K, both in one */
};

/* The group at a place of the order; ends: it is the last one of its chain. */
static __device__ inline uint32_t group_at(uint32_t groups, uint32_t place, bool *ends)
{
    uint32_t each = groups / CU_CHAINS, longer = groups % CU_CHAINS, chain = place, at = 0;
    uint32_t of_longer = longer * (each + 1), n = each;
    if (place < of_longer) {
        n = each + 1;
        chain = place / n;
        at = place % n;
    } else if (each) {
        chain = longer + (place - of_longer) / each;
        at = (place - of_longer) % each;
    }
    *ends = at + 1 == n;
    return chain + at * CU_CHAINS;
}

template <int T>
static __device__ inline void fill_weights(const struct cu_product &p, const struct cu_meeting &m, uint32_t o,
                                           uint32_t place, struct room *s)
{
    const struct cu_part &part = p.part[0];
    uint32_t groups = part.w.cols / CU_GROUP;
    for (uint32_t i = threadIdx.x; i < SIDE * SLOTS; i += THREADS) {
        uint32_t row = i / SLOTS, slot = i % SLOTS;
        struct cu_bytes b = {{0}, 0, 0, {0}};
        bool ends;
        if (o + row < part.rows && place + slot < groups)
            cu_bytes_of<T>(part.w, (uint64_t)m.base + o + row, group_at(groups, place + slot, &ends), &b);
        uint4 *to = (uint4 *)(s->w + row * PITCH + slot * CU_GROUP);
        to[0] = {b.w[0], b.w[1], b.w[2], b.w[3]};
        to[1] = {b.w[4], b.w[5], b.w[6], b.w[7]};
        s->w_scale[slot][row] = {b.scale, b.least};
        if (T == CU_Q6_K)
            s->parts[slot][row] = (int)((uint32_t)b.part[0] << 16 | ((uint32_t)b.part[1] & 0xffff));
    }
}

static __device__ inline void fill_rows(const struct cu_product &p, const struct cu_meeting &m,
                                        uint32_t place, struct room *s)
{
    uint32_t groups = p.part[0].w.cols / CU_GROUP;
    for (uint32_t i = threadIdx.x; i < SIDE * SLOTS; i += THREADS) {
        uint32_t row = i / SLOTS, slot = i % SLOTS;
        uint4 x[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
        float2 scale = {0, 0};
        if (row < m.count && place + slot < groups) {
            bool ends;
            uint64_t from = cu_bytes_row(p, m, row), g = group_at(groups, place + slot, &ends);
            const uint4 *at = (const uint4 *)(cu_bytes_at(p, from) + g * CU_GROUP);
            x[0] = at[0];
            x[1] = at[1];
            scale = cu_bytes_scales(p, from)[g];
        }
        uint4 *to = (uint4 *)(s->x + row * PITCH + slot * CU_GROUP);
        to[0] = x[0];
        to[1] = x[1];
        s->x_scale[slot][row] = scale;
    }
}

/* Four bytes of a row in shared memory. */
static __device__ inline uint32_t four(const uint8_t *rows, uint32_t row, uint32_t at)
{
    return *(const uint32_t *)(rows + row * PITCH + at);
}

/* A warp's 16 outputs from `o` on and 8 rows from `r` on over a group: sums of products. */
template <int T>
static __device__ inline void multiply(const struct room *s, uint32_t slot, uint32_t o, uint32_t r, int *d)
{
    uint32_t g = threadIdx.x % CU_WARP / 4, at = slot * CU_GROUP + threadIdx.x % 4 * 4;
    uint32_t a[4] = {four(s->w, o + g, at), four(s->w, o + 8 + g, at), four(s->w, o + g, at + 16),
                     four(s->w, o + 8 + g, at + 16)};
    uint32_t b[2] = {four(s->x, r + g, at), four(s->x, r + g, at + 16)};
    d[0] = d[1] = d[2] = d[3] = 0;
    if (T != CU_Q6_K) {
        cu_mma_bytes(d, a, b);
        return;
    }
    int last[4] = {0, 0, 0, 0};
    cu_mma_bytes_half(d, a, b[0]);
    cu_mma_bytes_half(last, a + 2, b[1]);
    for (int e = 0; e < 4; e++) {
        int parts = s->parts[slot][o + e / 2 * 8 + g];
        d[e] = (parts >> 16) * d[e] + (int)(int16_t)parts * last[e];
    }
}

/* A warp's 32 outputs and 32 rows over a group. */
template <int T>
static __device__ inline void add_group(const struct room *s, uint32_t slot, uint32_t o, uint32_t r,
                                        float (*sum)[4][4])
{
    uint32_t g = threadIdx.x % CU_WARP / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int d[4];
            multiply<T>(s, slot, o + 16 * i, r + 8 * j, d);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float2 w = s->w_scale[slot][o + 16 * i + e / 2 * 8 + g];
                float2 x = s->x_scale[slot][r + 8 * j + 2 * t + e % 2];
                sum[i][j][e] = cu_bytes_add<T>(sum[i][j][e], d[e], w.x, w.y, x);
            }
        }
}

template <int T> static __device__ void tile(const struct cu_product &p)
{
    CU_SHARED(struct room, s);
    const struct cu_part &part = p.part[0];
    float sum[2][4][4] = {{{0}}}, total[2][4][4] = {{{0}}};
    uint32_t o = blockIdx.x * SIDE, warp = threadIdx.x / CU_WARP, groups = part.w.cols / CU_GROUP;
    uint32_t mine = warp % 2 * 32, row = warp / 2 * 32, g = threadIdx.x % CU_WARP / 4, t = threadIdx.x % 4;
    struct cu_meeting m;
    cu_begin();
    if (!cu_meet(p, SIDE, &m))
        return;
    for (uint32_t place = 0; place < groups; place += SLOTS) {
        __syncthreads();
        fill_weights<T>(p, m, o, place, s);
        fill_rows(p, m, place, s);
        __syncthreads();
        for (uint32_t slot = 0; slot < SLOTS && place + slot < groups; slot++) {
            bool ends;
            group_at(groups, place + slot, &ends);
            add_group<T>(s, slot, mine, row, sum);
#pragma unroll
            for (int i = 0; i < 32 && ends; i++) {
                total[i / 16][i / 4 % 4][i % 4] += sum[i / 16][i / 4 % 4][i % 4];
                sum[i / 16][i / 4 % 4][i % 4] = 0;
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
        uint32_t at = o + mine + i / 16 * 16 + i % 4 / 2 * 8 + g, r = row + i / 4 % 4 * 8 + 2 * t + i % 2;
        if (r < m.count && at < part.rows)
            cu_finish(p, part, m, r, at, cu_biased(part, m, at, total[i / 16][i / 4 % 4][i % 4]));
    }
}

#define TILE(name) \
    CU_KERNEL(tile_##name##_bytes, cu_product, THREADS) \
    { \
        tile<CU_##name>(p); \
    }
CU_BYTE_TYPES(TILE)

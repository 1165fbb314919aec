/* rows.cu - kernels that go along rows: lookups, norms, sums and products of elements, maps, copies.
 *
 * A thread an element, blockIdx.y the row, but for norms: a block a part of a row.
 */
#include "act.h"
#include "unit.h"

/* The element of a grid of blocks along a row; false behind the end. */
static __device__ inline bool element(uint32_t width, uint32_t *i)
{
    *i = blockIdx.x * CU_THREADS + threadIdx.x;
    return *i < width;
}

/* --- y = x + a row of a table: a thread a unit --- */

template <int T> static __device__ void look_up(const struct cu_lookup &p)
{
    constexpr int U = cu_unit(T);
    uint32_t u, row = blockIdx.y, at = p.row;
    cu_begin();
    if (!element(cu_units(p.table, U), &u))
        return;
    const struct cu_row *r = &p.step->rows[row];
    if (p.by != CU_BY_ROW)
        at = (uint32_t)(p.by == CU_BY_TOKEN ? r->token : r->pos);
    float v[U];
    cu_decode<T>(p.table, at, u, v);
    for (int j = 0; j < U; j++) {
        uint32_t i = cu_first<T>(u) + cu_place<T>(j);
        if (i < p.table.cols)
            cu_at(&p.y, row)[i] = p.x.data ? v[j] + cu_at(&p.x, row)[i] : v[j];
    }
}

#define LOOK_UP(name, number) \
    CU_KERNEL_FLAT(lookup_##name, cu_lookup, CU_THREADS) \
    { \
        look_up<CU_##name>(p); \
    }
CU_TYPES(LOOK_UP)

/* --- norms --- */

CU_KERNEL(norms, cu_norm, CU_THREADS)
{
    CU_SHARED(float, room);
    uint32_t n = p.width / p.parts, from = blockIdx.x * n;
    const float *x = cu_at(&p.x, blockIdx.y) + from;
    float *y = cu_at(&p.y, blockIdx.y) + from, mean = 0, sum = 0;
    cu_begin();
    for (uint32_t i = threadIdx.x; i < n && p.centred; i += CU_THREADS)
        sum += x[i];
    if (p.centred)
        mean = cu_block_sum(sum, room) / (float)n;
    float scale = cu_norm_scale(x, n, mean, p.eps, room);
    for (uint32_t i = threadIdx.x; i < n; i += CU_THREADS) {
        float v = (x[i] - mean) * scale;
        if (p.w)
            v *= p.w[(from + i) % p.w_cols];
        if (p.bias)
            v += p.bias[(from + i) % p.bias_cols];
        y[i] = v;
    }
}

/* --- elements --- */

CU_KERNEL_FLAT(elements, cu_two, CU_THREADS)
{
    uint32_t i, row = blockIdx.y;
    cu_begin();
    if (!element(p.width, &i))
        return;
    float a = cu_at(&p.a, row)[p.one ? 0 : i], b = p.b.data ? cu_at(&p.b, row)[i] : 0, v;
    switch (p.op) {
    case CU_ADD:
        v = a + b;
        break;
    case CU_MUL:
        v = a * b;
        break;
    case CU_GATE:
        v = b / (1 + expf(-a));
        break;
    case CU_ACT_MUL:
        v = cu_activate_mul(p.act, a, b);
        break;
    default:
        v = cu_activate(p.act, a);
    }
    cu_at(&p.y, row)[i] = v;
}

CU_KERNEL_FLAT(maps, cu_map, CU_THREADS)
{
    uint32_t i, row = blockIdx.y;
    cu_begin();
    if (!element(p.width, &i))
        return;
    float v = cu_at(&p.x, row)[i];
    if (p.has & CU_HAS_TEMPERATURE)
        v *= 1 + p.grow * log1pf(floorf((float)((uint32_t)p.step->rows[row].pos + 1) / (float)p.every));
    if (p.has & CU_HAS_FACTOR)
        v *= p.factor;
    if (p.has & CU_HAS_SOFTCAP)
        v = p.softcap * tanhf(v / p.softcap);
    if (p.has & CU_HAS_CLAMP)
        v = fminf(p.clamp, fmaxf(-p.clamp, v));
    cu_at(&p.y, row)[i] = v;
}

CU_KERNEL_FLAT(copies, cu_copy, CU_THREADS)
{
    uint32_t i, row = blockIdx.y;
    cu_begin();
    if (element(p.width, &i))
        cu_at(&p.y, row)[i] = cu_at(&p.x, p.wanted ? p.step->wanted[row] : row)[p.column + i];
}

/* --- mixtures: what is made of the parts of a row's experts --- */

CU_KERNEL_FLAT(sums, cu_sum, CU_THREADS)
{
    uint32_t i, row = blockIdx.y;
    float v = 0;
    cu_begin();
    if (!element(p.width, &i))
        return;
    for (uint32_t k = 0; k < p.used; k++)
        v = fmaf(cu_at(&p.x, row)[k * p.width + i], p.weights.data ? cu_at(&p.weights, row)[k] : 1, v);
    cu_at(&p.y, row)[i] = v;
}

CU_KERNEL_FLAT(scale_parts, cu_scale, CU_THREADS)
{
    uint32_t i, row = blockIdx.y;
    cu_begin();
    if (!element(p.width * p.used, &i))
        return;
    cu_at(&p.y, row)[i] = cu_at(&p.x, row)[i % p.width] * cu_at(&p.weights, row)[i / p.width];
}

/* --- what a tile kernel of 16-bit products wants to know of its rows: a warp a row --- */

CU_KERNEL(scales, cu_scales, CU_WARP)
{
    float most = 0;
    const float *x = cu_at(&p.x, blockIdx.x) + (uint64_t)blockIdx.y * p.width;
    cu_begin();
    for (uint32_t i = threadIdx.x; i < p.width; i += CU_WARP)
        most = fmaxf(most, fabsf(x[i]));
    most = cu_warp_max(most);
    if (threadIdx.x == 0)
        p.scale[blockIdx.x * gridDim.y + blockIdx.y] = cu_power_of(most);
}

/* --- rows as bytes, after a norm or as they are: a block a part of a row, eight threads each 32 --- */

CU_KERNEL(rounds, cu_round, CU_THREADS)
{
    CU_SHARED(float, room);
    const float *x = cu_at(&p.x, blockIdx.x) + (uint64_t)blockIdx.y * p.width;
    uint64_t to = ((uint64_t)blockIdx.x * gridDim.y + blockIdx.y) * p.width;
    cu_begin();
    float grow = p.normed ? cu_norm_scale(x, p.width, 0, p.eps, room) : 1;
    for (uint32_t first = threadIdx.x / CU_WARP * 128; first < p.width; first += CU_THREADS * 4) {
        uint32_t i = first + threadIdx.x % CU_WARP * 4, bytes = 0;
        bool in = i < p.width;
        float v[4], most = 0, sum = 0;
        for (int j = 0; j < 4; j++) {
            v[j] = in ? x[i + j] * grow : 0;
            if (in && p.norm)
                v[j] *= p.norm[i + j];
            most = fmaxf(most, fabsf(v[j]));
        }
        for (int m = 4; m; m /= 2)
            most = fmaxf(most, __shfl_xor_sync(CU_FULL, most, m));
        for (int j = 0; j < 4; j++) {
            float q = most > 0 ? fmaxf(-127, fminf(127, rintf(v[j] * (127 / most)))) : 0;
            bytes |= ((uint32_t)(int)q & 255) << (8 * j);
            sum += q;
        }
        for (int m = 4; m; m /= 2)
            sum += __shfl_xor_sync(CU_FULL, sum, m);
        if (!in)
            continue;
        *(uint32_t *)(p.bytes + to + i) = bytes;
        if (threadIdx.x % 8 == 0)
            *(float2 *)(p.scales + (to + i) / 32 * 2) = {most / 127, most / 127 * sum};
    }
}

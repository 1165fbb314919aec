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
    sum = 0;
    for (uint32_t i = threadIdx.x; i < n; i += CU_THREADS)
        sum = fmaf(x[i] - mean, x[i] - mean, sum);
    float scale = (float)(1 / sqrt((double)cu_block_sum(sum, room) / n + p.eps));
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

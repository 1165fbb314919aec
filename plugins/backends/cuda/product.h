/* product.h - which rows meet which matrix in a block of a matrix product, and where results go.
 *
 * Three forms: all rows and one matrix; all rows and a matrix for each head (blockIdx.z); pairs of a row
 * and an expert, sorted by expert, in tiles. What a result is does not depend on the form of its company.
 */
#ifndef RZ_CUDA_PRODUCT_H
#define RZ_CUDA_PRODUCT_H

#include "act.h"
#include "unit.h"

/* The rows of a block. */
struct cu_meeting {
    uint32_t first, count; /* rows, or pairs in their order */
    uint32_t base;         /* row of the weights that the matrix begins at */
    uint32_t head;
};

/* False: nothing for this block to do. `most` rows a block. */
static __device__ inline bool cu_meet(const struct cu_product &p, uint32_t most, struct cu_meeting *m)
{
    m->head = p.heads ? blockIdx.z : 0;
    m->base = m->head * p.part[0].rows;
    m->first = blockIdx.y * most;
    if (p.pairs.used) {
        if (blockIdx.y >= *p.pairs.n_tiles)
            return false;
        const uint32_t *tile = p.pairs.tiles + 3 * blockIdx.y;
        m->base = tile[0] * p.part[0].rows;
        m->first = tile[1];
        m->count = tile[2];
        return true;
    }
    m->count = p.n - m->first < most ? p.n - m->first : most;
    return true;
}

static __device__ inline uint32_t cu_pair(const struct cu_product &p, const struct cu_meeting &m, uint32_t r)
{
    return p.pairs.used ? p.pairs.order[m.first + r] : m.first + r;
}

static __device__ inline const float *cu_input(const struct cu_product &p, const struct cu_meeting &m,
                                               uint32_t r)
{
    uint32_t pair = cu_pair(p, m, r);
    if (!p.pairs.used)
        return cu_at(&p.x, pair) + (uint64_t)m.head * p.in_head;
    return cu_at(&p.x, pair / p.pairs.used) +
           (p.pairs.each ? (uint64_t)(pair % p.pairs.used) * p.part[0].w.cols : 0);
}

/* Row r of the meeting, where column 0 of the part lies. */
static __device__ inline float *cu_output(const struct cu_product &p, const struct cu_part &part,
                                          const struct cu_meeting &m, uint32_t r)
{
    uint32_t pair = cu_pair(p, m, r);
    if (!p.pairs.used)
        return cu_at(&part.y, pair) + (uint64_t)m.head * p.out_head;
    return cu_at(&part.y, pair / p.pairs.used) + (uint64_t)(pair % p.pairs.used) * part.rows;
}

/* Writes output o of row r: bias, then what is added. */
static __device__ inline void cu_finish(const struct cu_product &p, const struct cu_part &part,
                                        const struct cu_meeting &m, uint32_t r, uint32_t o, float v)
{
    if (part.add.data)
        v += cu_at(&part.add, cu_pair(p, m, r))[o];
    cu_output(p, part, m, r)[o] = v;
}

static __device__ inline float cu_biased(const struct cu_part &part, const struct cu_meeting &m, uint32_t o,
                                         float v)
{
    return part.bias ? v + part.bias[m.base + o] : v;
}

/* What a head's part of x has behind the columns that its matrix meets is passed on. */
static __device__ inline void cu_pass_on(const struct cu_product &p, const struct cu_meeting &m)
{
    const struct cu_part &part = p.part[0];
    if (!p.heads || blockIdx.x)
        return;
    for (uint32_t r = 0; r < m.count; r++)
        for (uint32_t i = part.w.cols + threadIdx.x; i < p.in_head; i += blockDim.x)
            cu_output(p, part, m, r)[part.rows + i - part.w.cols] = cu_input(p, m, r)[i];
}

/* Elements i..i+3 of a row of x; those behind its end are 0. */
static __device__ inline float4 cu_four(const float *x, uint32_t i, uint32_t cols, bool fast)
{
    float4 v;
    if (fast)
        return *(const float4 *)(x + i);
    v.x = i < cols ? x[i] : 0;
    v.y = i + 1 < cols ? x[i + 1] : 0;
    v.z = i + 2 < cols ? x[i + 2] : 0;
    v.w = i + 3 < cols ? x[i + 3] : 0;
    return v;
}

#endif

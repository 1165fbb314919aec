/* position.cu - kernels that know positions: rotation of q and k, and writing to the pages of the KV. */
#include "kv.h"

/* A thread a pair of elements, or an element that is only passed on. */
CU_KERNEL_FLAT(ropes, cu_rope, CU_THREADS)
{
    uint32_t i = blockIdx.x * CU_THREADS + threadIdx.x, row = blockIdx.y;
    cu_begin();
    if (i >= p.width)
        return;
    const struct cu_row *r = &p.step->rows[row];
    const struct cu_table *t = &p.table[p.step->seqs[r->seq].variant];
    const float *x = cu_at(&p.x, row);
    float *y = cu_at(&p.y, row);
    uint32_t head = i / p.dim, e = i % p.dim - p.offset; /* wraps around before the offset */
    if (head >= p.heads || e >= 2 * t->half) {
        y[i] = x[i];
        return;
    }
    uint32_t pair = p.neox ? e % t->half : e / 2;
    if (p.neox ? e >= t->half : e % 2)
        return;
    uint64_t at = (uint64_t)r->pos * t->half + pair;
    uint32_t other = i + (p.neox ? t->half : 1);
    float c = t->cosines[at], s = t->sines[at], u = x[i], v = x[other];
    y[i] = u * c - v * s;
    y[other] = u * s + v * c;
}

/* A thread 32 elements of k, then of v, as integers of -127..127 times their scale. */
CU_KERNEL_FLAT(kv_store_q8, cu_store, CU_THREADS)
{
    uint32_t i = blockIdx.x * CU_THREADS + threadIdx.x, row = blockIdx.y;
    uint32_t k_parts = cu_kv_wide<CU_Q8_0>(p.kv.k_dim) / 32, v_parts = cu_kv_wide<CU_Q8_0>(p.kv.v_dim) / 32;
    uint32_t keys = p.kv.n_heads * k_parts, all = keys + (p.latent ? 0 : p.kv.n_heads * v_parts);
    cu_begin();
    if (i >= all)
        return;
    const struct cu_row *r = &p.step->rows[row];
    const float *k = cu_at(&p.k, row), *v = cu_at(&p.v, row);
    bool of_k = i < keys;
    uint32_t parts = of_k ? k_parts : v_parts, dim = of_k ? p.kv.k_dim : p.kv.v_dim, at = of_k ? i : i - keys;
    uint32_t head = at / parts, d = at % parts * 32, pos = (uint32_t)r->pos, slot = pos % p.kv.page_tokens;
    uint8_t *to = cu_kv_head(p.kv, p.step, &p.step->seqs[r->seq], pos, head) + (of_k ? 0 : p.kv.v_offset);
    float x[32], most = 0;
    for (uint32_t j = 0; j < 32; j++) {
        uint32_t e = d + j;
        bool end_of_latent = p.latent && e >= p.kv.v_dim;
        x[j] = e >= dim ? 0 : end_of_latent ? v[e - p.kv.v_dim] : (of_k ? k : v)[(uint64_t)head * dim + e];
        most = fmaxf(most, fabsf(x[j]));
    }
    uint16_t h = cu_to_half(most / 127);
    float scale = cu_half(h);
    *(uint16_t *)(to + cu_kv_scale_at<CU_Q8_0>(p.kv, slot, dim, d)) = h;
    for (uint32_t j = 0; j < 32; j++)
        to[(uint64_t)slot * cu_kv_wide<CU_Q8_0>(dim) + d + j] =
            (uint8_t)(int8_t)(scale > 0 ? fmaxf(-127, fminf(127, rintf(x[j] / scale))) : 0);
}

/* A warp a row of a head of k, then of v: bytes of E4M3 with the power of two that brings the largest one
 * near 448. */
CU_KERNEL(kv_store_f8, cu_store, CU_THREADS)
{
    uint32_t i = blockIdx.x * (CU_THREADS / CU_WARP) + threadIdx.x / CU_WARP, row = blockIdx.y;
    uint32_t head = i % p.kv.n_heads, lane = threadIdx.x % CU_WARP;
    bool of_k = i < p.kv.n_heads;
    cu_begin();
    if (i >= p.kv.n_heads * (p.latent ? 1 : 2))
        return;
    const struct cu_row *r = &p.step->rows[row];
    const float *k = cu_at(&p.k, row), *v = cu_at(&p.v, row);
    uint32_t dim = of_k ? p.kv.k_dim : p.kv.v_dim, wide = cu_kv_wide<CU_F8>(dim), pos = (uint32_t)r->pos;
    uint32_t slot = pos % p.kv.page_tokens, split = p.latent ? p.kv.v_dim : dim;
    uint8_t *to = cu_kv_head(p.kv, p.step, &p.step->seqs[r->seq], pos, head) + (of_k ? 0 : p.kv.v_offset);
    const float *x = (of_k ? k : v) + (uint64_t)head * dim;
    float most = 0;
    for (uint32_t d = lane; d < dim; d += CU_WARP)
        most = fmaxf(most, fabsf(d < split ? x[d] : v[d - split]));
    uint32_t scale = cu_e4m3_scale(cu_warp_max(most));
    float grow = __uint_as_float((254 - scale) << 23);
    for (uint32_t d = lane; d < wide; d += CU_WARP)
        to[(uint64_t)slot * wide + d] = cu_to_e4m3(d < dim ? grow * (d < split ? x[d] : v[d - split]) : 0);
    if (lane == 0)
        to[cu_kv_scale_at<CU_F8>(p.kv, slot, dim, 0)] = (uint8_t)scale;
}

/* A thread an element of k, then of v. */
CU_KERNEL_FLAT(kv_store, cu_store, CU_THREADS)
{
    uint32_t i = blockIdx.x * CU_THREADS + threadIdx.x, row = blockIdx.y, keys = p.kv.n_heads * p.kv.k_dim;
    cu_begin();
    const struct cu_row *r = &p.step->rows[row];
    const struct cu_seq *s = &p.step->seqs[r->seq];
    const float *k = cu_at(&p.k, row), *v = cu_at(&p.v, row);
    uint32_t pos = (uint32_t)r->pos, slot = pos % p.kv.page_tokens;
    if (p.latent) {
        if (i < p.kv.k_dim)
            cu_kv_put(p.kv, cu_kv_head(p.kv, p.step, s, pos, 0), (uint64_t)slot * p.kv.k_dim + i,
                      i < p.kv.v_dim ? k[i] : v[i - p.kv.v_dim]);
        return;
    }
    if (i < keys) {
        uint8_t *at = cu_kv_head(p.kv, p.step, s, pos, i / p.kv.k_dim);
        cu_kv_put(p.kv, at, (uint64_t)slot * p.kv.k_dim + i % p.kv.k_dim, k[i]);
    } else if (i - keys < p.kv.n_heads * p.kv.v_dim) {
        i -= keys;
        uint8_t *at = cu_kv_head(p.kv, p.step, s, pos, i / p.kv.v_dim) + p.kv.v_offset;
        cu_kv_put(p.kv, at, (uint64_t)slot * p.kv.v_dim + i % p.kv.v_dim, v[i]);
    }
}

/* flash.cu - attention of prompts on the tensor cores: tiles of queries go along tiles of keys.
 *
 * A block has 64 queries of one sequence and one KV head (neighbouring rows, and the heads that share the
 * keys); a warp has 16 of them. Scores stay in registers, as do their weights, which become the left side
 * of the second product. Keys are cut at absolute positions, so what a query gets does not depend on the
 * others of its block. Values of more than DV columns are made by several blocks, each with all scores.
 */
#include "attend.h"

#define THREADS (CU_ATTEND_WARPS * CU_WARP)

/* The queries of a block: `heads` of each of the rows first..end-1, and the keys that any of them sees. */
struct tile {
    uint32_t first, end, kv_head, head, heads;
    uint32_t from, to, column; /* column: of the values */
};

/* What lies in shared memory; a row of q and k has `wide` elements, one of v DV + 8. */
struct room {
    uint16_t *q, *k, *v;
    float *scale; /* of the queries: powers of two */
    uint32_t wide, deep;
};

/* A thread's two queries: the keys they see, what becomes of their scores, and how far they are. */
struct query {
    uint64_t from, to;
    int32_t pos;
    float factor, slope, top, sum;
    uint32_t row, head;
};

template <int K> static __device__ inline uint16_t to_short(float x)
{
    return K == CU_BF16 ? cu_to_bf16(x) : cu_to_half(x);
}

template <int K> static __device__ inline void multiply(float *d, const uint32_t *a, const uint32_t *b)
{
    if (K == CU_BF16)
        cu_mma_bf16(d, a, b);
    else
        cu_mma_half(d, a, b);
}

/* Where lane l points ldmatrix at: four tiles of 8 x 8, along the rows first (down) or the columns. */
static __device__ inline const uint16_t *corner(const uint16_t *at, uint32_t pitch, bool down)
{
    uint32_t lane = threadIdx.x % CU_WARP, i = lane / 8, r = lane % 8;
    return at + ((down ? i % 2 : i / 2) * 8 + r) * pitch + (down ? i / 2 : i % 2) * 8;
}

/* --- filling shared memory --- */

/* A warp brings its 16 queries, each scaled so that its largest element is 1 to 2, to 16 bits. */
template <int K>
static __device__ inline void fill_queries(const struct cu_attend &p, const struct tile &t,
                                           const struct room &m)
{
    uint32_t lane = threadIdx.x % CU_WARP, first = threadIdx.x / CU_WARP * 16;
    for (uint32_t i = first; i < first + 16; i++) {
        uint32_t row = t.first + i / t.heads;
        const float *q =
            cu_at(&p.q, row < t.end ? row : t.first) + (uint64_t)(t.head + i % t.heads) * p.kv.k_dim;
        float most = 0, scale;
        for (uint32_t d = lane; d < p.kv.k_dim; d += CU_WARP)
            most = fmaxf(most, fabsf(q[d]));
        scale = cu_power_of(cu_warp_max(most));
        for (uint32_t d = lane; d < m.deep; d += CU_WARP)
            m.q[i * m.wide + d] = row < t.end && d < p.kv.k_dim ? to_short<K>(q[d] * scale) : 0;
        if (lane == 0)
            m.scale[i] = scale;
    }
}

/* Rows of keys or values from key `start` on: `columns` of them, and zeros up to `padded`. */
template <int K, int KT>
static __device__ inline void fill_keys(const struct cu_attend &p, const struct tile &t, uint32_t start,
                                        uint64_t offset, uint32_t dim, uint32_t column, uint32_t padded,
                                        uint32_t pitch, uint16_t *to)
{
    const struct cu_seq *s = &p.step->seqs[p.step->rows[t.first].seq];
    uint32_t pieces = padded / 8;
    for (uint32_t i = threadIdx.x; i < KT * pieces; i += THREADS) {
        uint32_t key = start + i / pieces, d = column + i % pieces * 8;
        uint16_t *at = to + i / pieces * pitch + i % pieces * 8;
        uint4 eight = {0, 0, 0, 0};
        bool in = key >= t.from && key < t.to && d < dim, whole = dim % 8 == 0 && !cu_kv_is_bytes(K);
        const uint8_t *from = nullptr;
        uint64_t row = key % p.kv.page_tokens;
        if (in)
            from = cu_kv_head(p.kv, p.step, s, key, t.kv_head) + offset;
        if (in && whole)
            eight = *(const uint4 *)(from + 2 * (row * dim + d));
        *(uint4 *)at = eight;
        if (!in || whole)
            continue;
        if (cu_kv_is_bytes(K)) {
            float x[8];
            cu_kv_eight<K>(p.kv, from, row, dim, d, x);
            for (int j = 0; j < 8; j++)
                at[j] = cu_to_half(x[j]);
        } else {
            for (uint32_t j = 0; j < 8 && d + j < dim; j++)
                at[j] = ((const uint16_t *)from)[row * dim + d + j];
        }
    }
}

/* --- one tile of keys --- */

/* s[j]: scores of the warp's queries with keys 8 j .. 8 j + 7. */
template <int K, int KT> static __device__ inline void score(const struct room &m, float (*s)[4])
{
    const uint16_t *q = corner(m.q + threadIdx.x / CU_WARP * 16 * m.wide, m.wide, true);
    const uint16_t *k = corner(m.k, m.wide, false);
#pragma unroll
    for (int j = 0; j < KT / 8; j++)
        s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
    for (uint32_t d = 0; d < m.deep; d += 16) {
        uint32_t a[4], b[4];
        cu_ldmatrix(a, q + d);
#pragma unroll
        for (int j = 0; j < KT / 8; j += 2) {
            cu_ldmatrix(b, k + j * 8 * m.wide + d);
            multiply<K>(s[j], a, b);
            multiply<K>(s[j + 1], a, b + 2);
        }
    }
}

static __device__ inline float masked(const struct cu_attend &p, const struct query &q, float s, uint32_t key)
{
    if (key < q.from || key >= q.to)
        return -CUDART_INF_F;
    s *= q.factor;
    if (p.softcap > 0)
        s = p.softcap * tanhf(s / p.softcap);
    return s - q.slope * fabsf((float)(q.pos - (int32_t)key));
}

/* Scores become weights; sums so far shrink by keep[] to the new largest score. */
template <int KT>
static __device__ inline void weigh(const struct cu_attend &p, struct query *q, uint32_t start, float (*s)[4],
                                    float *keep)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = q[h].top;
#pragma unroll
        for (int i = 0; i < KT / 4; i++) {
            float *x = &s[i / 2][2 * h + i % 2];
            *x = masked(p, q[h], *x, start + i / 2 * 8 + threadIdx.x % 4 * 2 + i % 2);
            top = fmaxf(top, *x);
        }
        for (int m = 2; m; m /= 2)
            top = fmaxf(top, __shfl_xor_sync(CU_FULL, top, m));
        keep[h] = q[h].top == -CUDART_INF_F ? 0 : expf(q[h].top - top);
        q[h].top = top;
        q[h].sum *= keep[h];
#pragma unroll
        for (int i = 0; i < KT / 4; i++) {
            float *x = &s[i / 2][2 * h + i % 2];
            *x = *x == -CUDART_INF_F ? 0 : expf(*x - top);
            q[h].sum += *x;
        }
    }
}

template <int K> static __device__ inline uint32_t pair(float low, float high)
{
    return to_short<K>(low) | (uint32_t)to_short<K>(high) << 16;
}

/* y += weights * values */
template <int K, int DV, int KT>
static __device__ inline void add_up(const struct room &m, const float (*s)[4], float (*y)[4])
{
    const uint16_t *v = corner(m.v, DV + 8, true);
#pragma unroll
    for (int j = 0; j < KT / 8; j += 2) {
        uint32_t a[4] = {pair<K>(s[j][0], s[j][1]), pair<K>(s[j][2], s[j][3]),
                         pair<K>(s[j + 1][0], s[j + 1][1]), pair<K>(s[j + 1][2], s[j + 1][3])},
                 b[4];
#pragma unroll
        for (int d = 0; d < DV / 8; d += 2) {
            cu_ldmatrix_turned(b, v + j * 8 * (DV + 8) + d * 8);
            multiply<K>(y[d], a, b);
            multiply<K>(y[d + 1], a, b + 2);
        }
    }
}

/* --- a tile of queries --- */

static __device__ inline void set_query(const struct cu_attend &p, const struct tile &t, const struct room &m,
                                        uint32_t i, struct query *q)
{
    *q = {1, 0, 0, 0, 0, -CUDART_INF_F, 0, t.first + i / t.heads, t.head + i % t.heads};
    q->slope = cu_slope(p, q->head);
    q->factor = p.scale / m.scale[i];
    if (q->row >= t.end)
        return;
    q->pos = p.step->rows[q->row].pos;
    cu_seen(p, &p.step->rows[q->row], &q->from, &q->to);
}

template <int DV>
static __device__ inline void write(const struct cu_attend &p, const struct tile &t, struct query *q,
                                    const float (*y)[4])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        for (int m = 2; m; m /= 2)
            q[h].sum += __shfl_xor_sync(CU_FULL, q[h].sum, m);
        if (q[h].row >= t.end)
            continue;
        float share = cu_sink(p, q[h].head, &q[h].top, &q[h].sum);
        float *out = cu_at(&p.y, q[h].row) + (uint64_t)q[h].head * p.kv.v_dim;
#pragma unroll
        for (int i = 0; i < DV / 4; i++) {
            uint32_t d = t.column + i / 2 * 8 + threadIdx.x % 4 * 2 + i % 2;
            if (d < p.kv.v_dim)
                out[d] = y[i / 2][2 * h + i % 2] * share / q[h].sum;
        }
    }
}

template <int K, int DV, int KT>
static __device__ inline void run(const struct cu_attend &p, const struct tile &t, const struct room &m)
{
    uint32_t mine = threadIdx.x / CU_WARP * 16 + threadIdx.x % CU_WARP / 4;
    uint32_t pitch = p.kv.v_offset ? p.kv.v_dim : p.kv.k_dim;
    float s[KT / 8][4], y[DV / 8][4], keep[2];
    struct query q[2];
    __syncthreads();
    fill_queries<K>(p, t, m);
    __syncwarp();
    set_query(p, t, m, mine, &q[0]);
    set_query(p, t, m, mine + 8, &q[1]);
#pragma unroll
    for (int i = 0; i < DV / 2; i++)
        y[i / 4][i % 4] = 0;
    for (uint32_t start = t.from / KT * KT; start < t.to; start += KT) {
        __syncthreads();
        fill_keys<K, KT>(p, t, start, 0, p.kv.k_dim, 0, m.deep, m.wide, m.k);
        fill_keys<K, KT>(p, t, start, p.kv.v_offset, pitch, t.column, DV, DV + 8, m.v);
        __syncthreads();
        score<K, KT>(m, s);
        weigh<KT>(p, q, start, s, keep);
#pragma unroll
        for (int i = 0; i < DV / 2; i++)
            y[i / 4][i % 4] *= keep[i % 4 / 2];
        add_up<K, DV, KT>(m, s, y);
    }
    write<DV>(p, t, q, y);
}

/* The keys that any row of the tile sees. */
static __device__ inline void span(const struct cu_attend &p, struct tile *t)
{
    uint64_t low = 0xffffffffull, high = 0, from, to;
    for (uint32_t r = t->first; r < t->end; r++) {
        cu_seen(p, &p.step->rows[r], &from, &to);
        low = from < low ? from : low;
        high = to > high ? to : high;
    }
    t->from = (uint32_t)low;
    t->to = (uint32_t)high;
}

template <int K, int DV, int KT> static __device__ void flash(const struct cu_attend &p)
{
    CU_SHARED(uint16_t, shared);
    const struct cu_row *rows = p.step->rows;
    struct room m = {shared, nullptr, nullptr, nullptr, 0, (p.kv.k_dim + 15) / 16 * 16};
    uint32_t group = p.heads / p.kv.n_heads, each = group < CU_FLASH_TILE ? group : CU_FLASH_TILE;
    uint32_t tiles = (group + each - 1) / each, tile = blockIdx.x % tiles, many = CU_FLASH_TILE / each;
    struct tile t = {blockIdx.y * many, 0, blockIdx.x / tiles, 0, each, 0, 0, blockIdx.z * DV};
    uint32_t last = t.first + many < p.n ? t.first + many : p.n;
    m.wide = m.deep + 8;
    m.k = m.q + CU_FLASH_TILE * m.wide;
    m.v = m.k + KT * m.wide;
    m.scale = (float *)(m.v + KT * (DV + 8));
    t.head = t.kv_head * group + tile * each;
    if (tile * each + each > group)
        t.heads = group - tile * each;
    cu_begin();
    for (; t.first < last; t.first = t.end) {
        for (t.end = t.first + 1; t.end < last; t.end++)
            if (rows[t.end].seq != rows[t.first].seq)
                break;
        if (!cu_is_prompt(p, &rows[t.first]))
            continue;
        span(p, &t);
        run<K, DV, KT>(p, t, m);
    }
}

#define FLASH(type, dv, kt) \
    CU_KERNEL(flash_##type##_##dv, cu_attend, THREADS) \
    { \
        flash<CU_##type, dv, kt>(p); \
    }
FLASH(F16, 64, 64)
FLASH(F16, 128, 64)
FLASH(F16, 256, 32)
FLASH(BF16, 64, 64)
FLASH(BF16, 128, 64)
FLASH(BF16, 256, 32)
FLASH(Q8_0, 64, 64)
FLASH(Q8_0, 128, 64)
FLASH(Q8_0, 256, 32)
FLASH(F8, 64, 64)
FLASH(F8, 128, 64)
FLASH(F8, 256, 32)

/* attend.cu - attention over pages: parts of 256 keys, and their merging in order.
 *
 * A block has up to H queries of one sequence and one KV head: heads that share it, and, in prompts,
 * neighbouring rows. A key and a value are read once for all of them. What a query gets depends on its
 * absolute position alone, never on the others: the same bits in prompts and in decoding, for any H.
 */
#include "attend.h"

#define THREADS (CU_ATTEND_WARPS * CU_WARP)

/* What a block works on; the rows first..end-1 are of one sequence. */
struct job {
    uint32_t first, end, kv_head, head, heads; /* heads: from head on, this many */
    uint32_t from, to;                         /* keys, in the part of this block */
};

/* Eight elements of a key from i on, those behind its end 0. */
template <int K>
static __device__ inline void eight(const struct cu_kv &kv, const uint8_t *at, uint64_t row, uint32_t i,
                                    uint32_t dim, float *k)
{
    if (cu_kv_is_bytes(K)) {
        cu_kv_eight<K>(kv, at, row, dim, i, k);
        return;
    }
    if (K != CU_F32 && dim % 8 == 0) {
        uint4 q = *(const uint4 *)(at + 2 * (row * dim + i));
        for (int j = 0; j < 8; j++) {
            uint16_t h = (uint16_t)(cu_word(q, j / 2) >> (16 * (j % 2)));
            k[j] = K == CU_BF16 ? cu_bf16(h) : cu_half(h);
        }
        return;
    }
    for (int j = 0; j < 8; j++)
        k[j] = i + j < dim ? cu_kv_get<K>(kv, at, row, dim, i + j) : 0;
}

/* The scores of all queries with the keys of the part; -inf where a query does not see a key. */
template <int K, int H>
static __device__ inline void score(const struct cu_attend &p, const struct job &b, uint32_t part,
                                    const float *q, float *scores)
{
    uint32_t wide = (p.kv.k_dim + 7) / 8 * 8;
    for (uint32_t i = threadIdx.x; i < CU_SPLIT; i += THREADS) {
        uint32_t key = part * CU_SPLIT + i;
        float sum[H];
#pragma unroll
        for (int h = 0; h < H; h++)
            sum[h] = 0;
        if (key >= b.from && key < b.to) {
            const struct cu_seq *s = &p.step->seqs[p.step->rows[b.first].seq];
            const uint8_t *at = cu_kv_head(p.kv, p.step, s, key, b.kv_head);
            for (uint32_t d = 0; d < p.kv.k_dim; d += 8) {
                float k[8];
                eight<K>(p.kv, at, key % p.kv.page_tokens, d, p.kv.k_dim, k);
#pragma unroll
                for (int h = 0; h < H; h++)
#pragma unroll
                    for (int j = 0; j < 8; j++)
                        sum[h] = fmaf(q[h * wide + d + j], k[j], sum[h]);
            }
        }
#pragma unroll
        for (int h = 0; h < H; h++) {
            uint32_t row = b.first + h / b.heads;
            float v = -CUDART_INF_F;
            uint64_t from = 1, to = 0;
            if (row < b.end)
                cu_seen(p, &p.step->rows[row], &from, &to);
            if (key >= from && key < to) {
                v = sum[h] * p.scale;
                if (p.softcap > 0)
                    v = p.softcap * tanhf(v / p.softcap);
                v -= cu_slope(p, b.head + h % b.heads) * fabsf((float)(p.step->rows[row].pos - (int32_t)key));
            }
            scores[h * CU_SPLIT + i] = v;
        }
    }
}

/* Scores become weights; most[h] and total[h]: the largest score and the sum of the weights. */
template <int H> static __device__ inline void weigh(float *scores, float *most, float *total)
{
    uint32_t lane = threadIdx.x % CU_WARP;
    for (uint32_t h = threadIdx.x / CU_WARP; h < H; h += CU_ATTEND_WARPS) {
        float top = -CUDART_INF_F, sum = 0;
        for (uint32_t i = lane; i < CU_SPLIT; i += CU_WARP)
            top = fmaxf(top, scores[h * CU_SPLIT + i]);
        top = cu_warp_max(top);
        for (uint32_t i = lane; i < CU_SPLIT; i += CU_WARP) {
            float s = scores[h * CU_SPLIT + i], w = s == -CUDART_INF_F ? 0 : expf(s - top);
            scores[h * CU_SPLIT + i] = w;
            sum += w;
        }
        sum = cu_warp_sum(sum);
        if (lane == 0) {
            most[h] = top;
            total[h] = sum;
        }
    }
}

static __device__ inline float *part_of(const struct cu_attend &p, uint32_t row, uint32_t head,
                                        uint32_t split)
{
    uint32_t n = p.serial ? 1 : p.splits, at = p.serial ? 0 : split;
    return p.part + (((uint64_t)row * p.heads + head) * n + at) * (p.kv.v_dim + 2);
}

/* What was summed up so far, and how the next part of it joins. */
struct merging {
    float top, sum, keep, share;
};

static __device__ inline void join(struct merging *m, float most, float total)
{
    float high = fmaxf(m->top, most);
    m->keep = 1;
    m->share = 0;
    if (most == -CUDART_INF_F)
        return;
    m->keep = m->top == -CUDART_INF_F ? 0 : expf(m->top - high);
    m->share = expf(most - high);
    m->sum = m->sum * m->keep + total * m->share;
    m->top = high;
}

/* Column d of the values, weighed. */
template <int K, int H>
static __device__ inline void add_up(const struct cu_attend &p, const struct job &b, const float *scores,
                                     uint32_t d, float *y)
{
    const struct cu_seq *s = &p.step->seqs[p.step->rows[b.first].seq];
    uint32_t pitch = p.kv.v_offset ? p.kv.v_dim : p.kv.k_dim;
#pragma unroll
    for (int h = 0; h < H; h++)
        y[h] = 0;
    for (uint32_t key = b.from; key < b.to;) {
        const uint8_t *at = cu_kv_head(p.kv, p.step, s, key, b.kv_head) + p.kv.v_offset;
        uint32_t end = (key / p.kv.page_tokens + 1) * p.kv.page_tokens;
        for (end = end < b.to ? end : b.to; key < end; key++) {
            float v = cu_kv_get<K>(p.kv, at, key % p.kv.page_tokens, pitch, d);
#pragma unroll
            for (int h = 0; h < H; h++)
                y[h] = fmaf(scores[h * CU_SPLIT + key % CU_SPLIT], v, y[h]);
        }
    }
}

/* Joins the part to what parts before it left in p.part, or leaves it there; the last one writes y. */
template <int K, int H>
static __device__ inline void hand_over(const struct cu_attend &p, const struct job &b, uint32_t part,
                                        const float *scores, const float *most, const float *total,
                                        const struct merging *so_far)
{
    for (uint32_t d = threadIdx.x; d < p.kv.v_dim; d += THREADS) {
        float y[H];
        add_up<K, H>(p, b, scores, d, y);
#pragma unroll
        for (int h = 0; h < H; h++) {
            uint32_t row = b.first + h / b.heads, head = b.head + h % b.heads;
            if (row >= b.end)
                continue;
            float *out = part_of(p, row, head, part);
            struct merging m = so_far[h];
            if (!p.serial) {
                out[d] = y[h];
                if (d == 0) {
                    out[p.kv.v_dim] = most[h];
                    out[p.kv.v_dim + 1] = total[h];
                }
                continue;
            }
            join(&m, most[h], total[h]);
            float v = (part ? out[d] : 0) * m.keep + y[h] * m.share;
            out[d] = v;
            if (part + 1 == p.splits) {
                v *= cu_sink(p, head, &m.top, &m.sum);
                cu_at(&p.y, row)[(uint64_t)head * p.kv.v_dim + d] = v / m.sum;
            }
        }
    }
}

/* The keys of the part that any of the job's rows sees. */
static __device__ inline void span(const struct cu_attend &p, uint32_t part, struct job *b)
{
    uint64_t low = 0xffffffffull, high = 0;
    for (uint32_t r = b->first; r < b->end; r++) {
        uint64_t from, to;
        cu_seen(p, &p.step->rows[r], &from, &to);
        low = from < low ? from : low;
        high = to > high ? to : high;
    }
    uint64_t start = (uint64_t)part * CU_SPLIT, stop = start + CU_SPLIT;
    b->from = (uint32_t)(low > start ? low : start);
    b->to = (uint32_t)(high < stop ? high : stop);
    if (b->to < b->from)
        b->to = b->from;
}

/* All parts of the job, or the one of this block. */
template <int K, int H> static __device__ inline void run(const struct cu_attend &p, struct job &b, float *q)
{
    uint32_t wide = (p.kv.k_dim + 7) / 8 * 8, first = p.serial ? 0 : blockIdx.z;
    float *scores = q + H * wide, *most = scores + H * CU_SPLIT, *total = most + H;
    struct merging *so_far = (struct merging *)(total + H);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < H * wide; i += THREADS) {
        uint32_t h = i / wide, d = i % wide, row = b.first + h / b.heads;
        bool in = row < b.end && d < p.kv.k_dim;
        q[i] = in ? cu_at(&p.q, row)[(uint64_t)(b.head + h % b.heads) * p.kv.k_dim + d] : 0;
    }
    for (uint32_t h = threadIdx.x; h < H; h += THREADS)
        so_far[h] = {-CUDART_INF_F, 0, 1, 0};
    for (uint32_t part = first; part < (p.serial ? p.splits : first + 1); part++) {
        span(p, part, &b);
        __syncthreads();
        score<K, H>(p, b, part, q, scores);
        __syncthreads();
        weigh<H>(scores, most, total);
        __syncthreads();
        hand_over<K, H>(p, b, part, scores, most, total, so_far);
        __syncthreads();
        for (uint32_t h = threadIdx.x; h < H; h += THREADS)
            join(&so_far[h], most[h], total[h]);
    }
}

template <int K, int H> static __device__ void attend(const struct cu_attend &p)
{
    CU_SHARED(float, q);
    uint32_t group = p.heads / p.kv.n_heads, each = group < H ? group : H, tiles = (group + each - 1) / each;
    uint32_t tile = blockIdx.x % tiles, rows = H / each;
    struct job b = {blockIdx.y * rows, 0, blockIdx.x / tiles, 0, each, 0, 0};
    uint32_t last = b.first + rows < p.n ? b.first + rows : p.n;
    b.head = b.kv_head * group + tile * each;
    if (tile * each + each > group)
        b.heads = group - tile * each;
    cu_begin();
    for (; b.first < last; b.first = b.end) {
        const struct cu_row *rows = p.step->rows;
        for (b.end = b.first + 1; b.end < last; b.end++)
            if (rows[b.end].seq != rows[b.first].seq)
                break;
        if (!cu_is_prompt(p, &rows[b.first]))
            run<K, H>(p, b, q);
    }
}

/* One row and head: the parts in order. A thread an element. */
CU_KERNEL_FLAT(attend_merge, cu_attend, THREADS)
{
    uint32_t head = blockIdx.x, row = blockIdx.y;
    cu_begin();
    if (cu_is_prompt(p, &p.step->rows[row]))
        return;
    for (uint32_t d = threadIdx.x; d < p.kv.v_dim; d += THREADS) {
        struct merging m = {-CUDART_INF_F, 0, 1, 0};
        float y = 0;
        for (uint32_t i = 0; i < p.splits; i++) {
            const float *part = part_of(p, row, head, i);
            join(&m, part[p.kv.v_dim], part[p.kv.v_dim + 1]);
            y = y * m.keep + part[d] * m.share;
        }
        y *= cu_sink(p, head, &m.top, &m.sum);
        cu_at(&p.y, row)[(uint64_t)head * p.kv.v_dim + d] = y / m.sum;
    }
}

#define ATTEND(type, h) \
    CU_KERNEL(attend_##type##_##h, cu_attend, THREADS) \
    { \
        attend<CU_##type, h>(p); \
    }
#define ATTEND_ALL(type) ATTEND(type, 1) ATTEND(type, 4) ATTEND(type, 8) ATTEND(type, 16)
ATTEND_ALL(F32)
ATTEND_ALL(F16)
ATTEND_ALL(BF16)
ATTEND_ALL(Q8_0)
ATTEND_ALL(F8)

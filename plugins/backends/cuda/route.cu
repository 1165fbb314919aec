/* route.cu - mixtures of experts: which experts a row chooses, and the pairs of rows and experts sorted.
 *
 * A choice depends on its row alone; equal scores fall to the lower number.
 */
#include "cu.h"

/* rz/program.h: RZ_ROUTE_* */
#define SOFTMAX 0
#define SIGMOID 1
#define SOFTMAX_CHOSEN 2
#define SPARSE_MIXER 3

/* The number of the largest of n, to every thread of the warp. */
static __device__ inline uint32_t best_of(const float *x, uint32_t n, float *value)
{
    uint32_t best = 0xffffffffu;
    *value = -CUDART_INF_F;
    for (uint32_t i = threadIdx.x; i < n; i += CU_WARP)
        if (best == 0xffffffffu || x[i] > *value) {
            *value = x[i];
            best = i;
        }
    return cu_warp_best(value, best);
}

static __device__ inline float softmax_sum(const float *x, uint32_t n, float top)
{
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < n; i += CU_WARP)
        sum += expf(x[i] - top);
    return cu_warp_sum(sum);
}

/* Scores of the experts, and the weights of those that are chosen. */
static __device__ inline void score_all(const struct cu_route &p, const float *logits, float *score,
                                        float *weight)
{
    float top, sum;
    best_of(logits, p.experts, &top);
    sum = softmax_sum(logits, p.experts, top);
    for (uint32_t i = threadIdx.x; i < p.experts; i += CU_WARP) {
        float w = logits[i];
        if (p.rule == SOFTMAX)
            w = expf(w - top) / sum;
        else if (p.rule == SIGMOID)
            w = 1 / (1 + expf(-w));
        weight[i] = w;
        score[i] = p.bias ? w + p.bias[i] : w;
    }
    __syncwarp();
}

/* The sum of the n_best (one or two) largest of n: one thread. */
static __device__ inline float rank_of(const float *x, uint32_t n, uint32_t n_best)
{
    float first = -CUDART_INF_F, second = -CUDART_INF_F;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] > first) {
            second = first;
            first = x[i];
        } else if (x[i] > second) {
            second = x[i];
        }
    }
    return n_best > 1 && n > 1 ? first + second : first;
}

/* Strikes out the scores of the groups that are not chosen from; of equal groups the last goes first. */
static __device__ inline void keep_groups(const struct cu_route &p, float *score, float *rank)
{
    uint32_t size = p.experts / p.groups;
    for (uint32_t g = threadIdx.x; g < p.groups; g += CU_WARP)
        rank[p.groups - 1 - g] = -rank_of(score + g * size, size, p.rank);
    __syncwarp();
    for (uint32_t out = p.groups - p.keep; out; out--) {
        float value;
        uint32_t at = best_of(rank, p.groups, &value), worst = p.groups - 1 - at;
        __syncwarp();
        if (threadIdx.x == 0)
            rank[at] = -CUDART_INF_F;
        for (uint32_t i = threadIdx.x; i < size; i += CU_WARP)
            score[worst * size + i] = -CUDART_INF_F;
        __syncwarp();
    }
}

/* Its share in a softmax over the logits that are left and near to it. */
static __device__ inline float mixer_weight(const struct cu_route &p, const float *logits, const float *left,
                                            float top)
{
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < p.experts; i += CU_WARP)
        if (!((top - logits[i]) / fmaxf(fabsf(logits[i]), top) > 2 * (float)p.near))
            sum += expf(left[i] - top);
    return 1 / cu_warp_sum(sum);
}

CU_KERNEL(routes, cu_route, CU_WARP)
{
    CU_SHARED(float, score);
    float *weight = score + p.experts, *chosen = weight + p.experts, *rank = chosen + p.used, top;
    const float *logits = cu_at(&p.logits, blockIdx.x);
    float *ids = cu_at(&p.ids, blockIdx.x), *weights = cu_at(&p.weights, blockIdx.x), sum = 0;
    cu_begin();
    score_all(p, logits, score, weight);
    if (p.groups)
        keep_groups(p, score, rank);
    for (uint32_t k = 0; k < p.used; k++) {
        uint32_t best = best_of(score, p.experts, &top);
        float w = p.rule == SPARSE_MIXER ? mixer_weight(p, logits, score, top) : weight[best];
        __syncwarp();
        if (threadIdx.x == 0) {
            chosen[k] = w;
            score[best] = -CUDART_INF_F;
            ids[k] = (float)best;
        }
        __syncwarp();
    }
    if (threadIdx.x)
        return;
    if (p.rule == SOFTMAX_CHOSEN) {
        float all = 0;
        top = chosen[0];
        for (uint32_t k = 1; k < p.used; k++)
            top = fmaxf(top, chosen[k]);
        for (uint32_t k = 0; k < p.used; k++)
            all += expf(chosen[k] - top);
        for (uint32_t k = 0; k < p.used; k++)
            chosen[k] = expf(chosen[k] - top) / all;
    }
    for (uint32_t k = 0; k < p.used; k++)
        sum += chosen[k];
    float factor = p.renorm ? (float)p.factor / (sum + (float)p.add) : (float)p.factor;
    for (uint32_t k = 0; k < p.used; k++)
        weights[k] = chosen[k] * factor;
}

/* The pairs by expert, those of one expert in the order of the rows, and the tiles of at most p.tile
 * pairs. A thread an expert; one block. */
CU_KERNEL(groups, cu_group, CU_THREADS)
{
    CU_SHARED(uint32_t, count);
    uint32_t *first_tile = count + p.experts + 1, pairs = p.n * p.used;
    cu_begin();
    for (uint32_t e = threadIdx.x; e < p.experts; e += CU_THREADS) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < pairs; i++)
            n += (uint32_t)cu_at(&p.ids, i / p.used)[i % p.used] == e;
        count[e] = n;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t at = 0, tiles = 0;
        for (uint32_t e = 0; e < p.experts; e++) {
            uint32_t n = count[e];
            count[e] = at;
            first_tile[e] = tiles;
            at += n;
            tiles += (n + p.tile - 1) / p.tile;
        }
        count[p.experts] = at;
        *p.n_tiles = tiles;
    }
    __syncthreads();
    for (uint32_t e = threadIdx.x; e < p.experts; e += CU_THREADS) {
        uint32_t at = count[e], tile = first_tile[e], end = count[e + 1];
        for (uint32_t from = at; from < end; from += p.tile, tile++) {
            p.tiles[3 * tile] = e;
            p.tiles[3 * tile + 1] = from;
            p.tiles[3 * tile + 2] = end - from < p.tile ? end - from : p.tile;
        }
        for (uint32_t i = 0; i < pairs; i++)
            if ((uint32_t)cu_at(&p.ids, i / p.used)[i % p.used] == e)
                p.order[at++] = i;
    }
}

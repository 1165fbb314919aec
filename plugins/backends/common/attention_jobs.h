/* attention_jobs.h - which queries meet which keys: jobs, their sharing out, and the merging of splits.
 *
 * The query heads of one KV head, and rows that follow each other, read each key and value once.
 * Keys are taken in splits of 256 absolute positions, merged in order; splits that no query of a job sees
 * are left out. Few rows spread their splits over the team; many rows keep them in one tile: the same
 * arithmetic, so the same bits.
 */
#ifndef RZ_X86_ATTENTION_JOBS_H
#define RZ_X86_ATTENTION_JOBS_H

#include "attention.h"
#include "vec.h"

#include <math.h>
#include <string.h>

#define SPREAD_ROWS 4 /* up to this many rows, splits are spread       */

/* Nothing yet. */
static void empty(struct partial *total, uint64_t dim)
{
    total->max = -INFINITY;
    total->sum = 0;
    memset(total->y, 0, dim * sizeof(float));
}

/* total = total (+) part, where both are relative to their own maximum. */
static void merge(struct partial *total, const struct partial *part, uint64_t dim)
{
    if (part->max == -INFINITY)
        return;
    uint64_t d = 0;
    if (total->max == -INFINITY) { /* as below, with factors 0 and 1 */
        total->max = part->max;
        total->sum = part->sum;
        for (; d + 8 <= dim; d += 8)
            _mm256_storeu_ps(total->y + d, _mm256_add_ps(_mm256_loadu_ps(part->y + d), _mm256_setzero_ps()));
        for (; d < dim; d++)
            total->y[d] = part->y[d] + 0.0f;
        return;
    }
    float max = total->max > part->max ? total->max : part->max;
    float factor[8] = {total->max - max, part->max - max};
    _mm256_storeu_ps(factor, vec_exp(_mm256_loadu_ps(factor)));
    const __m256 keep = _mm256_set1_ps(factor[0]), add = _mm256_set1_ps(factor[1]);
    total->max = max;
    total->sum = fmaf(part->sum, factor[1], total->sum * factor[0]);
    for (; d + 8 <= dim; d += 8)
        _mm256_storeu_ps(total->y + d, _mm256_fmadd_ps(_mm256_loadu_ps(part->y + d), add,
                                                       _mm256_mul_ps(_mm256_loadu_ps(total->y + d), keep)));
    for (; d < dim; d++)
        total->y[d] = fmaf(part->y[d], factor[1], total->y[d] * factor[0]);
}

/* A sink is one more score, without a value: it takes its share. */
static void finish(const struct rz_kernel_node *n, uint64_t query_head, struct partial *total, float *out,
                   uint64_t dim)
{
    if (node_has(n, RZ_A_SINKS)) {
        struct partial sink = {.max = node_vector(n, 0)[query_head], .sum = 1};
        memset(sink.y, 0, dim * sizeof(float));
        merge(total, &sink, dim);
    }
    uint64_t d = 0;
    for (; d + 8 <= dim; d += 8)
        _mm256_storeu_ps(out + d, _mm256_div_ps(_mm256_loadu_ps(total->y + d), _mm256_set1_ps(total->sum)));
    for (; d < dim; d++)
        out[d] = total->y[d] / total->sum;
}

/* --- jobs --- */

/* The positions first .. end - 1 that a row sees. */
struct reach {
    uint32_t first, end;
};

static struct reach reach_of(const struct rz_kernel_call *c, uint32_t row)
{
    const struct rz_kernel_node *n = c->node;
    const struct rz_batch_seq *s = &c->step->seqs[c->step->rows[row].seq];
    uint64_t pos = (uint64_t)c->step->rows[row].pos[0];
    uint64_t window = node_has(n, RZ_A_WINDOW) ? (uint64_t)n->attr[RZ_A_WINDOW].i : UINT32_MAX;
    bool ahead = node_has(n, RZ_A_BOTH) && s->mask == RZ_MASK_ALL;
    uint64_t end = pos + (ahead ? window : 1), first = pos + 1 > window ? pos + 1 - window : 0;
    if (node_has(n, RZ_A_CHUNK) && pos - pos % (uint64_t)n->attr[RZ_A_CHUNK].i > first)
        first = pos - pos % (uint64_t)n->attr[RZ_A_CHUNK].i;
    return (struct reach){(uint32_t)first, end < s->length ? (uint32_t)end : s->length};
}

/* Press et al. 2021, arXiv:2108.12409, with their rule for head counts that are no power of two. */
static float alibi_slope(const struct rz_kernel_node *n, uint64_t head)
{
    double most = n->attr[RZ_A_ALIBI].f;
    uint64_t power = 1;
    if (!node_has(n, RZ_A_ALIBI))
        return 0;
    while (power * 2 <= (uint64_t)n->attr[RZ_A_N_HEAD].i)
        power *= 2;
    if (head < power)
        return (float)exp2(-most * (double)(head + 1) / (double)power);
    return (float)exp2(-most * (double)(2 * (head - power) + 1) / (double)(2 * power));
}

/* Fills a job with heads h0 .. h0+heads-1 of the query group of `head`, for n_rows rows that follow each
 * other in one sequence. Queries are ordered by row, then head. */
static void job_fill(struct job *j, const struct rz_kernel_call *c, uint32_t row, uint32_t n_rows,
                     uint64_t head, uint64_t h0, uint64_t heads, bool coarse)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t group = (uint64_t)(a[RZ_A_N_HEAD].i / a[RZ_A_N_KV_HEAD].i);
    float scale = (float)a[RZ_A_SCALE].f;
    bool capped = node_has(c->node, RZ_A_SOFTCAP);
    j->kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    j->pages = c->step->seqs[c->step->rows[row].seq].pages[a[RZ_A_KV_GROUP].i];
    j->layer = (uint64_t)a[RZ_A_KV_LAYER].i;
    j->head = head;
    j->dim = (uint64_t)a[RZ_A_HEAD_DIM].i;
    j->softcap = capped ? (float)a[RZ_A_SOFTCAP].f : 0;
    j->coarse = coarse;
    j->n = 0;
    for (uint32_t r = row; r < row + n_rows; r++) {
        struct reach reach = reach_of(c, r);
        for (uint64_t h = h0; h < h0 + heads; h++, j->n++) {
            const float *q = c->in[0].data + r * c->in[0].stride + (head * group + h) * j->dim;
            j->pos[j->n] = (uint32_t)c->step->rows[r].pos[0];
            j->first[j->n] = reach.first;
            j->end[j->n] = reach.end;
            j->slope[j->n] = alibi_slope(c->node, head * group + h);
            act_map(&(struct act_map){.factor = scale}, q, j->q + (uint64_t)j->n * j->dim, j->dim);
        }
    }
    attention_begin(j);
}

/* Rows from `row` on that follow each other in one sequence, at most n. */
static uint32_t run_of_rows(const struct rz_step *step, uint32_t row, uint32_t n)
{
    uint32_t k = 1;
    while (k < n && step->rows[row + k].seq == step->rows[row].seq &&
           step->rows[row + k].pos[0] == step->rows[row].pos[0] + (int32_t)k)
        k++;
    return k;
}

static float *out_of(const struct rz_kernel_call *c, uint32_t row, uint64_t query_head, uint64_t dim)
{
    return c->out[0].data + row * c->out[0].stride + query_head * dim;
}

/* Many rows: a tile is ROWS rows of one KV head, all splits one after the other. */
static void run_rows(const struct rz_kernel_call *c, uint32_t row, uint32_t n_rows, uint64_t head,
                     bool coarse)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t group = (uint64_t)(a[RZ_A_N_HEAD].i / a[RZ_A_N_KV_HEAD].i);
    struct job j;
    float w[QUERIES][SPLIT];
    struct partial part[QUERIES], total[QUERIES];
    for (uint32_t done = 0, n; done < n_rows; done += n) {
        n = run_of_rows(c->step, row + done, n_rows - done);
        uint64_t heads = QUERIES / n < group ? QUERIES / n : group;
        for (uint64_t h0 = 0; h0 < group; h0 += heads) {
            uint64_t k = group - h0 < heads ? group - h0 : heads;
            job_fill(&j, c, row + done, n, head, h0, k, coarse);
            for (int i = 0; i < j.n; i++)
                empty(&total[i], j.dim);
            uint64_t end = j.end[j.n - 1];
            for (uint64_t begin = j.first[0] / SPLIT * SPLIT; begin < end; begin += SPLIT) {
                attention_split(&j, begin, end < begin + SPLIT ? end : begin + SPLIT, w, part);
                for (int i = 0; i < j.n; i++)
                    merge(&total[i], &part[i], j.dim);
            }
            for (int i = 0; i < j.n; i++) {
                uint64_t query = head * group + h0 + (uint64_t)i % k;
                finish(c->node, query, &total[i],
                       out_of(c, row + done + (uint32_t)((uint64_t)i / k), query, j.dim), j.dim);
            }
        }
    }
}

/* --- few rows: a tile is one split of one row and KV head; partials go to scratch --- */

static uint64_t partial_floats(uint64_t dim)
{
    return 2 + dim;
}

/* Splits that a row sees something of: first .. first + n - 1. */
struct splits {
    uint32_t first, n;
};

static struct splits splits_of(const struct rz_kernel_call *c, uint32_t row)
{
    struct reach r = reach_of(c, row);
    return (struct splits){r.first / SPLIT, (r.end - 1) / SPLIT + 1 - r.first / SPLIT};
}

/* Split number `split` of the max_splits that some row sees. A lone one is all there is of its queries. */
static void run_split(const struct rz_kernel_call *c, uint32_t row, uint64_t head, uint32_t split,
                      uint32_t max_splits, bool coarse)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t group = (uint64_t)(a[RZ_A_N_HEAD].i / a[RZ_A_N_KV_HEAD].i), dim = (uint64_t)a[RZ_A_HEAD_DIM].i;
    struct job j;
    float w[QUERIES][SPLIT];
    struct partial part[QUERIES], total;
    for (uint64_t h0 = 0; h0 < group; h0 += QUERIES) {
        job_fill(&j, c, row, 1, head, h0, group - h0 < QUERIES ? group - h0 : QUERIES, coarse);
        uint64_t begin = ((uint64_t)j.first[0] / SPLIT + split) * SPLIT, end = j.end[0];
        attention_split(&j, begin, end < begin + SPLIT ? end : begin + SPLIT, w, part);
        for (int i = 0; i < j.n; i++) {
            uint64_t query_head = head * group + h0 + (uint64_t)i;
            uint64_t query = row * (uint64_t)a[RZ_A_N_HEAD].i + query_head;
            float *out = (float *)c->scratch + (query * max_splits + split) * partial_floats(dim);
            if (max_splits == 1) {
                empty(&total, dim);
                merge(&total, &part[i], dim);
                finish(c->node, query_head, &total, out_of(c, row, query_head, dim), dim);
                continue;
            }
            out[0] = part[i].max;
            out[1] = part[i].sum;
            memcpy(out + 2, part[i].y, dim * sizeof(float));
        }
    }
}

static void merge_query(const struct rz_kernel_call *c, uint32_t row, uint64_t head, uint32_t max_splits)
{
    uint64_t dim = (uint64_t)c->node->attr[RZ_A_HEAD_DIM].i,
             query = row * (uint64_t)c->node->attr[RZ_A_N_HEAD].i + head;
    struct partial total, part;
    empty(&total, dim);
    for (uint32_t s = 0; s < splits_of(c, row).n; s++) {
        const float *in = (const float *)c->scratch + (query * max_splits + s) * partial_floats(dim);
        part.max = in[0];
        part.sum = in[1];
        memcpy(part.y, in + 2, dim * sizeof(float));
        merge(&total, &part, dim);
    }
    finish(c->node, head, &total, out_of(c, row, head, dim), dim);
}

static void run_spread(const struct rz_kernel_call *c, uint64_t n_kv_head, bool coarse)
{
    uint32_t max_splits = 1;
    for (uint32_t r = 0; r < c->n_rows; r++)
        max_splits = splits_of(c, r).n > max_splits ? splits_of(c, r).n : max_splits;
    uint32_t per_row = (uint32_t)n_kv_head * max_splits, n_head = (uint32_t)c->node->attr[RZ_A_N_HEAD].i;
    struct share share = share_out(c, c->n_rows * per_row);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        uint32_t row = (uint32_t)t / per_row, head = (uint32_t)t % per_row / max_splits,
                 split = (uint32_t)t % max_splits;
        if (max_splits == 1 || split < splits_of(c, row).n)
            run_split(c, row, head, split, max_splits, coarse);
    }
    if (max_splits == 1)
        return;
    wait_for_team(c);
    for (uint32_t t = c->tid; t < c->n_rows * n_head; t += c->n_threads)
        merge_query(c, t / n_head, t % n_head, max_splits);
}

/* Rows of one tile: as many as share their reads, but enough tiles for all threads. */
static uint32_t rows_of_tile(const struct rz_kernel_call *c, uint32_t n_kv_head)
{
    uint32_t rows = ROWS_AT_ONCE;
    while (rows > 1 && (c->n_rows + rows - 1) / rows * n_kv_head < 4 * c->n_threads)
        rows /= 2;
    return rows;
}

/* Where some matrix is quantised its activations are rounded too, and more than products of bfloat16 are. */
static bool quantised_program(const struct rz_kernel_node *n)
{
    const uint64_t exact = 1ull << RZ_TYPE_F32 | 1ull << RZ_TYPE_F16 | 1ull << RZ_TYPE_BF16 |
                           1ull << RZ_TYPE_F64 | 1ull << RZ_TYPE_I8 | 1ull << RZ_TYPE_I16 |
                           1ull << RZ_TYPE_I32 | 1ull << RZ_TYPE_I64;
    return RZ_HAS(n, matrix_types) && n->matrix_types & ~exact;
}

int32_t attention(const struct rz_kernel_call *c, int coarse)
{
    coarse = coarse && quantised_program(c->node);
    uint32_t n_kv_head = (uint32_t)c->node->attr[RZ_A_N_KV_HEAD].i;
    if (c->n_rows <= SPREAD_ROWS) {
        run_spread(c, n_kv_head, coarse);
        return RZ_OK;
    }
    uint32_t rows = rows_of_tile(c, n_kv_head);
    struct share share = share_out(c, (c->n_rows + rows - 1) / rows * n_kv_head);
    for (int32_t t; (t = share_take(c, &share)) >= 0;) {
        uint32_t row = (uint32_t)t / n_kv_head * rows;
        run_rows(c, row, c->n_rows - row < rows ? c->n_rows - row : rows, (uint32_t)t % n_kv_head, coarse);
    }
    return RZ_OK;
}

uint64_t attention_scratch(const struct rz_kernel_node *n, uint32_t max_rows, uint32_t n_threads)
{
    (void)n_threads;
    uint64_t rows = max_rows < SPREAD_ROWS ? max_rows : SPREAD_ROWS, splits = n->max_context / SPLIT + 1;
    return rows * (uint64_t)n->attr[RZ_A_N_HEAD].i * splits *
           partial_floats((uint64_t)n->attr[RZ_A_HEAD_DIM].i) * sizeof(float);
}

int32_t attention_accept(const struct rz_kernel_node *n)
{
    return n->attr[RZ_A_HEAD_DIM].i <= HEAD_MAX &&
           (n->op != RZ_OP_ATTENTION || !n->n_weights || n->weights[0].type == RZ_TYPE_F32);
}

#endif

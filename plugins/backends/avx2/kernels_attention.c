/* kernels_attention.c - KV pages and attention over them, in float32 with keys and values in f16 or f32.
 *
 * Keys lie in blocks of eight positions side by side (RZ_KV_LAYOUT_T8), so that lanes are positions and
 * a score needs no horizontal sum. The query heads of one KV head, and up to four rows that follow each
 * other, read each key and value once. Keys are taken in splits of 256 absolute positions; inside a
 * split positions add up in ascending order, and splits are merged in order. Few rows spread their
 * splits over the team; many rows keep them in one tile: the same arithmetic, so the same bits.
 */
#include "avx2.h"
#include "numeric.h"
#include "vec.h"

#include <math.h>
#include <string.h>

#define SPLIT RZ_ATTENTION_SPLIT
#define ROWS 4        /* rows of a sequence that share their reads     */
#define QUERIES 16    /* (row, head) pairs worked on together          */
#define HEAD_MAX 256  /* largest head                                  */
#define SPREAD_ROWS 4 /* up to this many rows, splits are spread       */

/* What a tile works on: queries of one KV head and one sequence. */
struct job {
    const struct rz_kv_view *kv;
    const int32_t *pages;
    uint64_t layer, head, dim;
    int n;                      /* queries                                      */
    uint32_t length[QUERIES];   /* positions that the query sees                */
    float q[QUERIES][HEAD_MAX]; /* scaled                                      */
};

/* A query's sum over some positions: weights relative to max. */
struct partial {
    float max, sum;
    float y[HEAD_MAX];
};

INLINE __m256 load8(const uint8_t *p, uint64_t index, const int f32)
{
    if (f32)
        return _mm256_loadu_ps((const float *)p + index);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)p + index)));
}

static const uint8_t *page_of(const struct job *j, uint64_t pos)
{
    uint64_t page = (uint64_t)j->pages[pos / j->kv->page_tokens];
    return j->kv->base + page * j->kv->page_bytes + j->layer * j->kv->layer_bytes +
           j->head * j->kv->head_bytes;
}

/* Scores of n queries for two blocks of eight positions. */
INLINE void scores_tile(const struct job *j, int first, const uint8_t *k, float (*s)[SPLIT], uint64_t at,
                        const int n, const int blocks, const int f32)
{
    __m256 acc[4][2];
    UNROLL
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (uint64_t d = 0; d < j->dim; d++) {
        __m256 k0 = load8(k, 8 * d, f32), k1 = blocks == 2 ? load8(k, 8 * (j->dim + d), f32) : k0;
        UNROLL
        for (int i = 0; i < n; i++) {
            __m256 q = _mm256_set1_ps(j->q[first + i][d]);
            acc[i][0] = _mm256_fmadd_ps(k0, q, acc[i][0]);
            if (blocks == 2)
                acc[i][1] = _mm256_fmadd_ps(k1, q, acc[i][1]);
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        _mm256_storeu_ps(&s[first + i][at], acc[i][0]);
        if (blocks == 2)
            _mm256_storeu_ps(&s[first + i][at + 8], acc[i][1]);
    }
}

INLINE void scores_n(const struct job *j, int first, const uint8_t *k, float (*s)[SPLIT], uint64_t at, int n,
                     const int blocks, const int f32)
{
    switch (n) {
    case 1:
        scores_tile(j, first, k, s, at, 1, blocks, f32);
        break;
    case 2:
        scores_tile(j, first, k, s, at, 2, blocks, f32);
        break;
    case 3:
        scores_tile(j, first, k, s, at, 3, blocks, f32);
        break;
    default:
        scores_tile(j, first, k, s, at, 4, blocks, f32);
        break;
    }
}

/* Scores of all queries for positions begin .. end, whole blocks; lanes past a query's length are
 * overwritten later. */
INLINE void scores_all(const struct job *j, uint64_t begin, uint64_t end, float (*s)[SPLIT], const int f32)
{
    uint64_t element = f32 ? 4 : 2;
    for (uint64_t pos = begin; pos < end;) {
        uint64_t in_page = pos % j->kv->page_tokens;
        const uint8_t *k = page_of(j, pos) + in_page / 8 * 8 * j->dim * element;
        bool two = end - pos > 8 && j->kv->page_tokens - in_page > 8;
        for (int i = 0; i < j->n; i += 4) {
            int n = j->n - i < 4 ? j->n - i : 4;
            if (two)
                scores_n(j, i, k, s, pos - begin, n, 2, f32);
            else
                scores_n(j, i, k, s, pos - begin, n, 1, f32);
        }
        pos += two ? 16 : 8;
    }
}

/* Turns n scores into weights exp(s - max); returns max and sum. The rest of the last eight is 0. */
static void softmax(float *s, uint64_t n, float *max, float *sum)
{
    uint64_t whole = (n + 7) / 8 * 8;
    for (uint64_t i = n; i < whole; i++)
        s[i] = -INFINITY;
    __m256 top = _mm256_loadu_ps(s);
    for (uint64_t i = 8; i < whole; i += 8)
        top = _mm256_max_ps(top, _mm256_loadu_ps(s + i));
    *max = vec_max(top);
    __m256 m = _mm256_set1_ps(*max), total = _mm256_setzero_ps();
    for (uint64_t i = 0; i < whole; i += 8) {
        __m256 e = vec_exp(_mm256_sub_ps(_mm256_loadu_ps(s + i), m));
        _mm256_storeu_ps(s + i, e);
        total = _mm256_add_ps(total, e);
    }
    *sum = vec_sum(total);
}

/* y[i] += sum over positions from..to of weight * value, for n queries and 8 * vectors elements. */
INLINE void values_tile(const struct job *j, int first, float (*w)[SPLIT], uint64_t begin, uint64_t from,
                        uint64_t to, uint64_t d, struct partial *p, const int n, const int vectors,
                        const int f32)
{
    __m256 acc[4][2];
    UNROLL
    for (int i = 0; i < n; i++)
        for (int v = 0; v < vectors; v++)
            acc[i][v] = _mm256_loadu_ps(p[first + i].y + d + 8 * (uint64_t)v);
    for (uint64_t pos = from; pos < to;) {
        uint64_t slot = pos % j->kv->page_tokens, left = j->kv->page_tokens - slot;
        uint64_t count = to - pos < left ? to - pos : left;
        const uint8_t *values = page_of(j, pos) + j->kv->v_offset;
        for (uint64_t k = 0; k < count; k++) {
            uint64_t index = (slot + k) * j->dim + d;
            __m256 v0 = load8(values, index, f32), v1 = vectors == 2 ? load8(values, index + 8, f32) : v0;
            UNROLL
            for (int i = 0; i < n; i++) {
                __m256 weight = _mm256_set1_ps(w[first + i][pos + k - begin]);
                acc[i][0] = _mm256_fmadd_ps(weight, v0, acc[i][0]);
                if (vectors == 2)
                    acc[i][1] = _mm256_fmadd_ps(weight, v1, acc[i][1]);
            }
        }
        pos += count;
    }
    UNROLL
    for (int i = 0; i < n; i++)
        for (int v = 0; v < vectors; v++)
            _mm256_storeu_ps(p[first + i].y + d + 8 * (uint64_t)v, acc[i][v]);
}

INLINE void values_n(const struct job *j, int first, float (*w)[SPLIT], uint64_t begin, uint64_t from,
                     uint64_t to, uint64_t d, struct partial *p, int n, const int vectors, const int f32)
{
    switch (n) {
    case 1:
        values_tile(j, first, w, begin, from, to, d, p, 1, vectors, f32);
        break;
    case 2:
        values_tile(j, first, w, begin, from, to, d, p, 2, vectors, f32);
        break;
    case 3:
        values_tile(j, first, w, begin, from, to, d, p, 3, vectors, f32);
        break;
    default:
        values_tile(j, first, w, begin, from, to, d, p, 4, vectors, f32);
        break;
    }
}

/* One element of the head at a time, for heads that are no multiple of 8. */
static void values_tail(const struct job *j, int i, float (*w)[SPLIT], uint64_t begin, uint64_t from,
                        uint64_t to, uint64_t d, struct partial *p)
{
    float y = p[i].y[d];
    for (uint64_t pos = from; pos < to; pos++) {
        uint64_t index = pos % j->kv->page_tokens * j->dim + d;
        const uint8_t *values = page_of(j, pos) + j->kv->v_offset;
        float v = j->kv->type == RZ_TYPE_F32 ? ((const float *)values)[index]
                                             : rz_f16_to_f32(((const uint16_t *)values)[index]);
        y = fmaf(w[i][pos - begin], v, y);
    }
    p[i].y[d] = y;
}

/* Queries first..first+n-1 over positions from..to, all elements of the head. */
INLINE void values_range(const struct job *j, int first, int n, float (*w)[SPLIT], uint64_t begin,
                         uint64_t from, uint64_t to, struct partial *p, const int f32)
{
    uint64_t d = 0;
    if (from >= to)
        return;
    for (; d + 16 <= j->dim; d += 16)
        values_n(j, first, w, begin, from, to, d, p, n, 2, f32);
    for (; d + 8 <= j->dim; d += 8)
        values_n(j, first, w, begin, from, to, d, p, n, 1, f32);
    for (; d < j->dim; d++)
        for (int i = 0; i < n; i++)
            values_tail(j, first + i, w, begin, from, to, d, p);
}

/* All queries over one split. What all queries of a four see is read once; the last positions of the
 * longer ones follow one query at a time, in the same order of additions. */
INLINE void split_run(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT], struct partial *p,
                      const int f32)
{
    scores_all(j, begin, end, w, f32);
    for (int i = 0; i < j->n; i++) {
        memset(p[i].y, 0, j->dim * sizeof(float));
        p[i].max = -INFINITY;
        p[i].sum = 0;
        if (j->length[i] > begin)
            softmax(w[i], (j->length[i] < end ? j->length[i] : end) - begin, &p[i].max, &p[i].sum);
    }
    for (int i = 0; i < j->n; i += 4) {
        int n = j->n - i < 4 ? j->n - i : 4;
        uint64_t common = end;
        for (int k = 0; k < n; k++)
            common = j->length[i + k] < common ? j->length[i + k] : common;
        values_range(j, i, n, w, begin, begin, common, p, f32);
        for (int k = 0; k < n; k++)
            values_range(j, i + k, 1, w, begin, common > begin ? common : begin,
                         j->length[i + k] < end ? j->length[i + k] : end, p, f32);
    }
}

static void split_any(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT], struct partial *p)
{
    if (j->kv->type == RZ_TYPE_F32)
        split_run(j, begin, end, w, p, 1);
    else
        split_run(j, begin, end, w, p, 0);
}

/* total = total (+) part, where both are relative to their own maximum. */
static void merge(struct partial *total, const struct partial *part, uint64_t dim)
{
    if (part->max == -INFINITY)
        return;
    float max = fmaxf(total->max, part->max);
    float keep = expf(total->max - max), add = expf(part->max - max);
    total->max = max;
    total->sum = total->sum * keep + part->sum * add;
    for (uint64_t d = 0; d < dim; d++)
        total->y[d] = total->y[d] * keep + part->y[d] * add;
}

static void finish(const struct partial *total, float *out, uint64_t dim)
{
    for (uint64_t d = 0; d < dim; d++)
        out[d] = total->y[d] / total->sum;
}

/* --- jobs --- */

/* Fills a job with heads h0 .. h0+heads-1 of the query group of `head`, for n_rows rows that follow each
 * other in one sequence. Queries are ordered by row, then head. */
static void job_fill(struct job *j, const struct rz_kernel_call *c, uint32_t row, uint32_t n_rows,
                     uint64_t head, uint64_t h0, uint64_t heads)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t group = (uint64_t)(a[RZ_A_N_HEAD].i / a[RZ_A_N_KV_HEAD].i);
    float scale = (float)a[RZ_A_SCALE].f;
    j->kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    j->pages = c->step->seqs[c->step->rows[row].seq].pages[a[RZ_A_KV_GROUP].i];
    j->layer = (uint64_t)a[RZ_A_KV_LAYER].i;
    j->head = head;
    j->dim = (uint64_t)a[RZ_A_HEAD_DIM].i;
    j->n = 0;
    for (uint32_t r = row; r < row + n_rows; r++)
        for (uint64_t h = h0; h < h0 + heads; h++, j->n++) {
            const float *q = c->in[0].data + r * c->in[0].stride + (head * group + h) * j->dim;
            j->length[j->n] = (uint32_t)c->step->rows[r].pos[0] + 1;
            for (uint64_t d = 0; d < j->dim; d++)
                j->q[j->n][d] = q[d] * scale;
        }
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
static void run_rows(const struct rz_kernel_call *c, uint32_t row, uint32_t n_rows, uint64_t head)
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
            job_fill(&j, c, row + done, n, head, h0, k);
            for (int i = 0; i < j.n; i++) {
                total[i].max = -INFINITY;
                total[i].sum = 0;
                memset(total[i].y, 0, j.dim * sizeof(float));
            }
            uint64_t length = j.length[j.n - 1];
            for (uint64_t begin = 0; begin < length; begin += SPLIT) {
                split_any(&j, begin, length < begin + SPLIT ? length : begin + SPLIT, w, part);
                for (int i = 0; i < j.n; i++)
                    merge(&total[i], &part[i], j.dim);
            }
            for (int i = 0; i < j.n; i++)
                finish(&total[i],
                       out_of(c, row + done + (uint32_t)((uint64_t)i / k),
                              head * group + h0 + (uint64_t)i % k, j.dim),
                       j.dim);
        }
    }
}

/* --- few rows: a tile is one split of one row and KV head; partials go to scratch --- */

static uint64_t partial_floats(uint64_t dim)
{
    return 2 + dim;
}

static uint32_t splits_of(const struct rz_kernel_call *c, uint32_t row)
{
    return ((uint32_t)c->step->rows[row].pos[0] + SPLIT) / SPLIT;
}

static void run_split(const struct rz_kernel_call *c, uint32_t row, uint64_t head, uint32_t split,
                      float *scratch, uint32_t max_splits)
{
    const struct rz_attr *a = c->node->attr;
    uint64_t group = (uint64_t)(a[RZ_A_N_HEAD].i / a[RZ_A_N_KV_HEAD].i), dim = (uint64_t)a[RZ_A_HEAD_DIM].i;
    struct job j;
    float w[QUERIES][SPLIT];
    struct partial part[QUERIES];
    for (uint64_t h0 = 0; h0 < group; h0 += QUERIES) {
        job_fill(&j, c, row, 1, head, h0, group - h0 < QUERIES ? group - h0 : QUERIES);
        uint64_t begin = (uint64_t)split * SPLIT, end = j.length[0];
        split_any(&j, begin, end < begin + SPLIT ? end : begin + SPLIT, w, part);
        for (int i = 0; i < j.n; i++) {
            uint64_t query = row * (uint64_t)a[RZ_A_N_HEAD].i + head * group + h0 + (uint64_t)i;
            float *out = scratch + (query * max_splits + split) * partial_floats(dim);
            out[0] = part[i].max;
            out[1] = part[i].sum;
            memcpy(out + 2, part[i].y, dim * sizeof(float));
        }
    }
}

static void merge_query(const struct rz_kernel_call *c, uint32_t row, uint64_t head, const float *scratch,
                        uint32_t max_splits)
{
    uint64_t dim = (uint64_t)c->node->attr[RZ_A_HEAD_DIM].i,
             query = row * (uint64_t)c->node->attr[RZ_A_N_HEAD].i + head;
    struct partial total = {.max = -INFINITY}, part;
    for (uint32_t s = 0; s < splits_of(c, row); s++) {
        const float *in = scratch + (query * max_splits + s) * partial_floats(dim);
        part.max = in[0];
        part.sum = in[1];
        memcpy(part.y, in + 2, dim * sizeof(float));
        merge(&total, &part, dim);
    }
    finish(&total, out_of(c, row, head, dim), dim);
}

static void run_spread(const struct rz_kernel_call *c, uint64_t n_kv_head)
{
    uint32_t max_splits = 1;
    for (uint32_t r = 0; r < c->n_rows; r++)
        max_splits = splits_of(c, r) > max_splits ? splits_of(c, r) : max_splits;
    uint32_t per_row = (uint32_t)n_kv_head * max_splits, n_head = (uint32_t)c->node->attr[RZ_A_N_HEAD].i;
    c->team->share(c->team, c->tid, c->n_rows * per_row);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        uint32_t row = (uint32_t)t / per_row, head = (uint32_t)t % per_row / max_splits,
                 split = (uint32_t)t % max_splits;
        if (split < splits_of(c, row))
            run_split(c, row, head, split, (float *)c->scratch, max_splits);
    }
    c->team->barrier(c->team, c->tid);
    for (uint32_t t = c->tid; t < c->n_rows * n_head; t += c->n_threads)
        merge_query(c, t / n_head, t % n_head, (const float *)c->scratch, max_splits);
}

int32_t attention_run(const struct rz_kernel_call *c, struct rz_err *err)
{
    (void)err;
    uint64_t n_kv_head = (uint64_t)c->node->attr[RZ_A_N_KV_HEAD].i;
    if (c->n_rows <= SPREAD_ROWS) {
        run_spread(c, n_kv_head);
        return RZ_OK;
    }
    uint32_t blocks = (c->n_rows + ROWS - 1) / ROWS;
    c->team->share(c->team, c->tid, blocks * (uint32_t)n_kv_head);
    for (int32_t t; (t = c->team->take(c->team, c->tid)) >= 0;) {
        uint32_t row = (uint32_t)t / (uint32_t)n_kv_head * ROWS;
        run_rows(c, row, c->n_rows - row < ROWS ? c->n_rows - row : ROWS, (uint64_t)t % n_kv_head);
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
    return n->attr[RZ_A_HEAD_DIM].i <= HEAD_MAX;
}

/* --- storing --- */

static void put(const struct rz_kv_view *v, uint8_t *at, uint64_t index, float x)
{
    if (v->type == RZ_TYPE_F32)
        ((float *)at)[index] = x;
    else
        ((uint16_t *)at)[index] =
            (uint16_t)_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT));
}

void attention_store_row(const struct rz_kernel_call *c, uint32_t row, const float *k, const float *v)
{
    const struct rz_attr *a = c->node->attr;
    const struct rz_kv_view *kv = &c->step->kv[a[RZ_A_KV_GROUP].i];
    const struct rz_batch_row *r = &c->step->rows[row];
    uint64_t pos = (uint64_t)r->pos[0], slot = pos % kv->page_tokens, dim = kv->k_dim;
    int32_t page = c->step->seqs[r->seq].pages[a[RZ_A_KV_GROUP].i][pos / kv->page_tokens];
    for (uint64_t h = 0; h < kv->n_heads; h++) {
        uint8_t *at = kv->base + (uint64_t)page * kv->page_bytes +
                      (uint64_t)a[RZ_A_KV_LAYER].i * kv->layer_bytes + h * kv->head_bytes;
        for (uint64_t d = 0; d < dim; d++) {
            put(kv, at, (slot / 8 * dim + d) * 8 + slot % 8, k[h * dim + d]);
            put(kv, at + kv->v_offset, slot * dim + d, v[h * dim + d]);
        }
    }
}

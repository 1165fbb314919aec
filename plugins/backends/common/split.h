/* split.h - attention over one split of the keys: scores, weights, sums of values.
 *
 * Keys lie in blocks of eight positions side by side (RZ_KV_LAYOUT_T8), so that lanes are positions and a
 * score needs no horizontal sum. A few queries read each key and value once. What a query does not
 * see is left out block by block, and inside a block by a weight of zero; the positions that it sees add
 * up in ascending order, each in the lane of its number, whoever else is in the job.
 *
 * The file that includes this says what a vector is: VEC of LANES floats, V(op) for its intrinsics, VEC_EXP,
 * VEC_MAX and VEC_SUM; load_keys and load_values; and for how many queries (QUERIES_AT_ONCE) and vectors of
 * values (VECTORS_AT_ONCE) it has registers.
 */
#ifndef RZ_X86_SPLIT_H
#define RZ_X86_SPLIT_H

#include "attention.h"
#include "kv.h"
#include "vec_math.h"

#include <math.h>
#include <string.h>

/* Where the keys of LANES positions lie: blocks of eight. */
struct keys {
    const uint8_t *at[LANES / 8];
};

/* A coarser way, if the plugin has one for this job: makes its queries ready; does a split. */
static bool coarse_begin(struct job *j);
static void split_coarse(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT],
                         struct partial *p);
/* Element d of the keys of LANES positions, for Q8_0 times scale; elements d .. d + LANES - 1 of a row of
 * values. */
INLINE VEC load_keys(const struct keys *k, uint64_t d, VEC scale, const int type);
INLINE VEC load_values(const uint8_t *row, uint64_t d, const int type);
/* Lanes first .. end - 1 of v, the others -infinity. */
INLINE VEC only_lanes(VEC v, uint64_t first, uint64_t end);

static const uint8_t *page_of(const struct job *j, uint64_t pos)
{
    uint64_t page = (uint64_t)j->pages[pos / j->kv->page_tokens];
    return j->kv->base + page * j->kv->page_bytes + j->layer * j->kv->layer_bytes +
           j->head * j->kv->head_bytes;
}

/* Calls CALL with n as a constant. */
#define QUERIES_N(CALL, n) \
    switch (n) { \
    case 1: \
        CALL(1); \
        break; \
    case 2: \
        CALL(2); \
        break; \
    case 3: \
        CALL(3); \
        break; \
    case 4: \
        CALL(4); \
        break; \
    default: \
        CALL(QUERIES_AT_ONCE); \
        break; \
    }

/* The queries of the next pass, when `left` are left: 1 to 4, or as many as there are registers for. */
static int queries_at_once(int left)
{
    return left >= QUERIES_AT_ONCE ? QUERIES_AT_ONCE : left < 4 ? left : 4;
}

/* --- scores --- */

INLINE void skip_keys(struct keys k[2], uint64_t bytes)
{
    for (uint64_t b = 0; b < LANES / 8; b++) {
        k[0].at[b] += bytes;
        k[1].at[b] += bytes;
    }
}

/* What is fetched while keys are worked on: as many bytes of other keys and of values. */
struct ahead {
    const uint8_t *keys, *values; /* NULL: nothing */
};

/* The part that goes with element d of `bytes` bytes, if a line begins there. */
INLINE void fetch_part(const struct ahead *a, uint64_t d, const uint64_t bytes)
{
    if (a->keys && d * bytes % 64 < bytes) {
        fetch(a->keys + d * bytes);
        fetch(a->values + d * bytes);
    }
}

/* Scores of n queries for one or two vectors of positions. */
INLINE void scores_tile(const struct job *j, int first, const struct keys *k, const struct ahead *ahead,
                        float (*s)[SPLIT], uint64_t at, const int n, const int vectors, const int type)
{
    const float *queries = j->q + (uint64_t)first * j->dim;
    const uint64_t block = type == RZ_TYPE_Q8_0 ? KV_BLOCK : j->dim;
    struct keys at_k[2] = {k[0], k[1]};
    VEC acc[QUERIES_AT_ONCE][2];
    UNROLL
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = V(setzero_ps)();
    for (uint64_t begin = 0; begin < j->dim; begin += block) {
        uint64_t count = j->dim - begin < block ? j->dim - begin : block;
        VEC scale[2] = {V(setzero_ps)(), V(setzero_ps)()};
        if (type == RZ_TYPE_Q8_0) {
            scale[0] = load_keys(&at_k[0], 0, scale[0], RZ_TYPE_F16);
            scale[1] = load_keys(&at_k[1], 0, scale[1], RZ_TYPE_F16);
            skip_keys(at_k, 16);
        }
        for (uint64_t d = 0; d < count; d++) {
            VEC k0 = load_keys(&at_k[0], d, scale[0], type);
            VEC k1 = vectors == 2 ? load_keys(&at_k[1], d, scale[1], type) : k0;
            fetch_part(ahead, begin + d, (uint64_t)vectors * LANES * kv_element(type));
            UNROLL
            for (int i = 0; i < n; i++) {
                VEC q = V(set1_ps)(queries[(uint64_t)i * j->dim + begin + d]);
                acc[i][0] = V(fmadd_ps)(k0, q, acc[i][0]);
                if (vectors == 2)
                    acc[i][1] = V(fmadd_ps)(k1, q, acc[i][1]);
            }
        }
        skip_keys(at_k, 8 * count * kv_element(type));
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        V(storeu_ps)(&s[first + i][at], acc[i][0]);
        if (vectors == 2)
            V(storeu_ps)(&s[first + i][at + LANES], acc[i][1]);
    }
}

INLINE void scores_n(const struct job *j, int first, const struct keys *k, const struct ahead *ahead,
                     float (*s)[SPLIT], uint64_t at, int n, const int vectors, const int type)
{
#define CALL_SCORES(N) scores_tile(j, first, k, ahead, s, at, N, vectors, type)
    QUERIES_N(CALL_SCORES, n)
}

/* The blocks of positions pos .. pos + LANES - 1; where these lie outside of from .. end - 1, some block
 * inside, as pages before `from` may be gone. */
static struct keys keys_of(const struct job *j, uint64_t pos, uint64_t from, uint64_t end)
{
    uint64_t block_bytes = 8 * rz_kv_row_bytes(j->kv->type, j->dim);
    struct keys k;
    for (uint64_t b = 0; b < LANES / 8; b++) {
        uint64_t p = pos + 8 * b;
        if (p + 8 <= from || p >= end)
            p = from;
        k.at[b] = page_of(j, p) + p % j->kv->page_tokens / 8 * block_bytes;
    }
    return k;
}

/* The values of the positions from pos on, and keys some hundreds of products behind these. */
static struct ahead ahead_of(const struct job *j, uint64_t pos)
{
    uint64_t next = pos + 4 * LANES < j->end[0] ? pos + 4 * LANES : pos;
    uint64_t bytes = rz_kv_row_bytes(j->kv->type, j->dim), slot = pos % j->kv->page_tokens;
    return (struct ahead){page_of(j, next) + next % j->kv->page_tokens / 8 * 8 * bytes,
                          page_of(j, pos) + j->kv->v_offset + slot * bytes};
}

/* Scores of all queries for the blocks of positions from..end - 1; those that a query does not see are
 * overwritten later. s[.][i] belongs to position begin + i. */
INLINE void scores_all(const struct job *j, uint64_t begin, uint64_t from, uint64_t end, float (*s)[SPLIT],
                       const int type)
{
    for (uint64_t pos = from / LANES * LANES; pos < end; pos += 2 * LANES) {
        bool two = end - pos > LANES && pos - begin + 2 * LANES <= SPLIT;
        struct keys k[2];
        k[0] = k[1] = keys_of(j, pos, from, end);
        if (two)
            k[1] = keys_of(j, pos + LANES, from, end);
        struct ahead ahead = ahead_of(j, pos > from ? pos : from);
        for (int i = 0, n; i < j->n; i += n, ahead.keys = NULL) {
            n = queries_at_once(j->n - i);
            if (two)
                scores_n(j, i, k, &ahead, s, pos - begin, n, 2, type);
            else
                scores_n(j, i, k, &ahead, s, pos - begin, n, 1, type);
        }
    }
}

/* --- weights --- */

/* Positions of a split that a query sees. */
struct seen {
    uint64_t first, end;
};

static struct seen seen_of(const struct job *j, int i, uint64_t begin, uint64_t end)
{
    struct seen s = {j->first[i] > begin ? j->first[i] : begin, j->end[i] < end ? j->end[i] : end};
    if (s.first >= s.end)
        s.first = s.end = begin;
    return s;
}

/* Scores become what the softmax is taken of: soft-cap, then ALiBi. */
static void shape(const struct job *j, int i, uint64_t begin, float *s, uint64_t from, uint64_t to)
{
    const __m256 lanes = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
    for (uint64_t k = from; k < to; k += 8) {
        __m256 v = _mm256_loadu_ps(s + k);
        if (j->softcap != 0)
            v = vec_softcap(v, j->softcap);
        __m256 distance =
            _mm256_sub_ps(_mm256_set1_ps((float)((int64_t)j->pos[i] - (int64_t)(begin + k))), lanes);
        _mm256_storeu_ps(s + k, _mm256_fnmadd_ps(distance, _mm256_set1_ps(j->slope[i]), v));
    }
}

/* Turns the scores of query i into weights exp(s - max). The rest of the first and last LANES is 0. */
static void softmax(const struct job *j, int i, uint64_t begin, struct seen seen, float *s, struct partial *p)
{
    uint64_t first = seen.first - begin, end = seen.end - begin;
    uint64_t from = first / LANES * LANES, to = (end + LANES - 1) / LANES * LANES;
    if (j->softcap != 0 || j->slope[i] != 0)
        shape(j, i, begin, s, from, to);
    V(storeu_ps)(s + from, only_lanes(V(loadu_ps)(s + from), first - from, end - from));
    V(storeu_ps)(s + to - LANES, only_lanes(V(loadu_ps)(s + to - LANES), 0, end + LANES - to));
    VEC top = V(loadu_ps)(s + from);
    for (uint64_t k = from + LANES; k < to; k += LANES)
        top = V(max_ps)(top, V(loadu_ps)(s + k));
    p->max = VEC_MAX(top);
    VEC m = V(set1_ps)(p->max), total = V(setzero_ps)();
    for (uint64_t k = from; k < to; k += LANES) {
        VEC e = VEC_EXP(V(sub_ps)(V(loadu_ps)(s + k), m));
        V(storeu_ps)(s + k, e);
        total = V(add_ps)(total, e);
    }
    p->sum = VEC_SUM(total);
}

/* --- values --- */

/* y[i] += sum over positions from..to - 1 of weight * value, for n queries and some vectors of elements. */
INLINE void values_tile(const struct job *j, int first, float (*w)[SPLIT], uint64_t begin, struct seen range,
                        uint64_t d, struct partial *p, const int n, const int vectors, const int type)
{
    const uint64_t row_bytes = rz_kv_row_bytes(type, j->dim);
    VEC acc[QUERIES_AT_ONCE][VECTORS_AT_ONCE];
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            acc[i][v] = V(loadu_ps)(p[first + i].y + d + LANES * (uint64_t)v);
    }
    for (uint64_t pos = range.first; pos < range.end;) {
        uint64_t slot = pos % j->kv->page_tokens, left = j->kv->page_tokens - slot;
        uint64_t count = range.end - pos < left ? range.end - pos : left;
        const uint8_t *values = page_of(j, pos) + j->kv->v_offset;
        for (uint64_t k = 0; k < count; k++) {
            VEC value[VECTORS_AT_ONCE];
            UNROLL
            for (int v = 0; v < vectors; v++)
                value[v] = load_values(values + (slot + k) * row_bytes, d + LANES * (uint64_t)v, type);
            UNROLL
            for (int i = 0; i < n; i++) {
                VEC weight = V(set1_ps)(w[first + i][pos + k - begin]);
                UNROLL
                for (int v = 0; v < vectors; v++)
                    acc[i][v] = V(fmadd_ps)(weight, value[v], acc[i][v]);
            }
        }
        pos += count;
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            V(storeu_ps)(p[first + i].y + d + LANES * (uint64_t)v, acc[i][v]);
    }
}

INLINE void values_n(const struct job *j, int first, float (*w)[SPLIT], uint64_t begin, struct seen range,
                     uint64_t d, struct partial *p, int n, const int vectors, const int type)
{
#define CALL_VALUES(N) values_tile(j, first, w, begin, range, d, p, N, vectors, type)
    QUERIES_N(CALL_VALUES, n)
}

/* One element of the head at a time, for heads that are no multiple of LANES. */
static void values_tail(const struct job *j, int i, float (*w)[SPLIT], uint64_t begin, struct seen range,
                        uint64_t d, struct partial *p)
{
    uint64_t row_bytes = rz_kv_row_bytes(j->kv->type, j->dim);
    float y = p[i].y[d];
    for (uint64_t pos = range.first; pos < range.end; pos++) {
        const uint8_t *values = page_of(j, pos) + j->kv->v_offset;
        float v = kv_row_one(values + pos % j->kv->page_tokens * row_bytes, d, j->kv->type);
        y = fmaf(w[i][pos - begin], v, y);
    }
    p[i].y[d] = y;
}

/* Queries first..first + n - 1 over one range of positions, all elements of the head. */
INLINE void values_range(const struct job *j, int first, int n, float (*w)[SPLIT], uint64_t begin,
                         struct seen range, struct partial *p, const int type)
{
    uint64_t d = 0;
    if (range.first >= range.end)
        return;
    for (; d + LANES * VECTORS_AT_ONCE <= j->dim; d += LANES * VECTORS_AT_ONCE)
        values_n(j, first, w, begin, range, d, p, n, VECTORS_AT_ONCE, type);
    for (; d + LANES <= j->dim; d += LANES)
        values_n(j, first, w, begin, range, d, p, n, 1, type);
    for (; d < j->dim; d++)
        for (int i = 0; i < n; i++)
            values_tail(j, first + i, w, begin, range, d, p);
}

/* A few queries. What all of them see is read once; the positions before and behind it follow one query
 * at a time, in the same order of additions. */
INLINE void values_few(const struct job *j, int first, int n, float (*w)[SPLIT], uint64_t begin,
                       const struct seen *seen, struct partial *p, const int type)
{
    struct seen all = seen[first];
    for (int i = first + 1; i < first + n; i++) {
        all.first = seen[i].first > all.first ? seen[i].first : all.first;
        all.end = seen[i].end < all.end ? seen[i].end : all.end;
    }
    if (all.first >= all.end) {
        for (int i = first; i < first + n; i++)
            values_range(j, i, 1, w, begin, seen[i], p, type);
        return;
    }
    for (int i = first; i < first + n; i++)
        values_range(j, i, 1, w, begin, (struct seen){seen[i].first, all.first}, p, type);
    values_range(j, first, n, w, begin, all, p, type);
    for (int i = first; i < first + n; i++)
        values_range(j, i, 1, w, begin, (struct seen){all.end, seen[i].end}, p, type);
}

INLINE void split_run(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT], struct partial *p,
                      const int type)
{
    struct seen seen[QUERIES];
    scores_all(j, begin, j->first[0] > begin ? j->first[0] : begin, end, w, type);
    for (int i = 0; i < j->n; i++) {
        memset(p[i].y, 0, j->dim * sizeof(float));
        p[i].max = -INFINITY;
        p[i].sum = 0;
        seen[i] = seen_of(j, i, begin, end);
        if (seen[i].first < seen[i].end)
            softmax(j, i, begin, seen[i], w[i], &p[i]);
    }
    for (int i = 0, n; i < j->n; i += n) {
        n = queries_at_once(j->n - i);
        values_few(j, i, n, w, begin, seen, p, type);
    }
}

void attention_begin(struct job *j)
{
    j->coarse = j->coarse && coarse_begin(j);
}

void attention_split(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT], struct partial *p)
{
    if (j->coarse) {
        split_coarse(j, begin, end, w, p);
        return;
    }
#define CALL_SPLIT(TYPE) split_run(j, begin, end, w, p, TYPE)
    KV_TYPE(CALL_SPLIT, j->kv->type)
}

#endif

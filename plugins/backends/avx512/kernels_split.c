/* kernels_split.c - attention over one split with vectors of sixteen; and the coarse way with products of
 * bfloat16, for heads that are a multiple of sixteen wide.
 *
 * There keys, values, queries and weights are rounded to bfloat16 and multiplied in pairs: of elements for
 * the scores, of positions for the values. KV of the layout PAIRS is read where it lies; of others a split's
 * keys, then its values, are first laid out so, once for all queries. A weight's rounding is part of the sum
 * that the result is divided by.
 */
#include "avx512.h"
#include "vec512.h"

#define VEC __m512
#define LANES 16
#define V(op) _mm512_##op
#define VEC_EXP vec512_exp
#define VEC_MAX _mm512_reduce_max_ps
#define VEC_SUM _mm512_reduce_add_ps
#define QUERIES_AT_ONCE 6
#define VECTORS_AT_ONCE 4
#define BLOCKS_AT_ONCE 4 /* of 16 keys */
#define COARSE_QUERIES (2 * QUERIES_AT_ONCE)
#include "../common/split.h"

INLINE __m512 both_eights(__m256 low, __m256 high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/* Sixteen elements that lie side by side. */
INLINE __m512 load_sixteen(const uint8_t *p, const int type)
{
    if (type == RZ_TYPE_F16)
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return both_eights(kv_eight(p, 0, _mm256_setzero_ps(), type), kv_eight(p, 8, _mm256_setzero_ps(), type));
}

/* Two blocks of eight positions. */
INLINE __m512 load_keys(const struct keys *k, uint64_t d, __m512 scale, const int type)
{
    if (type == RZ_TYPE_F16) {
        __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(k->at[0] + 16 * d));
        __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(k->at[1] + 16 * d));
        return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
    }
    return both_eights(kv_eight(k->at[0], 8 * d, _mm512_castps512_ps256(scale), type),
                       kv_eight(k->at[1], 8 * d, _mm512_extractf32x8_ps(scale, 1), type));
}

INLINE __m512 load_values(const uint8_t *row, uint64_t d, const int type)
{
    if (type == RZ_TYPE_Q8_0)
        return both_eights(kv_row_eight(row, d, type), kv_row_eight(row, d + 8, type));
    return load_sixteen(row + d * kv_element(type), type);
}

INLINE __m512 only_lanes(__m512 v, uint64_t first, uint64_t end)
{
    __mmask16 seen = first_lanes(end) & (__mmask16)~first_lanes(first);
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, v);
}

/* --- bfloat16 --- */

/* Words of 16 x 2 elements, of the keys or of the values of one split. */
struct pairs {
    _Alignas(64) uint32_t at[HEAD_MAX / 2 * SPLIT];
};

/* Where the pairs of one split lie, in pieces: keys of 16 positions [dim / 2][16]; values of `per` pairs of
 * positions [per][dim]. Pointers are set from the first to the last position that some query sees. Behind
 * these, if `ahead`, come those of what is read next: the first queries that pass by a piece of values, or
 * BLOCKS_AT_ONCE of keys, have the second-level cache get as many words further on. */
struct pieces {
    const uint32_t *at[SPLIT / 16 + BLOCKS_AT_ONCE];
    uint64_t per;
    bool ahead;
};

/* Words 0 .. 15 of a and of b, rounded, in the order of their 32-bit lanes, then permuted. */
INLINE __m512i round_both(__m512 a, __m512 b, __m512i order)
{
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

/* Keys of the blocks of 16 positions that from .. end - 1 touch: [block][dim / 2][16]. Two elements of eight
 * positions lie side by side. */
INLINE void pair_keys(const struct job *j, uint64_t begin, uint64_t from, uint64_t end, struct pairs *out,
                      const int type)
{
    const __m512i order = _mm512_set_epi16(31, 23, 30, 22, 29, 21, 28, 20, 27, 19, 26, 18, 25, 17, 24, 16, 15,
                                           7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
    for (uint64_t pos = from / 16 * 16; pos < end; pos += 16) {
        struct keys k = keys_of(j, pos, from, end);
        struct ahead ahead = ahead_of(j, pos > from ? pos : from);
        uint32_t *at = out->at + (pos - begin) / 16 * (j->dim / 2) * 16;
        for (uint64_t d = 0; d < j->dim; d += 2, at += 16) {
            fetch_part(&ahead, d, 16 * kv_element(type));
            fetch_part(&ahead, d + 1, 16 * kv_element(type));
            _mm512_store_si512(at, round_both(load_sixteen(k.at[0] + 8 * d * kv_element(type), type),
                                              load_sixteen(k.at[1] + 8 * d * kv_element(type), type), order));
        }
    }
}

/* One pair of positions, all elements of the head; what a mask leaves out is 0. */
INLINE void pair_row(const uint8_t *row, uint64_t dim, uint32_t *at, const int first, const int second,
                     const int type)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (uint64_t d = 0; d < dim; d += 16, at += 16) {
        __m512 a = first ? load_values(row, d, type) : _mm512_setzero_ps();
        __m512 b = second ? load_values(row + rz_kv_row_bytes(type, dim), d, type) : _mm512_setzero_ps();
        _mm512_store_si512(at, round_both(a, b, order));
    }
}

/* Values of the pairs of positions that from .. end - 1 touch: [pair][dim]; 0 outside. */
INLINE void pair_values(const struct job *j, uint64_t begin, uint64_t from, uint64_t end, struct pairs *out,
                        const int type)
{
    for (uint64_t pos = from / 2 * 2; pos < end; pos += 2) {
        const uint8_t *row =
            page_of(j, pos) + j->kv->v_offset + pos % j->kv->page_tokens * rz_kv_row_bytes(type, j->dim);
        uint32_t *at = out->at + (pos - begin) / 2 * j->dim;
        if (pos < from)
            pair_row(row, j->dim, at, 0, 1, type);
        else if (pos + 1 == end)
            pair_row(row, j->dim, at, 1, 0, type);
        else
            pair_row(row, j->dim, at, 1, 1, type);
    }
}

INLINE __m512 pair_product(__m512 acc, __m512i pairs, uint32_t pair)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32((int32_t)pair));
}

/* Scores of n queries for some blocks of 16 positions; ahead: what the caches get meanwhile, or NULL. top:
 * lane by lane the largest so far, where all of these positions count, or NULL. */
INLINE void coarse_scores(const uint32_t *q, uint64_t dim, const uint32_t *const *k,
                          const uint32_t *const *ahead, float (*s)[SPLIT], __m512 *top, uint64_t at,
                          const int n, const int blocks)
{
    __m512 acc[QUERIES_AT_ONCE][BLOCKS_AT_ONCE];
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int b = 0; b < blocks; b++)
            acc[i][b] = _mm512_setzero_ps();
    }
    for (uint64_t d = 0; d < dim / 2; d++) {
        __m512i key[BLOCKS_AT_ONCE];
        UNROLL
        for (int b = 0; b < blocks; b++)
            key[b] = _mm512_load_si512(k[b] + 16 * d);
        if (ahead) {
            UNROLL
            for (int b = 0; b < blocks; b++)
                fetch(ahead[b] + 16 * d);
        }
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int b = 0; b < blocks; b++)
                acc[i][b] = pair_product(acc[i][b], key[b], q[(uint64_t)i * dim / 2 + d]);
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int b = 0; b < blocks; b++)
            _mm512_storeu_ps(&s[i][at + 16 * (uint64_t)b], acc[i][b]);
    }
    if (!top)
        return;
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int b = 1; b < blocks; b++)
            acc[i][0] = _mm512_max_ps(acc[i][0], acc[i][b]);
        top[i] = _mm512_max_ps(top[i], acc[i][0]);
    }
}

/* y[i] += pairs first .. end - 1 of weights and values, for n queries and some vectors of elements. keep:
 * which half of a pair counts. */
INLINE void coarse_tile(const uint32_t (*w)[SPLIT / 2], const struct pieces *v, uint64_t dim, uint64_t first,
                        uint64_t end, uint64_t d, struct partial *p, const int n, const int vectors,
                        __mmask32 keep)
{
    __m512 acc[QUERIES_AT_ONCE][VECTORS_AT_ONCE];
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int k = 0; k < vectors; k++)
            acc[i][k] = _mm512_loadu_ps(p[i].y + d + 16 * (uint64_t)k);
    }
    for (uint64_t pair = first, stop; pair < end; pair = stop) {
        const uint32_t *row = v->at[pair / v->per] + pair % v->per * dim + d;
        const uint32_t *ahead = v->ahead ? v->at[pair / v->per + 1] + pair % v->per * dim + d : NULL;
        stop = (pair / v->per + 1) * v->per < end ? (pair / v->per + 1) * v->per : end;
        for (uint64_t at = pair; at < stop; at++, row += dim) {
            __m512i value[VECTORS_AT_ONCE];
            UNROLL
            for (int k = 0; k < vectors; k++)
                value[k] = _mm512_maskz_mov_epi16(keep, _mm512_load_si512(row + 16 * (uint64_t)k));
            if (ahead) {
                UNROLL
                for (int k = 0; k < vectors; k++)
                    fetch(ahead + 16 * (uint64_t)k);
                ahead += dim;
            }
            UNROLL
            for (int i = 0; i < n; i++) {
                UNROLL
                for (int k = 0; k < vectors; k++)
                    acc[i][k] = pair_product(acc[i][k], value[k], w[i][at]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int k = 0; k < vectors; k++)
            _mm512_storeu_ps(p[i].y + d + 16 * (uint64_t)k, acc[i][k]);
    }
}

/* All elements of the head. */
INLINE void coarse_values(const uint32_t (*w)[SPLIT / 2], const struct pieces *v, uint64_t dim,
                          uint64_t first, uint64_t end, struct partial *p, int n, __mmask32 keep)
{
    uint64_t d = 0;
    if (first >= end)
        return;
    for (; d + 16 * VECTORS_AT_ONCE <= dim; d += 16 * VECTORS_AT_ONCE) {
#define CALL_MANY(N) coarse_tile(w, v, dim, first, end, d, p, N, VECTORS_AT_ONCE, keep)
        QUERIES_N(CALL_MANY, n)
    }
    for (; d < dim; d += 16) {
#define CALL_ONE(N) coarse_tile(w, v, dim, first, end, d, p, N, 1, keep)
        QUERIES_N(CALL_ONE, n)
    }
}

/* Pairs that a query sees one half of: the second one of the first pair, the first one of the last. */
static void coarse_edges(const uint32_t (*w)[SPLIT / 2], const struct pieces *v, uint64_t dim, uint64_t from,
                         uint64_t to, struct seen seen, struct partial *p)
{
    for (uint64_t pair = from; pair < to; pair++) {
        __mmask32 keep = 0xffffffff;
        if (2 * pair < seen.first)
            keep &= 0xaaaaaaaa;
        if (2 * pair + 1 >= seen.end)
            keep &= 0x55555555;
        coarse_values(w, v, dim, pair, pair + 1, p, 1, keep);
    }
}

/* A few queries; seen: relative to the split. What all of them see whole is read once, the pairs before and
 * behind it follow one query at a time: the order of additions is the same for all. */
static void coarse_few(const uint32_t (*w)[SPLIT / 2], const struct pieces *v, uint64_t dim,
                       const struct seen *seen, struct partial *p, int n)
{
    uint64_t first = 0, end = SPLIT / 2;
    for (int i = 0; i < n; i++) {
        first = (seen[i].first + 1) / 2 > first ? (seen[i].first + 1) / 2 : first;
        end = seen[i].end / 2 < end ? seen[i].end / 2 : end;
    }
    if (end < first)
        end = first;
    for (int i = 0; i < n; i++) {
        uint64_t last = (seen[i].end + 1) / 2;
        coarse_edges(w + i, v, dim, seen[i].first / 2, first < last ? first : last, seen[i], p + i);
    }
    coarse_values(w, v, dim, first, end, p, n, 0xffffffff);
    for (int i = 0; i < n; i++)
        if (seen[i].end > seen[i].first)
            coarse_edges(w + i, v, dim, end > seen[i].first / 2 ? end : seen[i].first / 2,
                         (seen[i].end + 1) / 2, seen[i], p + i);
}

/* 2^x for x <= 0, to 8e-5 of itself (polynomial of least relative error over -1/2 .. 1/2): a weight is
 * rounded twenty times coarser. Below -126 it stays 2^-126, which is nothing beside the largest weight, 1. */
INLINE __m512 coarse_exp2(__m512 x)
{
    const __m512 shift = _mm512_set1_ps(12582912); /* 1.5 * 2^23: leaves the integer in the low bits */
    x = _mm512_max_ps(_mm512_set1_ps(-126), x);
    __m512 n = _mm512_add_ps(x, shift), f = _mm512_sub_ps(x, _mm512_sub_ps(n, shift));
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(0.0551716658f), f, _mm512_set1_ps(0.242611122f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.693260986f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0.999928074f));
    return (__m512)_mm512_add_epi32((__m512i)y, _mm512_slli_epi32((__m512i)n, 23));
}

/* Something is done with the scores of query i before the softmax. */
static bool shaped(const struct job *j, int i)
{
    return j->softcap != 0 || j->slope[i] != 0;
}

/* The largest score of query i, of which those of the positions in `known` are in top; what it does not see
 * of its first and last 32 becomes -infinity. */
static float coarse_max(const struct job *j, int i, uint64_t begin, struct seen seen, struct seen known,
                        __m512 top, float *s)
{
    uint64_t from = seen.first / 32 * 32, to = (seen.end + 31) / 32 * 32;
    if (shaped(j, i))
        shape(j, i, begin, s, from, to);
    for (uint64_t k = from; k < seen.first; k++)
        s[k] = -INFINITY;
    for (uint64_t k = seen.end; k < to; k++)
        s[k] = -INFINITY;
    for (uint64_t k = from; k < to; k += 16) {
        if (k == known.first)
            k = known.end;
        if (k < to)
            top = _mm512_max_ps(top, _mm512_loadu_ps(s + k));
    }
    return _mm512_reduce_max_ps(top);
}

/* Scores become weights exp(s - max) in bfloat16; returns the sum of what they became. */
static float coarse_weights(const float *s, float max, struct seen seen, uint32_t *out)
{
    const __m512 log2e = _mm512_set1_ps(1.44269504f);
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    __m512 least = _mm512_set1_ps(max * 1.44269504f), total = _mm512_setzero_ps();
    for (uint64_t k = seen.first / 32 * 32; k < seen.end; k += 32) {
        __m512 a = coarse_exp2(_mm512_fmsub_ps(_mm512_loadu_ps(s + k), log2e, least));
        __m512 b = coarse_exp2(_mm512_fmsub_ps(_mm512_loadu_ps(s + k + 16), log2e, least));
        __m512bh w = _mm512_cvtne2ps_pbh(b, a);
        _mm512_storeu_si512(out + k / 2, (__m512i)w);
        total = _mm512_dpbf16_ps(total, w, ones);
    }
    return _mm512_reduce_add_ps(total);
}

/* Where a position's keys, or its values, begin; of keys a multiple of 16, of values of 2. Both have a page's
 * positions side by side in the same number of words. */
static const uint32_t *words_of(const struct job *j, uint64_t pos, uint64_t offset)
{
    uint64_t slot = pos % j->kv->page_tokens;
    return (const uint32_t *)(const void *)(page_of(j, pos) + offset) + slot / 2 * j->dim;
}

/* Keys of the split in pairs, for the positions from .. end - 1. What comes next is the values of these. */
static void key_pieces(const struct job *j, uint64_t begin, uint64_t from, uint64_t end, struct pairs *room,
                       struct pieces *out)
{
    uint64_t first = (from - begin) / 16, last = (end - 1 - begin) / 16, next = from / 16 * 16;
    out->ahead = j->kv->layout == RZ_KV_LAYOUT_PAIRS;
    if (j->kv->layout == RZ_KV_LAYOUT_PAIRS) {
        for (uint64_t b = first; b <= last; b++)
            out->at[b] = words_of(j, begin + 16 * b, 0);
        for (uint64_t b = last + 1; b <= last + BLOCKS_AT_ONCE; b++, next += next + 16 < end ? 16 : 0)
            out->at[b] = words_of(j, next, j->kv->v_offset);
    } else {
#define CALL_KEYS(TYPE) pair_keys(j, begin, from, end, room, TYPE)
        KV_TYPE(CALL_KEYS, j->kv->type)
        for (uint64_t b = first; b <= last; b++)
            out->at[b] = room->at + b * (j->dim / 2) * 16;
    }
}

/* And their values; what comes next is the keys of the next split. */
static void value_pieces(const struct job *j, uint64_t begin, uint64_t from, uint64_t end, struct pairs *room,
                         struct pieces *out)
{
    uint64_t tokens = j->kv->page_tokens, page = (from - begin) / tokens;
    out->ahead = j->kv->layout == RZ_KV_LAYOUT_PAIRS;
    if (j->kv->layout == RZ_KV_LAYOUT_PAIRS) {
        out->per = tokens / 2;
        for (; begin + page * tokens < end; page++)
            out->at[page] = words_of(j, begin + page * tokens, j->kv->v_offset);
        out->at[page] = end < j->end[0] ? words_of(j, end, 0) : out->at[page - 1];
        return;
    }
#define CALL_VALUE_PAIRS(TYPE) pair_values(j, begin, from, end, room, TYPE)
    KV_TYPE(CALL_VALUE_PAIRS, j->kv->type)
    out->per = SPLIT / 2;
    out->at[0] = room->at;
}

/* Some queries of a job, number `first` on; positions are relative to the split. */
struct few {
    int first, n;
    struct seen seen[COARSE_QUERIES], known; /* known: whose scores are in top */
    __m512 top[COARSE_QUERIES];
};

/* What of the positions from .. all queries see, in steps of 64, unless their scores are not yet final. */
static struct seen known_of(const struct job *j, const struct few *few, uint64_t from, uint64_t end)
{
    const uint64_t step = 16 * BLOCKS_AT_ONCE;
    struct seen known = {0, end};
    for (int i = 0; i < few->n; i++) {
        known.first = few->seen[i].first > known.first ? few->seen[i].first : known.first;
        known.end = few->seen[i].end < known.end ? few->seen[i].end : known.end;
        if (shaped(j, few->first + i))
            known.end = 0;
    }
    known.first = from + (known.first > from ? (known.first - from + step - 1) / step * step : 0);
    if (known.end < known.first + step)
        return (struct seen){0};
    known.end = known.first + (known.end - known.first) / step * step;
    return known;
}

static void few_begin(const struct job *j, uint64_t begin, uint64_t from, uint64_t end, int first,
                      struct few *few, struct partial *p)
{
    few->first = first;
    few->n = j->n - first < COARSE_QUERIES ? j->n - first : COARSE_QUERIES;
    for (int i = 0; i < few->n; i++) {
        struct seen seen = seen_of(j, first + i, begin, end);
        few->seen[i] = (struct seen){seen.first - begin, seen.end - begin};
        few->top[i] = _mm512_set1_ps(-INFINITY);
        memset(p[first + i].y, 0, j->dim * sizeof(float));
        p[first + i].max = -INFINITY;
        p[first + i].sum = 0;
    }
    few->known = known_of(j, few, (from - begin) / 16 * 16, end - begin);
}

/* Their scores: a few keys stay in the cache while the queries pass by. */
static void few_scores(const struct job *j, uint64_t from, uint64_t end, const struct pieces *k,
                       struct few *few, float (*w)[SPLIT])
{
    for (uint64_t at = from / 16 * 16, blocks; at < end; at += 16 * blocks) {
        blocks = end - at > 16 * (BLOCKS_AT_ONCE - 1) ? BLOCKS_AT_ONCE : 1;
        for (int i = 0, n; i < few->n; i += n) {
            n = queries_at_once(few->n - i);
            const uint32_t *mine = j->pairs + (uint64_t)(few->first + i) * j->dim / 2;
            const uint32_t *const *block = k->at + at / 16;
            const uint32_t *const *ahead = k->ahead && !i ? block + BLOCKS_AT_ONCE : NULL;
            __m512 *top = at >= few->known.first && at < few->known.end ? few->top + i : NULL;
#define CALL_MANY_KEYS(N) coarse_scores(mine, j->dim, block, ahead, w + i, top, at, N, BLOCKS_AT_ONCE)
#define CALL_KEYS_ONE(N) coarse_scores(mine, j->dim, block, ahead, w + i, NULL, at, N, 1)
            if (blocks == BLOCKS_AT_ONCE) {
                QUERIES_N(CALL_MANY_KEYS, n)
            } else {
                QUERIES_N(CALL_KEYS_ONE, n)
            }
        }
    }
}

static void few_weights(const struct job *j, uint64_t begin, const struct few *few, float (*w)[SPLIT],
                        uint32_t (*weights)[SPLIT / 2], struct partial *p)
{
    for (int i = 0; i < few->n; i++) {
        struct seen seen = few->seen[i];
        if (seen.first >= seen.end)
            continue;
        p[i].max = coarse_max(j, few->first + i, begin, seen, few->known, few->top[i], w[i]);
        p[i].sum = coarse_weights(w[i], p[i].max, seen, weights[i]);
    }
}

static void few_values(const struct job *j, const struct few *few, struct pieces *v,
                       const uint32_t (*weights)[SPLIT / 2], struct partial *p)
{
    for (int i = 0, n; i < few->n; i += n, v->ahead = false) {
        n = queries_at_once(few->n - i);
        coarse_few(weights + i, v, j->dim, few->seen + i, p + i, n);
    }
}

/* A few queries at a time, whose scores and weights stay in the first-level cache. */
static void split_coarse(const struct job *j, uint64_t begin, uint64_t end, float (*w)[SPLIT],
                         struct partial *p)
{
    struct pairs keys_room, values_room;
    struct pieces keys, values;
    struct few few;
    uint32_t weights[COARSE_QUERIES][SPLIT / 2];
    uint64_t from = j->first[0] > begin ? j->first[0] : begin;
    key_pieces(j, begin, from, end, &keys_room, &keys);
    value_pieces(j, begin, from, end, &values_room, &values);
    for (int i = 0; i < j->n; i += few.n, keys.ahead = false) {
        few_begin(j, begin, from, end, i, &few, p);
        few_scores(j, from - begin, end - begin, &keys, &few, w);
        few_weights(j, begin, &few, w, weights, p + i);
        few_values(j, &few, &values, weights, p + i);
    }
}

/* Queries become pairs of bfloat16, in place. */
static bool coarse_begin(struct job *j)
{
    if (j->dim % 16 || j->kv->type == RZ_TYPE_Q8_0) /* whose keys have scales in between */
        return false;
    for (uint64_t d = 0; d < (uint64_t)j->n * j->dim; d += 16)
        _mm256_storeu_si256((__m256i *)(j->pairs + d / 2),
                            (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(j->q + d)));
    return true;
}

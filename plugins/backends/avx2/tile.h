/* tile.h - the one body of all tiles of quantised weights; for kernel files only.
 *
 * A type gives the scales of a 32-block and, part by part, its vectors of bytes; its form says how they meet
 * the activations. The products of a block (or of its halves, where these have scales of their own) are
 * summed exactly in integers: maddubs on bytes, with the headroom of its 16-bit lanes counted at each form.
 * Then comes one rounded multiply-add in float32, or two. Error: that of the quantised activations (half a
 * step of amax / 127 each), plus the roundings.
 *
 * A block is worked on in parts so that weights, sums and results fit into sixteen registers; gcc has to be
 * kept from moving the unpacking of later parts up in front of the sums, which spills them all.
 */
#ifndef RZ_AVX2_TILE_H
#define RZ_AVX2_TILE_H

#ifndef __clang__
#pragma GCC optimize("no-tree-ter", "no-tree-reassoc")
#endif
#include "../common/vec.h"
#include "avx2.h"

#define MANY_ROWS 8
#define MANY_LEAST 16 /* rows from which on unpacking pays */
#define ONES _mm256_set1_epi16(1)

/* --- forms --- */

enum form {
    NIBBLES, /* d q + m, q of 0..15: all sums of pairs of a block are at most 8 * 2 * 15 * 127 = 30480    */
    FIVES,   /* d q + m, q of 0..31: four sums of pairs are at most 4 * 2 * 31 * 127 = 31496              */
    SIXES,   /* d sc[half] (q - 32), q of 0..63: two are at most 2 * 2 * 63 * 127 = 32004                 */
    PAIRS,   /* d sc[half] q - dmin mn[half], q of 0..3                                                   */
    THREES,  /* d sc[half] (q - 4), q of 0..7                                                             */
    SIGNED,  /* d q: |q| times the activation with q's sign; a pair is at most 2 * 128 * 127 = 32512      */
    HALVES   /* d[half] q, likewise                                                                       */
};

/* pair[0], pair[1]: 16-bit factors of the sums of pairs of each half; both: those of both halves side by side
 * (PAIRS: minima; else scales). */
struct scales {
    __m256 d, m;
    __m256i pair[2], both;
};

/* How many halves with scales of their own a block has, how many parts each, and which vectors these are:
 * vector i holds elements 4i .. 4i + 3 of all rows. */
INLINE int parts_of(const enum form form)
{
    return form == SIGNED ? 8 : form == HALVES ? 4 : 2;
}

INLINE int halves_of(const enum form form)
{
    return form == HALVES ? 2 : 1;
}

/* Those have one vector a part, the others four. */
INLINE int is_signed(const enum form form)
{
    return form == SIGNED || form == HALVES;
}

INLINE int vector_of(const enum form form, const int half, const int part, const int i)
{
    return is_signed(form)                   ? 4 * half + part
           : form == PAIRS || form == THREES ? 4 * part + i
                                             : 2 * part + i % 2 + i / 2 * 4;
}

/* Elements 4i .. 4i + 3 of a block of activations, for all eight rows. */
INLINE __m256i four(const struct act_block *x, int i)
{
    int32_t v;
    __builtin_memcpy(&v, x->q + 4 * i, 4);
    return _mm256_set1_epi32(v);
}

/* The sums of both halves of a block of activations, side by side. */
INLINE __m256i both_sums(const struct act_block *x)
{
    int32_t h;
    __builtin_memcpy(&h, x->h, 4);
    return _mm256_set1_epi32(h);
}

/* --- weights --- */

INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

INLINE __m256 halves(const uint16_t *h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
}

/* Vectors 2p, 2p + 1, 2p + 4, 2p + 5 of 4-bit weights. */
INLINE void nibbles(const uint8_t (*qs)[GROUP][4], const int part, __m256i *w)
{
    const __m256i low = _mm256_set1_epi8(15);
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256i v = load(qs[2 * part + i]);
        w[i] = _mm256_and_si256(v, low);
        w[i + 2] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    }
}

/* The same with fifth bits: bit i of a byte of qh goes to bit 4 of vector i. */
INLINE void nibbles_5(const uint8_t (*qh)[4], const uint8_t (*qs)[GROUP][4], const int part, __m256i *w)
{
    const __m256i bit = _mm256_set1_epi8(16);
    __m256i h = load(qh);
    nibbles(qs, part, w);
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int up = 4 - vector_of(FIVES, 0, part, i);
        __m256i moved =
            up >= 0 ? _mm256_slli_epi16(h, up >= 0 ? up : 0) : _mm256_srli_epi16(h, up < 0 ? -up : 0);
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(moved, bit));
    }
}

/* --- sums --- */

/* sum + the products of one part. */
INLINE __m256i add_part(__m256i sum, const __m256i *w, const struct scales *s, const struct act_block *x,
                        const enum form form, const int half, const int part)
{
#define PRODUCT(i) _mm256_maddubs_epi16(w[i], four(x, vector_of(form, half, part, i)))
    if (is_signed(form)) {
        __m256i turned = _mm256_sign_epi8(four(x, vector_of(form, half, part, 0)), w[0]);
        __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w[0]), turned);
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ONES));
    }
    if (form == NIBBLES) {
        UNROLL
        for (int i = 0; i < 4; i++)
            sum = _mm256_add_epi16(sum, PRODUCT(i));
        return sum;
    }
    __m256i p = _mm256_add_epi16(PRODUCT(0), PRODUCT(1));
    if (form == SIXES) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(p, s->pair[0]));
        p = _mm256_add_epi16(PRODUCT(2), PRODUCT(3));
        return _mm256_add_epi32(sum, _mm256_madd_epi16(p, s->pair[1]));
    }
    p = _mm256_add_epi16(_mm256_add_epi16(p, PRODUCT(2)), PRODUCT(3));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(p, form == FIVES ? ONES : s->pair[part]));
#undef PRODUCT
}

/* acc + d * x.d * sum */
INLINE __m256 add_scaled(__m256 acc, __m256 sum, __m256 d, const struct act_block *x)
{
    return _mm256_fmadd_ps(sum, _mm256_mul_ps(d, _mm256_set1_ps(x->d)), acc);
}

INLINE __m256 add_block(__m256 acc, __m256i sum, const struct scales *s, const struct act_block *x,
                        const enum form form)
{
    if (form == NIBBLES)
        sum = _mm256_madd_epi16(sum, ONES);
    if (form == SIXES || form == THREES) /* the 32 or 4 comes off in integers */
        sum = _mm256_sub_epi32(
            sum, _mm256_slli_epi32(_mm256_madd_epi16(s->both, both_sums(x)), form == SIXES ? 5 : 2));
    acc = add_scaled(acc, _mm256_cvtepi32_ps(sum), s->d, x);
    if (form == NIBBLES || form == FIVES)
        acc = _mm256_fmadd_ps(s->m, _mm256_set1_ps(x->s), acc);
    if (form == PAIRS)
        acc = add_scaled(acc, _mm256_cvtepi32_ps(_mm256_madd_epi16(s->both, both_sums(x))), s->m, x);
    return acc;
}

/* --- bodies: one function for each type and number of rows. part_NAME(group, k, part, w) gives vectors of
 * block k; before them pairs(group, k, s) what goes into the sums, after them scales_NAME(group, k, half, s)
 * what they are multiplied with. --- */

INLINE void no_pairs(const void *group, uint64_t k, struct scales *s)
{
    (void)group, (void)k, (void)s;
}

/* What comes nearer while a tile works: blocks of so many bytes, one a block of the tile. */
struct next {
    const void *at;
    uint64_t bytes;
};

INLINE void fetch_ahead(const uint8_t *at, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 64)
        fetch(at + i);
}

#define TILE_BODY(name, form, pairs, n) \
    static void tile_##name##_##n(const void *group, uint64_t cols, const struct next *next, \
                                  const union tile_x *x, float out[][GROUP]) \
    { \
        __m256 acc[n]; \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            acc[t] = _mm256_setzero_ps(); \
        for (uint64_t k = 0; k < cols / 32; k++) { \
            if (next) \
                fetch_ahead((const uint8_t *)next->at + k * next->bytes, next->bytes); \
            UNROLL \
            for (int half = 0; half < halves_of(form); half++) { \
                __m256i sum[n]; \
                struct scales s; \
                pairs(group, k, &s); \
                UNROLL \
                for (int t = 0; t < (n); t++) \
                    sum[t] = _mm256_setzero_si256(); \
                UNROLL \
                for (int part = 0; part < parts_of(form); part++) { \
                    __m256i w[4]; \
                    part_##name(group, k, (form) == HALVES ? 4 * half + part : part, w); \
                    UNROLL \
                    for (int t = 0; t < (n); t++) \
                        sum[t] = add_part(sum[t], w, &s, &x[t].q[k], form, half, part); \
                } \
                scales_##name(group, k, half, &s); \
                UNROLL \
                for (int t = 0; t < (n); t++) \
                    acc[t] = add_block(acc[t], sum[t], &s, &x[t].q[k], form); \
            } \
        } \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            _mm256_storeu_ps(out[t], acc[t]); \
    }

/* next: NULL if there is nothing to fetch. */
typedef void tile_fn(const void *group, uint64_t cols, const struct next *next, const union tile_x *x,
                     float out[][GROUP]);
/* Of one to four rows, and of any number of eights. */
struct tiles {
    tile_fn *few[4];
    void (*many)(const void *group, uint64_t cols, uint64_t bytes, const union tile_x *x, int n,
                 float out[][GROUP]);
};

/* bytes: of a block, all rows of the group, for what lies in one run. The first rows have read the group, so
 * that while the next ones meet it the next group can be fetched. */
INLINE void run_tiles(const struct tiles *tiles, const void *group, uint64_t cols, uint64_t bytes,
                      const union tile_x *x, int n, float out[][GROUP])
{
    int t = tiles->many && n >= MANY_LEAST ? n / MANY_ROWS * MANY_ROWS : 0;
    if (t)
        tiles->many(group, cols, bytes, x, t, out);
    const struct next next = {(const uint8_t *)group + cols / 32 * bytes, bytes};
    for (; t < n; t += 4)
        tiles->few[n - t < 4 ? n - t - 1 : 3](group, cols, t == 4 ? &next : NULL, x + t, out + t);
}

#define TILES(name, form, pairs) \
    FEW(name, form, pairs) \
    MANY(name, form, pairs) \
    static const struct tiles tiles_##name = { \
        {tile_##name##_1, tile_##name##_2, tile_##name##_3, tile_##name##_4}, many_##name};
/* Those whose bytes are quickly unpacked: there four rows with their accumulators in registers are faster. */
#define TILES_FEW(name, form, pairs) \
    FEW(name, form, pairs) \
    static const struct tiles tiles_##name = { \
        {tile_##name##_1, tile_##name##_2, tile_##name##_3, tile_##name##_4}, NULL};
#define FEW(name, form, pairs) \
    TILE_BODY(name, form, pairs, 1) \
    TILE_BODY(name, form, pairs, 2) \
    TILE_BODY(name, form, pairs, 3) \
    TILE_BODY(name, form, pairs, 4)

#endif

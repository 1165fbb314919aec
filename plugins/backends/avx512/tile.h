/* tile.h - the one body of all tiles of quantised weights; for kernel files only.
 *
 * A form gives the eight vectors of a 32-block as unsigned bytes, with its scales; the body multiplies
 * them with n rows of activations. The products of a block (or of its halves, where these have scales of
 * their own) are summed exactly in 32-bit integers, then scaled and added in float32: one or two rounded
 * multiply-adds a block. Error: that of the quantised activations (half a step of amax / 127 of their block,
 * or of amax / 32639 of their row), plus the roundings.
 */
#ifndef RZ_AVX512_TILE_H
#define RZ_AVX512_TILE_H

#include "avx512.h"
#include "vec512.h"

/* What a form is: how the sums of a block become a part of the result. */
enum form {
    ONE_SCALE,  /* d (q - 128): the 128 comes off in integers   */
    SCALE_MIN,  /* d q + m                                      */
    TWO_SCALES, /* d[half] (q - 128)                            */
    TWO_MINS    /* d[half] q + m[half]                          */
};

struct block {
    __m512i w[8]; /* byte [r][j] of w[i]: element 4i + j of row r */
    __m512 d, d1, m, m1;
    bool fetches;
};

INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

INLINE __m512 halves(const uint16_t *h)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
}

INLINE __m512i bytes_of(uint8_t b)
{
    return _mm512_set1_epi8((char)b);
}

/* Asks for what lies a page behind a part of the weights, if the block says so. The CPU's own fetching ahead
 * ends with a page and begins anew in the next one, after a miss: of eight rows that meet each weight once that
 * costs a third of the time. One or two rows wait for memory alone, and are not quicker for it. */
#define FETCH_AHEAD 4096
#define FETCH_ROWS 4
INLINE void fetch_ahead(const struct block *b, const void *part, const uint64_t bytes)
{
    if (!b->fetches)
        return;
    UNROLL
    for (uint64_t line = 0; line < bytes; line += 64)
        __builtin_prefetch((const uint8_t *)part + FETCH_AHEAD + line, 0, 2);
}

/* a | (b & mask) */
INLINE __m512i or_masked(__m512i a, __m512i b, __m512i mask)
{
    return _mm512_ternarylogic_epi32(a, b, mask, 0xf8);
}

INLINE __m512 aux_float(const int32_t *x, const int n, const int t, const int wide, const enum act_aux which)
{
    float v;
    __builtin_memcpy(&v, x + n * (ACT_BYTES_WORDS(wide) + (int)which) + t, 4);
    return _mm512_set1_ps(v);
}

/* out[t] = start + the products of vectors first .. first + count - 1 with row t0 + t. All rows meet a vector
 * before the next one is looked at: a chain of products alone would wait for itself. */
INLINE void dots(const struct block *b, const int32_t *x, const int n, const int t0, const int rows,
                 const int wide, const int first, const int count, const enum act_aux which,
                 const int corrected, __m512 *out)
{
    __m512i low[TILE_ROWS], high[TILE_ROWS];
    x += t0;
    UNROLL
    for (int t = 0; t < rows; t++) {
        low[t] = high[t] = _mm512_setzero_si512();
        if (corrected)
            low[t] = _mm512_set1_epi32(x[n * (ACT_BYTES_WORDS(wide) + (int)which) + t]);
    }
    UNROLL
    for (int i = first; i < first + count; i++) {
        UNROLL
        for (int t = 0; t < rows; t++) {
            if (wide)
                high[t] = _mm512_dpbusd_epi32(high[t], b->w[i], _mm512_set1_epi32(x[i * n + t]));
            low[t] = _mm512_dpbusd_epi32(low[t], b->w[i], _mm512_set1_epi32(x[((wide ? 8 : 0) + i) * n + t]));
        }
    }
    UNROLL
    for (int t = 0; t < rows; t++)
        out[t] = _mm512_cvtepi32_ps(wide ? _mm512_add_epi32(_mm512_slli_epi32(high[t], 8), low[t]) : low[t]);
}

/* acc[t] += block times row t0 + t (whose scale is left to the end if wide) */
INLINE void add_block(__m512 *acc, const struct block *b, const int32_t *x, const int n, const int t0,
                      const int rows, const int wide, const enum form form)
{
    const int corrected = form == ONE_SCALE || form == TWO_SCALES,
              two = form == TWO_SCALES || form == TWO_MINS;
    __m512 s[TILE_ROWS], s1[TILE_ROWS];
    dots(b, x, n, t0, rows, wide, 0, two ? 4 : 8, two ? ACT_C0 : ACT_C, corrected, s);
    UNROLL
    for (int t = 0; t < rows; t++) {
        if (!wide)
            s[t] = _mm512_mul_ps(s[t], b->d);
        else
            acc[t] = _mm512_fmadd_ps(s[t], b->d, acc[t]);
    }
    if (two)
        dots(b, x, n, t0, rows, wide, 4, 4, ACT_C1, corrected, s1);
    UNROLL
    for (int t = 0; t < rows; t++) {
        if (two && wide)
            acc[t] = _mm512_fmadd_ps(s1[t], b->d1, acc[t]);
        else if (two)
            s[t] = _mm512_fmadd_ps(s1[t], b->d1, s[t]);
        if (!wide)
            acc[t] = _mm512_fmadd_ps(s[t], aux_float(x, n, t0 + t, 0, ACT_D), acc[t]);
        if (form == SCALE_MIN)
            acc[t] = _mm512_fmadd_ps(b->m, aux_float(x, n, t0 + t, wide, ACT_S), acc[t]);
        if (form == TWO_MINS) {
            acc[t] = _mm512_fmadd_ps(b->m, aux_float(x, n, t0 + t, wide, ACT_S0), acc[t]);
            acc[t] = _mm512_fmadd_ps(b->m1, aux_float(x, n, t0 + t, wide, ACT_S1), acc[t]);
        }
    }
}

/* Rows that meet a block together: as many as leave registers for its vectors. */
#define ROWS_AT_ONCE(n, wide) ((wide) && (n) > 4 ? 4 : (n))

/* Tiles of 1, 2, 4 and 8 rows, in both numerics, of one form. load_NAME(group, k, block) gives block k. */
#define TILE_BODY(name, form, n, wide) \
    static void tile_##name##_##wide##_##n(const void *group, uint64_t cols, const void *tile, \
                                           float out[][GROUP]) \
    { \
        const int32_t *x = tile; \
        __m512 acc[n]; \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            acc[t] = _mm512_setzero_ps(); \
        for (uint64_t k = 0; k < cols / 32; k++, x += ACT_WORDS(n, wide)) { \
            struct block b; \
            b.fetches = (n) >= FETCH_ROWS; \
            load_##name(group, k, &b); \
            UNROLL \
            for (int t = 0; t < (n); t += ROWS_AT_ONCE(n, wide)) \
                add_block(acc + t, &b, x, n, t, ROWS_AT_ONCE(n, wide), wide, form); \
        } \
        UNROLL \
        for (int t = 0; t < (n); t++) { \
            if (wide) \
                acc[t] = _mm512_mul_ps(acc[t], aux_float(tile, n, t, 1, ACT_D)); \
            _mm512_storeu_ps(out[t], acc[t]); \
        } \
    }
#define TILES(name, form) \
    TILE_BODY(name, form, 1, 0) \
    TILE_BODY(name, form, 2, 0) \
    TILE_BODY(name, form, 4, 0) \
    TILE_BODY(name, form, 8, 0) \
    TILE_BODY(name, form, 1, 1) \
    TILE_BODY(name, form, 2, 1) \
    TILE_BODY(name, form, 4, 1) \
    TILE_BODY(name, form, 8, 1) \
    const struct tiles tiles_##name = { \
        .fn = {{tile_##name##_0_1, tile_##name##_0_2, tile_##name##_0_4, tile_##name##_0_8}, \
               {tile_##name##_1_1, tile_##name##_1_2, tile_##name##_1_4, tile_##name##_1_8}}};

/* The eight vectors of unsigned 4-bit weights. */
INLINE void load_4(const uint8_t (*qs)[GROUP][4], __m512i *w)
{
    const __m512i low = bytes_of(15);
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i v = load(qs[i]);
        w[i] = _mm512_and_si512(v, low);
        w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
    }
}

/* The same, sixteen times as large. */
INLINE void load_4_high(const uint8_t (*qs)[GROUP][4], __m512i *w)
{
    const __m512i high = bytes_of(0xf0);
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i v = load(qs[i]);
        w[i] = _mm512_and_si512(_mm512_slli_epi16(v, 4), high);
        w[i + 4] = _mm512_and_si512(v, high);
    }
}

/* Sets bit `to` of the bytes of w[i] where bit i of a byte of h is set, for all eight. */
#define ADD_BIT(w, h, to, i) \
    w[i] = or_masked(w[i], \
                     (to) >= (i) ? _mm512_slli_epi16(h, (unsigned)((to) >= (i) ? (to) - (i) : 0)) \
                                 : _mm512_srli_epi16(h, (unsigned)((to) < (i) ? (i) - (to) : 0)), \
                     bytes_of(1 << (to)))
#define ADD_BITS(w, h, to) \
    do { \
        ADD_BIT(w, h, to, 0); \
        ADD_BIT(w, h, to, 1); \
        ADD_BIT(w, h, to, 2); \
        ADD_BIT(w, h, to, 3); \
        ADD_BIT(w, h, to, 4); \
        ADD_BIT(w, h, to, 5); \
        ADD_BIT(w, h, to, 6); \
        ADD_BIT(w, h, to, 7); \
    } while (0)

/* Nibbles looked up in a table of sixteen bytes, the same in each lane of 128 bits. */
INLINE void load_table(const uint8_t (*qs)[GROUP][4], __m512i table, __m512i *w)
{
    load_4(qs, w);
    UNROLL
    for (int i = 0; i < 8; i++)
        w[i] = _mm512_shuffle_epi8(table, w[i]);
}

/* The sixteen values of a type with a table, 128 too large. */
INLINE __m512i table_of(const int8_t *values)
{
    __m128i v = _mm_xor_si128(_mm_loadu_si128((const __m128i *)values), _mm_set1_epi8((char)128));
    return _mm512_broadcast_i32x4(v);
}

#endif

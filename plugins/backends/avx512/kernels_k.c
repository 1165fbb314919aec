/* kernels_k.c - the forms of types with blocks of 256, and of those that are kept as int8. */
#include "numeric.h"
#include "tile.h"

INLINE __m512 small_bytes(const uint8_t *b)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)b)));
}

/* Bytes [r][2], signed: the first and the second of each row. */
INLINE void small_pairs(const void *p, __m512 *first, __m512 *second)
{
    __m512i v = _mm512_cvtepi8_epi16(_mm256_loadu_si256(p));
    *first = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(v, 16), 16));
    *second = _mm512_cvtepi32_ps(_mm512_srai_epi32(v, 16));
}

/* An eighth of a block, for its 32 elements. */
INLINE void fetch_part(const struct block *b, const void *block, uint64_t bytes, uint64_t k)
{
    fetch_ahead(b, (const uint8_t *)block + k % 8 * (bytes / 8), bytes / 8);
}

/* m = -dmin mn */
INLINE __m512 minimum(const uint16_t *dmin, __m512 mn)
{
    return _mm512_mul_ps(halves(dmin), _mm512_sub_ps(_mm512_setzero_ps(), mn));
}

INLINE void load_q4_k(const void *group, uint64_t k, struct block *b)
{
    const struct x_q4_k *s = (const struct x_q4_k *)group + k / 8;
    fetch_part(b, s, sizeof(*s), k);
    load_4(s->qs[k % 8], b->w);
    b->d = _mm512_mul_ps(halves(s->d), small_bytes(s->sc[k % 8]));
    b->m = minimum(s->dmin, small_bytes(s->mn[k % 8]));
}

INLINE void load_q5_k(const void *group, uint64_t k, struct block *b)
{
    const struct x_q5_k *s = (const struct x_q5_k *)group + k / 8;
    __m512i h = load(s->b[k % 8].qh);
    fetch_part(b, s, sizeof(*s), k);
    load_4(s->b[k % 8].qs, b->w);
    ADD_BITS(b->w, h, 4);
    b->d = _mm512_mul_ps(halves(s->d), small_bytes(s->sc[k % 8]));
    b->m = minimum(s->dmin, small_bytes(s->mn[k % 8]));
}

/* Bits 2i, 2i + 1 of a byte, moved up to bits 6 and 7, for i = 0 .. 3. */
INLINE void upper_pairs(const void *p, __m512i *out)
{
    __m512i v = load(p);
    out[0] = _mm512_slli_epi16(v, 6);
    out[1] = _mm512_slli_epi16(v, 4);
    out[2] = _mm512_slli_epi16(v, 2);
    out[3] = v;
}

/* d (q - 32) = d / 4 (4 q - 128) */
INLINE void load_q6_k(const void *group, uint64_t k, struct block *b)
{
    const struct x_q6_k *s = (const struct x_q6_k *)group + k / 8;
    const __m512i low = bytes_of(0x3c), high = bytes_of(0xc0);
    __m512i up[8];
    fetch_part(b, s, sizeof(*s), k);
    upper_pairs(s->b[k % 8].qh[0], up);
    upper_pairs(s->b[k % 8].qh[1], up + 4);
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i v = load(s->b[k % 8].qs[i]);
        b->w[i] = or_masked(_mm512_and_si512(_mm512_slli_epi16(v, 2), low), up[i], high);
        b->w[i + 4] = or_masked(_mm512_and_si512(_mm512_srli_epi16(v, 2), low), up[i + 4], high);
    }
    __m512 d = _mm512_mul_ps(halves(s->d), _mm512_set1_ps(1.0f / 4)), sc0, sc1;
    small_pairs(s->sc[k % 8], &sc0, &sc1);
    b->d = _mm512_mul_ps(d, sc0);
    b->d1 = _mm512_mul_ps(d, sc1);
}

/* d (q - 4) = d / 32 (32 q - 128) */
INLINE void load_q3_k(const void *group, uint64_t k, struct block *b)
{
    const struct x_q3_k *s = (const struct x_q3_k *)group + k / 8;
    const __m512i bits = bytes_of(0x60);
    __m512i h = load(s->b[k % 8].qh);
    fetch_part(b, s, sizeof(*s), k);
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m512i v = load(s->b[k % 8].qs[i]);
        b->w[4 * i] = _mm512_and_si512(_mm512_slli_epi16(v, 5), bits);
        b->w[4 * i + 1] = _mm512_and_si512(_mm512_slli_epi16(v, 3), bits);
        b->w[4 * i + 2] = _mm512_and_si512(_mm512_slli_epi16(v, 1), bits);
        b->w[4 * i + 3] = _mm512_and_si512(_mm512_srli_epi16(v, 1), bits);
    }
    ADD_BITS(b->w, h, 7);
    __m512 d = _mm512_mul_ps(halves(s->d), _mm512_set1_ps(1.0f / 32)), sc0, sc1;
    small_pairs(s->sc[k % 8], &sc0, &sc1);
    b->d = _mm512_mul_ps(d, sc0);
    b->d1 = _mm512_mul_ps(d, sc1);
}

INLINE void load_q2_k(const void *group, uint64_t k, struct block *b)
{
    const struct x_q2_k *s = (const struct x_q2_k *)group + k / 8;
    const __m512i low = bytes_of(3), nibble = _mm512_set1_epi32(15);
    fetch_part(b, s, sizeof(*s), k);
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m512i v = load(s->qs[k % 8][i]);
        b->w[4 * i] = _mm512_and_si512(v, low);
        b->w[4 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 2), low);
        b->w[4 * i + 2] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
        b->w[4 * i + 3] = _mm512_and_si512(_mm512_srli_epi16(v, 6), low);
    }
    /* four nibbles a row: scale and minimum of the first half, then of the second */
    __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)s->sc[k % 8]));
    __m512i sc1 = _mm512_and_si512(_mm512_srli_epi32(v, 8), nibble);
    __m512i mn0 = _mm512_and_si512(_mm512_srli_epi32(v, 4), nibble), mn1 = _mm512_srli_epi32(v, 12);
    b->d = _mm512_mul_ps(halves(s->d), _mm512_cvtepi32_ps(_mm512_and_si512(v, nibble)));
    b->d1 = _mm512_mul_ps(halves(s->d), _mm512_cvtepi32_ps(sc1));
    b->m = minimum(s->dmin, _mm512_cvtepi32_ps(mn0));
    b->m1 = minimum(s->dmin, _mm512_cvtepi32_ps(mn1));
}

INLINE void load_iq4_xs(const void *group, uint64_t k, struct block *b)
{
    const struct x_iq4_xs *s = (const struct x_iq4_xs *)group + k / 8;
    __m512i sc = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)s->sc[k % 8]));
    fetch_part(b, s, sizeof(*s), k);
    load_table(s->qs[k % 8], table_of(rz_values_iq4), b->w);
    b->d = _mm512_mul_ps(halves(s->d), _mm512_cvtepi32_ps(sc));
}

INLINE void load_i8(const void *group, uint64_t k, struct block *b)
{
    const struct x_i8 *g = (const struct x_i8 *)group + k;
    fetch_ahead(b, g, sizeof(*g));
    UNROLL
    for (int i = 0; i < 8; i++)
        b->w[i] = _mm512_xor_si512(load(g->qs[i]), bytes_of(128));
    b->d = _mm512_loadu_ps(g->d[0]);
    b->d1 = _mm512_loadu_ps(g->d[1]);
}

TILES(q2_k, TWO_MINS)
TILES(q3_k, TWO_SCALES)
TILES(q4_k, SCALE_MIN)
TILES(q5_k, SCALE_MIN)
TILES(q6_k, TWO_SCALES)
TILES(iq4_xs, ONE_SCALE)
TILES(i8, TWO_SCALES)

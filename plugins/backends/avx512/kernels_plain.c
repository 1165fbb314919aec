/* kernels_plain.c - the forms of types with blocks of 32. */
#include "numeric.h"
#include "tile.h"

/* d (q - 8) = d / 16 (16 q - 128) */
INLINE void load_q4_0(const void *group, uint64_t k, struct block *b)
{
    const struct x_q4_0 *g = (const struct x_q4_0 *)group + k;
    fetch_ahead(b, g, sizeof(*g));
    load_4_high(g->qs, b->w);
    b->d = _mm512_mul_ps(halves(g->d), _mm512_set1_ps(1.0f / 16));
}

INLINE void load_q4_1(const void *group, uint64_t k, struct block *b)
{
    const struct x_q4_1 *g = (const struct x_q4_1 *)group + k;
    fetch_ahead(b, g, sizeof(*g));
    load_4(g->qs, b->w);
    b->d = halves(g->d);
    b->m = halves(g->m);
}

/* d (q - 16) = d / 8 (8 q - 128) */
INLINE void load_q5_0(const void *group, uint64_t k, struct block *b)
{
    const struct x_q5_0 *g = (const struct x_q5_0 *)group + k;
    const __m512i low = bytes_of(0x78), h = load(g->qh);
    fetch_ahead(b, g, sizeof(*g));
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i v = load(g->qs[i]);
        b->w[i] = _mm512_and_si512(_mm512_slli_epi16(v, 3), low);
        b->w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 1), low);
    }
    ADD_BITS(b->w, h, 7);
    b->d = _mm512_mul_ps(halves(g->d), _mm512_set1_ps(1.0f / 8));
}

INLINE void load_q5_1(const void *group, uint64_t k, struct block *b)
{
    const struct x_q5_1 *g = (const struct x_q5_1 *)group + k;
    __m512i h = load(g->qh);
    fetch_ahead(b, g, sizeof(*g));
    load_4(g->qs, b->w);
    ADD_BITS(b->w, h, 4);
    b->d = halves(g->d);
    b->m = halves(g->m);
}

INLINE void load_q8_0(const void *group, uint64_t k, struct block *b)
{
    const struct x_q8_0 *g = (const struct x_q8_0 *)group + k;
    fetch_ahead(b, g, sizeof(*g));
    UNROLL
    for (int i = 0; i < 8; i++)
        b->w[i] = _mm512_xor_si512(load(g->qs[i]), bytes_of(128));
    b->d = halves(g->d);
}

INLINE void load_iq4_nl(const void *group, uint64_t k, struct block *b)
{
    const struct x_q4_0 *g = (const struct x_q4_0 *)group + k;
    fetch_ahead(b, g, sizeof(*g));
    load_table(g->qs, table_of(rz_values_iq4), b->w);
    b->d = halves(g->d);
}

INLINE void load_mxfp4(const void *group, uint64_t k, struct block *b)
{
    const struct x_mxfp4 *g = (const struct x_mxfp4 *)group + k;
    __m512i d = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)g->d));
    fetch_ahead(b, g, sizeof(*g));
    load_table(g->qs, table_of(rz_values_fp4), b->w);
    b->d = _mm512_castsi512_ps(_mm512_slli_epi32(d, 16));
}

TILES(q4_0, ONE_SCALE)
TILES(q4_1, SCALE_MIN)
TILES(q5_0, ONE_SCALE)
TILES(q5_1, SCALE_MIN)
TILES(q8_0, ONE_SCALE)
TILES(iq4_nl, ONE_SCALE)
TILES(mxfp4, ONE_SCALE)

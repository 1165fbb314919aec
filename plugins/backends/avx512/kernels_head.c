/* kernels_head.c - the LM head over two planes of bits: the exact tiles, and the screening (screen.h).
 *
 * Invariant: the exact tiles add as those of the X16 layout do, so a logit has the same bits in both.
 */
#include "head.h"
#include "tile.h"

/* Bits 3..7 as 0..31. */
INLINE void load_high(const struct x_plane_a *a, __m512i *w)
{
    __m512i h = load(a->qh);
    load_4(a->qs, w);
    ADD_BITS(w, h, 4);
}

/* Adds the two bits of plane B that lie at `shift` of v to bits 1 and 2. */
#define ADD_TWO(w, v, i) \
    w[i] = or_masked(w[i], \
                     (i) % 4 ? _mm512_srli_epi16(v, (unsigned)((i) % 4 ? 2 * ((i) % 4) - 1 : 0)) \
                             : _mm512_slli_epi16(v, 1), \
                     bytes_of(6))

INLINE void load_planes(const void *group, uint64_t k, struct block *b)
{
    const struct x_planes *at = group;
    const struct x_plane_b *low = at->b + k;
    const __m512i mask = bytes_of(0x78), h = load(at->a[k].qh), one = load(low->one);
    const __m512i two[2] = {load(low->two[0]), load(low->two[1])};
    fetch_ahead(b, &at->a[k], sizeof(at->a[k]));
    fetch_ahead(b, low, sizeof(*low));
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i v = load(at->a[k].qs[i]);
        b->w[i] = _mm512_and_si512(_mm512_slli_epi16(v, 3), mask);
        b->w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 1), mask);
    }
    ADD_BITS(b->w, h, 7);
    ADD_TWO(b->w, two[0], 0);
    ADD_TWO(b->w, two[0], 1);
    ADD_TWO(b->w, two[0], 2);
    ADD_TWO(b->w, two[0], 3);
    ADD_TWO(b->w, two[1], 4);
    ADD_TWO(b->w, two[1], 5);
    ADD_TWO(b->w, two[1], 6);
    ADD_TWO(b->w, two[1], 7);
    ADD_BITS(b->w, one, 0);
    b->d = halves(at->a[k].d);
}

TILES(planes, ONE_SCALE)

/* --- the estimate --- */

static void integers(const int32_t *block, uint32_t n, uint32_t t, int wide, int32_t q[32])
{
    int8_t high[4], low[4];
    for (uint32_t i = 0; i < 8; i++) {
        __builtin_memcpy(high, &block[i * n + t], 4);
        __builtin_memcpy(low, &block[(wide ? 8 + i : i) * n + t], 4);
        for (int j = 0; j < 4; j++)
            q[4 * i + (uint32_t)j] = wide ? 256 * high[j] + low[j] : low[j];
    }
}

void screen_prepare(const int32_t *tile, uint64_t cols, uint32_t n, int wide, struct screen_x *out)
{
    for (uint64_t k = 0; k < cols / 32; k++, tile += ACT_WORDS(n, wide))
        for (uint32_t t = 0; t < n; t++) {
            int32_t q[32];
            float d;
            integers(tile, n, t, wide, q);
            __builtin_memcpy(&d, tile + n * (uint32_t)(ACT_BYTES_WORDS(wide) + ACT_D) + t, 4);
            out[k * n + t] = screen_block(q, d, cols / 32);
        }
}

/* top[t]: what products of sixteen rows of the weight and row t of x can be at most. */
INLINE void estimate(const struct x_plane_a *a, uint64_t cols, const int32_t *x, const struct screen_x *s,
                     const int n, const int wide, __m512 *top)
{
    __m512 value[4], bound[4];
    UNROLL
    for (int t = 0; t < n; t++)
        value[t] = bound[t] = _mm512_setzero_ps();
    for (uint64_t k = 0; k < cols / 32; k++, x += ACT_WORDS(n, wide), s += n) {
        struct block b;
        load_high(&a[k], b.w);
        __m512 d = halves(a[k].d), size = _mm512_abs_ps(d);
        __m512 norm = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)a[k].norm)));
        __m512 sum[TILE_ROWS];
        dots(&b, x, n, 0, n, wide, 0, 8, ACT_C, 0, sum);
        UNROLL
        for (int t = 0; t < n; t++) {
            __m512 part = _mm512_fmadd_ps(sum[t], _mm512_set1_ps(8), _mm512_set1_ps(s[t].offset));
            __m512 error = _mm512_fmadd_ps(norm, _mm512_set1_ps(s[t].norm), _mm512_set1_ps(s[t].slack));
            __m512 scale = _mm512_set1_ps(s[t].d);
            value[t] = _mm512_fmadd_ps(_mm512_mul_ps(part, d), scale, value[t]);
            bound[t] = _mm512_fmadd_ps(_mm512_mul_ps(error, size), scale, bound[t]);
        }
    }
    UNROLL
    for (int t = 0; t < n; t++)
        top[t] = _mm512_fmadd_ps(bound[t], _mm512_set1_ps(1.0f + 0x1p-8f), value[t]);
}

/* Lanes whose value can be `least` or more; what is no number is kept. */
static uint32_t reaches(__m512 top, float least)
{
    return _mm512_cmp_ps_mask(top, _mm512_set1_ps(least), _CMP_NLT_UQ);
}

#define ESTIMATE(N, WIDE) \
    case (N) + 8 * (WIDE): \
        estimate(a, cols, x, s, N, WIDE, top); \
        break

void screen_group(const struct x_plane_a *a, uint64_t cols, const int32_t *x, const struct screen_x *s,
                  uint32_t n, int wide, const float *least, uint32_t *lanes)
{
    __m512 top[4];
    switch (n + 8 * (uint32_t)wide) {
        ESTIMATE(1, 0);
        ESTIMATE(2, 0);
        ESTIMATE(4, 0);
        ESTIMATE(1, 1);
        ESTIMATE(2, 1);
    default:
        estimate(a, cols, x, s, 4, 1, top);
        break;
    }
    for (uint32_t t = 0; t < n; t++)
        lanes[t] = reaches(top[t], least[t]);
}

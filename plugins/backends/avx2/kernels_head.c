/* kernels_head.c - the LM head over two planes of bits: the exact tiles, and the screening (screen.h).
 *
 * Invariant: the exact tiles sum the integers of the X8 layout and add as its tiles do, so a logit has the
 * same bits in both.
 */
#include "head.h"
#include "many.h"

INLINE __m256i masked(__m256i v, const int shift, const uint8_t mask)
{
    __m256i moved = shift >= 0 ? _mm256_slli_epi16(v, shift >= 0 ? shift : 0)
                               : _mm256_srli_epi16(v, shift < 0 ? -shift : 0);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)mask));
}

INLINE void scales_planes(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_planes *)group)->a[k].d);
}

/* w = u - 128 is u with its top bit turned. */
INLINE void part_planes(const void *group, uint64_t k, const int part, __m256i *w)
{
    const struct x_plane_a *a = ((const struct x_planes *)group)->a + k;
    const struct x_plane_b *b = ((const struct x_planes *)group)->b + k;
    __m256i high = _mm256_or_si256(masked(load(a->qs[part % 4]), part < 4 ? 3 : -1, 0x78),
                                   masked(load(a->qh), 7 - part, 0x80));
    __m256i low = _mm256_or_si256(masked(load(b->two[part / 4]), 1 - 2 * (part % 4), 6),
                                  masked(load(b->one), -part, 1));
    w[0] = _mm256_xor_si256(_mm256_or_si256(high, low), _mm256_set1_epi8((char)128));
}

/* Vectors 2p, 2p + 1, 2p + 4, 2p + 5 of u & 7. */
INLINE void low_bits(const struct x_plane_b *b, const int part, __m256i *w)
{
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int v = vector_of(NIBBLES, 0, part, i);
        w[i] = _mm256_or_si256(masked(load(b->two[v / 4]), 1 - 2 * (v % 4), 6), masked(load(b->one), -v, 1));
    }
}

/* The sums of a block as 8 sum (u >> 3) x + sum (u & 7) x - 128 sum x: fewer instructions than to put u
 * together, which count where a single row meets the weights. */
#define PLANES_BODY(n) \
    static void tile_planes_##n(const void *group, uint64_t cols, const struct next *next, \
                                const union tile_x *x, float out[][GROUP]) \
    { \
        (void)next; \
        const struct x_planes *at = group; \
        const struct scales none = {.d = _mm256_setzero_ps()}; \
        __m256 acc[n]; \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            acc[t] = _mm256_setzero_ps(); \
        for (uint64_t k = 0; k < cols / 32; k++) { \
            __m256i high[n], low[n], w[4]; \
            UNROLL \
            for (int t = 0; t < (n); t++) \
                high[t] = low[t] = _mm256_setzero_si256(); \
            UNROLL \
            for (int part = 0; part < 2; part++) { \
                nibbles_5(at->a[k].qh, at->a[k].qs, part, w); \
                UNROLL \
                for (int t = 0; t < (n); t++) \
                    high[t] = add_part(high[t], w, &none, &x[t].q[k], FIVES, 0, part); \
                low_bits(&at->b[k], part, w); \
                UNROLL \
                for (int t = 0; t < (n); t++) \
                    low[t] = add_part(low[t], w, &none, &x[t].q[k], NIBBLES, 0, part); \
            } \
            __m256 d = halves(at->a[k].d); \
            UNROLL \
            for (int t = 0; t < (n); t++) { \
                __m256i off = _mm256_madd_epi16(both_sums(&x[t].q[k]), _mm256_set1_epi16(-128)); \
                __m256i sum = \
                    _mm256_add_epi32(_mm256_slli_epi32(high[t], 3), _mm256_madd_epi16(low[t], ONES)); \
                acc[t] = add_scaled(acc[t], _mm256_cvtepi32_ps(_mm256_add_epi32(sum, off)), d, &x[t].q[k]); \
            } \
        } \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            _mm256_storeu_ps(out[t], acc[t]); \
    }
PLANES_BODY(1)
PLANES_BODY(2)
PLANES_BODY(3)
PLANES_BODY(4)

MANY_BODY(SIGNED)
MANY(planes, SIGNED, no_pairs)
static const struct tiles tiles_planes = {{tile_planes_1, tile_planes_2, tile_planes_3, tile_planes_4},
                                          many_planes};

void planes_run(const struct rz_weight_view *w, uint64_t group, const union tile_x *x, int n,
                float (*out)[GROUP])
{
    const struct x_planes planes = planes_at(w, group);
    run_tiles(&tiles_planes, &planes, w->cols, 0, x, n, out);
}

/* --- the estimate --- */

void screen_prepare(const struct act_block *x, uint64_t cols, struct screen_x *out)
{
    for (uint64_t k = 0; k < cols / 32; k++) {
        int32_t q[32];
        for (int i = 0; i < 32; i++)
            q[i] = x[k].q[i];
        out[k] = screen_block(q, x[k].d, cols / 32);
    }
}

/* top[t]: what products of eight rows of the weight and x[t] can be at most. */
INLINE void estimate(const struct x_plane_a *a, uint64_t cols, const union tile_x *x,
                     const struct screen_x *s, const int n, __m256 *top)
{
    const struct scales none = {.d = _mm256_setzero_ps()};
    const __m256 abs_mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 value[4], bound[4];
    UNROLL
    for (int t = 0; t < n; t++)
        value[t] = bound[t] = _mm256_setzero_ps();
    for (uint64_t k = 0; k < cols / 32; k++) {
        __m256i sum[4];
        UNROLL
        for (int t = 0; t < n; t++)
            sum[t] = _mm256_setzero_si256();
        UNROLL
        for (int part = 0; part < 2; part++) {
            __m256i w[4];
            nibbles_5(a[k].qh, a[k].qs, part, w);
            UNROLL
            for (int t = 0; t < n; t++)
                sum[t] = add_part(sum[t], w, &none, &x[t].q[k], FIVES, 0, part);
        }
        __m256 d = halves(a[k].d);
        __m256 norm = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)a[k].norm)));
        UNROLL
        for (int t = 0; t < n; t++) {
            const struct screen_x *at = &s[(uint64_t)t * (cols / 32) + k];
            __m256 part =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t]), _mm256_set1_ps(8), _mm256_set1_ps(at->offset));
            __m256 error = _mm256_fmadd_ps(norm, _mm256_set1_ps(at->norm), _mm256_set1_ps(at->slack));
            __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(at->d));
            value[t] = _mm256_fmadd_ps(part, scale, value[t]);
            bound[t] = _mm256_fmadd_ps(error, _mm256_and_ps(scale, abs_mask), bound[t]);
        }
    }
    UNROLL
    for (int t = 0; t < n; t++)
        top[t] = _mm256_fmadd_ps(bound[t], _mm256_set1_ps(1.0f + 0x1p-8f), value[t]);
}

void screen_group(const struct x_plane_a *a, uint64_t cols, const union tile_x *x, const struct screen_x *s,
                  uint32_t n, const float *least, uint32_t *lanes)
{
    __m256 top[4];
    switch (n) {
    case 1:
        estimate(a, cols, x, s, 1, top);
        break;
    case 2:
        estimate(a, cols, x, s, 2, top);
        break;
    case 3:
        estimate(a, cols, x, s, 3, top);
        break;
    default:
        estimate(a, cols, x, s, 4, top);
        break;
    }
    for (uint32_t t = 0; t < n; t++) /* what is no number is kept */
        lanes[t] = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(top[t], _mm256_set1_ps(least[t]), _CMP_NLT_UQ));
}

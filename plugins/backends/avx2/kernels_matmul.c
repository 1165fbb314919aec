/* kernels_matmul.c - the tiles: eight weight rows times one to four activation rows, or eights, for
 * every type.
 *
 * What a type is made of is here; how it meets the activations is in tile.h. Float types have two chains,
 * even and odd k, added at the end.
 */
#include "many.h"
#include "numeric.h"

INLINE __m256 small_bytes(const uint8_t *b)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)b)));
}

INLINE __m256 minus(__m256 x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}

/* --- blocks of 32 --- */

/* x = d (q - 8): the 8 comes off as 8 d times the sum of the activations */
INLINE void scales_q4_0(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q4_0 *)group)[k].d);
    s->m = _mm256_mul_ps(s->d, _mm256_set1_ps(-8));
}

INLINE void part_q4_0(const void *group, uint64_t k, const int part, __m256i *w)
{
    nibbles(((const struct x_q4_0 *)group)[k].qs, part, w);
}

INLINE void scales_q4_1(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q4_1 *)group)[k].d);
    s->m = halves(((const struct x_q4_1 *)group)[k].m);
}

INLINE void part_q4_1(const void *group, uint64_t k, const int part, __m256i *w)
{
    nibbles(((const struct x_q4_1 *)group)[k].qs, part, w);
}

INLINE void scales_q5_0(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q5_0 *)group)[k].d);
    s->m = _mm256_mul_ps(s->d, _mm256_set1_ps(-16));
}

INLINE void part_q5_0(const void *group, uint64_t k, const int part, __m256i *w)
{
    const struct x_q5_0 *b = (const struct x_q5_0 *)group + k;
    nibbles_5(b->qh, b->qs, part, w);
}

INLINE void scales_q5_1(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q5_1 *)group)[k].d);
    s->m = halves(((const struct x_q5_1 *)group)[k].m);
}

INLINE void part_q5_1(const void *group, uint64_t k, const int part, __m256i *w)
{
    const struct x_q5_1 *b = (const struct x_q5_1 *)group + k;
    nibbles_5(b->qh, b->qs, part, w);
}

INLINE void scales_q8_0(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q8_0 *)group)[k].d);
}

INLINE void part_q8_0(const void *group, uint64_t k, const int part, __m256i *w)
{
    w[0] = load(((const struct x_q8_0 *)group)[k].qs[part]);
}

/* --- nibbles that are places in a table of sixteen bytes --- */

INLINE __m256i looked_up(const int8_t *values, const uint8_t (*qs)[GROUP][4], const int vector)
{
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)values));
    __m256i v = load(qs[vector % 4]);
    v = _mm256_and_si256(vector < 4 ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
    return _mm256_shuffle_epi8(table, v);
}

INLINE void scales_iq4_nl(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q4_0 *)group)[k].d);
}

INLINE void part_iq4_nl(const void *group, uint64_t k, const int part, __m256i *w)
{
    w[0] = looked_up(rz_values_iq4, ((const struct x_q4_0 *)group)[k].qs, part);
}

INLINE void scales_iq4_xs(const void *group, uint64_t k, int half, struct scales *s)
{
    const struct x_iq4_xs *b = (const struct x_iq4_xs *)group + k / 8;
    __m256i sc = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)b->sc[k % 8]));
    (void)half;
    s->d = _mm256_mul_ps(halves(b->d), _mm256_cvtepi32_ps(sc));
}

INLINE void part_iq4_xs(const void *group, uint64_t k, const int part, __m256i *w)
{
    w[0] = looked_up(rz_values_iq4, ((const struct x_iq4_xs *)group)[k / 8].qs[k % 8], part);
}

/* x = d v, v of -12..12, which the tile gets as v + 12 */
INLINE void scales_mxfp4(const void *group, uint64_t k, int half, struct scales *s)
{
    __m128i d = _mm_loadu_si128((const __m128i *)((const struct x_mxfp4 *)group)[k].d);
    (void)half;
    s->d = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(d), 16));
    s->m = _mm256_mul_ps(s->d, _mm256_set1_ps(-12));
}

INLINE void part_mxfp4(const void *group, uint64_t k, const int part, __m256i *w)
{
    __m128i values = _mm_loadu_si128((const __m128i *)rz_values_fp4);
    __m256i table = _mm256_broadcastsi128_si256(_mm_add_epi8(values, _mm_set1_epi8(12)));
    nibbles(((const struct x_mxfp4 *)group)[k].qs, part, w);
    UNROLL
    for (int i = 0; i < 4; i++)
        w[i] = _mm256_shuffle_epi8(table, w[i]);
}

/* Any type whose 16-groups are integers of -127..127 times a scale. */
INLINE void scales_i8(const void *group, uint64_t k, const int half, struct scales *s)
{
    s->d = _mm256_loadu_ps(((const struct x_i8 *)group)[k].d[half]);
}

INLINE void part_i8(const void *group, uint64_t k, const int part, __m256i *w)
{
    w[0] = load(((const struct x_i8 *)group)[k].qs[part]);
}

/* --- blocks of 256; k counts their groups of 32 --- */

/* x = d sc q - dmin mn */
INLINE void scales_q4_k(const void *group, uint64_t k, int half, struct scales *s)
{
    const struct x_q4_k *b = (const struct x_q4_k *)group + k / 8;
    (void)half;
    s->d = _mm256_mul_ps(halves(b->d), small_bytes(b->sc[k % 8]));
    s->m = minus(_mm256_mul_ps(halves(b->dmin), small_bytes(b->mn[k % 8])));
}

INLINE void part_q4_k(const void *group, uint64_t k, const int part, __m256i *w)
{
    nibbles(((const struct x_q4_k *)group)[k / 8].qs[k % 8], part, w);
}

INLINE void scales_q5_k(const void *group, uint64_t k, int half, struct scales *s)
{
    const struct x_q5_k *b = (const struct x_q5_k *)group + k / 8;
    (void)half;
    s->d = _mm256_mul_ps(halves(b->d), small_bytes(b->sc[k % 8]));
    s->m = minus(_mm256_mul_ps(halves(b->dmin), small_bytes(b->mn[k % 8])));
}

INLINE void part_q5_k(const void *group, uint64_t k, const int part, __m256i *w)
{
    const struct x_q5_k *b = (const struct x_q5_k *)group + k / 8;
    nibbles_5(b->b[k % 8].qh, b->b[k % 8].qs, part, w);
}

/* Of 16-bit pairs (a, b) in the order of rows 0..7: a twice, or b twice. */
INLINE __m256i twice(__m256i pairs, const int second)
{
    const __m256i base =
        _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    return _mm256_shuffle_epi8(pairs,
                               _mm256_add_epi8(base, _mm256_set1_epi32(second ? 0x03020302 : 0x01000100)));
}

/* The scales of the two 16-groups go in as the second factor of the widening multiply-add: exact in 32 bits
 * (32 * 63 * 127 * 128). */
INLINE void pairs_q6_k(const void *group, uint64_t k, struct scales *s)
{
    const struct x_q6_k *b = (const struct x_q6_k *)group + k / 8;
    s->both = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b->sc[k % 8]));
    s->pair[0] = twice(s->both, 0);
    s->pair[1] = twice(s->both, 1);
}

INLINE void scales_q6_k(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q6_k *)group)[k / 8].d);
}

/* The upper two bits of vector i stand at bits 2 (i % 4) of qh[i / 4]. */
INLINE void part_q6_k(const void *group, uint64_t k, const int part, __m256i *w)
{
    const struct x_q6_k *b = (const struct x_q6_k *)group + k / 8;
    const __m256i bits = _mm256_set1_epi8(0x30);
    nibbles(b->b[k % 8].qs, part, w);
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int up = 4 - 2 * (2 * part + i % 2);
        __m256i h = load(b->b[k % 8].qh[i / 2]);
        __m256i moved =
            up >= 0 ? _mm256_slli_epi16(h, up >= 0 ? up : 0) : _mm256_srli_epi16(h, up < 0 ? -up : 0);
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(moved, bits));
    }
}

/* Likewise. */
INLINE void pairs_q3_k(const void *group, uint64_t k, struct scales *s)
{
    const struct x_q3_k *b = (const struct x_q3_k *)group + k / 8;
    s->both = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b->sc[k % 8]));
    s->pair[0] = twice(s->both, 0);
    s->pair[1] = twice(s->both, 1);
}

INLINE void scales_q3_k(const void *group, uint64_t k, int half, struct scales *s)
{
    (void)half;
    s->d = halves(((const struct x_q3_k *)group)[k / 8].d);
}

/* Bit 4 part + i of a byte of qh goes to bit 2 of vector i. */
INLINE void part_q3_k(const void *group, uint64_t k, const int part, __m256i *w)
{
    const struct x_q3_k *b = (const struct x_q3_k *)group + k / 8;
    const __m256i low = _mm256_set1_epi8(3), bit = _mm256_set1_epi8(4);
    __m256i v = load(b->b[k % 8].qs[part]), h = load(b->b[k % 8].qh);
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int up = 2 - (4 * part + i);
        __m256i moved =
            up >= 0 ? _mm256_slli_epi16(h, up >= 0 ? up : 0) : _mm256_srli_epi16(h, up < 0 ? -up : 0);
        w[i] =
            _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(v, 2 * i), low), _mm256_and_si256(moved, bit));
    }
}

INLINE void pairs_q2_k(const void *group, uint64_t k, struct scales *s)
{
    const struct x_q2_k *b = (const struct x_q2_k *)group + k / 8;
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)b->sc[k % 8]));
    __m256i scales = _mm256_and_si256(v, _mm256_set1_epi16(15));
    s->pair[0] = twice(scales, 0);
    s->pair[1] = twice(scales, 1);
    s->both = _mm256_srli_epi16(v, 4);
}

INLINE void scales_q2_k(const void *group, uint64_t k, int half, struct scales *s)
{
    const struct x_q2_k *b = (const struct x_q2_k *)group + k / 8;
    (void)half;
    s->d = halves(b->d);
    s->m = minus(halves(b->dmin));
}

INLINE void part_q2_k(const void *group, uint64_t k, const int part, __m256i *w)
{
    const __m256i low = _mm256_set1_epi8(3);
    __m256i v = load(((const struct x_q2_k *)group)[k / 8].qs[k % 8][part]);
    UNROLL
    for (int i = 0; i < 4; i++)
        w[i] = _mm256_and_si256(_mm256_srli_epi16(v, 2 * i), low);
}

MANY_BODY(NIBBLES)
MANY_BODY(FIVES)
MANY_BODY(SIXES)
MANY_BODY(PAIRS)
MANY_BODY(THREES)
MANY_BODY(SIGNED)
MANY_BODY(HALVES)

TILES_FEW(q4_0, NIBBLES, no_pairs)
TILES_FEW(q4_1, NIBBLES, no_pairs)
TILES(q5_0, FIVES, no_pairs)
TILES(q5_1, FIVES, no_pairs)
TILES(q8_0, SIGNED, no_pairs)
TILES(q4_k, NIBBLES, no_pairs)
TILES(q5_k, FIVES, no_pairs)
TILES(q6_k, SIXES, pairs_q6_k)
TILES(q2_k, PAIRS, pairs_q2_k)
TILES(q3_k, THREES, pairs_q3_k)
TILES(iq4_nl, SIGNED, no_pairs)
TILES(iq4_xs, SIGNED, no_pairs)
TILES(mxfp4, FIVES, no_pairs)
TILES(i8, HALVES, no_pairs)

/* --- float32, and types that widen to it --- */

/* Element k of eight rows as float32. */
INLINE __m256 load_float(const void *group, uint64_t k, const int type)
{
    if (type == RZ_TYPE_F32)
        return _mm256_loadu_ps((const float *)group + GROUP * k);
    __m128i h = _mm_loadu_si128((const __m128i *)((const uint16_t *)group + GROUP * k));
    if (type == RZ_TYPE_F16)
        return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

#define FLOAT_BODY(name, type, n) \
    static void tile_##name##_##n(const void *group, uint64_t cols, const struct next *next, \
                                  const union tile_x *x, float out[][GROUP]) \
    { \
        (void)next; \
        __m256 even[n], odd[n]; \
        uint64_t k = 0; \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            even[t] = odd[t] = _mm256_setzero_ps(); \
        for (; k + 2 <= cols; k += 2) { \
            __m256 w0 = load_float(group, k, type), w1 = load_float(group, k + 1, type); \
            UNROLL \
            for (int t = 0; t < (n); t++) { \
                even[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(x[t].f[k]), even[t]); \
                odd[t] = _mm256_fmadd_ps(w1, _mm256_set1_ps(x[t].f[k + 1]), odd[t]); \
            } \
        } \
        if (k < cols) { \
            __m256 w0 = load_float(group, k, type); \
            UNROLL \
            for (int t = 0; t < (n); t++) \
                even[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(x[t].f[k]), even[t]); \
        } \
        UNROLL \
        for (int t = 0; t < (n); t++) \
            _mm256_storeu_ps(out[t], _mm256_add_ps(even[t], odd[t])); \
    }
#define FLOATS(name, type) \
    FLOAT_BODY(name, type, 1) \
    FLOAT_BODY(name, type, 2) \
    FLOAT_BODY(name, type, 3) \
    FLOAT_BODY(name, type, 4) \
    static const struct tiles tiles_##name = { \
        {tile_##name##_1, tile_##name##_2, tile_##name##_3, tile_##name##_4}, NULL};
FLOATS(f32, RZ_TYPE_F32)
FLOATS(f16, RZ_TYPE_F16)
FLOATS(bf16, RZ_TYPE_BF16)

/* By the form that a type's layout has; those that are not named are kept as int8. */
static const struct tiles *tiles_of(int32_t type)
{
    static const struct tiles *const all[] = {
        [RZ_TYPE_F32] = &tiles_f32,       [RZ_TYPE_F16] = &tiles_f16,       [RZ_TYPE_BF16] = &tiles_bf16,
        [RZ_TYPE_F64] = &tiles_f32,       [RZ_TYPE_I8] = &tiles_f32,        [RZ_TYPE_I16] = &tiles_f32,
        [RZ_TYPE_I32] = &tiles_f32,       [RZ_TYPE_I64] = &tiles_f32,       [RZ_TYPE_Q4_0] = &tiles_q4_0,
        [RZ_TYPE_Q4_1] = &tiles_q4_1,     [RZ_TYPE_Q5_0] = &tiles_q5_0,     [RZ_TYPE_Q5_1] = &tiles_q5_1,
        [RZ_TYPE_Q8_0] = &tiles_q8_0,     [RZ_TYPE_Q2_K] = &tiles_q2_k,     [RZ_TYPE_Q3_K] = &tiles_q3_k,
        [RZ_TYPE_Q4_K] = &tiles_q4_k,     [RZ_TYPE_Q5_K] = &tiles_q5_k,     [RZ_TYPE_Q6_K] = &tiles_q6_k,
        [RZ_TYPE_IQ4_NL] = &tiles_iq4_nl, [RZ_TYPE_IQ4_XS] = &tiles_iq4_xs, [RZ_TYPE_MXFP4] = &tiles_mxfp4,
    };
    bool own = (size_t)type < sizeof(all) / sizeof(all[0]) && all[type];
    return own ? all[type] : &tiles_i8;
}

void tile_run(int level, int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float (*out)[GROUP])
{
    (void)level; /* this table has one */
    run_tiles(tiles_of(type), group, cols, x_group_bytes(x_type(type), 256) / 8, x, n, out);
}

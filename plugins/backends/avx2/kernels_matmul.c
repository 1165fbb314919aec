/* kernels_matmul.c - the tiles: eight weight rows times one to four activation rows, for every type.
 *
 * Integer types: the products of a 32-block are summed exactly in integers (maddubs on bytes; the
 * comments count the headroom of its 16-bit lanes), then one multiply-add in float with the product of
 * both scales. Float types: two chains, even and odd k, added at the end. Error: that of the quantised
 * activations (half a step of amax / 127 each), plus one rounding of float32 a block.
 */
#include "tile.h"

INLINE __m256 small_bytes(const uint8_t *b)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)b)));
}

/* The eight vectors of unsigned 4-bit weights. */
INLINE void load_4(const uint8_t (*qs)[GROUP][4], __m256i *w)
{
    const __m256i low = _mm256_set1_epi8(15);
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m256i v = _mm256_loadu_si256((const __m256i *)qs[i]);
        w[i] = _mm256_and_si256(v, low);
        w[i + 4] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    }
}

/* The same with fifth bits: bit i of a byte of qh goes to bit 4 of vector i. */
INLINE void load_5(const uint8_t (*qh)[4], const uint8_t (*qs)[GROUP][4], __m256i *w)
{
    const __m256i bit = _mm256_set1_epi8(16);
    __m256i h = _mm256_loadu_si256((const __m256i *)qh);
    load_4(qs, w);
    UNROLL
    for (int i = 0; i < 8; i++) {
        __m256i moved =
            i < 4 ? _mm256_slli_epi16(h, 4 - i < 0 ? 0 : 4 - i) : _mm256_srli_epi16(h, i - 4 < 0 ? 0 : i - 4);
        w[i] = _mm256_or_si256(w[i], _mm256_and_si256(moved, bit));
    }
}

/* 32 products of weights 0..15: eight sums of pairs are at most 8 * 2 * 15 * 127 = 30480. */
INLINE __m256i dot_4(const __m256i *w, const struct act_block *x)
{
    __m256i s = _mm256_maddubs_epi16(w[0], four(x, 0));
    UNROLL
    for (int i = 1; i < 8; i++)
        s = _mm256_add_epi16(s, _mm256_maddubs_epi16(w[i], four(x, i)));
    return _mm256_madd_epi16(s, ONES);
}

/* Weights 0..31: four sums of pairs are at most 4 * 2 * 31 * 127 = 31496. */
INLINE __m256i dot_5(const __m256i *w, const struct act_block *x)
{
    __m256i a = _mm256_maddubs_epi16(w[0], four(x, 0)), b = _mm256_maddubs_epi16(w[4], four(x, 4));
    UNROLL
    for (int i = 1; i < 4; i++) {
        a = _mm256_add_epi16(a, _mm256_maddubs_epi16(w[i], four(x, i)));
        b = _mm256_add_epi16(b, _mm256_maddubs_epi16(w[i + 4], four(x, i + 4)));
    }
    return _mm256_add_epi32(_mm256_madd_epi16(a, ONES), _mm256_madd_epi16(b, ONES));
}

/* x = d (q - 8): the 8 comes off as 8 d times the sum of the activations */
INLINE void tile_q4_0(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q4_0 *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        __m256i w[8];
        __m256 d = halves(b[k].d), m = _mm256_mul_ps(d, _mm256_set1_ps(-8));
        load_4(b[k].qs, w);
        UNROLL
        for (int t = 0; t < n; t++) {
            acc[t] = add_scaled(acc[t], dot_4(w, &x[t].q[k]), d, &x[t].q[k]);
            acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t].q[k].s), acc[t]);
        }
    }
    store_all(acc, n, out);
}

INLINE void tile_q4_1(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q4_1 *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        __m256i w[8];
        __m256 d = halves(b[k].d), m = halves(b[k].m);
        load_4(b[k].qs, w);
        UNROLL
        for (int t = 0; t < n; t++) {
            acc[t] = add_scaled(acc[t], dot_4(w, &x[t].q[k]), d, &x[t].q[k]);
            acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t].q[k].s), acc[t]);
        }
    }
    store_all(acc, n, out);
}

INLINE void tile_q5_0(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q5_0 *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        __m256i w[8];
        __m256 d = halves(b[k].d), m = _mm256_mul_ps(d, _mm256_set1_ps(-16));
        load_5(b[k].qh, b[k].qs, w);
        UNROLL
        for (int t = 0; t < n; t++) {
            acc[t] = add_scaled(acc[t], dot_5(w, &x[t].q[k]), d, &x[t].q[k]);
            acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t].q[k].s), acc[t]);
        }
    }
    store_all(acc, n, out);
}

INLINE void tile_q5_1(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q5_1 *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        __m256i w[8];
        __m256 d = halves(b[k].d), m = halves(b[k].m);
        load_5(b[k].qh, b[k].qs, w);
        UNROLL
        for (int t = 0; t < n; t++) {
            acc[t] = add_scaled(acc[t], dot_5(w, &x[t].q[k]), d, &x[t].q[k]);
            acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t].q[k].s), acc[t]);
        }
    }
    store_all(acc, n, out);
}

/* Signed weights: |w| times the activation with w's sign; a pair is at most 2 * 128 * 127 = 32512. */
INLINE void tile_q8_0(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q8_0 *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        __m256i sum[TILE_ROWS];
        UNROLL
        for (int t = 0; t < n; t++)
            sum[t] = _mm256_setzero_si256();
        UNROLL
        for (int i = 0; i < 8; i++) {
            __m256i w = _mm256_loadu_si256((const __m256i *)b[k].qs[i]), size = _mm256_abs_epi8(w);
            UNROLL
            for (int t = 0; t < n; t++) {
                __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(four(&x[t].q[k], i), w));
                sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(pairs, ONES));
            }
        }
        __m256 d = halves(b[k].d);
        UNROLL
        for (int t = 0; t < n; t++)
            acc[t] = add_scaled(acc[t], sum[t], d, &x[t].q[k]);
    }
    store_all(acc, n, out);
}

/* x = d sc q - dmin mn */
INLINE void tile_q4_k(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q4_k *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        const struct x_q4_k *s = &b[k / 8];
        int g = (int)(k % 8);
        __m256i w[8];
        __m256 d = _mm256_mul_ps(halves(s->d), small_bytes(s->sc[g]));
        __m256 m = _mm256_mul_ps(halves(s->dmin), small_bytes(s->mn[g]));
        load_4(s->qs[g], w);
        UNROLL
        for (int t = 0; t < n; t++) {
            acc[t] = add_scaled(acc[t], dot_4(w, &x[t].q[k]), d, &x[t].q[k]);
            acc[t] = _mm256_fnmadd_ps(m, _mm256_set1_ps(x[t].q[k].s), acc[t]);
        }
    }
    store_all(acc, n, out);
}

INLINE void tile_q5_k(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q5_k *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        const struct x_q5_k *s = &b[k / 8];
        int g = (int)(k % 8);
        __m256i w[8];
        __m256 d = _mm256_mul_ps(halves(s->d), small_bytes(s->sc[g]));
        __m256 m = _mm256_mul_ps(halves(s->dmin), small_bytes(s->mn[g]));
        load_5(s->qh[g], s->qs[g], w);
        UNROLL
        for (int t = 0; t < n; t++) {
            acc[t] = add_scaled(acc[t], dot_5(w, &x[t].q[k]), d, &x[t].q[k]);
            acc[t] = _mm256_fnmadd_ps(m, _mm256_set1_ps(x[t].q[k].s), acc[t]);
        }
    }
    store_all(acc, n, out);
}

/* The upper two bits of vector i, at bits 4 and 5. */
INLINE __m256i upper_2(__m256i h, int i)
{
    const __m256i bits = _mm256_set1_epi8(0x30);
    switch (i & 3) {
    case 0:
        return _mm256_and_si256(_mm256_slli_epi16(h, 4), bits);
    case 1:
        return _mm256_and_si256(_mm256_slli_epi16(h, 2), bits);
    case 2:
        return _mm256_and_si256(h, bits);
    default:
        return _mm256_and_si256(_mm256_srli_epi16(h, 2), bits);
    }
}

/* Weights 0..63: two sums of pairs are at most 2 * 2 * 63 * 127 = 32004. The scales of the two 16-groups
 * go in as the second factor of the widening multiply-add: exact in 32 bits (32 * 63 * 127 * 128). */
INLINE __m256i dot_6(const __m256i *w, const struct act_block *x, __m256i first, __m256i second)
{
    __m256i s = _mm256_setzero_si256();
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        __m256i pair = _mm256_add_epi16(_mm256_maddubs_epi16(w[i], four(x, i)),
                                        _mm256_maddubs_epi16(w[i + 1], four(x, i + 1)));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(pair, i < 4 ? first : second));
    }
    return s;
}

/* x = d sc (q - 32); the 32 comes off in integers: 32 * (sc0 h0 + sc1 h1) */
INLINE void tile_q6_k(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q6_k *b = group;
    const __m256i take0 = _mm256_set1_epi32(0x01000100), take1 = _mm256_set1_epi32(0x03020302);
    const __m256i base =
        _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        const struct x_q6_k *s = &b[k / 8];
        int g = (int)(k % 8);
        __m256i w[8];
        load_4(s->qs[g], w);
        UNROLL
        for (int i = 0; i < 8; i++)
            w[i] = _mm256_or_si256(w[i], upper_2(_mm256_loadu_si256((const __m256i *)s->qh[g][i / 4]), i));
        __m256i scales =
            _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)s->sc[g])); /* pairs sc0, sc1 */
        __m256i first = _mm256_shuffle_epi8(scales, _mm256_add_epi8(base, take0));
        __m256i second = _mm256_shuffle_epi8(scales, _mm256_add_epi8(base, take1));
        __m256 d = halves(s->d);
        UNROLL
        for (int t = 0; t < n; t++) {
            int32_t h;
            __builtin_memcpy(&h, x[t].q[k].h, 4);
            __m256i off = _mm256_slli_epi32(_mm256_madd_epi16(scales, _mm256_set1_epi32(h)), 5);
            acc[t] =
                add_scaled(acc[t], _mm256_sub_epi32(dot_6(w, &x[t].q[k], first, second), off), d, &x[t].q[k]);
        }
    }
    store_all(acc, n, out);
}

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

INLINE void tile_float(const void *group, uint64_t cols, const union tile_x *x, const int n, const int type,
                       float out[TILE_ROWS][GROUP])
{
    __m256 even[TILE_ROWS], odd[TILE_ROWS];
    uint64_t k = 0;
    clear_all(even, n);
    clear_all(odd, n);
    for (; k + 2 <= cols; k += 2) {
        __m256 w0 = load_float(group, k, type), w1 = load_float(group, k + 1, type);
        UNROLL
        for (int t = 0; t < n; t++) {
            even[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(x[t].f[k]), even[t]);
            odd[t] = _mm256_fmadd_ps(w1, _mm256_set1_ps(x[t].f[k + 1]), odd[t]);
        }
    }
    if (k < cols) {
        __m256 w0 = load_float(group, k, type);
        UNROLL
        for (int t = 0; t < n; t++)
            even[t] = _mm256_fmadd_ps(w0, _mm256_set1_ps(x[t].f[k]), even[t]);
    }
    UNROLL
    for (int t = 0; t < n; t++)
        even[t] = _mm256_add_ps(even[t], odd[t]);
    store_all(even, n, out);
}

#define CALL_tile_q4_0(N) tile_q4_0(group, cols, x, N, out)
#define CALL_tile_q4_1(N) tile_q4_1(group, cols, x, N, out)
#define CALL_tile_q5_0(N) tile_q5_0(group, cols, x, N, out)
#define CALL_tile_q5_1(N) tile_q5_1(group, cols, x, N, out)
#define CALL_tile_q8_0(N) tile_q8_0(group, cols, x, N, out)
#define CALL_tile_q4_k(N) tile_q4_k(group, cols, x, N, out)
#define CALL_tile_q5_k(N) tile_q5_k(group, cols, x, N, out)
#define CALL_tile_q6_k(N) tile_q6_k(group, cols, x, N, out)
#define CALL_tile_f32(N) tile_float(group, cols, x, N, RZ_TYPE_F32, out)
#define CALL_tile_f16(N) tile_float(group, cols, x, N, RZ_TYPE_F16, out)
#define CALL_tile_bf16(N) tile_float(group, cols, x, N, RZ_TYPE_BF16, out)
TILE_OF(tile_q4_0)
TILE_OF(tile_q4_1)
TILE_OF(tile_q5_0)
TILE_OF(tile_q5_1)
TILE_OF(tile_q8_0)
TILE_OF(tile_q4_k)
TILE_OF(tile_q5_k)
TILE_OF(tile_q6_k)
TILE_OF(tile_f32)
TILE_OF(tile_f16)
TILE_OF(tile_bf16)

void tile_run(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float out[TILE_ROWS][GROUP])
{
    typedef void tile_fn(const void *, uint64_t, const union tile_x *, int, float[TILE_ROWS][GROUP]);
    static tile_fn *const tiles[] = {
        [RZ_TYPE_F32] = tile_f32_n,   [RZ_TYPE_F16] = tile_f16_n,   [RZ_TYPE_BF16] = tile_bf16_n,
        [RZ_TYPE_Q4_0] = tile_q4_0_n, [RZ_TYPE_Q4_1] = tile_q4_1_n, [RZ_TYPE_Q5_0] = tile_q5_0_n,
        [RZ_TYPE_Q5_1] = tile_q5_1_n, [RZ_TYPE_Q8_0] = tile_q8_0_n, [RZ_TYPE_Q4_K] = tile_q4_k_n,
        [RZ_TYPE_Q5_K] = tile_q5_k_n, [RZ_TYPE_Q6_K] = tile_q6_k_n, [RZ_TYPE_Q2_K] = tile_q2_k_n,
        [RZ_TYPE_F64] = tile_f32_n,   [RZ_TYPE_I8] = tile_f32_n,    [RZ_TYPE_I16] = tile_f32_n,
        [RZ_TYPE_I32] = tile_f32_n,   [RZ_TYPE_I64] = tile_f32_n,   [RZ_TYPE_Q3_K] = tile_i8_n,
        [RZ_TYPE_IQ1_S] = tile_i8_n,  [RZ_TYPE_IQ1_M] = tile_i8_n,  [RZ_TYPE_IQ2_XXS] = tile_i8_n,
        [RZ_TYPE_IQ2_XS] = tile_i8_n, [RZ_TYPE_IQ2_S] = tile_i8_n,  [RZ_TYPE_IQ3_XXS] = tile_i8_n,
        [RZ_TYPE_IQ3_S] = tile_i8_n,  [RZ_TYPE_IQ4_NL] = tile_i8_n, [RZ_TYPE_IQ4_XS] = tile_i8_n,
        [RZ_TYPE_TQ1_0] = tile_i8_n,  [RZ_TYPE_TQ2_0] = tile_i8_n,  [RZ_TYPE_MXFP4] = tile_i8_n,
        [RZ_TYPE_NVFP4] = tile_i8_n,  [RZ_TYPE_Q1_0] = tile_i8_n,   [RZ_TYPE_Q2_0] = tile_i8_n,
    };
    tiles[type](group, cols, x, n, out);
}

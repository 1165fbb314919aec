/* kernels_small.c - the tiles of Q2_K, and of the types that are kept as int8 with a scale a 16-group.
 *
 * The products of a 16-group are summed exactly in integers. Error: that of the quantised activations (half
 * a step of amax / 127 each), plus roundings of float32, one a 16-group (one a 32-group for Q2_K).
 */
#include "tile.h"

/* |w| times the activation with w's sign; a pair is at most 2 * 127 * 127 = 32258 (no code is -128). */
INLINE void tile_i8(const void *group, uint64_t cols, const union tile_x *x, const int n,
                    float out[TILE_ROWS][GROUP])
{
    const struct x_i8 *b = group;
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++)
        for (int half = 0; half < 2; half++) {
            __m256i sum[TILE_ROWS];
            UNROLL
            for (int t = 0; t < n; t++)
                sum[t] = _mm256_setzero_si256();
            UNROLL
            for (int i = 0; i < 4; i++) {
                __m256i w = _mm256_loadu_si256((const __m256i *)b[k].qs[4 * half + i]);
                __m256i size = _mm256_abs_epi8(w);
                UNROLL
                for (int t = 0; t < n; t++) {
                    __m256i signed_x = _mm256_sign_epi8(four(&x[t].q[k], 4 * half + i), w);
                    __m256i pairs = _mm256_maddubs_epi16(size, signed_x);
                    sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(pairs, ONES));
                }
            }
            __m256 d = _mm256_loadu_ps(b[k].d[half]);
            UNROLL
            for (int t = 0; t < n; t++)
                acc[t] = add_scaled(acc[t], sum[t], d, &x[t].q[k]);
        }
    store_all(acc, n, out);
}

/* The eight vectors of 2-bit weights. */
INLINE void load_2(const uint8_t (*qs)[GROUP][4], __m256i *w)
{
    const __m256i low = _mm256_set1_epi8(3);
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256i v = _mm256_loadu_si256((const __m256i *)qs[i]);
        w[4 * i] = _mm256_and_si256(v, low);
        w[4 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(v, 2), low);
        w[4 * i + 2] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        w[4 * i + 3] = _mm256_and_si256(_mm256_srli_epi16(v, 6), low);
    }
}

/* 16 products of weights 0..3: four sums of pairs are at most 4 * 2 * 3 * 127 = 3048. */
INLINE __m256i dot_2(const __m256i *w, const struct act_block *x, int first)
{
    __m256i s = _mm256_maddubs_epi16(w[first], four(x, first));
    UNROLL
    for (int i = 1; i < 4; i++)
        s = _mm256_add_epi16(s, _mm256_maddubs_epi16(w[first + i], four(x, first + i)));
    return s;
}

/* x = d sc q - dmin mn, with scales and minima of 16-groups: both sums are exact in integers. */
INLINE void tile_q2_k(const void *group, uint64_t cols, const union tile_x *x, const int n,
                      float out[TILE_ROWS][GROUP])
{
    const struct x_q2_k *b = group;
    const __m256i first = _mm256_setr_epi32(0x01000100, 0x05040504, 0x09080908, 0x0d0c0d0c, 0x01000100,
                                            0x05040504, 0x09080908, 0x0d0c0d0c);
    const __m256i second = _mm256_add_epi8(first, _mm256_set1_epi8(2)), low = _mm256_set1_epi16(15);
    __m256 acc[TILE_ROWS];
    clear_all(acc, n);
    for (uint64_t k = 0; k < cols / 32; k++) {
        const struct x_q2_k *s = &b[k / 8];
        int g = (int)(k % 8);
        __m256i w[8];
        load_2(s->qs[g], w);
        __m256i both = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)s->sc[g]));
        __m256i scales = _mm256_and_si256(both, low), mins = _mm256_srli_epi16(both, 4);
        __m256i sc0 = _mm256_shuffle_epi8(scales, first), sc1 = _mm256_shuffle_epi8(scales, second);
        __m256 d = halves(s->d), dmin = _mm256_sub_ps(_mm256_setzero_ps(), halves(s->dmin));
        UNROLL
        for (int t = 0; t < n; t++) {
            int32_t h;
            __builtin_memcpy(&h, x[t].q[k].h, 4);
            __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(dot_2(w, &x[t].q[k], 0), sc0),
                                           _mm256_madd_epi16(dot_2(w, &x[t].q[k], 4), sc1));
            acc[t] = add_scaled(acc[t], sum, d, &x[t].q[k]);
            acc[t] = add_scaled(acc[t], _mm256_madd_epi16(mins, _mm256_set1_epi32(h)), dmin, &x[t].q[k]);
        }
    }
    store_all(acc, n, out);
}

#define CALL_tile_i8(N) tile_i8(group, cols, x, N, out)
#define CALL_tile_q2_k(N) tile_q2_k(group, cols, x, N, out)

void tile_i8_n(const void *group, uint64_t cols, const union tile_x *x, int n, float out[TILE_ROWS][GROUP])
{
    TILE_N(CALL_tile_i8, n)
}

void tile_q2_k_n(const void *group, uint64_t cols, const union tile_x *x, int n, float out[TILE_ROWS][GROUP])
{
    TILE_N(CALL_tile_q2_k, n)
}

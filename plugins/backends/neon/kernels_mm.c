/* kernels_mm.c - tiles of quantised weights with smmla: eight elements of two rows of activations times
 * eight of two rows of weights, four sums a register.
 *
 * Eight activation rows at once: sixteen registers of sums, four of weights, one of activations. The
 * results wait in memory, as they are touched once a block. An odd row is done twice; one row alone is
 * left to sdot, whose sums are the same integers.
 */
#define ROWS 8
#define N_STEP 2
#define EACH_N(f, name, type) f(name, type, 2) f(name, type, 4) f(name, type, 6) f(name, type, 8)

#include "types.h"

/* pair[p][j]: rows 2p and 2p + 1 of the activations, rows 2j and 2j + 1 of the group. */
struct sums {
    int32x4_t pair[ROWS / 2][4];
};

INLINE void clear_sums(struct sums *s, const int n)
{
    UNROLL
    for (int p = 0; p < n / 2; p++) {
        UNROLL
        for (int j = 0; j < 4; j++)
            s->pair[p][j] = vdupq_n_s32(0);
    }
}

/* Rows side by side have four elements each: those of a and b become eight of two rows. */
INLINE int8x16_t two_rows(int8x16_t a, int8x16_t b, const bool second)
{
    int32x4_t x = vreinterpretq_s32_s8(a), y = vreinterpretq_s32_s8(b);
    return vreinterpretq_s8_s32(second ? vzip2q_s32(x, y) : vzip1q_s32(x, y));
}

INLINE void add_half(struct sums *s, const int type, const void *group, uint64_t k, const int half,
                     const union tile_x *x, const int n)
{
    UNROLL
    for (int e = 0; e < 2; e++) {
        struct four a = weights(type, group, k, 4 * half + 2 * e),
                    b = weights(type, group, k, 4 * half + 2 * e + 1);
        const int8x16_t w[4] = {two_rows(a.lo, b.lo, false), two_rows(a.lo, b.lo, true),
                                two_rows(a.hi, b.hi, false), two_rows(a.hi, b.hi, true)};
        UNROLL
        for (int p = 0; p < n / 2; p++) {
            int8x16_t v = vcombine_s8(vld1_s8(x[2 * p].q[k].q + 16 * half + 8 * e),
                                      vld1_s8(x[2 * p + 1].q[k].q + 16 * half + 8 * e));
            UNROLL
            for (int j = 0; j < 4; j++)
                s->pair[p][j] = vmmlaq_s32(s->pair[p][j], v, w[j]);
        }
    }
}

/* The first (or second) row of activations, rows 2j .. 2j + 3 of the group. */
INLINE int32x4_t row_of(const int32x4_t *pair, const int j, const bool second)
{
    int64x2_t a = vreinterpretq_s64_s32(pair[j]), b = vreinterpretq_s64_s32(pair[j + 1]);
    return vreinterpretq_s32_s64(second ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
}

INLINE void read_sums(const struct sums *s, __m256i *out, const int n)
{
    UNROLL
    for (int t = 0; t < n; t++)
        out[t] = (__m256i){row_of(s->pair[t / 2], 0, t % 2), row_of(s->pair[t / 2], 2, t % 2)};
}

#include "tile.h"

void tile_mm(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
             float (*out)[GROUP])
{
    union tile_x even[ROWS];
    if (n == 1) {
        tile_dot(type, group, cols, x, n, out);
        return;
    }
    for (int t = 0; t < n; t++)
        even[t] = x[t];
    if (n % 2)
        even[n] = x[n - 1];
    rows_of(type, n)(group, cols, even, out);
}

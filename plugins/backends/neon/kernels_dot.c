/* kernels_dot.c - tiles of quantised weights with sdot: each lane adds up four products.
 *
 * Four activation rows at once: eight registers of sums, eight of results, four of activations, two of
 * weights, and what unpacking and scales take.
 */
#define ROWS 4
#define N_STEP 1
#define EACH_N(f, name, type) f(name, type, 1) f(name, type, 2) f(name, type, 3) f(name, type, 4)

#include "types.h"

struct sums {
    __m256i row[ROWS];
};

INLINE void clear_sums(struct sums *s, const int n)
{
    UNROLL
    for (int t = 0; t < n; t++)
        s->row[t] = _mm256_set1_epi32(0);
}

/* Vector 4 half + lane meets lane `lane` of each row's activations. */
#define ADD_LANE(lane) \
    w = weights(type, group, k, 4 * half + (lane)); \
    UNROLL \
    for (int t = 0; t < n; t++) { \
        s->row[t].lo = vdotq_laneq_s32(s->row[t].lo, w.lo, v[t], lane); \
        s->row[t].hi = vdotq_laneq_s32(s->row[t].hi, w.hi, v[t], lane); \
    }

INLINE void add_half(struct sums *s, const int type, const void *group, uint64_t k, const int half,
                     const union tile_x *x, const int n)
{
    int8x16_t v[ROWS];
    struct four w;
    UNROLL
    for (int t = 0; t < n; t++)
        v[t] = vld1q_s8(x[t].q[k].q + 16 * half);
    ADD_LANE(0)
    ADD_LANE(1)
    ADD_LANE(2)
    ADD_LANE(3)
}

INLINE void read_sums(const struct sums *s, __m256i *out, const int n)
{
    UNROLL
    for (int t = 0; t < n; t++)
        out[t] = s->row[t];
}

#include "tile.h"

void tile_dot(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
              float (*out)[GROUP])
{
    for (int t = 0, now; t < n; t += now) {
        now = n - t < ROWS ? n - t : ROWS;
        rows_of(type, now)(group, cols, x + t, out + t);
    }
}

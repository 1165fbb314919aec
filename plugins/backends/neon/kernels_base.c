/* kernels_base.c - tiles of quantised weights for every aarch64: widening products of bytes, added up in
 * 16 bits as often as these cannot overflow, then pairwise into 32.
 *
 * Two activation rows at once: sixteen registers of sums (four of 32 bits and four of 16 a row), up to
 * eight of weights, the activations broadcast from memory.
 */
#define ROWS 2
#define N_STEP 1
#define EACH_N(f, name, type) f(name, type, 1) f(name, type, 2)

#include "types.h"

/* part[t][j]: rows 2j and 2j + 1 of the group, two lanes each. */
struct sums {
    int32x4_t part[ROWS][4];
};

INLINE void clear_sums(struct sums *s, const int n)
{
    UNROLL
    for (int t = 0; t < n; t++) {
        UNROLL
        for (int j = 0; j < 4; j++)
            s->part[t][j] = vdupq_n_s32(0);
    }
}

/* Two rows of the group: which of the weights they are is j. */
INLINE int8x8_t two_rows(struct four w, const int j)
{
    int8x16_t v = j < 2 ? w.lo : w.hi;
    return j % 2 ? vget_high_s8(v) : vget_low_s8(v);
}

/* Four bytes, twice. */
INLINE int8x8_t four_twice(const int8_t *p)
{
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return vreinterpret_s8_s32(vdup_n_s32(v));
}

/* `deep` products fit into 16 bits: two of bytes (2 x 128 x 127 = 32512), four where weights have at most six
 * bits (4 x 32 x 127 = 16256). */
INLINE void add_half(struct sums *s, const int type, const void *group, uint64_t k, const int half,
                     const union tile_x *x, const int n)
{
    const bool bytes =
        type == RZ_TYPE_Q8_0 || type == RZ_TYPE_IQ4_NL || type == RZ_TYPE_IQ4_XS || type == OTHERS;
    const int deep = bytes ? 2 : 4;
    UNROLL
    for (int q = 4 * half; q < 4 * half + 4; q += deep) {
        struct four w[4];
        UNROLL
        for (int i = 0; i < deep; i++)
            w[i] = weights(type, group, k, q + i);
        UNROLL
        for (int t = 0; t < n; t++) {
            const int8_t *at = x[t].q[k].q + 4 * q;
            UNROLL
            for (int j = 0; j < 4; j++) {
                int16x8_t sum = vmull_s8(two_rows(w[0], j), four_twice(at));
                UNROLL
                for (int i = 1; i < deep; i++)
                    sum = vmlal_s8(sum, two_rows(w[i], j), four_twice(at + 4 * i));
                s->part[t][j] = vpadalq_s16(s->part[t][j], sum);
            }
        }
    }
}

INLINE void read_sums(const struct sums *s, __m256i *out, const int n)
{
    UNROLL
    for (int t = 0; t < n; t++)
        out[t] =
            (__m256i){vpaddq_s32(s->part[t][0], s->part[t][1]), vpaddq_s32(s->part[t][2], s->part[t][3])};
}

#include "tile.h"

void tile_base(int32_t type, const void *group, uint64_t cols, const union tile_x *x, int n,
               float (*out)[GROUP])
{
    for (int t = 0, now; t < n; t += now) {
        now = n - t < ROWS ? n - t : ROWS;
        rows_of(type, now)(group, cols, x + t, out + t);
    }
}

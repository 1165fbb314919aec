/* screen.h - the screened LM head, but for the arithmetic on vectors: which rows of a large matrix can be
 * among the k largest products with x, or not far below the largest, decided from the upper five bits of each
 * weight.
 *
 * For kernel files; each table includes it with vectors of its own. Layout PLANES of a Q8_0 matrix: the byte
 * u = w + 128 of each weight is cut into u >> 3 (plane A, with the scales and an error norm a block) and u &
 * 7 (plane B). One pass over the groups of rows reads A; where the largest possible value of some row reaches
 * the k-th best value found so far, and the best one less the gap, B is read as well and the group computed
 * exactly, by the same additions in the same order as always. What stays below cannot be wanted: its logit is
 * given as -inf.
 *
 * The bound. Over a block of 32, with l = u & 7 and e = l - 3.5, the exact integer sum is
 *     s = sum w x = sum (8 (u >> 3) - 128 + 3.5) x + sum e x.
 * Cut x at any t: x = x' + y, where |x'_j| = min(|x_j|, t) and |y_j| = max(|x_j| - t, 0). Then
 *     |sum e x| <= |e|_2 |x'|_2 + 3.5 |y|_1     (Cauchy-Schwarz; no |e_j| is above 3.5).
 * Hidden states have a few large elements, for which 3.5 |x_j| says far more than the norm of all of e; best
 * is t = 3.5 |x'|_2 / |e|_2, which screen_cut comes near for a usual |e|_2.
 * The value is the chain v += s p over blocks, p = d_w d_x, the estimate A the same chain with
 * a = 8 sum (u >> 3) x - 124.5 sum x. Both chains of n blocks are within (n + 4) 2^-23 of their sums of |s p|
 * and |a p|, and |s|, |a| <= 132 |x|_1. So with N >= |e|_2, X >= |x'|_2 and
 * R = 3.5 |y|_1 + 2 (n + 4) 2^-23 132 |x|_1,
 *     |v - A| <= B = sum |p| (N X + R),
 * and B is computed with all terms positive, within a relative 2 n 2^-23, that the factor 1 + 2^-8 covers
 * for n up to 2^13 together with the rounding of A + B (A is at most 300 B, for N >= 2.8 always).
 */
#ifndef RZ_BACKENDS_SCREEN_H
#define RZ_BACKENDS_SCREEN_H

#include <math.h>
#include <rz/kernels.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define SCREEN_K_MAX 64   /* above, too many rows stay, but for another limit */
#define SCREEN_ROWS_MAX 4 /* rows of a step                                  */
#define SCREEN_BLOCKS_MAX 8192
#define SCREEN_CUT_ROUNDS 4
#define SCREEN_NORM_STEPS 12 /* the error norm is stored in twelfths, rounded up */

/* One block of x, for the estimate. */
struct screen_x {
    float offset; /* -124.5 times the sum of its integers */
    float norm;   /* X / SCREEN_NORM_STEPS                */
    float slack;  /* R, with what the cut takes off       */
    float d;
};

/* What a row of a step is to have: the values that are among its k best and not more than gap below the best
 * one; k 0, gap 0: no such limit. */
struct screen_wish {
    uint32_t k;
    float gap;
};

/* The k best exact values of one thread and row: a heap, the least of them first. */
struct screen_best {
    uint32_t n, zero[15];
    float value[SCREEN_K_MAX];
};

/* What the team shares: the least value of interest that is known, as an ordered integer. It only rises. */
struct screen_shared {
    _Atomic int32_t least[SCREEN_ROWS_MAX];
    int32_t zero[16 - SCREEN_ROWS_MAX];
};

/* Floats as integers of the same order (NaN is never stored). */
static inline int32_t screen_ordered(float x)
{
    int32_t i;
    memcpy(&i, &x, 4);
    return i < 0 ? i ^ 0x7fffffff : i;
}

static inline float screen_float(int32_t i)
{
    float x;
    i = i < 0 ? i ^ 0x7fffffff : i;
    memcpy(&x, &i, 4);
    return x;
}

/* Where to cut the sizes of 32 integers: 3.5 |x'|_2 / 13, 13 being about the norm of 32 errors. From the
 * largest cut down; any cut is right. */
static inline uint32_t screen_cut(const uint32_t size[32])
{
    uint32_t cut = UINT32_MAX;
    for (int round = 0; round < SCREEN_CUT_ROUNDS; round++) {
        uint64_t square = 0;
        for (int i = 0; i < 32; i++) {
            uint64_t s = size[i] < cut ? size[i] : cut;
            square += s * s;
        }
        cut = (uint32_t)(sqrtf((float)square) * (3.5f / 13)) + 1;
    }
    return cut;
}

/* Of 32 integers times d: see the head of the file. n: blocks of the row. */
static inline struct screen_x screen_block(const int32_t q[32], float d, uint64_t n)
{
    int64_t sum = 0, all = 0, above = 0, square = 0;
    uint32_t size[32];
    for (int i = 0; i < 32; i++) {
        sum += q[i];
        size[i] = (uint32_t)(q[i] < 0 ? -q[i] : q[i]);
    }
    uint32_t cut = screen_cut(size);
    for (int i = 0; i < 32; i++) {
        int64_t s = size[i] < cut ? size[i] : cut;
        all += size[i];
        above += size[i] - s;
        square += s * s;
    }
    float chains = 2.0f * (float)(n + 4) * 0x1p-23f * 132.0f * (float)all;
    return (struct screen_x){.offset = -124.5f * (float)sum,
                             .norm = sqrtf((float)square) * (1.0f + 0x1p-20f) / SCREEN_NORM_STEPS,
                             .slack = 3.5f * (float)above + chains,
                             .d = d};
}

static inline void screen_begin(struct screen_shared *s)
{
    for (int t = 0; t < SCREEN_ROWS_MAX; t++)
        atomic_init(&s->least[t], INT32_MIN);
}

static inline float screen_least(struct screen_shared *s, int t)
{
    int32_t i = atomic_load_explicit(&s->least[t], memory_order_relaxed);
    return i == INT32_MIN ? -INFINITY : screen_float(i);
}

/* Nothing below v is of interest. */
static inline void screen_raise(struct screen_shared *s, int t, float v)
{
    int32_t mine = screen_ordered(v), now = atomic_load_explicit(&s->least[t], memory_order_relaxed);
    while (!isnan(v) && mine > now &&
           !atomic_compare_exchange_weak_explicit(&s->least[t], &now, mine, memory_order_relaxed,
                                                  memory_order_relaxed))
        continue;
}

/* Takes an exact value into a heap of k; true: it is there, and the heap is full. */
static inline bool screen_push(struct screen_best *b, uint32_t k, float v)
{
    uint32_t i;
    if (b->n < k) { /* sift up */
        for (i = b->n++; i && b->value[(i - 1) / 2] > v; i = (i - 1) / 2)
            b->value[i] = b->value[(i - 1) / 2];
        b->value[i] = v;
    } else if (v > b->value[0]) { /* replaces the least; sift down */
        for (i = 0; 2 * i + 1 < k;) {
            uint32_t child = 2 * i + 1;
            child += child + 1 < k && b->value[child + 1] < b->value[child];
            if (b->value[child] >= v)
                break;
            b->value[i] = b->value[child];
            i = child;
        }
        b->value[i] = v;
    } else {
        return false;
    }
    return b->n == k;
}

/* Takes an exact value in; tells the others what it rules out. */
static inline void screen_take(struct screen_shared *s, int t, struct screen_best *b,
                               const struct screen_wish *wish, float v)
{
    if (wish->k && screen_push(b, wish->k, v))
        screen_raise(s, t, b->value[0]);
    if (wish->gap > 0) /* rounded down */
        screen_raise(s, t, nextafterf(v - wish->gap, -INFINITY));
}

/* All wanted rows of the step ask for few of the best ones. */
static inline bool screen_wanted(const struct rz_kernel_call *c, struct screen_wish wish[SCREEN_ROWS_MAX])
{
    if (c->n_rows > SCREEN_ROWS_MAX)
        return false;
    for (uint32_t i = 0; i < c->n_rows; i++) {
        const struct rz_batch_row *r = &c->step->rows[c->step->wanted[i]];
        wish[i] = (struct screen_wish){.k = r->want == RZ_WANT_HIDDEN ? 1
                                            : r->k <= SCREEN_K_MAX    ? r->k
                                                                      : 0,
                                       .gap = r->want == RZ_WANT_TOP_K ? r->gap : 0};
        if (r->want != RZ_WANT_HIDDEN && (r->want != RZ_WANT_TOP_K || (!wish[i].k && !(wish[i].gap > 0))))
            return false;
    }
    return true;
}

#endif

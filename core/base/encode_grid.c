/* encode_grid.c - which points of a grid, and which scales, come nearest to a block.
 *
 * The weighted error of a point p at scale s is sum w x^2 - 2 s A + s^2 B, where A = sum w x p and
 * B = sum w p^2 do not depend on s. So the points that are best at some scale are the corners of the convex
 * hull of all (B, A), a dozen out of hundreds; they are found once, and then any scale costs a walk over
 * them. With that, scales are tried by the hundred: first for each group by itself, then for the common
 * factor d of all groups.
 */
#include "encode_grid.h"

#include "encode_fit.h"
#include "numeric.h"

#include <math.h>

#define CORNERS 32      /* of a hull that are kept                       */
#define POINTS_MAX 4096 /* of the largest grid, with both shifts         */
#define SHIFT 0.125f
#define SCAN 24 /* scales tried for a group                      */

typedef float vec4 __attribute__((vector_size(16)));
typedef int32_t int4 __attribute__((vector_size(16)));

/* The corners of a hull, by falling scale: the first is best at large scales. */
struct hull {
    int n;
    float a[CORNERS], b[CORNERS];
    uint16_t point[CORNERS];
};

/* A and B of all points. */
struct sums {
    vec4 a[POINTS_MAX / 4], b[POINTS_MAX / 4];
    int n;
};

struct search {
    const struct rz_grid_kind *kind;
    int groups, per_group, variants; /* variants: of a group's shift, 1 or 2 */
    float x[256], w[256];            /* sizes where the kind has signs       */
    float wish[16];                  /* the scale of a group by itself       */
    struct hull hulls[2][64];
};

/* --- hulls --- */

/* Keeps the smaller costs and where they were seen. */
static inline void keep_less(vec4 cost, int4 now, vec4 *least, int4 *best)
{
    int4 less = cost < *least;
    *least = (vec4)((less & (int4)cost) | (~less & (int4)*least));
    *best = (less & now) | (~less & *best);
}

/* The point of the least error at scale s. Two chains, so that one need not wait for the other. */
static int best_point(const struct sums *p, float s)
{
    const vec4 scale = {s, s, s, s}, minus2 = {-2, -2, -2, -2}, far = minus2 * -1e38f;
    vec4 least[2] = {far, far};
    int4 now = {0, 1, 2, 3}, best[2] = {now, now};
    for (int i = 0; i < p->n / 4; i += 2) {
        keep_less(scale * p->b[i] + minus2 * p->a[i], now, &least[0], &best[0]);
        keep_less(scale * p->b[i + 1] + minus2 * p->a[i + 1], now + 4, &least[1], &best[1]);
        now += 8;
    }
    keep_less(least[1], best[1], &least[0], &best[0]);
    int found = 0;
    for (int j = 1; j < 4; j++)
        if (least[0][j] < least[0][found])
            found = j;
    return best[0][found];
}

static float sum_at(const vec4 *v, int i)
{
    return v[i / 4][i % 4];
}

static int put_corner(struct hull *h, const struct sums *p, int at, int point)
{
    if (h->n == CORNERS)
        return 0;
    for (int i = h->n; i > at; i--) {
        h->a[i] = h->a[i - 1];
        h->b[i] = h->b[i - 1];
        h->point[i] = h->point[i - 1];
    }
    h->a[at] = sum_at(p->a, point);
    h->b[at] = sum_at(p->b, point);
    h->point[at] = (uint16_t)point;
    h->n++;
    return 1;
}

/* All corners that are best somewhere between the scales from and to. Two neighbours are equally good at
 * one scale; if a third point is better there, it lies between them, and if none is, nothing does. */
static void find_corners(const struct sums *p, float from, float to, struct hull *h)
{
    int first = best_point(p, to), last = best_point(p, from);
    h->n = 0;
    put_corner(h, p, 0, first);
    if (last != first)
        put_corner(h, p, 1, last);
    for (int i = 0; i + 1 < h->n;) {
        float db = h->b[i] - h->b[i + 1], s = 2 * (h->a[i] - h->a[i + 1]) / db;
        int between = db != 0 && s > from && s < to ? best_point(p, s) : h->point[i];
        float limit = s * h->b[i] - 2 * h->a[i];
        bool better = between != h->point[i] && between != h->point[i + 1] &&
                      s * sum_at(p->b, between) - 2 * sum_at(p->a, between) < limit - 1e-5f * fabsf(limit);
        if (!better || !put_corner(h, p, i + 1, between))
            i++;
    }
}

/* Sums over half a point, for all values of its digits. */
struct half_sums {
    float a[256], b[256], c[256]; /* c: sum w p */
};

static void sum_half(const struct rz_grid *g, const float *x, const float *w, struct half_sums *out)
{
    int n = 1, digits = g->dims / 2, levels = 1 << g->bits;
    out->a[0] = out->b[0] = out->c[0] = 0;
    for (int i = 0; i < digits; i++) {
        for (int digit = levels - 1; digit >= 0; digit--) {
            float level = g->levels[digit], wl = w[i] * level, xl = wl * x[i], ll = wl * level;
            for (int j = 0; j < n; j++) {
                out->a[digit * n + j] = out->a[j] + xl;
                out->b[digit * n + j] = out->b[j] + ll;
                out->c[digit * n + j] = out->c[j] + wl;
            }
        }
        n *= levels;
    }
}

/* A, B, and sum w p in c, of all points for the elements at x. */
static void sum_points(const struct rz_grid *g, const float *x, const float *w, struct sums *out, vec4 *c)
{
    struct half_sums low, high;
    int bits = g->bits * g->dims / 2, mask = (1 << bits) - 1;
    float *pa = (float *)out->a, *pb = (float *)out->b, *pc = (float *)c;
    sum_half(g, x, w, &low);
    sum_half(g, x + g->dims / 2, w + g->dims / 2, &high);
    out->n = g->n;
    for (int i = 0; i < g->n; i++) {
        int lo = g->points[i] & mask, hi = g->points[i] >> bits;
        pa[i] = low.a[lo] + high.a[hi];
        pb[i] = low.b[lo] + high.b[hi];
        if (c)
            pc[i] = low.c[lo] + high.c[hi];
    }
}

/* Sums of the points moved by shift, appended to out. */
static void add_shifted(const struct rz_grid *g, const float *x, const float *w, const struct sums *base,
                        const vec4 *c, float shift, struct sums *out)
{
    float wx = 0, ww = 0;
    vec4 *a = out->a + out->n / 4, *b = out->b + out->n / 4;
    for (int i = 0; i < g->dims; i++) {
        wx += w[i] * x[i];
        ww += w[i];
    }
    for (int i = 0; i < g->n / 4; i++) {
        a[i] = base->a[i] + shift * wx;
        b[i] = base->b[i] + (2 * shift) * c[i] + shift * shift * ww;
    }
    out->n += g->n;
}

/* The points of a hull, with a mark in those whose shift is negative: the second half, or all. */
static void mark_shifted(struct hull *h, uint16_t first)
{
    for (int i = 0; i < h->n; i++)
        if (h->point[i] >= first)
            h->point[i] = (uint16_t)((h->point[i] - first) | RZ_GRID_SHIFTED);
}

/* The hulls of point p of the block: one, or one for either shift of its group. */
static void find_hulls(struct search *s, int p, float from, float to)
{
    const struct rz_grid *g = s->kind->grid;
    const float *x = s->x + p * g->dims, *w = s->w + p * g->dims;
    struct sums base, sums;
    vec4 c[POINTS_MAX / 8];
    sums.n = 0;
    if (s->kind->shift == RZ_SHIFT_NONE) {
        sum_points(g, x, w, &base, NULL);
        find_corners(&base, from, to, &s->hulls[0][p]);
        return;
    }
    sum_points(g, x, w, &base, c);
    add_shifted(g, x, w, &base, c, SHIFT, &sums);
    if (s->kind->shift == RZ_SHIFT_GROUP) {
        find_corners(&sums, from, to, &s->hulls[0][p]);
        sums.n = 0;
    }
    add_shifted(g, x, w, &base, c, -SHIFT, &sums);
    find_corners(&sums, from, to, &s->hulls[s->variants - 1][p]);
    mark_shifted(&s->hulls[s->variants - 1][p], s->variants == 1 ? g->n : 0);
}

/* --- scales --- */

/* The corner that is best at a scale; the cost along a hull has one minimum. */
static int corner_at(const struct hull *h, float scale)
{
    int best = 0;
    float least = scale * h->b[0] - 2 * h->a[0];
    for (int i = 1; i < h->n; i++) {
        float cost = scale * h->b[i] - 2 * h->a[i];
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

struct chosen {
    float error; /* without the part sum w x^2 that does not depend on the choice */
    float a, b;
    int variant;
};

/* Group g at a scale. */
static struct chosen group_at(const struct search *s, int g, float scale)
{
    struct chosen best = {.error = INFINITY};
    for (int v = 0; v < s->variants; v++) {
        struct chosen now = {.variant = v};
        for (int p = 0; p < s->per_group; p++) {
            const struct hull *h = &s->hulls[v][g * s->per_group + p];
            int at = corner_at(h, scale);
            now.a += h->a[at];
            now.b += h->b[at];
        }
        now.error = scale * (scale * now.b - 2 * now.a);
        if (now.error < best.error)
            best = now;
    }
    return best;
}

/* The best scale of a group by itself. */
static float group_scale(const struct search *s, int g, float from, float to)
{
    float best = 0, least = 0, ratio = powf(to / from, 1.0f / (SCAN - 1)), scale = from;
    for (int i = 0; i < SCAN; i++, scale *= ratio) {
        struct chosen c = group_at(s, g, scale);
        float fit = c.b > 0 && c.a > 0 ? c.a / c.b : 0;
        float error = -c.a * fit;
        if (error < least) {
            least = error;
            best = fit;
        }
    }
    return best;
}

/* The integer scale of group g for the factor d. */
static struct chosen group_choose(const struct search *s, int g, float d, int around, uint8_t *scale)
{
    float wish = d > 0 ? (s->wish[g] / d - 1) / 2 : 0;
    int at = (int)(wish < 0 ? 0 : wish > (float)s->kind->top ? (float)s->kind->top : wish);
    struct chosen best = {.error = INFINITY};
    for (int i = at - around + 1; i <= at + around; i++) {
        if (i < 0 || i > s->kind->top)
            continue;
        struct chosen now = group_at(s, g, d * (float)(2 * i + 1));
        if (now.error < best.error) {
            best = now;
            *scale = (uint8_t)i;
        }
    }
    return best;
}

/* All groups for the factor d; better: the factor that these choices would like. */
static float choose_all(const struct search *s, float d, int around, uint8_t *scales, float *better)
{
    float error = 0, num = 0, den = 0;
    for (int g = 0; g < s->groups; g++) {
        struct chosen c = group_choose(s, g, d, around, &scales[g]);
        float odd = (float)(2 * scales[g] + 1);
        error += c.error;
        num += odd * c.a;
        den += odd * odd * c.b;
    }
    *better = num > 0 && den > 0 ? num / den : d;
    return error;
}

/* The common factor, in the units of the points. */
static float find_factor(const struct search *s)
{
    float largest = 0, best = 0, least = INFINITY;
    uint8_t scales[16];
    for (int g = 0; g < s->groups; g++)
        largest = s->wish[g] > largest ? s->wish[g] : largest;
    for (int i = 0; i < 20 && largest > 0; i++) {
        float d = largest / (float)(2 * s->kind->top + 1) * (0.7f + 0.03f * (float)i), better;
        float error = choose_all(s, d, 1, scales, &better);
        if (error < least) {
            least = error;
            best = d;
        }
        error = choose_all(s, better, 1, scales, &d);
        if (error < least) {
            least = error;
            best = better;
        }
    }
    return best;
}

/* --- signs --- */

/* Sizes and signs of eight elements. With parity, an odd number of minus signs costs one wrong sign: that
 * of the element where it matters least, whose size becomes negative. */
static uint8_t split_signs(const struct rz_grid_kind *k, float *x, const float *w)
{
    uint32_t signs = 0;
    int least = 0;
    for (int i = 0; i < 8; i++) {
        signs |= (uint32_t)(x[i] < 0) << i;
        x[i] = fabsf(x[i]);
        if (w[i] * x[i] < w[least] * x[least])
            least = i;
    }
    if (k->signs == RZ_SIGNS_PARITY && __builtin_parity(signs)) {
        signs ^= 1u << least;
        x[least] = -x[least];
    }
    return (uint8_t)signs;
}

/* The range of scales that can be best for a group whose largest element is size. */
static void scale_range(const struct rz_grid_kind *k, float size, float *from, float *to)
{
    int last = (1 << k->grid->bits) - 1;
    float lowest = k->grid->levels[0], highest = k->grid->levels[last];
    if (k->grid->bits == 2)
        highest = k->grid->levels[2];
    if (k->signs == RZ_SIGNS_NONE) {
        lowest = 1 - SHIFT;
        highest = 1 + SHIFT;
    }
    if (lowest < 0.18f * highest) /* so coarse a scale would waste most levels */
        lowest = 0.18f * highest;
    *from = 0.25f * size / highest;
    *to = 1.05f * size / lowest;
}

static void find_groups(struct search *s)
{
    int group = s->kind->group;
    for (int g = 0; g < s->groups; g++) {
        float size = 0, from, to;
        for (int i = 0; i < group; i++)
            size = fabsf(s->x[g * group + i]) > size ? fabsf(s->x[g * group + i]) : size;
        scale_range(s->kind, size > 0 ? size : 1, &from, &to);
        for (int p = 0; p < s->per_group; p++)
            find_hulls(s, g * s->per_group + p, from, to);
        s->wish[g] = size > 0 ? group_scale(s, g, from, to) : 0;
    }
}

void rz_grid_fit(const struct rz_grid_kind *kind, const float *x, const float *imatrix,
                 struct rz_grid_block *out)
{
    struct search s; /* large: set field by field */
    float better;
    s.kind = kind;
    s.groups = 256 / kind->group;
    s.per_group = kind->group / kind->grid->dims;
    s.variants = kind->shift == RZ_SHIFT_GROUP ? 2 : 1;
    memcpy(s.x, x, sizeof(s.x));
    rz_fit_weights(x, imatrix, 256, s.w);
    memset(out, 0, sizeof(*out));
    for (int i = 0; i < 32 && kind->signs != RZ_SIGNS_NONE; i++)
        out->signs[i] = split_signs(kind, s.x + 8 * i, s.w + 8 * i);
    find_groups(&s);
    float d = find_factor(&s) / kind->unit;
    out->d = rz_f32_to_f16(d > 65504 ? 65504 : d);
    d = rz_f16_to_f32(out->d) * kind->unit;
    choose_all(&s, d, 2, out->scales, &better);
    for (int g = 0; g < s.groups; g++) {
        float scale = d * (float)(2 * out->scales[g] + 1);
        int v = group_at(&s, g, scale).variant;
        for (int p = g * s.per_group; p < (g + 1) * s.per_group; p++)
            out->points[p] = s.hulls[v][p].point[corner_at(&s.hulls[v][p], scale)];
    }
}

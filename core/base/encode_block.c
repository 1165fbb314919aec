/* encode_block.c - blocks of 256 whose groups have small integer scales under a common half float.
 *
 * First each group by itself, then the common factor, then again each group's integers around the values
 * that they would like to have, and from the outcome a better common factor; a few rounds, the best kept.
 */
#include "encode_fit.h"
#include "numeric.h"

#include <math.h>

#define ROUNDS 3

/* The half float nearest to x, of which a block shall be a multiple; never infinite. */
static uint16_t half(float x)
{
    return rz_f32_to_f16(x > 65504 ? 65504 : x < -65504 ? -65504 : x);
}

/* --- without minima --- */

struct scales {
    const struct rz_levels *levels;
    const float *x, *w;
    int group, n, lo, hi;
    float wish[16]; /* the scale that a group by itself would have */
};

/* Chooses the integers for a factor d; returns the error, and in better a better factor. */
static float choose_scales(const struct scales *s, uint16_t half_d, struct rz_fit_block *out, float *better)
{
    float d = rz_f16_to_f32(half_d), total = 0, num = 0, den = 0;
    out->d = half_d;
    for (int g = 0; g < s->n; g++) {
        const float *x = s->x + g * s->group, *w = s->w + g * s->group;
        float wish = d != 0 ? s->wish[g] / d : 0, least = INFINITY;
        int at = (int)lrintf(wish < (float)s->lo ? (float)s->lo : wish > (float)s->hi ? (float)s->hi : wish);
        struct rz_fit_sums sums, kept = {0, 0};
        for (int scale = at - 1; scale <= at + 1; scale++) {
            if (scale < s->lo || scale > s->hi)
                continue;
            float error = rz_fit_codes(s->levels, x, w, s->group, d * (float)scale, NULL, &sums);
            if (error < least) {
                least = error;
                kept = sums;
                out->scales[g] = (int8_t)scale;
            }
        }
        rz_fit_codes(s->levels, x, w, s->group, d * (float)out->scales[g], out->codes + g * s->group, NULL);
        num += (float)out->scales[g] * kept.xv;
        den += (float)out->scales[g] * (float)out->scales[g] * kept.vv;
        total += least;
    }
    *better = den > 0 ? num / den : d;
    return total;
}

void rz_fit_block(const struct rz_levels *levels, const float *x, const float *w, int group, int lo, int hi,
                  struct rz_fit_block *out)
{
    struct scales s = {
        .levels = levels, .x = x, .w = w, .group = group, .n = 256 / group, .lo = lo, .hi = hi};
    struct rz_fit_block now;
    float largest = 0, least = INFINITY;
    memset(out, 0, sizeof(*out));
    for (int g = 0; g < s.n; g++) {
        s.wish[g] = rz_fit_scale(levels, x + g * group, w + g * group, group);
        if (fabsf(s.wish[g]) > fabsf(largest))
            largest = s.wish[g];
    }
    /* the largest scale at the end with one more step, or at the other one, or a little beyond */
    const float starts[] = {largest / (float)lo, largest / (float)hi, largest / (float)(lo - 2)};
    float next = 0, d;
    for (int i = 0; i < 3; i++) {
        float error = choose_scales(&s, half(starts[i]), &now, &d);
        if (error < least) {
            least = error;
            next = d;
            *out = now;
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        float error = choose_scales(&s, half(next), &now, &next);
        if (!(error < least))
            break;
        least = error;
        *out = now;
    }
}

/* --- with minima --- */

struct lines {
    const float *x, *w;
    int group, n, top, limit;
    struct rz_line wish[16];
};

static int bounded(float x, int limit)
{
    return x < 0 ? 0 : x > (float)limit ? limit : (int)lrintf(x);
}

/* The integers of group g around those nearest to its wish. */
static float choose_line(const struct lines *s, int g, float d, float dmin, uint8_t *scale, uint8_t *min)
{
    const float *x = s->x + g * s->group, *w = s->w + g * s->group;
    int sc = bounded(d > 0 ? s->wish[g].scale / d : 0, s->limit);
    int mn = bounded(dmin > 0 ? -s->wish[g].min / dmin : 0, s->limit);
    float least = INFINITY;
    for (int i = sc - 1; i <= sc + 1; i++)
        for (int j = mn - 1; j <= mn + 1; j++) {
            if (i < 0 || i > s->limit || j < 0 || j > s->limit)
                continue;
            struct rz_line line = {d * (float)i, -dmin * (float)j};
            float error = rz_fit_line_codes(x, w, s->group, s->top, line, NULL);
            if (error < least) {
                least = error;
                *scale = (uint8_t)i;
                *min = (uint8_t)j;
            }
        }
    return least;
}

/* Least squares for both common factors, from the integers and codes. */
static void better_factors(const struct lines *s, const struct rz_fit_line_block *b, float *d, float *dmin)
{
    float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int i = 0; i < 256; i++) {
        float p = (float)(b->scales[i / s->group] * b->codes[i]), q = -(float)b->mins[i / s->group];
        aa += s->w[i] * p * p;
        ab += s->w[i] * p * q;
        bb += s->w[i] * q * q;
        xa += s->w[i] * s->x[i] * p;
        xb += s->w[i] * s->x[i] * q;
    }
    float det = aa * bb - ab * ab;
    if (det > 1e-6f * aa * bb) {
        *d = (xa * bb - xb * ab) / det;
        *dmin = (xb * aa - xa * ab) / det;
    } else if (aa > 0) {
        *d = xa / aa;
    }
}

static float choose_lines(const struct lines *s, uint16_t d, uint16_t dmin, struct rz_fit_line_block *out)
{
    float df = rz_f16_to_f32(d), mf = rz_f16_to_f32(dmin), total = 0;
    out->d = d;
    out->dmin = dmin;
    for (int g = 0; g < s->n; g++) {
        total += choose_line(s, g, df, mf, &out->scales[g], &out->mins[g]);
        struct rz_line line = {df * (float)out->scales[g], -mf * (float)out->mins[g]};
        rz_fit_line_codes(s->x + g * s->group, s->w + g * s->group, s->group, s->top, line,
                          out->codes + g * s->group);
    }
    return total;
}

void rz_fit_line_block(const float *x, const float *w, int group, int top, int limit,
                       struct rz_fit_line_block *out)
{
    static const float starts[][2] = {{1, 1}, {0.9f, 1}, {1, 0.9f}, {0.9f, 0.9f}};
    struct lines s = {.x = x, .w = w, .group = group, .n = 256 / group, .top = top, .limit = limit};
    struct rz_fit_line_block now;
    float scale = 0, min = 0, least = INFINITY;
    memset(out, 0, sizeof(*out));
    for (int g = 0; g < s.n; g++) {
        s.wish[g] = rz_fit_line(x + g * group, w + g * group, group, top, true);
        scale = s.wish[g].scale > scale ? s.wish[g].scale : scale;
        min = -s.wish[g].min > min ? -s.wish[g].min : min;
    }
    float factors[2] = {0, 0};
    for (int i = 0; i < (limit < 16 ? 4 : 1); i++) { /* few steps: the largest may better be cut */
        float start[2] = {scale / (float)limit * starts[i][0], min / (float)limit * starts[i][1]};
        float error = choose_lines(&s, half(start[0]), half(start[1]), &now);
        if (error < least) {
            least = error;
            memcpy(factors, start, sizeof(factors));
            *out = now;
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        better_factors(&s, out, &factors[0], &factors[1]);
        factors[0] = factors[0] > 0 ? factors[0] : 0;
        factors[1] = factors[1] > 0 ? factors[1] : 0;
        float error = choose_lines(&s, half(factors[0]), half(factors[1]), &now);
        if (!(error < least))
            break;
        least = error;
        *out = now;
    }
}

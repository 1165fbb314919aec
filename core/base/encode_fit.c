/* encode_fit.c - scales of small integers by weighted least squares.
 *
 * The idea: for a given scale the best codes are the nearest ones, and for given codes the best scale has a
 * closed form. So a range of scales is tried, each followed by that closed form, and the best is kept.
 */
#include "encode_fit.h"

#include "numeric.h"

#include <math.h>

void rz_fit_weights(const float *x, const float *imatrix, int n, float *w)
{
    float square = 0, mean = 0;
    for (int i = 0; i < n; i++) {
        square += x[i] * x[i];
        mean += imatrix ? imatrix[i] : 0;
    }
    square /= (float)n;
    mean /= (float)n;
    for (int i = 0; i < n; i++) {
        /* a column that never mattered keeps a little weight, so that no group has none */
        float importance = mean > 0 ? imatrix[i] / mean + 1e-3f : 1;
        w[i] = importance * sqrtf(square + x[i] * x[i]);
        if (!(w[i] > 0))
            w[i] = 1;
    }
}

/* Nearest integer of |x| < 2^21, ties to even. */
static inline float nearest(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: the spacing there is 1 */
    float sum = x + shift;
    return sum - shift;
}

static inline float clamp(float x, float lo, float hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* The code whose value is nearest to x. Without branches: they would be taken at random. */
static inline int nearest_value(const int8_t *values, float x)
{
    int at = 0;
    for (int step = 8; step; step /= 2)
        at += step * (2 * x > (float)(values[at + step] + values[at + step - 1]));
    return at;
}

/* One loop for both kinds of levels and with or without codes: what is constant at the call disappears. */
static inline __attribute__((always_inline)) float fit_codes(const struct rz_levels *levels, const float *x,
                                                             const float *w, int n, float scale,
                                                             uint8_t *codes, struct rz_fit_sums *sums,
                                                             const int8_t *values)
{
    float inverse = scale != 0 ? 1 / scale : 0, lo = (float)levels->lo, hi = (float)levels->hi, error = 0;
    struct rz_fit_sums s = {0, 0};
    if (!isfinite(inverse))
        inverse = 0;
    for (int i = 0; i < n; i++) {
        float value;
        int code;
        if (values) {
            code = nearest_value(values, x[i] * inverse);
            value = (float)values[code];
        } else {
            value = nearest(clamp(x[i] * inverse, lo, hi));
            code = (int)value - levels->lo;
        }
        float off = x[i] - scale * value, weighted = w[i] * value;
        error += w[i] * off * off;
        s.xv += x[i] * weighted;
        s.vv += value * weighted;
        if (codes)
            codes[i] = (uint8_t)code;
    }
    if (sums)
        *sums = s;
    return error;
}

float rz_fit_codes(const struct rz_levels *levels, const float *x, const float *w, int n, float scale,
                   uint8_t *codes, struct rz_fit_sums *sums)
{
    if (levels->values)
        return fit_codes(levels, x, w, n, scale, codes, sums, levels->values);
    if (codes)
        return fit_codes(levels, x, w, n, scale, codes, sums, NULL);
    return fit_codes(levels, x, w, n, scale, NULL, sums, NULL);
}

float rz_fit_scale(const struct rz_levels *levels, const float *x, const float *w, int n)
{
    enum {
        STEPS = 6
    };
    const float ends[2] = {(float)levels->lo, (float)levels->hi};
    float best = 0, best_score = 0, largest = 0;
    struct rz_fit_sums s;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(largest))
            largest = x[i];
    if (largest == 0)
        return 0;
    /* the largest element comes to lie at either end, or somewhat past or before it; a step is 7 % of half
     * the range, but no more than 0.2 levels where there are many. Of a table only the longer end is taken,
     * and not cut by more than 6 %: a wider search finds smaller errors and models that are worse for it */
    float step = levels->values ? 0.01f * (ends[1] - ends[0]) / 2 : 0.07f * (ends[1] - ends[0]) / 2;
    if (step > 0.2f && !levels->values)
        step = 0.2f;
    for (int end = 0; end < (levels->values ? 1 : 2); end++)
        for (int i = -STEPS; i <= STEPS; i++) {
            float at = ends[end] + step * (float)i;
            if (fabsf(at) < 0.3f)
                continue;
            rz_fit_codes(levels, x, w, n, largest / at, NULL, &s);
            if (s.vv > 0 && s.xv * s.xv > best_score * s.vv) {
                best_score = s.xv * s.xv / s.vv;
                best = s.xv / s.vv;
            }
        }
    for (int i = 0; i < 2; i++) { /* and the codes nearest at the best scale have a better one still */
        rz_fit_codes(levels, x, w, n, best, NULL, &s);
        if (s.vv > 0)
            best = s.xv / s.vv;
    }
    return best;
}

float rz_fit_line_codes(const float *x, const float *w, int n, int top, struct rz_line line, uint8_t *codes)
{
    float inverse = line.scale > 0 ? 1 / line.scale : 0, error = 0;
    if (!isfinite(inverse))
        inverse = 0;
    for (int i = 0; i < n; i++) {
        float code = nearest(clamp((x[i] - line.min) * inverse, 0, (float)top));
        float off = x[i] - (line.scale * code + line.min);
        error += w[i] * off * off;
        if (codes)
            codes[i] = (uint8_t)code;
    }
    return error;
}

/* The best line for the codes that are nearest on this one; gain: by how much it lowers sum w x^2. */
static struct rz_line refit(const float *x, const float *w, int n, int top, struct rz_line line,
                            bool below_zero, float *gain)
{
    float inverse = line.scale > 0 ? 1 / line.scale : 0;
    float sw = 0, sq = 0, sqq = 0, sx = 0, sxq = 0;
    if (!isfinite(inverse))
        inverse = 0;
    for (int i = 0; i < n; i++) {
        float code = nearest(clamp((x[i] - line.min) * inverse, 0, (float)top));
        float wq = w[i] * code;
        sw += w[i];
        sx += w[i] * x[i];
        sq += wq;
        sqq += wq * code;
        sxq += wq * x[i];
    }
    float det = sw * sqq - sq * sq;
    struct rz_line fit = {0, sx / sw};
    if (det > 1e-6f * sw * sqq)
        fit = (struct rz_line){(sw * sxq - sq * sx) / det, (sqq * sx - sq * sxq) / det};
    if (below_zero && fit.min > 0)
        fit = (struct rz_line){sqq > 0 ? sxq / sqq : 0, 0};
    if (fit.scale < 0)
        fit.scale = 0;
    *gain = fit.scale * (2 * sxq - fit.scale * sqq - 2 * fit.min * sq) + fit.min * (2 * sx - fit.min * sw);
    return fit;
}

struct rz_line rz_fit_line(const float *x, const float *w, int n, int top, bool below_zero)
{
    enum {
        STEPS = 12
    };
    float lo = x[0], hi = x[0], gain, most = 0;
    for (int i = 1; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    if (below_zero && lo > 0)
        lo = 0;
    if (hi <= lo)
        return (struct rz_line){0, lo};
    struct rz_line best = {(hi - lo) / (float)top, lo}, line = best;
    float error = rz_fit_line_codes(x, w, n, top, best, NULL);
    /* the range is taken for somewhat fewer or more steps than there are: its ends are cut, or not used */
    for (int i = -STEPS; i <= STEPS; i++) {
        float steps = (float)top + (top < 4 ? 0.08f : 0.1f) * (float)i;
        struct rz_line now = refit(x, w, n, top, (struct rz_line){(hi - lo) / steps, lo}, below_zero, &gain);
        if (gain > most) {
            most = gain;
            line = now;
        }
    }
    for (int again = 0; again < 3; again++) { /* its codes have a better line still */
        float now = rz_fit_line_codes(x, w, n, top, line, NULL);
        if (now < error) {
            error = now;
            best = line;
        }
        line = refit(x, w, n, top, line, below_zero, &gain);
    }
    return best;
}

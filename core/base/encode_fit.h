/* encode_fit.h - the searches that the encoders share: scales of small integers by weighted least squares.
 *
 * All sums are over n elements; w is positive. Nothing here knows a block layout.
 */
#ifndef RZ_BASE_ENCODE_FIT_H
#define RZ_BASE_ENCODE_FIT_H

#include <stdbool.h>
#include <stdint.h>

/* What a code stands for: the integers lo..hi (code 0 is lo), or the 16 ascending values of a table. */
struct rz_levels {
    int lo, hi;
    const int8_t *values;
};

/* How much the error of each element counts: imatrix (if there is one) times sqrt(mean square + x^2), so
 * that large elements count more, and small ones still do. */
void rz_fit_weights(const float *x, const float *imatrix, int n, float *w);

struct rz_fit_sums {
    float xv, vv; /* sums of w x v and w v v over the values v that were chosen */
};
/* Chooses the nearest level for each x / scale; codes may be NULL. Returns the weighted squared error. */
float rz_fit_codes(const struct rz_levels *levels, const float *x, const float *w, int n, float scale,
                   uint8_t *codes, struct rz_fit_sums *sums);
/* The scale, of either sign, at which the levels fit best; 0 if all x are 0. */
float rz_fit_scale(const struct rz_levels *levels, const float *x, const float *w, int n);

/* x = scale * code + min, codes 0..top, scale >= 0. */
struct rz_line {
    float scale, min;
};
/* Returns the weighted squared error; codes may be NULL. */
float rz_fit_line_codes(const float *x, const float *w, int n, int top, struct rz_line line, uint8_t *codes);
/* min <= 0 if below_zero. */
struct rz_line rz_fit_line(const float *x, const float *w, int n, int top, bool below_zero);

/* A block of groups with integer scales of lo..hi and a common half float:
 * x = d * scales[g] * value. codes: one an element. */
struct rz_fit_block {
    uint16_t d;
    int8_t scales[16];
    uint8_t codes[256];
};
/* group: elements of a group, 16 or 32. */
void rz_fit_block(const struct rz_levels *levels, const float *x, const float *w, int group, int lo, int hi,
                  struct rz_fit_block *out);

/* The same with a minimum a group: x = d * scales[g] * code - dmin * mins[g], both 0..limit. */
struct rz_fit_line_block {
    uint16_t d, dmin;
    uint8_t scales[16], mins[16];
    uint8_t codes[256];
};
void rz_fit_line_block(const float *x, const float *w, int group, int top, int limit,
                       struct rz_fit_line_block *out);

#endif

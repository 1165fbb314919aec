/* rope.c - frequencies of rotary embeddings. Su et al. 2021, arXiv:2104.09864; linear interpolation
 * arXiv:2306.15595; YaRN arXiv:2309.00071. Everything in double precision, once at load. */
#include "builder.h"

#include "numeric.h"

#include <math.h>

#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

/* The dimension whose wavelength makes `turns` turns within the original context (YaRN, eq. 20). */
static double yarn_dim(const struct rz_hparams *h, double turns)
{
    return h->rope_dim * log(h->scaling_context / (turns * 2 * M_PI)) / (2 * log(h->rope_base));
}

/* Share of extrapolation (1: keep the frequency, 0: interpolate it) for pair i. */
static double yarn_keep(double low, double high, uint32_t i)
{
    double ramp = (i - low) / fmax(0.001, high - low);
    return 1 - fmin(1, fmax(0, ramp));
}

/* Llama 3 stores one divisor a pair: theta_i / f_i. */
static const float *freq_divisors(struct rz_builder *b)
{
    uint32_t half = b->graph->h.rope_dim / 2;
    int32_t w = rz_build_weight(b, false, half, 1, "rope_freqs.weight");
    if (w < 0)
        return NULL;
    const struct rz_weight *weight = &b->weights[w];
    if (weight->type != RZ_TYPE_F32) {
        b->status = rz_fail(b->err, RZ_EFORMAT, "rope_freqs.weight", "has type %s, expected F32",
                            rz_type_info(weight->type)->name);
        return NULL;
    }
    float *f = rz_arena_array(&b->graph->arena, half, sizeof(*f));
    if (f)
        memcpy(f, weight->data, half * sizeof(*f));
    for (uint32_t i = 0; f && i < half; i++)
        if (!(isfinite(f[i]) && f[i] > 0)) {
            b->status = rz_fail(b->err, RZ_EFORMAT, "rope_freqs.weight", "element %u is %g, must be above 0",
                                i, (double)f[i]);
            return NULL;
        }
    return f;
}

/* Frequencies of the hyperparameters' scaling, in place; the magnitude is returned. */
static double scale_rope(const struct rz_hparams *h, const float *divisors, double *inv)
{
    double magnitude = 1, low = 0, high = 0;
    if (h->scaling == RZ_SCALING_YARN) {
        low = yarn_dim(h, h->yarn_beta_fast);
        high = yarn_dim(h, h->yarn_beta_slow);
        low = fmax(0, h->yarn_exact ? low : floor(low));
        high = fmin(h->rope_dim - 1, h->yarn_exact ? high : ceil(high));
        magnitude = h->scaling_attn_factor;
        if (h->yarn_log_mul == 0) /* else the scores are scaled instead */
            magnitude *= 1 + 0.1 * log(h->scaling_factor);
    }
    for (uint32_t i = 0; i < h->rope_dim / 2; i++) {
        if (divisors)
            inv[i] /= (double)divisors[i];
        if (h->scaling == RZ_SCALING_LINEAR)
            inv[i] /= h->scaling_factor;
        if (h->scaling == RZ_SCALING_YARN) {
            double keep = yarn_keep(low, high, i);
            inv[i] = inv[i] / h->scaling_factor * (1 - keep) + inv[i] * keep;
        }
    }
    return magnitude;
}

static int32_t add_rope(struct rz_builder *b, double base, bool scaled)
{
    if (b->status || b->n_ropes == RZ_BUILD_GROUPS_MAX)
        return -1;
    const struct rz_hparams *h = &b->graph->h;
    uint32_t half = h->rope_dim / 2;
    double *inv = rz_arena_array(&b->graph->arena, half, sizeof(*inv));
    const float *divisors = scaled ? freq_divisors(b) : NULL;
    if (!inv && !b->status)
        b->status = rz_fail(b->err, RZ_ENOMEM, "rope", "no memory for %u frequencies", half);
    if (b->status)
        return -1;
    for (uint32_t i = 0; i < half; i++)
        inv[i] = pow(base, -2.0 * i / h->rope_dim);
    b->ropes[b->n_ropes] = (struct rz_rope){.size = sizeof(struct rz_rope),
                                            .dim = h->rope_dim,
                                            .magnitude = scaled ? scale_rope(h, divisors, inv) : 1,
                                            .inv_freq = inv};
    return (int32_t)b->n_ropes++;
}

int32_t rz_build_rope(struct rz_builder *b)
{
    return add_rope(b, b->graph->h.rope_base, true);
}

int32_t rz_build_rope_plain(struct rz_builder *b, double base)
{
    return add_rope(b, base, false);
}

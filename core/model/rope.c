/* rope.c - frequencies of rotary embeddings. Su et al. 2021, arXiv:2104.09864; linear interpolation
 * arXiv:2306.15595; YaRN arXiv:2309.00071; LongRoPE arXiv:2402.13753. Everything in double precision, once
 * at load. What depends on a sequence's length (LongRoPE, dynamic scaling) is two ropes side by side: one
 * for sequences that stay within the original context, one for those that may grow beyond. */
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

/* Some models store one divisor a pair: theta_i / f_i. */
static const float *freq_divisors(struct rz_builder *b, const char *name)
{
    uint32_t half = b->graph->h.rope_dim / 2;
    int32_t w = rz_build_weight(b, false, half, 1, "%s", name);
    if (w < 0)
        return NULL;
    const struct rz_weight *weight = &b->weights[w];
    if (weight->type != RZ_TYPE_F32) {
        b->status =
            rz_fail(b->err, RZ_EFORMAT, name, "has type %s, expected F32", rz_type_info(weight->type)->name);
        return NULL;
    }
    float *f = rz_arena_array(&b->graph->arena, half, sizeof(*f));
    if (f)
        memcpy(f, weight->data, half * sizeof(*f));
    for (uint32_t i = 0; f && i < half; i++)
        if (!(isfinite(f[i]) && f[i] > 0)) {
            b->status =
                rz_fail(b->err, RZ_EFORMAT, name, "element %u is %g, must be above 0", i, (double)f[i]);
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

/* A rope of `dim` elements without any scaling. */
static struct rz_rope *add_rope(struct rz_builder *b, double base, uint32_t dim)
{
    double *inv = NULL;
    if (!b->status && b->n_ropes == RZ_BUILD_GROUPS_MAX)
        b->status = rz_fail(b->err, RZ_EUNSUPPORTED, "rope", "more than %d kinds", RZ_BUILD_GROUPS_MAX);
    if (!b->status && !(inv = rz_arena_array(&b->graph->arena, dim / 2, sizeof(*inv))))
        b->status = rz_fail(b->err, RZ_ENOMEM, "rope", "no memory for %u frequencies", dim / 2);
    if (b->status)
        return NULL;
    for (uint32_t i = 0; i < dim / 2; i++)
        inv[i] = pow(base, -2.0 * i / dim);
    struct rz_rope *r = &b->ropes[b->n_ropes++];
    *r = (struct rz_rope){.size = sizeof(*r), .dim = dim, .magnitude = 1, .inv_freq = inv};
    return r;
}

static int32_t index_of(const struct rz_builder *b, const struct rz_rope *r)
{
    return r ? (int32_t)(r - b->ropes) : -1;
}

/* The magnitude that makes up for a context so many times as long (LongRoPE, eq. 10), if none is given. */
static double long_magnitude(const struct rz_hparams *h, int variant)
{
    double times = (double)h->n_ctx_train / h->scaling_context;
    if (h->scaling_magnitude[variant] > 0)
        return h->scaling_magnitude[variant];
    return times > 1 ? sqrt(1 + log(times) / log(h->scaling_context)) : 1;
}

/* Divisors of their own for short and for long sequences. */
static int32_t long_rope(struct rz_builder *b)
{
    static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    const struct rz_hparams *h = &b->graph->h;
    int32_t first = -1;
    if (!h->scaling_context)
        b->status = rz_fail(b->err, RZ_EFORMAT, "rope.scaling.original_context_length",
                            "is missing, a long rope needs it");
    for (int v = 0; v < 2 && !b->status; v++) {
        const float *divisors = freq_divisors(b, names[v]);
        if (!b->status && !divisors)
            b->status = rz_fail(b->err, RZ_EFORMAT, names[v], "the model has no such tensor");
        struct rz_rope *r = add_rope(b, h->rope_base, h->rope_dim);
        for (uint32_t i = 0; r && i < h->rope_dim / 2; i++)
            ((double *)r->inv_freq)[i] /= (double)divisors[i];
        if (r)
            r->magnitude = long_magnitude(h, v);
        first = v ? first : index_of(b, r);
    }
    return first;
}

/* A base that grows with the context, for sequences that may grow beyond the original one ("NTK-aware"). */
static int32_t dynamic_rope(struct rz_builder *b)
{
    const struct rz_hparams *h = &b->graph->h;
    double original = h->scaling_context ? h->scaling_context : h->n_ctx_train;
    double times = fmax(1, b->context / original), dim = h->rope_dim;
    double base = h->rope_base * pow(h->scaling_factor * times - (h->scaling_factor - 1), dim / (dim - 2));
    int32_t first = index_of(b, add_rope(b, h->rope_base, h->rope_dim));
    add_rope(b, base, h->rope_dim);
    return first;
}

int32_t rz_build_rope(struct rz_builder *b)
{
    const struct rz_hparams *h = &b->graph->h;
    bool divided = rz_build_has(b, "rope_factors_long.weight");
    if (divided || h->scaling == RZ_SCALING_DYNAMIC) {
        int32_t first = divided ? long_rope(b) : dynamic_rope(b);
        b->rope_pairs |= first >= 0 ? 1u << first : 0;
        b->graph->rope_switch = h->scaling_context ? h->scaling_context : h->n_ctx_train;
        return first;
    }
    const float *divisors = freq_divisors(b, "rope_freqs.weight");
    struct rz_rope *r = add_rope(b, h->rope_base, h->rope_dim);
    if (r)
        r->magnitude = scale_rope(h, divisors, (double *)r->inv_freq);
    return index_of(b, r);
}

int32_t rz_build_rope_plain(struct rz_builder *b, double base)
{
    return index_of(b, add_rope(b, base, b->graph->h.rope_dim));
}

int32_t rz_build_rope_part(struct rz_builder *b, double base, uint32_t dim)
{
    return index_of(b, add_rope(b, base, dim));
}

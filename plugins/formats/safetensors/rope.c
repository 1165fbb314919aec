/* rope.c - the rotary embedding in config.json: rope_theta with rope_scaling, or rope_parameters.
 *
 * The scaling becomes metadata where the host has it (linear, yarn), or one divisor a frequency (llama3,
 * Grattafiori et al. 2024, arXiv:2407.21783). All other kinds, and all keys that are not read here, are
 * refused by name.
 */
#include "folder.h"

#include "err.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

#define FACTOR_MAX 1e6
#define CONTEXT_MAX 134217728.0

struct rope {
    struct rz_hf_model *m;
    const char *where;
    const json_t *o; /* the parameters; NULL: there are none */
};

static double number(struct rope *r, const char *key, bool required, double fallback, double lo, double hi)
{
    return rz_hf_number(r->m, r->o, r->where, key, required, fallback, lo, hi);
}

static double factor(struct rope *r)
{
    return number(r, "factor", true, 1, 1.0 / FACTOR_MAX, FACTOR_MAX);
}

static double original_context(struct rope *r)
{
    double trained = rz_hf_number(r->m, r->m->config, "config.json", "original_max_position_embeddings",
                                  false, r->m->c.n_ctx, 1, CONTEXT_MAX);
    return number(r, "original_max_position_embeddings", false, trained, 1, CONTEXT_MAX);
}

static void put_type(struct rope *r, const char *type)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.rope.scaling.type", r->m->c.family->arch);
    rz_hf_put_str(r->m, key, type, strlen(type));
}

static void read_none(struct rope *r)
{
    (void)r;
}

static void read_linear(struct rope *r)
{
    put_type(r, "linear");
    rz_hf_put_factor(r->m, "rope.scaling.factor", factor(r));
}

static double yarn_magnitude(double scale, double mscale)
{
    return scale <= 1 ? 1 : 0.1 * mscale * log(scale) + 1;
}

static void read_yarn(struct rope *r)
{
    double by = factor(r), own = 1 + 0.1 * log(by); /* what the host multiplies by itself */
    double mscale = number(r, "mscale", false, 0, 0, FACTOR_MAX);
    double mscale_all = number(r, "mscale_all_dim", false, 0, 0, FACTOR_MAX);
    if (r->m->c.family->rope == RZ_HF_ROPE_OWN && mscale_all > 0) { /* scales the scores, not the rotation */
        rz_hf_put_factor(r->m, "rope.scaling.yarn_log_multiplier", 0.1 * mscale_all);
        own = 1;
    }
    double attention = mscale != 0 && mscale_all != 0
                           ? yarn_magnitude(by, mscale) / yarn_magnitude(by, mscale_all)
                           : yarn_magnitude(by, 1);
    attention = number(r, "attention_factor", false, attention, 1.0 / FACTOR_MAX, FACTOR_MAX);
    if (json_is_false(json_object_get(r->o, "truncate")))
        rz_hf_put_truth(r->m, "rope.scaling.yarn_truncate", false);
    if (own <= 0)
        rz_hf_fail(r->m, RZ_EUNSUPPORTED, r->where, "a yarn factor of %g is not possible", by);
    if (r->m->status)
        return;
    put_type(r, "yarn");
    rz_hf_put_factor(r->m, "rope.scaling.factor", by);
    rz_hf_put_number(r->m, "rope.scaling.original_context_length", (uint32_t)original_context(r));
    if (attention != own)
        rz_hf_put_factor(r->m, "rope.scaling.attn_factor", attention / own);
    rz_hf_put_factor(r->m, "rope.scaling.yarn_beta_fast",
                     number(r, "beta_fast", false, 32, 1e-3, FACTOR_MAX));
    rz_hf_put_factor(r->m, "rope.scaling.yarn_beta_slow", number(r, "beta_slow", false, 1, 1e-3, FACTOR_MAX));
}

/* Slow pairs are divided by the factor, fast ones stay, between them the share goes linearly. */
static void read_llama3(struct rope *r)
{
    struct rz_hf_config *c = &r->m->c;
    double by = factor(r), context = original_context(r);
    double low = number(r, "low_freq_factor", true, 1, 1e-3, FACTOR_MAX);
    double high = number(r, "high_freq_factor", true, 4, 1e-3, FACTOR_MAX);
    if (!r->m->status && high <= low)
        rz_hf_fail(r->m, RZ_EFORMAT, r->where, "high_freq_factor %g must be above low_freq_factor %g", high,
                   low);
    float *divisors = rz_hf_array(r->m, c->rope_dim / 2, sizeof(*divisors));
    for (uint32_t i = 0; divisors && i < c->rope_dim / 2; i++) {
        double wavelength = 2 * M_PI * pow(c->rope_base, 2.0 * i / c->rope_dim);
        double share = (context / wavelength - low) / (high - low); /* of the frequency as it is */
        share = fmin(1, fmax(0, share));
        divisors[i] = (float)(1 / ((1 - share) / by + share));
    }
    c->rope_divisors = divisors;
}

/* The frequencies depend on how long a text may get; Hunyuan's alpha changes the base once and for all. */
static void read_dynamic(struct rope *r)
{
    struct rz_hf_config *c = &r->m->c;
    double alpha = number(r, "alpha", false, 0, 0, FACTOR_MAX);
    if (alpha > 0 && strcmp(c->family->model_type, "hunyuan_v1_dense") != 0)
        rz_hf_fail(r->m, RZ_EUNSUPPORTED, r->where, "alpha is %g, which this rz does not have in %s models",
                   alpha, c->family->model_type);
    else if (alpha > 0)
        c->rope_base *= pow(alpha, c->head_dim / (c->head_dim - 2.0));
    if (alpha > 0 || r->m->status)
        return;
    put_type(r, "dynamic");
    rz_hf_put_factor(r->m, "rope.scaling.factor", factor(r));
    rz_hf_put_number(r->m, "rope.scaling.original_context_length", (uint32_t)original_context(r));
}

/* A list of divisors, one a pair. */
static const float *read_factors(struct rope *r, const char *key)
{
    const json_t *list = json_object_get(r->o, key);
    uint32_t half = r->m->c.rope_dim / 2;
    float *out = rz_hf_array(r->m, half, sizeof(*out));
    bool good = json_array_size(list) == half;
    for (uint32_t i = 0; i < half && good && out; i++) {
        double v = json_number_value(json_array_get(list, i));
        good = v > 1e-6 && v < FACTOR_MAX;
        out[i] = (float)v;
    }
    if (!good)
        rz_hf_fail(r->m, RZ_EFORMAT, r->where, "%s must be a list of %u numbers above 0", key, half);
    return out;
}

/* One list of divisors for texts within the original context, one for those that may get longer. */
static void read_longrope(struct rope *r)
{
    struct rz_hf_config *c = &r->m->c;
    double original = original_context(r);
    double by = number(r, "factor", false, c->n_ctx / original, 1.0 / FACTOR_MAX, FACTOR_MAX);
    double usual = by <= 1 ? 1 : sqrt(1 + log(by) / log(original));
    c->rope_short = read_factors(r, "short_factor");
    c->rope_long = read_factors(r, "long_factor");
    rz_hf_put_number(r->m, "rope.scaling.original_context_length", (uint32_t)original);
    usual = number(r, "attention_factor", false, usual, 1.0 / FACTOR_MAX, FACTOR_MAX);
    rz_hf_put_factor(r->m, "rope.scaling.attn_factor", usual);
    if (json_object_get(r->o, "short_mscale") || json_object_get(r->o, "long_mscale")) {
        rz_hf_put_factor(r->m, "rope.scaling.attn_factor_short",
                         number(r, "short_mscale", false, usual, 1.0 / FACTOR_MAX, FACTOR_MAX));
        rz_hf_put_factor(r->m, "rope.scaling.attn_factor_long",
                         number(r, "long_mscale", false, usual, 1.0 / FACTOR_MAX, FACTOR_MAX));
    }
}

/* All elements count for the frequencies, but only the first part is rotated: the others turn so slowly that
 * nothing is left of it. */
static void read_proportional(struct rope *r)
{
    struct rz_hf_config *c = &r->m->c;
    uint32_t half = c->rope_dim / 2;
    double part = number(r, "partial_rotary_factor", false, 1, 0, 1);
    double by = number(r, "factor", false, 1, 1.0 / FACTOR_MAX, FACTOR_MAX);
    float *divisors = rz_hf_array(r->m, half, sizeof(*divisors));
    for (uint32_t i = 0; divisors && i < half; i++)
        divisors[i] = i < (uint32_t)(part * c->rope_dim / 2) ? (float)by : 1e30f;
    c->rope_divisors = divisors;
}

static const struct kind {
    const char *name;
    void (*read)(struct rope *r);
    const char *keys; /* that may be there, between spaces */
} kinds[] = {
    {"default", read_none, " "},
    {"linear", read_linear, " factor "},
    {"dynamic", read_dynamic,
     " factor alpha original_max_position_embeddings beta_fast beta_slow mscale mscale_all_dim "},
    {"yarn", read_yarn,
     " factor original_max_position_embeddings beta_fast beta_slow attention_factor mscale mscale_all_dim "
     "truncate "},
    {"longrope", read_longrope,
     " factor original_max_position_embeddings attention_factor short_factor long_factor short_mscale "
     "long_mscale "},
    {"proportional", read_proportional, " factor "},
    {"llama3", read_llama3, " factor original_max_position_embeddings low_freq_factor high_freq_factor "},
};

static bool known_key(const struct kind *kind, const char *key)
{
    char padded[64];
    if (!strcmp(key, "rope_type") || !strcmp(key, "type") || !strcmp(key, "rope_theta") ||
        !strcmp(key, "partial_rotary_factor") || !strcmp(key, "mrope_section") ||
        !strcmp(key, "mrope_interleaved")) /* of pictures; text has one position for all sections */
        return true;
    int n = snprintf(padded, sizeof(padded), " %s ", key);
    return n > 0 && (size_t)n < sizeof(padded) && strstr(kind->keys, padded);
}

static void check_keys(struct rope *r, const struct kind *kind)
{
    const char *key;
    json_t *value;
    char shown[80];
    json_object_foreach((json_t *)(uintptr_t)r->o, key,
                        value) if (!json_is_null(value) && !known_key(kind, key))
        rz_hf_fail(r->m, RZ_EUNSUPPORTED, r->where, "\"%s\" is not known to this rz with rope type %s",
                   rz_show(shown, sizeof(shown), key, strlen(key)), kind->name);
}

static const struct kind *find_kind(struct rope *r)
{
    const char *type = json_string_value(json_object_get(r->o, "rope_type"));
    char shown[80];
    if (!type)
        type = json_string_value(json_object_get(r->o, "type"));
    if (!type && json_object_size(r->o) && !json_object_get(r->o, "rope_theta")) {
        rz_hf_fail(r->m, RZ_EFORMAT, r->where, "has no rope_type (one set of parameters for all layers)");
        return NULL;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (!strcmp(type ? type : "default", kinds[i].name))
            return &kinds[i];
    rz_hf_fail(r->m, RZ_EUNSUPPORTED, r->where,
               "rope type \"%s\": this rz has default, linear, dynamic, yarn, longrope, llama3",
               rz_show(shown, sizeof(shown), type, strlen(type)));
    return NULL;
}

static bool is_proportional(const struct rope *r)
{
    const char *type = json_string_value(json_object_get(r->o, "rope_type"));
    return type && !strcmp(type, "proportional");
}

/* How many elements of a head are rotated. */
static void read_part(struct rope *r)
{
    struct rz_hf_config *c = &r->m->c;
    const struct rz_hf_family *f = c->family;
    double part = f->part > 0 ? f->part : 1;
    if (f->rope == RZ_HF_ROPE_OWN)
        return;
    c->rope_dim = c->head_dim;
    if (is_proportional(r))
        return;
    part = rz_hf_number(r->m, r->m->config, "config.json", "rotary_pct", false, part, 0, 1);
    part = rz_hf_number(r->m, r->m->config, "config.json", "partial_rotary_factor", false, part, 0, 1);
    part = number(r, "partial_rotary_factor", false, part, 0, 1);
    if (f->rope == RZ_HF_ROPE_PART)
        c->rope_dim = rz_hf_count(r->m, "rotary_dim", false, (uint32_t)(c->head_dim * part));
    else if (part != 1)
        rz_hf_fail(r->m, RZ_EUNSUPPORTED, r->where,
                   "partial_rotary_factor is %g, which this rz does not have "
                   "in %s models",
                   part, f->model_type);
    if (!r->m->status && (c->rope_dim < 2 || c->rope_dim % 2))
        rz_hf_fail(r->m, RZ_EFORMAT, "config.json: partial_rotary_factor",
                   "rotates %u of the %u elements of a head: must be even, from 2 on", c->rope_dim,
                   c->head_dim);
}

/* The rope of the layers with a window, which is never scaled. */
static void read_local(struct rope *full, const json_t *both)
{
    struct rope r = *full;
    struct rz_hf_model *m = r.m;
    double base = rz_hf_number(m, m->config, "config.json", "rope_local_base_freq", false, 0, 1e-3, 1e12);
    base = rz_hf_number(m, m->config, "config.json", "local_rope_theta", false, base, 1e-3, 1e12);
    r.o = json_object_get(both, "sliding_attention");
    r.where = "config.json: rope_parameters.sliding_attention";
    const char *type = json_string_value(json_object_get(r.o, "rope_type"));
    base = number(&r, "rope_theta", false, base, 1e-3, 1e12);
    if (type && strcmp(type, "default") != 0)
        rz_hf_fail(m, RZ_EUNSUPPORTED, r.where, "has a rope_type other than default");
    if (!m->status && base > 0)
        rz_hf_put_factor(m, "rope.freq_base_swa", base);
}

/* The parameters, wherever they are; those of full layers where each kind has its own. */
static struct rope find_parameters(struct rz_hf_model *m, const json_t **both)
{
    const json_t *parameters = json_object_get(m->config, "rope_parameters");
    const json_t *scaling = json_object_get(m->config, "rope_scaling");
    bool newer = json_is_object(parameters);
    struct rope r = {.m = m,
                     .where = newer ? "config.json: rope_parameters" : "config.json: rope_scaling",
                     .o = newer ? parameters : scaling};
    if (newer && json_is_object(scaling) && !json_equal(parameters, scaling))
        rz_hf_fail(m, RZ_EFORMAT, "config.json", "has both rope_parameters and rope_scaling");
    if (r.o && !json_is_null(r.o) && !json_is_object(r.o))
        rz_hf_fail(m, RZ_EFORMAT, r.where, "must be an object or null");
    *both = NULL;
    if (m->c.family->local_rope && json_is_object(json_object_get(parameters, "full_attention"))) {
        *both = parameters;
        r.o = json_object_get(parameters, "full_attention");
        r.where = "config.json: rope_parameters.full_attention";
    }
    return r;
}

void rz_hf_read_rope(struct rz_hf_model *m)
{
    const json_t *both;
    const double usual = m->c.family->theta > 0 ? m->c.family->theta : 10000;
    struct rope r = find_parameters(m, &both);
    double base = rz_hf_number(m, m->config, "config.json", "rotary_emb_base", false, usual, 1e-3, 1e12);
    base = rz_hf_number(m, m->config, "config.json", "global_rope_theta", false, base, 1e-3, 1e12);
    base = rz_hf_number(m, m->config, "config.json", "rope_theta", false, base, 1e-3, 1e12);
    m->c.rope_base = number(&r, "rope_theta", false, base, 1e-3, 1e12);
    if (!m->status)
        read_part(&r);
    const struct kind *kind = m->status ? NULL : find_kind(&r);
    if (!kind)
        return;
    check_keys(&r, kind);
    kind->read(&r);
    rz_hf_put_number(m, "rope.dimension_count", m->c.rope_dim);
    rz_hf_put_factor(m, "rope.freq_base", m->c.rope_base);
    if (m->c.family->local_rope)
        read_local(&r, both);
}

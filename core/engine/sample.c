/* sample.c - the sampler chain. See sample.h for what it promises.
 *
 * Candidates carry a key; "better" is a larger key, then a lower id. Steps that keep the best few use
 * heaps: nothing sorts a vocabulary.
 */
#include "sample.h"

#include "err.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rz_candidate {
    double key;
    float logit;
    int32_t id;
};

int32_t rz_sample_scratch_init(struct rz_sample_scratch *s, uint32_t n_vocab, struct rz_err *err)
{
    *s = (struct rz_sample_scratch){.n_vocab = n_vocab};
    s->logits = calloc(n_vocab, sizeof(*s->logits));
    s->counts = calloc(n_vocab, sizeof(*s->counts));
    s->candidates = calloc(n_vocab, sizeof(*s->candidates));
    s->mask = calloc(n_vocab / 64 + 1, sizeof(*s->mask));
    if (s->logits && s->counts && s->candidates && s->mask)
        return RZ_OK;
    rz_sample_scratch_deinit(s);
    return rz_fail(err, RZ_ENOMEM, "engine", "no memory to sample %u tokens", n_vocab);
}

void rz_sample_scratch_deinit(struct rz_sample_scratch *s)
{
    free(s->logits);
    free(s->counts);
    free(s->candidates);
    free(s->mask);
    *s = (struct rz_sample_scratch){0};
}

/* --- numbers --- */

static uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double rz_sample_uniform(uint64_t seed, uint64_t i)
{
    /* The seed is mixed first: seeds that differ by the increment would give shifted sequences. */
    return (double)(mix64(mix64(seed) + (i + 1) * 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

double rz_sample_exp(double x)
{
    if (!(x > -700.0))
        return 0;
    int k = (int)(x * 1.4426950408889634 - 0.5);
    double r = x - k * 0x1.62e42feep-1 - k * 0x1.a39ef35793c76p-33; /* ln 2 in two parts */
    double y = 1.0 / 6227020800.0;
    static const double inverse_factorial[] = {1.0 / 479001600.0,
                                               1.0 / 39916800.0,
                                               1.0 / 3628800.0,
                                               1.0 / 362880.0,
                                               1.0 / 40320.0,
                                               1.0 / 5040.0,
                                               1.0 / 720.0,
                                               1.0 / 120.0,
                                               1.0 / 24.0,
                                               1.0 / 6.0,
                                               0.5,
                                               1.0,
                                               1.0};
    for (size_t i = 0; i < sizeof(inverse_factorial) / sizeof(*inverse_factorial); i++)
        y = y * r + inverse_factorial[i];
    uint64_t bits = (uint64_t)(1023 + k) << 52;
    double scale;
    memcpy(&scale, &bits, 8);
    return y * scale;
}

/* --- heaps of candidates: the root is the best, or with worst_first the worst --- */

static bool before(const struct rz_candidate *a, const struct rz_candidate *b, bool worst_first)
{
    bool better = a->key > b->key || (a->key == b->key && a->id < b->id);
    return better != worst_first;
}

static void sift(struct rz_candidate *c, uint32_t n, uint32_t i, bool worst_first)
{
    struct rz_candidate moving = c[i];
    for (;;) {
        uint64_t child = 2 * (uint64_t)i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && before(&c[child + 1], &c[child], worst_first))
            child++;
        if (!before(&c[child], &moving, worst_first))
            break;
        c[i] = c[child];
        i = (uint32_t)child;
    }
    c[i] = moving;
}

static void heapify(struct rz_candidate *c, uint32_t n, bool worst_first)
{
    for (uint32_t i = n / 2; i--;)
        sift(c, n, i, worst_first);
}

/* The root goes behind the n - 1 that stay. */
static void pop(struct rz_candidate *c, uint32_t n, bool worst_first)
{
    struct rz_candidate root = c[0];
    c[0] = c[n - 1];
    c[n - 1] = root;
    sift(c, n - 1, 0, worst_first);
}

/* Is any of 64 logits above `least`? No branches: the compiler makes vectors of it. */
static bool any_above(const float *x, float least)
{
    int32_t some = 0;
    for (int i = 0; i < 64; i++)
        some |= x[i] > least;
    return some;
}

/* The first token from i on that the mask allows and whose logit is above `least`; n: none. */
static uint32_t next_above(const float *x, const uint64_t *mask, uint32_t n, uint32_t i, float least)
{
    while (i < n) {
        uint64_t bits = mask ? mask[i / 64] >> i % 64 : UINT64_MAX;
        uint32_t left = 64 - i % 64 < n - i ? 64 - i % 64 : n - i;
        if (!bits || (left == 64 && !any_above(x + i, least))) {
            i += left;
            continue;
        }
        for (; left; left--, i++, bits >>= 1)
            if ((bits & 1) && x[i] > least)
                return i;
    }
    return n;
}

/* The k best logits above -inf, best first; returns how many there are. */
static uint32_t select_best(const float *x, const uint64_t *mask, uint32_t n, uint32_t k,
                            struct rz_candidate *c)
{
    uint32_t kept = 0;
    float least = -INFINITY; /* an equal one has a higher id: it is not better */
    for (uint32_t i = 0; (i = next_above(x, mask, n, i, least)) < n; i++) {
        struct rz_candidate next = {.key = x[i], .logit = x[i], .id = (int32_t)i};
        if (kept < k) {
            c[kept++] = next;
            if (kept == k)
                heapify(c, k, true);
        } else {
            c[0] = next;
            sift(c, k, 0, true);
        }
        if (kept == k)
            least = c[0].logit;
    }
    if (kept < k)
        heapify(c, kept, true);
    for (uint32_t m = kept; m > 1; m--) /* the worst goes to the end first: best first in the end */
        pop(c, m, true);
    return kept;
}

/* --- the steps of the chain --- */

static float bounded(double x)
{
    return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX && x != -INFINITY ? -FLT_MAX : (float)x;
}

static void penalise(const struct rz_sampling *s, const struct rz_sample_job *job, uint32_t *counts, float *x)
{
    uint32_t n = job->n_tokens, first = 0;
    if (s->penalty_last_n >= 0 && n > (uint32_t)s->penalty_last_n)
        first = n - (uint32_t)s->penalty_last_n;
    for (uint32_t i = first; i < n; i++)
        counts[job->tokens[i]]++;
    for (uint32_t i = first; i < n; i++) {
        int32_t t = job->tokens[i];
        if (!counts[t])
            continue;
        double v = x[t];
        v = v > 0 ? v / s->repeat_penalty : v * s->repeat_penalty;
        v -= (double)counts[t] * s->frequency_penalty + s->presence_penalty;
        x[t] = bounded(v);
        counts[t] = 0;
    }
}

static bool penalises(const struct rz_sampling *s)
{
    return s->penalty_last_n != 0 &&
           (s->repeat_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0);
}

/* How far below the best a logit can be and still pass min-p, which counts where nothing before it looks at
 * more. The 1e-6 is for rz_sample_exp; min-p itself decides later. */
static float min_p_gap(const struct rz_sampling *s)
{
    bool first = s->temperature != 0 && s->typical_p >= 1 && s->top_p >= 1;
    return first && s->min_p > 0 ? nextafterf((float)(1e-6 - log(s->min_p)), INFINITY) : 0;
}

uint32_t rz_sample_want(const struct rz_sampling *s, uint32_t n_biases, uint32_t n_logprobs, uint32_t *k,
                        float *gap)
{
    *gap = min_p_gap(s);
    *k = s->temperature == 0 ? 1 : s->top_k ? (uint32_t)s->top_k : *gap > 0 ? UINT32_MAX : 0;
    return *k && !n_biases && !n_logprobs && !penalises(s) ? RZ_WANT_TOP_K : RZ_WANT_LOGITS;
}

/* The logits after bias and penalties: the device's own when there are none. */
static const float *adjusted(struct rz_sample_scratch *scratch, const struct rz_sample_job *job)
{
    const struct rz_sampling *s = job->sampling;
    bool penalties = penalises(s);
    if (!penalties && !job->n_biases)
        return job->logits;
    float *x = scratch->logits;
    memcpy(x, job->logits, scratch->n_vocab * sizeof(*x));
    for (uint32_t i = 0; i < job->n_biases; i++)
        x[job->biases[i].token] = bounded((double)x[job->biases[i].token] + job->biases[i].add);
    if (penalties)
        penalise(s, job, scratch->counts, x);
    return x;
}

static float best_logit(const struct rz_candidate *c, uint32_t n)
{
    float best = c[0].logit;
    for (uint32_t i = 1; i < n; i++)
        best = c[i].logit > best ? c[i].logit : best;
    return best;
}

static double weight(const struct rz_candidate *c, float best)
{
    return rz_sample_exp((double)c->logit - best);
}

static double total_weight(const struct rz_candidate *c, uint32_t n, float best)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += weight(&c[i], best);
    return sum;
}

/* Keeps the fewest candidates, by key, whose weights make up the target; at least one. They end at the
 * front, best key first. */
static uint32_t keep_share(struct rz_candidate *c, uint32_t n, float best, double target)
{
    double sum = 0;
    uint32_t left = n;
    heapify(c, n, false);
    do {
        sum += weight(&c[0], best);
        pop(c, left--, false);
    } while (left && sum < target);
    for (uint32_t i = left, j = n - 1; i < j; i++, j--) { /* popped from the back: turn round */
        struct rz_candidate t = c[i];
        c[i] = c[j];
        c[j] = t;
    }
    memmove(c, c + left, (n - left) * sizeof(*c));
    return n - left;
}

/* The most probable that together have the share p. Most of a vocabulary is sorted out without a heap:
 * candidates below half of the average that the share 1 - p leaves cannot make that share up. */
static uint32_t keep_top_p(struct rz_candidate *c, uint32_t n, double p)
{
    float best = best_logit(c, n);
    double total = total_weight(c, n, best), least = best + log(0.5 * (1 - p) * total / n);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (c[i].logit >= least)
            c[kept++] = c[i];
    return keep_share(c, kept, best, p * total);
}

/* Those whose surprise -log p is nearest to the expected one. With d = logit - best the normaliser
 * cancels: |-log p - H| = |d - mean of d|. */
static uint32_t keep_typical(struct rz_candidate *c, uint32_t n, double p)
{
    float best = best_logit(c, n);
    double sum = 0, moment = 0;
    for (uint32_t i = 0; i < n; i++) {
        double w = weight(&c[i], best);
        sum += w;
        moment += w * ((double)c[i].logit - best);
    }
    double mean = moment / sum;
    for (uint32_t i = 0; i < n; i++)
        c[i].key = -fabs((double)c[i].logit - best - mean);
    n = keep_share(c, n, best, p * sum);
    for (uint32_t i = 0; i < n; i++)
        c[i].key = c[i].logit;
    return n;
}

static uint32_t keep_min_p(struct rz_candidate *c, uint32_t n, double min_p)
{
    float best = best_logit(c, n);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (weight(&c[i], best) >= min_p)
            c[kept++] = c[i];
    return kept;
}

static int32_t draw(struct rz_candidate *c, uint32_t n, double temperature, double u)
{
    float best = best_logit(c, n);
    double sum = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += c[i].key = rz_sample_exp(((double)c[i].logit - best) / temperature);
    int32_t last = c[0].id;
    for (uint32_t i = 0; i < n; i++) {
        if (c[i].key == 0)
            continue;
        last = c[i].id;
        at += c[i].key;
        if (u * sum < at)
            break;
    }
    return last;
}

static int32_t chain(const struct rz_sampling *s, struct rz_candidate *c, uint32_t n, double u)
{
    if (s->typical_p < 1)
        n = keep_typical(c, n, s->typical_p);
    if (s->top_p < 1)
        n = keep_top_p(c, n, s->top_p);
    if (s->min_p > 0)
        n = keep_min_p(c, n, s->min_p);
    return draw(c, n, s->temperature, u);
}

static uint32_t all_candidates(const float *x, const uint64_t *mask, uint32_t n, struct rz_candidate *c)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; (i = next_above(x, mask, n, i, -INFINITY)) < n; i++)
        c[kept++] = (struct rz_candidate){.key = x[i], .logit = x[i], .id = (int32_t)i};
    return kept;
}

/* --- log probabilities --- */

static void log_probabilities(struct rz_sample_scratch *scratch, const struct rz_sample_job *job,
                              struct rz_sample *out)
{
    const float *x = job->logits;
    uint32_t k = job->n_logprobs < RZ_LOGPROBS_MAX ? job->n_logprobs : RZ_LOGPROBS_MAX;
    out->n_top = select_best(x, NULL, scratch->n_vocab, k, scratch->candidates);
    double best = scratch->candidates[0].logit, sum = 0;
    for (uint32_t i = 0; i < scratch->n_vocab; i++)
        sum += rz_sample_exp(x[i] - best);
    double log_sum = log(sum);
    for (uint32_t i = 0; i < out->n_top; i++) {
        const struct rz_candidate *c = &scratch->candidates[i];
        out->top[i] = (struct rz_logprob){.token = c->id, .logprob = (float)(c->logit - best - log_sum)};
    }
    out->logprob = (float)(x[out->token] - best - log_sum);
}

/* --- the whole --- */

static bool any_unusable(const float *x)
{
    int32_t some = 0;
    for (int i = 0; i < 64; i++)
        some |= !(x[i] <= FLT_MAX);
    return some;
}

/* NaN and +inf come from broken weights or kernels; -inf is a token that the model rules out. */
static int32_t check_logits(const float *x, uint32_t n, struct rz_err *err)
{
    uint32_t i = 0;
    while (n - i >= 64 && !any_unusable(x + i))
        i += 64;
    while (i < n && x[i] <= FLT_MAX)
        i++;
    if (i == n)
        return RZ_OK;
    return rz_fail(err, RZ_EDEVICE, "logits",
                   "the value of token %u is %s: the model's weights or a kernel are broken", i,
                   isnan(x[i]) ? "not a number" : "infinite");
}

static int32_t best_token(const float *x, const uint64_t *mask, uint32_t n)
{
    int32_t best = -1;
    float least = -INFINITY;
    for (uint32_t i = 0; (i = next_above(x, mask, n, i, least)) < n; i++) {
        best = (int32_t)i;
        least = x[i];
    }
    return best;
}

int32_t rz_sample_run(struct rz_sample_scratch *scratch, const struct rz_sample_job *job,
                      struct rz_sample *out, struct rz_err *err)
{
    const struct rz_sampling *s = job->sampling;
    *out = (struct rz_sample){.token = -1};
    int32_t rc = check_logits(job->logits, scratch->n_vocab, err);
    if (rc)
        return rc;
    const float *x = adjusted(scratch, job);
    if (s->temperature == 0) {
        out->token = best_token(x, job->mask, scratch->n_vocab);
    } else {
        struct rz_candidate *c = scratch->candidates;
        uint32_t n = s->top_k > 0 && (uint32_t)s->top_k < scratch->n_vocab
                         ? select_best(x, job->mask, scratch->n_vocab, (uint32_t)s->top_k, c)
                         : all_candidates(x, job->mask, scratch->n_vocab, c);
        if (n)
            out->token = chain(s, c, n, rz_sample_uniform(s->seed, job->draw));
    }
    if (out->token < 0)
        return rz_fail(err, RZ_EINVAL, "sampling",
                       "every token is banned by bias, by the grammar or by the model");
    if (job->n_logprobs)
        log_probabilities(scratch, job, out);
    return RZ_OK;
}

int32_t rz_sample_score(struct rz_sample_scratch *scratch, const float *logits, int32_t token,
                        uint32_t n_logprobs, struct rz_sample *out, struct rz_err *err)
{
    struct rz_sample_job job = {.logits = logits, .n_logprobs = n_logprobs};
    *out = (struct rz_sample){.token = token};
    int32_t rc = check_logits(logits, scratch->n_vocab, err);
    if (!rc)
        log_probabilities(scratch, &job, out);
    return rc;
}

int32_t rz_sampling_check(const struct rz_sampling *s, struct rz_err *err)
{
    if (s->size < sizeof(*s))
        return rz_fail(err, RZ_EINVAL, "sampling", "size %u, need %zu", s->size, sizeof(*s));
    if (s->top_k < 0)
        return rz_fail(err, RZ_EINVAL, "top_k", "%d: must be 0 (off) or more", s->top_k);
    if (s->penalty_last_n < -1)
        return rz_fail(err, RZ_EINVAL, "penalty_last_n", "%d: must be -1 (the whole context) or more",
                       s->penalty_last_n);
    const struct {
        const char *name;
        double value, min, max;
    } fields[] = {
        {"temperature", s->temperature, 0, 1000},
        {"top_p", s->top_p, 0, 1},
        {"min_p", s->min_p, 0, 1},
        {"typical_p", s->typical_p, 0, 1},
        {"repeat_penalty", s->repeat_penalty, 0.001, 1000},
        {"presence_penalty", s->presence_penalty, -1000, 1000},
        {"frequency_penalty", s->frequency_penalty, -1000, 1000},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        if (!(fields[i].value >= fields[i].min && fields[i].value <= fields[i].max))
            return rz_fail(err, RZ_EINVAL, fields[i].name, "%g: must be between %g and %g", fields[i].value,
                           fields[i].min, fields[i].max);
    return RZ_OK;
}

/* test_sample.c - the sampler chain (core/engine/sample.c) against a naive one in double precision. */
#include "rz_test.h"

#include "err.h"
#include "sample.h"

#include <float.h>
#include <stdlib.h>

#define VOCAB_MAX 4096

static struct rz_sampling neutral(void)
{
    return (struct rz_sampling){.size = sizeof(struct rz_sampling),
                                .temperature = 1,
                                .top_p = 1,
                                .typical_p = 1,
                                .repeat_penalty = 1,
                                .penalty_last_n = -1};
}

static uint64_t state = 1;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-53;
}

static void random_logits(float *x, uint32_t n, double spread)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = (float)((uniform() - 0.5) * 2 * spread);
}

static int32_t sample_once(struct rz_sample_scratch *scratch, const struct rz_sample_job *job)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_sample out;
    rz_check_ok(rz_sample_run(scratch, job, &out, &err), &err);
    return out.token;
}

static struct rz_sample_scratch open_scratch(uint32_t n)
{
    struct rz_sample_scratch s;
    struct rz_err err = RZ_ERR_INIT;
    rz_check_ok(rz_sample_scratch_init(&s, n, &err), &err);
    return s;
}

/* --- the naive chain: probabilities of every token, each step on its own, sorted anew --- */

static double *sort_key;

static int by_key(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    return sort_key[i] > sort_key[j] ? -1 : sort_key[i] < sort_key[j] ? 1 : i < j ? -1 : 1;
}

/* Ids by descending key. */
static void order_by(double *key, uint32_t n, int32_t *ids)
{
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (int32_t)i;
    sort_key = key;
    qsort(ids, n, sizeof(*ids), by_key);
}

static void naive_softmax(const double *x, uint32_t n, double temperature, double *p)
{
    double best = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        best = x[i] > best ? x[i] : best;
    for (uint32_t i = 0; i < n; i++)
        sum += p[i] = x[i] == -INFINITY ? 0 : exp((x[i] - best) / temperature);
    for (uint32_t i = 0; i < n; i++)
        p[i] /= sum;
}

/* Rules out all but the first by key that together have the share. */
static void naive_share(double *x, uint32_t n, double *key, double share)
{
    double p[VOCAB_MAX], sum = 0;
    int32_t ids[VOCAB_MAX];
    naive_softmax(x, n, 1, p);
    order_by(key, n, ids);
    for (uint32_t i = 0; i < n; i++) {
        if (i && sum >= share)
            x[ids[i]] = -INFINITY;
        sum += p[ids[i]];
    }
}

static void naive_typical(double *x, uint32_t n, double share)
{
    double p[VOCAB_MAX], key[VOCAB_MAX], entropy = 0;
    naive_softmax(x, n, 1, p);
    for (uint32_t i = 0; i < n; i++)
        entropy -= p[i] > 0 ? p[i] * log(p[i]) : 0;
    for (uint32_t i = 0; i < n; i++)
        key[i] = p[i] > 0 ? -fabs(-log(p[i]) - entropy) : -INFINITY;
    naive_share(x, n, key, share);
}

static void naive_penalties(const struct rz_sample_job *job, double *x, uint32_t n)
{
    const struct rz_sampling *s = job->sampling;
    uint32_t first = s->penalty_last_n >= 0 && (uint32_t)s->penalty_last_n < job->n_tokens
                         ? job->n_tokens - (uint32_t)s->penalty_last_n
                         : 0;
    for (uint32_t v = 0; v < n; v++) {
        uint32_t count = 0;
        for (uint32_t i = first; i < job->n_tokens; i++)
            count += job->tokens[i] == (int32_t)v;
        if (!count)
            continue;
        x[v] = x[v] > 0 ? x[v] / s->repeat_penalty : x[v] * s->repeat_penalty;
        x[v] = (float)(x[v] - count * (double)s->frequency_penalty - s->presence_penalty);
    }
}

/* The probability of every token in the end. */
static void naive(const struct rz_sample_job *job, uint32_t n, double *p)
{
    const struct rz_sampling *s = job->sampling;
    double x[VOCAB_MAX], key[VOCAB_MAX];
    int32_t ids[VOCAB_MAX];
    for (uint32_t i = 0; i < n; i++)
        x[i] = job->logits[i];
    for (uint32_t i = 0; i < job->n_biases; i++)
        x[job->biases[i].token] = (float)(x[job->biases[i].token] + job->biases[i].add);
    naive_penalties(job, x, n);
    order_by(memcpy(key, x, n * sizeof(*x)), n, ids);
    for (uint32_t i = (uint32_t)s->top_k; s->top_k && i < n; i++)
        x[ids[i]] = -INFINITY;
    if (s->typical_p < 1)
        naive_typical(x, n, s->typical_p);
    if (s->top_p < 1)
        naive_share(x, n, memcpy(key, x, n * sizeof(*x)), s->top_p);
    naive_softmax(x, n, 1, p);
    double best = 0;
    for (uint32_t i = 0; i < n; i++)
        best = p[i] > best ? p[i] : best;
    for (uint32_t i = 0; i < n; i++)
        if (p[i] < s->min_p * best)
            x[i] = -INFINITY;
    naive_softmax(x, n, s->temperature, p);
}

/* Draws of one setting must fall as the naive probabilities say (chi-square, five sigma). */
static void check_distribution(struct rz_sample_scratch *scratch, struct rz_sample_job *job, uint32_t draws)
{
    uint32_t n = scratch->n_vocab, seen[64] = {0};
    double p[VOCAB_MAX], chi = 0, rest_expected = 0, rest_seen = 0;
    int df = -1;
    naive(job, n, p);
    for (uint32_t i = 0; i < draws; i++) {
        job->draw = i;
        int32_t token = sample_once(scratch, job);
        rz_check(token >= 0 && (uint32_t)token < n);
        rz_check(p[token] > 0); /* nothing that a step has ruled out */
        seen[token]++;
    }
    for (uint32_t i = 0; i < n; i++) {
        double expected = p[i] * draws;
        if (expected < 8) { /* too rare for a cell of its own */
            rest_expected += expected;
            rest_seen += seen[i];
            continue;
        }
        chi += (seen[i] - expected) * (seen[i] - expected) / expected;
        df++;
    }
    if (rest_expected >= 8) {
        chi += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
        df++;
    }
    if (df < 1)
        return;
    rz_check(chi < df + 5 * sqrt(2.0 * df) + 10);
}

/* --- tests --- */

RZ_TEST(sample, exp_is_near_that_of_the_library)
{
    rz_check_eq(rz_sample_exp(0) == 1, 1);
    rz_check(rz_sample_exp(-701) == 0);
    rz_check(rz_sample_exp(-INFINITY) == 0);
    for (double x = 0; x > -699; x -= 0.00917) {
        double truth = exp(x);
        rz_check(fabs(rz_sample_exp(x) - truth) <= 4.5e-16 * truth);
    }
    for (double x = 1; x > 1e-300; x /= 3)
        rz_check(fabs(rz_sample_exp(-x) - exp(-x)) <= 4.5e-16);
}

RZ_TEST(sample, the_random_numbers_are_those_of_every_machine)
{
    rz_check(rz_sample_uniform(0, 0) == 0x1.c4415072f63b9p-1);
    rz_check(rz_sample_uniform(0, 1) == 0x1.b9e279aa86e58p-2);
    rz_check(rz_sample_uniform(1, 0) == 0x1.7fdf0061bb85ap-1);
    rz_check(rz_sample_uniform(42, 1000) == 0x1.b021712762231p-1);
    rz_check(rz_sample_uniform(UINT64_MAX, 7) == 0x1.8c5caca54d290p-1);
}

RZ_TEST(sample, the_random_numbers_are_uniform_for_neighbouring_seeds_and_draws)
{
    uint32_t by_draw[16] = {0}, by_seed[16] = {0};
    for (uint32_t i = 0; i < 16000; i++) {
        double a = rz_sample_uniform(3, i), b = rz_sample_uniform(i, 3);
        rz_check(a >= 0 && a < 1 && b >= 0 && b < 1);
        by_draw[(int)(a * 16)]++;
        by_seed[(int)(b * 16)]++;
    }
    for (uint32_t i = 0; i < 16; i++) {
        rz_check(by_draw[i] > 840 && by_draw[i] < 1160); /* five sigma about 1000 */
        rz_check(by_seed[i] > 840 && by_seed[i] < 1160);
    }
}

RZ_TEST(sample, greedy_takes_the_best_and_of_equals_the_first)
{
    struct rz_sample_scratch s = open_scratch(6);
    struct rz_sampling g = neutral();
    g.temperature = 0;
    const float x[] = {-3, 2, -1, 2, 1.5f, 2};
    struct rz_bias bias[] = {{1, -1}, {4, 0.25f}};
    struct rz_sample_job job = {.sampling = &g, .logits = x};
    rz_check_eq(sample_once(&s, &job), 1);
    job.biases = bias;
    job.n_biases = 1;
    rz_check_eq(sample_once(&s, &job), 3);
    const int32_t said[] = {3, 5, 5};
    job.tokens = said;
    job.n_tokens = 3;
    job.n_biases = 2;
    g.presence_penalty = 0.5f;
    rz_check_eq(sample_once(&s, &job), 4); /* greedy still sees bias and penalties */
    for (int i = 0; i < 6; i++)
        rz_check_eq(s.counts[i], 0);
    rz_sample_scratch_deinit(&s);
}

/* Whole words of the mask, and 64 logits at once, are passed over: any length, few tokens allowed, many equal. */
RZ_TEST(sample, what_is_passed_over_under_a_mask_could_not_be_taken)
{
    static float x[300];
    uint64_t mask[300 / 64 + 1];
    for (uint32_t n = 1; n <= 300; n++) {
        struct rz_sample_scratch s = open_scratch(n);
        struct rz_sampling greedy = neutral(), two = neutral();
        int32_t best = -1, second = -1;
        greedy.temperature = 0;
        two.top_k = 2;
        memset(mask, 0, sizeof(mask));
        for (uint32_t i = 0; i < n; i++) {
            x[i] = uniform() < 0.5 ? -INFINITY : (float)(int)(uniform() * 8);
            if (uniform() < (n % 2 ? 0.9 : 0.05) || i == n / 2)
                mask[i / 64] |= 1ull << i % 64;
        }
        x[n / 2] = (float)(int)(uniform() * 8);
        for (uint32_t i = 0; i < n; i++) {
            if (!(mask[i / 64] >> i % 64 & 1) || x[i] == -INFINITY)
                continue;
            if (best < 0 || x[i] > x[best]) {
                second = best;
                best = (int32_t)i;
            } else if (second < 0 || x[i] > x[second]) {
                second = (int32_t)i;
            }
        }
        struct rz_sample_job job = {.sampling = &greedy, .logits = x, .mask = mask};
        rz_check_eq(sample_once(&s, &job), best);
        job.sampling = &two;
        for (job.draw = 0; job.draw < 20; job.draw++) {
            int32_t t = sample_once(&s, &job);
            rz_check(t == best || t == second);
        }
        rz_sample_scratch_deinit(&s);
    }
}

RZ_TEST(sample, penalties_look_at_the_last_n_tokens_only)
{
    struct rz_sample_scratch s = open_scratch(4);
    struct rz_sampling g = neutral();
    const float x[] = {1, 3, 2, -1};
    const int32_t said[] = {1, 1, 2, 0};
    struct rz_sample_job job = {.sampling = &g, .logits = x, .tokens = said, .n_tokens = 4};
    g.temperature = 0;
    g.repeat_penalty = 100;
    g.penalty_last_n = 2;
    rz_check_eq(sample_once(&s, &job), 1);
    g.penalty_last_n = 3; /* 1, 2 and 0: the best is 0.03 */
    rz_check_eq(sample_once(&s, &job), 1);
    const int32_t once[] = {1, 2, 0, 0};
    job.tokens = once;
    g.penalty_last_n = 3; /* 1 is just out of sight */
    rz_check_eq(sample_once(&s, &job), 1);
    g.presence_penalty = 10;
    rz_check_eq(sample_once(&s, &job), 1);
    g.penalty_last_n = 4;
    rz_check_eq(sample_once(&s, &job), 3);
    g.presence_penalty = 0;
    job.tokens = said;
    g.penalty_last_n = 4;
    rz_check_eq(sample_once(&s, &job), 1); /* 0.03: above 0.02, 0.01 and -1 */
    g.frequency_penalty = 0.5f;
    rz_check_eq(sample_once(&s, &job), 2); /* 1 was said twice: -0.97; 2 once: -0.48; 0 once: -0.49 */
    g.penalty_last_n = 0;
    rz_check_eq(sample_once(&s, &job), 1);
    g.penalty_last_n = -1;
    rz_check_eq(sample_once(&s, &job), 2);
    rz_sample_scratch_deinit(&s);
}

/* The tokens that can be drawn. */
static uint32_t support(struct rz_sample_scratch *s, struct rz_sample_job *job)
{
    uint32_t mask = 0;
    for (job->draw = 0; job->draw < 3000; job->draw++)
        mask |= 1u << sample_once(s, job);
    return mask;
}

RZ_TEST(sample, each_step_keeps_what_it_should)
{
    struct rz_sample_scratch s = open_scratch(5);
    float x[5];
    const double p[] = {0.1, 0.4, 0.05, 0.25, 0.2};
    for (int i = 0; i < 5; i++)
        x[i] = (float)log(p[i]);
    struct rz_sampling c = neutral();
    struct rz_sample_job job = {.sampling = &c, .logits = x};
    rz_check_eq(support(&s, &job), 0x1f);
    c.top_k = 2;
    rz_check_eq(support(&s, &job), 0x0a); /* .4 .25 */
    c.top_k = 5;
    rz_check_eq(support(&s, &job), 0x1f);
    c.top_k = 100;
    rz_check_eq(support(&s, &job), 0x1f);
    c = neutral(), c.top_p = 0.6f;
    rz_check_eq(support(&s, &job), 0x0a); /* .65 */
    c.top_p = 0.7f;
    rz_check_eq(support(&s, &job), 0x1a); /* .85 */
    c.top_p = 0;
    rz_check_eq(support(&s, &job), 0x02);
    c = neutral(), c.min_p = 0.45f;
    rz_check_eq(support(&s, &job), 0x1a); /* above .18 */
    c.min_p = 1;
    rz_check_eq(support(&s, &job), 0x02);
    c = neutral(), c.typical_p = 0.4f; /* entropy 1.42: .25 (1.39) then .2 (1.61) */
    rz_check_eq(support(&s, &job), 0x18);
    c.typical_p = 0.1f;
    rz_check_eq(support(&s, &job), 0x08);
    c.typical_p = 0.5f; /* and .4 (0.92) */
    rz_check_eq(support(&s, &job), 0x1a);
    c = neutral(), c.top_k = 3, c.top_p = 0.7f; /* .4/.85 + .25/.85 = .76: top-k comes first */
    rz_check_eq(support(&s, &job), 0x0a);
    c = neutral(), c.temperature = 1e-9f;
    rz_check_eq(support(&s, &job), 0x02);
    c = neutral(), c.top_k = 2;
    memcpy(x, (float[]){1, 3, 3, 3, 3}, sizeof(x));
    rz_check_eq(support(&s, &job), 0x06); /* of equals the first */
    c = neutral(), c.top_p = 0.3f;
    rz_check_eq(support(&s, &job), 0x06);
    rz_sample_scratch_deinit(&s);
}

RZ_TEST(sample, draws_follow_the_naive_chain_for_random_settings)
{
    float x[24];
    int32_t said[40];
    struct rz_bias bias[3];
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t n = 2 + (uint32_t)(uniform() * 22);
        struct rz_sample_scratch s = open_scratch(n);
        struct rz_sampling c = neutral();
        random_logits(x, n, 0.5 + 4 * uniform());
        for (uint32_t i = 0; i < 40; i++)
            said[i] = (int32_t)(uniform() * n);
        for (uint32_t i = 0; i < 3; i++)
            bias[i] = (struct rz_bias){(int32_t)(uniform() * n), (float)(uniform() * 4 - 2)};
        c.seed = round;
        c.temperature = round % 3 ? (float)(0.2 + 2 * uniform()) : 1;
        c.top_k = round % 2 ? (int32_t)(uniform() * (n + 2)) : 0;
        c.top_p = round % 5 < 2 ? (float)uniform() : 1;
        c.min_p = round % 7 < 2 ? (float)uniform() : 0;
        c.typical_p = round % 11 < 3 ? (float)uniform() : 1;
        c.repeat_penalty = round % 4 ? 1 : (float)(0.5 + 2 * uniform());
        c.presence_penalty = round % 6 ? 0 : (float)(uniform() * 2 - 1);
        c.frequency_penalty = round % 6 == 1 ? (float)uniform() : 0;
        c.penalty_last_n = (int32_t)(uniform() * 60) - 1;
        struct rz_sample_job job = {.sampling = &c,
                                    .logits = x,
                                    .biases = bias,
                                    .n_biases = round % 3,
                                    .tokens = said,
                                    .n_tokens = 40};
        check_distribution(&s, &job, 3000);
        rz_sample_scratch_deinit(&s);
    }
}

/* On a vocabulary of real size what is drawn must be what the chain keeps. */
RZ_TEST(sample, a_large_vocabulary_is_cut_as_the_naive_chain_cuts_it)
{
    static float x[VOCAB_MAX];
    static double p[VOCAB_MAX];
    struct rz_sample_scratch s = open_scratch(VOCAB_MAX);
    for (uint32_t round = 0; round < 60; round++) {
        struct rz_sampling c = neutral();
        random_logits(x, VOCAB_MAX, 8);
        for (uint32_t i = 0; i < VOCAB_MAX; i += 3) /* many equal ones */
            x[i] = (float)(int)x[i];
        c.top_k = round % 2 ? 1 + (int32_t)(uniform() * 3000) : 0;
        c.top_p = round % 3 ? (float)uniform() : 1;
        c.typical_p = round % 5 ? 1 : (float)uniform();
        c.min_p = round % 4 ? 0 : 0.1f;
        struct rz_sample_job job = {.sampling = &c, .logits = x};
        naive(&job, VOCAB_MAX, p);
        for (job.draw = 0; job.draw < 300; job.draw++)
            rz_check(p[sample_once(&s, &job)] > 0);
        /* With a flat temperature the ends of the set are drawn as well: count its size. */
        uint32_t kept = 0;
        for (uint32_t i = 0; i < VOCAB_MAX; i++)
            kept += p[i] > 0;
        if (kept > 40)
            continue;
        static bool seen[VOCAB_MAX];
        uint32_t distinct = 0;
        memset(seen, 0, sizeof(seen));
        c.temperature = 1000;
        for (job.draw = 0; job.draw < 2000; job.draw++) {
            int32_t t = sample_once(&s, &job);
            distinct += !seen[t];
            seen[t] = true;
        }
        rz_check_eq(distinct, kept);
    }
    rz_sample_scratch_deinit(&s);
}

RZ_TEST(sample, the_same_seed_gives_the_same_tokens_on_every_machine)
{
    static float x[1000];
    struct rz_sample_scratch s = open_scratch(1000);
    uint64_t digest = 0;
    state = 99;
    for (uint32_t i = 0; i < 2000; i++) {
        struct rz_sampling c = neutral();
        random_logits(x, 1000, 10);
        c.seed = i / 100;
        c.temperature = 0.8f;
        c.top_k = i % 3 ? 40 : 0;
        c.top_p = 0.95f;
        c.min_p = 0.05f;
        c.typical_p = i % 7 ? 1 : 0.9f;
        struct rz_sample_job job = {.sampling = &c, .logits = x, .draw = i % 100};
        int32_t a = sample_once(&s, &job);
        rz_check_eq(a, sample_once(&s, &job));
        digest = digest * 31 + (uint64_t)a;
    }
    rz_check_eq(digest, 9936015006458267006u);
    rz_sample_scratch_deinit(&s);
}

RZ_TEST(sample, log_probabilities_are_those_of_the_raw_softmax)
{
    float x[200];
    double p[200], raw[200];
    struct rz_sample_scratch s = open_scratch(200);
    struct rz_err err = RZ_ERR_INIT;
    for (uint32_t round = 0; round < 50; round++) {
        struct rz_sampling c = neutral();
        struct rz_bias bias = {7, -INFINITY};
        int32_t ids[200];
        struct rz_sample out;
        random_logits(x, 200, 6);
        x[20] = x[40]; /* equal ones: the lower id first */
        c.temperature = round % 2 ? 0.3f : 0;
        c.top_k = 3;
        struct rz_sample_job job = {.sampling = &c,
                                    .logits = x,
                                    .biases = &bias,
                                    .n_biases = 1,
                                    .draw = round,
                                    .n_logprobs = 1 + round % 20};
        for (uint32_t i = 0; i < 200; i++)
            raw[i] = x[i];
        naive_softmax(raw, 200, 1, p);
        order_by(raw, 200, ids);
        rz_check_ok(rz_sample_run(&s, &job, &out, &err), &err);
        rz_check_eq(out.n_top, job.n_logprobs);
        rz_check_near(out.logprob, log(p[out.token]), 1e-5);
        for (uint32_t i = 0; i < out.n_top; i++) {
            rz_check_eq(out.top[i].token, ids[i]);
            rz_check_near(out.top[i].logprob, log(p[ids[i]]), 1e-5);
        }
    }
    rz_sample_scratch_deinit(&s);
}

RZ_TEST(sample, broken_logits_are_an_error_that_names_the_token)
{
    struct rz_sample_scratch s = open_scratch(8);
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct rz_sampling c = neutral();
    struct rz_sample_job job = {.sampling = &c, .logits = x};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_sample out;
    const float bad[] = {NAN, -NAN, INFINITY};
    for (int greedy = 0; greedy < 2; greedy++) {
        c.temperature = greedy ? 0 : 1;
        for (int i = 0; i < 3; i++) {
            x[5] = bad[i];
            rz_check_eq(rz_sample_run(&s, &job, &out, &err), RZ_EDEVICE);
            rz_check_has(err.message, "token 5");
        }
        for (int i = 0; i < 8; i++)
            x[i] = -INFINITY;
        rz_check_eq(rz_sample_run(&s, &job, &out, &err), RZ_EINVAL);
        x[3] = 0; /* a model may rule tokens out */
        rz_check_eq(sample_once(&s, &job), 3);
    }
    rz_sample_scratch_deinit(&s);
}

RZ_TEST(sample, extreme_numbers_do_no_harm)
{
    struct rz_sample_scratch s = open_scratch(4);
    float x[4] = {FLT_MAX, -FLT_MAX, 0, FLT_MAX};
    struct rz_sampling c = neutral();
    struct rz_bias bias[] = {{0, FLT_MAX}, {1, -FLT_MAX}};
    const int32_t said[] = {0, 1, 2, 3, 0, 1};
    struct rz_sample_job job = {
        .sampling = &c, .logits = x, .biases = bias, .n_biases = 2, .tokens = said, .n_tokens = 6};
    c.repeat_penalty = 0.001f;
    c.typical_p = 0.5f;
    c.top_p = 0.5f;
    c.min_p = 0.5f;
    c.temperature = 1e-38f;
    for (job.draw = 0; job.draw < 100; job.draw++) {
        int32_t t = sample_once(&s, &job);
        rz_check(t == 0 || t == 3);
    }
    rz_sample_scratch_deinit(&s);
}

RZ_TEST(sample, settings_out_of_range_are_named)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_sampling c = neutral();
    rz_check_eq(rz_sampling_check(&c, &err), RZ_OK);
    c.temperature = NAN;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    rz_check_streq(err.where, "temperature");
    c = neutral(), c.top_p = 1.5f;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    rz_check_streq(err.where, "top_p");
    rz_check_has(err.message, "1.5");
    c = neutral(), c.min_p = -0.1f;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    c = neutral(), c.repeat_penalty = 0;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    c = neutral(), c.frequency_penalty = INFINITY;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    c = neutral(), c.top_k = -1;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    c = neutral(), c.penalty_last_n = -2;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
    c = neutral(), c.size = 4;
    rz_check_eq(rz_sampling_check(&c, &err), RZ_EINVAL);
}

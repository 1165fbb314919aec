/* test_recurrent.c - ops that carry state from row to row against double precision, and their bits: row by
 * row, in chunks, beside other sequences, on more threads.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"

#include <math.h>
#include <stdlib.h>

#define TOKENS 23
#define SLOTS 3 /* company, the one that counts, company */

/* A node with its inputs for TOKENS rows. */
struct problem {
    struct kernel_case node;
    uint32_t n_in;
    uint64_t in_width[4], out_width, floats;
    float *in[4], *weights[3];
    float *y, *state; /* row by row */
    double *truth;    /* [TOKENS][out_width] */
};

static void add_input(struct problem *p, uint64_t width, double std, struct rng *r)
{
    p->in_width[p->n_in] = width;
    p->in[p->n_in++] = random_floats(width * TOKENS, std, r);
}

static float *add_weight(struct problem *p, uint64_t cols, uint64_t rows, double std, struct rng *r)
{
    uint32_t i = p->node.node.n_weights;
    p->weights[i] = random_floats(cols * rows, std, r);
    kernel_weight(&p->node, RZ_TYPE_F32, cols, rows, p->weights[i]);
    return p->weights[i];
}

/* --- running it --- */

/* The rows of one step: mine from `from` on, each between two of the company's. */
static uint32_t fill(const struct problem *p, uint32_t from, uint32_t n, bool company, float *const *in,
                     struct rz_batch_row *rows)
{
    uint32_t at = 0;
    for (uint32_t i = from; i < from + n; i++)
        for (uint32_t s = company ? 0 : 1; s < (company ? SLOTS : 2); s++, at++) {
            uint32_t source = s == 1 ? i : (i * 7 + s) % TOKENS;
            rows[at] = (struct rz_batch_row){.seq = s, .pos = {(int32_t)i}};
            for (uint32_t k = 0; k < p->n_in; k++)
                memcpy(in[k] + at * p->in_width[k], p->in[k] + source * p->in_width[k],
                       p->in_width[k] * sizeof(float));
        }
    return at;
}

static void run(const struct problem *p, uint32_t chunk, bool company, uint32_t threads, float *y,
                float *state)
{
    struct rz_batch_row rows[TOKENS * SLOTS];
    struct rz_batch_seq seqs[SLOTS] = {{.state_slot = 2}, {.state_slot = 1}, {.state_slot = 0}};
    uint64_t stride = (p->floats + 15) / 16 * 16;
    float *states = must_alloc(SLOTS * stride * sizeof(float)), *in[4] = {NULL};
    float *out = must_alloc(TOKENS * SLOTS * p->out_width * sizeof(float));
    memset(states, 0, SLOTS * stride * sizeof(float));
    for (uint32_t k = 0; k < p->n_in; k++)
        in[k] = must_alloc(TOKENS * SLOTS * p->in_width[k] * sizeof(float));
    struct rz_state_view view = {.base = states, .stride = stride, .floats = p->floats};
    for (uint32_t from = 0; from < TOKENS; from += chunk) {
        uint32_t n = TOKENS - from < chunk ? TOKENS - from : chunk, all = fill(p, from, n, company, in, rows);
        struct rz_step step = {
            .size = sizeof step, .n_rows = all, .n_seqs = SLOTS, .rows = rows, .seqs = seqs, .states = &view};
        kernel_run(&p->node, all, threads, in, &out, &step);
        for (uint32_t i = 0, at = 0; i < all; i++)
            if (rows[i].seq == 1)
                memcpy(y + (from + at++) * p->out_width, out + i * p->out_width,
                       p->out_width * sizeof(float));
    }
    memcpy(state, states + stride, p->floats * sizeof(float));
    for (uint32_t k = 0; k < p->n_in; k++)
        free(in[k]);
    free(states);
    free(out);
}

static void begin(struct problem *p, const struct rz_plugin *plugin, uint16_t op)
{
    *p = (struct problem){.n_in = 0};
    kernel_begin(&p->node, kernel_table_or_skip(plugin), op);
    kernel_attr(&p->node, RZ_A_STATE, 0, 0);
}

static void open(struct problem *p, uint64_t out_width, uint64_t floats)
{
    p->out_width = out_width;
    p->floats = floats;
    p->y = must_alloc(TOKENS * out_width * sizeof(float));
    p->truth = must_alloc(TOKENS * out_width * sizeof(double));
    p->state = must_alloc(floats * sizeof(float));
    rz_check(kernel_open(&p->node, p->in_width, p->n_in, &out_width, 1, TOKENS * SLOTS, -1));
}

/* Against the truth within `bound` of its size, and the same bits in every way to run it. */
static void finish(struct problem *p, double bound)
{
    static const uint32_t chunks[] = {TOKENS, 1, 2, 7};
    uint64_t n = TOKENS * p->out_width;
    float *y = must_alloc(n * sizeof(float)), *state = must_alloc(p->floats * sizeof(float));
    double squares = 0;
    run(p, 1, false, 1, p->y, p->state);
    for (uint64_t i = 0; i < n; i++)
        squares += p->truth[i] * p->truth[i];
    for (uint64_t i = 0; i < n; i++)
        rz_check_near(p->y[i], p->truth[i], bound * (fabs(p->truth[i]) + sqrt(squares / (double)n)));
    for (uint32_t i = 0; i < 8; i++) {
        run(p, chunks[i % 4], i / 4, 1 + i % 3, y, state);
        rz_check_memeq(y, p->y, n * sizeof(float));
        rz_check_memeq(state, p->state, p->floats * sizeof(float));
    }
    kernel_close(&p->node);
    for (uint32_t i = 0; i < 4; i++)
        free(p->in[i]);
    for (uint32_t i = 0; i < 3; i++)
        free(p->weights[i]);
    free(p->y);
    free(p->state);
    free(p->truth);
    free(y);
    free(state);
}

static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* --- convolution --- */

static void convolution(const struct rz_plugin *plugin, uint64_t width, uint32_t taps, bool silu, bool biased)
{
    struct rng r = {width * 100 + taps};
    struct problem p;
    begin(&p, plugin, RZ_OP_CONV);
    if (silu)
        kernel_attr(&p.node, RZ_A_SILU, 1, 1);
    if (biased)
        kernel_attr(&p.node, RZ_A_BIAS, 1, 1);
    add_input(&p, width, 1, &r);
    const float *w = add_weight(&p, taps, width, 1, &r), *bias = NULL;
    if (biased)
        bias = add_weight(&p, width, 1, 1, &r);
    else
        kernel_no_weight(&p.node);
    open(&p, width, (taps - 1) * width);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint64_t i = 0; i < width; i++) {
            double sum = biased ? bias[i] : 0;
            for (uint32_t k = 0; k < taps; k++)
                if (t + k + 1 >= taps)
                    sum += (double)w[i * taps + k] * p.in[0][(t + k + 1 - taps) * width + i];
            p.truth[t * width + i] = silu ? sum / (1 + exp(-sum)) : sum;
        }
    finish(&p, 2e-6);
}

static void convolutions(const struct rz_plugin *plugin)
{
    convolution(plugin, 5, 2, false, false);
    convolution(plugin, 64, 3, false, true);
    convolution(plugin, 67, 4, true, true);
    convolution(plugin, 200, 8, true, false);
}

RZ_TEST(conv, scalar)
{
    convolutions(&rz_builtin_scalar);
}

RZ_TEST(conv, fast)
{
    convolutions(&FAST);
}

/* --- scan --- */

struct scan {
    uint64_t heads, p, groups, n;
    bool each;   /* every state element decays on its own, and B and C are inputs of their own */
    double step; /* deviation of dt */
};

static void scan_truth(struct problem *p, const struct scan *s)
{
    uint64_t inner = s->heads * s->p, all = s->groups * s->n, width = p->in_width[0];
    double *state = must_alloc(inner * s->n * sizeof *state);
    memset(state, 0, inner * s->n * sizeof *state);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint64_t i = 0; i < inner; i++) {
            uint64_t head = i / s->p, at = head / (s->heads / s->groups) * s->n;
            const float *x = p->in[0] + t * width;
            const float *b = s->each ? p->in[2] + t * all : x + inner,
                        *c = s->each ? p->in[3] + t * all : b + all;
            double d = softplus((double)p->in[1][t * s->heads + head] + p->weights[2][head]), sum = 0;
            for (uint64_t n = 0; n < s->n; n++) {
                double *e = &state[i * s->n + n];
                *e = *e * exp(d * p->weights[0][s->each ? head * s->n + n : head]) + d * x[i] * b[at + n];
                sum += *e * c[at + n];
            }
            p->truth[t * inner + i] = sum + (double)p->weights[1][head] * x[i];
        }
    free(state);
}

static void scan(const struct rz_plugin *plugin, const struct scan *s, double bound)
{
    struct rng r = {s->heads * 100 + s->n};
    uint64_t inner = s->heads * s->p, all = s->groups * s->n;
    struct problem p;
    begin(&p, plugin, RZ_OP_SCAN);
    kernel_attr(&p.node, RZ_A_N_HEAD, (int64_t)s->heads, 0);
    kernel_attr(&p.node, RZ_A_STATE_GROUPS, (int64_t)s->groups, 0);
    add_input(&p, s->each ? inner : inner + 2 * all, 1, &r);
    add_input(&p, s->heads, s->step, &r);
    for (int i = 0; i < 2 && s->each; i++)
        add_input(&p, all, 1, &r);
    float *a = add_weight(&p, s->each ? s->n : 1, s->heads, 1, &r);
    for (uint64_t i = 0; i < s->heads * (s->each ? s->n : 1); i++)
        a[i] = -expf(a[i]);
    add_weight(&p, s->heads, 1, 1, &r);
    add_weight(&p, s->heads, 1, 1, &r);
    open(&p, inner, inner * s->n);
    scan_truth(&p, s);
    finish(&p, bound);
}

static void scans(const struct rz_plugin *plugin, double bound)
{
    scan(plugin, &(struct scan){37, 1, 1, 16, true, 1}, bound);
    scan(plugin, &(struct scan){9, 1, 1, 5, true, 30}, bound); /* steps of nothing, and large ones */
    scan(plugin, &(struct scan){6, 10, 2, 24, false, 1}, bound);
    scan(plugin, &(struct scan){3, 70, 3, 13, false, 2}, bound);
}

RZ_TEST(scan, scalar)
{
    scans(&rz_builtin_scalar, 1e-6);
}

RZ_TEST(scan, fast)
{
    scans(&FAST, 5e-6);
}

/* One unit in the last place of a float32 near x. */
static double ulp(double x)
{
    int e;
    frexp(x, &e);
    return ldexp(1, (e < -125 ? -125 : e) - 24);
}

/* Where nothing was before, and x, B and C are 1, a scan gives the step itself: softplus(dt). */
static void steps(const struct rz_plugin *plugin, double most)
{
    enum {
        N = 1000,
        STRIDE = 99991 /* of the bit patterns that are tried */
    };
    float one = 1, ones[N], none[N] = {0}, dt[N], y[N], states[N];
    struct rz_batch_row row = {.seq = 0};
    struct rz_batch_seq seq = {.state_slot = 0};
    struct rz_state_view view = {.base = states, .stride = N, .floats = N};
    struct rz_step step = {
        .size = sizeof step, .n_rows = 1, .n_seqs = 1, .rows = &row, .seqs = &seq, .states = &view};
    float *in[4] = {ones, dt, &one, &one}, *out = y;
    struct kernel_case n;
    kernel_begin(&n, kernel_table_or_skip(plugin), RZ_OP_SCAN);
    kernel_attr(&n, RZ_A_STATE, 0, 0);
    kernel_attr(&n, RZ_A_N_HEAD, N, 0);
    kernel_attr(&n, RZ_A_STATE_GROUPS, 1, 0);
    kernel_weight(&n, RZ_TYPE_F32, 1, N, none);
    kernel_weight(&n, RZ_TYPE_F32, N, 1, none);
    kernel_no_weight(&n);
    rz_check(kernel_open(&n, (uint64_t[]){N, N, 1, 1}, 4, (uint64_t[]){N}, 1, 1, -1));
    for (uint32_t i = 0; i < N; i++)
        ones[i] = 1;
    for (uint64_t first = 0; first < UINT32_MAX; first += (uint64_t)N * STRIDE) {
        memset(states, 0, sizeof states);
        for (uint32_t i = 0; i < N; i++) {
            uint32_t bits = (uint32_t)(first + (uint64_t)i * STRIDE);
            memcpy(&dt[i], &bits, sizeof bits);
            if (!isfinite(dt[i]) || dt[i] > 1e30f)
                dt[i] = -1;
        }
        kernel_run(&n, 1, 1, in, &out, &step);
        for (uint32_t i = 0; i < N; i++) {
            double truth = softplus(dt[i]);
            rz_check_near(y[i], truth, most * ulp(truth) + 1e-36);
        }
    }
    kernel_close(&n);
}

RZ_TEST(scan, steps_over_the_whole_range)
{
    steps(&rz_builtin_scalar, 0.51);
    steps(&FAST, 4);
}

/* --- the delta rule --- */

struct delta {
    uint64_t heads, keys, k, v;
    bool striped;
};

static void delta_truth(struct problem *p, const struct delta *d, double eps)
{
    uint64_t inner = d->heads * d->v;
    double *state = must_alloc(inner * d->k * sizeof *state);
    memset(state, 0, inner * d->k * sizeof *state);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint64_t i = 0; i < inner; i++) {
            uint64_t head = i / d->v, mine = d->striped ? head % d->keys : head / (d->heads / d->keys);
            const float *x = p->in[0] + t * p->in_width[0], *q = x + mine * d->k, *k = q + d->keys * d->k;
            double step = softplus((double)p->in[1][t * d->heads + head] + p->weights[1][head]);
            double decay = exp(step * p->weights[0][head]), qq = 0, kk = 0, known = 0, sum = 0;
            double beta = 1 / (1 + exp(-(double)p->in[2][t * d->heads + head])), *s = state + i * d->k;
            for (uint64_t j = 0; j < d->k; j++) {
                qq += (double)q[j] * q[j];
                kk += (double)k[j] * k[j];
            }
            for (uint64_t j = 0; j < d->k; j++)
                known += (s[j] *= decay) * k[j] / sqrt(kk + eps);
            double r = beta * (x[2 * d->keys * d->k + i] - known);
            for (uint64_t j = 0; j < d->k; j++) {
                s[j] += r * k[j] / sqrt(kk + eps);
                sum += s[j] * q[j] / sqrt(qq + eps) / sqrt((double)d->k);
            }
            p->truth[t * inner + i] = sum;
        }
    free(state);
}

static void delta(const struct rz_plugin *plugin, const struct delta *d, double bound)
{
    struct rng r = {d->heads * 100 + d->k};
    struct problem p;
    begin(&p, plugin, RZ_OP_DELTA);
    kernel_attr(&p.node, RZ_A_N_HEAD, (int64_t)d->heads, 0);
    kernel_attr(&p.node, RZ_A_STATE_GROUPS, (int64_t)d->keys, 0);
    kernel_attr(&p.node, RZ_A_EPS, 0, 1e-2);
    if (d->striped)
        kernel_attr(&p.node, RZ_A_STRIPED, 1, 1);
    add_input(&p, 2 * d->keys * d->k + d->heads * d->v, 1, &r);
    add_input(&p, d->heads, 1, &r);
    add_input(&p, d->heads, 1, &r);
    float *a = add_weight(&p, d->heads, 1, 1, &r);
    for (uint64_t i = 0; i < d->heads; i++)
        a[i] = -0.1f * expf(a[i]);
    add_weight(&p, d->heads, 1, 1, &r);
    open(&p, d->heads * d->v, d->heads * d->k * d->v);
    delta_truth(&p, d, 1e-2);
    finish(&p, bound);
}

static void deltas(const struct rz_plugin *plugin, double bound)
{
    delta(plugin, &(struct delta){4, 2, 12, 20, false}, bound);
    delta(plugin, &(struct delta){4, 2, 12, 20, true}, bound);
    delta(plugin, &(struct delta){3, 3, 32, 7, false}, bound);
    delta(plugin, &(struct delta){2, 1, 5, 64, true}, bound);
}

RZ_TEST(delta, scalar)
{
    deltas(&rz_builtin_scalar, 1e-6);
}

RZ_TEST(delta, fast)
{
    deltas(&FAST, 5e-6);
}

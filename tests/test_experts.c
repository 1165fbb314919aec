/* test_experts.c - mixtures of experts and matrices of heads: ROUTE, MATMUL_ID, GLU_ID, MATMUL_HEADS and what
 * is made of them, against double precision; and the same bits for other threads and other company.
 *
 * ROUTE is compared with a second way of saying each rule: sorting instead of picking, sums over sets.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"
#include "numeric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS_MAX 70
#define ROW 4096 /* one block a row */

/* --- products by choice --- */

struct mix {
    const struct rz_kernels *table;
    uint16_t op;
    int32_t type;
    uint32_t experts, rows, cols, used, n, part; /* part: of x, for one place; 0: all places have the row's */
    bool bias;
    double step;    /* of the activations, in units of the largest of their block; 0: exact */
    uint32_t block; /* elements */
};

struct mix_data {
    void *w;
    float *decoded, *x, *ids, *bias;
};

static uint64_t in_width(const struct mix *m)
{
    return m->part ? (uint64_t)m->part * m->used : m->cols;
}

static uint64_t out_part(const struct mix *m)
{
    return m->rows + (m->op == RZ_OP_MATMUL_HEADS ? m->part - m->cols : 0);
}

static void mix_data(const struct mix *m, struct mix_data *d, struct rng *r)
{
    size_t n = (size_t)m->experts * m->rows * m->cols;
    d->w = must_alloc(weight_bytes(m->type, n));
    d->decoded = must_alloc(n * sizeof *d->decoded);
    weight_random(m->type, d->w, n, 0.5, r);
    rz_type_info(m->type)->decode(d->w, d->decoded, n);
    d->x = random_floats(in_width(m) * m->n, 1, r);
    d->bias = random_floats((size_t)m->experts * m->rows, 1, r);
    d->ids = must_alloc((size_t)m->used * m->n * sizeof *d->ids);
    for (uint32_t i = 0; i < m->used * m->n; i++) /* most rows choose the first two; some experts nobody */
        d->ids[i] = (float)(i % 3 ? i % m->used % m->experts : (uint32_t)rng_int(r, 0, (int)m->experts - 1));
}

static void mix_free(struct mix_data *d)
{
    free(d->w);
    free(d->decoded);
    free(d->x);
    free(d->ids);
    free(d->bias);
}

static void mix_open(const struct mix *m, const struct mix_data *d, struct kernel_case *k)
{
    uint64_t in[2] = {in_width(m), m->used}, out = out_part(m) * m->used;
    bool heads = m->op == RZ_OP_MATMUL_HEADS;
    kernel_begin(k, m->table, m->op);
    kernel_weight(k, m->type, m->cols, (uint64_t)m->experts * m->rows, d->w);
    if (m->bias) {
        kernel_attr(k, RZ_A_BIAS, 1, 1);
        kernel_weight(k, RZ_TYPE_F32, (uint64_t)m->experts * m->rows, 1, d->bias);
    } else if (!heads) {
        kernel_no_weight(k);
    }
    if (heads)
        kernel_attr(k, RZ_A_PARTS, m->used, 0);
    if (!kernel_open(k, in, heads ? 1 : 2, &out, 1, ROWS_MAX, -1))
        rz_fail_test("%s has no row for op %x of type %s", m->table->name, m->op,
                     rz_type_info(m->type)->name);
}

static double mix_truth(const struct mix *m, const struct mix_data *d, uint32_t row, uint32_t place,
                        uint32_t o, double *slack)
{
    uint32_t expert = m->op == RZ_OP_MATMUL_HEADS ? place : (uint32_t)d->ids[row * m->used + place];
    const float *x = d->x + row * in_width(m) + (size_t)place * m->part;
    const float *w = d->decoded + ((size_t)expert * m->rows + o) * m->cols;
    double sum = m->bias ? d->bias[expert * m->rows + o] : 0, sizes = fabs(sum), largest = 0, variance = 0;
    if (o >= m->rows) { /* passed on */
        *slack = 0;
        return x[m->cols + o - m->rows];
    }
    for (uint32_t i = 0; i < m->cols; i++) {
        if (i % m->block == 0) {
            largest = 0;
            for (uint32_t j = i; j < i + m->block && j < m->cols; j++)
                largest = fmax(largest, fabsf(x[j]));
        }
        sum += (double)w[i] * (double)x[i];
        sizes += fabs((double)w[i] * (double)x[i]);
        variance += largest * m->step * w[i] * largest * m->step * w[i] / 12;
    }
    *slack = 6 * sqrt(variance) + 1e-5 * sizes + 1e-30;
    return sum;
}

static void mix_check(const struct mix *m, struct rng *r)
{
    struct mix_data d;
    struct kernel_case k;
    uint64_t width = out_part(m) * m->used;
    mix_data(m, &d, r);
    mix_open(m, &d, &k);
    float *y = must_alloc(width * m->n * sizeof *y), *again = must_alloc(width * m->n * sizeof *again);
    float *in[2] = {d.x, d.ids};
    kernel_run(&k, m->n, 2, in, &y, NULL);
    for (uint32_t row = 0; row < m->n; row++)
        for (uint32_t i = 0; i < width; i++) {
            uint32_t place = i / (uint32_t)out_part(m), o = i % (uint32_t)out_part(m);
            double slack, truth = mix_truth(m, &d, row, place, o, &slack), got = y[row * width + i];
            if (!(fabs(got - truth) <= slack))
                rz_fail_test("%s %x %s [%u x %u x %u], %u of %u rows: row %u place %u output %u is %.9g, "
                             "truth %.9g, slack %.3g",
                             m->table->name, m->op, rz_type_info(m->type)->name, m->experts, m->rows, m->cols,
                             m->used, m->n, row, place, o, got, truth, slack);
        }
    kernel_run(&k, m->n, 3, in, &again, NULL);
    rz_check_memeq(again, y, width * m->n * sizeof *y);
    for (uint32_t row = 0; row < m->n; row += 1 + m->n / 4) {
        float *one[2] = {d.x + row * in_width(m), d.ids + row * m->used};
        kernel_run(&k, 1, 1, one, &again, NULL);
        rz_check_memeq(again, y + row * width, width * sizeof *y);
    }
    free(y);
    free(again);
    kernel_close(&k);
    mix_free(&d);
}

static void mixes(const struct rz_kernels *t, int32_t type, double step, uint32_t block)
{
    /* experts, rows and columns of one, chosen, rows of the step */
    static const uint32_t sizes[][5] = {{4, 8, 256, 2, 1},   {5, 7, 256, 3, 2},  {3, 1, 256, 1, 3},
                                        {8, 9, 512, 4, 4},   {2, 33, 256, 2, 5}, {16, 12, 256, 8, 6},
                                        {6, 16, 256, 5, 7},  {4, 3, 768, 4, 8},  {7, 20, 256, 6, 9},
                                        {3, 17, 256, 2, 37}, {2, 9, 256, 1, 70}};
    struct rng r = {(uint64_t)type + 7};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct mix m = {.table = t,
                        .op = RZ_OP_MATMUL_ID,
                        .type = type,
                        .experts = sizes[i][0],
                        .rows = sizes[i][1],
                        .cols = sizes[i][2],
                        .used = sizes[i][3],
                        .n = sizes[i][4],
                        .bias = i % 2,
                        .step = step,
                        .block = block};
        mix_check(&m, &r);
        m.part = m.cols;
        mix_check(&m, &r);
        m.op = RZ_OP_MATMUL_HEADS;
        m.bias = false;
        m.used = m.experts;
        mix_check(&m, &r);
        m.part += 5;
        mix_check(&m, &r);
    }
}

#define MIXES(TYPE, STEP) \
    RZ_TEST(matmul_id, scalar_##TYPE) \
    { \
        mixes(kernel_table_or_skip(&rz_builtin_scalar), RZ_TYPE_##TYPE, 0, 32); \
    } \
    RZ_TEST(matmul_id, fast_##TYPE) \
    { \
        mixes(kernel_table_or_skip(&FAST), RZ_TYPE_##TYPE, STEP, 32); \
    } \
    RZ_TEST(matmul_id, widest_##TYPE) \
    { \
        mixes(kernel_table_or_skip(&WIDEST), RZ_TYPE_##TYPE, STEP, 32); \
        if (kernel_table_or_skip(&WIDEST) != kernel_table(&WIDEST, 1)) \
            mixes(kernel_table(&WIDEST, 1), RZ_TYPE_##TYPE, (STEP) / 257, ROW); \
    }
MIXES(F32, 0)
MIXES(BF16, 0)
MIXES(Q8_0, 1.0 / 127)
MIXES(Q4_0, 1.0 / 127)
MIXES(Q4_K, 1.0 / 127)
MIXES(Q6_K, 1.0 / 127)
MIXES(MXFP4, 1.0 / 127)

/* --- gate and up with the activation --- */

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static void glu(const struct rz_kernels *t, bool clamped)
{
    enum {
        E = 5,
        ROWS = 11,
        COLS = 40,
        USED = 3,
        N = 9
    };
    struct rng r = {3};
    struct kernel_case k;
    float *w[2], *bias[2], *x = random_floats(COLS * N, 2, &r), ids[USED * N], y[USED * ROWS * N];
    float *in[2] = {x, ids}, *out = y;
    uint64_t widths[2] = {COLS, USED}, width = USED * ROWS;
    kernel_begin(&k, t, RZ_OP_GLU_ID);
    kernel_attr(&k, clamped ? RZ_A_SWIGLU : RZ_A_SILU, 1, clamped ? 7 : 1);
    kernel_attr(&k, RZ_A_BIAS, 1, 1);
    for (int i = 0; i < 2; i++) {
        w[i] = random_floats(E * ROWS * COLS, 1, &r);
        kernel_weight(&k, RZ_TYPE_F32, COLS, E * ROWS, w[i]);
    }
    for (int i = 0; i < 2; i++) {
        bias[i] = random_floats(E * ROWS, 1, &r);
        kernel_weight(&k, RZ_TYPE_F32, E * ROWS, 1, bias[i]);
    }
    for (int i = 0; i < USED * N; i++)
        ids[i] = (float)rng_int(&r, 0, E - 1);
    rz_check(kernel_open(&k, widths, 2, &width, 1, ROWS_MAX, -1));
    kernel_run(&k, N, 2, in, &out, NULL);
    for (int i = 0; i < USED * ROWS * N; i++) {
        int row = i / (USED * ROWS), expert = (int)ids[i / ROWS], o = expert * ROWS + i % ROWS;
        double part[2];
        for (int s = 0; s < 2; s++) {
            part[s] = bias[s][o];
            for (int c = 0; c < COLS; c++)
                part[s] += (double)w[s][o * COLS + c] * (double)x[row * COLS + c];
        }
        double gate = fmin(7, part[0]), up = fmin(7, fmax(-7, part[1]));
        double truth = clamped ? gate / (1 + exp(-1.702 * gate)) * (up + 1) : silu(part[0]) * part[1];
        rz_check_near(y[i], truth, 1e-4 * fabs(truth) + 1e-4);
    }
    kernel_close(&k);
    for (int i = 0; i < 2; i++) {
        free(w[i]);
        free(bias[i]);
    }
    free(x);
}

RZ_TEST(glu_id, fast_silu)
{
    if (kernel_table_or_skip(&FAST) == kernel_table_or_skip(&rz_builtin_scalar))
        rz_skip("scalar runs the parts of this region");
    glu(kernel_table_or_skip(&FAST), false);
}

RZ_TEST(glu_id, fast_clamped)
{
    if (kernel_table_or_skip(&FAST) == kernel_table_or_skip(&rz_builtin_scalar))
        rz_skip("scalar runs the parts of this region");
    glu(kernel_table_or_skip(&FAST), true);
}

RZ_TEST(glu_id, widest_silu_and_clamped)
{
    for (int64_t numerics = 0; numerics < 2; numerics++)
        for (int clamped = 0; kernel_table_or_skip(&WIDEST) && clamped < 2; clamped++)
            glu(kernel_table(&WIDEST, numerics), clamped);
}

/* One node with these matrices, over all rows at once, and row by row: the same bits. */
static void glu_run(const struct rz_kernels *t, uint16_t op, const int32_t *types, void *const *w,
                    const uint32_t *sizes, float *x, float *ids, float *y)
{
    uint32_t experts = sizes[0], rows = sizes[1], cols = sizes[2], used = sizes[3], n = sizes[4];
    struct kernel_case k;
    uint64_t in_width[2] = {cols, used}, width = (uint64_t)used * rows;
    float *in[2] = {x, ids}, *again = must_alloc(width * n * sizeof *again);
    kernel_begin(&k, t, op);
    for (int i = 0; i < (op == RZ_OP_GLU_ID ? 2 : 1); i++)
        kernel_weight(&k, types[i], cols, (uint64_t)experts * rows, w[i]);
    kernel_no_weight(&k);
    if (op == RZ_OP_GLU_ID) {
        kernel_attr(&k, RZ_A_SILU, 1, 1);
        kernel_no_weight(&k);
    }
    rz_check(kernel_open(&k, in_width, 2, &width, 1, ROWS_MAX, -1));
    kernel_run(&k, n, 2, in, &y, NULL);
    for (uint32_t row = 0; row < n; row += 1 + n / 4) {
        float *one[2] = {x + row * cols, ids + row * used};
        kernel_run(&k, 1, 1 + row % 3, one, &again, NULL);
        rz_check_memeq(again, y + row * width, width * sizeof *y);
    }
    kernel_close(&k);
    free(again);
}

/* Gate and up of any types are the products of MATMUL_ID, with the activation. */
static void glu_of_types(const struct rz_kernels *t, const int32_t *types)
{
    static const uint32_t sizes[][5] = {{5, 11, 256, 3, 9}, {3, 40, 512, 2, 21}, {16, 16, 256, 6, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const uint32_t *s = sizes[i];
        struct rng r = {i + 19};
        size_t n = (size_t)s[0] * s[1] * s[2], outputs = (size_t)s[1] * s[3] * s[4];
        void *w[2];
        float *x = random_floats((size_t)s[2] * s[4], 1, &r), *ids = must_alloc(s[3] * s[4] * sizeof *ids),
              *y[3];
        for (int m = 0; m < 2; m++) {
            w[m] = must_alloc(weight_bytes(types[m], n));
            weight_random(types[m], w[m], n, 0.1, &r);
        }
        for (uint32_t p = 0; p < s[3] * s[4]; p++)
            ids[p] = (float)rng_int(&r, 0, (int)s[0] - 1);
        for (int m = 0; m < 3; m++)
            y[m] = must_alloc(outputs * sizeof *y[m]);
        glu_run(t, RZ_OP_GLU_ID, types, w, s, x, ids, y[2]);
        for (int m = 0; m < 2; m++)
            glu_run(t, RZ_OP_MATMUL_ID, types + m, w + m, s, x, ids, y[m]);
        for (size_t o = 0; o < outputs; o++) {
            double truth = silu((double)y[0][o]) * (double)y[1][o];
            rz_check_near(y[2][o], truth, 1e-5 * fabs(truth) + 1e-9);
        }
        for (int m = 0; m < 3; m++)
            free(y[m]);
        free(w[0]);
        free(w[1]);
        free(x);
        free(ids);
    }
}

static void glu_types(const struct rz_kernels *t)
{
    static const int32_t types[][2] = {{RZ_TYPE_Q4_0, RZ_TYPE_Q4_0}, {RZ_TYPE_Q4_K, RZ_TYPE_Q6_K},
                                       {RZ_TYPE_F16, RZ_TYPE_Q8_0},  {RZ_TYPE_Q5_1, RZ_TYPE_BF16},
                                       {RZ_TYPE_BF16, RZ_TYPE_BF16}, {RZ_TYPE_IQ2_S, RZ_TYPE_MXFP4}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        glu_of_types(t, types[i]);
}

RZ_TEST(glu_id, fast_types)
{
    if (kernel_table_or_skip(&FAST) == kernel_table_or_skip(&rz_builtin_scalar))
        rz_skip("scalar runs the parts of this region");
    glu_types(kernel_table_or_skip(&FAST));
}

RZ_TEST(glu_id, widest_types)
{
    glu_types(kernel_table_or_skip(&WIDEST));
    if (kernel_table_or_skip(&WIDEST) != kernel_table(&WIDEST, 1))
        glu_types(kernel_table(&WIDEST, 1));
}

/* Scratch for more rows than there can be is more than there is, and nothing that wrapped around. */
RZ_TEST(experts, scratch_is_checked)
{
    const struct rz_plugin *plugins[] = {&FAST, &WIDEST};
    for (int i = 0; i < 2; i++) {
        const struct rz_kernels *t = kernel_table(plugins[i], 0);
        struct kernel_case k;
        uint64_t in[2] = {1ull << 30, 1ull << 20}, out = 1ull << 24;
        if (!t)
            continue;
        kernel_begin(&k, t, RZ_OP_MATMUL_ID);
        k.weights[k.node.n_weights++] = (struct rz_weight_view){
            .size = sizeof k.weights[0], .type = RZ_TYPE_Q8_0, .cols = in[0], .rows = 64, .bytes = 1};
        kernel_no_weight(&k);
        for (uint32_t r = 0; r < t->n_rows; r++) {
            const struct rz_kernel_row *row =
                (const void *)((const char *)t->rows + (size_t)r * t->row_stride);
            if (row->op != RZ_OP_MATMUL_ID)
                continue;
            k.node.weights = k.weights;
            k.node.attr = k.attrs;
            k.node.n_in = 2;
            k.node.n_out = 1;
            memcpy(k.node.in_width, in, sizeof in);
            k.node.out_width[0] = out;
            rz_check(row->scratch(&k.node, UINT32_MAX, 8) == UINT64_MAX);
            rz_check(row->scratch(&k.node, 1, 8) < UINT64_MAX);
        }
    }
}

/* --- sums, factors, switches --- */

static void small_ops(const struct rz_kernels *t)
{
    enum {
        N = 7,
        WIDTH = 13,
        USED = 4
    };
    struct rng r = {5};
    struct kernel_case k;
    float *parts = random_floats(N * USED * WIDTH, 1, &r), *w = random_floats(N * USED, 1, &r);
    float *x = random_floats(N * WIDTH, 3, &r), y[N * USED * WIDTH], *out = y, *in[2] = {parts, w};
    uint64_t many = USED * WIDTH, one = WIDTH, in_width[2] = {many, USED};
    for (uint32_t n_in = 1; n_in <= 2; n_in++) {
        kernel_begin(&k, t, RZ_OP_SUM_ID);
        rz_check(kernel_open(&k, in_width, n_in, &one, 1, ROWS_MAX, -1));
        kernel_run(&k, N, 2, in, &out, NULL);
        for (int i = 0; i < N * WIDTH; i++) {
            double sum = 0;
            for (int p = 0; p < USED; p++)
                sum += (double)parts[(i / WIDTH * USED + p) * WIDTH + i % WIDTH] *
                       (n_in == 2 ? (double)w[i / WIDTH * USED + p] : 1);
            rz_check_near(y[i], sum, 2e-6);
        }
    }
    in[0] = x;
    in_width[0] = WIDTH;
    kernel_begin(&k, t, RZ_OP_SCALE_ID);
    rz_check(kernel_open(&k, in_width, 2, &many, 1, ROWS_MAX, -1));
    kernel_run(&k, N, 2, in, &out, NULL);
    for (int i = 0; i < N * USED * WIDTH; i++)
        rz_check_near(y[i], (double)x[i / (USED * WIDTH) * WIDTH + i % WIDTH] * (double)w[i / WIDTH], 1e-5);
    for (uint64_t gates = 1; gates <= WIDTH; gates += WIDTH - 1) {
        uint64_t widths[2] = {gates, WIDTH};
        float *both[2] = {parts, x};
        kernel_begin(&k, t, RZ_OP_GATE);
        rz_check(kernel_open(&k, widths, 2, &one, 1, ROWS_MAX, -1));
        kernel_run(&k, N, 2, both, &out, NULL);
        for (int i = 0; i < N * WIDTH; i++)
            rz_check_near(y[i], x[i] / (1 + exp(-(double)parts[gates == 1 ? i / WIDTH : i])), 1e-5);
    }
    free(parts);
    free(w);
    free(x);
}

RZ_TEST(small, scalar)
{
    small_ops(kernel_table_or_skip(&rz_builtin_scalar));
}

RZ_TEST(small, fast)
{
    small_ops(kernel_table_or_skip(&FAST));
}

/* --- routing --- */

#define EXPERTS 24

struct routing {
    uint32_t n, used;
    int rule;
    double near, plus, factor;
    bool renorm, bias;
    uint32_t groups, groups_used, best;
};

struct scored {
    double score;
    int id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->id - y->id;
}

/* Scores of the groups that are not among the best become nothing. */
static void truth_groups(const struct routing *o, struct scored *s)
{
    uint32_t size = o->n / o->groups;
    struct scored rank[EXPERTS];
    for (uint32_t g = 0; g < o->groups; g++) {
        struct scored own[EXPERTS];
        memcpy(own, s + g * size, size * sizeof *own);
        qsort(own, size, sizeof *own, by_score);
        rank[g] = (struct scored){own[0].score + (o->best > 1 && size > 1 ? own[1].score : 0), (int)g};
    }
    qsort(rank, o->groups, sizeof *rank, by_score);
    for (uint32_t g = o->groups_used; g < o->groups; g++)
        for (uint32_t i = 0; i < size; i++)
            s[(uint32_t)rank[g].id * size + i].score = -INFINITY;
}

static void truth_mixer(const struct routing *o, const float *logits, int *ids, double *weights)
{
    bool taken[EXPERTS] = {false};
    for (uint32_t k = 0; k < o->used; k++) {
        int best = -1;
        double sum = 0;
        for (uint32_t i = 0; i < o->n; i++)
            if (!taken[i] && (best < 0 || logits[i] > logits[best]))
                best = (int)i;
        for (uint32_t i = 0; i < o->n; i++) {
            double gap = (double)logits[best] - (double)logits[i];
            if (!taken[i] && gap <= 2 * o->near * fmax(fabs((double)logits[i]), (double)logits[best]))
                sum += exp((double)logits[i] - (double)logits[best]);
        }
        ids[k] = best;
        weights[k] = 1 / sum;
        taken[best] = true;
    }
}

static void truth_route(const struct routing *o, const float *logits, const float *bias, int *ids,
                        double *weights)
{
    struct scored s[EXPERTS];
    double probability[EXPERTS], all = 0, sum = 0;
    for (uint32_t i = 0; i < o->n; i++)
        all += exp((double)logits[i]);
    for (uint32_t i = 0; i < o->n; i++) {
        double x = (double)logits[i];
        probability[i] = o->rule == RZ_ROUTE_SOFTMAX   ? exp(x) / all
                         : o->rule == RZ_ROUTE_SIGMOID ? 1 / (1 + exp(-x))
                                                       : x;
        s[i] = (struct scored){probability[i] + (o->bias ? (double)bias[i] : 0), (int)i};
    }
    if (o->groups)
        truth_groups(o, s);
    qsort(s, o->n, sizeof *s, by_score);
    for (uint32_t k = 0; k < o->used; k++) {
        ids[k] = s[k].id;
        weights[k] = probability[s[k].id];
    }
    if (o->rule == RZ_ROUTE_SPARSE_MIXER)
        truth_mixer(o, logits, ids, weights);
    for (uint32_t k = 0; k < o->used && o->rule == RZ_ROUTE_SOFTMAX_CHOSEN; k++)
        sum += weights[k] = exp(weights[k]);
    for (uint32_t k = 0; k < o->used && o->rule == RZ_ROUTE_SOFTMAX_CHOSEN; k++)
        weights[k] /= sum;
    sum = 0;
    for (uint32_t k = 0; k < o->used; k++)
        sum += weights[k];
    for (uint32_t k = 0; k < o->used; k++)
        weights[k] *= (o->renorm ? 1 / (sum + o->plus) : 1) * o->factor;
}

static void route_open(const struct rz_kernels *t, const struct routing *o, const float *bias,
                       struct kernel_case *k)
{
    uint64_t in = o->n, out[2] = {o->used, o->used};
    kernel_begin(k, t, RZ_OP_ROUTE);
    kernel_attr(k, RZ_A_ROUTE, o->rule, o->near);
    if (o->renorm)
        kernel_attr(k, RZ_A_RENORM, 0, o->plus);
    if (o->factor != 1)
        kernel_attr(k, RZ_A_FACTOR, 0, o->factor);
    if (o->groups) {
        kernel_attr(k, RZ_A_EXPERT_GROUPS, o->groups, o->groups_used);
        kernel_attr(k, RZ_A_GROUP_RANK, o->best, 0);
    }
    if (o->bias) {
        kernel_attr(k, RZ_A_BIAS, 1, 1);
        kernel_weight(k, RZ_TYPE_F32, o->n, 1, bias);
    } else {
        kernel_no_weight(k);
    }
    rz_check(kernel_open(k, &in, 1, out, 2, ROWS_MAX, -1));
}

static void route_check(const struct rz_kernels *t, const struct routing *o, struct rng *r)
{
    struct kernel_case k;
    float *logits = random_floats(ROWS_MAX * o->n, 2, r), *bias = random_floats(o->n, 0.3, r);
    float ids[ROWS_MAX * EXPERTS], weights[ROWS_MAX * EXPERTS], *out[2] = {ids, weights};
    if (o->rule != RZ_ROUTE_SPARSE_MIXER)
        logits[1] = logits[0]; /* equal scores: the lower number first */
    route_open(t, o, bias, &k);
    kernel_run(&k, ROWS_MAX, 2, &logits, out, NULL);
    for (uint32_t row = 0; row < ROWS_MAX; row++) {
        int want[EXPERTS];
        double share[EXPERTS];
        truth_route(o, logits + row * o->n, bias, want, share);
        for (uint32_t i = 0; i < o->used; i++) {
            rz_check_eq((int)ids[row * o->used + i], want[i]);
            rz_check_near(weights[row * o->used + i], share[i], 1e-5 * fabs(share[i]) + 1e-9);
        }
    }
    kernel_close(&k);
    free(logits);
    free(bias);
}

static void routes(const struct rz_kernels *t)
{
    static const struct routing options[] = {
        {.n = 4, .used = 2, .rule = RZ_ROUTE_SOFTMAX, .factor = 1},
        {.n = 7, .used = 7, .rule = RZ_ROUTE_SOFTMAX, .factor = 1, .renorm = true},
        {.n = 24, .used = 8, .rule = RZ_ROUTE_SOFTMAX, .factor = 2.5, .renorm = true, .bias = true},
        {.n = 24, .used = 5, .rule = RZ_ROUTE_SIGMOID, .factor = 1, .bias = true},
        {.n = 9, .used = 1, .rule = RZ_ROUTE_SIGMOID, .factor = 1},
        {.n = 9, .used = 4, .rule = RZ_ROUTE_SIGMOID, .factor = 1.5, .renorm = true, .plus = 0.5},
        {.n = 5, .used = 2, .rule = RZ_ROUTE_SOFTMAX_CHOSEN, .factor = 1},
        {.n = 24, .used = 6, .rule = RZ_ROUTE_SOFTMAX_CHOSEN, .factor = 3, .bias = true},
        {.n = 6, .used = 2, .rule = RZ_ROUTE_SPARSE_MIXER, .factor = 1, .near = 0.01},
        {.n = 16, .used = 2, .rule = RZ_ROUTE_SPARSE_MIXER, .factor = 1, .near = 0.3},
        {.n = 6, .used = 3, .rule = RZ_ROUTE_SOFTMAX, .factor = 2, .groups = 3, .groups_used = 2, .best = 1},
        {.n = 24,
         .used = 4,
         .rule = RZ_ROUTE_SIGMOID,
         .factor = 2.5,
         .renorm = true,
         .plus = 1e-20,
         .bias = true,
         .groups = 8,
         .groups_used = 3,
         .best = 2},
        {.n = 24, .used = 6, .rule = RZ_ROUTE_SIGMOID, .factor = 1, .groups = 4, .groups_used = 1, .best = 2},
        {.n = 8, .used = 2, .rule = RZ_ROUTE_SIGMOID, .factor = 1, .groups = 8, .groups_used = 4, .best = 2},
    };
    struct rng r = {11};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        for (int again = 0; again < 20; again++)
            route_check(t, &options[i], &r);
}

RZ_TEST(route, scalar)
{
    routes(kernel_table_or_skip(&rz_builtin_scalar));
}

/* test_kernels.c - the rows of the kernel tables against double precision, and their bits against
 * themselves for other threads and other company.
 *
 * The truth is computed here from weights decoded by core/base/numeric. A table that works on 8-bit
 * blocks of activations may be off by what their rounding explains, and by nothing more.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS_MAX 64

/* --- matrices --- */

struct product {
    const struct rz_kernels *table;
    int32_t type;
    uint32_t cols, rows, n;
    bool bias;
    double step;    /* of the activations, in units of the largest of their block; 0: exact */
    uint32_t block; /* elements of a row that share a scale */
};

struct product_data {
    void *w;
    float *decoded, *x, *bias;
};

static void product_data(const struct product *p, struct product_data *d, struct rng *r)
{
    size_t n = (size_t)p->cols * p->rows;
    d->w = must_alloc(weight_bytes(p->type, n));
    d->decoded = must_alloc(n * sizeof *d->decoded);
    weight_random(p->type, d->w, n, 0.5, r);
    rz_type_info(p->type)->decode(d->w, d->decoded, n);
    d->x = random_floats((size_t)p->cols * p->n, 1, r);
    for (uint32_t i = 0; i < p->cols; i++) /* a row with large and small blocks, and one of zeros */
        d->x[i] *= i / 32 % 2 ? 50 : 0.01f;
    for (uint32_t i = 0; p->n > 2 && i < p->cols; i++)
        d->x[2 * p->cols + i] = 0;
    d->bias = random_floats(p->rows, 1, r);
}

static void product_free(struct product_data *d)
{
    free(d->w);
    free(d->decoded);
    free(d->x);
    free(d->bias);
}

/* What one result should be, and how far off it may be: rounding errors of the activations are spread
 * evenly over one step, so their sum stays within 6 standard deviations. */
static double product_truth(const struct product *p, const struct product_data *d, uint32_t row, uint32_t o,
                            double *slack)
{
    const float *x = d->x + (size_t)row * p->cols, *w = d->decoded + (size_t)o * p->cols;
    double sum = p->bias ? d->bias[o] : 0, sizes = fabs(sum), largest = 0, variance = 0;
    for (uint32_t i = 0; i < p->cols; i++) {
        if (i % p->block == 0) {
            largest = 0;
            for (uint32_t j = i; j < i + p->block && j < p->cols; j++)
                largest = fmax(largest, fabsf(x[j]));
        }
        sum += (double)w[i] * (double)x[i];
        sizes += fabs((double)w[i] * (double)x[i]);
        variance += largest * p->step * w[i] * largest * p->step * w[i] / 12;
    }
    *slack = 6 * sqrt(variance) + 1e-5 * sizes + 1e-30;
    return sum;
}

static void product_open(const struct product *p, const struct product_data *d, struct kernel_case *n)
{
    uint64_t in = p->cols, out = p->rows;
    kernel_begin(n, p->table, RZ_OP_MATMUL);
    kernel_weight(n, p->type, p->cols, p->rows, d->w);
    if (p->bias) {
        kernel_attr(n, RZ_A_BIAS, 1, 1);
        kernel_weight(n, RZ_TYPE_F32, p->rows, 1, d->bias);
    } else {
        kernel_no_weight(n);
    }
    if (!kernel_open(n, &in, 1, &out, 1, ROWS_MAX, -1))
        rz_fail_test("%s has no matmul for type %s, %u x %u", p->table->name, rz_type_info(p->type)->name,
                     p->rows, p->cols);
}

/* Returns the largest error, in units of what is allowed. */
static double product_check(const struct product *p, struct rng *r)
{
    struct product_data d;
    struct kernel_case n;
    size_t n_out = (size_t)p->rows * p->n;
    double worst = 0;
    product_data(p, &d, r);
    product_open(p, &d, &n);
    float *y = must_alloc(n_out * sizeof *y), *again = must_alloc(n_out * sizeof *again);
    kernel_run(&n, p->n, 2, &d.x, &y, NULL);
    for (uint32_t row = 0; row < p->n; row++)
        for (uint32_t o = 0; o < p->rows; o++) {
            double slack, truth = product_truth(p, &d, row, o, &slack), got = y[(size_t)row * p->rows + o];
            worst = fmax(worst, fabs(got - truth) / slack);
            if (!(fabs(got - truth) <= slack))
                rz_fail_test("%s %s [%u x %u] of %u rows: row %u output %u is %.9g, truth %.9g, slack %.3g",
                             p->table->name, rz_type_info(p->type)->name, p->rows, p->cols, p->n, row, o, got,
                             truth, slack);
        }
    kernel_run(&n, p->n, 3, &d.x, &again, NULL);
    rz_check_memeq(again, y, n_out * sizeof *y);
    for (uint32_t row = 0; row < p->n; row++) {
        float *x = d.x + (size_t)row * p->cols;
        kernel_run(&n, 1, 1, &x, &again, NULL);
        rz_check_memeq(again, y + (size_t)row * p->rows, p->rows * sizeof *y);
    }
    free(y);
    free(again);
    kernel_close(&n);
    product_free(&d);
    return worst;
}

static void products(const struct rz_kernels *table, int32_t type, double step, uint32_t block)
{
    /* cols, rows of the weight, rows of activations: 1 to 9, and more than a tile has */
    static const uint32_t sizes[][3] = {{256, 8, 1},  {256, 1, 2},   {512, 9, 3},  {256, 33, 4},
                                        {768, 40, 5}, {512, 8, 6},   {256, 17, 7}, {1536, 16, 8},
                                        {256, 24, 9}, {256, 64, 17}, {512, 7, 64}};
    struct rng r = {(uint64_t)type + 1};
    struct product p = {.table = table, .type = type, .step = step, .block = block};
    double worst = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        p.cols = sizes[i][0];
        p.rows = sizes[i][1];
        p.n = sizes[i][2];
        p.bias = i % 2;
        worst = fmax(worst, product_check(&p, &r));
        if (rz_type_info(type)->block <= 32) { /* and a width that no K block divides */
            p.cols += 96;
            worst = fmax(worst, product_check(&p, &r));
        }
    }
    printf("%s %s: largest error %.3f of what is allowed\n", p.table->name, rz_type_info(type)->name, worst);
}

#define INT8_STEP (1.0 / 127)
#define ROW 4096 /* one block a row */

#define PRODUCTS(TYPE, STEP) \
    RZ_TEST(matmul, scalar_##TYPE) \
    { \
        products(kernel_table_or_skip(&rz_builtin_scalar), RZ_TYPE_##TYPE, 0, 32); \
    } \
    RZ_TEST(matmul, fast_##TYPE) \
    { \
        products(kernel_table_or_skip(&FAST), RZ_TYPE_##TYPE, STEP, 32); \
    } \
    RZ_TEST(matmul, widest_##TYPE) \
    { \
        products(kernel_table_or_skip(&WIDEST), RZ_TYPE_##TYPE, STEP, 32); \
        if (kernel_table_or_skip(&WIDEST) != kernel_table(&WIDEST, 1)) \
            products(kernel_table(&WIDEST, 1), RZ_TYPE_##TYPE, (STEP) / 257, ROW); \
    }
PRODUCTS(F32, 0)
PRODUCTS(F16, 0)
PRODUCTS(BF16, 0)
PRODUCTS(Q4_0, INT8_STEP)
PRODUCTS(Q4_1, INT8_STEP)
PRODUCTS(Q5_0, INT8_STEP)
PRODUCTS(Q5_1, INT8_STEP)
PRODUCTS(Q8_0, INT8_STEP)
PRODUCTS(Q4_K, INT8_STEP)
PRODUCTS(Q5_K, INT8_STEP)
PRODUCTS(Q6_K, INT8_STEP)
PRODUCTS(Q2_K, INT8_STEP)
PRODUCTS(Q3_K, INT8_STEP)
PRODUCTS(IQ1_S, INT8_STEP)
PRODUCTS(IQ1_M, INT8_STEP)
PRODUCTS(IQ2_XXS, INT8_STEP)
PRODUCTS(IQ2_XS, INT8_STEP)
PRODUCTS(IQ2_S, INT8_STEP)
PRODUCTS(IQ3_XXS, INT8_STEP)
PRODUCTS(IQ3_S, INT8_STEP)
PRODUCTS(IQ4_NL, INT8_STEP)
PRODUCTS(IQ4_XS, INT8_STEP)
PRODUCTS(TQ1_0, INT8_STEP)
PRODUCTS(TQ2_0, INT8_STEP)
PRODUCTS(MXFP4, INT8_STEP)
PRODUCTS(NVFP4, INT8_STEP)
PRODUCTS(Q1_0, INT8_STEP)
PRODUCTS(Q2_0, INT8_STEP)
PRODUCTS(F64, 0)
PRODUCTS(I8, 0)
PRODUCTS(I16, 0)
PRODUCTS(I32, 0)
PRODUCTS(I64, 0)

/* --- rows of a table, by token --- */

static void get_rows(const struct rz_plugin *plugin, int32_t type)
{
    enum {
        COLS = 512,
        ROWS = 21,
        N = 5
    };
    static const int32_t tokens[N] = {0, 20, 7, 8, 7};
    const struct rz_kernels *k = kernel_table_or_skip(plugin);
    struct rng r = {99};
    void *w = must_alloc(weight_bytes(type, COLS * ROWS));
    float *decoded = must_alloc(COLS * ROWS * sizeof *decoded), *out = must_alloc(COLS * N * sizeof *out);
    weight_random(type, w, COLS * ROWS, 1, &r);
    rz_type_info(type)->decode(w, decoded, COLS * ROWS);
    struct rz_batch_row rows[N];
    for (uint32_t i = 0; i < N; i++)
        rows[i] = (struct rz_batch_row){.token = tokens[i]};
    struct rz_step step = {.size = sizeof step, .n_rows = N, .rows = rows};
    struct kernel_case n;
    uint64_t width = COLS;
    kernel_begin(&n, k, RZ_OP_GET_ROWS);
    kernel_weight(&n, type, COLS, ROWS, w);
    rz_check(kernel_open(&n, NULL, 0, &width, 1, ROWS_MAX, -1));
    kernel_run(&n, N, 2, NULL, &out, &step);
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t c = 0; c < COLS; c++)
            rz_check_near(out[i * COLS + c], decoded[tokens[i] * COLS + c],
                          1e-6 * fabsf(decoded[tokens[i] * COLS + c]) + 1e-12);
    kernel_close(&n);
    free(w);
    free(decoded);
    free(out);
}

static void get_rows_of_all(const struct rz_plugin *plugin)
{
    int seen = 0;
    for (int32_t t = 0; t < 64; t++)
        if (rz_type_info(t)->block) {
            get_rows(plugin, t);
            seen++;
        }
    rz_check_eq(seen, 33);
}

RZ_TEST(get_rows, scalar_decodes_every_type)
{
    get_rows_of_all(&rz_builtin_scalar);
}

RZ_TEST(get_rows, fast_decodes_every_type)
{
    get_rows_of_all(&FAST);
}

RZ_TEST(get_rows, widest_decodes_every_type)
{
    get_rows_of_all(&WIDEST);
}

/* --- one row at a time: norm, rope, activation, sum, choice --- */

/* Runs a node with one or two inputs [n, width] and a vector weight or none. */
static void run_simple(struct kernel_case *n, uint64_t width, uint32_t n_in, uint32_t rows, float *const *in,
                       float *out, const struct rz_step *step)
{
    uint64_t widths[2] = {width, width};
    rz_check(kernel_open(n, widths, n_in, widths, 1, ROWS_MAX, -1));
    kernel_run(n, rows, 2, in, &out, step);
    kernel_close(n);
}

static void norm(const struct rz_plugin *plugin, uint64_t width)
{
    enum {
        N = 3
    };
    const struct rz_kernels *k = kernel_table_or_skip(plugin);
    struct rng r = {width};
    struct kernel_case n;
    float *x = random_floats(width * N, 3, &r), *w = random_floats(width, 1, &r),
          *y = random_floats(width * N, 1, &r);
    kernel_begin(&n, k, RZ_OP_RMSNORM);
    kernel_attr(&n, RZ_A_EPS, 0, 1e-5);
    kernel_weight(&n, RZ_TYPE_F32, width, 1, w);
    run_simple(&n, width, 1, N, &x, y, NULL);
    for (uint32_t row = 0; row < N; row++) {
        double squares = 0;
        for (uint64_t i = 0; i < width; i++)
            squares += (double)x[row * width + i] * (double)x[row * width + i];
        for (uint64_t i = 0; i < width; i++) {
            double truth = x[row * width + i] / sqrt(squares / (double)width + 1e-5) * w[i];
            rz_check_near(y[row * width + i], truth, 1e-6 * fabs(truth) + 1e-12);
        }
    }
    free(x);
    free(w);
    free(y);
}

static void gate(const struct rz_plugin *plugin, uint64_t width)
{
    enum {
        N = 2
    };
    const struct rz_kernels *k = kernel_table_or_skip(plugin);
    struct rng r = {width};
    struct kernel_case n;
    float *in[2] = {random_floats(width * N, 8, &r), random_floats(width * N, 1, &r)};
    float *y = random_floats(width * N, 1, &r);
    static const float extreme[] = {0, -0.0f, 88, -88, 104, -104, 1e20f, -1e20f, 1e-30f};
    memcpy(in[0], extreme, sizeof extreme);
    kernel_begin(&n, k, RZ_OP_ACT_MUL);
    kernel_attr(&n, RZ_A_SILU, 1, 1);
    run_simple(&n, width, 2, N, in, y, NULL);
    for (uint64_t i = 0; i < width * N; i++) {
        double truth = in[0][i] / (1 + exp(-(double)in[0][i])) * in[1][i];
        rz_check_near(y[i], truth, 2e-6 * fabs(truth) + 1e-12);
    }
    kernel_begin(&n, k, RZ_OP_ADD);
    run_simple(&n, width, 2, N, in, y, NULL);
    for (uint64_t i = 0; i < width * N; i++)
        rz_check(y[i] == in[0][i] + in[1][i]);
    free(in[0]);
    free(in[1]);
    free(y);
}

static void odd_widths(const struct rz_plugin *plugin)
{
    static const uint64_t widths[] = {16, 48, 64, 80, 576, 1536};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        norm(plugin, widths[i]);
        gate(plugin, widths[i]);
    }
}

RZ_TEST(simple, norm_and_gate_of_odd_widths)
{
    odd_widths(&rz_builtin_scalar);
    odd_widths(&FAST);
}

RZ_TEST(simple, widest_norm_and_gate_of_odd_widths)
{
    odd_widths(&WIDEST);
}

static void rotation(const struct rz_plugin *plugin, uint32_t dim, uint32_t n_head, bool neox)
{
    enum {
        N = 3,
        POSITIONS = 50
    };
    static const int32_t positions[N] = {0, 7, 49};
    const struct rz_kernels *k = kernel_table_or_skip(plugin);
    struct rng r = {dim};
    uint32_t half = dim / 2, width = dim * n_head;
    float *x = random_floats(width * N, 1, &r), *y = random_floats(width * N, 1, &r);
    float *cosine = must_alloc(POSITIONS * half * sizeof *cosine),
          *sine = must_alloc(POSITIONS * half * sizeof *sine);
    for (uint32_t i = 0; i < POSITIONS * half; i++) {
        cosine[i] = (float)cos(i / half * pow(100, -(double)(i % half) / half));
        sine[i] = (float)sin(i / half * pow(100, -(double)(i % half) / half));
    }
    struct rz_rope_view view = {
        .size = sizeof view, .dim = dim, .n_positions = POSITIONS, .cos = cosine, .sin = sine};
    struct rz_batch_row rows[N];
    for (uint32_t i = 0; i < N; i++)
        rows[i] = (struct rz_batch_row){.pos = {positions[i]}};
    struct rz_step step = {.size = sizeof step, .n_rows = N, .rows = rows, .ropes = &view};
    struct kernel_case n;
    kernel_begin(&n, k, RZ_OP_ROPE);
    kernel_attr(&n, RZ_A_N_HEAD, n_head, 0);
    kernel_attr(&n, RZ_A_HEAD_DIM, dim, 0);
    kernel_attr(&n, RZ_A_ROPE, 0, 0);
    if (neox)
        kernel_attr(&n, RZ_A_ROPE_NEOX, 1, 1);
    run_simple(&n, width, 1, N, &x, y, &step);
    for (uint32_t i = 0; i < N * n_head * half; i++) {
        uint32_t at = i / half * dim, pair = i % half,
                 entry = (uint32_t)positions[i / half / n_head] * half + pair;
        uint32_t a = at + (neox ? pair : 2 * pair), b = at + (neox ? pair + half : 2 * pair + 1);
        rz_check_near(y[a], (double)x[a] * cosine[entry] - (double)x[b] * sine[entry], 1e-6);
        rz_check_near(y[b], (double)x[a] * sine[entry] + (double)x[b] * cosine[entry], 1e-6);
    }
    free(x);
    free(y);
    free(cosine);
    free(sine);
}

static void rotations(const struct rz_plugin *plugin)
{
    for (int neox = 0; neox < 2; neox++) {
        rotation(plugin, 16, 3, neox);
        rotation(plugin, 24, 2, neox);
        rotation(plugin, 64, 9, neox);
        rotation(plugin, 128, 2, neox);
    }
}

RZ_TEST(simple, rope_both_ways)
{
    rotations(&rz_builtin_scalar);
    rotations(&FAST);
}

RZ_TEST(simple, widest_rope_both_ways)
{
    rotations(&WIDEST);
}

RZ_TEST(simple, select_takes_the_wanted_rows)
{
    enum {
        WIDTH = 40
    };
    const struct rz_plugin *plugins[] = {&rz_builtin_scalar, &FAST};
    static const uint32_t wanted[] = {1, 4};
    struct rz_step step = {.size = sizeof step, .n_rows = 5, .n_wanted = 2, .wanted = wanted};
    for (size_t p = 0; p < 2; p++) {
        struct rng r = {5};
        struct kernel_case n;
        float *x = random_floats(WIDTH * 5, 1, &r), *y = random_floats(WIDTH * 2, 1, &r);
        kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_SELECT_ROWS);
        run_simple(&n, WIDTH, 1, 2, &x, y, &step);
        rz_check_memeq(y, x + WIDTH, WIDTH * sizeof *y);
        rz_check_memeq(y + WIDTH, x + 4 * WIDTH, WIDTH * sizeof *y);
        free(x);
        free(y);
    }
}

/* test_elementwise.c - the rows that work on single elements or single rows: activations and soft-caps over
 * the whole range of float32 in units of the last place; norms by parts; sums, maps, learned positions. What
 * an element becomes does not depend on where in the row it stands.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS 16
#define STRIDE 9973 /* of the bit patterns that are tried */

static void run(struct kernel_case *n, uint64_t width, uint32_t n_in, uint32_t rows, float *const *in,
                float *out)
{
    uint64_t widths[2] = {width, width};
    rz_check(kernel_open(n, widths, n_in, widths, 1, ROWS, -1));
    kernel_run(n, rows, 2, in, &out, NULL);
}

/* --- functions of one element --- */

/* One unit in the last place of a float32 near x. */
static double ulp(double x)
{
    int e;
    frexp(x, &e);
    return ldexp(1, (e < -125 ? -125 : e) - 24);
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double gelu(double x)
{
    return x * 0.5 * erfc(-x * 0.70710678118654752);
}

static double gelu_tanh(double x)
{
    return x / (1 + exp(-2 * 0.79788456080286536 * (x + 0.044715 * x * x * x)));
}

static double relu2(double x)
{
    return x > 0 ? x * x : 0;
}

static double cap_one(double x)
{
    return tanh(x);
}

static double cap_thirty(double x)
{
    return 30 * tanh(x / 30);
}

struct function {
    const char *name;
    uint16_t op;
    uint32_t attr;
    double value;         /* of the attribute                       */
    double (*of)(double); /* the truth                              */
    double ulps;          /* allowed error in units of the result's */
    double of_x;          /* and as a share of the element          */
    double tiny;          /* and absolutely                         */
};

static const struct function functions[] = {
    {"silu", RZ_OP_ACT, RZ_A_SILU, 1, silu, 4, 0, 1e-36},
    {"gelu", RZ_OP_ACT, RZ_A_GELU, 1, gelu, 6, 0, 1e-36},
    {"gelu, tanh", RZ_OP_ACT, RZ_A_GELU_TANH, 1, gelu_tanh, 4, 0x1p-24, 1e-36},
    {"relu squared", RZ_OP_ACT, RZ_A_RELU2, 1, relu2, 1, 0, 0},
    {"cap 1", RZ_OP_MAP, RZ_A_SOFTCAP, 1, cap_one, 3, 0, 0},
    {"cap 30", RZ_OP_MAP, RZ_A_SOFTCAP, 30, cap_thirty, 4, 0, 1e-36},
};

/* Every STRIDE-th float32 that is a number, as n elements. */
static float *sample(size_t *n)
{
    float *x = must_alloc((UINT32_MAX / STRIDE + ROWS) * sizeof *x);
    *n = 0;
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += STRIDE) {
        uint32_t b = (uint32_t)bits;
        memcpy(&x[*n], &b, 4);
        *n += isfinite(x[*n]) != 0;
    }
    while (*n % ROWS)
        x[(*n)++] = 0;
    return x;
}

static void function_errors(const struct rz_plugin *plugin, const struct function *f)
{
    struct kernel_case n;
    size_t count;
    float *x = sample(&count), *y = must_alloc(count * sizeof *y);
    double worst = 0;
    kernel_begin(&n, kernel_table_or_skip(plugin), f->op);
    kernel_attr(&n, f->attr, 1, f->value);
    run(&n, count / ROWS, 1, ROWS, &x, y);
    for (size_t i = 0; i < count; i++) {
        double want = f->of((double)x[i]);
        if (fabs(want) > 3.4e38)
            continue;
        double off = fabs((double)y[i] - want),
               slack = f->ulps * ulp(want) + f->of_x * fabs((double)x[i]) + f->tiny;
        if (fabs(want) > 1e-30)
            worst = fmax(worst, off / ulp(want));
        if (!(off <= slack))
            rz_fail_test("%s %s(%.9g) is %.9g, not %.9g", plugin->header.name, f->name, (double)x[i],
                         (double)y[i], want);
    }
    printf("%s %s: within %.2f ulp%s\n", plugin->header.name, f->name, worst,
           f->of_x > 0 ? ", where its argument's rounding does not show" : "");
    kernel_close(&n);
    free(x);
    free(y);
}

RZ_TEST(functions, whole_range)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        function_errors(&rz_builtin_scalar, &functions[i]);
        function_errors(&FAST, &functions[i]);
    }
}

/* NaN stays NaN, but for the activation that is 0 wherever x > 0 does not hold. */
RZ_TEST(functions, nan_is_not_hidden)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const struct function *f = &functions[i];
        float in[3] = {1, NAN, 2}, out[3], *x = in;
        struct kernel_case n;
        kernel_begin(&n, kernel_table_or_skip(&FAST), f->op);
        kernel_attr(&n, f->attr, 1, f->value);
        run(&n, 3, 1, 1, &x, out);
        rz_check(f->of == relu2 ? out[1] == 0 : isnan(out[1]));
        rz_check(!isnan(out[0]) && !isnan(out[2]));
        kernel_close(&n);
    }
}

/* Rows of odd widths: lanes and tails agree to the bit with the same elements elsewhere. */
RZ_TEST(functions, place_does_not_matter)
{
    static const uint64_t widths[] = {1, 3, 6, 7, 8, 9, 12, 15, 30, 100};
    struct rng r = {3};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            const struct function *f = &functions[i];
            uint64_t width = widths[w];
            float *x = random_floats(width * 3, 3, &r), *y = must_alloc(width * 3 * 4),
                  *one = must_alloc(width * 3 * 4);
            struct kernel_case rows, single;
            kernel_begin(&rows, kernel_table_or_skip(&FAST), f->op);
            kernel_attr(&rows, f->attr, 1, f->value);
            run(&rows, width, 1, 3, &x, y);
            kernel_begin(&single, kernel_table_or_skip(&FAST), f->op);
            kernel_attr(&single, f->attr, 1, f->value);
            run(&single, width * 3, 1, 1, &x, one);
            rz_check_memeq(one, y, width * 3 * 4);
            kernel_close(&rows);
            kernel_close(&single);
            free(x);
            free(y);
            free(one);
        }
}

RZ_TEST(functions, gate_and_map)
{
    static const uint32_t acts[] = {RZ_A_SILU, RZ_A_GELU, RZ_A_GELU_TANH, RZ_A_RELU2};
    static double (*const of[])(double) = {silu, gelu, gelu_tanh, relu2};
    enum {
        WIDTH = 27
    };
    const struct rz_plugin *plugins[] = {&rz_builtin_scalar, &FAST};
    struct rng r = {4};
    float *in[2] = {random_floats(WIDTH, 2, &r), random_floats(WIDTH, 2, &r)}, y[WIDTH];
    for (int p = 0; p < 2; p++) {
        struct kernel_case n;
        for (int a = 0; a < 4; a++) {
            kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_ACT_MUL);
            kernel_attr(&n, acts[a], 1, 1);
            run(&n, WIDTH, 2, 1, in, y);
            for (int i = 0; i < WIDTH; i++)
                rz_check_near(y[i], of[a]((double)in[0][i]) * (double)in[1][i], 1e-6);
            kernel_close(&n);
        }
        kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_MAP);
        kernel_attr(&n, RZ_A_FACTOR, 0, 3);
        kernel_attr(&n, RZ_A_SOFTCAP, 0, 4);
        kernel_attr(&n, RZ_A_CLAMP, 0, 2);
        run(&n, WIDTH, 1, 1, in, y);
        for (int i = 0; i < WIDTH; i++)
            rz_check_near(y[i], fmax(-2, fmin(2, 4 * tanh(0.75 * (double)in[0][i]))), 1e-6);
        kernel_close(&n);
    }
    free(in[0]);
    free(in[1]);
}

/* --- norms --- */

struct norm_case {
    uint16_t op;
    uint64_t width;
    uint32_t parts; /* 0: the attribute is not set        */
    uint64_t cols;  /* of weight and bias; 0: there is none */
    bool bias;
    double mean; /* of the elements                    */
};

static double norm_truth(const struct norm_case *c, const float *x, const float *w, const float *b,
                         uint64_t i)
{
    uint64_t part = c->width / (c->parts ? c->parts : 1), at = i / part * part;
    double mean = 0, square = 0;
    for (uint64_t k = at; k < at + part && c->op == RZ_OP_LAYERNORM; k++)
        mean += (double)x[k] / (double)part;
    for (uint64_t k = at; k < at + part; k++)
        square += ((double)x[k] - mean) * ((double)x[k] - mean) / (double)part;
    double y = ((double)x[i] - mean) / sqrt(square + 1e-5);
    if (c->cols)
        y *= (double)w[i % c->cols];
    return c->bias ? y + (double)b[i % c->cols] : y;
}

static void norm(const struct rz_plugin *plugin, const struct norm_case *c)
{
    struct rng r = {c->width};
    struct kernel_case n;
    float *x = random_floats(c->width * 3, 2, &r), *y = random_floats(c->width * 3, 1, &r),
          *alone = random_floats(c->width, 1, &r), *w = random_floats(c->width, 1, &r),
          *b = random_floats(c->width, 1, &r);
    for (uint64_t i = 0; i < c->width * 3; i++)
        x[i] += (float)c->mean;
    kernel_begin(&n, kernel_table_or_skip(plugin), c->op);
    kernel_attr(&n, RZ_A_EPS, 0, 1e-5);
    if (c->parts)
        kernel_attr(&n, RZ_A_PARTS, c->parts, 0);
    for (int k = 0; k < (c->op == RZ_OP_LAYERNORM ? 2 : 1); k++) {
        if (k ? c->bias : c->cols > 0)
            kernel_weight(&n, RZ_TYPE_F32, c->cols, 1, k ? b : w);
        else
            kernel_no_weight(&n);
    }
    run(&n, c->width, 1, 3, &x, y);
    for (uint32_t row = 0; row < 3; row++) {
        float *one = x + row * c->width;
        for (uint64_t i = 0; i < c->width; i++) {
            double want = norm_truth(c, one, w, b, i);
            rz_check_near(y[row * c->width + i], want, 2e-6 * (fabs(want) + 0.1));
        }
        kernel_run(&n, 1, 1, &one, &alone, NULL);
        rz_check_memeq(alone, y + row * c->width, c->width * 4);
    }
    kernel_close(&n);
    free(x);
    free(y);
    free(alone);
    free(w);
    free(b);
}

RZ_TEST(norms, parts_biases_and_odd_widths)
{
    static const struct norm_case cases[] = {
        {RZ_OP_RMSNORM, 576, 0, 576, false, 0},   {RZ_OP_RMSNORM, 30, 5, 6, false, 0},
        {RZ_OP_RMSNORM, 36, 3, 36, false, 0},     {RZ_OP_RMSNORM, 64, 4, 16, false, 0},
        {RZ_OP_RMSNORM, 7, 0, 0, false, 1},       {RZ_OP_RMSNORM, 240, 3, 80, false, 0},
        {RZ_OP_LAYERNORM, 768, 0, 768, true, 0},  {RZ_OP_LAYERNORM, 13, 0, 13, true, 0},
        {RZ_OP_LAYERNORM, 768, 0, 0, false, 100}, {RZ_OP_LAYERNORM, 48, 4, 48, false, 0},
        {RZ_OP_LAYERNORM, 60, 5, 12, true, 1},    {RZ_OP_LAYERNORM, 96, 1, 96, false, -1000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        norm(&rz_builtin_scalar, &cases[i]);
        norm(&FAST, &cases[i]);
    }
}

/* --- learned positions --- */

RZ_TEST(positions, are_added)
{
    enum {
        WIDTH = 20,
        POSITIONS = 11
    };
    const struct rz_plugin *plugins[] = {&rz_builtin_scalar, &FAST};
    static const int32_t at[3] = {0, 7, 10};
    struct rz_batch_row rows[3] = {{.pos = {at[0]}}, {.pos = {at[1]}}, {.pos = {at[2]}}};
    struct rz_step step = {.size = sizeof step, .n_rows = 3, .rows = rows};
    struct rng r = {8};
    float *x = random_floats(3 * WIDTH, 1, &r), *places = random_floats(WIDTH * POSITIONS, 1, &r);
    float *y = must_alloc(3 * WIDTH * 4);
    uint64_t width = WIDTH;
    for (int p = 0; p < 2; p++) {
        struct kernel_case n;
        kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_ADD_POS);
        kernel_weight(&n, RZ_TYPE_F32, WIDTH, POSITIONS, places);
        rz_check(kernel_open(&n, &width, 1, &width, 1, ROWS, -1));
        kernel_run(&n, 3, 2, &x, &y, &step);
        for (int i = 0; i < 3 * WIDTH; i++)
            rz_check(y[i] == x[i] + places[at[i / WIDTH] * WIDTH + i % WIDTH]);
        kernel_close(&n);
    }
    free(x);
    free(y);
    free(places);
}

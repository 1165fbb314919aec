/* test_rows.c - rows of the kernel tables that single families are made of, against double precision: xIELU,
 * one row of a table added to all, a stretch of columns, ropes whose table depends on the sequence.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 5

static const struct rz_plugin *const plugins[] = {&rz_builtin_scalar, &FAST};

/* --- xIELU --- */

struct xielu {
    double p, n, beta, eps;
};

static double xielu(const struct xielu *f, double x)
{
    if (x > 0)
        return f->p * x * x + f->beta * x;
    return (expm1(fmin(x, f->eps)) - x) * f->n + f->beta * x;
}

static void xielu_errors(const struct rz_plugin *plugin, const struct xielu *f)
{
    enum {
        WIDTH = 1003 /* with a tail */
    };
    struct rng r = {5};
    struct kernel_case n;
    uint64_t width = WIDTH;
    float *x = random_floats(ROWS * WIDTH, 3, &r), *y = must_alloc(ROWS * WIDTH * 4);
    for (int i = 0; i < WIDTH; i++) /* small ones of both signs */
        x[i] *= (float)exp2(-i / 40.0);
    kernel_begin(&n, kernel_table_or_skip(plugin), RZ_OP_ACT);
    kernel_attr(&n, RZ_A_XIELU_P, 0, f->p);
    kernel_attr(&n, RZ_A_XIELU_N, 0, f->n);
    kernel_attr(&n, RZ_A_XIELU_BETA, 0, f->beta);
    kernel_attr(&n, RZ_A_EPS, 0, f->eps);
    rz_check(kernel_open(&n, &width, 1, &width, 1, ROWS, -1));
    kernel_run(&n, ROWS, 2, &x, &y, NULL);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double v = (double)x[i], want = xielu(f, v);
        /* what is subtracted is of the size of x */
        double slack = 0x1p-23 * (2 * fabs(want) + (fabs(f->n) + fabs(f->beta)) * fabs(v) * 2);
        if (!(fabs((double)y[i] - want) <= slack))
            rz_fail_test("%s xielu(%.9g) is %.9g, not %.9g", plugin->header.name, v, (double)y[i], want);
    }
    kernel_close(&n);
    free(x);
    free(y);
}

RZ_TEST(rows, xielu)
{
    static const struct xielu cases[] = {{0.8, 0.8, 0.5, -1e-6}, {0.69, 1.13, 0.5, -1e-6}, {2, 0.1, 0, -0.5}};
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            xielu_errors(plugins[p], &cases[i]);
}

/* --- one row for all, and columns --- */

RZ_TEST(rows, a_row_of_a_table_is_added)
{
    enum {
        WIDTH = 21,
        TABLE = 3
    };
    struct rng r = {9};
    struct rz_batch_row rows[ROWS] = {{0}};
    struct rz_step step = {.size = sizeof step, .n_rows = ROWS, .rows = rows};
    float *x = random_floats(ROWS * WIDTH, 1, &r), *t = random_floats(TABLE * WIDTH, 1, &r);
    float *y = must_alloc(ROWS * WIDTH * 4);
    uint64_t width = WIDTH;
    for (size_t p = 0; p < 2; p++)
        for (int row = 0; row < TABLE; row++) {
            struct kernel_case n;
            kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_ADD_ROW);
            kernel_attr(&n, RZ_A_ROW, row, 0);
            kernel_weight(&n, RZ_TYPE_F32, WIDTH, TABLE, t);
            rz_check(kernel_open(&n, &width, 1, &width, 1, ROWS, -1));
            kernel_run(&n, ROWS, 2, &x, &y, &step);
            for (int i = 0; i < ROWS * WIDTH; i++)
                rz_check(y[i] == x[i] + t[row * WIDTH + i % WIDTH]);
            kernel_close(&n);
        }
    free(x);
    free(y);
    free(t);
}

RZ_TEST(rows, columns)
{
    enum {
        WIDTH = 24,
        FIRST = 5,
        TAKEN = 9
    };
    struct rng r = {11};
    float *x = random_floats(ROWS * WIDTH, 1, &r), *y = must_alloc(ROWS * TAKEN * 4);
    uint64_t in = WIDTH, out = TAKEN;
    for (size_t p = 0; p < 2; p++) {
        struct kernel_case n;
        kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_COLUMNS);
        kernel_attr(&n, RZ_A_COLUMN, FIRST, 0);
        rz_check(kernel_open(&n, &in, 1, &out, 1, ROWS, -1));
        kernel_run(&n, ROWS, 2, &x, &y, NULL);
        for (int i = 0; i < ROWS; i++)
            rz_check_memeq(y + i * TAKEN, x + i * WIDTH + FIRST, TAKEN * 4);
        kernel_close(&n);
    }
    free(x);
    free(y);
}

/* --- ropes in variants --- */

RZ_TEST(rows, a_rope_is_that_of_the_sequence)
{
    enum {
        DIM = 8,
        HEADS = 3,
        WIDTH = DIM * HEADS,
        POSITIONS = 40
    };
    static float cosines[2][POSITIONS * DIM / 2], sines[2][POSITIONS * DIM / 2];
    struct rz_rope_view views[3] = {{0}};
    struct rz_batch_seq seqs[2] = {{.rope_variant = 1}, {.rope_variant = 0}};
    struct rz_batch_row rows[ROWS];
    struct rz_step step = {
        .size = sizeof step, .n_rows = ROWS, .n_seqs = 2, .rows = rows, .seqs = seqs, .ropes = views};
    struct rng r = {13};
    float *x = random_floats(ROWS * WIDTH, 1, &r), *y = must_alloc(ROWS * WIDTH * 4);
    uint64_t width = WIDTH;
    for (int v = 0; v < 2; v++) {
        for (int i = 0; i < POSITIONS * DIM / 2; i++) {
            double angle = (i / (DIM / 2)) * pow(v ? 50 : 100, -2.0 * (i % (DIM / 2)) / DIM);
            cosines[v][i] = (float)(cos(angle) * (1 + v));
            sines[v][i] = (float)(sin(angle) * (1 + v));
        }
        views[1 + v] = (struct rz_rope_view){
            .size = sizeof *views, .dim = DIM, .n_positions = POSITIONS, .cos = cosines[v], .sin = sines[v]};
    }
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct rz_batch_row){.seq = (uint32_t)i % 2, .pos = {7 * i}};
    for (size_t p = 0; p < 2; p++) {
        struct kernel_case n;
        kernel_begin(&n, kernel_table_or_skip(plugins[p]), RZ_OP_ROPE);
        kernel_attr(&n, RZ_A_N_HEAD, HEADS, 0);
        kernel_attr(&n, RZ_A_HEAD_DIM, DIM, 0);
        kernel_attr(&n, RZ_A_ROPE, 1, 0);
        kernel_attr(&n, RZ_A_ROPE_NEOX, 1, 1);
        kernel_attr(&n, RZ_A_ROPE_VARIANTS, 2, 0);
        rz_check(kernel_open(&n, &width, 1, &width, 1, ROWS, -1));
        kernel_run(&n, ROWS, 2, &x, &y, &step);
        for (int i = 0; i < ROWS * WIDTH; i++) {
            int row = i / WIDTH, pair = i % DIM % (DIM / 2), second = i % DIM >= DIM / 2, v = !(row % 2);
            double angle = 7 * row * pow(v ? 50 : 100, -2.0 * pair / DIM);
            int a = i - second * DIM / 2, b = a + DIM / 2;
            double want = second ? (double)x[a] * sin(angle) + (double)x[b] * cos(angle)
                                 : (double)x[a] * cos(angle) - (double)x[b] * sin(angle);
            rz_check(fabs((double)y[i] - want * (1 + v)) <= 1e-6 * (1 + v) * 4);
        }
        kernel_close(&n);
    }
    free(x);
    free(y);
}

/* cuda_cases.c - how a program of a rig is judged on the cuda plugin. */
#include "cuda_cases.h"

#include "rz_test.h"

#include "../plugins/backends/cuda/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Of the size of a result and the root mean square of all of its step. */
#define EXACT_SLACK 2e-5
#define DECODED_SLACK 2e-3 /* weights that became f16 on load             */
#define FAST_SLACK 4e-3    /* products of f16; of bfloat16 eight times that */

static const char *plugin_path(void)
{
    static char path[4096];
    const char *given = getenv("RZ_CUDA_PLUGIN");
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    if (given && *given)
        return given;
    rz_check(n > 0);
    path[n] = 0;
    snprintf(strrchr(path, '/'), 32, "/cuda-host.so");
    return path;
}

const struct rz_device *cuda_device(enum cuda_products products)
{
    static const struct rz_device *devices[CUDA_PRODUCTS];
    enum {
        DEVICE,
        NUMERICS,
        GRAPHS,
        RESERVE,
        CUBLAS,
        PRODUCTS,
        N
    };
    struct rz_option_value *values = must_alloc(N * sizeof *values);
    memset(values, 0, N * sizeof *values);
    values[NUMERICS].i = products != CUDA_EXACT && products != CUDA_BYTES;
    values[GRAPHS].i = 1;
    values[CUBLAS].i = products != CUDA_LIBRARY;
    values[PRODUCTS].i = products == CUDA_BYTES || products == CUDA_FAST_BYTES ? 1 : 2;
    if (!devices[products])
        devices[products] = device_find(plugin_path(), values, N);
    free(values);
    return devices[products];
}

static uint64_t width_of(const struct rig *r)
{
    return r->values[r->program.logits >= 0 ? r->program.logits : r->program.hidden].width;
}

static bool has_type(const struct rig *r, int32_t type)
{
    for (uint32_t i = 0; i < r->program.n_weights; i++)
        if (r->weights[i].type == type)
            return true;
    return false;
}

/* Has it weights that the kernels do not know? */
static bool has_decoded(const struct rig *r)
{
    static const int32_t known[] = {
#define NUMBER(name, number) number,
        CU_TYPES(NUMBER)
#undef NUMBER
    };
    for (uint32_t i = 0; i < r->program.n_weights; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            found |= r->weights[i].type == known[k];
        if (!found)
            return true;
    }
    return false;
}

static void check_near(const float *truth, const float *got, size_t n, double slack, const char *what,
                       const char *how, uint32_t step)
{
    double square = 1e-30;
    for (size_t i = 0; i < n; i++)
        square += (double)truth[i] * (double)truth[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)truth[i] - (double)got[i]) <= slack * (sqrt(square) + fabs((double)truth[i]))))
            rz_fail_test("%s, %s, step %u: value %zu is %.9g, reference %.9g (rms %.3g)", what, how, step, i,
                         (double)got[i], (double)truth[i], sqrt(square));
}

static double fast_slack(const struct rig *r, const struct device_options *o)
{
    return has_type(r, RZ_TYPE_BF16) || o->kv_type == RZ_TYPE_BF16 ? 8 * FAST_SLACK : FAST_SLACK;
}

/* A plan of the same steps, a row at a time, has the same bits. */
static void check_alone(enum cuda_products products, const struct rig *r, const struct device_step *steps,
                        uint32_t n, const struct device_options *o, float *const *whole, const char *what)
{
    uint64_t width = width_of(r);
    float *row = must_alloc(width * sizeof *row);
    struct device_plan p;
    device_open(&p, cuda_device(products), r, o);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0, left[RIG_SEQS];
        memcpy(left, steps[i].n, sizeof left);
        for (bool more = true; more;) { /* in the order of fill_rows */
            more = false;
            for (uint32_t s = 0; s < RIG_SEQS; s++)
                for (uint32_t run = 0; run < 5 && left[s]; run++, left[s]--, more = true) {
                    struct device_step one = {{0}};
                    one.n[s] = 1;
                    device_run(&p, &one, row);
                    if (memcmp(row, whole[i] + at++ * width, width * sizeof *row))
                        rz_fail_test("%s: row %u of step %u has other bits alone", what, at - 1, i);
                }
        }
    }
    device_plan_close(&p);
    free(row);
}

void compare_steps(const struct rig *r, const struct device_step *steps, uint32_t n,
                   const struct device_options *o, const char *what)
{
    uint64_t width = width_of(r);
    double fast = fast_slack(r, o);
    struct device_plan truth, plans[2];
    float *want = must_alloc(RIG_ROWS * width * sizeof *want), *got[64];
    struct device_options with_f32 = {.kv_type = RZ_TYPE_F32, .all = o->all};
    device_open(&truth, device_reference(), o->truth ? o->truth : r, o->truth ? &with_f32 : o);
    for (int exact = 0; exact < 2; exact++)
        device_open(&plans[exact], cuda_device(exact ? CUDA_EXACT : CUDA_FAST), r, o);
    rz_check(n <= 64);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rows = device_run(&truth, &steps[i], want);
        got[i] = must_alloc(rows * width * sizeof *got[i]);
        rz_check_eq(device_run(&plans[0], &steps[i], got[i]), rows);
        check_near(want, got[i], rows * width, fast, what, "fast", i);
        device_run(&plans[1], &steps[i], got[i]);
        check_near(want, got[i], rows * width, has_decoded(r) ? DECODED_SLACK : EXACT_SLACK, what, "exact",
                   i);
    }
    device_plan_close(&truth);
    device_plan_close(&plans[0]);
    device_plan_close(&plans[1]);
    if (!o->all)
        check_alone(CUDA_EXACT, r, steps, n, o, got, what);
    for (uint32_t i = 0; i < n; i++)
        free(got[i]);
    free(want);
}

void compare_rows(const struct rig *r, const char *what)
{
    struct device_step steps[] = {{{1}},          {{1}}, {{1}},    {{1, 1}}, {{2, 1}}, {{1, 1, 1, 1}}, {{5}},
                                  {{0, 3, 0, 3}}, {{7}}, {{0, 8}}, {{4, 5}}, {{33}},   {{20, 25, 25}}};
    compare_steps(r, steps, sizeof steps / sizeof steps[0], &(struct device_options){.kv_type = RZ_TYPE_F32},
                  what);
}

void compare_bytes(const struct rig *r, double slack, const char *what)
{
    static const struct device_step steps[] = {{{1}},          {{1}},     {{1}},          {{1, 1}}, {{2, 1}},
                                               {{1, 1, 1, 1}}, {{5}},     {{0, 3, 0, 3}}, {{3, 4}}, {{8}},
                                               {{4, 5}},       {{0, 17}}, {{20, 25, 19}}, {{70}}};
    enum {
        STEPS = sizeof steps / sizeof steps[0]
    };
    struct device_options o = {.kv_type = RZ_TYPE_F32};
    struct device_plan truth, plans[2];
    uint64_t width = width_of(r);
    float *want = must_alloc(RIG_ROWS * width * sizeof *want), *got[STEPS];
    float *fast = must_alloc(RIG_ROWS * width * sizeof *fast);
    device_open(&truth, device_reference(), r, &o);
    device_open(&plans[0], cuda_device(CUDA_BYTES), r, &o);
    device_open(&plans[1], cuda_device(CUDA_FAST_BYTES), r, &o);
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t rows = device_run(&truth, &steps[i], want);
        got[i] = must_alloc(rows * width * sizeof *got[i]);
        rz_check_eq(device_run(&plans[0], &steps[i], got[i]), rows);
        check_near(want, got[i], rows * width, slack, what, "integers", i);
        device_run(&plans[1], &steps[i], fast);
        check_near(want, fast, rows * width, slack, what, "fast integers", i);
    }
    device_plan_close(&truth);
    device_plan_close(&plans[0]);
    device_plan_close(&plans[1]);
    check_alone(CUDA_BYTES, r, steps, STEPS, &o, got, what);
    for (uint32_t i = 0; i < STEPS; i++)
        free(got[i]);
    free(fast);
    free(want);
}

void compare_library(const struct rig *r, const char *what)
{
    static const struct device_step steps[] = {{{9}}, {{9}}, {{9}}, {{30, 10}}, {{130}}};
    struct device_options o = {.kv_type = RZ_TYPE_F32};
    struct device_plan truth, plan;
    float *want = must_alloc(RIG_ROWS * width_of(r) * sizeof *want);
    float *got = must_alloc(RIG_ROWS * width_of(r) * sizeof *got);
    device_open(&truth, device_reference(), r, &o);
    device_open(&plan, cuda_device(CUDA_LIBRARY), r, &o);
    for (uint32_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint32_t rows = device_run(&truth, &steps[i], want);
        rz_check_eq(device_run(&plan, &steps[i], got), rows);
        check_near(want, got, rows * width_of(r), fast_slack(r, &o), what, "library", i);
    }
    device_plan_close(&truth);
    device_plan_close(&plan);
    free(want);
    free(got);
}

void check_top(const float *all, const float *top, uint32_t width, uint32_t k)
{
    uint32_t shown = 0, better;
    for (uint32_t i = 0; i < width; i++) {
        if (isinf(top[i]))
            continue;
        shown++;
        rz_check(top[i] == all[i]);
        better = 0;
        for (uint32_t j = 0; j < width && k <= 64; j++)
            better += all[j] > all[i];
        rz_check(better < k);
    }
    rz_check_eq(shown, k <= 64 ? k : width);
}

/* test_quant.c - every tensor type: its decoder against an independent one, its encoder against bounds, and
 * both against the reference data where there is some.
 *
 * The hashes in quant_blocks.inc come from another implementation (tools/quant_blocks.py).
 */
#include "rz_test.h"

#include "encode.h"
#include "err.h"
#include "fixture.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>

#define TYPE_END 64

/* --- decoders --- */

static const struct {
    int32_t type;
    uint32_t elements;
    uint64_t hash;
    uint8_t bytes[256];
} blocks[] = {
#include "quant_blocks.inc"
};

static uint64_t fnv(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

RZ_TEST(decode, random_blocks_of_every_type)
{
    float out[1024];
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        const struct rz_type_info *t = rz_type_info(blocks[i].type);
        rz_check(blocks[i].elements <= 1024 && blocks[i].elements % t->block == 0);
        t->decode(blocks[i].bytes, out, blocks[i].elements);
        if (fnv(out, blocks[i].elements * sizeof *out) != blocks[i].hash)
            rz_fail_test("%s decodes to other values", t->name);
    }
}

RZ_TEST(decode, floats_and_integers)
{
    static const double f64[] = {1.5, -0x1p-140, 1e300};
    static const int8_t i8[] = {-128, 0, 127};
    static const int16_t i16[] = {-32768, 5, 32767};
    static const int32_t i32[] = {INT32_MIN, 16777217, 7};
    static const int64_t i64[] = {INT64_MIN, 1, INT64_MAX};
    static const uint16_t f16[] = {0x3c00, 0x0001, 0xfc00}, bf16[] = {0x3f80, 0x0001, 0xff80};
    static const struct {
        int32_t type;
        const void *src;
        float want[3];
    } cases[] = {
        {RZ_TYPE_F64, f64, {1.5f, -0x1p-140f, INFINITY}}, {RZ_TYPE_I8, i8, {-128, 0, 127}},
        {RZ_TYPE_I16, i16, {-32768, 5, 32767}},           {RZ_TYPE_I32, i32, {-0x1p31f, 16777216, 7}},
        {RZ_TYPE_I64, i64, {-0x1p63f, 1, 0x1p63f}},       {RZ_TYPE_F16, f16, {1, 0x1p-24f, -INFINITY}},
        {RZ_TYPE_BF16, bf16, {1, 0x1p-133f, -INFINITY}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float out[3];
        rz_type_info(cases[i].type)->decode(cases[i].src, out, 3);
        for (int j = 0; j < 3; j++)
            rz_check(out[j] == cases[i].want[j]);
    }
}

RZ_TEST(decode, unknown_types_have_no_size)
{
    static const int32_t absent[] = {-3, -1, 4, 5, 9, 15, 31, 32, 33, 36, 37, 38, 43, 1000};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        rz_check_eq(rz_type_info(absent[i])->block, 0);
        rz_check(!rz_type_bytes(absent[i], 256, &bytes));
        rz_check(!rz_encode_knows(absent[i]));
    }
    rz_check(!rz_type_bytes(RZ_TYPE_IQ1_S, 128, &bytes));
    rz_check(rz_type_bytes(RZ_TYPE_IQ1_S, 512, &bytes));
    rz_check_eq(bytes, 100);
}

/* --- encoders by themselves --- */

/* What to expect of normal values: the error in units of their spread, rounded up. */
static double bound(int32_t type)
{
    static const struct {
        int32_t type;
        double bound;
    } bounds[] = {
        {RZ_TYPE_F32, 0},        {RZ_TYPE_F64, 0},       {RZ_TYPE_F16, 3e-4},     {RZ_TYPE_BF16, 2.5e-3},
        {RZ_TYPE_Q8_0, 0.006},   {RZ_TYPE_Q6_K, 0.02},   {RZ_TYPE_Q5_0, 0.05},    {RZ_TYPE_Q5_1, 0.045},
        {RZ_TYPE_Q5_K, 0.04},    {RZ_TYPE_Q4_0, 0.1},    {RZ_TYPE_Q4_1, 0.09},    {RZ_TYPE_Q4_K, 0.08},
        {RZ_TYPE_IQ4_NL, 0.085}, {RZ_TYPE_IQ4_XS, 0.09}, {RZ_TYPE_MXFP4, 0.13},   {RZ_TYPE_NVFP4, 0.11},
        {RZ_TYPE_Q3_K, 0.17},    {RZ_TYPE_IQ3_S, 0.16},  {RZ_TYPE_IQ3_XXS, 0.2},  {RZ_TYPE_Q2_K, 0.3},
        {RZ_TYPE_IQ2_S, 0.3},    {RZ_TYPE_IQ2_XS, 0.34}, {RZ_TYPE_IQ2_XXS, 0.38}, {RZ_TYPE_IQ1_M, 0.5},
        {RZ_TYPE_IQ1_S, 0.55},   {RZ_TYPE_TQ1_0, 0.9},   {RZ_TYPE_TQ2_0, 0.9},    {RZ_TYPE_Q1_0, 0.65},
        {RZ_TYPE_Q2_0, 0.85},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        if (bounds[i].type == type)
            return bounds[i].bound;
    rz_fail_test("no bound for %s", rz_type_info(type)->name);
    return 0;
}

#define COLS 512

/* Encodes and decodes rows of COLS; imatrix is used where the type needs one or force says so. */
static void round_trip(int32_t type, const float *x, uint32_t rows, const float *imatrix, bool force,
                       float *out)
{
    uint64_t bytes;
    struct rz_err err = RZ_ERR_INIT;
    rz_check(rz_type_bytes(type, (uint64_t)rows * COLS, &bytes));
    void *enc = must_alloc(bytes);
    memset(enc, 0xa5, bytes);
    rz_check_ok(
        rz_encode(type, x, rows, COLS, force || rz_encode_needs_imatrix(type) ? imatrix : NULL, enc, &err),
        &err);
    rz_type_info(type)->decode(enc, out, (uint64_t)rows * COLS);
    free(enc);
}

static double rms(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pow((double)a[i] - (b ? (double)b[i] : 0), 2);
    return sqrt(sum / (double)n);
}

static void uniform_imatrix(float *im)
{
    for (int i = 0; i < COLS; i++)
        im[i] = 1;
}

RZ_TEST(encode, normal_values_of_any_size)
{
    enum {
        ROWS = 4
    };
    static const double stds[] = {1e-3, 0.02, 1, 300};
    float x[ROWS * COLS], out[ROWS * COLS], im[COLS];
    struct rng r = {7};
    uniform_imatrix(im);
    for (size_t s = 0; s < sizeof stds / sizeof stds[0]; s++) {
        for (int i = 0; i < ROWS * COLS; i++)
            x[i] = (float)(stds[s] * rng_normal(&r));
        for (int32_t t = 0; t < TYPE_END; t++) {
            if (!rz_encode_knows(t) || (t == RZ_TYPE_NVFP4 && stds[s] < 0.01))
                continue; /* the scales of NVFP4 reach down to 2^-9 only */
            round_trip(t, x, ROWS, im, false, out);
            double error = rms(x, out, ROWS * COLS) / rms(x, NULL, ROWS * COLS);
            /* the half floats of a block's scale have few bits below 6e-5 */
            double allowed = bound(t) + (stds[s] < 0.01 ? 0.01 : 0);
            if (!(error <= allowed))
                rz_fail_test("%s: error %.4f of the spread %g, at most %.4f", rz_type_info(t)->name, error,
                             stds[s], allowed);
        }
    }
}

RZ_TEST(encode, zeros_stay_zeros)
{
    float x[COLS] = {0}, out[COLS], im[COLS];
    uniform_imatrix(im);
    for (int32_t t = 0; t < TYPE_END; t++)
        for (int force = 0; force < 2 && rz_encode_knows(t); force++) {
            round_trip(t, x, 1, im, force, out);
            for (int i = 0; i < COLS; i++)
                rz_check(out[i] == 0);
        }
}

/* A value by itself arrives where it was, and nowhere else does anything near its size. */
RZ_TEST(encode, each_element_has_its_place)
{
    float x[COLS], out[COLS], im[COLS];
    uniform_imatrix(im);
    for (int32_t t = 0; t < TYPE_END; t++) {
        if (!rz_encode_knows(t) || t == RZ_TYPE_Q1_0)
            continue; /* a bit a sign: there is no zero */
        for (int at = 0; at < COLS; at += 7) {
            memset(x, 0, sizeof x);
            x[at] = at % 2 ? -4 : 4;
            round_trip(t, x, 1, im, at % 3 == 0, out);
            for (int i = 0; i < COLS; i++)
                if (i == at ? fabsf(out[i] - x[i]) > 2.9f : fabsf(out[i]) > 1)
                    rz_fail_test("%s: %g at %d comes back with %g at %d", rz_type_info(t)->name, x[at], at,
                                 out[i], i);
        }
    }
}

RZ_TEST(encode, extremes_are_finite)
{
    float x[COLS], out[COLS], im[COLS];
    struct rng r = {11};
    for (int kind = 0; kind < 5; kind++) {
        for (int i = 0; i < COLS; i++) {
            double v = rng_normal(&r);
            x[i] = (float)(kind == 0   ? 65504 * (v > 0 ? 1 : -1)
                           : kind == 1 ? v * 1e-42
                           : kind == 2 ? v * 1e-7
                           : kind == 3 ? 1 + 1e-6 * v
                                       : (i % 97 ? 1e-5 * v : -6e4));
            im[i] = kind == 3 ? 0 : i % 2 ? 0 : 1e29f;
        }
        for (int32_t t = 0; t < TYPE_END; t++) {
            bool large = kind == 0 || kind == 4;
            if (!rz_encode_knows(t) || (large && t == RZ_TYPE_NVFP4))
                continue;
            for (int force = 0; force < 2; force++) {
                round_trip(t, x, 1, im, force, out);
                for (int i = 0; i < COLS; i++)
                    if (!isfinite(out[i]) || fabsf(out[i]) > 2.5f * 65504)
                        rz_fail_test("%s: %g becomes %g", rz_type_info(t)->name, x[i], out[i]);
            }
        }
    }
}

RZ_TEST(encode, rows_are_encoded_by_themselves)
{
    enum {
        ROWS = 3
    };
    float x[ROWS * COLS], im[COLS];
    struct rng r = {5};
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = (float)rng_normal(&r);
    for (int i = 0; i < COLS; i++)
        im[i] = (float)(1 + i % 5);
    for (int32_t t = 0; t < TYPE_END; t++) {
        if (!rz_encode_knows(t))
            continue;
        uint64_t bytes;
        struct rz_err err = RZ_ERR_INIT;
        rz_check(rz_type_bytes(t, COLS, &bytes));
        uint8_t *all = must_alloc(ROWS * bytes), *one = must_alloc(bytes);
        rz_check_ok(rz_encode(t, x, ROWS, COLS, im, all, &err), &err);
        for (int row = 0; row < ROWS; row++) {
            memset(one, 0x5a, bytes);
            rz_check_ok(rz_encode(t, x + row * COLS, 1, COLS, im, one, &err), &err);
            rz_check_memeq(one, all + (size_t)row * bytes, bytes);
        }
        free(all);
        free(one);
    }
}

/* The columns that matter come out better with an imatrix than without. */
RZ_TEST(encode, imatrix_matters)
{
    static const int32_t types[] = {RZ_TYPE_Q4_0,  RZ_TYPE_Q4_1,   RZ_TYPE_Q2_K,  RZ_TYPE_Q3_K,
                                    RZ_TYPE_Q4_K,  RZ_TYPE_IQ4_NL, RZ_TYPE_IQ2_S, RZ_TYPE_IQ3_XXS,
                                    RZ_TYPE_IQ1_M, RZ_TYPE_IQ4_XS};
    float x[4 * COLS], im[COLS], out[2][4 * COLS];
    struct rng r = {3};
    for (int i = 0; i < 4 * COLS; i++)
        x[i] = (float)rng_normal(&r);
    for (int i = 0; i < COLS; i++)
        im[i] = i % 4 ? 0.01f : 10;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        double error[2] = {0, 0};
        for (int force = 0; force < 2; force++) {
            round_trip(types[t], x, 4, im, force, out[force]);
            for (int i = 0; i < 4 * COLS; i += 4)
                error[force] += pow(out[force][i] - x[i], 2);
        }
        if (!(error[1] < 0.9 * error[0]))
            rz_fail_test("%s: error of the columns that matter %g, without imatrix %g",
                         rz_type_info(types[t])->name, error[1], error[0]);
    }
}

/* --- what is refused --- */

static void refused(int32_t type, const float *x, uint64_t rows, uint64_t cols, const float *im, int32_t code,
                    const char *text)
{
    static uint8_t out[8 * COLS * 8];
    struct rz_err err = RZ_ERR_INIT;
    rz_check_eq(rz_encode(type, x, rows, cols, im, out, &err), code);
    rz_check_has(err.message, text);
}

RZ_TEST(encode, refuses_what_it_cannot_hold)
{
    float x[3 * COLS] = {0}, im[COLS];
    uniform_imatrix(im);
    for (int32_t t = 0; t < TYPE_END; t++) {
        if (!rz_encode_knows(t))
            continue;
        x[2 * COLS + 300] = NAN;
        refused(t, x, 3, COLS, im, RZ_EINVAL, "row 2, column 300: the value is NaN");
        x[2 * COLS + 300] = -INFINITY;
        refused(t, x, 3, COLS, im, RZ_EINVAL, "row 2, column 300: the value is infinite");
        x[2 * COLS + 300] = 0;
        if (rz_type_info(t)->block > 1)
            refused(t, x, 1, COLS - 8, im, RZ_EINVAL, "rows of 504 elements are no whole number of blocks");
        if (rz_encode_needs_imatrix(t))
            refused(t, x, 1, COLS, NULL, RZ_EINVAL, "needs an importance matrix");
    }
    x[1] = 65536;
    refused(RZ_TYPE_F16, x, 1, COLS, NULL, RZ_EINVAL, "row 0, column 1: 65536 is beyond what the type holds");
    refused(RZ_TYPE_Q4_K, x, 1, COLS, NULL, RZ_EINVAL, "row 0, column 1: 65536 is beyond");
    refused(RZ_TYPE_NVFP4, x, 1, COLS, NULL, RZ_EINVAL, "(2688)");
    im[5] = -1;
    refused(RZ_TYPE_Q4_K, x, 1, COLS, im, RZ_EINVAL, "importance matrix, column 5: -1 is no weight");
    im[5] = NAN;
    refused(RZ_TYPE_Q4_K, x, 1, COLS, im, RZ_EINVAL, "importance matrix, column 5");
    refused(RZ_TYPE_I8, x, 1, COLS, NULL, RZ_EUNSUPPORTED, "nothing is encoded to type 24");
    refused(9, x, 1, COLS, NULL, RZ_EUNSUPPORTED, "nothing is encoded to type 9");
}

/* --- the reference data --- */

/* A file of the quant folder, or NULL; *n: its bytes. */
static void *reference(const char *name, const char *suffix, size_t *n)
{
    const char *shared = getenv("RZ_SHARED");
    char path[512];
    if (!shared || !*shared)
        rz_skip("no reference data: RZ_SHARED is not set");
    snprintf(path, sizeof path, "%s/data/quant/%s%s", shared, name, suffix);
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    void *data = must_alloc(*n + 1);
    rz_check_eq(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

/* 1 if the pair of files is there; every float must be equal. */
static int decode_pair(const struct rz_type_info *t, const char *suffix)
{
    char name[32];
    size_t n_blocks, n_floats;
    snprintf(name, sizeof name, "%s.blocks", suffix);
    uint8_t *in = reference(t->name, name, &n_blocks);
    snprintf(name, sizeof name, "%s.f32", suffix);
    float *want = in ? reference(t->name, name, &n_floats) : NULL;
    if (!in)
        return 0;
    rz_check(want);
    size_t n = n_blocks / t->bytes * t->block;
    rz_check_eq(n * sizeof(float), n_floats);
    float *got = must_alloc(n_floats);
    t->decode(in, got, n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(got + i, want + i, 4) && !(isnan(got[i]) && isnan(want[i])))
            rz_fail_test("%s%s: element %zu is %.9g, the reference has %.9g", t->name, suffix, i, got[i],
                         want[i]);
    free(in);
    free(want);
    free(got);
    return 1;
}

RZ_TEST(reference, decodes_to_the_same_bits)
{
    static const char *const suffixes[] = {"", ".im", ".rand"};
    int pairs = 0;
    for (int32_t t = 0; t < TYPE_END; t++)
        for (int s = 0; s < 3 && rz_type_info(t)->block; s++)
            pairs += decode_pair(rz_type_info(t), suffixes[s]);
    rz_check_eq(pairs, 76);
}

struct compared {
    size_t differ; /* bytes; -1: there is no such file */
    double ours, theirs;
};

static void compare(int32_t type, const float *src, size_t n, const float *im, struct compared *c)
{
    const struct rz_type_info *t = rz_type_info(type);
    struct rz_err err = RZ_ERR_INIT;
    size_t bytes;
    *c = (struct compared){.differ = (size_t)-1};
    uint8_t *want = reference(t->name, im ? ".im.blocks" : ".blocks", &bytes);
    if (!want)
        return;
    uint8_t *got = must_alloc(bytes);
    float *out = must_alloc(n * sizeof *out);
    rz_check_ok(rz_encode(type, src, n / COLS, COLS, im, got, &err), &err);
    c->differ = 0;
    for (size_t i = 0; i < bytes; i++)
        c->differ += got[i] != want[i];
    t->decode(got, out, n);
    c->ours = rms(out, src, n);
    t->decode(want, out, n);
    c->theirs = rms(out, src, n);
    free(want);
    free(got);
    free(out);
}

static bool needs_no_search(int32_t type)
{
    static const int32_t exact[] = {RZ_TYPE_F16,   RZ_TYPE_BF16, RZ_TYPE_Q4_0,  RZ_TYPE_Q4_1,  RZ_TYPE_Q5_0,
                                    RZ_TYPE_Q5_1,  RZ_TYPE_Q8_0, RZ_TYPE_MXFP4, RZ_TYPE_NVFP4, RZ_TYPE_TQ1_0,
                                    RZ_TYPE_TQ2_0, RZ_TYPE_Q1_0, RZ_TYPE_Q2_0};
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++)
        if (exact[i] == type)
            return true;
    return false;
}

RZ_TEST(reference, encodes_as_well)
{
    size_t n, n_im;
    int seen = 0;
    float *src = reference("src", ".f32", &n), *im = reference("imatrix", ".f32", &n_im);
    rz_check(src && im && n == 8 * COLS * sizeof *src && n_im == COLS * sizeof *im);
    printf("%-8s %10s %10s %6s | %10s %10s %6s\n", "type", "rmse", "reference", "ratio", "imatrix",
           "reference", "ratio");
    for (int32_t t = 0; t < TYPE_END; t++) {
        struct compared plain, weighted;
        if (!rz_encode_knows(t))
            continue;
        compare(t, src, 8 * COLS, NULL, &plain);
        compare(t, src, 8 * COLS, im, &weighted);
        if (plain.differ + 1 == 0 && weighted.differ + 1 == 0)
            continue;
        seen += (plain.theirs > 0) + (weighted.theirs > 0);
        printf("%-8s %10.6g %10.6g %6.4f | %10.6g %10.6g %6.4f%s\n", rz_type_info(t)->name, plain.ours,
               plain.theirs, plain.ours / plain.theirs, weighted.ours, weighted.theirs,
               weighted.ours / weighted.theirs, plain.differ ? "" : " same bytes");
        if (needs_no_search(t))
            rz_check_eq(plain.differ, 0);
        rz_check(plain.ours <= 1.02 * plain.theirs);
        rz_check(weighted.ours <= 1.02 * weighted.theirs);
    }
    rz_check_eq(seen, 49);
    free(src);
    free(im);
}

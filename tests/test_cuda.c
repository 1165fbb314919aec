/* test_cuda.c - the kernels of the cuda plugin beside the scalar reference: ops along rows and products.
 *
 * RZ_CUDA_PLUGIN names the plugin; without it this is the one over the shim, where a fiber is a thread. On a
 * machine with a GPU: RZ_CUDA_PLUGIN=build/release/plugins/cuda.so. Each program runs three times (as
 * launches, captured, replayed) and with both numerics; invariant: the same bits alone and in company.
 */
#include "rz_test.h"

#include "cuda_cases.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>

static const int32_t types[] = {
    RZ_TYPE_F32,  RZ_TYPE_F16,    RZ_TYPE_BF16,   RZ_TYPE_Q4_0,  RZ_TYPE_Q4_1, RZ_TYPE_Q5_0,
    RZ_TYPE_Q5_1, RZ_TYPE_Q8_0,   RZ_TYPE_Q2_K,   RZ_TYPE_Q3_K,  RZ_TYPE_Q4_K, RZ_TYPE_Q5_K,
    RZ_TYPE_Q6_K, RZ_TYPE_IQ4_NL, RZ_TYPE_IQ4_XS, RZ_TYPE_MXFP4,
};
/* Some of those that are decoded on load. */
static const int32_t rare[] = {RZ_TYPE_IQ2_XXS, RZ_TYPE_IQ3_S, RZ_TYPE_IQ1_S, RZ_TYPE_TQ1_0,
                               RZ_TYPE_NVFP4,   RZ_TYPE_Q1_0,  RZ_TYPE_Q2_0};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A few columns more than a whole number of what kernels take at a time. */
static uint32_t odd_cols(int32_t type, uint32_t about)
{
    uint32_t block = rz_type_info(type)->block;
    return block == 1 ? about + 5 : (about + block - 1) / block * block;
}

/* --- products --- */

static void product(int32_t type, uint32_t cols, uint32_t rows, bool bias)
{
    struct rig r;
    device_begin(&r, 17 + (uint64_t)type * 31 + cols);
    int32_t x = device_input(&r, cols, 1), y = device_value(&r, rows);
    int32_t w = device_weight(&r, type, cols, rows, 0.05), b = device_weight(&r, RZ_TYPE_F32, rows, 1, 1);
    uint32_t n = device_node(&r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, bias ? b : -1));
    if (bias)
        device_attr(&r, n, RZ_A_BIAS, 1, 1);
    device_end(&r, y, false);
    compare_rows(&r, rz_type_info(type)->name);
    device_close(&r);
}

RZ_TEST(cuda, products_of_every_type)
{
    for (size_t i = 0; i < COUNT(types); i++) {
        product(types[i], odd_cols(types[i], 96), 67, true);
        product(types[i], odd_cols(types[i], 512), 13, false);
    }
}

/* --- products with rows of integers --- */

static const int32_t byte_types[] = {RZ_TYPE_Q4_0, RZ_TYPE_Q4_1, RZ_TYPE_Q5_0, RZ_TYPE_Q5_1,
                                     RZ_TYPE_Q8_0, RZ_TYPE_Q4_K, RZ_TYPE_Q5_K, RZ_TYPE_Q6_K};
#define ROUNDING 4e-2 /* what rows of integers may cost, of the size of a result */

static bool has_bytes(int32_t type)
{
    for (size_t i = 0; i < COUNT(byte_types); i++)
        if (byte_types[i] == type)
            return true;
    return false;
}

/* A value that integers of 8 bits hold: each 32 have a power of two and a largest one of 127. */
static int32_t whole_input(struct rig *r, uint32_t width)
{
    int32_t x = device_input(r, width, 1);
    float *table = (float *)(uintptr_t)r->weights[r->program.n_weights - 1].data;
    for (uint64_t i = 0; i < (uint64_t)width * RIG_TOKENS; i++) {
        int whole = i % 32 == i / 32 % 32 ? 127 : (int)fmax(-127, fmin(127, rint(table[i] * 40)));
        table[i] = (float)ldexp(whole, (int)(i / 32 % 5) - 9);
    }
    return x;
}

static void whole_product(int32_t type, uint32_t cols, uint32_t rows)
{
    struct rig r;
    device_begin(&r, 19 + (uint64_t)type * 31 + cols);
    int32_t x = whole_input(&r, cols), y = device_value(&r, rows), z = device_value(&r, rows);
    int32_t w = device_weight(&r, type, cols, rows, 0.05), b = device_weight(&r, RZ_TYPE_F32, rows, 1, 1);
    device_attr(&r, device_node(&r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, b)), RZ_A_BIAS, 1, 1);
    device_node(&r, RZ_OP_ADD, RIG_LIST(y, device_input(&r, rows, 3)), RIG_LIST(z), RIG_NONE);
    device_end(&r, z, false);
    compare_bytes(&r, 2e-5, rz_type_info(type)->name);
    device_close(&r);
}

/* Fewer groups than there are chains, as many and a few, more. */
RZ_TEST(cuda, products_of_integers)
{
    for (size_t i = 0; i < COUNT(byte_types); i++) {
        uint32_t block = rz_type_info(byte_types[i])->block;
        whole_product(byte_types[i], block == 32 ? 96 : 256, 67);
        whole_product(byte_types[i], block == 32 ? 1056 : 1280, 13);
        whole_product(byte_types[i], block == 32 ? 2176 : 2304, 5);
    }
}

/* Of these the library takes all but F32: in steps of 9 rows, or of 128. */
RZ_TEST(cuda, products_by_the_library)
{
    for (size_t i = 0; i < COUNT(types); i++) {
        uint32_t cols = odd_cols(types[i], 256);
        struct rig r;
        device_begin(&r, 170 + (uint64_t)types[i]);
        int32_t x = device_input(&r, cols, 100), y = device_value(&r, 21), z = device_value(&r, 21);
        int32_t w = device_weight(&r, types[i], cols, 21, 0.05), b = device_weight(&r, RZ_TYPE_F32, 21, 1, 1);
        device_attr(&r, device_node(&r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, b)), RZ_A_BIAS, 1,
                    1);
        device_node(&r, RZ_OP_ADD, RIG_LIST(y, device_input(&r, 21, 30)), RIG_LIST(z), RIG_NONE);
        device_end(&r, z, false);
        compare_library(&r, rz_type_info(types[i])->name);
        device_close(&r);
    }
}

RZ_TEST(cuda, products_of_types_that_are_decoded_on_load)
{
    for (size_t i = 0; i < COUNT(rare); i++)
        product(rare[i], odd_cols(rare[i], 256), 9, false);
}

/* norm, three products of its result, one sum behind: all that is done within one launch. */
RZ_TEST(cuda, products_with_norm_and_sum)
{
    static const int32_t some[] = {RZ_TYPE_F32, RZ_TYPE_BF16, RZ_TYPE_Q8_0, RZ_TYPE_Q4_K};
    for (size_t i = 0; i < COUNT(some); i++) {
        struct rig r;
        device_begin(&r, 5 + i);
        int32_t x = device_input(&r, 256, 3), n = device_value(&r, 256), out = device_value(&r, 256);
        int32_t a = device_value(&r, 256), b = device_value(&r, 37), c = device_value(&r, 37),
                d = device_value(&r, 37);
        uint32_t norm = device_node(&r, RZ_OP_RMSNORM, RIG_LIST(x), RIG_LIST(n),
                                    RIG_LIST(device_weight(&r, RZ_TYPE_F32, 256, 1, 1)));
        device_attr(&r, norm, RZ_A_EPS, 0, 1e-5);
        device_node(&r, RZ_OP_MATMUL, RIG_LIST(n), RIG_LIST(b),
                    RIG_LIST(device_weight(&r, some[i], 256, 37, .1), -1));
        device_node(&r, RZ_OP_MATMUL, RIG_LIST(n), RIG_LIST(c),
                    RIG_LIST(device_weight(&r, some[i], 256, 37, .1), -1));
        device_node(&r, RZ_OP_MUL, RIG_LIST(b, c), RIG_LIST(d), RIG_NONE);
        device_node(&r, RZ_OP_MATMUL, RIG_LIST(d), RIG_LIST(a),
                    RIG_LIST(device_weight(&r, RZ_TYPE_F32, 37, 256, .1), -1));
        device_node(&r, RZ_OP_ADD, RIG_LIST(a, x), RIG_LIST(out), RIG_NONE);
        device_end(&r, out, false);
        compare_rows(&r, "norm, products, sum");
        if (has_bytes(some[i]))
            compare_bytes(&r, ROUNDING, "norm, products, sum");
        device_close(&r);
    }
}

static void gated(int32_t type, uint32_t act, double p)
{
    struct rig r;
    device_begin(&r, 77 + act);
    int32_t x = whole_input(&r, 96), g = device_value(&r, 45), u = device_value(&r, 45),
            y = device_value(&r, 45);
    device_node(&r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(g),
                RIG_LIST(device_weight(&r, type, 96, 45, .2), -1));
    device_node(&r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(u),
                RIG_LIST(device_weight(&r, type, 96, 45, .2), -1));
    uint32_t n = device_node(&r, RZ_OP_ACT_MUL, RIG_LIST(g, u), RIG_LIST(y), RIG_NONE);
    device_attr(&r, n, act, 1, p);
    device_end(&r, y, false);
    compare_rows(&r, "gate and up");
    if (has_bytes(type))
        compare_bytes(&r, 2e-5, "gate and up");
    device_close(&r);
}

RZ_TEST(cuda, products_behind_a_gate)
{
    static const uint32_t acts[] = {RZ_A_SILU, RZ_A_GELU, RZ_A_GELU_TANH, RZ_A_RELU2, RZ_A_SWIGLU};
    for (size_t i = 0; i < COUNT(acts); i++) {
        gated(RZ_TYPE_F32, acts[i], 0.7);
        gated(RZ_TYPE_Q4_0, acts[i], 0.7);
    }
}

static void heads(int32_t type, uint32_t n_heads, uint32_t cols, uint32_t rows, uint32_t rest)
{
    struct rig r;
    device_begin(&r, 3 + cols);
    int32_t x = device_input(&r, n_heads * (cols + rest), 1), y = device_value(&r, n_heads * (rows + rest));
    uint32_t n = device_node(&r, RZ_OP_MATMUL_HEADS, RIG_LIST(x), RIG_LIST(y),
                             RIG_LIST(device_weight(&r, type, cols, n_heads * rows, .1)));
    device_attr(&r, n, RZ_A_PARTS, n_heads, 0);
    device_end(&r, y, false);
    compare_rows(&r, "a matrix a head");
    device_close(&r);
}

RZ_TEST(cuda, products_of_heads)
{
    heads(RZ_TYPE_F32, 3, 21, 13, 6);
    heads(RZ_TYPE_F32, 4, 32, 67, 8);
    heads(RZ_TYPE_BF16, 2, 33, 20, 0);
    heads(RZ_TYPE_Q8_0, 3, 64, 35, 16);
    heads(RZ_TYPE_Q8_0, 3, 64, 35, 7); /* parts that begin anywhere */
}

/* --- mixtures --- */

static void mixture(int32_t type, uint32_t experts, uint32_t used, int32_t rule, uint32_t groups, bool bias)
{
    struct rig r;
    device_begin(&r, 40 + experts + (uint64_t)rule);
    int32_t x = device_input(&r, 64, 1), logits = device_input(&r, experts, 2);
    int32_t ids = device_value(&r, used), weights = device_value(&r, used), h = device_value(&r, used * 32);
    int32_t parts = device_value(&r, used * 19), y = device_value(&r, 19), wide = device_value(&r, used * 19);
    int32_t b = device_weight(&r, RZ_TYPE_F32, experts, 1, 0.3);
    uint32_t n =
        device_node(&r, RZ_OP_ROUTE, RIG_LIST(logits), RIG_LIST(ids, weights), RIG_LIST(bias ? b : -1));
    device_attr(&r, n, RZ_A_ROUTE, rule, 0.01);
    if (bias)
        device_attr(&r, n, RZ_A_BIAS, 1, 1);
    if (rule != RZ_ROUTE_SPARSE_MIXER) {
        device_attr(&r, n, RZ_A_RENORM, 0, 1e-20);
        device_attr(&r, n, RZ_A_FACTOR, 0, 2.5);
    }
    if (groups) {
        device_attr(&r, n, RZ_A_EXPERT_GROUPS, groups, groups / 2);
        device_attr(&r, n, RZ_A_GROUP_RANK, 2, 0);
    }
    int32_t up = device_weight(&r, type, 64, experts * 32, .2);
    int32_t down = device_weight(&r, type, 32, experts * 19, .2);
    n = device_node(&r, RZ_OP_MATMUL_ID, RIG_LIST(x, ids), RIG_LIST(h),
                    RIG_LIST(up, device_weight(&r, RZ_TYPE_F32, experts * 32, 1, 1)));
    device_attr(&r, n, RZ_A_BIAS, 1, 1);
    device_node(&r, RZ_OP_MATMUL_ID, RIG_LIST(h, ids), RIG_LIST(parts), RIG_LIST(down, -1));
    device_node(&r, RZ_OP_SUM_ID, RIG_LIST(parts, weights), RIG_LIST(y), RIG_NONE);
    device_node(&r, RZ_OP_SCALE_ID, RIG_LIST(y, weights), RIG_LIST(wide), RIG_NONE);
    device_end(&r, wide, false);
    compare_rows(&r, "a mixture");
    if (has_bytes(type))
        compare_bytes(&r, ROUNDING, "a mixture");
    device_close(&r);
}

RZ_TEST(cuda, mixtures)
{
    mixture(RZ_TYPE_F32, 8, 2, RZ_ROUTE_SOFTMAX, 0, false);
    mixture(RZ_TYPE_Q8_0, 40, 6, RZ_ROUTE_SIGMOID, 8, true);
    mixture(RZ_TYPE_F16, 16, 4, RZ_ROUTE_SOFTMAX_CHOSEN, 0, true);
    mixture(RZ_TYPE_Q4_0, 16, 2, RZ_ROUTE_SPARSE_MIXER, 0, false);
}

/* --- rows --- */

RZ_TEST(cuda, lookups_of_every_type)
{
    for (size_t i = 0; i < COUNT(types) + COUNT(rare); i++) {
        int32_t type = i < COUNT(types) ? types[i] : rare[i - COUNT(types)];
        uint32_t cols = odd_cols(type, 100);
        struct rig r;
        device_begin(&r, 9 + i);
        int32_t x = device_value(&r, cols), y = device_value(&r, cols), z = device_value(&r, cols);
        device_node(&r, RZ_OP_GET_ROWS, RIG_NONE, RIG_LIST(x),
                    RIG_LIST(device_weight(&r, type, cols, RIG_TOKENS, 1)));
        device_node(&r, RZ_OP_ADD_POS, RIG_LIST(x), RIG_LIST(y),
                    RIG_LIST(device_weight(&r, type, cols, RIG_CONTEXT, 1)));
        uint32_t n = device_node(&r, RZ_OP_ADD_ROW, RIG_LIST(y), RIG_LIST(z),
                                 RIG_LIST(device_weight(&r, type, cols, 3, 1)));
        device_attr(&r, n, RZ_A_ROW, 2, 0);
        device_end(&r, z, false);
        compare_rows(&r, rz_type_info(type)->name);
        device_close(&r);
    }
}

static void norm(uint16_t op, uint32_t width, uint32_t parts, uint32_t weight, uint32_t bias)
{
    struct rig r;
    device_begin(&r, width);
    int32_t x = device_input(&r, width, 4), y = device_value(&r, width);
    int32_t w = weight ? device_weight(&r, RZ_TYPE_F32, weight, 1, 1) : -1;
    int32_t b = bias ? device_weight(&r, RZ_TYPE_F32, bias, 1, 1) : -1;
    uint32_t n =
        device_node(&r, op, RIG_LIST(x), RIG_LIST(y), op == RZ_OP_LAYERNORM ? RIG_LIST(w, b) : RIG_LIST(w));
    device_attr(&r, n, RZ_A_EPS, 0, 1e-5);
    if (parts)
        device_attr(&r, n, RZ_A_PARTS, parts, 0);
    device_end(&r, y, false);
    compare_rows(&r, "a norm");
    device_close(&r);
}

RZ_TEST(cuda, norms)
{
    norm(RZ_OP_RMSNORM, 577, 0, 577, 0);
    norm(RZ_OP_RMSNORM, 96, 4, 24, 0);
    norm(RZ_OP_RMSNORM, 96, 3, 0, 0);
    norm(RZ_OP_LAYERNORM, 131, 0, 131, 131);
    norm(RZ_OP_LAYERNORM, 90, 6, 90, 0);
}

static void two(uint16_t op, uint32_t gate_width)
{
    struct rig r;
    device_begin(&r, op);
    int32_t a = device_input(&r, gate_width, 1), b = device_input(&r, 333, 1), y = device_value(&r, 333);
    device_node(&r, op, RIG_LIST(a, b), RIG_LIST(y), RIG_NONE);
    device_end(&r, y, false);
    compare_rows(&r, "two values");
    device_close(&r);
}

RZ_TEST(cuda, elements_of_two)
{
    two(RZ_OP_ADD, 333);
    two(RZ_OP_MUL, 333);
    two(RZ_OP_GATE, 333);
    two(RZ_OP_GATE, 1);
}

static void one(uint16_t op, const uint32_t *ids, const struct rz_attr *attrs, uint32_t n_attrs)
{
    struct rig r;
    device_begin(&r, op + n_attrs);
    int32_t x = device_input(&r, 301, 3), y = device_value(&r, op == RZ_OP_COLUMNS ? 77 : 301);
    uint32_t n = device_node(&r, op, RIG_LIST(x), RIG_LIST(y), RIG_NONE);
    for (uint32_t i = 0; i < n_attrs; i++)
        device_attr(&r, n, ids[i], attrs[i].i, attrs[i].f);
    device_end(&r, y, false);
    compare_rows(&r, "one value");
    device_close(&r);
}

RZ_TEST(cuda, elements_of_one)
{
    static const uint32_t acts[] = {RZ_A_SILU, RZ_A_GELU, RZ_A_GELU_TANH, RZ_A_RELU2};
    static const uint32_t xielu[] = {RZ_A_XIELU_P, RZ_A_XIELU_N, RZ_A_XIELU_BETA, RZ_A_EPS};
    static const uint32_t maps[] = {RZ_A_FACTOR, RZ_A_SOFTCAP, RZ_A_CLAMP, RZ_A_TEMPERATURE};
    for (size_t i = 0; i < COUNT(acts); i++)
        one(RZ_OP_ACT, &acts[i], &(struct rz_attr){1, 1}, 1);
    one(RZ_OP_ACT, xielu, (struct rz_attr[]){{0, .8}, {0, .7}, {0, .5}, {0, -1e-6}}, 4);
    for (uint32_t n = 1; n <= 4; n++)
        one(RZ_OP_MAP, maps, (struct rz_attr[]){{0, 2.5}, {0, 5}, {0, 3}, {4, .1}}, n);
    one(RZ_OP_COLUMNS, &(uint32_t){RZ_A_COLUMN}, &(struct rz_attr){111, 0}, 1);
}

/* --- results --- */

RZ_TEST(cuda, best_of_a_row)
{
    struct rig r;
    device_begin(&r, 6);
    enum {
        WIDTH = 5003
    };
    device_end(&r, device_input(&r, WIDTH, 1), true);
    float *all = must_alloc(8 * WIDTH * sizeof *all), *top = must_alloc(8 * WIDTH * sizeof *top);
    for (uint32_t k = 1; k < 70; k += k < 8 ? 3 : 30) {
        struct device_plan a, b;
        struct device_step step = {{3, 1, 2}};
        device_open(&a, device_reference(), &r, &(struct device_options){.max_rows = 8});
        device_open(&b, cuda_device(CUDA_FAST), &r, &(struct device_options){.max_rows = 8, .k = k});
        for (int time = 0; time < 4; time++) {
            uint32_t n = device_run(&a, &step, all);
            rz_check_eq(device_run(&b, &step, top), n);
            for (uint32_t row = 0; row < n; row++)
                check_top(all + row * WIDTH, top + row * WIDTH, WIDTH, k);
        }
        device_plan_close(&a);
        device_plan_close(&b);
    }
    free(all);
    free(top);
    device_close(&r);
}

/* test_wide.c - one program over the width of several devices: near to what one gives, the same bits in any
 * steps; who gets which heads; pages out and in again; pieces of weights.
 */
#include "device_rig.h"
#include "mixed.h"
#include "rz_test.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH 96
#define DIM 16
#define HIDDEN 160
#define VOCAB 50

static int32_t product(struct rig *r, int32_t x, uint64_t width, int32_t type)
{
    int32_t y = device_value(r, width), w = device_weight(r, type, r->values[x].width, width, 0.1);
    device_node(r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, -1));
    return y;
}

static int32_t two(struct rig *r, uint16_t op, int32_t a, int32_t b)
{
    int32_t y = device_value(r, r->values[a].width);
    uint32_t node = device_node(r, op, RIG_LIST(a, b), RIG_LIST(y), RIG_NONE);
    if (op == RZ_OP_ACT_MUL)
        device_attr(r, node, RZ_A_SILU, 1, 1);
    return y;
}

static void kv_attrs(struct rig *r, uint32_t node, int64_t keys)
{
    device_attr(r, node, RZ_A_N_KV_HEAD, keys, 0);
    device_attr(r, node, RZ_A_HEAD_DIM, DIM, 0);
    device_attr(r, node, RZ_A_KV_GROUP, 0, 0);
    device_attr(r, node, RZ_A_KV_LAYER, 0, 0);
}

/* A layer and a head of the vocabulary. */
static void make(struct rig *r, uint32_t heads, uint32_t keys, int32_t type, uint64_t seed)
{
    device_begin(r, seed);
    r->groups[0] = (struct rz_kv_group){
        .size = sizeof r->groups[0], .n_layers = 1, .n_heads = keys, .k_dim = DIM, .v_dim = DIM};
    r->program.n_kv_groups = 1;
    int32_t x = device_input(r, WIDTH, 1), q = product(r, x, heads * DIM, type);
    int32_t k = product(r, x, keys * DIM, type), v = product(r, x, keys * DIM, type);
    int32_t y = device_value(r, heads * DIM);
    uint32_t node = device_node(r, RZ_OP_KV_STORE, RIG_LIST(k, v), RIG_NONE, RIG_NONE);
    kv_attrs(r, node, keys);
    node = device_node(r, RZ_OP_ATTENTION, RIG_LIST(q), RIG_LIST(y), RIG_NONE);
    kv_attrs(r, node, keys);
    device_attr(r, node, RZ_A_N_HEAD, heads, 0);
    device_attr(r, node, RZ_A_SCALE, 0, 0.25);
    x = two(r, RZ_OP_ADD, x, product(r, y, WIDTH, type));
    int32_t gate = product(r, x, HIDDEN, type), up = product(r, x, HIDDEN, type);
    x = two(r, RZ_OP_ADD, product(r, two(r, RZ_OP_ACT_MUL, gate, up), WIDTH, type), x);
    device_end(r, product(r, x, VOCAB, type), true);
}

static const struct device_options options = {.kv_type = RZ_TYPE_F32, .max_rows = 64};

static struct rz_mixed *wide(const struct rig *r, uint32_t n)
{
    const struct rz_device *devices[RZ_MIXED_MAX];
    const uint16_t places[RZ_MIXED_MAX] = {(uint16_t)((1u << n) - 1)};
    uint8_t of[RIG_NODES] = {0};
    for (uint32_t i = 0; i < RZ_MIXED_MAX; i++)
        devices[i] = device_reference();
    struct rz_mixed_setup setup = {.program = &r->program, .devices = devices, .of = of, .places = places};
    struct rz_err err = {.size = sizeof err};
    struct rz_mixed *m = NULL;
    rz_check_ok(rz_mixed_new(&setup, &m, &err), &err);
    return m;
}

static uint32_t run(const struct rz_device *d, const struct rig *r, const struct device_step *steps,
                    uint32_t n, float *out)
{
    struct device_plan p;
    uint32_t rows = 0;
    device_open(&p, d, r, &options);
    for (uint32_t i = 0; i < n; i++)
        rows += device_run(&p, &steps[i], out + (uint64_t)rows * VOCAB);
    device_plan_close(&p);
    return rows;
}

RZ_TEST(wide, is_near_one_device_and_invariant)
{
    static const uint32_t shapes[][4] = {
        {6, 6, RZ_TYPE_F32, 2},  {6, 3, RZ_TYPE_F32, 2}, {6, 2, RZ_TYPE_F32, 3},  {4, 1, RZ_TYPE_F32, 3},
        {6, 3, RZ_TYPE_Q8_0, 2}, {2, 1, RZ_TYPE_F32, 5}, {12, 3, RZ_TYPE_Q8_0, 4}};
    static const struct device_step once[] = {{{24}}}, parts[] = {{{5}}, {{1}}, {{17}}, {{1}}};
    float *want = must_alloc(64 * VOCAB * sizeof *want), *got = must_alloc(64 * VOCAB * sizeof *got);
    float *some = must_alloc(64 * VOCAB * sizeof *some);
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct rig r;
        make(&r, shapes[i][0], shapes[i][1], (int32_t)shapes[i][2], i + 3);
        struct rz_mixed *m = wide(&r, shapes[i][3]);
        uint32_t rows = run(device_reference(), &r, once, 1, want);
        rz_check_eq(run(rz_mixed_device(m), &r, once, 1, got), rows);
        float most = 0;
        for (uint32_t k = 0; k < rows * VOCAB; k++)
            most = fmaxf(most, fabsf(want[k] - got[k]));
        if (!(most < 1e-4F))
            rz_fail_test("%u heads, %u of keys, %u devices: %g", shapes[i][0], shapes[i][1], shapes[i][3],
                         (double)most);
        rz_check_eq(run(rz_mixed_device(m), &r, parts, sizeof parts / sizeof *parts, some), rows);
        rz_check(!memcmp(some, got, (size_t)rows * VOCAB * sizeof *got));
        rz_mixed_free(m);
        device_close(&r);
    }
    free(want);
    free(got);
    free(some);
}

static void check_told(uint32_t heads, uint32_t keys, uint32_t n, const char *line)
{
    struct rig r;
    make(&r, heads, keys, RZ_TYPE_F32, 5);
    struct rz_mixed *m = wide(&r, n);
    if (!strstr(rz_mixed_told(m), line))
        rz_fail_test("%u heads, %u of keys, %u devices: %s", heads, keys, n, rz_mixed_told(m));
    rz_mixed_free(m);
    device_close(&r);
}

RZ_TEST(wide, shares_of_heads)
{
    check_told(6, 6, 2, "attention: 3+3 of 6 heads, 3+3 of keys");
    check_told(6, 3, 2, "attention: 2+4 of 6 heads, 1+2 of keys");
    check_told(6, 2, 3, "attention: 3+1+2 of 6 heads, 1+1+1 of keys");
    check_told(4, 1, 3, "attention: 1+1+2 of 4 heads, 1+1+1 of keys");
    check_told(2, 1, 4, "attention: 0+1+0+1 of 2 heads, 0+1+0+1 of keys");
    check_told(6, 3, 2, "columns: 64+96 of");
}

RZ_TEST(wide, pages_go_out_and_come_back)
{
    struct rig r;
    struct device_plan a, b;
    float want[VOCAB], got[VOCAB], *prompt = must_alloc(64 * VOCAB * sizeof *prompt);
    make(&r, 6, 3, RZ_TYPE_F32, 11);
    struct rz_mixed *m = wide(&r, 2);
    const struct rz_device *d = rz_mixed_device(m);
    device_open(&a, d, &r, &options);
    device_open(&b, d, &r, &options);
    device_run(&a, &(struct device_step){{13}}, prompt);
    device_hand_over(&a, &b, 0);
    b.length[0] = 13;
    device_run(&a, &(struct device_step){{1}}, want);
    device_run(&b, &(struct device_step){{1}}, got);
    rz_check(!memcmp(want, got, sizeof got));
    device_plan_close(&a);
    device_plan_close(&b);
    rz_mixed_free(m);
    free(prompt);
    device_close(&r);
}

/* --- a weight in pieces --- */

RZ_TEST(wide, pieces_are_gathered_while_somebody_reads_them)
{
    float data[4][6], bias[8];
    struct rz_wide w = {0};
    struct rz_err err = {.size = sizeof err};
    struct rz_weight pieces[3] = {{0}}, from = {.size = sizeof from,
                                                .type = RZ_TYPE_F32,
                                                .cols = 6,
                                                .rows = 4,
                                                .bytes = sizeof data,
                                                .data = data,
                                                .name = {"w", 1}};
    struct rz_weight vector = {
        .size = sizeof vector, .cols = 8, .rows = 1, .bytes = sizeof bias, .data = bias, .name = {"b", 1}};
    for (uint32_t i = 0; i < 24; i++)
        data[i / 6][i % 6] = (float)i;
    for (uint32_t i = 0; i < 8; i++)
        bias[i] = (float)i;
    rz_arena_init(&w.arena, 0);
    rz_check(rz_wide_weights_init(&w.weights, &w.arena));
    struct rz_wide_piece rows = {1, 1, 2, 0, 6}, block = {2, 1, 1, 2, 3}, part = {2, 0, 1, 1, 2};
    rz_check_ok(rz_wide_weights_piece(&w.weights, &from, &rows, 0, pieces, 0, &err), &err);
    rz_check_ok(rz_wide_weights_piece(&w.weights, &from, &block, 1, pieces, 1, &err), &err);
    rz_check_ok(rz_wide_weights_piece(&w.weights, &vector, &part, 1, pieces, 2, &err), &err);
    rz_check_ok(rz_wide_weights_take(&w.weights, pieces, &err), &err);
    rz_check(pieces[0].data == data[1]);
    rz_check_eq(pieces[1].rows, 2);
    rz_check_eq(pieces[1].cols, 3);
    for (uint32_t round = 0; round < 2; round++) {
        const float *got = pieces[1].data, *b = pieces[2].data;
        rz_wide_enter(&w, 1);
        rz_check(got[0] == 8 && got[2] == 10 && got[3] == 20 && got[5] == 22);
        rz_check(b[0] == 1 && b[1] == 2 && b[2] == 5 && b[3] == 6);
        rz_wide_leave(&w, 1);
        rz_check(got[5] == 0);
    }
    rz_wide_deinit(&w);
}

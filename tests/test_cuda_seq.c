/* test_cuda_seq.c - the kernels of the cuda plugin beside the scalar reference: ops that know sequences. */
#include "rz_test.h"

#include "cuda_cases.h"

#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Steps over two parts of the keys: a prompt in pieces beside others, then single rows. */
static const struct device_step long_steps[] = {
    {{250, 9}}, {{30, 0, 5}}, {{1, 1, 1}}, {{1, 1, 1}}, {{1, 1, 1}}, {{40, 1}}, {{3, 2}},
};
static const struct device_step short_steps[] = {
    {{7, 5, 19}}, {{1, 1, 1}}, {{1, 1, 1}}, {{2, 0, 20}}, {{1, 1, 1}}};

struct attention {
    uint32_t heads, kv_heads, k_dim, v_dim;
    int32_t kv_type;
    bool latent, sinks, both, lengthy;
    uint32_t n_attrs;
    uint32_t ids[4];
    struct rz_attr attrs[4];
};

static void set_kv(struct rig *r, uint32_t node, const struct attention *a)
{
    device_attr(r, node, RZ_A_N_KV_HEAD, a->kv_heads, 0);
    device_attr(r, node, RZ_A_HEAD_DIM, a->k_dim, 0);
    device_attr(r, node, RZ_A_KV_GROUP, 0, 0);
    device_attr(r, node, RZ_A_KV_LAYER, 1, 0);
    if (a->latent)
        device_attr(r, node, RZ_A_LATENT, a->v_dim, 0);
}

/* The first weights of the program are the tables of q, k and v. */
enum {
    K_TABLE = 1,
    V_TABLE
};

static void build(struct rig *r, const struct attention *a)
{
    device_begin(r, 11 + a->heads + a->k_dim);
    r->groups[0] = (struct rz_kv_group){.size = sizeof r->groups[0],
                                        .kind = a->latent ? RZ_KV_LATENT : RZ_KV_FULL,
                                        .n_layers = 2,
                                        .n_heads = a->kv_heads,
                                        .k_dim = a->k_dim,
                                        .v_dim = a->v_dim};
    r->program.n_kv_groups = 1;
    int32_t q = device_input(r, a->heads * a->k_dim, 1.5);
    int32_t k = device_input(r, a->latent ? a->v_dim : a->kv_heads * a->k_dim, 1);
    int32_t v = device_input(r, a->latent ? a->k_dim - a->v_dim : a->kv_heads * a->v_dim, 1);
    int32_t y = device_value(r, a->heads * a->v_dim);
    set_kv(r, device_node(r, RZ_OP_KV_STORE, RIG_LIST(k, v), RIG_NONE, RIG_NONE), a);
    int32_t sinks = a->sinks ? device_weight(r, RZ_TYPE_F32, a->heads, 1, 1) : -1;
    uint32_t n =
        device_node(r, RZ_OP_ATTENTION, RIG_LIST(q), RIG_LIST(y), a->sinks ? RIG_LIST(sinks) : RIG_NONE);
    set_kv(r, n, a);
    device_attr(r, n, RZ_A_N_HEAD, a->heads, 0);
    device_attr(r, n, RZ_A_SCALE, 0, 1 / sqrt(a->k_dim));
    if (a->sinks)
        device_attr(r, n, RZ_A_SINKS, 1, 1);
    if (a->both)
        device_attr(r, n, RZ_A_BOTH, 1, 1);
    for (uint32_t i = 0; i < a->n_attrs; i++)
        device_attr(r, n, a->ids[i], a->attrs[i].i, a->attrs[i].f);
    device_end(r, y, false);
}

/* --- what a device keeps of keys and values as fp8, found by looking at every number that E4M3 has --- */

static double e4m3(uint32_t code)
{
    uint32_t exponent = code >> 3, part = code & 7;
    return exponent ? ldexp(8 + part, (int)exponent - 10) : ldexp(part, -9);
}

static float nearest_e4m3(double x)
{
    uint32_t best = 0;
    for (uint32_t code = 1; code < 127; code++) {
        double near = fabs(e4m3(code) - fabs(x)), so_far = fabs(e4m3(best) - fabs(x));
        if (near < so_far || (near == so_far && code % 2 == 0))
            best = code;
    }
    return (float)copysign(e4m3(best), x);
}

/* A row of a head that lies in one or two pieces. */
static void round_row(float *a, uint32_t n_a, float *b, uint32_t n_b)
{
    double most = 0, scale = 1;
    for (uint32_t i = 0; i < n_a + n_b; i++)
        most = fmax(most, fabs(i < n_a ? a[i] : b[i - n_a]));
    while (most > 448 * scale)
        scale *= 2;
    while (most > 0 && most <= 224 * scale)
        scale /= 2;
    for (uint32_t i = 0; i < n_a + n_b; i++) {
        float *x = i < n_a ? &a[i] : &b[i - n_a];
        *x = (float)(nearest_e4m3(*x / scale) * scale);
    }
}

/* Every third element lies in the middle between two of E4M3. */
static void make_ties(struct rig *r, uint32_t table)
{
    float *x = (float *)(uintptr_t)r->weights[table].data;
    for (uint64_t i = 0; i < r->weights[table].cols * r->weights[table].rows; i += 3) {
        int power;
        double part = frexp(fabs(x[i]), &power);
        x[i] = (float)copysign(ldexp((int)(part * 32) | 1, power - 5), x[i]);
    }
}

static void round_tables(struct rig *r, const struct attention *a)
{
    float *k = (float *)(uintptr_t)r->weights[K_TABLE].data,
          *v = (float *)(uintptr_t)r->weights[V_TABLE].data;
    for (uint32_t t = 0; t < RIG_TOKENS; t++) {
        if (a->latent)
            round_row(k + t * a->v_dim, a->v_dim, v + t * (a->k_dim - a->v_dim), a->k_dim - a->v_dim);
        for (uint32_t h = 0; h < a->kv_heads && !a->latent; h++) {
            round_row(k + (t * a->kv_heads + h) * a->k_dim, a->k_dim, NULL, 0);
            round_row(v + (t * a->kv_heads + h) * a->v_dim, a->v_dim, NULL, 0);
        }
    }
}

/* The reference has no fp8: it gets what fp8 keeps, as float32. */
static void attention(const struct attention *a, const char *what)
{
    struct rig r, rounded;
    struct device_options o = {.kv_type = a->kv_type, .all = a->both};
    bool fp8 = a->kv_type == RZ_TYPE_F8_E4M3;
    build(&r, a);
    if (fp8) {
        build(&rounded, a);
        for (uint32_t table = K_TABLE; table <= V_TABLE; table++) {
            make_ties(&r, table);
            make_ties(&rounded, table);
        }
        round_tables(&rounded, a);
        o.truth = &rounded;
    }
    if (a->both)
        compare_steps(&r, (struct device_step[]){{{29, 5, 300}}}, 1, &o, what);
    else if (a->lengthy)
        compare_steps(&r, long_steps, COUNT(long_steps), &o, what);
    else
        compare_steps(&r, short_steps, COUNT(short_steps), &o, what);
    device_close(&r);
    if (fp8)
        device_close(&rounded);
}

RZ_TEST(cuda_seq, attention_over_pages)
{
    attention(
        &(struct attention){.heads = 4, .kv_heads = 4, .k_dim = 16, .v_dim = 16, .kv_type = RZ_TYPE_F32},
        "each head its keys");
    attention(
        &(struct attention){.heads = 9, .kv_heads = 3, .k_dim = 24, .v_dim = 24, .kv_type = RZ_TYPE_F16},
        "three heads share keys");
    attention(
        &(struct attention){.heads = 8, .kv_heads = 1, .k_dim = 13, .v_dim = 7, .kv_type = RZ_TYPE_BF16},
        "all heads share keys, odd sizes");
    attention(
        &(struct attention){.heads = 20, .kv_heads = 1, .k_dim = 16, .v_dim = 16, .kv_type = RZ_TYPE_F16},
        "more heads than a block has");
    attention(
        &(struct attention){.heads = 6, .kv_heads = 2, .k_dim = 136, .v_dim = 136, .kv_type = RZ_TYPE_F32},
        "wide heads");
    attention(
        &(struct attention){
            .heads = 4, .kv_heads = 2, .k_dim = 8, .v_dim = 8, .kv_type = RZ_TYPE_F16, .lengthy = true},
        "two parts of keys");
}

RZ_TEST(cuda_seq, attention_of_eight_bits)
{
    attention(
        &(struct attention){
            .heads = 6, .kv_heads = 2, .k_dim = 40, .v_dim = 24, .kv_type = RZ_TYPE_Q8_0, .lengthy = true},
        "q8_0, two parts of keys");
    attention(
        &(struct attention){
            .heads = 5, .kv_heads = 1, .k_dim = 77, .v_dim = 70, .kv_type = RZ_TYPE_Q8_0, .latent = true},
        "q8_0, latents of odd sizes");
    attention(
        &(struct attention){.heads = 2, .kv_heads = 2, .k_dim = 136, .v_dim = 131, .kv_type = RZ_TYPE_Q8_0},
        "q8_0, wide heads");
}

RZ_TEST(cuda_seq, attention_of_fp8)
{
    attention(
        &(struct attention){
            .heads = 6, .kv_heads = 2, .k_dim = 40, .v_dim = 24, .kv_type = RZ_TYPE_F8_E4M3, .lengthy = true},
        "fp8, two parts of keys");
    attention(
        &(struct attention){
            .heads = 5, .kv_heads = 1, .k_dim = 77, .v_dim = 70, .kv_type = RZ_TYPE_F8_E4M3, .latent = true},
        "fp8, latents of odd sizes");
    attention(
        &(struct attention){.heads = 3, .kv_heads = 3, .k_dim = 13, .v_dim = 131, .kv_type = RZ_TYPE_F8_E4M3},
        "fp8, odd and wide heads");
}

RZ_TEST(cuda_seq, attention_with_masks)
{
    attention(&(struct attention){.heads = 4,
                                  .kv_heads = 2,
                                  .k_dim = 16,
                                  .v_dim = 16,
                                  .kv_type = RZ_TYPE_F32,
                                  .n_attrs = 1,
                                  .ids = {RZ_A_WINDOW},
                                  .attrs = {{9, 0}}},
              "a window");
    attention(&(struct attention){.heads = 4,
                                  .kv_heads = 2,
                                  .k_dim = 8,
                                  .v_dim = 8,
                                  .kv_type = RZ_TYPE_F16,
                                  .lengthy = true,
                                  .n_attrs = 2,
                                  .ids = {RZ_A_WINDOW, RZ_A_SOFTCAP},
                                  .attrs = {{20, 0}, {0, 3}}},
              "a window in the second part, soft-cap");
    attention(&(struct attention){.heads = 6,
                                  .kv_heads = 6,
                                  .k_dim = 8,
                                  .v_dim = 8,
                                  .kv_type = RZ_TYPE_F16,
                                  .n_attrs = 1,
                                  .ids = {RZ_A_ALIBI},
                                  .attrs = {{8, 8}}},
              "alibi");
    attention(&(struct attention){.heads = 4,
                                  .kv_heads = 4,
                                  .k_dim = 8,
                                  .v_dim = 8,
                                  .kv_type = RZ_TYPE_F16,
                                  .n_attrs = 1,
                                  .ids = {RZ_A_CHUNK},
                                  .attrs = {{8, 0}}},
              "chunks");
    attention(&(struct attention){.heads = 4,
                                  .kv_heads = 2,
                                  .k_dim = 8,
                                  .v_dim = 8,
                                  .kv_type = RZ_TYPE_F16,
                                  .sinks = true,
                                  .lengthy = true},
              "sinks");
    attention(
        &(struct attention){
            .heads = 4, .kv_heads = 2, .k_dim = 8, .v_dim = 8, .kv_type = RZ_TYPE_F32, .both = true},
        "all rows");
    attention(&(struct attention){.heads = 4,
                                  .kv_heads = 2,
                                  .k_dim = 8,
                                  .v_dim = 8,
                                  .kv_type = RZ_TYPE_F16,
                                  .both = true,
                                  .n_attrs = 1,
                                  .ids = {RZ_A_WINDOW},
                                  .attrs = {{6, 0}}},
              "all rows of a window");
}

RZ_TEST(cuda_seq, attention_of_latents)
{
    attention(
        &(struct attention){
            .heads = 6, .kv_heads = 1, .k_dim = 40, .v_dim = 32, .kv_type = RZ_TYPE_F32, .latent = true},
        "latents");
    attention(&(struct attention){.heads = 20,
                                  .kv_heads = 1,
                                  .k_dim = 44,
                                  .v_dim = 32,
                                  .kv_type = RZ_TYPE_F16,
                                  .latent = true,
                                  .lengthy = true},
              "more latents");
}

/* What the tensor cores attend for: sizes beside those of their tiles. */
RZ_TEST(cuda_seq, attention_of_prompts)
{
    attention(
        &(struct attention){.heads = 2, .kv_heads = 2, .k_dim = 80, .v_dim = 72, .kv_type = RZ_TYPE_F16},
        "two tiles of columns wide");
    attention(
        &(struct attention){.heads = 3, .kv_heads = 1, .k_dim = 144, .v_dim = 136, .kv_type = RZ_TYPE_BF16},
        "wide values");
    attention(
        &(struct attention){
            .heads = 5, .kv_heads = 1, .k_dim = 272, .v_dim = 264, .kv_type = RZ_TYPE_F16, .latent = true},
        "values for two blocks");
    attention(&(struct attention){.heads = 70, .kv_heads = 1, .k_dim = 8, .v_dim = 8, .kv_type = RZ_TYPE_F16},
              "more heads than a tile has");
}

static void rope(uint32_t heads, uint32_t dim, uint32_t rotated, uint32_t offset, bool neox)
{
    struct rig r;
    device_begin(&r, dim + rotated);
    int32_t x = device_input(&r, heads * dim, 1), y = device_value(&r, heads * dim);
    device_rope(&r, 2);
    device_rope(&r, rotated);
    uint32_t n = device_node(&r, RZ_OP_ROPE, RIG_LIST(x), RIG_LIST(y), RIG_NONE);
    device_attr(&r, n, RZ_A_N_HEAD, heads, 0);
    device_attr(&r, n, RZ_A_HEAD_DIM, dim, 0);
    device_attr(&r, n, RZ_A_ROPE, 1, 0);
    if (neox)
        device_attr(&r, n, RZ_A_ROPE_NEOX, 1, 1);
    if (offset)
        device_attr(&r, n, RZ_A_ROPE_OFFSET, offset, 0);
    device_end(&r, y, false);
    compare_rows(&r, "rope");
    device_close(&r);
}

RZ_TEST(cuda_seq, ropes)
{
    rope(3, 16, 16, 0, true);
    rope(3, 16, 16, 0, false);
    rope(5, 20, 8, 0, true);
    rope(5, 20, 8, 12, false);
    rope(1, 26, 10, 3, true);
}

static uint32_t state(struct rig *r, uint64_t floats)
{
    uint32_t i = r->program.n_states++;
    r->states[i] = (struct rz_state){.size = sizeof r->states[i], .floats = floats};
    return i;
}

static void conv(uint32_t width, uint32_t taps, bool bias, bool silu)
{
    struct rig r;
    device_begin(&r, width + taps);
    int32_t x = device_input(&r, width, 1), y = device_value(&r, width);
    int32_t w = device_weight(&r, RZ_TYPE_F32, taps, width, .5),
            b = device_weight(&r, RZ_TYPE_F32, width, 1, 1);
    uint32_t n = device_node(&r, RZ_OP_CONV, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, bias ? b : -1));
    device_attr(&r, n, RZ_A_STATE, state(&r, (taps - 1) * width), 0);
    if (bias)
        device_attr(&r, n, RZ_A_BIAS, 1, 1);
    if (silu)
        device_attr(&r, n, RZ_A_SILU, 1, 1);
    device_end(&r, y, false);
    compare_steps(&r, short_steps, COUNT(short_steps), &(struct device_options){.kv_type = RZ_TYPE_F32},
                  "conv");
    device_close(&r);
}

static void scan(uint32_t heads, uint32_t p_dim, uint32_t n_dim, uint32_t groups, bool apart, uint32_t a_cols)
{
    struct rig r;
    device_begin(&r, heads + n_dim);
    uint32_t inner = heads * p_dim, wide = groups * n_dim;
    int32_t x = device_input(&r, apart ? inner : inner + 2 * wide, 1), dt = device_input(&r, heads, 1);
    int32_t b = apart ? device_input(&r, wide, 1) : -1, c = apart ? device_input(&r, wide, 1) : -1;
    int32_t y = device_value(&r, inner);
    int32_t a = device_weight(&r, RZ_TYPE_F32, a_cols, heads, .5),
            d = device_weight(&r, RZ_TYPE_F32, heads, 1, 1);
    float *as = (float *)(uintptr_t)r.weights[a].data;
    for (uint32_t i = 0; i < a_cols * heads; i++)
        as[i] = -fabsf(as[i]);
    uint32_t n = device_node(&r, RZ_OP_SCAN, apart ? RIG_LIST(x, dt, b, c) : RIG_LIST(x, dt), RIG_LIST(y),
                             RIG_LIST(a, d, device_weight(&r, RZ_TYPE_F32, heads, 1, 1)));
    device_attr(&r, n, RZ_A_STATE, state(&r, inner * n_dim), 0);
    device_attr(&r, n, RZ_A_STATE_GROUPS, groups, 0);
    device_attr(&r, n, RZ_A_N_HEAD, heads, 0);
    device_end(&r, y, false);
    compare_steps(&r, short_steps, COUNT(short_steps), &(struct device_options){.kv_type = RZ_TYPE_F32},
                  "scan");
    device_close(&r);
}

static void delta(uint32_t heads, uint32_t keys, uint32_t k_dim, uint32_t v_dim, bool striped)
{
    struct rig r;
    device_begin(&r, heads + k_dim);
    int32_t x = device_input(&r, 2 * keys * k_dim + heads * v_dim, 1), dt = device_input(&r, heads, 1);
    int32_t b = device_input(&r, heads, 1), y = device_value(&r, heads * v_dim);
    int32_t a = device_weight(&r, RZ_TYPE_F32, heads, 1, .5);
    float *as = (float *)(uintptr_t)r.weights[a].data;
    for (uint32_t i = 0; i < heads; i++)
        as[i] = -fabsf(as[i]);
    uint32_t n = device_node(&r, RZ_OP_DELTA, RIG_LIST(x, dt, b), RIG_LIST(y),
                             RIG_LIST(a, device_weight(&r, RZ_TYPE_F32, heads, 1, 1)));
    device_attr(&r, n, RZ_A_STATE, state(&r, heads * k_dim * v_dim), 0);
    device_attr(&r, n, RZ_A_STATE_GROUPS, keys, 0);
    device_attr(&r, n, RZ_A_N_HEAD, heads, 0);
    device_attr(&r, n, RZ_A_EPS, 0, 1e-6);
    if (striped)
        device_attr(&r, n, RZ_A_STRIPED, 1, 1);
    device_end(&r, y, false);
    compare_steps(&r, short_steps, COUNT(short_steps), &(struct device_options){.kv_type = RZ_TYPE_F32},
                  "delta");
    device_close(&r);
}

RZ_TEST(cuda_seq, states)
{
    conv(45, 4, true, true);
    conv(300, 3, false, false);
    scan(10, 1, 16, 1, true, 16);
    scan(4, 9, 40, 2, false, 1);
    delta(4, 2, 17, 13, false);
    delta(4, 2, 32, 40, true);
}

/* test_mixed.c - one program on several devices: the same bits however its nodes are spread, KV and states
 * included; pages out and in again; a part that fails; and what the settings may say.
 */
#include "device_rig.h"
#include "mixed.h"
#include "rz_test.h"

#include <stdlib.h>

#define WIDTH 64
#define HEADS 4
#define DIM 16
#define EXPERTS 6
#define USED 2
#define DEVICES 3

/* --- a program: attention, a convolution and experts, twice --- */

static void layer_of(struct rig *r, uint32_t first, int32_t layer)
{
    for (uint32_t i = first; i < r->program.n_nodes; i++)
        r->nodes[i].layer = layer;
}

static int32_t product(struct rig *r, int32_t x, uint64_t width)
{
    int32_t y = device_value(r, width), w = device_weight(r, RZ_TYPE_F32, r->values[x].width, width, 0.1);
    device_node(r, RZ_OP_MATMUL, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, -1));
    return y;
}

static void kv_attrs(struct rig *r, uint32_t node, int64_t group, int64_t layer)
{
    device_attr(r, node, RZ_A_N_KV_HEAD, HEADS, 0);
    device_attr(r, node, RZ_A_HEAD_DIM, DIM, 0);
    device_attr(r, node, RZ_A_KV_GROUP, group, 0);
    device_attr(r, node, RZ_A_KV_LAYER, layer, 0);
}

static int32_t attend(struct rig *r, int32_t x, int64_t group, int64_t layer)
{
    int32_t k = product(r, x, WIDTH), v = product(r, x, WIDTH), y = device_value(r, WIDTH);
    uint32_t node = device_node(r, RZ_OP_KV_STORE, RIG_LIST(k, v), RIG_NONE, RIG_NONE);
    kv_attrs(r, node, group, layer);
    node = device_node(r, RZ_OP_ATTENTION, RIG_LIST(x), RIG_LIST(y), RIG_NONE);
    kv_attrs(r, node, group, layer);
    device_attr(r, node, RZ_A_N_HEAD, HEADS, 0);
    device_attr(r, node, RZ_A_SCALE, 0, 0.25);
    if (group)
        device_attr(r, node, RZ_A_WINDOW, 20, 0);
    return y;
}

static int32_t convolve(struct rig *r, int32_t x)
{
    int32_t y = device_value(r, WIDTH), w = device_weight(r, RZ_TYPE_F32, 3, WIDTH, 0.5);
    uint32_t node = device_node(r, RZ_OP_CONV, RIG_LIST(x), RIG_LIST(y), RIG_LIST(w, -1));
    uint32_t s = r->program.n_states++;
    r->states[s] = (struct rz_state){.size = sizeof r->states[s], .floats = 2 * WIDTH};
    device_attr(r, node, RZ_A_STATE, s, 0);
    return y;
}

static int32_t experts(struct rig *r, int32_t x)
{
    int32_t ids = device_value(r, USED), shares = device_value(r, USED),
            parts = device_value(r, USED * WIDTH);
    int32_t y = device_value(r, WIDTH), logits = product(r, x, EXPERTS);
    int32_t w = device_weight(r, RZ_TYPE_F32, WIDTH, (uint64_t)EXPERTS * WIDTH, 0.1);
    uint32_t node = device_node(r, RZ_OP_ROUTE, RIG_LIST(logits), RIG_LIST(ids, shares), RIG_LIST(-1));
    device_attr(r, node, RZ_A_ROUTE, RZ_ROUTE_SOFTMAX, 0);
    device_node(r, RZ_OP_MATMUL_ID, RIG_LIST(x, ids), RIG_LIST(parts), RIG_LIST(w, -1));
    device_node(r, RZ_OP_SUM_ID, RIG_LIST(parts, shares), RIG_LIST(y), RIG_NONE);
    return y;
}

static int32_t add(struct rig *r, int32_t a, int32_t b)
{
    int32_t y = device_value(r, WIDTH);
    device_node(r, RZ_OP_ADD, RIG_LIST(a, b), RIG_LIST(y), RIG_NONE);
    return y;
}

static void make(struct rig *r, uint64_t seed)
{
    device_begin(r, seed);
    for (uint32_t g = 0; g < 2; g++)
        r->groups[g] = (struct rz_kv_group){.size = sizeof r->groups[g],
                                            .kind = g ? RZ_KV_WINDOW : RZ_KV_FULL,
                                            .n_layers = 1,
                                            .n_heads = HEADS,
                                            .k_dim = DIM,
                                            .v_dim = DIM,
                                            .window = g ? 20 : 0};
    r->program.n_kv_groups = 2;
    int32_t x = device_input(r, WIDTH, 1);
    r->nodes[0].layer = -1;
    for (int32_t layer = 0; layer < 2; layer++) {
        uint32_t first = r->program.n_nodes;
        x = add(r, x, attend(r, x, layer, 0));
        x = layer ? experts(r, x) : convolve(r, x);
        layer_of(r, first, layer);
    }
    uint32_t first = r->program.n_nodes;
    device_end(r, product(r, x, 40), true);
    layer_of(r, first, -1);
}

/* --- running it --- */

static uint32_t run_steps(struct device_plan *p, float *out)
{
    static const struct device_step steps[] = {
        {{17, 3, 0, 30}}, {{1, 1, 1, 1, 1}}, {{0, 20, 0, 2, 7}}, {{1, 0, 1}}};
    uint32_t n = 0;
    for (uint32_t i = 0; i < sizeof steps / sizeof *steps; i++)
        n += device_run(p, &steps[i], out + (uint64_t)n * 40);
    return n;
}

static const struct device_options options = {.kv_type = RZ_TYPE_F32, .max_rows = 64};

/* Every node anywhere, but KV where its attention is. */
static void spread(const struct rig *r, struct rng *rng, uint8_t *of)
{
    uint8_t kv[2] = {(uint8_t)(rng_next(rng) % DEVICES), (uint8_t)(rng_next(rng) % DEVICES)};
    for (uint32_t i = 0; i < r->program.n_nodes; i++) {
        const struct rz_node *n = &r->nodes[i];
        of[i] = (uint8_t)(rng_next(rng) % DEVICES);
        if (n->attr_mask & RZ_ATTR(RZ_A_KV_GROUP))
            of[i] = kv[n->attrs[RZ_A_KV_GROUP].i];
    }
}

static struct rz_mixed *mix(const struct rig *r, const uint8_t *of)
{
    const struct rz_device *devices[DEVICES] = {device_reference(), device_reference(), device_reference()};
    struct rz_mixed_setup setup = {.program = &r->program, .devices = devices, .of = of};
    struct rz_err err = {.size = sizeof err};
    struct rz_mixed *m = NULL;
    rz_check_ok(rz_mixed_new(&setup, &m, &err), &err);
    return m;
}

RZ_TEST(mixed, any_spread_has_the_same_bits)
{
    struct rig r;
    struct device_plan p;
    float *want = must_alloc(128 * 40 * sizeof *want), *got = must_alloc(128 * 40 * sizeof *got);
    make(&r, 7);
    device_open(&p, device_reference(), &r, &options);
    uint32_t n = run_steps(&p, want);
    device_plan_close(&p);
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct rng rng = {.state = seed};
        uint8_t of[RIG_NODES];
        spread(&r, &rng, of);
        struct rz_mixed *m = mix(&r, of);
        device_open(&p, rz_mixed_device(m), &r, &options);
        rz_check_eq(run_steps(&p, got), n);
        rz_check(!memcmp(got, want, (size_t)n * 40 * sizeof *got));
        device_plan_close(&p);
        rz_mixed_free(m);
    }
    free(want);
    free(got);
    device_close(&r);
}

/* Layer 0 on one device, the rest on the other. */
static void halves(const struct rig *r, uint8_t *of)
{
    for (uint32_t i = 0; i < r->program.n_nodes; i++)
        of[i] = i && r->nodes[i].layer != 0;
}

RZ_TEST(mixed, pages_and_states_go_out_and_come_back)
{
    struct rig r;
    struct device_plan a, b;
    uint8_t of[RIG_NODES];
    float want[40], got[40];
    make(&r, 11);
    halves(&r, of);
    struct rz_mixed *m = mix(&r, of);
    const struct rz_device *d = rz_mixed_device(m);
    device_open(&a, d, &r, &options);
    device_open(&b, d, &r, &options);
    float *prompt = must_alloc(64 * 40 * sizeof *prompt);
    device_run(&a, &(struct device_step){{13}}, prompt);
    for (uint32_t g = 0; g <= 2; g++)
        device_hand_over(&a, &b, g);
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

RZ_TEST(mixed, the_plan_is_told_as_one)
{
    struct rig r;
    struct device_plan one, two;
    struct rz_plan_info a = {.size = sizeof a}, b = {.size = sizeof b};
    struct rz_plan_part part = {.size = sizeof part};
    uint8_t of[RIG_NODES];
    uint32_t n = 0;
    make(&r, 13);
    halves(&r, of);
    struct rz_mixed *m = mix(&r, of);
    const struct rz_device *d = rz_mixed_device(m);
    device_open(&one, device_reference(), &r, &options);
    device_open(&two, d, &r, &options);
    device_reference()->info(one.plan, &a);
    d->info(two.plan, &b);
    rz_check_eq(a.kv_bytes, b.kv_bytes);
    rz_check_eq(a.state_bytes, b.state_bytes);
    rz_check_eq(a.weight_bytes, b.weight_bytes);
    rz_check_eq(a.flags, b.flags);
    rz_check_eq(a.wants, b.wants);
    for (; d->part(two.plan, n, &part) == RZ_OK; n++) {
        rz_check_eq(part.node, n);
        rz_check_streq(part.device, "cpu");
    }
    rz_check_eq(n, r.program.n_nodes);
    device_plan_close(&one);
    device_plan_close(&two);
    rz_mixed_free(m);
    device_close(&r);
}

/* --- a part that fails --- */

static int32_t fail(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                    struct rz_err *err)
{
    (void)plan, (void)batch, (void)out;
    *err = (struct rz_err){.size = sizeof *err, .code = RZ_EDEVICE, .where = "chip", .message = "burnt"};
    return RZ_EDEVICE;
}

RZ_TEST(mixed, a_failure_names_its_part)
{
    struct rig r;
    struct device_plan p;
    struct rz_err err = {.size = sizeof err};
    struct rz_device bad = *device_reference();
    const struct rz_device *devices[] = {device_reference(), &bad};
    uint8_t of[RIG_NODES];
    struct rz_mixed *m;
    bad.name = "bad";
    bad.execute = fail;
    make(&r, 17);
    halves(&r, of);
    struct rz_mixed_setup setup = {.program = &r.program, .devices = devices, .of = of};
    rz_check_ok(rz_mixed_new(&setup, &m, &err), &err);
    device_open(&p, rz_mixed_device(m), &r, &options);
    int32_t page = 0, clear = 0;
    const int32_t *pages[] = {&page, &page};
    struct rz_batch_row row = {.want = RZ_WANT_LOGITS};
    struct rz_batch_seq seq = {.length = 1, .adapter = -1, .pages = pages};
    struct rz_batch b = {.size = sizeof b,
                         .n_rows = 1,
                         .n_seqs = 1,
                         .rows = &row,
                         .seqs = &seq,
                         .n_clears = 1,
                         .clears = &clear};
    struct rz_result result = {.size = sizeof result};
    rz_check_eq(rz_mixed_device(m)->execute(p.plan, &b, &result, &err), RZ_EDEVICE);
    rz_check_streq(err.where, "bad: chip");
    rz_check_streq(err.message, "burnt");
    device_plan_close(&p);
    rz_mixed_free(m);
    device_close(&r);
}

RZ_TEST(mixed, keys_and_their_attention_stay_together)
{
    struct rig r;
    struct rz_err err = {.size = sizeof err};
    const struct rz_device *devices[] = {device_reference(), device_reference()};
    uint8_t of[RIG_NODES] = {0};
    struct rz_mixed *m;
    make(&r, 19);
    for (uint32_t i = 0; i < r.program.n_nodes; i++)
        of[i] = r.nodes[i].op == RZ_OP_ATTENTION;
    struct rz_mixed_setup setup = {.program = &r.program, .devices = devices, .of = of};
    rz_check_eq(rz_mixed_new(&setup, &m, &err), RZ_ECONFIG);
    rz_check(strstr(err.message, "reads the keys of layer 0"));
    device_close(&r);
}

/* --- settings --- */

static const char *refused(const struct rig *r, const char *layers, const char *expert, struct rz_err *err)
{
    struct rz_placement_text text = {layers, expert, "rz.ini:3", "rz.ini:4"};
    struct rz_placement place;
    *err = (struct rz_err){.size = sizeof *err};
    if (!rz_placement_read(&text, "cpu", &r->program, &place, err)) {
        rz_placement_free(&place);
        return "";
    }
    rz_check_eq(err->code, RZ_ECONFIG);
    return err->message;
}

RZ_TEST(placement, mistakes_have_words)
{
    static const char *const cases[][2] = {
        {"0:a", "layer 1 is on no device"},
        {"1:a", "layer 0 is on no device"},
        {"head:a", "layers 0-1 are on no device"},
        {"0-1:a, 1:b", "layer 1 is on a and on b"},
        {"0-2:a", "the model has layers 0 to 1"},
        {"99999999999999999999:a", "must be like"},
        {"1-0:a", "ends before it begins"},
        {"0-1", "must be like 0-9:cpu"},
        {"0-1:", "lacks a device"},
        {":a", "lacks layers"},
        {"0-1:a,", ""},
        {"0-1:a,,", "must be like"},
        {"0--1:a", "must be like 7"},
        {"0-1:a,embed:a,embed:b", "embed is said twice"},
        {"0-1x:a", "must be like 7"},
    };
    struct rig r;
    struct rz_err err;
    make(&r, 23);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = refused(&r, cases[i][0], NULL, &err);
        if (!strstr(got, cases[i][1]) || (!*cases[i][1] && *got))
            rz_fail_test("\"%s\": \"%s\"", cases[i][0], got);
    }
    device_close(&r);
    device_begin(&r, 1);
    device_end(&r, device_input(&r, WIDTH, 1), true);
    rz_check(strstr(refused(&r, NULL, "a", &err), "no experts"));
    device_close(&r);
}

RZ_TEST(placement, head_embedding_and_experts)
{
    struct rig r;
    struct rz_err err = {.size = sizeof err};
    struct rz_placement_text text = {"0 : a , 1- : b, head:c", "d", "x", "y"};
    struct rz_placement place;
    make(&r, 29);
    rz_check_ok(rz_placement_read(&text, "cpu", &r.program, &place, &err), &err);
    for (uint32_t i = 0; i < r.program.n_nodes; i++) {
        const struct rz_node *n = &r.nodes[i];
        bool expert = n->op == RZ_OP_MATMUL_ID || n->op == RZ_OP_SUM_ID;
        const char *want = expert                       ? "d"
                           : n->layer == 1              ? "b"
                           : n->layer == 0 || !i        ? "a"
                           : n->op == RZ_OP_SELECT_ROWS ? "b"
                                                        : "c";
        if (n->op != RZ_OP_SELECT_ROWS) /* here it comes behind the head */
            rz_check_streq(place.names[place.of[i]], want);
    }
    rz_placement_free(&place);
    device_close(&r);
}

/* --- auto --- */

static uint64_t little;

static int32_t little_memory(void *ctx, struct rz_device_memory *out, struct rz_err *err)
{
    (void)ctx, (void)err;
    out->total = out->free = little;
    out->largest = 0;
    return RZ_OK;
}

static int32_t choose(const struct rig *r, const struct rz_device *const *devices, struct rz_placement *place,
                      struct rz_buf *lines, struct rz_err *err)
{
    struct rz_placement_text none = {0};
    struct rz_auto_setup setup = {.program = &r->program,
                                  .devices = devices,
                                  .limits = {.size = sizeof setup.limits,
                                             .max_rows = 8,
                                             .max_seqs = 1,
                                             .max_context = 64,
                                             .page_tokens = 16,
                                             .kv_type = RZ_TYPE_F32,
                                             .n_slots = 1}};
    *err = (struct rz_err){.size = sizeof *err};
    rz_check_ok(rz_placement_read(&none, NULL, &r->program, place, err), err);
    rz_placement_name(place, "small", 5);
    rz_placement_name(place, "large", 5);
    return rz_placement_choose(&setup, place, lines, err);
}

RZ_TEST(placement, automatic_respects_memory)
{
    struct rig r;
    struct rz_err err;
    struct rz_device small = *device_reference();
    const struct rz_device *devices[] = {&small, device_reference()};
    struct rz_placement place;
    struct rz_buf lines;
    small.memory = little_memory;
    make(&r, 31);
    rz_buf_init(&lines, 65536);
    little = 1;
    rz_check_ok(choose(&r, devices, &place, &lines, &err), &err);
    for (uint32_t i = 0; i < r.program.n_nodes; i++)
        rz_check_streq(place.names[place.of[i]], "large");
    rz_check(strstr(lines.data, "0-1:large"));
    rz_placement_free(&place);
    devices[1] = &small;
    rz_check_eq(choose(&r, devices, &place, &lines, &err), RZ_ENOMEM);
    rz_check(strstr(err.message, "does not fit the devices; small: 0 MiB needed"));
    rz_placement_free(&place);
    /* one layer on each: the second takes what the first has no room for */
    little = 200000;
    rz_check_ok(choose(&r, devices, &place, &lines, &err), &err);
    rz_check(place.of_layer[1] != place.of_layer[2]);
    rz_placement_free(&place);
    rz_buf_free(&lines);
    device_close(&r);
}

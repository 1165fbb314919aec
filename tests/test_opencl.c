/* test_opencl.c - products on the OpenCL device against double precision: every weight type, odd shapes, 1
 * to 9 rows, with the kernels for CPUs and those for GPUs; and the same bits for a row alone and in
 * company.
 *
 * Needs a platform (PoCL will do); without one the tests say so and are skipped. The truth is computed
 * here from weights decoded by core/base/numeric.
 */
#include "rz_test.h"

#include "fixture.h"
#include "numeric.h"

#include <rz/device.h>
#include <rz/plugin.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROWS 9

extern const struct rz_plugin rz_builtin_opencl;

/* --- the plugin, with a host that has nothing --- */

static const void *no_interface(void *ctx, const char *id, uint32_t minor)
{
    (void)ctx, (void)id, (void)minor;
    return NULL;
}

static const struct rz_host host = {.size = sizeof(host), .query = no_interface};

struct rig {
    void *self;
    const struct rz_device *device;
    struct rz_option_value values[4];
    struct rz_config config;
};

static void rig_open(struct rig *rig, const char *kernels)
{
    struct rz_err err = {.size = sizeof(err)};
    *rig = (struct rig){.values = {{0}, {0}, {.text = kernels}, {.text = getenv("RZ_OPENCL_CACHE")}}};
    rig->config = (struct rz_config){sizeof(rig->config), 4, rig->values};
    rz_check_ok(rz_builtin_opencl.init(&host, &rig->config, &rig->self, &err), &err);
    rig->device = rz_builtin_opencl.query(rig->self, RZ_DEVICE_1, 0);
    rz_check(rig->device);
}

static void rig_open_or_skip(struct rig *rig, const char *kernels)
{
    struct rz_err err = {.size = sizeof(err)};
#ifdef RZ_TSAN
    rz_skip("the platform's own threads are not built with this sanitizer");
#endif
    rig_open(rig, kernels);
    if (!rig->device->open(rig->device->ctx, &err))
        return;
    rz_builtin_opencl.fini(rig->self);
    rz_skip("no OpenCL device: %s", err.message);
}

static void rig_close(struct rig *rig)
{
    rz_builtin_opencl.fini(rig->self);
}

/* --- a program: rows of a table, those that are wanted, their product with a matrix --- */

struct product {
    int32_t type;
    uint32_t cols, rows;
    bool bias;
    bool f16; /* the type has no form of its own on the device and lies there as f16 */
};

struct product_data {
    void *w;
    float *decoded, *x, *bias;
    struct rz_weight weights[3];
    struct rz_value values[3];
    struct rz_node nodes[3];
    struct rz_attr attrs[RZ_A_COUNT];
    struct rz_program program;
};

/* in and out values, weights: of get_rows, select_rows, matmul */
static const int32_t refs[] = {0, 0, 0, 1, 1, 2, 1, 2};

static void make_program(const struct product *p, struct product_data *d)
{
    static const char name[] = "w";
    struct rz_str str = {name, 1};
    uint64_t x_bytes = 4ull * p->cols * ROWS;
    *d->attrs = (struct rz_attr){0};
    d->weights[0] =
        (struct rz_weight){sizeof(struct rz_weight), RZ_TYPE_F32, p->cols, ROWS, x_bytes, d->x, str};
    d->weights[1] = (struct rz_weight){sizeof(struct rz_weight),
                                       p->type,
                                       p->cols,
                                       p->rows,
                                       weight_bytes(p->type, (size_t)p->cols * p->rows),
                                       d->w,
                                       str};
    d->weights[2] =
        (struct rz_weight){sizeof(struct rz_weight), RZ_TYPE_F32, p->rows, 1, 4ull * p->rows, d->bias, str};
    for (uint32_t v = 0; v < 3; v++)
        d->values[v] = (struct rz_value){sizeof(struct rz_value), v ? RZ_ROWS_WANTED : RZ_ROWS_ALL,
                                         v == 2 ? p->rows : p->cols, "v"};
    for (uint32_t i = 0; i < 3; i++)
        d->nodes[i] = (struct rz_node){.size = sizeof(struct rz_node),
                                       .level = RZ_LEVEL_PRIMITIVE,
                                       .layer = -1,
                                       .parent = -1,
                                       .end = i + 1,
                                       .attrs = d->attrs};
    d->nodes[0].op = RZ_OP_GET_ROWS;
    d->nodes[0].n_out = d->nodes[0].n_weights = 1;
    d->nodes[1].op = RZ_OP_SELECT_ROWS;
    d->nodes[1].first_in = 2, d->nodes[1].first_out = 3;
    d->nodes[1].n_in = d->nodes[1].n_out = 1;
    d->nodes[2].op = RZ_OP_MATMUL;
    d->nodes[2].first_in = 4, d->nodes[2].first_out = 5, d->nodes[2].first_weight = 6;
    d->nodes[2].n_in = d->nodes[2].n_out = 1;
    d->nodes[2].n_weights = p->bias ? 2 : 1;
    d->nodes[2].attr_mask = p->bias ? RZ_ATTR_BIAS : 0;
    d->program = (struct rz_program){.size = sizeof(d->program),
                                     .n_nodes = 3,
                                     .nodes = d->nodes,
                                     .node_stride = sizeof(struct rz_node),
                                     .n_values = 3,
                                     .values = d->values,
                                     .value_stride = sizeof(struct rz_value),
                                     .n_weights = 3,
                                     .weights = d->weights,
                                     .weight_stride = sizeof(struct rz_weight),
                                     .n_refs = sizeof(refs) / sizeof(refs[0]),
                                     .refs = refs,
                                     .hidden = -1,
                                     .logits = 2};
}

static void product_data(const struct product *p, struct product_data *d, struct rng *r)
{
    size_t n = (size_t)p->cols * p->rows;
    memset(d, 0, sizeof(*d));
    d->w = must_alloc(weight_bytes(p->type, n));
    d->decoded = must_alloc(n * sizeof(*d->decoded));
    weight_random(p->type, d->w, n, 0.5, r);
    rz_type_info(p->type)->decode(d->w, d->decoded, n);
    d->x = random_floats((size_t)p->cols * ROWS, 1, r);
    d->bias = random_floats(p->rows, 1, r);
    make_program(p, d);
}

static void product_free(struct product_data *d)
{
    free(d->w);
    free(d->decoded);
    free(d->x);
    free(d->bias);
}

/* Rows first..first+n-1 of the table through the plan. */
static const float *run_rows(const struct rz_device *device, struct rz_plan *plan, uint32_t first, uint32_t n,
                             uint64_t *stride)
{
    struct rz_err err = {.size = sizeof(err)};
    struct rz_batch_row rows[ROWS];
    struct rz_batch_seq seq = {.length = n, .state_slot = -1, .adapter = -1};
    struct rz_result result = {.size = sizeof(result)};
    for (uint32_t i = 0; i < n; i++)
        rows[i] =
            (struct rz_batch_row){.token = (int32_t)(first + i), .pos = {(int32_t)i}, .want = RZ_WANT_LOGITS};
    struct rz_batch batch = {.size = sizeof(batch), .n_rows = n, .n_seqs = 1, .rows = rows, .seqs = &seq};
    rz_check_ok(device->execute(plan, &batch, &result, &err), &err);
    rz_check_eq(result.n, n);
    *stride = result.logits_stride;
    return result.logits;
}

static void check_row(const struct product *p, const struct product_data *d, uint32_t row, const float *got)
{
    for (uint32_t o = 0; o < p->rows; o++) {
        const float *x = d->x + (size_t)row * p->cols, *w = d->decoded + (size_t)o * p->cols;
        double sum = p->bias ? (double)d->bias[o] : 0, sizes = fabs(sum);
        for (uint32_t i = 0; i < p->cols; i++) {
            sum += (double)w[i] * (double)x[i];
            sizes += fabs((double)w[i] * (double)x[i]);
        }
        double slack = (p->f16 ? 6e-4 : 1e-6) * sizes + 1e-12;
        if (!(fabs((double)got[o] - sum) <= slack))
            rz_fail_test("%s [%u x %u] row %u output %u: %.9g, truth %.9g, slack %.3g",
                         rz_type_info(p->type)->name, p->rows, p->cols, row, o, (double)got[o], sum, slack);
    }
}

static void check_product(const struct rz_device *device, const struct product *p, struct rng *r)
{
    static const uint32_t nodes[] = {0, 1, 2};
    struct rz_plan_limits limits = {.size = sizeof(limits),
                                    .max_rows = ROWS,
                                    .max_wanted = ROWS,
                                    .max_seqs = 1,
                                    .max_context = 64,
                                    .page_tokens = 16,
                                    .n_pages = 4,
                                    .kv_type = RZ_TYPE_F16};
    struct rz_err err = {.size = sizeof(err)};
    struct rz_plan *plan;
    struct product_data d;
    uint64_t stride;
    product_data(p, &d, r);
    rz_check_ok(device->compile(device->ctx, &d.program, nodes, 3, &limits, &plan, &err), &err);
    float *together = must_alloc((size_t)ROWS * p->rows * sizeof(float));
    for (uint32_t n = 1; n <= ROWS; n++) {
        const float *got = run_rows(device, plan, 0, n, &stride);
        for (uint32_t i = 0; i < n; i++)
            check_row(p, &d, i, got + i * stride);
        for (uint32_t i = 0; i < n && n == ROWS; i++)
            memcpy(together + (size_t)i * p->rows, got + i * stride, p->rows * sizeof(float));
    }
    for (uint32_t i = 0; i < ROWS; i++)
        rz_check_memeq(run_rows(device, plan, i, 1, &stride), together + (size_t)i * p->rows,
                       p->rows * sizeof(float));
    free(together);
    device->destroy(plan);
    product_free(&d);
}

static void check_types(const char *kernels)
{
    static const uint32_t rows[] = {1, 40}, odd_cols[] = {1, 37};
    struct rig rig;
    struct rng r = {7};
    rig_open_or_skip(&rig, kernels);
    for (int32_t type = 0; type <= RZ_TYPE_Q2_0; type++) {
        const struct rz_type_info *info = rz_type_info(type);
        for (uint32_t i = 0; i < 2 && info->decode; i++) {
            struct product p = {.type = type, .rows = rows[i], .bias = i};
            p.f16 = type >= RZ_TYPE_IQ2_XXS && type <= RZ_TYPE_IQ1_M && rz_type_info(type)->block == RZ_QKK &&
                    type != RZ_TYPE_IQ4_XS;
            p.cols = info->block == 1 ? odd_cols[i] : info->block * (1 + 2 * i);
            check_product(rig.device, &p, &r);
        }
    }
    rig_close(&rig);
}

RZ_TEST(opencl, products_narrow)
{
    check_types("narrow");
}

RZ_TEST(opencl, products_wide)
{
    check_types("wide");
}

/* --- what it refuses --- */

RZ_TEST(opencl, no_such_device_is_said)
{
    struct rig rig;
    struct rz_err err = {.size = sizeof(err)};
    rig_open_or_skip(&rig, "auto");
    rig_close(&rig);
    rig_open(&rig, "auto");
    rig.values[1].text = "no such device";
    rz_builtin_opencl.fini(rig.self);
    rz_check_ok(rz_builtin_opencl.init(&host, &rig.config, &rig.self, &err), &err);
    rig.device = rz_builtin_opencl.query(rig.self, RZ_DEVICE_1, 0);
    rz_check_eq(rig.device->open(rig.device->ctx, &err), RZ_EDEVICE);
    rz_check_has(err.message, "no such device");
    rig_close(&rig);
}

RZ_TEST(opencl, unknown_attributes_are_refused)
{
    struct rig rig;
    struct product p = {.type = RZ_TYPE_F32, .cols = 8, .rows = 8};
    struct product_data d;
    struct rng r = {3};
    struct rz_plan_limits limits = {.size = sizeof(limits), .kv_type = RZ_TYPE_F16};
    struct rz_claim claim = {.size = sizeof(claim)};
    rig_open(&rig, "auto");
    product_data(&p, &d, &r);
    rz_check_eq(rig.device->claim(rig.device->ctx, &d.program, 2, &limits, &claim, NULL), RZ_OK);
    rz_check_eq(claim.taken, 1);
    d.nodes[2].attr_mask |= 1ull << 63;
    rz_check_eq(rig.device->claim(rig.device->ctx, &d.program, 2, &limits, &claim, NULL), RZ_OK);
    rz_check_eq(claim.taken, 0);
    rz_check_has(claim.why, "attribute");
    product_free(&d);
    rig_close(&rig);
}

/* test_regions.c - regions that a table runs whole, against the same arithmetic in the reference's
 * primitives: every norm, activation, bias and rope that a region can have, odd widths, 1 to 64 rows; and
 * every row has the same bits alone, with other rows, and on other numbers of threads.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 64
#define PAGE 64
#define NONE UINT32_MAX

static const uint32_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, ROWS};
#define N_COUNTS (sizeof counts / sizeof counts[0])

enum before {
    RMS,
    LAYER,
    PLAIN,
    WITHOUT
};

/* --- a scene: rows 0..ROWS-1 of one sequence, one page of KV, one rope --- */

struct scene {
    struct rng r;
    struct rz_batch_row rows[ROWS];
    struct rz_batch_seq seq;
    int32_t page;
    const int32_t *pages;
    const int32_t *const *groups;
    struct rz_kv_view kv;
    struct rz_rope_view rope;
    float *cosine, *sine;
    float *owned[40];
    uint32_t n_owned;
};

static float *floats(struct scene *s, size_t n, double std)
{
    float *x = must_alloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(std * rng_normal(&s->r));
    rz_check(s->n_owned < 40);
    return s->owned[s->n_owned++] = x;
}

static void scene_open(struct scene *s, uint32_t n_kv, uint32_t dim, uint32_t rope_dim, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->r = (struct rng){seed};
    for (uint32_t i = 0; i < ROWS; i++)
        s->rows[i] = (struct rz_batch_row){.pos = {(int32_t)i}};
    s->pages = &s->page;
    s->groups = &s->pages;
    s->seq = (struct rz_batch_seq){.length = ROWS, .state_slot = -1, .adapter = -1, .pages = s->groups};
    s->kv = (struct rz_kv_view){.size = sizeof s->kv,
                                .type = RZ_TYPE_F32,
                                .page_tokens = PAGE,
                                .n_heads = n_kv,
                                .k_dim = dim,
                                .v_dim = dim};
    s->kv.v_offset = (uint64_t)PAGE * dim * 4;
    s->kv.head_bytes = s->kv.layer_bytes = 2 * s->kv.v_offset;
    s->kv.layer_bytes *= n_kv ? n_kv : 1;
    s->kv.page_bytes = s->kv.layer_bytes;
    uint32_t half = rope_dim / 2;
    s->cosine = floats(s, (size_t)ROWS * half, 0);
    s->sine = floats(s, (size_t)ROWS * half, 0);
    for (uint32_t i = 0; i < ROWS * half; i++) {
        s->cosine[i] = (float)cos(i / half * pow(50, -(double)(i % half) / half));
        s->sine[i] = (float)sin(i / half * pow(50, -(double)(i % half) / half));
    }
    s->rope = (struct rz_rope_view){
        .size = sizeof s->rope, .dim = rope_dim, .n_positions = ROWS, .cos = s->cosine, .sin = s->sine};
}

static void scene_close(struct scene *s)
{
    for (uint32_t i = 0; i < s->n_owned; i++)
        free(s->owned[i]);
}

static struct rz_step step_of(const struct scene *s, uint32_t first, uint32_t n)
{
    return (struct rz_step){.size = sizeof(struct rz_step),
                            .n_rows = n,
                            .n_seqs = 1,
                            .rows = s->rows + first,
                            .seqs = &s->seq,
                            .kv = &s->kv,
                            .ropes = &s->rope};
}

/* Runs a case whose attributes and weights are set over rows first..first+n-1. */
static void run(struct scene *s, struct kernel_case *n, uint32_t first, uint32_t rows, uint32_t threads,
                float *const *in, float *out)
{
    struct rz_step step = step_of(s, first, rows);
    kernel_run(n, rows, threads, in, &out, &step);
}

static bool open_case(struct kernel_case *n, uint64_t in0, uint64_t in1, uint64_t out, int32_t kv_type)
{
    uint64_t in[2] = {in0, in1};
    return kernel_open(n, in, in1 ? 2 : 1, &out, out ? 1 : 0, ROWS, kv_type);
}

static void weight(struct kernel_case *n, const float *w, uint64_t cols, uint64_t rows)
{
    if (w)
        kernel_weight(n, RZ_TYPE_F32, cols, rows, w);
    else
        kernel_no_weight(n);
}

/* --- primitives of the reference; each returns rows of its own --- */

static float *finish(struct scene *s, struct kernel_case *n, float *x, float *y, uint64_t in, uint64_t out)
{
    float *result = floats(s, ROWS * out, 0), *operands[2] = {x, y};
    rz_check(open_case(n, in, y ? in : 0, out, -1));
    run(s, n, 0, ROWS, 1, operands, result);
    kernel_close(n);
    return result;
}

static float *ref_norm(struct scene *s, float *x, uint64_t width, bool layer, uint32_t parts, const float *w,
                       uint64_t cols, const float *b)
{
    struct kernel_case n;
    kernel_begin(&n, kernel_table(&rz_builtin_scalar, 0), layer ? RZ_OP_LAYERNORM : RZ_OP_RMSNORM);
    kernel_attr(&n, RZ_A_EPS, 0, 1e-5);
    if (parts > 1)
        kernel_attr(&n, RZ_A_PARTS, parts, 0);
    weight(&n, w, cols, 1);
    weight(&n, b, cols, 1);
    return finish(s, &n, x, NULL, width, width);
}

static float *ref_matmul(struct scene *s, float *x, uint64_t cols, uint64_t rows, const float *w,
                         const float *b)
{
    struct kernel_case n;
    kernel_begin(&n, kernel_table(&rz_builtin_scalar, 0), RZ_OP_MATMUL);
    weight(&n, w, cols, rows);
    weight(&n, b, rows, 1);
    if (b)
        kernel_attr(&n, RZ_A_BIAS, 1, 1);
    return finish(s, &n, x, NULL, cols, rows);
}

static float *ref_simple(struct scene *s, uint16_t op, uint32_t attr, double value, float *x, float *y,
                         uint64_t width)
{
    struct kernel_case n;
    kernel_begin(&n, kernel_table(&rz_builtin_scalar, 0), op);
    if (attr != NONE)
        kernel_attr(&n, attr, 1, value);
    return finish(s, &n, x, y, width, width);
}

static void close_to(const char *what, const float *got, const float *want, size_t n)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabsf(want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5 * scale))
            rz_fail_test("%s: element %zu is %.9g, not %.9g", what, i, (double)got[i], (double)want[i]);
}

/* All counts of rows on several numbers of threads have the bits of all rows together. */
static void same_bits(struct scene *s, struct kernel_case *n, float *const *in, const uint64_t *in_width,
                      const float *whole, uint64_t out)
{
    float *part = floats(s, ROWS * out, 0);
    for (size_t i = 0; i < N_COUNTS; i++) {
        uint32_t first = counts[i] < ROWS ? (uint32_t)i * 3 : 0;
        float *at[2] = {in[0] + first * in_width[0], in[1] ? in[1] + first * in_width[1] : NULL};
        run(s, n, first, counts[i], 1 + (uint32_t)i % 3, at, part);
        rz_check_memeq(part, whole + first * out, counts[i] * out * 4);
    }
}

/* --- norm_qkv --- */

struct qkv {
    uint64_t width;
    uint32_t n_head, n_kv, dim;
    enum before before;
    bool biases, halves;
    uint32_t rope_dim, qk_norm; /* 0: none */
    bool late;
    double clamp;
};

struct qkv_weights {
    float *norm, *norm_bias, *w[3], *b[3], *head_norm[2];
};

static uint64_t heads_of(const struct qkv *c, int i)
{
    return i ? c->n_kv : c->n_head;
}

static void qkv_weights(struct scene *s, const struct qkv *c, struct qkv_weights *w)
{
    memset(w, 0, sizeof *w);
    if (c->before == RMS || c->before == LAYER)
        w->norm = floats(s, c->width, 1);
    if (c->before == LAYER && c->biases)
        w->norm_bias = floats(s, c->width, 1);
    for (int i = 0; i < 3; i++) {
        uint64_t n = heads_of(c, i) * c->dim;
        w->w[i] = floats(s, n * c->width, 0.3);
        w->b[i] = c->biases ? floats(s, n, 1) : NULL;
        if (i < 2 && c->qk_norm)
            w->head_norm[i] = floats(s, c->qk_norm == RZ_QK_NORM_HEAD ? c->dim : n, 1);
    }
}

static uint64_t head_norm_cols(const struct qkv *c, int i)
{
    return c->qk_norm == RZ_QK_NORM_HEAD ? c->dim : heads_of(c, i) * c->dim;
}

static float *ref_head_norm(struct scene *s, const struct qkv *c, const struct qkv_weights *w, int i,
                            float *x)
{
    return ref_norm(s, x, heads_of(c, i) * c->dim, c->qk_norm == RZ_QK_NORM_LAYER,
                    c->qk_norm == RZ_QK_NORM_ROW ? 1 : (uint32_t)heads_of(c, i), w->head_norm[i],
                    head_norm_cols(c, i), NULL);
}

static float *ref_rope(struct scene *s, const struct qkv *c, int i, float *x)
{
    struct kernel_case n;
    uint64_t width = heads_of(c, i) * c->dim;
    kernel_begin(&n, kernel_table(&rz_builtin_scalar, 0), RZ_OP_ROPE);
    kernel_attr(&n, RZ_A_N_HEAD, (int64_t)heads_of(c, i), 0);
    kernel_attr(&n, RZ_A_HEAD_DIM, c->dim, 0);
    kernel_attr(&n, RZ_A_ROPE, 0, 0);
    if (c->halves)
        kernel_attr(&n, RZ_A_ROPE_NEOX, 1, 1);
    return finish(s, &n, x, NULL, width, width);
}

/* q, k or v by primitives. */
static float *ref_part(struct scene *s, const struct qkv *c, const struct qkv_weights *w, float *x, int i)
{
    uint64_t width = heads_of(c, i) * c->dim;
    float *y = ref_matmul(s, x, c->width, width, w->w[i], w->b[i]);
    if (c->clamp > 0)
        y = ref_simple(s, RZ_OP_MAP, RZ_A_CLAMP, c->clamp, y, NULL, width);
    if (i < 2 && c->qk_norm && !c->late)
        y = ref_head_norm(s, c, w, i, y);
    if (i < 2 && c->rope_dim)
        y = ref_rope(s, c, i, y);
    return i < 2 && c->qk_norm && c->late ? ref_head_norm(s, c, w, i, y) : y;
}

static void before_attrs(struct kernel_case *n, enum before before)
{
    kernel_attr(n, RZ_A_EPS, 0, 1e-5);
    if (before == WITHOUT)
        kernel_attr(n, RZ_A_NO_NORM, 1, 1);
    else if (before != RMS)
        kernel_attr(n, RZ_A_LAYER_NORM, 1, 1);
}

static bool qkv_open(const struct rz_kernels *table, const struct qkv *c, const struct qkv_weights *w,
                     struct kernel_case *n)
{
    kernel_begin(n, table, RZ_OP_NORM_QKV);
    before_attrs(n, c->before);
    kernel_attr(n, RZ_A_N_HEAD, c->n_head, 0);
    kernel_attr(n, RZ_A_N_KV_HEAD, c->n_kv, 0);
    kernel_attr(n, RZ_A_HEAD_DIM, c->dim, 0);
    kernel_attr(n, RZ_A_KV_GROUP, 0, 0);
    kernel_attr(n, RZ_A_KV_LAYER, 0, 0);
    if (c->rope_dim)
        kernel_attr(n, RZ_A_ROPE, 0, 0);
    else
        kernel_attr(n, RZ_A_NO_ROPE, 1, 1);
    if (c->halves)
        kernel_attr(n, RZ_A_ROPE_NEOX, 1, 1);
    if (c->qk_norm)
        kernel_attr(n, RZ_A_QK_NORM, c->qk_norm, 0);
    if (c->late)
        kernel_attr(n, RZ_A_QK_NORM_LATE, 1, 1);
    if (c->clamp > 0)
        kernel_attr(n, RZ_A_CLAMP, 0, c->clamp);
    if (c->biases)
        kernel_attr(n, RZ_A_BIAS, 1, 1);
    weight(n, w->norm, c->width, 1);
    for (int i = 0; i < 3; i++)
        weight(n, w->w[i], c->width, heads_of(c, i) * c->dim);
    for (int i = 0; i < 3; i++)
        weight(n, w->b[i], heads_of(c, i) * c->dim, 1);
    weight(n, w->norm_bias, c->width, 1);
    for (int i = 0; i < 2; i++)
        weight(n, w->head_norm[i], head_norm_cols(c, i), 1);
    return open_case(n, c->width, 0, (uint64_t)c->n_head * c->dim, RZ_TYPE_F32);
}

/* What a page holds, as rows [ROWS][n_kv * dim]. */
static void read_page(const struct qkv *c, const struct scene *s, bool keys, float *out)
{
    for (uint32_t h = 0; h < c->n_kv; h++) {
        const float *at = (const float *)(s->kv.base + h * s->kv.head_bytes + (keys ? 0 : s->kv.v_offset));
        for (uint32_t p = 0; p < ROWS; p++)
            for (uint32_t d = 0; d < c->dim; d++)
                out[(p * c->n_kv + h) * c->dim + d] = keys && s->kv.layout == RZ_KV_LAYOUT_T8
                                                          ? at[(p / 8 * c->dim + d) * 8 + p % 8]
                                                          : at[p * c->dim + d];
    }
}

static bool norm_qkv(const struct rz_kernels *table, const struct qkv *c)
{
    struct scene s;
    struct qkv_weights w;
    struct kernel_case n;
    scene_open(&s, c->n_kv, c->dim, c->rope_dim ? c->rope_dim : 2, c->width);
    float *x = floats(&s, ROWS * c->width, 1), *normed = x;
    uint64_t q_width = (uint64_t)c->n_head * c->dim, kv_width = (uint64_t)c->n_kv * c->dim,
             widths[2] = {c->width, 0};
    qkv_weights(&s, c, &w);
    if (c->before != WITHOUT)
        normed = ref_norm(&s, x, c->width, c->before != RMS, 1, w.norm, c->width, w.norm_bias);
    float *want[3];
    for (int i = 0; i < 3; i++)
        want[i] = ref_part(&s, c, &w, normed, i);
    float *q = floats(&s, ROWS * q_width, 0), *stored = floats(&s, ROWS * kv_width, 0),
          *again = floats(&s, ROWS * kv_width, 0), *in[2] = {x, NULL};
    s.kv.base = (uint8_t *)floats(&s, s.kv.page_bytes / 4, 1);
    bool has = qkv_open(table, c, &w, &n);
    if (!has)
        goto done;
    s.kv.layout = n.row->kv_layout;
    run(&s, &n, 0, ROWS, 2, in, q);
    close_to("q", q, want[0], ROWS * q_width);
    for (int keys = 0; keys < 2; keys++) {
        read_page(c, &s, keys, stored);
        close_to(keys ? "k" : "v", stored, want[2 - keys], ROWS * kv_width);
    }
    same_bits(&s, &n, in, widths, q, q_width);
    read_page(c, &s, true, again); /* all these steps stored the keys again */
    rz_check_memeq(again, stored, ROWS * kv_width * 4);
done:
    kernel_close(&n);
    scene_close(&s);
    return has;
}

static const struct rz_kernels *table_of(const struct rz_plugin *plugin)
{
    if (plugin == &rz_builtin_scalar || !kernel_table(plugin, 0))
        rz_skip("no table of this machine runs regions");
    return kernel_table(plugin, 0);
}

/* A table may leave a region to its parts, but the common one has a row for each. */
static void finish_cases(const struct rz_kernels *k, size_t ran, size_t n)
{
    printf("%s: %zu of %zu regions\n", k->name, ran, n);
    rz_check(ran == n || k != kernel_table(&FAST, 0));
}

static void norm_qkv_cases(const struct rz_plugin *plugin)
{
    const struct rz_kernels *k = table_of(plugin);
    size_t ran = 0;
    static const struct qkv cases[] = {
        {64, 4, 2, 16, RMS, false, false, 16, 0, false, 0},
        {60, 6, 1, 6, LAYER, true, true, 4, 0, false, 0},
        {37, 3, 3, 12, PLAIN, false, true, 12, 0, false, 1.5},
        {96, 2, 1, 80, WITHOUT, false, true, 80, RZ_QK_NORM_ROW, false, 0},
        {41, 4, 2, 20, RMS, true, true, 20, RZ_QK_NORM_HEAD, true, 0},
        {52, 5, 5, 10, LAYER, false, false, 6, RZ_QK_NORM_LAYER, false, 0},
        {48, 4, 4, 14, LAYER, true, false, 0, 0, false, 2},
        {24, 2, 2, 128, RMS, false, false, 64, RZ_QK_NORM_HEAD, false, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ran += norm_qkv(k, &cases[i]);
    finish_cases(k, ran, sizeof cases / sizeof cases[0]);
}

RZ_TEST(regions, norm_qkv)
{
    norm_qkv_cases(&FAST);
}

RZ_TEST(regions, widest_norm_qkv)
{
    norm_qkv_cases(&WIDEST);
}

/* --- norm_glu --- */

struct glu {
    uint64_t width, ff;
    enum before before;
    uint32_t act;
    bool gate, biases;
};

static bool norm_glu(const struct rz_kernels *table, const struct glu *c)
{
    struct scene s;
    struct kernel_case n;
    scene_open(&s, 0, 0, 2, c->width);
    float *x = floats(&s, ROWS * c->width, 1), *normed = x, *in[2] = {x, NULL};
    float *norm = c->before == RMS || c->before == LAYER ? floats(&s, c->width, 1) : NULL;
    float *norm_bias = c->before == LAYER && c->biases ? floats(&s, c->width, 1) : NULL;
    float *w[2], *b[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        w[i] = floats(&s, c->width * c->ff, 0.3);
        b[i] = c->biases ? floats(&s, c->ff, 1) : NULL;
    }
    if (c->before != WITHOUT)
        normed = ref_norm(&s, x, c->width, c->before != RMS, 1, norm, c->width, norm_bias);
    float *up = ref_matmul(&s, normed, c->width, c->ff, w[1], b[1]);
    float *want = c->gate ? ref_simple(&s, RZ_OP_ACT_MUL, c->act, 1,
                                       ref_matmul(&s, normed, c->width, c->ff, w[0], b[0]), up, c->ff)
                          : ref_simple(&s, RZ_OP_ACT, c->act, 1, up, NULL, c->ff);
    kernel_begin(&n, table, RZ_OP_NORM_GLU);
    before_attrs(&n, c->before);
    kernel_attr(&n, c->act, 1, 1);
    if (!c->gate)
        kernel_attr(&n, RZ_A_NO_GATE, 1, 1);
    if (c->biases)
        kernel_attr(&n, RZ_A_BIAS, 1, 1);
    weight(&n, norm, c->width, 1);
    weight(&n, c->gate ? w[0] : NULL, c->width, c->ff);
    weight(&n, w[1], c->width, c->ff);
    weight(&n, c->gate ? b[0] : NULL, c->ff, 1);
    weight(&n, b[1], c->ff, 1);
    weight(&n, norm_bias, c->width, 1);
    bool has = open_case(&n, c->width, 0, c->ff, -1);
    float *got = floats(&s, ROWS * c->ff, 0);
    uint64_t widths[2] = {c->width, 0};
    if (!has)
        goto done;
    run(&s, &n, 0, ROWS, 2, in, got);
    close_to("h", got, want, ROWS * c->ff);
    same_bits(&s, &n, in, widths, got, c->ff);
done:
    kernel_close(&n);
    scene_close(&s);
    return has;
}

static void norm_glu_cases(const struct rz_plugin *plugin)
{
    const struct rz_kernels *k = table_of(plugin);
    size_t ran = 0;
    static const struct glu cases[] = {
        {64, 96, RMS, RZ_A_SILU, true, false},    {37, 51, LAYER, RZ_A_GELU_TANH, false, true},
        {40, 13, PLAIN, RZ_A_SILU, true, false},  {33, 80, WITHOUT, RZ_A_GELU, false, false},
        {72, 7, RMS, RZ_A_GELU_TANH, true, true}, {30, 30, LAYER, RZ_A_RELU2, false, false},
        {17, 66, WITHOUT, RZ_A_GELU, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ran += norm_glu(k, &cases[i]);
    finish_cases(k, ran, sizeof cases / sizeof cases[0]);
}

RZ_TEST(regions, norm_glu)
{
    norm_glu_cases(&FAST);
}

RZ_TEST(regions, widest_norm_glu)
{
    norm_glu_cases(&WIDEST);
}

/* --- proj_add --- */

struct proj {
    uint64_t width, out;
    bool bias, post;
    double factor; /* 0: none */
};

static bool proj_add(const struct rz_kernels *table, const struct proj *c)
{
    struct scene s;
    struct kernel_case n;
    scene_open(&s, 0, 0, 2, c->width);
    float *y = floats(&s, ROWS * c->width, 1), *x = floats(&s, ROWS * c->out, 1), *in[2] = {y, x};
    float *w = floats(&s, c->width * c->out, 0.3), *b = c->bias ? floats(&s, c->out, 1) : NULL;
    float *post = c->post ? floats(&s, c->out, 1) : NULL;
    float *p = ref_matmul(&s, y, c->width, c->out, w, b);
    if (post)
        p = ref_norm(&s, p, c->out, false, 1, post, c->out, NULL);
    if (c->factor > 0)
        p = ref_simple(&s, RZ_OP_MAP, RZ_A_FACTOR, c->factor, p, NULL, c->out);
    float *want = ref_simple(&s, RZ_OP_ADD, NONE, 0, p, x, c->out), *got = floats(&s, ROWS * c->out, 0);
    kernel_begin(&n, table, RZ_OP_PROJ_ADD);
    if (b)
        kernel_attr(&n, RZ_A_BIAS, 1, 1);
    if (post) {
        kernel_attr(&n, RZ_A_EPS, 0, 1e-5);
        kernel_attr(&n, RZ_A_POST_NORM, 1, 1);
    }
    if (c->factor > 0)
        kernel_attr(&n, RZ_A_FACTOR, 0, c->factor);
    weight(&n, w, c->width, c->out);
    weight(&n, b, c->out, 1);
    weight(&n, post, c->out, 1);
    bool has = open_case(&n, c->width, c->out, c->out, -1);
    uint64_t widths[2] = {c->width, c->out};
    if (!has)
        goto done;
    run(&s, &n, 0, ROWS, 2, in, got);
    close_to("x'", got, want, ROWS * c->out);
    same_bits(&s, &n, in, widths, got, c->out);
done:
    kernel_close(&n);
    scene_close(&s);
    return has;
}

static void proj_add_cases(const struct rz_plugin *plugin)
{
    const struct rz_kernels *k = table_of(plugin);
    size_t ran = 0;
    static const struct proj cases[] = {
        {64, 64, false, false, 0},  {37, 50, true, false, 0},     {80, 33, false, true, 0},
        {48, 57, true, true, 0.25}, {20, 19, false, false, 0.22},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ran += proj_add(k, &cases[i]);
    finish_cases(k, ran, sizeof cases / sizeof cases[0]);
}

RZ_TEST(regions, proj_add)
{
    proj_add_cases(&FAST);
}

RZ_TEST(regions, widest_proj_add)
{
    proj_add_cases(&WIDEST);
}

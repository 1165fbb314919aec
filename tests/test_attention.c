/* test_attention.c - KV_STORE and ATTENTION of the kernel tables against double precision: two sequences
 * in scattered pages, grouped queries, sums across several splits; and the same bits in any company.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"
#include "numeric.h"

#include <stdio.h>
#include <stdlib.h>

extern const struct rz_plugin rz_builtin_scalar;
#if defined(__x86_64__)
extern const struct rz_plugin rz_builtin_avx2;
#define FAST rz_builtin_avx2
#else
#define FAST rz_builtin_scalar
#endif

#define PAGE 64
#define PAGES 40
#define SEQS 2
#define LENGTH 600 /* of the longer sequence: three splits */
#define QUERIES 7

struct attention {
    const struct rz_kernels *table;
    int32_t kv_type;
    uint32_t n_head, n_kv, dim;
};

/* Sequences, their pages, and what was stored: k and v are [SEQS][LENGTH][n_kv * dim]. */
struct scene {
    struct rz_kv_view kv;
    uint8_t *memory;
    int32_t pages[SEQS][LENGTH / PAGE + 1];
    const int32_t *tables[SEQS];
    const int32_t *const *groups[SEQS];
    struct rz_batch_seq seqs[SEQS];
    float *k, *v;
};

static const uint32_t lengths[SEQS] = {LENGTH, 70};

static void scene_open(const struct attention *a, struct scene *s, struct rng *r, uint32_t layout)
{
    uint64_t element = a->kv_type == RZ_TYPE_F32 ? 4 : 2;
    memset(s, 0, sizeof *s);
    s->kv = (struct rz_kv_view){.size = sizeof s->kv,
                                .type = a->kv_type,
                                .layout = layout,
                                .page_tokens = PAGE,
                                .n_heads = a->n_kv,
                                .k_dim = a->dim,
                                .v_dim = a->dim};
    s->kv.v_offset = (element * PAGE * a->dim + 63) / 64 * 64;
    s->kv.head_bytes = 2 * s->kv.v_offset;
    s->kv.layer_bytes = s->kv.head_bytes * a->n_kv;
    s->kv.page_bytes = s->kv.layer_bytes * 2; /* the node is of the second layer */
    s->memory = aligned_alloc(64, s->kv.page_bytes * PAGES);
    rz_check(s->memory);
    memset(s->memory, 0xff, s->kv.page_bytes * PAGES); /* NaN wherever nothing was stored */
    s->kv.base = s->memory;
    int32_t next = 0;
    for (uint32_t q = 0; q < SEQS; q++) {
        for (uint32_t p = 0; p <= lengths[q] / PAGE; p++)
            s->pages[q][p] = next++ * 7 % PAGES;
        s->tables[q] = s->pages[q];
        s->groups[q] = &s->tables[q];
        s->seqs[q] = (struct rz_batch_seq){
            .length = lengths[q], .state_slot = -1, .adapter = -1, .pages = s->groups[q]};
    }
    size_t n = (size_t)SEQS * LENGTH * a->n_kv * a->dim;
    s->k = must_alloc(n * sizeof *s->k);
    s->v = must_alloc(n * sizeof *s->v);
    for (size_t i = 0; i < n; i++) {
        s->k[i] = (float)rng_normal(r);
        s->v[i] = (float)rng_normal(r);
    }
}

static void scene_close(struct scene *s)
{
    free(s->memory);
    free(s->k);
    free(s->v);
}

static void attrs(const struct attention *a, struct kernel_case *n)
{
    kernel_attr(n, RZ_A_N_KV_HEAD, a->n_kv, 0);
    kernel_attr(n, RZ_A_HEAD_DIM, a->dim, 0);
    kernel_attr(n, RZ_A_KV_GROUP, 0, 0);
    kernel_attr(n, RZ_A_KV_LAYER, 1, 0);
}

/* Stores everything, a few rows of mixed sequences at a time. */
static void store(const struct attention *a, struct scene *s)
{
    uint64_t width = (uint64_t)a->n_kv * a->dim, widths[2] = {width, width};
    struct kernel_case n;
    struct rz_batch_row rows[2 * QUERIES];
    float *in[2] = {must_alloc(2 * QUERIES * width * 4), must_alloc(2 * QUERIES * width * 4)};
    kernel_begin(&n, a->table, RZ_OP_KV_STORE);
    attrs(a, &n);
    rz_check(kernel_open(&n, widths, 2, NULL, 0, 2 * QUERIES, a->kv_type));
    for (uint32_t from = 0; from < LENGTH; from += QUERIES) {
        uint32_t count = 0;
        for (uint32_t q = 0; q < SEQS; q++)
            for (uint32_t p = from; p < from + QUERIES && p < lengths[q]; p++, count++) {
                size_t at = ((size_t)q * LENGTH + p) * width;
                rows[count] = (struct rz_batch_row){.seq = q, .pos = {(int32_t)p}};
                memcpy(in[0] + count * width, s->k + at, width * 4);
                memcpy(in[1] + count * width, s->v + at, width * 4);
            }
        struct rz_step step = {.size = sizeof step,
                               .n_rows = count,
                               .n_seqs = SEQS,
                               .rows = rows,
                               .seqs = s->seqs,
                               .kv = &s->kv};
        kernel_run(&n, count, 2, in, NULL, &step);
    }
    kernel_close(&n);
    free(in[0]);
    free(in[1]);
}

static double stored(const struct attention *a, float x)
{
    return a->kv_type == RZ_TYPE_F32 ? x : rz_f16_to_f32(rz_f32_to_f16(x));
}

/* One head of one query in double precision. */
static void truth(const struct attention *a, const struct scene *s, const struct rz_batch_row *row,
                  const float *q, uint32_t head, double *out)
{
    static double score[LENGTH];
    size_t width = (size_t)a->n_kv * a->dim,
           at = row->seq * LENGTH * width + head / (a->n_head / a->n_kv) * a->dim;
    double best = -INFINITY, total = 0;
    for (int32_t p = 0; p <= row->pos[0]; p++) {
        score[p] = 0;
        for (uint32_t i = 0; i < a->dim; i++)
            score[p] += (double)q[i] * stored(a, s->k[at + (size_t)p * width + i]);
        score[p] /= sqrt(a->dim);
        best = fmax(best, score[p]);
    }
    for (int32_t p = 0; p <= row->pos[0]; p++)
        total += score[p] = exp(score[p] - best);
    for (uint32_t i = 0; i < a->dim; i++) {
        out[i] = 0;
        for (int32_t p = 0; p <= row->pos[0]; p++)
            out[i] += score[p] / total * stored(a, s->v[at + (size_t)p * width + i]);
    }
}

static void attend(const struct attention *a, struct scene *s, struct rng *r)
{
    static const struct {
        uint32_t seq;
        int32_t pos;
    } asked[QUERIES] = {{0, 0}, {0, 255}, {0, 256}, {0, LENGTH - 1}, {1, 1}, {1, 63}, {1, 69}};
    uint64_t width = (uint64_t)a->n_head * a->dim;
    struct rz_batch_row rows[QUERIES];
    struct kernel_case n;
    double *want = must_alloc(a->dim * sizeof *want);
    float *q = must_alloc(QUERIES * width * 4), *y = must_alloc(QUERIES * width * 4),
          *alone = must_alloc(width * 4);
    for (uint32_t i = 0; i < QUERIES; i++)
        rows[i] = (struct rz_batch_row){.seq = asked[i].seq, .pos = {asked[i].pos}};
    for (uint64_t i = 0; i < QUERIES * width; i++)
        q[i] = (float)(2 * rng_normal(r));
    struct rz_step step = {
        .size = sizeof step, .n_rows = QUERIES, .n_seqs = SEQS, .rows = rows, .seqs = s->seqs, .kv = &s->kv};
    kernel_begin(&n, a->table, RZ_OP_ATTENTION);
    attrs(a, &n);
    kernel_attr(&n, RZ_A_N_HEAD, a->n_head, 0);
    kernel_attr(&n, RZ_A_SCALE, 0, 1 / sqrt(a->dim));
    rz_check(kernel_open(&n, &width, 1, &width, 1, 2 * QUERIES, a->kv_type));
    kernel_run(&n, QUERIES, 2, &q, &y, &step);
    for (uint32_t i = 0; i < QUERIES; i++) {
        for (uint32_t h = 0; h < a->n_head; h++) {
            truth(a, s, &rows[i], q + i * width + h * a->dim, h, want);
            for (uint32_t d = 0; d < a->dim; d++)
                rz_check_near(y[i * width + h * a->dim + d], want[d], 1e-5);
        }
        float *one = q + i * width;
        struct rz_step by_itself = step;
        by_itself.n_rows = 1;
        by_itself.rows = &rows[i];
        for (uint32_t threads = 1; threads <= 3; threads++) {
            kernel_run(&n, 1, threads, &one, &alone, &by_itself);
            rz_check_memeq(alone, y + i * width, width * 4);
        }
    }
    kernel_close(&n);
    free(want);
    free(q);
    free(y);
    free(alone);
}

static uint32_t layout_of(const struct rz_kernels *k)
{
    for (uint32_t i = 0; i < k->n_rows; i++) {
        const struct rz_kernel_row *r = (const void *)((const char *)k->rows + (size_t)i * k->row_stride);
        if (r->op == RZ_OP_ATTENTION)
            return r->kv_layout;
    }
    return RZ_KV_LAYOUT_ROWS;
}

static void attention(const struct rz_plugin *plugin)
{
    static const uint32_t heads[][3] = {
        /* n_head, n_kv, dim */ {4, 2, 16}, {9, 3, 64}, {6, 1, 8}, {2, 2, 128}, {7, 1, 32}};
    static const int32_t types[] = {RZ_TYPE_F16, RZ_TYPE_F32};
    const struct rz_kernels *k = kernel_table(plugin, 0);
    if (!k)
        rz_skip("this CPU cannot run %s", plugin->header.name);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        for (size_t t = 0; t < 2; t++) {
            struct attention a = {k, types[t], heads[i][0], heads[i][1], heads[i][2]};
            struct scene s;
            struct rng r = {i};
            scene_open(&a, &s, &r, layout_of(k));
            store(&a, &s);
            attend(&a, &s, &r);
            scene_close(&s);
        }
}

RZ_TEST(attention, scalar)
{
    attention(&rz_builtin_scalar);
}

RZ_TEST(attention, fast)
{
    attention(&FAST);
}

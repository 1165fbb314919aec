/* test_attention.c - KV_STORE and ATTENTION of the kernel tables against double precision: two sequences
 * in scattered pages, grouped queries, sums across several splits, windows, soft-caps and ALiBi; the same
 * bits in any company; and pages that a window has passed are never looked at.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"
#include "numeric.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE 64
#define PAGES 40
#define SEQS 2
#define LENGTH 600 /* of the longer sequence: three splits */
#define STORED 7   /* rows of a sequence that are stored together */

struct heads {
    uint32_t n_head, n_kv, dim, window; /* window 0: none */
    double softcap, alibi;              /* 0: none        */
    bool both;                          /* rows see what follows as well */
    bool sinks;                         /* a score of each head without a value       */
    uint32_t chunk;                     /* 0: none                                    */
    uint32_t latent;                    /* values are so many elements of the keys; 0: they are stored */
};

struct attention {
    const struct rz_kernels *table;
    int32_t kv_type;
    struct heads h;
    double slack; /* how far off a result may be */
};

/* Queries: scattered ones, and rows that follow each other, across the border of a split and of a page. */
static const struct asked {
    uint32_t seq;
    int32_t pos;
} asked[] = {{0, 0},   {0, 255}, {0, 256}, {0, LENGTH - 1}, {1, 1},   {1, 60},  {1, 61},  {1, 62},
             {1, 63},  {1, 64},  {1, 65},  {1, 66},         {0, 253}, {0, 254}, {0, 255}, {0, 256},
             {0, 257}, {0, 258}, {1, 69},  {0, 590},        {0, 591}, {0, 592}, {0, 593}};
#define QUERIES (sizeof asked / sizeof asked[0])

/* Sequences, their pages, and what was stored: k and v are [SEQS][LENGTH][n_kv * dim]; kept_k and kept_v are
 * what the KV type keeps of them. */
struct scene {
    struct rz_kv_view kv;
    uint8_t *memory;
    int32_t pages[SEQS][LENGTH / PAGE + 1];
    const int32_t *tables[SEQS];
    const int32_t *const *groups[SEQS];
    struct rz_batch_seq seqs[SEQS];
    float *k, *v, *kept_k, *kept_v;
};

static uint32_t v_dim(const struct attention *a)
{
    return a->h.latent ? a->h.latent : a->h.dim;
}

static const uint32_t lengths[SEQS] = {LENGTH, 70};

/* n <= RZ_KV_BLOCK elements of one head. */
static void keep_block(int32_t type, const float *x, float *kept, uint32_t n)
{
    float largest = 0;
    for (uint32_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    float scale = rz_f16_to_f32(rz_f32_to_f16(largest / 127));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        kept[i] = x[i];
        if (type == RZ_TYPE_BF16)
            memcpy(&kept[i], &bits, 4);
        if (type == RZ_TYPE_F16)
            kept[i] = rz_f16_to_f32(rz_f32_to_f16(x[i]));
        if (type == RZ_TYPE_Q8_0)
            kept[i] = scale * fmaxf(-127, fminf(127, rintf(x[i] / scale)));
    }
}

static float *keep(const struct attention *a, const float *x, size_t n)
{
    float *kept = must_alloc(n * sizeof *kept);
    for (size_t head = 0; head < n; head += a->h.dim)
        for (uint32_t d = 0; d < a->h.dim; d += RZ_KV_BLOCK)
            keep_block(a->kv_type, x + head + d, kept + head + d,
                       a->h.dim - d < RZ_KV_BLOCK ? a->h.dim - d : RZ_KV_BLOCK);
    return kept;
}

static void scene_open(const struct attention *a, struct scene *s, struct rng *r, uint32_t layout)
{
    memset(s, 0, sizeof *s);
    s->kv = (struct rz_kv_view){.size = sizeof s->kv,
                                .type = a->kv_type,
                                .layout = layout,
                                .page_tokens = PAGE,
                                .n_heads = a->h.n_kv,
                                .k_dim = a->h.dim,
                                .v_dim = a->h.dim};
    s->kv.v_offset = (rz_kv_row_bytes(a->kv_type, a->h.dim) * PAGE + 63) / 64 * 64;
    s->kv.head_bytes = 2 * s->kv.v_offset;
    if (a->h.latent) {
        s->kv.v_dim = a->h.latent;
        s->kv.head_bytes = s->kv.v_offset;
        s->kv.v_offset = 0;
    }
    s->kv.layer_bytes = s->kv.head_bytes * a->h.n_kv;
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
        s->seqs[q] = (struct rz_batch_seq){.mask = a->h.both ? RZ_MASK_ALL : RZ_MASK_CAUSAL,
                                           .length = lengths[q],
                                           .state_slot = -1,
                                           .adapter = -1,
                                           .pages = s->groups[q]};
    }
    size_t n = (size_t)SEQS * LENGTH * a->h.n_kv * a->h.dim;
    s->k = must_alloc(n * sizeof *s->k);
    s->v = must_alloc(n * sizeof *s->v);
    for (size_t i = 0; i < n; i++) {
        s->k[i] = (float)rng_normal(r);
        s->v[i] = (float)rng_normal(r);
    }
    s->kept_k = keep(a, s->k, n);
    s->kept_v = keep(a, s->v, n);
}

static void scene_close(struct scene *s)
{
    free(s->memory);
    free(s->k);
    free(s->v);
    free(s->kept_k);
    free(s->kept_v);
}

static void attrs(const struct attention *a, struct kernel_case *n)
{
    kernel_attr(n, RZ_A_N_KV_HEAD, a->h.n_kv, 0);
    kernel_attr(n, RZ_A_HEAD_DIM, a->h.dim, 0);
    kernel_attr(n, RZ_A_KV_GROUP, 0, 0);
    kernel_attr(n, RZ_A_KV_LAYER, 1, 0);
    if (a->h.latent)
        kernel_attr(n, RZ_A_LATENT, a->h.latent, 0);
}

/* Stores everything, a few rows of mixed sequences at a time. */
static void store(const struct attention *a, struct scene *s)
{
    uint64_t width = (uint64_t)a->h.n_kv * a->h.dim, widths[2] = {width, width};
    if (a->h.latent) {
        widths[0] = a->h.latent;
        widths[1] = width - a->h.latent;
    }
    struct kernel_case n;
    struct rz_batch_row rows[2 * STORED];
    float *in[2] = {must_alloc(2 * STORED * width * 4), must_alloc(2 * STORED * width * 4)};
    kernel_begin(&n, a->table, RZ_OP_KV_STORE);
    attrs(a, &n);
    rz_check(kernel_open(&n, widths, 2, NULL, 0, 2 * STORED, a->kv_type));
    for (uint32_t from = 0; from < LENGTH; from += STORED) {
        uint32_t count = 0;
        for (uint32_t q = 0; q < SEQS; q++)
            for (uint32_t p = from; p < from + STORED && p < lengths[q]; p++, count++) {
                size_t at = ((size_t)q * LENGTH + p) * width;
                rows[count] = (struct rz_batch_row){.seq = q, .pos = {(int32_t)p}};
                memcpy(in[0] + count * widths[0], s->k + at, widths[0] * 4);
                memcpy(in[1] + count * widths[1], a->h.latent ? s->k + at + a->h.latent : s->v + at,
                       widths[1] * 4);
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

/* What lies in pairs is the bfloat16 of what was stored, to the bit: attention itself would not notice a last
 * bit more or less. */
static void check_pairs(const struct attention *a, const struct scene *s)
{
    uint64_t dim = a->h.dim;
    for (uint32_t q = 0; q < SEQS && s->kv.layout == RZ_KV_LAYOUT_PAIRS; q++)
        for (uint64_t p = 0; p < lengths[q]; p++)
            for (uint64_t i = 0; i < a->h.n_kv * dim; i++) {
                uint64_t head = i / dim, d = i % dim, slot = p % PAGE;
                size_t at = ((size_t)q * LENGTH + p) * a->h.n_kv * dim + i;
                const uint8_t *page = s->kv.base + (uint64_t)s->pages[q][p / PAGE] * s->kv.page_bytes +
                                      s->kv.layer_bytes + head * s->kv.head_bytes;
                uint64_t key = ((slot / 16 * (dim / 2) + d / 2) * 16 + slot % 16) * 2 + d % 2;
                uint64_t value = (slot / 2 * dim + d) * 2 + slot % 2;
                uint16_t k, v;
                memcpy(&k, page + 2 * key, 2);
                memcpy(&v, page + s->kv.v_offset + 2 * value, 2);
                rz_check_eq(k, rz_f32_to_bf16(s->k[at]));
                rz_check_eq(v, rz_f32_to_bf16(s->v[at]));
            }
}

static int32_t first_seen(const struct heads *h, int32_t pos)
{
    if (h->chunk)
        return pos / (int32_t)h->chunk * (int32_t)h->chunk;
    return h->window && pos >= (int32_t)h->window ? pos + 1 - (int32_t)h->window : 0;
}

/* One past the last position that is seen. */
static int32_t end_seen(const struct heads *h, uint32_t seq, int32_t pos)
{
    int64_t end = h->both ? (h->window ? (int64_t)pos + h->window : INT32_MAX) : pos + 1;
    return end < lengths[seq] ? (int32_t)end : (int32_t)lengths[seq];
}

/* Slopes fall by one factor, and those past the last power of two take the odd places of twice as many. */
static double slope(const struct heads *h, uint32_t head)
{
    double power = exp2(floor(log2(h->n_head)));
    return exp2(-h->alibi * (head < power ? (head + 1) / power : (2 * (head - power) + 1) / (2 * power)));
}

static double score_of(const struct attention *a, const struct scene *s, const struct rz_batch_row *row,
                       const float *q, uint32_t head, int32_t p)
{
    const struct heads *h = &a->h;
    size_t width = (size_t)h->n_kv * h->dim,
           at = (row->seq * LENGTH + (size_t)p) * width + head / (h->n_head / h->n_kv) * h->dim;
    double x = 0;
    for (uint32_t i = 0; i < h->dim; i++)
        x += (double)q[i] * (double)s->kept_k[at + i];
    x /= sqrt(h->dim);
    if (h->softcap > 0)
        x = h->softcap * tanh(x / h->softcap);
    return h->alibi > 0 ? x + slope(h, head) * (p - row->pos[0]) : x;
}

static float sinks[32];

/* One head of one query in double precision. */
static void truth(const struct attention *a, const struct scene *s, const struct rz_batch_row *row,
                  const float *q, uint32_t head, double *out)
{
    static double score[LENGTH];
    const struct heads *h = &a->h;
    size_t width = (size_t)h->n_kv * h->dim,
           at = row->seq * LENGTH * width + head / (h->n_head / h->n_kv) * h->dim;
    int32_t first = first_seen(h, row->pos[0]), end = end_seen(h, row->seq, row->pos[0]);
    double best = -INFINITY, total = 0;
    for (int32_t p = first; p < end; p++) {
        score[p] = score_of(a, s, row, q, head, p);
        best = fmax(best, score[p]);
    }
    for (int32_t p = first; p < end; p++)
        total += score[p] = exp(score[p] - best);
    total += h->sinks ? exp((double)sinks[head] - best) : 0;
    for (uint32_t i = 0; i < v_dim(a); i++) {
        out[i] = 0;
        for (int32_t p = first; p < end; p++)
            out[i] +=
                score[p] / total * (double)(h->latent ? s->kept_k : s->kept_v)[at + (size_t)p * width + i];
    }
}

static void attention_open(const struct attention *a, struct kernel_case *n)
{
    uint64_t width = (uint64_t)a->h.n_head * a->h.dim, out = (uint64_t)a->h.n_head * v_dim(a);
    kernel_begin(n, a->table, RZ_OP_ATTENTION);
    attrs(a, n);
    kernel_attr(n, RZ_A_N_HEAD, a->h.n_head, 0);
    kernel_attr(n, RZ_A_SCALE, 0, 1 / sqrt(a->h.dim));
    if (a->h.window)
        kernel_attr(n, RZ_A_WINDOW, a->h.window, 0);
    if (a->h.softcap > 0)
        kernel_attr(n, RZ_A_SOFTCAP, 0, a->h.softcap);
    if (a->h.alibi > 0)
        kernel_attr(n, RZ_A_ALIBI, 0, a->h.alibi);
    if (a->h.both)
        kernel_attr(n, RZ_A_BOTH, 1, 1);
    if (a->h.chunk)
        kernel_attr(n, RZ_A_CHUNK, a->h.chunk, 0);
    if (a->h.sinks) {
        kernel_attr(n, RZ_A_SINKS, 1, 1);
        kernel_weight(n, RZ_TYPE_F32, a->h.n_head, 1, sinks);
    }
    n->node.max_context = LENGTH;
    rz_check(kernel_open(n, &width, 1, &out, 1, QUERIES, a->kv_type));
}

/* Some rows of a step by themselves must give what they gave together. Nothing lies in the pages that they do
 * not see. */
static void same_bits(const struct attention *a, const struct scene *s, const struct kernel_case *n,
                      const struct rz_batch_row *rows, uint32_t n_rows, float *q, const float *y)
{
    uint64_t width = (uint64_t)a->h.n_head * v_dim(a);
    int32_t pages[SEQS][LENGTH / PAGE + 1];
    const int32_t *tables[SEQS] = {pages[0], pages[1]};
    const int32_t *const *groups[SEQS] = {&tables[0], &tables[1]};
    struct rz_batch_seq seqs[SEQS];
    float *again = must_alloc(n_rows * width * 4);
    memset(pages, 0x40, sizeof pages); /* nowhere */
    for (uint32_t i = 0; i < n_rows; i++)
        for (int32_t p = first_seen(&a->h, rows[i].pos[0]) / PAGE;
             p * PAGE < end_seen(&a->h, rows[i].seq, rows[i].pos[0]); p++)
            pages[rows[i].seq][p] = s->pages[rows[i].seq][p];
    for (uint32_t i = 0; i < SEQS; i++) {
        seqs[i] = s->seqs[i];
        seqs[i].pages = groups[i];
    }
    struct rz_step step = {
        .size = sizeof step, .n_rows = n_rows, .n_seqs = SEQS, .rows = rows, .seqs = seqs, .kv = &s->kv};
    kernel_run(n, n_rows, 1 + (uint32_t)rows[0].pos[0] % 3, &q, &again, &step);
    rz_check_memeq(again, y, n_rows * width * 4);
    free(again);
}

static void attend(const struct attention *a, struct scene *s, struct rng *r)
{
    uint64_t width = (uint64_t)a->h.n_head * a->h.dim, out = (uint64_t)a->h.n_head * v_dim(a);
    struct rz_batch_row rows[QUERIES];
    struct kernel_case n;
    double *want = must_alloc(a->h.dim * sizeof *want);
    float *q = must_alloc(QUERIES * width * 4), *y = must_alloc(QUERIES * out * 4);
    for (uint32_t h = 0; h < 32; h++)
        sinks[h] = (float)(2 * rng_normal(r));
    for (uint32_t i = 0; i < QUERIES; i++)
        rows[i] = (struct rz_batch_row){.seq = asked[i].seq, .pos = {asked[i].pos}};
    for (uint64_t i = 0; i < QUERIES * width; i++)
        q[i] = (float)(2 * rng_normal(r));
    struct rz_step step = {
        .size = sizeof step, .n_rows = QUERIES, .n_seqs = SEQS, .rows = rows, .seqs = s->seqs, .kv = &s->kv};
    attention_open(a, &n);
    kernel_run(&n, QUERIES, 2, &q, &y, &step);
    for (uint32_t i = 0; i < QUERIES; i++)
        for (uint32_t h = 0; h < a->h.n_head; h++) {
            truth(a, s, &rows[i], q + i * width + h * a->h.dim, h, want);
            for (uint32_t d = 0; d < v_dim(a); d++)
                rz_check_near(y[i * out + h * v_dim(a) + d], want[d], a->slack);
        }
    for (uint32_t i = 0; i < QUERIES; i++)
        same_bits(a, s, &n, rows + i, 1, q + i * width, y + i * out);
    for (uint32_t i = 0, count = 2; i + count <= QUERIES; i += count, count++)
        same_bits(a, s, &n, rows + i, count, q + i * width, y + i * out);
    kernel_close(&n);
    free(want);
    free(q);
    free(y);
}

/* How the row that runs this case wants KV to lie. */
static uint32_t layout_of(const struct attention *a)
{
    struct kernel_case n;
    attention_open(a, &n);
    uint32_t layout = n.row->kv_layout;
    kernel_close(&n);
    return layout;
}

/* A table without it leaves a latent KV to the next one. */
static bool has_latent(const struct rz_kernels *k)
{
    bool has = false;
    for (uint32_t i = 0; i < k->n_rows; i++) {
        const struct rz_kernel_row *r = (const void *)((const char *)k->rows + (size_t)i * k->row_stride);
        has |= r->op == RZ_OP_ATTENTION && r->attrs & RZ_ATTR(RZ_A_LATENT);
    }
    return has;
}

static void attention(const struct rz_plugin *plugin, int64_t choice, double slack)
{
    static const struct heads heads[] = {
        {4, 2, 16, 0, 0, 0, false, false, 0, 0},    {9, 3, 64, 0, 0, 0, false, false, 0, 0},
        {6, 1, 8, 0, 0, 0, false, false, 0, 0},     {2, 2, 128, 0, 0, 0, false, false, 0, 0},
        {7, 1, 32, 0, 0, 0, false, false, 0, 0},    {6, 1, 6, 0, 0, 8, false, false, 0, 0},
        {4, 4, 12, 5, 0, 0, false, false, 0, 0},    {20, 1, 16, 100, 0, 0, false, false, 0, 0},
        {4, 2, 80, 0, 5, 0, false, false, 0, 0},    {3, 1, 96, 64, 3, 8, false, false, 0, 0},
        {2, 1, 256, 300, 2, 0, false, false, 0, 0}, {1, 1, 512, 1, 0, 0, false, false, 0, 0},
        {3, 3, 20, 2, 0, 4, false, false, 0, 0},    {5, 5, 14, 0, 1, 0, false, false, 0, 0},
        {4, 4, 24, 0, 0, 0, true, false, 0, 0},     {6, 2, 16, 40, 0, 0, true, false, 0, 0},
        {8, 2, 64, 0, 0, 0, false, true, 0, 0},     {6, 3, 20, 70, 0, 0, false, true, 0, 0},
        {4, 2, 32, 0, 0, 0, false, false, 100, 0},  {5, 1, 8, 0, 0, 0, false, false, 7, 0},
        {2, 1, 12, 0, 0, 0, false, false, 0, 8},    {1, 1, 576, 0, 0, 0, false, false, 0, 512},
        {19, 1, 29, 0, 0, 0, false, false, 0, 21},
    };
    static const int32_t types[] = {RZ_TYPE_F16, RZ_TYPE_F32, RZ_TYPE_BF16, RZ_TYPE_Q8_0};
    const struct rz_kernels *k = kernel_table(plugin, choice);
    if (!k)
        rz_skip("this CPU cannot run %s", plugin->header.name);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        for (size_t t = i; t < i + 2 && (!heads[i].latent || has_latent(k));
             t++) { /* two types each, in turn */
            struct attention a = {k, types[t % 4], heads[i], slack};
            struct scene s;
            struct rng r = {i};
            scene_open(&a, &s, &r, layout_of(&a));
            store(&a, &s);
            check_pairs(&a, &s);
            attend(&a, &s, &r);
            scene_close(&s);
        }
}

RZ_TEST(attention, scalar)
{
    attention(&rz_builtin_scalar, 0, 1e-5);
}

RZ_TEST(attention, fast)
{
    attention(&FAST, 0, 1e-5);
}

/* With bfloat16 in four factors a score is off by some 2^-9 of its size, and so is a value: results are of
 * size one, and this is the largest error of some ten thousand. */
RZ_TEST(attention, widest_coarse)
{
    attention(&WIDEST, 0, 0.03);
}

RZ_TEST(attention, widest_fine)
{
    attention(&WIDEST, 1, 1e-5);
}

/* test_head.c - the screened LM head: what it leaves out is never among the k best, and what it gives has the
 * bits of the full head and of the plain product.
 */
#include "rz_test.h"

#include "fixture.h"
#include "kernel_rig.h"

#include <rz/quant.h>
#include <stdbool.h>
#include <stdlib.h>

#define ROWS_MAX 20
#define EPS 1e-5

/* One head: norm and matrix, [n_vocab, n_embd] in Q8_0. */
struct head {
    const struct rz_kernels *table;
    uint32_t n_embd, n_vocab;
    float *norm, *x; /* x: [ROWS_MAX, n_embd] */
    struct rz_block_q8_0 *w;
    struct kernel_case node;
};

static void head_make(struct head *h, struct rng *r)
{
    uint64_t blocks = (uint64_t)h->n_embd / 32 * h->n_vocab;
    h->norm = must_alloc(h->n_embd * sizeof(float));
    h->x = must_alloc((size_t)ROWS_MAX * h->n_embd * sizeof(float));
    h->w = must_alloc(blocks * sizeof(*h->w));
    weight_random(RZ_TYPE_Q8_0, h->w, blocks * 32, 0.5, r);
    for (uint32_t i = 0; i < h->n_embd; i++)
        h->norm[i] = (float)(1 + 0.1 * rng_normal(r));
    for (uint32_t i = 0; i < ROWS_MAX * h->n_embd; i++)
        h->x[i] = (float)(rng_normal(r) * (i % 97 == 3 ? 30 : 1));
}

static void head_open(struct head *h)
{
    uint64_t in = h->n_embd, out[2] = {h->n_embd, h->n_vocab};
    kernel_begin(&h->node, h->table, RZ_OP_HEAD);
    kernel_attr(&h->node, RZ_A_EPS, 0, EPS);
    kernel_weight(&h->node, RZ_TYPE_F32, h->n_embd, 1, h->norm);
    kernel_weight(&h->node, RZ_TYPE_Q8_0, h->n_embd, h->n_vocab, h->w);
    kernel_no_weight(&h->node);
    rz_check(kernel_open(&h->node, &in, 1, out, 2, ROWS_MAX, -1));
}

static void head_free(struct head *h)
{
    kernel_close(&h->node);
    free(h->norm);
    free(h->x);
    free(h->w);
}

#define NUMERICS 3

/* A table with this numerics that screens heads, or NULL: the widest one with each choice of its option
 * activations, and the machine's own with its planes. */
static const struct rz_kernels *table_of(uint32_t numerics)
{
    const struct rz_kernels *k = numerics < 2 ? kernel_table(&WIDEST, numerics) : kernel_table(&FAST, 1);
    for (uint32_t i = 0; k && i < k->n_rows; i++)
        if (((const struct rz_kernel_row *)((const char *)k->rows + (size_t)i * k->row_stride))->op ==
            RZ_OP_HEAD)
            return k;
    return NULL;
}

/* The next that there is, from *numerics on, which moves behind it; without any the test is skipped. */
static const struct rz_kernels *next_table(uint32_t *numerics)
{
    const struct rz_kernels *k = NULL;
    uint32_t from = *numerics;
    while (!k && *numerics < NUMERICS)
        k = table_of((*numerics)++);
    if (!k && !from)
        rz_skip("no kernel table of this CPU screens a head");
    return k;
}

/* What all rows of a step ask for: k best of those within the gap; k 0: all logits. */
struct ask {
    uint32_t k;
    float gap;
};

static void head_run(const struct head *h, uint32_t n, struct ask ask, uint32_t threads, float *hidden,
                     float *logits)
{
    struct rz_batch_row rows[ROWS_MAX];
    uint32_t wanted[ROWS_MAX], want = ask.k ? RZ_WANT_TOP_K : RZ_WANT_LOGITS;
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = (struct rz_batch_row){.seq = i, .want = want, .k = ask.k, .gap = ask.gap};
        wanted[i] = i;
    }
    struct rz_step step = {.size = sizeof step, .n_rows = n, .n_wanted = n, .rows = rows, .wanted = wanted};
    kernel_run(&h->node, n, threads, (float *[]){h->x}, (float *[]){hidden, logits}, &step);
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

/* Whatever is left out has at least k better ones, or is too far below the best; whatever is there has its
 * own bits. Returns how many are there. */
static uint32_t check_row(const float *full, const float *some, uint32_t n, struct ask ask)
{
    uint32_t there = 0;
    double best = full[0];
    for (uint32_t i = 1; i < n; i++)
        best = full[i] > best ? full[i] : best;
    for (uint32_t i = 0; i < n; i++) {
        if (some[i] != -INFINITY) {
            rz_check_eq(bits_of(some[i]), bits_of(full[i]));
            there++;
            continue;
        }
        uint32_t better = 0;
        for (uint32_t j = 0; j < n && better < ask.k; j++)
            better += full[j] > full[i];
        if (better < ask.k && !(ask.gap > 0 && best - full[i] > ask.gap))
            rz_fail_test("row %u of %u is left out: %u of %u are better, the best by %g of %g", i, n, better,
                         ask.k, best - full[i], ask.gap);
    }
    return there;
}

static uint32_t compare_ask(const struct head *h, uint32_t n, struct ask ask)
{
    size_t size = (size_t)n * h->n_vocab, hidden_size = (size_t)n * h->n_embd;
    float *full = must_alloc(size * sizeof(float)), *some = must_alloc(size * sizeof(float));
    float *hidden = must_alloc(2 * hidden_size * sizeof(float));
    uint32_t there = 0;
    head_run(h, n, (struct ask){0}, 2, hidden, full);
    head_run(h, n, ask, 1 + ask.k % 3, hidden + hidden_size, some);
    rz_check_memeq(hidden, hidden + hidden_size, hidden_size * sizeof(float));
    for (uint32_t i = 0; i < n; i++)
        there += check_row(full + (size_t)i * h->n_vocab, some + (size_t)i * h->n_vocab, h->n_vocab, ask);
    free(full);
    free(some);
    free(hidden);
    return there;
}

static uint32_t compare(const struct head *h, uint32_t n, uint32_t k)
{
    return compare_ask(h, n, (struct ask){.k = k});
}

/* Standard deviation of the logits of the first row. */
static float spread(const struct head *h)
{
    float *hidden = must_alloc(h->n_embd * sizeof(float)), *x = must_alloc(h->n_vocab * sizeof(float));
    double sum = 0, square = 0;
    head_run(h, 1, (struct ask){0}, 1, hidden, x);
    for (uint32_t i = 0; i < h->n_vocab; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
    }
    free(hidden);
    free(x);
    return (float)sqrt(square / h->n_vocab - sum / h->n_vocab * sum / h->n_vocab);
}

/* Any number of rows within a gap, and gaps that cut the k best. */
static void gaps(const struct head *h)
{
    float one = spread(h);
    for (uint32_t n = 1; n <= 4; n++)
        for (uint32_t i = 0; i < 6; i++) {
            float gap = one * (i < 3 ? 0.1f * (float)(i + 1) : (float)(i - 2));
            uint32_t kept = compare_ask(h, n, (struct ask){UINT32_MAX, gap});
            if (h->n_vocab >= 1000 && n == 1 && !i && kept > h->n_vocab / 2)
                rz_fail_test("%u of %u rows were computed: nothing is screened", kept, h->n_vocab);
            compare_ask(h, n, (struct ask){40, gap});
        }
    compare_ask(h, 2, (struct ask){UINT32_MAX, 1e-6f});
    compare_ask(h, 2, (struct ask){UINT32_MAX, 1e30f});
}

static void random_heads(const struct rz_kernels *k)
{
    static const uint32_t sizes[][2] = {{32, 5}, {64, 17}, {576, 1000}, {96, 3333}, {2048, 130}};
    struct rng r = {11};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct head h = {.table = k, .n_embd = sizes[i][0], .n_vocab = sizes[i][1]};
        uint32_t kept = 0;
        head_make(&h, &r);
        head_open(&h);
        for (uint32_t n = 1; n <= 5; n++)
            for (uint32_t best = 1; best <= 65; best += best < 4 ? 1 : 20)
                kept += n == 1 && best == 1 ? compare(&h, n, best) : 0 * compare(&h, n, best);
        if (h.n_vocab >= 1000 && kept > h.n_vocab / 2)
            rz_fail_test("%u of %u rows were computed: nothing is screened", kept, h.n_vocab);
        gaps(&h);
        head_free(&h);
    }
}

RZ_TEST(head, leaves_out_only_what_is_not_wanted)
{
    uint32_t numerics = 0;
    for (const struct rz_kernels *k; (k = next_table(&numerics));)
        random_heads(k);
}

/* Rows that differ only in the bits that the screening does not see, equal rows, negative and zero scales. */
static void hard_matrices(const struct rz_kernels *table)
{
    struct rng r = {5};
    for (uint32_t form = 0; form < 5; form++) {
        struct head h = {.table = table, .n_embd = 128, .n_vocab = 700};
        uint32_t blocks = h.n_embd / 32;
        head_make(&h, &r);
        for (uint32_t v = 0; v < h.n_vocab; v++)
            for (uint32_t b = 0; b < blocks; b++) {
                struct rz_block_q8_0 *to = &h.w[v * blocks + b], *first = &h.w[b];
                if (form == 3)
                    to->d ^= (uint16_t)(v % 3 ? 0x8000 : 0);
                else if (form == 4)
                    to->d = v % 5 ? 0 : to->d;
                else if (v)
                    to->d = first->d;
                for (uint32_t i = 0; i < 32 && v && form < 3; i++) {
                    int low = form == 0 ? 0 : (int)(v * 7 + i * 3 + b) % 8;
                    int step = form == 2 && (v + i) % 61 == 0 ? 8 : 0;
                    to->qs[i] = (int8_t)(((first->qs[i] & ~7) | low) ^ step);
                }
            }
        head_open(&h);
        for (uint32_t n = 1; n <= 4; n++)
            for (uint32_t best = 1; best <= 64; best *= 4)
                compare(&h, n, best);
        gaps(&h);
        head_free(&h);
    }
}

RZ_TEST(head, hard_matrices)
{
    uint32_t numerics = 0;
    for (const struct rz_kernels *k; (k = next_table(&numerics));)
        hard_matrices(k);
}

/* The bound is reached: what the screening does not see goes along with x in every element. The first row
 * is as bad as it can be for its upper bits, the others as good; how far these lie below it varies. */
RZ_TEST(head, bounds_that_are_reached)
{
    struct rng r = {8};
    uint32_t numerics = 0;
    for (const struct rz_kernels *table; (table = next_table(&numerics));) {
        struct head h = {.table = table, .n_embd = 256, .n_vocab = 900};
        head_make(&h, &r);
        for (uint32_t i = 0; i < h.n_embd; i++) {
            h.norm[i] = 1;
            h.x[i] = rng_int(&r, 0, 1) ? 1 : -1;
        }
        for (uint32_t v = 0; v < h.n_vocab; v++)
            for (uint32_t i = 0; i < h.n_embd; i++) {
                bool up = h.x[i] > 0, moved = v && rng_int(&r, 0, 999) < 800 + (int)(v % 90);
                int high = 16 - (moved ? (up ? 1 : -1) : 0), low = up == (v != 0) ? 7 : 0;
                h.w[v * (h.n_embd / 32) + i / 32].d = 0x3c00;
                h.w[v * (h.n_embd / 32) + i / 32].qs[i % 32] = (int8_t)(8 * high + low - 128);
            }
        head_open(&h);
        for (uint32_t best = 1; best <= 64; best *= 2)
            compare(&h, 1, best);
        gaps(&h);
        head_free(&h);
    }
}

/* A broken weight must not hide behind a bound, nor hide others. */
RZ_TEST(head, broken_weights_are_seen)
{
    static const struct ask asks[] = {{1, 0}, {40, 0}, {UINT32_MAX, 0.5f}};
    uint32_t numerics = 0;
    for (const struct rz_kernels *table; (table = next_table(&numerics));) {
        struct rng r = {6};
        struct head h = {.table = table, .n_embd = 64, .n_vocab = 400};
        float *hidden = must_alloc(h.n_embd * sizeof(float)), *logits = must_alloc(h.n_vocab * sizeof(float));
        head_make(&h, &r);
        h.w[2 * 333].d = 0x7e00; /* NaN */
        head_open(&h);
        for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
            head_run(&h, 1, asks[i], 2, hidden, logits);
            rz_check(isnan(logits[333]));
        }
        head_free(&h);
        free(hidden);
        free(logits);
    }
}

/* The bits of the plain product over the same normed rows. */
RZ_TEST(head, has_the_bits_of_a_product)
{
    struct rng r = {7};
    uint32_t numerics = 0;
    for (const struct rz_kernels *table; (table = next_table(&numerics));) {
        struct head h = {.table = table, .n_embd = 320, .n_vocab = 999};
        head_make(&h, &r);
        head_open(&h);
        for (uint32_t n = 1; n <= ROWS_MAX; n++) {
            uint64_t in = h.n_embd, out = h.n_vocab;
            float *hidden = must_alloc(n * in * sizeof(float)), *logits = must_alloc(n * out * sizeof(float));
            float *plain = must_alloc(n * out * sizeof(float));
            struct kernel_case product;
            head_run(&h, n, (struct ask){0}, 2, hidden, logits);
            kernel_begin(&product, h.table, RZ_OP_MATMUL);
            kernel_weight(&product, RZ_TYPE_Q8_0, h.n_embd, h.n_vocab, h.w);
            kernel_no_weight(&product);
            rz_check(kernel_open(&product, &in, 1, &out, 1, ROWS_MAX, -1));
            kernel_run(&product, n, 2, (float *[]){hidden}, (float *[]){plain}, NULL);
            rz_check_memeq(plain, logits, n * out * sizeof(float));
            kernel_close(&product);
            free(hidden);
            free(logits);
            free(plain);
        }
        head_free(&h);
    }
}

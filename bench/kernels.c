/* kernels.c - speed of the matrix kernels alone: each table, type, shape and number of rows, as multiply-adds
 * a second and as a share of the best sequence of instructions that this CPU has for it.
 *
 *   bench/kernels [-t THREADS] [-k TABLE] [-w TYPE] [-s COLSxROWS] [-n ROWS,...] [-r SECONDS] [--cached] [--json]
 *
 * Every figure is the best of many bursts of less than a few milliseconds, so that a busy machine does little
 * harm: a burst that was interrupted is not the best one. Weights go round in more memory than the caches
 * hold when there are few rows; then the figure to look at is GB/s. With --cached there is one copy of them, so
 * that with a small shape (-s 256x2048) the tiles alone are measured. Products that are wrong are the tests'
 * business (tests/test_kernels.c), not this program's.
 */
#include "cpu.h"
#include "exec.h"
#include "fixture.h"
#include "numeric.h"
#include "peak.h"

#include <rz/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const struct rz_plugin rz_builtin_scalar;
#if defined(__x86_64__)
extern const struct rz_plugin rz_builtin_avx2, rz_builtin_avx512;
#endif

#define COPIES_BYTES (256ull << 20) /* memory that weights of few rows go round in */
#define READ_BYTES (32ull << 20)
#define ROWS_MAX 512
#define BARRIERS 1000 /* one after the other */

struct options {
    uint32_t threads;
    const char *table, *type;
    uint64_t cols, rows;
    uint32_t n[16], n_count;
    double seconds; /* for each figure */
    bool json, cached;
    struct rz_pool *pool;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *room(uint64_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096 + 4096);
    if (!p)
        die("no memory");
    return p;
}

/* --- peaks --- */

struct burst {
    void (*run)(void *arg, struct rz_team *team, uint32_t tid);
    void *arg;
};

/* Seconds of the fastest of many bursts. */
static double fastest(const struct options *o, const struct burst *b)
{
    double best = 1e30, end = now() + o->seconds;
    for (int i = 0; i < 3 || now() < end; i++) {
        double from = now();
        rz_pool_run(o->pool, b->run, b->arg);
        double took = now() - from;
        best = took < best ? took : best;
    }
    return best;
}

struct spin {
    const struct peak *peak;
    uint64_t macs[64];
};

static void spin_run(void *arg, struct rz_team *team, uint32_t tid)
{
    struct spin *s = arg;
    (void)team;
    s->macs[tid % 64] = s->peak->run(40000);
}

static void show_peak(const struct options *o, const char *name, double value, const char *unit)
{
    if (o->json)
        printf("{\"peak\": \"%s\", \"threads\": %u, \"value\": %.2f, \"unit\": \"%s\"}\n", name, o->threads,
               value, unit);
    else
        printf("%-44s %8.1f %s\n", name, value, unit);
}

/* Multiply-adds a second of one peak on all threads, in 1e9. */
static double peak_of(const struct options *o, const struct peak *p)
{
    struct spin s = {.peak = p};
    double t = fastest(o, &(struct burst){spin_run, &s});
    return (double)s.macs[0] * o->threads / t / 1e9;
}

struct reading {
    uint8_t *memory;
    uint64_t slice, isa;
    uint64_t sink[64];
};

static void reading_run(void *arg, struct rz_team *team, uint32_t tid)
{
    struct reading *r = arg;
    uint64_t each = READ_BYTES / team->n_threads / 512 * 512;
    const uint8_t *p = r->memory + r->slice * READ_BYTES + tid * each;
    if (tid == 0)
        r->slice = r->slice; /* advanced between bursts only */
    r->sink[tid % 64] = peak_read(p, each, r->isa);
}

/* Best of many reads of slices, which go round in much more memory than a cache; GB/s. */
static double bandwidth(const struct options *o, uint8_t *memory, uint64_t bytes)
{
    struct reading r = {.memory = memory, .isa = rz_cpu_isa()};
    double best = 1e30, end = now() + 4 * o->seconds;
    for (int i = 0; i < 16 || now() < end; i++) {
        double from = now();
        rz_pool_run(o->pool, reading_run, &r);
        double took = now() - from;
        best = took < best ? took : best;
        r.slice = (r.slice + 1) % (bytes / READ_BYTES);
    }
    return (double)READ_BYTES / best / 1e9;
}

/* A thousand barriers of the team. */
static void barriers_run(void *arg, struct rz_team *team, uint32_t tid)
{
    (void)arg;
    for (int i = 0; i < BARRIERS; i++)
        team->barrier(team, tid);
}

/* --- kernels --- */

struct matrix {
    const struct rz_kernel_row *row;
    const struct rz_layout *layout;
    struct rz_kernel_node node;
    struct rz_attr attrs[RZ_A_COUNT];
    struct rz_weight_view weights[2];
    struct rz_view in, out;
    struct rz_step step;
    uint8_t *copies, *scratch;
    uint64_t bytes, n_copies, at;
    uint32_t n_rows;
};

static const struct rz_kernel_row *find_row(const struct rz_kernels *k, const struct rz_kernel_node *n)
{
    for (uint32_t i = 0; i < k->n_rows; i++) {
        const struct rz_kernel_row *r = (const void *)((const char *)k->rows + (uint64_t)i * k->row_stride);
        if (r->op == RZ_OP_MATMUL && r->flags & RZ_ROW_TEAM && (!r->accept || r->accept(n)))
            return r;
    }
    return NULL;
}

static const struct rz_layout *find_layout(const struct rz_kernels *k, uint32_t id, int32_t type)
{
    for (uint32_t i = 0; i < k->n_layouts; i++) {
        const struct rz_layout *l = (const void *)((const char *)k->layouts + (uint64_t)i * k->layout_stride);
        if (l->id == id && l->type == type)
            return l;
    }
    return NULL;
}

static float *floats(uint64_t n, struct rng *r)
{
    float *x = room(n * sizeof(float));
    for (uint64_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(r);
    return x;
}

/* False: the table has no row of its own for the type. memory: COPIES_BYTES for copies of the weight. */
static bool matrix_open(struct matrix *m, const struct rz_kernels *k, const struct options *o, int32_t type,
                        uint8_t *memory)
{
    struct rng r = {7};
    memset(m, 0, sizeof *m);
    m->node = (struct rz_kernel_node){.size = sizeof m->node,
                                      .op = RZ_OP_MATMUL,
                                      .n_weights = 2,
                                      .attr = m->attrs,
                                      .weights = m->weights,
                                      .weight_stride = sizeof m->weights[0],
                                      .n_in = 1,
                                      .n_out = 1,
                                      .max_rows = ROWS_MAX,
                                      .in_width = {o->cols},
                                      .out_width = {o->rows}};
    m->weights[0] = (struct rz_weight_view){.size = sizeof m->weights[0],
                                            .type = type,
                                            .cols = o->cols,
                                            .rows = o->rows,
                                            .bytes = weight_bytes(type, o->cols * o->rows)};
    m->weights[1] = (struct rz_weight_view){.size = sizeof m->weights[1], .type = RZ_TYPE_NONE};
    m->row = find_row(k, &m->node);
    m->layout = m->row && m->row->layout ? find_layout(k, m->row->layout(&m->node, 0), type) : NULL;
    if (!m->layout)
        return false;
    void *file = room(m->weights[0].bytes);
    weight_random(type, file, o->cols * o->rows, 0.02, &r);
    m->weights[0].data = file;
    m->bytes = m->layout->bytes(&m->weights[0]);
    uint64_t padded = (m->bytes + 4095) / 4096 * 4096;
    m->n_copies = COPIES_BYTES / padded && !o->cached ? COPIES_BYTES / padded : 1;
    m->copies = memory;
    m->layout->prep(&m->weights[0], m->copies, 0,
                    (o->rows + m->layout->row_group - 1) / m->layout->row_group);
    for (uint64_t i = 1; i < m->n_copies; i++)
        memcpy(m->copies + i * padded, m->copies, m->bytes);
    free(file);
    m->weights[0].layout = m->layout->id;
    m->weights[0].bytes = m->bytes;
    m->scratch = room(m->row->scratch ? m->row->scratch(&m->node, ROWS_MAX, o->threads) : 1);
    m->in = (struct rz_view){floats(o->cols * ROWS_MAX, &r), o->cols, ROWS_MAX, o->cols};
    m->out = (struct rz_view){room(o->rows * ROWS_MAX * sizeof(float)), o->rows, ROWS_MAX, o->rows};
    return true;
}

static void matrix_close(struct matrix *m)
{
    free(m->scratch);
    free(m->in.data);
    free(m->out.data);
}

static void matrix_run(void *arg, struct rz_team *team, uint32_t tid)
{
    struct matrix *m = arg;
    struct rz_kernel_call call = {.size = sizeof call,
                                  .n_rows = m->n_rows,
                                  .tid = tid,
                                  .n_threads = team->n_threads,
                                  .node = &m->node,
                                  .in = &m->in,
                                  .out = &m->out,
                                  .step = &m->step,
                                  .team = team,
                                  .scratch = m->scratch};
    struct rz_err err = {.size = sizeof err};
    m->row->run(&call, &err);
    team->barrier(team, tid);
}

/* Seconds of the fastest burst; the weight moves on to its next copy between two. */
static double matrix_time(const struct options *o, struct matrix *m, uint32_t n_rows)
{
    uint64_t padded = (m->bytes + 4095) / 4096 * 4096;
    double best = 1e30, end = now() + o->seconds;
    m->n_rows = n_rows;
    for (int i = 0; i < 3 || now() < end; i++) {
        m->at = (m->at + 1) % m->n_copies;
        m->weights[0].data = m->copies + m->at * padded;
        double from = now();
        rz_pool_run(o->pool, matrix_run, m);
        double took = now() - from;
        best = took < best ? took : best;
    }
    return best;
}

static void show(const struct options *o, const char *table, const char *numerics, int32_t type,
                 const struct matrix *m, uint32_t n, double t, double peak, double read)
{
    double macs = (double)o->cols * (double)o->rows * n / t / 1e9, gbs = (double)m->bytes / t / 1e9;
    if (o->json)
        printf(
            "{\"table\": \"%s\", \"activations\": \"%s\", \"type\": \"%s\", \"cols\": %llu, \"rows\": %llu, "
            "\"n\": %u, \"threads\": %u, \"gmacs\": %.2f, \"of_peak\": %.4f, \"gbs\": %.2f, "
            "\"of_read\": %.4f}\n",
            table, numerics, rz_type_info(type)->name, (unsigned long long)o->cols,
            (unsigned long long)o->rows, n, o->threads, macs, macs / peak, gbs, gbs / read);
    else
        printf("%-7s %-6s %-8s %5llu x %-5llu %4u rows  %7.1f GMAC/s %5.1f %% of the peak  %6.1f GB/s %5.1f "
               "%%\n",
               table, numerics, rz_type_info(type)->name, (unsigned long long)o->cols,
               (unsigned long long)o->rows, n, macs, 100 * macs / peak, gbs, 100 * gbs / read);
    fflush(stdout);
}

static void bench_table(const struct options *o, const struct rz_plugin *plugin, int64_t choice,
                        const char *numerics, double peak, double read, uint8_t *memory)
{
    struct rz_option_value value = {.i = choice};
    struct rz_config config = {
        .size = sizeof config, .n_values = plugin->n_options ? 1 : 0, .values = &value};
    struct rz_err err = {.size = sizeof err};
    void *self = NULL;
    if (plugin->header.isa[0] & ~rz_cpu_isa() || (o->table && strcmp(o->table, plugin->header.name)) ||
        plugin->init(NULL, &config, &self, &err))
        return;
    const struct rz_kernels *k = plugin->query(self, RZ_KERNELS_1, 0);
    for (int32_t type = 0; type < 64; type++) {
        struct matrix m;
        if (!rz_type_info(type)->block || o->cols % rz_type_info(type)->block ||
            (o->type && strcasecmp(o->type, rz_type_info(type)->name)) ||
            !matrix_open(&m, k, o, type, memory))
            continue;
        for (uint32_t i = 0; i < o->n_count; i++)
            show(o, plugin->header.name, numerics, type, &m, o->n[i], matrix_time(o, &m, o->n[i]), peak,
                 read);
        matrix_close(&m);
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: kernels [-t THREADS] [-k TABLE] [-w TYPE] [-s COLSxROWS] [-n ROWS,...] "
                    "[-r SECONDS] [--cached] [--json]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        unsigned long long cols, rows;
        if (!strcmp(argv[i], "--json") || !strcmp(argv[i], "--cached")) {
            *(argv[i][2] == 'j' ? &o->json : &o->cached) = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (argv[i][0] != '-' || !value)
            return false;
        i++;
        switch (argv[i - 1][1]) {
        case 't':
            o->threads = (uint32_t)strtoul(value, NULL, 10);
            break;
        case 'k':
            o->table = value;
            break;
        case 'w':
            o->type = value;
            break;
        case 's':
            if (sscanf(value, "%llux%llu", &cols, &rows) != 2 || !cols || !rows)
                return false;
            o->cols = cols;
            o->rows = rows;
            break;
        case 'n':
            o->n_count = 0;
            for (char *at = argv[i]; *at && o->n_count < 16; at += *at == ',')
                o->n[o->n_count++] = (uint32_t)strtoul(at, &at, 10);
            break;
        case 'r':
            o->seconds = strtod(value, NULL);
            break;
        default:
            return false;
        }
    }
    for (uint32_t i = 0; i < o->n_count; i++)
        if (!o->n[i] || o->n[i] > ROWS_MAX)
            return false;
    return o->threads > 0;
}

int main(int argc, char **argv)
{
    struct options o = {
        .threads = 1, .cols = 2048, .rows = 512, .n = {1, 16, 64}, .n_count = 3, .seconds = 0.1};
    struct rz_err err = {.size = sizeof err};
    double int8 = 0, isa_peak[2] = {0, 0};
    if (!parse(argc, argv, &o))
        return usage();
    if (rz_pool_new(o.threads, &o.pool, &err)) {
        fprintf(stderr, "kernels: %s: %s\n", err.where, err.message);
        return 1;
    }
    uint8_t *memory = room(COPIES_BYTES + READ_BYTES);
    memset(memory, 1, COPIES_BYTES + READ_BYTES);
    for (int i = 0; i < n_peaks; i++) {
        if (peaks[i].isa & ~rz_cpu_isa())
            continue;
        double p = peak_of(&o, &peaks[i]);
        show_peak(&o, peaks[i].name, p, "GMAC/s");
        bool wide = peaks[i].isa & RZ_ISA_AVX512F;
        isa_peak[wide] = p > isa_peak[wide] ? p : isa_peak[wide];
        int8 = p > int8 ? p : int8;
    }
    double read = bandwidth(&o, memory, COPIES_BYTES);
    show_peak(&o, "read bandwidth", read, "GB/s");
    show_peak(&o, "a barrier", 1e9 * fastest(&o, &(struct burst){barriers_run, NULL}) / BARRIERS, "ns");
#if defined(__x86_64__)
    bench_table(&o, &rz_builtin_avx2, 0, "int8", isa_peak[0], read, memory);
    bench_table(&o, &rz_builtin_avx512, 0, "int8", isa_peak[1], read, memory);
    bench_table(&o, &rz_builtin_avx512, 1, "int16", isa_peak[1], read, memory);
#endif
    rz_pool_free(o.pool);
    free(memory);
    return 0;
}

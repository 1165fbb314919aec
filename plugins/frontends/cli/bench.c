/* bench.c - `rz bench`: prompt and decode speed, beside the memory bandwidth of the same moment.
 *
 * A test is one combination of depth, batch and length; its repetitions give median, minimum and
 * maximum. Before each test a small reader on the same threads measures how fast memory can be read, and
 * how long the threads take to start together and to meet again, so that a slow neighbour is seen in the line
 * that it spoils.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define REPS_MAX 100000
#define READ_BYTES ((uint64_t)128 << 20) /* larger than the last-level caches in use, small beside RAM */
#define READ_PASSES 4
#define READ_SLICE ((uint64_t)1 << 20)
#define TRIPS 101

struct bench_values {
    struct rz_cli_value model, prompt, new_tokens, depth, batch, reps, whole, requests;
};

#define AT(field) offsetof(struct bench_values, field)

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_INTS, .min = 0, .max = 1 << 24, .at = AT(prompt)},
    {.name = "new", .letter = 'n', .type = OPT_INTS, .min = 0, .max = 1 << 24, .at = AT(new_tokens)},
    {.name = "depth", .letter = 'd', .type = OPT_INTS, .min = 0, .max = 1 << 24, .at = AT(depth)},
    {.name = "batch", .letter = 'b', .type = OPT_INTS, .min = 1, .max = 1024, .at = AT(batch)},
    {.name = "whole", .type = OPT_FLAG, .at = AT(whole)},
    {.name = "requests", .type = OPT_FLAG, .at = AT(requests)},
    {.name = "reps", .letter = 'r', .type = OPT_INT, .min = 1, .max = REPS_MAX, .at = AT(reps)},
    {.name = NULL},
};

/* The small reader. Lanes let the compiler keep several loads in flight. */
typedef uint64_t lanes __attribute__((vector_size(32)));

struct reader {
    const struct rz_host *host;
    const struct rz_host_threads *threads;
    lanes *data;
    uint64_t *sums; /* one a slice, so that the reads cannot be left out */
};

struct bench {
    struct rz_cli_model m;
    struct reader reader;
    bool json, requests;
    uint32_t reps;
    double *rates; /* [reps] tokens/s */
};

static void read_slice(void *arg, uint32_t i)
{
    struct reader *r = arg;
    const lanes *at = r->data + i * (READ_SLICE / sizeof(lanes));
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (uint64_t k = 0; k < READ_SLICE / sizeof(lanes); k += 4) {
        a += at[k];
        b += at[k + 1];
        c += at[k + 2];
        d += at[k + 3];
    }
    a += b + c + d;
    r->sums[i] = a[0] + a[1] + a[2] + a[3];
}

static void fill_slice(void *arg, uint32_t i)
{
    struct reader *r = arg;
    memset((char *)r->data + i * READ_SLICE, (int)(i & 0xff) + 1, READ_SLICE);
}

static int32_t reader_open(struct reader *r, const struct rz_host *host, struct rz_err *err)
{
    r->host = host;
    r->threads = host->query(host->ctx, RZ_HOST_THREADS_1, 0);
    if (!r->threads)
        return rz_fail(err, RZ_EUNSUPPORTED, "bench", "the host has no thread team");
    r->data = host->alloc(host->ctx, READ_BYTES, "bench");
    r->sums = calloc(READ_BYTES / READ_SLICE, sizeof(*r->sums));
    if (!r->data || !r->sums)
        return rz_fail(err, RZ_ENOMEM, "bench", "no memory for the bandwidth measurement");
    r->threads->parallel_for(r->threads->ctx, READ_BYTES / READ_SLICE, fill_slice, r);
    return RZ_OK;
}

static void reader_close(struct reader *r)
{
    if (r->data)
        r->host->free(r->host->ctx, r->data);
    free(r->sums);
}

/* Bytes a second, the best of a few passes. */
static double reader_measure(struct reader *r)
{
    double best = 0;
    for (int pass = 0; pass < READ_PASSES; pass++) {
        double t = rz_cli_now();
        r->threads->parallel_for(r->threads->ctx, READ_BYTES / READ_SLICE, read_slice, r);
        t = rz_cli_now() - t;
        if (t > 0 && (double)READ_BYTES / t > best)
            best = (double)READ_BYTES / t;
    }
    return best;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *sorted, uint32_t n)
{
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void nothing(void *arg, uint32_t i)
{
    (void)arg, (void)i;
}

/* Seconds in which all threads are told of a loop without work and meet again: what a step pays for each
 * of its regions. The median of some. */
static double trip_measure(const struct reader *r)
{
    double took[TRIPS];
    for (int i = 0; i < TRIPS; i++) {
        took[i] = rz_cli_now();
        r->threads->parallel_for(r->threads->ctx, r->threads->n_threads, nothing, NULL);
        took[i] = rz_cli_now() - took[i];
    }
    qsort(took, TRIPS, sizeof(*took), by_value);
    return took[TRIPS / 2];
}

/* What the machine could do when a test began. */
struct machine {
    double read; /* bytes a second             */
    double trip; /* seconds: see trip_measure  */
};

/* One line. A prompt reads the weights once a step, not once a token: it has no bytes per token. */
static int32_t print_test(const struct bench *b, const struct rz_speed *test, const struct machine *machine,
                          struct rz_err *err)
{
    double mid = median(b->rates, b->reps), low = b->rates[0], high = b->rates[b->reps - 1];
    double bytes = test->n_gen && !test->n_prompt ? (double)test->bytes_token / test->n_seqs : 0;
    uint32_t length = test->n_gen ? test->n_gen : test->n_prompt;
    const char *kind = test->n_gen && test->n_prompt ? "whole" : test->n_gen ? "new" : "prompt";
    if (b->json)
        return rz_cli_json(
            json_pack("{s:s,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:I,s:f,s:f,s:f,s:I}", "test", kind, "tokens",
                      (json_int_t)length, "depth", (json_int_t)test->depth, "batch", (json_int_t)test->n_seqs,
                      "reps", (json_int_t)b->reps, "median", mid, "min", low, "max", high, "bytes_per_token",
                      (json_int_t)bytes, "gb_per_s", bytes * mid / 1e9, "read_gb_per_s", machine->read / 1e9,
                      "trip_us", machine->trip * 1e6, "threads", (json_int_t)b->reader.threads->n_threads),
            err);
    char name[64], rest[64] = "-              -";
    snprintf(name, sizeof(name), "%s %u d%u b%u", kind, length, test->depth, test->n_seqs);
    if (bytes > 0)
        snprintf(rest, sizeof(rest), "%8.2f MB %7.2f", bytes / 1e6, bytes * mid / 1e9);
    int32_t code = rz_cli_print(err, "%-24s %10.2f %10.2f %10.2f %20s %10.2f %8.2f\n", name, mid, low, high,
                                rest, machine->read / 1e9, machine->trip * 1e6);
    return code ? code : rz_cli_write("", 0, err);
}

static int32_t run_test(struct bench *b, struct rz_speed test, struct rz_err *err)
{
    const struct machine machine = {reader_measure(&b->reader), trip_measure(&b->reader)};
    uint64_t tokens = (uint64_t)(test.n_gen ? test.n_gen : test.n_prompt) * test.n_seqs;
    for (uint32_t i = 0; i < b->reps; i++) {
        int32_t code =
            b->requests ? rz_cli_bench_requests(&b->m, &test, err) : b->m.api->speed(b->m.model, &test, err);
        if (code)
            return code;
        b->rates[i] = test.seconds > 0 ? (double)tokens / test.seconds : 0;
    }
    qsort(b->rates, b->reps, sizeof(*b->rates), by_value);
    return print_test(b, &test, &machine, err);
}

/* Each prompt with each number of new tokens as one job. */
static int32_t run_jobs(struct bench *b, const struct bench_values *v, struct rz_speed test,
                        struct rz_err *err)
{
    int32_t code = RZ_OK;
    for (uint32_t i = 0; i < v->prompt.n; i++)
        for (uint32_t k = 0; k < v->new_tokens.n && !code; k++) {
            test.n_prompt = (uint32_t)v->prompt.ints[i];
            test.n_gen = (uint32_t)v->new_tokens.ints[k];
            if (test.n_prompt && test.n_gen)
                code = run_test(b, test, err);
        }
    return code;
}

static int32_t run_lengths(struct bench *b, const struct bench_values *v, struct rz_speed test,
                           struct rz_err *err)
{
    if (v->whole.given || v->requests.given)
        return run_jobs(b, v, test, err);
    int32_t code = RZ_OK;
    for (uint32_t i = 0; i < v->prompt.n && !code; i++) {
        test.n_prompt = (uint32_t)v->prompt.ints[i];
        if (test.n_prompt)
            code = run_test(b, test, err);
    }
    test.n_prompt = 0;
    for (uint32_t i = 0; i < v->new_tokens.n && !code; i++) {
        test.n_gen = (uint32_t)v->new_tokens.ints[i];
        if (test.n_gen)
            code = run_test(b, test, err);
    }
    return code;
}

static int32_t run_all(struct bench *b, const struct bench_values *v, struct rz_err *err)
{
    int32_t code = RZ_OK;
    if (!b->json)
        code = rz_cli_print(err, "%-24s %10s %10s %10s %20s %10s %8s\n", "test (tokens/s)", "median", "min",
                            "max", "read/token    GB/s", "RAM GB/s", "trip us");
    for (uint32_t d = 0; d < v->depth.n; d++)
        for (uint32_t s = 0; s < v->batch.n && !code; s++) {
            struct rz_speed test = {.size = sizeof(test)};
            test.depth = (uint32_t)v->depth.ints[d];
            test.n_seqs = (uint32_t)v->batch.ints[s];
            code = run_lengths(b, v, test, err);
        }
    return code;
}

static void set_default(struct rz_cli_value *v, int64_t value)
{
    if (v->given)
        return;
    v->ints[0] = value;
    v->n = 1;
}

static uint32_t largest(const struct rz_cli_value *v)
{
    int64_t best = 0;
    for (uint32_t i = 0; i < v->n; i++)
        best = v->ints[i] > best ? v->ints[i] : best;
    return (uint32_t)best;
}

static int32_t work(const struct rz_cli *cli, struct bench *b, const struct bench_values *v,
                    struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN, .exact_context = 1};
    uint32_t prompt = largest(&v->prompt), new_tokens = largest(&v->new_tokens);
    mo.context = largest(&v->depth) + (v->whole.given        ? prompt + new_tokens
                                       : prompt > new_tokens ? prompt
                                                             : new_tokens);
    mo.max_seqs = largest(&v->batch);
    if (!prompt && !new_tokens)
        return rz_fail(err, RZ_ECONFIG, "bench", "-p 0 and -n 0: no test is left");
    b->rates = calloc(b->reps, sizeof(*b->rates));
    if (!b->rates)
        return rz_fail(err, RZ_ENOMEM, "bench", "no memory");
    int32_t code = rz_cli_open(cli, v->model.text, &mo, &b->m, err);
    if (!code)
        code = reader_open(&b->reader, cli->host, err);
    return code ? code : run_all(b, v, err);
}

int32_t rz_cli_bench(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct bench_values v = {0};
    struct bench b = {.json = flags & RZ_COMMAND_JSON};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    set_default(&v.prompt, 512);
    set_default(&v.new_tokens, 128);
    set_default(&v.depth, 0);
    set_default(&v.batch, 1);
    b.requests = v.requests.given;
    b.reps = v.reps.given ? (uint32_t)v.reps.i : 5;
    int32_t code = work(self, &b, &v, err);
    reader_close(&b.reader);
    rz_cli_close(&b.m);
    free(b.rates);
    return code ? rz_cli_status(code) : 0;
}

/* faulty_device.c - a device that fails where a test says: the scalar kernels of the CPU, one thread, behind
 * a table of its own.
 *
 * fail = PLACE:N: the Nth call there fails. open, memory, claim, compile, fetch, store are the functions of
 * that name; step is execute, pair are those steps that carry several sequences, copy and state those that
 * copy pages, or states; few answers with
 * a result less than was wanted, nan with one that is no number, hang does not return. A step that fails does
 * nothing at all. Afterwards all steps fail, as on a lost device, unless once = 1. code: what is said.
 */
#include "err.h"
#include "exec.h"

#include <math.h>
#include <rz/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct rz_plugin rz_builtin_scalar;

static struct {
    struct rz_cpu_table kernels;
    struct rz_pool *pool;
    struct rz_cpu *cpu;
    const struct rz_device *inner;
    struct rz_device table;
    const char *place;
    uint64_t nth, calls;
    int32_t code;
    bool once, lost;
} faulty;

/* Is this call the one, or has it been? */
static bool due(const char *place)
{
    if (strcmp(faulty.place, place) != 0)
        return false;
    faulty.calls++;
    return faulty.calls == faulty.nth || (faulty.calls > faulty.nth && !faulty.once);
}

static int32_t fail(const char *place, struct rz_err *err)
{
    return rz_fail(err, faulty.code, "faulty", "an injected error in %s, call %llu", place,
                   (unsigned long long)faulty.calls);
}

/* --- the device --- */

static int32_t open_device(void *ctx, struct rz_err *err)
{
    (void)ctx;
    return due("open") ? fail("open", err) : faulty.inner->open(faulty.inner->ctx, err);
}

static int32_t memory(void *ctx, struct rz_device_memory *out, struct rz_err *err)
{
    (void)ctx;
    return due("memory") ? fail("memory", err) : faulty.inner->memory(faulty.inner->ctx, out, err);
}

static int32_t claim(void *ctx, const struct rz_program *program, uint32_t node,
                     const struct rz_plan_limits *limits, struct rz_claim *out, struct rz_err *err)
{
    (void)ctx;
    return due("claim") ? fail("claim", err)
                        : faulty.inner->claim(faulty.inner->ctx, program, node, limits, out, err);
}

static int32_t compile(void *ctx, const struct rz_program *program, const uint32_t *nodes, uint32_t n,
                       const struct rz_plan_limits *limits, struct rz_plan **out, struct rz_err *err)
{
    (void)ctx;
    return due("compile") ? fail("compile", err)
                          : faulty.inner->compile(faulty.inner->ctx, program, nodes, n, limits, out, err);
}

static int32_t info(struct rz_plan *plan, struct rz_plan_info *out)
{
    return faulty.inner->info(plan, out);
}

static int32_t part(struct rz_plan *plan, uint32_t i, struct rz_plan_part *out)
{
    return faulty.inner->part(plan, i, out);
}

static int32_t execute(struct rz_plan *plan, const struct rz_batch *batch, struct rz_result *out,
                       struct rz_err *err)
{
    const char *place = faulty.place;
    bool now = due("step") || (batch->n_seqs > 1 && due("pair")) || (batch->n_copies && due("copy")) ||
               (batch->n_state_copies && due("state"));
    if (faulty.lost && !faulty.once)
        return fail("a step after that", err);
    if (now) {
        faulty.lost = faulty.code == RZ_EDEVICE;
        return fail(place, err);
    }
    while (due("hang"))
        sleep(1);
    int32_t status = faulty.inner->execute(plan, batch, out, err);
    if (status || !out->n)
        return status;
    if (due("few"))
        out->n--;
    if (due("nan"))
        ((float *)(uintptr_t)out->logits)[0] = NAN;
    return status;
}

static void destroy(struct rz_plan *plan)
{
    faulty.inner->destroy(plan);
}

static int64_t fetch(struct rz_plan *plan, uint32_t group, int32_t index, void *out, uint64_t n,
                     struct rz_err *err)
{
    return out && due("fetch") ? fail("fetch", err) : faulty.inner->fetch(plan, group, index, out, n, err);
}

static int32_t store(struct rz_plan *plan, uint32_t group, int32_t index, const void *in, uint64_t n,
                     struct rz_err *err)
{
    return due("store") ? fail("store", err) : faulty.inner->store(plan, group, index, in, n, err);
}

/* --- the plugin --- */

enum {
    OPT_FAIL,
    OPT_CODE,
    OPT_ONCE,
    N_OPTIONS
};

static const struct rz_option options[N_OPTIONS] = {
    [OPT_FAIL] = {.size = sizeof(struct rz_option),
                  .type = RZ_OPT_STRING,
                  .name = "fail",
                  .def = "never:1",
                  .help = "PLACE:N"},
    [OPT_CODE] = {.size = sizeof(struct rz_option),
                  .type = RZ_OPT_CHOICE,
                  .name = "code",
                  .def = "device",
                  .choices = "device|memory|internal",
                  .help = "what is said"},
    [OPT_ONCE] = {.size = sizeof(struct rz_option),
                  .type = RZ_OPT_BOOL,
                  .name = "once",
                  .def = "0",
                  .help = "the calls after it are good"},
};

static int32_t start(struct rz_err *err)
{
    void *self = NULL;
    int32_t status = rz_builtin_scalar.init ? rz_builtin_scalar.init(NULL, NULL, &self, err) : RZ_OK;
    faulty.kernels =
        (struct rz_cpu_table){.kernels = rz_builtin_scalar.query(self, RZ_KERNELS_1, 0), .name = "scalar"};
    if (!status)
        status = rz_pool_new(1, &faulty.pool, err);
    struct rz_cpu_setup setup = {.tables = &faulty.kernels, .n_tables = 1, .pool = faulty.pool};
    if (!status)
        status = rz_cpu_new(&setup, &faulty.cpu, err);
    if (!status)
        faulty.inner = rz_cpu_device(faulty.cpu);
    return status;
}

static void fini(void *self)
{
    (void)self;
    rz_cpu_free(faulty.cpu);
    rz_pool_free(faulty.pool);
}

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    static const int32_t codes[] = {RZ_EDEVICE, RZ_ENOMEM, RZ_EINTERNAL};
    static char place[32];
    const char *text = config->values[OPT_FAIL].text, *colon = strchr(text, ':');
    (void)host;
    if (!colon || (size_t)(colon - text) >= sizeof(place))
        return rz_fail(err, RZ_ECONFIG, config->values[OPT_FAIL].from, "fail is PLACE:N");
    memcpy(place, text, (size_t)(colon - text));
    faulty.place = place;
    faulty.nth = strtoull(colon + 1, NULL, 10);
    faulty.code = codes[config->values[OPT_CODE].i];
    faulty.once = config->values[OPT_ONCE].i;
    faulty.table = (struct rz_device){.size = sizeof(faulty.table),
                                      .name = "faulty-device",
                                      .open = open_device,
                                      .memory = memory,
                                      .claim = claim,
                                      .compile = compile,
                                      .info = info,
                                      .part = part,
                                      .execute = execute,
                                      .destroy = destroy,
                                      .fetch = fetch,
                                      .store = store};
    *self = NULL;
    return start(err);
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return minor_need == 0 && !strcmp(id, RZ_DEVICE_1) ? &faulty.table : NULL;
}

RZ_PLUGIN_DEFINE = {.header = {RZ_HEADER(RZ_KIND_DEVICE), .name = "faulty-device", .version = "1",
                               .vendor = "rz", .licence = "MIT", .provides = "device:faulty-device"},
                    .options = options,
                    .n_options = N_OPTIONS,
                    .option_stride = sizeof(options[0]),
                    .init = init,
                    .fini = fini,
                    .query = query};

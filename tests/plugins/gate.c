/* gate.c - a format plugin that reads nothing: whoever opens a model file waits in it, as long as the test
 * keeps the gate of that file: a file of the same path and ".gate".
 */
#include <rz/format.h>
#include <rz/plugin.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int32_t probe(void *self, const struct rz_source *first)
{
    char gate[1024];
    struct timespec t = {.tv_nsec = 5000000};
    (void)self;
    snprintf(gate, sizeof(gate), "%s.gate", first->path);
    while (access(gate, F_OK) == 0)
        nanosleep(&t, NULL);
    return 0;
}

static int32_t none(void *self, const struct rz_source *sources, uint32_t n, uint32_t stride,
                    const struct rz_format_limits *limits, struct rz_format_model **out, struct rz_err *err)
{
    (void)self, (void)sources, (void)n, (void)stride, (void)limits, (void)out, (void)err;
    return RZ_EUNSUPPORTED;
}

static void close_none(void *self, struct rz_format_model *model)
{
    (void)self, (void)model;
}

static const struct rz_format format = {
    .size = sizeof(format), .name = "gate", .probe = probe, .open = none, .close = close_none};

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)config, (void)err;
    *self = NULL;
    return RZ_OK;
}

static void fini(void *self)
{
    (void)self;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    static const char wanted[] = RZ_FORMAT_1;
    (void)self;
    for (uint32_t i = 0; i < sizeof(wanted); i++)
        if (id[i] != wanted[i])
            return NULL;
    return minor_need == 0 ? &format : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_FORMAT), .name = "gate", .version = "1.0", .vendor = "rz", .licence = "MIT",
               .provides = "format:gguf"},
    .init = init,
    .fini = fini,
    .query = query,
};

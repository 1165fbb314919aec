/* opencl.c - the plugin: options, and the rz.device/1 table. Nothing here needs OpenCL to be there. */
#include "opencl.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define TEXT(NAME, TYPE, DEF, HELP) \
    {.size = sizeof(struct rz_option), .type = TYPE, .name = NAME, .def = DEF, .help = HELP}
static const struct rz_option options[] = {
    TEXT("platform", RZ_OPT_STRING, NULL, "part of its name, or its number; unset: the first with a device"),
    TEXT("device", RZ_OPT_STRING, NULL, "part of its name, or its number; unset: a GPU, else any"),
    {.size = sizeof(struct rz_option), .type = RZ_OPT_CHOICE, .name = "kernels", .def = "auto",
     .choices = "auto|narrow|wide",
     .help = "narrow: an item a row, for CPUs; wide: work-groups, for GPUs; auto: what the device is"},
    TEXT("cache", RZ_OPT_PATH, NULL, "folder of built programs; unset: ~/.cache/rz/opencl; off: none"),
};
/* clang-format on */

/* kv.cl is built for each, and all cost the same but q8_0. */
static int32_t any_kv_type(void *ctx, const struct rz_program *program, uint32_t page_tokens)
{
    (void)ctx;
    (void)program;
    (void)page_tokens;
    return RZ_TYPE_NONE;
}

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    struct opencl *cl = calloc(1, sizeof(*cl));
    if (!cl)
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory");
    cl->host = host;
    pthread_mutex_init(&cl->lock, NULL);
    if (config && config->n_values >= 4) {
        cl->want_platform = config->values[0].text;
        cl->want_device = config->values[1].text;
        cl->want_kernels = config->values[2].text;
        cl->cache = config->values[3].text;
    }
    cl->table = (struct rz_device){.size = sizeof(cl->table),
                                   .name = "opencl",
                                   .ctx = cl,
                                   .open = device_open,
                                   .memory = device_memory,
                                   .claim = plan_claim,
                                   .compile = plan_compile,
                                   .info = plan_info,
                                   .part = plan_part,
                                   .execute = plan_execute,
                                   .destroy = plan_destroy,
                                   .kv_type = any_kv_type,
                                   .fetch = plan_fetch,
                                   .store = plan_store};
    *self = cl;
    return RZ_OK;
}

static void fini(void *self)
{
    device_close(self);
    pthread_mutex_destroy(&((struct opencl *)self)->lock);
    free(self);
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    return !strcmp(id, RZ_DEVICE_1) && minor_need == 0 ? &((struct opencl *)self)->table : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_DEVICE), .name = "opencl", .version = "0.1.0", .vendor = "rz",
               .licence = "MIT", .provides = "device:opencl"},
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .option_stride = sizeof(options[0]),
    .init = init,
    .fini = fini,
    .query = query,
};

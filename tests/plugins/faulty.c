/* faulty.c - a kernel table that fails when a test says so: the gate of the feed-forward part, and a file
 * whose first byte says what is to go wrong.
 *
 * e: an error, m: no memory, n: not a number, s: 20 ms slower, h: hangs until the byte changes, l: the plan
 * is not compiled before the byte changes. No file, or anything else: it computes.
 */
#include <fcntl.h>
#include <math.h>
#include <rz/kernels.h>
#include <rz/plugin.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *path;

static void sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static char wanted(void)
{
    char c = 0;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    if (read(fd, &c, 1) != 1)
        c = 0;
    close(fd);
    return c;
}

static int32_t fail(struct rz_err *err, int32_t code, const char *message)
{
    if (err) {
        err->code = code;
        memcpy(err->where, "faulty", sizeof("faulty"));
        memcpy(err->message, message, strlen(message) + 1);
    }
    return code;
}

static int32_t run(const struct rz_kernel_call *c, struct rz_err *err)
{
    char mode = wanted();
    if (mode == 'e')
        return fail(err, RZ_EDEVICE, "an injected error");
    if (mode == 'm')
        return fail(err, RZ_ENOMEM, "injected: no memory");
    if (mode == 's')
        sleep_ms(20);
    while (mode == 'h' && wanted() == 'h')
        sleep_ms(10);
    for (uint32_t r = 0; r < c->n_rows; r++) {
        const float *gate = c->in[0].data + r * c->in[0].stride;
        const float *up = c->in[1].data + r * c->in[1].stride;
        float *out = c->out[0].data + r * c->out[0].stride;
        for (uint64_t i = 0; i < c->out[0].width; i++)
            out[i] = mode == 'n' ? NAN : gate[i] / (1 + expf(-gate[i])) * up[i];
    }
    return RZ_OK;
}

static uint64_t scratch(const struct rz_kernel_node *node, uint32_t max_rows, uint32_t n_threads)
{
    (void)node, (void)max_rows, (void)n_threads;
    while (wanted() == 'l')
        sleep_ms(10);
    return 0;
}

static const struct rz_kernel_row rows[] = {
    RZ_KERNEL_ROW(.op = RZ_OP_ACT_MUL, .weight = RZ_TYPE_NONE, .attrs = RZ_ATTR_SILU,
                  .flags = RZ_ROW_INVARIANT, .name = "faulty act_mul", .scratch = scratch, .run = run),
};

static const struct rz_kernels table = {
    .size = sizeof(table), .name = "faulty", .rows = rows, .n_rows = 1, .row_stride = sizeof(rows[0])};

static const struct rz_option options[] = {
    {.size = sizeof(struct rz_option), .type = RZ_OPT_STRING, .name = "file", .help = "says what goes wrong"},
};

static int32_t init(const struct rz_host *host, const struct rz_config *config, void **self,
                    struct rz_err *err)
{
    (void)host, (void)err;
    path = config->values[0].text;
    *self = NULL;
    return RZ_OK;
}

static const void *query(void *self, const char *id, uint32_t minor_need)
{
    (void)self;
    return minor_need == 0 && !strcmp(id, RZ_KERNELS_1) ? &table : NULL;
}

RZ_PLUGIN_DEFINE = {
    .header = {RZ_HEADER(RZ_KIND_KERNELS), .name = "faulty", .version = "1", .vendor = "rz", .licence = "MIT",
               .provides = "kernels:faulty"},
    .options = options,
    .n_options = 1,
    .option_stride = sizeof(options[0]),
    .init = init,
    .query = query,
};

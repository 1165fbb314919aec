/* build.c - programs for the device: a binary of an earlier run where there is one, else compiled and
 * kept. */
#include "opencl.h"

#include "buf.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

#define LOG_SHOWN 400

static uint64_t hash(const char *text, uint64_t seed)
{
    for (; *text; text++)
        seed = (seed ^ (uint8_t)*text) * 0x100000001b3ull;
    return seed;
}

/* All that a binary depends on. NULL: no memory. */
static char *key_of(const struct opencl *cl, const struct source *source, const char *options)
{
    struct rz_buf key;
    uint64_t low = 0xcbf29ce484222325ull, high = 0x9e3779b97f4a7c15ull;
    const char *texts[] = {source_base, source->first, source->second};
    for (size_t i = 0; i < 3; i++) {
        low = hash(texts[i], low);
        high = hash(texts[2 - i], high);
    }
    rz_buf_init(&key, 4096);
    rz_buf_printf(&key,
                  "platform %s\ndevice %s\nversion %s\ndriver %s\nsource %s %016llx%016llx\noptions %s\n",
                  cl->platform_name, cl->device_name, cl->version, cl->driver, source->name,
                  (unsigned long long)low, (unsigned long long)high, options);
    return rz_buf_take(&key);
}

/* The end of the first lines of the compiler's log. */
static int32_t build_failed(const struct opencl *cl, cl_program program, const struct source *source,
                            cl_int status, struct rz_err *err)
{
    char shown[LOG_SHOWN];
    size_t n = 0;
    char *text = NULL;
    cl->lib.GetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &n);
    if (n && n < 1u << 24)
        text = calloc(1, n + 1);
    if (text)
        cl->lib.GetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, n, text, NULL);
    rz_show(shown, sizeof(shown), text ? text : "", text ? strlen(text) : 0);
    free(text);
    return rz_fail(err, RZ_EDEVICE, cl->device_name, "%s does not build: %s: %s", source->name,
                   cl_error_name(status), shown[0] ? shown : "no log");
}

static cl_program from_binary(const struct opencl *cl, const char *key)
{
    struct blob binary = binary_load(cl, key);
    const unsigned char *data = binary.data;
    cl_int status, loaded;
    if (!data)
        return NULL;
    cl_program program =
        cl->lib.CreateProgramWithBinary(cl->context, 1, &cl->device, &binary.n, &data, &loaded, &status);
    free(binary.data);
    if (program && (loaded || status || cl->lib.BuildProgram(program, 1, &cl->device, "", NULL, NULL))) {
        cl->lib.ReleaseProgram(program);
        program = NULL;
    }
    return program;
}

static void keep(const struct opencl *cl, cl_program program, const char *key)
{
    struct blob binary = {0};
    if (cl->lib.GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(binary.n), &binary.n, NULL) ||
        !binary.n)
        return;
    binary.data = malloc(binary.n);
    if (binary.data &&
        !cl->lib.GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(binary.data), &binary.data, NULL))
        binary_store(cl, key, &binary);
    free(binary.data);
}

int32_t program_build(struct opencl *cl, const struct source *source, const char *options, cl_program *out,
                      struct rz_err *err)
{
    const char *texts[] = {source_base, source->first, source->second};
    cl_int status;
    char *key = key_of(cl, source, options);
    if (!key)
        return rz_fail(err, RZ_ENOMEM, "opencl", "no memory");
    *out = from_binary(cl, key);
    if (*out) {
        free(key);
        return RZ_OK;
    }
    *out = cl->lib.CreateProgramWithSource(cl->context, 3, texts, NULL, &status);
    if (!*out) {
        free(key);
        return rz_fail(err, RZ_EDEVICE, cl->device_name, "%s: %s", source->name, cl_error_name(status));
    }
    status = cl->lib.BuildProgram(*out, 1, &cl->device, options, NULL, NULL);
    int32_t code = status ? build_failed(cl, *out, source, status, err) : RZ_OK;
    if (!code)
        keep(cl, *out, key);
    free(key);
    return code;
}

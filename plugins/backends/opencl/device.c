/* device.c - one device of one platform: chosen by name or kind, with a context and an in-order queue. */
#include "opencl.h"

#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MANY 16

/* Whatever the case of letters. */
static bool contains(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text; text++)
        if (!strncasecmp(text, part, n))
            return true;
    return !n;
}

static bool matches(const char *want, const char *name, uint32_t index)
{
    char *end;
    if (!want)
        return true;
    unsigned long n = strtoul(want, &end, 10);
    return *want && !*end ? n == index : contains(name, want);
}

static void device_text(const struct opencl *cl, cl_device_id d, cl_device_info what, char *out, size_t cap)
{
    out[0] = 0;
    if (cl->lib.GetDeviceInfo(d, what, cap, out, NULL))
        snprintf(out, cap, "unknown");
    out[cap - 1] = 0;
}

static cl_device_type type_of(const struct opencl *cl, cl_device_id d)
{
    cl_device_type type = 0;
    cl->lib.GetDeviceInfo(d, CL_DEVICE_TYPE, sizeof(type), &type, NULL);
    return type;
}

/* The best device of a platform that the options allow: a GPU or accelerator before a CPU. */
static bool choose_device(struct opencl *cl, cl_platform_id platform)
{
    cl_device_id devices[MANY];
    cl_uint n = 0;
    bool found = false;
    if (cl->lib.GetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MANY, devices, &n))
        return false;
    for (cl_uint i = 0; i < n && i < MANY; i++) {
        char name[sizeof(cl->device_name)];
        bool gpu = type_of(cl, devices[i]) & (CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR);
        device_text(cl, devices[i], CL_DEVICE_NAME, name, sizeof(name));
        if (!matches(cl->want_device, name, i) || (found && !gpu))
            continue;
        cl->device = devices[i];
        memcpy(cl->device_name, name, sizeof(name));
        found = true;
        if (gpu)
            break;
    }
    return found;
}

static int32_t choose(struct opencl *cl, struct rz_err *err)
{
    cl_platform_id platforms[MANY];
    cl_uint n = 0;
    char seen[256] = "";
    cl_int status = cl->lib.GetPlatformIDs(MANY, platforms, &n);
    if (status || !n)
        return rz_fail(err, RZ_EDEVICE, "opencl", "there is no OpenCL platform on this machine (%s)",
                       status ? cl_error_name(status) : "the ICD loader knows none");
    for (cl_uint i = 0; i < n && i < MANY; i++) {
        size_t used = strlen(seen);
        if (cl->lib.GetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof(cl->platform_name),
                                    cl->platform_name, NULL))
            continue;
        snprintf(seen + used, sizeof(seen) - used, "%s\"%s\"", used ? ", " : "", cl->platform_name);
        if (matches(cl->want_platform, cl->platform_name, i) && choose_device(cl, platforms[i]))
            return RZ_OK;
    }
    return rz_fail(
        err, RZ_EDEVICE, "opencl", "no device that fits platform \"%s\", device \"%s\"; there is %s",
        cl->want_platform ? cl->want_platform : "any", cl->want_device ? cl->want_device : "any", seen);
}

static void look(struct opencl *cl)
{
    cl_ulong memory = 0, largest = 0;
    size_t most = 1;
    cl->lib.GetDeviceInfo(cl->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(memory), &memory, NULL);
    cl->lib.GetDeviceInfo(cl->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(largest), &largest, NULL);
    cl->lib.GetDeviceInfo(cl->device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(most), &most, NULL);
    cl->memory = memory;
    cl->largest = largest;
    device_text(cl, cl->device, CL_DRIVER_VERSION, cl->driver, sizeof(cl->driver));
    device_text(cl, cl->device, CL_DEVICE_VERSION, cl->version, sizeof(cl->version));
    const char *want = cl->want_kernels ? cl->want_kernels : "auto";
    cl->wide =
        !strcmp(want, "auto") ? !(type_of(cl, cl->device) & CL_DEVICE_TYPE_CPU) : !strcmp(want, "wide");
    cl->wide = cl->wide && most >= 64; /* LANES of wide.cl */
}

int32_t device_open(void *ctx, struct rz_err *err)
{
    struct opencl *cl = ctx;
    cl_int status;
    if (cl->opened)
        return RZ_OK;
    int32_t code = library_load(&cl->lib, err);
    if (!code)
        code = choose(cl, err);
    if (code)
        return code;
    look(cl);
    cl->context = cl->lib.CreateContext(NULL, 1, &cl->device, NULL, NULL, &status);
    if (cl->context)
        cl->queue = cl->lib.CreateCommandQueue(cl->context, cl->device, 0, &status);
    if (!cl->queue) {
        device_close(cl);
        return rz_fail(err, RZ_EDEVICE, cl->device_name, "the device cannot be opened: %s",
                       cl_error_name(status));
    }
    cl->opened = true;
    return RZ_OK;
}

int32_t device_memory(void *ctx, struct rz_device_memory *out, struct rz_err *err)
{
    struct opencl *cl = ctx;
    if (!cl->opened)
        return rz_fail(err, RZ_EINVAL, "opencl", "no device is open");
    out->total = cl->memory;
    out->free = 0;
    out->largest = cl->largest;
    return RZ_OK;
}

void device_close(struct opencl *cl)
{
    if (cl->queue)
        cl->lib.ReleaseCommandQueue(cl->queue);
    if (cl->context)
        cl->lib.ReleaseContext(cl->context);
    cl->queue = NULL;
    cl->context = NULL;
    cl->opened = false;
}

/* faulty_cl.c - a layer of the OpenCL loader (OPENCL_LAYERS): RZ_CL_FAIL=CALL:N, and the Nth call of that
 * name fails, and all of them after it, as on a device that is lost.
 *
 * kernel, read, write, copy, finish (queue), buffer, program (memory and compiler).
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl_layer.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const struct _cl_icd_dispatch *next;
static struct _cl_icd_dispatch mine;
static atomic_ulong calls;

static int fails(const char *name)
{
    const char *wanted = getenv("RZ_CL_FAIL"), *colon = wanted ? strchr(wanted, ':') : NULL;
    if (!colon || strlen(name) != (size_t)(colon - wanted) || strncmp(wanted, name, strlen(name)) != 0)
        return 0;
    return atomic_fetch_add(&calls, 1) + 1 >= strtoul(colon + 1, NULL, 10);
}

#define EVENTS cl_uint n, const cl_event *wait, cl_event *event

static cl_int kernel(cl_command_queue q, cl_kernel k, cl_uint dim, const size_t *offset, const size_t *global,
                     const size_t *local, EVENTS)
{
    return fails("kernel") ? CL_OUT_OF_RESOURCES
                           : next->clEnqueueNDRangeKernel(q, k, dim, offset, global, local, n, wait, event);
}

static cl_int from_device(cl_command_queue q, cl_mem m, cl_bool block, size_t at, size_t bytes, void *to,
                          EVENTS)
{
    return fails("read") ? CL_OUT_OF_RESOURCES
                         : next->clEnqueueReadBuffer(q, m, block, at, bytes, to, n, wait, event);
}

static cl_int to_device(cl_command_queue q, cl_mem m, cl_bool block, size_t at, size_t bytes,
                        const void *from, EVENTS)
{
    return fails("write") ? CL_OUT_OF_RESOURCES
                          : next->clEnqueueWriteBuffer(q, m, block, at, bytes, from, n, wait, event);
}

static cl_int copy(cl_command_queue q, cl_mem a, cl_mem b, size_t from, size_t to, size_t bytes, EVENTS)
{
    return fails("copy") ? CL_OUT_OF_RESOURCES
                         : next->clEnqueueCopyBuffer(q, a, b, from, to, bytes, n, wait, event);
}

static cl_int finish(cl_command_queue q)
{
    return fails("finish") ? CL_OUT_OF_RESOURCES : next->clFinish(q);
}

static cl_mem buffer(cl_context c, cl_mem_flags flags, size_t bytes, void *host, cl_int *status)
{
    if (!fails("buffer"))
        return next->clCreateBuffer(c, flags, bytes, host, status);
    if (status)
        *status = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static cl_int program(cl_program p, cl_uint n, const cl_device_id *devices, const char *options,
                      void(CL_CALLBACK *done)(cl_program, void *), void *arg)
{
    return fails("program") ? CL_BUILD_PROGRAM_FAILURE
                            : next->clBuildProgram(p, n, devices, options, done, arg);
}

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *out, size_t *need)
{
    cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION || (out && size < sizeof(version)))
        return CL_INVALID_VALUE;
    if (out)
        memcpy(out, &version, sizeof(version));
    if (need)
        *need = sizeof(version);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint n, const struct _cl_icd_dispatch *target, cl_uint *n_mine,
                                            const struct _cl_icd_dispatch **out)
{
    if (n < sizeof(mine) / sizeof(void *))
        return CL_INVALID_VALUE;
    next = target;
    mine = *target;
    mine.clEnqueueNDRangeKernel = kernel;
    mine.clEnqueueReadBuffer = from_device;
    mine.clEnqueueWriteBuffer = to_device;
    mine.clEnqueueCopyBuffer = copy;
    mine.clFinish = finish;
    mine.clCreateBuffer = buffer;
    mine.clBuildProgram = program;
    *out = &mine;
    *n_mine = sizeof(mine) / sizeof(void *);
    return CL_SUCCESS;
}

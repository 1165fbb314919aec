/* load.c - libOpenCL at run time. The plugin links nothing of it, so that it loads, is listed and
 * configured on machines without an OpenCL ICD loader; only opening a device needs one.
 */
#include "opencl.h"

#include "err.h"

#include <dlfcn.h>

int32_t library_load(struct cl_library *lib, struct rz_err *err)
{
    static const char name[] = "libOpenCL.so.1";
    if (lib->handle)
        return RZ_OK;
    lib->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!lib->handle)
        return rz_fail(err, RZ_EDEVICE, "opencl", "there is no OpenCL ICD loader on this machine: %s",
                       dlerror());
#define CL_RESOLVE(f) \
    if (!(lib->f = (__typeof__(lib->f))dlsym(lib->handle, "cl" #f))) \
        return rz_fail(err, RZ_EDEVICE, "opencl", "%s has no function cl%s (OpenCL 1.2 is needed)", name, #f);
    CL_FUNCTIONS(CL_RESOLVE)
#undef CL_RESOLVE
    return RZ_OK;
}

const char *cl_error_name(cl_int code)
{
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
#define NAME(n) {n, #n}
        NAME(CL_DEVICE_NOT_FOUND),       NAME(CL_DEVICE_NOT_AVAILABLE),
        NAME(CL_COMPILER_NOT_AVAILABLE), NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE),
        NAME(CL_OUT_OF_RESOURCES),       NAME(CL_OUT_OF_HOST_MEMORY),
        NAME(CL_BUILD_PROGRAM_FAILURE),  NAME(CL_INVALID_VALUE),
        NAME(CL_INVALID_DEVICE),         NAME(CL_INVALID_CONTEXT),
        NAME(CL_INVALID_COMMAND_QUEUE),  NAME(CL_INVALID_BINARY),
        NAME(CL_INVALID_BUILD_OPTIONS),  NAME(CL_INVALID_PROGRAM_EXECUTABLE),
        NAME(CL_INVALID_KERNEL_NAME),    NAME(CL_INVALID_KERNEL_ARGS),
        NAME(CL_INVALID_ARG_SIZE),       NAME(CL_INVALID_WORK_GROUP_SIZE),
        NAME(CL_INVALID_BUFFER_SIZE),    {-1001, "CL_PLATFORM_NOT_FOUND"},
#undef NAME
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].code == code)
            return names[i].name;
    return "an error without a name here";
}

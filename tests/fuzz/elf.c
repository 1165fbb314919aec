/* elf.c - fuzz target: a shared object's plugin header, read out of the file and judged. */
#include "elfread.h"
#include "fuzz.h"
#include "header.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_plugin_header header;
    char why[300] = "", kinds[100];
    bool foreign;
    if (!rz_elf_header(fuzz_file(data, size), &header, why, sizeof(why))) {
        if (!why[0] || !memchr(why, 0, sizeof(why)))
            __builtin_trap();
        return 0;
    }
    fuzz_read(&header, sizeof(header));
    if (!rz_header_check(&header, UINT64_MAX, why, sizeof(why), &foreign)) {
        if (!why[0] || !memchr(why, 0, sizeof(why)))
            __builtin_trap();
        return 0;
    }
    rz_header_provides(&header, "kernels");
    rz_header_kinds(&header, kinds, sizeof(kinds));
    return 0;
}

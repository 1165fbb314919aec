/* replay.c - runs a fuzz target over files instead of a fuzzer: what was found once stays fixed, with any
 * compiler and in each configuration. Prints how many inputs ran. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

/* The bytes stand in memory of exactly their size, so that a read past them is seen. */
static int run(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END))
        return 1;
    long size = ftell(f);
    rewind(f);
    uint8_t *data = size < 0 ? NULL : malloc(size ? (size_t)size : 1);
    int bad = !data || fread(data, 1, (size_t)size, f) != (size_t)size;
    if (!bad)
        LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    fclose(f);
    return bad;
}

int main(int argc, char **argv)
{
    LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        if (run(argv[i])) {
            fprintf(stderr, "replay: cannot read %s\n", argv[i]);
            return 1;
        }
    printf("%d inputs\n", argc - 1);
    return 0;
}

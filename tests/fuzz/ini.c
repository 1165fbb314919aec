/* ini.c - fuzz target: a settings file, from its bytes to the values that the host asks for. */
#define _GNU_SOURCE
#include "core.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    clearenv();
    setenv("RZ_SYSTEM_CONFIG", "/nonexistent", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    setenv("HOME", "/nonexistent", 1);
    return 0;
}

/* Files that a file names are none of this target's: what they hold would make a finding hard to repeat. */
static int names_a_file(const uint8_t *data, size_t size)
{
    return memmem(data, size, "include", 7) || memmem(data, size, "@file", 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_settings *s = NULL;
    if (names_a_file(data, size))
        return 0;
    fuzz_file(data, size);
    struct rz_cmdline cmd = {.config_file = fuzz_file_path()};
    int32_t status = rz_settings_load(&cmd, &s, &err);
    fuzz_status(status, &err);
    if (status)
        return 0;
    const char *name;
    for (uint32_t i = 0; (name = rz_settings_section(s, "model.", i)); i++) {
        const struct rz_option_value *path = rz_settings_get(s, name, "path");
        if (path && path->text)
            fuzz_read(path->text, strlen(path->text));
    }
    rz_settings_get(s, "engine", "context");
    rz_settings_free(s);
    return 0;
}

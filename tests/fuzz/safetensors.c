/* safetensors.c - fuzz target: one .safetensors file through the format plugin. */
#include "fuzz.h"

#include <rz/plugin.h>

extern const struct rz_plugin rz_plugin_v1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_source source = {
        .size = sizeof(source), .data = data, .bytes = size, .path = "/m/model.safetensors"};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_format_model *m = NULL;
    const struct rz_format *f = rz_plugin_v1.query(NULL, RZ_FORMAT_1, 0);
    int32_t status = f->open(NULL, &source, 1, sizeof(source), NULL, &m, &err);
    fuzz_status(status, &err);
    if (status)
        return 0;
    fuzz_tables(m, &source, 1);
    f->close(NULL, m);
    return 0;
}

/* gguf.c - fuzz target: a GGUF file through the format plugin, then its numbers through the core's check. */
#include "fuzz.h"
#include "model.h"

#include <rz/plugin.h>

extern const struct rz_plugin rz_plugin_v1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_source source = {.size = sizeof(source), .data = data, .bytes = size, .path = "/m/model.gguf"};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_format_model *m = NULL;
    const struct rz_format *f = rz_plugin_v1.query(NULL, RZ_FORMAT_1, 0);
    f->probe(NULL, &source);
    int32_t status = f->open(NULL, &source, 1, sizeof(source), NULL, &m, &err);
    fuzz_status(status, &err);
    if (status)
        return 0;
    struct rz_hparams h;
    fuzz_tables(m, &source, 1);
    fuzz_status(rz_hparams_read(m, &h, &err), &err);
    f->close(NULL, m);
    return 0;
}

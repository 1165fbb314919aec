/* config.c - fuzz target: config.json into numbers, and the rotary embedding that it describes. */
#include "folder_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_source source = {.size = sizeof(source), .data = data, .bytes = size, .path = "/m/config.json"};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_hf_model m;
    fuzz_folder_begin(&m, &source, 1, &err);
    m.config = rz_hf_json(&m, "config.json");
    rz_hf_read_config(&m);
    if (!m.status && m.c.rope_divisors)
        fuzz_read(m.c.rope_divisors, m.c.head_dim / 2 * sizeof(float));
    fuzz_folder_end(&m);
    return 0;
}

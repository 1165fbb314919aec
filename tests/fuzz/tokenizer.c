/* tokenizer.c - fuzz target: tokenizer.json and, after NUL bytes, the small files beside it. */
#include "folder_fuzz.h"

#define ROWS 320 /* of the embedding: what ids are judged by */

static const char *const names[] = {"/m/tokenizer.json", "/m/tokenizer_config.json",
                                    "/m/special_tokens_map.json", "/m/generation_config.json",
                                    "/m/config.json"};
#define FILES (sizeof(names) / sizeof(names[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_source sources[FILES];
    struct rz_err err = RZ_ERR_INIT;
    struct rz_hf_model m;
    uint32_t n = fuzz_sources(data, size, names, sources, FILES);
    fuzz_folder_begin(&m, sources, n, &err);
    m.c = (struct rz_hf_config){.family = rz_hf_family_find("llama"), .n_vocab = ROWS};
    m.config = rz_hf_json(&m, "config.json");
    m.tokenizer_config = rz_hf_json(&m, "tokenizer_config.json");
    if (!m.status)
        rz_hf_read_tokenizer(&m);
    fuzz_folder_end(&m);
    return 0;
}

/* vocab.c - fuzz target: the other forms of a vocabulary. The first byte chooses: tokenizer.model, or
 * vocab.json with merges.txt and tokenizer_config.json after NUL bytes. */
#include "folder_fuzz.h"

#define ROWS 320

static const char *const model_names[] = {"/m/tokenizer.model"};
static const char *const vocab_names[] = {"/m/vocab.json", "/m/merges.txt", "/m/tokenizer_config.json",
                                          "/m/added_tokens.json"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rz_source sources[4];
    struct rz_err err = RZ_ERR_INIT;
    struct rz_hf_model m;
    if (!size)
        return 0;
    uint32_t n = data[0] == 'm' ? fuzz_sources(data + 1, size - 1, model_names, sources, 1)
                                : fuzz_sources(data + 1, size - 1, vocab_names, sources, 4);
    fuzz_folder_begin(&m, sources, n, &err);
    m.c = (struct rz_hf_config){.family = rz_hf_family_find("llama"), .n_vocab = ROWS};
    m.tokenizer_config = rz_hf_json(&m, "tokenizer_config.json");
    if (!m.status)
        rz_hf_read_tokenizer(&m);
    fuzz_folder_end(&m);
    return 0;
}

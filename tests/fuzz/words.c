/* words.c - fuzz target: the metadata of a GGUF file as a vocabulary, and a text through it and back.
 *
 * The text is what follows the last line break of the input, so that both may change. The two ways of bpe to
 * cut a text into words must give the same tokens. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <rz/plugin.h>
#include <rz/tokenizer.h>
#include <stdbool.h>
#include <string.h>

#define IDS_MAX 4096u
#define TEXT_MAX 1024u

extern const struct rz_plugin rz_builtin_gguf, rz_builtin_bpe, rz_builtin_spm;

/* Every id that comes out must be a token, and decode into the room that it asks for. */
static void decode(const struct rz_tokenizer *t, void *tok, const int32_t *ids, uint64_t n, uint32_t n_vocab)
{
    struct rz_decode_state state = {.size = sizeof(state)};
    char piece[256];
    for (uint64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab || t->kind(tok, ids[i]) < 0)
            __builtin_trap();
        if (t->piece(tok, ids[i], piece, sizeof(piece)) < 0 ||
            t->decode(tok, &state, ids[i], RZ_DECODE_SPECIAL, piece, sizeof(piece)) < 0)
            __builtin_trap();
    }
}

/* Runs a plugin with its n-th choice of the option `split`; returns the ids of the text as of all flags. */
static uint64_t try_tokenizer(const struct rz_plugin *plugin, int choice, const struct rz_format_model *m,
                              const char *text, size_t n, int32_t *ids)
{
    static void *selves[2]; /* of bpe: one a choice, for good */
    struct rz_option_value value = {.i = choice};
    struct rz_config config = {.size = sizeof(config), .n_values = 1, .values = &value};
    const struct rz_tokenizer *t = plugin->query(NULL, RZ_TOKENIZER_1, 0);
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    struct rz_err err = RZ_ERR_INIT;
    void *tok = NULL;
    uint64_t n_ids = 0;
    bool bpe = plugin == &rz_builtin_bpe;
    if (t->probe(NULL, m) <= 0 ||
        (bpe && !selves[choice] && plugin->init(NULL, &config, &selves[choice], &err)))
        return 0;
    int32_t status = t->create(bpe ? selves[choice] : NULL, m, NULL, &tok, &err);
    fuzz_status(status, &err);
    if (status)
        return 0;
    if (t->info(tok, &info))
        __builtin_trap();
    for (uint32_t flags = 0; flags < 8; flags++) {
        fuzz_status(t->encode(tok, text, n, flags, ids, IDS_MAX, &n_ids, &err), &err);
        decode(t, tok, ids, n_ids < IDS_MAX ? n_ids : IDS_MAX, info.n_vocab);
    }
    t->destroy(tok);
    return n_ids;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int32_t first[IDS_MAX], second[IDS_MAX];
    const uint8_t *line = size ? memrchr(data, '\n', size) : NULL;
    size_t at = line ? (size_t)(line - data) + 1 : size, n = size - at < TEXT_MAX ? size - at : TEXT_MAX;
    struct rz_source source = {.size = sizeof(source), .data = data, .bytes = at, .path = "/m/model.gguf"};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_format_model *m = NULL;
    const struct rz_format *f = rz_builtin_gguf.query(NULL, RZ_FORMAT_1, 0);
    if (f->open(NULL, &source, 1, sizeof(source), NULL, &m, &err))
        return 0;
    const char *text = (const char *)data + at;
    uint64_t by_regex = try_tokenizer(&rz_builtin_bpe, 0, m, text, n, first);
    uint64_t by_scan = try_tokenizer(&rz_builtin_bpe, 1, m, text, n, second);
    if (by_regex != by_scan ||
        memcmp(first, second, (by_scan < IDS_MAX ? by_scan : IDS_MAX) * sizeof(int32_t)))
        __builtin_trap();
    try_tokenizer(&rz_builtin_spm, 0, m, text, n, first);
    f->close(NULL, m);
    return 0;
}

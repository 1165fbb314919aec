/* words.c - fuzz target: the metadata of a GGUF file as a vocabulary, and a text through it and back.
 *
 * The text is what follows the last line break of the input, so that both may change. Where all of it is
 * plain no control token may come out, and where nothing is the ids are those of encode. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <rz/plugin.h>
#include <rz/tokenizer.h>
#include <stdbool.h>
#include <string.h>

#define IDS_MAX 4096u
#define TEXT_MAX 1024u

extern const struct rz_plugin rz_builtin_gguf, rz_builtin_bpe, rz_builtin_spm, rz_builtin_unigram,
    rz_builtin_wordpiece, rz_builtin_rwkv, rz_builtin_char;
static const struct rz_plugin *const all[] = {&rz_builtin_bpe,       &rz_builtin_spm,  &rz_builtin_unigram,
                                              &rz_builtin_wordpiece, &rz_builtin_rwkv, &rz_builtin_char};

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

/* A token of one byte is all that can spell that byte, so it is let through. */
static void check_plain(const struct rz_tokenizer *t, void *tok, const int32_t *ids, uint64_t n,
                        int32_t unknown)
{
    char piece[4];
    for (uint64_t i = 0; i < n; i++)
        if (t->kind(tok, ids[i]) == RZ_TOKEN_CONTROL && ids[i] != unknown &&
            t->piece(tok, ids[i], piece, sizeof(piece)) > 2)
            __builtin_trap();
}

static void try_marked(const struct rz_tokenizer *t, void *tok, const char *text, size_t n, int32_t unknown)
{
    static int32_t ids[IDS_MAX], want[IDS_MAX];
    struct rz_err err = RZ_ERR_INIT;
    struct rz_span plain = {0, n};
    struct rz_marked_text in = {.size = sizeof(in), .flags = RZ_ENCODE_SPECIAL, .text = text, .n = n};
    uint64_t count = 0, n_want = 0;
    fuzz_status(t->encode(tok, text, n, RZ_ENCODE_SPECIAL, want, IDS_MAX, &n_want, &err), &err);
    err = (struct rz_err)RZ_ERR_INIT;
    fuzz_status(t->encode_marked(tok, &in, ids, IDS_MAX, &count, &err), &err);
    if (count != n_want || memcmp(ids, want, (count < IDS_MAX ? count : IDS_MAX) * sizeof(ids[0])) != 0)
        __builtin_trap();
    in.plain = &plain;
    in.n_plain = 1;
    err = (struct rz_err)RZ_ERR_INIT;
    fuzz_status(t->encode_marked(tok, &in, ids, IDS_MAX, &count, &err), &err);
    check_plain(t, tok, ids, count < IDS_MAX ? count : IDS_MAX, unknown);
}

static void try_tokenizer(const struct rz_plugin *plugin, const struct rz_format_model *m, const char *text,
                          size_t n)
{
    static int32_t ids[IDS_MAX];
    const struct rz_tokenizer *t = plugin->query(NULL, RZ_TOKENIZER_1, 0);
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    struct rz_err err = RZ_ERR_INIT;
    void *tok = NULL;
    uint64_t n_ids;
    if (t->probe(NULL, m) <= 0)
        return;
    int32_t status = t->create(NULL, m, NULL, &tok, &err);
    fuzz_status(status, &err);
    if (status)
        return;
    if (t->info(tok, &info))
        __builtin_trap();
    for (uint32_t flags = 0; flags < 8; flags++) {
        err = (struct rz_err)RZ_ERR_INIT;
        n_ids = 0;
        fuzz_status(t->encode(tok, text, n, flags, ids, IDS_MAX, &n_ids, &err), &err);
        decode(t, tok, ids, n_ids < IDS_MAX ? n_ids : IDS_MAX, info.n_vocab);
    }
    try_marked(t, tok, text, n, info.unk);
    t->destroy(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memrchr(data, '\n', size) : NULL;
    size_t at = line ? (size_t)(line - data) + 1 : size, n = size - at < TEXT_MAX ? size - at : TEXT_MAX;
    struct rz_source source = {.size = sizeof(source), .data = data, .bytes = at, .path = "/m/model.gguf"};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_format_model *m = NULL;
    const struct rz_format *f = rz_builtin_gguf.query(NULL, RZ_FORMAT_1, 0);
    if (f->open(NULL, &source, 1, sizeof(source), NULL, &m, &err))
        return 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        try_tokenizer(all[i], m, (const char *)data + at, n);
    f->close(NULL, m);
    return 0;
}

/* test_vocab.c - the ids of public vocabularies: every case of the reference data.
 *
 * Needs the reference data of the developers (RZ_SHARED, or ../shared beside the checkout); skipped where
 * they are absent. NAME.cases.tsv: a text a line as hex bytes, TAB, its ids with special tokens parsed.
 * NAME.gguf.inp, .out: texts between marker lines, and a line of ids each without special tokens.
 */
#include "rz_test.h"

#include <fcntl.h>
#include <rz/plugin.h>
#include <rz/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern const struct rz_plugin rz_builtin_gguf, rz_builtin_bpe, rz_builtin_spm, rz_builtin_wordpiece;

#define TEXT_IDS 2000
#define MARKER "\n__ggml_vocab_test__\n"

struct vocab {
    struct rz_source file;
    struct rz_format_model *model;
    const struct rz_plugin *plugin;
    const struct rz_tokenizer *api;
    void *self, *tok;
};

static const struct rz_format *gguf(void)
{
    return rz_builtin_gguf.query(NULL, RZ_FORMAT_1, 0);
}

/* The file's bytes and a NUL; NULL: there is none. */
static char *read_file(const char *name, size_t *n)
{
    const char *shared = getenv("RZ_SHARED");
    char path[1000];
    snprintf(path, sizeof(path), "%s/data/vocab/%s", shared && *shared ? shared : "../shared", name);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return NULL;
    size_t cap = (size_t)lseek(fd, 0, SEEK_END);
    char *data = malloc(cap + 1);
    *n = (size_t)pread(fd, data, cap, 0);
    rz_check_eq(*n, cap);
    data[cap] = 0;
    close(fd);
    return data;
}

static void load(struct vocab *v, const char *name, const struct rz_plugin *plugin)
{
    struct rz_err err = {.size = sizeof(err)};
    char path[200];
    size_t n;
    snprintf(path, sizeof(path), "%s.gguf", name);
    char *data = read_file(path, &n);
    if (!data)
        rz_skip("no reference data: data/vocab/%s.gguf in RZ_SHARED or ../shared", name);
    *v = (struct vocab){.file = {sizeof(v->file), 0, (const uint8_t *)data, n, "vocab"}, .plugin = plugin};
    rz_check_ok(gguf()->open(NULL, &v->file, 1, sizeof(v->file), NULL, &v->model, &err), &err);
    rz_check_ok(plugin->init(NULL, NULL, &v->self, &err), &err);
    v->api = plugin->query(v->self, RZ_TOKENIZER_1, 0);
    rz_check_eq(v->api->probe(v->self, v->model), 100);
    rz_check_ok(v->api->create(v->self, v->model, NULL, &v->tok, &err), &err);
}

static void unload(struct vocab *v)
{
    v->api->destroy(v->tok);
    if (v->plugin->fini)
        v->plugin->fini(v->self);
    gguf()->close(NULL, v->model);
    free((void *)(uintptr_t)v->file.data);
}

/* want: ids in decimal up to the end of the line. */
static void check_case(struct vocab *v, const char *name, size_t line, const char *text, size_t n,
                       uint32_t flags, const char *want)
{
    int32_t ids[4096];
    uint64_t count;
    struct rz_err err = {.size = sizeof(err)};
    rz_check_ok(v->api->encode(v->tok, text, n, flags, ids, 4096, &count, &err), &err);
    rz_check(count <= 4096);
    uint64_t i = 0;
    for (;; i++) {
        want += strspn(want, " \r");
        if (!*want || *want == '\n')
            break;
        char *end;
        long id = strtol(want, &end, 10);
        if (i >= count || ids[i] != id)
            rz_fail_test("%s, case %zu: id %llu is %ld there and %d here", name, line, (unsigned long long)i,
                         id, i < count ? ids[i] : -1);
        want = end;
    }
    if (i != count)
        rz_fail_test("%s, case %zu: %llu ids there and %llu here", name, line, (unsigned long long)i,
                     (unsigned long long)count);
}

static size_t unhex(char *s, const char *end)
{
    size_t n = 0;
    for (const char *p = s; p + 1 < end; p += 2) {
        char two[3] = {p[0], p[1], 0};
        s[n++] = (char)strtol(two, NULL, 16);
    }
    return n;
}

static size_t check_tsv(struct vocab *v, const char *name)
{
    char path[200];
    size_t n, lines = 0;
    snprintf(path, sizeof(path), "%s.cases.tsv", name);
    char *data = read_file(path, &n);
    rz_check(data != NULL);
    for (char *line = data, *end; (end = memchr(line, '\n', n - (size_t)(line - data))) != NULL; lines++) {
        *end = 0; /* a short string: some sanitizers look at all of it each time */
        char *tab = memchr(line, '\t', (size_t)(end - line));
        rz_check(tab != NULL);
        size_t len = unhex(line, tab);
        check_case(v, path, lines + 1, line, len, RZ_ENCODE_SPECIAL, tab + 1);
        line = end + 1;
    }
    free(data);
    return lines;
}

static size_t check_inp(struct vocab *v, const char *name)
{
    char path[200];
    size_t n, n_out, texts = 0;
    snprintf(path, sizeof(path), "%s.gguf.out", name);
    char *out = read_file(path, &n_out);
    snprintf(path, sizeof(path), "%s.gguf.inp", name);
    char *in = read_file(path, &n), *want = out;
    rz_check(in != NULL && out != NULL);
    for (char *text = in, *end; *want; texts++) {
        end = strstr(text, MARKER);
        size_t len = end ? (size_t)(end - text) : strlen(text);
        check_case(v, path, texts + 1, text, len, 0, want);
        want += strcspn(want, "\n");
        want += *want == '\n';
        if (!end)
            break;
        text = end + strlen(MARKER);
    }
    free(in);
    free(out);
    return texts;
}

/* Encodes text[0..n) with special tokens parsed except inside text[begin..end); the count. */
static uint64_t encode_marked(struct vocab *v, const char *text, size_t n, size_t begin, size_t end,
                              int32_t *ids)
{
    struct rz_err err = {.size = sizeof(err)};
    struct rz_span plain = {begin, end};
    struct rz_marked_text in = {.size = sizeof(in),
                                .flags = RZ_ENCODE_SPECIAL,
                                .text = text,
                                .n = n,
                                .plain = &plain,
                                .n_plain = begin < end};
    uint64_t count;
    rz_check_ok(v->api->encode_marked(v->tok, &in, ids, TEXT_IDS, &count, &err), &err);
    rz_check(count <= TEXT_IDS);
    return count;
}

static uint64_t count_of(const int32_t *ids, uint64_t n, int32_t id)
{
    uint64_t found = 0;
    for (uint64_t i = 0; i < n; i++)
        found += ids[i] == id;
    return found;
}

/* The spelling of token id between trusted copies of itself: where it touches the plain stretch, the token is
 * not among the ids, and the ids are no others than those of the text without special tokens. */
static void check_forged(struct vocab *v, int32_t id)
{
    char text[1200];
    int32_t ids[TEXT_IDS];
    struct rz_err err = {.size = sizeof(err)};
    uint64_t n, count;
    int64_t len = v->api->piece(v->tok, id, text, 300);
    rz_check(len > 0 && len <= 300);
    size_t l = (size_t)len;
    memcpy(text + l, text, l);
    memcpy(text + 2 * l, text, l);
    n = encode_marked(v, text, 3 * l, 0, 0, ids);
    rz_check_eq(count_of(ids, n, id), 3);
    rz_check_ok(v->api->encode(v->tok, text, 3 * l, RZ_ENCODE_SPECIAL, ids, TEXT_IDS, &count, &err), &err);
    rz_check_eq(n, count);
    n = encode_marked(v, text, 3 * l, l, 2 * l, ids);
    rz_check_eq(count_of(ids, n, id), 2);
    n = encode_marked(v, text, 3 * l, 2 * l - 1, 2 * l + 1, ids); /* touches the second and the third */
    rz_check_eq(count_of(ids, n, id), 1);
    n = encode_marked(v, text, l, 0, 1, ids);
    rz_check_eq(count_of(ids, n, id), 0);
    n = encode_marked(v, text, l, l - 1, l, ids);
    rz_check_eq(count_of(ids, n, id), 0);
    n = encode_marked(v, text, l, 0, l, ids);
    for (uint64_t i = 0; i < n; i++)
        if (v->api->kind(v->tok, ids[i]) == RZ_TOKEN_CONTROL)
            rz_fail_test("token %d, spelled as plain text, gives control token %d", id, ids[i]);
}

/* Every control token; some files have hundreds. */
static void check_forgery(struct vocab *v)
{
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    uint32_t tried = 0;
    rz_check_eq(v->api->info(v->tok, &info), RZ_OK);
    for (uint32_t id = 0; id < info.n_vocab; id++)
        if (v->api->kind(v->tok, (int32_t)id) == RZ_TOKEN_CONTROL) {
            check_forged(v, (int32_t)id);
            tried++;
        }
    rz_check(tried > 0);
}

/* A plain stretch in a text without special tokens changes nothing, wherever it lies. */
static void check_borders(struct vocab *v)
{
    static const char text[] = "  system: Hello\n\n  \303\251\342\202\254 don't 12345 \n user's\t\tturn  ";
    int32_t want[TEXT_IDS], ids[TEXT_IDS];
    uint64_t n_want = encode_marked(v, text, sizeof(text) - 1, 0, 0, want);
    for (size_t begin = 0; begin < sizeof(text) - 1; begin += 3)
        for (size_t end = begin + 1; end < sizeof(text); end += 5) {
            uint64_t n = encode_marked(v, text, sizeof(text) - 1, begin, end, ids);
            rz_check_eq(n, n_want);
            rz_check(!memcmp(ids, want, n * sizeof(ids[0])));
        }
}

static void check_vocab(const char *name, const struct rz_plugin *plugin, size_t cases, size_t texts)
{
    struct vocab v;
    load(&v, name, plugin);
    rz_check_eq(check_tsv(&v, name), cases);
    if (texts)
        rz_check_eq(check_inp(&v, name), texts);
    check_forgery(&v);
    check_borders(&v);
    unload(&v);
}

RZ_TEST(vocab_data, smollm2)
{
    check_vocab("smollm2", &rz_builtin_bpe, 1500, 0);
}

RZ_TEST(vocab_data, gpt2)
{
    check_vocab("gpt-2", &rz_builtin_bpe, 1500, 46);
}

RZ_TEST(vocab_data, qwen2)
{
    check_vocab("qwen2", &rz_builtin_bpe, 1468, 0);
}

RZ_TEST(vocab_data, starcoder)
{
    check_vocab("starcoder", &rz_builtin_bpe, 1500, 46);
}

RZ_TEST(vocab_data, llama_spm)
{
    check_vocab("llama-spm", &rz_builtin_spm, 1500, 46);
}

RZ_TEST(vocab_data, phi3)
{
    check_vocab("phi-3", &rz_builtin_spm, 1500, 46);
}

RZ_TEST(vocab_data, deepseek_llm)
{
    check_vocab("deepseek-llm", &rz_builtin_bpe, 1500, 46);
}

RZ_TEST(vocab_data, bert_bge)
{
    check_vocab("bert-bge", &rz_builtin_wordpiece, 1500, 46);
}

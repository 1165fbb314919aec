/* encode.c - speed of a tokenizer alone: how long it takes to be made, and to encode files.
 *
 *   bench/encode [-r ROUNDS] VOCABULARY.gguf FILE...
 *
 * A line each: name, bytes, ids, seconds of CPU time (the best round), a hash of the ids. bench/encode.py
 * runs it beside other tokenizers.
 */
#include "err.h"

#include <fcntl.h>
#include <rz/plugin.h>
#include <rz/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern const struct rz_plugin rz_builtin_gguf, rz_builtin_bpe, rz_builtin_spm, rz_builtin_unigram,
    rz_builtin_wordpiece, rz_builtin_rwkv, rz_builtin_char;
static const struct rz_plugin *const plugins[] = {&rz_builtin_bpe,     &rz_builtin_spm,
                                                  &rz_builtin_unigram, &rz_builtin_wordpiece,
                                                  &rz_builtin_rwkv,    &rz_builtin_char};

struct text {
    const char *data;
    size_t n;
};

static struct text map(const char *path)
{
    struct text t = {NULL, 0};
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && !fstat(fd, &st) && st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (data != MAP_FAILED)
            t = (struct text){data, (size_t)st.st_size};
    }
    if (fd >= 0)
        close(fd);
    if (!t.data)
        fprintf(stderr, "encode: %s: cannot be read\n", path);
    return t;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int encode(const struct rz_tokenizer *t, void *tok, const char *path, int rounds)
{
    struct rz_err err = RZ_ERR_INIT;
    struct text x = map(path);
    int32_t *ids = x.data ? malloc((x.n + 8) * sizeof(*ids)) : NULL;
    uint64_t n = 0, hash = 14695981039346656037u;
    double best = 1e9;
    if (!ids)
        return 1;
    for (int i = 0; i < rounds; i++) {
        double begin = now();
        if (t->encode(tok, x.data, x.n, 0, ids, x.n + 8, &n, &err)) {
            fprintf(stderr, "encode: %s: %s\n", path, err.message);
            return 1;
        }
        double s = now() - begin;
        best = s < best ? s : best;
    }
    for (uint64_t i = 0; i < n; i++)
        hash = (hash ^ (uint32_t)ids[i]) * 1099511628211u;
    printf("%s %zu %llu %.6f %016llx\n", path, x.n, (unsigned long long)n, best, (unsigned long long)hash);
    free(ids);
    return 0;
}

int main(int argc, char **argv)
{
    const struct rz_format *f = rz_builtin_gguf.query(NULL, RZ_FORMAT_1, 0);
    struct rz_err err = RZ_ERR_INIT;
    struct rz_format_model *m;
    int rounds = 3, at = 1, failed = 0;
    for (; at + 1 < argc && !strcmp(argv[at], "-r"); at += 2)
        rounds = atoi(argv[at + 1]);
    struct text vocab = at < argc ? map(argv[at]) : (struct text){NULL, 0};
    struct rz_source source = {sizeof(source), 0, (const uint8_t *)vocab.data, vocab.n, "vocabulary"};
    if (!vocab.data || f->open(NULL, &source, 1, sizeof(source), NULL, &m, &err)) {
        fprintf(stderr, "usage: encode [-r ROUNDS] VOCABULARY.gguf FILE... %s\n", err.message);
        return 2;
    }
    for (size_t i = 0; i < sizeof(plugins) / sizeof(plugins[0]); i++) {
        const struct rz_tokenizer *t = plugins[i]->query(NULL, RZ_TOKENIZER_1, 0);
        void *tok;
        double begin = now();
        if (t->probe(NULL, m) <= 0 || failed)
            continue;
        failed = t->create(NULL, m, NULL, &tok, &err) != RZ_OK;
        if (failed)
            fprintf(stderr, "encode: %s: %s\n", err.where, err.message);
        else
            printf("create %zu 0 %.6f 0\n", vocab.n, now() - begin);
        for (int k = at + 1; k < argc && !failed; k++)
            failed = encode(t, tok, argv[k], rounds);
    }
    return failed;
}

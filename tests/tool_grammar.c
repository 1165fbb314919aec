/* tool_grammar.c - grammars by themselves, for tests/test_grammar.py: which texts fit, and texts that do.
 *
 *   tool_grammar [VOCABULARY.gguf] < cases > answers
 *
 * A case is a line of JSON: kind (json, json_schema, gbnf, regex), text, match (a list of texts), samples
 * (how many texts to make with random logits), seed, max (tokens of each). The answer is a line too: error,
 * accepts, samples (null for one that did not come to its end within max), compile_ms, token_us (the median
 * cost of the grammar), masks made and found.
 */
#include "err.h"
#include "grammar.h"
#include "sample.h"

#include <fcntl.h>
#include <jansson.h>
#include <rz/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TOKENS_MAX 4096
#define TIMES_MAX 65536

extern const struct rz_plugin rz_builtin_gguf, rz_builtin_bpe, rz_builtin_spm;
static const struct rz_plugin *const plugins[] = {&rz_builtin_bpe, &rz_builtin_spm};

struct tool {
    struct rz_trie *trie;
    struct rz_sample_scratch scratch;
    float *logits;
    double times[TIMES_MAX];
    uint32_t n_times;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static bool load(struct tool *tool, const char *path)
{
    const struct rz_format *f = rz_builtin_gguf.query(NULL, RZ_FORMAT_1, 0);
    struct rz_err err = RZ_ERR_INIT;
    struct rz_format_model *m = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        return false;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    struct rz_source source = {sizeof(source), 0, data, (uint64_t)st.st_size, "vocabulary"};
    if (data == MAP_FAILED || f->open(NULL, &source, 1, sizeof(source), NULL, &m, &err))
        return false;
    for (size_t i = 0; i < sizeof(plugins) / sizeof(plugins[0]) && !tool->trie; i++) {
        const struct rz_tokenizer *t = plugins[i]->query(NULL, RZ_TOKENIZER_1, 0);
        struct rz_tokenizer_info info = {.size = sizeof(info)};
        void *tok;
        if (t->probe(NULL, m) <= 0 || t->create(NULL, m, NULL, &tok, &err))
            continue;
        double begin = now_us();
        t->info(tok, &info);
        if (!rz_trie_new(t, tok, info.n_vocab, &tool->trie, &err))
            fprintf(stderr, "trie of %u tokens: %.1f ms\n", info.n_vocab, (now_us() - begin) / 1000);
        t->destroy(tok);
    }
    f->close(NULL, m);
    munmap(data, (size_t)st.st_size);
    if (!tool->trie)
        return false;
    tool->logits = calloc(tool->trie->n_vocab, sizeof(*tool->logits));
    return tool->logits && !rz_sample_scratch_init(&tool->scratch, tool->trie->n_vocab, &err);
}

static uint32_t kind_of(const char *name)
{
    static const char *const names[] = {"", "json", "json_schema", "gbnf", "regex"};
    for (uint32_t i = 1; i < 5; i++)
        if (name && !strcmp(name, names[i]))
            return i;
    return 0;
}

/* Noise of no shape in particular, and more and more weight for what closes strings, lists and objects. */
static void make_logits(struct tool *tool, uint64_t seed, uint32_t n)
{
    const struct rz_trie *t = tool->trie;
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        double u = rz_sample_uniform(seed + n, i);
        tool->logits[i] = (float)(12 * u * u);
        char first = t->at[i] < t->at[i + 1] ? t->text[t->at[i]] : '"';
        if (first && strchr("\"]}", first))
            tool->logits[i] += 3 + 0.15f * (float)n;
    }
}

/* One text; NULL: it did not come to its end. */
static json_t *sample(struct tool *tool, struct rz_grammar *g, uint64_t seed, uint32_t max,
                      struct rz_err *err)
{
    static char out[TOKENS_MAX * 64];
    size_t len = 0;
    struct rz_grammar_at at = rz_grammar_begin(g);
    struct rz_sampling s = {
        .size = sizeof(s), .temperature = 1.5f, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};
    s.seed = seed;
    for (uint32_t n = 0; n < max; n++) {
        struct rz_sample_job job = {
            .sampling = &s, .logits = tool->logits, .mask = tool->scratch.mask, .draw = n};
        struct rz_sample got;
        double begin = now_us();
        uint32_t flags = rz_grammar_mask(g, &at, tool->scratch.mask);
        double cost = now_us() - begin;
        if (!(flags & (RZ_GRAMMAR_TOKENS | RZ_GRAMMAR_ENDS))) {
            rz_fail(err, RZ_EINTERNAL, "dead end", "behind %u tokens: %.*s", n, len < 300 ? (int)len : 300,
                    out);
            return NULL;
        }
        make_logits(tool, seed * 1000003, n);
        if (rz_sample_run(&tool->scratch, &job, &got, err))
            return NULL;
        for (uint32_t i = 0; i < tool->trie->n_end; i++)
            if (tool->trie->end[i] == got.token)
                return json_stringn(out, len);
        begin = now_us();
        if (!rz_grammar_token(g, &at, got.token)) {
            rz_fail(err, RZ_EINTERNAL, "mask", "token %d was in it and is not allowed", got.token);
            return NULL;
        }
        if (tool->n_times < TIMES_MAX)
            tool->times[tool->n_times++] = cost + now_us() - begin;
        uint32_t from = tool->trie->at[got.token], size = tool->trie->at[got.token + 1] - from;
        if (len + size > sizeof(out))
            return json_null();
        memcpy(out + len, tool->trie->text + from, size);
        len += size;
    }
    return json_null();
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void run(struct tool *tool, const json_t *c, struct rz_grammar *g, json_t *answer, struct rz_err *err)
{
    json_t *match = json_object_get(c, "match"), *accepts = json_array(), *samples = json_array();
    for (size_t i = 0; i < json_array_size(match); i++) {
        const json_t *text = json_array_get(match, i);
        struct rz_grammar_at at = rz_grammar_begin(g);
        bool over, fits = rz_grammar_bytes(g, &at, json_string_value(text), json_string_length(text)) &&
                          rz_grammar_accepts(g, at, &over);
        json_array_append_new(accepts, json_boolean(fits));
    }
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(c, "seed"));
    uint32_t max = (uint32_t)json_integer_value(json_object_get(c, "max"));
    tool->n_times = 0;
    for (json_int_t i = 0; i < json_integer_value(json_object_get(c, "samples")) && tool->trie; i++) {
        json_t *text = sample(tool, g, seed + (uint64_t)i, max, err);
        if (!text) {
            char shown[400];
            rz_show(shown, sizeof(shown), err->message, strlen(err->message));
            json_object_set_new(answer, "dead", json_sprintf("%s: %s", err->where, shown));
            break;
        }
        json_array_append_new(samples, text);
    }
    json_object_set_new(answer, "accepts", accepts);
    json_object_set_new(answer, "samples", samples);
    if (!tool->n_times)
        return;
    if (json_is_true(json_object_get(c, "times"))) {
        json_t *times = json_array();
        for (uint32_t i = 0; i < tool->n_times; i++)
            json_array_append_new(times, json_real(tool->times[i]));
        json_object_set_new(answer, "times", times);
    }
    qsort(tool->times, tool->n_times, sizeof(double), by_size);
    json_object_set_new(answer, "token_us", json_real(tool->times[tool->n_times / 2]));
    json_object_set_new(answer, "token_us_p99", json_real(tool->times[tool->n_times * 99 / 100]));
}

static json_t *answer_case(struct tool *tool, const json_t *c)
{
    struct rz_err err = RZ_ERR_INIT;
    struct rz_grammar *g = NULL;
    struct rz_grammar_cost cost = {0};
    json_t *answer = json_object();
    const json_t *text = json_object_get(c, "text");
    double begin = now_us();
    int32_t rc = rz_grammar_new(kind_of(json_string_value(json_object_get(c, "kind"))),
                                json_string_value(text), json_string_length(text), tool->trie, &g, &err);
    json_object_set_new(answer, "compile_ms", json_real((now_us() - begin) / 1000));
    if (rc) {
        json_object_set_new(answer, "error", json_sprintf("%s: %s", err.where, err.message));
        json_object_set_new(answer, "code", json_integer(rc));
        return answer;
    }
    run(tool, c, g, answer, &err);
    rz_grammar_cost(g, &cost);
    json_object_set_new(answer, "nodes", json_integer(cost.nodes));
    json_object_set_new(answer, "states", json_integer(cost.states));
    json_object_set_new(answer, "masks_made", json_integer(cost.masks_made));
    json_object_set_new(answer, "masks_found", json_integer(cost.masks_found));
    rz_grammar_unref(g);
    return answer;
}

int main(int argc, char **argv)
{
    static struct tool tool;
    char *line = NULL;
    size_t cap = 0;
    if (argc > 1 && !load(&tool, argv[1])) {
        fprintf(stderr, "tool_grammar: %s: no vocabulary\n", argv[1]);
        return 2;
    }
    while (getline(&line, &cap, stdin) > 0) {
        json_error_t error;
        json_t *c = json_loads(line, 0, &error), *answer = c ? answer_case(&tool, c) : NULL;
        char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
        puts(text ? text : "{\"error\":\"no case\"}");
        fflush(stdout);
        free(text);
        json_decref(answer);
        json_decref(c);
    }
    free(line);
    free(tool.logits);
    rz_sample_scratch_deinit(&tool.scratch);
    rz_trie_free(tool.trie);
    return 0;
}

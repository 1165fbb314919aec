/* tok.h - starting a tokenizer plugin on metadata made in memory, and the checks that bpe and spm share. */
#ifndef RZ_TESTS_TOK_H
#define RZ_TESTS_TOK_H

#include "rz_test.h"
#include "vocab_meta.h"

#include <pthread.h>
#include <rz/plugin.h>
#include <rz/tokenizer.h>
#include <stdio.h>

#define K "tokenizer.ggml."
#define S(text) ((struct rz_str){text, sizeof(text) - 1})
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* A plugin that was started and the tokenizer that it made. */
struct tok {
    const struct rz_plugin *plugin;
    const struct rz_tokenizer *api;
    void *self, *tok;
    struct rz_err err;
};

static inline void start(struct tok *t, const struct rz_plugin *plugin)
{
    *t = (struct tok){.plugin = plugin, .err = {.size = sizeof(t->err)}};
    rz_check_ok(plugin->init(NULL, NULL, &t->self, &t->err), &t->err);
    t->api = plugin->query(t->self, RZ_TOKENIZER_1, 0);
    rz_check(t->api != NULL);
}

static inline void stop(struct tok *t)
{
    t->api->destroy(t->tok);
    if (t->plugin->fini)
        t->plugin->fini(t->self);
}

static inline void make(struct tok *t, const struct rz_plugin *plugin, struct meta *m)
{
    start(t, plugin);
    rz_check_eq(t->api->probe(t->self, meta_model(m)), 100);
    rz_check_ok(t->api->create(t->self, meta_model(m), NULL, &t->tok, &t->err), &t->err);
}

/* The ids as text, "1 2 3". */
static const char *show_ids(const int32_t *ids, uint64_t n)
{
    static char out[4096];
    size_t len = 0;
    out[0] = 0;
    for (uint64_t i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%d", i ? " " : "", ids[i]);
    return out;
}

static const char *ids_of(struct tok *t, const char *text, size_t n, uint32_t flags)
{
    int32_t ids[300];
    uint64_t count;
    rz_check_ok(t->api->encode(t->tok, text, n, flags, ids, N(ids), &count, &t->err), &t->err);
    rz_check(count <= N(ids));
    return show_ids(ids, count);
}

/* The same with special tokens, except in the plain stretches: those between "{" and "}", which both go. */
static inline void check_marked(struct tok *t, const char *text, const char *want)
{
    char bytes[300];
    struct rz_span plain[10];
    int32_t ids[300];
    uint64_t count;
    struct rz_marked_text in = {
        .size = sizeof(in), .flags = RZ_ENCODE_SPECIAL, .text = bytes, .plain = plain};
    for (; *text; text++) {
        if (*text == '{')
            plain[in.n_plain].begin = in.n;
        else if (*text == '}')
            plain[in.n_plain++].end = in.n;
        else
            bytes[in.n++] = *text;
    }
    rz_check_ok(t->api->encode_marked(t->tok, &in, ids, N(ids), &count, &t->err), &t->err);
    rz_check_streq(show_ids(ids, count), want);
}

static inline void check_ids(struct tok *t, const char *text, uint32_t flags, const char *want)
{
    rz_check_streq(ids_of(t, text, strlen(text), flags), want);
}

/* Decodes ids up to a -1. */
static inline const char *text_of(struct tok *t, const int32_t *ids, uint32_t flags)
{
    static char out[4096];
    struct rz_decode_state state = {.size = sizeof(state)};
    size_t len = 0;
    for (; *ids >= 0; ids++) {
        int64_t n = t->api->decode(t->tok, &state, *ids, flags, out + len, sizeof(out) - len - 1);
        rz_check(n >= 0 && (size_t)n < sizeof(out) - len - 1);
        len += (size_t)n;
    }
    out[len] = 0;
    return out;
}

/* --- bad metadata --- */
static inline void check_refused(const struct rz_plugin *plugin, struct meta *m, int32_t code,
                                 const char *where, const char *message)
{
    struct tok t;
    start(&t, plugin);
    rz_check_eq(t.api->create(t.self, meta_model(m), NULL, &t.tok, &t.err), code);
    rz_check(t.tok == NULL);
    rz_check_streq(t.err.where, where);
    rz_check_has(t.err.message, message);
    stop(&t);
    meta_free(m);
}

/* One entry replaced or dropped (type < 0) in a good vocabulary. */
struct change {
    const char *key;
    int type;
    uint32_t elem_type;
    uint64_t n;
    const void *data;
    size_t bytes;
    int32_t code;
    const char *where, *message;
};

#define ID(key) \
    { \
        K key, RZ_META_U32, RZ_META_U32, 1, &(uint32_t){1000000}, 4, RZ_EFORMAT, "key " K key, \
            "token 1000000 is outside the vocabulary" \
    }
static inline void check_changes(const struct rz_plugin *plugin, void (*fill)(struct meta *),
                                 const struct change *c, size_t n)
{
    for (size_t i = 0; i < n; i++, c++) {
        struct meta m = {0};
        fill(&m);
        if (c->type < 0)
            meta_drop(&m, c->key);
        else
            meta_put(&m, c->key, (uint32_t)c->type, c->elem_type, c->n, c->data, c->bytes);
        check_refused(plugin, &m, c->code, c->where, c->message);
    }
}

/* A megabyte of many things; quadratic work would take hours. */
static inline void check_long(struct tok *t)
{
    static const char *const fills[] = {"a", "ab",       " ",    "\n",           "1",  "!", "'",
                                        "<", "\303\244", "\377", "<|endoftext|", "<u>"};
    size_t n = 1 << 20;
    char *long_text = malloc(n);
    rz_check(long_text != NULL);
    for (size_t f = 0; f < N(fills); f++) {
        uint64_t count;
        for (size_t i = 0; i < n; i++)
            long_text[i] = fills[f][i % strlen(fills[f])];
        rz_check_ok(t->api->encode(t->tok, long_text, n, RZ_ENCODE_SPECIAL, NULL, 0, &count, &t->err),
                    &t->err);
        rz_check(count > n / 8 && count <= n + n / 2);
    }
    free(long_text);
}

struct worker {
    struct tok *t;
    int bad;
};

static inline void *work(void *arg)
{
    struct worker *w = arg;
    char words[512];
    int32_t ids[600], first[600];
    uint64_t count, n_first = 0;
    for (size_t i = 0; i < sizeof(words); i++)
        words[i] = "abc abab \n1'<u>"[i % 15];
    for (int round = 0; round < 50; round++) {
        struct rz_err err = {.size = sizeof(err)};
        if (w->t->api->encode(w->t->tok, words, sizeof(words), RZ_ENCODE_SPECIAL, ids, N(ids), &count, &err))
            w->bad++;
        if (!round) {
            n_first = count;
            memcpy(first, ids, count * sizeof(ids[0]));
        }
        w->bad += count != n_first || memcmp(ids, first, count * sizeof(ids[0])) != 0;
    }
    return NULL;
}

/* Four threads on one tokenizer. */
static inline void check_threads(struct tok *t)
{
    pthread_t threads[4];
    struct worker workers[4];
    for (int k = 0; k < 4; k++) {
        workers[k] = (struct worker){t, 0};
        rz_check_eq(pthread_create(&threads[k], NULL, work, &workers[k]), 0);
    }
    for (int k = 0; k < 4; k++) {
        pthread_join(threads[k], NULL);
        rz_check_eq(workers[k].bad, 0);
    }
}

#endif

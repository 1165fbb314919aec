/* embed.c - `rz embed`: one vector a text, from the hidden states of a model.
 *
 * Texts are given by -p, or one a line. Several are in work at a time, so that they share steps; the vectors
 * come out in the order of the texts.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define POLL_MS 1000
#define IN_WORK 64 /* texts that the engine knows at a time */

struct embed_values {
    struct rz_cli_value model, prompt, file, context, pooling, normalize, truncate, format, tokens;
};

#define AT(field) offsetof(struct embed_values, field)
#define INT_MAX_D 2147483647.0

static const struct rz_cli_option options[] = {
    {.name = "model", .letter = 'm', .type = OPT_TEXT, .at = AT(model)},
    {.name = "prompt", .letter = 'p', .type = OPT_LIST, .at = AT(prompt)},
    {.name = "file", .letter = 'f', .type = OPT_TEXT, .at = AT(file)},
    {.name = "context", .letter = 'c', .type = OPT_INT, .min = 1, .max = INT_MAX_D, .at = AT(context)},
    {.name = "pooling", .type = OPT_TEXT, .at = AT(pooling)},
    {.name = "normalize", .type = OPT_FLAG, .at = AT(normalize)},
    {.name = "truncate", .type = OPT_FLAG, .at = AT(truncate)},
    {.name = "format", .type = OPT_TEXT, .at = AT(format)},
    {.name = "tokens", .type = OPT_TEXT, .at = AT(tokens)},
    {.name = NULL},
};

#define FORMAT_JSON 0   /* an array a line                      */
#define FORMAT_TEXT 1   /* numbers with spaces between, a line  */
#define FORMAT_BINARY 2 /* float32, little-endian               */
#define FORMAT_OBJECT 3 /* --json: an object a line             */

struct embed {
    struct rz_cli_model m;
    const struct rz_engine *engine;
    const struct embed_values *v;
    uint32_t pooling, format;
    struct rz_buf input; /* -f or standard input */
    struct rz_str *texts;
    uint64_t n_texts;
    uint64_t tickets[IN_WORK]; /* of text i at i % IN_WORK */
    float *vector;
};

/* --- texts --- */

static int32_t take_lines(struct embed *e, struct rz_err *err)
{
    const char *at = e->input.data ? e->input.data : "", *end = at + e->input.len;
    uint64_t n = 1;
    for (const char *p = at; p < end; p++)
        n += *p == '\n';
    e->texts = calloc(n, sizeof(*e->texts));
    if (!e->texts)
        return rz_fail(err, RZ_ENOMEM, "embed", "no memory for %llu texts", (unsigned long long)n);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        e->texts[e->n_texts++] = (struct rz_str){at, (uint64_t)(stop - at)};
        at = stop + 1;
    }
    return RZ_OK;
}

static int32_t read_texts(struct embed *e, struct rz_err *err)
{
    const struct rz_cli_value *p = &e->v->prompt, *f = &e->v->file;
    if (p->given + f->given + e->v->tokens.given > 1)
        return rz_fail(err, RZ_ECONFIG, "embed", "-p, -f and --tokens: only one of them");
    if (e->v->tokens.given) {
        e->n_texts = 1;
        return RZ_OK;
    }
    if (!p->given) {
        int32_t code = rz_cli_read(f->text, &e->input, err);
        if (!code)
            code = take_lines(e, err);
        if (!code && !e->n_texts)
            code = rz_fail(err, RZ_EINVAL, "embed", "no text: -p, or one a line from -f or standard input");
        return code;
    }
    e->texts = calloc(p->n, sizeof(*e->texts));
    if (!e->texts)
        return rz_fail(err, RZ_ENOMEM, "embed", "no memory");
    for (e->n_texts = 0; e->n_texts < p->n; e->n_texts++)
        e->texts[e->n_texts] = (struct rz_str){p->list[e->n_texts], strlen(p->list[e->n_texts])};
    return RZ_OK;
}

/* --- to the engine and back --- */

/* A text that is too long keeps its end, which may be a special token. */
static uint64_t truncated(const struct embed *e, int32_t *ids, uint64_t n)
{
    uint64_t most = e->m.info.n_ctx;
    if (!e->v->truncate.given || n <= most || !e->m.vocab.add_eos)
        return e->v->truncate.given && n > most ? most : n;
    ids[most - 1] = ids[n - 1];
    return most;
}

static int32_t encode(const struct embed *e, uint64_t i, int32_t **ids, uint64_t *n, struct rz_err *err)
{
    uint32_t flags = (e->m.vocab.add_bos ? RZ_ENCODE_BOS : 0) | (e->m.vocab.add_eos ? RZ_ENCODE_EOS : 0);
    if (e->v->tokens.given)
        return rz_cli_read_ids(&e->m, e->v->tokens.text, ids, n, err);
    return rz_cli_encode(&e->m, e->texts[i].data, e->texts[i].len, flags, ids, n, err);
}

static int32_t submit(struct embed *e, uint64_t i, struct rz_err *err)
{
    char where[48];
    int32_t *ids = NULL;
    uint64_t n = 0;
    int32_t code = encode(e, i, &ids, &n, err);
    if (!code && n > UINT32_MAX)
        code = rz_fail(err, RZ_ELIMIT, "prompt", "%llu tokens", (unsigned long long)n);
    if (!code) {
        struct rz_request q = {.size = sizeof(q),
                               .flags = RZ_REQUEST_EMBED,
                               .prompt = ids,
                               .n_prompt = (uint32_t)truncated(e, ids, n),
                               .pooling = e->pooling};
        q.sampling =
            (struct rz_sampling){.size = sizeof(q.sampling), .top_p = 1, .typical_p = 1, .repeat_penalty = 1};
        code = e->engine->submit(e->engine->ctx, &q, &e->tickets[i % IN_WORK], err);
    }
    free(ids);
    snprintf(where, sizeof(where), "text %llu", (unsigned long long)i + 1);
    return code ? rz_err_wrap(err, where) : RZ_OK;
}

static int32_t wait(struct embed *e, uint64_t i, uint32_t *n_tokens, struct rz_err *err)
{
    uint64_t ticket = e->tickets[i % IN_WORK];
    for (;;) {
        struct rz_event ev = {.size = sizeof(ev)};
        int32_t got = e->engine->poll(e->engine->ctx, ticket, &ev, POLL_MS);
        if (got == RZ_AGAIN)
            continue;
        if (got != RZ_OK)
            return rz_fail(err, got < 0 ? got : RZ_EINTERNAL, "embed", "the engine ended without a vector");
        if (ev.kind == RZ_EVENT_ERROR)
            return rz_fail(err, ev.code < 0 ? ev.code : RZ_EINTERNAL, "embed", "%.*s", (int)ev.n_text,
                           ev.text);
        *n_tokens = ev.n_prompt;
        if (ev.kind == RZ_EVENT_DONE)
            break;
    }
    int32_t n = e->engine->embedding(e->engine->ctx, ticket, e->vector, e->m.info.n_embd);
    if (n != (int32_t)e->m.info.n_embd)
        return rz_fail(err, n < 0 ? n : RZ_EINTERNAL, "embed", "text %llu has no vector",
                       (unsigned long long)i + 1);
    return RZ_OK;
}

/* --- out --- */

static void normalize(float *v, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    for (uint32_t i = 0; i < n && sum > 0; i++)
        v[i] = (float)((double)v[i] / sqrt(sum));
}

/* Nine digits name a float32 exactly. */
static int32_t write_numbers(const struct embed *e, struct rz_err *err)
{
    bool json = e->format == FORMAT_JSON;
    struct rz_buf line;
    rz_buf_init(&line, RZ_CLI_INPUT_MAX);
    for (uint32_t i = 0; i < e->m.info.n_embd; i++) {
        char number[32];
        int n = snprintf(number, sizeof(number), "%s%.9g",
                         !i     ? (json ? "[" : "")
                         : json ? ","
                                : " ",
                         (double)e->vector[i]);
        rz_buf_add(&line, number, (size_t)n);
    }
    rz_buf_add(&line, json ? "]\n" : "\n", json ? 2 : 1);
    int32_t code = rz_buf_ok(&line) ? rz_cli_write(line.data, line.len, err)
                                    : rz_fail(err, RZ_ENOMEM, "embed", "no memory for a line");
    rz_buf_free(&line);
    return code;
}

static int32_t show(const struct embed *e, uint64_t i, uint32_t n_tokens, struct rz_err *err)
{
    uint32_t n = e->m.info.n_embd;
    if (e->v->normalize.given)
        normalize(e->vector, n);
    if (e->format == FORMAT_BINARY)
        return rz_cli_write((const char *)e->vector, n * sizeof(*e->vector), err);
    if (e->format != FORMAT_OBJECT)
        return write_numbers(e, err);
    json_t *list = json_array();
    for (uint32_t d = 0; d < n; d++)
        json_array_append_new(list, json_real((double)e->vector[d]));
    return rz_cli_json(
        json_pack("{s:I,s:i,s:o}", "index", (json_int_t)i, "tokens", (int)n_tokens, "embedding", list), err);
}

static int32_t run_texts(struct embed *e, struct rz_err *err)
{
    uint64_t sent = 0, done = 0;
    int32_t code = RZ_OK;
    while (done < e->n_texts && !code) {
        uint32_t n_tokens = 0;
        while (!code && sent < e->n_texts && sent - done < IN_WORK && !(code = submit(e, sent, err)))
            sent++;
        if (!code)
            code = wait(e, done, &n_tokens, err);
        if (!code)
            code = show(e, done, n_tokens, err);
        if (!code)
            e->engine->release(e->engine->ctx, e->tickets[done++ % IN_WORK]);
    }
    for (; done < sent; done++)
        e->engine->release(e->engine->ctx, e->tickets[done % IN_WORK]);
    return code;
}

/* --- the command --- */

/* The index of a word in a list that ends with NULL; -1: none of them. */
static int32_t word_of(const char *text, const char *const *words)
{
    for (int32_t i = 0; words[i]; i++)
        if (!strcmp(text, words[i]))
            return i;
    return -1;
}

static int32_t read_words(struct embed *e, bool json, struct rz_err *err)
{
    static const char *const poolings[] = {"model", "mean", "cls", "last", NULL}; /* RZ_POOL_* */
    static const char *const formats[] = {"json", "text", "binary", NULL};        /* FORMAT_*  */
    int32_t pooling = e->v->pooling.given ? word_of(e->v->pooling.text, poolings) : 0;
    int32_t format = e->v->format.given ? word_of(e->v->format.text, formats) : FORMAT_JSON;
    if (pooling < 0)
        return rz_fail(err, RZ_ECONFIG, "embed", "--pooling %.60s: not mean, cls or last",
                       e->v->pooling.text);
    if (format < 0)
        return rz_fail(err, RZ_ECONFIG, "embed", "--format %.60s: not json, text or binary",
                       e->v->format.text);
    if (json && e->v->format.given)
        return rz_fail(err, RZ_ECONFIG, "embed", "--json and --format: only one of them");
    e->pooling = (uint32_t)pooling;
    e->format = json ? FORMAT_OBJECT : (uint32_t)format;
    return RZ_OK;
}

static int32_t work(const struct rz_cli *cli, struct embed *e, struct rz_err *err)
{
    struct rz_model_options mo = {.size = sizeof(mo), .level = RZ_MODEL_RUN};
    mo.context = e->v->context.given ? (uint32_t)e->v->context.i : 0;
    mo.exact_context = e->v->context.given;
    int32_t code = read_texts(e, err);
    if (!code)
        code = rz_cli_open(cli, e->v->model.text, &mo, &e->m, err);
    if (code)
        return code;
    e->engine = e->m.api->engine(e->m.model);
    if (!e->engine || !RZ_HAS(e->engine, embedding))
        return rz_fail(err, RZ_EINTERNAL, "embed", "the model has no engine that gives vectors");
    e->vector = calloc(e->m.info.n_embd, sizeof(*e->vector));
    if (!e->vector)
        return rz_fail(err, RZ_ENOMEM, "embed", "no memory for a vector of %u", e->m.info.n_embd);
    code = run_texts(e, err);
    return code ? code : rz_cli_write("", 0, err);
}

int32_t rz_cli_embed(void *self, uint32_t flags, int32_t argc, const char *const *argv, struct rz_err *err)
{
    struct embed_values v = {0};
    struct embed e = {.v = &v};
    int status = rz_cli_parse(options, argc, argv, &v, NULL, err);
    if (status)
        return status;
    rz_buf_init(&e.input, RZ_CLI_INPUT_MAX);
    int32_t code = read_words(&e, flags & RZ_COMMAND_JSON, err);
    if (!code)
        code = work(self, &e, err);
    rz_cli_close(&e.m);
    rz_buf_free(&e.input);
    free(e.texts);
    free(e.vector);
    return code ? rz_cli_status(code) : 0;
}

/* embeddings.c - /v1/embeddings: vectors of texts, of length 1, as numbers or as base64 of float32.
 */
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

static int32_t prepare(struct rz_http_request *r, struct rz_err *err)
{
    if (r->ask.dimensions > (int64_t)r->model->info.n_embd)
        return rz_fail(err, RZ_EINVAL, "dimensions", "%lld: the model's vectors have %u",
                       (long long)r->ask.dimensions, r->model->info.n_embd);
    return rz_http_prompts_read(r, r->model->vocab.add_eos ? RZ_ENCODE_EOS : 0, err);
}

static void take(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    (void)r;
    (void)run;
    (void)ev;
}

static uint32_t width(const struct rz_http_request *r)
{
    return r->ask.dimensions ? (uint32_t)r->ask.dimensions : r->model->info.n_embd;
}

static void end(struct rz_http_request *r, struct rz_http_run *run, const struct rz_event *ev)
{
    const struct rz_engine *e = r->model->engine;
    uint32_t n = width(r);
    double square = 0;
    (void)ev;
    run->vector = calloc(n, sizeof(*run->vector));
    if (!run->vector || e->embedding(e->ctx, run->ticket, run->vector, n) < (int32_t)n) {
        run->text.bad = true;
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        square += (double)run->vector[i] * (double)run->vector[i];
    for (uint32_t i = 0; i < n && square > 0; i++)
        run->vector[i] = (float)((double)run->vector[i] / sqrt(square));
}

static json_t *numbers(const float *v, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_real((double)v[i]));
    return list;
}

/* Little-endian, as this machine has them. */
static json_t *base64(const float *v, uint32_t n)
{
    size_t bytes = n * sizeof(*v);
    unsigned char *text = malloc(bytes / 3 * 4 + 5);
    int len = text ? EVP_EncodeBlock(text, (const unsigned char *)v, (int)bytes) : -1;
    json_t *o = len >= 0 ? json_stringn((const char *)text, (size_t)len) : NULL;
    free(text);
    return o;
}

static json_t *whole(struct rz_http_request *r)
{
    json_t *data = json_array();
    json_int_t tokens = rz_http_counts(r).prompt;
    for (uint32_t i = 0; i < r->n_runs; i++) {
        const float *v = r->runs[i].vector;
        json_array_append_new(data, json_pack("{s:s,s:I,s:o}", "object", "embedding", "index", (json_int_t)i,
                                              "embedding",
                                              r->ask.base64 ? base64(v, width(r)) : numbers(v, width(r))));
    }
    return json_pack("{s:s,s:o,s:s,s:{s:I,s:I}}", "object", "list", "data", data, "model", r->model->name,
                     "usage", "prompt_tokens", tokens, "total_tokens", tokens);
}

static const struct rz_http_shape shape = {.id = "embd-",
                                           .fields = RZ_HTTP_EMBED,
                                           .flags = RZ_REQUEST_EMBED,
                                           .prompt = "input",
                                           .prepare = prepare,
                                           .take = take,
                                           .end = end,
                                           .whole = whole};

enum MHD_Result rz_http_embeddings_start(struct rz_http_request *r)
{
    return rz_http_start(r, &shape);
}

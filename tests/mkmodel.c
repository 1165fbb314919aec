/* mkmodel.c - writes the tiny models that the tests run: random weights from a seed, real structure.
 *
 *     mkmodel FOLDER
 *
 * For each model FOLDER gets NAME.gguf and NAME.tokens.i32 (ids to evaluate, little-endian int32). The
 * same files come out on every machine. tests/ref_model.c says what logits they must give.
 */
#include "fixture.h"

#include <math.h>
#include <rz/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    const char *name, *arch;
    int32_t type; /* of the matrices; norms and biases are F32 */
    uint32_t n_embd, n_ff, n_layer, n_head, n_kv, head_dim, n_tokens;
    float rope_base, eps;
    int tied, bias, bpe, rope_factors;
};

#define LLAMA_256(NAME, TYPE) \
    { \
        .name = NAME, .arch = "llama", .type = TYPE, .n_embd = 256, .n_ff = 512, .n_layer = 2, .n_head = 4, \
        .n_kv = 2, .head_dim = 64, .n_tokens = 80, .rope_base = 10000, .eps = 1e-5f \
    }

static const struct shape shapes[] = {
    /* 320 tokens: more than one page and more than one split of the attention */
    {.name = "tiny-llama",
     .arch = "llama",
     .type = RZ_TYPE_F32,
     .n_embd = 64,
     .n_ff = 96,
     .n_layer = 3,
     .n_head = 4,
     .n_kv = 2,
     .head_dim = 16,
     .n_tokens = 320,
     .rope_base = 10000,
     .eps = 1e-5f},
    {.name = "tiny-qwen2",
     .arch = "qwen2",
     .type = RZ_TYPE_F32,
     .n_embd = 64,
     .n_ff = 96,
     .n_layer = 3,
     .n_head = 4,
     .n_kv = 2,
     .head_dim = 16,
     .n_tokens = 160,
     .rope_base = 1e6f,
     .eps = 1e-6f,
     .tied = 1,
     .bias = 1,
     .bpe = 1},
    {.name = "tiny-mqa",
     .arch = "llama",
     .type = RZ_TYPE_F32,
     .n_embd = 48,
     .n_ff = 80,
     .n_layer = 2,
     .n_head = 6,
     .n_kv = 1,
     .head_dim = 8,
     .n_tokens = 160,
     .rope_base = 500000,
     .eps = 1e-5f,
     .tied = 1,
     .rope_factors = 1},
    LLAMA_256("tiny-f16", RZ_TYPE_F16),
    LLAMA_256("tiny-bf16", RZ_TYPE_BF16),
    LLAMA_256("tiny-q4_0", RZ_TYPE_Q4_0),
    LLAMA_256("tiny-q4_1", RZ_TYPE_Q4_1),
    LLAMA_256("tiny-q5_0", RZ_TYPE_Q5_0),
    LLAMA_256("tiny-q5_1", RZ_TYPE_Q5_1),
    LLAMA_256("tiny-q8_0", RZ_TYPE_Q8_0),
    LLAMA_256("tiny-q4_k", RZ_TYPE_Q4_K),
    LLAMA_256("tiny-q5_k", RZ_TYPE_Q5_K),
    LLAMA_256("tiny-q6_k", RZ_TYPE_Q6_K),
};

/* A model on its way to a file. */
struct making {
    const struct shape *shape;
    struct gguf *g;
    struct rng rng;
    int layer; /* -1: of no layer */
};

static void tensor_name(const struct making *m, const char *what, char out[64])
{
    if (m->layer < 0)
        snprintf(out, 64, "%s", what);
    else
        snprintf(out, 64, "blk.%d.%s", m->layer, what);
}

static void matrix(struct making *m, const char *what, uint32_t cols, uint32_t rows, double std)
{
    char name[64];
    size_t n = (size_t)cols * rows, bytes = weight_bytes(m->shape->type, n);
    void *data = must_alloc(bytes);
    tensor_name(m, what, name);
    weight_random(m->shape->type, data, n, std, &m->rng);
    gguf_tensor(m->g, name, m->shape->type, cols, rows, data, bytes);
    free(data);
}

static void vector(struct making *m, const char *what, uint32_t cols, double mean, double std)
{
    char name[64];
    float *data = must_alloc(cols * sizeof *data);
    tensor_name(m, what, name);
    for (uint32_t i = 0; i < cols; i++)
        data[i] = (float)(mean + std * rng_normal(&m->rng));
    gguf_tensor(m->g, name, RZ_TYPE_F32, cols, 0, data, cols * sizeof *data);
    free(data);
}

static void metadata_u32(struct making *m, const char *key, uint32_t value)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", m->shape->arch, key);
    gguf_u32(m->g, name, value);
}

static void metadata_f32(struct making *m, const char *key, float value)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", m->shape->arch, key);
    gguf_f32(m->g, name, value);
}

static void metadata(struct making *m)
{
    const struct shape *s = m->shape;
    gguf_str(m->g, "general.architecture", s->arch);
    gguf_str(m->g, "general.name", s->name);
    gguf_u32(m->g, "general.quantization_version", 2);
    metadata_u32(m, "context_length", 512);
    metadata_u32(m, "embedding_length", s->n_embd);
    metadata_u32(m, "block_count", s->n_layer);
    metadata_u32(m, "feed_forward_length", s->n_ff);
    metadata_u32(m, "attention.head_count", s->n_head);
    metadata_u32(m, "attention.head_count_kv", s->n_kv);
    metadata_u32(m, "attention.key_length", s->head_dim);
    metadata_u32(m, "attention.value_length", s->head_dim);
    metadata_u32(m, "rope.dimension_count", s->head_dim);
    metadata_f32(m, "rope.freq_base", s->rope_base);
    metadata_f32(m, "attention.layer_norm_rms_epsilon", s->eps);
}

/* Divisors of the rope frequencies, as llama 3 spreads them: 1 for the fast pairs, 8 for the slow ones. */
static void rope_factors(struct making *m)
{
    uint32_t n = m->shape->head_dim / 2;
    float *data = must_alloc(n * sizeof *data);
    for (uint32_t i = 0; i < n; i++)
        data[i] = 1 + 7 * (float)i / (float)(n - 1);
    gguf_tensor(m->g, "rope_freqs.weight", RZ_TYPE_F32, n, 0, data, n * sizeof *data);
    free(data);
}

static void layer(struct making *m)
{
    const struct shape *s = m->shape;
    uint32_t q = s->n_head * s->head_dim, kv = s->n_kv * s->head_dim;
    double in = 1 / sqrt(s->n_embd);
    vector(m, "attn_norm.weight", s->n_embd, 1, 0.1);
    matrix(m, "attn_q.weight", s->n_embd, q, 1.4 * in);
    matrix(m, "attn_k.weight", s->n_embd, kv, 1.4 * in);
    matrix(m, "attn_v.weight", s->n_embd, kv, in);
    if (s->bias) {
        vector(m, "attn_q.bias", q, 0, 0.5);
        vector(m, "attn_k.bias", kv, 0, 0.5);
        vector(m, "attn_v.bias", kv, 0, 0.5);
    }
    matrix(m, "attn_output.weight", q, s->n_embd, 1 / sqrt(q));
    vector(m, "ffn_norm.weight", s->n_embd, 1, 0.1);
    matrix(m, "ffn_gate.weight", s->n_embd, s->n_ff, in);
    matrix(m, "ffn_up.weight", s->n_embd, s->n_ff, in);
    matrix(m, "ffn_down.weight", s->n_ff, s->n_embd, 1 / sqrt(s->n_ff));
}

static void tokens(const struct shape *s, uint32_t n_vocab, struct rng *rng, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        die(path);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        int32_t id = rng_int(rng, 3, (int)n_vocab - 3);
        if (fwrite(&id, sizeof id, 1, f) != 1)
            die(path);
    }
    if (fclose(f) != 0)
        die(path);
}

static void make(const struct shape *s, const char *folder, uint64_t seed)
{
    struct making m = {.shape = s, .g = gguf_new(), .rng = {seed}, .layer = -1};
    char path[4096];
    metadata(&m);
    uint32_t n_vocab = s->bpe ? vocab_bpe(m.g, "qwen2") : vocab_spm(m.g);
    metadata_u32(&m, "vocab_size", n_vocab);
    matrix(&m, "token_embd.weight", s->n_embd, n_vocab, s->tied ? 1 / sqrt(s->n_embd) * 2 : 1);
    if (s->rope_factors)
        rope_factors(&m);
    for (m.layer = 0; m.layer < (int)s->n_layer; m.layer++)
        layer(&m);
    m.layer = -1;
    vector(&m, "output_norm.weight", s->n_embd, 1, 0.1);
    if (!s->tied)
        matrix(&m, "output.weight", s->n_embd, n_vocab, 2 / sqrt(s->n_embd));
    snprintf(path, sizeof path, "%s/%s.gguf", folder, s->name);
    gguf_write(m.g, path);
    snprintf(path, sizeof path, "%s/%s.tokens.i32", folder, s->name);
    tokens(s, n_vocab, &m.rng, path);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        die("usage: mkmodel FOLDER");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        make(&shapes[i], argv[1], 1000 + i);
    return 0;
}

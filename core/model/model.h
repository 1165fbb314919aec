/* model.h - from a file's tables to a program: hyperparameters, tensor binding, the builder.
 *
 * A model family is one file with a function that says the model's equations in the order of the paper,
 * by calls of the builder; it knows nothing about memory, threads or devices. Everything made here
 * lives in one arena and is constant once rz_graph_build has returned.
 */
#ifndef RZ_MODEL_INNER_H
#define RZ_MODEL_INNER_H

#include "arena.h"

#include <rz/format.h>
#include <rz/program.h>
#include <stdbool.h>

/* --- metadata: typed getters (meta.c) --- */

/* Each returns RZ_OK, RZ_ENOTFOUND without touching err when the key is absent, or RZ_EFORMAT when it
 * has the wrong type or range (err names the key). */
const struct rz_meta *rz_meta_find(const struct rz_format_model *m, const char *key);
int32_t rz_meta_u32(const struct rz_format_model *m, const char *key, uint32_t *out, struct rz_err *err);
int32_t rz_meta_f64(const struct rz_format_model *m, const char *key, double *out, struct rz_err *err);
int32_t rz_meta_bool(const struct rz_format_model *m, const char *key, bool *out, struct rz_err *err);
int32_t rz_meta_str(const struct rz_format_model *m, const char *key, struct rz_str *out, struct rz_err *err);

/* --- hyperparameters (hparams.c) --- */

#define RZ_SCALING_NONE 0
#define RZ_SCALING_LINEAR 1
#define RZ_SCALING_YARN 2

struct rz_hparams {
    char arch[32];
    uint32_t n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab, n_ctx_train;
    double norm_eps;
    uint32_t rope_dim;
    double rope_base;
    uint32_t scaling; /* RZ_SCALING_* */
    double scaling_factor, scaling_attn_factor, yarn_beta_fast, yarn_beta_slow;
    uint32_t scaling_context; /* what the model was trained for before scaling; 0: unknown */
};

/* Reads and checks them all: ranges, and the relations between them. */
int32_t rz_hparams_read(const struct rz_format_model *m, struct rz_hparams *out, struct rz_err *err);

/* --- the graph: a program and what it owns (builder.c) --- */

struct rz_graph {
    struct rz_arena arena;
    struct rz_hparams h;
    struct rz_program program;
};

struct rz_builder;

/* The family's tensors are bound by name; shapes are checked against what the family expects.
 * sources: the mapped shards, in the order of rz_tensor.shard. */
int32_t rz_graph_build(const struct rz_format_model *m, const struct rz_source *sources, uint32_t n_sources,
                       struct rz_graph **out, struct rz_err *err);
void rz_graph_free(struct rz_graph *g);

/* --- what family files use. After an error all calls do nothing, so that they need no checks. --- */

const struct rz_hparams *rz_build_hparams(const struct rz_builder *b);
/* A weight [rows, cols] by name (printf format); -1 if it is optional and absent. */
int32_t rz_build_weight(struct rz_builder *b, bool required, uint64_t cols, uint64_t rows, const char *format,
                        ...) __attribute__((format(printf, 5, 6)));
/* The rotary embedding of the hyperparameters; frequency divisors from rope_freqs.weight if there. */
int32_t rz_build_rope(struct rz_builder *b);
/* A KV group of all layers with the hyperparameters' heads. */
int32_t rz_build_kv_group(struct rz_builder *b);
/* Value of the embedded tokens. */
int32_t rz_build_embed(struct rz_builder *b);

struct rz_attn_options {
    int32_t rope, kv_group;
    bool neox;          /* rope pairs are halves, not neighbours */
    bool qkv_bias;      /* biases are required                   */
    bool optional_bias; /* biases are taken if there             */
};
/* x + proj(attention(rope(norm(x)))) */
int32_t rz_build_attn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_attn_options *o);

struct rz_ffn_options {
    bool optional_bias;
};
/* x + down(silu(gate(norm(x))) * up(norm(x))) */
int32_t rz_build_ffn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ffn_options *o);
/* norm and logits of the wanted rows; the head is tied to the embedding when the file has none. */
void rz_build_head(struct rz_builder *b, int32_t x);

/* --- families (families.c): one row each --- */

struct rz_family {
    const char *arch; /* general.architecture */
    void (*build)(struct rz_builder *b);
};
const struct rz_family *rz_family_find(const char *arch);
const struct rz_family *rz_family_at(uint32_t i);
void rz_family_llama(struct rz_builder *b);
void rz_family_qwen2(struct rz_builder *b);

#endif

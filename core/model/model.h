/* model.h - from a file's tables to a program: hyperparameters, tensor binding, the builder.
 *
 * A model family is one file with a function that says the model's equations in the order of the paper,
 * by calls of the builder; it knows nothing about memory, threads or devices. Everything made here
 * lives in one arena and is constant once rz_graph_build has returned.
 */
#ifndef RZ_MODEL_INNER_H
#define RZ_MODEL_INNER_H

#include "arena.h"

#include <rz/batch.h>
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

/* A count of which the file has one for all layers, or one for each: bit a layer in `some` where it is not
 * 0, and *out is what all of those have. RZ_EUNSUPPORTED: they differ. */
int32_t rz_meta_layers(const struct rz_format_model *m, const char *key, uint32_t n_layer, uint64_t *some,
                       uint32_t *out, struct rz_err *err);

/* --- hyperparameters (hparams.c) --- */

#define RZ_LAYER_WORDS 16 /* of a set of layers, bit a layer */

#define RZ_SCALING_NONE 0
#define RZ_SCALING_LINEAR 1
#define RZ_SCALING_YARN 2
#define RZ_SCALING_DYNAMIC 3

struct rz_hparams {
    char arch[32];
    uint32_t n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_vocab, n_ctx_train;
    double norm_eps;
    uint32_t rope_dim;
    double rope_base;
    uint32_t scaling; /* RZ_SCALING_* */
    double scaling_factor, scaling_attn_factor, yarn_beta_fast, yarn_beta_slow;
    double scaling_magnitude[2]; /* of LongRoPE's short and long variant; 0: the file does not say */
    uint32_t scaling_context;    /* what the model was trained for before scaling; 0: unknown */
    double layer_norm_eps;
    uint64_t set; /* RZ_H_* of those below that the file sets to something that changes the result */
    uint32_t window;
    uint64_t windowed[RZ_LAYER_WORDS];   /* RZ_H_PATTERN */
    uint32_t window_every;               /* where the file gives the pattern as a number; 0: it does not */
    uint32_t pooling;                    /* RZ_POOL_* */
    uint32_t act;                        /* RZ_ACT_*; RZ_H_ACT */
    uint32_t head_dim_swa, rope_dim_swa; /* of layers with a window */
    uint32_t embd_per_layer;             /* width of what each layer adds of the token; RZ_H_PER_LAYER */
    uint32_t shared_kv;                  /* layers at the end that use the KV of earlier ones          */
    double rope_base_swa, attn_softcap, final_softcap, attn_scale, clamp_kqv, max_alibi_bias;
    double embed_scale, residual_scale, logit_scale;
    uint32_t v_dim; /* of a head's value; head_dim but with a latent KV */
    /* mixtures of experts; 0: not said */
    uint32_t n_expert, n_expert_used, n_expert_shared, n_ff_exp, n_ff_shexp;
    uint32_t n_group, n_group_used, gating; /* gating: as in GGUF */
    double expert_scale;
    bool expert_norm;
    /* latent attention: widths of both latents (q 0: has none), and of a head of k and v */
    uint32_t q_latent, kv_latent, k_mla, v_mla;
    double yarn_log_mul;
    bool yarn_exact;                  /* its range of pairs is not rounded */
    uint32_t chunk, temperature_step; /* of positions; 0: the family's */
    double temperature_scale;
    uint64_t attends[RZ_LAYER_WORDS], feeds[RZ_LAYER_WORDS]; /* layers with attention, with n_ff */
    struct {
        uint32_t taps, inner, state, rank, groups, short_taps; /* 0: the file does not say; groups: 1 */
        bool norms;                                            /* of dt, B and C, without weights     */
        double norms_eps;                                      /* theirs; 0: the model's              */
    } ssm;
    bool no_rope; /* the file says so */
};

/* A family names those that it applies; any other that is set is an error. */
#define RZ_H_WINDOW 1u
#define RZ_H_PATTERN 2u
#define RZ_H_BASE_SWA 4u
#define RZ_H_ATTN_SOFTCAP 8u
#define RZ_H_FINAL_SOFTCAP 0x10u
#define RZ_H_ATTN_SCALE 0x20u
#define RZ_H_CLAMP 0x40u
#define RZ_H_ALIBI 0x80u
#define RZ_H_EMBED_SCALE 0x100u
#define RZ_H_RESIDUAL_SCALE 0x200u
#define RZ_H_LOGIT_SCALE 0x400u
#define RZ_H_PARALLEL 0x800u
#define RZ_H_EXPERTS 0x1000u
#define RZ_H_BIDIRECTIONAL 0x2000u
#define RZ_H_EVERY 0x4000u
#define RZ_H_ACT 0x8000u
#define RZ_H_DIM_SWA 0x10000u
#define RZ_H_PER_LAYER 0x20000u
#define RZ_H_SHARED_KV 0x40000u
#define RZ_H_LATENT 0x100000u
#define RZ_H_CHUNK 0x200000u
#define RZ_H_TEMPERATURE 0x400000u
#define RZ_H_EXPERT_NORM 0x800000u /* the file says whether weights are renormalised; changes nothing alone */

#define RZ_H_NO_HEADS (1ull << 32)   /* no layer has attention               */
#define RZ_H_SOME_HEADS (1ull << 33) /* some do not                          */
#define RZ_H_NO_FFN (1ull << 34)     /* no layer has a feed-forward half     */
#define RZ_H_SOME_FFN (1ull << 35)   /* some do not                          */

static inline bool rz_layer_in(const uint64_t *set, uint32_t layer)
{
    return set[layer / 64] >> layer % 64 & 1;
}

/* Reads and checks them all: ranges, and the relations between them. */
int32_t rz_hparams_read(const struct rz_format_model *m, struct rz_hparams *out, struct rz_err *err);
/* The window of a layer, 0 for none: by the file's pattern, or by the family's rule. */
uint32_t rz_hparams_window(const struct rz_hparams *h, uint32_t layer, bool by_rule);
/* RZ_EUNSUPPORTED, naming the key, if something outside `uses` (RZ_H_*) is set. */
int32_t rz_hparams_uses(const struct rz_hparams *h, uint64_t uses, struct rz_err *err);

/* --- the graph: a program and what it owns (builder.c) --- */

struct rz_graph {
    struct rz_arena arena;
    struct rz_hparams h;
    struct rz_program program;
    uint32_t mask;        /* RZ_MASK_*: what a row of a text sees                          */
    uint32_t rope_switch; /* sequences that may grow beyond have rope variant 1; 0: none do */
};

struct rz_builder;

/* The family's tensors are bound by name; shapes are checked against what the family expects.
 * sources: the mapped shards, in the order of rz_tensor.shard. context: positions that sequences may have; 0:
 * the program is only looked at, and its weights have no bytes. */
int32_t rz_graph_build(const struct rz_format_model *m, const struct rz_source *sources, uint32_t n_sources,
                       uint32_t context, struct rz_graph **out, struct rz_err *err);
void rz_graph_free(struct rz_graph *g);

/* --- what family files use. After an error all calls do nothing, so that they need no checks. --- */

const struct rz_hparams *rz_build_hparams(const struct rz_builder *b);
/* A weight [rows, cols] by name (printf format); -1 if it is optional and absent. */
int32_t rz_build_weight(struct rz_builder *b, bool required, uint64_t cols, uint64_t rows, const char *format,
                        ...) __attribute__((format(printf, 5, 6)));
/* Rows of the tensor of this name (a vector has 1); 0: the model has none. */
uint64_t rz_build_has(const struct rz_builder *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Fails if the model has this tensor: `what` is not implemented for the family. */
void rz_build_refuse(struct rz_builder *b, const char *name, const char *what);
/* The rotary embedding of the hyperparameters; frequency divisors from rope_freqs.weight if there. */
int32_t rz_build_rope(struct rz_builder *b);
/* One with another base and no scaling, as some models have in their layers with a window. */
int32_t rz_build_rope_plain(struct rz_builder *b, double base);
/* The same of another number of elements. */
int32_t rz_build_rope_part(struct rz_builder *b, double base, uint32_t dim);
/* The only element of a tensor; fallback: the model has none. */
double rz_build_scalar(struct rz_builder *b, double fallback, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* x times a whole matrix, without a bias */
int32_t rz_build_product(struct rz_builder *b, int32_t layer, int32_t x, uint64_t n, const char *name);
/* act(gate) * up */
int32_t rz_build_gated(struct rz_builder *b, int32_t layer, int32_t gate, int32_t up, uint32_t act);
/* A row of another table than the embedding, for each token. */
int32_t rz_build_lookup(struct rz_builder *b, uint64_t n, const char *name);
/* RMS norm of each of the equal parts of x, one weight for all. */
int32_t rz_build_norm_parts(struct rz_builder *b, int32_t layer, int32_t x, uint32_t parts, const char *name);
/* A number of the metadata: of this key, or element `layer` of the array there; required. */
double rz_build_number(struct rz_builder *b, uint32_t layer, const char *key);
/* Value of the embedded tokens. */
int32_t rz_build_embed(struct rz_builder *b);
/* x + position_embd[position] */
int32_t rz_build_positions(struct rz_builder *b, int32_t x);
/* x + a row of the table, if the model has that table: of the first of the kinds of texts */
int32_t rz_build_token_type(struct rz_builder *b, int32_t x);

#define RZ_NORM_RMS 0
#define RZ_NORM_LAYER 1 /* a bias if there      */
#define RZ_NORM_PLAIN 2 /* layer norm, no weight */
#define RZ_NORM_NONE 3
/* Norm of x with the weights blk.LAYER.NAME, or NAME for layer -1. */
int32_t rz_build_norm(struct rz_builder *b, int32_t layer, int32_t x, uint32_t norm, const char *name);

struct rz_map_options {
    double factor, softcap, clamp; /* applied in this order; 0: none */
    uint32_t temperature_step;     /* before them: see RZ_A_TEMPERATURE; 0: none */
    double temperature_scale;
};
/* x itself if there is nothing to do */
int32_t rz_build_map(struct rz_builder *b, int32_t layer, int32_t x, const struct rz_map_options *o);
int32_t rz_build_add(struct rz_builder *b, int32_t layer, int32_t x, int32_t y);
/* Columns first..first+n-1 of x */
int32_t rz_build_columns(struct rz_builder *b, int32_t layer, int32_t x, uint64_t first, uint64_t n);

#define RZ_QK_NONE 0
#define RZ_QK_HEAD RZ_QK_NORM_HEAD
#define RZ_QK_ROW RZ_QK_NORM_ROW
#define RZ_QK_LAYER RZ_QK_NORM_LAYER
#define RZ_QK_PLAIN 4 /* RMS norm of each head, no weight */

struct rz_attn_options {
    int32_t rope;           /* -1: none */
    bool neox;              /* rope pairs are halves, not neighbours */
    bool qkv_bias;          /* biases are required                   */
    bool optional_bias;     /* biases are taken if there             */
    bool branch;            /* the result is the branch alone, without x */
    bool qk_norm_late;      /* after rope                            */
    bool v_norm;            /* RMS norm of each head of v, without a weight */
    bool v_may_be_k;        /* without a tensor of its own v is k as it was before norm and rope */
    uint32_t qk_norm;       /* RZ_QK_*                               */
    uint32_t norm;          /* RZ_NORM_* before                      */
    const char *pre, *post; /* name of the norm before (NULL: attn_norm) and after (NULL: none) */
    uint32_t window;        /* 0: none                           */
    bool both;              /* what comes after is seen as well: encoders */
    uint32_t n_head, n_kv_head, head_dim; /* of this layer; 0: the hyperparameters' */
    /* filled in by rz_build_attn: where the layer's KV lies */
    int32_t kv_group, kv_layer;
    double scale;                           /* of the scores; 0: 1 / sqrt(head_dim) */
    double softcap, clamp, alibi, residual; /* 0: none */
    bool sinks;                             /* a score of each head that has no value */
    bool gated;                             /* times the sigmoid of a gate, which lies beside each query */
    uint32_t chunk;                         /* 0: none; a query sees no key before its chunk */
    uint32_t temperature_step;              /* 0: none; queries grow with their position     */
    double temperature_scale;
};
/* x + residual post(proj(attention(rope(norm(x))))); q, k, v from one fused tensor if the file has that. */
int32_t rz_build_attn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_attn_options *o);

#define RZ_ACT_SILU 0
#define RZ_ACT_GELU 1
#define RZ_ACT_GELU_TANH 2
#define RZ_ACT_RELU2 3
#define RZ_ACT_XIELU 4
#define RZ_ACT_SWIGLU 8 /* clamped, of gpt-oss */

struct rz_xielu {
    double alpha_p, alpha_n, beta, eps;
};

struct rz_ffn_options {
    bool optional_bias;
    bool branch, no_gate;
    uint32_t act;           /* RZ_ACT_*         */
    uint32_t norm;          /* RZ_NORM_* before */
    const char *pre, *post; /* NULL: ffn_norm, none */
    double residual;        /* 0: none          */
    struct rz_xielu xielu;  /* of RZ_ACT_XIELU, without a gate */
};
/* x + residual post(down(act(gate(norm(x))) * up(norm(x)))); without a gate down(act(up)). */
int32_t rz_build_ffn(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ffn_options *o);

struct rz_ssm_options {
    bool branch;     /* the result is the branch alone, without x             */
    bool striped;    /* of a delta net: value heads take turns with the key heads */
    uint32_t norm;   /* RZ_NORM_* before: attn_norm                           */
    double residual; /* 0: none                                               */
};
/* x + residual proj(f(norm(x))), where f carries state from token to token (ssm.c). */
int32_t rz_build_mamba(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o);
int32_t rz_build_mamba2(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o);
int32_t rz_build_delta(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o);
int32_t rz_build_short_conv(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_ssm_options *o);

/* x + attention(norm(x)) + ffn(norm(x)), the norm that of attn; ffn.pre, if set, is one of the ffn's own. */
int32_t rz_build_parallel(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_attn_options *attn,
                          const struct rz_ffn_options *ffn);

struct rz_moe_options {
    struct rz_ffn_options half; /* a layer without experts is this half; with them: norms, act, residual */
    uint32_t route;             /* RZ_ROUTE_*, where the file says nothing                     */
    bool renorm;                /* weights are divided by their sum, where the file says nothing */
    double renorm_plus;         /* added to that sum                                           */
    double near;                /* of SPARSE_MIXER                                             */
    bool scale_input;           /* weights meet the experts' input, not their result           */
};
/* As rz_build_ffn, of the chosen experts' weighted results and that of a shared expert if the layer has one,
 * behind a gate if that is there. A layer without a router is a dense half. */
int32_t rz_build_moe(struct rz_builder *b, uint32_t layer, int32_t x, const struct rz_moe_options *o);

/* Attention over a latent KV (DeepSeek): all keys and values of a position are one vector, which each head
 * reads through matrices of its own on the side of the query and of the result. */
int32_t rz_build_latent_attn(struct rz_builder *b, uint32_t layer, int32_t x, int32_t rope);

struct rz_head_options {
    uint32_t norm;          /* RZ_NORM_*       */
    double factor, softcap; /* of the logits; 0: none */
    const char *name;       /* of the norm; NULL: output_norm */
};
/* norm and logits of the wanted rows; the head is tied to the embedding when the file has none. */
void rz_build_head(struct rz_builder *b, int32_t x, const struct rz_head_options *o);

/* The end of an encoder, which has no logits: the hidden states of the wanted rows, normed. A row of its
 * texts sees the whole text. */
void rz_build_hidden(struct rz_builder *b, int32_t x, uint32_t norm);

/* --- families (families.c): one row each --- */

struct rz_family {
    const char *arch; /* general.architecture */
    void (*build)(struct rz_builder *b);
    uint64_t uses; /* RZ_H_* that it applies */
};
const struct rz_family *rz_family_find(const char *arch);
const struct rz_family *rz_family_at(uint32_t i);
void rz_family_apertus(struct rz_builder *b);
void rz_family_arcee(struct rz_builder *b);
void rz_family_bert(struct rz_builder *b);
void rz_family_bloom(struct rz_builder *b);
void rz_family_dbrx(struct rz_builder *b);
void rz_family_deepseek2(struct rz_builder *b);
void rz_family_ernie4_5_moe(struct rz_builder *b);
void rz_family_glm4moe(struct rz_builder *b);
void rz_family_gpt_oss(struct rz_builder *b);
void rz_family_llama4(struct rz_builder *b);
void rz_family_minimax_m2(struct rz_builder *b);
void rz_family_olmoe(struct rz_builder *b);
void rz_family_phimoe(struct rz_builder *b);
void rz_family_qwen2moe(struct rz_builder *b);
void rz_family_qwen3moe(struct rz_builder *b);
void rz_family_cohere2(struct rz_builder *b);
void rz_family_command_r(struct rz_builder *b);
void rz_family_exaone4(struct rz_builder *b);
void rz_family_falcon(struct rz_builder *b);
void rz_family_falcon_h1(struct rz_builder *b);
void rz_family_gemma(struct rz_builder *b);
void rz_family_gemma2(struct rz_builder *b);
void rz_family_gemma3(struct rz_builder *b);
void rz_family_gemma4(struct rz_builder *b);
void rz_family_glm4(struct rz_builder *b);
void rz_family_gpt2(struct rz_builder *b);
void rz_family_gptj(struct rz_builder *b);
void rz_family_gptneox(struct rz_builder *b);
void rz_family_granite(struct rz_builder *b);
void rz_family_hunyuan(struct rz_builder *b);
void rz_family_granite_hybrid(struct rz_builder *b);
void rz_family_jamba(struct rz_builder *b);
void rz_family_qwen35(struct rz_builder *b);
void rz_family_qwen3next(struct rz_builder *b);
void rz_family_lfm2(struct rz_builder *b);
void rz_family_llama(struct rz_builder *b);
void rz_family_mamba(struct rz_builder *b);
void rz_family_mamba2(struct rz_builder *b);
void rz_family_modernbert(struct rz_builder *b);
void rz_family_mpt(struct rz_builder *b);
void rz_family_nemotron(struct rz_builder *b);
void rz_family_nemotron_h(struct rz_builder *b);
void rz_family_olmo(struct rz_builder *b);
void rz_family_olmo2(struct rz_builder *b);
void rz_family_phi2(struct rz_builder *b);
void rz_family_phi3(struct rz_builder *b);
void rz_family_qwen2(struct rz_builder *b);
void rz_family_qwen3(struct rz_builder *b);
void rz_family_seed_oss(struct rz_builder *b);
void rz_family_smollm3(struct rz_builder *b);
void rz_family_stablelm(struct rz_builder *b);
void rz_family_starcoder2(struct rz_builder *b);

#endif

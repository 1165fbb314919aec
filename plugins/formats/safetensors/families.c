/* families.c - one row for each model type: its architecture, its groups of tensors, and what it makes of
 * the keys of config.json that only some families have.
 *
 * Defaults are those of transformers. What a family's program does not apply is refused here by its key.
 */
#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ALL_BIASES (RZ_HF_BIAS | RZ_HF_OUT_BIAS | RZ_HF_MLP_BIAS)

/* --- keys --- */

static const struct rz_hf_key llama[] = {
    SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
    SWITCH("mlp_bias", 0, RZ_HF_MLP_BIAS, 0),
    END_KEYS,
};

static const struct rz_hf_key attention_bias[] = {
    SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
    END_KEYS,
};

static const struct rz_hf_key qkv_bias[] = {
    SWITCH("attention_bias", 0, RZ_HF_BIAS, 0),
    END_KEYS,
};

static const struct rz_hf_key use_bias[] = {
    SWITCH("use_bias", 0, ALL_BIASES, 0),
    END_KEYS,
};

static const struct rz_hf_key granite[] = {
    SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
    SWITCH("mlp_bias", 0, RZ_HF_MLP_BIAS, 0),
    PUT("attention_multiplier", "attention.scale", 1),
    PUT("embedding_multiplier", "embedding_scale", 1),
    PUT("residual_multiplier", "residual_scale", 1),
    PUT("logits_scaling", "logit_scale", 1),
    END_KEYS,
};

static const struct rz_hf_key seed_oss[] = {
    SWITCH("attention_bias", 1, RZ_HF_BIAS, 0),
    SWITCH("attention_out_bias", 0, RZ_HF_OUT_BIAS, 0),
    END_KEYS,
};

static const struct rz_hf_key smollm3[] = {
    SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
    SWITCH("mlp_bias", 0, RZ_HF_MLP_BIAS, 0),
    TAKEN("no_rope_layers"),
    END_KEYS,
};

static const struct rz_hf_key stablelm[] = {
    SWITCH("use_qkv_bias", 0, RZ_HF_BIAS, 0),
    SWITCH("use_parallel_residual", 0, 0, RZ_HF_TWO_NORMS),
    SWITCH("qk_layernorm", 0, RZ_HF_QK_NORM, 0),
    END_KEYS,
};

static const struct rz_hf_key starcoder2[] = {
    SWITCH("use_bias", 1, ALL_BIASES, 0),
    END_KEYS,
};

static const struct rz_hf_key olmo[] = {
    PUT("clip_qkv", "attention.clamp_kqv", 0),
    END_KEYS,
};

static const struct rz_hf_key cohere[] = {
    SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
    SWITCH("use_qk_norm", 0, RZ_HF_QK_NORM, 0),
    PUT("logit_scale", "logit_scale", 0.0625),
    END_KEYS,
};

static const struct rz_hf_key gemma2[] = {
    PUT("attn_logit_softcapping", "attn_logit_softcapping", 50),
    PUT("final_logit_softcapping", "final_logit_softcapping", 30),
    TAKEN("query_pre_attn_scalar"),
    END_KEYS,
};

static const struct rz_hf_key gemma3[] = {
    PUT("final_logit_softcapping", "final_logit_softcapping", 0),
    TAKEN("query_pre_attn_scalar"),
    END_KEYS,
};

static const struct rz_hf_key gpt2[] = {
    MUST("scale_attn_weights", 1),
    MUST("scale_attn_by_inverse_layer_idx", 0),
    END_KEYS,
};

static const struct rz_hf_key neox[] = {
    SWITCH("attention_bias", 1, RZ_HF_BIAS, 0),
    TAKEN("use_parallel_residual"),
    END_KEYS,
};

static const struct rz_hf_key bloom[] = {
    MUST("apply_residual_connection_post_layernorm", 0),
    END_KEYS,
};

static const struct rz_hf_key falcon[] = {
    SWITCH("bias", 0, RZ_HF_BIAS, 0),
    MUST("alibi", 0),
    MUST("parallel_attn", 1),
    END_KEYS,
};

/* The reference gives alibi_bias_max no part and always takes 8. */
static const struct rz_hf_key mpt[] = {
    MUST("attn_config.alibi", 1),
    MUST("attn_config.alibi_bias_max", 8),
    MUST("attn_config.qk_ln", 0),
    MUST("attn_config.prefix_lm", 0),
    ABSENT("attn_config.softmax_scale"),
    PUT("attn_config.clip_qkv", "attention.clamp_kqv", 0),
    ABSENT("logit_scale"),
    MUST("no_bias", 1),
    END_KEYS,
};

/* --- numbers that follow from several keys --- */

static void adjust_qwen2(struct rz_hf_model *m)
{
    m->c.has |= RZ_HF_BIAS;
}

static void adjust_norms(struct rz_hf_model *m)
{
    m->c.has |= RZ_HF_QK_NORM;
}

/* The program has scores over sqrt(head_dim), in the largest model over sqrt of its width a head. */
static void adjust_gemma(struct rz_hf_model *m)
{
    const struct rz_hf_config *c = &m->c;
    uint32_t largest = !strcmp(c->family->arch, "gemma2") ? 46 : 62;
    double own = c->n_layer == largest ? (double)c->n_embd / c->n_head : c->head_dim;
    double scalar = rz_hf_number(m, m->config, "config.json", "query_pre_attn_scalar", false, 256, 1e-3, 1e9);
    if (scalar != own)
        rz_hf_put_factor(m, "attention.scale", 1 / sqrt(scalar));
    m->c.has |= RZ_HF_QK_NORM;
}

/* The program leaves out the rope of every fourth layer. */
static void adjust_smollm3(struct rz_hf_model *m)
{
    const json_t *layers = rz_hf_get(m, "no_rope_layers");
    for (size_t i = 0; i < json_array_size(layers); i++)
        if (!json_is_integer(json_array_get(layers, i)) ||
            (json_integer_value(json_array_get(layers, i)) != 0) != (i % 4 != 3)) {
            rz_hf_refuse(m, "no_rope_layers");
            return;
        }
    if (rz_hf_absent(layers) &&
        rz_hf_number(m, m->config, "config.json", "no_rope_layer_interval", false, 4, 0, 1e9) != 4)
        rz_hf_refuse(m, "no_rope_layer_interval");
}

static void adjust_stablelm(struct rz_hf_model *m)
{
    rz_hf_put_truth(m, "use_parallel_residual", rz_hf_truth(m, "use_parallel_residual", false));
}

static void adjust_neox(struct rz_hf_model *m)
{
    rz_hf_put_truth(m, "use_parallel_residual", rz_hf_truth(m, "use_parallel_residual", true));
}

static void adjust_bigcode(struct rz_hf_model *m)
{
    m->c.n_kv_head = rz_hf_truth(m, "multi_query", true) ? 1 : m->c.n_head;
}

/* num_kv_heads counts in the newer form only. */
static void adjust_falcon(struct rz_hf_model *m)
{
    bool newer = rz_hf_truth(m, "new_decoder_architecture", false);
    m->c.n_kv_head = newer ? rz_hf_count(m, "num_kv_heads", false, m->c.n_head)
                     : rz_hf_truth(m, "multi_query", true) ? 1
                                                           : m->c.n_head;
    if (newer && rz_hf_number(m, m->config, "config.json", "num_ln_in_parallel_attn", false, 2, 1, 2) == 2)
        m->c.has |= RZ_HF_TWO_NORMS;
}

static void adjust_mpt(struct rz_hf_model *m)
{
    double ratio = rz_hf_number(m, m->config, "config.json", "expansion_ratio", false, 4, 1, 1024);
    const char *type = json_string_value(rz_hf_get(m, "attn_config.attn_type"));
    m->c.n_ff = (uint32_t)(ratio * m->c.n_embd);
    rz_hf_put_factor(m, "attention.max_alibi_bias", 8);
    if (type && strcmp(type, "multihead_attention") != 0)
        rz_hf_refuse(m, "attn_config.attn_type");
}

/* --- rows --- */

static const struct rz_hf_family families[] = {
    {"apertus",
     "apertus",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_up_down, rz_hf_norms_apertus, rz_hf_xielu},
     attention_bias,
     adjust_norms,
     .act = RZ_HF_XIELU,
     .eps = 1e-5,
     .theta = 12e6},
    {"arcee",
     "arcee",
     {rz_hf_ends, rz_hf_qkv_rope, rz_hf_up_down, rz_hf_norms},
     llama,
     .act = RZ_HF_RELU2,
     .eps = 1e-5},
    {"bloom",
     "bloom",
     {rz_hf_bloom},
     bloom,
     .act = RZ_HF_GELU_TANH,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .wide = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"cohere",
     "command-r",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_glu, rz_hf_norm_cohere},
     cohere,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"cohere2",
     "cohere2",
     {rz_hf_ends, rz_hf_qkv, rz_hf_glu, rz_hf_norm_cohere},
     cohere,
     .window = RZ_HF_WINDOW_KEY,
     .every = 4,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"ernie4_5",
     "ernie4_5",
     {rz_hf_ends, rz_hf_qkv, rz_hf_glu, rz_hf_norms},
     use_bias,
     .tied = true,
     .eps = 1e-5,
     .theta = 500000},
    {"exaone4",
     "exaone4",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_glu, rz_hf_norms_after},
     NULL,
     adjust_norms,
     .window = RZ_HF_WINDOW_KEY,
     .every = 4,
     .eps = 1e-5},
    {"falcon",
     "falcon",
     {rz_hf_falcon},
     falcon,
     adjust_falcon,
     .act = RZ_HF_GELU,
     .tied = true,
     .wide = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"gemma",
     "gemma",
     {rz_hf_ends_plus, rz_hf_qkv, rz_hf_glu, rz_hf_norms_plus},
     NULL,
     .act = RZ_HF_GELU_TANH,
     .no_prefix = true,
     .tied = true,
     .eps = 1e-6},
    {"gemma2",
     "gemma2",
     {rz_hf_ends_plus, rz_hf_qkv, rz_hf_glu, rz_hf_norms_gemma2},
     gemma2,
     adjust_gemma,
     .act = RZ_HF_GELU_TANH,
     .window = RZ_HF_WINDOW_KEY,
     .every = 2,
     .no_prefix = true,
     .tied = true,
     .eps = 1e-6},
    {"gemma3_text",
     "gemma3",
     {rz_hf_ends_plus, rz_hf_qkv, rz_hf_qk_norm_gemma, rz_hf_glu, rz_hf_norms_gemma2},
     gemma3,
     adjust_gemma,
     .act = RZ_HF_GELU_TANH,
     .window = RZ_HF_WINDOW_KEY,
     .every = 6,
     .no_prefix = true,
     .tied = true,
     .local_rope = true,
     .eps = 1e-6,
     .theta = 1e6},
    {"glm4",
     "glm4",
     {rz_hf_ends, rz_hf_qkv, rz_hf_glu_fused, rz_hf_norms_glm4},
     qkv_bias,
     .rope = RZ_HF_ROPE_PART,
     .eps = 1.5625e-7,
     .part = 0.5},
    {"gpt2",
     "gpt2",
     {rz_hf_gpt2},
     gpt2,
     .act = RZ_HF_GELU_TANH,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .wide = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"gpt_bigcode",
     "starcoder",
     {rz_hf_bigcode},
     gpt2,
     adjust_bigcode,
     .act = RZ_HF_GELU_TANH,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .wide = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"gpt_neox",
     "gptneox",
     {rz_hf_neox},
     neox,
     adjust_neox,
     .act = RZ_HF_GELU,
     .rope = RZ_HF_ROPE_PART,
     .layer_norm = true,
     .eps = 1e-5,
     .part = 0.25},
    {"gptj",
     "gptj",
     {rz_hf_gptj},
     NULL,
     .act = RZ_HF_GELU_TANH,
     .rope = RZ_HF_ROPE_PART,
     .wide = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"granite", "granite", {rz_hf_ends, rz_hf_qkv_rope, rz_hf_glu, rz_hf_norms}, granite, .eps = 1e-6},
    {"hunyuan_v1_dense",
     "hunyuan-dense",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm_hunyuan, rz_hf_glu, rz_hf_norms},
     attention_bias,
     .eps = 1e-5},
    {"llama", "llama", {rz_hf_ends, rz_hf_qkv_rope, rz_hf_glu, rz_hf_norms}, llama, .eps = 1e-6},
    {"mistral",
     "llama",
     {rz_hf_ends, rz_hf_qkv_rope, rz_hf_glu, rz_hf_norms},
     NULL,
     .window = RZ_HF_WINDOW_KEY,
     .eps = 1e-6},
    {"mpt",
     "mpt",
     {rz_hf_mpt},
     mpt,
     adjust_mpt,
     .act = RZ_HF_GELU,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .wide = true,
     .layer_norm = true,
     .eps = 1e-5},
    {"nemotron",
     "nemotron",
     {rz_hf_ends_plus, rz_hf_qkv, rz_hf_up_down, rz_hf_norms_plus, rz_hf_norm_biases},
     llama,
     .act = RZ_HF_RELU2,
     .rope = RZ_HF_ROPE_PART,
     .layer_norm = true,
     .eps = 1e-5,
     .part = 0.5},
    {"olmo", "olmo", {rz_hf_olmo, rz_hf_qkv_rope, rz_hf_glu}, olmo, .layer_norm = true, .eps = 1e-5},
    {"olmo2",
     "olmo2",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_glu, rz_hf_norms_after},
     NULL,
     adjust_norms,
     .eps = 1e-5},
    {"olmo3",
     "olmo2",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_glu, rz_hf_norms_after},
     NULL,
     adjust_norms,
     .window = RZ_HF_WINDOW_KEY,
     .every = 4,
     .local_rope = true,
     .eps = 1e-5},
    {"phi",
     "phi2",
     {rz_hf_phi},
     NULL,
     .act = RZ_HF_GELU_TANH,
     .rope = RZ_HF_ROPE_PART,
     .layer_norm = true,
     .eps = 1e-5,
     .part = 0.5},
    {"phi3",
     "phi3",
     {rz_hf_ends, rz_hf_phi3, rz_hf_glu_fused, rz_hf_norms},
     NULL,
     .rope = RZ_HF_ROPE_PART,
     .window = RZ_HF_WINDOW_KEY,
     .eps = 1e-5},
    {"qwen2",
     "qwen2",
     {rz_hf_ends, rz_hf_qkv, rz_hf_glu, rz_hf_norms},
     NULL,
     adjust_qwen2,
     .window = RZ_HF_WINDOW_SWITCH,
     .eps = 1e-6},
    {"qwen3",
     "qwen3",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_glu, rz_hf_norms},
     NULL,
     adjust_norms,
     .window = RZ_HF_WINDOW_SWITCH,
     .eps = 1e-6},
    {"seed_oss", "seed_oss", {rz_hf_ends, rz_hf_qkv, rz_hf_glu, rz_hf_norms_seed}, seed_oss, .eps = 1e-6},
    {"smollm3",
     "smollm3",
     {rz_hf_ends, rz_hf_qkv_rope, rz_hf_glu, rz_hf_norms},
     smollm3,
     adjust_smollm3,
     .window = RZ_HF_WINDOW_SWITCH,
     .tied = true,
     .eps = 1e-6,
     .theta = 2e6},
    {"stablelm",
     "stablelm",
     {rz_hf_ends, rz_hf_qkv, rz_hf_glu, rz_hf_stablelm},
     stablelm,
     adjust_stablelm,
     .rope = RZ_HF_ROPE_PART,
     .layer_norm = true,
     .eps = 1e-5,
     .part = 0.25},
    {"starcoder2",
     "starcoder2",
     {rz_hf_ends, rz_hf_qkv, rz_hf_starcoder2, rz_hf_norms, rz_hf_norm_biases},
     starcoder2,
     .act = RZ_HF_GELU_TANH,
     .window = RZ_HF_WINDOW_KEY,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-5},
};

#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

static const struct rz_hf_family *family_at(size_t i)
{
    static const struct rz_hf_family *const others[] = {rz_hf_encoders, rz_hf_mixtures, rz_hf_recurrent,
                                                        rz_hf_gemma4};
    if (i < N_FAMILIES)
        return &families[i];
    i -= N_FAMILIES;
    for (size_t t = 0; t < sizeof(others) / sizeof(others[0]); t++)
        for (const struct rz_hf_family *f = others[t]; f->model_type; f++)
            if (!i--)
                return f;
    return NULL;
}

const struct rz_hf_family *rz_hf_family_find(const char *model_type)
{
    for (size_t i = 0; family_at(i); i++)
        if (!strcmp(family_at(i)->model_type, model_type))
            return family_at(i);
    return NULL;
}

const char *rz_hf_family_name(void *ctx, uint32_t i)
{
    (void)ctx;
    return family_at(i) ? family_at(i)->model_type : NULL;
}

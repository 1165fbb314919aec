/* recurrent.c - the rows of the families with recurrent layers: Mamba and Mamba-2, short convolutions, delta
 * nets, alone or beside attention and experts.
 *
 * Which layers attend, recur or feed forward is said in many ways; here it becomes bits of layer_has, by
 * which the tensors are chosen, and arrays of metadata.
 */
#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define R RZ_HF_RECURS
#define A RZ_HF_ATTENDS
#define F RZ_HF_FEEDS
#define E RZ_HF_MOE

/* --- tensors --- */

#define L(stored, name) "backbone.layers.%u." stored, "blk.%u." name

static const struct rz_hf_spec backbone[] = {
    {"backbone.embeddings.weight", "token_embd.weight", 0, 0, 0},
    {"backbone.norm_f.weight", "output_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("norm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("mixer.in_proj.weight", "ssm_in.weight"), 0, R, 0},
    {L("mixer.conv1d.weight", "ssm_conv1d.weight"), RZ_HF_CONV, R, 0},
    {L("mixer.conv1d.bias", "ssm_conv1d.bias"), 0, R | RZ_HF_CONV_BIAS, 0},
    {L("mixer.out_proj.weight", "ssm_out.weight"), 0, R, 0},
    END,
};

static const struct rz_hf_spec mamba[] = {
    {L("mixer.x_proj.weight", "ssm_x.weight"), 0, 0, 0},
    {L("mixer.dt_proj.weight", "ssm_dt.weight"), 0, 0, 0},
    {L("mixer.dt_proj.bias", "ssm_dt.bias"), 0, 0, 0},
    {L("mixer.A_log", "ssm_a"), RZ_HF_DECAY, 0, 0},
    {L("mixer.D", "ssm_d"), 0, 0, 0},
    END,
};

static const struct rz_hf_spec mamba2[] = {
    {L("mixer.dt_bias", "ssm_dt.bias"), 0, R, 0},
    {L("mixer.A_log", "ssm_a"), RZ_HF_DECAY_COLUMN, R, 0},
    {L("mixer.D", "ssm_d"), RZ_HF_COLUMN, R, 0},
    {L("mixer.norm.weight", "ssm_norm.weight"), RZ_HF_BY_GROUP, R, 0},
    END,
};

/* The halves that are not recurrent, under the same name. */
static const struct rz_hf_spec nemotron[] = {
    {L("mixer.q_proj.weight", "attn_q.weight"), 0, A, 0},
    {L("mixer.k_proj.weight", "attn_k.weight"), 0, A, 0},
    {L("mixer.v_proj.weight", "attn_v.weight"), 0, A, 0},
    {L("mixer.o_proj.weight", "attn_output.weight"), 0, A, 0},
    {L("mixer.q_proj.bias", "attn_q.bias"), 0, A | RZ_HF_BIAS, 0},
    {L("mixer.k_proj.bias", "attn_k.bias"), 0, A | RZ_HF_BIAS, 0},
    {L("mixer.v_proj.bias", "attn_v.bias"), 0, A | RZ_HF_BIAS, 0},
    {L("mixer.o_proj.bias", "attn_output.bias"), 0, A | RZ_HF_BIAS, 0},
    {L("mixer.up_proj.weight", "ffn_up.weight"), 0, F, 0},
    {L("mixer.down_proj.weight", "ffn_down.weight"), 0, F, 0},
    {L("mixer.up_proj.bias", "ffn_up.bias"), 0, F | RZ_HF_MLP_BIAS, 0},
    {L("mixer.down_proj.bias", "ffn_down.bias"), 0, F | RZ_HF_MLP_BIAS, 0},
    END,
};

#undef L
#define L(stored, name) "model.layers.%u." stored, "blk.%u." name

static const struct rz_hf_spec attention[] = {
    {L("self_attn.q_proj.weight", "attn_q.weight"), 0, A, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), 0, A, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), 0, A, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), 0, A, 0},
    END,
};

static const struct rz_hf_spec attention_rope[] = {
    {L("self_attn.q_proj.weight", "attn_q.weight"), RZ_HF_ROPE_Q, A, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), RZ_HF_ROPE_K, A, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), 0, A, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), 0, A, 0},
    END,
};

static const struct rz_hf_spec jamba[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, 0, 0},
    {"model.final_layernorm.weight", "output_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("pre_ff_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("mamba.in_proj.weight", "ssm_in.weight"), 0, R, 0},
    {L("mamba.conv1d.weight", "ssm_conv1d.weight"), RZ_HF_CONV, R, 0},
    {L("mamba.conv1d.bias", "ssm_conv1d.bias"), 0, R | RZ_HF_CONV_BIAS, 0},
    {L("mamba.x_proj.weight", "ssm_x.weight"), 0, R, 0},
    {L("mamba.dt_proj.weight", "ssm_dt.weight"), 0, R, 0},
    {L("mamba.dt_proj.bias", "ssm_dt.bias"), 0, R, 0},
    {L("mamba.dt_layernorm.weight", "ssm_dt_norm.weight"), 0, R, 0},
    {L("mamba.b_layernorm.weight", "ssm_b_norm.weight"), 0, R, 0},
    {L("mamba.c_layernorm.weight", "ssm_c_norm.weight"), 0, R, 0},
    {L("mamba.A_log", "ssm_a"), RZ_HF_DECAY, R, 0},
    {L("mamba.D", "ssm_d"), 0, R, 0},
    {L("mamba.out_proj.weight", "ssm_out.weight"), 0, R, 0},
    END,
};

static const struct rz_hf_spec jamba_experts[] = {
    {L("feed_forward.gate_proj.weight", "ffn_gate.weight"), 0, 0, E},
    {L("feed_forward.up_proj.weight", "ffn_up.weight"), 0, 0, E},
    {L("feed_forward.down_proj.weight", "ffn_down.weight"), 0, 0, E},
    {L("feed_forward.router.weight", "ffn_gate_inp.weight"), 0, E, 0},
    {L("feed_forward.experts.%u.gate_proj.weight", "ffn_gate_exps.weight"), RZ_HF_STACK_E, E, 0},
    {L("feed_forward.experts.%u.up_proj.weight", "ffn_up_exps.weight"), RZ_HF_STACK_E, E, 0},
    {L("feed_forward.experts.%u.down_proj.weight", "ffn_down_exps.weight"), RZ_HF_STACK_E, E, 0},
    END,
};

static const struct rz_hf_spec granite[] = {
    {L("mamba.in_proj.weight", "ssm_in.weight"), 0, R, 0},
    {L("mamba.conv1d.weight", "ssm_conv1d.weight"), RZ_HF_CONV, R, 0},
    {L("mamba.conv1d.bias", "ssm_conv1d.bias"), 0, R | RZ_HF_CONV_BIAS, 0},
    {L("mamba.dt_bias", "ssm_dt.bias"), 0, R, 0},
    {L("mamba.A_log", "ssm_a"), RZ_HF_DECAY_COLUMN, R, 0},
    {L("mamba.D", "ssm_d"), RZ_HF_COLUMN, R, 0},
    {L("mamba.norm.weight", "ssm_norm.weight"), RZ_HF_BY_GROUP, R, 0},
    {L("mamba.out_proj.weight", "ssm_out.weight"), 0, R, 0},
    END,
};

static const struct rz_hf_spec granite_experts[] = {
    {L("shared_mlp.input_linear.weight", "ffn_gate.weight"), RZ_HF_ROWS_1, 0, E},
    {L("shared_mlp.input_linear.weight", "ffn_up.weight"), RZ_HF_ROWS_2, 0, E},
    {L("shared_mlp.output_linear.weight", "ffn_down.weight"), 0, 0, E},
    {L("shared_mlp.input_linear.weight", "ffn_gate_shexp.weight"), RZ_HF_ROWS_1, E, 0},
    {L("shared_mlp.input_linear.weight", "ffn_up_shexp.weight"), RZ_HF_ROWS_2, E, 0},
    {L("shared_mlp.output_linear.weight", "ffn_down_shexp.weight"), 0, E, 0},
    {L("block_sparse_moe.router.layer.weight", "ffn_gate_inp.weight"), 0, E, 0},
    {L("block_sparse_moe.input_linear.weight", "ffn_gate_exps.weight"), RZ_HF_GATE, E, 0},
    {L("block_sparse_moe.input_linear.weight", "ffn_up_exps.weight"), RZ_HF_UP, E, 0},
    {L("block_sparse_moe.output_linear.weight", "ffn_down_exps.weight"), 0, E, 0},
    END,
};

/* Its multipliers are in the weights of the GGUF form. */
static const struct rz_hf_spec falcon_h1[] = {
    {"model.embed_tokens.weight", "token_embd.weight", RZ_HF_SCALE + RZ_HF_SCALE_EMBED, 0, 0},
    {"model.final_layernorm.weight", "output_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", RZ_HF_SCALE + RZ_HF_SCALE_HEAD, RZ_HF_UNTIED, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("pre_ff_layernorm.weight", "ffn_norm"), 0, 0, 0},
    {L("self_attn.q_proj.weight", "attn_q.weight"), RZ_HF_SCALE + RZ_HF_SCALE_IN, 0, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), RZ_HF_SCALE + RZ_HF_SCALE_K, 0, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), RZ_HF_SCALE + RZ_HF_SCALE_IN, 0, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), RZ_HF_SCALE + RZ_HF_SCALE_OUT, 0, 0},
    {L("feed_forward.gate_proj.weight", "ffn_gate.weight"), RZ_HF_SCALE + RZ_HF_SCALE_GATE, 0, 0},
    {L("feed_forward.up_proj.weight", "ffn_up.weight"), 0, 0, 0},
    {L("feed_forward.down_proj.weight", "ffn_down.weight"), RZ_HF_SCALE + RZ_HF_SCALE_DOWN, 0, 0},
    {L("mamba.in_proj.weight", "ssm_in.weight"), RZ_HF_SCALE_PARTS, 0, 0},
    {L("mamba.conv1d.weight", "ssm_conv1d.weight"), RZ_HF_CONV, 0, 0},
    {L("mamba.conv1d.bias", "ssm_conv1d.bias"), 0, RZ_HF_CONV_BIAS, 0},
    {L("mamba.dt_bias", "ssm_dt.bias"), 0, 0, 0},
    {L("mamba.A_log", "ssm_a"), RZ_HF_DECAY_COLUMN, 0, 0},
    {L("mamba.D", "ssm_d"), RZ_HF_COLUMN, 0, 0},
    {L("mamba.norm.weight", "ssm_norm.weight"), RZ_HF_BY_GROUP, RZ_HF_TWO_NORMS, 0},
    {L("mamba.out_proj.weight", "ssm_out.weight"), RZ_HF_SCALE + RZ_HF_SCALE_SSM_OUT, 0, 0},
    END,
};

static const struct rz_hf_spec lfm2[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, 0, 0},
    {"model.embedding_norm.weight", "token_embd_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("operator_norm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("ffn_norm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("conv.in_proj.weight", "shortconv.in_proj.weight"), 0, R, 0},
    {L("conv.conv.weight", "shortconv.conv.weight"), RZ_HF_CONV, R, 0},
    {L("conv.out_proj.weight", "shortconv.out_proj.weight"), 0, R, 0},
    {L("self_attn.q_proj.weight", "attn_q.weight"), 0, A, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), 0, A, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), 0, A, 0},
    {L("self_attn.out_proj.weight", "attn_output.weight"), 0, A, 0},
    {L("self_attn.q_layernorm.weight", "attn_q_norm.weight"), 0, A, 0},
    {L("self_attn.k_layernorm.weight", "attn_k_norm.weight"), 0, A, 0},
    {L("feed_forward.w1.weight", "ffn_gate.weight"), 0, 0, E},
    {L("feed_forward.w3.weight", "ffn_up.weight"), 0, 0, E},
    {L("feed_forward.w2.weight", "ffn_down.weight"), 0, 0, E},
    {L("feed_forward.gate.weight", "ffn_gate_inp.weight"), 0, E, 0},
    {L("feed_forward.expert_bias", "exp_probs_b.bias"), 0, E | RZ_HF_CHOICE, 0},
    {L("feed_forward.experts.%u.w1.weight", "ffn_gate_exps.weight"), RZ_HF_STACK_E, E, 0},
    {L("feed_forward.experts.%u.w3.weight", "ffn_up_exps.weight"), RZ_HF_STACK_E, E, 0},
    {L("feed_forward.experts.%u.w2.weight", "ffn_down_exps.weight"), RZ_HF_STACK_E, E, 0},
    END,
};

static const struct rz_hf_spec qwen_norms[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("post_attention_layernorm.weight", "post_attention_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("self_attn.q_norm.weight", "attn_q_norm.weight"), RZ_HF_PLUS_ONE, A, 0},
    {L("self_attn.k_norm.weight", "attn_k_norm.weight"), RZ_HF_PLUS_ONE, A, 0},
    {L("linear_attn.norm.weight", "ssm_norm.weight"), 0, R, 0},
    END,
};

static const struct rz_hf_spec qwen3_next[] = {
    {L("linear_attn.in_proj_qkvz.weight", "attn_qkv.weight"), RZ_HF_DELTA_QKV, R, 0},
    {L("linear_attn.in_proj_qkvz.weight", "attn_gate.weight"), RZ_HF_DELTA_Z, R, 0},
    {L("linear_attn.in_proj_ba.weight", "ssm_ba.weight"), 0, R, 0},
    {L("linear_attn.conv1d.weight", "ssm_conv1d.weight"), RZ_HF_CONV, R, 0},
    {L("linear_attn.A_log", "ssm_a"), RZ_HF_DECAY, R, 0},
    {L("linear_attn.dt_bias", "ssm_dt.bias"), 0, R, 0},
    {L("linear_attn.out_proj.weight", "ssm_out.weight"), 0, R, 0},
    END,
};

/* The GGUF form has value heads in another order: the first of each key head, then the second of each. */
static const struct rz_hf_spec qwen3_5[] = {
    {L("linear_attn.in_proj_qkv.weight", "attn_qkv.weight"), RZ_HF_STRIPED_QKV, R, 0},
    {L("linear_attn.in_proj_z.weight", "attn_gate.weight"), RZ_HF_STRIPED, R, 0},
    {L("linear_attn.in_proj_a.weight", "ssm_alpha.weight"), RZ_HF_STRIPED, R, 0},
    {L("linear_attn.in_proj_b.weight", "ssm_beta.weight"), RZ_HF_STRIPED, R, 0},
    {L("linear_attn.conv1d.weight", "ssm_conv1d.weight"), RZ_HF_STRIPED_CONV, R, 0},
    {L("linear_attn.A_log", "ssm_a"), RZ_HF_STRIPED_DECAY, R, 0},
    {L("linear_attn.dt_bias", "ssm_dt.bias"), RZ_HF_STRIPED, R, 0},
    {L("linear_attn.out_proj.weight", "ssm_out.weight"), RZ_HF_STRIPED_COLUMNS, R, 0},
    END,
};

/* --- keys --- */

#define STATE(prefix) \
    SWITCH(prefix "conv_bias", 1, RZ_HF_CONV_BIAS, 0), MUST(prefix "proj_bias", 0), \
        COUNT(prefix "d_conv", "ssm.conv_kernel"), COUNT(prefix "d_state", "ssm.state_size")
#define EXPERTS \
    COUNT("num_experts_per_tok", "expert_used_count"), TAKEN("num_local_experts"), TAKEN("num_experts")
#define MULTIPLIERS \
    PUT("attention_multiplier", "attention.scale", 1), PUT("embedding_multiplier", "embedding_scale", 1), \
        PUT("residual_multiplier", "residual_scale", 1), PUT("logits_scaling", "logit_scale", 1)

static const struct rz_hf_key mamba_keys[] = {
    MUST("use_bias", 0), SWITCH("use_conv_bias", 1, RZ_HF_CONV_BIAS, 0),
    COUNT("conv_kernel", "ssm.conv_kernel"), COUNT("state_size", "ssm.state_size"), END_KEYS};

static const struct rz_hf_key mamba2_keys[] = {MUST("use_bias", 0),
                                               SWITCH("use_conv_bias", 1, RZ_HF_CONV_BIAS, 0),
                                               COUNT("conv_kernel", "ssm.conv_kernel"),
                                               COUNT("state_size", "ssm.state_size"),
                                               COUNT("n_groups", "ssm.group_count"),
                                               END_KEYS};

static const struct rz_hf_key nemotron_keys[] = {MUST("use_bias", 0),
                                                 MUST("mamba_proj_bias", 0),
                                                 SWITCH("use_conv_bias", 1, RZ_HF_CONV_BIAS, 0),
                                                 SWITCH("attention_bias", 0, RZ_HF_BIAS, 0),
                                                 SWITCH("mlp_bias", 0, RZ_HF_MLP_BIAS, 0),
                                                 TAKEN("mlp_hidden_act"),
                                                 TAKEN("n_routed_experts"),
                                                 COUNT("conv_kernel", "ssm.conv_kernel"),
                                                 COUNT("ssm_state_size", "ssm.state_size"),
                                                 COUNT("n_groups", "ssm.group_count"),
                                                 END_KEYS};

static const struct rz_hf_key jamba_keys[] = {STATE("mamba_"), EXPERTS,
                                              COUNT("mamba_dt_rank", "ssm.time_step_rank"), END_KEYS};

static const struct rz_hf_key granite_keys[] = {
    STATE("mamba_"),
    EXPERTS,
    MULTIPLIERS,
    COUNT("mamba_n_groups", "ssm.group_count"),
    COUNT("shared_intermediate_size", "expert_shared_feed_forward_length"),
    END_KEYS};

static const struct rz_hf_key falcon_keys[] = {STATE("mamba_"),
                                               MUST("projectors_bias", 0),
                                               MUST("mamba_norm_before_gate", 0),
                                               SWITCH("mamba_rms_norm", 0, RZ_HF_TWO_NORMS, 0),
                                               COUNT("mamba_n_groups", "ssm.group_count"),
                                               TAKEN("embedding_multiplier"),
                                               END_KEYS};

static const struct rz_hf_key lfm2_keys[] = {MUST("conv_bias", 0),
                                             COUNT("conv_L_cache", "shortconv.l_cache"),
                                             EXPERTS,
                                             COUNT("moe_intermediate_size", "expert_feed_forward_length"),
                                             TRUTH("norm_topk_prob", "expert_weights_norm"),
                                             PUT("routed_scaling_factor", "expert_weights_scale", 0),
                                             COUNT("num_dense_layers", "leading_dense_block_count"),
                                             SWITCH("use_expert_bias", 1, RZ_HF_CHOICE, 0),
                                             END_KEYS};

static const struct rz_hf_key qwen_keys[] = {
    EXPERTS,
    COUNT("moe_intermediate_size", "expert_feed_forward_length"),
    COUNT("shared_expert_intermediate_size", "expert_shared_feed_forward_length"),
    TRUTH("norm_topk_prob", "expert_weights_norm"),
    COUNT("linear_conv_kernel_dim", "ssm.conv_kernel"),
    COUNT("linear_key_head_dim", "ssm.state_size"),
    END_KEYS};

/* --- which layers do what --- */

static uint32_t number(struct rz_hf_model *m, const char *key, uint32_t fallback)
{
    return (uint32_t)rz_hf_number(m, m->config, "config.json", key, false, fallback, 0, 1e9);
}

static void mark(struct rz_hf_model *m, uint32_t layer, uint32_t bits)
{
    if (m->c.layer_has && layer < m->c.n_layer)
        m->c.layer_has[layer] |= bits;
}

static void all_layers(struct rz_hf_model *m, uint32_t bits)
{
    m->c.layer_has = rz_hf_array(m, m->c.n_layer, sizeof(*m->c.layer_has));
    for (uint32_t i = 0; i < m->c.n_layer; i++)
        mark(m, i, bits);
}

/* A list of words, one a layer; each word has bits, ended by word NULL. */
struct kind {
    const char *word;
    uint32_t bits;
};

static void read_kinds(struct rz_hf_model *m, const char *key, const struct kind *kinds)
{
    const json_t *list = rz_hf_get(m, key);
    all_layers(m, 0);
    if (json_array_size(list) != m->c.n_layer) {
        rz_hf_refuse(m, key);
        return;
    }
    for (uint32_t i = 0; i < m->c.n_layer && !m->status; i++) {
        const char *word = json_string_value(json_array_get(list, i));
        const struct kind *k = kinds;
        while (word && k->word && strcmp(k->word, word) != 0)
            k++;
        if (word && k->word)
            mark(m, i, k->bits);
        else
            rz_hf_refuse(m, key);
    }
}

/* An array of metadata with n in the layers that have the bit, 0 in the others. */
static void put_layers(struct rz_hf_model *m, const char *name, uint32_t bit, uint32_t n)
{
    char key[96];
    int32_t *each = rz_hf_array(m, m->c.n_layer, sizeof(*each));
    snprintf(key, sizeof(key), "%s.%s", m->c.family->arch, name);
    for (uint32_t i = 0; i < m->c.n_layer && each && m->c.layer_has; i++)
        each[i] = m->c.layer_has[i] & bit ? (int32_t)n : 0;
    rz_hf_put_array(m, key, RZ_META_I32, each, m->c.n_layer);
}

static void put_kv_heads(struct rz_hf_model *m)
{
    put_layers(m, "attention.head_count_kv", A, m->c.n_kv_head);
    m->c.has |= RZ_HF_KV_LAYERS;
}

/* --- numbers that follow from several keys --- */

/* The step may be clamped, which the program does not do. */
static void check_steps(struct rz_hf_model *m)
{
    const json_t *limit = rz_hf_get(m, "time_step_limit");
    const json_t *lo = json_array_get(limit, 0), *hi = json_array_get(limit, 1);
    bool none = json_is_object(hi) || json_number_value(hi) > 1e30;
    if (!rz_hf_absent(limit) && (json_number_value(lo) != 0 || !none))
        rz_hf_refuse(m, "time_step_limit");
}

static void put_scan(struct rz_hf_model *m, uint32_t inner, uint32_t rank)
{
    m->c.inner = inner;
    rz_hf_put_number(m, "ssm.inner_size", inner);
    if (rank)
        rz_hf_put_number(m, "ssm.time_step_rank", rank);
    check_steps(m);
}

static void adjust_mamba(struct rz_hf_model *m)
{
    const json_t *rank = rz_hf_get(m, "time_step_rank");
    bool norms = !strcmp(m->c.family->model_type, "falcon_mamba");
    uint32_t n = json_is_integer(rank) ? rz_hf_count(m, "time_step_rank", true, 1) : (m->c.n_embd + 15) / 16;
    all_layers(m, R);
    put_scan(m, rz_hf_count(m, "intermediate_size", false, 2 * m->c.n_embd), n);
    rz_hf_put_truth(m, "ssm.dt_b_c_rms", norms);
    if (norms)
        rz_hf_put_factor(m, "ssm.dt_b_c_rms_epsilon",
                         rz_hf_number(m, m->config, "config.json", "mixer_rms_eps", false, 1e-6, 0, 1));
}

static void adjust_mamba2(struct rz_hf_model *m)
{
    uint32_t heads = rz_hf_count(m, "num_heads", true, 1);
    all_layers(m, R);
    m->c.groups = rz_hf_count(m, "n_groups", false, 8);
    put_scan(m, heads * rz_hf_count(m, "head_dim", true, 1), heads);
}

static void adjust_nemotron(struct rz_hf_model *m)
{
    static const struct kind kinds[] = {{"linear_attention", R}, {"mamba", R}, {"full_attention", A},
                                        {"attention", A},        {"mlp", F},   {NULL, 0}};
    const char *pattern = json_string_value(rz_hf_get(m, "hybrid_override_pattern"));
    const char *act = json_string_value(rz_hf_get(m, "mlp_hidden_act"));
    uint32_t heads = rz_hf_count(m, "mamba_num_heads", true, 1);
    if (pattern) {
        all_layers(m, 0);
        for (uint32_t i = 0; i < m->c.n_layer; i++)
            mark(m, i,
                 strlen(pattern) != m->c.n_layer ? 0
                 : pattern[i] == 'M'             ? R
                 : pattern[i] == '*'             ? A
                 : pattern[i] == '-'             ? F
                                                 : 0);
        for (uint32_t i = 0; i < m->c.n_layer && m->c.layer_has; i++)
            if (!m->c.layer_has[i])
                rz_hf_refuse(m, "hybrid_override_pattern");
    } else {
        read_kinds(m, "layers_block_type", kinds);
    }
    m->c.groups = rz_hf_count(m, "n_groups", false, 8);
    put_scan(m, heads * rz_hf_count(m, "mamba_head_dim", false, 64), heads);
    put_kv_heads(m);
    put_layers(m, "feed_forward_length", F, m->c.n_ff);
    m->c.has |= RZ_HF_FF_LAYERS;
    rz_hf_put_factor(m, "attention.layer_norm_epsilon", m->c.norm_eps);
    if (act && strcmp(act, "relu2") != 0)
        rz_hf_refuse(m, "mlp_hidden_act");
}

static void read_mixture(struct rz_hf_model *m)
{
    m->c.n_expert = number(m, "num_local_experts", 0);
    if (!m->c.n_expert)
        m->c.n_expert = number(m, "num_experts", 0);
    if (m->c.n_expert)
        rz_hf_put_number(m, "expert_count", m->c.n_expert);
}

static void adjust_jamba(struct rz_hf_model *m)
{
    uint32_t every = rz_hf_count(m, "attn_layer_period", false, 8), first = number(m, "attn_layer_offset", 4);
    uint32_t moe = rz_hf_count(m, "expert_layer_period", false, 2),
             moe_first = number(m, "expert_layer_offset", 1);
    read_mixture(m);
    all_layers(m, 0);
    for (uint32_t i = 0; i < m->c.n_layer; i++) {
        mark(m, i, i % every == first ? A : R);
        mark(m, i, i % moe == moe_first && m->c.n_expert > 1 ? E : 0);
    }
    put_scan(m, rz_hf_count(m, "mamba_expand", false, 2) * m->c.n_embd, 0);
    put_kv_heads(m);
}

static void adjust_granite(struct rz_hf_model *m)
{
    static const struct kind kinds[] = {{"mamba", R}, {"attention", A}, {NULL, 0}};
    const char *positions = json_string_value(rz_hf_get(m, "position_embedding_type"));
    uint32_t heads = rz_hf_count(m, "mamba_n_heads", true, 1);
    bool rope = positions && !strcmp(positions, "rope");
    read_mixture(m);
    read_kinds(m, "layer_types", kinds);
    for (uint32_t i = 0; i < m->c.n_layer && m->c.n_expert; i++)
        mark(m, i, E);
    if (!m->c.n_expert)
        m->c.n_ff = rz_hf_count(m, "shared_intermediate_size", true, 1);
    m->c.groups = rz_hf_count(m, "mamba_n_groups", false, 1);
    put_scan(m, rz_hf_count(m, "mamba_expand", false, 2) * m->c.n_embd, heads);
    put_kv_heads(m);
    rz_hf_put_truth(m, "rope.scaling.finetuned", rope);
    if (positions && !rope && strcmp(positions, "nope") != 0)
        rz_hf_refuse(m, "position_embedding_type");
}

static double factor(struct rz_hf_model *m, const char *key)
{
    return rz_hf_number(m, m->config, "config.json", key, false, 1, 1e-9, 1e9);
}

static double factor_at(struct rz_hf_model *m, const char *key, size_t n, size_t i)
{
    const json_t *list = rz_hf_get(m, key), *value = json_array_get(list, i);
    if (rz_hf_absent(list))
        return 1;
    if (json_array_size(list) != n || !json_is_number(value))
        rz_hf_refuse(m, key);
    return json_number_value(value);
}

static void adjust_falcon_h1(struct rz_hf_model *m)
{
    uint32_t heads = rz_hf_count(m, "mamba_n_heads", true, 1);
    double in = factor(m, "attention_in_multiplier"), ssm = factor(m, "ssm_in_multiplier"), *s = m->c.scales;
    m->c.groups = rz_hf_count(m, "mamba_n_groups", false, 1);
    m->c.state = rz_hf_count(m, "mamba_d_state", true, 1);
    m->c.key_heads = heads;
    put_scan(m, rz_hf_count(m, "mamba_d_ssm", false, rz_hf_count(m, "mamba_expand", false, 2) * m->c.n_embd),
             heads);
    s[RZ_HF_SCALE_EMBED] = factor(m, "embedding_multiplier");
    s[RZ_HF_SCALE_HEAD] = factor(m, "lm_head_multiplier");
    s[RZ_HF_SCALE_IN] = in;
    s[RZ_HF_SCALE_K] = in * factor(m, "key_multiplier");
    s[RZ_HF_SCALE_OUT] = factor(m, "attention_out_multiplier");
    s[RZ_HF_SCALE_GATE] = factor_at(m, "mlp_multipliers", 2, 0);
    s[RZ_HF_SCALE_DOWN] = factor_at(m, "mlp_multipliers", 2, 1);
    s[RZ_HF_SCALE_SSM_OUT] = factor(m, "ssm_out_multiplier");
    for (size_t i = 0; i < 5; i++)
        m->c.in_scales[i] = ssm * factor_at(m, "ssm_multipliers", 5, i);
}

/* The width is given before it is made a multiple of something. */
static void adjust_lfm2(struct rz_hf_model *m)
{
    static const struct kind kinds[] = {{"conv", R}, {"full_attention", A}, {NULL, 0}};
    uint32_t dense = number(m, "num_dense_layers", 0), n = number(m, "block_ff_dim", m->c.n_ff);
    read_mixture(m);
    read_kinds(m, "layer_types", kinds);
    for (uint32_t i = dense; i < m->c.n_layer && m->c.n_expert; i++)
        mark(m, i, E);
    if (!m->c.n_expert && rz_hf_truth(m, "block_auto_adjust_ff_dim", true)) {
        uint32_t of = rz_hf_count(m, "block_multiple_of", false, 256);
        n = (uint32_t)(factor(m, "block_ffn_dim_multiplier") * (uint32_t)(2 * (uint64_t)n / 3));
        n = (n + of - 1) / of * of;
    }
    m->c.n_ff = n;
    put_kv_heads(m);
    if (m->c.n_expert)
        rz_hf_put_number(m, "expert_gating_func", 2);
}

/* Which frequencies belong to time, height and width of a picture: no use for text, but part of the form. */
static void put_sections(struct rz_hf_model *m)
{
    const json_t *list = json_object_get(rz_hf_get(m, "rope_parameters"), "mrope_section");
    int32_t *sections = rz_hf_array(m, 4, sizeof(*sections));
    char key[96];
    for (size_t i = 0; i < 3 && sections; i++)
        sections[i] = (int32_t)json_integer_value(json_array_get(list, i));
    snprintf(key, sizeof(key), "%s.rope.dimension_sections", m->c.family->arch);
    if (json_array_size(list) == 3)
        rz_hf_put_array(m, key, RZ_META_I32, sections, 4);
}

/* layer_types, or each `full_attention_interval`th. */
static void adjust_qwen(struct rz_hf_model *m)
{
    static const struct kind kinds[] = {{"linear_attention", R}, {"full_attention", A}, {NULL, 0}};
    uint32_t every = rz_hf_count(m, "full_attention_interval", false, 4);
    uint8_t *recurrent = rz_hf_array(m, m->c.n_layer, 1);
    char key[96];
    m->c.key_heads = rz_hf_count(m, "linear_num_key_heads", true, 1);
    m->c.heads = rz_hf_count(m, "linear_num_value_heads", true, 1);
    m->c.state = rz_hf_count(m, "linear_key_head_dim", true, 1);
    m->c.v_dim = rz_hf_count(m, "linear_value_head_dim", true, 1);
    read_mixture(m);
    if (rz_hf_absent(rz_hf_get(m, "layer_types")))
        all_layers(m, 0);
    else
        read_kinds(m, "layer_types", kinds);
    for (uint32_t i = 0; i < m->c.n_layer && m->c.layer_has && recurrent; i++) {
        if (!m->c.layer_has[i])
            mark(m, i, (i + 1) % every ? R : A);
        mark(m, i, m->c.n_expert ? E | RZ_HF_SHARED : 0);
        recurrent[i] = (m->c.layer_has[i] & R) != 0;
    }
    if (number(m, "decoder_sparse_step", 1) != 1)
        rz_hf_refuse(m, "decoder_sparse_step");
    if (json_array_size(rz_hf_get(m, "mlp_only_layers")))
        rz_hf_refuse(m, "mlp_only_layers");
    snprintf(key, sizeof(key), "%s.attention.recurrent_layers", m->c.family->arch);
    rz_hf_put_array(m, key, RZ_META_BOOL, recurrent, m->c.n_layer);
    rz_hf_put_number(m, "full_attention_interval", every);
    rz_hf_put_number(m, "ssm.group_count", m->c.key_heads);
    put_scan(m, m->c.heads * m->c.v_dim, m->c.heads);
    put_sections(m);
    if (!m->status && m->c.heads % m->c.key_heads)
        rz_hf_refuse(m, "linear_num_value_heads");
}

/* --- rows --- */

const struct rz_hf_family rz_hf_recurrent[] = {
    {"falcon_h1", "falcon-h1", {falcon_h1}, falcon_keys, adjust_falcon_h1, .eps = 1e-5},
    {"falcon_mamba",
     "mamba",
     {backbone, mamba},
     mamba_keys,
     adjust_mamba,
     .rope = RZ_HF_ROPE_NONE,
     .headless = true,
     .eps = 1e-5},
    {"granitemoehybrid",
     "granitehybrid",
     {rz_hf_ends, rz_hf_norms, attention_rope, granite, granite_experts},
     granite_keys,
     adjust_granite,
     .window = RZ_HF_WINDOW_OWN,
     .eps = 1e-6},
    {"jamba",
     "jamba",
     {jamba, attention, jamba_experts},
     jamba_keys,
     adjust_jamba,
     .rope = RZ_HF_ROPE_NONE,
     .eps = 1e-6},
    {"lfm2",
     "lfm2",
     {lfm2},
     lfm2_keys,
     adjust_lfm2,
     .window = RZ_HF_WINDOW_OWN,
     .tied = true,
     .eps = 1e-5,
     .theta = 1e6},
    {"lfm2_moe",
     "lfm2moe",
     {lfm2},
     lfm2_keys,
     adjust_lfm2,
     .window = RZ_HF_WINDOW_OWN,
     .tied = true,
     .eps = 1e-5,
     .theta = 1e6},
    {"mamba",
     "mamba",
     {backbone, mamba},
     mamba_keys,
     adjust_mamba,
     .rope = RZ_HF_ROPE_NONE,
     .headless = true,
     .tied = true,
     .eps = 1e-5},
    {"mamba2",
     "mamba2",
     {backbone, mamba2},
     mamba2_keys,
     adjust_mamba2,
     .rope = RZ_HF_ROPE_NONE,
     .headless = true,
     .eps = 1e-5},
    {"nemotron_h",
     "nemotron_h",
     {backbone, mamba2, nemotron},
     nemotron_keys,
     adjust_nemotron,
     .rope = RZ_HF_ROPE_NONE,
     .eps = 1e-5},
    {"qwen3_5_text",
     "qwen35",
     {rz_hf_ends_plus, qwen_norms, attention, qwen3_5, rz_hf_glu},
     qwen_keys,
     adjust_qwen,
     .rope = RZ_HF_ROPE_PART,
     .window = RZ_HF_WINDOW_OWN,
     .eps = 1e-6,
     .part = 0.25},
    {"qwen3_next",
     "qwen3next",
     {rz_hf_ends_plus, qwen_norms, attention, qwen3_next, rz_hf_experts, rz_hf_shared_expert},
     qwen_keys,
     adjust_qwen,
     .rope = RZ_HF_ROPE_PART,
     .window = RZ_HF_WINDOW_OWN,
     .eps = 1e-6,
     .part = 0.25},
    {.model_type = NULL},
};

/* mixtures.c - the rows of the families with experts: their tensors, and the keys of config.json that say how
 * many experts there are, which layers have them and how they are chosen.
 *
 * Experts are stored one by one or as one tensor; in the program they are always one, of three dimensions.
 */
#include "rows.h"

#include <stdio.h>
#include <string.h>

#define L(stored, name) "model.layers.%u." stored, "blk.%u." name

/* --- tensors --- */

static const struct rz_hf_spec mixtral[] = {
    {L("block_sparse_moe.gate.weight", "ffn_gate_inp.weight"), 0, 0, 0},
    {L("block_sparse_moe.e_score_correction_bias", "exp_probs_b.bias"), 0, RZ_HF_CHOICE, 0},
    {L("block_sparse_moe.experts.%u.w1.weight", "ffn_gate_exps.weight"), RZ_HF_STACK_E, 0, 0},
    {L("block_sparse_moe.experts.%u.w3.weight", "ffn_up_exps.weight"), RZ_HF_STACK_E, 0, 0},
    {L("block_sparse_moe.experts.%u.w2.weight", "ffn_down_exps.weight"), RZ_HF_STACK_E, 0, 0},
    END,
};

/* Some layers have experts, the others the three matrices of a dense half. */
const struct rz_hf_spec rz_hf_experts[] = {
    {L("mlp.gate_proj.weight", "ffn_gate.weight"), 0, 0, RZ_HF_MOE},
    {L("mlp.up_proj.weight", "ffn_up.weight"), 0, 0, RZ_HF_MOE},
    {L("mlp.down_proj.weight", "ffn_down.weight"), 0, 0, RZ_HF_MOE},
    {L("mlp.gate.weight", "ffn_gate_inp.weight"), 0, RZ_HF_MOE, 0},
    {L("mlp.experts.%u.gate_proj.weight", "ffn_gate_exps.weight"), RZ_HF_STACK_E, RZ_HF_MOE, 0},
    {L("mlp.experts.%u.up_proj.weight", "ffn_up_exps.weight"), RZ_HF_STACK_E, RZ_HF_MOE, 0},
    {L("mlp.experts.%u.down_proj.weight", "ffn_down_exps.weight"), RZ_HF_STACK_E, RZ_HF_MOE, 0},
    END,
};

#define SHARED (RZ_HF_MOE | RZ_HF_SHARED)

static const struct rz_hf_spec shared_experts[] = {
    {L("mlp.gate.e_score_correction_bias", "exp_probs_b.bias"), 0, RZ_HF_MOE | RZ_HF_CHOICE, 0},
    {L("mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"), 0, SHARED, 0},
    END,
};

const struct rz_hf_spec rz_hf_shared_expert[] = {
    {L("mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight"), RZ_HF_FLAT, SHARED, 0},
    END,
};

static const struct rz_hf_spec ernie[] = {
    {L("mlp.moe_statics.e_score_correction_bias", "exp_probs_b.bias"), RZ_HF_FLAT, RZ_HF_MOE | RZ_HF_CHOICE,
     0},
    {L("mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight"), 0, SHARED, 0},
    {L("mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"), 0, SHARED, 0},
    END,
};

static const struct rz_hf_spec granite[] = {
    {L("block_sparse_moe.router.layer.weight", "ffn_gate_inp.weight"), 0, 0, 0},
    {L("block_sparse_moe.input_linear.weight", "ffn_gate_exps.weight"), RZ_HF_GATE, 0, 0},
    {L("block_sparse_moe.input_linear.weight", "ffn_up_exps.weight"), RZ_HF_UP, 0, 0},
    {L("block_sparse_moe.output_linear.weight", "ffn_down_exps.weight"), 0, 0, 0},
    END,
};

static const struct rz_hf_spec phimoe[] = {
    {"model.norm.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.bias", "output.bias", 0, RZ_HF_MLP_BIAS, 0},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, 0},
    {L("post_attention_layernorm.bias", "ffn_norm.bias"), 0, 0, 0},
    END,
};

static const struct rz_hf_spec gpt_oss[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "post_attention_norm.weight"), 0, 0, 0},
    {L("self_attn.sinks", "attn_sinks.weight"), 0, 0, 0},
    {L("mlp.router.weight", "ffn_gate_inp.weight"), 0, 0, 0},
    {L("mlp.router.bias", "ffn_gate_inp.bias"), 0, 0, 0},
    {L("mlp.experts.gate_up_proj", "ffn_gate_exps.weight"), RZ_HF_EVEN_T, 0, 0},
    {L("mlp.experts.gate_up_proj", "ffn_up_exps.weight"), RZ_HF_ODD_T, 0, 0},
    {L("mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias"), RZ_HF_EVEN, 0, 0},
    {L("mlp.experts.gate_up_proj_bias", "ffn_up_exps.bias"), RZ_HF_ODD, 0, 0},
    {L("mlp.experts.down_proj", "ffn_down_exps.weight"), RZ_HF_EXPERTS_T, 0, 0},
    {L("mlp.experts.down_proj_bias", "ffn_down_exps.bias"), 0, 0, 0},
    END,
};

static const struct rz_hf_spec llama4[] = {
    {L("feed_forward.gate_proj.weight", "ffn_gate.weight"), 0, 0, RZ_HF_MOE},
    {L("feed_forward.up_proj.weight", "ffn_up.weight"), 0, 0, RZ_HF_MOE},
    {L("feed_forward.down_proj.weight", "ffn_down.weight"), 0, 0, RZ_HF_MOE},
    {L("feed_forward.router.weight", "ffn_gate_inp.weight"), 0, RZ_HF_MOE, 0},
    {L("feed_forward.experts.gate_up_proj", "ffn_gate_exps.weight"), RZ_HF_GATE_T, RZ_HF_MOE, 0},
    {L("feed_forward.experts.gate_up_proj", "ffn_up_exps.weight"), RZ_HF_UP_T, RZ_HF_MOE, 0},
    {L("feed_forward.experts.down_proj", "ffn_down_exps.weight"), RZ_HF_EXPERTS_T, RZ_HF_MOE, 0},
    {L("feed_forward.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight"), 0, RZ_HF_MOE, 0},
    {L("feed_forward.shared_expert.up_proj.weight", "ffn_up_shexp.weight"), 0, RZ_HF_MOE, 0},
    {L("feed_forward.shared_expert.down_proj.weight", "ffn_down_shexp.weight"), 0, RZ_HF_MOE, 0},
    END,
};

static const struct rz_hf_spec latent[] = {
    {L("self_attn.q_proj.weight", "attn_q.weight"), 0, 0, RZ_HF_Q_LATENT},
    {L("self_attn.q_a_proj.weight", "attn_q_a.weight"), 0, RZ_HF_Q_LATENT, 0},
    {L("self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight"), 0, RZ_HF_Q_LATENT, 0},
    {L("self_attn.q_b_proj.weight", "attn_q_b.weight"), 0, RZ_HF_Q_LATENT, 0},
    {L("self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight"), 0, 0, 0},
    {L("self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight"), 0, 0, 0},
    {L("self_attn.kv_b_proj.weight", "attn_k_b.weight"), RZ_HF_LATENT_K, 0, 0},
    {L("self_attn.kv_b_proj.weight", "attn_v_b.weight"), RZ_HF_LATENT_V, 0, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), 0, 0, 0},
    END,
};

#undef L
#define L(stored, name) "transformer.blocks.%u." stored, "blk.%u." name

static const struct rz_hf_spec dbrx[] = {
    {"transformer.wte.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.norm_f.weight", "output_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("norm_attn_norm.norm_1.weight", "attn_norm.weight"), 0, 0, 0},
    {L("norm_attn_norm.attn.Wqkv.weight", "attn_qkv.weight"), 0, 0, 0},
    {L("norm_attn_norm.attn.out_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("norm_attn_norm.norm_2.weight", "attn_output_norm.weight"), 0, 0, 0},
    {L("ffn.router.layer.weight", "ffn_gate_inp.weight"), 0, 0, 0},
    {L("ffn.experts.mlp.w1", "ffn_gate_exps.weight"), RZ_HF_EXPERTS, 0, 0},
    {L("ffn.experts.mlp.v1", "ffn_up_exps.weight"), RZ_HF_EXPERTS, 0, 0},
    {L("ffn.experts.mlp.w2", "ffn_down_exps.weight"), RZ_HF_EXPERTS_T, 0, 0},
    END,
};

/* --- keys --- */

#define CHOSEN COUNT("num_experts_per_tok", "expert_used_count")
#define WIDTH COUNT("moe_intermediate_size", "expert_feed_forward_length")
#define NORM TRUTH("norm_topk_prob", "expert_weights_norm")
#define ANY_COUNT TAKEN("num_local_experts"), TAKEN("num_experts"), TAKEN("n_routed_experts")

static const struct rz_hf_key mixtral_keys[] = {CHOSEN, ANY_COUNT, END_KEYS};

static const struct rz_hf_key qwen2_keys[] = {
    CHOSEN,
    WIDTH,
    NORM,
    ANY_COUNT,
    SWITCH("qkv_bias", 1, RZ_HF_BIAS, 0),
    COUNT("shared_expert_intermediate_size", "expert_shared_feed_forward_length"),
    END_KEYS};

static const struct rz_hf_key qwen3_keys[] = {
    CHOSEN, WIDTH, NORM, ANY_COUNT, SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0), END_KEYS};

static const struct rz_hf_key olmoe_keys[] = {CHOSEN, NORM, ANY_COUNT,
                                              PUT("clip_qkv", "attention.clamp_kqv", 0), END_KEYS};

static const struct rz_hf_key granite_keys[] = {CHOSEN,
                                                ANY_COUNT,
                                                SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
                                                PUT("attention_multiplier", "attention.scale", 1),
                                                PUT("embedding_multiplier", "embedding_scale", 1),
                                                PUT("residual_multiplier", "residual_scale", 1),
                                                PUT("logits_scaling", "logit_scale", 1),
                                                END_KEYS};

/* The program's mixer has the noise of the published models: how near to the best another one must be. */
static const struct rz_hf_key phimoe_keys[] = {CHOSEN,
                                               ANY_COUNT,
                                               SWITCH("attention_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
                                               SWITCH("lm_head_bias", 0, RZ_HF_MLP_BIAS, 0),
                                               MUST("router_jitter_noise", 0.01),
                                               END_KEYS};

static const struct rz_hf_key minimax_keys[] = {CHOSEN,
                                                ANY_COUNT,
                                                SWITCH("use_routing_bias", 1, RZ_HF_CHOICE, 0),
                                                SWITCH("use_qk_norm", 1, RZ_HF_QK_NORM, 0),
                                                COUNT("intermediate_size", "expert_feed_forward_length"),
                                                END_KEYS};

static const struct rz_hf_key glm4_keys[] = {CHOSEN,
                                             WIDTH,
                                             NORM,
                                             ANY_COUNT,
                                             SWITCH("attention_bias", 0, RZ_HF_BIAS, 0),
                                             SWITCH("use_qk_norm", 0, RZ_HF_QK_NORM, 0),
                                             COUNT("n_shared_experts", "expert_shared_count"),
                                             COUNT("first_k_dense_replace", "leading_dense_block_count"),
                                             PUT("routed_scaling_factor", "expert_weights_scale", 1),
                                             COUNT("n_group", "expert_group_count"),
                                             COUNT("topk_group", "expert_group_used_count"),
                                             END_KEYS};

static const struct rz_hf_key deepseek_keys[] = {CHOSEN,
                                                 WIDTH,
                                                 NORM,
                                                 ANY_COUNT,
                                                 COUNT("n_shared_experts", "expert_shared_count"),
                                                 COUNT("first_k_dense_replace", "leading_dense_block_count"),
                                                 PUT("routed_scaling_factor", "expert_weights_scale", 1),
                                                 COUNT("q_lora_rank", "attention.q_lora_rank"),
                                                 MUST("moe_layer_freq", 1),
                                                 END_KEYS};

static const struct rz_hf_key ernie_keys[] = {
    COUNT("moe_k", "expert_used_count"),
    WIDTH,
    COUNT("moe_num_shared_experts", "expert_shared_count"),
    TAKEN("moe_num_experts"),
    COUNT("moe_layer_start_index", "leading_dense_block_count"),
    SWITCH("use_bias", 0, RZ_HF_BIAS | RZ_HF_OUT_BIAS | RZ_HF_MLP_BIAS, 0),
    END_KEYS};

static const struct rz_hf_key gpt_oss_keys[] = {CHOSEN,
                                                ANY_COUNT,
                                                SWITCH("attention_bias", 1, RZ_HF_BIAS | RZ_HF_OUT_BIAS, 0),
                                                MUST("swiglu_limit", 7),
                                                MUST("swiglu_alpha", 1.702),
                                                COUNT("intermediate_size", "expert_feed_forward_length"),
                                                END_KEYS};

static const struct rz_hf_key llama4_keys[] = {CHOSEN,
                                               ANY_COUNT,
                                               COUNT("intermediate_size", "expert_feed_forward_length"),
                                               COUNT("attention_chunk_size", "attention.chunk_size"),
                                               TAKEN("no_rope_layers"),
                                               TAKEN("use_qk_norm"),
                                               END_KEYS};

static const struct rz_hf_key dbrx_keys[] = {COUNT("ffn_config.moe_top_k", "expert_used_count"),
                                             PUT("attn_config.clip_qkv", "attention.clamp_kqv", 0),
                                             MUST("ffn_config.moe_normalize_expert_weights", 1), END_KEYS};

/* --- numbers that follow from several keys --- */

/* How many experts, under any of the names; every layer has them unless layer_has says otherwise. */
static void read_experts(struct rz_hf_model *m)
{
    static const char *const keys[] = {"num_local_experts", "num_experts", "n_routed_experts",
                                       "moe_num_experts", "ffn_config.moe_num_experts"};
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !n; i++)
        if (!rz_hf_absent(rz_hf_get(m, keys[i])))
            n = rz_hf_count(m, keys[i], true, 1);
    if (!n)
        rz_hf_count(m, keys[0], true, 1);
    m->c.n_expert = n;
    rz_hf_put_number(m, "expert_count", n);
    m->c.layer_has = rz_hf_array(m, m->c.n_layer, sizeof(*m->c.layer_has));
    for (uint32_t i = 0; i < m->c.n_layer && m->c.layer_has; i++)
        m->c.layer_has[i] = RZ_HF_MOE;
}

static void make_dense(struct rz_hf_model *m, uint32_t layer)
{
    if (m->c.layer_has && layer < m->c.n_layer)
        m->c.layer_has[layer] &= ~RZ_HF_MOE;
}

static uint32_t number(struct rz_hf_model *m, const char *key, uint32_t fallback)
{
    return (uint32_t)rz_hf_number(m, m->config, "config.json", key, false, fallback, 0, 1e6);
}

/* Layers behind the last foretell further tokens; they are left out. */
static void read_leading(struct rz_hf_model *m)
{
    uint32_t n = number(m, "first_k_dense_replace", 0);
    for (uint32_t i = 0; i < n && i < m->c.n_layer; i++)
        make_dense(m, i);
    m->c.n_extra = number(m, "num_nextn_predict_layers", 0);
    if (number(m, "n_shared_experts", 0))
        m->c.has |= RZ_HF_SHARED;
}

/* Qwen: every `decoder_sparse_step`th layer has experts, but for those that are named. */
static void adjust_qwen(struct rz_hf_model *m)
{
    const json_t *dense = rz_hf_get(m, "mlp_only_layers"), *one;
    size_t i;
    read_experts(m);
    uint32_t step = rz_hf_count(m, "decoder_sparse_step", false, 1);
    for (uint32_t layer = 0; layer < m->c.n_layer; layer++)
        if ((layer + 1) % step)
            make_dense(m, layer);
    json_array_foreach(dense, i, one)
    {
        json_int_t layer = json_is_integer(one) ? json_integer_value(one) : -1;
        if (layer >= 0 && layer < m->c.n_layer)
            make_dense(m, (uint32_t)layer);
        else
            rz_hf_refuse(m, "mlp_only_layers");
    }
    m->c.has |= RZ_HF_SHARED | RZ_HF_QK_NORM;
}

static void adjust_plain(struct rz_hf_model *m)
{
    read_experts(m);
    m->c.has |= RZ_HF_QK_NORM;
}

static void put_gating(struct rz_hf_model *m, const char *usual)
{
    static const char *const names[] = {"", "softmax", "sigmoid"};
    const char *name = json_string_value(rz_hf_get(m, "scoring_func"));
    for (uint32_t i = 1; i < 3; i++)
        if (!strcmp(name ? name : usual, names[i])) {
            rz_hf_put_number(m, "expert_gating_func", i);
            return;
        }
    rz_hf_refuse(m, "scoring_func");
}

static void adjust_minimax(struct rz_hf_model *m)
{
    read_experts(m);
    put_gating(m, "sigmoid");
    m->c.has |= RZ_HF_CHOICE;
}

static void adjust_glm4(struct rz_hf_model *m)
{
    read_experts(m);
    read_leading(m);
    put_gating(m, "sigmoid");
    m->c.has |= RZ_HF_CHOICE;
}

/* topk_method: greedy takes no notice of groups. */
static void read_groups(struct rz_hf_model *m)
{
    const char *method = json_string_value(rz_hf_get(m, "topk_method"));
    bool greedy = method && !strcmp(method, "greedy");
    if (method && !greedy && strcmp(method, "group_limited_greedy") != 0 && strcmp(method, "noaux_tc") != 0)
        rz_hf_refuse(m, "topk_method");
    rz_hf_put_number(m, "expert_group_count", greedy ? 1 : number(m, "n_group", 1));
    rz_hf_put_number(m, "expert_group_used_count", greedy ? 1 : number(m, "topk_group", 1));
}

/* Keys and values of all heads lie in one latent vector, beside one rotated part of the keys. */
static void adjust_deepseek(struct rz_hf_model *m)
{
    bool third = !strcmp(m->c.family->model_type, "deepseek_v3");
    uint32_t latent_dim = rz_hf_count(m, "kv_lora_rank", true, 1);
    m->c.rope_dim = rz_hf_count(m, "qk_rope_head_dim", true, 2);
    m->c.k_plain = rz_hf_count(m, "qk_nope_head_dim", true, 1);
    m->c.v_dim = rz_hf_count(m, "v_head_dim", true, 1);
    m->c.n_kv_head = 1;
    m->c.head_dim = latent_dim + m->c.rope_dim;
    rz_hf_put_number(m, "attention.kv_lora_rank", latent_dim);
    rz_hf_put_number(m, "attention.key_length_mla", m->c.k_plain + m->c.rope_dim);
    rz_hf_put_number(m, "attention.value_length_mla", m->c.v_dim);
    if (!rz_hf_absent(rz_hf_get(m, "q_lora_rank")))
        m->c.has |= RZ_HF_Q_LATENT;
    read_experts(m);
    read_leading(m);
    read_groups(m);
    put_gating(m, third ? "sigmoid" : "softmax");
    if (third)
        m->c.has |= RZ_HF_CHOICE;
    if (third && !rz_hf_truth(m, "rope_interleave", true))
        rz_hf_refuse(m, "rope_interleave");
}

static void adjust_ernie(struct rz_hf_model *m)
{
    uint32_t step = rz_hf_count(m, "moe_layer_interval", false, 1);
    uint32_t first = number(m, "moe_layer_start_index", 1),
             last = number(m, "moe_layer_end_index", m->c.n_layer - 1);
    read_experts(m);
    rz_hf_put_number(m, "interleave_moe_layer_step", step);
    for (uint32_t i = 0; i < m->c.n_layer; i++)
        if ((i + 1) % step || i < first || i > last)
            make_dense(m, i);
    uint32_t shared = number(m, "moe_num_shared_experts", 2);
    if (shared)
        rz_hf_put_number(m, "expert_shared_feed_forward_length",
                         shared * number(m, "moe_intermediate_size", 1536));
    m->c.has |= RZ_HF_CHOICE | (shared ? RZ_HF_SHARED : 0);
}

/* moe_layers, or each `interleave_moe_layer_step`th. */
static void adjust_llama4(struct rz_hf_model *m)
{
    uint32_t step = rz_hf_count(m, "interleave_moe_layer_step", false, 1);
    const json_t *layers = rz_hf_get(m, "moe_layers"), *no_rope = rz_hf_get(m, "no_rope_layers"), *one;
    size_t i;
    m->c.n_ff = rz_hf_count(m, "intermediate_size_mlp", true, 1);
    read_experts(m);
    rz_hf_put_number(m, "interleave_moe_layer_step", step);
    for (uint32_t layer = 0; layer < m->c.n_layer; layer++)
        if (json_is_array(layers) || (layer + 1) % step)
            make_dense(m, layer);
    json_array_foreach(layers, i, one) if (json_integer_value(one) >= 0 &&
                                           json_integer_value(one) < m->c.n_layer && m->c.layer_has)
        m->c.layer_has[json_integer_value(one)] |= RZ_HF_MOE;
    json_array_foreach(no_rope, i, one) if ((json_integer_value(one) != 0) != (i % 4 != 3))
        rz_hf_refuse(m, "no_rope_layers");
    if (rz_hf_truth(m, "attn_temperature_tuning", true)) {
        rz_hf_put_number(m, "attention.temperature_length", rz_hf_count(m, "floor_scale", false, 8192));
        rz_hf_put_factor(m, "attention.temperature_scale",
                         rz_hf_number(m, m->config, "config.json", "attn_scale", false, 0.1, 1e-6, 1e6));
    } else {
        rz_hf_refuse(m, "attn_temperature_tuning");
    }
    if (!rz_hf_truth(m, "use_qk_norm", true) && m->c.n_expert != 128)
        rz_hf_refuse(m, "use_qk_norm");
}

static void adjust_dbrx(struct rz_hf_model *m)
{
    const char *act = json_string_value(json_object_get(rz_hf_get(m, "ffn_config.ffn_act_fn"), "name"));
    m->c.n_kv_head = rz_hf_count(m, "attn_config.kv_n_heads", false, 1);
    m->c.n_ff = rz_hf_count(m, "ffn_config.ffn_hidden_size", false, 3584);
    read_experts(m);
    if (act && strcmp(act, "silu") != 0)
        rz_hf_refuse(m, "ffn_config.ffn_act_fn");
}

/* --- rows --- */

const struct rz_hf_family rz_hf_mixtures[] = {
    {"dbrx", "dbrx", {dbrx}, dbrx_keys, adjust_dbrx, .wide = true, .layer_norm = true, .eps = 1e-5},
    {"deepseek_v2",
     "deepseek2",
     {rz_hf_ends, rz_hf_norms, latent, rz_hf_experts, shared_experts},
     deepseek_keys,
     adjust_deepseek,
     .rope = RZ_HF_ROPE_OWN,
     .eps = 1e-6},
    {"deepseek_v3",
     "deepseek2",
     {rz_hf_ends, rz_hf_norms, latent, rz_hf_experts, shared_experts},
     deepseek_keys,
     adjust_deepseek,
     .rope = RZ_HF_ROPE_OWN,
     .eps = 1e-6},
    {"ernie4_5_moe",
     "ernie4_5-moe",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, rz_hf_experts, ernie},
     ernie_keys,
     adjust_ernie,
     .tied = true,
     .eps = 1e-5,
     .theta = 500000},
    {"glm4_moe",
     "glm4moe",
     {rz_hf_ends, rz_hf_norms_seed, rz_hf_qkv, rz_hf_qk_norm, rz_hf_experts, shared_experts},
     glm4_keys,
     adjust_glm4,
     .rope = RZ_HF_ROPE_PART,
     .eps = 1e-5,
     .part = 0.5},
    {"gpt_oss",
     "gpt-oss",
     {rz_hf_ends, rz_hf_qkv, gpt_oss},
     gpt_oss_keys,
     adjust_plain,
     .window = RZ_HF_WINDOW_KEY,
     .every = 2,
     .eps = 1e-5,
     .theta = 150000},
    {"granitemoe",
     "granitemoe",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv_rope, granite},
     granite_keys,
     adjust_plain,
     .eps = 1e-6},
    {"llama4_text",
     "llama4",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, llama4},
     llama4_keys,
     adjust_llama4,
     .window = RZ_HF_WINDOW_OWN,
     .eps = 1e-5,
     .theta = 500000},
    {"minimax_m2",
     "minimax-m2",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, rz_hf_qk_norm, mixtral},
     minimax_keys,
     adjust_minimax,
     .rope = RZ_HF_ROPE_PART,
     .eps = 1e-6,
     .theta = 5e6},
    {"mixtral",
     "llama",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv_rope, mixtral},
     mixtral_keys,
     adjust_plain,
     .window = RZ_HF_WINDOW_KEY,
     .eps = 1e-5,
     .theta = 1e6},
    {"olmoe",
     "olmoe",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, rz_hf_qk_norm, rz_hf_experts},
     olmoe_keys,
     adjust_plain,
     .eps = 1e-5},
    {"phimoe",
     "phimoe",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, mixtral, phimoe},
     phimoe_keys,
     adjust_plain,
     .window = RZ_HF_WINDOW_KEY,
     .eps = 1e-5,
     .theta = 1e6},
    {"qwen2_moe",
     "qwen2moe",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, rz_hf_experts, rz_hf_shared_expert},
     qwen2_keys,
     adjust_qwen,
     .window = RZ_HF_WINDOW_SWITCH,
     .eps = 1e-6},
    {"qwen3_moe",
     "qwen3moe",
     {rz_hf_ends, rz_hf_norms, rz_hf_qkv, rz_hf_qk_norm, rz_hf_experts},
     qwen3_keys,
     adjust_qwen,
     .window = RZ_HF_WINDOW_SWITCH,
     .eps = 1e-6},
    {.model_type = NULL},
};

/* names.c - the tensors of each family: their names in a folder, those in the program, and how they differ.
 *
 * A model has all tensors of its family's groups, but for those that a condition leaves out. Nothing here
 * depends on sizes; tensors.c knows them.
 */
#include "rows.h"

#define L(stored, name) "model.layers.%u." stored, "blk.%u." name

/* --- what most families have --- */

const struct rz_hf_spec rz_hf_ends[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, 0, 0},
    {"model.norm.weight", "output_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    END,
};

const struct rz_hf_spec rz_hf_ends_plus[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, 0, 0},
    {"model.norm.weight", "output_norm.weight", RZ_HF_PLUS_ONE, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    END,
};

const struct rz_hf_spec rz_hf_qkv[] = {
    {L("self_attn.q_proj.weight", "attn_q.weight"), 0, 0, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), 0, 0, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), 0, 0, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("self_attn.q_proj.bias", "attn_q.bias"), 0, RZ_HF_BIAS, 0},
    {L("self_attn.k_proj.bias", "attn_k.bias"), 0, RZ_HF_BIAS, 0},
    {L("self_attn.v_proj.bias", "attn_v.bias"), 0, RZ_HF_BIAS, 0},
    {L("self_attn.o_proj.bias", "attn_output.bias"), 0, RZ_HF_OUT_BIAS, 0},
    END,
};

/* Rotary pairs are halves in the folder; the program has neighbours. */
const struct rz_hf_spec rz_hf_qkv_rope[] = {
    {L("self_attn.q_proj.weight", "attn_q.weight"), RZ_HF_ROPE_Q, 0, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), RZ_HF_ROPE_K, 0, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), 0, 0, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("self_attn.q_proj.bias", "attn_q.bias"), RZ_HF_ROPE_Q, RZ_HF_BIAS, 0},
    {L("self_attn.k_proj.bias", "attn_k.bias"), RZ_HF_ROPE_K, RZ_HF_BIAS, 0},
    {L("self_attn.v_proj.bias", "attn_v.bias"), 0, RZ_HF_BIAS, 0},
    {L("self_attn.o_proj.bias", "attn_output.bias"), 0, RZ_HF_OUT_BIAS, 0},
    END,
};

const struct rz_hf_spec rz_hf_qk_norm[] = {
    {L("self_attn.q_norm.weight", "attn_q_norm.weight"), 0, RZ_HF_QK_NORM, 0},
    {L("self_attn.k_norm.weight", "attn_k_norm.weight"), 0, RZ_HF_QK_NORM, 0},
    END,
};

const struct rz_hf_spec rz_hf_glu[] = {
    {L("mlp.gate_proj.weight", "ffn_gate.weight"), 0, 0, 0},
    {L("mlp.up_proj.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.down_proj.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.gate_proj.bias", "ffn_gate.bias"), 0, RZ_HF_MLP_BIAS, 0},
    {L("mlp.up_proj.bias", "ffn_up.bias"), 0, RZ_HF_MLP_BIAS, 0},
    {L("mlp.down_proj.bias", "ffn_down.bias"), 0, RZ_HF_MLP_BIAS, 0},
    END,
};

const struct rz_hf_spec rz_hf_glu_fused[] = {
    {L("mlp.gate_up_proj.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.down_proj.weight", "ffn_down.weight"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_up_down[] = {
    {L("mlp.up_proj.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.down_proj.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.up_proj.bias", "ffn_up.bias"), 0, RZ_HF_MLP_BIAS, 0},
    {L("mlp.down_proj.bias", "ffn_down.bias"), 0, RZ_HF_MLP_BIAS, 0},
    END,
};

/* --- where the norms are --- */

const struct rz_hf_spec rz_hf_norms[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norms_plus[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("post_attention_layernorm.weight", "ffn_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norm_biases[] = {
    {"model.norm.bias", "output_norm.bias", 0, 0, 0},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, 0},
    {L("post_attention_layernorm.bias", "ffn_norm.bias"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norms_apertus[] = {
    {L("attention_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("feedforward_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_xielu[] = {
    {"model.layers.%u.mlp.act_fn.alpha_p", "xielu.alpha_p", RZ_HF_NUMBER, 0, 0},
    {"model.layers.%u.mlp.act_fn.alpha_n", "xielu.alpha_n", RZ_HF_NUMBER, 0, 0},
    {"model.layers.%u.mlp.act_fn.beta", "xielu.beta", RZ_HF_NUMBER, 0, 0},
    {"model.layers.%u.mlp.act_fn.eps", "xielu.eps", RZ_HF_NUMBER, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norms_after[] = {
    {L("post_attention_layernorm.weight", "post_attention_norm.weight"), 0, 0, 0},
    {L("post_feedforward_layernorm.weight", "post_ffw_norm.weight"), 0, 0, 0},
    END,
};

/* The norm before the feed-forward half under the name of one after attention. */
const struct rz_hf_spec rz_hf_norms_seed[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "post_attention_norm.weight"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norms_glm4[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("post_self_attn_layernorm.weight", "post_attention_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("post_mlp_layernorm.weight", "post_ffw_norm.weight"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norms_gemma2[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("post_attention_layernorm.weight", "post_attention_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("pre_feedforward_layernorm.weight", "ffn_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("post_feedforward_layernorm.weight", "post_ffw_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_norm_cohere[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_qk_norm_gemma[] = {
    {L("self_attn.q_norm.weight", "attn_q_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    {L("self_attn.k_norm.weight", "attn_k_norm.weight"), RZ_HF_PLUS_ONE, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_qk_norm_hunyuan[] = {
    {L("self_attn.query_layernorm.weight", "attn_q_norm.weight"), 0, 0, 0},
    {L("self_attn.key_layernorm.weight", "attn_k_norm.weight"), 0, 0, 0},
    END,
};

/* --- families with names of their own --- */

/* The 12B model has both halves behind one norm, and one norm for each head of q and k. */
const struct rz_hf_spec rz_hf_stablelm[] = {
    {"model.norm.bias", "output_norm.bias", 0, 0, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "ffn_norm.weight"), 0, RZ_HF_TWO_NORMS, 0},
    {L("post_attention_layernorm.bias", "ffn_norm.bias"), 0, RZ_HF_TWO_NORMS, 0},
    {L("self_attn.q_layernorm.norms.%u.weight", "attn_q_norm.weight"), RZ_HF_STACK_Q, RZ_HF_QK_NORM, 0},
    {L("self_attn.k_layernorm.norms.%u.weight", "attn_k_norm.weight"), RZ_HF_STACK_K, RZ_HF_QK_NORM, 0},
    END,
};

const struct rz_hf_spec rz_hf_starcoder2[] = {
    {L("mlp.c_fc.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.c_proj.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.c_fc.bias", "ffn_up.bias"), 0, RZ_HF_MLP_BIAS, 0},
    {L("mlp.c_proj.bias", "ffn_down.bias"), 0, RZ_HF_MLP_BIAS, 0},
    END,
};

const struct rz_hf_spec rz_hf_olmo[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    END,
};

const struct rz_hf_spec rz_hf_phi[] = {
    {"model.embed_tokens.weight", "token_embd.weight", 0, 0, 0},
    {"model.final_layernorm.weight", "output_norm.weight", 0, 0, 0},
    {"model.final_layernorm.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, 0, 0},
    {"lm_head.bias", "output.bias", 0, 0, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, 0},
    {L("self_attn.q_proj.weight", "attn_q.weight"), 0, 0, 0},
    {L("self_attn.q_proj.bias", "attn_q.bias"), 0, 0, 0},
    {L("self_attn.k_proj.weight", "attn_k.weight"), 0, 0, 0},
    {L("self_attn.k_proj.bias", "attn_k.bias"), 0, 0, 0},
    {L("self_attn.v_proj.weight", "attn_v.weight"), 0, 0, 0},
    {L("self_attn.v_proj.bias", "attn_v.bias"), 0, 0, 0},
    {L("self_attn.dense.weight", "attn_output.weight"), 0, 0, 0},
    {L("self_attn.dense.bias", "attn_output.bias"), 0, 0, 0},
    {L("mlp.fc1.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.fc1.bias", "ffn_up.bias"), 0, 0, 0},
    {L("mlp.fc2.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.fc2.bias", "ffn_down.bias"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_phi3[] = {
    {L("self_attn.qkv_proj.weight", "attn_qkv.weight"), 0, 0, 0},
    {L("self_attn.o_proj.weight", "attn_output.weight"), 0, 0, 0},
    END,
};

#undef L
#define L(stored, name) "transformer.h.%u." stored, "blk.%u." name

/* Its linear layers are stored as [in, out]. */
const struct rz_hf_spec rz_hf_gpt2[] = {
    {"transformer.wte.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.wpe.weight", "position_embd.weight", 0, 0, 0},
    {"transformer.ln_f.weight", "output_norm.weight", 0, 0, 0},
    {"transformer.ln_f.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("ln_1.weight", "attn_norm.weight"), 0, 0, 0},
    {L("ln_1.bias", "attn_norm.bias"), 0, 0, 0},
    {L("attn.c_attn.weight", "attn_qkv.weight"), RZ_HF_TRANSPOSE, 0, 0},
    {L("attn.c_attn.bias", "attn_qkv.bias"), 0, 0, 0},
    {L("attn.c_proj.weight", "attn_output.weight"), RZ_HF_TRANSPOSE, 0, 0},
    {L("attn.c_proj.bias", "attn_output.bias"), 0, 0, 0},
    {L("ln_2.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("ln_2.bias", "ffn_norm.bias"), 0, 0, 0},
    {L("mlp.c_fc.weight", "ffn_up.weight"), RZ_HF_TRANSPOSE, 0, 0},
    {L("mlp.c_fc.bias", "ffn_up.bias"), 0, 0, 0},
    {L("mlp.c_proj.weight", "ffn_down.weight"), RZ_HF_TRANSPOSE, 0, 0},
    {L("mlp.c_proj.bias", "ffn_down.bias"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_bigcode[] = {
    {"transformer.wte.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.wpe.weight", "position_embd.weight", 0, 0, 0},
    {"transformer.ln_f.weight", "output_norm.weight", 0, 0, 0},
    {"transformer.ln_f.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("ln_1.weight", "attn_norm.weight"), 0, 0, 0},
    {L("ln_1.bias", "attn_norm.bias"), 0, 0, 0},
    {L("attn.c_attn.weight", "attn_qkv.weight"), RZ_HF_QKV, 0, 0},
    {L("attn.c_attn.bias", "attn_qkv.bias"), RZ_HF_QKV, 0, 0},
    {L("attn.c_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("attn.c_proj.bias", "attn_output.bias"), 0, 0, 0},
    {L("ln_2.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("ln_2.bias", "ffn_norm.bias"), 0, 0, 0},
    {L("mlp.c_fc.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.c_fc.bias", "ffn_up.bias"), 0, 0, 0},
    {L("mlp.c_proj.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.c_proj.bias", "ffn_down.bias"), 0, 0, 0},
    END,
};

const struct rz_hf_spec rz_hf_bloom[] = {
    {"transformer.word_embeddings.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.word_embeddings_layernorm.weight", "token_embd_norm.weight", 0, 0, 0},
    {"transformer.word_embeddings_layernorm.bias", "token_embd_norm.bias", 0, 0, 0},
    {"transformer.ln_f.weight", "output_norm.weight", 0, 0, 0},
    {"transformer.ln_f.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, 0},
    {L("self_attention.query_key_value.weight", "attn_qkv.weight"), RZ_HF_QKV, 0, 0},
    {L("self_attention.query_key_value.bias", "attn_qkv.bias"), RZ_HF_QKV, 0, 0},
    {L("self_attention.dense.weight", "attn_output.weight"), 0, 0, 0},
    {L("self_attention.dense.bias", "attn_output.bias"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.bias", "ffn_norm.bias"), 0, 0, 0},
    {L("mlp.dense_h_to_4h.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.dense_h_to_4h.bias", "ffn_up.bias"), 0, 0, 0},
    {L("mlp.dense_4h_to_h.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.dense_4h_to_h.bias", "ffn_down.bias"), 0, 0, 0},
    END,
};

/* 7B has one norm for both halves; 40B and above have one for each, and call that of attention the second. */
const struct rz_hf_spec rz_hf_falcon[] = {
    {"transformer.word_embeddings.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.ln_f.weight", "output_norm.weight", 0, 0, 0},
    {"transformer.ln_f.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, RZ_HF_TWO_NORMS},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, RZ_HF_TWO_NORMS},
    {L("ln_mlp.weight", "attn_norm.weight"), 0, RZ_HF_TWO_NORMS, 0},
    {L("ln_mlp.bias", "attn_norm.bias"), 0, RZ_HF_TWO_NORMS, 0},
    {L("ln_attn.weight", "attn_norm_2.weight"), 0, RZ_HF_TWO_NORMS, 0},
    {L("ln_attn.bias", "attn_norm_2.bias"), 0, RZ_HF_TWO_NORMS, 0},
    {L("self_attention.query_key_value.weight", "attn_qkv.weight"), RZ_HF_QKV, 0, 0},
    {L("self_attention.query_key_value.bias", "attn_qkv.bias"), RZ_HF_QKV, RZ_HF_BIAS, 0},
    {L("self_attention.dense.weight", "attn_output.weight"), 0, 0, 0},
    {L("self_attention.dense.bias", "attn_output.bias"), 0, RZ_HF_BIAS, 0},
    {L("mlp.dense_h_to_4h.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.dense_h_to_4h.bias", "ffn_up.bias"), 0, RZ_HF_BIAS, 0},
    {L("mlp.dense_4h_to_h.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.dense_4h_to_h.bias", "ffn_down.bias"), 0, RZ_HF_BIAS, 0},
    END,
};

#undef L
#define L(stored, name) "transformer.h.%u." stored, "blk.%u." name

const struct rz_hf_spec rz_hf_gptj[] = {
    {"transformer.wte.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.ln_f.weight", "output_norm.weight", 0, 0, 0},
    {"transformer.ln_f.bias", "output_norm.bias", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {"lm_head.bias", "output.bias", 0, RZ_HF_UNTIED, 0},
    {L("ln_1.weight", "attn_norm.weight"), 0, 0, 0},
    {L("ln_1.bias", "attn_norm.bias"), 0, 0, 0},
    {L("attn.q_proj.weight", "attn_q.weight"), 0, 0, 0},
    {L("attn.k_proj.weight", "attn_k.weight"), 0, 0, 0},
    {L("attn.v_proj.weight", "attn_v.weight"), 0, 0, 0},
    {L("attn.out_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("mlp.fc_in.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.fc_in.bias", "ffn_up.bias"), 0, 0, 0},
    {L("mlp.fc_out.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.fc_out.bias", "ffn_down.bias"), 0, 0, 0},
    END,
};

#undef L
#define L(stored, name) "gpt_neox.layers.%u." stored, "blk.%u." name

const struct rz_hf_spec rz_hf_neox[] = {
    {"gpt_neox.embed_in.weight", "token_embd.weight", 0, 0, 0},
    {"gpt_neox.final_layer_norm.weight", "output_norm.weight", 0, 0, 0},
    {"gpt_neox.final_layer_norm.bias", "output_norm.bias", 0, 0, 0},
    {"embed_out.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("input_layernorm.bias", "attn_norm.bias"), 0, 0, 0},
    {L("attention.query_key_value.weight", "attn_qkv.weight"), RZ_HF_QKV, 0, 0},
    {L("attention.query_key_value.bias", "attn_qkv.bias"), RZ_HF_QKV, RZ_HF_BIAS, 0},
    {L("attention.dense.weight", "attn_output.weight"), 0, 0, 0},
    {L("attention.dense.bias", "attn_output.bias"), 0, RZ_HF_BIAS, 0},
    {L("post_attention_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.bias", "ffn_norm.bias"), 0, 0, 0},
    {L("mlp.dense_h_to_4h.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.dense_h_to_4h.bias", "ffn_up.bias"), 0, 0, 0},
    {L("mlp.dense_4h_to_h.weight", "ffn_down.weight"), 0, 0, 0},
    {L("mlp.dense_4h_to_h.bias", "ffn_down.bias"), 0, 0, 0},
    END,
};

#undef L
#define L(stored, name) "transformer.blocks.%u." stored, "blk.%u." name

const struct rz_hf_spec rz_hf_mpt[] = {
    {"transformer.wte.weight", "token_embd.weight", 0, 0, 0},
    {"transformer.norm_f.weight", "output_norm.weight", 0, 0, 0},
    {"lm_head.weight", "output.weight", 0, RZ_HF_UNTIED, 0},
    {L("norm_1.weight", "attn_norm.weight"), 0, 0, 0},
    {L("attn.Wqkv.weight", "attn_qkv.weight"), 0, 0, 0},
    {L("attn.out_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("norm_2.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("ffn.up_proj.weight", "ffn_up.weight"), 0, 0, 0},
    {L("ffn.down_proj.weight", "ffn_down.weight"), 0, 0, 0},
    END,
};

/* gemma4.c - the row of Gemma 4: heads of two sizes, which config.json says a layer at a time, and what each
 * layer mixes in of the token. Experts, shared keys and values and wider feed-forward halves are refused.
 */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#define L(stored, name) "model.layers.%u." stored, "blk.%u." name

static const struct rz_hf_key keys[] = {
    {"final_logit_softcapping", RZ_HF_KEY_PUT, "final_logit_softcapping", 0, 0, 0},
    MUST("attention_bias", 0),
    MUST("attention_k_eq_v", 0),
    MUST("num_kv_shared_layers", 0),
    MUST("enable_moe_block", 0),
    MUST("use_double_wide_mlp", 0),
    END_KEYS,
};

static const struct rz_hf_spec norms[] = {
    {L("input_layernorm.weight", "attn_norm.weight"), 0, 0, 0},
    {L("post_attention_layernorm.weight", "post_attention_norm.weight"), 0, 0, 0},
    {L("pre_feedforward_layernorm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("post_feedforward_layernorm.weight", "post_ffw_norm.weight"), 0, 0, 0},
    {L("layer_scalar", "layer_output_scale.weight"), 0, 0, 0},
    END,
};

static const struct rz_hf_spec inputs[] = {
    {"model.embed_tokens_per_layer.weight", "per_layer_token_embd.weight", 0, RZ_HF_PER_LAYER, 0},
    {"model.per_layer_model_projection.weight", "per_layer_model_proj.weight", 0, RZ_HF_PER_LAYER, 0},
    {"model.per_layer_projection_norm.weight", "per_layer_proj_norm.weight", 0, RZ_HF_PER_LAYER, 0},
    {L("per_layer_input_gate.weight", "inp_gate.weight"), 0, RZ_HF_PER_LAYER, 0},
    {L("per_layer_projection.weight", "proj.weight"), 0, RZ_HF_PER_LAYER, 0},
    {L("post_per_layer_input_norm.weight", "post_norm.weight"), 0, RZ_HF_PER_LAYER, 0},
    END,
};

/* The last layer is always full; the others are as layer_types says, or five of six have a window. */
static bool is_full(const struct rz_hf_model *m, uint32_t layer)
{
    const char *type = json_string_value(json_array_get(rz_hf_get(m, "layer_types"), layer));
    return type ? !strcmp(type, "full_attention") : (layer + 1) % 6 == 0;
}

/* What the key of one layer may say: the size of a full layer's heads, the same in all of them. */
static bool read_layer(const struct rz_hf_model *m, const char *key, json_t *values, uint32_t *dim,
                       uint32_t *n)
{
    char *end;
    unsigned long layer = strtoul(key, &end, 10);
    const json_t *one = json_object_get(values, "head_dim");
    if (*end || !*key || layer >= m->c.n_layer || !is_full(m, (uint32_t)layer) ||
        json_object_size(values) != 1 || !json_is_integer(one) || json_integer_value(one) < 1 ||
        json_integer_value(one) > 65536)
        return false;
    bool same = !*n || *dim == (uint32_t)json_integer_value(one);
    *dim = (uint32_t)json_integer_value(one);
    ++*n;
    return same;
}

/* Heads of the layers without a window. */
static uint32_t full_dim(struct rz_hf_model *m)
{
    const char *key;
    json_t *values, *layers = json_object_get(m->config, "per_layer_config");
    uint32_t dim = m->c.head_dim, n = 0, full = 0;
    if (!json_is_object(layers))
        return rz_hf_count(m, "global_head_dim", false, 512);
    json_object_foreach(layers, key, values)
    {
        if (!read_layer(m, key, values, &dim, &n)) {
            rz_hf_refuse(m, "per_layer_config");
            return dim;
        }
    }
    for (uint32_t i = 0; i < m->c.n_layer; i++)
        full += is_full(m, i);
    if (n && n != full)
        rz_hf_refuse(m, "per_layer_config");
    return dim;
}

static void adjust(struct rz_hf_model *m)
{
    struct rz_hf_config *c = &m->c;
    uint32_t dim = full_dim(m);
    double width =
        rz_hf_number(m, m->config, "config.json", "hidden_size_per_layer_input", false, 256, 0, 65536);
    rz_hf_put_number(m, "attention.key_length_swa", c->head_dim);
    rz_hf_put_number(m, "attention.value_length_swa", c->head_dim);
    rz_hf_put_number(m, "rope.dimension_count_swa", c->head_dim);
    rz_hf_put_number(m, "embedding_length_per_layer_input", (uint32_t)width);
    c->head_dim = dim;
    c->has |= RZ_HF_QK_NORM | (width > 0 ? RZ_HF_PER_LAYER : 0);
}

const struct rz_hf_family rz_hf_gemma4[] = {
    {"gemma4_text",
     "gemma4",
     {rz_hf_ends, rz_hf_qkv, rz_hf_qk_norm, rz_hf_glu, norms, inputs},
     keys,
     adjust,
     .act = RZ_HF_GELU_TANH,
     .window = RZ_HF_WINDOW_KEY,
     .every = 6,
     .tied = true,
     .local_rope = true,
     .eps = 1e-6,
     .theta = 1e6},
    {.model_type = NULL},
};

/* family_gemma4.c - Gemma 4, text: as Gemma 3 with heads of another size in the layers without a window, a
 * norm of v, scores that are not scaled, a factor a layer, and a short vector of the token and its embedding
 * that each layer mixes in after its halves. Google 2026. */
#include "model.h"

#include <math.h>

/* The vectors of all layers beside each other: half looked up by token, half projected from the embedding. */
static int32_t layer_inputs(struct rz_builder *b, int32_t x)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    uint64_t width = (uint64_t)h->embd_per_layer * h->n_layer;
    int32_t token = rz_build_lookup(b, width, "per_layer_token_embd");
    token = rz_build_map(b, -1, token, &(struct rz_map_options){.factor = sqrt(h->embd_per_layer)});
    int32_t p = rz_build_product(b, -1, x, width, "per_layer_model_proj");
    p = rz_build_map(b, -1, p, &(struct rz_map_options){.factor = 1 / sqrt(h->n_embd)});
    p = rz_build_norm_parts(b, -1, p, h->n_layer, "per_layer_proj_norm");
    return rz_build_map(b, -1, rz_build_add(b, -1, p, token), &(struct rz_map_options){.factor = sqrt(0.5)});
}

/* x + norm(proj(gelu(gate(x)) * its layer's input)) */
static int32_t mix_in(struct rz_builder *b, uint32_t layer, int32_t x, int32_t inputs)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t l = (int32_t)layer;
    int32_t mine = rz_build_columns(b, l, inputs, (uint64_t)layer * h->embd_per_layer, h->embd_per_layer);
    int32_t gate = rz_build_product(b, l, x, h->embd_per_layer, "inp_gate");
    int32_t y = rz_build_gated(b, l, gate, mine, RZ_ACT_GELU_TANH);
    y = rz_build_norm(b, l, rz_build_product(b, l, y, h->n_embd, "proj"), RZ_NORM_RMS, "post_norm");
    return rz_build_add(b, l, x, y);
}

void rz_family_gemma4(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b);
    int32_t local = rz_build_rope_part(b, h->rope_base_swa > 0 ? h->rope_base_swa : 10000, h->rope_dim_swa);
    struct rz_attn_options attn = {.neox = true,
                                   .qk_norm = RZ_QK_HEAD,
                                   .v_norm = true,
                                   .v_may_be_k = true,
                                   .post = "post_attention_norm",
                                   .scale = 1};
    struct rz_ffn_options ffn = {.act = RZ_ACT_GELU_TANH, .post = "post_ffw_norm"};
    rz_build_refuse(b, "blk.0.ffn_gate_inp.weight", "experts");

    int32_t x = rz_build_embed(b);
    x = rz_build_map(b, -1, x, &(struct rz_map_options){.factor = sqrt(h->n_embd)});
    int32_t inputs = h->embd_per_layer ? layer_inputs(b, x) : -1;
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, (layer + 1) % 6);
        attn.rope = attn.window ? local : rope;
        attn.head_dim = attn.window ? h->head_dim_swa : h->head_dim;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
        if (h->embd_per_layer)
            x = mix_in(b, layer, x, inputs);
        double factor = rz_build_scalar(b, 1, "blk.%u.layer_output_scale.weight", layer);
        x = rz_build_map(b, (int32_t)layer, x, &(struct rz_map_options){.factor = factor});
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS, .softcap = h->final_softcap});
}

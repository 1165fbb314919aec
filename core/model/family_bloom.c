/* family_bloom.c - BLOOM: a layer norm on the embeddings, ALiBi for positions, layer norms, tanh-gelu
 * without a gate, biases everywhere. Le Scao et al. 2022, arXiv:2211.05100. */
#include "model.h"

#define ALIBI_MOST 8 /* BLOOM fixes it; its files have no key */

void rz_family_bloom(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = -1, .optional_bias = true, .norm = RZ_NORM_LAYER, .alibi = ALIBI_MOST};
    struct rz_ffn_options ffn = {
        .norm = RZ_NORM_LAYER, .no_gate = true, .act = RZ_ACT_GELU_TANH, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    x = rz_build_norm(b, -1, x, RZ_NORM_LAYER, "token_embd_norm");
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

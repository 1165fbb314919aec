/* family_phi2.c - Phi-1 to Phi-2: both halves beside each other behind one layer norm, biases everywhere,
 * also at the head, rotary pairs of halves in a part of each head, tanh-gelu. Li et al. 2023,
 * arXiv:2309.05463. */
#include "model.h"

void rz_family_phi2(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .neox = true, .optional_bias = true};
    struct rz_ffn_options ffn = {.no_gate = true, .act = RZ_ACT_GELU_TANH, .optional_bias = true};
    attn.norm = RZ_NORM_LAYER;

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_parallel(b, layer, x, &attn, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

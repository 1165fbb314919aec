/* family_gpt2.c - GPT-2, and SantaCoder and StarCoder, which are the same with one key and value head:
 * layer norms, learned positions, tanh-gelu without a gate, biases everywhere. Radford et al. 2019; Li et
 * al. 2023, arXiv:2305.06161. */
#include "model.h"

void rz_family_gpt2(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = -1, .optional_bias = true, .norm = RZ_NORM_LAYER};
    struct rz_ffn_options ffn = {
        .norm = RZ_NORM_LAYER, .no_gate = true, .act = RZ_ACT_GELU_TANH, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    x = rz_build_positions(b, x);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

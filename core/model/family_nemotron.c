/* family_nemotron.c - Nemotron and Minitron: layer norms, rotary pairs of halves in a part of each head,
 * squared relu without a gate. arXiv:2402.16819. */
#include "model.h"

void rz_family_nemotron(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .norm = RZ_NORM_LAYER};
    struct rz_ffn_options ffn = {
        .norm = RZ_NORM_LAYER, .no_gate = true, .act = RZ_ACT_RELU2, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

/* family_phi3.c - Phi-3: as Llama, with rotary pairs of halves, fused tensors, and a window where the file
 * has one; LongRoPE in those made for long texts. Abdin et al. 2024, arXiv:2404.14219. */
#include "model.h"

void rz_family_phi3(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .window = rz_build_hparams(b)->window};
    struct rz_ffn_options ffn = {0};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

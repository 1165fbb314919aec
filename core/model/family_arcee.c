/* family_arcee.c - Arcee Foundation Models: as Llama, with a squared relu and no gate (So et al. 2021,
 * arXiv:2109.08668). */
#include "model.h"

void rz_family_arcee(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .optional_bias = true};
    struct rz_ffn_options ffn = {.no_gate = true, .act = RZ_ACT_RELU2, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_smollm3.c - SmolLM3: as Llama, with no positions at all in every fourth layer (NoPE,
 * arXiv:2501.18795). */
#include "model.h"

void rz_family_smollm3(struct rz_builder *b)
{
    int32_t rope = rz_build_rope(b);
    struct rz_attn_options attn = {.optional_bias = true};
    struct rz_ffn_options ffn = {.optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        attn.rope = layer % 4 == 3 ? -1 : rope;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

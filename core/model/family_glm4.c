/* family_glm4.c - GLM-4: norms before and after each half, rotary neighbours in a part of each head, gate
 * and up in one tensor. */
#include "model.h"

void rz_family_glm4(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .optional_bias = true, .post = "post_attention_norm"};
    struct rz_ffn_options ffn = {.post = "post_ffw_norm"};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

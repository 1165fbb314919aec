/* family_hunyuan.c - Hunyuan dense models: as Llama, rotary pairs of halves, and an RMS norm of each head
 * of q and k after rope. */
#include "model.h"

void rz_family_hunyuan(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b),
                                   .neox = true,
                                   .optional_bias = true,
                                   .qk_norm = RZ_QK_HEAD,
                                   .qk_norm_late = true};
    struct rz_ffn_options ffn = {0};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

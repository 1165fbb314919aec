/* family_falcon_h1.c - Falcon-H1: Mamba-2 and attention side by side in each layer, both of one norm, then a
 * SwiGLU. Its many multipliers are in the file's weights. Zuo et al. 2025, arXiv:2507.22448. */
#include "model.h"

void rz_family_falcon_h1(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .norm = RZ_NORM_NONE, .branch = true};
    struct rz_ssm_options ssm = {.norm = RZ_NORM_NONE, .branch = true};
    struct rz_ffn_options ffn = {.optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        int32_t l = (int32_t)layer, n = rz_build_norm(b, l, x, RZ_NORM_RMS, "attn_norm");
        int32_t m = rz_build_mamba2(b, layer, n, &ssm), a = rz_build_attn(b, layer, n, &attn);
        x = rz_build_add(b, l, x, rz_build_add(b, l, m, a));
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

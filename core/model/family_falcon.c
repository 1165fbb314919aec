/* family_falcon.c - Falcon: both halves beside each other, behind one layer norm (7B) or each behind its
 * own (40B and above), rotary pairs of halves, gelu without a gate. Almazrouei et al. 2023,
 * arXiv:2311.16867. */
#include "model.h"

void rz_family_falcon(struct rz_builder *b)
{
    bool two = rz_build_has(b, "blk.0.attn_norm_2.weight");
    struct rz_attn_options attn = {.rope = rz_build_rope(b),
                                   .neox = true,
                                   .optional_bias = true,
                                   .norm = RZ_NORM_LAYER,
                                   .pre = two ? "attn_norm_2" : NULL};
    struct rz_ffn_options ffn = {
        .pre = two ? "attn_norm" : NULL, .no_gate = true, .act = RZ_ACT_GELU, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_parallel(b, layer, x, &attn, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

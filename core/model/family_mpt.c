/* family_mpt.c - MPT: layer norms, ALiBi for positions, q, k and v clamped where the file says so, gelu
 * without a gate. MosaicML 2023. */
#include "model.h"

void rz_family_mpt(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {.rope = -1,
                                   .optional_bias = true,
                                   .norm = RZ_NORM_LAYER,
                                   .clamp = h->clamp_kqv,
                                   .alibi = h->max_alibi_bias};
    struct rz_ffn_options ffn = {
        .norm = RZ_NORM_LAYER, .no_gate = true, .act = RZ_ACT_GELU, .optional_bias = true};
    rz_build_refuse(b, "position_embd.weight", "learned positions");
    rz_build_refuse(b, "blk.0.attn_q_norm.weight", "norms of q and k");
    rz_build_refuse(b, "blk.0.ffn_act.scales", "scales of the activation");

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

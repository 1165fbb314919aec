/* family_nemotron_h.c - Nemotron-H: each layer is one half alone: Mamba-2, attention without positions, or a
 * squared relu without gate. Blakeman et al. 2025, arXiv:2504.03624. */
#include "model.h"

void rz_family_nemotron_h(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {.rope = -1, .optional_bias = true};
    struct rz_ffn_options ffn = {
        .pre = "attn_norm", .no_gate = true, .act = RZ_ACT_RELU2, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        if (rz_layer_in(h->feeds, layer))
            x = rz_build_ffn(b, layer, x, &ffn);
        else if (rz_layer_in(h->attends, layer))
            x = rz_build_attn(b, layer, x, &attn);
        else
            x = rz_build_mamba2(b, layer, x, &(struct rz_ssm_options){0});
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

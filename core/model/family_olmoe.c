/* family_olmoe.c - OLMoE: an RMS norm of the whole q and k rows, experts whose shares are not renormalised.
 * Muennighoff et al. 2024, arXiv:2409.02060. */
#include "model.h"

void rz_family_olmoe(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b),
                                   .neox = true,
                                   .clamp = rz_build_hparams(b)->clamp_kqv,
                                   .qk_norm = RZ_QK_ROW};
    struct rz_moe_options moe = {.route = RZ_ROUTE_SOFTMAX};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

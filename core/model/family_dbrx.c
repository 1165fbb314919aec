/* family_dbrx.c - DBRX: layer norms, clamped q, k and v from one tensor, experts whose shares are
 * renormalised. */
#include "model.h"

void rz_family_dbrx(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b),
                                   .neox = true,
                                   .norm = RZ_NORM_LAYER,
                                   .clamp = rz_build_hparams(b)->clamp_kqv};
    struct rz_moe_options moe = {.half = {.norm = RZ_NORM_LAYER, .pre = "attn_output_norm"},
                                 .route = RZ_ROUTE_SOFTMAX,
                                 .renorm = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

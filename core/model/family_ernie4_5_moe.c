/* family_ernie4_5_moe.c - ERNIE 4.5 MoE: as Llama; experts chosen with a bias, renormalised, beside a shared
 * expert. */
#include "model.h"

void rz_family_ernie4_5_moe(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .optional_bias = true};
    struct rz_moe_options moe = {.half = {.optional_bias = true}, .route = RZ_ROUTE_SOFTMAX, .renorm = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

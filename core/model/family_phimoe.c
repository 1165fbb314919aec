/* family_phimoe.c - Phi-3.5 MoE: layer norms with biases, two experts by the sparse mixer, the long rope of
 * Phi-3. Abdin et al. 2024, arXiv:2404.14219. */
#include "model.h"

#define NEAR 0.01 /* router_jitter_noise of the published models: no file says it */

void rz_family_phimoe(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b),
                                   .neox = true,
                                   .optional_bias = true,
                                   .norm = RZ_NORM_LAYER,
                                   .window = rz_build_hparams(b)->window};
    struct rz_moe_options moe = {
        .half = {.norm = RZ_NORM_LAYER}, .route = RZ_ROUTE_SPARSE_MIXER, .near = NEAR};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

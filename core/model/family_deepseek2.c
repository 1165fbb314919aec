/* family_deepseek2.c - DeepSeek V2 and V3: latent attention, leading dense layers, experts chosen by groups
 * beside shared experts. The file says which routing: V2 softmax, V3 sigmoid with a bias of the choice.
 * arXiv:2405.04434, 2412.19437. */
#include "model.h"

void rz_family_deepseek2(struct rz_builder *b)
{
    int32_t rope = rz_build_rope(b);
    struct rz_moe_options moe = {.route = RZ_ROUTE_SOFTMAX, .renorm_plus = 1e-20};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_latent_attn(b, layer, x, rope);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_qwen2moe.c - Qwen 1.5 and 2 MoE: as Qwen2, with experts and a shared expert behind a gate; the
 * chosen shares are not renormalised. Yang et al. 2024, arXiv:2407.10671. */
#include "model.h"

void rz_family_qwen2moe(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .neox = true, .qkv_bias = true};
    struct rz_moe_options moe = {.route = RZ_ROUTE_SOFTMAX};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

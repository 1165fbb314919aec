/* family_qwen3moe.c - Qwen3 MoE: as Qwen3, with experts whose shares are renormalised. Yang et al. 2025,
 * arXiv:2505.09388. */
#include "model.h"

void rz_family_qwen3moe(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .qk_norm = RZ_QK_HEAD};
    struct rz_moe_options moe = {.route = RZ_ROUTE_SOFTMAX, .renorm = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_glm4moe.c - GLM-4.5: rotary pairs of halves in a part of each head, in some sizes an RMS norm of
 * each head of q and k; sigmoid routing with a bias of the choice, and a shared expert. arXiv:2508.06471. */
#include "model.h"

void rz_family_glm4moe(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .neox = true, .optional_bias = true};
    struct rz_moe_options moe = {.half = {.pre = "post_attention_norm"},
                                 .route = RZ_ROUTE_SIGMOID,
                                 .renorm = true,
                                 .renorm_plus = 1e-20};
    if (rz_build_has(b, "blk.0.attn_q_norm.weight"))
        attn.qk_norm = RZ_QK_HEAD;

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_lfm2.c - LFM2 and LFM2 MoE: gated short convolutions, and attention with norms of q and k in some
 * layers; a SwiGLU in each, or experts chosen with a bias. Liquid AI 2025. */
#include "model.h"

void rz_family_lfm2(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .neox = true, .qk_norm = RZ_QK_HEAD};
    struct rz_moe_options moe = {.route = RZ_ROUTE_SIGMOID, .renorm = true, .renorm_plus = 1e-6};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        x = rz_layer_in(h->attends, layer) ? rz_build_attn(b, layer, x, &attn)
                                           : rz_build_short_conv(b, layer, x, &(struct rz_ssm_options){0});
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS, .name = "token_embd_norm"});
}

/* family_jamba.c - Jamba: Mamba (with norms of dt, B and C) in most layers, attention without positions in
 * the others; a SwiGLU in each, or experts. Lieber et al. 2024, arXiv:2403.19887. */
#include "model.h"

void rz_family_jamba(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {.rope = -1};
    struct rz_moe_options moe = {.route = RZ_ROUTE_SOFTMAX};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        x = rz_layer_in(h->attends, layer) ? rz_build_attn(b, layer, x, &attn)
                                           : rz_build_mamba(b, layer, x, &(struct rz_ssm_options){0});
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_granite.c - Granite 3, dense and with experts: as Llama, with four multipliers (embedding, scores,
 * residual, and a divisor of the logits). Granite team 2024. */
#include "model.h"

void rz_family_granite(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {.rope = rz_build_rope(b),
                                   .optional_bias = true,
                                   .scale = h->attn_scale,
                                   .residual = h->residual_scale};
    struct rz_moe_options moe = {.half = {.optional_bias = true, .residual = h->residual_scale},
                                 .route = RZ_ROUTE_SOFTMAX_CHOSEN};

    int32_t x = rz_build_embed(b);
    x = rz_build_map(b, -1, x, &(struct rz_map_options){.factor = h->embed_scale});
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS, .factor = 1 / h->logit_scale});
}

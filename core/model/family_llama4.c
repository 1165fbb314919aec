/* family_llama4.c - Llama 4: chunked attention with rotary positions in three of four layers; the fourth sees
 * everything, without positions, and its queries grow with theirs. The experts' input is scaled, not their
 * result. */
#include "model.h"

#define EVERY 4 /* each of these layers has no chunks and no positions */

void rz_family_llama4(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b);
    struct rz_attn_options attn = {.optional_bias = true, .qk_norm_late = true};
    struct rz_moe_options moe = {.route = RZ_ROUTE_SIGMOID, .scale_input = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        bool all = (layer + 1) % EVERY == 0;
        attn.rope = all ? -1 : rope;
        attn.chunk = all ? 0 : h->chunk ? h->chunk : 8192;
        attn.qk_norm = all || h->n_expert == 128 ? RZ_QK_NONE : RZ_QK_PLAIN;
        attn.temperature_step = !all ? 0 : h->temperature_step ? h->temperature_step : 8192;
        attn.temperature_scale = h->temperature_scale > 0 ? h->temperature_scale : 0.1;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

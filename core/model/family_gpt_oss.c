/* family_gpt_oss.c - gpt-oss: attention with a score of each head that has no value, a window in every other
 * layer, biases everywhere, experts with a clamped SwiGLU. OpenAI 2025, arXiv:2508.10925. */
#include "model.h"

void rz_family_gpt_oss(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .sinks = true};
    struct rz_moe_options moe = {.half = {.pre = "post_attention_norm", .act = RZ_ACT_SWIGLU},
                                 .route = RZ_ROUTE_SOFTMAX_CHOSEN};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, layer % 2 == 0);
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

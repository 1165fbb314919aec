/* family_llama.c - Llama and its relatives (Mistral, Mixtral, SmolLM2, TinyLlama): RMS norm before each half,
 * rotary pairs of neighbours, grouped-query attention, SwiGLU. Touvron et al. 2023, arXiv:2302.13971;
 * grouped queries arXiv:2305.13245, experts arXiv:2401.04088. */
#include "model.h"

void rz_family_llama(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .optional_bias = true, .window = rz_build_hparams(b)->window};
    struct rz_moe_options moe = {.half = {.optional_bias = true}, .route = RZ_ROUTE_SOFTMAX, .renorm = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

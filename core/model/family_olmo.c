/* family_olmo.c - OLMo: layer norms without weights, q, k and v clamped where the file says so. Groeneveld
 * et al. 2024, arXiv:2402.00838. */
#include "model.h"

void rz_family_olmo(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .norm = RZ_NORM_PLAIN, .clamp = rz_build_hparams(b)->clamp_kqv};
    struct rz_ffn_options ffn = {.norm = RZ_NORM_PLAIN};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_PLAIN});
}

/* family_gptneox.c - GPT-NeoX and Pythia: layer norms, rotary pairs of halves in a part of each head, gelu
 * without a gate, biases; both halves beside each other, each behind its norm, or in sequence. Black et
 * al. 2022, arXiv:2204.06745. */
#include "model.h"

void rz_family_gptneox(struct rz_builder *b)
{
    bool parallel = rz_build_hparams(b)->set & RZ_H_PARALLEL;
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .norm = RZ_NORM_LAYER};
    struct rz_ffn_options ffn = {.norm = RZ_NORM_LAYER,
                                 .pre = parallel ? "ffn_norm" : NULL,
                                 .no_gate = true,
                                 .act = RZ_ACT_GELU,
                                 .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        if (parallel) {
            x = rz_build_parallel(b, layer, x, &attn, &ffn);
            continue;
        }
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

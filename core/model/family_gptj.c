/* family_gptj.c - GPT-J: both halves beside each other behind one layer norm, rotary neighbours in a part of
 * each head, tanh-gelu without a gate, biases in the feed-forward half and the head. Wang and Komatsuzaki
 * 2021. */
#include "model.h"

void rz_family_gptj(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .optional_bias = true, .norm = RZ_NORM_LAYER};
    struct rz_ffn_options ffn = {.no_gate = true, .act = RZ_ACT_GELU_TANH, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++)
        x = rz_build_parallel(b, layer, x, &attn, &ffn);
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER});
}

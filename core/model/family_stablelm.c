/* family_stablelm.c - StableLM 2: layer norms, rotary pairs of halves in a part of each head, SwiGLU; the
 * 12B model has both halves beside each other behind one norm, and a layer norm of each head of q and k. */
#include "model.h"

void rz_family_stablelm(struct rz_builder *b)
{
    bool parallel = rz_build_hparams(b)->set & RZ_H_PARALLEL;
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .norm = RZ_NORM_LAYER};
    struct rz_ffn_options ffn = {.norm = RZ_NORM_LAYER};
    if (rz_build_has(b, "blk.0.attn_q_norm.weight"))
        attn.qk_norm = RZ_QK_LAYER;

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

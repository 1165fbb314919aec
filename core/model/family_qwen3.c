/* family_qwen3.c - Qwen3: as Qwen2 without biases, with an RMS norm of each head of q and k before rope.
 * Yang et al. 2025, arXiv:2505.09388. */
#include "model.h"

void rz_family_qwen3(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .neox = true, .qk_norm = RZ_QK_HEAD};
    struct rz_ffn_options ffn = {0};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, true);
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_exaone4.c - EXAONE 4: norms after each half and none before, an RMS norm of each head of q and k;
 * where layers have a window, those without it have no positions. LG AI Research 2025, arXiv:2507.11407. */
#include "model.h"

void rz_family_exaone4(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b);
    struct rz_attn_options attn = {
        .neox = true, .norm = RZ_NORM_NONE, .post = "post_attention_norm", .qk_norm = RZ_QK_HEAD};
    struct rz_ffn_options ffn = {.norm = RZ_NORM_NONE, .post = "post_ffw_norm"};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, layer % 4 != 3);
        attn.rope = h->window && !attn.window ? -1 : rope;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

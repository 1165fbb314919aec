/* family_modernbert.c - ModernBERT: an encoder with layer norms without bias before each half (but not before
 * the first), a gelu gate, and full attention in every third layer; the others see a window around each
 * position and have a rope of their own. Warner et al. 2024, arXiv:2412.13663. */
#include "model.h"

void rz_family_modernbert(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b), local = rope;
    struct rz_attn_options attn = {.neox = true, .both = true, .optional_bias = true};
    struct rz_ffn_options ffn = {
        .norm = RZ_NORM_LAYER, .act = h->set & RZ_H_ACT ? h->act : RZ_ACT_GELU, .optional_bias = true};
    uint32_t every = h->window_every ? h->window_every : 3;
    if (h->window)
        local = rz_build_rope_plain(b, h->rope_base_swa > 0 ? h->rope_base_swa : h->rope_base);

    int32_t x = rz_build_embed(b);
    x = rz_build_norm(b, -1, x, RZ_NORM_LAYER, "token_embd_norm");
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        bool near = h->window && layer % every;
        attn.window = near ? h->window / 2 + 1 : 0; /* of both sides together in the file */
        attn.rope = near ? local : rope;
        attn.norm = layer ? RZ_NORM_LAYER : RZ_NORM_NONE;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_hidden(b, x, RZ_NORM_LAYER);
}

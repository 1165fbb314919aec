/* family_olmo2.c - OLMo 2 and 3: norms after each half and none before, an RMS norm of the whole q and k
 * rows; OLMo 3 adds a window in some layers, whose rope is not scaled. arXiv:2501.00656. */
#include "model.h"

void rz_family_olmo2(struct rz_builder *b)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b), local = rope;
    struct rz_attn_options attn = {
        .neox = true, .norm = RZ_NORM_NONE, .post = "post_attention_norm", .qk_norm = RZ_QK_ROW};
    struct rz_ffn_options ffn = {.norm = RZ_NORM_NONE, .post = "post_ffw_norm"};
    if (h->window)
        local = rz_build_rope_plain(b, h->rope_base_swa > 0 ? h->rope_base_swa : h->rope_base);

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, layer % 4 != 3);
        attn.rope = attn.window ? local : rope;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

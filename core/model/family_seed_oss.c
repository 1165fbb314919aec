/* family_seed_oss.c - Seed-OSS: as Qwen2, with heads of their own width; the norm before the feed-forward
 * half is stored as post_attention_norm. */
#include "model.h"

void rz_family_seed_oss(struct rz_builder *b)
{
    struct rz_attn_options attn = {.rope = rz_build_rope(b), .neox = true, .optional_bias = true};
    struct rz_ffn_options ffn = {.pre = "post_attention_norm"};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

/* family_cohere.c - Command R and Command R7B: both halves beside each other behind one layer norm, rotary
 * neighbours, a factor on the logits. Command R+ norms each head of q and k; Command R7B has a window in
 * three of four layers, and positions in those alone. */
#include "model.h"

static void build(struct rz_builder *b, uint32_t every)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b);
    struct rz_attn_options attn = {.rope = rope, .optional_bias = true, .norm = RZ_NORM_LAYER};
    struct rz_ffn_options ffn = {0};
    if (rz_build_has(b, "blk.0.attn_q_norm.weight"))
        attn.qk_norm = RZ_QK_LAYER;

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, every && (layer + 1) % every);
        attn.rope = every && !attn.window ? -1 : rope;
        x = rz_build_parallel(b, layer, x, &attn, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_LAYER, .factor = h->logit_scale});
}

void rz_family_command_r(struct rz_builder *b)
{
    build(b, 0);
}

void rz_family_cohere2(struct rz_builder *b)
{
    build(b, 4);
}

/* family_qwen3next.c - Qwen3-Next and Qwen3.5 (as text models): gated delta nets in most layers, gated
 * attention with norms of q and k in the others; experts beside a gated shared one, or a SwiGLU. Qwen team
 * 2025; the delta rule: Yang et al. 2024, arXiv:2412.06464. */
#include "model.h"

static void build(struct rz_builder *b, bool striped)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .qk_norm = RZ_QK_HEAD, .gated = true};
    struct rz_ssm_options ssm = {.striped = striped};
    struct rz_moe_options moe = {
        .half = {.pre = "post_attention_norm"}, .route = RZ_ROUTE_SOFTMAX, .renorm = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        x = rz_layer_in(h->attends, layer) ? rz_build_attn(b, layer, x, &attn)
                                           : rz_build_delta(b, layer, x, &ssm);
        x = rz_build_moe(b, layer, x, &moe);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

void rz_family_qwen3next(struct rz_builder *b)
{
    build(b, false);
}

/* Its files have the value heads in another order than Qwen3-Next's. */
void rz_family_qwen35(struct rz_builder *b)
{
    build(b, true);
}

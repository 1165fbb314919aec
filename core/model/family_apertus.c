/* family_apertus.c - Apertus: as Llama, with xIELU and no gate, an RMS norm of each head of q and k, rotary
 * pairs of halves. Swiss AI 2025, arXiv:2509.14233. */
#include "model.h"

void rz_family_apertus(struct rz_builder *b)
{
    struct rz_attn_options attn = {
        .rope = rz_build_rope(b), .neox = true, .optional_bias = true, .qk_norm = RZ_QK_HEAD};
    struct rz_ffn_options ffn = {.no_gate = true, .act = RZ_ACT_XIELU, .optional_bias = true};

    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        ffn.xielu = (struct rz_xielu){.alpha_p = rz_build_number(b, layer, "xielu.alpha_p"),
                                      .alpha_n = rz_build_number(b, layer, "xielu.alpha_n"),
                                      .beta = rz_build_number(b, layer, "xielu.beta"),
                                      .eps = rz_build_number(b, layer, "xielu.eps")};
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

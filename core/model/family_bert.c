/* family_bert.c - BERT, RoBERTa and Nomic BERT: encoders with layer norms after each half. BERT adds learned
 * positions and has a gelu; RoBERTa is the same with positions that begin behind the padding's, which its
 * files' tables leave out; Nomic BERT rotates halves and has a SwiGLU. Devlin et al. 2018, arXiv:1810.04805;
 * Liu et al. 2019, arXiv:1907.11692; Nussbaum et al. 2024, arXiv:2402.01613. */
#include "model.h"

void rz_family_bert(struct rz_builder *b)
{
    bool learned = rz_build_has(b, "position_embd.weight"), gate = rz_build_has(b, "blk.0.ffn_gate.weight");
    struct rz_attn_options attn = {.rope = learned ? -1 : rz_build_rope(b),
                                   .neox = true,
                                   .both = true,
                                   .optional_bias = true,
                                   .norm = RZ_NORM_NONE};
    struct rz_ffn_options ffn = {.norm = RZ_NORM_NONE,
                                 .no_gate = !gate,
                                 .act = gate ? RZ_ACT_SILU : RZ_ACT_GELU,
                                 .optional_bias = true};
    rz_build_refuse(b, "blk.0.attn_q_norm.weight", "norms of q and k");
    rz_build_refuse(b, "blk.0.ffn_gate_inp.weight", "experts");

    int32_t x = rz_build_token_type(b, rz_build_embed(b));
    if (learned)
        x = rz_build_positions(b, x);
    x = rz_build_norm(b, -1, x, RZ_NORM_LAYER, "token_embd_norm");
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++) {
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_norm(b, (int32_t)layer, x, RZ_NORM_LAYER, "attn_output_norm");
        x = rz_build_ffn(b, layer, x, &ffn);
        x = rz_build_norm(b, (int32_t)layer, x, RZ_NORM_LAYER, "layer_output_norm");
    }
    rz_build_hidden(b, x, RZ_NORM_NONE);
}

/* family_mamba.c - Mamba, Falcon Mamba (norms of dt, B and C) and Mamba-2: each layer is one recurrent half.
 * Gu and Dao 2023, arXiv:2312.00752; Zuo et al. 2024, arXiv:2410.05355; Dao and Gu 2024, arXiv:2405.21060. */
#include "model.h"

void rz_family_mamba(struct rz_builder *b)
{
    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++)
        x = rz_build_mamba(b, layer, x, &(struct rz_ssm_options){0});
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

void rz_family_mamba2(struct rz_builder *b)
{
    int32_t x = rz_build_embed(b);
    for (uint32_t layer = 0; layer < rz_build_hparams(b)->n_layer; layer++)
        x = rz_build_mamba2(b, layer, x, &(struct rz_ssm_options){0});
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS});
}

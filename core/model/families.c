/* families.c - the table of model families. A new family is one row here and one file beside. */
#include "model.h"

#include <string.h>

#define SWA (RZ_H_WINDOW | RZ_H_PATTERN)

static const struct rz_family families[] = {
    {"apertus", rz_family_apertus, 0},
    {"arcee", rz_family_arcee, 0},
    {"bert", rz_family_bert, RZ_H_BIDIRECTIONAL},
    {"bloom", rz_family_bloom, 0},
    {"cohere2", rz_family_cohere2, SWA | RZ_H_LOGIT_SCALE},
    {"command-r", rz_family_command_r, RZ_H_LOGIT_SCALE},
    {"dbrx", rz_family_dbrx, RZ_H_EXPERTS | RZ_H_CLAMP},
    {"deepseek2", rz_family_deepseek2, RZ_H_EXPERTS | RZ_H_LATENT},
    {"ernie4_5", rz_family_llama, 0},
    {"ernie4_5-moe", rz_family_ernie4_5_moe, RZ_H_EXPERTS},
    {"exaone4", rz_family_exaone4, SWA},
    {"falcon", rz_family_falcon, 0},
    {"falcon-h1", rz_family_falcon_h1, 0},
    {"gemma", rz_family_gemma, 0},
    {"gemma2", rz_family_gemma2, SWA | RZ_H_ATTN_SOFTCAP | RZ_H_FINAL_SOFTCAP | RZ_H_ATTN_SCALE},
    {"gemma3", rz_family_gemma3, SWA | RZ_H_BASE_SWA | RZ_H_FINAL_SOFTCAP | RZ_H_ATTN_SCALE},
    {"gemma4", rz_family_gemma4, SWA | RZ_H_BASE_SWA | RZ_H_FINAL_SOFTCAP | RZ_H_DIM_SWA | RZ_H_PER_LAYER},
    {"glm4", rz_family_glm4, 0},
    {"glm4moe", rz_family_glm4moe, RZ_H_EXPERTS},
    {"gpt2", rz_family_gpt2, 0},
    {"gptj", rz_family_gptj, 0},
    {"gpt-oss", rz_family_gpt_oss, SWA | RZ_H_EXPERTS},
    {"gptneox", rz_family_gptneox, RZ_H_PARALLEL},
    {"granite", rz_family_granite,
     RZ_H_EMBED_SCALE | RZ_H_RESIDUAL_SCALE | RZ_H_ATTN_SCALE | RZ_H_LOGIT_SCALE},
    {"granitemoe", rz_family_granite,
     RZ_H_EXPERTS | RZ_H_EMBED_SCALE | RZ_H_RESIDUAL_SCALE | RZ_H_ATTN_SCALE | RZ_H_LOGIT_SCALE},
    {"granitehybrid", rz_family_granite_hybrid,
     RZ_H_SOME_HEADS | RZ_H_EXPERTS | RZ_H_EMBED_SCALE | RZ_H_RESIDUAL_SCALE | RZ_H_ATTN_SCALE |
         RZ_H_LOGIT_SCALE},
    {"hunyuan-dense", rz_family_hunyuan, 0},
    {"jamba", rz_family_jamba, RZ_H_SOME_HEADS | RZ_H_EXPERTS},
    {"lfm2", rz_family_lfm2, RZ_H_SOME_HEADS},
    {"lfm2moe", rz_family_lfm2, RZ_H_SOME_HEADS | RZ_H_EXPERTS},
    {"llama", rz_family_llama, RZ_H_WINDOW | RZ_H_EXPERTS},
    {"llama4", rz_family_llama4, RZ_H_EXPERTS | RZ_H_CHUNK | RZ_H_TEMPERATURE},
    {"mamba", rz_family_mamba, RZ_H_NO_HEADS | RZ_H_NO_FFN},
    {"mamba2", rz_family_mamba2, RZ_H_NO_HEADS | RZ_H_NO_FFN},
    {"minimax-m2", rz_family_minimax_m2, RZ_H_EXPERTS},
    {"modern-bert", rz_family_modernbert,
     RZ_H_BIDIRECTIONAL | RZ_H_WINDOW | RZ_H_EVERY | RZ_H_BASE_SWA | RZ_H_ACT},
    {"mpt", rz_family_mpt, RZ_H_CLAMP | RZ_H_ALIBI},
    {"nemotron", rz_family_nemotron, 0},
    {"nemotron_h", rz_family_nemotron_h, RZ_H_SOME_HEADS | RZ_H_SOME_FFN},
    {"nomic-bert", rz_family_bert, RZ_H_BIDIRECTIONAL},
    {"olmo", rz_family_olmo, RZ_H_CLAMP},
    {"olmo2", rz_family_olmo2, SWA | RZ_H_BASE_SWA},
    {"olmoe", rz_family_olmoe, RZ_H_EXPERTS | RZ_H_CLAMP},
    {"phi2", rz_family_phi2, 0},
    {"phi3", rz_family_phi3, RZ_H_WINDOW},
    {"phimoe", rz_family_phimoe, RZ_H_EXPERTS | RZ_H_WINDOW},
    {"qwen2", rz_family_qwen2, SWA},
    {"qwen2moe", rz_family_qwen2moe, RZ_H_EXPERTS},
    {"qwen3", rz_family_qwen3, SWA},
    {"qwen3moe", rz_family_qwen3moe, RZ_H_EXPERTS},
    {"qwen3next", rz_family_qwen3next, RZ_H_SOME_HEADS | RZ_H_EXPERTS},
    {"qwen35", rz_family_qwen35, RZ_H_SOME_HEADS},
    {"qwen35moe", rz_family_qwen35, RZ_H_SOME_HEADS | RZ_H_EXPERTS},
    {"seed_oss", rz_family_seed_oss, 0},
    {"smollm3", rz_family_smollm3, 0},
    {"stablelm", rz_family_stablelm, RZ_H_PARALLEL},
    {"starcoder", rz_family_gpt2, 0},
    {"starcoder2", rz_family_starcoder2, RZ_H_WINDOW},
};

const struct rz_family *rz_family_at(uint32_t i)
{
    return i < sizeof(families) / sizeof(families[0]) ? &families[i] : NULL;
}

const struct rz_family *rz_family_find(const char *arch)
{
    for (uint32_t i = 0; rz_family_at(i); i++)
        if (!strcmp(families[i].arch, arch))
            return &families[i];
    return NULL;
}

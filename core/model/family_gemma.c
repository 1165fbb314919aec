/* family_gemma.c - Gemma, Gemma 2 and Gemma 3: embeddings times sqrt(width), tanh-gelu gate; 2 adds norms
 * after each half, soft-caps and a window in every other layer; 3 an RMS norm of each head of q and k,
 * five layers with a window and a rope of their own to one without. arXiv:2403.08295, 2408.00118,
 * 2503.19786. */
#include "model.h"

#include <math.h>

struct gemma {
    bool post;
    uint32_t every; /* each of these layers has no window; 0: there is none */
    uint32_t qk_norm;
    uint32_t largest; /* layers of the model whose scores are scaled by its width over its heads */
};

static void build(struct rz_builder *b, const struct gemma *g)
{
    const struct rz_hparams *h = rz_build_hparams(b);
    int32_t rope = rz_build_rope(b), local = rope;
    struct rz_attn_options attn = {.neox = true,
                                   .qk_norm = g->qk_norm,
                                   .post = g->post ? "post_attention_norm" : NULL,
                                   .softcap = h->attn_softcap};
    struct rz_ffn_options ffn = {.act = RZ_ACT_GELU_TANH, .post = g->post ? "post_ffw_norm" : NULL};
    if (g->largest && h->n_layer == g->largest)
        attn.scale = 1 / sqrt((double)h->n_embd / h->n_head);
    if (h->set & RZ_H_ATTN_SCALE)
        attn.scale = h->attn_scale;
    if (g->qk_norm)
        local = rz_build_rope_plain(b, h->rope_base_swa > 0 ? h->rope_base_swa : 10000);

    int32_t x = rz_build_embed(b);
    x = rz_build_map(b, -1, x, &(struct rz_map_options){.factor = sqrt(h->n_embd)});
    for (uint32_t layer = 0; layer < h->n_layer; layer++) {
        attn.window = rz_hparams_window(h, layer, g->every && (layer + 1) % g->every);
        attn.rope = attn.window ? local : rope;
        x = rz_build_attn(b, layer, x, &attn);
        x = rz_build_ffn(b, layer, x, &ffn);
    }
    rz_build_head(b, x, &(struct rz_head_options){.norm = RZ_NORM_RMS, .softcap = h->final_softcap});
}

void rz_family_gemma(struct rz_builder *b)
{
    build(b, &(struct gemma){0});
}

void rz_family_gemma2(struct rz_builder *b)
{
    build(b, &(struct gemma){.post = true, .every = 2, .largest = 46});
}

void rz_family_gemma3(struct rz_builder *b)
{
    build(b, &(struct gemma){.post = true, .every = 6, .qk_norm = RZ_QK_HEAD, .largest = 62});
}

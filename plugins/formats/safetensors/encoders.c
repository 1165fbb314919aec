/* encoders.c - the rows of the families that see a text as a whole, and what folders of embedding models say
 * about pooling.
 *
 * A checkpoint made for another purpose has a head after the encoder; it has no part in embeddings and is
 * left out (rz_hf_family.heads). Names of tensors may begin with the family's own word (rz_hf_family.base).
 */
#include "rows.h"

#include <stdio.h>
#include <string.h>

/* --- keys --- */

static const struct rz_hf_key bert_keys[] = {
    ROW("is_decoder", RZ_HF_KEY_MUST, NULL, 0),
    END_KEYS,
};

static const struct rz_hf_key nomic_keys[] = {
    ROW("causal", RZ_HF_KEY_MUST, NULL, 0),
    ROW("prenorm", RZ_HF_KEY_MUST, NULL, 0),
    ROW("parallel_block", RZ_HF_KEY_MUST, NULL, 0),
    ROW("use_rms_norm", RZ_HF_KEY_MUST, NULL, 0),
    ROW("qkv_proj_bias", RZ_HF_KEY_MUST, NULL, 0),
    ROW("mlp_fc1_bias", RZ_HF_KEY_MUST, NULL, 0),
    ROW("mlp_fc2_bias", RZ_HF_KEY_MUST, NULL, 0),
    ROW("rotary_emb_fraction", RZ_HF_KEY_MUST, NULL, 1),
    ROW("rotary_emb_interleaved", RZ_HF_KEY_MUST, NULL, 0),
    ROW("rotary_emb_scale_base", RZ_HF_KEY_NULL, NULL, 0),
    ROW("rotary_scaling_factor", RZ_HF_KEY_NULL, NULL, 0),
    END_KEYS,
};

static const struct rz_hf_key modernbert_keys[] = {
    ROW("attention_bias", RZ_HF_KEY_MUST, NULL, 0),
    ROW("mlp_bias", RZ_HF_KEY_MUST, NULL, 0),
    ROW("norm_bias", RZ_HF_KEY_MUST, NULL, 0),
    END_KEYS,
};

/* --- numbers that follow from several keys --- */

static void put_encoder(struct rz_hf_model *m)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.attention.causal", m->c.family->arch);
    rz_hf_put_bool(m, key, false);
    if (rz_hf_number(m, m->config, "config.json", "type_vocab_size", false, 2, 0, 65536) > 0)
        m->c.has |= RZ_HF_TYPES;
}

static void adjust_bert(struct rz_hf_model *m)
{
    const char *kind = json_string_value(rz_hf_get(m, "position_embedding_type"));
    if (kind && strcmp(kind, "absolute") != 0)
        rz_hf_refuse(m, "position_embedding_type");
    put_encoder(m);
}

/* The first positions belong to padding. */
static void adjust_roberta(struct rz_hf_model *m)
{
    uint32_t skip =
        1 + (uint32_t)rz_hf_number(m, m->config, "config.json", "pad_token_id", false, 1, 0, 65536);
    adjust_bert(m);
    if (!m->status && skip >= m->c.n_ctx)
        rz_hf_fail(m, RZ_EFORMAT, "config.json: max_position_embeddings", "%u are too few: %u are padding's",
                   m->c.n_ctx, skip);
    m->c.skip_rows = skip;
    m->c.n_ctx -= m->status ? 0 : skip;
}

/* Layer 0 and each `every`th after it see the whole text. */
static void adjust_modernbert(struct rz_hf_model *m)
{
    uint32_t every = rz_hf_count(m, "global_attn_every_n_layers", false, 3);
    const json_t *types = rz_hf_get(m, "layer_types"), *type;
    size_t i;
    json_array_foreach(types, i, type)
    {
        const char *text = json_string_value(type);
        if (!text || strcmp(text, i % every ? "sliding_attention" : "full_attention") != 0) {
            rz_hf_refuse(m, "layer_types");
            return;
        }
    }
    rz_hf_put_number(m, "attention.sliding_window", rz_hf_count(m, "local_attention", false, 128));
    rz_hf_put_number(m, "attention.sliding_window_pattern", every);
    put_encoder(m);
}

/* --- tensors --- */

#define L(stored, name) "encoder.layer.%u." stored, "blk.%u." name

static const struct rz_hf_spec bert[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight", 0, 0, 0},
    {"embeddings.position_embeddings.weight", "position_embd.weight", RZ_HF_SKIP_ROWS, 0, 0},
    {"embeddings.token_type_embeddings.weight", "token_types.weight", 0, RZ_HF_TYPES, 0},
    {"embeddings.LayerNorm.weight", "token_embd_norm.weight", 0, 0, 0},
    {"embeddings.LayerNorm.bias", "token_embd_norm.bias", 0, 0, 0},
    {L("attention.self.query.weight", "attn_q.weight"), 0, 0, 0},
    {L("attention.self.query.bias", "attn_q.bias"), 0, 0, 0},
    {L("attention.self.key.weight", "attn_k.weight"), 0, 0, 0},
    {L("attention.self.key.bias", "attn_k.bias"), 0, 0, 0},
    {L("attention.self.value.weight", "attn_v.weight"), 0, 0, 0},
    {L("attention.self.value.bias", "attn_v.bias"), 0, 0, 0},
    {L("attention.output.dense.weight", "attn_output.weight"), 0, 0, 0},
    {L("attention.output.dense.bias", "attn_output.bias"), 0, 0, 0},
    {L("attention.output.LayerNorm.weight", "attn_output_norm.weight"), 0, 0, 0},
    {L("attention.output.LayerNorm.bias", "attn_output_norm.bias"), 0, 0, 0},
    {L("intermediate.dense.weight", "ffn_up.weight"), 0, 0, 0},
    {L("intermediate.dense.bias", "ffn_up.bias"), 0, 0, 0},
    {L("output.dense.weight", "ffn_down.weight"), 0, 0, 0},
    {L("output.dense.bias", "ffn_down.bias"), 0, 0, 0},
    {L("output.LayerNorm.weight", "layer_output_norm.weight"), 0, 0, 0},
    {L("output.LayerNorm.bias", "layer_output_norm.bias"), 0, 0, 0},
    END,
};

#undef L
#define L(stored, name) "encoder.layers.%u." stored, "blk.%u." name

static const struct rz_hf_spec nomic[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight", 0, 0, 0},
    {"embeddings.token_type_embeddings.weight", "token_types.weight", 0, RZ_HF_TYPES, 0},
    {"emb_ln.weight", "token_embd_norm.weight", 0, 0, 0},
    {"emb_ln.bias", "token_embd_norm.bias", 0, 0, 0},
    {L("attn.Wqkv.weight", "attn_qkv.weight"), 0, 0, 0},
    {L("attn.out_proj.weight", "attn_output.weight"), 0, 0, 0},
    {L("norm1.weight", "attn_output_norm.weight"), 0, 0, 0},
    {L("norm1.bias", "attn_output_norm.bias"), 0, 0, 0},
    {L("mlp.fc11.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.fc12.weight", "ffn_gate.weight"), 0, 0, 0},
    {L("mlp.fc2.weight", "ffn_down.weight"), 0, 0, 0},
    {L("norm2.weight", "layer_output_norm.weight"), 0, 0, 0},
    {L("norm2.bias", "layer_output_norm.bias"), 0, 0, 0},
    END,
};

#undef L
#define L(stored, name) "layers.%u." stored, "blk.%u." name

static const struct rz_hf_spec modernbert[] = {
    {"embeddings.tok_embeddings.weight", "token_embd.weight", 0, 0, 0},
    {"embeddings.norm.weight", "token_embd_norm.weight", 0, 0, 0},
    {"final_norm.weight", "output_norm.weight", 0, 0, 0},
    {L("attn_norm.weight", "attn_norm.weight"), 0, RZ_HF_LATER, 0},
    {L("attn.Wqkv.weight", "attn_qkv.weight"), 0, 0, 0},
    {L("attn.Wo.weight", "attn_output.weight"), 0, 0, 0},
    {L("mlp_norm.weight", "ffn_norm.weight"), 0, 0, 0},
    {L("mlp.Wi.weight", "ffn_up.weight"), 0, 0, 0},
    {L("mlp.Wo.weight", "ffn_down.weight"), 0, 0, 0},
    END,
};

/* --- rows --- */

#define HEADS " pooler cls lm_head embeddings.position_ids "

const struct rz_hf_family rz_hf_encoders[] = {
    {"bert",
     "bert",
     {bert},
     bert_keys,
     adjust_bert,
     .act = RZ_HF_GELU,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-12,
     .base = "bert",
     .heads = HEADS},
    {"roberta",
     "bert",
     {bert},
     bert_keys,
     adjust_roberta,
     .act = RZ_HF_GELU,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-12,
     .base = "roberta",
     .heads = HEADS},
    {"xlm-roberta",
     "bert",
     {bert},
     bert_keys,
     adjust_roberta,
     .act = RZ_HF_GELU,
     .rope = RZ_HF_ROPE_NONE,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-12,
     .base = "roberta",
     .heads = HEADS},
    {"nomic_bert",
     "nomic-bert",
     {nomic},
     nomic_keys,
     put_encoder,
     .tied = true,
     .layer_norm = true,
     .eps = 1e-12,
     .theta = 1000,
     .base = "bert",
     .heads = HEADS},
    {"modernbert",
     "modern-bert",
     {modernbert},
     modernbert_keys,
     adjust_modernbert,
     .act = RZ_HF_GELU,
     .window = RZ_HF_WINDOW_OWN,
     .tied = true,
     .layer_norm = true,
     .local_rope = true,
     .eps = 1e-5,
     .theta = 160000,
     .base = "model",
     .heads = " head decoder "},
    {.model_type = NULL},
};

bool rz_hf_is_head(const struct rz_hf_family *f, const char *name)
{
    size_t base = f->base ? strlen(f->base) : 0;
    if (base && !strncmp(name, f->base, base) && name[base] == '.')
        name += base + 1;
    for (const char *word = f->heads; word && *word;) {
        size_t len = strcspn(++word, " ");
        if (len && !strncmp(name, word, len) && (!name[len] || name[len] == '.'))
            return true;
        word += len;
    }
    return false;
}

/* --- pooling --- */

void rz_hf_read_pooling(struct rz_hf_model *m)
{
    static const char file[] = "1_Pooling/config.json";
    static const struct {
        const char *key, *word;
        uint32_t type; /* of GGUF's pooling_type; 0: another */
    } modes[] = {
        {"pooling_mode_mean_tokens", "mean", 1},      {"pooling_mode_cls_token", "cls", 2},
        {"pooling_mode_lasttoken", "lasttoken", 3},   {"pooling_mode_max_tokens", "max", 0},
        {"pooling_mode_mean_sqrt_len_tokens", "", 0}, {"pooling_mode_weightedmean_tokens", "", 0},
    };
    json_t *o = rz_hf_json(m, file);
    const char *word = json_string_value(json_object_get(o, "pooling_mode"));
    uint32_t found = 0, n = 0;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]) && o; i++)
        if (json_is_true(json_object_get(o, modes[i].key)) || (word && !strcmp(word, modes[i].word))) {
            found = modes[i].type;
            n++;
        }
    if (o && !m->status && (n != 1 || !found))
        rz_hf_fail(m, RZ_EUNSUPPORTED, file,
                   "asks for a pooling that this rz does not have (mean, cls, last)");
    else if (o && !m->status)
        rz_hf_put_number(m, "pooling_type", found);
    json_decref(o);
}

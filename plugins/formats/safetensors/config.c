/* config.c - config.json: the numbers of a model, and everything in it that changes the arithmetic.
 *
 * A value that rz does not implement is an error that names it; what is not named here (dropout,
 * initialisation, cache switches, versions) has no part in inference.
 */
#include "folder.h"

#include "err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "config.json"
#define HEAD_MAX 65536u
#define COUNT_MAX 16777216.0 /* of layers, widths, heads, tokens: the host has narrower limits */

/* Keys by which relatives of these families change the arithmetic, and the value that changes nothing
 * (beside absent and null). */
static const struct {
    const char *key;
    enum {
        ABSENT,
        FALSE,
        ONE
    } neutral;
} neutral_keys[] = {
    {"quantization_config", ABSENT},
    {"compression_config", ABSENT},
    {"attn_logit_softcapping", ABSENT},
    {"final_logit_softcapping", ABSENT},
    {"query_pre_attn_scalar", ABSENT},
    {"attention_multiplier", ABSENT},
    {"clip_qkv", ABSENT},
    {"num_experts", ABSENT},
    {"num_local_experts", ABSENT},
    {"n_routed_experts", ABSENT},
    {"no_rope_layers", ABSENT},
    {"mlp_hidden_act", ABSENT},
    {"alibi", FALSE},
    {"parallel_residual", FALSE},
    {"use_parallel_residual", FALSE},
    {"use_qk_norm", FALSE},
    {"qk_layernorm", FALSE},
    {"rope_interleaved", FALSE},
    {"is_encoder_decoder", FALSE},
    {"use_mrope", FALSE},
    {"embedding_multiplier", ONE},
    {"residual_multiplier", ONE},
    {"logits_scaling", ONE},
    {"logit_scale", ONE},
    {"scale_depth", ONE},
    {"scale_emb", ONE},
    {"partial_rotary_factor", ONE},
};

static bool is_absent(const json_t *value)
{
    return !value || json_is_null(value);
}

/* The key as a place for an error: "config.json: rope_scaling.factor". */
static const char *place(char *buf, size_t cap, const char *where, const char *key)
{
    snprintf(buf, cap, "%s%s%s", where, strchr(where, ':') ? "." : ": ", key);
    return buf;
}

double rz_hf_number(struct rz_hf_model *m, const json_t *o, const char *where, const char *key, bool required,
                    double fallback, double lo, double hi)
{
    char at[160];
    const json_t *value = json_object_get(o, key);
    if (m->status)
        return fallback;
    if (is_absent(value)) {
        if (required)
            rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), where, key), "is missing");
        return fallback;
    }
    double number = json_number_value(value);
    if (!json_is_number(value))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), where, key), "must be a number");
    else if (!(number >= lo && number <= hi))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), where, key), "is %g, outside %g..%g", number, lo, hi);
    return m->status ? fallback : number;
}

static uint32_t count(struct rz_hf_model *m, const char *key, bool required, uint32_t fallback)
{
    double value = rz_hf_number(m, m->config, FILE_NAME, key, required, fallback, 1, COUNT_MAX);
    char at[160];
    if (!m->status && value != floor(value))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), FILE_NAME, key), "is %g, must be an integer", value);
    return (uint32_t)value;
}

static bool truth(struct rz_hf_model *m, const char *key, bool fallback)
{
    const json_t *value = json_object_get(m->config, key);
    char at[160];
    if (is_absent(value))
        return fallback;
    if (!json_is_boolean(value))
        rz_hf_fail(m, RZ_EFORMAT, place(at, sizeof(at), FILE_NAME, key), "must be true or false");
    return json_is_true(value);
}

static void check_neutral(struct rz_hf_model *m)
{
    char at[160];
    for (size_t i = 0; i < sizeof(neutral_keys) / sizeof(neutral_keys[0]); i++) {
        const json_t *value = json_object_get(m->config, neutral_keys[i].key);
        bool fine =
            is_absent(value) || (neutral_keys[i].neutral == FALSE && json_is_false(value)) ||
            (neutral_keys[i].neutral == ONE && json_is_number(value) && json_number_value(value) == 1);
        if (fine)
            continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT), shown[100];
        rz_hf_fail(m, RZ_EUNSUPPORTED, place(at, sizeof(at), FILE_NAME, neutral_keys[i].key),
                   "is %s, which this rz does not have in %s models",
                   rz_show(shown, sizeof(shown), text ? text : "?", text ? strlen(text) : 1),
                   m->c.family->model_type);
        free(text);
    }
}

static void check_activation(struct rz_hf_model *m)
{
    const json_t *value = json_object_get(m->config, "hidden_act");
    const char *act = json_string_value(value);
    char shown[60];
    if (is_absent(value) || (act && (!strcmp(act, "silu") || !strcmp(act, "swish"))))
        return;
    rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": hidden_act", "is %s: this rz has silu in %s models",
               act ? rz_show(shown, sizeof(shown), act, strlen(act)) : "no string", m->c.family->model_type);
}

/* Whether any layer looks through the window, as far as the config says. */
static bool window_is_used(struct rz_hf_model *m)
{
    const json_t *types = json_object_get(m->config, "layer_types"), *type;
    size_t i;
    if (json_is_array(types)) {
        json_array_foreach(types, i,
                           type) if (!json_is_string(type) ||
                                     strcmp(json_string_value(type), "full_attention") != 0) return true;
        return false;
    }
    if (!truth(m, "use_sliding_window", m->c.family->window))
        return false;
    const json_t *from = json_object_get(m->config, "max_window_layers");
    return !json_is_integer(from) || json_integer_value(from) < m->c.n_layer;
}

static void check_window(struct rz_hf_model *m)
{
    const json_t *window = json_object_get(m->config, "sliding_window");
    bool used = window_is_used(m),
         never = json_is_integer(window) && json_integer_value(window) >= m->c.n_ctx;
    if (m->status || !used || never)
        return;
    if (json_is_integer(window))
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": sliding_window",
                   "is %lld below the context of %u: this rz has no sliding window in %s models",
                   (long long)json_integer_value(window), m->c.n_ctx, m->c.family->model_type);
    else if (json_is_array(json_object_get(m->config, "layer_types")))
        rz_hf_fail(
            m, RZ_EUNSUPPORTED, FILE_NAME ": layer_types",
            "has another kind of layer than full_attention, which is all that this rz has in %s models",
            m->c.family->model_type);
    else if (!is_absent(window))
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": sliding_window", "must be an integer or null");
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void find_family(struct rz_hf_model *m)
{
    char shown[80], list[200];
    const char *type = text_of(m->config, "model_type");
    m->c.family = rz_hf_family_find(type);
    if (m->c.family)
        return;
    if (!*type)
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": model_type", "is missing: no language model");
    else
        rz_hf_fail(m, RZ_EUNSUPPORTED, FILE_NAME ": model_type",
                   "\"%s\" is a family that this rz cannot open as a folder (it can %s)",
                   rz_show(shown, sizeof(shown), type, strlen(type)), rz_hf_family_list(list, sizeof(list)));
}

static void read_numbers(struct rz_hf_model *m)
{
    struct rz_hf_config *c = &m->c;
    c->n_layer = count(m, "num_hidden_layers", true, 0);
    c->n_embd = count(m, "hidden_size", true, 0);
    c->n_ff = count(m, "intermediate_size", true, 0);
    c->n_head = count(m, "num_attention_heads", true, 1);
    c->n_vocab = count(m, "vocab_size", true, 0);
    if (m->status)
        return;
    c->n_kv_head = count(m, "num_key_value_heads", false, c->n_head);
    c->head_dim = count(m, "head_dim", false, c->n_embd / c->n_head);
    c->n_ctx = count(m, "max_position_embeddings", true, 2048);
    c->norm_eps = rz_hf_number(m, m->config, FILE_NAME, "rms_norm_eps", false, 1e-6, 0, 1);
    c->tied = truth(m, "tie_word_embeddings", false);
    c->attn_bias = truth(m, "attention_bias", false);
    c->mlp_bias = truth(m, "mlp_bias", false);
    if (!c->family->attn_bias_key && (c->attn_bias || c->mlp_bias))
        rz_hf_fail(m, RZ_EUNSUPPORTED, c->attn_bias ? FILE_NAME ": attention_bias" : FILE_NAME ": mlp_bias",
                   "is true, and %s models have none here", c->family->model_type);
    if (!m->status && (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > HEAD_MAX))
        rz_hf_fail(m, RZ_EFORMAT, FILE_NAME ": head_dim", "is %u: must be even, from 2 to %u", c->head_dim,
                   HEAD_MAX);
}

static void put_number(struct rz_hf_model *m, const char *name, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof(key), "%s.%s", m->c.family->arch, name);
    rz_hf_put_u32(m, key, value);
}

/* The folder's own name is the model's. */
static void put_name(struct rz_hf_model *m)
{
    const char *path = rz_hf_source(m, 0)->path, *end = strrchr(path, '/');
    while (end && end > path && end[-1] == '/')
        end--;
    const char *begin = end;
    while (begin && begin > path && begin[-1] != '/')
        begin--;
    if (end && end > begin && *begin != '.')
        rz_hf_put_str(m, "general.name", begin, (size_t)(end - begin));
}

/* What most of the weights are, in the numbers of GGUF's general.file_type. */
static void put_file_type(struct rz_hf_model *m)
{
    const char *dtype = text_of(m->config, "torch_dtype");
    if (!*dtype)
        dtype = text_of(m->config, "dtype");
    if (!strcmp(dtype, "float32"))
        rz_hf_put_u32(m, "general.file_type", 0);
    else if (!strcmp(dtype, "float16"))
        rz_hf_put_u32(m, "general.file_type", 1);
    else if (!strcmp(dtype, "bfloat16"))
        rz_hf_put_u32(m, "general.file_type", 32);
}

static void put_numbers(struct rz_hf_model *m)
{
    const struct rz_hf_config *c = &m->c;
    const char *arch = c->family->arch;
    char key[96];
    rz_hf_put_str(m, "general.architecture", arch, strlen(arch));
    rz_hf_put_str(m, "general.type", "model", 5);
    put_name(m);
    put_file_type(m);
    put_number(m, "block_count", c->n_layer);
    put_number(m, "context_length", c->n_ctx);
    put_number(m, "embedding_length", c->n_embd);
    put_number(m, "feed_forward_length", c->n_ff);
    put_number(m, "attention.head_count", c->n_head);
    put_number(m, "attention.head_count_kv", c->n_kv_head);
    put_number(m, "attention.key_length", c->head_dim);
    put_number(m, "attention.value_length", c->head_dim);
    put_number(m, "rope.dimension_count", c->head_dim);
    put_number(m, "vocab_size", c->n_vocab);
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", arch);
    rz_hf_put_f32(m, key, c->norm_eps);
}

void rz_hf_read_config(struct rz_hf_model *m)
{
    if (!m->status)
        find_family(m);
    if (!m->status)
        read_numbers(m);
    if (!m->status)
        check_neutral(m);
    if (!m->status)
        check_activation(m);
    if (!m->status)
        check_window(m);
    if (m->status)
        return;
    put_numbers(m);
    rz_hf_read_rope(m, m->c.family->arch);
}
